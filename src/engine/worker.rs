//! The loop of one lane: lease, ask, admit, pack, perform, unpack, settle, commit.
//!
//! Invariants: a lease ends in a commit or is given back, or the engine ends with an error. A request leaves only when
//! the gate, the pace and the host's bound on requests under way agree. No more is leased than can be sent soon. After a
//! stop nothing is leased any more.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::{Id, JoinSet};

use super::batch::{Part, parts, probe};
use super::follow::Today;
use super::gate::Opening;
use super::lane::{Pace, is_grouped};
use super::lanes::LaneState;
use super::prepare::{Prepared, prepare};
use super::recent::Who;
use super::request::{Asked, Ended, carry, ended_at};
use super::{EngineError, Shared};
use crate::client::Client;
use crate::client::pack::{BODY_BYTES_MAX, first, room};
use crate::model::call::Company;
use crate::model::time::Timestamp;
use crate::store::{Store, Token};

/// How many requests' worth of jobs may be on loan and waiting for their turn.
const WINDOW_REQUESTS: usize = 4;

/// The same where a request is about one subscription group: those of many groups are looked through, so that each group's
/// requests are full.
const WINDOW_REQUESTS_GROUPED: usize = 20;

/// Of so many that a probe could be, another is taken each time: one that is refused for its own sake keeps nobody else.
const WINDOW_PROBE: usize = 16;

/// How long the lane rests when the store says that something is due and lends nothing: it is about to change.
const SETTLING: Duration = Duration::from_millis(10);

/// The worker of one lane.
pub(super) struct Worker<S, C> {
    shared: Arc<Shared<S, C>>,
    lane: Arc<LaneState>,
    /// What pace and window go by, and what is pending was asked under.
    today: Today,
    pace: Pace,
    objects_max: usize,
    /// On loan, in order, not sent yet.
    pending: VecDeque<Asked>,
    /// The last lease brought all there was.
    drained: bool,
    /// What the store said of lost leases before the first of those was lent.
    revoked: u64,
    /// Under way.
    requests: JoinSet<Result<(), EngineError>>,
    /// What each request under way carries.
    lent: HashMap<Id, Vec<Token>>,
    /// The number of the next probe; not 0, which would be the one that was just refused.
    probes: usize,
    stop: watch::Receiver<bool>,
}

impl<S: Store, C: Client> Worker<S, C> {
    pub(super) fn new(
        shared: Arc<Shared<S, C>>,
        lane: Arc<LaneState>,
        stop: watch::Receiver<bool>,
    ) -> Worker<S, C> {
        let today = shared.today(&lane);
        Worker {
            pace: Pace::new(&today.terms.limits, today.terms.share, &shared.clock),
            today,
            objects_max: shared.client.objects_max(&lane.lane).max(1),
            shared,
            lane,
            pending: VecDeque::new(),
            drained: false,
            revoked: 0,
            requests: JoinSet::new(),
            lent: HashMap::new(),
            probes: 1,
            stop,
        }
    }

    /// Works until it is told to stop, until this is no lane that jobs are worked in, or until the first error.
    pub(super) async fn run(mut self) -> Result<(), EngineError> {
        while !*self.stop.borrow() && !self.lane.is_aside() {
            self.follow().await?;
            self.turn().await?;
        }
        let (shared, lane) = (self.shared.clone(), self.lane.clone());
        self.finish().await?;
        shared.note_budget(&lane, true);
        Ok(())
    }

    /// Goes by today's settings and rules. What was asked under others is asked anew.
    async fn follow(&mut self) -> Result<(), EngineError> {
        self.objects_max = self.shared.client.objects_max(&self.lane.lane).max(1);
        let today = self.shared.today(&self.lane);
        let before = std::mem::replace(&mut self.today, today);
        if self.today.is(&before) {
            return Ok(());
        }
        if !Arc::ptr_eq(&self.today.terms, &before.terms) {
            let terms = &self.today.terms;
            self.pace = Pace::new(&terms.limits, terms.share, &self.shared.clock);
        }
        self.give_back_pending().await
    }

    /// One request, or one rest.
    async fn turn(&mut self) -> Result<(), EngineError> {
        while let Some(ended) = self.requests.try_join_next_with_id() {
            self.ended(ended)?;
        }
        let opening = self.opening();
        if let Opening::Closed(until) = opening {
            self.give_back_pending().await?;
            return self.rest(until, false).await;
        }
        if self.pending.is_empty() && self.lease(self.window(opening)).await? == 0 {
            return self.rest_until_due().await;
        }
        if self.pending.is_empty() {
            return Ok(());
        }
        let Some(permit) = self.admitted(opening).await? else {
            return Ok(());
        };
        if self.shared.store.revoked() != self.revoked {
            // Some of these may have been forgotten since they were lent.
            return self.give_back_pending().await;
        }
        if self.opening() == opening
            && self.today.is(&self.shared.today(&self.lane))
            && !*self.stop.borrow()
        {
            let behind = self.send(opening, permit);
            self.give_back(behind).await?;
        }
        Ok(())
    }

    fn opening(&self) -> Opening {
        self.lane.gate().opening(self.shared.clock.now())
    }

    /// How many jobs may be taken on loan at once.
    fn window(&self, opening: Opening) -> usize {
        match opening {
            Opening::Probe => WINDOW_PROBE,
            _ if is_grouped(self.lane.lane.kind, self.objects_max) => {
                self.objects_max * WINDOW_REQUESTS_GROUPED
            }
            Opening::Open | Opening::Closed(_) => {
                let free = self.today.terms.permits.available_permits();
                self.objects_max * free.clamp(1, WINDOW_REQUESTS)
            }
        }
    }

    /// Takes up to `at_most` jobs on loan and asks them; those that have nothing to ask are settled at once. Returns how
    /// many there were.
    async fn lease(&mut self, at_most: usize) -> Result<usize, EngineError> {
        if self.pending.is_empty() {
            self.revoked = self.shared.store.revoked();
        }
        let now = self.shared.clock.now();
        let leased = self
            .shared
            .store
            .lease(&self.lane.lane, now, at_most)
            .await?;
        let today = self.shared.today(&self.lane);
        let count = leased.len();
        self.drained = count < at_most;
        let mut moves = Vec::new();
        let mut stray = Vec::new();
        let mut behind = Vec::new();
        let mut halted = HashSet::new();
        for leased in leased {
            let takes_turn = leased.job.state.takes_turn();
            let who = takes_turn.then(|| Who::of(leased.event.participant()));
            if who.is_some_and(|who| halted.contains(&who)) {
                behind.push(leased.token);
                continue;
            }
            self.shared
                .metrics
                .due_lag(now.since(leased.job.due).as_secs_f64());
            let prepared = prepare(&self.shared, &self.lane, leased, &today, now);
            if !prepared.lets_pass() {
                halted.extend(who);
            }
            match prepared {
                Prepared::Asks(asked) => self.pending.push_back(asked),
                Prepared::Moves(it) => moves.push(it),
                Prepared::Stray(token) => stray.push(token),
            }
        }
        self.give_back(behind).await?;
        if !stray.is_empty() {
            let lane = &self.lane.lane;
            tracing::error!(%lane, jobs = stray.len(), "the queue has work for a lane that is not configured; it is held");
            self.lane.hold_unconfigured(now);
            self.give_back(stray).await?;
        }
        let through = moves.iter().filter(|it| it.commit.leaves(&self.lane.lane));
        self.lane.tempo().passed(through.count(), now);
        self.shared.store_moves(&self.lane, moves).await?;
        Ok(count)
    }

    /// Waits until a request may leave, filling it meanwhile. `None`: something changed, look again.
    async fn admitted(
        &mut self,
        opening: Opening,
    ) -> Result<Option<OwnedSemaphorePermit>, EngineError> {
        let fills = opening == Opening::Open && self.objects_max > 1;
        if fills && self.lacks() && !self.drained {
            self.lease(self.window(opening)).await?;
        }
        // Nobody is waited for who may not come along.
        let company = self.pending.front().map(|asked| asked.job.company);
        if fills && self.lacks() && company == Some(Company::Any) {
            // The pace recovers meanwhile: a lane without budget to spare loses nothing by it.
            tokio::select! {
                () = told(&mut self.stop) => return Ok(None),
                () = self.shared.clock.sleep(self.today.terms.linger) => {},
            }
        }
        let permit = loop {
            tokio::select! {
                biased;
                () = told(&mut self.stop) => return Ok(None),
                () = self.lane.changed.notified() => return Ok(None),
                Some(ended) = self.requests.join_next_with_id() => {
                    ended_at(&mut self.lent, &self.lane, ended)?;
                }
                permit = self.lane.may_leave(&mut self.pace, &self.shared.clock) => break permit,
            }
        };
        let enough = match is_grouped(self.lane.lane.kind, self.objects_max) {
            true => self.window(opening),
            false if self.lacks() => self.objects_max,
            false => 0,
        };
        if fills && self.pending.len() < enough {
            self.lease(enough - self.pending.len()).await?;
        }
        Ok(permit)
    }

    /// Whether the next request would not be full.
    fn lacks(&self) -> bool {
        let objects = self.pending.iter().map(|asked| room(&asked.call));
        objects.sum::<usize>() < self.objects_max
    }

    /// Sends the first request of what is pending. Returns those that stand behind something in it and do not go along:
    /// their turn is over for now.
    fn send(&mut self, opening: Opening, permit: OwnedSemaphorePermit) -> Vec<Token> {
        let now = self.shared.clock.now();
        let probes = opening == Opening::Probe;
        if probes {
            // Another one than the last time.
            let nth = probe(self.pending.iter().map(|asked| asked.who), self.probes);
            if let Some(chosen) = self.pending.remove(nth) {
                self.pending.push_front(chosen);
            }
            self.probes = self.probes.wrapping_add(1);
        }
        let calls = self
            .pending
            .iter()
            .map(|asked| (&asked.call, asked.job.company));
        let mut first = first(calls, self.objects_max, BODY_BYTES_MAX);
        if probes {
            first.truncate(1);
            self.lane.gate().probing(now);
        }
        let mut batch = Vec::with_capacity(first.len());
        let mut rest = VecDeque::with_capacity(self.pending.len());
        let mut behind = Vec::new();
        let parts = parts(self.pending.iter().map(|asked| asked.who), &first);
        for (asked, part) in self.pending.drain(..).zip(parts) {
            match part {
                Part::Goes => batch.push(asked),
                Part::Stays => rest.push_back(asked),
                Part::Behind => behind.push(asked.token),
            }
        }
        self.pending = rest;
        self.pace.spend();
        self.lane.gate().budget.sent();
        let full = !self.pending.is_empty() || batch.len() >= self.objects_max;
        if probes {
            // What a lane does while it is tried out says nothing about what it could do.
            self.lane.tempo().idle();
        } else {
            self.lane.tempo().sent(batch.len(), full, now);
        }
        let saved = batch.iter().map(|asked| asked.saved).sum();
        let workspace = &self.lane.lane.workspace;
        self.shared.metrics.look_up_saved(workspace, saved);
        let tokens = batch.iter().map(|asked| asked.token).collect();
        let (lane, book) = (self.lane.clone(), self.today.book.clone());
        let handle = self.requests.spawn(carry(
            self.shared.clone(),
            lane,
            batch,
            book,
            probes,
            permit,
        ));
        self.lent.insert(handle.id(), tokens);
        behind
    }

    async fn rest_until_due(&mut self) -> Result<(), EngineError> {
        let now = self.shared.clock.now();
        let due = self.shared.store.next_due(&self.lane.lane, now).await?;
        if due.is_none_or(|due| due > now) {
            self.lane.tempo().idle();
        }
        self.rest(due.map(|due| due.max(now + SETTLING)), true)
            .await
    }

    /// Rests until `until`, or until something changes that matters; new work matters when `for_work`.
    async fn rest(&mut self, until: Option<Timestamp>, for_work: bool) -> Result<(), EngineError> {
        let wake = self.shared.store.wake(&self.lane.lane);
        loop {
            tokio::select! {
                biased;
                () = told(&mut self.stop) => return Ok(()),
                () = self.lane.changed.notified() => return Ok(()),
                Some(ended) = self.requests.join_next_with_id() => {
                    ended_at(&mut self.lent, &self.lane, ended)?;
                }
                () = wake.notified(), if for_work => return Ok(()),
                () = self.shared.clock.sleep_until(until.unwrap_or_default()), if until.is_some() => {
                    return Ok(());
                }
            }
        }
    }

    fn ended(&mut self, ended: Ended) -> Result<(), EngineError> {
        ended_at(&mut self.lent, &self.lane, ended)
    }

    async fn give_back_pending(&mut self) -> Result<(), EngineError> {
        let tokens = self.pending.drain(..).map(|asked| asked.token).collect();
        self.give_back(tokens).await
    }

    async fn give_back(&self, tokens: Vec<Token>) -> Result<(), EngineError> {
        if tokens.is_empty() {
            return Ok(());
        }
        Ok(self.shared.store.give_back(tokens).await?)
    }

    /// Waits for what is under way, for as long as a stop may take; gives back what is left.
    async fn finish(mut self) -> Result<(), EngineError> {
        self.give_back_pending().await?;
        let end = self.shared.clock.now() + self.shared.stop_within;
        loop {
            tokio::select! {
                biased;
                ended = self.requests.join_next_with_id() => match ended {
                    None => return Ok(()),
                    Some(ended) => self.ended(ended)?,
                },
                () = self.shared.clock.sleep_until(end) => break,
            }
        }
        self.requests.abort_all();
        while let Some(ended) = self.requests.join_next_with_id().await {
            match ended {
                Err(error) if error.is_cancelled() => {}
                ended => self.ended(ended)?,
            }
        }
        let left = self.lent.drain().flat_map(|(_, tokens)| tokens).collect();
        Ok(self.shared.store.give_back(left).await?)
    }
}

/// Returns once a stop is told.
async fn told(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}
