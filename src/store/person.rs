//! Somebody who is to be forgotten: by which name the store knows them, what it holds of them, and where else their
//! address or phone stands.
//!
//! Invariants: what says who it is never shows in `Debug`.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::Name;
use crate::model::email;
use crate::model::event::{Event, EventKind};
use crate::model::id::EventId;
use crate::model::json::ObjectText;

/// Whose events and jobs are meant.
#[derive(Clone, PartialEq, Eq)]
pub struct Person {
    /// The name that all their events have in common: [`Event::participant`].
    pub participant: String,
    /// Only what is in this workspace; `None`: everywhere.
    pub workspace: Option<Name>,
}

impl fmt::Debug for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Person(of {:?})", self.workspace)
    }
}

/// What there is of somebody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Events of which a job lives or is dead.
    pub events: u64,
    /// Jobs that live.
    pub living: u64,
    /// Of those, lent to a worker.
    pub lent: u64,
    /// Dead letters.
    pub dead: u64,
    /// Addresses that are remembered, one a workspace.
    pub addresses: u64,
}

impl Held {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Held) -> Held {
        Held {
            events: self.events + other.events,
            living: self.living + other.living,
            lent: self.lent + other.lent,
            dead: self.dead + other.dead,
            addresses: self.addresses + other.addresses,
        }
    }
}

/// How an event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A job of it lives.
    Queued,
    /// None lives, and one is dead.
    Dead,
    /// It is done, discarded or forgotten; or there never was one.
    Ended,
}

/// A slice of what there is of somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Portion {
    /// What is in it.
    pub held: Held,
    /// Events accepted before this one are yet to come; `None`: that was all.
    pub next: Option<EventId>,
}

/// By what somebody is looked for in records that do not go by their address.
#[derive(Clone, PartialEq, Eq)]
pub enum Trace {
    /// The normalised e-mail.
    Email(String),
    /// The phone, E.164.
    Phone(String),
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Trace::Email(_) => "Email",
            Trace::Phone(_) => "Phone",
        })
    }
}

impl Trace {
    /// Whether this is an event of theirs: by its phone; or, of an event without an e-mail, by its external id or any text in
    /// what it brought. What somebody else's event says about them makes it none of theirs.
    pub fn is_in(&self, event: &Event) -> bool {
        let same = |text: &str| match self {
            Trace::Email(wanted) => email::normalised(text).is_ok_and(|it| it == *wanted),
            Trace::Phone(wanted) => text.trim() == wanted,
        };
        if matches!(self, Trace::Phone(wanted) if event.phone.as_ref() == Some(wanted)) {
            return true;
        }
        let brought = || {
            let told = event.event.as_ref().and_then(|it| it.properties.as_ref());
            let texts = [event.attributes.as_ref(), told].into_iter().flatten();
            texts.map(ObjectText::object)
        };
        event.email.is_empty()
            && (event.external_id.as_deref().is_some_and(same)
                || brought().any(|object| object.values().any(|value| says(value, &same))))
    }
}

fn says(value: &Value, same: &impl Fn(&str) -> bool) -> bool {
    match value {
        Value::String(text) => same(text),
        Value::Array(values) => values.iter().any(|value| says(value, same)),
        Value::Object(object) => object.values().any(|value| says(value, same)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Where a search goes on. Opaque.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position(pub(super) Vec<u8>);

/// What a slice of a search found.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Who has such events: [`Event::participant`].
    pub participants: BTreeSet<String>,
    /// Where to go on; `None` at the end.
    pub next: Option<Position>,
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Found({} of them)", self.participants.len())
    }
}

/// Whether an event outlives its person: removing them in Braze needs their address until it is done.
pub(super) fn outlives(event: &Event) -> bool {
    event.kind == EventKind::Erasure
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::event::Source;
    use crate::model::time::Timestamp;

    fn lead(email: &str, answers: &Value) -> Event {
        Event {
            source: Source::Outgrow,
            kind: EventKind::Lead,
            key: "k".into(),
            scope: "quiz".into(),
            email: email.into(),
            email_given: None,
            external_id: None,
            phone: None,
            sms_consent: false,
            at: Timestamp::ZERO,
            accepted_at: Timestamp::ZERO,
            attributes: Some(ObjectText::new(answers.as_object().unwrap())),
            event: None,
        }
    }

    #[test]
    fn a_lead_without_an_e_mail_is_of_whom_its_answers_name_and_another_persons_is_not() {
        let ada = Trace::Email("ada@b.example".into());
        let answers = json!({"x": [{"mail": " Ada@B.example "}], "tel": "+15550100"});
        assert!(ada.is_in(&lead("", &answers)));
        assert!(Trace::Phone("+15550100".into()).is_in(&lead("", &answers)));
        assert!(!ada.is_in(&lead("bo@b.example", &answers)));
        assert!(!ada.is_in(&lead("", &json!({"mail": "xada@b.example"}))));
        let named = Event {
            external_id: Some("ADA@b.example".into()),
            ..lead("", &json!({}))
        };
        assert!(ada.is_in(&named));
    }

    #[test]
    fn a_phone_is_found_whoever_brought_it() {
        let bo = Event {
            phone: Some("+15550100".into()),
            ..lead("bo@b.example", &json!({}))
        };
        assert!(Trace::Phone("+15550100".into()).is_in(&bo));
        assert!(!Trace::Phone("+15550101".into()).is_in(&bo));
    }

    #[test]
    fn nothing_shows_who_it_is() {
        let person = Person {
            participant: "ada@b.example".into(),
            workspace: None,
        };
        let found = Found {
            participants: ["ada@b.example".into()].into(),
            next: None,
        };
        let shown = format!("{person:?}{found:?}{:?}", Trace::Phone("+15550100".into()));
        assert!(!shown.contains("ada") && !shown.contains("555"), "{shown}");
    }
}
