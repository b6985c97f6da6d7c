//! `braze-relay replay`: replays that `dead replay` began: list, show, pause, resume, cancel.
//!
//! Invariants: the relay carries replays out; ending this command ends nothing.

use std::fmt::Write as _;
use std::io::Write;
use std::time::Duration;

use serde_json::json;

use super::remote::{Caller, Failed, Remote, write};
use super::text::{Column, plain, table};
use crate::config::Env;
use crate::ops::wire::{ReplayPage, ReplayRow, ReplayState};

/// How often it is looked at.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// List and show replays of dead letters; pause, resume or cancel them
///
/// `dead replay` begins one. The relay carries it out, over restarts.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List replays, the newest first
    List {
        #[command(flatten)]
        remote: Remote,
    },
    Show(Show),
    /// Let nothing more live until it is resumed; what lives goes on
    ///
    /// Exit codes: 0 ok, 1 there is none, or it is over, 2 usage, 3 the relay cannot be reached.
    Pause(One),
    /// Go on where it was paused, or stopped itself
    ///
    /// What died again before counts no longer for --stop-at, and is not replayed again: that is another replay's.
    ///
    /// Exit codes: 0 ok, 1 there is none, or it is over, 2 usage, 3 the relay cannot be reached.
    Resume(One),
    /// Let nothing more live, for ever; what lives goes on
    ///
    /// Exit codes: 0 ok, 1 there is none, or it is over, 2 usage, 3 the relay cannot be reached.
    Cancel(One),
}

/// Show one replay: how far it is, and what became of what it let live
///
/// Exit codes: 0 ok, 1 there is none, 2 usage, 3 the relay cannot be reached.
#[derive(Debug, clap::Args)]
struct Show {
    #[command(flatten)]
    one: One,
    /// Show it again whenever something changes, until it runs no more and nothing of it is under way
    #[arg(long)]
    watch: bool,
}

#[derive(Debug, clap::Args)]
struct One {
    /// Its number
    #[arg(value_name = "ID")]
    number: u32,
    #[command(flatten)]
    remote: Remote,
}

/// Runs the command with the environment of this process; returns the exit code.
pub fn run(args: &Args) -> u8 {
    let env = Env::from_process();
    let out = &mut std::io::stdout().lock();
    let (remote, answered) = match &args.command {
        Command::List { remote } => (remote, list(remote, &env, out)),
        Command::Show(args) => (&args.one.remote, show(args, &env, out)),
        Command::Pause(one) => (&one.remote, change(one, "pause", &env, out)),
        Command::Resume(one) => (&one.remote, change(one, "resume", &env, out)),
        Command::Cancel(one) => (&one.remote, change(one, "cancel", &env, out)),
    };
    answered.unwrap_or_else(|failed| failed.tell(remote))
}

fn list(remote: &Remote, env: &Env, out: &mut impl Write) -> Result<u8, Failed> {
    let page: ReplayPage = remote.caller(env)?.get("api/v1/replays")?;
    if remote.json {
        write(out, &page)?;
    } else {
        out.write_all(listed(&page.items).as_bytes())?;
    }
    Ok(0)
}

fn show(args: &Show, env: &Env, out: &mut impl Write) -> Result<u8, Failed> {
    let caller = args.one.remote.caller(env)?;
    let row = fetched(&caller, args.one.number)?;
    told(&caller, row, args.watch, args.one.remote.json, out)
}

/// Tells how a replay stands; with `watch` whenever something changes, until it runs no more and nothing of it is under
/// way. With `json` at the end alone.
pub(super) fn told(
    caller: &Caller,
    mut row: ReplayRow,
    watch: bool,
    json: bool,
    out: &mut impl Write,
) -> Result<u8, Failed> {
    let mut before = String::new();
    loop {
        let text = told_row(&row);
        let over = row.replay.state != ReplayState::Running && row.living == 0;
        if !json && text != before {
            out.write_all(text.as_bytes())?;
            out.flush()?;
            before = text;
        }
        if !watch || over {
            break;
        }
        std::thread::sleep(WATCH_EVERY);
        row = fetched(caller, row.replay.number)?;
    }
    if json {
        write(out, &row)?;
    }
    Ok(0)
}

fn fetched(caller: &Caller, number: u32) -> Result<ReplayRow, Failed> {
    caller.get(&format!("api/v1/replays/{number}"))
}

fn change(one: &One, what: &str, env: &Env, out: &mut impl Write) -> Result<u8, Failed> {
    let caller = one.remote.caller(env)?;
    let path = format!("api/v1/replays/{}/{what}", one.number);
    let row: ReplayRow = caller.post(&path, &json!({}))?;
    if one.remote.json {
        write(out, &row)?;
    } else {
        out.write_all(told_row(&row).as_bytes())?;
    }
    Ok(0)
}

fn listed(rows: &[ReplayRow]) -> String {
    if rows.is_empty() {
        return "no replays\n".into();
    }
    let columns = [
        Column::Right("ID"),
        Column::Left("BEGAN"),
        Column::Left("STATE"),
        Column::Right("REVIVED"),
        Column::Right("DELIVERED"),
        Column::Right("DIED AGAIN"),
        Column::Right("UNDER WAY"),
        Column::Right("LEFT"),
        Column::Left("BY"),
        Column::Left("FILTER"),
    ];
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            [
                row.replay.number.to_string(),
                row.replay.began_at.to_string(),
                row.replay.state.as_str().to_owned(),
                row.revived.to_string(),
                row.delivered.to_string(),
                row.died_again.to_string(),
                row.living.to_string(),
                row.left.map_or("-".to_owned(), |left| left.to_string()),
                row.replay.who.clone(),
                filter(row),
            ]
        })
        .collect();
    table(columns, &rows)
}

/// One replay in a line or two.
fn told_row(row: &ReplayRow) -> String {
    let replay = &row.replay;
    let state = replay.state.as_str();
    let why = replay.why.as_deref();
    let why = why.map_or(String::new(), |why| format!(" ({})", plain(why)));
    let pace = match (replay.rate, replay.budget) {
        (Some(rate), _) => format!("{rate} a second"),
        (None, budget) => format!("{} of the budget", budget.unwrap_or_default()),
    };
    let left = row
        .left
        .map_or(String::new(), |left| format!(", {left} left"));
    let mut text = format!(
        "replay {} is {state}{why}: {} live again{left}; {} delivered, {} died again, {} under way\n",
        replay.number, row.revived, row.delivered, row.died_again, row.living
    );
    let _ = writeln!(
        text,
        "  of {}; {pace}, stops itself when more than {} die again",
        filter(row),
        replay.stop_at
    );
    if replay.still_dead > 0 {
        let _ = writeln!(
            text,
            "  {} cannot run as configured today",
            replay.still_dead
        );
    }
    if replay.left_out > 0 {
        let _ = writeln!(
            text,
            "  {} may have happened (unknown_outcome), and were left out",
            replay.left_out
        );
    }
    text
}

/// `reason=gave_up until=…`.
fn filter(row: &ReplayRow) -> String {
    let pairs = serde_json::to_value(&row.replay.filter).unwrap_or_default();
    let pairs = pairs.as_object().cloned().unwrap_or_default();
    let told = pairs.iter().map(|(name, value)| {
        let text = value.as_str().map_or(value.to_string(), str::to_owned);
        format!("{name}={}", plain(&text))
    });
    told.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::job::Reason;
    use crate::model::time::Timestamp;
    use crate::ops::wire::{Replay, Which};

    #[test]
    fn a_replay_is_told_in_a_line_or_two() {
        let at = Timestamp::from_millis(1_795_770_600_000);
        let replay = Replay {
            number: 7,
            who: "operator-1".into(),
            began_at: at,
            filter: Which {
                reason: Some(Reason::GaveUp),
                until: Some(at),
                ..Which::default()
            },
            rate: None,
            budget: Some(0.25),
            stop_at: 0.2,
            expected: Some(100),
            state: ReplayState::StoppedItself,
            why: Some("8 of 25 died again".into()),
            cursor: None,
            still_dead: 1,
            left_out: 2,
            judged_from: (0, 0),
            ended_at: None,
        };
        let row = ReplayRow {
            replay,
            revived: 40,
            spawned: 17,
            delivered: 17,
            died_again: 8,
            living: 32,
            left: Some(59),
        };
        assert_eq!(
            told_row(&row),
            "replay 7 is stopped_itself (8 of 25 died again): 40 live again, 59 left; 17 delivered, 8 died again, 32 \
             under way\n  of reason=gave_up until=2026-11-27T09:10:00.000Z; 0.25 of the budget, stops itself when more \
             than 0.2 die again\n  1 cannot run as configured today\n  2 may have happened (unknown_outcome), and were left out\n"
        );
        let text = listed(&[row]);
        assert!(
            text.lines().count() == 2 && text.contains("stopped_itself"),
            "{text}"
        );
        assert_eq!(listed(&[]), "no replays\n");
    }
}
