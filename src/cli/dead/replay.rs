//! `braze-relay dead replay`: dead letters live again.
//!
//! Invariants: without `--yes` nothing is done, and what would be done is told. Letters named by their ids live again at
//! once; those of a filter by a replay that the relay itself carries out, at its pace.

use std::fmt::Write as _;
use std::io::Write;

use super::super::remote::{Caller, Failed, write};
use super::super::replay;
use super::super::text::{plain, remaining, tally};
use super::{PAGE, Replay, listed, would_be};
use crate::config::Env;
use crate::model::id::JobId;
use crate::ops::wire::{Ids, NewReplay, Preview, ReplayRow, Replayed};

/// How many letters a preview shows.
const SAMPLE: usize = 5;

pub(super) fn run(args: &Replay, env: &Env, out: &mut impl Write) -> Result<u8, Failed> {
    super::chosen(&args.ids, args.all, &args.filters)?;
    let paced = args.rate.is_some() || args.budget.is_some() || args.stop_at.is_some();
    if !args.ids.is_empty() && paced {
        return Err(Failed::Usage(
            "letters named by their ids live again at once: --rate, --budget and --stop-at go with filters".into(),
        ));
    }
    let caller = args.remote.caller(env)?;
    if !args.ids.is_empty() {
        return named(args, &caller, out);
    }
    let mut asked = NewReplay {
        filter: args.filters.which(&caller)?,
        rate: args.rate,
        budget: args.budget,
        stop_at: args.stop_at,
        expected: None,
    };
    let preview = previewed(&caller, &asked)?;
    if !args.yes {
        if args.remote.json {
            let mut document = serde_json::to_value(&preview).map_err(std::io::Error::from)?;
            document["preview"] = true.into();
            document["eta_seconds"] = eta(&preview).into();
            write(out, &document)?;
        } else {
            out.write_all(foretold(&preview).as_bytes())?;
        }
        return Ok(0);
    }
    asked.expected = Some(preview.count);
    asked.filter.until = preview.until;
    if !args.remote.json {
        out.write_all(left_out(&preview).as_bytes())?;
    }
    let row: ReplayRow = caller.post("api/v1/replays", &asked)?;
    let number = row.replay.number;
    let code = replay::told(&caller, row, args.watch, args.remote.json, out)?;
    if !args.remote.json && !args.watch {
        writeln!(
            out,
            "the relay carries it out: `replay show {number} --watch` tells how far it is"
        )?;
    }
    Ok(code)
}

/// Letters by their ids.
fn named(args: &Replay, caller: &Caller, out: &mut impl Write) -> Result<u8, Failed> {
    if !args.yes {
        return super::previewed(&args.ids, "replayed", caller, args.remote.json, out);
    }
    let replayed = replay_ids(caller, &args.ids)?;
    if args.remote.json {
        write(out, &replayed)?;
    } else {
        out.write_all(told(&replayed).as_bytes())?;
    }
    let whole = replayed.still_dead.is_empty() && replayed.not_found.is_empty();
    Ok(u8::from(!whole))
}

/// The whole preview, slice by slice.
fn previewed(caller: &Caller, asked: &NewReplay) -> Result<Preview, Failed> {
    let mut asked = asked.clone();
    let mut sum = Preview::default();
    loop {
        let slice: Preview = caller.post("api/v1/replays/preview", &asked)?;
        asked.filter.after = slice.next;
        asked.filter.until = slice.until;
        add(&mut sum, slice);
        if asked.filter.after.is_none() {
            return Ok(sum);
        }
    }
}

fn add(sum: &mut Preview, slice: Preview) {
    sum.count += slice.count;
    sum.left_out += slice.left_out;
    for (reason, count) in slice.by_reason {
        *sum.by_reason.entry(reason).or_default() += count;
    }
    for (reason, count) in slice.still_dead {
        *sum.still_dead.entry(reason).or_default() += count;
    }
    for (name, lane) in slice.lanes {
        let letters = lane.letters;
        let row = sum.lanes.entry(name).or_default();
        let before = row.letters;
        *row = lane;
        row.letters = before + letters;
    }
    let room = SAMPLE.saturating_sub(sum.sample.len());
    sum.sample.extend(slice.sample.into_iter().take(room));
    sum.until = slice.until;
}

/// How long the slowest lane takes, at the pace that is asked for.
fn eta(preview: &Preview) -> f64 {
    let lanes = preview.lanes.values();
    let each = lanes.map(|lane| lane.letters as f64 / lane.per_second.max(1e-9));
    each.fold(0.0, f64::max)
}

/// Tells what would be replayed.
fn foretold(preview: &Preview) -> String {
    let mut text = String::new();
    if preview.count > 0 {
        text += &listed(&preview.sample, None, None);
        text += "\n";
    }
    for (name, lane) in &preview.lanes {
        let held = lane.held.as_deref();
        let held = held.map_or(String::new(), |held| {
            format!("; it is held ({held}), and the replay waits for that")
        });
        let (letters, per_second) = (lane.letters, lane.per_second);
        let name = plain(name);
        let _ = writeln!(
            text,
            "{name}: {letters}, up to {per_second:.1} a second{held}"
        );
    }
    let dead: u64 = preview.still_dead.values().sum();
    if dead > 0 {
        let reasons = preview.still_dead.iter();
        let reasons = tally(reasons.map(|(reason, count)| (reason.as_str(), *count)));
        let _ = writeln!(
            text,
            "{dead} of them cannot run as configured today: {reasons}"
        );
    }
    if !preview.lanes.is_empty() {
        let _ = writeln!(text, "it would take about {}", remaining(eta(preview)));
    }
    text + &left_out(preview) + &would_be("replayed", &preview.by_reason)
}

/// What is not replayed although it matches, and why.
fn left_out(preview: &Preview) -> String {
    match preview.left_out {
        0 => String::new(),
        count => format!(
            "{count} more may have happened (unknown_outcome), and are left out: to replay them, say --reason \
             unknown_outcome, or their ids\n"
        ),
    }
}

fn replay_ids(caller: &Caller, ids: &[JobId]) -> Result<Replayed, Failed> {
    let mut sum = Replayed::default();
    for some in ids.chunks(PAGE) {
        let asked = Ids { ids: some.to_vec() };
        let part: Replayed = caller.post("api/v1/dead/replay", &asked)?;
        sum.revived += part.revived;
        sum.still_dead.extend(part.still_dead);
        sum.not_found.extend(part.not_found);
    }
    Ok(sum)
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::job::Reason;
    use crate::ops::wire::PreviewLane;

    #[test]
    fn slices_of_a_preview_are_added_up_and_the_slowest_lane_says_how_long_it_takes() {
        let slice = |letters| Preview {
            count: letters + 1,
            left_out: letters / 100,
            by_reason: [(Reason::GaveUp, letters + 1)].into(),
            still_dead: [(Reason::NoFlow, 1)].into(),
            lanes: [
                (
                    "acme/users_export_ids".to_owned(),
                    PreviewLane {
                        letters,
                        per_second: 10.0,
                        held: None,
                    },
                ),
                (
                    "acme/users_track".to_owned(),
                    PreviewLane {
                        letters,
                        per_second: 1000.0,
                        held: Some("breaker".into()),
                    },
                ),
            ]
            .into(),
            ..Preview::default()
        };
        let mut sum = Preview::default();
        add(&mut sum, slice(700));
        add(&mut sum, slice(500));
        let text = foretold(&sum);
        let lines: Vec<&str> = text
            .lines()
            .skip_while(|line| !line.contains("export"))
            .collect();
        assert_eq!(
            lines,
            [
                "acme/users_export_ids: 1200, up to 10.0 a second",
                "acme/users_track: 1200, up to 1000.0 a second; it is held (breaker), and the replay waits for that",
                "2 of them cannot run as configured today: no_flow 2",
                "it would take about 2m",
                "12 more may have happened (unknown_outcome), and are left out: to replay them, say --reason \
                 unknown_outcome, or their ids",
                "1202 would be replayed (gave_up 1202); nothing was done: add --yes to do it",
            ]
        );
        let nothing = "no dead letters match: none would be replayed\n";
        assert_eq!(foretold(&Preview::default()), nothing);
    }
}
