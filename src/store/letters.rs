//! Dead letters as operators ask for them, and what becomes of those that live again.

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::flow::job::{Burial, Class, Flow, Job, Reason};
use crate::model::Name;
use crate::model::event::Event;
use crate::model::id::JobId;
use crate::model::time::Timestamp;

/// Of so many replays the counts are kept.
pub const REPLAYS_MAX: u32 = 1000;

/// Which dead letters: those of which all that is said is true.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadFilter {
    /// Of this workspace.
    pub workspace: Option<String>,
    /// Of this activation: the event's scope, configured or not.
    pub activation: Option<String>,
    /// Of this flow.
    pub flow: Option<Flow>,
    /// With this reason.
    pub reason: Option<Reason>,
    /// Of this class.
    pub class: Option<Class>,
    /// That died at this moment or later.
    pub since: Option<Timestamp>,
    /// That died at this moment or earlier.
    pub until: Option<Timestamp>,
    /// Of the participant with this hash; see [`Operate::participant_hash`](super::Operate::participant_hash).
    pub participant: Option<String>,
    /// With these words, upper or lower case alike, in the step, the reason, the class or the last answer.
    pub text: Option<String>,
    /// That this replay has not let live yet.
    pub not_of: Option<u32>,
}

impl DeadFilter {
    /// Whether this letter is one of them. `shown`: the hash of a participant.
    pub fn matches(&self, letter: &DeadLetter, shown: impl FnOnce(&str) -> String) -> bool {
        let DeadLetter {
            workspace,
            flow,
            event,
            burial,
            replay,
            ..
        } = letter;
        let wanted = self.workspace.as_deref();
        wanted.is_none_or(|wanted| workspace.as_deref() == Some(wanted))
            && self.activation.as_ref().is_none_or(|it| event.scope == *it)
            && self.flow.is_none_or(|wanted| *flow == Some(wanted))
            && self.reason.is_none_or(|wanted| burial.reason == wanted)
            && self.class.is_none_or(|wanted| burial.class == wanted)
            && self.since.is_none_or(|since| burial.at >= since)
            && self.until.is_none_or(|until| burial.at <= until)
            && self.not_of.is_none_or(|one| *replay != Some(one))
            && self.text.as_ref().is_none_or(|text| letter.says(text))
            && self
                .participant
                .as_ref()
                .is_none_or(|wanted| shown(event.participant()) == *wanted)
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
    /// The replay that let it, or the job it came from, live again last.
    pub replay: Option<u32>,
}

impl DeadLetter {
    fn says(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        let step = self.job.as_ref().map_or("", |job| job.state.step());
        let status = self.burial.answer.status.map(|status| status.to_string());
        let said = [
            step,
            self.burial.reason.as_str(),
            self.burial.class.as_str(),
            status.as_deref().unwrap_or_default(),
            &self.burial.answer.text,
        ];
        said.iter().any(|said| said.to_lowercase().contains(&text))
    }
}

/// What became of what a replay let live. Lives still: `revived + spawned - delivered - died`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct ReplayCounts {
    /// Dead letters that it let live, less what was forgotten with its person since.
    pub revived: u64,
    /// Jobs that those spawned, credits above all.
    pub spawned: u64,
    /// Of both, those that are done.
    pub delivered: u64,
    /// Of both, those that died.
    pub died: u64,
}

impl ReplayCounts {
    /// One that lived went with its person: it is as if it had never lived again.
    pub(super) fn forget(&mut self) {
        if self.revived > 0 {
            self.revived -= 1;
        } else {
            self.spawned = self.spawned.saturating_sub(1);
        }
    }

    /// Those that live still.
    pub fn living(&self) -> u64 {
        (self.revived + self.spawned).saturating_sub(self.delivered + self.died)
    }
}
