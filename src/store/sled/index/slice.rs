//! The whole index, a slice at a time: for copies. What changes meanwhile is the copy's to tell.

use super::{Index, Table, block};
use crate::store::StoreError;
use crate::store::sled::keys::Place;
use ::sled::{Db, IVec};

/// Entries in order of their places.
pub type Slice = Vec<(Place, IVec)>;

impl Index {
    /// How many entries gather in memory before they are written in order.
    pub fn young_max(&self) -> usize {
        self.young_max
    }

    /// What is remembered from `from` on, in order, about `at_most` entries; and where the next slice begins, if there is one.
    pub fn slice(
        &self,
        db: &Db,
        from: Place,
        at_most: usize,
    ) -> Result<(Slice, Option<Place>), StoreError> {
        let mut found = Table::default();
        // Up to here everything has been read everywhere.
        let mut end: Option<Place> = None;
        let mut stop_at = |last: Place| end = Some(end.map_or(last, |end| end.min(last)));
        for held in &self.runs {
            if let Some(last) = block::read(db, held.run.number, from, at_most, &mut found)? {
                stop_at(last);
            }
        }
        let frozen = self.frozen.as_ref().map(|frozen| &frozen.table);
        for table in [frozen, Some(&self.young)].into_iter().flatten() {
            let mut last = None;
            for (taken, (place, value)) in table.range(from..).enumerate() {
                if taken >= at_most {
                    last.map(&mut stop_at);
                    break;
                }
                found.insert(*place, value.clone());
                last = Some(*place);
            }
        }
        let there = |(place, value): &(Place, IVec)| {
            end.is_none_or(|end| *place <= end) && !value.is_empty()
        };
        Ok((
            found.into_iter().filter(there).collect(),
            end.and_then(behind),
        ))
    }
}

/// The next place.
fn behind(mut place: Place) -> Option<Place> {
    for byte in place.iter_mut().rev() {
        let (next, carried) = byte.overflowing_add(1);
        *byte = next;
        if !carried {
            return Some(place);
        }
    }
    None
}
