//! sled under the suite. A process that dies is played by opening a copy of the folder as it is on the disk at that moment.

use std::fs;
use std::path::Path;

use braze_relay::store::entry::Entry;
use braze_relay::store::sled::{Origin, Place, SledStore};
use braze_relay::store::{Settings, Store, StoreError};

use super::Harness;

pub struct SledHarness {
    store: SledStore,
    folder: tempfile::TempDir,
    settings: Settings,
}

fn place(path: &Path) -> Place {
    Place {
        path: path.to_owned(),
        cache_bytes: 1 << 20,
        reserve_bytes: 0,
        ballast_bytes: 0,
        young_max: 5,
    }
}

fn open(path: &Path, settings: Settings) -> SledStore {
    SledStore::open(place(path), settings, None).unwrap()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else if entry.file_name() != "lock" {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

impl Harness for SledHarness {
    type S = SledStore;
    const HISTORIES: u32 = 60;

    async fn open(settings: Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        SledHarness {
            store: open(folder.path(), settings),
            folder,
            settings,
        }
    }

    async fn import(
        settings: Settings,
        secret: [u8; 32],
        entries: Vec<Entry>,
    ) -> Result<Self, StoreError> {
        let folder = tempfile::tempdir().unwrap();
        let origin = Origin {
            secret,
            salvaged: false,
        };
        let entries = entries.into_iter().map(Ok);
        SledStore::import(&place(folder.path()), settings, origin, entries)?;
        Ok(SledHarness {
            store: open(folder.path(), settings),
            folder,
            settings,
        })
    }

    fn store(&self) -> SledStore {
        self.store.clone()
    }

    async fn crash_and_reopen(&mut self) {
        let image = tempfile::tempdir().unwrap();
        copy(self.folder.path(), image.path());
        self.store.close().await.unwrap();
        self.store = open(image.path(), self.settings);
        self.folder = image;
    }

    async fn close_and_reopen(&mut self) {
        self.store.close().await.unwrap();
        assert!(self.store.admits().is_ok());
        self.store = open(self.folder.path(), self.settings);
    }
}
