//! Reading what can be read of a damaged store.
//!
//! Invariants: the store itself is only read, under its lock: sled, which repairs as it opens, works on a copy in the store's
//! folder, which goes when the reading ends, or else when the store is opened or salvaged next. Every look into it may panic and
//! is contained; what follows is noted, and reading goes on at the next place. Nothing is told that cannot be decoded.
//!
//! Deliberately absent: reading sled's log past the point where sled stops.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use ::sled::{Db, IVec};

use super::counts::{Head, Names, StoredNames};
use super::disk::{Folder, remove_all};
use super::index::Index;
use super::keys::{self, Place as Remembered};
use super::mark::Came;
use super::open::{new_secret, open_sled, read_table};
use super::told::{Raw, Teller, account, is_told};
use super::{Place, SledStore};
use crate::store::StoreError;
use crate::store::codec;
use crate::store::entry::Entry;

/// How many keys are told at once.
const SLICE_KEYS: usize = 256;

/// Into how many parts a data file is cut to find out how much of it sled can open.
const PARTS: u64 = 8;

/// sled's segments.
const SEGMENT_BYTES: u64 = 512 * 1024;

/// A damaged store, as far as it can be read. Tells entries like a copy of a whole one.
pub struct Salvage {
    /// Never dropped: sled writes as it is dropped, and may panic then.
    db: std::mem::ManuallyDrop<Db>,
    secret: [u8; 32],
    head: Option<Head>,
    names: Names,
    teller: Teller,
    from: From,
    missing: Vec<String>,
    _copy: Copied,
    /// Locked: whoever is started again meanwhile would write to what is being read.
    _folder: Folder,
}

/// A copy, which goes with this.
struct Copied(PathBuf);

impl Drop for Copied {
    fn drop(&mut self) {
        // What cannot be removed now is when the store is opened or salvaged next.
        let _ = remove_all(&self.0);
    }
}

/// What is read next.
enum From {
    Names,
    Tree(Vec<u8>),
    Index(Option<Box<Index>>, Remembered),
    /// The index is broken: what its blocks say, from this key on.
    Blocks(Vec<u8>),
    Account,
    End,
}

impl SledStore {
    /// Opens a copy of what there is at `place`, inside its folder. Refused when another process has the store, or when nothing of
    /// it can be opened.
    pub fn salvage(place: &Place) -> Result<Salvage, StoreError> {
        let refuse = |what: &str| {
            StoreError::Refused(format!("store.path {}: {what}", place.path.display()))
        };
        let folder = Folder::open(&place.path)?;
        let cannot = |error: io::Error| refuse(&format!("cannot be copied: {error}"));
        let whole = fs::metadata(place.path.join("sled/db"))
            .map_err(cannot)?
            .len();
        let attempts = std::iter::once((true, whole)).chain(
            // As much of it as sled takes: what was written last is mostly at its end.
            (1..=PARTS).rev().map(|part| (false, cut(whole, part))),
        );
        for (with_snapshot, bytes) in attempts {
            let copy = copy(&folder, with_snapshot, bytes).map_err(cannot)?;
            let Ok(db) = open_sled(&Folder::open(&copy.0)?, place.cache_bytes) else {
                continue;
            };
            let missing = (bytes < whole).then(|| {
                format!(
                    "sled/db: from byte {bytes} to {whole}: sled cannot open it with what is there"
                )
            });
            return Salvage::new(db, folder, copy, Vec::from_iter(missing));
        }
        Err(refuse(
            "sled/db: nothing of it can be opened. Restore a backup, or move the folder away to begin with an empty store",
        ))
    }
}

/// So many bytes of a data file as `part` of [`PARTS`] are, in whole segments.
fn cut(whole: u64, part: u64) -> u64 {
    if part == PARTS {
        whole
    } else {
        (whole / SEGMENT_BYTES * part / PARTS).max(1) * SEGMENT_BYTES
    }
}

/// A copy of so much of the database, instead of one that was left.
fn copy(folder: &Folder, with_snapshot: bool, bytes: u64) -> io::Result<Copied> {
    folder.remove_leftovers()?;
    let copy = Copied(folder.salvage());
    let database = copy.0.join("sled");
    fs::create_dir_all(&database)?;
    for entry in fs::read_dir(folder.database())? {
        let entry = entry?;
        let is_snapshot = entry.file_name().to_string_lossy().starts_with("snap.");
        if entry.file_type()?.is_file() && (with_snapshot || !is_snapshot) {
            fs::copy(entry.path(), database.join(entry.file_name()))?;
        }
    }
    let db = fs::OpenOptions::new()
        .write(true)
        .open(database.join("db"))?;
    if bytes < db.metadata()?.len() {
        db.set_len(bytes)?;
    }
    Ok(copy)
}

/// Looks, and makes an error of a panic.
fn contained<T>(look: impl FnOnce() -> Result<T, StoreError>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(look)) {
        Ok(found) => found.map_err(|error| match error {
            StoreError::Failed(what) => what,
            other => other.to_string(),
        }),
        Err(_) => Err("sled panicked".into()),
    }
}

fn broken(error: &::sled::Error) -> StoreError {
    StoreError::Failed(error.to_string())
}

impl Salvage {
    fn new(
        db: Db,
        folder: Folder,
        copy: Copied,
        missing: Vec<String>,
    ) -> Result<Salvage, StoreError> {
        let came = Came::read(&folder.mark());
        let mut salvage = Salvage {
            db: std::mem::ManuallyDrop::new(db),
            secret: [0; 32],
            head: None,
            names: Names::default(),
            teller: Teller::default(),
            from: From::Names,
            missing,
            _copy: copy,
            _folder: folder,
        };
        let head = contained(|| Ok(read_table::<Head>(&salvage.db, keys::HEAD)?.0));
        match head {
            Ok(head) => salvage.head = Some(head),
            Err(why) => salvage.note("the account", &why),
        }
        let secret = contained(|| salvage.db.get(keys::SECRET).map_err(|error| broken(&error)));
        let secret = secret.ok().flatten();
        if let Some(secret) = secret.and_then(|secret| secret[..].try_into().ok()) {
            salvage.secret = secret;
        } else {
            salvage.note(
                "the secret",
                "nothing that is remembered can be found without it",
            );
            salvage.secret = new_secret()?;
        }
        let here = salvage.head.as_ref().map_or(0, |head| head.commit);
        match came {
            Ok(Came::To(came)) if came > here => salvage.missing.push(format!(
                "sled/db: the last {} commits, from {} to {came}: its log breaks off there",
                came - here,
                here + 1
            )),
            Ok(Came::To(_)) => {}
            Ok(Came::Unsaid | Came::Unreadable) | Err(_) => salvage.missing.push(
                "mark: missing or unreadable: whether the last commits are there cannot be told"
                    .into(),
            ),
        }
        Ok(salvage)
    }

    /// The store's secret; a new one, where that cannot be read.
    pub fn secret(&self) -> [u8; 32] {
        self.secret
    }

    /// What could not be read.
    pub fn missing(&self) -> Vec<String> {
        self.missing.clone()
    }

    fn note(&mut self, what: &str, why: &str) {
        self.missing.push(format!("sled/db: {what}: {why}"));
    }

    /// The next entries; `None`: that was all.
    pub fn more(&mut self) -> Option<Vec<Entry>> {
        let mut raw = Vec::new();
        self.from = match std::mem::replace(&mut self.from, From::End) {
            From::Names => self.tell_names(&mut raw),
            From::Tree(from) => self.tree(from, &mut raw),
            From::Index(index, from) => self.index(index, from, &mut raw),
            From::Blocks(from) => self.blocks(from, &mut raw),
            From::Account => {
                if let Some(head) = &self.head {
                    raw.push(Raw::Told(account(head, &self.names)));
                }
                From::End
            }
            From::End => return None,
        };
        let mut entries = Vec::with_capacity(raw.len());
        for raw in raw {
            let what = raw.name();
            if let Err(error) = self.teller.tell(raw, &mut entries) {
                self.note(&what, &error.to_string());
            }
        }
        Some(entries)
    }

    fn tell_names(&mut self, raw: &mut Vec<Raw>) -> From {
        let stored = contained(|| Ok(read_table::<StoredNames>(&self.db, keys::NAMES)?.0));
        match stored {
            Ok(stored) => {
                self.names = Names::from_stored(stored);
                raw.push(Raw::Names(self.names.to_stored()));
            }
            Err(why) => self.note("the names of workspaces and groups", &why),
        }
        From::Tree(Vec::new())
    }

    fn tree(&mut self, mut from: Vec<u8>, raw: &mut Vec<Raw>) -> From {
        while raw.len() < SLICE_KEYS {
            let entry = contained(|| {
                let next = self.db.range(from.as_slice()..).next();
                next.transpose().map_err(|error| broken(&error))
            });
            match entry {
                Ok(None) => return From::Index(None, Remembered::default()),
                Ok(Some((key, _))) if !is_told(key[0]) => match key[0].checked_add(1) {
                    Some(next) => from = vec![next],
                    None => return From::Index(None, Remembered::default()),
                },
                Ok(Some((key, value))) => {
                    from = key.to_vec();
                    from.push(0);
                    match self.whole(&key, value) {
                        Ok(value) => raw.push(Raw::Put(key, value)),
                        Err(why) => {
                            let what = Raw::Gone(key).name();
                            self.note(&what, &why);
                        }
                    }
                }
                Err(why) => {
                    // Where it can be read again is not known: on with the next place.
                    let place = from.first().copied().unwrap_or_default();
                    let what = format!("the rest of place `{}`", char::from(place));
                    self.note(&what, &why);
                    match place.checked_add(1) {
                        Some(next) => from = vec![next],
                        None => return From::Index(None, Remembered::default()),
                    }
                }
            }
        }
        From::Tree(from)
    }

    /// A record with all its pieces; any other value as it is.
    fn whole(&self, key: &IVec, first: IVec) -> Result<IVec, String> {
        let is_record = matches!(key.first(), Some(b'r' | b'w' | b'x'));
        let pieces = if is_record {
            codec::pieces_behind(&first)
        } else {
            0
        };
        if pieces == 0 {
            return Ok(first);
        }
        let id = keys::id_at_end(key).unwrap_or_default();
        let mut bytes = first.to_vec();
        for number in 0..pieces {
            let piece = contained(|| {
                let piece = self.db.get(keys::piece(id, number));
                piece.map_err(|error| broken(&error))
            })?;
            bytes.extend_from_slice(&piece.ok_or("a piece of it is missing")?);
        }
        Ok(bytes.into())
    }

    fn index(&mut self, index: Option<Box<Index>>, from: Remembered, raw: &mut Vec<Raw>) -> From {
        let slice = contained(|| {
            let index = match index {
                Some(index) => index,
                None => Box::new(Index::open(&self.db, SLICE_KEYS)?),
            };
            let (slice, next) = index.slice(&self.db, from, SLICE_KEYS)?;
            Ok((index, slice, next))
        });
        match slice {
            Ok((index, slice, next)) => {
                let slice = slice.into_iter();
                raw.extend(slice.map(|(place, value)| Raw::Known(place, value)));
                next.map_or(From::Account, |next| From::Index(Some(index), next))
            }
            Err(why) => {
                let what =
                    "what is remembered of participants, in part, or in part as it was earlier";
                self.note(what, &why);
                From::Blocks(b"p".to_vec())
            }
        }
    }

    /// Blocks of runs, then the log: later ones replace earlier ones.
    fn blocks(&mut self, mut from: Vec<u8>, raw: &mut Vec<Raw>) -> From {
        let mut found: BTreeMap<Remembered, IVec> = BTreeMap::new();
        let mut then = None;
        while found.len() < SLICE_KEYS {
            let place = from[0];
            let entry = contained(|| {
                let next = self.db.range(from.as_slice()..).next();
                next.transpose().map_err(|error| broken(&error))
            });
            match entry {
                Ok(Some((key, block))) if key[0] == place => {
                    from = key.to_vec();
                    from.push(0);
                    let entries = codec::entries(&block).ok().into_iter().flatten();
                    let entries = entries.filter_map(Result::ok);
                    found.extend(entries.map(|(place, value)| (*place, IVec::from(value))));
                }
                Ok(_) | Err(_) if place == b'p' => from = keys::LOG_PREFIX.to_vec(),
                Ok(_) | Err(_) => {
                    then = Some(From::Account);
                    break;
                }
            }
        }
        let found = found.into_iter();
        raw.extend(found.map(|(place, value)| Raw::Known(place, value)));
        then.unwrap_or(From::Blocks(from))
    }
}
