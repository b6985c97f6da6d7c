//! The layout: one sled tree, every key begins with the letter of its place.
//!
//! | key | value | for |
//! |---|---|---|
//! | `a` lane event | pack of records | jobs as they were accepted together; taken apart into `r` when their turn comes |
//! | `r` lane id | record | a job that has not moved since it was accepted or spawned: due at once, read in order |
//! | `w` id | record | a job that has moved |
//! | `d` lane class time id | group | when a moved job is due |
//! | `c` id n | piece n of a record longer than 4 KiB | |
//! | `x` id | record | a dead letter |
//! | `t` participant id | [`Turn`](crate::store::codec::Turn) | a job's place in a turn that several take part in |
//! | `l` commit n | entries | what a commit remembers of participants, until it is in a run |
//! | `p` run place | entries | a block of a run: de-duplication, and all there is of one participant |
//! | `b` run n | bits | a piece of a run's filter: who is not in it |
//! | `i` | manifest | which runs there are |
//! | `f` time event | [`Done`](crate::store::codec::Done) | a finished event, until its key may be forgotten |
//! | `k` time participant key | owner | a key that outlives its event |
//! | `u` lane | [`BudgetUse`](crate::model::budget::BudgetUse) | what was used of the lane's budget |
//! | `m` n | head and counts in pieces | |
//! | `n` n | names in pieces | |
//! | `o` name | text | an operators' [`Paper`](crate::store::Paper) |
//! | `y` replay | [`ReplayCounts`](crate::store::ReplayCounts) | what became of what a replay let live |
//! | `s` | secret | keys the hashes of this store |
//! | `v` | format | which format this is, and whether an import is under way |
//!
//! A lane is a number of its workspace and its kind, a participant such a number and a hash; times are milliseconds, big-endian, so that keys sort.
//! Written for an accepted event: its part of an `a`, of an `l` and of the `m` of the whole group; alone in its group an
//! `r`, an `l` and `m`; later its part of some blocks.

use crate::model::id::{EventId, JobId};
use crate::model::lane::LaneKind;
use crate::model::time::Timestamp;
use crate::store::hash;

pub use crate::store::hash::{PARTICIPANT_BYTES, Participant, Place};

/// A lane as it stands in keys: the workspace's number and the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneKey(pub [u8; 3]);

impl LaneKey {
    /// The lane `kind` of the workspace with this number.
    pub fn new(workspace: u16, kind: LaneKind) -> LaneKey {
        let number = workspace.to_be_bytes();
        LaneKey([number[0], number[1], kind_byte(kind)])
    }

    /// The workspace's number.
    pub fn workspace(self) -> u16 {
        u16::from_be_bytes([self.0[0], self.0[1]])
    }

    /// Which lane of it.
    pub fn kind(self) -> Option<LaneKind> {
        LaneKind::ALL
            .into_iter()
            .find(|kind| kind_byte(*kind) == self.0[2])
    }
}

const fn kind_byte(kind: LaneKind) -> u8 {
    match kind {
        LaneKind::UsersExportIds => 1,
        LaneKind::UsersTrack => 2,
        LaneKind::SubscriptionStatusSet => 3,
        LaneKind::Default => 4,
        LaneKind::UsersDelete => 5,
        LaneKind::Quikly => 6,
        LaneKind::Held => 7,
    }
}

/// When a moved job is due, and whether it failed before. The order of the variants is that of the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Due; never failed at this step. Sorted by acceptance alone.
    ReadyFresh,
    /// Due; failed before. Sorted by when it became due.
    ReadyRetry,
    /// Due later; never failed at this step.
    LaterFresh,
    /// Due later; failed before.
    LaterRetry,
}

impl Class {
    /// Where a job with this `due` belongs at `now`.
    pub fn of(fresh: bool, due: Timestamp, now: Timestamp) -> Class {
        match (fresh, due <= now) {
            (true, true) => Class::ReadyFresh,
            (false, true) => Class::ReadyRetry,
            (true, false) => Class::LaterFresh,
            (false, false) => Class::LaterRetry,
        }
    }

    /// Where a job of this class goes when its time has come.
    pub fn promoted(self) -> Class {
        match self {
            Class::ReadyFresh | Class::LaterFresh => Class::ReadyFresh,
            Class::ReadyRetry | Class::LaterRetry => Class::ReadyRetry,
        }
    }

    /// Whether its time has come.
    pub fn is_ready(self) -> bool {
        matches!(self, Class::ReadyFresh | Class::ReadyRetry)
    }

    /// The class with this byte in keys.
    pub fn of_byte(byte: u8) -> Option<Class> {
        let all = [
            Class::ReadyFresh,
            Class::ReadyRetry,
            Class::LaterFresh,
            Class::LaterRetry,
        ];
        all.into_iter().find(|class| class.byte() == byte)
    }

    const fn byte(self) -> u8 {
        match self {
            Class::ReadyFresh => 0,
            Class::ReadyRetry => 1,
            Class::LaterFresh => 2,
            Class::LaterRetry => 3,
        }
    }
}

/// The participant that is remembered at `place`, in the workspace of `lane`.
pub fn participant(lane: LaneKey, place: &Place) -> Participant {
    hash::participant(lane.workspace(), place)
}

/// Everybody in a participant's turn.
pub fn turn_prefix(participant: &Participant) -> Vec<u8> {
    join(&[b"t", participant])
}

/// A job's place in it.
pub fn turn(participant: &Participant, id: JobId) -> Vec<u8> {
    join(&[b"t", participant, &id_bytes(id)])
}

/// The workspace's number and the participant's part of a place, in a key of a turn.
pub fn turn_parts(key: &[u8]) -> Option<(u16, [u8; PARTICIPANT_BYTES])> {
    let number = u16::from_be_bytes(key.get(1..3)?.try_into().ok()?);
    let person = key.get(3..3 + PARTICIPANT_BYTES)?;
    Some((number, person.try_into().ok()?))
}

/// An id as it stands in keys: first the event's 16 bytes.
pub fn id_bytes(id: JobId) -> [u8; 17] {
    let mut bytes = [0; 17];
    bytes[..16].copy_from_slice(&id.event.0);
    bytes[16] = id.number;
    bytes
}

/// The id at the end of a key.
pub fn id_at_end(key: &[u8]) -> Option<JobId> {
    let bytes: [u8; 17] = key.get(key.len().checked_sub(17)?..)?.try_into().ok()?;
    let (event, number) = bytes.split_at(16);
    Some(JobId {
        event: EventId(event.try_into().ok()?),
        number: number[0],
    })
}

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// All packs of a lane.
pub fn pack_prefix(lane: LaneKey) -> Vec<u8> {
    join(&[b"a", &lane.0])
}

/// The pack that begins with this event.
pub fn pack(lane: LaneKey, first: EventId) -> Vec<u8> {
    join(&[b"a", &lane.0, &first.0])
}

/// All unmoved jobs of a lane.
pub fn unmoved_prefix(lane: LaneKey) -> Vec<u8> {
    join(&[b"r", &lane.0])
}

/// An unmoved job.
pub fn unmoved(lane: LaneKey, id: JobId) -> [u8; 21] {
    // Built without an allocation, like that of what is remembered: there is one of each for every event.
    let mut key = [b'r'; 21];
    key[1..4].copy_from_slice(&lane.0);
    key[4..].copy_from_slice(&id_bytes(id));
    key
}

/// A moved job.
pub fn moved(id: JobId) -> Vec<u8> {
    join(&[b"w", &id_bytes(id)])
}

/// A dead letter.
pub fn dead(id: JobId) -> Vec<u8> {
    join(&[b"x", &id_bytes(id)])
}

/// The `number`-th piece behind the first of a record.
pub fn piece(id: JobId, number: u8) -> Vec<u8> {
    join(&[b"c", &id_bytes(id), &[number]])
}

/// All due keys of one class of a lane.
pub fn due_prefix(lane: LaneKey, class: Class) -> Vec<u8> {
    join(&[b"d", &lane.0, &[class.byte()]])
}

/// When a moved job is due.
pub fn due(lane: LaneKey, class: Class, due: Timestamp, id: JobId) -> Vec<u8> {
    // Ready fresh work goes in order of acceptance, whenever it became due.
    let time = if class == Class::ReadyFresh {
        0
    } else {
        due.as_millis()
    };
    join(&[
        b"d",
        &lane.0,
        &[class.byte()],
        &time.to_be_bytes(),
        &id_bytes(id),
    ])
}

/// The time in a due key.
pub fn due_time(key: &[u8]) -> Option<Timestamp> {
    Some(Timestamp::from_millis(u64::from_be_bytes(
        key.get(5..13)?.try_into().ok()?,
    )))
}

/// A piece of what a commit remembers.
pub fn log(commit: u64, piece: u16) -> [u8; 11] {
    let mut key = [b'l'; 11];
    key[1..9].copy_from_slice(&commit.to_be_bytes());
    key[9..].copy_from_slice(&piece.to_be_bytes());
    key
}

/// A piece of a run's filter.
pub fn filter(run: u32, piece: u32) -> [u8; 9] {
    let mut key = [b'b'; 9];
    key[1..5].copy_from_slice(&run.to_be_bytes());
    key[5..].copy_from_slice(&piece.to_be_bytes());
    key
}

/// All pieces of a run's filter.
pub fn filter_prefix(run: u32) -> Vec<u8> {
    join(&[b"b", &run.to_be_bytes()])
}

/// All blocks of a run.
pub fn run_prefix(run: u32) -> Vec<u8> {
    join(&[b"p", &run.to_be_bytes()])
}

/// The block of a run that begins at this place.
pub fn run_block(run: u32, first: &Place) -> Vec<u8> {
    join(&[b"p", &run.to_be_bytes(), first])
}

/// A finished event.
pub fn finished(at: Timestamp, event: EventId) -> Vec<u8> {
    join(&[b"f", &at.as_millis().to_be_bytes(), &event.0])
}

/// The moment and event of a finished event's key.
pub fn finished_parts(key: &[u8]) -> Option<(Timestamp, EventId)> {
    let at = u64::from_be_bytes(key.get(1..9)?.try_into().ok()?);
    Some((
        Timestamp::from_millis(at),
        EventId(key.get(9..25)?.try_into().ok()?),
    ))
}

/// A key that is to be forgotten at `at`.
pub fn expiry(at: Timestamp, place: &Place) -> Vec<u8> {
    join(&[b"k", &at.as_millis().to_be_bytes(), place])
}

/// The moment and place of an expiry's key.
pub fn expiry_parts(key: &[u8]) -> Option<(Timestamp, Place)> {
    let at = u64::from_be_bytes(key.get(1..9)?.try_into().ok()?);
    Some((Timestamp::from_millis(at), key.get(9..)?.try_into().ok()?))
}

/// What was used of a lane's budget.
pub fn budget(lane: LaneKey) -> [u8; 4] {
    [b'u', lane.0[0], lane.0[1], lane.0[2]]
}

/// An operators' paper; or where those begin whose names begin so.
pub fn paper(name: &str) -> Vec<u8> {
    join(&[b"o", name.as_bytes()])
}

/// The name in a paper's key.
pub fn paper_name(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key.get(1..)?).ok()
}

/// The counts of a replay.
pub fn replay(number: u32) -> [u8; 5] {
    let mut key = [b'y'; 5];
    key[1..].copy_from_slice(&number.to_be_bytes());
    key
}

/// The replay of such a key.
pub fn replay_number(key: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(key.get(1..)?.try_into().ok()?))
}

/// One piece of the head or the names.
pub fn table(letter: u8, number: u8) -> [u8; 2] {
    [letter, number]
}

/// The secret.
pub const SECRET: &[u8] = b"s";
/// Which format the store is in, and whether it is whole.
pub const FORMAT: &[u8] = b"v";
/// Head and counts.
pub const HEAD: u8 = b'm';
/// Names.
pub const NAMES: u8 = b'n';
/// What commits remember.
pub const LOG_PREFIX: &[u8] = b"l";
/// All blocks of all runs.
pub const RUN_PREFIX: &[u8] = b"p";
/// Which runs there are.
pub const MANIFEST: &[u8] = b"i";
/// What was used of budgets.
pub const BUDGET_PREFIX: &[u8] = b"u";
/// All moved jobs.
pub const MOVED_PREFIX: &[u8] = b"w";
/// What became of replays.
pub const REPLAY_PREFIX: &[u8] = b"y";
/// Dead letters.
pub const DEAD_PREFIX: &[u8] = b"x";
/// Finished events.
pub const FINISHED_PREFIX: &[u8] = b"f";
/// Keys with an end.
pub const EXPIRY_PREFIX: &[u8] = b"k";
