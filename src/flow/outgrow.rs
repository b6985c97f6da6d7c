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
    Step::end(outcome)
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

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests may")]
mod tests {
    use serde_json::json;

    use super::super::job::{Class, Fate, Flow, Job, Reason, Start, State};
    use super::super::settle::{moved, unaskable, vanished};
    use super::super::{hear, is_empty, revive, start};
    use super::*;
    use crate::model::call::Address;
    use crate::model::event::{EventKind, Source};
    use crate::model::lane::LaneKind;
    use crate::model::rules::{AnswerKind, MappedAttribute, Mapping, RuleBook};
    use crate::model::time::Timestamp;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn rules() -> Rules {
        Rules {
            mapping: Some(Mapping {
                id: None,
                email: Some("/email".into()),
                external_id: None,
                bad_answer_kills: false,
                attributes: vec![MappedAttribute {
                    name: "score".into(),
                    from: "/score".into(),
                    kind: AnswerKind::Number,
                    coerce: false,
                    required: true,
                }],
            }),
            ..Rules::plain("quiz", "acme")
        }
    }

    fn strict() -> Rules {
        let mut rules = rules();
        rules.mapping.as_mut().unwrap().bad_answer_kills = true;
        rules
    }

    fn lead(lead: &Value) -> Event {
        Event {
            source: Source::Outgrow,
            kind: EventKind::Lead,
            key: "#1".into(),
            scope: "quiz".into(),
            email: String::new(),
            email_given: None,
            trace: None,
            external_id: None,
            phone: None,
            sms_consent: false,
            at: NOW,
            accepted_at: NOW,
            attributes: Some(ObjectText::new(lead.as_object().unwrap())),
            event: None,
        }
    }

    fn job() -> Job {
        Job::new(State::Outgrow, NOW)
    }

    fn outcome(lead: &Event, rules: &Rules) -> Outcome {
        match hear(&job(), lead, &Reply::Tracked, NOW, rules) {
            Step::Done { outcome, spawn } if spawn.is_empty() => outcome,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_lead_is_one_track_of_the_mapped_answers_and_nothing_else() {
        let lead = lead(&json!({"email": " Ada@B.example", "score": 7, "other": 1}));
        let Some(Call::Track(track)) = ask(&lead, &rules()) else {
            panic!()
        };
        assert_eq!(track.address, Address::Email("ada@b.example".into()));
        assert!(track.create && track.events.is_empty() && track.subscribe.is_none());
        assert_eq!(Value::from(track.attributes), json!({"score": 7}));
        assert_eq!(outcome(&lead, &rules()), Outcome::Updated);
        assert_eq!(
            hear(&job(), &lead, &Reply::Credited, NOW, &rules()),
            Step::Unfitting
        );
    }

    #[test]
    fn a_bad_answer_drops_or_kills_as_the_content_says_and_a_corrected_mapping_revives() {
        let bad = lead(&json!({"email": "ada@b.example", "score": "seven"}));
        // Nothing else is mapped, so nothing is left to write, and no profile is made for it.
        let nothing = ask(&bad, &rules()).unwrap();
        assert!(is_empty(&nothing));
        assert_eq!(outcome(&bad, &rules()), Outcome::NothingToWrite);
        let mut two = rules();
        let mapping = two.mapping.as_mut().unwrap();
        mapping.attributes.push(MappedAttribute {
            name: "mail".into(),
            from: "/email".into(),
            kind: AnswerKind::String,
            ..mapping.attributes[0].clone()
        });
        assert!(!is_empty(&ask(&bad, &two).unwrap()));
        assert_eq!(outcome(&bad, &two), Outcome::UpdatedInPart);

        assert_eq!(ask(&bad, &strict()), None);
        let Fate::Bury { job, burial } = unaskable(job(), &bad, NOW, &strict()).fate else {
            panic!()
        };
        assert_eq!(
            (burial.reason, burial.class),
            (Reason::BadAnswer, Class::Configuration)
        );
        assert_eq!(
            burial.answer.text,
            "score (/score): a text instead of a number"
        );
        let mut corrected = strict();
        corrected.mapping.as_mut().unwrap().attributes[0].kind = AnswerKind::String;
        let book = RuleBook::new([corrected.clone()]);
        let revived = revive(&bad, None, Some(Flow::Outgrow), Some(&job), &book, NOW);
        assert!(
            matches!(revived, Ok(Start::Run { lane, .. }) if lane.kind == LaneKind::UsersTrack)
        );
        assert!(ask(&bad, &corrected).is_some());
    }

    #[test]
    fn nobodys_lead_is_dead_whatever_is_done_with_bad_answers() {
        let nobody = lead(&json!({"email": "", "score": 7}));
        for rules in [rules(), strict()] {
            assert_eq!(ask(&nobody, &rules), None);
            let text = unmappable(&nobody, &rules);
            assert_eq!(
                text,
                "email (/email): an empty text instead of an e-mail address"
            );
        }
    }

    #[test]
    fn a_lead_of_an_unknown_content_is_dead_until_it_is_known() {
        let lead = lead(&json!({"email": "ada@b.example", "score": 7}));
        // An activation of the same name is not it.
        let unknown = RuleBook::new([Rules::plain("quiz", "acme")]);
        let (Start::Bury { burial, flow, .. }, None) = start(&lead, &unknown, NOW) else {
            panic!()
        };
        assert_eq!(
            (burial.reason, flow),
            (Reason::UnknownActivation, Some(Flow::Outgrow))
        );
        assert_eq!(burial.answer.text, "no content of this name is configured");
        let known = RuleBook::new([rules()]);
        assert!(revive(&lead, None, flow, None, &known, NOW).is_ok());
        let (Start::Run { lane, job }, None) = start(&lead, &known, NOW) else {
            panic!()
        };
        assert_eq!(lane.to_string(), "acme/users_track");
        assert_eq!(job.state, State::Outgrow);
        let Fate::Bury { burial, .. } = vanished(job.clone(), NOW).fate else {
            panic!()
        };
        assert_eq!(burial.answer.text, "no content of this name is configured");
        let Fate::Keep { lane, .. } = moved(job, &lead, NOW, &Rules::plain("quiz", "b")).fate
        else {
            panic!()
        };
        assert_eq!(lane.to_string(), "b/users_track");
    }
}
