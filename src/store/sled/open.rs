//! Opening: the lock, the ballast, sled, the account, and whether the store is where the mark says it was.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::sled::{Config, Db, Mode};
use bincode::Decode;

use super::base::{Base, Draft, broken};
use super::counts::{Head, Names, StoredNames};
use super::disk::Folder;
use super::format::{Format, Old, STEPS, Step, after, migrate};
use super::index::Index;
use super::mark::{Came, Mark};
use super::weigh::Weight;
use super::{Place, budgets, keys, replays};
use crate::model::time::Timestamp;
use crate::store::codec;
use crate::store::hash::Hasher;
use crate::store::{Settings, StoreError};
use crate::telemetry::Metrics;

/// sled's flusher is also the only one that reclaims space, a segment of half a megabyte each time it runs: it must run as
/// often as segments are filled, or who waits for weeks pins one after the other (2 million events at full speed, one in a
/// hundred of them staying, files before the index was kept short: 1.5 GB at 20 ms, 0.9 GB at 5 ms, 0.2 GB at 2 ms).
const FLUSH_EVERY_MS: u64 = 2;

/// sled counts its cache in bytes as they are on disk; in memory small entries take a multiple of that. It is told half
/// of what it may take: a million events waiting are then 209 MB resident with the default of 64 MiB.
const CACHE_MEMORY_FACTOR: u64 = 2;

/// With less sled reads the same few pages again and again.
const CACHE_BYTES_MIN: u64 = 1024 * 1024;

/// sled's threads may hold its lock for a moment after a store was closed in this process.
const LOCK_WAIT: Duration = Duration::from_millis(10);
const LOCK_WAITS_MAX: u32 = 500;

const WAY_ON: &str = "Restore a backup; or save what can be read with braze-relay export --salvage, and import that into an \
     empty store.path";

/// Where the database may be sound, and only short of what the mark says.
const WITHOUT_MARK: &str =
    "; or, if the database opens, go on without what is missing by moving the file `mark` away";

/// What is wrong with the database of this folder, and the way on.
pub fn damaged(path: &Path, what: &str) -> String {
    format!("{}: {what}. {WAY_ON}", path.join("sled").display())
}

/// What a store is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be worked.
    Work,
    /// To be filled: it says that it is half made.
    Import,
}

impl Base {
    /// Opens or makes the store of a folder, to be worked.
    pub fn open(
        place: &Place,
        settings: Settings,
        metrics: Option<Arc<Metrics>>,
    ) -> Result<Base, StoreError> {
        Base::open_for(Purpose::Work, place, settings, metrics)
    }

    /// Opens or makes the store of a folder. What cannot be read there is a refusal.
    pub fn open_for(
        purpose: Purpose,
        place: &Place,
        settings: Settings,
        metrics: Option<Arc<Metrics>>,
    ) -> Result<Base, StoreError> {
        Base::open_at(purpose, place, settings, metrics, STEPS).map_err(|error| match error {
            StoreError::Failed(what) => StoreError::Refused(damaged(&place.path, &what)),
            other => other,
        })
    }

    /// The same, brought forward by these steps.
    pub(super) fn open_at(
        purpose: Purpose,
        place: &Place,
        settings: Settings,
        metrics: Option<Arc<Metrics>>,
        steps: &[Step],
    ) -> Result<Base, StoreError> {
        let folder = Folder::open(&place.path)?;
        let refuse = |what: &str, error: io::Error| refused(&folder, what, &error);
        make_room(&folder, place)?;
        if purpose == Purpose::Work {
            folder
                .remove_leftovers()
                .map_err(|error| refuse("what was left in it cannot be removed", error))?;
        }
        let (mark, came) =
            Mark::open(&folder.mark()).map_err(|error| refuse("the mark cannot be read", error))?;
        if came == Came::Unreadable {
            return Err(StoreError::Refused(format!(
                "{}: the mark is damaged: whether the database is complete cannot be told. {WAY_ON}{WITHOUT_MARK}",
                folder.mark().display()
            )));
        }
        let db = open_sled(&folder, place.cache_bytes)?;
        folder
            .sync_all()
            .map_err(|error| refuse("cannot be synced", error))?;
        let data_file = folder
            .data_file()
            .map_err(|error| refuse("sled/db cannot be opened", error))?;
        let format = Format::read(&db)?;
        if purpose == Purpose::Work {
            format.admit(after(steps))?;
            if is_used(&db)? {
                let old = Old {
                    db: &db,
                    data_file: &data_file,
                };
                migrate(&old, format, steps)?;
            }
        }
        let (head, written) = read_table::<Head>(&db, keys::HEAD)?;
        let (names, _) = read_table::<StoredNames>(&db, keys::NAMES)?;
        compare(&folder, came, &head)?;
        let secret = secret(&db, &head)?;
        let index = Index::open(&db, place.young_max)?;
        let names = Names::from_stored(names);
        let budgets = budgets::read(&db, &names)?;
        let replays = replays::read(&db)?;
        let last_lease = (head.commit + 1) << 24;
        let hasher = Hasher::new(secret);
        let dice = hasher.number(head.last_id);
        let mut base = Base {
            db,
            data_file,
            mark,
            folder,
            head,
            names,
            hasher,
            dice,
            index,
            budgets,
            replays,
            expiring: super::expiring::Expiring::default(),
            settings,
            leases: std::collections::HashMap::default(),
            // Larger than any lease of a process before, so that a token from then is worth nothing.
            last_lease,
            streams: std::collections::BTreeMap::default(),
            shares: std::collections::BTreeMap::default(),
            touched: std::collections::BTreeSet::default(),
            written,
            sweeping: true,
            sweep_from: None,
            sweeps: 0,
            is_discarding: false,
            revokes: false,
            replaced: 0,
            weight: Weight::default(),
            last_copy: 0,
            copying: None,
            now: Timestamp::ZERO,
            metrics,
        };
        // A commit of its own, so that no two lives of a store share a number.
        let mut draft = Draft {
            used: true,
            ..Draft::default()
        };
        base.reopen_budgets(&mut draft)?;
        if purpose == Purpose::Work {
            let format = Format {
                number: after(steps),
                half: false,
            };
            draft.insert(keys::FORMAT, format.bytes());
        }
        base.apply(draft, true)?;
        base.mark
            .sync()
            .map_err(|error| refused(&base.folder, "the mark cannot be written", &error))?;
        Ok(base)
    }
}

fn refused(folder: &Folder, what: &str, error: &io::Error) -> StoreError {
    StoreError::Refused(format!(
        "store.path {}: {what}: {error}",
        folder.path().display()
    ))
}

/// Gives the ballast up, if the disk is full.
fn make_room(folder: &Folder, place: &Place) -> Result<(), StoreError> {
    let free = folder.free_bytes();
    let free = free.map_err(|error| refused(folder, "free space cannot be read", &error))?;
    if free >= place.ballast_bytes {
        return Ok(());
    }
    let released = folder.release_ballast();
    if released.map_err(|error| refused(folder, "ballast", &error))? {
        tracing::warn!(
            free_bytes = free,
            "the disk is full: the ballast was given up to drain the queue"
        );
    }
    Ok(())
}

/// Whether the store has come as far as its mark says.
fn compare(folder: &Folder, came: Came, head: &Head) -> Result<(), StoreError> {
    let commit = head.commit;
    match came {
        Came::To(came) if commit < came => Err(StoreError::Refused(format!(
            "store.path {}: the database ends at commit {commit}, but commit {came} was durable: its tail is damaged or \
             missing. {WAY_ON}{WITHOUT_MARK}",
            folder.path().display()
        ))),
        Came::Unsaid if commit > 0 => {
            tracing::warn!(
                commit,
                "no mark: whether the store is complete cannot be told"
            );
            Ok(())
        }
        Came::To(_) | Came::Unsaid | Came::Unreadable => Ok(()),
    }
}

/// sled panics on some damage: that is a refusal, not a crash.
pub fn open_sled(folder: &Folder, cache_bytes: u64) -> Result<Db, StoreError> {
    let config = Config::new()
        .path(folder.database())
        .mode(Mode::HighThroughput)
        .cache_capacity((cache_bytes / CACHE_MEMORY_FACTOR).max(CACHE_BYTES_MIN))
        .flush_every_ms(Some(FLUSH_EVERY_MS));
    let damaged = |what: &str| {
        let what = format!("the database cannot be opened: {what}");
        StoreError::Refused(damaged(folder.path(), &what))
    };
    let mut waits = LOCK_WAITS_MAX;
    loop {
        match catch_unwind(AssertUnwindSafe(|| config.open())) {
            Ok(Ok(db)) => return Ok(db),
            Ok(Err(error)) if waits > 0 && is_locked(&error) => {
                waits -= 1;
                std::thread::sleep(LOCK_WAIT);
            }
            Ok(Err(error)) => return Err(damaged(&error.to_string())),
            Err(_) => return Err(damaged("sled found damage and panicked")),
        }
    }
}

/// Whether sled's own lock is held. Another process is kept out by ours: it is what is left of a store closed here.
fn is_locked(error: &::sled::Error) -> bool {
    matches!(error, ::sled::Error::Io(io) if io.to_string().contains("could not acquire lock"))
}

/// A table's value, and its pieces as they stand.
pub fn read_table<T: Decode<()> + Default>(
    db: &Db,
    letter: u8,
) -> Result<(T, Vec<Vec<u8>>), StoreError> {
    let mut pieces = Vec::new();
    for number in 0..=u8::MAX {
        match db
            .get(keys::table(letter, number))
            .map_err(|error| broken(&error))?
        {
            Some(piece) => pieces.push(piece.to_vec()),
            None => break,
        }
    }
    if pieces.is_empty() {
        return Ok((T::default(), pieces));
    }
    let table = codec::decode_table(&pieces.concat());
    table
        .map(|table| (table, pieces))
        .map_err(|error| StoreError::Failed(format!("the store's account: {error}")))
}

/// Whether anything was ever committed to a store that is to be worked. Format and account are written with the first commit;
/// before formats had numbers there was the account alone.
fn is_used(db: &Db) -> Result<bool, StoreError> {
    let has = |key: &[u8]| db.contains_key(key).map_err(|error| broken(&error));
    let has_account = has(&keys::table(keys::HEAD, 0))?;
    if !has_account && has(keys::FORMAT)? {
        return Err(StoreError::Failed("the store's account is missing".into()));
    }
    Ok(has_account)
}

/// The store's secret; one that was just made gets one.
fn secret(db: &Db, head: &Head) -> Result<[u8; 32], StoreError> {
    if let Some(bytes) = db.get(keys::SECRET).map_err(|error| broken(&error))?
        && let Ok(secret) = <[u8; 32]>::try_from(&bytes[..])
    {
        return Ok(secret);
    }
    if head.commit > 0 {
        return Err(StoreError::Failed(
            "the store's secret is missing: without it nothing that is remembered can be found"
                .into(),
        ));
    }
    let secret = new_secret()?;
    db.insert(keys::SECRET, &secret)
        .map_err(|error| broken(&error))?;
    Ok(secret)
}

/// Random bytes.
pub fn new_secret() -> Result<[u8; 32], StoreError> {
    let mut secret = [0; 32];
    io::Read::read_exact(
        &mut std::fs::File::open("/dev/urandom")
            .map_err(|error| StoreError::Refused(error.to_string()))?,
        &mut secret,
    )
    .map_err(|error| StoreError::Refused(format!("/dev/urandom: {error}")))?;
    Ok(secret)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests may")]
mod tests;
