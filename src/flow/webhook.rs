//! A Braze webhook on its way to Quikly.
//!
//! Invariants: one call for each accepted webhook, at least once on the wire, and every repetition carries the same
//! `Idempotency-Key`; another webhook, even one that says the same, carries another. Nothing else is started: no profile
//! is touched, and no credit of the activation's own is counted for it.

use super::Step;
use super::credit::hashed;
use super::job::Outcome;
use crate::model::call::{Call, Credit, Reply};
use crate::model::event::Event;
use crate::model::json::ObjectText;
use crate::model::rules::{OnUnknown, Rules};

/// `None`: the event is no webhook.
pub(super) fn ask(event: &Event, rules: &Rules) -> Option<Call> {
    let told = event.event.as_ref()?;
    let pairs = told.properties.as_ref().map(ObjectText::object);
    Some(Call::Credit(Credit {
        q_scope: event.scope.clone(),
        event: told.name.clone(),
        email: event.email_given().to_owned(),
        pairs: pairs.unwrap_or_default(),
        idempotency_key: idempotency_key(event, rules),
        accepted_at: event.accepted_at,
        on_unknown: OnUnknown::Resend,
    }))
}

pub(super) fn hear(reply: &Reply) -> Step {
    match reply {
        Reply::Credited => Step::Done {
            outcome: Outcome::PassedOn,
            spawn: Vec::new(),
        },
        _ => Step::Unfitting,
    }
}

/// Of this very event: a later one with the same content is accepted again once its key is forgotten, and is not to be
/// taken for a repetition then.
fn idempotency_key(event: &Event, rules: &Rules) -> String {
    hashed(&[
        "webhook",
        &rules.workspace,
        &event.scope,
        &event.email,
        &event.key,
        &event.accepted_at.to_rfc3339(),
    ])
}
