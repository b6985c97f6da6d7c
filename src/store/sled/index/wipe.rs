//! Taking the value at a place out of everything that is stored, not only out of sight: an address of somebody who is
//! forgotten.
//!
//! A later entry hides an earlier one, and merging drops what is hidden; when that comes depends on how much is going on.
//! Here the blocks that hold it are written anew without it, and what is young is written into a run at once, so that
//! the log goes. What sled keeps of overwritten values is not ours to say.
//!
//! Invariants: the place is forgotten in the same draft. Nothing but blocks that are in the tree is read: the draft was
//! applied before.

use ::sled::{Db, IVec};

use super::block::{Writer, covering};
use super::{Index, Table};
use crate::store::StoreError;
use crate::store::codec;
use crate::store::sled::base::Draft;
use crate::store::sled::keys::Place;

impl Index {
    /// Drafts that nothing holds the value at this place any more.
    pub fn wipe(&mut self, db: &Db, draft: &mut Draft, place: &Place) -> Result<(), StoreError> {
        self.hurries = true;
        let mut runs: Vec<u32> = self.runs_with(place).collect();
        if let Some(frozen) = &mut self.frozen {
            clear(&mut frozen.table, place);
            frozen.flush.writer().wipe(place)?;
            runs.push(frozen.flush.run());
        }
        if let Some(merge) = &mut self.merge {
            merge.wipe(place)?;
            runs.push(merge.run());
        }
        // Inputs of a merge that was done are read by nobody, and are removed with the rest of them.
        for run in runs {
            if let Some((key, block)) = covering(db, run, place)?
                && let Some(wiped) = wiped(&block, place)?
            {
                draft.insert(key, wiped.as_slice());
            }
        }
        Ok(())
    }
}

fn clear(table: &mut Table, place: &Place) {
    if let Some(value) = table.get_mut(place) {
        *value = IVec::default();
    }
}

impl Writer {
    /// Takes the value at a place out of the block that is being made.
    pub fn wipe(&mut self, place: &Place) -> Result<(), StoreError> {
        if let Some(wiped) = wiped(&self.block, place)? {
            self.block = wiped;
        }
        Ok(())
    }
}

/// The block without the value at this place; `None`: it has none there.
fn wiped(block: &[u8], place: &Place) -> Result<Option<Vec<u8>>, StoreError> {
    let mut wiped = codec::begin_entries();
    let mut any = false;
    for entry in codec::entries(block)? {
        let (at, value) = entry?;
        let here = at == place && !value.is_empty();
        any |= here;
        codec::push_entry(&mut wiped, at, if here { &[] } else { value });
    }
    Ok(any.then_some(wiped))
}
