//! An Outgrow lead: its answers become attributes of one profile, by `users.track` alone.
//!
//! Invariants: the lead is mapped whenever it is asked about, by today's mapping, so that correcting the mapping and
//! replaying is all it takes. The profile is the one with the mapped external id, else with the e-mail; nothing is looked
//! up, since that needs a permission which an Outgrow key does not have. Only mapped attributes are written: a quiz never
//! changes a profile's e-mail.

use std::borrow::Cow;

use serde_json::Value;

use super::Step;
use super::job::Outcome;
use super::mapping::{self, Mapped};
use crate::model::call::{Call, Reply, Track};
use crate::model::event::Event;
use crate::model::json::ObjectText;
use crate::model::rules::{OnUnknown, Rules};

/// `None`: nothing can be written, for the reason that [`unmappable`] tells.
pub(super) fn ask(event: &Event, rules: &Rules) -> Option<Call> {
    let mapped = usable(event, rules)?;
    let nothing = mapped.attributes.is_empty();
    Some(Call::Track(Track {
        address: mapped.address?,
        // With nothing to write no profile is made either; such a call is not sent.
        create: !nothing,
        attributes: mapped.attributes,
        events: Vec::new(),
        subscribe: None,
        on_unknown: OnUnknown::Resend,
    }))
}

pub(super) fn hear(event: &Event, reply: &Reply, rules: &Rules) -> Step {
    let Reply::Tracked = reply else {
        return Step::Unfitting;
    };
    let outcome = match usable(event, rules) {
        Some(mapped) if mapped.attributes.is_empty() => Outcome::NothingToWrite,
        Some(mapped) if !mapped.bad.is_empty() => Outcome::UpdatedInPart,
        Some(_) | None => Outcome::Updated,
    };
    Step::Done {
        outcome,
        spawn: Vec::new(),
    }
}

/// Why nothing of the lead can be written: names what is bad, and repeats none of it.
pub(super) fn unmappable(event: &Event, rules: &Rules) -> Cow<'static, str> {
    match mapped(event, rules) {
        Some(mapped) => mapping::told(&mapped.bad).into(),
        None => "the content has no mapping".into(),
    }
}

fn mapped(event: &Event, rules: &Rules) -> Option<Mapped> {
    let lead = event.attributes.as_ref().map(ObjectText::object);
    let mapping = rules.mapping.as_ref()?;
    Some(mapping::map(
        &Value::Object(lead.unwrap_or_default()),
        mapping,
    ))
}

/// What is to be written, unless the whole lead is unusable.
fn usable(event: &Event, rules: &Rules) -> Option<Mapped> {
    mapped(event, rules).filter(|mapped| !mapped.is_dead)
}
