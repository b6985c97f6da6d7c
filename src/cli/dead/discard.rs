//! `braze-relay dead discard`: dead letters that nobody wants to replay.
//!
//! Invariants: without `--yes` nothing is done, and what would be done is counted; whatever is discarded is in the audit with
//! why.

use std::io::Write;

use super::super::remote::{Caller, Failed, write};
use super::{Discard, PAGE, filters};
use crate::config::Env;
use crate::ops::wire::{self, Discarded, Which};

pub(super) fn run(args: &Discard, env: &Env, out: &mut impl Write) -> Result<u8, Failed> {
    super::chosen(&args.ids, args.all, &args.filters)?;
    let caller = args.remote.caller(env)?;
    let which = args.filters.which(&caller)?;
    if !args.yes {
        let json = args.remote.json;
        if !args.ids.is_empty() {
            return super::previewed(&args.ids, "discarded", &caller, json, out);
        }
        let counts = filters::counts(&caller, &which)?;
        return super::told_preview(&counts.by_reason, "discarded", json, out);
    }
    let discarded = if args.ids.is_empty() {
        by_filter(&caller, which, &args.because)?
    } else {
        by_ids(&caller, args)?
    };
    if args.remote.json {
        write(out, &discarded)?;
    } else {
        writeln!(out, "{} discarded", discarded.discarded)?;
        for id in &discarded.not_found {
            writeln!(out, "no dead letter (any more): {id}")?;
        }
    }
    Ok(u8::from(!discarded.not_found.is_empty()))
}

fn by_ids(caller: &Caller, args: &Discard) -> Result<Discarded, Failed> {
    let mut sum = Discarded::default();
    for some in args.ids.chunks(PAGE) {
        let asked = wire::Discard {
            ids: some.to_vec(),
            filter: None,
            because: args.because.clone(),
        };
        let part: Discarded = caller.post("api/v1/dead/discard", &asked)?;
        sum.discarded += part.discarded;
        sum.not_found.extend(part.not_found);
    }
    Ok(sum)
}

fn by_filter(caller: &Caller, mut which: Which, because: &str) -> Result<Discarded, Failed> {
    let mut sum = Discarded::default();
    which.limit = Some(PAGE);
    loop {
        let asked = wire::Discard {
            ids: Vec::new(),
            filter: Some(which.clone()),
            because: because.to_owned(),
        };
        let part: Discarded = caller.post("api/v1/dead/discard", &asked)?;
        sum.discarded += part.discarded;
        (which.after, which.until) = (part.next, part.until);
        if which.after.is_none() {
            return Ok(sum);
        }
    }
}
