//! Jobs as operators ask for them: those that live, and those that are dead.

use crate::flow::job::{Burial, Class, Flow, Job, JobState, Reason};
use crate::model::Name;
use crate::model::event::Event;
use crate::model::id::{EventId, JobId};
use crate::model::time::Timestamp;

/// Which jobs: those of which all that is said is true.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Of this workspace.
    pub workspace: Option<String>,
    /// Of this activation: the event's scope, configured or not.
    pub activation: Option<String>,
    /// Of this flow.
    pub flow: Option<Flow>,
    /// That died for this reason.
    pub reason: Option<Reason>,
    /// That died of this class of failure.
    pub class: Option<Class>,
    /// Of events whose id was given at this moment or later.
    pub since: Option<Timestamp>,
    /// Of events whose id was given at this moment or earlier.
    pub until: Option<Timestamp>,
    /// Of the participant with this hash; see [`Operate::participant_hash`](super::Operate::participant_hash).
    pub participant: Option<String>,
    /// In this state.
    pub state: Option<JobState>,
}

impl JobFilter {
    /// Whether a job with this much in its record may be one of them; what is left to ask is its state. `shown`: the hash
    /// of a participant.
    pub(super) fn admits(
        &self,
        (workspace, flow): (Option<&str>, Option<Flow>),
        event: &Event,
        burial: Option<&Burial>,
        shown: impl FnOnce(&str) -> String,
    ) -> bool {
        let wanted = self.workspace.as_deref();
        wanted.is_none_or(|wanted| workspace == Some(wanted))
            && self.activation.as_ref().is_none_or(|it| event.scope == *it)
            && self.flow.is_none_or(|wanted| flow == Some(wanted))
            && (self.wants_living() || burial.is_some())
            && (self.wants_dead() || burial.is_none())
            && burial.is_none_or(|burial| {
                self.reason.is_none_or(|wanted| burial.reason == wanted)
                    && self.class.is_none_or(|wanted| burial.class == wanted)
            })
            && self
                .participant
                .as_ref()
                .is_none_or(|wanted| shown(event.participant()) == *wanted)
    }

    /// Whether an event with this id is in time.
    pub(super) fn is_in_time(&self, id: EventId) -> bool {
        let given = id.accepted_at();
        self.since.is_none_or(|since| given >= since)
            && self.until.is_none_or(|until| given <= until)
    }

    /// Whether any job that lives may be one of them: only the dead have a reason and a class.
    pub(super) fn wants_living(&self) -> bool {
        self.state != Some(JobState::Dead) && self.reason.is_none() && self.class.is_none()
    }

    /// Whether any dead letter may be one of them.
    pub(super) fn wants_dead(&self) -> bool {
        self.state.is_none_or(|state| state == JobState::Dead)
    }

    /// Whether this state is asked for.
    pub(super) fn is_state(&self, state: JobState) -> bool {
        self.state.is_none_or(|wanted| wanted == state)
    }
}

/// A job that lives or is dead, as operators see it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredJob {
    /// The job.
    pub id: JobId,
    /// Its workspace, if known.
    pub workspace: Option<Name>,
    /// The flow, if it got that far.
    pub flow: Option<Flow>,
    /// The event, as the job has it.
    pub event: Event,
    /// The job; `None` when it never began.
    pub job: Option<Job>,
    /// Where it is.
    pub state: JobState,
    /// It waits for its participant's turn.
    pub is_behind: bool,
    /// When its next call is due; if it is behind, not before it gets the turn. `None` when it is dead.
    pub due: Option<Timestamp>,
    /// Why it died; `None` while it lives.
    pub burial: Option<Burial>,
    /// The replay that let it, or the job it came from, live again last.
    pub replay: Option<u32>,
}
