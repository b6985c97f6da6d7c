//! Every rule, held against small texts that break it: a rule that no longer sees anything fails here.

use super::imports::{clock_reads, layers, packages, purity};
use super::source::Source;
use super::text::{
    headers, lengths, lengths_but, outside_words, panics, silenced_lints, sleeping_tests, top,
};

type Rule = fn(&[Source]) -> Vec<String>;

/// The rule complains about `text` in `path` exactly once, in `line`.
#[track_caller]
fn caught(rule: Rule, path: &str, line: usize, text: &str) {
    let complaints = rule(&[Source::new(path, text)]);
    let [complaint] = complaints.as_slice() else {
        panic!(
            "{} complaints about {text:?}: {complaints:#?}",
            complaints.len()
        );
    };
    assert!(
        complaint.starts_with(&format!("{path}:{line}: ")),
        "{complaint}"
    );
}

/// The rule has nothing against `text` in `path`.
#[track_caller]
fn passed(rule: Rule, path: &str, text: &str) {
    assert_eq!(
        rule(&[Source::new(path, text)]),
        Vec::<String>::new(),
        "{text}"
    );
}

#[test]
fn an_import_upwards_is_caught_however_it_is_written() {
    caught(
        layers,
        "src/model/event.rs",
        1,
        "use crate::flow::job::Job;",
    );
    caught(
        layers,
        "src/flow/email.rs",
        2,
        "\nuse crate::{model::Name, store::{Store as T}};",
    );
    caught(
        layers,
        "src/flow/email.rs",
        1,
        "use crate::{model::{Name, event::Event}, clock as now};",
    );
    caught(
        layers,
        "src/store/map.rs",
        1,
        "fn f() -> crate::client::Answers { todo() }",
    );
    caught(layers, "src/client/http.rs", 1, "use crate::store::*;");
    caught(
        layers,
        "src/ingest/http.rs",
        1,
        "pub(crate) use crate::ops::page;",
    );
    caught(layers, "src/ops/page.rs", 1, "use crate::ingest::Ingest;");
    caught(layers, "src/engine/gate.rs", 1, "use super::EngineError;");
    caught(
        layers,
        "src/engine/gate.rs",
        2,
        "mod tests {\n    use super::super::EngineError; use super::Gate;\n}",
    );
    caught(
        layers,
        "src/store/sled/open.rs",
        1,
        "use super::super::super::client::pack;",
    );
    caught(
        layers,
        "src/model/id.rs",
        1,
        "use braze_relay::clock::Clock;",
    );
    caught(layers, "src/app.rs", 1, "use crate::cli::run;");
    caught(layers, "src/engine/mod.rs", 1, "use crate::nowhere::Thing;");
    caught(layers, "src/strange.rs", 1, "fn f() {}");
    // Turbofish and attributes hide nothing.
    caught(
        layers,
        "src/model/id.rs",
        1,
        "fn f() { g::<crate::config::Config>() }",
    );
    caught(
        layers,
        "src/model/id.rs",
        1,
        "#[cfg(test)] mod tests { use crate::config::Config; }",
    );
}

#[test]
fn an_import_downwards_passes_and_so_does_what_only_looks_like_one() {
    passed(
        layers,
        "src/engine/mod.rs",
        "use crate::{clock::Clock, store::{Store, StoreError}};\nuse gate::Gate;",
    );
    passed(
        layers,
        "src/engine/mod.rs",
        "use self::gate::Gate; mod tests { use super::*; use super::gate::Gate; }",
    );
    passed(layers, "src/engine/gate.rs", "use crate::flow::retry;");
    passed(
        layers,
        "src/model/id.rs",
        "// use crate::flow::job;\n/// [`crate::store`]\nconst A: &str = \"crate::store::x\"; const B: char = '\"';",
    );
    passed(
        layers,
        "src/model/id.rs",
        "const A: &str = r#\"\" use crate::store::x; \"#; fn f<'a>(it: &'a str) {}",
    );
    passed(
        layers,
        "src/main.rs",
        "fn main() { braze_relay::cli::run(); }",
    );
    passed(
        layers,
        "src/cli/sandbox.rs",
        "use crate::sandbox::Options; use crate::clock::Clock;",
    );
}

#[test]
fn the_sandbox_is_alone() {
    caught(
        layers,
        "src/sandbox/track.rs",
        1,
        "use crate::model::call::Track;",
    );
    caught(
        layers,
        "src/sandbox/track.rs",
        1,
        "use crate::client::body::TrackBody;",
    );
    caught(layers, "src/app.rs", 1, "use crate::sandbox::Options;");
    passed(
        layers,
        "src/sandbox/track.rs",
        "use crate::model::time::Timestamp; use crate::clock; use super::world;",
    );
}

#[test]
fn an_adapter_named_outside_app_is_caught() {
    caught(
        layers,
        "src/engine/worker.rs",
        1,
        "use crate::store::sled::SledStore;",
    );
    caught(
        layers,
        "src/cli/status.rs",
        1,
        "use crate::client::{Client, Outside};",
    );
    passed(
        layers,
        "src/app.rs",
        "use crate::store::sled::SledStore; use crate::client::Outside;",
    );
}

#[test]
fn impure_code_is_caught_where_it_may_not_be() {
    for text in [
        "use std::{fmt, fs};",
        "fn f() { std::net::TcpStream::connect(a); }",
        "use std::time::{Duration, Instant};",
        "use tokio::sync::Notify;",
        "async fn f() {}",
        "fn f() { ::rand::random() }",
        "fn f() { tracing::info!(1) }",
        "fn f() { eprintln!() }",
    ] {
        caught(purity, "src/flow/email.rs", 1, text);
        caught(purity, "src/model/call.rs", 1, text);
        caught(purity, "src/engine/gate.rs", 1, text);
        caught(
            purity,
            "src/client/pack.rs",
            3,
            &format!("//! Packs.\n//! Invariants: pure. Never late.\n{text}"),
        );
        passed(purity, "src/client/http.rs", text);
    }
    passed(
        purity,
        "src/flow/email.rs",
        "use std::time::Duration; fn asynchronous(it: &str) {} // async\n#[cfg(test)]\nmod tests { use std::fs; }",
    );
    caught(purity, "src/clock.rs", 1, "use std::fs;");
    caught(purity, "src/clock.rs", 1, "use tokio::net::TcpStream;");
    passed(
        purity,
        "src/clock.rs",
        "use tokio::time::Instant; async fn f() {}",
    );
}

#[test]
fn a_clock_read_is_caught_also_in_tests() {
    for text in [
        "fn f() { std::time::Instant::now() }",
        "fn f() { SystemTime::now() }",
        "fn f() { jiff::Timestamp::now() }",
        "fn f() { chrono::DateTime::new() }",
        "fn f() { Utc::now() }",
        "#[cfg(test)] mod tests { fn f() { tokio::time::Instant::now(); } }",
    ] {
        caught(clock_reads, "src/engine/lane.rs", 1, text);
        passed(clock_reads, "src/clock.rs", text);
        passed(clock_reads, "tests/it/crash.rs", text);
    }
    passed(
        clock_reads,
        "src/engine/lane.rs",
        "fn f(clock: &Clock) { clock.now(); /* Instant::now() */ }",
    );
}

/// One file for each package that stands where it should.
fn house() -> Vec<Source> {
    [
        (
            "src/ingest/mod.rs",
            "use hyper::body; use hyper_util::rt; use backoff::backoff::Backoff;",
        ),
        (
            "src/store/sled/open.rs",
            "use ::sled::Db; use bincode::Decode;",
        ),
        (
            "src/store/codec.rs",
            "fn f() { bincode::config::standard() }",
        ),
        ("src/client/http.rs", "use reqwest::Client;"),
        ("src/engine/lane.rs", "use governor::Quota;"),
        (
            "src/telemetry/mod.rs",
            "use tracing_subscriber::fmt; use tracing::info;",
        ),
        (
            "src/telemetry/otlp.rs",
            "use opentelemetry_proto::tonic; use prost::Message;",
        ),
        ("src/app.rs", "use tokio::net; use serde::Serialize;"),
        ("src/model/id.rs", "use bincode::{Decode, Encode};"),
    ]
    .map(|(path, text)| Source::new(path, text))
    .into()
}

#[test]
fn a_package_out_of_its_place_is_caught() {
    assert_eq!(packages(&house()), Vec::<String>::new());
    for (path, text) in [
        ("src/ops/mod.rs", "use hyper::Request;"),
        ("src/store/map.rs", "use ::sled::Db;"),
        ("src/store/map.rs", "use sled as engine;"),
        ("src/config/mod.rs", "use bincode::Encode;"),
        ("src/model/id.rs", "use bincode::config;"),
        (
            "src/client/braze.rs",
            "use reqwest::{Client, header::HeaderMap};",
        ),
        ("src/engine/gate.rs", "use governor::Quota;"),
        ("src/cli/status.rs", "fn f() { backoff::retry(a) }"),
        ("src/app.rs", "fn f() { tracing_subscriber::fmt() }"),
        ("src/telemetry/traces.rs", "use opentelemetry_proto::tonic;"),
        ("src/app.rs", "use prost::Message;"),
    ] {
        let mut files = house();
        files.push(Source::new(path, text));
        let complaints = packages(&files);
        assert!(!complaints.is_empty(), "{text}");
        assert!(
            complaints
                .iter()
                .all(|it| it.starts_with(&format!("{path}:1: "))),
            "{complaints:?}"
        );
    }
}

#[test]
fn a_package_missing_from_its_place_is_caught() {
    for left_out in 0..house().len() - 1 {
        let mut files = house();
        files.remove(left_out);
        let complaints = packages(&files);
        assert!(
            complaints.iter().any(|it| it.ends_with("is missing")),
            "{left_out}: {complaints:?}"
        );
    }
    let mut files = house();
    files[3] = Source::new(
        "src/client/http.rs",
        "#[cfg(test)] mod tests { use reqwest::Client; }",
    );
    assert_eq!(
        packages(&files).len(),
        1,
        "a package that only tests use is missing"
    );
}

#[test]
fn a_panic_of_ours_is_caught_outside_tests_only() {
    for text in [
        "fn f() {\n    g().unwrap() }",
        "fn f() {\n    g().expect(\"never\") }",
        "fn f() {\n    panic!() }",
        "fn f() {\n    todo!() }",
        "fn f() {\n    unimplemented!() }",
        "fn f() {\n    dbg!(1) }",
    ] {
        caught(panics, "src/app.rs", 2, text);
        passed(panics, "src/flow/tests.rs", text);
        passed(
            panics,
            "src/app.rs",
            &format!("#[cfg(test)]\n#[expect(a, reason = \"b\")]\nmod tests {{ {text} }}"),
        );
        caught(
            panics,
            "src/app.rs",
            3,
            &format!("#[cfg(test)] mod tests;\n{text}"),
        );
    }
    passed(
        panics,
        "src/app.rs",
        "#[expect(a)] fn f() { g().unwrap_or_default() } // .unwrap()",
    );
}

#[test]
fn a_lint_silenced_without_a_reason_is_caught() {
    caught(
        silenced_lints,
        "tests/it/x.rs",
        2,
        "\n#[allow(unused)] fn f() {}",
    );
    caught(
        silenced_lints,
        "src/app.rs",
        1,
        "#![allow(unused, reason = \"x\")]",
    );
    caught(
        silenced_lints,
        "src/app.rs",
        1,
        "#[expect(unused)] fn f() {}",
    );
    passed(
        silenced_lints,
        "src/app.rs",
        "#[expect(\n    unused,\n    reason = \"x\"\n)] fn f() {}",
    );
}

#[test]
fn a_test_that_sleeps_or_is_left_out_is_caught() {
    for text in [
        "fn f() { std::thread::sleep(a) }",
        "use tokio::time::{sleep, timeout};",
        "async fn f() { tokio::time::sleep(a).await }",
        "#[ignore] fn f() {}",
    ] {
        caught(sleeping_tests, "tests/it/crash.rs", 1, text);
    }
    caught(
        sleeping_tests,
        "src/app.rs",
        2,
        "#[cfg(test)]\nmod tests { use std::thread::sleep; }",
    );
    passed(
        sleeping_tests,
        "src/clock.rs",
        "async fn f() { tokio::time::sleep(a).await }",
    );
    passed(
        sleeping_tests,
        "tests/it/crash.rs",
        "async fn f() { clock.sleep(a).await } #[ignore = \"why\"] fn g() {}",
    );
}

#[test]
fn a_file_without_a_purpose_is_caught() {
    caught(headers, "src/app.rs", 1, "use std::fmt;");
    caught(headers, "tests/it/x.rs", 1, "// A comment\n//! Late.");
    passed(headers, "src/app.rs", "//! Puts it together.");
}

#[test]
fn a_file_that_grows_too_long_is_caught() {
    let long = "//! Long.\n".repeat(401);
    caught(lengths, "src/app.rs", 401, &long);
    passed(lengths, "src/app.rs", &long[..10 * 400]);
    passed(
        lengths,
        "src/app.rs",
        &format!(
            "{}#[cfg(test)]\nmod tests {{\n{}}}\n",
            &long[..10 * 300],
            "\n".repeat(400)
        ),
    );
    caught(
        lengths,
        "src/app.rs",
        903,
        &format!(
            "{}#[cfg(test)]\nmod tests {{\n{}}}\n",
            &long[..10 * 300],
            "\n".repeat(600)
        ),
    );
    let needless: Rule = |files| lengths_but(files, &[("src/app.rs", 500, "it used to be long")]);
    caught(needless, "src/app.rs", 100, &long[..10 * 100]);
}

#[test]
fn words_from_outside_are_caught() {
    for line in [
        concat!("see /ro", "ot/x"),
        concat!("/ho", "me/me/relay"),
        concat!("as Cla", "ude said"),
    ] {
        let complaints = outside_words(&[("README.md".into(), format!("fine\n{line}\n"))]);
        assert_eq!(complaints.len(), 1, "{line}");
        assert!(complaints[0].starts_with("README.md:2: "), "{complaints:?}");
    }
    assert!(outside_words(&[("README.md".into(), "/var/lib/braze-relay".into())]).is_empty());
}

#[test]
fn a_stray_entry_at_the_top_is_caught() {
    let entries = ["src", "target", "clippy.toml"].map(str::to_owned);
    let complaints = top(&entries, "target/\n");
    assert_eq!(complaints.len(), 1);
    assert!(
        complaints[0].starts_with("clippy.toml:1: "),
        "{complaints:?}"
    );
}
