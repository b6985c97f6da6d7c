//! Telling Quikly that a participant did what the activation asks.
//!
//! Invariants: at most one credit per (workspace, activation, credit event, participant); the store sees to it by
//! [`Child::once`], and every repetition of one carries the same `Idempotency-Key`, today and in later versions.

use super::Step;
use super::job::{Child, Job, Outcome, State};
use crate::model::call::{Call, Credit, Reply};
use crate::model::event::Event;
use crate::model::json::Object;
use crate::model::lane::{Lane, LaneKind};
use crate::model::rules::Rules;
use crate::model::time::Timestamp;

/// The number of an event's credit among its jobs.
const CREDIT_NUMBER: u8 = 1;

/// The credit that the participation of `event` has earned, if its activation gives one.
pub(super) fn earned(event: &Event, now: Timestamp, rules: &Rules) -> Option<Child> {
    let rule = rules.credit.as_ref()?;
    let state = State::Credit {
        event: rule.event.clone(),
    };
    Some(Child {
        number: CREDIT_NUMBER,
        lane: Lane::new(&rules.workspace, LaneKind::Quikly),
        job: Job::new(state, now),
        event: event.slim(),
        once: Some(format!(
            "credit/{}/{}/{}",
            rules.workspace, rules.scope, rule.event
        )),
    })
}

/// `credit_event` is the one the credit was earned for: a later change of the configuration renames no credit.
pub(super) fn ask(credit_event: &str, event: &Event, rules: &Rules) -> Call {
    Call::Credit(Credit {
        q_scope: event.scope.clone(),
        event: credit_event.to_owned(),
        email: event.email_given().to_owned(),
        pairs: Object::new(),
        idempotency_key: idempotency_key(
            &rules.workspace,
            &event.scope,
            credit_event,
            &event.email,
        ),
        accepted_at: event.accepted_at,
        on_unknown: rules
            .credit
            .as_ref()
            .map(|rule| rule.on_unknown)
            .unwrap_or_default(),
    })
}

pub(super) fn hear(reply: &Reply) -> Step {
    match reply {
        Reply::Credited => Step::end(Outcome::Credited),
        _ => Step::Unfitting,
    }
}

/// 32 hexadecimal digits: BLAKE3 over the parts, each behind its length (8 bytes, little endian). Never to be changed:
/// Quikly recognises repetitions by it across versions of the relay.
fn idempotency_key(workspace: &str, scope: &str, credit_event: &str, email: &str) -> String {
    hashed(&[workspace, scope, credit_event, email])
}

pub(super) fn hashed(parts: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    let mut key = hasher.finalize().to_hex().to_string();
    key.truncate(32);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_idempotency_key_is_the_one_it_was_in_the_first_version() {
        assert_eq!(
            idempotency_key("acme", "spring-drop", "joined", "a@b.example"),
            "14b1be2f4109ca2c968bc9212759dde3"
        );
        assert_ne!(
            idempotency_key("acme", "spring", "-dropjoined", "a@b.example"),
            idempotency_key("acme", "spring-drop", "joined", "a@b.example")
        );
    }
}
