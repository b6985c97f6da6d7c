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
            .ok_or_else(|| StoreError::Failed("the store's format cannot be read".into()))?;
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;
    use crate::store::Settings;
    use crate::store::sled::disk::Folder;
    use crate::store::sled::open::open_sled;
    use crate::store::sled::{Place, SledStore};

    fn place(path: &std::path::Path) -> Place {
        Place {
            path: path.to_owned(),
            cache_bytes: 1 << 20,
            reserve_bytes: 0,
            ballast_bytes: 0,
            young_max: 64,
        }
    }

    fn opened(place: &Place) -> Result<Base, StoreError> {
        Base::open(place, Settings::default(), None)
    }

    /// Writes this under the key, and says what opening says then.
    fn opened_with(format: Option<&[u8]>) -> Result<Format, String> {
        let folder = tempfile::tempdir().unwrap();
        let place = place(folder.path());
        drop(opened(&place).unwrap());
        {
            let db = open_sled(&Folder::open(folder.path()).unwrap(), 1 << 20).unwrap();
            match format {
                Some(format) => db.insert(keys::FORMAT, format).unwrap(),
                None => db.remove(keys::FORMAT).unwrap(),
            };
        }
        let base = opened(&place).map_err(|error| error.to_string())?;
        Ok(Format::read(&base.db).unwrap())
    }

    #[test]
    fn a_store_says_its_format_and_one_that_does_not_is_the_first() {
        assert_eq!(opened_with(None), Ok(Format::WHOLE));
        let whole = Format::WHOLE.bytes();
        assert_eq!(opened_with(Some(&whole)), Ok(Format::WHOLE));
    }

    #[test]
    fn a_newer_store_is_refused_with_both_numbers_and_the_remedy() {
        let newer = Format {
            number: TODAY + 1,
            half: false,
        };
        let said = opened_with(Some(&newer.bytes())).unwrap_err();
        let numbers = format!("in format {}, and this version", TODAY + 1);
        assert!(said.contains(&numbers), "{said}");
        assert!(
            said.contains(&format!("up to {TODAY}: run the version")),
            "{said}"
        );
    }

    #[test]
    fn what_is_half_made_or_says_nonsense_is_refused() {
        let said = opened_with(Some(&Format::HALF.bytes())).unwrap_err();
        assert!(said.contains("was not finished"), "{said}");
        let said = opened_with(Some(b"v")).unwrap_err();
        assert!(said.contains("format cannot be read"), "{said}");
    }

    #[test]
    fn an_unfinished_import_is_cleared_by_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let place = place(folder.path());
        drop(opened(&place).unwrap());
        {
            let db = open_sled(&Folder::open(folder.path()).unwrap(), 1 << 20).unwrap();
            db.insert(keys::FORMAT, Format::HALF.bytes()).unwrap();
        }
        let origin = crate::store::sled::Origin {
            secret: [1; 32],
            salvaged: false,
        };
        let account = crate::store::entry::Entry::Account(crate::store::entry::Account::default());
        SledStore::import(&place, Settings::default(), origin, [Ok(account)]).unwrap();
        let base = opened(&place).unwrap();
        assert_eq!(Format::read(&base.db).unwrap(), Format::WHOLE);
        assert_eq!(base.hasher.secret(), [1; 32]);
    }
}
