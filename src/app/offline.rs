//! What is done with a store that nobody serves: export, import, salvage, compact. Each holds the store's lock meanwhile.

use std::io::{self, BufRead, Write};

use super::store_settings;
use crate::config::Config;
use crate::model::time::Timestamp;
use crate::store::archive::{ArchiveError, End, Head, Reader, Writer};
use crate::store::sled::{Origin, Place, Sizes, SledStore, is_in_use};
use crate::store::{Operate, StoreError};

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// The store refuses, or fails.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The export cannot be taken.
    #[error("{0}")]
    Archive(#[from] ArchiveError),
    /// It cannot be written.
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
}

impl OfflineError {
    /// 3 store refused, 1 otherwise.
    pub const fn exit_code(&self) -> u8 {
        match self {
            OfflineError::Store(StoreError::Refused(_)) => 3,
            OfflineError::Store(_) | OfflineError::Archive(_) | OfflineError::Output(_) => 1,
        }
    }
}

/// Whether another process has the store open.
pub fn is_served(config: &Config) -> bool {
    is_in_use(&config.store.path)
}

/// Writes the whole store to `out`.
pub fn export(config: &Config, now: Timestamp, out: impl Write) -> Result<End, OfflineError> {
    let (place, settings) = store_settings(config);
    there_is_one(&place)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let store = SledStore::open(place, settings, None)?;
    runtime.block_on(async {
        let written = write(&store, now, out).await;
        store.close().await?;
        written
    })
}

/// Nothing is made where nothing is.
fn there_is_one(place: &Place) -> Result<(), StoreError> {
    if place.path.join("sled").exists() {
        return Ok(());
    }
    Err(StoreError::Refused(format!(
        "store.path {}: there is no store",
        place.path.display()
    )))
}

async fn write(store: &SledStore, now: Timestamp, out: impl Write) -> Result<End, OfflineError> {
    let mut entries = store.copy().await?;
    let mut writer = Writer::new(out, &Head::new(entries.secret(), now, false))?;
    while let Some(told) = entries.next().await {
        for entry in told? {
            writer.push(&entry)?;
        }
    }
    Ok(writer.end(Vec::new())?)
}

/// Makes a store, where there is none, of an export. Nothing of it stays when that fails.
pub fn import(config: &Config, input: impl BufRead) -> Result<End, OfflineError> {
    let (place, settings) = store_settings(config);
    let mut reader = Reader::new(input)?;
    let origin = Origin {
        secret: reader.head().secret.0,
        salvaged: reader.head().salvaged,
    };
    let entries = reader
        .by_ref()
        .map(|entry| entry.map_err(|error| StoreError::Copy(error.to_string())));
    SledStore::import(&place, settings, origin, entries)?;
    Ok(reader.end().cloned().unwrap_or_default())
}

/// Makes the store's files as small as what they hold.
pub fn compact(config: &Config) -> Result<Sizes, OfflineError> {
    let (place, settings) = store_settings(config);
    there_is_one(&place)?;
    // Copying in and out at once.
    let runtime = tokio::runtime::Builder::new_multi_thread().build()?;
    Ok(runtime.block_on(SledStore::compact(&place, settings))?)
}

/// Writes what can be read of a damaged store to `out`; what cannot is named in the last line. Nothing is written into the
/// store.
pub fn salvage(config: &Config, now: Timestamp, out: impl Write) -> Result<End, OfflineError> {
    let (place, _) = store_settings(config);
    there_is_one(&place)?;
    let mut salvage = SledStore::salvage(&place)?;
    let mut writer = Writer::new(out, &Head::new(salvage.secret(), now, true))?;
    while let Some(entries) = salvage.more() {
        for entry in entries {
            writer.push(&entry)?;
        }
    }
    Ok(writer.end(salvage.missing())?)
}
