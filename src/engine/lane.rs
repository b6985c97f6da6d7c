//! The pace of a lane: governor, told the time by our clock, within what the budget allows.
//!
//! Invariants: a request leaves only when every window of the budget has room for it; those make exceeding impossible.
//! governor makes it even: the full rate with a burst of 1.5 % of the window. While the other side says what is left,
//! the budget itself spreads that over the time that is left, and governor only keeps it below [`BRISK`] times the full
//! rate: what was lost at a window's boundary can be made up for in the same window. The only file that names governor.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock as GovernorClock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use super::gate::budget::Budget;
use super::gate::spread::burst;
use crate::clock::Clock;
use crate::config::Limit;
use crate::model::lane::LaneKind;

/// How many times as fast as the full rate it may go while the other side says what is left. A guard on both sides of
/// the boundary of a window of one second, and the slowest answers reckoned with, take a fifth of it.
const BRISK: f64 = 1.5;

/// Our clock as governor reads it: time since it was made.
#[derive(Clone, Debug)]
struct Elapsed(Clock);

impl GovernorClock for Elapsed {
    type Instant = Duration;
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, Elapsed, NoOpMiddleware<Duration>>;

/// The pace of one lane.
#[derive(Debug)]
pub(super) struct Pace {
    clock: Clock,
    limits: Vec<Smooth>,
}

/// One limit made even.
#[derive(Debug)]
struct Smooth {
    /// Which of the lane's limits.
    index: usize,
    /// Without a word from the other side.
    even: Limiter,
    /// While it says what is left.
    brisk: Limiter,
    /// The next request has its place already.
    paid: bool,
}

impl Pace {
    /// `share` (0–1) of each of `limits`; without limits nothing is slowed down.
    pub(super) fn new(limits: &[Limit], share: f64, clock: &Clock) -> Pace {
        let limiter = |limit: &Limit, times: f64| {
            let elapsed = Elapsed(clock.clone());
            quota(*limit, share, times).map(|quota| RateLimiter::direct_with_clock(quota, elapsed))
        };
        let limits = limits.iter().enumerate().filter_map(|(index, limit)| {
            Some(Smooth {
                index,
                even: limiter(limit, 1.0)?,
                brisk: limiter(limit, BRISK)?,
                paid: false,
            })
        });
        Pace {
            clock: clock.clone(),
            limits: limits.collect(),
        }
    }

    /// Whether the next request may leave now; else how long, on our clock, it must wait unless an answer changes that.
    /// `None`: only an answer can.
    pub(super) fn check(&mut self, budget: &mut Budget) -> Result<(), Option<Duration>> {
        let now = self.clock.now();
        budget
            .check(now)
            .map_err(|until| until.map(|until| until.since(now)))?;
        for limit in &mut self.limits {
            if limit.paid {
                continue;
            }
            let limiter = if budget.is_told(limit.index) {
                &limit.brisk
            } else {
                &limit.even
            };
            limiter
                .check()
                .map_err(|early| Some(early.wait_time_from(self.clock.elapsed())))?;
            limit.paid = true;
        }
        Ok(())
    }

    /// The request leaves.
    pub(super) fn spend(&mut self) {
        for limit in &mut self.limits {
            limit.paid = false;
        }
    }
}

/// Requests a second in the long run, by the narrowest window; `None` without limits.
pub fn requests_per_second(limits: &[Limit], share: f64) -> Option<f64> {
    limits
        .iter()
        .map(|limit| f64::from(limit.requests) * share / limit.window.as_secs_f64())
        .reduce(f64::min)
}

/// `times` as fast as `share` of a limit allows.
fn quota(limit: Limit, share: f64, times: f64) -> Option<Quota> {
    let part = (f64::from(limit.requests) * share.clamp(0.0, 1.0)).max(1e-6);
    let burst = NonZeroU32::new(burst(part))?;
    let period = limit.window.div_f64(part * times);
    Some(Quota::with_period(period)?.allow_burst(burst))
}

/// Whether a request of such a lane is about one subscription group.
pub(super) fn is_grouped(kind: LaneKind, objects_max: usize) -> bool {
    match kind {
        LaneKind::Default | LaneKind::SubscriptionStatusSet => objects_max > 1,
        LaneKind::UsersTrack
        | LaneKind::UsersExportIds
        | LaneKind::UsersDelete
        | LaneKind::Quikly
        | LaneKind::Held => false,
    }
}

#[cfg(test)]
mod tests;
