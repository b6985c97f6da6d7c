//! The mark file: how far the store had come, so that a store that lost its tail is noticed.
//!
//! sled truncates its log silently at the first bit that does not check. Commits therefore carry a gap-free number, and
//! this file remembers the last one that was durable. Two slots, each with its own checksum, are written alternately
//! and always after the store's own sync, so that the mark is never ahead of the store and a torn write costs one
//! slot. It is itself synced at least once a second and at a clean stop: after a power cut, damage within the last
//! second cannot be told from a torn tail. Of a mark that was just made a power cut may leave nothing, or zeros; whatever
//! else cannot be read was damaged, and says nothing about the store.

use std::fs::{self, File, OpenOptions};
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

/// How far a store had come, by its mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// There is no mark, or nothing was written there yet.
    Unsaid,
    /// This commit was durable.
    To(u64),
    /// There is something else.
    Unreadable,
}

impl Came {
    /// What the mark says.
    pub fn read(path: &Path) -> io::Result<Came> {
        Ok(slots(path)?.1)
    }
}

impl Mark {
    /// Opens or creates it, and says how far the store had come. One that is unreadable is not to be written to.
    pub fn open(path: &Path) -> io::Result<(Mark, Came)> {
        let (slots, came) = slots(path)?;
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let best = slots.into_iter().flatten().max();
        // The next write goes over the older slot.
        let slot = u64::from(slots[0].is_some() && slots[0] == best);
        let commit = best.unwrap_or(0);
        let mark = Mark {
            file,
            slot,
            synced: commit,
            commit,
        };
        Ok((mark, came))
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

/// What stands in the two slots, and what that says.
fn slots(path: &Path) -> io::Result<([Option<u64>; 2], Came)> {
    let mut bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        bytes => bytes?,
    };
    let is_blank = bytes.iter().all(|byte| *byte == 0);
    bytes.resize(2 * SLOT_BYTES, 0);
    let (first, second) = bytes.split_at(SLOT_BYTES);
    let slots = [slot(first), slot(second)];
    let came = match slots.into_iter().flatten().max() {
        Some(commit) => Came::To(commit),
        None if is_blank => Came::Unsaid,
        None => Came::Unreadable,
    };
    Ok((slots, came))
}

fn slot(bytes: &[u8]) -> Option<u64> {
    let sound = bytes[..8] == MAGIC[..] && bytes[32..] == blake3::hash(&bytes[..16]).as_bytes()[..];
    let number = bytes[8..16]
        .try_into()
        .map(u64::from_le_bytes)
        .unwrap_or_default();
    sound.then_some(number)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;

    #[test]
    fn a_torn_slot_costs_one_step_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mark");
        let (mut mark, before) = Mark::open(&path).unwrap();
        assert_eq!(before, Came::Unsaid);
        for commit in 1..=5 {
            mark.set(commit).unwrap();
        }
        mark.sync().unwrap();
        assert_eq!(Came::read(&path).unwrap(), Came::To(5));
        // 5 went to the first slot: tear it.
        mark.file.write_all_at(b"torn", 10).unwrap();
        let (mut mark, best) = Mark::open(&path).unwrap();
        assert_eq!(best, Came::To(4));
        mark.set(6).unwrap();
        assert_eq!(Came::read(&path).unwrap(), Came::To(6));
    }

    #[test]
    fn what_a_power_cut_leaves_of_a_new_mark_says_nothing_and_anything_else_is_damage() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mark");
        let reads = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            Came::read(&path).unwrap()
        };
        for length in [0, SLOT_BYTES, 2 * SLOT_BYTES] {
            assert_eq!(reads(&vec![0; length]), Came::Unsaid);
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(Came::read(&path).unwrap(), Came::Unsaid);
        assert!(!path.exists(), "reading made one");
        let (mut mark, _) = Mark::open(&path).unwrap();
        mark.set(7).unwrap();
        let first = fs::read(&path).unwrap();
        let reads = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            Came::read(&path).unwrap()
        };
        assert_eq!(reads(&first), Came::To(7));
        assert_eq!(reads(&first[..SLOT_BYTES - 1]), Came::Unreadable);
        for byte in 0..16 {
            let mut flipped = first.clone();
            flipped[byte] ^= 1;
            assert_eq!(reads(&flipped), Came::Unreadable, "byte {byte}");
        }
    }
}
