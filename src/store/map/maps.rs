//! What the plain-map store is made of, and what happens in it.
//!
//! Invariants: a job is in `living` or in `dead` or in neither, never in both; an event and a number once given stay.
//! Nothing here locks or waits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::Notify;

use super::super::is_memorable;
use super::super::{
    Appended, Committed, Counts, DeadLetter, EventCounts, Group, LaneCounts, Leased, Settings,
    States, StoreError, Token,
};
use super::turns::{Participant, Turns};
use crate::flow::job::{Burial, Child, Commit, Fate, Job, Outcome, Seed, Start};
use crate::model::call::Address;
use crate::model::event::{Event, EventKind, Source};
use crate::model::id::{EventId, JobId};
use crate::model::lane::Lane;
use crate::model::time::Timestamp;

/// Everything there is.
#[derive(Clone)]
pub(super) struct Maps {
    settings: Settings,
    /// Set when [`MapStore::crash`](super::MapStore::crash) has handed everything to another store.
    pub(super) closed: bool,
    pub(super) commit: u64,
    last_id: EventId,
    last_lease: u64,
    /// Every event ever accepted.
    events: BTreeMap<EventId, Known>,
    /// The latest event of each key, remembered or not.
    keys: BTreeMap<EventKey, EventId>,
    /// The latest spawning of each (participant, `once`), remembered or not.
    once: BTreeMap<(String, String), (Timestamp, JobId)>,
    pub(super) living: BTreeMap<JobId, Living>,
    pub(super) dead: BTreeMap<JobId, DeadLetter>,
    done: BTreeMap<(Group, Outcome), u64>,
    /// Every lane that ever had work.
    lanes: BTreeSet<Lane>,
    pub(super) wakes: BTreeMap<Lane, Arc<Notify>>,
    pub(super) turns: Turns,
    addresses: BTreeMap<Participant, Address>,
}

/// What an event is known by.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EventKey {
    source: Source,
    scope: String,
    email: String,
    key: String,
}

/// An accepted event.
#[derive(Clone)]
struct Known {
    kind: EventKind,
    email: String,
    accepted_at: Timestamp,
    /// The number of every job it ever had.
    numbers: BTreeSet<u8>,
    /// One of its jobs was discarded.
    discarded: bool,
}

/// A job that is neither done nor dead.
#[derive(Clone)]
pub(super) struct Living {
    pub(super) lane: Lane,
    event: Event,
    pub(super) job: Job,
    /// Whose turn it would take.
    participant: Participant,
    /// The number of its lease while it is lent.
    pub(super) lease: Option<u64>,
}

impl Maps {
    pub(super) fn new(settings: Settings) -> Maps {
        Maps {
            settings,
            closed: false,
            commit: 0,
            last_id: EventId::default(),
            last_lease: 0,
            events: BTreeMap::new(),
            keys: BTreeMap::new(),
            once: BTreeMap::new(),
            living: BTreeMap::new(),
            dead: BTreeMap::new(),
            done: BTreeMap::new(),
            lanes: BTreeSet::new(),
            wakes: BTreeMap::new(),
            turns: Turns::default(),
            addresses: BTreeMap::new(),
        }
    }

    /// The event that is remembered under this key.
    pub(super) fn remembered(&self, key: &EventKey, now: Timestamp) -> Option<EventId> {
        let id = *self.keys.get(key)?;
        self.is_remembered(id, now).then_some(id)
    }

    fn is_remembered(&self, id: EventId, now: Timestamp) -> bool {
        let fresh = self
            .events
            .get(&id)
            .is_some_and(|known| now < known.accepted_at + self.settings.event_dedupe);
        fresh || self.lives(id) || self.is_dead(id)
    }

    fn lives(&self, id: EventId) -> bool {
        let mut jobs = self.living.range(id.job(0)..=id.job(u8::MAX));
        jobs.next().is_some()
    }

    fn is_dead(&self, id: EventId) -> bool {
        let mut letters = self.dead.range(id.job(0)..=id.job(u8::MAX));
        letters.next().is_some()
    }

    fn has_taken_part(&self, event: &Event, now: Timestamp) -> bool {
        let participant = EventKey {
            key: String::new(),
            ..EventKey::of(event)
        };
        self.keys
            .range(participant.clone()..)
            .take_while(|(key, _)| key.same_participant(&participant))
            .filter_map(|(_, id)| Some((*id, self.events.get(id)?)))
            .any(|(id, known)| {
                known.kind == EventKind::Participation && self.is_remembered(id, now)
            })
    }

    pub(super) fn room(&self) -> Result<(), StoreError> {
        let held = (self.living.len() + self.dead.len()) as u64;
        let max = self.settings.max_jobs;
        if held >= max {
            return Err(StoreError::Full(format!(
                "it holds {held} jobs, store.max_jobs is {max}"
            )));
        }
        Ok(())
    }

    pub(super) fn accept(&mut self, seed: Seed, now: Timestamp) -> Appended {
        let key = EventKey::of(&seed.event);
        if let Some(id) = self.remembered(&key, now) {
            return Appended {
                id,
                duplicate: true,
            };
        }
        let start = match seed.further {
            Some(further) if self.has_taken_part(&seed.event, now) => further,
            _ => seed.start,
        };
        let id = EventId::next(self.last_id, now, 0);
        self.last_id = id;
        self.keys.insert(key, id);
        self.events.insert(
            id,
            Known {
                kind: seed.event.kind,
                email: seed.event.email.clone(),
                accepted_at: seed.event.accepted_at,
                numbers: BTreeSet::from([0]),
                discarded: false,
            },
        );
        match start {
            Start::Run { lane, job } => {
                self.live(id.job(0), lane, seed.event, job);
                self.enter(id.job(0), None);
            }
            Start::Bury {
                workspace,
                flow,
                burial,
            } => {
                let letter = DeadLetter {
                    id: id.job(0),
                    workspace,
                    flow,
                    event: seed.event,
                    job: None,
                    burial,
                };
                self.dead.insert(letter.id, letter);
            }
        }
        Appended {
            id,
            duplicate: false,
        }
    }

    fn live(&mut self, id: JobId, lane: Lane, event: Event, job: Job) {
        self.lanes.insert(lane.clone());
        self.wake(&lane).notify_one();
        let accepted = self.events.get(&id.event);
        let email = accepted.map_or_else(String::new, |known| known.email.clone());
        self.living.insert(
            id,
            Living {
                participant: (lane.workspace.clone(), email),
                lane,
                event,
                job,
                lease: None,
            },
        );
    }

    /// Gives a living job its place among the turns, if its state takes one. `moving`: the job whose commit this is.
    fn enter(&mut self, id: JobId, moving: Option<JobId>) {
        let living = &self.living;
        let Some(participant) = living.get(&id).and_then(Living::takes_turn_of).cloned() else {
            return;
        };
        self.turns.enter(&participant, id, |holder| {
            let lent = living
                .get(&holder)
                .is_some_and(|living| living.lease.is_some());
            lent || moving == Some(holder)
        });
    }

    /// Those behind this holder that are lent along with it.
    pub(super) fn chain(&self, holder: JobId, now: Timestamp, at_most: usize) -> Vec<JobId> {
        let Some(first) = self.living.get(&holder) else {
            return Vec::new();
        };
        let Some(participant) = first.takes_turn_of().filter(|_| first.job.state.follows()) else {
            return Vec::new();
        };
        let goes_along = |living: &Living| {
            living.job.state.follows()
                && living.lane == first.lane
                && living.job.due <= now
                && living.lease.is_none()
        };
        let behind = self.turns.behind(participant).into_iter();
        behind
            .take_while(|id| self.living.get(id).is_some_and(goes_along))
            .take(at_most)
            .collect()
    }

    pub(super) fn lend(&mut self, id: JobId) -> Option<Leased> {
        let living = self.living.get_mut(&id)?;
        self.last_lease += 1;
        living.lease = Some(self.last_lease);
        let address = living
            .takes_turn_of()
            .and_then(|participant| self.addresses.get(participant))
            .cloned();
        Some(Leased {
            token: Token {
                id,
                lease: self.last_lease,
            },
            event: living.event.clone(),
            job: living.job.clone(),
            address,
        })
    }

    /// The job of a lease that is still valid.
    pub(super) fn lent(&mut self, token: Token) -> Option<&mut Living> {
        self.living
            .get_mut(&token.id)
            .filter(|living| living.lease == Some(token.lease))
    }

    pub(super) fn carry_out(&mut self, token: Token, commit: Commit, now: Timestamp) -> Committed {
        if self.lent(token).is_none() {
            return Committed::LostLease;
        }
        let id = token.id;
        let Some(before) = self.living.remove(&id) else {
            return Committed::LostLease;
        };
        let turn = before.takes_turn_of().cloned();
        if let Some(address) = commit.learnt.filter(is_memorable)
            && before.has_participant()
        {
            self.addresses.insert(before.participant.clone(), address);
        }
        match commit.fate {
            Fate::Keep { lane, job } => self.live(id, lane, before.event, job),
            Fate::Finish(outcome) => *self.done.entry((before.group(), outcome)).or_default() += 1,
            Fate::Bury { job, burial } => {
                let letter = DeadLetter {
                    id,
                    workspace: Some(before.lane.workspace),
                    flow: Some(job.state.flow()),
                    event: before.event,
                    job: Some(job),
                    burial,
                };
                self.dead.insert(id, letter);
            }
        }
        let mut born = BTreeSet::new();
        for child in commit.spawn {
            let number = child.number;
            if self.spawn(id.event, child, now) {
                born.insert(id.event.job(number));
            }
        }
        let kept = self.living.get(&id).and_then(Living::takes_turn_of);
        let stays = kept == turn.as_ref();
        let mut entering = born.clone();
        entering.extend((!stays).then_some(id));
        for entrant in entering {
            self.enter(entrant, Some(id));
        }
        if let Some(turn) = turn.filter(|_| !stays) {
            if let Some(burial) = commit.bury_successors {
                self.bury_behind(&turn, id, &born, &burial);
            }
            if let Some(next) = self.turns.leave(&turn, id)
                && let Some(living) = self.living.get_mut(&next)
            {
                living.job.due = living.job.due.max(now + commit.gap);
                let lane = living.lane.clone();
                self.wake(&lane).notify_one();
            }
        }
        Committed::Stored {
            children: born.len() as u8,
        }
    }

    /// Buries everybody behind this holder but its children just born.
    fn bury_behind(
        &mut self,
        turn: &Participant,
        holder: JobId,
        born: &BTreeSet<JobId>,
        burial: &Burial,
    ) {
        if !self.turns.holds(turn, holder) {
            return;
        }
        for id in self.turns.behind(turn) {
            if born.contains(&id) {
                continue;
            }
            self.turns.leave(turn, id);
            if let Some(living) = self.living.remove(&id) {
                let letter = DeadLetter {
                    id,
                    workspace: Some(living.lane.workspace),
                    flow: Some(living.job.state.flow()),
                    event: living.event,
                    job: Some(living.job),
                    burial: burial.clone(),
                };
                self.dead.insert(id, letter);
            }
        }
    }

    /// Whether the child is new.
    fn spawn(&mut self, parent: EventId, child: Child, now: Timestamp) -> bool {
        let id = parent.job(child.number);
        let Some(known) = self.events.get(&parent) else {
            return false;
        };
        if known.numbers.contains(&child.number) {
            return false;
        }
        if let Some(once) = child.once {
            let once = (child.event.email.clone(), once);
            if self.is_spawned(&once, now) {
                return false;
            }
            self.once.insert(once, (now, id));
        }
        if let Some(known) = self.events.get_mut(&parent) {
            known.numbers.insert(child.number);
        }
        self.live(id, child.lane, child.event, child.job);
        true
    }

    fn is_spawned(&self, once: &(String, String), now: Timestamp) -> bool {
        self.once.get(once).is_some_and(|(at, id)| {
            now < *at + self.settings.credit_dedupe
                || self.living.contains_key(id)
                || self.dead.contains_key(id)
        })
    }

    pub(super) fn revive(&mut self, id: JobId, start: Start) -> bool {
        let Some(letter) = self.dead.remove(&id) else {
            return false;
        };
        match start {
            Start::Run { lane, job } => {
                self.live(id, lane, letter.event, job);
                self.enter(id, None);
            }
            Start::Bury {
                workspace,
                flow,
                burial,
            } => {
                self.dead.insert(
                    id,
                    DeadLetter {
                        workspace,
                        flow,
                        burial,
                        ..letter
                    },
                );
            }
        }
        true
    }

    pub(super) fn discard_old_letters(&mut self, now: Timestamp) {
        let kept_for = self.settings.dead_retention;
        let old = |letter: &DeadLetter| letter.burial.at + kept_for <= now;
        for id in self
            .dead
            .values()
            .filter(|letter| old(letter))
            .map(|letter| letter.id)
        {
            if let Some(known) = self.events.get_mut(&id.event) {
                known.discarded = true;
            }
        }
        self.dead.retain(|_, letter| !old(letter));
    }

    pub(super) fn wake(&mut self, lane: &Lane) -> Arc<Notify> {
        self.wakes.entry(lane.clone()).or_default().clone()
    }

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
            let states: &mut States = counts.jobs.entry(living.group()).or_default();
            let lane = counts.lanes.entry(living.lane.clone()).or_default();
            let due = living.job.due;
            let behind = self.turns.is_behind(*id, living.takes_turn_of());
            if living.lease.is_none() && (due > now || behind) {
                states.waiting += 1;
                lane.waiting += 1;
                continue;
            }
            if living.lease.is_some() {
                states.in_flight += 1;
            } else {
                states.ready += 1;
            }
            lane.depth += 1;
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
        let mut counts = EventCounts::default();
        for (id, known) in &self.events {
            counts.accepted += 1;
            if self.lives(*id) {
                counts.queued += 1;
            } else if self.is_dead(*id) {
                counts.dead += 1;
            } else if known.discarded {
                counts.discarded += 1;
            } else {
                counts.done += 1;
            }
        }
        counts
    }
}

impl EventKey {
    pub(super) fn of(event: &Event) -> EventKey {
        EventKey {
            source: event.source,
            scope: event.scope.clone(),
            email: event.email.clone(),
            key: event.key.clone(),
        }
    }

    fn same_participant(&self, other: &EventKey) -> bool {
        (self.source, &self.scope, &self.email) == (other.source, &other.scope, &other.email)
    }
}

impl Living {
    /// The participant whose turn it holds or waits for, if its state takes one.
    pub(super) fn takes_turn_of(&self) -> Option<&Participant> {
        let takes = self.has_participant() && self.job.state.takes_turn();
        takes.then_some(&self.participant)
    }

    fn has_participant(&self) -> bool {
        !self.event.email.is_empty()
    }

    fn group(&self) -> Group {
        let flow = Some(self.job.state.flow());
        Group::of(Some(&self.lane.workspace), &self.event, flow)
    }
}
