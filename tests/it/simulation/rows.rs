//! The transition table of the documentation, as a simulation walks it.
//!
//! Invariants: a row is named by flow, step, what is heard and where it leads, in the words of the table. What a job does
//! from its own memory, without asking anybody, is told from what was remembered when it was lent.

use std::collections::BTreeSet;

use braze_relay::flow::job::{Commit, Erase, Fate, Job, Outcome, State};
use braze_relay::model::call::{Address, Failure, Profile, Reply};
use braze_relay::model::event::Event;

const TABLE: &str = include_str!("../../../src/flow/transitions.md");

fn row(flow: &str, step: &str, hears: &str, leads: &str) -> String {
    format!("{flow}/{step}: {hears} → {leads}")
}

/// Every row of these flows.
pub fn of_flows(flows: &[&str]) -> BTreeSet<String> {
    let cells = |line: &'static str| -> Vec<&str> {
        let cells = line.trim_matches('|').split('|');
        cells.map(str::trim).collect()
    };
    let name = |cell: &'static str| cell.trim_matches('`');
    TABLE
        .lines()
        .skip(2)
        .map(cells)
        .filter(|cells| flows.contains(&name(cells[0])))
        .map(|cells| row(name(cells[0]), name(cells[1]), cells[3], cells[4]))
        .collect()
}

/// The rows that led from a job as it was lent to this move; none where it failed.
pub fn of(
    before: &Job,
    event: &Event,
    remembered: Option<&Address>,
    heard: Option<&Result<Reply, Failure>>,
    commit: &Commit,
) -> Vec<String> {
    let (flow, step) = (before.state.flow().as_str(), before.state.step());
    let bare = event.event.is_none() && event.attributes.is_none();
    let written = if bare {
        "(nothing to write)"
    } else {
        "(something to write)"
    };
    let leads = leads(before, commit);
    if let (State::Erase(erase), Some(Ok(reply))) = (&before.state, heard) {
        return vec![row(
            flow,
            step,
            &hears_of_removal(erase, reply, event),
            &leads,
        )];
    }
    match (step, heard, remembered) {
        ("recall" | "look_up" | "create", Some(Ok(Reply::Tracked)), Some(_)) => {
            let known = format!("an address remembered {written}");
            vec![
                row(flow, step, &known, "`update`"),
                row(flow, "update", "written", &leads),
            ]
        }
        ("recall" | "look_up" | "create", None, Some(_)) => {
            let known = format!("an address remembered {written}");
            vec![row(flow, step, &known, &leads)]
        }
        ("recall", None, None) => vec![row(flow, step, "no address remembered", &leads)],
        (_, Some(Ok(reply)), _) => {
            let hears = hears(reply, event, written, commit);
            vec![row(flow, step, &hears, &leads)]
        }
        // With nothing to write nobody is asked.
        ("write", None, _) => vec![row(flow, step, "written (nothing left)", &leads)],
        _ => Vec::new(),
    }
}

fn hears_of_removal(erase: &Erase, reply: &Reply, event: &Event) -> String {
    let (Erase::LookUp { rounds, waited }, Reply::Profiles(shown)) = (erase, reply) else {
        return "deleted".into();
    };
    let when = match (rounds, waited) {
        (0, false) => "at first",
        (0, true) => "after a wait, nothing deleted",
        (12, _) => "after twelve deletions",
        _ => "after deletions",
    };
    let theirs = |it: &Profile| it.email.as_ref().is_none_or(|it| *it == event.email);
    let whom = match shown.iter().any(theirs) {
        _ if shown.is_empty() => "no profile",
        true => "profiles with this e-mail",
        false => "only one that shows another e-mail",
    };
    format!("{whom} ({when})")
}

fn hears(reply: &Reply, event: &Event, written: &str, commit: &Commit) -> String {
    match reply {
        Reply::Profiles(shown) => match shown
            .iter()
            .find(|it| it.external_id.is_some())
            .or(shown.first())
        {
            None => "no profile".into(),
            Some(Profile { email: None, .. }) => "a profile that is not whole".into(),
            Some(Profile { phone: None, .. }) => format!("a profile without phone {written}"),
            Some(Profile { phone, .. }) if *phone == event.phone => {
                format!("a profile with this phone {written}")
            }
            Some(_) => format!("a profile with another phone {written}"),
        },
        Reply::Tracked => match commit.fate {
            Fate::Finish(Outcome::UpdatedInPart) => "written (a bad answer dropped)".into(),
            Fate::Finish(Outcome::Updated) if event.source.as_str() == "outgrow" => {
                "written (all answers good)".into()
            }
            _ => "written".into(),
        },
        Reply::Credited => "taken".into(),
        Reply::Deleted => "deleted".into(),
        Reply::Status(_) | Reply::StatusSet | Reply::Remembered(_) => "something else".into(),
    }
}

fn leads(before: &Job, commit: &Commit) -> String {
    match &commit.fate {
        Fate::Keep { job, .. } if job.attempts > before.attempts => {
            "the same, later; an attempt".into()
        }
        Fate::Keep { job, .. } if matches!(job.state, State::Erase(Erase::LookUp { .. })) => {
            format!("`{}`, later", job.state.step())
        }
        Fate::Keep { job, .. } => format!("`{}`", job.state.step()),
        Fate::Finish(outcome) if commit.spawn.is_empty() => format!("done `{outcome}`"),
        Fate::Finish(outcome) => format!("done `{outcome}`, credit"),
        Fate::Bury { burial, .. } => format!("dead `{}`", burial.reason),
    }
}
