//! Removing a person from Braze: look the e-mail up, delete what is found, and again, until nothing is found.
//!
//! Invariants: an empty answer ends it only after a wait, since what was under way when it began, or was just deleted, takes
//! its time to show. What is deleted was found by this e-mail and shows no other. It learns nothing of anybody's address.
//! Source: the reference page of `/users/delete` (irreversible; gone within a second, caches within five minutes).

use std::time::Duration;

use super::Step;
use super::job::{Class, Erase, Outcome, Reason, State};
use crate::model::call::{Address, Call, IDS_DELETED_MAX, Profile, Reply};
use crate::model::event::Event;
use crate::model::time::Timestamp;

/// How long what was deleted, or written a moment before, may take to show.
const SETTLES_WITHIN: Duration = Duration::from_mins(5);

/// So many deletions without an end: somebody makes the profile again each time.
const ROUNDS_MAX: u8 = 12;

pub(super) const fn start() -> Erase {
    Erase::LookUp {
        rounds: 0,
        waited: false,
    }
}

pub(super) fn ask(erase: &Erase, event: &Event) -> Call {
    match erase {
        Erase::LookUp { .. } => Call::LookUp {
            email: event.email.clone(),
            phone: false,
        },
        Erase::Delete { ids, .. } => Call::Delete(ids.clone()),
    }
}

pub(super) fn hear(erase: &Erase, event: &Event, reply: &Reply, now: Timestamp) -> Step {
    match (erase, reply) {
        (Erase::LookUp { rounds, waited }, Reply::Profiles(found)) if found.is_empty() => {
            match (waited, rounds) {
                (false, _) => look_again(*rounds, now),
                (true, 0) => Step::end(Outcome::NothingToErase),
                (true, _) => Step::end(Outcome::Erased),
            }
        }
        (Erase::LookUp { rounds, .. }, Reply::Profiles(_)) if *rounds >= ROUNDS_MAX => Step::Dead {
            reason: Reason::GaveUp,
            class: Class::Transient,
            text: "profiles with this e-mail keep appearing, whatever is deleted",
        },
        (Erase::LookUp { rounds, .. }, Reply::Profiles(found)) => match ids(found, &event.email) {
            ids if ids.is_empty() => Step::Again("the profiles that were found are not whole yet"),
            ids => Step::Next(State::Erase(Erase::Delete {
                rounds: *rounds,
                ids,
            })),
        },
        (Erase::Delete { rounds, .. }, Reply::Deleted) => look_again(rounds + 1, now),
        _ => Step::Unfitting,
    }
}

fn look_again(rounds: u8, now: Timestamp) -> Step {
    let waited = true;
    Step::Wait {
        state: State::Erase(Erase::LookUp { rounds, waited }),
        until: now + SETTLES_WITHIN,
    }
}

/// By which ids the profiles of this e-mail are deleted: one request takes ids of one kind. The rest is found once more.
fn ids(found: &[Profile], email: &str) -> Vec<Address> {
    let theirs = found.iter().filter(|profile| {
        let shown = profile.email.as_deref();
        shown.is_none_or(|shown| shown.trim().to_lowercase() == email)
    });
    let braze = theirs.clone().filter_map(|it| it.braze_id.clone());
    let mut ids: Vec<Address> = braze.map(Address::BrazeId).collect();
    if ids.is_empty() {
        let external = theirs.filter_map(|it| it.external_id.clone());
        ids = external.map(Address::ExternalId).collect();
    }
    ids.truncate(IDS_DELETED_MAX);
    ids
}
