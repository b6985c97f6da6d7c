//! The demo, as a newcomer runs it: the real binary, its output and its exit code.

use std::path::Path;
use std::process::{Command, Output};

fn demo(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_braze-relay"))
        .args(["demo", "--clock-speed", "20"])
        .args(arguments)
        .current_dir(folder)
        .env("TMPDIR", folder)
        // What would change a relay's configuration must not reach the demo's.
        .env("RELAY__INGEST__MAX_BATCH", "1")
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!(
        "{}{}",
        String::from_utf8_lossy(out),
        String::from_utf8_lossy(err)
    )
}

/// The columns of a row of the table.
fn row(text: &str, name: &str) -> Vec<String> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let line = line.unwrap_or_else(|| panic!("no row {name:?} in:\n{text}"));
    line.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn the_demo_survives_a_kill_agrees_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let output = demo(&["--people", "500"], folder.path());
    let text = text(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("SIGKILL"), "{text}");
    assert!(text.contains("started again on the same store"), "{text}");
    for name in [
        "sent",
        "duplicates",
        "accepted",
        "profiles created",
        "found",
        "credited",
        "dead",
        "profiles  ",
    ] {
        let columns = row(&text, name);
        assert!(columns.len() >= 2, "{name}: {columns:?}");
        assert!(
            columns.iter().all(|is| *is == columns[0] && is != "0"),
            "{name}: {columns:?}"
        );
    }
    assert_eq!(row(&text, "profiles created").len(), 3);
    assert_eq!(row(&text, "credited").len(), 3);
    assert!(
        text.contains("The sandbox holds exactly what must be there"),
        "{text}"
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_participation_that_never_arrived_is_named_and_the_exit_code_is_1() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--people", "60", "--leave-out", "q00007", "--no-kill"];
    let output = demo(&arguments, folder.path());
    let text = text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("DIFFERS"), "{text}");
    assert!(
        text.contains("not credited (spring-drop, joined)"),
        "{text}"
    );
    assert!(text.contains("there is no profile"), "{text}");
    assert!(!text.contains("SIGKILL"), "{text}");
}

#[test]
fn what_is_kept_can_be_served_again() {
    let folder = tempfile::tempdir().unwrap();
    let output = demo(
        &["--people", "150", "--keep", "--store", "kept"],
        folder.path(),
    );
    let told = text(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(told.contains("dead list --config relay.toml"), "{told}");
    let kept = folder.path().join("kept");
    let check = Command::new(env!("CARGO_BIN_EXE_braze-relay"))
        .args(["check", "--config", "relay.toml"])
        .current_dir(&kept)
        .output()
        .unwrap();
    assert_eq!(check.status.code(), Some(0), "{}", text(&check));
    let again = demo(&["--people", "1", "--store", "kept"], folder.path());
    assert_eq!(again.status.code(), Some(1), "{}", text(&again));
    assert!(
        text(&again).contains("the folder must be empty"),
        "{}",
        text(&again)
    );
    assert!(kept.join("relay-data").exists());
}
