//! Copies in histories: taken while they go on, and gone on with in a store of either kind.

use std::collections::BTreeMap;

use braze_relay::model::id::EventId;
use braze_relay::store::entry::{Entries, Entry};
use braze_relay::store::map::MapStore;
use braze_relay::store::{Operate, Store};

use super::plans::Way;
use super::{Harness, Pair, SETTINGS};

/// A copy that is being taken.
pub struct Copying {
    entries: Entries,
    told: Vec<Entry>,
}

impl Copying {
    pub async fn begin(store: &impl Operate) -> Copying {
        Copying {
            entries: store.copy().await.unwrap(),
            told: Vec::new(),
        }
    }

    /// Takes a little more of it.
    pub async fn go_on(&mut self) -> bool {
        match self.entries.next().await {
            Some(more) => self.told.extend(more.unwrap()),
            None => return false,
        }
        true
    }

    /// All of it, and the store's secret.
    pub async fn finish(mut self) -> ([u8; 32], Vec<Entry>) {
        while self.go_on().await {}
        (self.entries.secret(), self.told)
    }
}

fn commit(told: &[Entry]) -> Option<u64> {
    told.iter().find_map(|entry| match entry {
        Entry::Account(account) => Some(account.commit),
        _ => None,
    })
}

impl<H: Harness> Pair<H> {
    pub async fn begin_copy(&mut self) {
        self.copying = Some(Copying::begin(&self.house.store()).await);
    }

    /// What the adapter tells now; of a copy that was begun before, if that has not come to its end before.
    async fn told(&mut self) -> ([u8; 32], Vec<Entry>) {
        let store = self.house.store();
        if let Some(copying) = self.copying.take() {
            let floor = store.counts(self.now).await.unwrap().commit;
            let told = copying.finish().await;
            if commit(&told.1).is_some_and(|commit| commit >= floor) {
                return told;
            }
        }
        Copying::begin(&store).await.finish().await
    }

    pub async fn carry(&mut self, way: Way) {
        // Whoever was lent something is not known any more.
        self.restart_map();
        // A token is of one store: what it would mean in another one nobody asks.
        self.spent.clear();
        match way {
            Way::AdapterToAdapter => {
                let (secret, told) = self.told().await;
                self.house = H::import(SETTINGS, secret, told).await.unwrap();
            }
            Way::AdapterToMap => {
                let (secret, told) = self.told().await;
                let told = told.into_iter().map(Ok);
                self.map = MapStore::import(SETTINGS, secret, told).unwrap();
                self.house.crash_and_reopen().await;
                self.ids = same(self.ids.keys());
                self.back = self.ids.clone();
            }
            Way::MapToAdapter => {
                self.copying = None;
                let (secret, told) = Copying::begin(&self.map).await.finish().await;
                self.house = H::import(SETTINGS, secret, told).await.unwrap();
                self.back = same(self.back.keys());
                self.ids = self.back.clone();
            }
        }
    }
}

/// Each stands for itself.
fn same<'a>(ids: impl Iterator<Item = &'a EventId>) -> BTreeMap<EventId, EventId> {
    ids.map(|id| (*id, *id)).collect()
}
