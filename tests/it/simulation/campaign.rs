//! One life: an activation or four, some people, their events, a storm, and a process that may die at any moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use braze_relay::clock::Clock;
use braze_relay::config::Limit;
use braze_relay::engine::{Engine, EngineError, EngineSettings, HostSettings, WorkspaceSettings};
use braze_relay::flow;
use braze_relay::flow::job::{Reason, Seed};
use braze_relay::model::Name;
use braze_relay::model::event::{CustomEvent, Event, EventKind, Source};
use braze_relay::model::id::EventId;
use braze_relay::model::json::ObjectText;
use braze_relay::model::lane::LaneKind;
use braze_relay::model::rules::{
    ConfiguredEvent, CreditRule, OnUnknown, ParticipationFlow, RetryPolicy, RuleBook, Rules,
};
use braze_relay::model::time::Timestamp;
use braze_relay::store::map::MapStore;
use braze_relay::store::{Counts, DeadFilter, DeadLetter, Operate, Settings, Store};
use braze_relay::telemetry::Metrics;
use serde_json::json;
use tokio::task::JoinHandle;

use super::lab::{Lab, PLACES};
use super::shaky::Shaky;
use super::world::{Delays, Person, Weather, World};

pub const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

pub static METRICS: LazyLock<Arc<Metrics>> = LazyLock::new(|| Arc::new(Metrics::new().unwrap()));

/// Everything that lives longer than a process.
pub struct Life {
    pub lab: Lab,
    pub clock: Clock,
    pub world: World,
    pub store: Shaky,
    pub book: Arc<RuleBook>,
    pub settings: EngineSettings,
    pub accepted: BTreeMap<EventId, Event>,
    /// Those that were queued or dead when their person was forgotten: nothing is promised of them any more.
    pub forgotten: BTreeMap<EventId, Event>,
    /// Removals from Braze.
    pub erasures: BTreeMap<EventId, Event>,
    /// Whom they are, or were, about.
    pub removed: BTreeSet<String>,
    /// Those that lived again.
    pub replayed: BTreeSet<EventId>,
    pub crashes: u64,
    starts: u64,
    process: Option<JoinHandle<Result<(), EngineError>>>,
}

impl Life {
    pub fn new(seed: u64, delays: Delays, slowness: u64, rules: Vec<Rules>) -> Life {
        let lab = Lab::new(seed);
        let clock = Clock::starting_at(START, 1.0);
        let world = World::new(&lab, &clock, delays);
        world.model().in_flight_max = 4;
        let store = Shaky::new(MapStore::new(Settings::default()), &lab, &clock, slowness);
        Life {
            settings: settings(),
            book: Arc::new(RuleBook::new(rules)),
            accepted: BTreeMap::new(),
            forgotten: BTreeMap::new(),
            erasures: BTreeMap::new(),
            removed: BTreeSet::new(),
            replayed: BTreeSet::new(),
            crashes: 0,
            starts: seed,
            process: None,
            lab,
            clock,
            world,
            store,
        }
    }

    /// Starts a process.
    pub async fn start(&mut self) -> Engine<Shaky, World> {
        self.starts += 1;
        self.world.serves(&self.store);
        let engine = Engine::new(
            self.store.clone(),
            self.world.clone(),
            self.clock.clone(),
            METRICS.clone(),
            &self.settings,
            self.book.clone(),
            self.starts,
        )
        .await
        .unwrap();
        let running = engine.clone();
        let process = async move { running.run(std::future::pending()).await };
        self.process = Some(tokio::spawn(process));
        engine
    }

    /// Lets the process work for so long. Answers whether it died meanwhile.
    pub async fn wait(&mut self, time: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.lab.death() => {
                self.crashes += 1;
                true
            }
            ended = self.process.as_mut().unwrap() => panic!("the engine ended: {ended:?}"),
            () = self.clock.sleep(time) => false,
        }
    }

    /// Kills the process, if it is not dead yet, and opens its store again.
    pub async fn kill(&mut self) {
        let process = self.process.take().unwrap();
        process.abort();
        let _cancelled = process.await;
        // What was under way is dropped before the next process starts.
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
        self.lab.plan_crash(None, None);
        self.store = self.store.crash();
    }

    /// The machine's clock shows something else when the next process starts.
    pub fn jump(&mut self, now: Timestamp) {
        self.clock = Clock::starting_at(now, 1.0);
        self.world = self.world.with_clock(&self.clock);
        self.store = self.store.with_clock(&self.clock);
    }

    pub async fn accept(&mut self, events: Vec<Event>) {
        let now = self.clock.now();
        let seeds = events.iter().cloned().map(|event| {
            let event = Event {
                at: now - Duration::from_secs(5),
                accepted_at: now,
                ..event
            };
            let (start, further) = flow::start(&event, &self.book, now);
            Seed {
                event,
                start,
                further,
            }
        });
        let seeds: Vec<Seed> = seeds.collect();
        let appended = self.store.append(seeds, now).await.unwrap();
        for (appended, event) in appended.into_iter().zip(events) {
            if !appended.duplicate {
                self.accepted.insert(appended.id, event);
            }
        }
    }

    /// Works until the queue is empty, starting again when the process dies.
    pub async fn run_empty(&mut self, within: Duration) {
        let end = self.clock.now() + within;
        let mut rest = Duration::from_millis(50);
        self.start().await;
        while self.counts().events.queued > 0 && self.clock.now() < end {
            if self.wait(rest).await {
                self.kill().await;
                self.start().await;
            }
            rest = (rest * 2).min(Duration::from_mins(1));
        }
        if self.counts().events.queued > 0 {
            self.lab.violated("the queue did not become empty".into());
        }
        self.kill().await;
    }

    pub fn counts(&self) -> Counts {
        // The map answers at once.
        let mut asked = std::pin::pin!(self.store.counts(self.clock.now()));
        match asked
            .as_mut()
            .poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
        {
            std::task::Poll::Ready(counts) => counts.unwrap(),
            std::task::Poll::Pending => panic!("the map waits for something"),
        }
    }

    pub async fn dead(&self) -> Vec<DeadLetter> {
        let page = self
            .store
            .dead_list(DeadFilter::default(), None, 100_000)
            .await
            .unwrap();
        page.items
    }

    /// Replays all dead letters that can live again by today's configuration.
    pub async fn replay(&mut self) {
        let now = self.clock.now();
        let mut letters = Vec::new();
        for letter in self.dead().await {
            let (event, flow, job) = (&letter.event, letter.flow, letter.job.as_ref());
            let Ok(start) =
                flow::revive(event, letter.workspace.as_ref(), flow, job, &self.book, now)
            else {
                continue;
            };
            if letter.burial.reason == Reason::UnknownOutcome {
                let of_scope = ["credit-", "joined-"].map(|it| format!("{it}{}", event.scope));
                for name in of_scope
                    .into_iter()
                    .chain(event.event.iter().map(|it| it.name.clone()))
                {
                    self.lab.allow(format!("replayed-{name}|{}", event.email));
                    self.lab.allow(format!("{name}|{}", event.email));
                }
            }
            self.lab.cover(format!("replayed {}", letter.burial.reason));
            self.replayed.insert(letter.id.event);
            letters.push((letter.id, start));
        }
        let lived = self.store.revive(letters, now).await.unwrap();
        assert!(lived.into_iter().all(|it| it));
    }
}

/// Two workspaces with tight limits.
pub fn settings() -> EngineSettings {
    let host = |limits: &[(LaneKind, u32)]| HostSettings {
        limits: limits
            .iter()
            .map(|(kind, requests)| {
                let window = Duration::from_secs(1);
                (
                    *kind,
                    vec![Limit {
                        requests: *requests,
                        window,
                    }],
                )
            })
            .collect(),
        share: 1.0,
        max_in_flight: 4,
        linger: Duration::from_millis(20),
    };
    let workspace = || WorkspaceSettings {
        braze: host(&[
            (LaneKind::UsersExportIds, 40),
            (LaneKind::UsersTrack, 100),
            (LaneKind::UsersDelete, 100),
        ]),
        quikly: Some(host(&[(LaneKind::Quikly, 50)])),
    };
    let names = ["acme", "beta"];
    EngineSettings {
        workspaces: names
            .into_iter()
            .map(|name| (Name::from(name), workspace()))
            .collect(),
        stop_within: Duration::from_secs(10),
        hold_after: u32::MAX,
    }
}

/// An activation with everything, its names following from `scope`.
pub fn rules(scope: &str, workspace: &str, on_unknown: OnUnknown) -> Rules {
    Rules {
        flow: Some(ParticipationFlow::Email),
        mark_attributes: [(format!("mark-{scope}"), json!(true))]
            .into_iter()
            .collect(),
        created_attributes: [(format!("new-{scope}"), json!(true))]
            .into_iter()
            .collect(),
        created_event: Some(ConfiguredEvent {
            name: format!("joined-{scope}"),
            on_unknown,
        }),
        credit: Some(CreditRule {
            event: format!("done-{scope}"),
            on_unknown,
        }),
        progress_on_unknown: on_unknown,
        ..Rules::plain(scope, workspace)
    }
}

pub fn event(key: u64, scope: &str, email: &str) -> Event {
    Event {
        source: Source::Quikly,
        kind: EventKind::Participation,
        key: key.to_string(),
        scope: scope.into(),
        email: email.to_lowercase(),
        email_given: Some(email.to_owned()),
        trace: None,
        external_id: None,
        phone: None,
        sms_consent: false,
        at: START,
        accepted_at: START,
        attributes: None,
        event: None,
    }
}

/// An event that brings an attribute and a custom event of its own, named by its key.
pub fn rich(mut event: Event) -> Event {
    let attribute = [(format!("own-{}", event.key), json!(true))]
        .into_iter()
        .collect();
    event.attributes = Some(ObjectText::new(&attribute));
    event.event = Some(CustomEvent {
        name: format!("own-{}", event.key),
        properties: None,
    });
    event
}

const SCOPES: [&str; 6] = ["resend", "park", "plain", "without", "nowhere", "passing"];

fn activations(retry: RetryPolicy) -> Vec<Rules> {
    let plain = Rules {
        mark_attributes: serde_json::Map::new(),
        created_event: None,
        credit: None,
        ..rules("plain", "beta", OnUnknown::Resend)
    };
    let without = Rules {
        flow: None,
        ..rules("without", "acme", OnUnknown::Park)
    };
    [
        rules("resend", "acme", OnUnknown::Resend),
        rules("park", "acme", OnUnknown::Park),
        rules("passing", "beta", OnUnknown::Resend),
        plain,
        without,
    ]
    .into_iter()
    .map(|rules| Rules { retry, ..rules })
    .collect()
}

/// A life from a seed, to its end.
pub async fn live(seed: u64) -> Life {
    let dice = Lab::new(seed ^ 0xdead_beef);
    let millis = |bound: u64| Duration::from_millis(dice.below(bound));
    let retry = RetryPolicy {
        first: Duration::from_millis(100) + millis(900),
        max: Duration::from_secs(2) + millis(10_000),
        max_attempts: [0, 0, 2, 5][dice.below(4) as usize],
        max_age: Duration::from_secs(5) + millis(300_000),
    };
    let delays = Delays {
        latency_min: 0,
        latency: [0, 20, 500][dice.below(3) as usize],
        appears: [0, 100, 5_000][dice.below(3) as usize],
        whole: [0, 0, 3_000][dice.below(3) as usize],
    };
    let slowness = [0, 3, 30][dice.below(3) as usize];
    let mut life = Life::new(seed, delays, slowness, activations(retry));
    life.world.model().weather = storm(&dice);
    let people = crowd(&life, &dice);
    let mut to_come = events(&dice, &people);
    to_come.reverse();

    let crashes = dice.below(4);
    for part in 0..=crashes {
        let share = to_come.len() / (crashes - part + 1) as usize;
        let mut batch = to_come.split_off(to_come.len() - share);
        batch.reverse();
        if part < crashes {
            let place = PLACES.get(dice.below(10) as usize).copied();
            let after = 1 + dice.below(if place.is_some() { 6 } else { 40 });
            life.lab.plan_crash(Some(after), place);
        }
        let engine = life.start().await;
        let mut died = false;
        for chunk in batch.chunks(1 + dice.below(6) as usize) {
            life.accept(chunk.to_vec()).await;
            died = died || life.wait(millis(400)).await;
        }
        if dice.chance(0.1) {
            life.book = Arc::new(RuleBook::new(
                activations(retry)
                    .into_iter()
                    .filter(|it| &*it.scope != "passing"),
            ));
            engine.set_rules(life.book.clone());
            life.world.released();
        }
        let _died = died || life.wait(millis(3_000)).await;
        life.kill().await;
    }
    life.run_empty(LONG).await;
    life
}

/// Longer than any life may take.
pub const LONG: Duration = Duration::from_hours(24);

/// Everything is configured and the weather is fair: the dead are replayed.
pub async fn live_again(life: &mut Life) {
    let mut all = activations(RetryPolicy::default());
    for rules in &mut all {
        rules.flow = Some(ParticipationFlow::Email);
    }
    all.push(rules("nowhere", "acme", OnUnknown::Resend));
    life.book = Arc::new(RuleBook::new(all));
    life.replay().await;
    life.run_empty(LONG).await;
}

fn storm(dice: &Lab) -> Weather {
    let some = |most| dice.some(most);
    Weather {
        until: START + Duration::from_millis(some(180_000) as u64 * 1000),
        transient: some(200),
        unknown_lost: some(100),
        unknown_applied: some(100),
        throttled: some(150),
        told: some(2) > 0.0,
        denied: some(30),
        apart: some(150),
        rejected: some(100),
        panics: false,
    }
}

fn crowd(life: &Life, dice: &Lab) -> Vec<String> {
    (0..3 + dice.below(8))
        .map(|number| {
            let email = match dice.below(12) {
                0 => format!("{}@b.example", "x".repeat(230 + number as usize)),
                _ => format!("P{number}+tag@B.example"),
            };
            for workspace in ["acme", "beta"] {
                for again in 0..[0, 0, 1, 2][dice.below(4) as usize] {
                    life.world.add_known(
                        workspace,
                        Person {
                            external_id: dice.chance(0.5).then(|| format!("e{number}-{again}")),
                            email: email.to_lowercase(),
                            shown_email: dice.chance(0.2).then(|| email.clone()),
                            whole_at: START
                                + Duration::from_millis(dice.below(2) * dice.below(4_000)),
                            ..Person::default()
                        },
                    );
                }
            }
            email
        })
        .collect()
}

fn events(dice: &Lab, people: &[String]) -> Vec<Event> {
    let mut all: Vec<Event> = Vec::new();
    for key in 0..5 + dice.below(30) {
        if !all.is_empty() && dice.chance(0.15) {
            let again = all[dice.below(all.len() as u64) as usize].clone();
            all.push(again);
            continue;
        }
        let scope = match dice.below(10) {
            0..4 => "resend",
            4..7 => "park",
            other => SCOPES[(other - 5) as usize],
        };
        let person = &people[dice.below(people.len() as u64) as usize];
        let mut event = event(key, scope, person);
        if dice.chance(0.3) {
            event.kind = EventKind::Progress;
        }
        if dice.chance(0.2) {
            event.phone = Some("+15550100".into());
        }
        all.push(if dice.chance(0.5) { rich(event) } else { event });
    }
    all
}
