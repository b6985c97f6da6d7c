//! What happens inside an activation, cascaded to the profile: a progress event, or a further participation.
//!
//! Invariants: it makes sure of the profile itself; it never sends `created_event`, never marks and never credits.
//! A profile that it creates gets `created_attributes`, like every new profile. One participant's updates are delivered
//! in the order of their acceptance: each takes the participant's turn.

use super::Step;
use super::email;
use super::identity::{self, Found};
use super::job::{Outcome, Profile, State};
use crate::model::call::{Address, Call, Reply};
use crate::model::event::Event;
use crate::model::rules::{Identity, Rules};

pub(super) fn ask(profile: &Profile, event: &Event, rules: &Rules) -> Call {
    match profile {
        Profile::Recall => Call::Recall,
        Profile::LookUp => email::look_up(event, false),
        Profile::Create => Call::Track(email::bare_creation(event, rules)),
        Profile::Update(address) => Call::Track(email::to_known(
            address,
            email::own_attributes(event),
            event,
            rules,
        )),
    }
}

/// Where an update begins.
pub(super) fn start(event: &Event, rules: &Rules) -> Profile {
    match rules.identity {
        Identity::Export => Profile::Recall,
        Identity::Email => Profile::Update(Address::Email(event.email.clone())),
    }
}

pub(super) fn hear(profile: &Profile, event: &Event, reply: &Reply) -> Step {
    let done = |outcome| Step::Done {
        outcome,
        spawn: Vec::new(),
    };
    match (profile, reply) {
        (Profile::LookUp, Reply::Profiles(profiles)) => {
            match identity::recognise(profiles, &event.email) {
                Found::Nobody => Step::Next(State::Progress(Profile::Create)),
                Found::NotWhole => Step::Again(email::NOT_WHOLE),
                Found::At(_) if is_bare(event) => done(Outcome::Found),
                Found::At(person) => Step::Next(State::Progress(Profile::Update(person.address))),
            }
        }
        (Profile::LookUp | Profile::Create | Profile::Recall, Reply::Remembered(Some(_)))
            if is_bare(event) =>
        {
            done(Outcome::Found)
        }
        (Profile::LookUp | Profile::Create, Reply::Remembered(Some(address))) => {
            Step::Next(State::Progress(Profile::Update(address.clone())))
        }
        // To remember is no success: what failed before still counts.
        (Profile::Recall, Reply::Remembered(Some(address))) => {
            Step::Resume(State::Progress(Profile::Update(address.clone())))
        }
        (Profile::Recall, Reply::Remembered(None)) => Step::Next(State::Progress(Profile::LookUp)),
        (Profile::Create, Reply::Tracked) => done(Outcome::Created),
        (Profile::Update(_), Reply::Tracked) => done(Outcome::Updated),
        _ => Step::Unfitting,
    }
}

/// Whether it brings nothing.
fn is_bare(event: &Event) -> bool {
    event.event.is_none() && email::own_attributes(event).is_empty()
}
