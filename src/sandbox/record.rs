//! What was asked of the sandbox: the latest requests, and counters for all of them.
//!
//! Invariants: bounded, whatever is sent: paths that are none of ours count as `other`; no body and no key is kept.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

use crate::model::time::Timestamp;

/// One request.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When it came.
    pub at: Timestamp,
    /// Whose key it brought.
    pub workspace: Option<String>,
    /// The path, if it is one of ours.
    pub path: &'static str,
    /// The answer's status; 0: none was given.
    pub status: u16,
    /// How many objects, ids or people it was about.
    pub objects: usize,
    /// Whether the script cut it off after it was done.
    pub answer_dropped: bool,
    /// Whether it is that of another consumer, who is played.
    pub other: bool,
}

/// The path of requests to what does not exist.
pub const OTHER_PATH: &str = "other";

/// All of it.
pub struct Record {
    kept: usize,
    latest: VecDeque<(u64, Seen)>,
    /// The number of the next one.
    next: u64,
    total: u64,
    by_path: BTreeMap<(&'static str, u16), u64>,
    track_objects: BTreeMap<usize, u64>,
    /// 429s by limits; those of a script only count by status.
    pub throttled: u64,
    /// Braze requests without the `User-Agent` of a partner.
    pub user_agent_violations: u64,
    /// Answers cut off after the work was done.
    pub answers_dropped: u64,
}

impl Record {
    /// Nothing seen; `kept` requests will be remembered.
    pub fn new(kept: usize) -> Record {
        Record {
            kept,
            latest: VecDeque::new(),
            next: 0,
            total: 0,
            by_path: BTreeMap::new(),
            track_objects: BTreeMap::new(),
            throttled: 0,
            user_agent_violations: 0,
            answers_dropped: 0,
        }
    }

    /// One more.
    pub fn add(&mut self, seen: Seen) {
        if !seen.other {
            self.count(&seen);
        }
        if self.kept > 0 {
            if self.latest.len() == self.kept {
                self.latest.pop_front();
            }
            self.latest.push_back((self.next, seen));
        }
        self.next += 1;
    }

    fn count(&mut self, seen: &Seen) {
        self.total += 1;
        *self.by_path.entry((seen.path, seen.status)).or_default() += 1;
        if seen.path == "/users/track" && seen.objects > 0 {
            *self
                .track_objects
                .entry(seen.objects.min(1000))
                .or_default() += 1;
        }
        self.answers_dropped += u64::from(seen.answer_dropped);
    }

    /// The remembered requests from number `after` on.
    pub fn latest(&self, after: u64) -> impl Iterator<Item = (u64, Value)> {
        let shown = |(number, seen): &(u64, Seen)| {
            let line = json!({
                "id": number, "at": seen.at, "workspace": seen.workspace, "path": seen.path, "status": seen.status,
                "objects": seen.objects, "answer_dropped": seen.answer_dropped, "other": seen.other,
            });
            (*number, line)
        };
        self.latest
            .iter()
            .filter(move |(number, _)| *number >= after)
            .map(shown)
    }

    /// All requests, and all by path and status.
    pub fn totals(&self) -> (u64, Value) {
        let mut by_path: BTreeMap<&str, BTreeMap<String, u64>> = BTreeMap::new();
        for ((path, status), count) in &self.by_path {
            by_path
                .entry(path)
                .or_default()
                .insert(status.to_string(), *count);
        }
        (self.total, json!(by_path))
    }

    /// How many track requests had so many objects.
    pub fn track_objects(&self) -> Value {
        let shown: BTreeMap<String, u64> = self
            .track_objects
            .iter()
            .map(|(objects, count)| (objects.to_string(), *count))
            .collect();
        json!(shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_remembered_and_all_are_counted() {
        let mut record = Record::new(2);
        for (objects, other) in [(1, false), (75, false), (1, true), (75, false)] {
            record.add(Seen {
                at: Timestamp::ZERO,
                workspace: None,
                path: "/users/track",
                status: 201,
                objects,
                answer_dropped: false,
                other,
            });
        }
        let numbers: Vec<_> = record.latest(0).map(|(number, _)| number).collect();
        assert_eq!(numbers, [2, 3]);
        assert_eq!(record.totals(), (3, json!({"/users/track": {"201": 3}})));
        assert_eq!(record.track_objects(), json!({"1": 1, "75": 2}));
    }
}
