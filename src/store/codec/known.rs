//! What is remembered under a participant: events, jobs that may exist once, addresses.

use bincode::{Decode, Encode};

use super::{CodecError, SMALL_ENVELOPE, decode, encode};
use crate::model::event::{Event, EventKind};
use crate::model::id::{EventId, JobId};
use crate::model::time::Timestamp;
use crate::store::Learnt;

/// What is remembered under a participant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// An accepted event.
    Event(KnownEvent),
    /// A job that may exist once.
    Once {
        /// That job.
        job: JobId,
        /// When it was spawned.
        at: Timestamp,
    },
    /// The participant's address in one workspace.
    Address(Learnt),
}

/// What must be known of an event to remember it rightly. Its byte was once a truth value: a participation or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum KnownKind {
    /// It came with a key of its own.
    Other,
    /// A participation.
    Participation,
    /// Its key is a hash of its content.
    Derived,
}

impl KnownKind {
    /// Of this event.
    pub fn of(event: &Event) -> KnownKind {
        if event.kind == EventKind::Participation {
            KnownKind::Participation
        } else if event.has_derived_key() {
            KnownKind::Derived
        } else {
            KnownKind::Other
        }
    }
}

/// An accepted event, as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownEvent {
    /// Its id.
    pub id: EventId,
    /// A hash of its source and scope.
    pub scope: [u8; 4],
    /// What else must be known of it.
    pub kind: KnownKind,
    /// The number of the workspace in which its first job took the participant's turn when it was accepted.
    pub turn: Option<u16>,
    /// Jobs that live.
    pub alive: u8,
    /// Jobs that are dead letters.
    pub dead: u8,
    /// A job was discarded.
    pub discarded: bool,
    /// The numbers of its jobs, where they are not plain: an event whose first job ended by spawning number 1 does not
    /// say so, because writing here costs as much as the rest of that commit.
    pub numbers: Vec<u8>,
}

impl KnownEvent {
    /// A new event with one living job.
    pub fn new(id: EventId, scope: [u8; 4], kind: KnownKind) -> KnownEvent {
        KnownEvent {
            id,
            scope,
            kind,
            turn: None,
            alive: 1,
            dead: 0,
            discarded: false,
            numbers: Vec::new(),
        }
    }

    /// Its id and scope, when there is nothing else to say of it but kind and turn.
    fn plain(&self) -> Option<(EventId, [u8; 4])> {
        let new = KnownEvent {
            turn: self.turn,
            ..KnownEvent::new(self.id, self.scope, self.kind)
        };
        (*self == new).then_some((self.id, self.scope))
    }
}

/// Writes what is remembered under a participant.
pub fn encode_known(known: &Known) -> Result<Vec<u8>, CodecError> {
    let stored = match known {
        Known::Event(event) => match (event.plain(), event.kind, event.turn) {
            (Some((id, scope)), KnownKind::Participation, None) => {
                StoredKnown::Participation(id, scope)
            }
            (Some((id, scope)), KnownKind::Other, None) => StoredKnown::Other(id, scope),
            (Some((id, scope)), KnownKind::Participation, Some(turn)) => {
                StoredKnown::ParticipationInTurn(id, scope, turn)
            }
            (Some((id, scope)), KnownKind::Other, Some(turn)) => {
                StoredKnown::OtherInTurn(id, scope, turn)
            }
            (_, _, None) => StoredKnown::Event(event.into()),
            (_, _, Some(turn)) => StoredKnown::EventInTurn(event.into(), turn),
        },
        Known::Once { job, at } => StoredKnown::Once(*job, *at),
        Known::Address(learnt) => StoredKnown::Address(learnt.clone()),
    };
    encode::<SMALL_ENVELOPE>(&stored, 40)
}

/// Reads what is remembered under a participant.
pub fn decode_known(bytes: &[u8]) -> Result<Known, CodecError> {
    let plain = |id, scope, kind, turn| KnownEvent {
        turn,
        ..KnownEvent::new(id, scope, kind)
    };
    Ok(match decode::<SMALL_ENVELOPE, _>(bytes)? {
        StoredKnown::Event(event) => Known::Event(event.known(None)),
        StoredKnown::EventInTurn(event, turn) => Known::Event(event.known(Some(turn))),
        StoredKnown::Once(job, at) => Known::Once { job, at },
        StoredKnown::Participation(id, scope) => {
            Known::Event(plain(id, scope, KnownKind::Participation, None))
        }
        StoredKnown::Other(id, scope) => Known::Event(plain(id, scope, KnownKind::Other, None)),
        StoredKnown::ParticipationInTurn(id, scope, turn) => {
            Known::Event(plain(id, scope, KnownKind::Participation, Some(turn)))
        }
        StoredKnown::OtherInTurn(id, scope, turn) => {
            Known::Event(plain(id, scope, KnownKind::Other, Some(turn)))
        }
        StoredKnown::Address(learnt) => Known::Address(learnt),
    })
}

/// The number of [`StoredKnown::Address`].
const ADDRESS: u8 = 6;

/// As [`Known`] is stored: the ordinary event, one living job and nothing else to say, has a form of its own.
#[derive(Encode, Decode)]
enum StoredKnown {
    Event(StoredEvent),
    Once(JobId, Timestamp),
    Participation(EventId, [u8; 4]),
    Other(EventId, [u8; 4]),
    ParticipationInTurn(EventId, [u8; 4], u16),
    OtherInTurn(EventId, [u8; 4], u16),
    Address(Learnt),
    EventInTurn(StoredEvent, u16),
}

/// A [`KnownEvent`] but its turn.
#[derive(Encode, Decode)]
struct StoredEvent {
    id: EventId,
    scope: [u8; 4],
    kind: KnownKind,
    alive: u8,
    dead: u8,
    discarded: bool,
    numbers: Vec<u8>,
}

impl From<&KnownEvent> for StoredEvent {
    fn from(event: &KnownEvent) -> StoredEvent {
        StoredEvent {
            id: event.id,
            scope: event.scope,
            kind: event.kind,
            alive: event.alive,
            dead: event.dead,
            discarded: event.discarded,
            numbers: event.numbers.clone(),
        }
    }
}

impl StoredEvent {
    fn known(self, turn: Option<u16>) -> KnownEvent {
        KnownEvent {
            id: self.id,
            scope: self.scope,
            kind: self.kind,
            turn,
            alive: self.alive,
            dead: self.dead,
            discarded: self.discarded,
            numbers: self.numbers,
        }
    }
}

/// Whether these bytes are an address. Nothing is decoded for it.
pub fn is_address(bytes: &[u8]) -> bool {
    bytes.get(SMALL_ENVELOPE) == Some(&ADDRESS)
}

/// Whether these bytes are an address that was learnt before `moment`. Only addresses are decoded for it.
pub fn is_address_before(bytes: &[u8], moment: Timestamp) -> Result<bool, CodecError> {
    if !is_address(bytes) {
        return Ok(false);
    }
    Ok(match decode_known(bytes)? {
        Known::Address(learnt) => learnt.at < moment,
        Known::Event(_) | Known::Once { .. } => false,
    })
}
