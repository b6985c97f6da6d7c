//! Whose profile was written to a moment ago: between two requests for one participant lies a gap.
//!
//! Invariants: pure. What is older than the gap is forgotten, so that it never holds more than a gap's worth of requests.
//! Participants are told apart by a hash: two that share one wait for each other once, and nothing else happens.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use crate::model::time::Timestamp;

/// A participant of one workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Who(u64);

impl Who {
    /// By the name that its events have in common.
    pub fn of(participant: &str) -> Who {
        let mut hasher = DefaultHasher::new();
        participant.hash(&mut hasher);
        Who(hasher.finish())
    }
}

/// The last requests of one lane.
#[derive(Debug)]
pub struct Recent {
    /// What was sent before is not known.
    since: Timestamp,
    last: HashMap<Who, Timestamp>,
    order: VecDeque<(Timestamp, Who)>,
}

impl Recent {
    /// Knows of nothing before `now`.
    pub fn new(now: Timestamp) -> Recent {
        Recent {
            since: now,
            last: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// A request for `who` was answered, or given up, at `now`.
    pub fn note(&mut self, who: Who, now: Timestamp, gap: Duration) {
        while let Some((at, old)) = self.order.front().copied() {
            if at + gap > now {
                break;
            }
            self.order.pop_front();
            if self.last.get(&old) == Some(&at) {
                self.last.remove(&old);
            }
        }
        self.last.insert(who, now);
        self.order.push_back((now, who));
    }

    /// Before when no request for `who` may leave. `again`: there were requests for it before, perhaps by a process that
    /// ended just now.
    pub fn not_before(&self, who: Who, again: bool, gap: Duration) -> Timestamp {
        let last = self.last.get(&who).copied();
        let last = last.or_else(|| again.then_some(self.since));
        last.map_or(Timestamp::ZERO, |last| last + gap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAP: Duration = Duration::from_secs(2);

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + millis)
    }

    #[test]
    fn the_next_request_for_somebody_waits_for_the_gap_and_one_for_somebody_else_does_not() {
        let mut recent = Recent::new(at(0));
        let (ann, bo) = (Who::of("ann"), Who::of("bo"));
        assert_eq!(recent.not_before(ann, false, GAP), Timestamp::ZERO);
        recent.note(ann, at(5000), GAP);
        assert_eq!(recent.not_before(ann, false, GAP), at(7000));
        assert_eq!(recent.not_before(bo, false, GAP), Timestamp::ZERO);
        recent.note(ann, at(6000), GAP);
        recent.note(bo, at(7500), GAP);
        assert_eq!(recent.not_before(ann, true, GAP), at(8000));
    }

    #[test]
    fn after_a_start_nobody_with_requests_before_goes_sooner_than_a_gap() {
        let recent = Recent::new(at(0));
        assert_eq!(recent.not_before(Who::of("ann"), true, GAP), at(2000));
    }

    #[test]
    fn what_is_older_than_the_gap_is_forgotten() {
        let mut recent = Recent::new(at(0));
        for second in 0..1000 {
            recent.note(Who::of(&format!("p{second}")), at(second * 1000), GAP);
            assert!(recent.last.len() <= 3 && recent.order.len() <= 3);
        }
    }
}
