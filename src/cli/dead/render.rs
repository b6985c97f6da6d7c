//! What people read of dead letters: the list, one letter whole, and what a replay did.
//!
//! Invariants: a list shows nobody's whole address; nothing that came from outside can move the terminal's cursor.
//! Deliberately absent: asking the relay for anything.

use std::fmt::Write as _;

use super::super::remote::Failed;
use super::super::text::{Column, plain, table, tally};
use crate::flow::job::Flow;
use crate::model::id::JobId;
use crate::ops::wire::{Letter, LetterRow, Replayed};

/// How many characters of the last answer a list shows.
const ANSWER_CHARS: usize = 60;

/// A page of a list: a table, the reasons, and where to go on.
pub(super) fn listed(items: &[LetterRow], next: Option<JobId>) -> String {
    let mut text = String::new();
    if !items.is_empty() {
        let columns = [
            Column::Left("ID"),
            Column::Left("DIED AT"),
            Column::Left("WORKSPACE"),
            Column::Left("ACTIVATION"),
            Column::Left("FLOW"),
            Column::Left("STEP"),
            Column::Left("REASON"),
            Column::Left("PARTICIPANT"),
            Column::Left("LAST ANSWER"),
        ];
        let rows: Vec<_> = items.iter().map(row).collect();
        text += &table(columns, &rows);
        text += "\n";
    }
    let reasons = items.iter().map(|item| (item.reason.as_str(), 1));
    let _ = match items.len() {
        0 => writeln!(text, "no dead letters"),
        1 => writeln!(text, "1 dead letter: {}", tally(reasons)),
        count => writeln!(text, "{count} dead letters: {}", tally(reasons)),
    };
    if let Some(next) = next {
        let _ = writeln!(text, "there may be more: --after {next}");
    }
    text
}

fn row(item: &LetterRow) -> [String; 9] {
    let or_dash = |text: Option<&str>| text.unwrap_or("-").to_owned();
    [
        item.id.to_string(),
        item.died_at.to_string(),
        or_dash(item.workspace.as_deref()),
        item.activation.clone(),
        or_dash(item.flow.map(Flow::as_str)),
        or_dash(item.step.as_deref()),
        item.reason.to_string(),
        item.participant.clone(),
        said(item.answer.status, &item.answer.text, ANSWER_CHARS),
    ]
}

fn said(status: Option<u16>, text: &str, chars_max: usize) -> String {
    let mut said = status.map_or(String::new(), |status| format!("{status} "));
    said.extend(text.chars().take(chars_max));
    if text.chars().nth(chars_max).is_some() {
        said.push('…');
    }
    said
}

/// One letter, whole.
pub(super) fn shown(letter: &Letter) -> Result<String, Failed> {
    let row = &letter.row;
    let mut text = String::new();
    for (name, value) in [
        ("id", row.id.to_string()),
        ("event", row.event_id.to_string()),
        ("reason", format!("{} (class {})", row.reason, row.class)),
        (
            "answer",
            said(row.answer.status, &row.answer.text, usize::MAX),
        ),
        ("died at", row.died_at.to_string()),
        ("accepted at", row.accepted_at.to_string()),
        ("workspace", row.workspace.clone().unwrap_or("-".into())),
        ("activation", row.activation.clone()),
        ("flow", row.flow.map_or("-".into(), |flow| flow.to_string())),
        ("step", row.step.clone().unwrap_or("it never began".into())),
        (
            "attempts",
            format!(
                "{} at this step, {} failed in all",
                row.attempts, row.failures
            ),
        ),
    ] {
        let _ = writeln!(text, "{name:<12} {}", plain(&value));
    }
    for attempt in &letter.history {
        let answer = said(attempt.answer.status, &attempt.answer.text, usize::MAX);
        let line = format!("{} {}: {answer}", attempt.at, attempt.step);
        let _ = writeln!(text, "  {}", plain(&line));
    }
    // JSON escapes control characters by itself.
    let event = serde_json::to_string_pretty(&letter.event).map_err(std::io::Error::from)?;
    let _ = writeln!(text, "what was posted:\n{event}");
    Ok(text)
}

/// What a replay did.
pub(super) fn told(replayed: &Replayed) -> String {
    let mut text = format!("{} live again\n", replayed.revived);
    if !replayed.still_dead.is_empty() {
        let reasons = replayed
            .still_dead
            .iter()
            .map(|dead| (dead.reason.as_str(), 1));
        let _ = writeln!(
            text,
            "{} cannot run as configured today: {}",
            replayed.still_dead.len(),
            tally(reasons)
        );
    }
    for id in &replayed.not_found {
        let _ = writeln!(text, "no dead letter (any more): {id}");
    }
    text
}
