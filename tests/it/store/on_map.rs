//! The plain map under its own suite: what it promises as an oracle, it must hold itself.

use braze_relay::store::entry::Entry;
use braze_relay::store::map::MapStore;
use braze_relay::store::{Settings, StoreError};

use super::Harness;

pub struct MapHarness(MapStore);

impl Harness for MapHarness {
    type S = MapStore;
    const HISTORIES: u32 = 3_000;

    async fn open(settings: Settings) -> Self {
        MapHarness(MapStore::new(settings))
    }

    async fn import(
        settings: Settings,
        secret: [u8; 32],
        entries: Vec<Entry>,
    ) -> Result<Self, StoreError> {
        let store = MapStore::import(settings, secret, entries.into_iter().map(Ok));
        store.map(MapHarness)
    }

    fn store(&self) -> MapStore {
        self.0.clone()
    }

    async fn crash_and_reopen(&mut self) {
        self.0 = self.0.crash();
    }

    async fn close_and_reopen(&mut self) {
        self.0 = self.0.crash();
    }
}
