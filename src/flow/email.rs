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
use crate::model::rules::{OnUnknown, Rules};
use crate::model::time::Timestamp;

pub(super) fn ask(profile: &Profile, event: &Event, rules: &Rules) -> Call {
    match profile {
        Profile::LookUp => look_up(event),
        Profile::Create => Call::Track(create(event, rules)),
        Profile::Update(address) => Call::Track(Track {
            address: address.clone(),
            create: false,
            attributes: marks(event, rules),
            events: own_event(event).into_iter().collect(),
            on_unknown: rules.progress_on_unknown,
        }),
    }
}

pub(super) fn hear(
    profile: &Profile,
    event: &Event,
    reply: &Reply,
    now: Timestamp,
    rules: &Rules,
) -> Step {
    let done = |outcome| Step::Done {
        outcome,
        spawn: credit::earned(event, now, rules).into_iter().collect(),
    };
    match (profile, reply) {
        (Profile::LookUp, Reply::Profiles(profiles)) => {
            match identity::recognise(profiles, &event.email) {
                Found::Nobody => Step::Next(State::Email(Profile::Create)),
                Found::NotWhole => Step::Again(NOT_WHOLE),
                Found::At(_) if event.event.is_none() && marks(event, rules).is_empty() => {
                    done(Outcome::Found)
                }
                Found::At(address) => Step::Next(State::Email(Profile::Update(address))),
            }
        }
        (Profile::Create, Reply::Tracked) => done(Outcome::Created),
        (Profile::Update(_), Reply::Tracked) => done(Outcome::Found),
        (_, Reply::Profiles(_) | Reply::Tracked | Reply::Credited) => Step::Unfitting,
    }
}

/// What is told of an attempt that saw a profile without the e-mail it was asked for.
pub(super) const NOT_WHOLE: &str = "the profile found does not show the e-mail yet";

pub(super) fn look_up(event: &Event) -> Call {
    Call::LookUp {
        email: event.email.clone(),
    }
}

fn create(event: &Event, rules: &Rules) -> Track {
    let mut track = bare_creation(event, rules);
    track.attributes.extend(marks(event, rules));
    identify(&mut track.attributes, event);
    if let Some(created) = &rules.created_event {
        track.on_unknown = if track.events.is_empty() {
            created.on_unknown
        } else {
            stricter(track.on_unknown, created.on_unknown)
        };
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

/// Events that travel together are repeated only when each of them may be.
fn stricter(one: OnUnknown, other: OnUnknown) -> OnUnknown {
    match (one, other) {
        (OnUnknown::Resend, OnUnknown::Resend) => OnUnknown::Resend,
        (OnUnknown::Park, _) | (_, OnUnknown::Park) => OnUnknown::Park,
    }
}
