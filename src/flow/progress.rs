//! What happens inside an activation, cascaded to the profile: a progress event, or a further participation.
//!
//! Invariants: it makes sure of the profile itself; it never sends `created_event`, never marks and never credits.
//! A profile that it creates gets `created_attributes`, like every new profile.
//!
//! Deliberately absent in this version: turns and `order_gap`; updates of one participant may overtake each other.

use super::Step;
use super::email;
use super::identity::{self, Found};
use super::job::{Outcome, Profile, State};
use crate::model::call::{Address, Call, Reply, Track};
use crate::model::event::Event;
use crate::model::rules::Rules;

pub(super) fn ask(profile: &Profile, event: &Event, rules: &Rules) -> Call {
    match profile {
        Profile::LookUp => email::look_up(event),
        Profile::Create => Call::Track(email::bare_creation(event, rules)),
        Profile::Update(address) => Call::Track(Track {
            address: address.clone(),
            // By e-mail, without having looked, the profile may not be there.
            create: matches!(address, Address::Email(_)),
            subscribe: None,
            attributes: email::own_attributes(event),
            events: email::own_event(event).into_iter().collect(),
            on_unknown: rules.progress_on_unknown,
        }),
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
                Found::At(_)
                    if event.event.is_none() && email::own_attributes(event).is_empty() =>
                {
                    done(Outcome::Found)
                }
                Found::At(person) => Step::Next(State::Progress(Profile::Update(person.address))),
            }
        }
        (Profile::Create, Reply::Tracked) => done(Outcome::Created),
        (Profile::Update(_), Reply::Tracked) => done(Outcome::Updated),
        _ => Step::Unfitting,
    }
}
