//! What people read of dead letters.

#![expect(clippy::unwrap_used, reason = "tests may")]

use super::replay::{self, told};
use super::*;
use crate::flow::job::Class;
use crate::model::call::Answer;
use crate::model::id::EventId;
use crate::model::time::Timestamp;
use crate::ops::wire::{Replayed, StillDead};

fn moment() -> Timestamp {
    Timestamp::from_millis(1_795_770_600_000)
}

fn id(number: u8) -> JobId {
    EventId::next(EventId::default(), moment(), 7).job(number)
}

fn letter(reason: Reason, text: &str) -> LetterRow {
    LetterRow {
        id: id(0),
        event_id: id(0).event,
        workspace: Some("acme".into()),
        activation: "spring-drop".into(),
        flow: Some(Flow::Email),
        step: Some("update".into()),
        participant: "a***@example.com".into(),
        reason,
        class: Class::Rejected,
        answer: Answer {
            status: Some(400),
            text: text.into(),
        },
        died_at: moment(),
        accepted_at: moment(),
        attempts: 1,
        failures: 2,
        participant_hash: "0a".repeat(14),
        replay: None,
    }
}

#[test]
fn a_list_ends_with_the_counts_by_reason_and_the_way_on() {
    let items = [
        letter(Reason::GaveUp, "too late"),
        LetterRow {
            workspace: None,
            flow: None,
            step: None,
            ..letter(Reason::Rejected, &"x".repeat(70))
        },
        letter(Reason::Rejected, "no\u{1b}[2J"),
    ];
    let all = [(Reason::Rejected, 9)].into();
    let text = listed(&items, Some(id(3)), Some(&all));
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("ID "), "{text}");
    assert!(lines[1].ends_with("400 too late"), "{text}");
    assert!(
        lines[2].contains(" -          spring-drop  -      -  "),
        "{text}"
    );
    assert!(lines[2].ends_with("xxx…"), "{text}");
    assert!(lines[3].ends_with("400 no?[2J"), "{text}");
    assert_eq!(lines[5], "3 dead letters: rejected 2, gave_up 1");
    assert_eq!(lines[6], "9 in all: rejected 9");
    assert_eq!(lines[7], format!("there may be more: --after {}", id(3)));
    assert_eq!(listed(&[], None, None), "no dead letters\n");
}

#[test]
fn a_replay_tells_what_lives_and_what_does_not() {
    let still = |reason| StillDead { id: id(1), reason };
    let replayed = Replayed {
        revived: 2,
        still_dead: vec![still(Reason::NoFlow)],
        not_found: vec![id(2)],
    };
    let wanted = format!(
        "2 live again\n1 cannot run as configured today: no_flow 1\nno dead letter (any more): {}\n",
        id(2)
    );
    assert_eq!(told(&replayed), wanted);
}

#[test]
fn ids_and_all_exclude_each_other_and_one_is_needed() {
    use clap::Parser as _;
    #[derive(Debug, clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }
    let letter = id(0).to_string();
    for (words, taken) in [
        (vec!["replay", letter.as_str(), "--json"], true),
        (
            vec![
                "replay",
                "--all",
                "--reason",
                "gave_up",
                "--ops",
                "http://localhost:1",
            ],
            true,
        ),
        (vec!["replay", "--all", letter.as_str()], false),
        (vec!["replay", "--all", "--reason", "no_such"], false),
        (vec!["replay", "not-an-id"], false),
        (vec!["list", "--class", "denied", "--limit", "5"], true),
        (vec!["show"], false),
        (
            vec!["replay", "--all", "--rate", "5/s", "--stop-at", "0.1"],
            true,
        ),
        (
            vec!["replay", "--all", "--rate", "5", "--budget", "0.5"],
            false,
        ),
        (vec!["replay", "--all", "--budget", "1.5"], false),
        (vec!["discard", "--all"], false),
        (vec!["discard", "--all", "--because", "a test"], true),
        (
            vec!["discard", letter.as_str(), "--because", "a test", "--yes"],
            true,
        ),
    ] {
        let parsed = Cli::try_parse_from(std::iter::once("dead").chain(words.clone()));
        assert_eq!(parsed.is_ok(), taken, "{words:?}");
        let _ = parsed.map(|cli| cli.args.command);
    }
    let env = Env::default();
    let replayed = Cli::try_parse_from(["dead", "replay", &letter, "--reason", "gave_up"]).unwrap();
    let Command::Replay(replayed) = replayed.args.command else {
        return;
    };
    let refused = replay::run(&replayed, &env, &mut Vec::new()).unwrap_err();
    assert_eq!(refused.exit_code(), 2);
}
