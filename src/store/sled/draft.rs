//! A batch in the making: what will be written, and what reads must know of it before it is.

use std::collections::{BTreeMap, HashMap, HashSet};

use ::sled::IVec;

use super::base::Written;
use super::keys::{self, LaneKey, Participant, Place};
use super::writes::Writes;
use crate::model::id::{EventId, JobId};
use crate::store::codec::{Known, Record, Turn};

/// A batch in the making.
#[derive(Default)]
pub struct Draft {
    /// What will be written.
    pub batch: Writes,
    /// What this batch makes known, or forgets: reads look here first.
    pub known: BTreeMap<Place, Option<Known>>,
    /// Dead letters that this batch lets live (`None`) or writes anew.
    pub revived: HashMap<JobId, Option<Record>>,
    /// Jobs that end well in this batch: the tree does not know yet.
    pub ended: HashSet<JobId>,
    /// What was accepted, by lane, in order: it goes into packs.
    pub arrivals: BTreeMap<LaneKey, Vec<(EventId, IVec)>>,
    /// Bytes of the records of those.
    pub arriving: usize,
    /// Places in turns that this batch gives (`None`: takes away): reads look here first.
    pub turns: BTreeMap<(Participant, JobId), Option<Turn>>,
    /// Who has a turn without anybody behind, where this batch changes it: such a turn has no key.
    pub alone: HashMap<Participant, Option<JobId>>,
    /// Whether there is anything in it.
    pub used: bool,
    /// How many keys it writes.
    pub writes: usize,
}

impl Draft {
    /// What sled will have to write for it, about, in bytes.
    pub fn bytes(&self) -> usize {
        self.batch.bytes() + self.arriving
    }

    /// Will be there.
    pub fn insert(&mut self, key: impl Into<IVec>, value: impl Into<IVec>) {
        self.used = true;
        self.writes += 1;
        self.batch.insert(key, value);
    }

    /// Will be gone.
    pub fn remove(&mut self, key: impl Into<IVec>) {
        self.used = true;
        self.writes += 1;
        self.batch.remove(key);
    }

    /// Remembers this under the participant.
    pub fn remember(&mut self, place: Place, known: Known) {
        self.used = true;
        self.known.insert(place, Some(known));
    }

    /// Forgets it.
    pub fn forget(&mut self, place: Place) {
        self.used = true;
        self.known.insert(place, None);
    }

    /// Writes the pieces of a record behind its first, which goes to `key`.
    pub fn record(&mut self, key: impl Into<IVec>, id: JobId, pieces: impl Into<Written>) {
        let Written { first, rest } = pieces.into();
        self.insert(key, first);
        for (number, piece) in rest.into_iter().enumerate() {
            self.insert(keys::piece(id, number as u8), piece);
        }
    }
}
