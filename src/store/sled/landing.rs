//! Arrivals: what is accepted together is written together, and taken apart when its turn comes.
//!
//! Keys are what sled's time goes to. Jobs that are accepted in one batch for one lane therefore share a value, a pack
//! of up to 4 KiB, and get keys of their own only when the lane comes to them; during a burst that is later, and then
//! nobody waits for it.
//!
//! Invariants: a job stands in a pack or under a key of its own, never in both; packs of a lane do not overlap, and
//! none is passed over: jobs are lent in order of their ids wherever they stand.

use ::sled::IVec;

use super::base::{Base, Draft, Written, broken};
use super::keys::{self, LaneKey};
use crate::model::id::{EventId, JobId};
use crate::store::StoreError;
use crate::store::codec::{self, PACK_BYTES, PACKED_BYTES, PACKED_MAX, PIECE_BYTES_MAX};

/// The longest record that goes into a pack, bytes; a longer one would leave little room for others.
const PACKED_RECORD_MAX: usize = PIECE_BYTES_MAX / 4;

/// Whether a job that arrives may share a value with others.
pub fn fits_a_pack(id: JobId, record: &Written) -> bool {
    id.number == 0 && record.rest.is_empty() && record.first.len() <= PACKED_RECORD_MAX
}

impl Base {
    /// Writes the draft's arrivals: several of a lane as packs, a single one under its own key.
    pub fn land(&mut self, draft: &mut Draft) {
        draft.arriving = 0;
        for (lane, arrivals) in std::mem::take(&mut draft.arrivals) {
            let mut rest = arrivals.as_slice();
            while let [(first, record), others @ ..] = rest {
                let mut bytes = PACK_BYTES + PACKED_BYTES + record.len();
                let fitting = others
                    .iter()
                    .take(PACKED_MAX - 1)
                    .take_while(|(_, record)| {
                        bytes += PACKED_BYTES + record.len();
                        bytes <= PIECE_BYTES_MAX
                    });
                let (these, behind) = rest.split_at(1 + fitting.count());
                if these.len() == 1 {
                    self.own_key(draft, lane, *first, record);
                } else {
                    let pack =
                        codec::encode_pack(these.iter().map(|(id, record)| (*id, &record[..])));
                    draft.insert(keys::pack(lane, *first), pack.as_slice());
                }
                rest = behind;
            }
        }
    }

    fn own_key(&mut self, draft: &mut Draft, lane: LaneKey, id: EventId, record: &[u8]) {
        let key = keys::unmoved(lane, id.job(0));
        self.streams.entry(lane).or_default().unmoved.note(&key);
        draft.insert(&key, record);
    }

    /// Gives the jobs of the lane's first packs keys of their own: of as many packs as hold `at_least` jobs, and only of
    /// those that begin before `before`. Says whether there was any.
    pub fn unpack(
        &mut self,
        lane: LaneKey,
        before: Option<JobId>,
        at_least: usize,
    ) -> Result<bool, StoreError> {
        let mut draft = Draft::default();
        let mut unpacked = 0;
        for entry in self.db.scan_prefix(keys::pack_prefix(lane)) {
            let (key, pack) = entry.map_err(|error| broken(&error))?;
            let records = codec::decode_pack(&pack)?;
            let begins = records.first().map(|(id, _)| id.job(0));
            let late = before.is_some_and(|before| begins.is_none_or(|first| first >= before));
            if late || unpacked >= at_least {
                break;
            }
            unpacked += records.len();
            for (id, record) in records {
                self.own_key(&mut draft, lane, id, record);
            }
            draft.remove(key);
        }
        // Not durable by itself: lost in a power cut, the packs are there again.
        self.apply(draft, false)?;
        Ok(unpacked > 0)
    }

    /// Whether an event's first job stands in a pack.
    pub fn is_packed(&self, event: EventId) -> Result<bool, StoreError> {
        for lane in self.names.lane_keys() {
            if self.pack_with(lane, event)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The pack of this lane in which an event's first job stands: its key and itself.
    pub fn pack_with(
        &self,
        lane: LaneKey,
        event: EventId,
    ) -> Result<Option<(IVec, IVec)>, StoreError> {
        let upto = self
            .db
            .range(keys::pack_prefix(lane)..=keys::pack(lane, event))
            .next_back();
        let Some(entry) = upto else {
            return Ok(None);
        };
        let (key, pack) = entry.map_err(|error| broken(&error))?;
        let records = codec::decode_pack(&pack)?;
        let there = records.iter().any(|(id, _)| *id == event);
        Ok(there.then_some((key, pack)))
    }

    /// Gives an event's first job, and all that stand in one pack with it, keys of their own.
    pub fn unpack_event(&mut self, lane: LaneKey, event: EventId) -> Result<(), StoreError> {
        let mut draft = Draft::default();
        if let Some(record) = self.take_from_pack(&mut draft, lane, event)? {
            self.own_key(&mut draft, lane, event, &record);
        }
        self.apply(draft, false)
    }

    /// Takes the pack apart in which an event's first job stands; of its other jobs each gets a key of its own. Returns
    /// that job's record.
    pub fn take_from_pack(
        &mut self,
        draft: &mut Draft,
        lane: LaneKey,
        event: EventId,
    ) -> Result<Option<IVec>, StoreError> {
        let Some((key, pack)) = self.pack_with(lane, event)? else {
            return Ok(None);
        };
        let mut taken = None;
        for (id, record) in codec::decode_pack(&pack)? {
            if id == event {
                taken = Some(IVec::from(record));
            } else {
                self.own_key(draft, lane, id, record);
            }
        }
        draft.remove(key);
        Ok(taken)
    }
}
