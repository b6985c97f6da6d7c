//! The pace of a lane: governor, told the time by our clock.
//!
//! Invariants: in no stretch of time as long as a window do more requests leave than the window allows, from the first
//! one on: the burst is taken out of the rate, since a burst on top of it would let more through. Every window has
//! to agree. The only file that names governor.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock as GovernorClock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use crate::clock::Clock;
use crate::config::Limit;

/// Which part of a window may leave at once; never less than one request.
const BURST_SHARE: f64 = 0.015;

/// From so many requests in a window on, at least two may leave at once: with a burst of one, every request that leaves
/// a little late is lost for good.
const BURST_OF_TWO_FROM: u32 = 20;

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

/// The windows of one lane, all of which apply.
#[derive(Debug)]
pub(super) struct Pace {
    clock: Clock,
    /// Each with whether the next request has its place in it already.
    windows: Vec<(Limiter, bool)>,
}

impl Pace {
    /// `share` (0–1) of each of `limits`; without limits nothing is slowed down.
    pub(super) fn new(limits: &[Limit], share: f64, clock: &Clock) -> Pace {
        let mut quotas: Vec<Quota> = limits
            .iter()
            .filter_map(|limit| quota(*limit, share))
            .collect();
        // The slowest first: once it agrees, the others mostly do at once.
        quotas.sort_by_key(|quota| std::cmp::Reverse(quota.replenish_interval()));
        let windows = quotas
            .into_iter()
            .map(|quota| {
                let elapsed = Elapsed(clock.clone());
                (RateLimiter::direct_with_clock(quota, elapsed), false)
            })
            .collect();
        Pace {
            clock: clock.clone(),
            windows,
        }
    }

    /// Whether the next request may leave now; else how long, on our clock, it must wait at least. Once it may, it may
    /// until it has left.
    pub(super) fn check(&mut self) -> Result<(), Duration> {
        for (limiter, paid) in &mut self.windows {
            if *paid {
                continue;
            }
            limiter
                .check()
                .map_err(|early| early.wait_time_from(self.clock.elapsed()))?;
            *paid = true;
        }
        Ok(())
    }

    /// The request leaves.
    pub(super) fn spend(&mut self) {
        for (_, paid) in &mut self.windows {
            *paid = false;
        }
    }
}

/// Requests a second in the long run, by the narrowest window; `None` without limits.
pub(super) fn requests_per_second(limits: &[Limit], share: f64) -> Option<f64> {
    limits
        .iter()
        .map(|limit| f64::from(limit.requests) * share / limit.window.as_secs_f64())
        .reduce(f64::min)
}

fn quota(limit: Limit, share: f64) -> Option<Quota> {
    let part = f64::from(limit.requests) * share.clamp(0.0, 1.0);
    if part < 1.0 {
        // Less than one request in a window: one in as many windows as that takes.
        let windows = 1.0 / part.max(1e-6);
        return Quota::with_period(limit.window.mul_f64(windows));
    }
    let requests = part as u32;
    let burst_min = if requests < BURST_OF_TWO_FROM { 1 } else { 2 };
    let burst = NonZeroU32::new(((part * BURST_SHARE) as u32).max(burst_min))?;
    let period = limit.window / (requests - burst.get() + 1);
    Some(Quota::with_period(period)?.allow_burst(burst))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::Timestamp;

    fn limit(requests: u32, seconds: u64) -> Limit {
        Limit {
            requests,
            window: Duration::from_secs(seconds),
        }
    }

    /// The moments at which `count` requests leave as fast as they may.
    async fn moments(limits: &[Limit], share: f64, count: usize) -> Vec<Duration> {
        let clock = Clock::starting_at(Timestamp::ZERO, 1.0);
        let mut pace = Pace::new(limits, share, &clock);
        let mut left = Vec::new();
        for _ in 0..count {
            while let Err(wait) = pace.check() {
                clock.sleep(wait).await;
            }
            assert_eq!(pace.check(), Ok(()));
            pace.spend();
            left.push(clock.elapsed());
        }
        left
    }

    fn most_in(moments: &[Duration], window: Duration) -> usize {
        (0..moments.len())
            .map(|first| {
                let rest = &moments[first..];
                rest.iter().take_while(|it| **it < rest[0] + window).count()
            })
            .max()
            .unwrap_or(0)
    }

    #[tokio::test(start_paused = true)]
    async fn no_window_ever_sees_more_than_its_share_and_little_less() {
        for (limits, share, allowed) in [
            (vec![limit(3000, 3)], 1.0, 3000),
            (vec![limit(40, 1)], 1.0, 40),
            (vec![limit(40, 1)], 0.5, 20),
            (vec![limit(1, 1)], 1.0, 1),
            (vec![limit(1, 1)], 0.1, 1),
        ] {
            let left = moments(&limits, share, 2 * allowed + 10).await;
            let most = most_in(&left, limits[0].window);
            assert!(most <= allowed, "{most} > {allowed}");
            assert!(most * 100 >= allowed * 90, "{most} of {allowed}");
        }
        let tenth = moments(&[limit(1, 1)], 0.1, 3).await;
        assert!(tenth[2] >= tenth[0] + Duration::from_secs(20));
    }

    #[tokio::test(start_paused = true)]
    async fn every_window_has_to_agree() {
        let limits = [limit(100, 1), limit(250, 60)];
        let left = moments(&limits, 1.0, 600).await;
        assert!(most_in(&left, limits[0].window) <= 100);
        assert!(most_in(&left, limits[1].window) <= 250);
        assert!(left[599] <= Duration::from_mins(3));
    }
}
