//! What was used of lanes' budgets: noted in memory, written with the next batch, read at the next start.
//!
//! Invariants: one small key for a lane, written only when something was noted of it; what is `complete` is so for one
//! opening: opening writes that it is not any more, before anything can be used.

use std::collections::BTreeMap;

use ::sled::Db;
use bincode::Decode;

use super::base::{Base, Draft, broken};
use super::counts::Names;
use super::keys::{self, LaneKey};
use crate::model::budget::{BudgetUse, WindowUse};
use crate::model::lane::Lane;
use crate::store::StoreError;
use crate::store::codec;

/// What is noted and not written yet.
pub type Noted = BTreeMap<Lane, BudgetUse>;

/// What a store holds.
pub fn read(db: &Db, names: &Names) -> Result<BTreeMap<Lane, BudgetUse>, StoreError> {
    let mut found = BTreeMap::new();
    for row in db.scan_prefix(keys::BUDGET_PREFIX) {
        let (key, value) = row.map_err(|error| broken(&error))?;
        let number = key.get(1..).and_then(|key| <[u8; 3]>::try_from(key).ok());
        let lane = number.and_then(|number| names.lane_of(LaneKey(number)));
        // A workspace or lane that this version does not know has nothing to pace.
        if let Some(lane) = lane {
            found.insert(lane, decode(&value)?);
        }
    }
    Ok(found)
}

/// As it was written at first.
#[derive(Decode)]
struct WithoutStop {
    complete: bool,
    windows: Vec<WindowUse>,
}

/// What is written for a lane, in any version.
pub fn decode(bytes: &[u8]) -> Result<BudgetUse, StoreError> {
    let older = |_| -> Result<BudgetUse, StoreError> {
        let WithoutStop { complete, windows } = codec::decode_table(bytes)?;
        Ok(BudgetUse {
            complete,
            windows,
            stopped_until: None,
        })
    };
    codec::decode_table(bytes).or_else(older)
}

impl Base {
    /// Adds what was noted to a batch.
    pub fn write_budgets(&mut self, draft: &mut Draft, noted: Noted) -> Result<(), StoreError> {
        for (lane, used) in noted {
            let key = keys::budget(self.names.lane(&lane));
            draft.insert(&key, codec::encode_table(&used)?);
        }
        Ok(())
    }

    /// The batch that opens the store: what was complete is not any more.
    pub fn reopen_budgets(&mut self, draft: &mut Draft) -> Result<(), StoreError> {
        let complete = self.budgets.iter().filter(|(_, used)| used.complete);
        let noted = complete.map(|(lane, used)| {
            let used = BudgetUse {
                complete: false,
                ..used.clone()
            };
            (lane.clone(), used)
        });
        let noted = noted.collect();
        self.write_budgets(draft, noted)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::model::time::Timestamp;
    use crate::store::codec::{VERSION, encode_table};

    #[test]
    fn a_golden_budget_is_what_is_written_today() {
        let used = BudgetUse {
            complete: true,
            windows: vec![WindowUse {
                length_ms: 3000,
                requests: vec![(Timestamp::from_millis(1_795_770_600_123), 2999)],
            }],
            stopped_until: Some(Timestamp::from_millis(1_795_770_660_000)),
        };
        let file = |name: &str| {
            let file = format!("tests/golden/v{VERSION}/{name}.bin");
            PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(file)
        };
        let before = decode(&fs::read(file("budget")).unwrap()).unwrap();
        assert_eq!(
            before,
            BudgetUse {
                stopped_until: None,
                ..used.clone()
            }
        );
        let file = file("budget_with_stop");
        let today = encode_table(&used).unwrap();
        if std::env::var_os("RELAY_WRITE_GOLDEN").is_some() {
            fs::write(&file, &today).unwrap();
        }
        let bytes = fs::read(&file).unwrap();
        assert_eq!(decode(&bytes).unwrap(), used);
        assert!(today == bytes, "it changed: it needs a new version number");
    }
}
