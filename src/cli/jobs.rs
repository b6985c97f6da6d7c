//! `braze-relay jobs`: jobs that are not done, living and dead: list and show.
//!
//! Invariants: nobody's whole address is shown.

use std::fmt::Write as _;
use std::io::Write;

use serde_json::json;

use super::dead::{When, said};
use super::remote::{Failed, Remote, write};
use super::text::{Column, plain, table, tally};
use crate::config::Env;
use crate::flow::job::{Class, Flow, JobState, Reason};
use crate::model::id::JobId;
use crate::ops::wire::{JobHeld, JobPage, JobRow, JobShown, WhichJobs};

/// What one request asks for.
const PAGE: usize = 1000;

/// List and show jobs that are not done
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    List(List),
    Show(Show),
}

/// List jobs that live or are dead, oldest event first
///
/// A participant's are found at once; whoever asks for anything else goes through all jobs behind --since, a bounded slice
/// at a time, so that the relay is not held up.
///
/// Exit codes: 0 ok, 1 no (the token may not), 2 usage, 3 the relay cannot be reached.
#[derive(Debug, clap::Args)]
struct List {
    /// Only of this workspace
    #[arg(long, value_name = "NAME")]
    workspace: Option<String>,
    /// Only of this activation
    #[arg(long, value_name = "Q_SCOPE")]
    activation: Option<String>,
    /// Only of this flow
    #[arg(long, value_name = "FLOW")]
    flow: Option<Flow>,
    /// Only in this state: waiting, ready, in_flight or dead
    #[arg(long, value_name = "STATE")]
    state: Option<JobState>,
    /// Only those that died for this reason
    #[arg(long, value_name = "REASON")]
    reason: Option<Reason>,
    /// Only those that died of this class of failure
    #[arg(long, value_name = "CLASS")]
    class: Option<Class>,
    /// Only those whose event was accepted since: a moment (RFC 3339), or so long ago, such as 2h
    #[arg(long, value_name = "WHEN", value_parser = When::parse)]
    since: Option<When>,
    /// Only those whose event was accepted until: a moment (RFC 3339), or so long ago, such as 2h
    #[arg(long, value_name = "WHEN", value_parser = When::parse)]
    until: Option<When>,
    /// Only of this participant: an e-mail, or the hash that `jobs show` tells
    #[arg(long, value_name = "EMAIL|HASH")]
    participant: Option<String>,
    /// Go on where a list before ended
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<JobId>,
    /// Show so many at most
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    #[command(flatten)]
    remote: Remote,
}

/// Show one job: where it stands, what went wrong with it, what comes next
///
/// Exit codes: 0 ok, 1 it is done, or never was, 2 usage, 3 the relay cannot be reached.
#[derive(Debug, clap::Args)]
struct Show {
    /// The job, as `jobs list` names it
    id: JobId,
    #[command(flatten)]
    remote: Remote,
}

/// Runs the command with the environment of this process; returns the exit code.
pub fn run(args: &Args) -> u8 {
    let env = Env::from_process();
    let out = &mut std::io::stdout().lock();
    let (remote, answered) = match &args.command {
        Command::List(args) => (&args.remote, list(args, &env, out)),
        Command::Show(args) => (&args.remote, show(args, &env, out)),
    };
    answered.unwrap_or_else(|failed| failed.tell(remote))
}

fn list(args: &List, env: &Env, out: &mut impl Write) -> Result<u8, Failed> {
    let caller = args.remote.caller(env)?;
    let [since, until] = When::moments([args.since, args.until], &caller)?;
    let mut which = WhichJobs {
        workspace: args.workspace.clone(),
        activation: args.activation.clone(),
        flow: args.flow,
        state: args.state,
        reason: args.reason,
        class: args.class,
        since,
        until,
        participant: args.participant.clone(),
        after: args.cursor,
        limit: None,
    };
    let mut items: Vec<JobRow> = Vec::new();
    let next = loop {
        let room = args.limit.saturating_sub(items.len());
        if room == 0 {
            break which.after;
        }
        which.limit = Some(room.min(PAGE));
        let page: JobPage = caller.find("api/v1/jobs", &which)?;
        items.extend(page.items);
        match page.next {
            None => break None,
            next => which.after = next,
        }
    };
    if args.remote.json {
        write(out, &json!({ "items": items, "next": next }))?;
    } else {
        out.write_all(listed(&items, next).as_bytes())?;
    }
    Ok(0)
}

fn listed(items: &[JobRow], next: Option<JobId>) -> String {
    let mut text = String::new();
    if !items.is_empty() {
        let columns = [
            Column::Left("ID"),
            Column::Left("ACCEPTED AT"),
            Column::Left("WORKSPACE"),
            Column::Left("ACTIVATION"),
            Column::Left("FLOW"),
            Column::Left("STEP"),
            Column::Left("STATE"),
            Column::Left("DUE"),
            Column::Right("FAILED"),
            Column::Left("PARTICIPANT"),
            Column::Left("BECAUSE"),
        ];
        let rows: Vec<_> = items.iter().map(row).collect();
        text += &table(columns, &rows);
        text += "\n";
    }
    let states = items.iter().map(|item| (item.state.as_str(), 1));
    let _ = match items.len() {
        0 => writeln!(text, "no jobs"),
        1 => writeln!(text, "1 job: {}", tally(states)),
        count => writeln!(text, "{count} jobs: {}", tally(states)),
    };
    if let Some(next) = next {
        let _ = writeln!(text, "there may be more: --cursor {next}");
    }
    text
}

fn row(item: &JobRow) -> [String; 11] {
    let or_dash = |text: Option<String>| text.unwrap_or("-".into());
    [
        item.id.to_string(),
        item.accepted_at.to_string(),
        or_dash(item.workspace.clone()),
        item.activation.clone(),
        or_dash(item.flow.map(|flow| flow.to_string())),
        or_dash(item.step.clone()),
        item.state.to_string(),
        or_dash(item.due.map(|due| due.to_string())),
        item.failures.to_string(),
        item.participant.clone(),
        because(item),
    ]
}

/// Why it is where it is, in a few words.
fn because(item: &JobRow) -> String {
    let reason = item.last_failure.as_ref().and_then(|last| last.reason);
    match (reason, &item.held) {
        (Some(reason), _) => reason.to_string(),
        (None, Some(held)) => format!("HELD: {}", held_told(held)),
        (None, None) if item.behind => "behind an earlier one".into(),
        (None, None) => "-".into(),
    }
}

fn held_told(held: &JobHeld) -> String {
    match (&held.activation, &held.lane) {
        (Some(activation), _) => format!("activation {activation} ({})", held.reason),
        (None, lane) => format!(
            "{} ({})",
            lane.as_deref().unwrap_or("its lane"),
            held.reason
        ),
    }
}

fn show(args: &Show, env: &Env, out: &mut impl Write) -> Result<u8, Failed> {
    let caller = args.remote.caller(env)?;
    let job: JobShown = caller.get(&format!("api/v1/jobs/{}", args.id))?;
    if args.remote.json {
        write(out, &job)?;
    } else {
        out.write_all(shown(&job).as_bytes())?;
    }
    Ok(0)
}

fn shown(job: &JobShown) -> String {
    let row = &job.row;
    let or_dash = |text: Option<String>| text.unwrap_or("-".into());
    let mut text = String::new();
    let last = row.last_failure.as_ref();
    for (name, value) in [
        ("id", row.id.to_string()),
        (
            "event",
            format!("{} (from {})", row.event_id, row.source.as_str()),
        ),
        ("state", row.state.to_string()),
        ("due", or_dash(row.due.map(|due| due.to_string()))),
        ("held", or_dash(row.held.as_ref().map(held_told))),
        ("workspace", or_dash(row.workspace.clone())),
        ("activation", row.activation.clone()),
        ("flow", or_dash(row.flow.map(|flow| flow.to_string()))),
        ("step", row.step.clone().unwrap_or("it never began".into())),
        ("lane", or_dash(row.lane.clone())),
        (
            "participant",
            format!("{} {}", row.participant, row.participant_hash),
        ),
        ("accepted at", row.accepted_at.to_string()),
        (
            "replay",
            or_dash(row.replay.map(|replay| replay.to_string())),
        ),
        (
            "died of",
            or_dash(last.and_then(|last| {
                let (reason, class) = (last.reason?, last.class?);
                Some(format!("{reason} (class {class}) at {}", last.at))
            })),
        ),
        (
            "last answer",
            or_dash(last.map(|last| said(last.answer.status, &last.answer.text, usize::MAX))),
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
    let earlier = u64::from(row.failures).saturating_sub(job.history.len() as u64);
    if earlier > 0 {
        let _ = writeln!(text, "  {earlier} earlier ones are only counted");
    }
    for attempt in &job.history {
        let answer = said(attempt.answer.status, &attempt.answer.text, usize::MAX);
        let line = format!("{} {}: {answer}", attempt.at, attempt.step);
        let _ = writeln!(text, "  {}", plain(&line));
    }
    text += "what comes next:\n";
    for (number, step) in job.plan.iter().enumerate() {
        let _ = writeln!(text, "  {}. {}", number + 1, plain(step));
    }
    text
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;
    use crate::flow::job::Attempt;
    use crate::model::call::Answer;
    use crate::model::event::Source;
    use crate::model::time::Timestamp;
    use crate::ops::wire::LastFailure;

    fn held_row() -> JobRow {
        let now = Timestamp::from_millis(1_795_770_600_000);
        let id: JobId = "019b0000-0000-7000-8000-000000000000".parse().unwrap();
        JobRow {
            id,
            event_id: id.event,
            source: Source::Quikly,
            workspace: Some("acme".into()),
            activation: "spring-drop".into(),
            flow: Some(Flow::Email),
            step: Some("look_up".into()),
            lane: Some("acme/users_export_ids".into()),
            state: JobState::Ready,
            due: Some(now),
            behind: false,
            held: Some(JobHeld {
                activation: None,
                lane: Some("acme/users_export_ids".into()),
                reason: "denied".into(),
                since: now,
                until: None,
            }),
            attempts: 0,
            failures: 3,
            last_failure: None,
            participant: "a***@example.com".into(),
            participant_hash: "00ff".into(),
            accepted_at: now,
            replay: None,
        }
    }

    #[test]
    fn a_list_says_why_a_job_is_where_it_is_and_where_to_go_on() {
        let held = held_row();
        let dead = JobRow {
            state: JobState::Dead,
            due: None,
            held: None,
            last_failure: Some(LastFailure {
                at: held.accepted_at,
                step: None,
                reason: Some(Reason::GaveUp),
                class: Some(Class::Transient),
                answer: Answer::default(),
            }),
            ..held_row()
        };
        assert_eq!(
            listed(&[held_row(), dead], Some(held.id)),
            "\
ID                                    ACCEPTED AT               WORKSPACE  ACTIVATION   FLOW   STEP     STATE  DUE                       FAILED  PARTICIPANT       BECAUSE
019b0000-0000-7000-8000-000000000000  2026-11-27T09:10:00.000Z  acme       spring-drop  email  look_up  ready  2026-11-27T09:10:00.000Z       3  a***@example.com  HELD: acme/users_export_ids (denied)
019b0000-0000-7000-8000-000000000000  2026-11-27T09:10:00.000Z  acme       spring-drop  email  look_up  dead   -                              3  a***@example.com  gave_up

2 jobs: dead 1, ready 1
there may be more: --cursor 019b0000-0000-7000-8000-000000000000
"
        );
        assert_eq!(listed(&[], None), "no jobs\n");
    }

    #[test]
    fn one_job_is_told_with_its_history_and_what_comes_next() {
        let row = held_row();
        let attempt = Attempt {
            at: row.accepted_at,
            step: "look_up".into(),
            answer: Answer {
                status: Some(503),
                text: "busy\u{1b}".into(),
            },
        };
        let text = shown(&JobShown {
            row,
            history: vec![attempt],
            plan: vec!["wait".into(), "look up".into()],
        });
        assert!(
            text.ends_with(
                "\
attempts     0 at this step, 3 failed in all
  2 earlier ones are only counted
  2026-11-27T09:10:00.000Z look_up: 503 busy?
what comes next:
  1. wait
  2. look up
"
            ),
            "{text}"
        );
    }
}
