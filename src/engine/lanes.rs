//! The lanes there are: what each one's worker, its requests and operators share.
//!
//! Invariants: the lanes of one host share its permits.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::gate::Gate;
use super::gate::budget::Budget;
use super::lane::Pace;
use super::recent::Recent;
use super::tempo::Tempo;
use super::{EngineSettings, HostSettings};
use crate::clock::Clock;
use crate::config::Limit;
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
    pub(super) gate: Mutex<Gate>,
    /// Whose profile was written to a moment ago.
    pub(super) recent: Mutex<Recent>,
    /// How fast it gets through its work.
    pub(super) tempo: Mutex<Tempo>,
    /// Notified whenever the gate may have changed.
    pub(super) changed: Notify,
    /// Notified whenever a request was answered: the budget may have more room.
    pub(super) heard: Notify,
    /// What an answer told of the budget could not be, and that was logged.
    pub(super) complained: AtomicBool,
    pub(super) in_flight: AtomicUsize,
    pub(super) limits: Vec<Limit>,
    pub(super) share: f64,
    pub(super) linger: Duration,
    /// Requests under way, shared by the lanes of one host.
    pub(super) permits: Arc<Semaphore>,
    /// `false`: the store has work for it and the configuration does not know it.
    pub(super) configured: bool,
}

impl LaneState {
    pub(super) fn new(
        lane: Lane,
        host: &HostSettings,
        permits: &Arc<Semaphore>,
        before: Option<Timestamp>,
    ) -> LaneState {
        let limits = host.limits.get(&lane.kind).cloned().unwrap_or_default();
        let windows = limits.iter().map(|limit| (limit.requests, limit.window));
        LaneState {
            gate: Mutex::new(Gate::new(Budget::new(windows, host.share), before)),
            limits,
            lane,
            recent: Mutex::new(Recent::new(before)),
            tempo: Mutex::default(),
            changed: Notify::new(),
            heard: Notify::new(),
            complained: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            share: host.share,
            linger: host.linger,
            permits: permits.clone(),
            configured: true,
        }
    }

    /// A lane that the store remembers from an earlier configuration.
    pub(super) fn unconfigured(lane: Lane) -> LaneState {
        let host = HostSettings {
            limits: BTreeMap::new(),
            share: 1.0,
            max_in_flight: 1,
            linger: Duration::ZERO,
        };
        LaneState {
            configured: false,
            ..LaneState::new(lane, &host, &Arc::new(Semaphore::new(1)), None)
        }
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
            let permit = self.permits.clone().acquire_owned().await.ok()?;
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

/// Every lane that the configuration asks for. `before`: there was a process before this one.
pub(super) fn configured_lanes(
    settings: &EngineSettings,
    before: Option<Timestamp>,
) -> impl Iterator<Item = LaneState> {
    settings
        .workspaces
        .iter()
        .flat_map(move |(name, workspace)| {
            let braze = (&workspace.braze, &BRAZE_LANES[..]);
            let quikly = workspace
                .quikly
                .as_ref()
                .map(|host| (host, &[LaneKind::Quikly][..]));
            std::iter::once(braze)
                .chain(quikly)
                .flat_map(move |(host, kinds)| {
                    let permits = Arc::new(Semaphore::new(host.max_in_flight.max(1)));
                    let lanes = kinds.iter();
                    lanes.map(move |kind| {
                        LaneState::new(Lane::new(name, *kind), host, &permits, before)
                    })
                })
        })
}
