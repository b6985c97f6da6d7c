//! What ours is measured against: the plainest durable group commit on sled, one key per event.
//!
//! One thread gathers what waits into a batch, applies it, flushes, calls fdatasync on a descriptor of its own and then
//! answers; that much every durable use of sled must do. sled is opened as the relay opens it (cache, flusher), so that
//! the difference is what the relay adds. Deliberately absent: everything else.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use anyhow::{Context as _, Result};
use tokio::sync::oneshot;

/// As many requests as the relay gathers into one batch.
const GATHER_MAX: usize = 4096;
/// As the relay's configuration has it.
pub const CACHE_BYTES: u64 = 64 * 1024 * 1024;

struct Ask {
    entries: Vec<Entry>,
    reply: oneshot::Sender<()>,
}

/// A key, and the value it gets; `None`: it is removed.
pub type Entry = (u64, Option<Vec<u8>>);

/// The database and its committer. Clones share it.
#[derive(Clone)]
pub struct Plain {
    asks: Sender<Ask>,
    next: Arc<AtomicU64>,
}

impl Plain {
    /// Makes one in this folder.
    pub fn open(path: &Path) -> Result<Plain> {
        let db = sled::Config::new()
            .path(path)
            .mode(sled::Mode::HighThroughput)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(Some(10))
            .open()?;
        let file = OpenOptions::new().write(true).open(path.join("db"))?;
        let (asks, inbox) = channel();
        std::thread::Builder::new()
            .name("store".into())
            .spawn(move || {
                if let Err(error) = commit(&db, &file, &inbox) {
                    eprintln!("the plain store has failed: {error:#}");
                }
            })?;
        let next = Arc::default();
        Ok(Plain { asks, next })
    }

    /// A key that nobody else gets; keys grow.
    pub fn key(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Writes all of these; answers once that is durable.
    pub async fn write(&self, entries: Vec<Entry>) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        let sent = self.asks.send(Ask { entries, reply });
        sent.ok().context("the plain store has stopped")?;
        Ok(answer.await?)
    }
}

fn commit(db: &sled::Db, file: &File, inbox: &Receiver<Ask>) -> Result<()> {
    while let Ok(first) = inbox.recv() {
        let mut batch = sled::Batch::default();
        let mut answers = Vec::new();
        for Ask { entries, reply } in
            std::iter::once(first).chain(inbox.try_iter().take(GATHER_MAX - 1))
        {
            answers.push(reply);
            for (key, value) in entries {
                match value {
                    Some(value) => batch.insert(&key.to_be_bytes(), value),
                    None => batch.remove(&key.to_be_bytes()),
                }
            }
        }
        db.apply_batch(batch)?;
        db.flush()?;
        file.sync_data()?;
        for reply in answers {
            let _ = reply.send(());
        }
    }
    Ok(())
}
