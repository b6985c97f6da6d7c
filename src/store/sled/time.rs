//! Time passing: what becomes due, and what a clock that went back over a restart makes wait again.
//!
//! Invariants: nothing stands among what is due before its time has come, and nothing is moved there twice. Neither move
//! is durable by itself: lost in a power cut, it happens again.

use super::base::{Base, Draft, broken};
use super::counts::GroupId;
use super::keys::{self, Class, LaneKey};
use super::lend::Stand;
use crate::model::time::Timestamp;
use crate::store::StoreError;

/// How many jobs' time may come in one call; the rest comes in the next.
const PROMOTE_MAX: usize = 4096;

/// The value of a due key: the group, and when the job is due.
pub fn due_value(group: GroupId, due: Timestamp) -> Vec<u8> {
    [&group.to_be_bytes()[..], &due.as_millis().to_be_bytes()].concat()
}

/// The group in the value of a due key.
pub fn group_number(value: &[u8]) -> GroupId {
    value
        .first_chunk()
        .copied()
        .map(GroupId::from_be_bytes)
        .unwrap_or_default()
}

/// The due time in the value of a due key.
pub fn due_in(value: &[u8]) -> Timestamp {
    Timestamp::from_millis(
        value
            .last_chunk()
            .copied()
            .map(u64::from_be_bytes)
            .unwrap_or_default(),
    )
}

impl Base {
    /// Moves what has become due from `later` to `ready`.
    pub fn promote(&mut self, lane: LaneKey, now: Timestamp) -> Result<(), StoreError> {
        let mut draft = Draft::default();
        for class in [Class::LaterFresh, Class::LaterRetry] {
            let prefix = keys::due_prefix(lane, class);
            for entry in self.db.scan_prefix(&prefix).take(PROMOTE_MAX) {
                let (key, group) = entry.map_err(|error| broken(&error))?;
                let (Some(due), Some(id)) = (keys::due_time(&key), keys::id_at_end(&key)) else {
                    continue;
                };
                if due > now {
                    break;
                }
                let ready = class.promoted();
                let place = keys::due(lane, ready, due, id);
                self.streams.entry(lane).or_default().note(ready, &place);
                let number = group_number(&group);
                self.head.promoted_to = self.head.promoted_to.max(now);
                draft.insert(place, group);
                draft.remove(key);
                self.head.live(lane, number, 1, -1);
                if let Some(lease) = self.leases.get_mut(&id) {
                    // It got the turn while it was lent along.
                    lease.spot.stand = Stand::Due(ready, due);
                }
            }
        }
        // Not durable by itself: lost in a power cut, it happens again.
        self.apply(draft, false)
    }
}

impl Base {
    /// Takes the latest time into account. After a restart the clock may have gone back: what had become due by the
    /// old one and is not by the new one waits again.
    pub fn tell_time(&mut self, now: Timestamp) -> Result<(), StoreError> {
        if self.now == Timestamp::ZERO && now < self.head.promoted_to {
            self.demote(now)?;
        }
        self.now = self.now.max(now);
        Ok(())
    }

    fn demote(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let mut draft = Draft::default();
        let lanes: Vec<LaneKey> = self.names.lane_keys().collect();
        for lane in lanes {
            for (ready, later) in [
                (Class::ReadyFresh, Class::LaterFresh),
                (Class::ReadyRetry, Class::LaterRetry),
            ] {
                for entry in self.db.scan_prefix(keys::due_prefix(lane, ready)) {
                    let (key, value) = entry.map_err(|error| broken(&error))?;
                    let due = due_in(&value);
                    let Some(id) = keys::id_at_end(&key).filter(|_| due > now) else {
                        continue;
                    };
                    self.head.live(lane, group_number(&value), -1, 1);
                    draft.remove(key);
                    draft.insert(keys::due(lane, later, due, id), value);
                }
            }
        }
        self.head.promoted_to = now;
        self.apply(draft, false)
    }
}
