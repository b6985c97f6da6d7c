//! A queue for hundreds of thousands of people who wait: what of the store's port their lives need, quick to ask.
//!
//! Invariants: lends as the port says (fresh ones in order of their ids, then those that failed), but without looking at
//! everybody each time. Deliberately absent: duplicates, dead letters, counts, budgets, and whatever else
//! nobody here asks for.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use braze_relay::flow::job::{Commit, Fate, Job, Outcome, Seed, Start};
use braze_relay::model::budget::BudgetUse;
use braze_relay::model::event::Event;
use braze_relay::model::id::{EventId, JobId};
use braze_relay::model::lane::Lane;
use braze_relay::model::time::Timestamp;
use braze_relay::store::{Appended, Committed, Counts, Leased, Store, StoreError, Token};
use tokio::sync::Notify;

#[derive(Clone, Default)]
pub struct Shelf(Arc<Mutex<Inside>>);

#[derive(Default)]
struct Inside {
    last_id: EventId,
    lease: u64,
    jobs: HashMap<JobId, (Lane, Event, Job)>,
    lanes: BTreeMap<Lane, Queue>,
    done: BTreeMap<Outcome, u64>,
    dead: u64,
}

#[derive(Default)]
struct Queue {
    waiting: BTreeSet<(Timestamp, JobId)>,
    fresh: BTreeSet<JobId>,
    failed: BTreeSet<(Timestamp, JobId)>,
    wake: Arc<Notify>,
}

impl Inside {
    fn shelve(&mut self, id: JobId, lane: &Lane, event: Event, job: Job) {
        let queue = self.lanes.entry(lane.clone()).or_default();
        queue.waiting.insert((job.due, id));
        queue.wake.notify_one();
        self.jobs.insert(id, (lane.clone(), event, job));
    }
}

impl Shelf {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap()
    }

    /// How many jobs live.
    pub fn living(&self) -> usize {
        self.inside().jobs.len()
    }

    /// How many ended so, and how many died.
    pub fn ends(&self) -> (BTreeMap<Outcome, u64>, u64) {
        let inside = self.inside();
        (inside.done.clone(), inside.dead)
    }
}

impl Store for Shelf {
    async fn append(&self, seeds: Vec<Seed>, now: Timestamp) -> Result<Vec<Appended>, StoreError> {
        let mut inside = self.inside();
        let mut appended = Vec::with_capacity(seeds.len());
        for seed in seeds {
            let id = EventId::next(inside.last_id, now, 0);
            inside.last_id = id;
            match seed.start {
                Start::Run { lane, job } => inside.shelve(id.job(0), &lane, seed.event, job),
                Start::Bury { .. } => inside.dead += 1,
            }
            let duplicate = false;
            appended.push(Appended { id, duplicate });
        }
        Ok(appended)
    }

    async fn lease(
        &self,
        lane: &Lane,
        now: Timestamp,
        at_most: usize,
    ) -> Result<Vec<Leased>, StoreError> {
        let mut inside = self.inside();
        let Inside {
            jobs, lanes, lease, ..
        } = &mut *inside;
        let Some(queue) = lanes.get_mut(lane) else {
            return Ok(Vec::new());
        };
        while let Some((due, id)) = queue.waiting.pop_first() {
            if due > now {
                queue.waiting.insert((due, id));
                break;
            }
            if jobs[&id].2.fresh {
                queue.fresh.insert(id);
            } else {
                queue.failed.insert((due, id));
            }
        }
        let for_failed = queue.failed.len().min(at_most / 4);
        let mut ids = Vec::new();
        while ids.len() < at_most - for_failed
            && let Some(id) = queue.fresh.pop_first()
        {
            ids.push(id);
        }
        while ids.len() < at_most
            && let Some((_, id)) = queue.failed.pop_first()
        {
            ids.push(id);
        }
        let lend = |id: JobId| {
            *lease += 1;
            let (_, event, job) = &jobs[&id];
            let token = Token { id, lease: *lease };
            let (event, job) = (event.clone(), job.clone());
            Leased {
                token,
                event,
                job,
                known: None,
            }
        };
        Ok(ids.into_iter().map(lend).collect())
    }

    async fn begin(&self, tokens: Vec<Token>) -> Result<(), StoreError> {
        let mut inside = self.inside();
        for token in tokens {
            if let Some((_, _, job)) = inside.jobs.get_mut(&token.id) {
                job.begun = true;
            }
        }
        Ok(())
    }

    async fn give_back(&self, tokens: Vec<Token>) -> Result<(), StoreError> {
        let mut inside = self.inside();
        for token in tokens {
            if let Some((lane, event, job)) = inside.jobs.remove(&token.id) {
                inside.shelve(token.id, &lane, event, job);
            }
        }
        Ok(())
    }

    async fn commit(
        &self,
        moves: Vec<(Token, Commit)>,
        _now: Timestamp,
    ) -> Result<Vec<Committed>, StoreError> {
        let mut inside = self.inside();
        let mut committed = Vec::with_capacity(moves.len());
        for (token, commit) in moves {
            let Some((_, event, _)) = inside.jobs.remove(&token.id) else {
                committed.push(Committed::LostLease);
                continue;
            };
            match commit.fate {
                Fate::Keep { lane, job } => inside.shelve(token.id, &lane, event, job),
                Fate::Finish(outcome) => *inside.done.entry(outcome).or_default() += 1,
                Fate::Bury { .. } => inside.dead += 1,
            }
            let children = commit.spawn.len() as u8;
            for child in commit.spawn {
                let id = token.id.event.job(child.number);
                inside.shelve(id, &child.lane, child.event, child.job);
            }
            committed.push(Committed::Stored { children });
        }
        Ok(committed)
    }

    async fn next_due(&self, lane: &Lane, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let inside = self.inside();
        let next = |queue: &Queue| {
            let ready = !queue.fresh.is_empty() || !queue.failed.is_empty();
            let waiting = queue.waiting.first().map(|(due, _)| *due);
            if ready { Some(now) } else { waiting }
        };
        Ok(inside.lanes.get(lane).and_then(next))
    }

    fn wake(&self, lane: &Lane) -> Arc<Notify> {
        let mut inside = self.inside();
        inside.lanes.entry(lane.clone()).or_default().wake.clone()
    }

    async fn counts(&self, _now: Timestamp) -> Result<Counts, StoreError> {
        Ok(Counts::default())
    }

    fn note_budget(&self, _lane: &Lane, _used: BudgetUse) {}

    async fn budgets(&self) -> Result<BTreeMap<Lane, BudgetUse>, StoreError> {
        Ok(BTreeMap::new())
    }

    fn revoked(&self) -> u64 {
        0
    }
    fn admits(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
