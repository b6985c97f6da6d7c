//! The durable queue: the port, its guarantees, and the words both sides share.
//!
//! # Constraints
//! * What [`Store::append`] or [`Store::commit`] returned `Ok` for survives a power cut. What they did not return for
//!   is there whole or not at all.
//! * After the first I/O error nothing is acknowledged any more: every call answers [`StoreError::Failed`].
//! * A job is leased to at most one worker at a time. Leases live in memory: after a restart everything that was in
//!   flight is due again.
//! * Fresh work of a lane is leased in order of acceptance. Work that failed before never displaces it: while fresh
//!   work is ready, at most a quarter of a lease is work that failed.
//! * An event is remembered by (source, scope, participant, key) for `event_dedupe`, and never shorter than its jobs
//!   are alive or dead.
//! * Counts are exact at every moment and never need a scan.
//!
//! # Deliberately absent
//! No knowledge of flows beyond "here is a job and when it is due"; no HTTP; no clock: `now` is an argument.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::flow::job::{Burial, Commit, Flow, Job, Outcome, Reason, Seed, Start};
use crate::model::Name;
use crate::model::event::Event;
use crate::model::id::{EventId, JobId};
use crate::model::lane::Lane;
use crate::model::time::Timestamp;

/// What [`Store::append`] made of one seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The event's id; for a duplicate, the id of the first one.
    pub id: EventId,
    /// Whether it had been accepted before (or earlier in the same call).
    pub duplicate: bool,
}

/// The right to commit a job that was leased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    /// The job.
    pub id: JobId,
    /// Which of its leases.
    pub lease: u64,
}

/// A job on loan.
#[derive(Clone, Debug, PartialEq)]
pub struct Leased {
    /// Give it back with this.
    pub token: Token,
    /// The event it belongs to.
    pub event: Event,
    /// The job.
    pub job: Job,
}

/// What a commit did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// Stored. `children` were spawned; the others had been spawned before.
    Stored {
        /// How many children were new.
        children: u8,
    },
    /// The lease was no longer valid (the job was discarded or forgotten meanwhile): nothing was stored.
    LostLease,
}

/// Why the store did not do it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The queue or the disk is full; what is in it goes on being worked.
    #[error("the store takes no new events now: {0}")]
    Full(String),
    /// The store met an I/O error and has stopped for good.
    #[error("the store has failed: {0}")]
    Failed(String),
    /// The store cannot be opened as it is. Says what is missing and what to do.
    #[error("{0}")]
    Refused(String),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// The queue as the engine and the ingest see it. Clones share one queue.
pub trait Store: Clone + Send + Sync + 'static {
    /// Stores all seeds or none, in order. Duplicates are found by the writer itself, also within the call.
    fn append(
        &self,
        seeds: Vec<Seed>,
        now: Timestamp,
    ) -> impl Future<Output = Result<Vec<Appended>, StoreError>> + Send;

    /// Lends up to `at_most` jobs of the lane that are due at `now`.
    fn lease(
        &self,
        lane: &Lane,
        now: Timestamp,
        at_most: usize,
    ) -> impl Future<Output = Result<Vec<Leased>, StoreError>> + Send;

    /// Marks leased jobs as begun, durably; they stay leased. For calls that must not happen twice.
    fn begin(&self, tokens: Vec<Token>) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Takes leased jobs back unchanged; they are due as before.
    fn give_back(&self, tokens: Vec<Token>) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Stores these moves, each in one atomic write. One answer for each, in order.
    fn commit(
        &self,
        moves: Vec<(Token, Commit)>,
        now: Timestamp,
    ) -> impl Future<Output = Result<Vec<Committed>, StoreError>> + Send;

    /// When the lane's next job is due; `Some(moment <= now)` when one is due already. Leased jobs do not count.
    fn next_due(
        &self,
        lane: &Lane,
        now: Timestamp,
    ) -> impl Future<Output = Result<Option<Timestamp>, StoreError>> + Send;

    /// Notified (`notify_one`) whenever something may have become due in this lane earlier than before.
    fn wake(&self, lane: &Lane) -> Arc<Notify>;

    /// How much there is of everything, now.
    fn counts(&self, now: Timestamp) -> Counts;

    /// Whether new events would be taken; the error says why not.
    fn admits(&self) -> Result<(), StoreError>;
}

/// The queue as operators see it.
pub trait Operate: Clone + Send + Sync + 'static {
    /// Dead letters that match, oldest first, behind `after`. Looks at a bounded slice: a page may hold fewer than
    /// `limit` and still have a `next`.
    fn dead_list(
        &self,
        filter: DeadFilter,
        after: Option<JobId>,
        limit: usize,
    ) -> impl Future<Output = Result<Page<DeadLetter>, StoreError>> + Send;

    /// One dead letter.
    fn dead_get(
        &self,
        id: JobId,
    ) -> impl Future<Output = Result<Option<DeadLetter>, StoreError>> + Send;

    /// Lets dead letters live again, each as `Start` says (resumed at its failed step, or started anew by today's
    /// configuration). Answers for each whether it was a dead letter. Durable when it returns.
    fn revive(
        &self,
        letters: Vec<(JobId, Start)>,
        now: Timestamp,
    ) -> impl Future<Output = Result<Vec<bool>, StoreError>> + Send;
}

/// A page of an operator's query.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// What matched.
    pub items: Vec<T>,
    /// Where to go on; `None` at the end.
    pub next: Option<JobId>,
}

/// Which dead letters.
#[derive(Clone, Debug, Default)]
pub struct DeadFilter {
    /// Of this workspace.
    pub workspace: Option<String>,
    /// Of this activation.
    pub activation: Option<String>,
    /// Of this flow.
    pub flow: Option<Flow>,
    /// With this reason.
    pub reason: Option<Reason>,
}

/// A job that died, with everything needed to understand and replay it.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// The job.
    pub id: JobId,
    /// Its workspace, if known.
    pub workspace: Option<Name>,
    /// The flow, if it got that far.
    pub flow: Option<Flow>,
    /// The original event.
    pub event: Event,
    /// The job as it was; `None` when it never began.
    pub job: Option<Job>,
    /// Why it died.
    pub burial: Burial,
}

/// What is counted together: jobs of one flow of one activation. `none` where unknown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group {
    /// The workspace, or `none`.
    pub workspace: Name,
    /// The activation, or `none` where it is not configured.
    pub activation: Name,
    /// The flow; `None` is shown as `none`.
    pub flow: Option<Flow>,
}

/// Jobs of one group by state. A job that is not done is in exactly one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct States {
    /// Due in the future.
    pub waiting: u64,
    /// Due, and not lent.
    pub ready: u64,
    /// Lent to a worker.
    pub in_flight: u64,
    /// Dead letters.
    pub dead: u64,
}

/// Events by where they are. `accepted` is the sum of all the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventCounts {
    /// Everything ever accepted by this store.
    pub accepted: u64,
    /// All of its jobs are done.
    pub done: u64,
    /// A job is dead and none lives.
    pub dead: u64,
    /// A job lives.
    pub queued: u64,
    /// Discarded by an operator.
    pub discarded: u64,
    /// Forgotten with the person.
    pub forgotten: u64,
}

/// One lane's queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneCounts {
    /// Due calls not yet answered, lent ones included.
    pub depth: u64,
    /// Due in the future.
    pub waiting: u64,
    /// Since when the oldest of the due ones is due.
    pub oldest_due: Option<Timestamp>,
}

/// How much there is of everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The number of the last commit.
    pub commit: u64,
    /// Events.
    pub events: EventCounts,
    /// Jobs that are not done.
    pub jobs: BTreeMap<Group, States>,
    /// Dead letters by group and reason.
    pub dead: BTreeMap<(Group, Reason), u64>,
    /// Jobs done, by group and outcome, since the store was made.
    pub done: BTreeMap<(Group, Outcome), u64>,
    /// Lanes that have or had work.
    pub lanes: BTreeMap<Lane, LaneCounts>,
    /// The size of the store's files, bytes.
    pub store_bytes: u64,
    /// Of those, what is alive, as far as the engine tells.
    pub live_bytes: u64,
    /// Free disk, bytes.
    pub free_bytes: u64,
}
