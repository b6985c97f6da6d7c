//! A host that is down: it is not hammered, nothing is lost, and when it is back nobody storms it and fresh work goes first.
//!
//! Its own small world, for there are many people in it. `RELAY_FULL=1` has 500,000 retries wait; else there is a tenth.

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
use super::on_paused_time;
use crate::support::full;

/// Requests a second.
const LIMIT: u32 = 100;

#[derive(Default)]
struct Seen {
    down: bool,
    /// Requests with this address fail, up or down.
    poison: Option<String>,
    /// When requests left, and with how many calls.
    sent: Vec<(Timestamp, usize)>,
    /// When each address was written to first, and how often.
    delivered: HashMap<String, (Timestamp, u32)>,
}

/// A Braze that takes what it is given while it is up.
#[derive(Clone)]
struct Host {
    clock: Clock,
    objects_max: usize,
    seen: Arc<Mutex<Seen>>,
}

impl Host {
    fn seen(&self) -> MutexGuard<'_, Seen> {
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
struct Stage {
    host: Host,
    store: MapStore,
    book: Arc<RuleBook>,
    engine: Engine<MapStore, Host>,
    running: JoinHandle<()>,
}

impl Stage {
    async fn new(objects_max: usize) -> Stage {
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

    fn now(&self) -> Timestamp {
        self.host.clock.now()
    }

    async fn wait(&self, time: Duration) {
        assert!(!self.running.is_finished(), "the engine ended");
        self.host.clock.sleep(time).await;
    }

    /// Accepts who joins with these keys, as `change` makes their jobs.
    async fn join(&self, keys: std::ops::Range<u64>, change: impl Fn(u64, &mut Job)) {
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

    async fn fresh(&self, keys: std::ops::Range<u64>) {
        self.join(keys, |_, _| {}).await;
    }

    /// Those who have failed once, due some time in the next `spread`.
    async fn failed(&self, keys: std::ops::Range<u64>, spread: Duration) {
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

    async fn counts(&self) -> Counts {
        self.store.counts(self.now()).await.unwrap()
    }

    /// How long after `from` this one was delivered, if that has happened.
    fn delivered(&self, key: u64, from: Timestamp) -> Option<Duration> {
        let seen = self.host.seen();
        let (at, _) = seen.delivered.get(&address(key))?;
        Some(at.since(from))
    }

    /// Requests that left from `from` on, for so long.
    fn sent(&self, from: Timestamp, time: Duration) -> usize {
        let seen = self.host.seen();
        let within = |(at, _): &&(Timestamp, usize)| *at >= from && *at < from + time;
        seen.sent.iter().filter(within).count()
    }

    /// The most requests in any second from `from` on.
    fn fullest_second(&self, from: Timestamp) -> usize {
        let seen = self.host.seen();
        let sent = seen.sent.iter().map(|it| it.0).filter(|at| *at >= from);
        let sent: Vec<Timestamp> = sent.collect();
        let within = |(index, first): (usize, &Timestamp)| {
            let rest = sent[index..].iter();
            rest.take_while(|at| at.since(*first) < SECOND).count()
        };
        sent.iter().enumerate().map(within).max().unwrap_or(0)
    }

    fn first_success(&self) -> Timestamp {
        let seen = self.host.seen();
        seen.delivered.values().map(|it| it.0).min().unwrap()
    }

    fn held(&self) -> Option<HoldReason> {
        let lanes = self.engine.lanes();
        let track = lanes.iter().find(|it| it.lane.kind == LaneKind::UsersTrack);
        track.unwrap().held.map(|hold| hold.reason)
    }
}

fn address(key: u64) -> String {
    format!("p{key}@b.example")
}

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);

#[test]
fn after_an_outage_of_an_hour_nothing_is_lost_nobody_storms_and_fresh_work_goes_first() {
    on_paused_time(async {
        let retries = if full() { 500_000 } else { 50_000 };
        let stage = Stage::new(75).await;
        stage.host.seen().down = true;
        let began = stage.now();
        stage.failed(0..retries, HOUR).await;
        // Who joins meanwhile has not failed, and waits as well.
        let mut next = retries;
        for _ in 0..600 {
            stage.fresh(next..next + 1).await;
            next += 1;
            stage.wait(6 * SECOND).await;
        }
        assert_eq!(stage.held(), Some(HoldReason::Breaker));
        let while_down = stage.sent(began, HOUR);
        let calls: usize = stage.host.seen().sent.iter().map(|it| it.1).sum();
        assert_eq!(stage.counts().await.events.queued, next);

        stage.host.seen().down = false;
        let back = stage.now();
        stage.wait(SECOND / 10).await;
        let late = next;
        stage.fresh(late..late + 1).await;
        let late_from = stage.now();
        while stage.counts().await.events.queued > 0 {
            assert!(stage.now().since(back) < HOUR, "it does not end");
            stage.wait(SECOND).await;
        }
        let all = stage.now().since(back).as_secs();
        let works = stage.first_success();
        let first_second = stage.sent(works, SECOND);
        let most = stage.fullest_second(back);
        let (delivered, twice) = {
            let seen = stage.host.seen();
            let twice = seen.delivered.values().filter(|it| it.1 > 1).count();
            (seen.delivered.len() as u64, twice)
        };
        let lost = late + 1 - delivered;
        let closed = works.since(back);
        let fresh = stage.delivered(late, late_from).unwrap();
        println!(
            "outage: {retries} retries waited; {while_down} requests with {calls} calls in the hour; lost {lost}, \
             twice {twice}; the first success after {closed:?}, {first_second} requests in the second after it, {most} in the \
             fullest, of {LIMIT}; a fresh event accepted just after recovery is done after {fresh:?}; \
             all after {all} s"
        );
        let counts = stage.counts().await.events;
        assert_eq!((counts.done, counts.dead, lost, twice), (late + 1, 0, 0, 0));
        // A probe every four to six seconds, and the requests that opened the breaker.
        assert!((600..=920).contains(&while_down), "{while_down}");
        // Each with one call, but for those before it opened.
        assert!(calls <= while_down + 16 * 75, "{calls}");
        assert!(most <= LIMIT as usize && first_second <= LIMIT as usize);
        assert!(fresh < 8 * SECOND, "{fresh:?}");
        // A quarter and more of every request may be fresh, the rest retries, all of them full.
        let even = retries / u64::from(LIMIT * 75);
        assert!(all <= even + even / 10 + 10, "{all} s");
    });
}

#[test]
fn fresh_work_passes_retries_that_pile_up() {
    for objects_max in [1, 75] {
        on_paused_time(async {
            let stage = Stage::new(objects_max).await;
            let a_second = u64::from(LIMIT) * objects_max as u64;
            let retries = 14 * a_second;
            stage.failed(0..retries, SECOND).await;
            stage.wait(2 * SECOND).await;
            // Not quite as much as three quarters of what the lane takes.
            let share = a_second * 7 / 20;
            for round in 0..20 {
                let first = retries + round * share;
                stage.fresh(first..first + share).await;
                stage.wait(SECOND / 2).await;
                let seen = stage.host.seen();
                let waits = (retries..first).find(|it| !seen.delivered.contains_key(&address(*it)));
                assert_eq!(waits, None, "{objects_max}: after a second");
            }
            // The retries have had their quarter meanwhile.
            let seen = stage.host.seen();
            let late = (0..retries).filter(|it| seen.delivered.contains_key(&address(*it)));
            let late = late.count() as u64;
            assert!(late >= 3 * a_second, "{late} of {retries}");
        });
    }
}

#[test]
fn a_job_that_always_fails_keeps_nobody_waiting_behind_the_breaker() {
    on_paused_time(async {
        let stage = Stage::new(1).await;
        stage.host.seen().poison = Some(address(0));
        stage.host.seen().down = true;
        stage.fresh(0..50).await;
        stage.wait(20 * SECOND).await;
        assert_eq!(stage.held(), Some(HoldReason::Breaker));
        stage.host.seen().down = false;
        stage.wait(60 * SECOND).await;
        assert_eq!(stage.counts().await.events.done, 49);
        // It is alone now, and opens the breaker again.
        stage.wait(HOUR).await;
        assert_eq!(stage.held(), Some(HoldReason::Breaker));
        let from = stage.now();
        stage.fresh(100..110).await;
        stage.wait(8 * SECOND).await;
        assert_eq!(stage.counts().await.events.done, 59);
        assert!(stage.delivered(109, from).is_some());
        assert_eq!(stage.held(), None);
    });
}

#[test]
fn a_hold_by_hand_goes_before_the_breaker_and_a_release_ends_both() {
    on_paused_time(async {
        let stage = Stage::new(1).await;
        let lane = Lane::new(&"acme".into(), LaneKind::UsersTrack);
        stage.host.seen().down = true;
        stage.fresh(0..50).await;
        stage.wait(20 * SECOND).await;
        assert_eq!(stage.held(), Some(HoldReason::Breaker));
        assert!(stage.engine.hold_lane(&lane, None));
        let from = stage.now();
        stage.wait(HOUR).await;
        assert_eq!(
            (stage.held(), stage.sent(from, HOUR)),
            (Some(HoldReason::Manual), 0)
        );
        stage.host.seen().down = false;
        assert!(stage.engine.release_lane(&lane));
        stage.wait(2 * SECOND).await;
        assert_eq!((stage.held(), stage.counts().await.events.done), (None, 50));
    });
}
