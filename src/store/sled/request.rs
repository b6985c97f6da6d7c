//! What may be asked of the writer.
//!
//! Invariants: each request has its answer; what is durable says so, and is answered behind the sync.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use super::append::Prepared;
use super::copying::Slice;
use crate::flow::job::{Commit, Start};
use crate::model::budget::BudgetUse;
use crate::model::id::{EventId, JobId};
use crate::model::lane::Lane;
use crate::model::time::Timestamp;
use crate::store::{
    Appended, Committed, Counts, DeadFilter, DeadLetter, Found, JobFilter, Leased, Note, Page,
    Paper, Papers, Person, Portion, Position, ReplayCounts, Shelf, Standing, StoreError, StoredJob,
    Timeline, Token, Trace,
};

/// Where an answer goes.
pub type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What is asked of the writer.
pub enum Request {
    /// Durable.
    Append {
        items: Vec<Prepared>,
        now: Timestamp,
        reply: Reply<Vec<Appended>>,
    },
    /// Durable.
    Commit {
        moves: Vec<(Token, Commit)>,
        now: Timestamp,
        reply: Reply<Vec<Committed>>,
    },
    /// Durable.
    Begin {
        tokens: Vec<Token>,
        reply: Reply<()>,
    },
    /// Durable.
    Revive {
        replay: Option<u32>,
        letters: Vec<(JobId, Start)>,
        note: Note,
        now: Timestamp,
        reply: Reply<Vec<bool>>,
    },
    /// Durable.
    Discard {
        ids: Vec<JobId>,
        note: Note,
        now: Timestamp,
        reply: Reply<Vec<bool>>,
    },
    /// Durable.
    PutPapers { papers: Papers, reply: Reply<()> },
    /// In memory.
    Lease {
        lane: Lane,
        now: Timestamp,
        at_most: usize,
        reply: Reply<Vec<Leased>>,
    },
    /// In memory.
    GiveBack {
        tokens: Vec<Token>,
        reply: Reply<()>,
    },
    /// A question.
    NextDue {
        lane: Lane,
        now: Timestamp,
        reply: Reply<Option<Timestamp>>,
    },
    /// A question.
    Counts {
        now: Timestamp,
        reply: Reply<Counts>,
    },
    /// A question.
    Budgets {
        reply: Reply<BTreeMap<Lane, BudgetUse>>,
    },
    /// A question.
    DeadList {
        filter: DeadFilter,
        after: Option<JobId>,
        limit: usize,
        reply: Reply<Page<DeadLetter>>,
    },
    /// A question.
    DeadGet {
        id: JobId,
        reply: Reply<Option<DeadLetter>>,
    },
    /// A question.
    JobList {
        filter: JobFilter,
        after: Option<JobId>,
        limit: usize,
        now: Timestamp,
        reply: Reply<Page<StoredJob>>,
    },
    /// A question.
    JobGet {
        id: JobId,
        now: Timestamp,
        reply: Reply<Option<StoredJob>>,
    },
    /// In memory.
    BeginCopy { reply: Reply<u64> },
    /// A question.
    GoOnCopying { number: u64, reply: Reply<Slice> },
    /// In memory.
    EndCopy { number: u64 },
    /// A question.
    ReplayCounts {
        reply: Reply<BTreeMap<u32, ReplayCounts>>,
    },
    /// A question.
    Held {
        person: Person,
        before: Option<EventId>,
        now: Timestamp,
        reply: Reply<Portion>,
    },
    /// Durable.
    Forget {
        person: Person,
        before: Option<EventId>,
        now: Timestamp,
        reply: Reply<Portion>,
    },
    /// A question.
    Timeline {
        participant: String,
        limit: usize,
        now: Timestamp,
        reply: Reply<Timeline>,
    },
    Standing {
        event: EventId,
        reply: Reply<Standing>,
    },
    /// A question.
    Search {
        trace: Trace,
        from: Option<Position>,
        reply: Reply<Found>,
    },
    /// A question.
    Papers {
        shelf: Shelf,
        limit: usize,
        reply: Reply<Vec<Paper>>,
    },
    /// The end.
    Close { reply: Reply<()> },
}
