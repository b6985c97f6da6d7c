//! What `deploy/` ships fits what the relay is, and the tools that will read it take it.
//!
//! Invariants: tools read the shipped files, or copies in which only a path that exists elsewhere is exchanged. What needs
//! a tool says so where it is missing. Deliberately absent: images and clusters, which nothing here can build or run.

mod packaged;
mod watched;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::scene::Scene;
use crate::support::{BINARY, require};

/// A file of the repository.
fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Its text.
fn text(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Runs a tool; what it said, on both outputs.
fn said(command: &mut Command) -> (bool, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let said = [stdout, stderr].concat();
    (
        status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

/// Runs it, and it must be content.
fn content(command: &mut Command) -> String {
    let (good, said) = said(command);
    assert!(good, "{command:?}\n{said}");
    said
}

/// What stands between `before` and the next `after`, each time.
fn between<'a>(text: &'a str, before: &'a str, after: &'a str) -> impl Iterator<Item = &'a str> {
    let rest = text.split(before).skip(1);
    rest.filter_map(move |rest| Some(rest.split_once(after)?.0))
}

/// Text with its folder, as long as this lives.
fn written(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    std::fs::write(&file, text).unwrap();
    (folder, file)
}
