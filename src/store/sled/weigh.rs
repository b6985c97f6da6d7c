//! How much of the files is alive: keys and values that stand in the tree, weighed a slice at a time.
//!
//! sled does not say how much of its log is still needed, and a tally would have to read what each write replaces. So the
//! writer goes through the tree, round after round, some thousand keys a second: what is told is the last whole round. It is
//! as old as a round takes (a million keys: four minutes), and nought until the first is done.

use super::base::{Base, broken};
use crate::store::StoreError;

/// How many keys one slice looks at; a slice goes with each round of housekeeping.
const SLICE_KEYS: usize = 2048;

/// A round under way, and what the last one found.
#[derive(Default)]
pub struct Weight {
    from: Vec<u8>,
    so_far: u64,
    /// What the last whole round found, bytes.
    pub live_bytes: u64,
}

impl Base {
    /// Weighs the next slice.
    pub fn weigh(&mut self) -> Result<(), StoreError> {
        let weight = &mut self.weight;
        let mut entries = self.db.range(weight.from.as_slice()..);
        for _ in 0..SLICE_KEYS {
            let Some(entry) = entries.next() else {
                weight.live_bytes = weight.so_far;
                weight.so_far = 0;
                weight.from.clear();
                return Ok(());
            };
            let (key, value) = entry.map_err(|error| broken(&error))?;
            weight.so_far += (key.len() + value.len()) as u64;
            weight.from.clear();
            weight.from.extend_from_slice(&key);
            weight.from.push(0);
        }
        Ok(())
    }
}
