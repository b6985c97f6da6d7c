//! A small world for many people: one workspace, written to by e-mail alone, one host that is up, down, or picks on somebody.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use braze_relay::client::{Client, Heard};
use braze_relay::clock::Clock;
use braze_relay::config::Limit;
use braze_relay::engine::gate::HoldReason;
use braze_relay::engine::{Desk, Engine, EngineSettings, HostSettings, WorkspaceSettings};
use braze_relay::flow::job::{Attempt, Job, Seed, Start};
use braze_relay::flow::{self};
use braze_relay::model::call::{Address, Answer, Call, Failure, Reply};
use braze_relay::model::lane::{Lane, LaneKind};
use braze_relay::model::rules::{Identity, OnUnknown, RuleBook, Rules};
use braze_relay::model::time::Timestamp;
use braze_relay::store::map::MapStore;
use braze_relay::store::{Counts, Settings, Store};
use tokio::task::JoinHandle;

use super::campaign::{METRICS, START, event, rules};

pub const SECOND: Duration = Duration::from_secs(1);

/// Requests a second.
pub const LIMIT: u32 = 100;

#[derive(Default)]
pub struct Seen {
    pub down: bool,
    /// Requests with this address fail, up or down.
    pub poison: Option<String>,
    /// Requests with this address are forbidden, as by a gateway that does not like what they carry.
    pub forbidden: Option<String>,
    /// When requests left, and with how many calls.
    pub sent: Vec<(Timestamp, usize)>,
    /// When each address was written to first, and how often.
    pub delivered: HashMap<String, (Timestamp, u32)>,
}

/// A Braze that takes what it is given while it is up.
#[derive(Clone)]
pub struct Host {
    pub clock: Clock,
    pub objects_max: usize,
    pub seen: Arc<Mutex<Seen>>,
}

impl Host {
    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }
}

impl Client for Host {
    async fn perform(&self, _lane: &Lane, calls: Vec<Call>) -> Heard {
        self.seen().sent.push((self.clock.now(), calls.len()));
        self.clock.sleep(Duration::from_millis(50)).await;
        let now = self.clock.now();
        let mut seen = self.seen();
        let address = |call: &Call| match call {
            Call::Track(track) => match &track.address {
                Address::Email(email) => email.clone(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        };
        let to: Vec<String> = calls.iter().map(address).collect();
        let poisoned = seen.poison.as_ref().is_some_and(|it| to.contains(it));
        let answer = || Answer {
            status: Some(500),
            text: "sim down".into(),
        };
        if seen.forbidden.as_ref().is_some_and(|it| to.contains(it)) {
            let answer = Answer {
                status: Some(403),
                text: "sim forbidden".into(),
            };
            return Heard::silent(vec![Err(Failure::Denied(answer)); to.len()]);
        }
        if seen.down || poisoned {
            return Heard::silent(vec![Err(Failure::Transient(answer())); to.len()]);
        }
        for email in &to {
            seen.delivered.entry(email.clone()).or_insert((now, 0)).1 += 1;
        }
        Heard::silent(vec![Ok(Reply::Tracked); to.len()])
    }

    fn objects_max(&self, _lane: &Lane) -> usize {
        self.objects_max
    }
}

/// A relay that writes to one host.
pub struct Stage {
    pub host: Host,
    pub store: MapStore,
    pub book: Arc<RuleBook>,
    pub engine: Engine<MapStore, Host>,
    pub running: JoinHandle<()>,
}

impl Stage {
    pub async fn new(objects_max: usize) -> Stage {
        let clock = Clock::starting_at(START, 1.0);
        let host = Host {
            clock: clock.clone(),
            objects_max,
            seen: Arc::default(),
        };
        let store = MapStore::new(Settings::default());
        let limit = Limit {
            requests: LIMIT,
            window: Duration::from_secs(1),
        };
        let braze = HostSettings {
            limits: BTreeMap::from([(LaneKind::UsersTrack, vec![limit])]),
            share: 1.0,
            max_in_flight: 16,
            linger: Duration::from_millis(20),
        };
        let settings = EngineSettings {
            workspaces: BTreeMap::from([(
                "acme".into(),
                WorkspaceSettings {
                    braze,
                    quikly: None,
                },
            )]),
            stop_within: Duration::from_secs(10),
            hold_after: 50,
        };
        let book = Arc::new(RuleBook::new([Rules {
            identity: Identity::Email,
            created_attributes: serde_json::Map::new(),
            created_event: None,
            credit: None,
            ..rules("drop", "acme", OnUnknown::Resend)
        }]));
        let engine = Engine::new(
            store.clone(),
            host.clone(),
            clock,
            METRICS.clone(),
            &settings,
            book.clone(),
            1,
        );
        let engine = engine.await.unwrap();
        let works = engine.clone();
        let running = tokio::spawn(async move {
            works.run(std::future::pending()).await.unwrap();
        });
        Stage {
            host,
            store,
            book,
            engine,
            running,
        }
    }

    pub fn now(&self) -> Timestamp {
        self.host.clock.now()
    }

    pub async fn wait(&self, time: Duration) {
        assert!(!self.running.is_finished(), "the engine ended");
        self.host.clock.sleep(time).await;
    }

    /// Accepts who joins with these keys, as `change` makes their jobs.
    pub async fn join(&self, keys: std::ops::Range<u64>, change: impl Fn(u64, &mut Job)) {
        let now = self.now();
        let seed = |key| {
            let event = event(key, "drop", &address(key));
            let (mut start, further) = flow::start(&event, &self.book, now);
            match &mut start {
                Start::Run { job, .. } => change(key, job),
                Start::Bury { burial, .. } => panic!("{burial:?}"),
            }
            Seed {
                event,
                start,
                further,
            }
        };
        let count = keys.clone().count();
        let appended = self.store.append(keys.map(seed).collect(), now).await;
        assert_eq!(appended.unwrap().len(), count);
    }

    pub async fn fresh(&self, keys: std::ops::Range<u64>) {
        self.join(keys, |_, _| {}).await;
    }

    /// Those who have failed once, due some time in the next `spread`.
    pub async fn failed(&self, keys: std::ops::Range<u64>, spread: Duration) {
        let now = self.now();
        let change = |key: u64, job: &mut Job| {
            let part =
                (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11) as f64 / (1_u64 << 53) as f64;
            let attempt = Attempt {
                at: now,
                step: job.state.step().to_owned(),
                answer: Answer::default(),
            };
            *job = Job {
                fresh: false,
                attempts: 1,
                failures: 1,
                failing_since: Some(now),
                history: vec![attempt],
                due: now + spread.mul_f64(part),
                ..job.clone()
            };
        };
        self.join(keys, change).await;
    }

    pub async fn counts(&self) -> Counts {
        self.store.counts(self.now()).await.unwrap()
    }

    /// How long after `from` this one was delivered, if that has happened.
    pub fn delivered(&self, key: u64, from: Timestamp) -> Option<Duration> {
        let seen = self.host.seen();
        let (at, _) = seen.delivered.get(&address(key))?;
        Some(at.since(from))
    }

    /// Requests that left from `from` on, for so long.
    pub fn sent(&self, from: Timestamp, time: Duration) -> usize {
        let seen = self.host.seen();
        let within = |(at, _): &&(Timestamp, usize)| *at >= from && *at < from + time;
        seen.sent.iter().filter(within).count()
    }

    /// The most requests in any second from `from` on.
    pub fn fullest_second(&self, from: Timestamp) -> usize {
        let seen = self.host.seen();
        let sent = seen.sent.iter().map(|it| it.0).filter(|at| *at >= from);
        let sent: Vec<Timestamp> = sent.collect();
        let within = |(index, first): (usize, &Timestamp)| {
            let rest = sent[index..].iter();
            rest.take_while(|at| at.since(*first) < SECOND).count()
        };
        sent.iter().enumerate().map(within).max().unwrap_or(0)
    }

    pub fn first_success(&self) -> Timestamp {
        let seen = self.host.seen();
        seen.delivered.values().map(|it| it.0).min().unwrap()
    }

    pub fn held(&self) -> Option<HoldReason> {
        let lanes = self.engine.lanes();
        let track = lanes.iter().find(|it| it.lane.kind == LaneKind::UsersTrack);
        track.unwrap().held.map(|hold| hold.reason)
    }
}

pub fn address(key: u64) -> String {
    format!("p{key}@b.example")
}
