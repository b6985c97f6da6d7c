//! Whoever takes part again changes nothing but the attributes: by every flow, with the same id and with another, while the
//! first participation is still on its way, waits or is polled, and after it has ended.

use std::collections::BTreeMap;
use std::time::Duration;

use braze_relay::flow::job::{Flow, Outcome};
use braze_relay::model::call::{Call, Subscription};
use braze_relay::model::event::{CustomEvent, Event};
use braze_relay::model::json::ObjectText;
use braze_relay::model::rules::{
    ConfiguredEvent, ConfirmEvery, OnUnknown, OptIn, ParticipationFlow, PhoneMismatch, PhoneRules,
    RetryPolicy, Rules, SubscribeBy,
};
use serde_json::json;

use super::campaign::{LONG, Life, event, rich, rules};
use super::lab::Lab;
use super::world::{Delays, Person, Weather};
use super::{number, on_paused_time};

const DELAY: Duration = Duration::from_secs(120);
const WITHIN: Duration = Duration::from_hours(1);

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way {
    Email,
    Sms,
    SmsInline,
    ByEvent,
    ByLogic,
}

const WAYS: [Way; 5] = [
    Way::Email,
    Way::Sms,
    Way::SmsInline,
    Way::ByEvent,
    Way::ByLogic,
];

pub fn activation(way: Way) -> Rules {
    let opt_in = match way {
        Way::Email | Way::Sms | Way::SmsInline => None,
        Way::ByEvent => Some(OptIn::Event(ConfiguredEvent {
            name: "opt-in".into(),
            on_unknown: OnUnknown::Resend,
        })),
        Way::ByLogic => Some(OptIn::Logic(OnUnknown::Resend)),
    };
    let retry = RetryPolicy {
        first: Duration::from_millis(200),
        max: Duration::from_secs(5),
        ..RetryPolicy::default()
    };
    let phone = PhoneRules {
        group: "g".into(),
        subscribe: match way {
            Way::SmsInline => SubscribeBy::Inline,
            _ => SubscribeBy::Delayed,
        },
        delay: DELAY,
        mismatch: PhoneMismatch::Dead,
        confirm: ConfirmEvery {
            first: Duration::from_secs(5),
            max: Duration::from_mins(1),
            within: WITHIN,
        },
        opt_in,
    };
    Rules {
        flow: Some(match way {
            Way::Email => ParticipationFlow::Email,
            Way::Sms | Way::SmsInline => ParticipationFlow::Sms,
            Way::ByEvent | Way::ByLogic => ParticipationFlow::DoubleOptIn,
        }),
        phone: (way != Way::Email).then_some(phone),
        retry,
        ..rules("drop", "acme", OnUnknown::Resend)
    }
}

/// A participation of the one person there is. Each brings attributes of its own.
pub fn participation(key: u64) -> Event {
    Event {
        phone: Some("+15550001111".into()),
        sms_consent: true,
        ..rich(event(key, "drop", "Ada@B.example"))
    }
}

/// The same id and other content: a duplicate all the same.
fn changed(key: u64) -> Event {
    let other = json!({"changed": key});
    Event {
        attributes: Some(ObjectText::new(other.as_object().unwrap())),
        event: Some(CustomEvent {
            name: "changed".into(),
            properties: None,
        }),
        ..participation(key)
    }
}

/// How a participation is repeated: so long after the first one.
async fn live(way: Way, seed: u64) -> (Life, Vec<&'static str>) {
    let dice = Lab::new(seed ^ 0x0a6a);
    let delays = Delays {
        latency_min: 5,
        latency: 60,
        appears: 500,
        whole: 0,
    };
    let mut life = Life::new(seed, delays, 3, vec![activation(way)]);
    if dice.chance(0.4) {
        let known = Person {
            email: "ada@b.example".into(),
            external_id: Some("ada".into()),
            phone: dice.chance(0.5).then(|| "+15550001111".into()),
            ..Person::default()
        };
        life.world.add_known("acme", known);
    }
    // When she confirms, or the plain set shows: in the middle of everything that is repeated, and in fair weather.
    let from = life.clock.now() + DELAY * 2 + Duration::from_secs(dice.below(1_500));
    life.world.model().subscribed_from = Some(from);
    if dice.chance(0.5) {
        let until = life.clock.now() + Duration::from_mins(3);
        life.world.model().weather = Weather {
            until,
            transient: 0.2,
            throttled: 0.1,
            ..Weather::default()
        };
    }
    let mut stages = Vec::new();
    life.accept(vec![participation(0)]).await;
    life.start().await;
    for key in 1..8 {
        let rest = [20, 400, 20_000, 130_000, 400_000][dice.below(5) as usize];
        life.wait(Duration::from_millis(dice.below(rest))).await;
        stages.push(stage(&life));
        let before = life.accepted.len();
        life.accept(vec![participation(0), changed(0)]).await;
        assert_eq!(life.accepted.len(), before, "the same id is one event");
        life.accept(vec![participation(key)]).await;
        assert_eq!(life.accepted.len(), before + 1, "another id is another");
    }
    // Nobody is killed here: what is under way then may be repeated, and that is shown elsewhere.
    until_empty(&mut life).await;
    stages.push(stage(&life));
    life.accept(vec![participation(8), participation(0), participation(3)])
        .await;
    until_empty(&mut life).await;
    life.kill().await;
    (life, stages)
}

async fn until_empty(life: &mut Life) {
    let end = life.clock.now() + LONG;
    while life.counts().events.queued > 0 && life.clock.now() < end {
        life.wait(Duration::from_secs(30)).await;
    }
}

/// Where the first participation stands.
fn stage(life: &Life) -> &'static str {
    let jobs = life.counts().jobs;
    let first = [Flow::Email, Flow::Sms, Flow::DoubleOptIn];
    let lives = |flow: Option<Flow>| flow.is_some_and(|flow| first.contains(&flow));
    let mut of_first = jobs.iter().filter(|(group, _)| lives(group.flow));
    match of_first.find(|(_, it)| it.waiting + it.ready + it.in_flight > 0) {
        None => "ended",
        Some((_, it)) if it.waiting > 0 => "waiting",
        Some(_) => "working",
    }
}

/// What happened once happened once, whoever came again.
fn judge(way: Way, seed: u64, life: &Life) {
    let who = format!("{way:?}, seed {seed}");
    assert_eq!(life.lab.state().violations, [""; 0], "{who}");
    let counts = life.counts();
    assert_eq!(
        (counts.events.accepted, counts.events.done),
        (9, 9),
        "{who}"
    );
    let mut outcomes: BTreeMap<Outcome, u64> = BTreeMap::new();
    for ((group, outcome), count) in &counts.done {
        if !matches!(group.flow, Some(Flow::Progress)) {
            *outcomes.entry(*outcome).or_default() += count;
        }
    }
    // One participation and its one credit; everything else went on as progress.
    assert_eq!(outcomes.values().sum::<u64>(), 2, "{who}: {outcomes:?}");
    assert_eq!(outcomes.get(&Outcome::Credited), Some(&1), "{who}");

    let model = life.world.model();
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    let mut note = |what| *seen.entry(what).or_default() += 1;
    for taken in &model.taken {
        match &taken.call {
            Call::Credit(_) => note("credit"),
            Call::SetStatus(_) => note("set"),
            Call::Track(track) => {
                let named = |name: &str| track.events.iter().any(|it| it.name == name);
                if named("joined-drop") {
                    note("created");
                }
                if named("opt-in") || track.subscribe.is_some() {
                    note("asked with the profile");
                }
                if track.attributes.contains_key("mark-drop") {
                    note("marked");
                }
                assert!(!track.attributes.contains_key("changed"), "{who}");
                assert!(!named("changed"), "{who}");
            }
            Call::LookUp { .. } | Call::Recall | Call::ReadStatus { .. } | Call::Delete(_) => {}
        }
    }
    let count = |what| seen.get(what).copied().unwrap_or(0);
    let known = model.people["acme"].iter().any(|it| it.known);
    let (with_profile, by_set) = match way {
        Way::Email => (0, 0),
        Way::Sms | Way::ByLogic => (0, 1),
        Way::SmsInline | Way::ByEvent => (1, 0),
    };
    assert_eq!(count("credit"), 1, "{who}: {seen:?}");
    assert_eq!(count("created"), u64::from(!known), "{who}: {seen:?}");
    assert_eq!(
        count("asked with the profile"),
        with_profile,
        "{who}: {seen:?}"
    );
    assert_eq!(count("set"), by_set, "{who}: {seen:?}");
    let marks = count("marked");
    assert!(marks <= 1, "{who}: {seen:?}");
    // And everybody's attributes and events are there, each once.
    assert_eq!(model.people["acme"].len(), 1, "{who}");
    let person = &model.people["acme"][0];
    for key in 0..9 {
        let own = format!("own-{key}");
        assert!(
            person.attributes.contains_key(&own) || (key == 0 && marks == 0),
            "{who}: {own} is missing"
        );
        let times = person.events.iter().filter(|it| **it == own).count();
        assert!(times <= 1, "{who}: {own} happened {times} times");
    }
}

#[test]
fn a_duplicate_participation_changes_nothing_and_another_one_brings_its_attributes_only() {
    let mut stages: BTreeMap<(String, &str), u64> = BTreeMap::new();
    for way in WAYS {
        for seed in 0..number("RELAY_SIM_SEEDS").unwrap_or(200) {
            on_paused_time(async {
                let (life, seen) = live(way, seed).await;
                judge(way, seed, &life);
                for stage in seen {
                    *stages.entry((format!("{way:?}"), stage)).or_default() += 1;
                }
            });
        }
    }
    println!("{stages:?}");
    for way in WAYS {
        for stage in ["waiting", "working", "ended"] {
            let seen = stages.contains_key(&(format!("{way:?}"), stage));
            assert!(seen, "{way:?} was never repeated while it was {stage}");
        }
    }
}

#[test]
fn the_phone_of_this_world_is_unsubscribed_until_it_is_subscribed() {
    on_paused_time(async {
        let delays = Delays {
            latency_min: 0,
            latency: 0,
            appears: 0,
            whole: 0,
        };
        let life = Life::new(1, delays, 0, vec![activation(Way::Sms)]);
        let now = life.clock.now();
        assert_eq!(life.world.status(now), Subscription::Unknown);
        life.world.model().subscribed_from = Some(now);
        assert_eq!(life.world.status(now), Subscription::Subscribed);
    });
}
