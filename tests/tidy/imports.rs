//! Who may name whom: layers, purity, clock reads, and the packages in their places.

use super::source::Source;

/// Who may import whom: only from a higher number to a lower one. Equal numbers never meet.
const LAYERS: [(&str, u8); 15] = [
    ("model", 0),
    ("clock", 1),
    ("flow", 1),
    ("engine::gate", 2),
    ("telemetry", 3),
    ("config", 3),
    ("store", 4),
    ("client", 4),
    ("engine", 5),
    ("ingest", 6),
    ("ops", 6),
    ("sandbox", 7),
    ("app", 8),
    ("cli", 9),
    ("main", 10),
];

/// Adapters, and ours that name them; everybody else speaks to the port.
const ADAPTERS: [(&str, &str); 4] = [
    ("store::sled", "store"),
    ("client::Outside", "client"),
    ("client::braze", "client"),
    ("client::quikly", "client"),
];

/// What reads a clock of the machine.
const CLOCK_READS: [&str; 9] = [
    "Instant::now",
    "SystemTime::now",
    "UNIX_EPOCH.elapsed",
    "jiff::Timestamp::now",
    "Zoned::now",
    "Utc::now",
    "Local::now",
    "OffsetDateTime::now_utc",
    "Uuid::now_v7",
];

/// What no pure code may name. `clock` is excused from those of time.
const IMPURE_PATHS: [&str; 22] = [
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
    "std::env",
    "std::time::SystemTime",
    "std::time::Instant",
    "tokio",
    "rand",
    "getrandom",
    "reqwest",
    "hyper",
    "hyper_util",
    "axum",
    "sled",
    "governor",
    "rustix",
    "tracing",
    "tracing_subscriber",
    "prometheus",
    "uuid::Uuid::new_v4",
];
const IMPURE_WORDS: [&str; 6] = [
    "async",
    "await",
    "println!",
    "eprintln!",
    "print!",
    "eprint!",
];

/// Where each of the given packages lives. It is missing from its place or appears elsewhere: both are complaints.
const PACKAGES: [(&str, &str); 13] = [
    ("hyper", "src/ingest/"),
    ("hyper_util", "src/ingest/"),
    ("sled", "src/store/sled/"),
    ("bincode", "src/store/codec.rs"),
    ("reqwest", "src/client/http.rs"),
    ("governor", "src/engine/lane.rs"),
    ("backoff", "src/ingest/mod.rs"),
    ("opentelemetry_proto", "src/telemetry/otlp.rs"),
    ("prost", "src/telemetry/otlp.rs"),
    ("tracing_subscriber", "src/telemetry/"),
    ("tracing", "src/"),
    ("tokio", "src/"),
    ("serde", "src/"),
];

/// The exception: what is stored derives these two, in the folders whose types are stored.
const DERIVES: [&str; 2] = ["bincode::Encode", "bincode::Decode"];
const STORED_TYPES: [&str; 3] = ["src/model/", "src/flow/", "src/store/"];

fn begins(path: &str, with: &str) -> bool {
    path.strip_prefix(with)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The layer of a path from the crate's root.
fn layer(segments: &[String]) -> Option<(&'static str, u8)> {
    let path = segments.join("::");
    LAYERS.into_iter().find(|(name, _)| begins(&path, name))
}

/// Imports go downwards only.
pub fn layers(files: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in super::ours(files) {
        let module = file.module();
        let Some((from, rank)) = (if module.is_empty() {
            Some(("main", 10))
        } else {
            layer(&module)
        }) else {
            complaints.push(format!(
                "{}:1: no layer has this file: give it one in tests/tidy.rs",
                file.path
            ));
            continue;
        };
        for found in file.paths() {
            let Some(path) = file.resolve(&found) else {
                continue;
            };
            let at = file.at(found.offset);
            let Some((to, below)) = layer(&path) else {
                complaints.push(format!("{at}`crate::{}` is in no layer", path.join("::")));
                continue;
            };
            let path = path.join("::");
            if to != from && below >= rank {
                complaints.push(format!(
                    "{at}`{from}` imports `crate::{path}`: imports go downwards only"
                ));
            }
            if from == "sandbox" && to != from && to != "clock" && !begins(&path, "model::time") {
                complaints.push(format!("{at}the sandbox imports `crate::{path}`: it may know clock and model::time only, so that it cannot share the client's mistakes"));
            }
            if to == "sandbox" && from != to && from != "cli" {
                complaints.push(format!("{at}`{from}` imports the sandbox: only cli may"));
            }
            let test = file.is_test(found.offset);
            for (adapter, home) in ADAPTERS {
                if begins(&path, adapter) && from != home && from != "app" && !test {
                    complaints.push(format!("{at}`{from}` names the adapter `{adapter}`: only app may, others speak to the port"));
                }
            }
        }
    }
    complaints
}

/// Pure code reads no clock, waits for nothing and touches nothing outside. Held to it: model, flow, the gate, and
/// every file that says so of itself.
pub fn purity(files: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in super::ours(files) {
        let says_so = file
            .raw
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .any(|line| line.contains("Invariants: pure"));
        let pure = ["src/model/", "src/flow/", "src/engine/gate.rs"]
            .iter()
            .any(|it| file.path.starts_with(it));
        let clock = file.path == "src/clock.rs";
        if !(pure || says_so || clock) {
            continue;
        }
        for found in file.paths() {
            let path = found.segments.join("::");
            let of_time = ["tokio::time", "std::time", "rustix::time"];
            let excused = clock && of_time.iter().any(|it| begins(&path, it));
            if !file.is_test(found.offset)
                && !excused
                && IMPURE_PATHS.iter().any(|it| begins(&path, it))
            {
                complaints.push(format!("{}pure code names `{path}`", file.at(found.offset)));
            }
        }
        for word in IMPURE_WORDS.into_iter().filter(|_| !clock) {
            for offset in file.words(word) {
                if !file.is_test(offset) {
                    complaints.push(format!("{}pure code says `{word}`", file.at(offset)));
                }
            }
        }
    }
    complaints
}

/// One file reads the clock of the machine.
pub fn clock_reads(files: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in super::ours(files).filter(|file| file.path != "src/clock.rs") {
        for read in CLOCK_READS {
            for offset in file.words(read) {
                complaints.push(format!("{}`{read}`: only src/clock.rs reads the clock; take a Clock, a Stopwatch, or `now` as an argument", file.at(offset)));
            }
        }
        for found in file
            .paths()
            .iter()
            .filter(|found| found.segments.first().is_some_and(|it| it == "chrono"))
        {
            complaints.push(format!(
                "{}chrono: moments are model::time",
                file.at(found.offset)
            ));
        }
    }
    complaints
}

/// Each of the given packages is where it belongs and nowhere else.
pub fn packages(files: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (package, home) in PACKAGES {
        let mut at_home = false;
        for file in super::ours(files) {
            for found in file.paths() {
                if found.segments.first().is_none_or(|first| first != package) {
                    continue;
                }
                let path = found.segments.join("::");
                let derive = DERIVES.contains(&path.as_str())
                    && STORED_TYPES.iter().any(|it| file.path.starts_with(it));
                if file.path.starts_with(home) {
                    at_home |= !file.is_test(found.offset) && (!derive || !home.ends_with('/'));
                } else if !derive {
                    complaints.push(format!(
                        "{}`{path}`: {package} lives in {home} and nowhere else",
                        file.at(found.offset)
                    ));
                }
            }
        }
        if !at_home {
            complaints.push(format!("{home}: {package} lives here, and is missing"));
        }
    }
    complaints
}
