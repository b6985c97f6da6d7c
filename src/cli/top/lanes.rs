//! The rows of lanes: which columns fit, and what stands in them.
//!
//! Invariants: pure. A lane's depth and whether it is held are in every row, however narrow.

use super::write::{clock, count, eta, middle, short, width};
use crate::cli::text::plain;
use crate::model::time::Timestamp;
use crate::ops::wire::LaneRow;

/// How wide the bar of a budget is.
const BAR: usize = 10;

/// How wide what is, on a screen of some width.
pub(super) struct Columns {
    lane: usize,
    state: usize,
    times: bool,
    bar: bool,
}

impl Columns {
    pub(super) fn of(columns: usize, lanes: &[&LaneRow]) -> Columns {
        let longest = |of: &dyn Fn(&&LaneRow) -> usize| lanes.iter().map(of).max().unwrap_or(0);
        let (times, bar) = (columns >= 60, columns >= 76);
        let fixed = match (times, bar) {
            (_, true) => 7 + 9 + 9 + BAR + 8,
            (true, false) => 7 + 9 + 9 + 6,
            (false, false) => 7,
        };
        let state = longest(&|lane| width(&state(lane, times, false))).max(5);
        let rest = columns.saturating_sub(fixed + 1);
        let lane = longest(&|lane| width(&lane.lane))
            .max(6)
            .min(rest.saturating_sub(state).max(8));
        Columns {
            lane,
            state: rest.saturating_sub(lane),
            times,
            bar,
        }
    }

    pub(super) fn head(&self) -> String {
        let mut text = format!("{:<1$} {2:>6}", "LANE", self.lane, "DEPTH");
        if self.times {
            text += &format!(" {:>8} {:>8}", "OLDEST", "ETA");
        }
        if self.bar {
            text += &format!(" {:<1$}", "BUDGET USED", BAR + 7);
        } else if self.times {
            text += &format!(" {:>5}", "USED");
        }
        format!("{text} STATE")
    }

    pub(super) fn lane(&self, lane: &LaneRow) -> String {
        let name = middle(&plain(&lane.lane), self.lane);
        let mut text = format!("{name:<0$} {1:>6}", self.lane, count(lane.depth));
        if self.times {
            let oldest = lane.oldest_seconds.map_or("-".into(), short);
            let eta = eta(lane.depth, lane.eta_seconds);
            text += &format!(" {oldest:>8} {eta:>8}");
        }
        if self.bar {
            text += &format!(" {:<1$}", bar(lane.budget_used_ratio), BAR + 7);
        } else if self.times {
            text += &format!(" {:>5}", percent(lane.budget_used_ratio));
        }
        let whole = state(lane, self.times, true);
        let brief = state(lane, self.times, false);
        let state = if width(&whole) <= self.state {
            whole
        } else {
            brief
        };
        format!("{text} {state}")
    }
}

/// What a lane does. `times`: how long it takes stands elsewhere; `whole`: with the end of what keeps it.
fn state(lane: &LaneRow, times: bool, whole: bool) -> String {
    let end = |until| if whole { ending(until) } else { String::new() };
    match (&lane.held, lane.stopped_until) {
        (Some(held), _) => format!("HELD {}{}", held.reason, end(held.until)),
        (None, Some(until)) => format!("throttled{}", end(Some(until))),
        (None, None) if times => "open".into(),
        (None, None) => format!("eta {}", eta(lane.depth, lane.eta_seconds)),
    }
}

pub(super) fn ending(until: Option<Timestamp>) -> String {
    until.map_or(String::new(), |until| format!(" until {}", clock(until)))
}

fn percent(ratio: Option<f64>) -> String {
    ratio.map_or("-".into(), |ratio| format!("{:.0}%", ratio * 100.0))
}

fn bar(ratio: Option<f64>) -> String {
    let Some(part) = ratio else {
        return "-".into();
    };
    let full = ((part.clamp(0.0, 1.0) * BAR as f64).round() as usize).min(BAR);
    let (full, empty) = ("#".repeat(full), "-".repeat(BAR - full));
    format!("[{full}{empty}] {}", percent(ratio))
}
