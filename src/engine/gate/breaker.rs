//! Whether the other side of a lane seems to be down, by what became of the requests it was sent.
//!
//! Invariants: pure. Enough failures in a row open it. Only what was sent since its last change counts, so that many
//! requests that were under way together change it once. While it is open one probe at a time leaves, a wait after the
//! last one was answered; the waits grow to seconds, not to minutes: fresh work must not wait long for a host that is
//! back. A success of what was sent since it opened closes it.
//!
//! Deliberately absent: which answers are failures, and that there are other reasons to hold a lane.

use std::time::Duration;

use super::Opening;
use crate::flow::retry;
use crate::model::time::Timestamp;

/// Failures in a row that open it. At a fifth of requests failing that is one in some thousand.
const OPENS_AFTER: u32 = 5;
/// The first wait for a probe, and the longest; with its jitter it is up to half as long again.
const WAIT_FIRST: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(4);

/// One lane's breaker.
#[derive(Clone, Debug)]
pub(super) enum Breaker {
    /// Requests leave.
    Closed {
        /// Since when.
        since: Timestamp,
        /// Of what was sent since then, the latest failures without a success between.
        failures: u32,
    },
    /// Nothing leaves but probes.
    Open {
        /// Since when.
        since: Timestamp,
        /// How many of them have failed.
        failures: u32,
        /// When the next one may leave; `None` while one is under way.
        probe_at: Option<Timestamp>,
    },
}

impl Default for Breaker {
    fn default() -> Breaker {
        Breaker::closed(Timestamp::ZERO)
    }
}

impl Breaker {
    /// Closed; what was sent before `since` says nothing.
    pub(super) fn closed(since: Timestamp) -> Breaker {
        Breaker::Closed { since, failures: 0 }
    }

    /// What may be sent at `now`.
    pub(super) fn opening(&self, now: Timestamp) -> Opening {
        match *self {
            Breaker::Closed { .. } => Opening::Open,
            Breaker::Open { probe_at, .. } => match probe_at {
                Some(probe_at) if probe_at <= now => Opening::Probe,
                probe_at => Opening::Closed(probe_at),
            },
        }
    }

    /// Since when it is open, if it is.
    pub(super) fn open_since(&self) -> Option<Timestamp> {
        match *self {
            Breaker::Closed { .. } => None,
            Breaker::Open { since, .. } => Some(since),
        }
    }

    /// A probe leaves.
    pub(super) fn probing(&mut self) {
        if let Breaker::Open { probe_at, .. } = self {
            *probe_at = None;
        }
    }

    /// A request sent at `sent_at` failed. Returns whether that opened it. `jitter` is from 0 to 1.
    pub(super) fn failed(&mut self, sent_at: Timestamp, now: Timestamp, jitter: f64) -> bool {
        let wait = |probes| now + retry::backoff(WAIT_FIRST, WAIT_MAX, probes, jitter);
        match self {
            Breaker::Closed { since, failures } if sent_at >= *since => {
                *failures += 1;
                let opens = *failures >= OPENS_AFTER;
                if opens {
                    *self = Breaker::Open {
                        since: now,
                        failures: 0,
                        probe_at: Some(wait(1)),
                    };
                }
                opens
            }
            Breaker::Open {
                since,
                failures,
                probe_at,
            } if sent_at > *since => {
                *failures = failures.saturating_add(1);
                *probe_at = Some(wait(failures.saturating_add(1)));
                false
            }
            Breaker::Closed { .. } | Breaker::Open { .. } => false,
        }
    }

    /// A request sent at `sent_at` was answered by something that says nothing about the other side's health.
    pub(super) fn undecided(&mut self, sent_at: Timestamp, now: Timestamp) {
        match self {
            Breaker::Open {
                since,
                probe_at: probe_at @ None,
                ..
            } if sent_at > *since => *probe_at = Some(now + WAIT_FIRST),
            Breaker::Closed { .. } | Breaker::Open { .. } => {}
        }
    }

    /// A request sent at `sent_at` was taken. Returns since when it was open, if that closed it.
    pub(super) fn succeeded(&mut self, sent_at: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let open = match self {
            Breaker::Closed { failures, .. } => {
                *failures = 0;
                None
            }
            Breaker::Open { since, .. } => Some(*since).filter(|since| sent_at > *since),
        };
        if open.is_some() {
            *self = Breaker::Closed {
                since: now,
                failures: 0,
            };
        }
        open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + millis)
    }

    /// Opened at 0.
    fn open() -> Breaker {
        let mut breaker = Breaker::default();
        for failure in 1..=OPENS_AFTER {
            assert_eq!(breaker.failed(at(0), at(0), 0.0), failure == OPENS_AFTER);
        }
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_begins_the_row_anew() {
        let mut breaker = Breaker::default();
        for _ in 0..3 {
            for _ in 1..OPENS_AFTER {
                assert!(!breaker.failed(at(0), at(0), 0.0));
            }
            assert_eq!(breaker.succeeded(at(0), at(0)), None);
            assert_eq!(breaker.opening(at(0)), Opening::Open);
        }
        assert_eq!(open().opening(at(0)), Opening::Closed(Some(at(1000))));
        assert_eq!(open().open_since(), Some(at(0)));
    }

    #[test]
    fn one_probe_at_a_time_leaves_and_the_waits_between_them_double_up_to_seconds() {
        let mut breaker = open();
        let mut now = at(1000);
        for wait in [2000, 4000, 4000, 4000] {
            assert_eq!(breaker.opening(now), Opening::Probe);
            breaker.probing();
            let answered = now + Duration::from_secs(30);
            assert_eq!(breaker.opening(answered), Opening::Closed(None));
            breaker.failed(now, answered, 0.0);
            now = answered + Duration::from_millis(wait);
            assert_eq!(
                breaker.opening(now - Duration::from_millis(1)),
                Opening::Closed(Some(now))
            );
        }
        let mut late = breaker.clone();
        late.failed(now, now, 1.0);
        let latest = now + WAIT_MAX.mul_f64(1.5);
        assert_eq!(late.opening(now), Opening::Closed(Some(latest)));
        assert_eq!(breaker.succeeded(now, now), Some(at(0)));
        assert_eq!(breaker.opening(now), Opening::Open);
    }

    #[test]
    fn answers_to_what_was_under_way_together_change_it_once() {
        let mut breaker = open();
        for _ in 0..100 {
            assert!(!breaker.failed(at(0), at(500), 0.0));
            assert_eq!(breaker.succeeded(at(0), at(500)), None);
            assert_eq!(breaker.opening(at(1)), Opening::Closed(Some(at(1000))));
        }
        breaker.probing();
        breaker.succeeded(at(1000), at(1100));
        for _ in 0..100 {
            assert!(
                !breaker.failed(at(0), at(1200), 0.0),
                "sent before it closed"
            );
        }
        assert_eq!(breaker.opening(at(1200)), Opening::Open);
    }

    #[test]
    fn a_probe_that_is_throttled_or_denied_is_followed_by_another() {
        let mut breaker = open();
        breaker.probing();
        breaker.undecided(at(0), at(1100));
        assert_eq!(breaker.opening(at(1200)), Opening::Closed(None));
        breaker.undecided(at(1000), at(1300));
        assert_eq!(breaker.opening(at(2300)), Opening::Probe);
    }
}
