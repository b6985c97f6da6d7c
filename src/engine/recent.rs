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
    /// Somebody may have sent something before this, and what is not known.
    since: Option<Timestamp>,
    last: HashMap<Who, Timestamp>,
    order: VecDeque<(Timestamp, Who)>,
}

impl Recent {
    /// `since`: there was a process before this one, and this one began then.
    pub fn new(since: Option<Timestamp>) -> Recent {
        Recent {
            since,
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

    /// Before when no request for `who` may leave.
    pub fn not_before(&self, who: Who, gap: Duration) -> Timestamp {
        let last = self.last.get(&who).copied().or(self.since);
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
        let mut recent = Recent::new(None);
        let (ann, bo) = (Who::of("ann"), Who::of("bo"));
        assert_eq!(recent.not_before(ann, GAP), Timestamp::ZERO);
        recent.note(ann, at(5000), GAP);
        assert_eq!(recent.not_before(ann, GAP), at(7000));
        assert_eq!(recent.not_before(bo, GAP), Timestamp::ZERO);
        recent.note(ann, at(6000), GAP);
        recent.note(bo, at(7500), GAP);
        assert_eq!(recent.not_before(ann, GAP), at(8000));
    }

    #[test]
    fn after_a_restart_nobody_goes_sooner_than_a_gap() {
        let recent = Recent::new(Some(at(0)));
        assert_eq!(recent.not_before(Who::of("ann"), GAP), at(2000));
    }

    #[test]
    fn what_is_older_than_the_gap_is_forgotten() {
        let mut recent = Recent::new(None);
        for second in 0..1000 {
            recent.note(Who::of(&format!("p{second}")), at(second * 1000), GAP);
            assert!(recent.last.len() <= 3 && recent.order.len() <= 3);
        }
    }
}
