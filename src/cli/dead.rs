//! `braze-relay dead`: dead letters: list, show, replay, discard.
//!
//! Invariants: a list shows nobody's whole address.

use std::fmt::Write as _;
use std::io::Write;

use serde_json::json;

use super::remote::{Caller, Failed, Remote, write};
use super::text::{Column, plain, table, tally};
use crate::config::Env;
use crate::flow::job::{Flow, Reason};
use crate::model::id::JobId;
use crate::ops::wire::{Letter, LetterPage, LetterRow, Which};

mod discard;
mod filters;
mod replay;

pub(super) use filters::{Filters, When};

/// How many letters there are with each reason.
type ByReason = std::collections::BTreeMap<Reason, u64>;

/// What one request asks for.
const PAGE: usize = 1000;

/// How many characters of the last answer a list shows.
const ANSWER_CHARS: usize = 60;

/// List, show, replay and discard dead letters
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    List(List),
    Show(Show),
    Replay(Replay),
    Discard(Discard),
}

/// List dead letters, oldest event first, and count them by reason
#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    filters: Filters,
    /// Go on behind this one
    #[arg(long, value_name = "ID")]
    after: Option<JobId>,
    /// Show so many at most
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    #[command(flatten)]
    remote: Remote,
}

/// Show one dead letter whole: why it died, its attempts, and the event, with the person's data
#[derive(Debug, clap::Args)]
struct Show {
    /// The letter, as `dead list` names it
    id: JobId,
    #[command(flatten)]
    remote: Remote,
}

/// Let dead letters live again, from the step they failed at, by today's configuration
///
/// Those of a filter by a replay that the relay carries out, over restarts, beside live traffic; see `replay`. Letters
/// named by their ids live again at once. What was credited is not credited again. Letters of unknown_outcome may have
/// happened: they are replayed only with --reason unknown_outcome, or by their ids.
///
/// Exit codes: 0 it has begun, or all of them live (or a preview), 1 some do not, 2 usage, 3 the relay cannot be reached.
#[derive(Debug, clap::Args)]
struct Replay {
    /// The letters, as `dead list` names them
    #[arg(conflicts_with = "all")]
    ids: Vec<JobId>,
    /// All of them; with filters, all that match
    #[arg(long)]
    all: bool,
    /// Do it; without it, what would be replayed is only told: how many, some of them, how long it takes
    #[arg(long)]
    yes: bool,
    /// So many letters a second
    #[arg(long, value_name = "N/s", value_parser = rate, conflicts_with = "budget")]
    rate: Option<f64>,
    /// Or this part of the budget of every lane they pass [default: 0.25]
    #[arg(long, value_name = "PART", value_parser = part)]
    budget: Option<f64>,
    /// Stop when more than this share of them dies again [default: 0.2]
    #[arg(long, value_name = "SHARE", value_parser = part)]
    stop_at: Option<f64>,
    /// With --yes: tell how far it is until it runs no more and nothing of it is under way
    #[arg(long, conflicts_with = "ids")]
    watch: bool,
    #[command(flatten)]
    filters: Filters,
    #[command(flatten)]
    remote: Remote,
}

/// Discard dead letters: they are never replayed, and counted as discarded
///
/// Exit codes: 0 all of them are gone (or a preview), 1 some were none, 2 usage, 3 the relay cannot be reached.
#[derive(Debug, clap::Args)]
struct Discard {
    /// The letters, as `dead list` names them
    #[arg(conflicts_with = "all")]
    ids: Vec<JobId>,
    /// All of them; with filters, all that match
    #[arg(long)]
    all: bool,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    because: String,
    /// Do it; without it, what would be discarded is only counted
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    filters: Filters,
    #[command(flatten)]
    remote: Remote,
}

/// Whether it is clear which letters are meant.
fn chosen(ids: &[JobId], all: bool, filters: &Filters) -> Result<(), Failed> {
    if !ids.is_empty() && !filters.is_empty() {
        return Err(Failed::Usage("filters go with --all, not with ids".into()));
    }
    if ids.is_empty() && !all && filters.is_empty() {
        return Err(Failed::Usage(
            "say which dead letters: their ids, filters, or --all".into(),
        ));
    }
    Ok(())
}

/// Tells what would become of letters named by their ids; nothing is done.
fn previewed(
    ids: &[JobId],
    what: &str,
    caller: &Caller,
    json: bool,
    out: &mut impl Write,
) -> Result<u8, Failed> {
    let letter = |id| caller.get::<Letter>(&format!("api/v1/dead/{id}"));
    let rows: Result<Vec<LetterRow>, Failed> = ids
        .iter()
        .map(|id| letter(id).map(|letter| letter.row))
        .collect();
    told_preview(&by_reason(&rows?), what, json, out)
}

/// How many of which reason would be dealt with.
fn told_preview(
    by_reason: &ByReason,
    what: &str,
    json: bool,
    out: &mut impl Write,
) -> Result<u8, Failed> {
    if json {
        let count: u64 = by_reason.values().sum();
        let document = json!({ "preview": true, "count": count, "by_reason": by_reason });
        write(out, &document)?;
    } else {
        out.write_all(would_be(what, by_reason).as_bytes())?;
    }
    Ok(0)
}

fn would_be(what: &str, by_reason: &ByReason) -> String {
    let count: u64 = by_reason.values().sum();
    if count == 0 {
        return format!("no dead letters match: none would be {what}\n");
    }
    let reasons = by_reason.iter();
    let reasons = tally(reasons.map(|(reason, count)| (reason.as_str(), *count)));
    format!("{count} would be {what} ({reasons}); nothing was done: add --yes to do it\n")
}

/// `5`, or `5/s`: above 0.
fn rate(text: &str) -> Result<f64, String> {
    match text.trim_end_matches("/s").parse() {
        Ok(rate) if rate > 0.0 && rate <= 1e6 => Ok(rate),
        _ => Err("letters a second, such as 5 or 5/s".into()),
    }
}

/// Above 0, and 1 at most.
fn part(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(part) if part > 0.0 && part <= 1.0 => Ok(part),
        _ => Err("a number above 0, and 1 at most, such as 0.25".into()),
    }
}

/// Runs the command with the environment of this process; returns the exit code.
pub fn run(args: &Args) -> u8 {
    let env = Env::from_process();
    let out = &mut std::io::stdout().lock();
    let (remote, answered) = match &args.command {
        Command::List(args) => (&args.remote, list(args, &env, out)),
        Command::Show(args) => (&args.remote, show(args, &env, out)),
        Command::Replay(args) => (&args.remote, replay::run(args, &env, out)),
        Command::Discard(args) => (&args.remote, discard::run(args, &env, out)),
    };
    answered.unwrap_or_else(|failed| failed.tell(remote))
}

fn list(args: &List, env: &Env, out: &mut impl Write) -> Result<u8, Failed> {
    let caller = args.remote.caller(env)?;
    let mut which = Which {
        after: args.after,
        ..args.filters.which(&caller)?
    };
    let mut items: Vec<LetterRow> = Vec::new();
    let next = loop {
        let room = args.limit.saturating_sub(items.len());
        if room == 0 {
            break which.after;
        }
        which.limit = Some(room.min(PAGE));
        let page = pages(&caller, &which)?;
        items.extend(page.items);
        match page.next {
            None => break None,
            next => which.after = next,
        }
    };
    let all = filters::counts(&caller, &which)?;
    if args.remote.json {
        let (count, by_reason) = (all.count, all.by_reason);
        let document =
            json!({ "items": items, "count": count, "by_reason": by_reason, "next": next });
        write(out, &document)?;
    } else {
        let all = next.map(|_| all.by_reason);
        out.write_all(listed(&items, next, all.as_ref()).as_bytes())?;
    }
    Ok(0)
}

/// One page.
fn pages(caller: &Caller, which: &Which) -> Result<LetterPage, Failed> {
    caller.find("api/v1/dead", which)
}

fn by_reason(items: &[LetterRow]) -> ByReason {
    let mut counts = ByReason::new();
    for item in items {
        *counts.entry(item.reason).or_default() += 1;
    }
    counts
}

/// Letters, and what there is in all where that is more.
fn listed(items: &[LetterRow], next: Option<JobId>, all: Option<&ByReason>) -> String {
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
    if let Some(all) = all {
        let reasons = all.iter().map(|(reason, count)| (reason.as_str(), *count));
        let (count, reasons) = (all.values().sum::<u64>(), tally(reasons));
        let _ = writeln!(text, "{count} in all: {reasons}");
    }
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

/// An answer in a line: its status and so many characters of its text.
pub(super) fn said(status: Option<u16>, text: &str, chars_max: usize) -> String {
    let mut said = status.map_or(String::new(), |status| format!("{status} "));
    said.extend(text.chars().take(chars_max));
    if text.chars().nth(chars_max).is_some() {
        said.push('…');
    }
    said
}

fn show(args: &Show, env: &Env, out: &mut impl Write) -> Result<u8, Failed> {
    let caller = args.remote.caller(env)?;
    let letter: Letter = caller.get(&format!("api/v1/dead/{}", args.id))?;
    if args.remote.json {
        write(out, &letter)?;
    } else {
        out.write_all(shown(&letter)?.as_bytes())?;
    }
    Ok(0)
}

fn shown(letter: &Letter) -> Result<String, Failed> {
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
        ("participant", row.participant_hash.clone()),
        (
            "replay",
            row.replay.map_or("-".into(), |replay| replay.to_string()),
        ),
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
    let earlier = u64::from(row.failures).saturating_sub(letter.history.len() as u64);
    if earlier > 0 {
        let _ = writeln!(text, "  {earlier} earlier ones are only counted");
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

#[cfg(test)]
mod tests;
