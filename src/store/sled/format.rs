//! Which format a store is in: what opens it, what does not, and how an older one becomes today's.
//!
//! Invariants: a store says its format itself, in one key that every version reads before anything else. A newer one is
//! refused. An older one is brought forward when it is opened, before today's code reads anything else of it, one format at
//! a time: each step does its work in slices that may be repeated, and behind its last one the next number is written, so
//! that a crash anywhere begins that step anew and no other. Records carry versions of their own
//! ([`codec`](crate::store::codec)): a step is for what stands where.

use std::fs::File;

use ::sled::Db;

use super::base::broken;
use super::keys;
use super::writes::Writes;
use crate::store::StoreError;

/// One step forward: everything is as the next format wants it when it returns.
pub type Step = fn(&Old<'_>) -> Result<(), StoreError>;

/// How a store of format `n + 1` (the first is 1) becomes one of format `n + 2`.
pub const STEPS: &[Step] = &[];

/// What this version writes.
pub const TODAY: u32 = after(STEPS);

/// The format behind these steps.
pub const fn after(steps: &[Step]) -> u32 {
    steps.len() as u32 + 1
}

/// A store of an older format: nothing is known of it but its tree.
pub struct Old<'a> {
    /// The tree.
    pub db: &'a Db,
    /// Our own descriptor on its data file.
    pub data_file: &'a File,
}

impl Old<'_> {
    /// Writes a slice of a step; it survives a power cut when this returns.
    pub fn write(&self, slice: Writes) -> Result<(), StoreError> {
        let write = || {
            self.db.apply_batch(slice.into_batch())?;
            self.db.flush()
        };
        write().map_err(|error| broken(&error))?;
        self.data_file
            .sync_data()
            .map_err(|error| StoreError::Failed(format!("fdatasync of sled/db: {error}")))
    }
}

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
        let number =
            number.ok_or_else(|| StoreError::Failed("the store's format cannot be read".into()))?;
        let half = value.get(4).copied() == Some(1);
        Ok(Format { number, half })
    }

    /// As it is stored.
    pub fn bytes(self) -> Vec<u8> {
        [&self.number.to_be_bytes()[..], &[u8::from(self.half)]].concat()
    }

    /// Whether who knows formats up to `today` may open it.
    pub fn admit(self, today: u32) -> Result<(), StoreError> {
        let Format { number, half } = self;
        if number > today {
            return Err(StoreError::Refused(format!(
                "the store is in format {number}, and this version ({}) knows formats up to {today}: run the version that \
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

/// Brings a store forward by those of `steps` (the first is from format 1) that it has not taken yet.
pub fn migrate(old: &Old<'_>, from: Format, steps: &[Step]) -> Result<(), StoreError> {
    for (number, step) in (1..).zip(steps) {
        if number < from.number {
            continue;
        }
        let to = number + 1;
        tracing::info!(from = number, to, "the store is brought to a newer format");
        step(old)?;
        let mut done = Writes::default();
        let format = Format {
            number: to,
            half: false,
        };
        done.insert(keys::FORMAT, format.bytes());
        old.write(done)?;
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests may")]
mod tests {
    use super::*;
    use crate::store::Settings;
    use crate::store::codec;
    use crate::store::sled::base::{Base, Draft};
    use crate::store::sled::disk::Folder;
    use crate::store::sled::open::{Purpose, open_sled};
    use crate::store::sled::{Place, SledStore};

    fn place(path: &std::path::Path) -> Place {
        Place::small(path, 64)
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

    /// In the older format of these tests a value of the names or of a paper begins with this.
    const OLDER: u8 = 200;

    /// The values that a step has to write anew.
    fn older(old: &Old<'_>) -> Vec<(::sled::IVec, Vec<u8>)> {
        let values = [b"n", b"o"]
            .into_iter()
            .flat_map(|it| old.db.scan_prefix(it));
        let values = values.map(|entry| entry.unwrap());
        let values = values.map(|(key, value)| (key, value.to_vec()));
        values.filter(|(_, value)| value[0] == OLDER).collect()
    }

    /// Writes so many of them anew.
    fn slice(old: &Old<'_>, at_most: usize) -> Result<bool, StoreError> {
        let mut slice = Writes::default();
        let mut any = false;
        for (key, mut value) in older(old).into_iter().take(at_most) {
            value[0] = codec::VERSION;
            slice.insert(key, value);
            any = true;
        }
        old.write(slice)?;
        Ok(any)
    }

    fn crashes(old: &Old<'_>) -> Result<(), StoreError> {
        slice(old, 2)?;
        Err(StoreError::Failed("it crashed".into()))
    }

    fn whole(old: &Old<'_>) -> Result<(), StoreError> {
        while slice(old, 2)? {}
        Ok(())
    }

    fn never(_: &Old<'_>) -> Result<(), StoreError> {
        panic!("a step was taken twice")
    }

    #[test]
    fn a_step_that_was_cut_off_is_begun_anew_before_anything_else_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let place = place(folder.path());
        {
            let mut base = opened(&place).unwrap();
            base.names.workspace(&"acme".into());
            let mut draft = Draft::default();
            for number in 0..7 {
                let paper = codec::encode_paper("as it was");
                draft.insert(keys::paper(&format!("paper {number}")), paper);
            }
            base.apply(draft, true).unwrap();
            for (key, mut value) in [b"n", b"o"].into_iter().flat_map(|it| {
                let entries: Vec<_> = base.db.scan_prefix(it).map(Result::unwrap).collect();
                entries
                    .into_iter()
                    .map(|(key, value)| (key, value.to_vec()))
            }) {
                value[0] = OLDER;
                base.db.insert(key, value).unwrap();
            }
        }
        let open = |steps: &[Step]| {
            let base = Base::open_at(Purpose::Work, &place, Settings::default(), None, steps);
            base.map_err(|error| error.to_string())
        };
        let refused = |steps: &[Step]| open(steps).err().unwrap();
        // As it stands it is nothing that can be read today.
        assert!(refused(&[]).contains("newer than"));
        assert!(refused(&[crashes]).contains("it crashed"));
        {
            let db = open_sled(&Folder::open(folder.path()).unwrap(), 1 << 20).unwrap();
            assert_eq!(Format::read(&db).unwrap().number, 1, "it counts as done");
        }
        let base = open(&[whole]).unwrap();
        assert_eq!(base.names.all_workspaces().len(), 1);
        let papers = base.db.scan_prefix(b"o").values().map(Result::unwrap);
        let papers: Vec<_> = papers.collect();
        assert_eq!(papers.len(), 7);
        assert!(
            papers
                .iter()
                .all(|it| codec::decode_paper(it) == Ok("as it was"))
        );
        drop(base);
        // Not again; and then it is too new for today.
        assert_eq!(Format::read(&open(&[never]).unwrap().db).unwrap().number, 2);
        assert!(refused(&[]).contains("in format 2, and this version"));
        let base = open(&[never, whole]).unwrap();
        assert_eq!(Format::read(&base.db).unwrap().number, 3);
        // A new one is of today's format from the start.
        let folder = tempfile::tempdir().unwrap();
        let place = self::place(folder.path());
        let new = Base::open_at(Purpose::Work, &place, Settings::default(), None, &[never]);
        assert_eq!(Format::read(&new.unwrap().db).unwrap().number, 2);
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
