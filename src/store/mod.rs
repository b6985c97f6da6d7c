//! The durable queue: the port, its guarantees, and the words both sides share.
//!
//! # Constraints
//! * What [`Store::append`] or [`Store::commit`] returned `Ok` for survives a power cut. What they did not return for
//!   is there whole or not at all.
//! * After the first I/O error nothing is acknowledged any more: every call answers [`StoreError::Failed`].
//! * A job is leased to at most one worker at a time. Leases live in memory: after a restart everything that was in
//!   flight is due again.
//! * Fresh work of a lane is leased in order of acceptance. Work that failed before, or belongs to a replay, never
//!   displaces it: of the room that fresh work could fill, at most a quarter goes to such work.
//! * An event is remembered by (source, scope, participant, key) for `event_dedupe`, and never shorter than its jobs
//!   are alive or dead. The participant is the normalised e-mail.
//! * A job is in exactly one state: alive, dead, done or discarded. An event is queued while one of its jobs lives; else
//!   dead while one is dead; else discarded when one was discarded; else done.
//! * Turns. A participant's jobs in one workspace (that of the job's lane) go one after another, as long as their state
//!   takes the turn ([`State::takes_turn`]); the participant of a job is the one of the event that was accepted, also for
//!   children. Of the living jobs of one participant that take the
//!   turn exactly one holds it: the first by id, that is, in order of acceptance. The others are *behind*: not lent, not
//!   told by `next_due`, counted as waiting.
//! * The turn ends when its holder is done, dies, or goes on in a state that does not take the turn, or in another
//!   workspace. The write that ends it gives it to the next, which is due no earlier than that commit's `gap` after it
//!   ([`Job::due`] says so), or first buries those next behind that follow (`bury_successors`). A holder that is kept keeps the turn, retries
//!   included: nobody overtakes.
//! * What comes to live with an older id (revived, a child, moved to another workspace) takes its place by its id: it has
//!   the turn at once if it is the first, unless the holder is lent at that moment; that one keeps the turn until it ends.
//! * The address learnt last of a participant in a workspace is remembered for `known_for`, over restarts. That it was
//!   learnt again counts from half of that time on.
//! * A job's id is never given twice: neither to another event nor, within its event, to another child.
//! * Counts are exact at every moment and never need a scan.
//!
//! [`State::takes_turn`]: crate::flow::job::State::takes_turn
//!
//! # Deliberately absent
//! No knowledge of flows beyond "here is a job, when it is due, and whether it takes a turn"; no HTTP; no clock: `now`
//! is an argument, and does not go back from call to call except over a restart.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::flow::job::{Commit, Job, Seed, Start};
use crate::model::budget::BudgetUse;
use crate::model::event::Event;
use crate::model::id::{EventId, JobId};
use crate::model::lane::Lane;
use crate::model::time::Timestamp;

mod address;
pub mod archive;
pub mod codec;
mod counts;
pub mod entry;
mod hash;
mod jobs;
mod letters;
pub mod map;
pub mod paper;
mod person;
mod settings;
mod share;
pub mod sled;

use self::address::is_memorable;
pub use self::address::{ADDRESS_BYTES_MAX, Learnt};
pub use self::counts::{Counts, EventCounts, Group, LaneCounts, States};
use self::entry::Entries;
pub use self::jobs::{JobFilter, StoredJob};
pub use self::letters::{
    DeadFilter, DeadLetter, PARTICIPANT_HASH_CHARS, REPLAYS_MAX, ReplayCounts,
};
pub use self::paper::{Note, Paper, Papers, Shelf};
pub use self::person::{Found, Held, Named, Person, Portion, Position, Standing, Timeline, Trace};
pub use self::settings::Settings;

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
    /// What was learnt of the participant's address in the workspace of this lane, if that is not too long ago. Looked up
    /// only for jobs that take the turn; `None` for others.
    pub known: Option<Learnt>,
}

/// What a commit did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// Stored. `children` were spawned; the others had been spawned before.
    Stored {
        /// How many children were new.
        children: u8,
    },
    /// The lease was no longer valid (committed or given back before, lost with a restart, the job discarded or
    /// forgotten meanwhile): nothing was stored.
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
    /// A copy cannot be gone on with; the store itself works.
    #[error("{0}")]
    Copy(String),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// The queue as the engine and the ingest see it. Clones share one queue.
pub trait Store: Clone + Send + Sync + 'static {
    /// Stores all seeds or none, in order. Duplicates are found by the writer itself, also within the call; they store
    /// nothing.
    ///
    /// Ids grow with every event accepted, also over a restart and when `now` has gone back. A key is remembered while
    /// `now < accepted_at + event_dedupe` (`webhook_dedupe` where the key is derived) or a job of its event is alive or
    /// dead. A seed with `further` starts that
    /// instead when a participation (any key) of the same source, scope and participant is remembered, be it from
    /// earlier in the same call. A seed that starts buried is accepted and a dead letter at once.
    ///
    /// [`StoreError::Full`] when any seed is new and `max_jobs` jobs are alive or dead already; one call may go beyond.
    fn append(
        &self,
        seeds: Vec<Seed>,
        now: Timestamp,
    ) -> impl Future<Output = Result<Vec<Appended>, StoreError>> + Send;

    /// Lends up to `at_most` jobs of the lane that are due at `now` and not lent.
    ///
    /// First fresh ones in order of their ids, then those that failed before in order of (due, id). When both are ready,
    /// a quarter of the room is for those that failed (rounded down; what that leaves counts with the lane's next lease),
    /// the rest for fresh ones; what one class leaves empty the other fills. A job stays lent until it is committed or given back, or the store is opened again.
    ///
    /// What room is left then is for chains: when a lent holder of a turn [`follows`](crate::flow::job::State::follows),
    /// those behind it are lent along, directly after it and in their order, as far as each follows too, is in this lane,
    /// due by its own `due` and not lent. They are committed like others; one that is kept or given back is behind again
    /// unless it got the turn meanwhile, and one that ends while an earlier one lives just leaves.
    fn lease(
        &self,
        lane: &Lane,
        now: Timestamp,
        at_most: usize,
    ) -> impl Future<Output = Result<Vec<Leased>, StoreError>> + Send;

    /// Marks leased jobs as begun, durably; they stay leased. For calls that must not happen twice.
    ///
    /// The mark stays, over give-back and restart, until a commit replaces the job. Lost leases are passed over.
    fn begin(&self, tokens: Vec<Token>) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Takes leased jobs back unchanged; they are due as before. Lost leases are passed over.
    fn give_back(&self, tokens: Vec<Token>) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Stores these moves, each in one atomic write. One answer for each, in order; a move sees what those before it did.
    ///
    /// A child is spawned unless its number was ever used in this event, or its `once` is remembered for this
    /// participant (the child's e-mail): while `now < spawned at + credit_dedupe`, or the job spawned then is alive or
    /// dead. It belongs to the event of its parent. Spawning is never refused for a full queue.
    ///
    /// Children take their places before the parent's turn ends: a child with the lowest id is the next. `learnt` is
    /// remembered under the participant. `bury_successors` buries all that were behind when the turn ended, lent along or
    /// not (their leases are lost), except children of this very commit.
    fn commit(
        &self,
        moves: Vec<(Token, Commit)>,
        now: Timestamp,
    ) -> impl Future<Output = Result<Vec<Committed>, StoreError>> + Send;

    /// When the lane's next job is due; `Some(moment <= now)` when one is due already. Leased jobs do not count; `None`
    /// when there is no other.
    fn next_due(
        &self,
        lane: &Lane,
        now: Timestamp,
    ) -> impl Future<Output = Result<Option<Timestamp>, StoreError>> + Send;

    /// Notified (`notify_one`) whenever something may have become due in this lane earlier than before: after append,
    /// commit, give-back and revival. The same one for every caller.
    fn wake(&self, lane: &Lane) -> Arc<Notify>;

    /// How much there is of everything, now.
    fn counts(&self, now: Timestamp) -> impl Future<Output = Result<Counts, StoreError>> + Send;

    /// Notes what was used of a lane's budget, instead of what was noted of it before. Costs nothing: it is kept in memory,
    /// and becomes durable with the next call that is, at the latest when the store is closed. After a crash it may be
    /// as old as the last of those.
    fn note_budget(&self, lane: &Lane, used: BudgetUse);

    /// What was found of lanes' budgets when the store was opened. [`BudgetUse::complete`] counts for one opening: unless
    /// it is noted again, the next one finds it `false`.
    fn budgets(&self)
    -> impl Future<Output = Result<BTreeMap<Lane, BudgetUse>, StoreError>> + Send;

    /// Grows whenever leases were lost with a forgotten person: whoever has asked for nothing yet gives its leases back and
    /// lends anew, so that nothing more is asked for who is forgotten.
    fn revoked(&self) -> u64;

    /// Whether [`Store::append`] would take new events; the error says why not.
    fn admits(&self) -> Result<(), StoreError>;
}

/// The queue as operators see it.
pub trait Operate: Clone + Send + Sync + 'static {
    /// Dead letters that match, in order of their ids (oldest event first), behind `after`. Looks at a bounded slice: a
    /// page may hold fewer than `limit` and still have a `next`, which is always behind `after`.
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

    /// Jobs that match, living and dead, in order of their ids (oldest event first), behind `after`; each in the state it
    /// has at `now`. Looks at a bounded slice: a page may hold fewer than `limit`, even none, and still have a `next`,
    /// which is always behind `after`. An id stays a job's own wherever it moves: page by page, none is passed over and
    /// none told twice.
    fn job_list(
        &self,
        filter: JobFilter,
        after: Option<JobId>,
        limit: usize,
        now: Timestamp,
    ) -> impl Future<Output = Result<Page<StoredJob>, StoreError>> + Send;

    /// One job that lives or is dead, as it is at `now`.
    fn job_get(
        &self,
        id: JobId,
        now: Timestamp,
    ) -> impl Future<Output = Result<Option<StoredJob>, StoreError>> + Send;

    /// Everything there is, told while it is worked: consistent as of the moment in which the last of it is told. Only one
    /// copy is taken at a time; a later one breaks an earlier one off. Costs the queue a bounded slice at a time; whoever
    /// takes it too slowly, so that too much is written meanwhile, loses it.
    fn copy(&self) -> impl Future<Output = Result<Entries, StoreError>> + Send;

    /// Lets dead letters live again, each as `Start` says (resumed at its failed step, or started anew by today's
    /// configuration). Answers for each, in order, whether it was a dead letter. Durable when it returns.
    ///
    /// [`Start::Run`]: the job lives under the same id, with the letter's event. [`Start::Bury`]: the letter stays, with
    /// this workspace, flow and burial; the job it holds stays as it was. Never refused for a full queue. A revived job
    /// takes its place among the turns by its id.
    ///
    /// They, and what they spawn, belong to this replay until another lets them live: [`Operate::replay_counts`] tells what
    /// becomes of them. While a job belongs to a replay it is never fresh, whatever is committed.
    ///
    /// No letter lives again without what `note` puts on paper of it, whatever ends the process when.
    fn revive_noting(
        &self,
        replay: Option<u32>,
        letters: Vec<(JobId, Start)>,
        note: Note,
        now: Timestamp,
    ) -> impl Future<Output = Result<Vec<bool>, StoreError>> + Send;

    /// [`Operate::revive_noting`] nothing.
    fn revive_for(
        &self,
        replay: Option<u32>,
        letters: Vec<(JobId, Start)>,
        now: Timestamp,
    ) -> impl Future<Output = Result<Vec<bool>, StoreError>> + Send {
        self.revive_noting(replay, letters, Papers::none(), now)
    }

    /// [`Operate::revive_for`] no replay.
    fn revive(
        &self,
        letters: Vec<(JobId, Start)>,
        now: Timestamp,
    ) -> impl Future<Output = Result<Vec<bool>, StoreError>> + Send {
        self.revive_for(None, letters, now)
    }

    /// Discards dead letters, as their age would. Answers for each, in order, whether it was a dead letter. Durable when it
    /// returns. No letter goes without what `note` puts on paper of it, and the other way round.
    fn discard_noting(
        &self,
        ids: Vec<JobId>,
        note: Note,
        now: Timestamp,
    ) -> impl Future<Output = Result<Vec<bool>, StoreError>> + Send;

    /// [`Operate::discard_noting`] nothing.
    fn discard(
        &self,
        ids: Vec<JobId>,
        now: Timestamp,
    ) -> impl Future<Output = Result<Vec<bool>, StoreError>> + Send {
        self.discard_noting(ids, Papers::none(), now)
    }

    /// What became of what each replay let live, exact at every moment; of the last [`REPLAYS_MAX`] replays that let
    /// anything live.
    fn replay_counts(
        &self,
    ) -> impl Future<Output = Result<BTreeMap<u32, ReplayCounts>, StoreError>> + Send;

    /// Takes the papers named in `remove` away and stores those of `put`, each instead of one of its name; all or nothing.
    /// Durable when it returns. Never refused for a full queue.
    fn put_papers(
        &self,
        put: Vec<Paper>,
        remove: Vec<String>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The first `limit` papers of a shelf, and no more than [`paper::LOOK_MAX`].
    fn papers(
        &self,
        shelf: Shelf,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Paper>, StoreError>> + Send;

    /// A participant as operators may see one in lists and logs: [`PARTICIPANT_HASH_CHARS`] of lower-case hexadecimal, the same for the same normalised
    /// e-mail for as long as the store lives, and telling nothing to who does not know the store's secret.
    fn participant_hash(&self, email: &str) -> String;

    /// What there is of a person in events accepted before `before`, newest first: a bounded slice of them.
    fn held(
        &self,
        person: Person,
        before: Option<EventId>,
        now: Timestamp,
    ) -> impl Future<Output = Result<Portion, StoreError>> + Send;

    /// Removes what [`Operate::held`] tells, in one atomic write; durable when it returns. To be repeated from `next` on.
    ///
    /// An event of theirs of which a job is in the person's workspace goes whole, wherever its jobs are: living ones of every
    /// place, lent ones (their leases are lost), dead letters. It counts as forgotten; what was done or discarded before
    /// stays counted so. Addresses go with the last slice. Of every event, and of every `once`, stays what tells a
    /// repetition, keyed with the store's secret, for as long as it would have stayed otherwise. A living
    /// [`Erasure`](crate::model::event::EventKind::Erasure) is left alone.
    fn forget(
        &self,
        person: Person,
        before: Option<EventId>,
        now: Timestamp,
    ) -> impl Future<Output = Result<Portion, StoreError>> + Send;

    /// How an event stands.
    fn standing(&self, event: EventId)
    -> impl Future<Output = Result<Standing, StoreError>> + Send;

    /// What is remembered of the participant with this hash: at most `limit` of their events.
    fn timeline(
        &self,
        participant: String,
        limit: usize,
        now: Timestamp,
    ) -> impl Future<Output = Result<Timeline, StoreError>> + Send;

    /// Whose events a trace [is in](Trace::is_in): a bounded slice of what lives or is dead. Whoever comes or lives again
    /// while one searches may be passed over.
    fn search(
        &self,
        trace: Trace,
        from: Option<Position>,
    ) -> impl Future<Output = Result<Found, StoreError>> + Send;
}

/// A page of an operator's query.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// What matched.
    pub items: Vec<T>,
    /// Where to go on; `None` at the end.
    pub next: Option<JobId>,
}
