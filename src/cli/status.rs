//! `braze-relay status`: where everything is, at a glance.

use std::fmt::Write as _;
use std::io::Write;

use super::remote::{Failed, Remote, write};
use super::text::{Column, bytes, duration, plain, remaining, table, tally};
use crate::config::Env;
use crate::ops::wire::{ActivationRow, Events, HeldActivation, History, LaneRow, Moment, Status};

/// Show where everything is: events, rates, jobs, lanes, the store
///
/// The first line is the promise: accepted = done + dead + queued + discarded + forgotten, counted by event. Of each lane: the
/// calls that are due, for how long the first of them has been, how long they still take, its pace and how much of its
/// budget is used, and whether and why it is held. braze-relay top shows it as it happens.
///
/// Exit codes: 0 ok, 1 no (the numbers do not add up, it is not ready, or the token may not), 2 usage, 3 the relay cannot
/// be reached.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    remote: Remote,
    /// Only say whether the relay is ready: 0 yes, 1 no. Needs no token
    #[arg(long)]
    ready: bool,
}

/// What is read of `/readyz`.
#[derive(serde::Deserialize, serde::Serialize)]
struct Readiness {
    ready: bool,
    reasons: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusing: Option<String>,
}

/// Runs the command with the environment of this process; returns the exit code.
pub fn run(args: &Args) -> u8 {
    answer(args, &Env::from_process(), &mut std::io::stdout().lock())
        .unwrap_or_else(|failed| failed.tell(&args.remote))
}

fn answer(args: &Args, env: &Env, out: &mut impl Write) -> Result<u8, Failed> {
    let caller = args.remote.caller(env)?;
    if args.ready {
        let readiness: Readiness = caller.look("readyz")?;
        if args.remote.json {
            write(out, &readiness)?;
        } else {
            out.write_all(readiness.text().as_bytes())?;
        }
        return Ok(u8::from(!readiness.ready));
    }
    let status: Status = caller.get("api/v1/status")?;
    let mut history: History = caller.get("api/v1/history")?;
    let moment = history.moments.pop();
    if args.remote.json {
        let status = &status;
        write(out, &Told { status, moment })?;
    } else {
        out.write_all(render(&status, moment.as_ref()).as_bytes())?;
    }
    Ok(u8::from(!status.events.adds_up))
}

/// The one document.
#[derive(serde::Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    status: &'a Status,
    /// The last one of the history, over ten seconds.
    moment: Option<Moment>,
}

impl Readiness {
    /// What is wrong comes first, then what is refused for now.
    fn text(&self) -> String {
        let state = if self.ready {
            "ready".to_owned()
        } else {
            format!("not ready: {}", self.reasons.join("; "))
        };
        let refusing = self.refusing.iter();
        let refusing = refusing.map(|why| format!("takes no new events: {}\n", plain(why)));
        format!("{}\n{}", plain(&state), refusing.collect::<String>())
    }
}

fn render(status: &Status, moment: Option<&Moment>) -> String {
    let mut text = conservation(&status.events);
    text += &moment.map_or(String::new(), rates);
    let _ = writeln!(
        text,
        "{}, version {}, up {}",
        status.now,
        plain(&status.version),
        duration(status.uptime_seconds as f64)
    );
    if !status.jobs.is_empty() {
        text += "\n";
        text += &jobs(status);
    }
    if status.activations.iter().any(|row| row.due > 0) {
        text += "\n";
        text += &activations(&status.activations, &status.held_activations);
    }
    if !status.dead.is_empty() {
        let reasons = status.dead.iter();
        text += "\ndead letters by reason: ";
        text += &tally(reasons.map(|dead| (dead.reason.as_str(), dead.count)));
        text += "; see braze-relay dead list\n";
    }
    if !status.held_activations.is_empty() {
        text += "\n";
    }
    text += &held_activations(&status.held_activations);
    if !status.lanes.is_empty() {
        text += "\n";
        text += &lanes(&status.lanes);
    }
    let store = &status.store;
    let _ = writeln!(
        text,
        "\nstore: {}, {} of disk free, {}",
        bytes(store.bytes),
        bytes(store.free_bytes),
        match &store.refusing {
            None => "takes new events".to_owned(),
            Some(why) => format!("TAKES NO NEW EVENTS: {}", plain(why)),
        }
    );
    text
}

fn rates(moment: &Moment) -> String {
    let rate = |rate: f64| match rate {
        ..10.0 => format!("{rate:.1}/s"),
        _ => format!("{rate:.0}/s"),
    };
    format!(
        "rates: accepted {}, done {}, credits {}, died {}; depth {}, oldest {}\n",
        rate(moment.accepted_per_second),
        rate(moment.done_per_second),
        rate(moment.credits_per_second),
        rate(moment.dead_per_second),
        moment.depth,
        moment.oldest_seconds.map_or("-".into(), duration)
    )
}

fn conservation(events: &Events) -> String {
    let Events {
        accepted,
        done,
        dead,
        queued,
        discarded,
        forgotten,
        adds_up,
    } = events;
    let (equals, warning) = if *adds_up {
        ("=", "")
    } else {
        ("≠", "  THIS DOES NOT ADD UP: please report it")
    };
    format!(
        "events: accepted {accepted} {equals} done {done} + dead {dead} + queued {queued} + discarded {discarded} + forgotten {forgotten}{warning}\n"
    )
}

fn jobs(status: &Status) -> String {
    let rows: Vec<_> = status
        .jobs
        .iter()
        .map(|jobs| {
            [
                jobs.group.workspace.clone(),
                jobs.group.activation.clone(),
                jobs.group.flow.clone(),
                jobs.waiting.to_string(),
                jobs.ready.to_string(),
                jobs.in_flight.to_string(),
                jobs.dead.to_string(),
            ]
        })
        .collect();
    let columns = [
        Column::Left("WORKSPACE"),
        Column::Left("ACTIVATION"),
        Column::Left("FLOW"),
        Column::Right("WAITING"),
        Column::Right("READY"),
        Column::Right("IN FLIGHT"),
        Column::Right("DEAD"),
    ];
    table(columns, &rows)
}

/// Those that have something to do now.
fn activations(all: &[ActivationRow], held: &[HeldActivation]) -> String {
    let is_held = |row: &ActivationRow| {
        let name = (&row.workspace, &row.activation);
        held.iter()
            .any(|it| (&it.workspace, &it.activation) == name)
    };
    let rows: Vec<_> = all
        .iter()
        .filter(|row| row.due > 0)
        .map(|row| {
            [
                row.workspace.clone(),
                row.activation.clone(),
                row.due.to_string(),
                eta(row.due, row.eta_seconds, is_held(row)),
            ]
        })
        .collect();
    let columns = [
        Column::Left("WORKSPACE"),
        Column::Left("ACTIVATION"),
        Column::Right("DUE"),
        Column::Right("ETA"),
    ];
    table(columns, &rows)
}

/// How long what is due takes: `-` for nothing, `?` where nobody knows.
fn eta(due: u64, seconds: Option<f64>, is_held: bool) -> String {
    match (due, seconds) {
        (0, _) => "-".into(),
        (_, Some(seconds)) => remaining(seconds),
        (_, None) if is_held => "held".into(),
        (_, None) => "?".into(),
    }
}

/// One line each, under their heads.
pub(super) fn lanes(lanes: &[LaneRow]) -> String {
    let rows: Vec<_> = lanes
        .iter()
        .map(|lane| {
            [
                lane.lane.clone(),
                lane.depth.to_string(),
                lane.waiting.to_string(),
                lane.oldest_seconds.map_or("-".into(), duration),
                eta(lane.depth, lane.eta_seconds, lane.held.is_some()),
                lane.in_flight.to_string(),
                pace(lane),
                used(lane),
                state(lane),
            ]
        })
        .collect();
    let columns = [
        Column::Left("LANE"),
        Column::Right("DUE"),
        Column::Right("LATER"),
        Column::Right("OLDEST"),
        Column::Right("ETA"),
        Column::Right("REQUESTS"),
        Column::Right("PACE"),
        Column::Right("USED"),
        Column::Left("STATE"),
    ];
    table(columns, &rows)
}

/// One line each.
pub(super) fn held_activations(all: &[HeldActivation]) -> String {
    all.iter().map(held_activation).collect()
}

fn held_activation(held: &HeldActivation) -> String {
    let why = match (held.reason.as_str(), held.died_of) {
        (_, Some(reason)) => format!("too many died of {} in a row", reason.as_str()),
        ("invalid_group", None) => "Braze does not know its subscription group".into(),
        (other, None) => format!("{other}{}", said(held.because.as_deref())),
    };
    let (workspace, activation) = (plain(&held.workspace), plain(&held.activation));
    let until = held.until;
    let until = until.map_or(String::new(), |until| format!(" until {until}"));
    format!(
        "{workspace}: activation {activation} is HELD since {}{until}: {why}; its jobs wait; release it with braze-relay lane release --activation {activation}\n",
        held.since
    )
}

/// Why, in an operator's words.
fn said(because: Option<&str>) -> String {
    because.map_or(String::new(), |because| format!(" ({})", plain(because)))
}

fn pace(lane: &LaneRow) -> String {
    let objects = lane.objects_max.filter(|objects| *objects > 1);
    let objects = objects.map_or(String::new(), |objects| format!(" × {objects}"));
    match lane.requests_per_second {
        Some(pace) if pace < 10.0 => format!("{pace:.1}/s{objects}"),
        Some(pace) => format!("{pace:.0}/s{objects}"),
        None => "-".into(),
    }
}

fn used(lane: &LaneRow) -> String {
    let ratio = lane.budget_used_ratio;
    ratio.map_or("-".into(), |ratio| format!("{:.0} %", ratio * 100.0))
}

fn state(lane: &LaneRow) -> String {
    match (&lane.held, lane.stopped_until) {
        (Some(held), _) => {
            let until = held
                .until
                .map_or(String::new(), |until| format!(" until {until}"));
            let because = said(held.because.as_deref());
            format!("HELD: {}{because} since {}{until}", held.reason, held.since)
        }
        (None, Some(until)) => format!("throttled until {until}"),
        (None, None) => "open".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::job::Reason;
    use crate::model::time::Timestamp;
    use crate::ops::wire::{Dead, Group, Held, HeldActivation, Jobs, StoreRow};

    fn moment(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_795_770_600_000 + seconds * 1000)
    }

    fn lane(name: &str) -> LaneRow {
        LaneRow {
            lane: name.into(),
            depth: 0,
            waiting: 0,
            oldest_seconds: None,
            eta_seconds: Some(0.0),
            in_flight: 0,
            requests_per_second: None,
            budget_used_ratio: None,
            objects_max: None,
            held: None,
            stopped_until: None,
        }
    }

    fn row(activation: &str, due: u64, eta_seconds: Option<f64>) -> ActivationRow {
        ActivationRow {
            workspace: "acme".into(),
            activation: activation.into(),
            due,
            eta_seconds,
        }
    }

    fn status() -> Status {
        let group = Group {
            workspace: "acme".into(),
            activation: "spring-drop".into(),
            flow: "email".into(),
        };
        Status {
            version: "0.1.0".into(),
            now: moment(0),
            uptime_seconds: 123,
            events: Events {
                accepted: 10,
                done: 4,
                dead: 1,
                queued: 3,
                discarded: 2,
                forgotten: 0,
                adds_up: true,
            },
            jobs: vec![Jobs {
                group: group.clone(),
                waiting: 1,
                ready: 1,
                in_flight: 1,
                dead: 1,
            }],
            dead: vec![Dead {
                group,
                reason: Reason::GaveUp,
                count: 1,
            }],
            done: Vec::new(),
            activations: vec![
                row("spring-drop", 2, Some(7_322.0)),
                row("idle", 0, Some(0.0)),
                row("autumn", 3, None),
                row("winter", 1, None),
            ],
            held_activations: vec![HeldActivation {
                workspace: "acme".into(),
                activation: "autumn".into(),
                reason: "burials".into(),
                died_of: Some(Reason::Rejected),
                since: moment(3),
                until: None,
                because: None,
            }],
            lanes: vec![
                LaneRow {
                    depth: 2,
                    waiting: 1,
                    oldest_seconds: Some(61.5),
                    eta_seconds: Some(0.2),
                    in_flight: 1,
                    requests_per_second: Some(1000.0),
                    budget_used_ratio: Some(0.417),
                    objects_max: Some(75),
                    ..lane("acme/users_track")
                },
                LaneRow {
                    depth: 5,
                    eta_seconds: None,
                    held: Some(Held {
                        reason: "denied".into(),
                        since: moment(1),
                        until: None,
                        because: None,
                    }),
                    requests_per_second: Some(4.1666),
                    objects_max: Some(1),
                    ..lane("acme/users_export_ids")
                },
                LaneRow {
                    stopped_until: Some(moment(2)),
                    ..lane("acme/quikly")
                },
            ],
            store: StoreRow {
                bytes: 12_345_678,
                free_bytes: 9_000_000_000,
                commit: 7,
                refusing: None,
            },
        }
    }

    fn last() -> Moment {
        Moment {
            at: moment(0),
            accepted_per_second: 12.4,
            done_per_second: 7.25,
            dead_per_second: 0.0,
            credits_per_second: 3.0,
            depth: 7,
            waiting: 1,
            oldest_seconds: Some(61.5),
            dead: 1,
        }
    }

    #[test]
    fn everything_is_told_in_a_screenful() {
        assert_eq!(
            render(&status(), Some(&last())),
            "\
events: accepted 10 = done 4 + dead 1 + queued 3 + discarded 2 + forgotten 0
rates: accepted 12/s, done 7.2/s, credits 3.0/s, died 0.0/s; depth 7, oldest 1m 1s
2026-11-27T09:10:00.000Z, version 0.1.0, up 2m 3s

WORKSPACE  ACTIVATION   FLOW   WAITING  READY  IN FLIGHT  DEAD
acme       spring-drop  email        1      1          1     1

WORKSPACE  ACTIVATION   DUE    ETA
acme       spring-drop    2  2h 3m
acme       autumn         3   held
acme       winter         1      ?

dead letters by reason: gave_up 1; see braze-relay dead list

acme: activation autumn is HELD since 2026-11-27T09:10:03.000Z: too many died of rejected in a row; its jobs wait; release it with braze-relay lane release --activation autumn

LANE                   DUE  LATER  OLDEST   ETA  REQUESTS         PACE  USED  STATE
acme/users_track         2      1   1m 1s    1s         1  1000/s × 75  42 %  open
acme/users_export_ids    5      0       -  held         0        4.2/s     -  HELD: denied since 2026-11-27T09:10:01.000Z
acme/quikly              0      0       -     -         0            -     -  throttled until 2026-11-27T09:10:02.000Z

store: 12.3 MB, 9.0 GB of disk free, takes new events
"
        );
    }

    #[test]
    fn what_is_wrong_is_told_loudly() {
        let mut status = status();
        status.events.adds_up = false;
        status.events.done = 3;
        status.store.refusing = Some("the disk is full".into());
        let text = render(&status, None);
        assert!(
            text.starts_with("events: accepted 10 ≠ done 3 + "),
            "{text}"
        );
        assert!(text.contains("DOES NOT ADD UP"), "{text}");
        assert!(
            text.contains("TAKES NO NEW EVENTS: the disk is full"),
            "{text}"
        );
    }
}
