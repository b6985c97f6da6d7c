//! Full requests and poisoned ones: the real client and the real engine against the sandbox, in one process.
//!
//! Invariants: what was delivered, and how often, is what the sandbox holds. Each participation brings one attribute that
//! counts how often it was written, and one event where the case has events.

mod poisoned;
mod split;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use braze_relay::client::Outside;
use braze_relay::clock::Clock;
use braze_relay::config;
use braze_relay::engine::{Desk, Engine, EngineSettings, HostSettings, WorkspaceSettings};
use braze_relay::flow;
use braze_relay::flow::job::{Reason, Seed};
use braze_relay::model::Name;
use braze_relay::model::event::{CustomEvent, Event, EventKind, Source};
use braze_relay::model::json::ObjectText;
use braze_relay::model::lane::{Lane, LaneKind};
use braze_relay::model::rules::{RuleBook, Rules};
use braze_relay::sandbox::{self, Options, Running, Spread};
use braze_relay::store::map::MapStore;
use braze_relay::store::{DeadFilter, Operate, Settings, Store};
use braze_relay::telemetry::Metrics;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use url::Url;

use crate::support::{Client, until};

const GROUP: &str = "6f4b0c3e-0000-4000-8000-000000000000";

/// Far longer than any of it takes.
const WITHIN: Duration = Duration::from_mins(2);

fn acme(kind: LaneKind) -> Lane {
    Lane::new(&"acme".into(), kind)
}

/// `mail-` and the number, at a domain that Braze takes.
fn email(number: u64) -> String {
    format!("mail-{number}@b-example.com")
}

fn phone(number: u64) -> String {
    format!("+1555010{number:04}")
}

/// A participation whose attribute counts itself; with an event if asked for.
fn participation(number: u64, with_event: bool, clock: &Clock) -> Event {
    let counts = json!({"written": {"inc": 1}});
    let event = CustomEvent {
        name: "joined".into(),
        properties: None,
    };
    Event {
        source: Source::Quikly,
        kind: EventKind::Participation,
        key: number.to_string(),
        scope: "drop".into(),
        email: email(number),
        email_given: None,
        trace: None,
        external_id: None,
        phone: None,
        sms_consent: false,
        at: clock.now(),
        accepted_at: clock.now(),
        attributes: Some(ObjectText::new(counts.as_object().unwrap())),
        event: with_event.then_some(event),
    }
}

/// How often what a participation brings was delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Delivered {
    attributes: u64,
    events: u64,
}

/// What came of everything.
#[derive(Debug)]
struct Outcome {
    /// By participant's number.
    delivered: BTreeMap<u64, Delivered>,
    dead: BTreeMap<u64, Reason>,
    /// To the lane that was held until all were waiting.
    requests: u64,
    /// How often a request had so many objects.
    sizes: BTreeMap<usize, u64>,
    /// What the dead letters tell.
    texts: BTreeSet<String>,
    subscribed: BTreeSet<u64>,
}

/// A sandbox and a relay on it.
struct Stage {
    sandbox: Running,
    store: MapStore,
    engine: Engine<MapStore, Outside>,
    clock: Clock,
    rules: Rules,
    client: Client,
    running: JoinHandle<()>,
}

impl Stage {
    /// Works by `rules` against a sandbox without limits, where these profiles exist and this script is played.
    async fn new(rules: Rules, known: Vec<Value>, script: &Value) -> Stage {
        let clock = Clock::system(1.0);
        let known = known
            .into_iter()
            .map(|one| one.as_object().unwrap().clone());
        let options = Options {
            appear: Spread::default(),
            limits: BTreeMap::new(),
            groups: [GROUP.to_owned()].into(),
            known: known.collect(),
            script: sandbox::Script::parse(&json!({ "rules": script }).to_string()).unwrap(),
            ..Options::default()
        };
        let sandbox = sandbox::start(options, clock.clone()).await.unwrap();
        let outside = outside(&sandbox.braze_url(), &clock);
        let store = MapStore::new(Settings::default());
        let host = HostSettings {
            limits: BTreeMap::new(),
            share: 1.0,
            max_in_flight: 8,
            linger: Duration::from_millis(20),
        };
        let workspace = WorkspaceSettings {
            braze: host,
            quikly: None,
        };
        let settings = EngineSettings {
            workspaces: [(Name::from("acme"), workspace)].into(),
            stop_within: Duration::from_secs(5),
            // Many are bad here, and nobody is to be spared.
            hold_after: 1_000_000,
        };
        let book = Arc::new(RuleBook::new([rules.clone()]));
        let metrics = Arc::new(Metrics::new().unwrap());
        let engine = Engine::new(
            store.clone(),
            outside,
            clock.clone(),
            metrics,
            &settings,
            book,
            1,
        );
        let engine = engine.await.unwrap();
        let working = engine.clone();
        let running = tokio::spawn(async move {
            working.run(std::future::pending()).await.unwrap();
        });
        Stage {
            sandbox,
            store,
            engine,
            clock,
            rules,
            client: Client::new(),
            running,
        }
    }

    /// Lets these through once all of them wait in a lane, and waits for their end.
    async fn plays(self, events: Vec<Event>, lane: LaneKind) -> Outcome {
        let lane = acme(lane);
        let count = events.len() as u64;
        self.engine.hold_lane(&lane, None);
        let now = self.clock.now();
        let book = RuleBook::new([self.rules.clone()]);
        let seeds = events.into_iter().map(|event| {
            let (start, further) = flow::start(&event, &book, now);
            Seed {
                event,
                start,
                further,
            }
        });
        self.store.append(seeds.collect(), now).await.unwrap();
        until("all wait in the lane", WITHIN, async || {
            let counts = self.store.counts(self.clock.now()).await.unwrap();
            (counts.lanes.get(&lane)?.depth == count).then_some(())
        })
        .await;
        self.engine.release_lane(&lane);
        until("nothing is queued", WITHIN, async || {
            let counts = self.store.counts(self.clock.now()).await.unwrap();
            (counts.events.queued == 0).then_some(())
        })
        .await;
        self.outcome(lane.kind).await
    }

    async fn outcome(self, lane: LaneKind) -> Outcome {
        let question = |path: &str| {
            let url = format!("{}/_sandbox/{path}", self.sandbox.braze_url());
            Url::parse(&url).unwrap()
        };
        let number = |email: &str| {
            let digits: String = email.chars().filter(char::is_ascii_digit).collect();
            digits.parse::<u64>().unwrap()
        };
        let mut delivered = BTreeMap::new();
        let mut subscribed = BTreeSet::new();
        for profile in self.client.lines(&question("profiles")).await {
            let who = number(profile["email"].as_str().unwrap());
            let events = profile["custom_events"].as_array().unwrap().iter();
            let events = events.map(|event| event["count"].as_u64().unwrap()).sum();
            let attributes = profile["custom_attributes"]["written"]
                .as_u64()
                .unwrap_or(0);
            let twice = delivered.insert(who, Delivered { attributes, events });
            assert_eq!(twice, None, "{who} has two profiles");
            if profile["subscription_groups"][GROUP] == "Subscribed" {
                subscribed.insert(who);
            }
        }
        let summary = self.client.document(&question("summary")).await;
        let path = match lane {
            LaneKind::SubscriptionStatusSet => "/v2/subscription/status/set",
            LaneKind::Default => "/subscription/status/get",
            _ => "/users/track",
        };
        let requests = summary["requests_by_path"][path]
            .as_object()
            .unwrap()
            .values();
        let sizes = summary["track_objects"].as_object().unwrap().iter();
        let letters = self
            .store
            .dead_list(DeadFilter::default(), None, 1000)
            .await;
        let letters = letters.unwrap().items;
        let dead = letters
            .iter()
            .map(|letter| (number(&letter.event.email), letter.burial.reason));
        let outcome = Outcome {
            delivered,
            dead: dead.collect(),
            requests: requests.map(|count| count.as_u64().unwrap()).sum(),
            sizes: sizes
                .map(|(size, count)| (size.parse().unwrap(), count.as_u64().unwrap()))
                .collect(),
            texts: letters
                .into_iter()
                .map(|it| it.burial.answer.text)
                .collect(),
            subscribed,
        };
        self.running.abort();
        self.sandbox.stop().await;
        outcome
    }
}

fn outside(url: &str, clock: &Clock) -> Outside {
    let workspace = config::Workspace {
        brand: None,
        braze: config::Braze {
            url: url.parse().unwrap(),
            api_key: "sandbox-braze-key".into(),
            share: 1.0,
            timeout: Duration::from_secs(30),
            max_in_flight: 8,
            track_objects_max: 75,
            linger: Duration::from_millis(20),
            order_gap: Duration::from_secs(2),
            partner: "Quikly-BrazeRelay".into(),
            known_for: Duration::ZERO,
            limits: BTreeMap::new(),
        },
        quikly: None,
    };
    Outside::of(&[(Name::from("acme"), workspace)].into(), clock.clone()).unwrap()
}
