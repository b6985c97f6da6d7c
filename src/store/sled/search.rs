//! Looking for somebody in records that do not go by their name: a bounded slice at a time.
//!
//! Dead letters are looked through first and last: a job that lives moves from packs to keys of its own, on to moved
//! ones, and to the letters, and is met somewhere on that way.

use super::base::{Base, broken};
use super::keys;
use crate::model::id::EventId;
use crate::store::codec::{self, Record};
use crate::store::{Found, Person, Position, StoreError, Trace};

/// How many records one slice looks at, or a few more.
const LOOK_MAX: usize = 256;

/// The places that hold records, in the order they are looked through.
const PLACES: [&[u8]; 5] = [
    keys::DEAD_PREFIX,
    b"a",
    b"r",
    keys::MOVED_PREFIX,
    keys::DEAD_PREFIX,
];

impl Base {
    /// A slice of the search for a trace. A position is the number of the place, and the last key that was looked at.
    pub fn search(&self, trace: &Trace, from: Option<&Position>) -> Result<Found, StoreError> {
        let (mut number, mut last) = match from.and_then(|from| from.0.split_first()) {
            Some((number, key)) => (usize::from(*number), key.to_vec()),
            None => (0, Vec::new()),
        };
        let mut found = Found::default();
        let mut looked = 0;
        while let Some(place) = PLACES.get(number) {
            let mut begin = if last.is_empty() {
                place.to_vec()
            } else {
                last.clone()
            };
            begin.extend((!last.is_empty()).then_some(0));
            for entry in self.db.range(begin..) {
                let (key, value) = entry.map_err(|error| broken(&error))?;
                if !key.starts_with(place) {
                    break;
                }
                looked += self.look(trace, &key, &value, &mut found)?;
                if looked >= LOOK_MAX {
                    found.next = Some(Position([&[number as u8], &key[..]].concat()));
                    return Ok(found);
                }
            }
            number += 1;
            last.clear();
        }
        Ok(found)
    }

    /// Looks at what stands under one key, and says how many records that were.
    fn look(
        &self,
        trace: &Trace,
        key: &[u8],
        value: &[u8],
        found: &mut Found,
    ) -> Result<usize, StoreError> {
        let mut note = |id: EventId, record: &Record| {
            let (event, workspace) = (&record.event, record.workspace.as_deref());
            if trace.is_in(event) {
                found.add(Person::of(&self.hasher, id, event, workspace), event);
            }
        };
        if key.starts_with(b"a") {
            let records = codec::decode_pack(value)?;
            for (id, record) in &records {
                note(*id, &codec::decode_record(record)?);
            }
            return Ok(records.len());
        }
        let id = keys::id_at_end(key).unwrap_or_default();
        note(id.event, &self.read(id, value)?);
        Ok(1)
    }
}
