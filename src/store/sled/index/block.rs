//! Blocks: up to 4 KiB of entries in order, stored under the first place in them.

use ::sled::{Db, IVec};

use super::Table;
use super::filter::{Filter, Probe};
use crate::store::StoreError;
use crate::store::codec::{self, ENTRY_BYTES, PIECE_BYTES_MAX};
use crate::store::sled::base::{Draft, broken};
use crate::store::sled::keys::{self, Place};

/// Writes the blocks of one run.
pub struct Writer {
    /// The run.
    pub run: u32,
    /// Who is in it.
    pub filter: Filter,
    /// How many entries it has.
    pub entries: u64,
    first: Option<Place>,
    pub(super) block: Vec<u8>,
}

impl Writer {
    /// Of a run that has no blocks yet, and will have up to so many entries.
    pub fn new(run: u32, entries: usize) -> Writer {
        Writer {
            run,
            filter: Filter::new(entries),
            entries: 0,
            first: None,
            block: codec::begin_entries(),
        }
    }

    /// Adds an entry behind all others.
    pub fn push(&mut self, draft: &mut Draft, place: &Place, value: &[u8]) {
        if self.block.len() + ENTRY_BYTES + value.len() > PIECE_BYTES_MAX {
            self.end_block(draft);
        }
        self.first.get_or_insert(*place);
        self.filter.add(&Probe::of(place));
        self.entries += 1;
        codec::push_entry(&mut self.block, place, value);
    }

    /// Writes what is not yet written.
    pub fn end_block(&mut self, draft: &mut Draft) {
        if let Some(first) = self.first.take() {
            let block = std::mem::replace(&mut self.block, codec::begin_entries());
            draft.insert(keys::run_block(self.run, &first), block.as_slice());
        }
    }
}

/// The block of `run` in which `place` would be.
pub fn covering(db: &Db, run: u32, place: &Place) -> Result<Option<(IVec, IVec)>, StoreError> {
    let upto = db
        .range(keys::run_prefix(run)..=keys::run_block(run, place))
        .next_back();
    upto.transpose().map_err(|error| broken(&error))
}

/// The value at a place, if the run has one.
pub fn find(db: &Db, run: u32, place: &Place) -> Result<Option<IVec>, StoreError> {
    if let Some((_, block)) = covering(db, run, place)? {
        for entry in codec::entries(&block)? {
            let (at, value) = entry?;
            if at >= place {
                return Ok((at == place).then(|| IVec::from(value)));
            }
        }
    }
    Ok(None)
}

/// Adds the run's entries from `low` to `high`, over what is there.
pub fn collect(
    db: &Db,
    run: u32,
    low: Place,
    high: Place,
    into: &mut Table,
) -> Result<(), StoreError> {
    let from = match covering(db, run, &low)? {
        Some((key, _)) => key.to_vec(),
        None => keys::run_prefix(run),
    };
    for entry in db.range(from..=keys::run_block(run, &high)) {
        let (_, block) = entry.map_err(|error| broken(&error))?;
        for entry in codec::entries(&block)? {
            let (at, value) = entry?;
            if (low..=high).contains(at) {
                into.insert(*at, IVec::from(value));
            }
        }
    }
    Ok(())
}

/// Adds the run's entries from `from` on, over what is there, until `at_most` were read; and says the last one, unless the
/// run has no more.
pub fn read(
    db: &Db,
    run: u32,
    from: Place,
    at_most: usize,
    into: &mut Table,
) -> Result<Option<Place>, StoreError> {
    let mut next = match covering(db, run, &from)? {
        Some((key, _)) => key.to_vec(),
        None => keys::run_prefix(run),
    };
    let (mut read, mut last) = (0, None);
    while let Some((behind, block)) = self::next(db, run, &next)? {
        if read >= at_most {
            return Ok(last);
        }
        next = behind;
        for entry in codec::entries(&block)? {
            let (at, value) = entry?;
            if *at >= from {
                into.insert(*at, IVec::from(value));
                read += 1;
                last = Some(*at);
            }
        }
    }
    Ok(None)
}

/// The block of `run` that begins at `from` or first behind it; and where to go on.
pub fn next(db: &Db, run: u32, from: &[u8]) -> Result<Option<(Vec<u8>, IVec)>, StoreError> {
    let Some(entry) = db.range(from..).next() else {
        return Ok(None);
    };
    let (key, block) = entry.map_err(|error| broken(&error))?;
    if !key.starts_with(&keys::run_prefix(run)) {
        return Ok(None);
    }
    let mut behind = key.to_vec();
    behind.push(0);
    Ok(Some((behind, block)))
}
