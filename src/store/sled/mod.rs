//! The queue on one machine: sled, held so that it is durable.
//!
//! # Constraints
//! sled alone promises little: its flush is sync_file_range, its background thread swallows errors, a flipped bit
//! silently truncates its log, values of about 8 KB go to files that are never synced, and it may panic on damaged
//! data. Therefore:
//! * One writer thread gathers everything that waits into a batch or a few, applies each, flushes, calls fdatasync on a
//!   descriptor of our own, writes the mark, and only then answers ([`base`]).
//! * The first error is final: nothing is acknowledged any more, and the fdatasync is never tried again.
//! * Commits are numbered without gaps; the [`mark`] file remembers how far we had come, and opening below it refuses.
//! * Stored pieces are at most 4 KiB, so that sled's `blobs/` stays empty.
//! * Every access happens on the writer thread: sled's batches take a process-wide lock, and a panic there ends the
//!   service instead of a request.
//!
//! # Format
//! One tree; see [`keys`] for the layout and [`codec`](crate::store::codec) for the records.
//!
//! # Operations
//! [`append`] (with [`landing`], which spares keys), [`moves`] (commit, begin) and [`revive`], [`lend`] and [`time`] (lease,
//! next due), [`turns`] (with [`members`] and [`displace`]), [`query`], [`jobs`], [`forget`] and [`search`], [`papers`], [`sweep`]. What is remembered of participants is an [`index`] of its own.
//!
//! # Deliberately absent
//! `flush_async` (it hangs under concurrency), `subscribe`, sled's transactions, leases on disk.

mod append;
mod base;
mod budgets;
mod compact;
mod copying;
mod counts;
mod disk;
mod displace;
mod draft;
mod expiring;
mod forget;
mod format;
mod import;
mod index;
mod jobs;
mod keys;
mod landing;
mod lend;
mod mark;
mod members;
mod mend;
mod moves;
mod open;
mod operate;
mod papers;
mod query;
mod replays;
mod request;
mod revive;
mod room;
mod salvage;
mod search;
mod streams;
mod sweep;
mod tally;
mod time;
mod told;
mod turns;
mod watch;
mod weigh;
mod writer;
mod writes;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use tokio::sync::{Notify, oneshot};

use self::append::Prepared;
pub use self::compact::Sizes;
pub use self::import::Origin;
use self::keys::LaneKey;
use self::request::Request;
use super::hash::Hasher;
use super::{Appended, Committed, Counts, Leased, Settings, Store, StoreError, Token};
use crate::flow::job::{Commit, Seed};
use crate::model::budget::BudgetUse;
use crate::model::lane::Lane;
use crate::model::time::Timestamp;
use crate::telemetry::Metrics;

/// Where and how a store is opened.
#[derive(Clone, Debug)]
pub struct Place {
    /// `store.path`.
    pub path: PathBuf,
    /// `store.cache_bytes`.
    pub cache_bytes: u64,
    /// `store.reserve_bytes`: with less disk than this free, new events are refused.
    pub reserve_bytes: u64,
    /// `store.ballast_bytes`.
    pub ballast_bytes: u64,
    /// How many entries of the participants' index gather in memory before they are written in order.
    pub young_max: usize,
}

impl Place {
    /// A `young_max` of some megabytes, and some thousand events to read again at a start.
    pub const YOUNG_MAX: usize = 1 << 16;

    /// A small one, for tests.
    #[cfg(test)]
    fn small(path: &Path, young_max: usize) -> Place {
        Place {
            path: path.to_owned(),
            cache_bytes: 1 << 20,
            reserve_bytes: 0,
            ballast_bytes: 0,
            young_max,
        }
    }
}

/// The store. Clones share it; when the last one is gone, the writer stops cleanly.
#[derive(Clone)]
pub struct SledStore {
    shared: Arc<Shared>,
    requests: Sender<Request>,
    hasher: Hasher,
    max_jobs: u64,
}

/// What the writer thread and the handles both see.
#[derive(Default)]
pub struct Shared {
    wakes: Mutex<HashMap<Lane, Arc<Notify>>>,
    failed: OnceLock<String>,
    failing: Notify,
    /// The latest time that an earlier process is known to have seen.
    last_time: OnceLock<Timestamp>,
    /// The writer's life is over, and it has said why if it failed.
    ended: tokio::sync::watch::Sender<bool>,
    /// Why no new event is taken now.
    full: RwLock<Option<String>>,
    /// What was noted of budgets since the last batch.
    noted: Mutex<budgets::Noted>,
    /// The queue holds `max_jobs`: what is new is refused, what is a duplicate is not.
    crowded: AtomicBool,
    /// How often leases were lost with a person.
    revoked: AtomicU64,
    /// How often the writer has moved.
    beats: AtomicU64,
}

impl Shared {
    fn wake(&self, lane: &Lane) -> Arc<Notify> {
        let mut wakes = self.wakes.lock().unwrap_or_else(PoisonError::into_inner);
        wakes.entry(lane.clone()).or_default().clone()
    }

    fn noted(&self) -> MutexGuard<'_, budgets::Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_noted(&self) -> budgets::Noted {
        std::mem::take(&mut *self.noted())
    }

    fn fail(&self, why: &str) {
        if self.failed.set(why.to_owned()).is_ok() {
            self.failing.notify_waiters();
        }
    }

    fn failure(&self) -> Option<StoreError> {
        self.failed.get().map(|why| StoreError::Failed(why.clone()))
    }
}

/// Whether another process has the store of this folder open.
pub fn is_in_use(path: &Path) -> bool {
    disk::is_locked(path)
}

impl SledStore {
    /// Opens the store, or makes it. Returns once it can be read and written; refuses what is damaged or in use.
    pub fn open(
        place: Place,
        settings: Settings,
        metrics: Option<Arc<Metrics>>,
    ) -> Result<SledStore, StoreError> {
        let shared = Arc::new(Shared::default());
        let (requests, inbox) = std::sync::mpsc::channel();
        let (opened, answer) = std::sync::mpsc::channel();
        let theirs = shared.clone();
        std::thread::Builder::new()
            .name("store".into())
            .spawn(move || writer::run(&place, settings, metrics, &inbox, &opened, &theirs))
            .map_err(|error| {
                StoreError::Refused(format!("the store's thread cannot be started: {error}"))
            })?;
        match answer.recv() {
            Ok(Ok(hasher)) => Ok(SledStore {
                shared,
                requests,
                hasher,
                max_jobs: settings.max_jobs,
            }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(StoreError::Closed),
        }
    }

    /// The latest time that an earlier process is known to have seen: of its last event, or of what became due last.
    pub fn last_time(&self) -> Timestamp {
        self.shared.last_time.get().copied().unwrap_or_default()
    }

    /// Why the store does not work; `None` while it does.
    pub fn trouble(&self) -> Option<String> {
        self.shared.failure().map(|error| error.to_string())
    }

    /// Returns when the store has failed, with the reason.
    pub async fn failed(&self) -> String {
        let failing = self.shared.failing.notified();
        tokio::pin!(failing);
        failing.as_mut().enable();
        if self.shared.failed.get().is_none() {
            failing.await;
        }
        self.trouble().unwrap_or_default()
    }

    /// Stops the writer once everything asked before is done. Everything is durable and the mark synced when it returns.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.ask(|reply| Request::Close { reply }).await
    }

    fn has_room(&self) -> Result<(), StoreError> {
        if let Some(failed) = self.shared.failure() {
            return Err(failed);
        }
        match &*self
            .shared
            .full
            .read()
            .unwrap_or_else(PoisonError::into_inner)
        {
            Some(why) => Err(StoreError::Full(why.clone())),
            None => Ok(()),
        }
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Request,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        if self.requests.send(request(reply)).is_ok()
            && let Ok(answer) = answer.await
        {
            return answer;
        }
        // A request may be dropped a moment before it is known why.
        let _ = self.shared.ended.subscribe().wait_for(|ended| *ended).await;
        Err(self.shared.failure().unwrap_or(StoreError::Closed))
    }
}

impl Store for SledStore {
    async fn append(&self, seeds: Vec<Seed>, now: Timestamp) -> Result<Vec<Appended>, StoreError> {
        self.has_room()?;
        let items: Result<Vec<_>, _> = seeds
            .into_iter()
            .map(|seed| Prepared::new(seed, &self.hasher))
            .collect();
        let items = items?;
        self.ask(|reply| Request::Append { items, now, reply })
            .await
    }

    async fn lease(
        &self,
        lane: &Lane,
        now: Timestamp,
        at_most: usize,
    ) -> Result<Vec<Leased>, StoreError> {
        let lane = lane.clone();
        self.ask(|reply| Request::Lease {
            lane,
            now,
            at_most,
            reply,
        })
        .await
    }

    async fn begin(&self, tokens: Vec<Token>) -> Result<(), StoreError> {
        self.ask(|reply| Request::Begin { tokens, reply }).await
    }

    async fn give_back(&self, tokens: Vec<Token>) -> Result<(), StoreError> {
        self.ask(|reply| Request::GiveBack { tokens, reply }).await
    }

    async fn commit(
        &self,
        moves: Vec<(Token, Commit)>,
        now: Timestamp,
    ) -> Result<Vec<Committed>, StoreError> {
        self.ask(|reply| Request::Commit { moves, now, reply })
            .await
    }

    async fn next_due(&self, lane: &Lane, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let lane = lane.clone();
        self.ask(|reply| Request::NextDue { lane, now, reply })
            .await
    }

    fn wake(&self, lane: &Lane) -> Arc<Notify> {
        self.shared.wake(lane)
    }

    async fn counts(&self, now: Timestamp) -> Result<Counts, StoreError> {
        self.ask(|reply| Request::Counts { now, reply }).await
    }

    fn note_budget(&self, lane: &Lane, used: BudgetUse) {
        self.shared.noted().insert(lane.clone(), used);
    }

    async fn budgets(&self) -> Result<BTreeMap<Lane, BudgetUse>, StoreError> {
        self.ask(|reply| Request::Budgets { reply }).await
    }

    fn revoked(&self) -> u64 {
        self.shared.revoked.load(Ordering::Acquire)
    }

    fn admits(&self) -> Result<(), StoreError> {
        self.has_room()?;
        if self.shared.crowded.load(Ordering::Relaxed) {
            Err(append::crowded(self.max_jobs))
        } else {
            Ok(())
        }
    }
}
