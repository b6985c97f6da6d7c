//! Which dead letters are meant, and what became of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::flow::job::{Class, Flow, Reason};
use crate::model::id::JobId;
use crate::model::time::Timestamp;
use crate::store::DeadFilter;

/// Which dead letters: those of which all that is said is true. In the query of the list and of the counts; as `filter`
/// in what is posted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// Of this workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// Of this activation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation: Option<String>,
    /// Of this flow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<Flow>,
    /// With this reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Of this class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// That died at or after this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// That died at or before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Of this participant: an e-mail, or the hash that lists show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub participant: Option<String>,
    /// With these words in the step, the reason, the class or the last answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Behind this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<JobId>,
    /// So many at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

impl Which {
    /// Whether a replay of these passes over letters of this reason: what may have happened is not asked for again unless
    /// just that is meant.
    pub fn leaves_out(&self, reason: Reason) -> bool {
        reason == Reason::UnknownOutcome && self.reason != Some(reason)
    }

    /// As the store filters. The participant must be a hash.
    pub fn filter(&self) -> DeadFilter {
        DeadFilter {
            workspace: self.workspace.clone(),
            activation: self.activation.clone(),
            flow: self.flow,
            reason: self.reason,
            class: self.class,
            since: self.since,
            until: self.until,
            participant: self.participant.clone(),
            text: self.text.clone(),
            not_of: None,
        }
    }
}

/// What `POST /api/v1/dead/replay` takes: letters by their ids, to live again at once. Those of a filter are a replay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Ids {
    /// These; 1 to 1000.
    pub ids: Vec<JobId>,
}

/// The answer to `POST /api/v1/dead/replay`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Replayed {
    /// How many live again.
    pub revived: u64,
    /// Those that cannot run as configured today.
    pub still_dead: Vec<StillDead>,
    /// Those that are no dead letters (any more).
    pub not_found: Vec<JobId>,
}

/// A dead letter that was not revived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StillDead {
    /// Which.
    pub id: JobId,
    /// Why not.
    pub reason: Reason,
}

/// What `POST /api/v1/dead/discard` takes: either `ids` or `filter`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Discard {
    /// These; 1 to 1000.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<JobId>,
    /// Those that match, `limit` looked at at most: go on with the `after` and `until` of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Which>,
    /// Why, for the audit. Not empty.
    pub because: String,
}

/// The answer to `POST /api/v1/dead/discard`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Discarded {
    /// How many are gone.
    pub discarded: u64,
    /// Those of `ids` that are no dead letters (any more).
    pub not_found: Vec<JobId>,
    /// With `filter`: there may be more; ask again with `after` this and the same `until`.
    pub next: Option<JobId>,
    /// With `filter`: only letters that had died by then were looked at.
    pub until: Option<Timestamp>,
}

/// `GET /api/v1/dead/counts`: how many match, in all where `next` is missing, else in the slice that was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LetterCounts {
    /// When they were counted: what died by then is among them.
    #[serde(default)]
    pub at: Timestamp,
    /// All.
    pub count: u64,
    /// By reason.
    pub by_reason: BTreeMap<Reason, u64>,
    /// Go on with `after` this and add.
    pub next: Option<JobId>,
}
