//! The plain-map store: the port in memory, for tests, and the oracle that every adapter is compared with.
//!
//! Invariants: obviously right before fast. Nothing is counted along the way: every count is taken from the maps when it
//! is asked for, and whether a key is remembered is worked out from the moments that were written down. Deterministic:
//! the same calls give the same ids.
//!
//! Deliberately absent: durability. [`MapStore::crash`] plays a restart: what was answered is there, every lease is lost.
//! Done events are not swept: they are no longer remembered once their time has passed, which is all the port can show.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::{
    Appended, Committed, Counts, DeadFilter, DeadLetter, EventCounts, Group, LaneCounts, Leased,
    Operate, Page, Settings, States, Store, StoreError, Token,
};
use crate::flow::job::{Child, Commit, Fate, Job, Outcome, Seed, Start};
use crate::model::event::{Event, EventKind, Source};
use crate::model::id::{EventId, JobId};
use crate::model::lane::Lane;
use crate::model::time::Timestamp;

/// A queue in memory. Clones share it.
#[derive(Clone)]
pub struct MapStore(Arc<Mutex<Maps>>);

/// Everything there is.
#[derive(Clone)]
struct Maps {
    settings: Settings,
    /// Set when [`MapStore::crash`] has handed everything to another store.
    closed: bool,
    commit: u64,
    last_id: EventId,
    last_lease: u64,
    /// Every event ever accepted.
    events: BTreeMap<EventId, Known>,
    /// The latest event of each key, remembered or not.
    keys: BTreeMap<EventKey, EventId>,
    /// The latest spawning of each (participant, `once`), remembered or not.
    once: BTreeMap<(String, String), (Timestamp, JobId)>,
    living: BTreeMap<JobId, Living>,
    dead: BTreeMap<JobId, DeadLetter>,
    done: BTreeMap<(Group, Outcome), u64>,
    /// Every lane that ever had work.
    lanes: BTreeSet<Lane>,
    wakes: BTreeMap<Lane, Arc<Notify>>,
}

/// What an event is known by.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct EventKey {
    source: Source,
    scope: String,
    email: String,
    key: String,
}

/// An accepted event.
#[derive(Clone)]
struct Known {
    kind: EventKind,
    accepted_at: Timestamp,
    /// The number of every job it ever had.
    numbers: BTreeSet<u8>,
    /// One of its jobs was discarded.
    discarded: bool,
}

/// A job that is neither done nor dead.
#[derive(Clone)]
struct Living {
    lane: Lane,
    event: Event,
    job: Job,
    /// The number of its lease while it is lent.
    lease: Option<u64>,
}

impl MapStore {
    /// An empty store.
    pub fn new(settings: Settings) -> MapStore {
        MapStore(Arc::new(Mutex::new(Maps {
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
        })))
    }

    /// The store as it is after a restart: everything answered is there, begun marks too, every lease is lost. This
    /// one and all its clones are closed from now on, as the handles of a process that died.
    pub fn crash(&self) -> MapStore {
        let mut maps = self.maps();
        let mut opened = maps.clone();
        maps.closed = true;
        opened.wakes.clear();
        for living in opened.living.values_mut() {
            living.lease = None;
        }
        MapStore(Arc::new(Mutex::new(opened)))
    }

    fn maps(&self) -> MutexGuard<'_, Maps> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> Result<MutexGuard<'_, Maps>, StoreError> {
        let maps = self.maps();
        if maps.closed {
            Err(StoreError::Closed)
        } else {
            Ok(maps)
        }
    }
}

impl Store for MapStore {
    async fn append(&self, seeds: Vec<Seed>, now: Timestamp) -> Result<Vec<Appended>, StoreError> {
        let mut maps = self.open()?;
        maps.discard_old_letters(now);
        if seeds
            .iter()
            .any(|seed| maps.remembered(&EventKey::of(&seed.event), now).is_none())
        {
            maps.room()?;
        }
        maps.commit += 1;
        Ok(seeds
            .into_iter()
            .map(|seed| maps.accept(seed, now))
            .collect())
    }

    async fn lease(
        &self,
        lane: &Lane,
        now: Timestamp,
        at_most: usize,
    ) -> Result<Vec<Leased>, StoreError> {
        let mut maps = self.open()?;
        let ready = |fresh: bool| -> Vec<(Timestamp, JobId)> {
            maps.living
                .iter()
                .filter(|(_, living)| living.lane == *lane && living.job.fresh == fresh)
                .filter(|(_, living)| living.lease.is_none() && living.job.due <= now)
                .map(|(id, living)| (living.job.due, *id))
                .collect()
        };
        let mut fresh: Vec<JobId> = ready(true).into_iter().map(|(_, id)| id).collect();
        let mut failed = ready(false);
        failed.sort_unstable();

        let room_for_failed = failed.len().min(at_most / 4);
        fresh.truncate(at_most - room_for_failed);
        failed.truncate(at_most - fresh.len());

        let ids = fresh
            .into_iter()
            .chain(failed.into_iter().map(|(_, id)| id));
        Ok(ids.filter_map(|id| maps.lend(id)).collect())
    }

    async fn begin(&self, tokens: Vec<Token>) -> Result<(), StoreError> {
        let mut maps = self.open()?;
        maps.commit += 1;
        for token in tokens {
            if let Some(living) = maps.lent(token) {
                living.job.begun = true;
            }
        }
        Ok(())
    }

    async fn give_back(&self, tokens: Vec<Token>) -> Result<(), StoreError> {
        let mut maps = self.open()?;
        for token in tokens {
            if let Some(living) = maps.lent(token) {
                living.lease = None;
                let lane = living.lane.clone();
                maps.wake(&lane).notify_one();
            }
        }
        Ok(())
    }

    async fn commit(
        &self,
        moves: Vec<(Token, Commit)>,
        now: Timestamp,
    ) -> Result<Vec<Committed>, StoreError> {
        let mut maps = self.open()?;
        maps.discard_old_letters(now);
        maps.commit += 1;
        Ok(moves
            .into_iter()
            .map(|(token, commit)| maps.carry_out(token, commit, now))
            .collect())
    }

    async fn next_due(
        &self,
        lane: &Lane,
        _now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        Ok(self
            .open()?
            .living
            .values()
            .filter(|living| living.lane == *lane && living.lease.is_none())
            .map(|living| living.job.due)
            .min())
    }

    fn wake(&self, lane: &Lane) -> Arc<Notify> {
        self.maps().wake(lane)
    }

    fn counts(&self, now: Timestamp) -> Counts {
        self.maps().counts(now)
    }

    fn admits(&self) -> Result<(), StoreError> {
        self.open()?.room()
    }
}

impl Operate for MapStore {
    async fn dead_list(
        &self,
        filter: DeadFilter,
        after: Option<JobId>,
        limit: usize,
    ) -> Result<Page<DeadLetter>, StoreError> {
        let maps = self.open()?;
        let mut items: Vec<DeadLetter> = maps
            .dead
            .values()
            .filter(|letter| after.is_none_or(|after| letter.id > after))
            .filter(|letter| matches(&filter, letter))
            .take(limit.saturating_add(1))
            .cloned()
            .collect();
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|letter| letter.id);
        Ok(Page { items, next })
    }

    async fn dead_get(&self, id: JobId) -> Result<Option<DeadLetter>, StoreError> {
        Ok(self.open()?.dead.get(&id).cloned())
    }

    async fn revive(
        &self,
        letters: Vec<(JobId, Start)>,
        now: Timestamp,
    ) -> Result<Vec<bool>, StoreError> {
        let mut maps = self.open()?;
        maps.discard_old_letters(now);
        maps.commit += 1;
        Ok(letters
            .into_iter()
            .map(|(id, start)| maps.revive(id, start))
            .collect())
    }
}

impl Maps {
    /// The event that is remembered under this key.
    fn remembered(&self, key: &EventKey, now: Timestamp) -> Option<EventId> {
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

    fn room(&self) -> Result<(), StoreError> {
        let held = (self.living.len() + self.dead.len()) as u64;
        let max = self.settings.max_jobs;
        if held >= max {
            return Err(StoreError::Full(format!(
                "it holds {held} jobs, store.max_jobs is {max}"
            )));
        }
        Ok(())
    }

    fn accept(&mut self, seed: Seed, now: Timestamp) -> Appended {
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
                accepted_at: seed.event.accepted_at,
                numbers: BTreeSet::from([0]),
                discarded: false,
            },
        );
        match start {
            Start::Run { lane, job } => self.live(id.job(0), lane, seed.event, job),
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
        self.living.insert(
            id,
            Living {
                lane,
                event,
                job,
                lease: None,
            },
        );
    }

    fn lend(&mut self, id: JobId) -> Option<Leased> {
        let living = self.living.get_mut(&id)?;
        self.last_lease += 1;
        living.lease = Some(self.last_lease);
        Some(Leased {
            token: Token {
                id,
                lease: self.last_lease,
            },
            event: living.event.clone(),
            job: living.job.clone(),
        })
    }

    /// The job of a lease that is still valid.
    fn lent(&mut self, token: Token) -> Option<&mut Living> {
        self.living
            .get_mut(&token.id)
            .filter(|living| living.lease == Some(token.lease))
    }

    fn carry_out(&mut self, token: Token, commit: Commit, now: Timestamp) -> Committed {
        if self.lent(token).is_none() {
            return Committed::LostLease;
        }
        let id = token.id;
        let Some(before) = self.living.remove(&id) else {
            return Committed::LostLease;
        };
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
        let mut children = 0;
        for child in commit.spawn {
            children += u8::from(self.spawn(id.event, child, now));
        }
        Committed::Stored { children }
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

    fn revive(&mut self, id: JobId, start: Start) -> bool {
        let Some(letter) = self.dead.remove(&id) else {
            return false;
        };
        match start {
            Start::Run { lane, job } => self.live(id, lane, letter.event, job),
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

    fn discard_old_letters(&mut self, now: Timestamp) {
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

    fn wake(&mut self, lane: &Lane) -> Arc<Notify> {
        self.wakes.entry(lane.clone()).or_default().clone()
    }

    fn counts(&self, now: Timestamp) -> Counts {
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
        for living in self.living.values() {
            let states: &mut States = counts.jobs.entry(living.group()).or_default();
            let lane = counts.lanes.entry(living.lane.clone()).or_default();
            let due = living.job.due;
            if living.lease.is_none() && due > now {
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
    fn of(event: &Event) -> EventKey {
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
    fn group(&self) -> Group {
        let flow = Some(self.job.state.flow());
        Group::of(Some(&self.lane.workspace), &self.event, flow)
    }
}

fn matches(filter: &DeadFilter, letter: &DeadLetter) -> bool {
    let workspace = filter.workspace.as_deref();
    let activation = filter.activation.as_deref();
    workspace.is_none_or(|wanted| letter.workspace.as_deref() == Some(wanted))
        && activation.is_none_or(|wanted| letter.event.scope == wanted)
        && filter.flow.is_none_or(|wanted| letter.flow == Some(wanted))
        && filter
            .reason
            .is_none_or(|wanted| letter.burial.reason == wanted)
}
