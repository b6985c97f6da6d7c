//! The folder a demo keeps its things in: store, configuration and log of each scenario's relay.
//!
//! Invariants: begins empty; only what the demo has made is removed.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use super::relay::{CONFIG_FILE, LOG_FILE, STORE_FOLDER};
use super::scenario::Name;

/// The folder everything is in.
pub(super) struct Folder {
    path: PathBuf,
    /// Removes it when dropped.
    temporary: Option<TempDir>,
    /// Given, and was not there before.
    made: bool,
    /// Where scenarios have been played.
    parts: RefCell<Vec<PathBuf>>,
}

impl Folder {
    /// The one that was given, or a temporary one.
    pub(super) fn new(given: Option<&Path>) -> anyhow::Result<Folder> {
        let Some(given) = given else {
            let temporary = tempfile::Builder::new()
                .prefix("braze-relay-demo-")
                .tempdir()?;
            return Ok(Folder {
                path: temporary.path().to_owned(),
                temporary: Some(temporary),
                made: false,
                parts: RefCell::default(),
            });
        };
        let made = !given.exists();
        let told = || format!("--store {}", given.display());
        std::fs::create_dir_all(given).with_context(told)?;
        if std::fs::read_dir(given)
            .with_context(told)?
            .next()
            .is_some()
        {
            bail!(
                "{}: the folder must be empty: the demo begins with an empty store",
                told()
            );
        }
        Ok(Folder {
            path: std::path::absolute(given)?,
            temporary: None,
            made,
            parts: RefCell::default(),
        })
    }

    /// Where a scenario plays: the folder itself, or one in it of this name.
    pub(super) fn part(&self, name: Option<Name>) -> anyhow::Result<PathBuf> {
        let part = name.map_or(self.path.clone(), |name| self.path.join(name.as_str()));
        std::fs::create_dir_all(&part).with_context(|| part.display().to_string())?;
        self.parts.borrow_mut().push(part.clone());
        Ok(part)
    }

    /// Removes what the demo has made, and nothing else.
    pub(super) fn remove(self) -> anyhow::Result<()> {
        if let Some(temporary) = self.temporary {
            return temporary.close().context("the temporary folder");
        }
        for part in self.parts.into_inner() {
            let gone = |removed: std::io::Result<()>| match removed {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
            gone(std::fs::remove_dir_all(part.join(STORE_FOLDER)))?;
            for file in [CONFIG_FILE, LOG_FILE] {
                gone(std::fs::remove_file(part.join(file)))?;
            }
            if part != self.path {
                std::fs::remove_dir(&part)?;
            }
        }
        if self.made {
            std::fs::remove_dir(&self.path)?;
        }
        Ok(())
    }

    /// Leaves everything; says where.
    pub(super) fn leave(&mut self) -> PathBuf {
        if let Some(temporary) = self.temporary.take() {
            // Keeping is all that this does.
            self.path = temporary.keep();
        }
        self.path.clone()
    }
}
