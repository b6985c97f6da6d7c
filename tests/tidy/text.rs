//! What no file may hold, and how long it may be.

use super::source::{Source, attribute};

/// What ends the process instead of being answered; in tests it is welcome.
const PANICS: [&str; 9] = [
    ".unwrap()",
    ".unwrap_err()",
    ".expect(",
    ".expect_err(",
    "panic!",
    "todo!",
    "unimplemented!",
    "unreachable!",
    "dbg!",
];

/// The longest file: in lines outside its tests, and with them.
const OWN_LINES_MAX: usize = 400;
const ALL_LINES_MAX: usize = 800;
pub const LONG_FILES_MAX: usize = 5;

/// Files that are longer, each with how long and why.
pub const LONG_FILES: [(&str, usize, &str); 3] = [
    (
        "src/store/entry.rs",
        440,
        "every kind of entry, and its documentation",
    ),
    (
        "src/store/map/carry.rs",
        460,
        "every kind of entry told and taken by the map",
    ),
    (
        "src/store/sled/told.rs",
        480,
        "every place of the layout told",
    ),
];

/// What stands at the top of the repository.
const TOP: [&str; 11] = [
    ".ci",
    ".git",
    ".gitignore",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "benches",
    "deploy",
    "src",
];

/// Nothing outside tests ends the process by a panic of ours.
pub fn panics(files: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in super::ours(files) {
        for panic in PANICS {
            for offset in file.words(panic) {
                if !file.is_test(offset) {
                    complaints.push(format!(
                        "{}`{panic}` outside tests: answer with an error",
                        file.at(offset)
                    ));
                }
            }
        }
    }
    complaints
}

/// A lint is never silenced without a reason, nor for longer than it is needed.
pub fn silenced_lints(files: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files {
        for mark in ["#[allow(", "#![allow("] {
            for (offset, _) in file.code.match_indices(mark) {
                complaints.push(format!(
                    "{}`{mark}`: say `expect`, with a reason",
                    file.at(offset)
                ));
            }
        }
        for mark in ["#[expect(", "#![expect("] {
            for (offset, _) in file.code.match_indices(mark) {
                if !attribute(&file.code, offset).contains("reason =") {
                    complaints.push(format!("{}`{mark}…)` without a reason", file.at(offset)));
                }
            }
        }
    }
    complaints
}

/// A test waits for what happens, never for a time; and none is left out without a word.
pub fn sleeping_tests(files: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files {
        for sleep in ["thread::sleep", "time::sleep"] {
            for found in file.paths() {
                if file.is_test(found.offset) && found.segments.join("::").ends_with(sleep) {
                    complaints.push(format!(
                        "{}`{sleep}` in a test: wait for what happens, or move a paused clock",
                        file.at(found.offset)
                    ));
                }
            }
        }
        for (offset, _) in file.code.match_indices("#[ignore]") {
            complaints.push(format!("{}`#[ignore]` without a reason", file.at(offset)));
        }
    }
    complaints
}

/// A file says first what it is for.
pub fn headers(files: &[Source]) -> Vec<String> {
    let headless = files.iter().filter(|file| !file.raw.starts_with("//! "));
    headless
        .map(|file| {
            format!(
                "{}:1: a file begins with `//!` and one sentence of purpose",
                file.path
            )
        })
        .collect()
}

/// Files stay short enough to be read at once.
pub fn lengths(files: &[Source]) -> Vec<String> {
    lengths_but(files, &LONG_FILES)
}

/// The same, with these exceptions.
pub fn lengths_but(files: &[Source], exceptions: &[(&str, usize, &str)]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in super::ours(files) {
        let (own, all) = (file.own_lines(), file.raw.lines().count());
        let long = exceptions.iter().find(|(path, _, _)| *path == file.path);
        let own_max = long.map_or(OWN_LINES_MAX, |(_, lines, _)| *lines);
        if own > own_max || all > ALL_LINES_MAX {
            complaints.push(format!("{}:{all}: {own} lines of its own and {all} with its tests; at most {own_max} and {ALL_LINES_MAX}: split it, or give the reason in tests/tidy.rs", file.path));
        }
        if long.is_some() && own <= OWN_LINES_MAX {
            complaints.push(format!(
                "{}:{all}: {own} lines are no exception any more: take it out of LONG_FILES",
                file.path
            ));
        }
    }
    complaints
}

/// The repository speaks of itself only: no machine's paths, nobody's working arrangements.
pub fn outside_words(texts: &[(String, String)]) -> Vec<String> {
    let needles = [
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/wo", "rk/"),
        concat!("..", "/shared"),
        concat!("work", "tree"),
        concat!("sub", "agent"),
        concat!("cla", "ude"),
        concat!("anthr", "opic"),
        concat!("chat", "gpt"),
        concat!("language ", "model"),
        concat!("design ", "section"),
        concat!("braze", "-facts"),
        concat!("issues ", "show"),
    ];
    let mut complaints = Vec::new();
    for (path, text) in texts {
        for (number, line) in text.lines().enumerate() {
            let line = line.to_lowercase();
            for needle in needles
                .iter()
                .filter(|needle| line.contains(&needle.to_lowercase()))
            {
                complaints.push(format!(
                    "{path}:{}: `{needle}`: nothing of where it was made belongs here",
                    number + 1
                ));
            }
        }
    }
    complaints
}

/// The top of the repository stays small. `ignored` is what .gitignore names.
pub fn top(entries: &[String], ignored: &str) -> Vec<String> {
    let ignored: Vec<_> = ignored.lines().map(|line| line.trim_matches('/')).collect();
    let known = |entry: &str| entry == "tests" || TOP.contains(&entry) || ignored.contains(&entry);
    let strange = entries.iter().filter(|entry| !known(entry));
    strange.map(|entry| format!("{entry}:1: the top level stays small: tool settings live in Cargo.toml or deploy/ci")).collect()
}
