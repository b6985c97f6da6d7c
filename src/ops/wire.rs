//! The API's documents, as they are written here and read by the commands.
//!
//! Invariants: names of fields are a promise to tools. Moments are RFC 3339, durations seconds, sizes bytes. A list
//! never shows a whole address; see [`mask`].

mod activations;
mod audit;
mod config;
mod forget;
mod jobs;
mod lanes;
mod letters;
mod live;
mod participants;
mod reload;
mod replays;
mod session;
mod status;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

pub use activations::{Activation, Credits, DeadReason, DoneOutcome, Step, StepKind, Webhooks};
pub use audit::{AuditEntry, AuditPage};
pub use config::{Configuration, ConfigurationSetting, ConfigurationTable};
pub use forget::{Erasing, ErasingState, Forget, Receipt, Receipts, Removed};
pub use jobs::{JobHeld, JobPage, JobRow, JobShown, LastFailure, WhichJobs, lane_of};
pub use lanes::{LanesChanged, WhichLanes};
pub use letters::{Discard, Discarded, Ids, LetterCounts, Replayed, StillDead, Which};
pub use live::{History, Live, Moment};
pub use participants::{KnownAddress, Participant, TimelineEvent, WhichParticipant};
pub use reload::{NewReload, Orphan, ReloadMistake, Reloaded};
pub use replays::{
    NewReplay, Preview, PreviewLane, Replay, ReplayPage, ReplayRow, ReplayState, USUAL_BUDGET,
    USUAL_STOP_AT,
};
pub use session::{Login, Me};
pub use status::{
    ActivationRow, Dead, Done, Events, Group, Held, HeldActivation, Jobs, LaneRow, Status, StoreRow,
};

use crate::flow::job::{Attempt, Class, Flow, Reason};
use crate::model::call::Answer;
use crate::model::event::{Event, EventKind, Source};
use crate::model::id::{EventId, JobId};
use crate::model::json::{Object, ObjectText};
use crate::model::time::Timestamp;
use crate::store::DeadLetter;

/// Why a request was refused (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `about:blank`: the status says what kind it is.
    pub r#type: String,
    /// The status in words.
    pub title: String,
    /// The status.
    pub status: u16,
    /// Why, and what to do about it.
    pub detail: String,
    /// What a program may want to know of it: `mistakes` or `orphans` of a reload.
    #[serde(flatten)]
    pub more: BTreeMap<String, Value>,
}

/// `GET /api/v1/dead`: a page. It may hold fewer than asked for and still have a `next`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LetterPage {
    /// In order of their ids, oldest event first.
    pub items: Vec<LetterRow>,
    /// Go on with `after` this; `None` at the end.
    pub next: Option<JobId>,
}

/// A dead letter in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LetterRow {
    /// Its id, for show and replay.
    pub id: JobId,
    /// The event, as the client was told.
    pub event_id: EventId,
    /// Its workspace, if known.
    pub workspace: Option<String>,
    /// The activation that the event names, configured or not.
    pub activation: String,
    /// The flow, if it got that far.
    pub flow: Option<Flow>,
    /// The step it died at; `None` when it never began.
    pub step: Option<String>,
    /// The participant: masked in a list, whole where one letter is shown.
    pub participant: String,
    /// The participant as filters take it, without the address.
    #[serde(default)]
    pub participant_hash: String,
    /// Why it died.
    pub reason: Reason,
    /// Of which failure.
    pub class: Class,
    /// The last answer, redacted.
    pub answer: Answer,
    /// When it died.
    pub died_at: Timestamp,
    /// When the event was accepted.
    pub accepted_at: Timestamp,
    /// Failed attempts of the last step that count.
    pub attempts: u32,
    /// All failed attempts.
    pub failures: u32,
    /// The replay that let it, or the job it came from, live again last.
    #[serde(default)]
    pub replay: Option<u32>,
}

/// `GET /api/v1/dead/{id}`: a dead letter, whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Letter {
    /// As in the list.
    #[serde(flatten)]
    pub row: LetterRow,
    /// The last failed attempts, each with its time, step and answer; `failures` says how many there were.
    pub history: Vec<Attempt>,
    /// What was posted, as far as its job needs it.
    pub event: Posted,
}

/// An event in the form in which it is posted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Posted {
    /// Who posted it.
    pub source: Source,
    /// The client's own id of it.
    pub id: String,
    /// The activation.
    pub q_scope: String,
    /// Participation or progress.
    pub r#type: EventKind,
    /// The e-mail as it came.
    pub email: String,
    /// The phone number.
    pub phone: Option<String>,
    /// Whether SMS were agreed to.
    pub sms_consent: bool,
    /// When it happened.
    pub at: Timestamp,
    /// Its own attributes.
    pub attributes: Option<Object>,
    /// Its own custom event.
    pub event: Option<PostedEvent>,
}

/// A custom event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PostedEvent {
    /// `name`.
    pub name: String,
    /// `properties`.
    pub properties: Option<Object>,
}

/// Enough of an address to recognise a pattern in a list, not a person: `a***@example.com`.
pub fn mask(email: &str) -> String {
    match email.rsplit_once('@') {
        Some((local, domain)) => {
            let first: String = local.chars().take(1).collect();
            format!("{first}***@{domain}")
        }
        None => "***".to_owned(),
    }
}

impl LetterRow {
    /// The row of `letter`, masked. `hash`: of a participant.
    pub fn of(letter: &DeadLetter, hash: impl FnOnce(&str) -> String) -> LetterRow {
        let DeadLetter {
            id,
            workspace,
            flow,
            event,
            job,
            burial,
            replay,
        } = letter;
        let job = job.as_ref();
        LetterRow {
            id: *id,
            event_id: id.event,
            workspace: workspace.as_deref().map(str::to_owned),
            activation: event.scope.clone(),
            flow: *flow,
            step: job.map(|job| job.state.step().to_owned()),
            participant: mask(&event.email),
            participant_hash: hash(event.participant()),
            reason: burial.reason,
            class: burial.class,
            answer: burial.answer.clone(),
            died_at: burial.at,
            accepted_at: event.accepted_at,
            attempts: job.map_or(0, |job| job.attempts),
            failures: job.map_or(0, |job| job.failures),
            replay: *replay,
        }
    }
}

impl Letter {
    /// All of `letter`. `hash`: of a participant.
    pub fn of(letter: &DeadLetter, hash: impl FnOnce(&str) -> String) -> Letter {
        Letter {
            row: LetterRow {
                participant: letter.event.email.clone(),
                ..LetterRow::of(letter, hash)
            },
            history: letter
                .job
                .as_ref()
                .map(|job| job.history.clone())
                .unwrap_or_default(),
            event: Posted::of(&letter.event),
        }
    }
}

impl Posted {
    /// `event` in the form in which it is posted.
    pub fn of(event: &Event) -> Posted {
        Posted {
            source: event.source,
            id: event.key.clone(),
            q_scope: event.scope.clone(),
            r#type: event.kind,
            email: event.email_given().to_owned(),
            phone: event.phone.clone(),
            sms_consent: event.sms_consent,
            at: event.at,
            attributes: event.attributes.as_ref().map(ObjectText::object),
            event: event.event.as_ref().map(|custom| PostedEvent {
                name: custom.name.clone(),
                properties: custom.properties.as_ref().map(ObjectText::object),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_shows_one_letter_and_the_domain() {
        for (email, shown) in [
            ("ada@example.com", "a***@example.com"),
            ("a@example.com", "a***@example.com"),
            ("øystein+tag@example.com", "ø***@example.com"),
            ("\"odd@local\"@example.com", "\"***@example.com"),
            ("@example.com", "***@example.com"),
            ("no address", "***"),
            ("", "***"),
        ] {
            assert_eq!(mask(email), shown, "{email:?}");
        }
    }
}
