//! The lanes there are: what each one's worker, its requests and operators share.
//!
//! Invariants: the lanes of one host share its permits. A lane never goes, and its budget and holds survive whatever else it
//! is to go by.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::gate::budget::Budget;
use super::gate::{Gate, HoldReason};
use super::lane::Pace;
use super::recent::Recent;
use super::tempo::Tempo;
use super::{EngineSettings, HostSettings};
use crate::clock::Clock;
use crate::config::Limit;
use crate::model::Name;
use crate::model::lane::{Lane, LaneKind};
use crate::model::time::Timestamp;

/// The lanes of a workspace at Braze that this version has calls for, and the one of what is held.
const BRAZE_LANES: [LaneKind; 6] = [
    LaneKind::UsersExportIds,
    LaneKind::UsersTrack,
    LaneKind::SubscriptionStatusSet,
    LaneKind::Default,
    LaneKind::UsersDelete,
    LaneKind::Held,
];

/// One lane: what its worker, its requests and operators share.
pub(super) struct LaneState {
    pub(super) lane: Lane,
    terms: RwLock<Arc<Terms>>,
    pub(super) gate: Mutex<Gate>,
    /// Whose profile was written to a moment ago.
    pub(super) recent: Mutex<Recent>,
    /// How fast it gets through its work.
    pub(super) tempo: Mutex<Tempo>,
    /// Notified whenever the gate, or the terms, may have changed.
    pub(super) changed: Notify,
    /// Notified whenever a request was answered: the budget may have more room.
    pub(super) heard: Notify,
    /// What an answer told of the budget could not be, and that was logged.
    pub(super) complained: AtomicBool,
    pub(super) in_flight: AtomicUsize,
}

/// What a lane goes by today; a reload swaps it whole.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) limits: Vec<Limit>,
    pub(super) share: f64,
    pub(super) linger: Duration,
    /// Requests under way, shared by the lanes of one host.
    pub(super) permits: Arc<Semaphore>,
    /// `false`: the store has work for it and the configuration does not know it.
    pub(super) configured: bool,
}

impl Terms {
    fn new(kind: LaneKind, settings: &HostSettings, host: &Host) -> Terms {
        Terms {
            limits: settings.limits.get(&kind).cloned().unwrap_or_default(),
            share: settings.share,
            linger: settings.linger,
            permits: host.permits.clone(),
            configured: true,
        }
    }

    /// Of a lane that the configuration does not know, or not any more.
    fn unconfigured() -> Terms {
        Terms {
            limits: Vec::new(),
            share: 1.0,
            linger: Duration::ZERO,
            permits: Arc::new(Semaphore::new(1)),
            configured: false,
        }
    }

    fn windows(&self) -> impl Iterator<Item = (u32, Duration)> {
        let limits = self.limits.iter();
        limits.map(|limit| (limit.requests, limit.window))
    }

    fn is_same(&self, other: &Terms) -> bool {
        let Terms {
            limits,
            share,
            linger,
            permits,
            configured,
        } = other;
        self.limits == *limits
            && self.share.total_cmp(share).is_eq()
            && self.linger == *linger
            && Arc::ptr_eq(&self.permits, permits)
            && self.configured == *configured
    }
}

impl LaneState {
    fn new(lane: Lane, terms: Terms, before: Option<Timestamp>) -> LaneState {
        let budget = Budget::new(terms.windows(), terms.share);
        LaneState {
            gate: Mutex::new(Gate::new(budget, before)),
            lane,
            terms: RwLock::new(Arc::new(terms)),
            recent: Mutex::new(Recent::new(before)),
            tempo: Mutex::default(),
            changed: Notify::new(),
            heard: Notify::new(),
            complained: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
        }
    }

    /// What it goes by today.
    pub(super) fn terms(&self) -> Arc<Terms> {
        let terms = self.terms.read();
        terms.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on it goes by these. What is used of its budget stays used.
    fn follow(&self, terms: Terms, now: Timestamp) {
        if self.terms().is_same(&terms) {
            return;
        }
        let mut gate = self.gate();
        gate.budget.follow(terms.windows(), terms.share, now);
        if terms.configured {
            gate.configured(now);
        }
        let today = self.terms.write();
        *today.unwrap_or_else(PoisonError::into_inner) = Arc::new(terms);
        drop(gate);
        self.complained.store(false, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// Holds it, unless the configuration has come to know it meanwhile.
    pub(super) fn hold_unconfigured(&self, now: Timestamp) {
        let mut gate = self.gate();
        if !self.terms().configured {
            gate.hold(HoldReason::Unconfigured, now, None);
        }
    }

    /// Whether it is where jobs of what is held are set aside, to be brought back.
    pub(super) fn is_aside(&self) -> bool {
        self.lane.kind == LaneKind::Held && self.terms().configured
    }

    pub(super) fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tempo(&self) -> MutexGuard<'_, Tempo> {
        self.tempo.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when a request may leave at once: the host has room for it, and pace and budget allow it, all at this
    /// moment. The room is not kept while the others are waited for: it belongs to the host's other lanes as well.
    pub(super) async fn may_leave(
        &self,
        pace: &mut Pace,
        clock: &Clock,
    ) -> Option<OwnedSemaphorePermit> {
        loop {
            let permits = self.terms().permits.clone();
            let permit = permits.acquire_owned().await.ok()?;
            let checked = pace.check(&mut self.gate().budget);
            let Err(wait) = checked else {
                return Some(permit);
            };
            drop(permit);
            tokio::select! {
                () = clock.sleep(wait.unwrap_or_default()), if wait.is_some() => {}
                () = self.heard.notified() => {}
            }
        }
    }

    pub(super) fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Requests under way at once at one host of a workspace.
struct Host {
    permits: Arc<Semaphore>,
    max_in_flight: usize,
}

impl Host {
    /// So many at once. Where that is fewer than before, nothing leaves until no more than that are under way.
    fn bound(&mut self, max_in_flight: usize) {
        let before = std::mem::replace(&mut self.max_in_flight, max_in_flight);
        self.permits
            .add_permits(max_in_flight.saturating_sub(before));
        let fewer = u32::try_from(before.saturating_sub(max_in_flight)).unwrap_or(u32::MAX);
        if fewer > 0 {
            let permits = self.permits.clone();
            tokio::spawn(async move {
                if let Ok(taken) = permits.acquire_many_owned(fewer).await {
                    taken.forget();
                }
            });
        }
    }
}

/// Every lane. None ever goes: what the configuration does not know any more may have jobs.
#[derive(Default)]
pub(super) struct Lanes {
    all: BTreeMap<Lane, Arc<LaneState>>,
    /// By workspace, and whether it is its Quikly.
    hosts: BTreeMap<(Name, bool), Host>,
}

impl Lanes {
    pub(super) fn get(&self, lane: &Lane) -> Option<&Arc<LaneState>> {
        self.all.get(lane)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<LaneState>> {
        self.all.values()
    }

    /// Everything goes by `settings` from now on. `before`: there was a process before this one.
    pub(super) fn follow(
        &mut self,
        settings: &EngineSettings,
        before: Option<Timestamp>,
        now: Timestamp,
    ) {
        let mut known = BTreeSet::new();
        for (name, workspace) in &settings.workspaces {
            let braze = (&workspace.braze, &BRAZE_LANES[..]);
            let quikly = workspace.quikly.as_ref();
            let quikly = quikly.map(|host| (host, &[LaneKind::Quikly][..]));
            for (of_host, kinds) in std::iter::once(braze).chain(quikly) {
                let is_quikly = kinds == [LaneKind::Quikly];
                let max_in_flight = of_host.max_in_flight.max(1);
                let host = self.hosts.entry((name.clone(), is_quikly));
                let host = host.or_insert_with(|| Host {
                    permits: Arc::new(Semaphore::new(max_in_flight)),
                    max_in_flight,
                });
                host.bound(max_in_flight);
                for kind in kinds {
                    let (lane, terms) = (Lane::new(name, *kind), Terms::new(*kind, of_host, host));
                    known.insert(lane.clone());
                    match self.all.entry(lane) {
                        Entry::Occupied(there) => there.get().follow(terms, now),
                        Entry::Vacant(place) => {
                            let lane = place.key().clone();
                            place.insert(Arc::new(LaneState::new(lane, terms, before)));
                        }
                    }
                }
            }
            // A webhook may ask for a Quikly that is not configured: its lane is there, to be held for everybody to see.
            self.remember(&Lane::new(name, LaneKind::Quikly));
        }
        for (lane, state) in &self.all {
            if !known.contains(lane) && state.terms().configured {
                state.follow(Terms::unconfigured(), now);
            }
        }
    }

    /// There is, or may be, work for this lane, whether the configuration knows it or not.
    pub(super) fn remember(&mut self, lane: &Lane) {
        if !self.all.contains_key(lane) {
            let state = LaneState::new(lane.clone(), Terms::unconfigured(), None);
            self.all.insert(lane.clone(), Arc::new(state));
        }
    }
}
