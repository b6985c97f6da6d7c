//! The pure step: what deciding costs, without store and network.
//!
//! One round asks, hears and settles; a whole participation is three of them (look up, create, credit). The event and
//! the rules are of the size that real ones have.

#![expect(missing_docs, reason = "criterion's macro makes an item without")]

use std::hint::black_box;
use std::time::Duration;

use braze_relay::flow::job::{Commit, Fate, Job, Profile, State};
use braze_relay::flow::settle::{Settled, settle};
use braze_relay::flow::{ask, start};
use braze_relay::model::call::{Answer, Call, Failure, Reply, Subscription};
use braze_relay::model::event::{CustomEvent, Event, EventKind, Source};
use braze_relay::model::json::{Object, ObjectText};
use braze_relay::model::rules::{
    ConfiguredEvent, CreditRule, OnUnknown, ParticipationFlow, RuleBook, Rules,
};
use braze_relay::model::time::Timestamp;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde_json::{Value, json};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn object(value: Value) -> Object {
    match value {
        Value::Object(object) => object,
        _ => Object::new(),
    }
}

fn event() -> Event {
    let attributes = json!({"first_name": "Ann", "country": "DE", "quikly_level": 3,
        "quikly_incentive": "20 % off the first order", "quikly_source": "instagram"});
    let properties = json!({"rank": 1204, "seconds": 17.25, "referrer": "story"});
    Event {
        source: Source::Quikly,
        kind: EventKind::Participation,
        key: "0b6c2f0e-8f43-4a0a-9f4b-0c3e6f4b0c3e".into(),
        scope: "spring-drop".into(),
        email: "ann.example+spring@mail.example".into(),
        email_given: Some("Ann.Example+spring@mail.example".into()),
        trace: None,
        external_id: None,
        phone: Some("+4915550100".into()),
        sms_consent: true,
        at: NOW - Duration::from_secs(2),
        accepted_at: NOW - Duration::from_secs(1),
        attributes: Some(ObjectText::new(&object(attributes))),
        event: Some(CustomEvent {
            name: "quikly_participated".into(),
            properties: Some(ObjectText::new(&object(properties))),
        }),
    }
}

fn rules() -> Rules {
    Rules {
        flow: Some(ParticipationFlow::Email),
        mark_attributes: object(json!({"quikly_spring_drop": true})),
        created_attributes: object(json!({"email_subscribe": "opted_in"})),
        created_event: Some(ConfiguredEvent {
            name: "quikly_joined".into(),
            on_unknown: OnUnknown::Resend,
        }),
        credit: Some(CreditRule {
            event: "email_joined".into(),
            on_unknown: OnUnknown::Park,
        }),
        ..Rules::plain("spring-drop", "acme")
    }
}

fn step(job: Job, event: &Event, rules: &Rules, answer: Result<Reply, Failure>) -> Settled {
    let call = ask(&job, event, rules);
    black_box(call.as_ref().map(Call::parks));
    black_box(call);
    settle(job, event, answer, NOW, rules, 0.5)
}

/// A participation of somebody new, from look-up to credit. Returns how many steps it took.
fn participation(event: &Event, rules: &Rules) -> u32 {
    let mut next = Some((Job::new(State::Email(Profile::LookUp), NOW), None::<Event>));
    let mut steps = 0;
    while let Some((job, own)) = next.take() {
        let reply = match &job.state {
            State::Email(Profile::LookUp) | State::Progress(Profile::LookUp) => {
                Reply::Profiles(Vec::new())
            }
            State::Email(_) | State::Progress(_) | State::Outgrow => Reply::Tracked,
            State::Sms(_) | State::DoubleOptIn(_) => Reply::Status(Subscription::Subscribed),
            State::Credit { .. } | State::Webhook => Reply::Credited,
            State::Erase(_) => Reply::Deleted,
        };
        steps += 1;
        let event = own.as_ref().unwrap_or(event);
        if let Settled::Commit(Commit {
            fate, mut spawn, ..
        }) = step(job, event, rules, Ok(reply))
        {
            next = match fate {
                Fate::Keep { job, .. } => Some((job, None)),
                Fate::Finish(_) | Fate::Bury { .. } => {
                    spawn.pop().map(|child| (child.job, Some(child.event)))
                }
            };
        }
    }
    steps
}

fn steps(criterion: &mut Criterion) {
    let (event, rules) = (event(), rules());
    let book = RuleBook::new([rules.clone()]);
    let mut group = criterion.benchmark_group("step");
    group.throughput(Throughput::Elements(1));
    group.bench_function("start", |bench| {
        bench.iter(|| start(black_box(&event), &book, NOW));
    });
    let mut one = |name: &str, state: State, answer: Result<Reply, Failure>| {
        let job = Job::new(state, NOW);
        group.bench_function(name, |bench| {
            bench.iter(|| step(job.clone(), black_box(&event), &rules, answer.clone()));
        });
    };
    one(
        "look_up",
        State::Email(Profile::LookUp),
        Ok(Reply::Profiles(Vec::new())),
    );
    one("create", State::Email(Profile::Create), Ok(Reply::Tracked));
    let credit = State::Credit {
        event: "email_joined".into(),
    };
    one("credit", credit, Ok(Reply::Credited));
    let reset = Failure::Transient(Answer {
        status: Some(503),
        text: "Service Unavailable".into(),
    });
    one("transient", State::Email(Profile::Create), Err(reset));
    group.throughput(Throughput::Elements(u64::from(participation(
        &event, &rules,
    ))));
    group.bench_function("whole participation", |bench| {
        bench.iter(|| participation(black_box(&event), &rules));
    });
    group.finish();
}

criterion_group!(benches, steps);
criterion_main!(benches);
