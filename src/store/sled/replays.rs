//! What became of what replays let live: counted in the very write in which it happens.
//!
//! Invariants: one small key for a replay; those of the last [`REPLAYS_MAX`] are kept, here and in memory.

use std::collections::BTreeMap;

use ::sled::Db;

use super::base::{Base, Draft, broken};
use super::keys;
use crate::store::{REPLAYS_MAX, ReplayCounts, StoreError, codec};

/// What a store holds.
pub fn read(db: &Db) -> Result<BTreeMap<u32, ReplayCounts>, StoreError> {
    let mut found = BTreeMap::new();
    for row in db.scan_prefix(keys::REPLAY_PREFIX) {
        let (key, value) = row.map_err(|error| broken(&error))?;
        if let Some(number) = keys::replay_number(&key) {
            found.insert(number, codec::decode_table(&value)?);
        }
    }
    Ok(found)
}

impl Base {
    /// Drafts a change of a replay's counts, if the job belongs to one.
    pub fn count_replay(
        &mut self,
        draft: &mut Draft,
        replay: Option<u32>,
        change: impl FnOnce(&mut ReplayCounts),
    ) -> Result<(), StoreError> {
        let Some(number) = replay else {
            return Ok(());
        };
        let newest = self.replays.last_key_value().map_or(0, |(last, _)| *last);
        if number.saturating_add(REPLAYS_MAX) <= newest {
            return Ok(());
        }
        let counts = self.replays.entry(number).or_default();
        change(counts);
        draft.insert(&keys::replay(number), codec::encode_table(counts)?);
        while let Some((first, _)) = self.replays.first_key_value()
            && first.saturating_add(REPLAYS_MAX) <= number
        {
            draft.remove(&keys::replay(*first));
            self.replays.pop_first();
        }
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::store::codec::{VERSION, decode_table, encode_table};

    #[test]
    fn golden_counts_of_a_replay_are_what_is_written_today() {
        let counts = ReplayCounts {
            revived: 50_000,
            spawned: 49_000,
            delivered: 97_000,
            died: 7,
        };
        let file = format!("tests/golden/v{VERSION}/replay.bin");
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(file);
        let today = encode_table(&counts).unwrap();
        if std::env::var_os("RELAY_WRITE_GOLDEN").is_some() {
            fs::write(&file, &today).unwrap();
        }
        let bytes = fs::read(&file).unwrap();
        let read: ReplayCounts = decode_table(&bytes).unwrap();
        assert_eq!(read, counts);
        assert!(today == bytes, "it changed: it needs a new version number");
    }
}
