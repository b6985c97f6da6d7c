//! The mark file: how far the store had come, so that a store that lost its tail is noticed.
//!
//! sled truncates its log silently at the first bit that does not check. Commits therefore carry a gap-free number, and
//! this file remembers the last one that was durable. Two slots, each with its own checksum, are written alternately
//! and always after the store's own sync, so that the mark is never ahead of the store and a torn write costs one
//! slot. It is itself synced at least once a second and at a clean stop: after a power cut, damage within the last
//! second cannot be told from a torn tail.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

const SLOT_BYTES: usize = 64;
const MAGIC: &[u8; 8] = b"relaymk1";

/// The open mark file.
#[derive(Debug)]
pub struct Mark {
    file: File,
    slot: u64,
    synced: u64,
    commit: u64,
}

impl Mark {
    /// Opens or creates it, and says how far the store had come; `None` when it is new or unreadable.
    pub fn open(path: &Path) -> io::Result<(Mark, Option<u64>)> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let slots = [read(&file, 0)?, read(&file, 1)?];
        let best = slots.iter().flatten().copied().max();
        // The next write goes over the older slot.
        let slot = u64::from(slots[0].is_some() && slots[0] == best);
        let commit = best.unwrap_or(0);
        Ok((
            Mark {
                file,
                slot,
                synced: commit,
                commit,
            },
            best,
        ))
    }

    /// Remembers `commit`, which is durable in the store. Not synced.
    pub fn set(&mut self, commit: u64) -> io::Result<()> {
        let mut slot = [0; SLOT_BYTES];
        slot[..8].copy_from_slice(MAGIC);
        slot[8..16].copy_from_slice(&commit.to_le_bytes());
        let sum = blake3::hash(&slot[..16]);
        slot[32..].copy_from_slice(sum.as_bytes());
        self.file
            .write_all_at(&slot, self.slot * SLOT_BYTES as u64)?;
        self.slot = 1 - self.slot;
        self.commit = commit;
        Ok(())
    }

    /// Makes it durable, if it moved since the last time.
    pub fn sync(&mut self) -> io::Result<()> {
        if self.synced != self.commit {
            self.file.sync_data()?;
            self.synced = self.commit;
        }
        Ok(())
    }
}

fn read(file: &File, slot: u64) -> io::Result<Option<u64>> {
    let mut bytes = [0; SLOT_BYTES];
    match file.read_exact_at(&mut bytes, slot * SLOT_BYTES as u64) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let sound = bytes[..8] == MAGIC[..] && bytes[32..] == blake3::hash(&bytes[..16]).as_bytes()[..];
    let number = bytes[8..16]
        .try_into()
        .map(u64::from_le_bytes)
        .unwrap_or_default();
    Ok(sound.then_some(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::unwrap_used, reason = "tests may")]
    fn a_torn_slot_costs_one_step_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mark");
        let (mut mark, before) = Mark::open(&path).unwrap();
        assert_eq!(before, None);
        for commit in 1..=5 {
            mark.set(commit).unwrap();
        }
        mark.sync().unwrap();
        assert_eq!(Mark::open(&path).unwrap().1, Some(5));
        // 5 went to the first slot: tear it.
        mark.file.write_all_at(b"torn", 10).unwrap();
        let (mut mark, best) = Mark::open(&path).unwrap();
        assert_eq!(best, Some(4));
        mark.set(6).unwrap();
        assert_eq!(Mark::open(&path).unwrap().1, Some(6));
    }
}
