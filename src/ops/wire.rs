//! The API's documents, as they are written here and read by the commands.
//!
//! Invariants: names of fields are a promise to tools. Moments are RFC 3339, durations seconds, sizes bytes. A list
//! never shows a whole address; see [`mask`].

mod audit;
mod forget;
mod lanes;
mod status;

use serde::{Deserialize, Serialize};

pub use audit::{AuditEntry, AuditPage};
pub use forget::{Erasing, ErasingState, Forget, Receipt, Receipts, Removed};
pub use lanes::{LanesChanged, WhichLanes};
pub use status::{
    ActivationRow, Dead, Done, Events, Group, Held, HeldActivation, Jobs, LaneRow, Status, StoreRow,
};

use crate::flow::job::{Attempt, Class, Flow, Reason};
use crate::model::call::Answer;
use crate::model::event::{Event, EventKind, Source};
use crate::model::id::{EventId, JobId};
use crate::model::json::{Object, ObjectText};
use crate::model::time::Timestamp;
use crate::store::{DeadFilter, DeadLetter};

/// `GET /api/v1/dead`: a page. It may hold fewer than asked for and still have a `next`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetterPage {
    /// In order of their ids, oldest event first.
    pub items: Vec<LetterRow>,
    /// Go on with `after` this; `None` at the end.
    pub next: Option<JobId>,
}

/// A dead letter in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
}

/// `GET /api/v1/dead/{id}`: a dead letter, whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// As in the list.
    #[serde(flatten)]
    pub row: LetterRow,
    /// The last attempts.
    pub history: Vec<Attempt>,
    /// What was posted, as far as its job needs it.
    pub event: Posted,
}

/// An event in the form in which it is posted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostedEvent {
    /// `name`.
    pub name: String,
    /// `properties`.
    pub properties: Option<Object>,
}

/// Which dead letters: in the query of the list, and beside `all` of a replay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
    /// That died at or before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Behind this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<JobId>,
    /// In a list, so many at most; in a replay, so many are looked at, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// In a replay: all that match, and no `ids`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all: Option<bool>,
    /// In a replay: these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<JobId>,
}

impl Which {
    /// The part that a store filters by.
    pub fn filter(&self) -> DeadFilter {
        DeadFilter {
            workspace: self.workspace.clone(),
            activation: self.activation.clone(),
            flow: self.flow,
            reason: self.reason,
            class: self.class,
            until: self.until,
            ..DeadFilter::default()
        }
    }
}

/// The answer to `POST /api/v1/dead/replay`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// How many live again.
    pub revived: u64,
    /// Those that cannot run as configured today.
    pub still_dead: Vec<StillDead>,
    /// Those that are no dead letters (any more).
    pub not_found: Vec<JobId>,
    /// With `all`: there may be more; ask again with `after` this and the same `until`.
    pub next: Option<JobId>,
    /// With `all`: only letters that had died by then were looked at.
    pub until: Option<Timestamp>,
}

/// A dead letter that was not revived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StillDead {
    /// Which.
    pub id: JobId,
    /// Why not.
    pub reason: Reason,
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
    /// The row of `letter`, masked.
    pub fn of(letter: &DeadLetter) -> LetterRow {
        let DeadLetter {
            id,
            workspace,
            flow,
            event,
            job,
            burial,
            replay: _,
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
            reason: burial.reason,
            class: burial.class,
            answer: burial.answer.clone(),
            died_at: burial.at,
            accepted_at: event.accepted_at,
            attempts: job.map_or(0, |job| job.attempts),
            failures: job.map_or(0, |job| job.failures),
        }
    }
}

impl Letter {
    /// All of `letter`.
    pub fn of(letter: &DeadLetter) -> Letter {
        Letter {
            row: LetterRow {
                participant: letter.event.email.clone(),
                ..LetterRow::of(letter)
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
