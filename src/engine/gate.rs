//! Whether a lane may send now: its budget, stops after a 429, its breaker, and holds.
//!
//! Invariants: pure. No request leaves before the end of a stop, whatever the pace allows. A lane that was denied is
//! held until something works again and meanwhile lets one probe through a minute; only an answer to what was sent
//! after the hold began can end it. A hold goes before the breaker. A burst of answers to requests that were under way
//! together counts as one throttle.

mod breaker;
pub mod budget;
mod others;
mod pauses;
mod rolling;
mod skew;
pub mod spread;
mod standing;
mod window;

use std::time::Duration;

use self::breaker::Breaker;
use self::budget::Budget;
use self::pauses::Pauses;
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
    /// Request after request has failed: the other side seems to be down.
    Breaker,
}

impl HoldReason {
    /// Every reason.
    pub const ALL: [HoldReason; 4] = [
        HoldReason::Denied,
        HoldReason::Manual,
        HoldReason::Unconfigured,
        HoldReason::Breaker,
    ];

    /// The label in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            HoldReason::Denied => "denied",
            HoldReason::Manual => "manual",
            HoldReason::Unconfigured => "unconfigured",
            HoldReason::Breaker => "breaker",
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
    breaker: Breaker,
    pauses: Pauses,
}

impl Gate {
    /// Open, with this budget. `start`: there was a process before this one, and this one began then.
    pub fn new(budget: Budget, start: Option<Timestamp>) -> Gate {
        Gate {
            budget,
            pauses: Pauses::since(start.unwrap_or_default()),
            ..Gate::default()
        }
    }

    /// What may be sent at `now`.
    pub fn opening(&self, now: Timestamp) -> Opening {
        let opening = match self.hold_at(now) {
            None => self.breaker.opening(now),
            Some(hold) if hold.reason == HoldReason::Denied => match self.probe_at {
                probe_at if probe_at > now => Opening::Closed(Some(probe_at)),
                _ => Opening::Probe,
            },
            Some(hold) => Opening::Closed(hold.until),
        };
        match (opening, self.stopped_until(now)) {
            (Opening::Open | Opening::Probe, Some(until)) => Opening::Closed(Some(until)),
            (Opening::Closed(Some(at)), Some(until)) => Opening::Closed(Some(at.max(until))),
            (opening, _) => opening,
        }
    }

    /// The hold at `now`, if any.
    pub fn held(&self, now: Timestamp) -> Option<Hold> {
        let open = |since| Hold {
            reason: HoldReason::Breaker,
            since,
            until: None,
        };
        let breaker = self.breaker.open_since().map(open);
        self.hold_at(now).or(breaker)
    }

    /// The hold at `now` that is not the breaker's.
    fn hold_at(&self, now: Timestamp) -> Option<Hold> {
        self.hold
            .filter(|hold| hold.until.is_none_or(|until| until > now))
    }

    /// How much of the time from `from` to `now` the lane was held or stopped, or not there yet. An open breaker is
    /// neither: whoever waits for a host that is down grows old.
    pub fn paused(&mut self, from: Timestamp, now: Timestamp) -> Duration {
        self.note_hold(now);
        self.pauses.within(from, now)
    }

    fn note_hold(&mut self, now: Timestamp) {
        if let Some(hold) = self.hold {
            let until = hold.until.map_or(now, |until| until.min(now));
            self.pauses.note(hold.since, until);
        }
    }

    /// The end of the stop at `now`, if there is one.
    pub fn stopped_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.stopped_until.filter(|until| *until > now)
    }

    /// A probe leaves now.
    pub fn probing(&mut self, now: Timestamp) {
        self.probe_at = now + PROBE_EVERY;
        self.breaker.probing();
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
        self.note_hold(now);
        self.pauses.note(now, until);
        self.breaker.undecided(sent_at, now);
        until
    }

    /// A request sent at `sent_at` was denied. Returns whether that is new.
    pub fn denied(&mut self, sent_at: Timestamp, now: Timestamp) -> bool {
        self.breaker.undecided(sent_at, now);
        self.probe_at = self.probe_at.max(now + PROBE_EVERY);
        let is_new = self.hold_at(now).is_none();
        if is_new {
            self.hold(HoldReason::Denied, now, None);
        }
        is_new
    }

    /// A request sent at `sent_at` failed, or nobody knows what became of it. Returns whether that opened the breaker.
    /// `jitter` is from 0 to 1.
    pub fn failed(&mut self, sent_at: Timestamp, now: Timestamp, jitter: f64) -> bool {
        self.breaker.failed(sent_at, now, jitter)
    }

    /// A request sent at `sent_at` was taken: the lane works. Returns the hold that this ended, the breaker's included.
    pub fn succeeded(&mut self, sent_at: Timestamp, now: Timestamp) -> Option<Hold> {
        if sent_at >= self.stopped_until.unwrap_or_default() {
            self.throttles = 0;
        }
        let held = self.held(now);
        let closed = self.breaker.succeeded(sent_at, now).is_some();
        match held? {
            hold if hold.reason == HoldReason::Denied && sent_at > hold.since => {
                self.note_hold(now);
                self.hold = None;
                Some(hold)
            }
            hold => Some(hold).filter(|hold| closed && hold.reason == HoldReason::Breaker),
        }
    }

    /// Holds the lane, until `until` or until it is released.
    pub fn hold(&mut self, reason: HoldReason, now: Timestamp, until: Option<Timestamp>) {
        self.note_hold(now);
        self.hold = Some(Hold {
            reason,
            since: now,
            until,
        });
    }

    /// Ends whatever hold there is, the breaker's included. A stop stays: the other side asked for it.
    pub fn release(&mut self, now: Timestamp) {
        self.note_hold(now);
        self.hold = None;
        self.probe_at = Timestamp::ZERO;
        self.breaker = Breaker::default();
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
        gate.succeeded(now, now);
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
        gate.succeeded(at(10), at(12));
        assert_eq!(gate.throttled(at(12), at(12), None, 0.0), at(14));
    }

    #[test]
    fn a_denied_lane_lets_one_probe_through_a_minute_until_one_succeeds() {
        let mut gate = Gate::default();
        assert!(gate.denied(at(9), at(10)));
        assert!(!gate.denied(at(9), at(10)));
        assert_eq!(gate.opening(at(69)), Opening::Closed(Some(at(70))));
        assert_eq!(gate.opening(at(70)), Opening::Probe);
        gate.probing(at(70));
        assert_eq!(gate.opening(at(71)), Opening::Closed(Some(at(130))));
        assert!(
            gate.succeeded(at(10), at(70)).is_none(),
            "may have been sent before it was denied"
        );
        assert_eq!(
            gate.succeeded(at(70), at(71)).map(|it| it.since),
            Some(at(10))
        );
        assert_eq!(gate.opening(at(71)), Opening::Open);
    }

    #[test]
    fn a_manual_hold_ends_at_its_end_or_by_release_and_by_nothing_else() {
        let mut gate = Gate::default();
        gate.hold(HoldReason::Manual, at(10), Some(at(20)));
        gate.denied(at(10), at(11));
        gate.succeeded(at(12), at(12));
        assert_eq!(gate.opening(at(13)), Opening::Closed(Some(at(20))));
        assert_eq!(gate.opening(at(20)), Opening::Open);
        gate.hold(HoldReason::Manual, at(30), None);
        assert_eq!(gate.opening(at(31)), Opening::Closed(None));
        gate.throttled(at(31), at(31), Some(at(40)), 0.0);
        gate.release(at(32));
        assert_eq!(gate.opening(at(32)), Opening::Closed(Some(at(40))));
    }

    fn reason(gate: &Gate, now: Timestamp) -> Option<HoldReason> {
        gate.held(now).map(|hold| hold.reason)
    }

    #[test]
    fn a_hold_of_an_operator_and_a_denial_go_before_the_breaker() {
        let mut gate = Gate::default();
        for _ in 0..5 {
            gate.failed(at(10), at(10), 0.0);
        }
        assert_eq!(reason(&gate, at(10)), Some(HoldReason::Breaker));
        assert_eq!(gate.opening(at(11)), Opening::Probe);
        gate.hold(HoldReason::Manual, at(11), Some(at(20)));
        assert_eq!(gate.opening(at(12)), Opening::Closed(Some(at(20))));
        assert_eq!(reason(&gate, at(12)), Some(HoldReason::Manual));
        assert_eq!(gate.opening(at(20)), Opening::Probe);
        gate.probing(at(20));
        assert!(gate.denied(at(20), at(21)), "the breaker is no denial");
        assert_eq!(gate.opening(at(30)), Opening::Closed(Some(at(81))));
        gate.probing(at(81));
        let ended = gate.succeeded(at(81), at(82)).map(|hold| hold.reason);
        assert_eq!(ended, Some(HoldReason::Denied));
        assert_eq!(gate.opening(at(82)), Opening::Open);
        for _ in 0..5 {
            gate.failed(at(90), at(90), 0.0);
        }
        gate.throttled(at(90), at(90), Some(at(99)), 0.0);
        assert_eq!(gate.opening(at(92)), Opening::Closed(Some(at(99))));
        gate.release(at(92));
        assert_eq!(gate.opening(at(99)), Opening::Open);
    }

    #[test]
    fn a_probe_that_is_throttled_or_denied_is_followed_by_another() {
        let mut gate = Gate::default();
        for _ in 0..5 {
            gate.failed(at(10), at(10), 0.0);
        }
        gate.probing(at(11));
        gate.throttled(at(11), at(12), Some(at(20)), 0.0);
        assert_eq!(gate.opening(at(19)), Opening::Closed(Some(at(20))));
        assert_eq!(gate.opening(at(20)), Opening::Probe);
        gate.probing(at(20));
        gate.denied(at(20), at(21));
        gate.hold(HoldReason::Manual, at(22), Some(at(30)));
        assert_eq!(gate.opening(at(30)), Opening::Probe);
    }

    #[test]
    fn holds_and_stops_are_pauses_and_an_open_breaker_is_none() {
        let mut gate = Gate::default();
        gate.hold(HoldReason::Manual, at(10), Some(at(20)));
        assert_eq!(gate.paused(at(0), at(15)).as_secs(), 5);
        assert_eq!(gate.paused(at(0), at(30)).as_secs(), 10);
        gate.denied(at(30), at(30));
        gate.throttled(at(35), at(35), Some(at(38)), 0.0);
        assert_eq!(gate.paused(at(0), at(40)).as_secs(), 20);
        gate.succeeded(at(45), at(45));
        assert_eq!(gate.paused(at(0), at(50)).as_secs(), 25);
        gate.throttled(at(50), at(50), Some(at(58)), 0.0);
        assert_eq!(gate.paused(at(45), at(55)).as_secs(), 5);
        gate.hold(HoldReason::Manual, at(60), None);
        gate.release(at(70));
        for _ in 0..5 {
            gate.failed(at(80), at(80), 0.0);
        }
        assert_eq!(gate.paused(at(45), at(100)).as_secs(), 8 + 10);
    }
}
