//! The engine: carries out what is stored, lane by lane, as fast as each may go.
//!
//! Invariants: every decision about a job is the flow's ([`crate::flow`]); the engine leases, asks, sends, listens and
//! stores. One task per lane, so that a lane that waits keeps nobody else waiting; requests of a lane run side by side,
//! bounded per workspace and host. It never waits by turning: it sleeps until something is due, a gate opens, or the
//! store wakes it. The first error of the store, or a panic, ends the engine with an error: nothing is lost, since what
//! was not committed is due again.

mod aside;
mod batch;
mod control;
pub mod eta;
mod follow;
pub mod gate;
pub mod holds;
mod lane;
mod lanes;
mod moves;
mod outcome;
mod prepare;
mod recent;
mod request;
mod spans;
mod tempo;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::client::Client;
use crate::clock::Clock;
use crate::config::{Config, Limit};
use crate::model::Name;
use crate::model::budget::BudgetUse;
use crate::model::lane::LaneKind;
use crate::model::rules::RuleBook;
use crate::store::{Store, StoreError};
use crate::telemetry::Metrics;
pub use control::{ActivationView, Desk, LaneView};
pub use follow::{Released, Turnover};
use holds::Holds;
pub use lane::requests_per_second;
use lanes::{LaneState, Lanes};

/// What the engine needs to know of the configuration.
#[derive(Clone, Debug, Default)]
pub struct EngineSettings {
    /// Every workspace.
    pub workspaces: BTreeMap<Name, WorkspaceSettings>,
    /// How long requests under way are waited for at a stop.
    pub stop_within: Duration,
    /// So many burials of one activation in a row hold it.
    pub hold_after: u32,
}

/// One workspace's hosts.
#[derive(Clone, Debug)]
pub struct WorkspaceSettings {
    /// Braze.
    pub braze: HostSettings,
    /// Quikly, where something is told to it.
    pub quikly: Option<HostSettings>,
}

/// How one host of one workspace may be used.
#[derive(Clone, Debug)]
pub struct HostSettings {
    /// The windows of each of its lanes, all of which apply.
    pub limits: BTreeMap<LaneKind, Vec<Limit>>,
    /// The part of them that is ours, 0–1.
    pub share: f64,
    /// Requests under way at once, over all its lanes.
    pub max_in_flight: usize,
    /// How long a request that is not full waits for more calls.
    pub linger: Duration,
}

impl EngineSettings {
    /// What `config` says.
    pub fn of(config: &Config) -> EngineSettings {
        let workspaces = config
            .workspaces
            .iter()
            .map(|(name, workspace)| {
                let braze = &workspace.braze;
                let settings = WorkspaceSettings {
                    braze: HostSettings {
                        limits: braze.limits.clone(),
                        share: braze.share,
                        max_in_flight: braze.max_in_flight,
                        linger: braze.linger,
                    },
                    quikly: workspace.quikly.as_ref().map(|quikly| HostSettings {
                        limits: BTreeMap::from([(LaneKind::Quikly, quikly.limit.clone())]),
                        share: 1.0,
                        max_in_flight: quikly.max_in_flight,
                        linger: Duration::ZERO,
                    }),
                };
                (name.clone(), settings)
            })
            .collect();
        EngineSettings {
            workspaces,
            stop_within: config.stop_within,
            hold_after: config.hold_after,
        }
    }
}

/// Why the engine ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The store did not do what it was asked.
    #[error("the engine stops, for {0}")]
    Store(#[from] StoreError),
    /// A mistake in our code. What it was working on is due again after a restart.
    #[error("the engine stops, for a task of lane {lane} panicked")]
    Panicked {
        /// The lane.
        lane: String,
    },
}

/// Carries out what is stored. Clones are handles of one engine.
pub struct Engine<S, C> {
    shared: Arc<Shared<S, C>>,
}

impl<S, C> Clone for Engine<S, C> {
    fn clone(&self) -> Self {
        Engine {
            shared: self.shared.clone(),
        }
    }
}

/// What all workers of an engine share.
struct Shared<S, C> {
    store: S,
    client: C,
    clock: Clock,
    metrics: Arc<Metrics>,
    book: RwLock<Arc<RuleBook>>,
    jitter: Jitter,
    lanes: RwLock<Lanes>,
    /// Notified when there are further lanes.
    grown: Notify,
    holds: Mutex<Holds>,
    stop_within: Duration,
}

impl<S: Store, C: Client> Engine<S, C> {
    /// An engine that works for nobody yet. `seed` decides the jitter.
    pub async fn new(
        store: S,
        client: C,
        clock: Clock,
        metrics: Arc<Metrics>,
        settings: &EngineSettings,
        book: Arc<RuleBook>,
        seed: u64,
    ) -> Result<Engine<S, C>, StoreError> {
        let counts = store.counts(clock.now()).await?;
        // Whoever worked on this store before may have sent something a moment ago.
        let now = clock.now();
        let before = (counts.events.accepted > 0).then_some(now);
        let mut lanes = Lanes::default();
        lanes.follow(settings, before, now);
        for lane in counts.lanes.keys() {
            lanes.remember(lane);
        }
        let budgets = store.budgets().await?;
        for state in lanes.iter() {
            // Work and nothing written down: it was killed before it could be.
            let had_work = counts.lanes.contains_key(&state.lane);
            let used = budgets.get(&state.lane).cloned();
            if let Some(used) = used.or_else(|| had_work.then(BudgetUse::default)) {
                let unknown = u32::try_from(state.terms().permits.available_permits());
                let mut gate = state.gate();
                gate.restore(&used, unknown.unwrap_or(u32::MAX), clock.now());
            }
        }
        Ok(Engine {
            shared: Arc::new(Shared {
                store,
                client,
                clock,
                metrics,
                book: RwLock::new(book),
                jitter: Jitter(AtomicU64::new(seed)),
                lanes: RwLock::new(lanes),
                grown: Notify::new(),
                holds: Mutex::new(Holds::new(settings.hold_after)),
                stop_within: settings.stop_within,
            }),
        })
    }

    /// Works until `stop` is ready; then leases nothing more, waits for the requests under way for at most
    /// `stop_within`, gives back the rest, and returns. Returns earlier only with an error, after which nothing is
    /// under way. Dropping the future is a crash: what was under way is lost, as after a kill.
    pub async fn run(&self, stop: impl Future<Output = ()>) -> Result<(), EngineError> {
        let (tell, told) = watch::channel(false);
        let mut workers = JoinSet::new();
        let mut names = BTreeMap::new();
        let mut working = BTreeSet::new();
        let mut stop = pin!(stop);
        let mut stopping = false;
        loop {
            let lanes: Vec<_> = self.shared.lanes().iter().cloned().collect();
            for lane in lanes {
                if !stopping && working.insert(lane.lane.clone()) {
                    let name = lane.lane.to_string();
                    let handle = workers.spawn(work(self.shared.clone(), lane, told.clone()));
                    names.insert(handle.id(), name);
                }
            }
            if stopping && workers.is_empty() {
                return Ok(());
            }
            tokio::select! {
                () = &mut stop, if !stopping => {
                    stopping = true;
                    tell.send_replace(true);
                }
                () = self.shared.grown.notified() => {}
                Some(ended) = workers.join_next() => match ended {
                    Ok(ended) => ended?,
                    Err(panic) => {
                        let lane = names.remove(&panic.id()).unwrap_or_default();
                        return Err(EngineError::Panicked { lane });
                    }
                },
            }
        }
    }
}

/// Works in one lane until it is told to stop.
async fn work<S: Store, C: Client>(
    shared: Arc<Shared<S, C>>,
    lane: Arc<LaneState>,
    told: watch::Receiver<bool>,
) -> Result<(), EngineError> {
    while !*told.borrow() {
        if lane.is_aside() {
            aside::run(shared.clone(), lane.clone(), told.clone()).await?;
        } else {
            let worker = worker::Worker::new(shared.clone(), lane.clone(), told.clone());
            worker.run().await?;
        }
    }
    Ok(())
}

impl<S, C> Shared<S, C> {
    fn holds(&self) -> MutexGuard<'_, Holds> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lanes(&self) -> RwLockReadGuard<'_, Lanes> {
        self.lanes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn book(&self) -> Arc<RuleBook> {
        self.book
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Numbers from 0 to 1 that follow from a seed (splitmix64): enough to keep a crowd apart.
struct Jitter(AtomicU64);

impl Jitter {
    fn next(&self) -> f64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut bits = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}
