//! What comes in during a campaign of `webhook`, `outgrow` and `progress`, with what is promised for each lead.

use std::collections::BTreeMap;

use braze_relay::model::call::Address;
use braze_relay::model::event::{CustomEvent, Event, EventKind, Source};
use braze_relay::model::json::{Object, ObjectText};
use braze_relay::model::rules::{
    AnswerKind, MappedAttribute, Mapping, OnUnknown, RetryPolicy, Rules,
};
use serde_json::{Value, json};

use super::super::campaign::{event, rich, rules};
use super::super::lab::Lab;

/// What is promised for a lead.
#[derive(Clone, Debug, PartialEq)]
pub enum Promise {
    /// These attributes on this profile; `part`: others had bad answers.
    Written {
        address: Address,
        attributes: Object,
        part: bool,
    },
    /// There is nothing to write.
    Nothing,
    /// It is a dead letter.
    BadAnswer,
}

/// The events of a campaign in order of their posting, and what is promised for its leads, by key.
#[derive(Default)]
pub struct Plan {
    pub events: Vec<Event>,
    pub leads: BTreeMap<String, Promise>,
}

fn mapped(name: &str, kind: AnswerKind, coerce: bool, required: bool) -> MappedAttribute {
    MappedAttribute {
        name: name.into(),
        from: format!("/{name}"),
        kind,
        coerce,
        required,
    }
}

fn content(scope: &str, bad_answer_kills: bool, attributes: Vec<MappedAttribute>) -> Rules {
    Rules {
        mapping: Some(Mapping {
            id: None,
            email: Some("/email".into()),
            external_id: Some("/user".into()),
            bad_answer_kills,
            attributes,
        }),
        ..Rules::plain(scope, "acme")
    }
}

/// Two activations that do all they can, one for webhooks alone, and three contents.
pub fn book(retry: RetryPolicy) -> Vec<Rules> {
    let answers = || {
        vec![
            mapped("lead", AnswerKind::String, false, true),
            mapped("score", AnswerKind::Number, false, true),
            mapped("zip", AnswerKind::String, true, false),
            mapped("styles", AnswerKind::Array, false, false),
            mapped("vip", AnswerKind::Boolean, false, false),
            mapped("born", AnswerKind::Time, false, false),
        ]
    };
    let all = [
        rules("resend", "acme", OnUnknown::Resend),
        rules("park", "acme", OnUnknown::Park),
        Rules::plain("hooks", "acme"),
        content("quiz", false, answers()),
        content("strict", true, answers()),
        content(
            "bare",
            false,
            vec![mapped("score", AnswerKind::Number, false, true)],
        ),
    ];
    all.map(|rules| Rules { retry, ..rules }).into()
}

/// So many events about a few people.
pub fn plan(dice: &Lab, count: u64) -> Plan {
    let people = 2 + dice.below(5);
    let mut plan = Plan::default();
    for key in 0..count {
        let person = format!("P{}@B.example", dice.below(people));
        if !plan.events.is_empty() && dice.chance(0.1) {
            let again = dice.below(plan.events.len() as u64) as usize;
            plan.events.push(plan.events[again].clone());
        }
        let event = match dice.below(10) {
            0..3 => webhook(dice, key, &person),
            3..6 => {
                let (event, promise) = lead(dice, key, &person);
                plan.leads.insert(event.key.clone(), promise);
                event
            }
            6 => participation(dice, key, &person),
            _ => Event {
                kind: EventKind::Progress,
                ..participation(dice, key, &person)
            },
        };
        plan.events.push(event);
    }
    plan
}

fn participation(dice: &Lab, key: u64, person: &str) -> Event {
    let scope = ["resend", "park"][dice.below(2) as usize];
    let mut event = event(key, scope, person);
    if dice.chance(0.3) {
        event.phone = Some("+15550100".into());
    }
    if dice.chance(0.85) {
        event = rich(event);
        if dice.chance(0.5) {
            event.event = None;
        }
    }
    event
}

fn webhook(dice: &Lab, key: u64, person: &str) -> Event {
    let scope = ["resend", "park", "hooks"][dice.below(3) as usize];
    let pairs = json!({"z": key, "id": format!("d-{key}"), "tier": null, "deep": {"b": [1, 2.5], "a": "ü"}});
    let mut pairs = pairs.as_object().unwrap().clone();
    if dice.chance(0.3) {
        pairs.clear();
    }
    // Some are told of people who do nothing else: nobody makes a profile of them.
    let person = if dice.chance(0.3) {
        format!("only-told-{key}@b.example")
    } else {
        person.to_owned()
    };
    Event {
        source: Source::Braze,
        kind: EventKind::Webhook,
        event: Some(CustomEvent {
            name: format!("hook-{key}"),
            properties: Some(ObjectText::new(&pairs)),
        }),
        ..event(key, scope, &person)
    }
}

/// A lead whose answers are what they should be, or not.
fn lead(dice: &Lab, key: u64, person: &str) -> (Event, Promise) {
    let scope = ["quiz", "strict", "bare"][dice.below(3) as usize];
    let name = format!("lead-{key}");
    let mut lead = json!({"lead": name, "unmapped": [{"x": 1}]});
    let mut written = Object::new();
    let mut part = false;
    let mut say = |name: &str, answer: Value, good: Option<Value>| {
        if answer != json!("-") {
            lead[name] = answer;
        }
        match good {
            Some(good) => drop(written.insert(name.into(), good)),
            None => part = true,
        }
    };
    let missing = || json!("-");
    if scope != "bare" {
        say("lead", json!(name), Some(json!(name)));
    }
    match dice.below(6) {
        0..2 => say("score", json!(7 + key), Some(json!(7 + key))),
        2 => say("score", json!(7.5), Some(json!(7.5))),
        3 => say("score", json!("7"), None),
        4 => say("score", missing(), None),
        _ => say("score", json!(null), None),
    }
    if scope != "bare" {
        match dice.below(4) {
            0 => say("zip", json!(12345), Some(json!("12345"))),
            1 => say("zip", json!("00123"), Some(json!("00123"))),
            2 => say("zip", json!([1]), None),
            _ => {}
        }
        match dice.below(6) {
            0 => say("styles", json!(["a", 2]), Some(json!(["a", 2]))),
            1 => say("styles", json!("a"), None),
            2 => say("vip", json!(false), Some(json!(false))),
            3 => say("vip", json!("true"), None),
            4 => say("born", json!("1990-02-28"), Some(json!("1990-02-28"))),
            _ => say("born", json!("1990-02-30"), None),
        }
    }
    let (email, user) = match dice.below(8) {
        0..3 => (person.to_owned(), None),
        3..5 => (format!("{name}@b.example"), None),
        5 => (person.to_owned(), Some(format!("u{}", dice.below(3)))),
        6 => (String::new(), Some(format!("u{}", dice.below(3)))),
        _ => ("nobody".to_owned(), None),
    };
    lead["email"] = json!(format!(" {email}"));
    if let Some(user) = &user {
        lead["user"] = json!(user);
    }
    let email = if email.contains('@') {
        email.to_lowercase()
    } else {
        String::new()
    };
    let address = match &user {
        Some(user) => Some(Address::ExternalId(user.clone())),
        None => (!email.is_empty()).then(|| Address::Email(email.clone())),
    };
    let promise = match address {
        None => Promise::BadAnswer,
        Some(_) if part && scope == "strict" => Promise::BadAnswer,
        Some(_) if written.is_empty() => Promise::Nothing,
        Some(address) => Promise::Written {
            address,
            attributes: written,
            part,
        },
    };
    let event = Event {
        source: Source::Outgrow,
        kind: EventKind::Lead,
        email,
        email_given: None,
        trace: None,
        external_id: user,
        attributes: Some(ObjectText::new(lead.as_object().unwrap())),
        ..event(key, scope, "")
    };
    (event, promise)
}
