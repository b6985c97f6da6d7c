//! Dead letters as operators ask for them.

use crate::flow::job::{Burial, Flow, Job, Reason};
use crate::model::Name;
use crate::model::event::Event;
use crate::model::id::JobId;

/// Which dead letters.
#[derive(Clone, Debug, Default)]
pub struct DeadFilter {
    /// Of this workspace.
    pub workspace: Option<String>,
    /// Of this activation: the event's scope, configured or not.
    pub activation: Option<String>,
    /// Of this flow.
    pub flow: Option<Flow>,
    /// With this reason.
    pub reason: Option<Reason>,
}

impl DeadFilter {
    /// Whether this letter is one of them.
    pub fn matches(&self, letter: &DeadLetter) -> bool {
        let (workspace, activation) = (self.workspace.as_deref(), self.activation.as_deref());
        workspace.is_none_or(|wanted| letter.workspace.as_deref() == Some(wanted))
            && activation.is_none_or(|wanted| letter.event.scope == wanted)
            && self.flow.is_none_or(|wanted| letter.flow == Some(wanted))
            && self
                .reason
                .is_none_or(|wanted| letter.burial.reason == wanted)
    }
}

/// A job that died, with everything needed to understand and replay it.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// The job.
    pub id: JobId,
    /// Its workspace, if known.
    pub workspace: Option<Name>,
    /// The flow, if it got that far.
    pub flow: Option<Flow>,
    /// The event, as its job had it.
    pub event: Event,
    /// The job as it was; `None` when it never began.
    pub job: Option<Job>,
    /// Why it died.
    pub burial: Burial,
}
