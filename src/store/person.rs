//! Somebody who is to be forgotten: by which name the store knows them, what it holds of them, and where else their
//! address or phone stands.
//!
//! Invariants: a [`Person`] says who it is to this store alone. A name that only its owner gave (a brand's id of its
//! customer, a client's key) is never taken for the same name of another owner. What says who it is never shows in `Debug`.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::hash::Hasher;
use crate::model::Name;
use crate::model::call::Address;
use crate::model::email;
use crate::model::event::{Event, EventKind, Source};
use crate::model::id::EventId;
use crate::model::json::ObjectText;

/// Whose events and jobs are meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Person {
    /// The name that all their events have in common ([`Event::participant`]), as
    /// [`Operate::participant_hash`](super::Operate::participant_hash) tells it.
    pub participant: String,
    /// Only what is in this workspace; `None`: everywhere.
    pub workspace: Option<String>,
    /// Which of the events of this name.
    pub named: Named,
}

/// What somebody is named by, and so which events of that name are theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Named {
    /// An e-mail: all of them, since it is the same person's everywhere.
    Email,
    /// The brand's own id: those without an e-mail. It says something in the brand's workspace alone.
    ExternalId,
    /// Nothing but the key of this event, or an id of nobody knows which brand: this event alone.
    Event(EventId),
}

impl Person {
    /// Whose this event is, of which a job is in this workspace.
    pub(super) fn of(
        hasher: &Hasher,
        id: EventId,
        event: &Event,
        workspace: Option<&str>,
    ) -> Person {
        let (workspace, named) = match (&event.external_id, workspace) {
            _ if !event.email.is_empty() => (None, Named::Email),
            (Some(_), Some(workspace)) => (Some(workspace), Named::ExternalId),
            (_, workspace) => (workspace, Named::Event(id)),
        };
        Person {
            participant: hasher.shown(event.participant()),
            workspace: workspace.map(str::to_owned),
            named,
        }
    }

    /// The same in this workspace only, if they are there.
    #[must_use]
    pub fn only_in(self, workspace: &str) -> Option<Person> {
        match (self.named, &self.workspace) {
            (Named::Email, _) => Some(Person {
                workspace: Some(workspace.to_owned()),
                ..self
            }),
            (_, own) => (own.as_deref() == Some(workspace)).then_some(self),
        }
    }

    /// Whether an event of their name is meant, by a job of it in this workspace.
    pub(super) fn has(&self, id: EventId, event: &Event, workspace: Option<&str>) -> bool {
        let theirs = match self.named {
            Named::Email => true,
            Named::ExternalId => event.email.is_empty() && event.external_id.is_some(),
            Named::Event(own) => own == id,
        };
        theirs && self.is_in(workspace)
    }

    /// Whether an address of their name, remembered in this workspace, is theirs.
    pub(super) fn is_at(&self, workspace: &str) -> bool {
        !matches!(self.named, Named::Event(_)) && self.is_in(Some(workspace))
    }

    fn is_in(&self, workspace: Option<&str>) -> bool {
        let wanted = self.workspace.as_deref();
        wanted.is_none_or(|wanted| workspace == Some(wanted))
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

/// What is remembered of a participant, whether or not any of it still lives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    /// The newest of their events, the newest first.
    pub events: Vec<EventId>,
    /// There are older ones.
    pub more: bool,
    /// Where their profile is believed to be, by workspace.
    pub addresses: Vec<(Name, Address)>,
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
    /// Whether this is an event of theirs: by its phone; by its external id, of an event without an e-mail; or by any text
    /// in what it brought, where that is the only place for it: an e-mail of an event without one, a phone of a lead or
    /// webhook. What somebody else's event says beyond that about them makes it none of theirs.
    pub fn is_in(&self, event: &Event) -> bool {
        let same = |text: &str| match self {
            Trace::Email(wanted) => email::normalised(text).is_ok_and(|it| it == *wanted),
            Trace::Phone(wanted) => dialled(text).eq(wanted.chars()),
        };
        let nameless = event.email.is_empty();
        let (by_phone, by_content) = match self {
            Trace::Email(_) => (None, nameless),
            Trace::Phone(_) => (event.phone.as_deref(), event.source != Source::Quikly),
        };
        let brought = || {
            let told = event.event.as_ref().and_then(|it| it.properties.as_ref());
            let texts = [event.attributes.as_ref(), told].into_iter().flatten();
            texts.map(ObjectText::object)
        };
        by_phone.is_some_and(same)
            || (nameless && event.external_id.as_deref().is_some_and(same))
            || (by_content && brought().any(|object| object.values().any(|it| says(it, &same))))
    }
}

/// A phone number without what people set between its digits.
fn dialled(text: &str) -> impl Iterator<Item = char> {
    let between = |c: &char| c.is_whitespace() || matches!(c, '-' | '.' | '/' | '(' | ')');
    text.chars().filter(move |c| !between(c))
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
    /// Who has such events, and the e-mail of those who are named by one.
    pub people: BTreeMap<Person, Option<String>>,
    /// Where to go on; `None` at the end.
    pub next: Option<Position>,
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Found({} of them)", self.people.len())
    }
}

impl Found {
    /// Adds whose event this is.
    pub(super) fn add(&mut self, person: Person, event: &Event) {
        let email = (person.named == Named::Email).then(|| event.email.clone());
        self.people.insert(person, email);
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
    use crate::model::event::CustomEvent;
    use crate::model::time::Timestamp;

    fn lead(email: &str, answers: &Value) -> Event {
        Event {
            source: Source::Outgrow,
            kind: EventKind::Lead,
            key: "k".into(),
            scope: "quiz".into(),
            email: email.into(),
            email_given: None,
            trace: None,
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
        // A lead or a webhook has no other place for it.
        let phone = Trace::Phone("+15550100".into());
        let answers = json!({"tel": [" +1 (555) 01-00 "]});
        assert!(phone.is_in(&lead("bo@b.example", &answers)));
        assert!(!phone.is_in(&lead("bo@b.example", &json!({"tel": "+155501001"}))));
        assert!(!phone.is_in(&lead("bo@b.example", &json!({"tel": 15_550_100}))));
        let webhook = Event {
            source: Source::Braze,
            attributes: None,
            event: Some(CustomEvent {
                name: "joined".into(),
                properties: lead("", &json!({"phone": "+15550100"})).attributes,
            }),
            ..bo.clone()
        };
        assert!(phone.is_in(&Event {
            phone: None,
            ..webhook
        }));
        let quikly = Event {
            source: Source::Quikly,
            ..lead("bo@b.example", &answers)
        };
        assert!(!phone.is_in(&quikly));
    }

    #[test]
    fn a_name_that_only_its_owner_gave_is_no_other_owners() {
        let (hasher, id) = (Hasher::new([7; 32]), EventId([1; 16]));
        let of = |event: &Event, at| Person::of(&hasher, id, event, at);
        let named = |email: &str| Event {
            external_id: Some("u-1".into()),
            ..lead(email, &json!({}))
        };
        let customer = of(&named(""), Some("acme"));
        let other = EventId([2; 16]);
        assert!(customer.has(other, &named(""), Some("acme")));
        assert!(!customer.has(other, &named(""), Some("globex")));
        assert!(!customer.has(other, &named(""), None));
        assert!(!customer.has(other, &lead("", &json!({})), Some("acme")));
        assert!(!customer.has(other, &named("u-1"), Some("acme")));
        assert!(customer.is_at("acme") && !customer.is_at("globex"));
        for nobody in [
            of(&named(""), None),
            of(&lead("", &json!({})), Some("acme")),
        ] {
            assert_eq!(nobody.named, Named::Event(id));
            assert!(!nobody.has(other, &named(""), Some("acme")));
            assert!(!nobody.is_at("acme"));
        }
        let everywhere = of(&named("ada@b.example"), Some("acme"));
        assert_eq!(
            (everywhere.named, &everywhere.workspace),
            (Named::Email, &None)
        );
        let only = |person: Person| person.only_in("globex").map(|it| it.workspace);
        assert_eq!(only(everywhere), Some(Some("globex".into())));
        assert_eq!(only(customer), None);
        assert_eq!(only(of(&lead("", &json!({})), None)), None);
    }

    #[test]
    fn nothing_shows_who_it_is() {
        let ada = lead("ada@b.example", &json!({}));
        let person = Person::of(&Hasher::new([7; 32]), EventId([1; 16]), &ada, None);
        let mut found = Found::default();
        found.add(person.clone(), &ada);
        let shown = format!("{person:?}{found:?}{:?}", Trace::Phone("+15550100".into()));
        assert!(!shown.contains("ada") && !shown.contains("555"), "{shown}");
    }
}
