//! Whether a lane may send now: its budget, stops after a 429, its breaker, and holds.
//!
//! Invariants: pure. No request leaves before the end of a stop, whatever the pace allows. A lane that was denied is
//! held until something works again and meanwhile lets one probe through a minute; only an answer to what was sent
//! after the hold began can end it, and none to what was sent before it ended begins it anew. Whoever is denied time and
//! again although probes get through is denied for what it asks. A hold goes before the breaker, an operator's before a
//! denial. A burst of answers to requests that were under way together counts as one throttle.

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
use crate::model::budget::BudgetUse;
use crate::model::time::Timestamp;

/// How long a denied lane waits between two probes.
const PROBE_EVERY: Duration = Duration::from_mins(1);
/// So soon after a hold for a denial ended, another one makes one wonder whether it is the lane that is denied.
const RELAPSE_WITHIN: Duration = Duration::from_mins(1);
/// So often, and it is what was asked.
const RELAPSES_MAX: u32 = 2;
/// After so long nothing is concluded from what was before.
const RELAPSES_FOR: Duration = Duration::from_hours(1);
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

/// What a denial is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The lane, which is held.
    Lane {
        /// It was not before.
        is_new: bool,
    },
    /// What was asked: whatever else was asked between got through.
    Request,
    /// A time that is over: it was sent before the lane's hold ended.
    Late,
}

/// One lane's budget, stops and holds.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    /// The windows, and what is used of them.
    pub budget: Budget,
    /// An operator's, or the configuration's.
    hold: Option<Hold>,
    /// For a denial.
    denied: Option<Hold>,
    probe_at: Timestamp,
    /// When the last hold for a denial ended, and whether something got through.
    denied_until: Option<(Timestamp, bool)>,
    /// How often it was denied again soon after something had got through.
    relapses: u32,
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
            .or(self.denied)
    }

    /// How much of the time from `from` to `now` the lane was held or stopped, or not there yet. An open breaker is
    /// neither: whoever waits for a host that is down grows old.
    pub fn paused(&mut self, from: Timestamp, now: Timestamp) -> Duration {
        self.note_hold(now);
        self.pauses.within(from, now)
    }

    fn note_hold(&mut self, now: Timestamp) {
        let mut holds = [self.hold, self.denied];
        holds.sort_by_key(|hold| hold.map(|hold| hold.since));
        for hold in holds.into_iter().flatten() {
            let until = hold.until.map_or(now, |until| until.min(now));
            self.pauses.note(hold.since, until);
        }
    }

    /// What a process after this one has to know. `last`: nothing leaves any more.
    pub fn remembered(&mut self, now: Timestamp, last: bool) -> BudgetUse {
        BudgetUse {
            stopped_until: self.stopped_until(now),
            ..self.budget.remembered(now, last)
        }
    }

    /// Goes on where a process before this one ended; up to `unknown` requests may have left since that was written down.
    pub fn restore(&mut self, before: &BudgetUse, unknown: u32, now: Timestamp) {
        self.budget.restore(before, unknown, now);
        // The clock may have been set back meanwhile.
        self.stopped_until = before
            .stopped_until
            .map(|until| until.min(now + STOP_TOLD_MAX));
        if let Some(until) = self.stopped_until(now) {
            self.pauses.note(now, until);
        }
    }

    /// A request that was to leave at `sent_at` did not, for its own sake.
    pub fn unsent(&mut self, sent_at: Timestamp, now: Timestamp) {
        self.budget.unsent();
        self.breaker.undecided(sent_at, now);
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

    /// A request sent at `sent_at` was denied. `certain`: for key or address, whatever was asked.
    pub fn denied(&mut self, sent_at: Timestamp, now: Timestamp, certain: bool) -> Denial {
        self.breaker.undecided(sent_at, now);
        let (ended_at, worked) = self.denied_until.unwrap_or_default();
        if sent_at < ended_at {
            return Denial::Late;
        }
        let since = now.since(ended_at);
        let is_new = self.denied.is_none();
        if since > RELAPSES_FOR {
            self.relapses = 0;
        }
        if is_new && worked && !certain && since <= RELAPSE_WITHIN {
            self.relapses += 1;
            if self.relapses > RELAPSES_MAX {
                return Denial::Request;
            }
        }
        self.probe_at = self.probe_at.max(now + PROBE_EVERY);
        if is_new {
            self.note_hold(now);
            self.denied = Some(Hold {
                reason: HoldReason::Denied,
                since: now,
                until: None,
            });
        }
        Denial::Lane { is_new }
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
        if let Some(hold) = self.denied.filter(|hold| sent_at > hold.since) {
            self.note_hold(now);
            self.denied = None;
            self.denied_until = Some((now, true));
            return Some(hold);
        }
        held.filter(|hold| closed && hold.reason == HoldReason::Breaker)
    }

    /// Holds the lane, until `until` or until it is released. A denial shows again behind that.
    pub fn hold(&mut self, reason: HoldReason, now: Timestamp, until: Option<Timestamp>) {
        self.note_hold(now);
        self.hold = Some(Hold {
            reason,
            since: now,
            until,
        });
    }

    /// Key or address is another one now: nothing that was sent before says anything about it. An operator's hold stays, and
    /// so does a stop. Answers whether that ended a hold for a denial.
    pub fn renew(&mut self, now: Timestamp) -> bool {
        self.note_hold(now);
        let was_denied = self.denied.take().is_some();
        self.denied_until = Some((now, false));
        self.relapses = 0;
        self.probe_at = Timestamp::ZERO;
        self.breaker = Breaker::closed(now);
        was_denied
    }

    /// The configuration knows the lane: ends the hold of one that it did not know.
    pub fn configured(&mut self, now: Timestamp) {
        if self
            .hold
            .is_some_and(|hold| hold.reason == HoldReason::Unconfigured)
        {
            self.note_hold(now);
            self.hold = None;
        }
    }

    /// Ends whatever hold there is, the breaker's included. A stop stays: the other side asked for it.
    pub fn release(&mut self, now: Timestamp) {
        self.note_hold(now);
        self.hold = None;
        if self.denied.take().is_some() {
            self.denied_until = Some((now, false));
        }
        self.probe_at = Timestamp::ZERO;
        self.breaker = Breaker::default();
    }
}

#[cfg(test)]
mod tests;
