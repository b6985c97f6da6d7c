//! What happens inside an activation, cascaded to the profile: a progress event, or a further participation.
//!
//! Invariants: it makes sure of the profile itself; it never sends `created_event`, never marks and never credits.
//! A profile that it creates gets `created_attributes`, like every new profile. One participant's updates are delivered
//! in the order of their acceptance: each takes the participant's turn.

use super::Step;
use super::email::{self, Walk};
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
    let outcome = match (profile, email::walk(profile, event, reply, is_bare(event))) {
        // To remember is no success: what failed before still counts.
        (Profile::Recall, Walk::To(known @ Profile::Update(_))) => {
            return Step::Resume(State::Progress(known));
        }
        (_, Walk::To(profile)) => return Step::Next(State::Progress(profile)),
        (_, Walk::Again) => return Step::Again(email::NOT_WHOLE),
        (_, Walk::Unfitting) => return Step::Unfitting,
        (Profile::Update(_), Walk::End(_)) => Outcome::Updated,
        (_, Walk::End(outcome)) => outcome,
    };
    Step::end(outcome)
}

/// Whether it brings nothing.
fn is_bare(event: &Event) -> bool {
    event.event.is_none() && email::own_attributes(event).is_empty()
}
