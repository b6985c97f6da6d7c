//! How far the other side's clock is ahead of ours, by what it says of its windows.
//!
//! Invariants: pure. A request was counted after it left and before its answer was heard, and in the window that ends at
//! the reset that its answer names; that bounds the difference. Within the bounds the smallest is taken: clocks that can
//! agree do. Bounds that contradict each other were of a clock that has been set since: only the latest count.

use std::time::Duration;

use crate::model::time::Timestamp;

/// Moments are whole milliseconds, on both sides.
const ROUNDED_MS: i64 = 2;

/// Bounds of their clock less ours, milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Skew {
    least: i64,
    most: i64,
}

impl Default for Skew {
    fn default() -> Skew {
        Skew {
            least: i64::MIN,
            most: i64::MAX,
        }
    }
}

impl Skew {
    /// A request that left at `sent_at` and was answered at `now` was counted in the window of `length` that ends at
    /// `reset` by their clock.
    pub(super) fn heard(
        &mut self,
        reset: Timestamp,
        length: Duration,
        sent_at: Timestamp,
        now: Timestamp,
    ) {
        let least = behind(reset - length, now).saturating_sub(ROUNDED_MS);
        let most = behind(reset, sent_at).saturating_add(ROUNDED_MS);
        let bounds = (self.least.max(least), self.most.min(most));
        (self.least, self.most) = if bounds.0 <= bounds.1 {
            bounds
        } else {
            (least, most)
        };
    }

    /// A moment of theirs by our clock.
    pub(super) fn ours(self, theirs: Timestamp) -> Timestamp {
        let ours = theirs.as_millis().saturating_add_signed(-self.millis());
        Timestamp::from_millis(ours)
    }

    /// How far the clocks are apart, at least.
    pub(super) fn apart(self) -> Duration {
        Duration::from_millis(self.millis().unsigned_abs())
    }

    fn millis(self) -> i64 {
        // Ordered by now, and never the least there is: it can be turned round.
        0.max(self.least).min(self.most)
    }
}

/// How many milliseconds `moment` is behind `other`.
fn behind(moment: Timestamp, other: Timestamp) -> i64 {
    let apart = |later: Timestamp, earlier| i64::try_from(later.since(earlier).as_millis());
    if moment >= other {
        apart(moment, other).unwrap_or(i64::MAX)
    } else {
        -apart(other, moment).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + millis)
    }

    #[test]
    fn clocks_that_can_agree_do_and_others_are_as_near_as_they_can_be() {
        let mut skew = Skew::default();
        for millis in [10, 500, 980] {
            skew.heard(at(1000), SECOND, at(millis), at(millis + 10));
            assert_eq!(skew.ours(at(1000)), at(1000));
        }
        // Counted in the next window 300 ms before it begins by our clock.
        skew.heard(at(3000), SECOND, at(1690), at(1700));
        assert_eq!(skew.ours(at(3000)), at(2702));
        // Counted in one that is over by 40 ms.
        let mut skew = Skew::default();
        skew.heard(at(1000), SECOND, at(1040), at(1050));
        assert_eq!(skew.ours(at(1000)), at(1038));
        assert_eq!(skew.apart(), Duration::from_millis(38));
    }

    #[test]
    fn what_contradicts_all_before_counts_alone() {
        let mut skew = Skew::default();
        skew.heard(at(900_000), SECOND, at(0), at(10));
        assert!(skew.apart() > Duration::from_secs(800));
        skew.heard(at(1000), SECOND, at(500), at(510));
        assert_eq!(skew.apart(), Duration::ZERO);
        skew.heard(Timestamp::ZERO, SECOND, at(600), at(610));
        skew.heard(Timestamp::from_millis(u64::MAX), SECOND, at(600), at(610));
        assert!(skew.ours(at(0)) < at(0), "nothing overflows");
        skew.heard(at(1000), SECOND, at(700), at(710));
        assert_eq!(skew.ours(at(1000)), at(1000));
    }
}
