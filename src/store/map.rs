//! The plain-map store: the port in memory, for tests, and the oracle that every adapter is compared with.
//!
//! Invariants: obviously right before fast. Nothing is counted along the way: every count is taken from the maps when it
//! is asked for, and whether a key is remembered is worked out from the moments that were written down. Deterministic:
//! the same calls give the same ids. Every method takes the lock once, so that each call happens whole.
//!
//! Deliberately absent: durability. [`MapStore::crash`] plays a restart: what was answered is there, every lease is lost.
//! Done events are not swept: they are no longer remembered once their time has passed, which is all the port can show.

mod carry;
mod counting;
mod forget;
mod jobs;
mod maps;
mod moves;
mod turns;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use self::maps::{Living, Maps};
use super::entry::Entries;
use super::{
    Appended, Committed, Counts, DeadFilter, DeadLetter, Found, JobFilter, Leased, Note, Operate,
    Page, Paper, Papers, Person, Portion, Position, ReplayCounts, Settings, Shelf, Standing, Store,
    StoreError, StoredJob, Timeline, Token, Trace, paper,
};
use crate::flow::job::{Commit, Seed, Start};
use crate::model::budget::BudgetUse;
use crate::model::id::{EventId, JobId};
use crate::model::lane::Lane;
use crate::model::time::Timestamp;

/// A queue in memory. Clones share it.
#[derive(Clone)]
pub struct MapStore(Arc<Mutex<Maps>>);

impl MapStore {
    /// An empty store.
    pub fn new(settings: Settings) -> MapStore {
        MapStore(Arc::new(Mutex::new(Maps::new(settings))))
    }

    /// The store as it is after a restart: everything answered is there, begun marks too, every lease is lost. This
    /// one and all its clones are closed from now on, as the handles of a process that died.
    pub fn crash(&self) -> MapStore {
        let mut maps = self.maps();
        let mut opened = maps.clone();
        maps.closed = true;
        opened.wakes.clear();
        opened.shares.clear();
        opened.budgets_found = opened.budgets.clone();
        for used in opened.budgets.values_mut() {
            used.complete = false;
        }
        for living in opened.living.values_mut() {
            living.lease = None;
        }
        MapStore(Arc::new(Mutex::new(opened)))
    }

    /// Whether this lease is still good.
    pub fn is_lent(&self, token: Token) -> bool {
        self.maps().lent(token).is_some()
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
        if seeds.iter().any(|seed| {
            maps.remembered(&maps.hasher.event(&seed.event), now)
                .is_none()
        }) {
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
        let ready = |fresh: bool| {
            let in_lane = maps
                .living
                .iter()
                .filter(move |(_, living)| living.lane == *lane && living.job.fresh == fresh);
            in_lane.filter(|(_, living)| living.lease.is_none() && living.job.due <= now)
        };
        let may_go =
            |id: &JobId, living: &Living| !maps.turns.is_behind(*id, living.takes_turn_of());
        let mut fresh: Vec<JobId> = ready(true)
            .filter(|(id, living)| may_go(id, living))
            .map(|(id, _)| *id)
            .take(at_most)
            .collect();
        let mut failed: Vec<_> = ready(false)
            .map(|(id, living)| (living.job.due, *id, living))
            .collect();
        failed.sort_unstable_by_key(|(due, id, _)| (*due, *id));
        let mut failed: Vec<JobId> = failed
            .into_iter()
            .filter(|(_, id, living)| may_go(id, living))
            .map(|(_, id, _)| id)
            .take(at_most)
            .collect();

        let share = maps.shares.entry(lane.clone()).or_default();
        failed.truncate(share.of_failed(at_most, fresh.len(), failed.len()));
        fresh.truncate(at_most - failed.len());

        let mut room = at_most - fresh.len() - failed.len();
        let mut ids = Vec::new();
        for holder in fresh.into_iter().chain(failed) {
            ids.push(holder);
            let chain = maps.chain(holder, now, room);
            room -= chain.len();
            ids.extend(chain);
        }
        Ok(ids
            .into_iter()
            .filter_map(|id| maps.lend(id, now))
            .collect())
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
        let maps = self.open()?;
        let mut first: Option<Timestamp> = None;
        for (id, living) in &maps.living {
            let due = living.job.due;
            if living.lane == *lane
                && living.lease.is_none()
                && first.is_none_or(|first| due < first)
                && !maps.turns.is_behind(*id, living.takes_turn_of())
            {
                first = Some(due);
            }
        }
        Ok(first)
    }

    fn wake(&self, lane: &Lane) -> Arc<Notify> {
        self.maps().wake(lane)
    }

    async fn counts(&self, now: Timestamp) -> Result<Counts, StoreError> {
        Ok(self.open()?.counts(now))
    }

    fn note_budget(&self, lane: &Lane, used: BudgetUse) {
        // A process that died notes nothing more.
        if let Ok(mut maps) = self.open() {
            maps.budgets.insert(lane.clone(), used);
        }
    }

    async fn budgets(&self) -> Result<BTreeMap<Lane, BudgetUse>, StoreError> {
        Ok(self.open()?.budgets_found.clone())
    }

    fn revoked(&self) -> u64 {
        self.maps().revoked
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
            .filter(|letter| filter.matches(letter, |it| maps.hasher.shown(it)))
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

    async fn job_list(
        &self,
        filter: JobFilter,
        after: Option<JobId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page<StoredJob>, StoreError> {
        Ok(self.open()?.job_list(&filter, after, limit, now))
    }

    async fn job_get(&self, id: JobId, now: Timestamp) -> Result<Option<StoredJob>, StoreError> {
        Ok(self.open()?.job_get(id, now))
    }

    async fn copy(&self) -> Result<Entries, StoreError> {
        let maps = self.open()?;
        let (entries, to) = Entries::channel(maps.hasher.secret());
        let told = maps.tell();
        tokio::spawn(async move {
            // Whoever has gone does not want to hear it.
            let _ = to.send(Ok(told)).await;
        });
        Ok(entries)
    }

    async fn revive_noting(
        &self,
        replay: Option<u32>,
        letters: Vec<(JobId, Start)>,
        note: Note,
        now: Timestamp,
    ) -> Result<Vec<bool>, StoreError> {
        let mut maps = self.open()?;
        maps.discard_old_letters(now);
        maps.commit += 1;
        maps.note(letters.iter().map(|(id, _)| *id), note);
        Ok(letters
            .into_iter()
            .map(|(id, start)| maps.revive(id, start, replay))
            .collect())
    }

    async fn held(
        &self,
        person: Person,
        before: Option<EventId>,
        now: Timestamp,
    ) -> Result<Portion, StoreError> {
        let held = self.open()?.held(&person, before, now);
        Ok(Portion { held, next: None })
    }

    async fn forget(
        &self,
        person: Person,
        before: Option<EventId>,
        now: Timestamp,
    ) -> Result<Portion, StoreError> {
        let mut maps = self.open()?;
        maps.discard_old_letters(now);
        maps.commit += 1;
        let held = maps.forget(&person, before, now);
        Ok(Portion { held, next: None })
    }

    async fn timeline(
        &self,
        participant: String,
        limit: usize,
        now: Timestamp,
    ) -> Result<Timeline, StoreError> {
        Ok(self.open()?.timeline(&participant, limit, now))
    }

    async fn standing(&self, event: EventId) -> Result<Standing, StoreError> {
        Ok(self.open()?.standing(event))
    }

    async fn search(&self, trace: Trace, _from: Option<Position>) -> Result<Found, StoreError> {
        Ok(self.open()?.search(&trace))
    }

    async fn discard_noting(
        &self,
        ids: Vec<JobId>,
        note: Note,
        now: Timestamp,
    ) -> Result<Vec<bool>, StoreError> {
        let mut maps = self.open()?;
        maps.discard_old_letters(now);
        maps.commit += 1;
        maps.note(ids.iter().copied(), note);
        Ok(ids.into_iter().map(|id| maps.discard(id)).collect())
    }

    async fn replay_counts(&self) -> Result<BTreeMap<u32, ReplayCounts>, StoreError> {
        Ok(self.open()?.replays.clone())
    }

    async fn put_papers(&self, put: Vec<Paper>, remove: Vec<String>) -> Result<(), StoreError> {
        let mut maps = self.open()?;
        maps.commit += 1;
        maps.put_papers(Papers { remove, put });
        Ok(())
    }

    async fn papers(&self, shelf: Shelf, limit: usize) -> Result<Vec<Paper>, StoreError> {
        let maps = self.open()?;
        let held = maps.papers.values();
        let mut held: Vec<&Paper> = held.filter(|paper| shelf.holds(paper.name())).collect();
        if shelf.last_first {
            held.reverse();
        }
        let first = held.into_iter().take(limit.min(paper::LOOK_MAX));
        Ok(first.cloned().collect())
    }

    fn participant_hash(&self, email: &str) -> String {
        self.maps().hasher.shown(email)
    }
}
