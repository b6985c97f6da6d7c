//! What the plain-map store counts: from the maps, whenever it is asked.

use super::super::{Counts, EventCounts, Group, LaneCounts, States};
use super::maps::Maps;
use crate::model::time::Timestamp;

impl Maps {
    pub(super) fn counts(&self, now: Timestamp) -> Counts {
        let mut counts = Counts {
            commit: self.commit,
            events: self.event_counts(),
            done: self.done.clone(),
            lanes: self
                .lanes
                .iter()
                .map(|lane| (lane.clone(), LaneCounts::default()))
                .collect(),
            ..Counts::default()
        };
        for (id, living) in &self.living {
            let group = living.group();
            let states: &mut States = counts.jobs.entry(group.clone()).or_default();
            let lane = counts.lanes.entry(living.lane.clone()).or_default();
            let due = living.job.due;
            let behind = self.turns.is_behind(*id, living.takes_turn_of());
            if living.lease.is_none() && (due > now || behind) {
                states.waiting += 1;
                lane.waiting += 1;
                let place = (living.lane.clone(), group);
                *counts.later.entry(place).or_default() += 1;
                continue;
            }
            if living.lease.is_some() {
                states.in_flight += 1;
            } else {
                states.ready += 1;
            }
            lane.depth += 1;
            let place = (living.lane.clone(), group);
            *counts.due.entry(place).or_default() += 1;
            lane.oldest_due = Some(lane.oldest_due.map_or(due, |oldest| oldest.min(due)));
        }
        for letter in self.dead.values() {
            let group = Group::of(letter.workspace.as_ref(), &letter.event, letter.flow);
            counts.jobs.entry(group.clone()).or_default().dead += 1;
            *counts
                .dead
                .entry((group, letter.burial.reason))
                .or_default() += 1;
        }
        counts
    }

    fn event_counts(&self) -> EventCounts {
        let mut counts = self.before;
        for (id, known) in self.events.iter().filter(|(_, known)| !known.over) {
            counts.accepted += 1;
            if self.lives(*id) {
                counts.queued += 1;
            } else if self.is_dead(*id) {
                counts.dead += 1;
            } else if known.forgotten {
                counts.forgotten += 1;
            } else if known.discarded {
                counts.discarded += 1;
            } else {
                counts.done += 1;
            }
        }
        counts
    }
}
