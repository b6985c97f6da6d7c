//! What `GET /api/v1/jobs` and `/api/v1/jobs/{id}` take and tell.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::mask;
use crate::flow::job::{Attempt, Class, Flow, Job, JobState, Reason};
use crate::model::call::Answer;
use crate::model::event::Source;
use crate::model::id::{EventId, JobId};
use crate::model::lane::Lane;
use crate::model::time::Timestamp;
use crate::store::{JobFilter, StoredJob};

/// Which jobs: those of which all that is said is true.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WhichJobs {
    /// Of this workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// Of this activation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation: Option<String>,
    /// Of this flow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<Flow>,
    /// In this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<JobState>,
    /// That died for this reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// That died of this class of failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// Whose event was accepted at or after this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Whose event was accepted at or before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Of this participant: an e-mail, or the hash that lists show. The only one of these that has an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub participant: Option<String>,
    /// Go on behind the page that told this as its `next`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<JobId>,
    /// So many at most: 1 to 1000, usually 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

impl WhichJobs {
    /// As the store filters. The participant must be a hash.
    pub fn filter(&self) -> JobFilter {
        JobFilter {
            workspace: self.workspace.clone(),
            activation: self.activation.clone(),
            flow: self.flow,
            reason: self.reason,
            class: self.class,
            since: self.since,
            until: self.until,
            participant: self.participant.clone(),
            state: self.state,
        }
    }
}

/// `GET /api/v1/jobs`: a page. It may hold fewer than asked for, even none, and still have a `next`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobPage {
    /// In order of their ids, oldest event first.
    pub items: Vec<JobRow>,
    /// Go on with `after` this; `None` at the end.
    pub next: Option<JobId>,
}

/// A job that is not done, in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobRow {
    /// Its id, for show.
    pub id: JobId,
    /// The event, as the client was told.
    pub event_id: EventId,
    /// Who posted it.
    pub source: Source,
    /// Its workspace, if known.
    pub workspace: Option<String>,
    /// The activation that the event names, configured or not.
    pub activation: String,
    /// The flow, if it got that far.
    pub flow: Option<Flow>,
    /// The step it stands at; `None` when it never began.
    pub step: Option<String>,
    /// Where its next call goes: `acme/users_track`. `None` when it is dead.
    pub lane: Option<String>,
    /// `waiting`, `ready`, `in_flight` or `dead`.
    pub state: JobState,
    /// When its next call is due; `None` when it is dead.
    pub due: Option<Timestamp>,
    /// It waits until an earlier job of its participant has come to an end, whenever it is due.
    pub behind: bool,
    /// What keeps it from being worked though it may be due.
    pub held: Option<JobHeld>,
    /// Failed attempts of this step that count.
    pub attempts: u32,
    /// All failed attempts.
    pub failures: u32,
    /// What went wrong last.
    pub last_failure: Option<LastFailure>,
    /// The participant, masked: `a***@example.com`.
    pub participant: String,
    /// The participant as filters take it, without the address.
    pub participant_hash: String,
    /// When the event was accepted.
    pub accepted_at: Timestamp,
    /// The replay that let it, or the job it came from, live again last.
    pub replay: Option<u32>,
}

/// A failed attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LastFailure {
    /// When it was answered.
    pub at: Timestamp,
    /// The step it was made at; `None` when nothing was asked yet.
    pub step: Option<String>,
    /// Why it died of it; `None` while it lives.
    pub reason: Option<Reason>,
    /// Which failure it died of; `None` while it lives.
    pub class: Option<Class>,
    /// The answer, redacted.
    pub answer: Answer,
}

/// The hold that a job stands under: of its activation, or of its lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobHeld {
    /// The activation, if that is held.
    pub activation: Option<String>,
    /// Else the lane.
    pub lane: Option<String>,
    /// Why: as `status` tells it of lanes and activations.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when, if that is known.
    pub until: Option<Timestamp>,
}

/// `GET /api/v1/jobs/{id}`: one job. Its participant is masked here too; what was posted is told of dead letters alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobShown {
    /// As in the list.
    #[serde(flatten)]
    pub row: JobRow,
    /// The last failed attempts, each with its time, step and answer; `failures` says how many there were.
    pub history: Vec<Attempt>,
    /// What comes next by today's configuration, in words, in order.
    pub plan: Vec<String>,
}

impl JobRow {
    /// The row of `job`, masked. `hash`: of a participant. `held`: what it stands under.
    pub fn of(job: &StoredJob, hash: impl FnOnce(&str) -> String, held: Option<JobHeld>) -> JobRow {
        let (event, stands) = (&job.event, job.job.as_ref());
        JobRow {
            id: job.id,
            event_id: job.id.event,
            source: event.source,
            workspace: job.workspace.as_deref().map(str::to_owned),
            activation: event.scope.clone(),
            flow: job.flow,
            step: stands.map(|job| job.state.step().to_owned()),
            lane: lane_of(job).map(|lane| lane.to_string()),
            state: job.state,
            due: job.due,
            behind: job.is_behind,
            held,
            attempts: stands.map_or(0, |job| job.attempts),
            failures: stands.map_or(0, |job| job.failures),
            last_failure: LastFailure::of(job),
            participant: mask(&event.email),
            participant_hash: hash(event.participant()),
            accepted_at: event.accepted_at,
            replay: job.replay,
        }
    }
}

/// Where the next call of a job goes, if it lives.
pub fn lane_of(job: &StoredJob) -> Option<Lane> {
    let (workspace, stands) = (job.workspace.as_ref()?, job.job.as_ref()?);
    let lives = job.state != JobState::Dead;
    lives.then(|| Lane::new(workspace, stands.state.lane()))
}

impl LastFailure {
    fn of(job: &StoredJob) -> Option<LastFailure> {
        if let Some(burial) = &job.burial {
            return Some(LastFailure {
                at: burial.at,
                step: job.job.as_ref().map(|job| job.state.step().to_owned()),
                reason: Some(burial.reason),
                class: Some(burial.class),
                answer: burial.answer.clone(),
            });
        }
        let Attempt { at, step, answer } = job.job.as_ref()?.history.last()?.clone();
        Some(LastFailure {
            at,
            step: Some(step),
            reason: None,
            class: None,
            answer,
        })
    }
}

impl JobShown {
    /// `row` with what is told of one job alone.
    pub fn of(row: JobRow, job: Option<&Job>, plan: Vec<String>) -> JobShown {
        JobShown {
            row,
            history: job.map(|job| job.history.clone()).unwrap_or_default(),
            plan,
        }
    }
}
