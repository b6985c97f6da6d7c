//! The map store with a disk that takes its time and a process around it that may die at every operation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use braze_relay::clock::Clock;
use braze_relay::flow::job::{Commit, Fate, Flow, Job, Seed, Start};
use braze_relay::model::budget::BudgetUse;
use braze_relay::model::call::{Address, Company, Failure, Reply};
use braze_relay::model::event::Event;
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

use super::lab::Lab;
use super::rows;

/// A job on loan: from which lane, as it was, and what was remembered.
type Lent = (Lane, Event, Job, Option<Address>);

#[derive(Clone)]
pub struct Shaky {
    map: MapStore,
    lab: Lab,
    clock: Clock,
    /// The longest an operation takes, in milliseconds.
    slowness: u64,
    leases: Arc<AtomicU64>,
    lent: Arc<Mutex<BTreeMap<JobId, Lent>>>,
}

pub fn step_of(job: &Job) -> String {
    format!("{}/{}", job.state.flow(), job.state.step())
}

impl Shaky {
    pub fn new(map: MapStore, lab: &Lab, clock: &Clock, slowness: u64) -> Shaky {
        Shaky {
            map,
            lab: lab.clone(),
            clock: clock.clone(),
            slowness,
            leases: Arc::default(),
            lent: Arc::default(),
        }
    }

    /// The same store by another clock.
    pub fn with_clock(&self, clock: &Clock) -> Shaky {
        let clock = clock.clone();
        Shaky {
            clock,
            ..self.clone()
        }
    }

    /// The store after the process died and was started again. What was under way may happen twice.
    pub fn crash(&self) -> Shaky {
        for (_, event, job, _) in self.lent.lock().unwrap().values() {
            if job.state.flow() == Flow::Credit {
                self.lab
                    .allow(format!("credit-{}|{}", event.scope, event.email));
                continue;
            }
            self.lab
                .allow(format!("joined-{}|{}", event.scope, event.email));
            if let Some(own) = &event.event {
                self.lab.allow(format!("{}|{}", own.name, event.email));
            }
        }
        Shaky {
            leases: self.leases.clone(),
            ..Shaky::new(self.map.crash(), &self.lab, &self.clock, self.slowness)
        }
    }

    /// How often something was asked for.
    pub fn leases(&self) -> u64 {
        self.leases.load(Ordering::Relaxed)
    }

    /// The steps of what is on loan in `lane` for one of `emails`.
    pub fn steps(&self, lane: &Lane, emails: &[String]) -> Vec<String> {
        let lent = self.lent.lock().unwrap();
        let of = |(at, event, ..): &&Lent| at == lane && emails.contains(&event.email);
        lent.values().filter(of).map(|it| step_of(&it.2)).collect()
    }

    /// Who is being removed by what is on loan in `lane`.
    pub fn erasing(&self, lane: &Lane) -> BTreeSet<String> {
        let lent = self.lent.lock().unwrap();
        let of = |(at, _, job, _): &&Lent| at == lane && job.state.flow() == Flow::Erase;
        let emails = lent.values().filter(of).map(|it| it.1.email.clone());
        emails.collect()
    }

    fn steps_of(&self, tokens: &[Token]) -> Vec<String> {
        let lent = self.lent.lock().unwrap();
        let step = |token: &Token| lent.get(&token.id).map(|it| step_of(&it.2));
        tokens.iter().filter_map(step).collect()
    }

    fn lend(&self, lane: &Lane, leased: &[Leased]) {
        let mut lent = self.lent.lock().unwrap();
        for it in leased {
            let row = (
                lane.clone(),
                it.event.clone(),
                it.job.clone(),
                it.known.as_ref().map(|learnt| learnt.address.clone()),
            );
            lent.insert(it.token.id, row);
        }
    }

    fn returned(&self, token: Token) {
        self.lent.lock().unwrap().remove(&token.id);
    }

    /// Which failures these jobs met, when a request was just answered.
    fn cover(&self, tokens: &[Token], answered: &[&'static str]) {
        for (step, class) in self.steps_of(tokens).into_iter().zip(answered) {
            self.lab.cover(format!("{step} × {class}"));
        }
    }

    /// Which rows of the transition table this move is.
    fn rows(
        &self,
        token: Token,
        commit: &Commit,
        heard: Option<&Result<Reply, Failure>>,
    ) -> Vec<String> {
        let lent = self.lent.lock().unwrap();
        let Some((_, event, before, address)) = lent.get(&token.id) else {
            return Vec::new();
        };
        rows::of(before, event, address.as_ref(), heard, commit)
    }

    async fn disk(&self) {
        if self.slowness > 0 {
            let millis = self.lab.below(self.slowness);
            self.clock.sleep(Duration::from_millis(millis)).await;
        }
    }

    /// Every move keeps to the table of failures. `answered` is how the job's call was, if it was just asked.
    fn look_at(
        &self,
        token: Token,
        commit: &Commit,
        answered: Option<&&'static str>,
        now: Timestamp,
    ) {
        let job = match &commit.fate {
            Fate::Keep { job, .. } => job,
            Fate::Finish(outcome) => return self.lab.cover(format!("outcome {outcome}")),
            Fate::Bury { burial, .. } => {
                return self
                    .lab
                    .cover(format!("reason {} ({})", burial.reason, burial.class));
            }
        };
        let lent = self.lent.lock().unwrap();
        let Some((_, _, before, _)) = lent.get(&token.id) else {
            return;
        };
        let counts = (job.attempts, job.failing_since, job.fresh);
        let same = (before.attempts, before.failing_since, before.fresh);
        let right = match answered {
            Some(&("transient" | "unknown, resent")) => {
                job.attempts == before.attempts + 1 && !job.fresh && job.due > now
            }
            Some(&("throttled" | "denied")) => counts == same,
            // Among fewer each time: it must end.
            Some(&"apart") => {
                counts == same && job.company.calls_max() < before.company.calls_max()
            }
            Some(&"ok") => {
                // Whoever is polled stays where she is, until later.
                let polled = job.due > now && job.state.step() == "confirm";
                let moved = job.state != before.state || polled;
                // Back to a step that failed, whose attempts go on counting.
                // It may have been excused for a pause.
                let going_on = (job.attempts, job.fresh) == (before.attempts, before.fresh)
                    && job.failing_since >= before.failing_since;
                let back = before.state.step().starts_with("recheck") && going_on;
                // A profile that is remembered and does not show is looked for again, as after a failure.
                let looks = job.state.step() == "look_up" && job.state == before.state;
                let again = looks && job.attempts == before.attempts + 1 && job.due > now;
                let free = job.company == Company::Any || job.state.takes_turn();
                (counts == (0, None, true) && free && moved) || back || again
            }
            _ => true,
        };
        if !right || job.begun {
            self.lab
                .violated(format!("{answered:?} made of {before:?} {job:?}"));
        }
    }
}

impl Store for Shaky {
    async fn append(&self, seeds: Vec<Seed>, now: Timestamp) -> Result<Vec<Appended>, StoreError> {
        for seed in &seeds {
            if let Start::Bury { burial, .. } = &seed.start {
                self.lab
                    .cover(format!("reason {} ({})", burial.reason, burial.class));
            }
        }
        self.map.append(seeds, now).await
    }

    async fn lease(
        &self,
        lane: &Lane,
        now: Timestamp,
        at_most: usize,
    ) -> Result<Vec<Leased>, StoreError> {
        self.leases.fetch_add(1, Ordering::Relaxed);
        self.lab.state().answered.clear();
        self.lab.state().heard.clear();
        self.disk().await;
        let leased = self.map.lease(lane, now, at_most).await?;
        self.lend(lane, &leased);
        if !leased.is_empty() {
            let tokens: Vec<_> = leased.iter().map(|it| it.token).collect();
            self.lab
                .place("after_lease", || self.steps_of(&tokens))
                .await;
        }
        Ok(leased)
    }

    async fn begin(&self, tokens: Vec<Token>) -> Result<(), StoreError> {
        self.lab
            .place("before_begin", || self.steps_of(&tokens))
            .await;
        self.disk().await;
        self.map.begin(tokens.clone()).await?;
        self.lab
            .place("after_begin", || self.steps_of(&tokens))
            .await;
        Ok(())
    }

    async fn give_back(&self, tokens: Vec<Token>) -> Result<(), StoreError> {
        let answered = std::mem::take(&mut self.lab.state().answered);
        self.cover(&tokens, &answered);
        // Of one request that was denied, jobs marked as begun are committed behind this, if there are any.
        if answered.first() == Some(&"denied") && answered.len() > tokens.len() {
            self.lab.state().answered = answered;
        }
        for token in &tokens {
            self.returned(*token);
        }
        self.map.give_back(tokens).await
    }

    async fn commit(
        &self,
        moves: Vec<(Token, Commit)>,
        now: Timestamp,
    ) -> Result<Vec<Committed>, StoreError> {
        let tokens: Vec<_> = moves.iter().map(|it| it.0).collect();
        let answered = std::mem::take(&mut self.lab.state().answered);
        let heard = std::mem::take(&mut self.lab.state().heard);
        self.cover(&tokens, &answered);
        self.lab
            .place("before_commit", || self.steps_of(&tokens))
            .await;
        self.disk().await;
        for (index, (token, commit)) in moves.iter().enumerate() {
            self.look_at(*token, commit, answered.get(index), now);
            for row in self.rows(*token, commit, heard.get(index)) {
                self.lab.cover(format!("row {row}"));
            }
        }
        let committed = self.map.commit(moves, now).await?;
        self.lab
            .place("after_commit", || self.steps_of(&tokens))
            .await;
        for token in tokens {
            self.returned(token);
        }
        Ok(committed)
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

impl Operate for Shaky {
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
        self.map.put_papers(put, remove).await
    }

    async fn papers(&self, shelf: Shelf, limit: usize) -> Result<Vec<Paper>, StoreError> {
        self.map.papers(shelf, limit).await
    }

    fn participant_hash(&self, email: &str) -> String {
        self.map.participant_hash(email)
    }
}
