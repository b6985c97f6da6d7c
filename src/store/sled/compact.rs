//! Making a store small again: it is told into a fresh one, which takes its place.
//!
//! Invariants: the fresh store is made inside the folder, and is told back and compared before anything is touched; then the
//! two databases change places in one step of the file system. A crash leaves the old one or the new one whole in its place;
//! what lies beside it is removed when the store is opened next. The mark stays as it is: the fresh store's commits are made
//! to go on behind it. The lock is let go for a moment before the exchange; had anybody used it, the mark would say so, and
//! nothing is done.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::base::{Base, Draft};
use super::disk::Folder;
use super::import::Origin;
use super::mark::Came;
use super::{Place, SledStore};
use crate::store::entry::{Account, Entry};
use crate::store::{Operate, Settings, StoreError};

/// The size of the data file before and after, bytes.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Before.
    pub before: u64,
    /// After.
    pub after: u64,
}

/// What was told, whatever the order: a sum of the hashes of all entries.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    entries: u64,
    hash: u128,
}

impl Sum {
    fn add(&mut self, entry: &Entry) -> Result<(), StoreError> {
        let counted;
        let entry = match entry {
            // The number of the last commit is a store's own affair, and what was complete is so for one opening.
            Entry::Account(account) => {
                counted = Entry::Account(Account {
                    commit: 0,
                    ..*account
                });
                &counted
            }
            Entry::Budget { .. } => return Ok(()),
            other => other,
        };
        let bytes =
            serde_json::to_vec(entry).map_err(|error| StoreError::Failed(error.to_string()))?;
        let hash = blake3::hash(&bytes);
        let part = hash.as_bytes().first_chunk().copied().unwrap_or_default();
        self.hash = self.hash.wrapping_add(u128::from_le_bytes(part));
        self.entries += 1;
        Ok(())
    }
}

impl SledStore {
    /// Makes the store at `place` as small as what it holds. Nobody else may have it open. Needs a runtime, and room for what
    /// the store holds.
    pub async fn compact(place: &Place, settings: Settings) -> Result<Sizes, StoreError> {
        // Opening removes what an earlier one has left.
        let store = SledStore::open(place.clone(), settings, None)?;
        let fresh = Place {
            path: place.path.join("compact"),
            ballast_bytes: 0,
            ..place.clone()
        };
        let told = copy_into(&store, &fresh, settings).await;
        store.close().await?;
        SledStore::replace(place, &fresh, settings, told?).await
    }

    /// Lets the fresh store take the place of the one at `place`, which is closed and has `told` that much.
    async fn replace(
        place: &Place,
        fresh: &Place,
        settings: Settings,
        told: Sum,
    ) -> Result<Sizes, StoreError> {
        let refuse = |what: &str, error: io::Error| {
            StoreError::Refused(format!(
                "store.path {}: {what}: {error}",
                place.path.display()
            ))
        };
        let mark = |path: &Path| {
            let came = Came::read(&path.join("mark"));
            came.map_err(|error| refuse("the mark cannot be read", error))
        };
        let came = mark(&place.path)?;
        go_on_behind(came, fresh, settings).await?;
        let found = sum_of(fresh, settings).await?;
        let folder = Folder::open(&place.path)?;
        if mark(&place.path)? != came {
            return Err(StoreError::Refused(format!(
                "store.path {}: somebody has used the store meanwhile; nothing was changed",
                place.path.display()
            )));
        }
        if told != found {
            return Err(StoreError::Failed(format!(
                "what the fresh store holds is not what the old one told ({} entries, {}): nothing was changed",
                found.entries, told.entries
            )));
        }
        let before = folder.data_bytes();
        exchange(&folder)
            .map_err(|error| refuse("the fresh store cannot take its place", error))?;
        let after = folder.data_bytes();
        folder
            .remove_leftovers()
            .map_err(|error| refuse("the old database cannot be removed", error))?;
        Ok(Sizes {
            before: before.unwrap_or_default(),
            after: after.unwrap_or_default(),
        })
    }
}

/// Tells `store` into a fresh one.
async fn copy_into(
    store: &SledStore,
    fresh: &Place,
    settings: Settings,
) -> Result<Sum, StoreError> {
    let mut entries = store.copy().await?;
    let origin = Origin {
        secret: entries.secret(),
        salvaged: false,
    };
    let (to, more) = std::sync::mpsc::sync_channel(4);
    let fresh = fresh.clone();
    let import = tokio::task::spawn_blocking(move || {
        let told = more.into_iter().flat_map(|told: Vec<_>| told);
        SledStore::import(&fresh, settings, origin, told)
    });
    let mut sum = Sum::default();
    while let Some(told) = entries.next().await {
        let told = told?;
        for entry in &told {
            sum.add(entry)?;
        }
        let told = told.into_iter().map(Ok).collect();
        // Who takes no more has failed, and says why.
        if tokio::task::block_in_place(|| to.send(told)).is_err() {
            break;
        }
    }
    drop(to);
    let imported = import.await;
    imported.map_err(|error| StoreError::Failed(error.to_string()))??;
    Ok(sum)
}

/// Gives the next commit of the store at `place` a number behind `came`: settling goes on in the old store after it was told.
async fn go_on_behind(came: Came, place: &Place, settings: Settings) -> Result<(), StoreError> {
    let place = place.clone();
    let raised = tokio::task::spawn_blocking(move || {
        let mut base = Base::open(&place, settings, None)?;
        if let Came::To(came) = came {
            base.head.commit = base.head.commit.max(came);
        }
        let nothing = Draft {
            used: true,
            ..Draft::default()
        };
        base.apply(nothing, true)?;
        base.mark
            .sync()
            .map_err(|error| StoreError::Failed(format!("syncing the mark: {error}")))
    });
    let raised = raised.await;
    raised.map_err(|error| StoreError::Failed(error.to_string()))?
}

/// What the store at `place` tells.
async fn sum_of(place: &Place, settings: Settings) -> Result<Sum, StoreError> {
    let store = SledStore::open(place.clone(), settings, None)?;
    let mut entries = store.copy().await?;
    let mut sum = Sum::default();
    while let Some(told) = entries.next().await {
        for entry in told? {
            sum.add(&entry)?;
        }
    }
    store.close().await?;
    Ok(sum)
}

/// The fresh database and the old one change places, durably.
fn exchange(folder: &Folder) -> io::Result<()> {
    let fresh = folder.fresh().join("sled");
    // What was written with the import is durable; the folders' own entries are made so here.
    File::open(&fresh)?.sync_all()?;
    File::open(folder.fresh())?.sync_all()?;
    renameat_with(CWD, &fresh, CWD, folder.database(), RenameFlags::EXCHANGE)?;
    File::open(folder.fresh())?.sync_all()?;
    File::open(folder.path())?.sync_all()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;
    use crate::store::{Paper, Shelf};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_store_that_went_on_after_it_was_told_is_no_further_than_the_fresh_one() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::small(folder.path(), 64);
        let fresh = Place {
            path: folder.path().join("compact"),
            ..place.clone()
        };
        let settings = Settings::default();
        let store = SledStore::open(place.clone(), settings, None).unwrap();
        let paper = Paper::new("kept", "as it is").unwrap();
        store.put_papers(vec![paper], Vec::new()).await.unwrap();
        let told = copy_into(&store, &fresh, settings).await.unwrap();
        // Commits that change nothing, as putting the index in order does.
        for _ in 0..100 {
            store.put_papers(Vec::new(), Vec::new()).await.unwrap();
        }
        store.close().await.unwrap();
        SledStore::replace(&place, &fresh, settings, told)
            .await
            .unwrap();
        let store = SledStore::open(place, settings, None).unwrap();
        let papers = store.papers(Shelf::of("kept"), 10).await.unwrap();
        assert_eq!(papers.len(), 1);
    }
}
