//! The rules of the house as tests: layers, purity, clock reads, packages in their places, and what no file may hold.
//!
//! Each rule is a plain function from files to complaints. It is held against the repository, and against small texts
//! that break it, so that a rule which no longer sees anything fails too. Known gap: what a macro expands to is not seen.

#![expect(clippy::panic, reason = "tests may")]

#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/planted.rs"]
mod planted;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/text.rs"]
mod text;

use std::fs;
use std::path::Path;

use imports::{clock_reads, layers, packages, purity};
use source::Source;
use text::{
    LONG_FILES, LONG_FILES_MAX, headers, lengths, outside_words, panics, silenced_lints,
    sleeping_tests, top,
};

fn read(folder: &Path, out: &mut Vec<(String, String)>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut entries: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            read(&path, out);
        } else if let (Ok(name), Ok(text)) = (path.strip_prefix(root), fs::read_to_string(&path)) {
            out.push((name.to_string_lossy().replace('\\', "/"), text));
        }
    }
}

/// Every text that ships: path and content.
fn texts() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut out = Vec::new();
    for folder in ["src", "tests", "benches", "deploy", ".ci"] {
        read(&root.join(folder), &mut out);
    }
    for file in ["Cargo.toml", "README.md", "CHANGELOG.md", ".gitignore"] {
        if let Ok(text) = fs::read_to_string(root.join(file)) {
            out.push((file.to_owned(), text));
        }
    }
    out
}

fn sources() -> Vec<Source> {
    texts()
        .iter()
        .filter(|(path, _)| Path::new(path).extension().is_some_and(|it| it == "rs"))
        .map(|(path, text)| Source::new(path, text))
        .collect()
}

fn none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// The files of the crate itself.
fn ours(files: &[Source]) -> impl Iterator<Item = &Source> {
    files.iter().filter(|file| file.path.starts_with("src/"))
}

#[test]
fn imports_go_downwards_only() {
    none(&layers(&sources()));
}

#[test]
fn pure_code_is_pure() {
    none(&purity(&sources()));
}

#[test]
fn one_file_reads_the_clock() {
    none(&clock_reads(&sources()));
}

#[test]
fn every_package_is_in_its_place_and_nowhere_else() {
    none(&packages(&sources()));
}

#[test]
fn nothing_panics_outside_tests() {
    none(&panics(&sources()));
}

#[test]
fn no_lint_is_silenced_without_a_reason() {
    none(&silenced_lints(&sources()));
}

#[test]
fn no_test_sleeps_or_is_left_out() {
    none(&sleeping_tests(&sources()));
}

#[test]
fn every_file_says_what_it_is_for() {
    none(&headers(&sources()));
}

#[test]
fn files_can_be_read_at_once() {
    none(&lengths(&sources()));
    assert!(
        LONG_FILES.len() <= LONG_FILES_MAX,
        "long files are exceptions, not a habit"
    );
    for (path, _, _) in LONG_FILES {
        assert!(
            sources().iter().any(|file| file.path == path),
            "{path} is gone: take it out of LONG_FILES"
        );
    }
}

#[test]
fn the_repository_speaks_of_itself_only() {
    none(&outside_words(&texts()));
}

#[test]
fn the_top_level_stays_small() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let entries: Vec<_> = fs::read_dir(root)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    let ignored = fs::read_to_string(root.join(".gitignore")).unwrap_or_default();
    none(&top(&entries, &ignored));
}
