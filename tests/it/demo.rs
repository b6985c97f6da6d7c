//! The demo, as a newcomer runs it: the real binary, its output and its exit code, for every scenario.

use std::path::Path;
use std::process::{Command, Output};

fn demo(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_braze-relay"))
        .arg("demo")
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

/// The columns of a row of the table, which follows its heads where there are any.
fn row(text: &str, name: &str) -> Vec<String> {
    let text = text
        .split_once("relay says")
        .map_or(text, |(_, table)| table);
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let line = line.unwrap_or_else(|| panic!("no row {name:?} in:\n{text}"));
    line.split_whitespace().map(str::to_owned).collect()
}

/// Plays a scenario, which is killed, agrees and leaves nothing behind. `rows` are those that must be there, with more than
/// nothing in them, and how many columns each has.
fn agrees(arguments: &[&str], rows: &[(&str, usize)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let output = demo(arguments, folder.path());
    let text = text(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("SIGKILL"), "{text}");
    assert!(text.contains("started again on the same store"), "{text}");
    for (name, count) in rows {
        let columns = row(&text, name);
        assert_eq!(columns.len(), *count, "{name}: {columns:?}");
        assert!(
            columns.iter().all(|is| *is == columns[0] && is != "0"),
            "{name}: {columns:?}"
        );
    }
    assert!(
        text.contains("The sandbox holds exactly what must be there"),
        "{text}"
    );
    assert!(
        text.lines().all(|line| line.chars().count() <= 100),
        "{text}"
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    text
}

/// Plays a scenario without one of its lines, which the comparison must name in these words.
fn names(arguments: &[&str], left_out: &str, told: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let leaving_out = ["--leave-out", left_out, "--no-kill"];
    let output = demo(&[arguments, &leaving_out].concat(), folder.path());
    let text = text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("DIFFERS"), "{text}");
    for told in told {
        assert!(text.contains(told), "{told}\n{text}");
    }
    assert!(!text.contains("SIGKILL"), "{text}");
}

#[test]
fn without_a_word_people_join_by_email_survive_a_kill_and_leave_nothing_behind() {
    let rows = [
        ("sent", 2),
        ("duplicates", 2),
        ("accepted", 2),
        ("profiles created", 3),
        ("found", 2),
        ("credited", 3),
        ("dead", 2),
        ("profiles  ", 2),
    ];
    let told = agrees(&["--clock-speed", "20", "--people", "500"], &rows);
    assert!(told.starts_with("email: "), "{told}");
    assert!(told.contains("--scenario all"), "{told}");
}

#[test]
fn people_join_by_sms_across_a_kill_in_their_two_minutes() {
    let rows = [
        ("accepted", 2),
        ("subscribed and read back", 2),
        ("were subscribed already", 2),
        ("without phone", 2),
        ("without consent", 2),
        ("further participations", 2),
        ("  another phone is known", 2),
        ("subscriptions set", 2),
        ("credited", 3),
    ];
    let told = agrees(&["--scenario", "sms", "--people", "60"], &rows);
    assert!(
        told.contains("in the middle of the two minutes of"),
        "{told}"
    );
    assert!(told.contains("No status was set earlier than 12"), "{told}");
}

#[test]
fn people_confirm_or_do_not_across_a_kill_in_the_polls() {
    let rows = [
        ("confirmed in time", 2),
        ("not confirmed", 2),
        ("asked to confirm", 2),
        ("  of them by Braze's logic", 2),
        ("Subscribed in a group", 2),
        ("credited", 3),
    ];
    let told = agrees(&["--scenario", "double-opt-in", "--people", "80"], &rows);
    assert!(told.contains("people are waited for"), "{told}");
}

#[test]
fn people_get_on_in_the_order_of_their_steps() {
    let rows = [
        ("duplicates", 2),
        ("joined, new to Braze", 2),
        ("joined, found in Braze", 2),
        ("steps", 2),
        ("custom events", 2),
    ];
    agrees(&["--scenario", "progress", "--people", "120"], &rows);
}

#[test]
fn webhooks_reach_quikly_once_while_it_is_down() {
    let rows = [
        ("refused: no e-mail (400)", 2),
        ("refused: wrong token (401)", 2),
        ("delivered again", 2),
        ("passed on to Quikly", 3),
        ("  of no activation", 2),
    ];
    agrees(&["--scenario", "webhook", "--people", "120"], &rows);
}

#[test]
fn answers_become_attributes_of_their_types() {
    let rows = [
        ("delivered again", 2),
        ("written whole", 2),
        ("written without bad answers", 2),
        ("nothing left to write", 2),
        ("  bad answers", 2),
        ("  of no content", 2),
        ("attributes", 2),
    ];
    agrees(&["--scenario", "outgrow", "--people", "180"], &rows);
}

#[test]
fn a_line_that_never_arrived_is_named_and_the_exit_code_is_1() {
    let email = ["--clock-speed", "20", "--people", "60"];
    let told = ["not credited (spring-drop, joined)", "there is no profile"];
    names(&email, "q00007", &told);
    let sms = [
        "--scenario",
        "sms",
        "--clock-speed",
        "200",
        "--people",
        "20",
    ];
    names(
        &sms,
        "p00000",
        &["+12005550100: never set in", "not credited"],
    );
    // Somebody who must die, and does not.
    names(
        &sms,
        "p00003",
        &["p00003: must be a dead letter phone_mismatch, is none"],
    );
    let opt_in = [
        "--scenario",
        "double-opt-in",
        "--clock-speed",
        "20000",
        "--people",
        "20",
    ];
    names(&opt_in, "p00000", &["+12005550100: never asked to confirm"]);
    let progress = ["--scenario", "progress", "--people", "10"];
    names(
        &progress,
        "r00004-1",
        &["quikly_badge_1 must be true, is nothing"],
    );
    let webhook = ["--scenario", "webhook", "--people", "20"];
    let told = ["not credited (app-login, logged_in, {\"id\":\"d00001-1\",\"tier\""];
    names(&webhook, "d00001-1", &told);
    names(&webhook, "d00004-1", &["refused: no e-mail (400): must be"]);
    let outgrow = ["--scenario", "outgrow", "--people", "20"];
    names(&outgrow, "o00001", &["outgrow_quiz_score must be"]);
}

#[test]
fn what_is_kept_can_be_served_again() {
    let folder = tempfile::tempdir().unwrap();
    let output = demo(
        &[
            "--people",
            "150",
            "--keep",
            "--store",
            "kept",
            "--scenario",
            "outgrow",
        ],
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

#[test]
fn all_scenarios_are_played_one_after_another_and_summed_up() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = [
        "--scenario",
        "all",
        "--people",
        "20",
        "--no-kill",
        "--keep",
        "--store",
        "kept",
    ];
    let output = demo(&arguments, folder.path());
    let told = text(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    for name in [
        "email",
        "sms",
        "double-opt-in",
        "progress",
        "webhook",
        "outgrow",
    ] {
        assert_eq!(
            row(&told, &format!("{name}  ")).last().unwrap(),
            "agrees",
            "{told}"
        );
        assert!(
            folder
                .path()
                .join("kept")
                .join(name)
                .join("relay.log")
                .exists()
        );
    }
    assert!(told.contains("6 of 6 scenarios"), "{told}");
    assert!(
        told.lines().all(|line| line.chars().count() <= 100),
        "{told}"
    );
}
