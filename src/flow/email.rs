//! E-mail acquisition: find the participant's profile or make it, mark it, and credit.
//!
//! Invariants: a found profile is never created and never gets `created_attributes` or `created_event`; with nothing
//! to write to it, nothing is written. What is written is laid over one another in this order, later wins:
//! `created_attributes` (new profiles only: defaults of the brand), the participation's own `attributes`,
//! `mark_attributes` (the brand's record that somebody took part: no participant unsets it), `email` and `phone`.

use serde_json::Value;

use super::identity::{self, Found};
use super::job::{Outcome, Profile, State};
use super::{Step, credit};
use crate::model::call::{Address, Call, Reply, Track, TrackEvent};
use crate::model::event::Event;
use crate::model::json::Object;
use crate::model::rules::{Identity, OnUnknown, Rules};
use crate::model::time::Timestamp;

/// Where bringing something to the profile begins.
pub(super) fn start(event: &Event, rules: &Rules) -> Profile {
    match rules.identity {
        Identity::Export => Profile::LookUp,
        Identity::Email => Profile::Update(Address::Email(event.email.clone())),
    }
}

pub(super) fn ask(profile: &Profile, event: &Event, rules: &Rules) -> Call {
    match profile {
        Profile::Recall => Call::Recall,
        Profile::LookUp => look_up(event, false),
        Profile::Create => Call::Track(create(event, rules)),
        Profile::Update(address) => Call::Track(update(address, event, rules)),
    }
}

pub(super) fn hear(
    profile: &Profile,
    event: &Event,
    reply: &Reply,
    now: Timestamp,
    rules: &Rules,
) -> Step {
    match walk(profile, event, reply, rules) {
        Walk::To(profile) => Step::Next(State::Email(profile)),
        Walk::Again => Step::Again(NOT_WHOLE),
        Walk::End(outcome) => Step::Done {
            outcome,
            spawn: credit::earned(event, now, rules).into_iter().collect(),
        },
        Walk::Unfitting => Step::Unfitting,
    }
}

/// Where a reply leads on the way to the profile.
pub(super) enum Walk {
    To(Profile),
    Again,
    End(Outcome),
    Unfitting,
}

/// One step on the way to the profile, whatever comes behind it.
pub(super) fn walk(profile: &Profile, event: &Event, reply: &Reply, rules: &Rules) -> Walk {
    match (profile, reply) {
        (Profile::LookUp, Reply::Profiles(profiles)) => {
            match identity::recognise(profiles, &event.email) {
                Found::Nobody => Walk::To(Profile::Create),
                Found::NotWhole => Walk::Again,
                Found::At(_) if nothing_to_write(event, rules) => Walk::End(Outcome::Found),
                Found::At(person) => Walk::To(Profile::Update(person.address)),
            }
        }
        (Profile::LookUp | Profile::Create, Reply::Remembered(Some(_)))
            if nothing_to_write(event, rules) =>
        {
            Walk::End(Outcome::Found)
        }
        (Profile::LookUp | Profile::Create | Profile::Recall, Reply::Remembered(Some(address))) => {
            Walk::To(Profile::Update(address.clone()))
        }
        (Profile::Recall, Reply::Remembered(None)) => Walk::To(Profile::LookUp),
        (Profile::Create, Reply::Tracked) => Walk::End(Outcome::Created),
        (Profile::Update(Address::Email(_)), Reply::Tracked) => Walk::End(Outcome::Updated),
        (Profile::Update(_), Reply::Tracked) => Walk::End(Outcome::Found),
        _ => Walk::Unfitting,
    }
}

/// Whether a found profile stays as it is.
pub(super) fn nothing_to_write(event: &Event, rules: &Rules) -> bool {
    event.event.is_none() && marks(event, rules).is_empty()
}

/// The marks, to a profile that is there; by e-mail, without having looked, to one that may not be. No phone: whose
/// profile it is was not asked, and whoever types somebody's e-mail must not redirect her messages.
pub(super) fn update(address: &Address, event: &Event, rules: &Rules) -> Track {
    to_known(address, marks(event, rules), event, rules)
}

/// What is written to an address that is known. Where that is no id that Braze or the brand gave, the profile is made if
/// it is not there: Braze drops an update of an alias that it does not know, and says nothing.
pub(super) fn to_known(
    address: &Address,
    mut attributes: Object,
    event: &Event,
    rules: &Rules,
) -> Track {
    let create = match address {
        Address::ExternalId(_) | Address::BrazeId(_) => false,
        Address::Alias(_) | Address::Email(_) => true,
    };
    if let Address::Alias(_) = address {
        attributes.insert("email".into(), Value::String(event.email.clone()));
    }
    Track {
        address: address.clone(),
        create,
        attributes,
        events: own_event(event).into_iter().collect(),
        subscribe: None,
        on_unknown: rules.progress_on_unknown,
    }
}

/// What is told of an attempt that saw a profile without the e-mail it was asked for.
pub(super) const NOT_WHOLE: &str = "the profile found does not show the e-mail yet";

pub(super) fn look_up(event: &Event, phone: bool) -> Call {
    Call::LookUp {
        email: event.email.clone(),
        phone,
    }
}

pub(super) fn create(event: &Event, rules: &Rules) -> Track {
    let mut track = bare_creation(event, rules);
    track.attributes.extend(marks(event, rules));
    identify(&mut track.attributes, event);
    if let Some(created) = &rules.created_event {
        travels_with(&mut track, created.on_unknown);
        track.events.insert(
            0,
            TrackEvent {
                name: created.name.clone(),
                time: event.at,
                properties: None,
            },
        );
    }
    track
}

/// A creation with what every new profile gets and what the event itself brings: no marks, no `created_event`.
pub(super) fn bare_creation(event: &Event, rules: &Rules) -> Track {
    let mut attributes = rules.created_attributes.clone();
    attributes.extend(own_attributes(event));
    identify(&mut attributes, event);
    Track {
        address: Address::for_creation(&event.email),
        create: true,
        attributes,
        events: own_event(event).into_iter().collect(),
        subscribe: None,
        on_unknown: rules.progress_on_unknown,
    }
}

fn identify(attributes: &mut Object, event: &Event) {
    attributes.insert("email".into(), Value::String(event.email.clone()));
    if let Some(phone) = &event.phone {
        attributes.insert("phone".into(), Value::String(phone.clone()));
    }
}

fn marks(event: &Event, rules: &Rules) -> Object {
    let mut attributes = own_attributes(event);
    attributes.extend(rules.mark_attributes.clone());
    attributes
}

pub(super) fn own_attributes(event: &Event) -> Object {
    event
        .attributes
        .as_ref()
        .map(crate::model::json::ObjectText::object)
        .unwrap_or_default()
}

pub(super) fn own_event(event: &Event) -> Option<TrackEvent> {
    event.event.as_ref().map(|own| TrackEvent {
        name: own.name.clone(),
        time: event.at,
        properties: own
            .properties
            .as_ref()
            .map(crate::model::json::ObjectText::object),
    })
}

/// Something else that counts goes with `track` and follows `on_unknown`: what travels together is repeated only when all
/// of it may be.
pub(super) fn travels_with(track: &mut Track, on_unknown: OnUnknown) {
    track.on_unknown = match (track.on_unknown, on_unknown) {
        (_, alone) if track.events.is_empty() => alone,
        (OnUnknown::Resend, OnUnknown::Resend) => OnUnknown::Resend,
        (OnUnknown::Park, _) | (_, OnUnknown::Park) => OnUnknown::Park,
    };
}
