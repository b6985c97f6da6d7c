//! How long a lane was not worked for reasons that no job has to answer for: holds, stops, and the time before the start.
//!
//! Invariants: pure. What overlaps counts once. Bounded: of many pauses the older ones are told as evenly spread over the
//! time in which they were; their sum stays right.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::time::Timestamp;

/// More points than this are thinned out.
const POINTS_MAX: usize = 256;

/// The time paused so far, as a line through points.
#[derive(Clone, Debug)]
pub(super) struct Pauses {
    /// A moment, and the milliseconds paused until then; between two points it grows evenly. Never empty.
    points: VecDeque<(Timestamp, u64)>,
}

impl Default for Pauses {
    fn default() -> Pauses {
        Pauses::since(Timestamp::ZERO)
    }
}

impl Pauses {
    /// Whatever was before `start` is a pause: nobody knows what was done then.
    pub(super) fn since(start: Timestamp) -> Pauses {
        Pauses {
            points: VecDeque::from([(start, 0)]),
        }
    }

    /// There was, or will be, a pause from `from` to `to`. In order of `from`, but for what overlaps.
    pub(super) fn note(&mut self, from: Timestamp, to: Timestamp) {
        let Some((last, paused)) = self.points.back().copied() else {
            return;
        };
        let from = from.max(last);
        if to <= from {
            return;
        }
        let before = self.points.len().checked_sub(2);
        let before = before.and_then(|index| self.points.get(index));
        let goes_on = before.is_some_and(|(at, then)| {
            from == last && last.since(*at) == Duration::from_millis(paused - then)
        });
        if goes_on {
            self.points.pop_back();
        } else if from > last {
            self.points.push_back((from, paused));
        }
        let length = to.since(from).as_millis() as u64;
        self.points.push_back((to, paused + length));
        if self.points.len() > POINTS_MAX {
            let mut index = 0;
            self.points.retain(|_| {
                index += 1;
                index > POINTS_MAX / 2 || index % 2 == 1
            });
        }
    }

    /// How much of the time from `from` to `to` was paused.
    pub(super) fn within(&self, from: Timestamp, to: Timestamp) -> Duration {
        let start = self.points.front().map_or(to, |(start, _)| *start).min(to);
        let paused = self.until(to).saturating_sub(self.until(from));
        start.since(from) + Duration::from_millis(paused)
    }

    fn until(&self, moment: Timestamp) -> u64 {
        let next = self.points.partition_point(|(at, _)| *at <= moment);
        let before = next.checked_sub(1).and_then(|index| self.points.get(index));
        match (before, self.points.get(next)) {
            (None, _) => 0,
            (Some((_, paused)), None) => *paused,
            (Some((at, paused)), Some((end, more))) => {
                let part = moment.since(*at).as_secs_f64() / end.since(*at).as_secs_f64();
                paused + ((more - paused) as f64 * part).round() as u64
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + seconds * 1000)
    }

    fn within(pauses: &Pauses, from: u64, to: u64) -> u64 {
        pauses.within(at(from), at(to)).as_secs()
    }

    #[test]
    fn what_overlaps_counts_once_and_only_what_lies_within_is_told() {
        let mut pauses = Pauses::since(at(0));
        pauses.note(at(10), at(20));
        pauses.note(at(15), at(30));
        pauses.note(at(12), at(18));
        pauses.note(at(50), at(60));
        for (from, to, expected) in [
            (0, 100, 30),
            (0, 10, 0),
            (12, 18, 6),
            (25, 55, 10),
            (30, 50, 0),
            (60, 60, 0),
            (90, 100, 0),
        ] {
            assert_eq!(within(&pauses, from, to), expected, "{from} to {to}");
        }
    }

    #[test]
    fn what_goes_on_is_one_pause_however_often_it_is_noted() {
        let mut pauses = Pauses::since(at(0));
        for second in 20..2000 {
            pauses.note(at(10), at(second));
            assert_eq!(within(&pauses, 0, 3000), second - 10);
        }
        assert_eq!(pauses.points.len(), 3);
        assert_eq!(within(&pauses, 0, 10), 0);
    }

    #[test]
    fn the_time_before_the_start_is_a_pause() {
        let pauses = Pauses::since(at(1000));
        assert_eq!(within(&pauses, 400, 1500), 600);
        assert_eq!(within(&pauses, 400, 500), 100);
        assert_eq!(within(&Pauses::default(), 0, 500), 0);
    }

    #[test]
    fn many_pauses_take_no_more_room_and_add_up_all_the_same() {
        let mut pauses = Pauses::since(at(0));
        // One second in four.
        for number in 0..10_000 {
            pauses.note(at(4 * number), at(4 * number + 1));
            assert!(pauses.points.len() <= POINTS_MAX);
        }
        assert_eq!(within(&pauses, 0, 40_000), 10_000);
        let quarter = within(&pauses, 10_000, 20_000);
        assert!((2_300..=2_700).contains(&quarter), "{quarter}");
        assert_eq!(within(&pauses, 39_900, 40_000), 25);
    }
}
