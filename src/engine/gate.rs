//! Whether a lane may send now: its budget, stops after a 429, and holds.
//!
//! Invariants: pure. No request leaves before the end of a stop, whatever the pace allows. A lane that was denied is
//! held until something works again and meanwhile lets one probe through a minute; only an answer to what was sent
//! after the hold began can end it. A burst of answers to requests that were under way together counts as one throttle.
//!
//! Deliberately absent in this version: the breaker for a host that is down.

pub mod budget;
mod others;
mod rolling;
mod skew;
pub mod spread;
mod standing;
mod window;

use std::time::Duration;

use self::budget::Budget;
use crate::flow::retry;
use crate::model::time::Timestamp;

/// How long a denied lane waits between two probes.
const PROBE_EVERY: Duration = Duration::from_mins(1);
/// The lane's first stop when nobody says how long; with its jitter the longest is [`STOP_UNTOLD_MAX`].
const STOP_UNTOLD_FIRST: Duration = Duration::from_secs(1);
const STOP_UNTOLD_MAX: Duration = Duration::from_mins(1);
/// Nobody is believed for longer: Braze's longest window is the hour.
const STOP_TOLD_MAX: Duration = Duration::from_mins(65);

/// Why a lane is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HoldReason {
    /// 401, 403, or 404 of the endpoint: key, permission or address.
    Denied,
    /// An operator wants it.
    Manual,
    /// The store has work for it and the configuration does not know it.
    Unconfigured,
}

impl HoldReason {
    /// Every reason.
    pub const ALL: [HoldReason; 3] = [
        HoldReason::Denied,
        HoldReason::Manual,
        HoldReason::Unconfigured,
    ];

    /// The label in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            HoldReason::Denied => "denied",
            HoldReason::Manual => "manual",
            HoldReason::Unconfigured => "unconfigured",
        }
    }
}

/// A lane that is not worked for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Why.
    pub reason: HoldReason,
    /// Since when.
    pub since: Timestamp,
    /// Until when, if that is known.
    pub until: Option<Timestamp>,
}

/// What may be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Requests.
    Open,
    /// One request with one call, to see whether it works again.
    Probe,
    /// Nothing before this moment; `None`: until something changes.
    Closed(Option<Timestamp>),
}

/// One lane's budget, stops and holds.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    /// The windows, and what is used of them.
    pub budget: Budget,
    hold: Option<Hold>,
    probe_at: Timestamp,
    stopped_until: Option<Timestamp>,
    /// Throttles in a row, answers of one burst counted once.
    throttles: u32,
}

impl Gate {
    /// Open, with this budget.
    pub fn new(budget: Budget) -> Gate {
        Gate {
            budget,
            ..Gate::default()
        }
    }

    /// What may be sent at `now`.
    pub fn opening(&self, now: Timestamp) -> Opening {
        let stop = self.stopped_until(now);
        let Some(hold) = self.held(now) else {
            return stop.map_or(Opening::Open, |until| Opening::Closed(Some(until)));
        };
        match hold.reason {
            HoldReason::Manual | HoldReason::Unconfigured => Opening::Closed(hold.until),
            HoldReason::Denied => match self.probe_at.max(stop.unwrap_or_default()) {
                probe_at if probe_at > now => Opening::Closed(Some(probe_at)),
                _ => Opening::Probe,
            },
        }
    }

    /// The hold at `now`, if any.
    pub fn held(&self, now: Timestamp) -> Option<Hold> {
        self.hold
            .filter(|hold| hold.until.is_none_or(|until| until > now))
    }

    /// The end of the stop at `now`, if there is one.
    pub fn stopped_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.stopped_until.filter(|until| *until > now)
    }

    /// A probe leaves now.
    pub fn probing(&mut self, now: Timestamp) {
        self.probe_at = now + PROBE_EVERY;
    }

    /// A request sent at `sent_at` was answered 429. Returns until when the lane is stopped: as it was told, else 1 s
    /// to 60 s, longer with every throttle in a row. `jitter` is from 0 to 1. May lower the budget's factor.
    pub fn throttled(
        &mut self,
        sent_at: Timestamp,
        now: Timestamp,
        told: Option<Timestamp>,
        jitter: f64,
    ) -> Timestamp {
        if sent_at >= self.stopped_until.unwrap_or_default() {
            self.throttles = self.throttles.saturating_add(1);
            self.budget.refused(now);
        }
        let wait = retry::backoff(STOP_UNTOLD_FIRST, STOP_UNTOLD_MAX, self.throttles, jitter);
        let untold = now + wait.min(STOP_UNTOLD_MAX);
        let until = told
            .filter(|told| *told > now)
            .map_or(untold, |told| told.min(now + STOP_TOLD_MAX));
        let until = until.max(self.stopped_until.unwrap_or_default());
        self.stopped_until = Some(until);
        until
    }

    /// A request was denied. Returns whether that is new.
    pub fn denied(&mut self, now: Timestamp) -> bool {
        self.probe_at = self.probe_at.max(now + PROBE_EVERY);
        if self.held(now).is_some() {
            return false;
        }
        self.hold = Some(Hold {
            reason: HoldReason::Denied,
            since: now,
            until: None,
        });
        true
    }

    /// A request sent at `sent_at` was taken: the lane works. Returns whether that ended a hold.
    pub fn succeeded(&mut self, sent_at: Timestamp) -> bool {
        if sent_at >= self.stopped_until.unwrap_or_default() {
            self.throttles = 0;
        }
        let ended = self
            .hold
            .is_some_and(|hold| hold.reason == HoldReason::Denied && sent_at > hold.since);
        if ended {
            self.hold = None;
        }
        ended
    }

    /// Holds the lane, until `until` or until it is released.
    pub fn hold(&mut self, reason: HoldReason, now: Timestamp, until: Option<Timestamp>) {
        self.hold = Some(Hold {
            reason,
            since: now,
            until,
        });
    }

    /// Ends whatever hold there is. A stop stays: the other side asked for it.
    pub fn release(&mut self) {
        self.hold = None;
        self.probe_at = Timestamp::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn a_throttle_stops_the_lane_until_the_moment_told_and_no_longer_than_is_believed() {
        let mut gate = Gate::default();
        assert_eq!(gate.opening(at(9)), Opening::Open);
        assert_eq!(gate.throttled(at(9), at(10), Some(at(15)), 0.9), at(15));
        assert_eq!(gate.opening(at(14)), Opening::Closed(Some(at(15))));
        assert_eq!(gate.opening(at(15)), Opening::Open);
        let capped = gate.throttled(at(15), at(20), Some(at(1_000_000)), 0.0);
        assert_eq!(capped, at(20) + STOP_TOLD_MAX);
    }

    #[test]
    fn without_a_word_the_stops_grow_from_one_second_to_sixty_and_a_success_resets_them() {
        let mut gate = Gate::default();
        let mut now = at(100);
        for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
            let until = gate.throttled(now, now, None, 0.0);
            assert_eq!(until, now + Duration::from_secs(expected));
            now = until;
        }
        assert!(gate.throttled(now, now, None, 1.0) <= now + STOP_UNTOLD_MAX);
        now = now + STOP_UNTOLD_MAX;
        gate.succeeded(now);
        assert_eq!(gate.throttled(now, now, None, 0.0), now + STOP_UNTOLD_FIRST);
    }

    #[test]
    fn throttles_of_requests_that_were_under_way_together_count_once() {
        let mut gate = Gate::default();
        gate.throttled(at(10), at(11), None, 0.0);
        let factor = gate.budget.factor(at(11));
        assert!(factor < 1.0, "nothing explains it");
        for _ in 0..60 {
            assert_eq!(gate.throttled(at(10), at(11), None, 0.0), at(12));
        }
        assert!(gate.budget.factor(at(11)) >= factor);
        gate.succeeded(at(10));
        assert_eq!(gate.throttled(at(12), at(12), None, 0.0), at(14));
    }

    #[test]
    fn a_denied_lane_lets_one_probe_through_a_minute_until_one_succeeds() {
        let mut gate = Gate::default();
        assert!(gate.denied(at(10)));
        assert!(!gate.denied(at(10)));
        assert_eq!(gate.opening(at(69)), Opening::Closed(Some(at(70))));
        assert_eq!(gate.opening(at(70)), Opening::Probe);
        gate.probing(at(70));
        assert_eq!(gate.opening(at(71)), Opening::Closed(Some(at(130))));
        assert!(
            !gate.succeeded(at(10)),
            "may have been sent before it was denied"
        );
        assert!(gate.succeeded(at(70)));
        assert_eq!(gate.opening(at(71)), Opening::Open);
    }

    #[test]
    fn a_manual_hold_ends_at_its_end_or_by_release_and_by_nothing_else() {
        let mut gate = Gate::default();
        gate.hold(HoldReason::Manual, at(10), Some(at(20)));
        gate.denied(at(11));
        gate.succeeded(at(12));
        assert_eq!(gate.opening(at(13)), Opening::Closed(Some(at(20))));
        assert_eq!(gate.opening(at(20)), Opening::Open);
        gate.hold(HoldReason::Manual, at(30), None);
        assert_eq!(gate.opening(at(31)), Opening::Closed(None));
        gate.throttled(at(31), at(31), Some(at(40)), 0.0);
        gate.release();
        assert_eq!(gate.opening(at(32)), Opening::Closed(Some(at(40))));
    }
}
