//! What operators ask: counts, and dead letters by a bounded slice at a time.

use std::collections::BTreeMap;

use super::base::{Base, broken};
use super::keys::{self, LaneKey};
use crate::model::Name;
use crate::model::id::JobId;
use crate::model::time::Timestamp;
use crate::store::codec::{self, PIECE_BYTES_MAX, Record};
use crate::store::{Counts, DeadFilter, DeadLetter, Page, States, StoreError};

/// How many dead letters one query looks at, and how many bytes of them, or one more.
const LOOK_MAX: usize = 1024;
const LOOK_BYTES_MAX: usize = 1 << 20;

impl Base {
    /// How much there is of everything.
    pub fn counts(&mut self, now: Timestamp) -> Result<Counts, StoreError> {
        self.tell_time(now)?;
        let lanes: Vec<LaneKey> = self.names.lane_keys().collect();
        for lane in lanes {
            self.promote(lane, now)?;
        }
        let mut counts = Counts {
            commit: self.head.commit,
            events: self.head.events(),
            ..Counts::default()
        };
        for ((lane, group), living) in &self.head.living {
            let (Some(lane), Some(group)) = (
                self.names.lane_of(LaneKey(*lane)),
                self.names.group_of(*group),
            ) else {
                continue;
            };
            let states = counts.jobs.entry(group.clone()).or_default();
            states.ready += living.due;
            states.waiting += living.later;
            let row = counts.lanes.entry(lane.clone()).or_default();
            row.depth += living.due;
            row.waiting += living.later;
            let place = (lane, group.clone());
            if living.later > 0 {
                counts.later.insert(place.clone(), living.later);
            }
            if living.due > 0 {
                counts.due.insert(place, living.due);
            }
        }
        let mut oldest: BTreeMap<LaneKey, Timestamp> = BTreeMap::new();
        for lease in self.leases.values() {
            if let Some(group) = self.names.group_of(lease.group) {
                let states: &mut States = counts.jobs.entry(group.clone()).or_default();
                states.in_flight += 1;
                if lease.spot.is_ready() {
                    states.ready = states.ready.saturating_sub(1);
                } else {
                    states.waiting = states.waiting.saturating_sub(1);
                }
            }
            if !lease.spot.is_ready()
                && let Some(lane) = self.names.lane_of(lease.spot.lane)
            {
                let row = counts.lanes.entry(lane.clone()).or_default();
                row.waiting = row.waiting.saturating_sub(1);
                row.depth += 1;
                if let Some(group) = self.names.group_of(lease.group) {
                    let place = (lane, group.clone());
                    if let Some(later) = counts.later.get_mut(&place) {
                        *later = later.saturating_sub(1);
                    }
                    *counts.due.entry(place).or_default() += 1;
                }
            }
            if let Some(job) = &lease.record.job {
                let first = oldest.entry(lease.spot.lane).or_insert(job.due);
                *first = (*first).min(job.due);
            }
        }
        counts.later.retain(|_, count| *count > 0);
        for (lane, row) in &mut counts.lanes {
            if row.depth > 0
                && let Some(key) = self.names.known_lane(lane)
            {
                row.oldest_due = [oldest.get(&key).copied(), self.oldest_unlent(key)?]
                    .into_iter()
                    .flatten()
                    .min();
            }
        }
        for ((group, reason), count) in &self.head.buried {
            if let Some(group) = self.names.group_of(*group) {
                counts.jobs.entry(group.clone()).or_default().dead += count;
                counts.dead.insert((group.clone(), *reason), *count);
            }
        }
        for ((group, outcome), count) in &self.head.finished {
            if let Some(group) = self.names.group_of(*group) {
                counts.done.insert((group.clone(), *outcome), *count);
            }
        }
        counts.store_bytes = self.folder.data_bytes().unwrap_or(0);
        counts.live_bytes = self.weight.live_bytes;
        counts.free_bytes = self.folder.free_bytes().unwrap_or(0);
        Ok(counts)
    }

    /// Dead letters that match, behind `after`.
    pub fn dead_list(
        &self,
        filter: &DeadFilter,
        after: Option<JobId>,
        limit: usize,
    ) -> Result<Page<DeadLetter>, StoreError> {
        let mut from = after.map_or_else(|| keys::DEAD_PREFIX.to_vec(), keys::dead);
        if after.is_some() {
            from.push(0);
        }
        let mut page = Page {
            items: Vec::new(),
            next: None,
        };
        let mut bytes = 0;
        for (looked, entry) in self.db.range(from..).enumerate() {
            let (key, first) = entry.map_err(|error| broken(&error))?;
            let Some(id) = keys::id_at_end(&key).filter(|_| key.starts_with(keys::DEAD_PREFIX))
            else {
                page.next = None;
                break;
            };
            if looked >= LOOK_MAX || bytes > LOOK_BYTES_MAX || page.items.len() >= limit {
                return Ok(page);
            }
            page.next = Some(id);
            bytes += first.len() + usize::from(codec::pieces_behind(&first)) * PIECE_BYTES_MAX;
            let record = self.read(id, &first)?;
            if let Some(letter) = letter(id, record)
                && filter.matches(&letter, |email| self.hasher.shown(email))
            {
                page.items.push(letter);
            }
        }
        page.next = None;
        Ok(page)
    }

    /// One dead letter.
    pub fn dead_get(&self, id: JobId) -> Result<Option<DeadLetter>, StoreError> {
        match self
            .db
            .get(keys::dead(id))
            .map_err(|error| broken(&error))?
        {
            Some(first) => Ok(letter(id, self.read(id, &first)?)),
            None => Ok(None),
        }
    }
}

fn letter(id: JobId, record: Record) -> Option<DeadLetter> {
    let Record {
        workspace,
        flow,
        event,
        job,
        burial,
        replay,
        ..
    } = record;
    let workspace = workspace.map(Name::from);
    Some(DeadLetter {
        id,
        workspace,
        flow,
        event,
        job,
        burial: burial?,
        replay,
    })
}
