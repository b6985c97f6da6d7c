//! Watching the writer: one that does not move for a minute is given up, and with it the process, which then starts anew.
//!
//! sled 0.34.7 can come to a standstill without an error, which `base` makes rare: whoever lets its file grow waits, with
//! the lock on its segments, for the file to be cut first, and all threads that might cut it wait for that lock. A disk
//! that hangs looks the same. Nothing is lost by ending then: nothing was acknowledged.
//!
//! Invariants: only time in which this process ran counts (it may be stopped, or the machine asleep); the writer moves at
//! least twice a second, with or without work.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Shared;

/// How often it is looked at.
const TICK: Duration = Duration::from_secs(1);

/// So many looks without a move are too many.
const TICKS_MAX: u32 = 60;

/// The name of its thread.
const NAME: &str = "store watch";

/// Watches the writer of `shared` on a thread of its own, until that has ended.
pub fn begin(shared: &Arc<Shared>) -> std::io::Result<()> {
    let shared = shared.clone();
    let watch = move || watch(&shared, TICK);
    std::thread::Builder::new()
        .name(NAME.into())
        .spawn(watch)
        .map(|_| ())
}

fn watch(shared: &Shared, tick: Duration) {
    let mut patience = Patience::default();
    while !*shared.ended.borrow() {
        std::thread::sleep(tick);
        if patience.is_over(shared.beats.load(Ordering::Relaxed)) {
            shared.fail(
                "the database has not moved for a minute: the disk hangs, or sled does. Start the relay again; \
                 if that happens again, look at the disk",
            );
            return;
        }
    }
}

/// How long the writer has stood still.
#[derive(Default)]
struct Patience {
    seen: u64,
    ticks: u32,
}

impl Patience {
    /// One look further; whether that was the last.
    fn is_over(&mut self, beats: u64) -> bool {
        self.ticks = if beats == self.seen {
            self.ticks + 1
        } else {
            0
        };
        self.seen = beats;
        self.ticks >= TICKS_MAX
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::super::{Place, SledStore};
    use super::*;
    use crate::store::Settings;

    #[test]
    fn who_moves_once_a_minute_is_waited_for_and_who_does_not_is_given_up() {
        let mut patience = Patience::default();
        for beats in 1..100 {
            for tick in 0..TICKS_MAX {
                assert!(!patience.is_over(beats), "{beats} {tick}");
            }
        }
        assert!(patience.is_over(99));
    }

    #[test]
    fn a_writer_that_never_moves_is_a_failure_that_says_so() {
        let shared = Shared::default();
        watch(&shared, Duration::ZERO);
        let why = shared.failure().unwrap().to_string();
        assert!(why.contains("has not moved for a minute"), "{why}");
    }

    #[test]
    fn nobody_is_watched_beyond_the_end() {
        let shared = Shared::default();
        shared.ended.send_replace(true);
        watch(&shared, Duration::ZERO);
        assert!(shared.failure().is_none());
    }

    /// Each round of the writer is a beat, and every store has somebody who watches.
    #[tokio::test]
    async fn the_writer_of_every_store_beats_and_is_watched() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::small(folder.path(), 5);
        let store = SledStore::open(place, Settings::default(), None).unwrap();
        let before = store.shared.beats.load(Ordering::Relaxed);
        store.make_a_round().await;
        store.make_a_round().await;
        assert!(store.shared.beats.load(Ordering::Relaxed) > before);
        // The watcher, this test, the writer and the handle.
        assert!(Arc::strong_count(&store.shared) >= 3);
        store.close().await.unwrap();
    }

    impl SledStore {
        async fn make_a_round(&self) {
            use crate::store::Store as _;
            self.counts(crate::model::time::Timestamp::ZERO)
                .await
                .unwrap();
        }
    }
}
