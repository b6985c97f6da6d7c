//! `braze-relay dead replay`: dead letters live again.
//!
//! Invariants: without `--yes` nothing is done, and what would be done is told.

use std::fmt::Write as _;
use std::io::Write;

use serde_json::json;

use super::super::remote::{Caller, Failed, write};
use super::super::text::tally;
use super::{ByReason, PAGE, Replay, by_reason, pages};
use crate::config::Env;
use crate::model::id::JobId;
use crate::model::time::Timestamp;
use crate::ops::wire::{Letter, Replayed, Status, Which};

pub(super) fn run(args: &Replay, env: &Env, out: &mut impl Write) -> Result<u8, Failed> {
    let caller = args.remote.caller(env)?;
    let filters = args.filters.which();
    let filtered = filters != Which::default();
    if !args.ids.is_empty() && filtered {
        return Err(Failed::Usage("filters go with --all, not with ids".into()));
    }
    if args.ids.is_empty() && !args.all && !filtered {
        return Err(Failed::Usage(
            "say which dead letters: their ids, filters, or --all".into(),
        ));
    }
    if !args.yes {
        let counts = if args.ids.is_empty() {
            count_matching(&caller, filters)?
        } else {
            count_named(&caller, &args.ids)?
        };
        return preview(&counts, args.remote.json, out);
    }
    let replayed = if args.ids.is_empty() {
        replay_all(&caller, filters)?
    } else {
        replay_ids(&caller, &args.ids)?
    };
    if args.remote.json {
        write(out, &replayed)?;
    } else {
        out.write_all(told(&replayed).as_bytes())?;
    }
    let whole = replayed.still_dead.is_empty() && replayed.not_found.is_empty();
    Ok(u8::from(!whole))
}

fn count_matching(caller: &Caller, mut which: Which) -> Result<ByReason, Failed> {
    which.limit = Some(PAGE);
    which.until = Some(now(caller)?);
    let mut counts = ByReason::new();
    loop {
        let page = pages(caller, &which)?;
        for (reason, count) in by_reason(&page.items) {
            *counts.entry(reason).or_default() += count;
        }
        which.after = page.next;
        if which.after.is_none() {
            return Ok(counts);
        }
    }
}

fn count_named(caller: &Caller, ids: &[JobId]) -> Result<ByReason, Failed> {
    let letter = |id| caller.get::<Letter>(&format!("api/v1/dead/{id}"), &[]);
    let rows: Result<Vec<_>, _> = ids
        .iter()
        .map(|id| letter(id).map(|letter| letter.row))
        .collect();
    Ok(by_reason(&rows?))
}

/// Tells what would be replayed.
fn preview(counts: &ByReason, json: bool, out: &mut impl Write) -> Result<u8, Failed> {
    let count: u64 = counts.values().sum();
    if json {
        write(
            out,
            &json!({ "preview": true, "count": count, "by_reason": counts }),
        )?;
    } else if count == 0 {
        writeln!(out, "no dead letters match: there is nothing to replay")?;
    } else {
        let reasons = counts
            .iter()
            .map(|(reason, count)| (reason.as_str(), *count));
        let reasons = tally(reasons);
        writeln!(
            out,
            "{count} would be replayed ({reasons}); nothing was done: add --yes to do it"
        )?;
    }
    Ok(0)
}

/// The relay's time, by which its letters died.
fn now(caller: &Caller) -> Result<Timestamp, Failed> {
    let status: Status = caller.get("api/v1/status", &[])?;
    Ok(status.now)
}

fn replay_all(caller: &Caller, filters: Which) -> Result<Replayed, Failed> {
    let mut sum = Replayed::default();
    let mut which = Which {
        all: Some(true),
        ..filters
    };
    loop {
        let replayed: Replayed = caller.post("api/v1/dead/replay", &which)?;
        which.after = replayed.next;
        which.until = replayed.until;
        add(&mut sum, replayed);
        if which.after.is_none() {
            return Ok(sum);
        }
    }
}

fn replay_ids(caller: &Caller, ids: &[JobId]) -> Result<Replayed, Failed> {
    let mut sum = Replayed::default();
    for some in ids.chunks(PAGE) {
        let which = Which {
            ids: some.to_vec(),
            ..Which::default()
        };
        add(&mut sum, caller.post("api/v1/dead/replay", &which)?);
    }
    Ok(sum)
}

fn add(sum: &mut Replayed, part: Replayed) {
    sum.revived += part.revived;
    sum.still_dead.extend(part.still_dead);
    sum.not_found.extend(part.not_found);
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
