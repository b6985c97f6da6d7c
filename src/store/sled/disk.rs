//! The folder of a store: who owns it, how it is made durable, how much room there is.
//!
//! `store.path` holds `sled/` (the database), `mark`, `ballast` and `lock`; for a while `compact/` (a fresh store in the making)
//! or `salvage/` (a copy that is being read). Only the holder of the lock writes there.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::store::StoreError;

/// The folder, locked for this process as long as this lives.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

/// Whether another process has this folder open.
pub fn is_locked(path: &Path) -> bool {
    let lock = File::open(path.join("lock"));
    lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(fs::TryLockError::WouldBlock)))
}

/// Removes a folder with all there is in it, if it is there.
pub fn remove_all(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl Folder {
    /// Makes the folder if it is missing and takes its lock.
    pub fn open(path: &Path) -> Result<Folder, StoreError> {
        let refuse = |what: &str, error: io::Error| {
            StoreError::Refused(format!("store.path {}: {what}: {error}", path.display()))
        };
        fs::create_dir_all(path).map_err(|error| refuse("cannot be made", error))?;
        let lock_path = path.join("lock");
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(|error| refuse("its lock cannot be opened", error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Folder {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(fs::TryLockError::WouldBlock) => Err(StoreError::Refused(format!(
                "store.path {}: another process has it open; stop that one, or give this one a path of its own",
                path.display()
            ))),
            Err(fs::TryLockError::Error(error)) => Err(refuse("cannot be locked", error)),
        }
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where sled lives.
    pub fn database(&self) -> PathBuf {
        self.path.join("sled")
    }

    /// The mark file.
    pub fn mark(&self) -> PathBuf {
        self.path.join("mark")
    }

    /// Where a fresh store is made while this one is compacted.
    pub fn fresh(&self) -> PathBuf {
        self.path.join("compact")
    }

    /// Where a damaged store is read: a copy.
    pub fn salvage(&self) -> PathBuf {
        self.path.join("salvage")
    }

    /// Removes what a compaction or a salvage that did not end has left.
    pub fn remove_leftovers(&self) -> io::Result<()> {
        remove_all(&self.fresh())?;
        remove_all(&self.salvage())
    }

    /// A descriptor of our own on sled's one data file: its fdatasync is what makes a commit durable.
    pub fn data_file(&self) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.database().join("db"))
    }

    /// Syncs everything that a fresh store consists of, and the folders that name it.
    pub fn sync_all(&self) -> io::Result<()> {
        for name in ["db", "conf"] {
            File::open(self.database().join(name))?.sync_all()?;
        }
        for folder in [self.database(), self.path.clone()] {
            File::open(folder)?.sync_all()?;
        }
        match self.path.parent() {
            Some(parent) if parent.as_os_str().is_empty() => File::open(".")?.sync_all(),
            Some(parent) => File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    }

    /// Bytes that this process may still write on the store's file system.
    pub fn free_bytes(&self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// The size of the store's data file, bytes.
    pub fn data_bytes(&self) -> io::Result<u64> {
        Ok(fs::metadata(self.database().join("db"))?.len())
    }

    /// Gives the ballast up, so that a full disk has room to be drained. Says whether there was any.
    pub fn release_ballast(&self) -> io::Result<bool> {
        match fs::remove_file(self.path.join("ballast")) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Puts `bytes` of ballast aside, really allocated, unless they lie there already.
    pub fn lay_ballast(&self, bytes: u64) -> io::Result<()> {
        let path = self.path.join("ballast");
        if fs::metadata(&path).is_ok_and(|there| there.len() == bytes) {
            return Ok(());
        }
        if bytes == 0 {
            return self.release_ballast().map(|_| ());
        }
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)?;
        let laid = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes);
        if let Err(error) = laid {
            drop(file);
            self.release_ballast()?;
            return Err(error.into());
        }
        Ok(())
    }
}
