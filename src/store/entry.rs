//! What a queue consists of, one entry for each thing: how it is taken from one store to another, whatever either is made of.
//!
//! Written one a line as JSON they are an export (`braze-relay export`). Every entry is a [`Key`] and what is there now: a
//! later entry of the same key replaces an earlier one, and [`Entry::Gone`] says that nothing is there any more. A copy that
//! is taken while the queue is worked is therefore a list of what was found, mixed with what was written meanwhile, in the
//! order in which it happened.
//!
//! # The kinds
//! * `workspace`, `group`: names; the order of the workspaces is their number, which is part of the places of `address`.
//! * `job`: a job that lives, with its event. With `lane` it has not moved since it was accepted, and is due there; without,
//!   a `due` or a `turn` says when and where.
//! * `letter`: a dead letter. `due`: when and where a job is due. `turn`: its place in its participant's turn.
//! * `event`, `once`, `address`: what is remembered of participants, by places: hashes with the store's secret.
//! * `finished`, `expiry`: what is to be forgotten, and from when on.
//! * `paper`, `replay`: what operators' work leaves behind.
//! * `budget`: what was used of a lane's budget. `account`, `living`, `buried`, `done`: the counts.
//! * `other`: what only the adapter it comes from understands.
//!
//! Deliberately absent: leases (they are lost with the process), and whatever an adapter derives from all this.

mod text;

use std::task::{Context, Poll};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

pub use self::text::{Bytes, Hex};
use super::{Group, Learnt, ReplayCounts, StoreError};
use crate::flow::job::{Burial, Flow, Job, Outcome, Reason};
use crate::model::Name;
use crate::model::budget::BudgetUse;
use crate::model::event::Event;
use crate::model::id::{EventId, JobId};
use crate::model::lane::Lane;
use crate::model::time::Timestamp;

/// One thing of a queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Entry {
    /// The next workspace.
    Workspace {
        /// Its name.
        name: Name,
    },
    /// The next group.
    Group {
        /// Its names.
        group: Group,
    },
    /// A job that lives.
    Job {
        /// The job.
        id: JobId,
        /// Where it is due, if it has not moved.
        lane: Option<Lane>,
        /// Itself and its event.
        #[serde(flatten)]
        kept: Box<Kept>,
    },
    /// A dead letter.
    Letter {
        /// The job.
        id: JobId,
        /// Itself, its event and its burial.
        #[serde(flatten)]
        kept: Box<Kept>,
    },
    /// When a job is due.
    Due {
        /// Where.
        #[serde(flatten)]
        stand: Stand,
        /// When; for what is due already, since when.
        due: Timestamp,
        /// As what it is counted.
        group: Group,
    },
    /// A job's place in a turn that several take part in.
    Turn {
        /// Whose turn.
        #[serde(flatten)]
        of: TurnOf,
        /// The job.
        id: JobId,
        /// `None`: it has the turn.
        behind: Option<Waits>,
        /// When it is due: one that has the turn, if it had to wait for it; one that is behind, by itself.
        due: Option<Timestamp>,
    },
    /// An accepted event, as it is remembered.
    Event {
        /// Where.
        place: Hex<21>,
        /// Its id.
        id: EventId,
        /// A hash of its source and scope.
        scope: Hex<4>,
        /// What else must be known of it.
        of: EventOf,
        /// The workspace in which its first job took the turn when it was accepted.
        turn: Option<Name>,
        /// Jobs that live.
        alive: u8,
        /// Jobs that are dead letters.
        dead: u8,
        /// One was discarded.
        discarded: bool,
        /// The numbers of its jobs, where they are not plain.
        numbers: Vec<u8>,
    },
    /// A job that may exist once.
    Once {
        /// Where it is remembered.
        place: Hex<21>,
        /// The job.
        job: JobId,
        /// When it was spawned.
        at: Timestamp,
    },
    /// A participant's address.
    Address {
        /// Where it is remembered.
        place: Hex<21>,
        /// What was learnt, and when.
        #[serde(flatten)]
        learnt: Learnt,
    },
    /// An event that is done.
    Finished {
        /// Since when.
        at: Timestamp,
        /// The event.
        id: EventId,
        /// Where it is remembered.
        place: Hex<21>,
        /// What its last job held once: where, which job, and until when it is remembered.
        once: Option<(Hex<21>, JobId, Timestamp)>,
    },
    /// A key that outlives its event.
    Expiry {
        /// Until when it is remembered.
        until: Timestamp,
        /// Where.
        place: Hex<21>,
        /// The job or event that must be there for it to go.
        owner: JobId,
    },
    /// What was used of a lane's budget.
    Budget {
        /// The lane.
        lane: Lane,
        /// How much.
        #[serde(flatten)]
        used: BudgetUse,
    },
    /// An operators' paper.
    Paper {
        /// Its name.
        name: String,
        /// What it says.
        text: String,
    },
    /// What became of what a replay let live.
    Replay {
        /// The replay.
        number: u32,
        /// What became of it.
        #[serde(flatten)]
        counts: ReplayCounts,
    },
    /// Events by where they are, and how far the store had come.
    Account(Account),
    /// Living jobs of one group in one lane; none, where there were some.
    Living {
        /// The lane.
        lane: Lane,
        /// The group.
        group: Group,
        /// Due.
        due: u64,
        /// Due later, or behind a turn.
        later: u64,
    },
    /// Dead letters of one group and reason.
    Buried {
        /// The group.
        group: Group,
        /// The reason.
        reason: Reason,
        /// How many.
        count: u64,
    },
    /// Jobs done since the store was made.
    Done {
        /// The group.
        group: Group,
        /// The outcome.
        outcome: Outcome,
        /// How many.
        count: u64,
    },
    /// Something that only the adapter it comes from understands.
    Other {
        /// Its key there, hexadecimal.
        key: Bytes,
        /// Its value there.
        value: Bytes,
    },
    /// Nothing is there any more.
    Gone {
        /// Where.
        key: Key,
    },
}

/// What an entry is told of: a later one of the same key replaces it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Key {
    /// A job; `lane` as in the entry.
    Job {
        /// The job.
        id: JobId,
        /// Where it was due without having moved.
        lane: Option<Lane>,
    },
    /// A dead letter.
    Letter {
        /// The job.
        id: JobId,
    },
    /// When a job was due.
    Due {
        /// Where it stood.
        #[serde(flatten)]
        stand: Stand,
        /// When; of what was due already and fresh, nothing in particular.
        due: Timestamp,
    },
    /// A place in a turn.
    Turn {
        /// Whose.
        #[serde(flatten)]
        of: TurnOf,
        /// The job.
        id: JobId,
    },
    /// An event, a job that may exist once, or an address.
    Known {
        /// Where it was remembered.
        place: Hex<21>,
    },
    /// An event that was done.
    Finished {
        /// Since when.
        at: Timestamp,
        /// The event.
        id: EventId,
    },
    /// A key that outlived its event.
    Expiry {
        /// Until when.
        until: Timestamp,
        /// Where.
        place: Hex<21>,
    },
    /// An operators' paper.
    Paper {
        /// Its name.
        name: String,
    },
    /// What became of what a replay let live.
    Replay {
        /// The replay.
        number: u32,
    },
    /// What only the adapter understands.
    Other {
        /// Its key there.
        key: Bytes,
    },
}

/// A record, as it is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// Its workspace, if known.
    pub workspace: Option<String>,
    /// Its flow, if known.
    pub flow: Option<Flow>,
    /// Its event, as the job has it.
    pub event: Event,
    /// The job; `None` when it never began.
    pub job: Option<Job>,
    /// Why it died; `None` while it lives.
    pub burial: Option<Burial>,
    /// Where its event is remembered, where that does not follow from the event here.
    pub home: Option<Hex<21>>,
    /// The key under which at most one such job exists per participant.
    pub once: Option<String>,
    /// The replay it belongs to.
    #[serde(default)]
    pub replay: Option<u32>,
}

/// Where a job stands while it is due, or due later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stand {
    /// The job.
    pub id: JobId,
    /// Its lane.
    pub lane: Lane,
    /// Counted among what is due.
    pub ready: bool,
    /// Never failed at this step.
    pub fresh: bool,
}

/// Whose turn it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TurnOf {
    /// The workspace.
    pub workspace: Name,
    /// The participant's part of a place.
    pub participant: Hex<14>,
}

/// What makes a job that is behind due when it gets the turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waits {
    /// Its lane.
    pub lane: Lane,
    /// Its group.
    pub group: Group,
    /// Never failed at this step.
    pub fresh: bool,
    /// May be lent along with the one before it.
    pub follows: bool,
}

/// How far a store had come, and its events by where they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The number of the last commit.
    pub commit: u64,
    /// The last event's id.
    pub last_id: EventId,
    /// Nothing that is due later stands among what is due.
    pub promoted_to: Timestamp,
    /// Events that are done.
    pub done: u64,
    /// Events that are dead.
    pub dead: u64,
    /// Events that are queued.
    pub queued: u64,
    /// Events that were discarded.
    pub discarded: u64,
    /// Events that were forgotten.
    pub forgotten: u64,
}

/// What is known, as it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventOf {
    /// It came with a key of its own.
    Other,
    /// A participation.
    Participation,
    /// Its key is a hash of its content.
    Derived,
}

impl Entry {
    /// The name of its kind.
    pub const fn kind(&self) -> &'static str {
        match self {
            Entry::Workspace { .. } => "workspace",
            Entry::Group { .. } => "group",
            Entry::Job { .. } => "job",
            Entry::Letter { .. } => "letter",
            Entry::Due { .. } => "due",
            Entry::Turn { .. } => "turn",
            Entry::Event { .. } => "event",
            Entry::Once { .. } => "once",
            Entry::Address { .. } => "address",
            Entry::Finished { .. } => "finished",
            Entry::Expiry { .. } => "expiry",
            Entry::Budget { .. } => "budget",
            Entry::Paper { .. } => "paper",
            Entry::Replay { .. } => "replay",
            Entry::Account(_) => "account",
            Entry::Living { .. } => "living",
            Entry::Buried { .. } => "buried",
            Entry::Done { .. } => "done",
            Entry::Other { .. } => "other",
            Entry::Gone { .. } => "gone",
        }
    }
}

/// How many times something is told before whoever listens has taken it.
const AHEAD_MAX: usize = 2;

/// Everything a store holds, as it is told.
pub struct Entries {
    secret: [u8; 32],
    more: mpsc::Receiver<Told>,
}

/// Entries, in order, or why there are no more.
pub type Told = Result<Vec<Entry>, StoreError>;

impl Entries {
    /// Entries of a store with this secret, told through the second.
    pub(super) fn channel(secret: [u8; 32]) -> (Entries, mpsc::Sender<Told>) {
        let (to, more) = mpsc::channel(AHEAD_MAX);
        (Entries { secret, more }, to)
    }

    /// The store's secret: without it nothing that is remembered can be found.
    pub fn secret(&self) -> [u8; 32] {
        self.secret
    }

    /// The next ones; `None`: that was all.
    pub async fn next(&mut self) -> Option<Told> {
        self.more.recv().await
    }

    /// The same, for whoever polls.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Told>> {
        self.more.poll_recv(context)
    }
}
