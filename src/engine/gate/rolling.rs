//! How many requests a window holds as it rolls.
//!
//! Invariants: pure. A request that was noted is counted at least until the window's length after that moment, and
//! at most a thousandth of it longer: moments are rounded up to a thousandth of the window (never less than the
//! millisecond that moments have), so that memory is bounded whatever the limit is.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::budget::WindowUse;
use crate::model::time::Timestamp;

/// Into how many steps a window is divided in memory, and in what is remembered of it over a restart.
const STEPS: u64 = 1000;
const STEPS_REMEMBERED: u64 = 12;

/// Requests by the moment until which they were under way.
#[derive(Clone, Debug)]
pub(super) struct Rolling {
    length: Duration,
    /// Oldest first: the end of the step, and how many in it.
    steps: VecDeque<(Timestamp, u32)>,
    total: u32,
}

impl Rolling {
    pub(super) fn new(length: Duration) -> Rolling {
        Rolling {
            length,
            steps: VecDeque::new(),
            total: 0,
        }
    }

    /// The window's length was guessed too short.
    pub(super) fn lengthen(&mut self, length: Duration) {
        self.length = length;
    }

    /// The same requests as a window of another length holds them; never fewer than it would have counted itself.
    pub(super) fn seen_by(&self, length: Duration, now: Timestamp) -> Rolling {
        if length == self.length {
            return self.clone();
        }
        let mut other = Rolling::new(length);
        for (end, count) in &self.steps {
            other.note((*end).min(now), *count);
        }
        other.used(now);
        other
    }

    /// So many requests were made at `at` or shortly before.
    pub(super) fn note(&mut self, at: Timestamp, count: u32) {
        let end = end_of_step(at, self.length, STEPS);
        self.total = self.total.saturating_add(count);
        match self.steps.back_mut() {
            Some((last, many)) if *last >= end => *many = many.saturating_add(count),
            _ => self.steps.push_back((end, count)),
        }
    }

    /// How many it holds at `now`.
    pub(super) fn used(&mut self, now: Timestamp) -> u32 {
        while let Some((end, count)) = self.steps.front()
            && *end + self.length <= now
        {
            self.total = self.total.saturating_sub(*count);
            self.steps.pop_front();
        }
        self.total
    }

    /// How many of them were made after `start`, or perhaps a little before it.
    pub(super) fn used_since(&self, start: Timestamp) -> u32 {
        let steps = self.steps.iter().rev();
        let since = steps.take_while(|(end, _)| *end > start);
        since.map(|(_, count)| count).sum()
    }

    /// When it will hold less than now.
    pub(super) fn next_free(&self) -> Option<Timestamp> {
        let (end, _) = self.steps.front()?;
        Some(*end + self.length)
    }

    /// To be remembered; those under way at `now` count as made now.
    pub(super) fn remembered(&mut self, now: Timestamp, under_way: u32) -> WindowUse {
        self.used(now);
        let mut requests: Vec<(Timestamp, u32)> = Vec::new();
        let current = (now, under_way);
        for (moment, count) in self.steps.iter().copied().chain([current]) {
            // A step's end is a moment that is not in it any more.
            let moment = moment - Duration::from_millis(1);
            let end = end_of_step(moment, self.length, STEPS_REMEMBERED);
            match requests.last_mut() {
                Some((last, many)) if *last >= end => *many = many.saturating_add(count),
                _ if count == 0 => {}
                _ => requests.push((end, count)),
            }
        }
        WindowUse {
            length_ms: self.length.as_millis() as u64,
            requests,
        }
    }
}

/// The end of the step that `moment` lies in, when a window is divided into so many.
fn end_of_step(moment: Timestamp, length: Duration, steps: u64) -> Timestamp {
    let step = (length.as_millis() as u64 / steps).max(1);
    Timestamp::from_millis((moment.as_millis() / step + 1) * step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_request_is_counted_for_the_whole_window_and_hardly_longer() {
        let mut rolling = Rolling::new(SECOND);
        rolling.note(at(5000), 1);
        rolling.note(at(5000), 1);
        rolling.note(at(5400), 1);
        assert_eq!(rolling.used(at(6000)), 3);
        assert_eq!(rolling.next_free(), Some(at(6001)));
        assert_eq!(rolling.used(at(6001)), 1);
        assert_eq!(rolling.used(at(6401)), 0);
        assert_eq!(rolling.next_free(), None);
    }

    #[test]
    fn a_long_window_keeps_no_more_than_a_thousand_steps_and_rounds_to_the_safe_side() {
        let mut rolling = Rolling::new(Duration::from_hours(1));
        for millis in 0..3_700_000_u64 {
            if millis.is_multiple_of(20) {
                rolling.note(at(millis), 1);
            }
            if millis.is_multiple_of(100_000) {
                rolling.used(at(millis));
            }
        }
        assert!(rolling.steps.len() <= 1100, "{}", rolling.steps.len());
        let used = rolling.used(at(3_700_000));
        assert!((180_000..=180_360).contains(&used), "{used}");
    }

    #[test]
    fn what_is_remembered_is_short_and_never_ends_earlier() {
        let mut rolling = Rolling::new(Duration::from_mins(1));
        for second in 0..120_u64 {
            rolling.note(at(second * 1000), 10);
        }
        let now = at(120_000);
        let remembered = rolling.remembered(now, 7);
        assert!(remembered.requests.len() <= 14, "{remembered:?}");
        let sum: u32 = remembered.requests.iter().map(|(_, count)| count).sum();
        assert_eq!(sum, rolling.used(now) + 7);
        let mut again = Rolling::new(Duration::from_mins(1));
        for (moment, count) in remembered.requests {
            again.note(moment, count);
        }
        for second in 120..200 {
            let later = at(second * 1000);
            assert!(again.used(later) >= rolling.used(later), "{second}");
        }
        assert_eq!(again.used(at(186_000)), 0);
    }
}
