//! What Braze reports of its limits, held against what is configured.
//!
//! Invariants: pure. Rate headers tell a number and when its window begins anew, and never how long it is: the length is
//! inferred, and where several fit, the one is taken by which report and configuration are least apart.

use std::collections::BTreeMap;
use std::time::Duration;

use super::finding::{Verdict, ok, unknown, warn};
use crate::config::Limit;
use crate::model::budget::{Reset, Word};
use crate::model::lane::LaneKind;
use crate::model::time::Timestamp;

/// The lengths that Braze's windows have ("API limits" in its documentation).
const LENGTHS: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_mins(1),
    Duration::from_hours(1),
];
/// Moments are told in whole seconds.
const SLACK: Duration = Duration::from_secs(1);
/// Of a limit that is granted less is used than this: worth a word.
const LITTLE: f64 = 0.5;

/// What one answer told of one lane's budget.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Report {
    pub word: Word,
    /// When, by the clock that the word goes by.
    pub at: Timestamp,
}

/// By lane.
pub(super) type Reports = BTreeMap<LaneKind, Report>;

impl Report {
    /// Whether a window of this length can be the one.
    fn can_be(&self, length: Duration) -> bool {
        match self.word.reset {
            Reset::In(rest) => rest <= length + SLACK,
            Reset::At(moment) => {
                // Braze's windows are aligned to the clock.
                let aligned = moment.as_millis().is_multiple_of(length.as_millis() as u64);
                moment.since(self.at) <= length + SLACK && aligned
            }
        }
    }

    /// The limit as a configuration would say it; `None` when no length of a window fits.
    pub fn as_limit(&self, configured: &[Limit]) -> Option<Limit> {
        let requests = self.word.limit;
        let fitting = configured.iter().filter(|limit| self.can_be(limit.window));
        let apart = |limit: &&Limit| f64::from(limit.requests).ln() - f64::from(requests).ln();
        let nearest = fitting.min_by(|one, other| apart(one).abs().total_cmp(&apart(other).abs()));
        let mut usual = LENGTHS.into_iter().filter(|length| self.can_be(*length));
        let window = nearest.map(|limit| limit.window).or_else(|| usual.next())?;
        Some(Limit { requests, window })
    }
}

/// How a lane's `configured` limits, of which `share` is used, stand against what was reported: with the detail, and what
/// to do where something is to be done.
pub(super) fn compare(
    lane: LaneKind,
    configured: &[Limit],
    share: f64,
    report: &Report,
) -> Verdict {
    let Some(told) = report.as_limit(configured) else {
        let requests = report.word.limit;
        return unknown(format!(
            "Braze reports {requests} requests, of a window whose length cannot be told"
        ));
    };
    let scaled = |limit: &Limit| {
        f64::from(limit.requests) * told.window.as_secs_f64() / limit.window.as_secs_f64()
    };
    let same_window = configured.iter().find(|it| it.window == told.window);
    let ours = same_window.map(scaled);
    let ours = ours.or_else(|| configured.iter().map(scaled).reduce(f64::min));
    let used = ours.unwrap_or(f64::INFINITY) * share;
    let of_share = if share < 1.0 {
        format!(" at share {share}")
    } else {
        String::new()
    };
    let left = report.word.remaining;
    let all: Vec<String> = configured.iter().map(written).collect();
    let all = all.join(" and ");
    let granted = f64::from(told.requests);
    let shown = written(&told);
    if used > granted * 1.001 {
        let detail = format!("configured {all}{of_share}, Braze reports {shown}");
        let remedy = format!(
            "set {lane} = [\"{shown}\"] in the workspace's braze.limits, or ask Braze for more"
        );
        warn(detail, remedy)
    } else if used < granted * LITTLE {
        let part = 100.0 * used / granted;
        ok(format!(
            "Braze reports {shown}, {left} left; {all}{of_share} uses {part:.0} % of that"
        ))
    } else {
        ok(format!(
            "{all}{of_share}; Braze reports {shown}, {left} left"
        ))
    }
}

/// As the configuration writes it: `3000/3s`, `250000/h`.
pub(super) fn written(limit: &Limit) -> String {
    let seconds = limit.window.as_secs();
    let (count, unit) = match seconds {
        _ if seconds > 0 && seconds.is_multiple_of(3600) => (seconds / 3600, "h"),
        _ if seconds > 0 && seconds.is_multiple_of(60) => (seconds / 60, "min"),
        _ => (seconds, "s"),
    };
    match count {
        1 => format!("{}/{unit}", limit.requests),
        count => format!("{}/{count}{unit}", limit.requests),
    }
}
