//! Opening: the lock, the ballast, sled, the account, and whether the store is where the mark says it was.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use ::sled::{Config, Db, Mode};
use bincode::Decode;

use super::base::{Base, Draft, broken};
use super::counts::{Head, Names, StoredNames};
use super::disk::Folder;
use super::format::{Format, migrate};
use super::index::Index;
use super::mark::Mark;
use super::weigh::Weight;
use super::{Place, budgets, keys, replays};
use crate::model::time::Timestamp;
use crate::store::codec;
use crate::store::hash::Hasher;
use crate::store::{Settings, StoreError};
use crate::telemetry::Metrics;

/// sled's flusher is also the only one that reclaims space, a segment of half a megabyte each time it runs: it must run as
/// often as segments are filled, or who waits for weeks pins one after the other (2 million events at full speed, one in a
/// hundred of them staying: 1.5 GB at 20 ms, 0.9 GB at 5 ms, 0.2 GB at 2 ms).
const FLUSH_EVERY_MS: u64 = 2;

/// sled counts its cache in bytes as they are on disk; in memory small entries take a multiple of that. It is told half
/// of what it may take: a million events waiting are then 209 MB resident with the default of 64 MiB.
const CACHE_MEMORY_FACTOR: u64 = 2;

/// With less sled reads the same few pages again and again.
const CACHE_BYTES_MIN: u64 = 1024 * 1024;

/// sled's threads may hold its lock for a moment after a store was closed in this process.
const LOCK_WAIT: Duration = Duration::from_millis(10);
const LOCK_WAITS_MAX: u32 = 500;

const WAY_ON: &str = "Restore a backup; or save what can be read with braze-relay export --salvage, and import that into an empty store.path; \
     or, if the database opens, go on without what is missing by moving the file `mark` away";

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

    /// Opens or makes the store of a folder.
    pub fn open_for(
        purpose: Purpose,
        place: &Place,
        settings: Settings,
        metrics: Option<Arc<Metrics>>,
    ) -> Result<Base, StoreError> {
        let folder = Folder::open(&place.path)?;
        let refuse = |what: &str, error: std::io::Error| {
            StoreError::Refused(format!(
                "store.path {}: {what}: {error}",
                place.path.display()
            ))
        };
        let free = folder
            .free_bytes()
            .map_err(|error| refuse("free space cannot be read", error))?;
        if free < place.ballast_bytes
            && folder
                .release_ballast()
                .map_err(|error| refuse("ballast", error))?
        {
            tracing::warn!(
                free_bytes = free,
                "the disk is full: the ballast was given up to drain the queue"
            );
        }
        if purpose == Purpose::Work {
            folder
                .remove_fresh()
                .map_err(|error| refuse("what a compaction left cannot be removed", error))?;
        }
        let (mark, came) =
            Mark::open(&folder.mark()).map_err(|error| refuse("the mark cannot be read", error))?;
        let db = open_sled(&folder, place.cache_bytes)?;
        folder
            .sync_all()
            .map_err(|error| refuse("cannot be synced", error))?;
        let data_file = folder
            .data_file()
            .map_err(|error| refuse("sled/db cannot be opened", error))?;
        let format = Format::read(&db)?;
        if purpose == Purpose::Work {
            format.admit()?;
        }
        let (head, written) = read_table::<Head>(&db, keys::HEAD)?;
        let (names, _) = read_table::<StoredNames>(&db, keys::NAMES)?;
        match came {
            Some(came) if head.commit < came => {
                return Err(StoreError::Refused(format!(
                    "store.path {}: the database ends at commit {}, but commit {came} was durable: its tail is \
                     damaged or missing. {WAY_ON}",
                    place.path.display(),
                    head.commit
                )));
            }
            None if head.commit > 0 => {
                tracing::warn!(
                    commit = head.commit,
                    "no mark: whether the store is complete cannot be told"
                );
            }
            _ => {}
        }
        let secret = secret(&db)?;
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
            draft.insert(keys::FORMAT, format.bytes());
        }
        base.apply(draft, true)?;
        if purpose == Purpose::Work {
            migrate(&mut base, format)?;
        }
        base.mark
            .sync()
            .map_err(|error| refuse("the mark cannot be written", error))?;
        Ok(base)
    }
}

/// sled panics on some damage: that is a refusal, not a crash.
pub fn open_sled(folder: &Folder, cache_bytes: u64) -> Result<Db, StoreError> {
    let config = Config::new()
        .path(folder.database())
        .mode(Mode::HighThroughput)
        .cache_capacity((cache_bytes / CACHE_MEMORY_FACTOR).max(CACHE_BYTES_MIN))
        .flush_every_ms(Some(FLUSH_EVERY_MS));
    let damaged = |what: String| {
        StoreError::Refused(format!(
            "{}: the database cannot be opened: {what}. {WAY_ON}",
            folder.database().display()
        ))
    };
    let mut waits = LOCK_WAITS_MAX;
    loop {
        match catch_unwind(AssertUnwindSafe(|| config.open())) {
            Ok(Ok(db)) => return Ok(db),
            Ok(Err(error)) if waits > 0 && is_locked(&error) => {
                waits -= 1;
                std::thread::sleep(LOCK_WAIT);
            }
            Ok(Err(error)) => return Err(damaged(error.to_string())),
            Err(_) => return Err(damaged("sled found damage and panicked".into())),
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
        .map_err(|error| StoreError::Refused(format!("the store's account: {error}")))
}

fn secret(db: &Db) -> Result<[u8; 32], StoreError> {
    if let Some(bytes) = db.get(keys::SECRET).map_err(|error| broken(&error))?
        && let Ok(secret) = <[u8; 32]>::try_from(&bytes[..])
    {
        return Ok(secret);
    }
    let mut secret = [0; 32];
    std::io::Read::read_exact(
        &mut std::fs::File::open("/dev/urandom")
            .map_err(|error| StoreError::Refused(error.to_string()))?,
        &mut secret,
    )
    .map_err(|error| StoreError::Refused(format!("/dev/urandom: {error}")))?;
    db.insert(keys::SECRET, &secret)
        .map_err(|error| broken(&error))?;
    Ok(secret)
}
