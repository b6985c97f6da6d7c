//! Which format a store is in: what opens it, what does not, and how an older one becomes today's.
//!
//! Invariants: a store says its format itself, in one key that every version reads before anything else. A newer one is
//! refused. An older one is brought forward when it is opened, one format at a time: each step does its work in batches that
//! may be repeated, and its last batch writes the next number, so that a crash anywhere begins that step anew and no other.
//! Records carry versions of their own ([`codec`](crate::store::codec)): a step is for what stands where.

use ::sled::Db;

use super::base::{Base, Draft, broken};
use super::keys;
use crate::store::StoreError;

/// What this version writes.
pub const TODAY: u32 = 1;

/// One step forward: everything is as the next format wants it when it returns.
type Step = fn(&mut Base) -> Result<(), StoreError>;

/// How a store of format `n + 1` (the first is 1) becomes one of format `n + 2`.
const STEPS: [Step; TODAY as usize - 1] = [];

/// What a store says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Its format.
    pub number: u32,
    /// An import into it has begun and not ended.
    pub half: bool,
}

impl Format {
    /// As this version leaves a store.
    pub const WHOLE: Format = Format {
        number: TODAY,
        half: false,
    };

    /// While an import goes on.
    pub const HALF: Format = Format {
        number: TODAY,
        half: true,
    };

    /// What a store says; one that says nothing was made before formats had numbers, or just now.
    pub fn read(db: &Db) -> Result<Format, StoreError> {
        let value = db.get(keys::FORMAT).map_err(|error| broken(&error))?;
        let Some(value) = value else {
            return Ok(Format {
                number: 1,
                half: false,
            });
        };
        let number = value.first_chunk().copied().map(u32::from_be_bytes);
        let number = number
            .ok_or_else(|| StoreError::Refused("the store's format cannot be read".into()))?;
        let half = value.get(4).copied() == Some(1);
        Ok(Format { number, half })
    }

    /// As it is stored.
    pub fn bytes(self) -> Vec<u8> {
        [&self.number.to_be_bytes()[..], &[u8::from(self.half)]].concat()
    }

    /// Whether this version may open it.
    pub fn admit(self) -> Result<(), StoreError> {
        let Format { number, half } = self;
        if number > TODAY {
            return Err(StoreError::Refused(format!(
                "the store is in format {number}, and this version ({}) knows formats up to {TODAY}: run the version that \
                 wrote it, or take an export with that one and import it here",
                env!("CARGO_PKG_VERSION")
            )));
        }
        if half {
            return Err(StoreError::Refused(
                "an import into this store was not finished: run braze-relay import again, which begins anew".into(),
            ));
        }
        Ok(())
    }
}

/// Brings a store forward to today's format.
pub fn migrate(base: &mut Base, from: Format) -> Result<(), StoreError> {
    let from = from.number.max(1);
    for number in from..TODAY {
        tracing::info!(
            from = number,
            to = number + 1,
            "the store is brought to a newer format"
        );
        STEPS[number as usize - 1](base)?;
        let format = Format {
            number: number + 1,
            half: false,
        };
        let mut draft = Draft::default();
        draft.insert(keys::FORMAT, format.bytes());
        base.apply(draft, true)?;
    }
    Ok(())
}
