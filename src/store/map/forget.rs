//! Forgetting a person in the plain-map store.

use super::super::hash::{self, Place};
use super::super::person::outlives;
use super::super::{Found, Held, Person, Standing, Timeline, Trace};
use super::maps::{self, Living, Maps};
use crate::model::id::{EventId, JobId};
use crate::model::time::Timestamp;

impl Maps {
    pub(super) fn held(&self, person: &Person, before: Option<EventId>, now: Timestamp) -> Held {
        let affairs = self.affairs(person, before);
        let (mut living, mut lent, mut dead) = (0, 0, 0);
        for event in &affairs {
            dead += self.letters_of(*event).len() as u64;
            for id in self.jobs_of(*event) {
                living += 1;
                let is_lent = |living: &Living| living.lease.is_some();
                lent += u64::from(self.living.get(&id).is_some_and(is_lent));
            }
        }
        let believed = self.addresses_of(person).into_iter().filter(|place| {
            let learnt = self.addresses.get(place);
            learnt.is_some_and(|learnt| learnt.holds(now, self.settings.known_for))
        });
        Held {
            events: affairs.len() as u64,
            living,
            lent,
            dead,
            addresses: believed.count() as u64,
        }
    }

    pub(super) fn forget(
        &mut self,
        person: &Person,
        before: Option<EventId>,
        now: Timestamp,
    ) -> Held {
        let held = self.held(person, before, now);
        self.revoked += u64::from(held.lent > 0);
        for event in self.affairs(person, before) {
            for id in self.letters_of(event) {
                self.dead.remove(&id);
            }
            for id in self.jobs_of(event) {
                let gone = self.living.remove(&id);
                let replay = gone.as_ref().and_then(|living| living.replay);
                if let Some(counts) = self.replayed(replay) {
                    counts.forget();
                }
                let Some(turn) = gone.as_ref().and_then(Living::takes_turn_of) else {
                    continue;
                };
                if let Some(next) = self.turns.leave(turn, id)
                    && let Some(living) = self.living.get_mut(&next)
                {
                    living.job.due = living.job.due.max(now);
                    let lane = living.lane.clone();
                    self.wake(&lane).notify_one();
                }
            }
            if let Some(known) = self.events.get_mut(&event) {
                known.forgotten = true;
            }
        }
        for place in self.addresses_of(person) {
            self.addresses.remove(&place);
        }
        held
    }

    pub(super) fn timeline(&self, participant: &str, limit: usize, now: Timestamp) -> Timeline {
        let theirs = maps::person(&hash::person(participant));
        let of_person = self.events.iter().rev();
        let mut events: Vec<EventId> = of_person
            .filter(|(_, known)| maps::person(&known.place) == theirs)
            .map(|(id, _)| *id)
            .take(limit + 1)
            .collect();
        let more = events.len() > limit;
        events.truncate(limit);
        let addresses = self.workspaces.iter().filter_map(|name| {
            let place = self.address_of(&(name.clone(), theirs));
            let learnt = self.addresses.get(&place)?;
            let is_believed = learnt.holds(now, self.settings.known_for);
            is_believed.then(|| (name.clone(), learnt.address.clone()))
        });
        Timeline {
            events,
            more,
            addresses: addresses.collect(),
        }
    }

    pub(super) fn standing(&self, event: EventId) -> Standing {
        if !self.jobs_of(event).is_empty() {
            Standing::Queued
        } else if !self.letters_of(event).is_empty() {
            Standing::Dead
        } else {
            Standing::Ended
        }
    }

    pub(super) fn search(&self, trace: &Trace) -> Found {
        let living = self.living.iter().map(|(id, living)| {
            let workspace: &str = &living.lane.workspace;
            (*id, &living.event, Some(workspace))
        });
        let dead = self.dead.iter().map(|(id, letter)| {
            let workspace = letter.workspace.as_deref();
            (*id, &letter.event, workspace)
        });
        let mut found = Found::default();
        for (id, event, workspace) in living.chain(dead) {
            if trace.is_in(event) {
                let person = Person::of(&self.hasher, id.event, event, workspace);
                found.add(person, event);
            }
        }
        found
    }

    /// The person's events that are to go.
    fn affairs(&self, person: &Person, before: Option<EventId>) -> Vec<EventId> {
        let theirs = maps::person(&hash::person(&person.participant));
        let of_person = self.events.iter().filter(|(id, known)| {
            maps::person(&known.place) == theirs && before.is_none_or(|before| **id < before)
        });
        let goes = |id: &EventId| {
            let living = self.living.range(id.job(0)..=id.job(u8::MAX));
            let living: Vec<&Living> = living.map(|(_, living)| living).collect();
            let mut letters = self.dead.range(id.job(0)..=id.job(u8::MAX));
            let stays = living.iter().any(|living| outlives(&living.event));
            let mut jobs = living.iter();
            !stays
                && (jobs.any(|it| person.has(*id, &it.event, Some(&it.lane.workspace)))
                    || letters.any(|(_, it)| person.has(*id, &it.event, it.workspace.as_deref())))
        };
        of_person.map(|(id, _)| *id).filter(goes).collect()
    }

    /// Where addresses of the person may be remembered.
    fn addresses_of(&self, person: &Person) -> Vec<Place> {
        let theirs = maps::person(&hash::person(&person.participant));
        let workspaces = self.workspaces.iter();
        workspaces
            .filter(|name| person.is_at(name))
            .map(|name| self.address_of(&(name.clone(), theirs)))
            .collect()
    }

    fn jobs_of(&self, event: EventId) -> Vec<JobId> {
        let jobs = self.living.range(event.job(0)..=event.job(u8::MAX));
        jobs.map(|(id, _)| *id).collect()
    }

    fn letters_of(&self, event: EventId) -> Vec<JobId> {
        let letters = self.dead.range(event.job(0)..=event.job(u8::MAX));
        letters.map(|(id, _)| *id).collect()
    }
}
