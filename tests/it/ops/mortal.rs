//! The map store of a process that dies between two of its writes: from a certain call on nothing is answered any more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use braze_relay::flow::job::{Commit, Seed, Start};
use braze_relay::model::budget::BudgetUse;
use braze_relay::model::id::{EventId, JobId};
use braze_relay::model::lane::Lane;
use braze_relay::model::time::Timestamp;
use braze_relay::store::entry::Entries;
use braze_relay::store::map::MapStore;
use braze_relay::store::{
    Appended, Committed, Counts, DeadFilter, DeadLetter, Found, JobFilter, Leased, Note, Operate,
    Page, Paper, Person, Portion, Position, ReplayCounts, Shelf, Standing, Store, StoreError,
    StoredJob, Timeline, Token, Trace,
};
use tokio::sync::Notify;

#[derive(Clone)]
pub struct Mortal {
    map: MapStore,
    /// Writes until then.
    left: Arc<AtomicU64>,
}

impl Mortal {
    /// Dies at the write behind so many.
    pub fn after(map: MapStore, writes: u64) -> Mortal {
        let left = Arc::new(AtomicU64::new(writes));
        Mortal { map, left }
    }

    /// Whether it has died.
    pub fn is_dead(&self) -> bool {
        self.left.load(Ordering::Relaxed) == u64::MAX
    }

    fn write(&self) -> Result<(), StoreError> {
        let next = |left: u64| {
            if left == u64::MAX {
                None
            } else {
                left.checked_sub(1)
            }
        };
        let written = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        written.map(drop).map_err(|_| {
            self.left.store(u64::MAX, Ordering::Relaxed);
            StoreError::Closed
        })
    }
}

impl Store for Mortal {
    async fn append(&self, seeds: Vec<Seed>, now: Timestamp) -> Result<Vec<Appended>, StoreError> {
        self.write()?;
        self.map.append(seeds, now).await
    }

    async fn lease(
        &self,
        lane: &Lane,
        now: Timestamp,
        at_most: usize,
    ) -> Result<Vec<Leased>, StoreError> {
        self.map.lease(lane, now, at_most).await
    }

    async fn begin(&self, tokens: Vec<Token>) -> Result<(), StoreError> {
        self.map.begin(tokens).await
    }

    async fn give_back(&self, tokens: Vec<Token>) -> Result<(), StoreError> {
        self.map.give_back(tokens).await
    }

    async fn commit(
        &self,
        moves: Vec<(Token, Commit)>,
        now: Timestamp,
    ) -> Result<Vec<Committed>, StoreError> {
        self.map.commit(moves, now).await
    }

    async fn next_due(&self, lane: &Lane, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.map.next_due(lane, now).await
    }

    fn wake(&self, lane: &Lane) -> Arc<Notify> {
        self.map.wake(lane)
    }

    async fn counts(&self, now: Timestamp) -> Result<Counts, StoreError> {
        self.map.counts(now).await
    }

    fn note_budget(&self, lane: &Lane, used: BudgetUse) {
        self.map.note_budget(lane, used);
    }

    async fn budgets(&self) -> Result<BTreeMap<Lane, BudgetUse>, StoreError> {
        self.map.budgets().await
    }

    fn revoked(&self) -> u64 {
        self.map.revoked()
    }

    fn admits(&self) -> Result<(), StoreError> {
        self.map.admits()
    }
}

impl Operate for Mortal {
    async fn dead_list(
        &self,
        filter: DeadFilter,
        after: Option<JobId>,
        limit: usize,
    ) -> Result<Page<DeadLetter>, StoreError> {
        self.map.dead_list(filter, after, limit).await
    }

    async fn dead_get(&self, id: JobId) -> Result<Option<DeadLetter>, StoreError> {
        self.map.dead_get(id).await
    }

    async fn job_list(
        &self,
        filter: JobFilter,
        after: Option<JobId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page<StoredJob>, StoreError> {
        self.map.job_list(filter, after, limit, now).await
    }

    async fn job_get(&self, id: JobId, now: Timestamp) -> Result<Option<StoredJob>, StoreError> {
        self.map.job_get(id, now).await
    }

    async fn copy(&self) -> Result<Entries, StoreError> {
        self.map.copy().await
    }

    async fn revive_noting(
        &self,
        replay: Option<u32>,
        letters: Vec<(JobId, Start)>,
        note: Note,
        now: Timestamp,
    ) -> Result<Vec<bool>, StoreError> {
        self.map.revive_noting(replay, letters, note, now).await
    }

    async fn discard_noting(
        &self,
        ids: Vec<JobId>,
        note: Note,
        now: Timestamp,
    ) -> Result<Vec<bool>, StoreError> {
        self.map.discard_noting(ids, note, now).await
    }

    async fn replay_counts(&self) -> Result<BTreeMap<u32, ReplayCounts>, StoreError> {
        self.map.replay_counts().await
    }

    async fn held(
        &self,
        person: Person,
        before: Option<EventId>,
        now: Timestamp,
    ) -> Result<Portion, StoreError> {
        self.map.held(person, before, now).await
    }

    async fn forget(
        &self,
        person: Person,
        before: Option<EventId>,
        now: Timestamp,
    ) -> Result<Portion, StoreError> {
        self.write()?;
        self.map.forget(person, before, now).await
    }

    async fn timeline(
        &self,
        participant: String,
        limit: usize,
        now: Timestamp,
    ) -> Result<Timeline, StoreError> {
        self.map.timeline(participant, limit, now).await
    }

    async fn standing(&self, event: EventId) -> Result<Standing, StoreError> {
        self.map.standing(event).await
    }

    async fn search(&self, trace: Trace, from: Option<Position>) -> Result<Found, StoreError> {
        self.map.search(trace, from).await
    }

    async fn put_papers(&self, put: Vec<Paper>, remove: Vec<String>) -> Result<(), StoreError> {
        self.write()?;
        self.map.put_papers(put, remove).await
    }

    async fn papers(&self, shelf: Shelf, limit: usize) -> Result<Vec<Paper>, StoreError> {
        if self.is_dead() {
            return Err(StoreError::Closed);
        }
        self.map.papers(shelf, limit).await
    }

    fn participant_hash(&self, email: &str) -> String {
        self.map.participant_hash(email)
    }
}
