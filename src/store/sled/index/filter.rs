//! Which participants a run certainly does not hold: for them it need not be read.
//!
//! In a launch nearly everybody is new, and looking for a stranger in every run would be most of the writer's work. Each
//! run therefore has a Bloom filter over its participants, made with it, stored beside it and held in memory.
//!
//! Invariants: never denies a participant that the run holds. Two bytes for each entry of the run; of strangers about one
//! in two thousand is suspected.

use ::sled::Db;

use crate::store::StoreError;
use crate::store::codec::PIECE_BYTES_MAX;
use crate::store::sled::base::{Draft, broken};
use crate::store::sled::keys::{self, PARTICIPANT_BYTES, Place};

const BITS_PER_ENTRY: usize = 16;

/// Bits set for each participant.
const PROBES: usize = 6;

/// The filter of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter(Vec<u8>);

impl Filter {
    /// For up to so many entries; holds nobody.
    pub fn new(entries: usize) -> Filter {
        Filter(vec![0; (entries * BITS_PER_ENTRY).div_ceil(8).max(8)])
    }

    /// This participant is in the run.
    pub fn add(&mut self, participant: &Probe) {
        for bit in participant.bits(self.0.len()) {
            self.0[bit / 8] |= 1 << (bit % 8);
        }
    }

    /// Whether this participant may be in the run.
    pub fn perhaps(&self, participant: &Probe) -> bool {
        let mut bits = participant.bits(self.0.len());
        bits.all(|bit| self.0[bit / 8] >> (bit % 8) & 1 == 1)
    }

    /// Writes it beside its run.
    pub fn write(&self, draft: &mut Draft, run: u32) {
        for (number, piece) in self.0.chunks(PIECE_BYTES_MAX).enumerate() {
            draft.insert(&keys::filter(run, number as u32), piece);
        }
    }

    /// Reads it again.
    pub fn read(db: &Db, run: u32) -> Result<Filter, StoreError> {
        let mut bytes = Vec::new();
        for piece in db.scan_prefix(keys::filter_prefix(run)).values() {
            bytes.extend_from_slice(&piece.map_err(|error| broken(&error))?);
        }
        if bytes.is_empty() {
            return Err(StoreError::Failed(format!(
                "the index of participants: the filter of run {run} is missing"
            )));
        }
        Ok(Filter(bytes))
    }
}

/// A participant, as filters of any size look for it.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    start: u64,
    step: u64,
}

impl Probe {
    /// The participant of this place. Its part of a place is a hash already: its bytes are as good as any.
    pub fn of(place: &Place) -> Probe {
        let part = |from: usize| {
            let bytes = place[from..from + 8].iter();
            bytes.fold(0, |number, byte| number << 8 | u64::from(*byte))
        };
        Probe {
            start: part(0),
            step: part(PARTICIPANT_BYTES - 8) | 1,
        }
    }

    /// Its bits in a filter of so many bytes.
    fn bits(self, bytes: usize) -> impl Iterator<Item = usize> {
        let bits = bytes as u128 * 8;
        // The upper half of the product is a number below `bits`: a division would cost more than all the rest.
        (0..PROBES as u64).map(move |probe| {
            let hash = self.start.wrapping_add(self.step.wrapping_mul(probe));
            ((u128::from(hash) * bits) >> 64) as usize
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(number: u64) -> Probe {
        let hash = blake3::hash(&number.to_le_bytes());
        let mut place = Place::default();
        place.copy_from_slice(&hash.as_bytes()[..21]);
        Probe::of(&place)
    }

    #[test]
    fn whoever_was_added_is_never_denied_and_few_strangers_are_suspected() {
        let mut filter = Filter::new(100_000);
        assert!(!filter.perhaps(&person(0)));
        (0..100_000).for_each(|number| filter.add(&person(number)));
        assert!((0..100_000).all(|number| filter.perhaps(&person(number))));
        let strangers = 100_000..300_000;
        let suspected = strangers
            .filter(|number| filter.perhaps(&person(*number)))
            .count();
        assert!(suspected < 300, "{suspected} of 200,000");
    }
}
