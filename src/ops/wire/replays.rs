//! Replays: what is asked for, previewed and told of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{LetterRow, Which};
use crate::flow::job::Reason;
use crate::model::id::JobId;
use crate::model::time::Timestamp;

/// The part of a lane's budget that a replay uses when nobody says otherwise.
pub const USUAL_BUDGET: f64 = 0.25;

/// The share that may die again when nobody says otherwise.
pub const USUAL_STOP_AT: f64 = 0.2;

/// What `POST /api/v1/replays` and `/preview` take.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewReplay {
    /// Which letters; those of `unknown_outcome` only where that is the reason asked for. `after` and `limit` are for a
    /// preview alone. Not an address or a number in `text` or a name: a person is a `participant`.
    #[serde(default)]
    pub filter: Which,
    /// So many letters a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Or this part of the budget of every lane they pass, above 0, to 1; a quarter when neither is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<f64>,
    /// It stops when more than this share of the last that ended (20 to 200 or so) died again, above 0, to 1; a fifth when
    /// nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_at: Option<f64>,
    /// How many the preview found, so that it can be told how many are left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<u64>,
}

/// Where a replay stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReplayState {
    /// It lets letters live, as fast as it may.
    Running,
    /// An operator paused it.
    Paused,
    /// It stopped itself; `why` says why. It can be resumed.
    StoppedItself,
    /// An operator cancelled it. What lives, lives.
    Cancelled,
    /// It has looked at every letter.
    Finished,
}

impl ReplayState {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            ReplayState::Running => "running",
            ReplayState::Paused => "paused",
            ReplayState::StoppedItself => "stopped_itself",
            ReplayState::Cancelled => "cancelled",
            ReplayState::Finished => "finished",
        }
    }

    /// Whether it lets nothing live any more, for ever.
    pub const fn is_over(self) -> bool {
        match self {
            ReplayState::Running | ReplayState::Paused | ReplayState::StoppedItself => false,
            ReplayState::Cancelled | ReplayState::Finished => true,
        }
    }
}

/// A replay as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Replay {
    /// Its number.
    pub number: u32,
    /// Who began it, as in the audit.
    pub who: String,
    /// When.
    pub began_at: Timestamp,
    /// Which letters: those that had died by `until`; a participant as a hash.
    pub filter: Which,
    /// So many letters a second.
    pub rate: Option<f64>,
    /// Or this part of the budget of every lane they pass.
    pub budget: Option<f64>,
    /// It stops when more than this share of the last that ended died again.
    pub stop_at: f64,
    /// How many the preview found.
    pub expected: Option<u64>,
    /// Where it stands.
    pub state: ReplayState,
    /// Why it stopped itself, or what it waits for.
    pub why: Option<String>,
    /// The last letter that it has looked at.
    pub cursor: Option<JobId>,
    /// Letters it has looked at that cannot run as configured today.
    pub still_dead: u64,
    /// Letters it has passed over, since they died of `unknown_outcome` and that was not the reason asked for.
    #[serde(default)]
    pub left_out: u64,
    /// What had been delivered, and had died again, when it was last resumed, or found to go well: what counts for
    /// `stop_at` is since.
    pub judged_from: (u64, u64),
    /// When it was cancelled, or had looked at every letter.
    pub ended_at: Option<Timestamp>,
}

/// A replay as it is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReplayRow {
    /// As it is kept.
    #[serde(flatten)]
    pub replay: Replay,
    /// Letters that it let live.
    pub revived: u64,
    /// Jobs that those spawned, credits above all.
    pub spawned: u64,
    /// Of both, those that are done.
    pub delivered: u64,
    /// Of both, those that died again.
    pub died_again: u64,
    /// Of both, those that are under way.
    pub living: u64,
    /// Letters still to be looked at, by what was expected.
    pub left: Option<u64>,
}

/// `GET /api/v1/replays`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReplayPage {
    /// The newest first.
    pub items: Vec<ReplayRow>,
}

/// The answer to `POST /api/v1/replays/preview`: of one slice; go on with `after` and add.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Preview {
    /// How many would live.
    pub count: u64,
    /// How many more match, and would not: they died of `unknown_outcome`, and that is not the reason asked for.
    #[serde(default)]
    pub left_out: u64,
    /// By what they died of.
    pub by_reason: BTreeMap<Reason, u64>,
    /// Of those that would, how many cannot run as configured today, and why.
    pub still_dead: BTreeMap<Reason, u64>,
    /// The lanes that the others pass, or `rate`: how many, and how fast they may.
    pub lanes: BTreeMap<String, PreviewLane>,
    /// Some of them.
    pub sample: Vec<LetterRow>,
    /// There may be more behind this.
    pub next: Option<JobId>,
    /// Only letters that had died by then were looked at.
    pub until: Option<Timestamp>,
}

/// One lane of a preview.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PreviewLane {
    /// Letters that pass it.
    pub letters: u64,
    /// How many a second may.
    pub per_second: f64,
    /// Why it is held, if it is: the replay waits for that.
    pub held: Option<String>,
}
