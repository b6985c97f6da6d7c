//! What the plain-map store is made of, and what happens in it.
//!
//! Invariants: a job is in `living` or in `dead` or in neither, never in both; an event and a number once given stay.
//! Nothing here locks or waits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::Notify;

use super::super::codec::KnownKind;
use super::super::hash::{self, Hasher, PARTICIPANT_BYTES, Place};
use super::super::share::Share;
use super::super::{
    Appended, DeadLetter, EventCounts, Group, Learnt, Leased, Paper, REPLAYS_MAX, ReplayCounts,
    Settings, StoreError, Token,
};
use super::turns::{Participant, Person, Turns};
use crate::flow::job::{Job, Outcome, Seed, Start};
use crate::model::Name;
use crate::model::budget::BudgetUse;
use crate::model::event::Event;
use crate::model::id::{EventId, JobId};
use crate::model::lane::Lane;
use crate::model::time::Timestamp;

/// Everything there is.
#[derive(Clone)]
pub(super) struct Maps {
    pub(super) settings: Settings,
    pub(super) hasher: Hasher,
    /// In the order of their numbers.
    pub(super) workspaces: Vec<Name>,
    /// Set when [`MapStore::crash`](super::MapStore::crash) has handed everything to another store.
    pub(super) closed: bool,
    pub(super) commit: u64,
    pub(super) last_id: EventId,
    pub(super) last_lease: u64,
    /// Events of which only the number is known: they were over when this store was made.
    pub(super) before: EventCounts,
    /// Every other event ever accepted, and those that are remembered.
    pub(super) events: BTreeMap<EventId, Known>,
    /// The latest event of each key, remembered or not.
    pub(super) keys: BTreeMap<Place, EventId>,
    /// The latest spawning of each (participant, `once`), remembered or not.
    pub(super) once: BTreeMap<Place, (Timestamp, JobId)>,
    /// The `once` of each job that has one.
    pub(super) once_of: BTreeMap<JobId, String>,
    pub(super) living: BTreeMap<JobId, Living>,
    pub(super) dead: BTreeMap<JobId, DeadLetter>,
    pub(super) done: BTreeMap<(Group, Outcome), u64>,
    /// Every lane that ever had work.
    pub(super) lanes: BTreeSet<Lane>,
    pub(super) wakes: BTreeMap<Lane, Arc<Notify>>,
    pub(super) turns: Turns,
    pub(super) addresses: BTreeMap<Place, Learnt>,
    /// How often leases were lost with a person.
    pub(super) revoked: u64,
    pub(super) shares: BTreeMap<Lane, Share>,
    pub(super) papers: BTreeMap<String, Paper>,
    pub(super) replays: BTreeMap<u32, ReplayCounts>,
    pub(super) budgets: BTreeMap<Lane, BudgetUse>,
    /// As they were when it was opened.
    pub(super) budgets_found: BTreeMap<Lane, BudgetUse>,
}

/// An accepted event.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) kind: KnownKind,
    /// A hash of its source and scope.
    pub(super) scope: [u8; 4],
    /// Its key is remembered until then, and longer while a job of it lives or is dead.
    until: Timestamp,
    /// Where it is remembered.
    pub(super) place: Place,
    /// The number of every job it ever had.
    pub(super) numbers: BTreeSet<u8>,
    /// One of its jobs was discarded.
    pub(super) discarded: bool,
    /// It went with its person.
    pub(super) forgotten: bool,
    /// It was over when this store was made: it is counted there.
    pub(super) over: bool,
}

impl Known {
    /// With one job, remembered at `place` for as long as its kind is.
    pub(super) fn new(
        kind: KnownKind,
        (scope, place): ([u8; 4], Place),
        accepted_at: Timestamp,
        settings: &Settings,
    ) -> Known {
        let memory = settings.key_dedupe(kind == KnownKind::Derived);
        Known {
            kind,
            scope,
            until: accepted_at + memory,
            place,
            numbers: BTreeSet::from([0]),
            discarded: false,
            forgotten: false,
            over: false,
        }
    }
}

/// A job that is neither done nor dead.
#[derive(Clone)]
pub(super) struct Living {
    pub(super) lane: Lane,
    pub(super) event: Event,
    pub(super) job: Job,
    /// Whose turn it would take.
    pub(super) participant: Participant,
    /// The number of its lease while it is lent.
    pub(super) lease: Option<u64>,
    /// The replay it belongs to.
    pub(super) replay: Option<u32>,
}

impl Maps {
    pub(super) fn new(settings: Settings) -> Maps {
        Maps {
            settings,
            hasher: Hasher::new([0; 32]),
            workspaces: Vec::new(),
            before: EventCounts::default(),
            once_of: BTreeMap::new(),
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
            revoked: 0,
            shares: BTreeMap::new(),
            papers: BTreeMap::new(),
            replays: BTreeMap::new(),
            budgets: BTreeMap::new(),
            budgets_found: BTreeMap::new(),
        }
    }

    /// The event that is remembered at this place.
    pub(super) fn remembered(&self, place: &Place, now: Timestamp) -> Option<EventId> {
        let id = *self.keys.get(place)?;
        self.is_remembered(id, now).then_some(id)
    }

    fn is_remembered(&self, id: EventId, now: Timestamp) -> bool {
        let known = self.events.get(&id);
        let fresh = known.is_some_and(|known| now < known.until);
        fresh || self.lives(id) || self.is_dead(id)
    }

    pub(super) fn lives(&self, id: EventId) -> bool {
        let mut jobs = self.living.range(id.job(0)..=id.job(u8::MAX));
        jobs.next().is_some()
    }

    pub(super) fn is_dead(&self, id: EventId) -> bool {
        let mut letters = self.dead.range(id.job(0)..=id.job(u8::MAX));
        letters.next().is_some()
    }

    fn has_taken_part(&self, event: &Event, now: Timestamp) -> bool {
        let mut place = self.hasher.event(event);
        place[PARTICIPANT_BYTES..].fill(0);
        let person = person(&place);
        let scope = self.hasher.scope(event);
        self.keys
            .range(place..)
            .take_while(|(key, _)| self::person(key) == person)
            .filter_map(|(_, id)| Some((*id, self.events.get(id)?)))
            .any(|(id, known)| {
                known.kind == KnownKind::Participation
                    && known.scope == scope
                    && self.is_remembered(id, now)
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
        let place = self.hasher.event(&seed.event);
        if let Some(id) = self.remembered(&place, now) {
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
        self.keys.insert(place, id);
        let at = (self.hasher.scope(&seed.event), place);
        let kind = KnownKind::of(&seed.event);
        let known = Known::new(kind, at, seed.event.accepted_at, &self.settings);
        self.events.insert(id, known);
        match start {
            Start::Run { lane, job } => {
                self.live(id.job(0), lane, seed.event, job, None);
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
                    replay: None,
                };
                self.dead.insert(letter.id, letter);
            }
        }
        Appended {
            id,
            duplicate: false,
        }
    }

    pub(super) fn live(
        &mut self,
        id: JobId,
        lane: Lane,
        event: Event,
        mut job: Job,
        replay: Option<u32>,
    ) {
        job.fresh &= replay.is_none();
        self.lanes.insert(lane.clone());
        self.wake(&lane).notify_one();
        self.number(&lane.workspace);
        let accepted = self.events.get(&id.event);
        let person = accepted.map_or_else(Person::default, |known| person(&known.place));
        self.living.insert(
            id,
            Living {
                participant: (lane.workspace.clone(), person),
                lane,
                event,
                job,
                lease: None,
                replay,
            },
        );
    }

    pub(super) fn lend(&mut self, id: JobId, now: Timestamp) -> Option<Leased> {
        let living = self.living.get_mut(&id)?;
        self.last_lease += 1;
        living.lease = Some(self.last_lease);
        let (event, job) = (living.event.clone(), living.job.clone());
        let participant = living.takes_turn_of().cloned();
        let known = participant
            .and_then(|participant| self.addresses.get(&self.address_of(&participant)))
            .filter(|learnt| learnt.holds(now, self.settings.known_for))
            .cloned();
        let lease = self.last_lease;
        Some(Leased {
            token: Token { id, lease },
            event,
            job,
            known,
        })
    }

    /// The number of a workspace; a new one gets the next.
    pub(super) fn number(&mut self, workspace: &Name) -> u16 {
        let found = self.workspaces.iter().position(|name| name == workspace);
        found.unwrap_or_else(|| {
            self.workspaces.push(workspace.clone());
            self.workspaces.len() - 1
        }) as u16
    }

    /// Where the address of a participant is remembered, in a workspace that has a number.
    pub(super) fn address_of(&self, (workspace, person): &Participant) -> Place {
        let found = self.workspaces.iter().position(|name| name == workspace);
        let mut place = Place::default();
        place[..PARTICIPANT_BYTES].copy_from_slice(person);
        let number = found.unwrap_or_default() as u16;
        self.hasher.address(&hash::participant(number, &place))
    }

    /// The job of a lease that is still valid.
    pub(super) fn lent(&mut self, token: Token) -> Option<&mut Living> {
        self.living
            .get_mut(&token.id)
            .filter(|living| living.lease == Some(token.lease))
    }

    pub(super) fn discard_old_letters(&mut self, now: Timestamp) {
        let kept_for = self.settings.dead_retention;
        let old = |letter: &DeadLetter| letter.burial.at + kept_for <= now;
        let letters = self.dead.values().filter(|letter| old(letter));
        for id in letters.map(|letter| letter.id).collect::<Vec<_>>() {
            self.discard(id);
        }
    }

    /// Whether it was a dead letter.
    pub(super) fn discard(&mut self, id: JobId) -> bool {
        let was_there = self.dead.remove(&id).is_some();
        if let Some(known) = self.events.get_mut(&id.event).filter(|_| was_there) {
            known.discarded = true;
        }
        was_there
    }

    /// The counts of a replay, for what belongs to one.
    pub(super) fn replayed(&mut self, replay: Option<u32>) -> Option<&mut ReplayCounts> {
        let number = replay?;
        let newest = self.replays.last_key_value().map_or(0, |(last, _)| *last);
        let oldest = (newest.max(number) + 1).saturating_sub(REPLAYS_MAX);
        self.replays.retain(|kept, _| *kept >= oldest);
        (number >= oldest).then(|| self.replays.entry(number).or_default())
    }

    pub(super) fn wake(&mut self, lane: &Lane) -> Arc<Notify> {
        self.wakes.entry(lane.clone()).or_default().clone()
    }
}

/// The participant's part of a place.
pub(super) fn person(place: &Place) -> Person {
    let mut person = Person::default();
    person.copy_from_slice(&place[..PARTICIPANT_BYTES]);
    person
}

impl Living {
    /// The participant whose turn it holds or waits for, if its state takes one.
    pub(super) fn takes_turn_of(&self) -> Option<&Participant> {
        let takes = self.job.state.takes_turn();
        takes.then_some(&self.participant)
    }

    pub(super) fn group(&self) -> Group {
        let flow = Some(self.job.state.flow());
        Group::of(Some(&self.lane.workspace), &self.event, flow)
    }
}
