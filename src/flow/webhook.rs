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
        Reply::Credited => Step::end(Outcome::PassedOn),
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

#[cfg(test)]
#[expect(clippy::panic, clippy::unwrap_used, reason = "tests may")]
mod tests {
    use serde_json::{Value, json};

    use super::super::job::{Flow, Job, Reason, Start, State};
    use super::super::{hear, start};
    use super::*;
    use crate::model::event::{CustomEvent, EventKind, Source};
    use crate::model::lane::LaneKind;
    use crate::model::rules::{CreditRule, ParticipationFlow, RuleBook};
    use crate::model::time::Timestamp;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn webhook() -> Event {
        let pairs = json!({"b": "2", "a": 1, "id": "d-1"});
        Event {
            source: Source::Braze,
            kind: EventKind::Webhook,
            key: "d-1".into(),
            scope: "login".into(),
            email: "ada@b.example".into(),
            email_given: Some("Ada@B.example".into()),
            trace: None,
            external_id: None,
            phone: None,
            sms_consent: false,
            at: NOW,
            accepted_at: NOW,
            attributes: None,
            event: Some(CustomEvent {
                name: "logged_in".into(),
                properties: Some(ObjectText::new(pairs.as_object().unwrap())),
            }),
        }
    }

    fn said(event: &Event, rules: &Rules) -> Credit {
        match ask(event, rules) {
            Some(Call::Credit(credit)) => credit,
            other => panic!("{other:?}"),
        }
    }

    /// An activation that does all it can with participations.
    fn rules() -> Rules {
        Rules {
            flow: Some(ParticipationFlow::Email),
            credit: Some(CreditRule {
                event: "joined".into(),
                on_unknown: OnUnknown::Park,
            }),
            ..Rules::plain("login", "acme")
        }
    }

    #[test]
    fn a_webhook_is_passed_on_with_all_its_pairs_and_starts_nothing_else() {
        let credit = said(&webhook(), &rules());
        assert_eq!((&*credit.q_scope, &*credit.event), ("login", "logged_in"));
        assert_eq!(credit.email, "Ada@B.example");
        assert_eq!(
            Value::from(credit.pairs.clone()).to_string(),
            r#"{"b":"2","a":1,"id":"d-1"}"#
        );
        assert_eq!(credit.accepted_at, NOW);
        // The activation's own credit may be parked; what Braze said may not be lost.
        assert_eq!(credit.on_unknown, OnUnknown::Resend);
        let job = Job::new(State::Webhook, NOW);
        let done = Step::end(Outcome::PassedOn);
        assert_eq!(
            hear(&job, &webhook(), &Reply::Credited, NOW, &rules()),
            done
        );
        assert_eq!(
            hear(&job, &webhook(), &Reply::Tracked, NOW, &rules()),
            Step::Unfitting
        );
    }

    #[test]
    fn every_activation_takes_webhooks_and_an_unknown_one_is_a_dead_letter() {
        for rules in [rules(), Rules::plain("login", "acme")] {
            let (Start::Run { lane, job }, None) = start(&webhook(), &RuleBook::new([rules]), NOW)
            else {
                panic!()
            };
            assert_eq!((lane.kind, job.state), (LaneKind::Quikly, State::Webhook));
        }
        let (Start::Bury { burial, flow, .. }, None) = start(&webhook(), &RuleBook::default(), NOW)
        else {
            panic!()
        };
        assert_eq!(
            (burial.reason, flow),
            (Reason::UnknownActivation, Some(Flow::Webhook))
        );
    }

    #[test]
    fn repetitions_carry_one_idempotency_key_and_other_webhooks_another() {
        let key = |event: &Event| said(event, &rules()).idempotency_key;
        assert_eq!(key(&webhook()), key(&webhook()));
        assert_eq!(key(&webhook()), "04cc9f9a8062d3188e743d5d0b116ff7");
        let later = Event {
            accepted_at: Timestamp::from_millis(NOW.as_millis() + 1),
            ..webhook()
        };
        let other = Event {
            key: "d-2".into(),
            ..webhook()
        };
        let keys = std::collections::BTreeSet::from([key(&webhook()), key(&later), key(&other)]);
        assert_eq!(keys.len(), 3);
    }
}
