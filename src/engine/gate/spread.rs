//! What is left of a window, spread evenly over the time until its end.
//!
//! Invariants: pure. Whoever comes late makes up for it as far as a burst goes; and since what is left is divided by the
//! time that is left, anew each time, the rest is made up for as well.

use std::time::Duration;

use crate::model::time::Timestamp;

/// Which part of a window may leave at once; never less than one request. A burst as large as the limit would let twice
/// the limit through around a boundary.
const BURST_SHARE: f64 = 0.015;

/// From so many requests in a window on, at least two may leave at once: with a burst of one, every request that leaves
/// a little late is lost for good.
const BURST_OF_TWO_FROM: f64 = 20.0;

/// How many may leave at once, of so many in a window.
pub fn burst(requests: f64) -> u32 {
    let least = if requests < BURST_OF_TWO_FROM { 1 } else { 2 };
    ((requests * BURST_SHARE) as u32).max(least)
}

/// How many may leave at once, and as of when.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spread {
    credit: f64,
    at: Timestamp,
}

impl Spread {
    /// Whether one more may leave now, when `left` of them are to leave evenly until `end`; else when. Behind the end
    /// there is nothing to spread. `limit`: of so many in a whole window.
    pub(super) fn check(
        &mut self,
        left: u32,
        end: Timestamp,
        limit: u32,
        now: Timestamp,
    ) -> Result<(), Timestamp> {
        let rest_ms = end.since(now).as_millis() as f64;
        if rest_ms < 1.0 {
            return Ok(());
        }
        let per_ms = f64::from(left) / rest_ms;
        let elapsed_ms = now.since(self.at).as_millis() as f64;
        let most = f64::from(burst(f64::from(limit)));
        self.credit = (self.credit + elapsed_ms * per_ms).min(most);
        self.at = now;
        let missing = 1.0 - self.credit;
        if missing < 1e-9 {
            return Ok(());
        }
        Err(now + Duration::from_millis((missing / per_ms).ceil() as u64))
    }

    /// One leaves.
    pub(super) fn sent(&mut self) {
        self.credit = (self.credit - 1.0).max(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(100_000 + millis)
    }

    #[test]
    fn what_is_left_leaves_evenly_and_lateness_is_made_up_for() {
        for late_ms in [0, 7] {
            let mut spread = Spread::default();
            let (mut left, mut now, mut first_half) = (40, 0, 0);
            while left > 0 && now < 1000 {
                match spread.check(left, at(1000), 40, at(now)) {
                    Ok(()) => {
                        spread.sent();
                        left -= 1;
                        first_half += u32::from(now < 500);
                    }
                    Err(then) => now = then.since(at(0)).as_millis() as u64 + late_ms,
                }
            }
            assert!(left <= 1, "{left} were left with timers {late_ms} ms late");
            assert!((18..=22).contains(&first_half), "{first_half}");
        }
        let mut behind = Spread::default();
        assert_eq!(behind.check(40, at(0), 40, at(0)), Ok(()));
    }

    #[test]
    fn a_burst_is_a_small_part_of_the_window() {
        for (requests, expected) in [(0.1, 1), (19.0, 1), (20.0, 2), (40.0, 2), (3000.0, 45)] {
            assert_eq!(burst(requests), expected, "{requests}");
        }
    }
}
