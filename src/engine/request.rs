//! One request: mark, perform, unpack, settle, commit; and what its answers say about the lane.
//!
//! Invariants: every job that a request carries is settled exactly once, with its own answer. A call that parks is
//! marked as begun, durably, before it leaves; if the gate closes meanwhile it does not leave and the mark goes again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::OwnedSemaphorePermit;
use tokio::task::{Id, JoinError};

use super::gate::{Denial, Opening};
use super::holds::ActivationHoldReason;
use super::lanes::LaneState;
use super::moves::Move;
use super::outcome::{blame, may_be_about_the_request, outcome_of, unanswered};
use super::prepare::spare;
use super::recent::Who;
use super::spans::Outgoing;
use super::{EngineError, Shared};
use crate::client::{Answers, Client, Heard, in_trace};
use crate::flow::job::{Fate, Job};
use crate::flow::settle::{Settled, settle};
use crate::model::budget::Told;
use crate::model::call::{Address, Answer, Call, Failure, Reply};
use crate::model::event::Event;
use crate::model::rules::{RuleBook, Rules};
use crate::model::time::Timestamp;
use crate::store::{Store, Token};

/// A job on loan that knows what it wants.
pub(super) struct Asked {
    pub(super) token: Token,
    pub(super) event: Event,
    pub(super) job: Job,
    pub(super) rules: Arc<Rules>,
    pub(super) call: Call,
    /// What is remembered of the participant's address.
    pub(super) known: Option<Address>,
    /// Whose profile it writes to, where nobody may write at the same time.
    pub(super) who: Option<Who>,
    /// Look-ups that what is remembered has spared it since it was lent.
    pub(super) saved: u64,
}

/// Counts a request as under way for as long as it lives, whatever ends it.
struct UnderWay(Arc<LaneState>);

impl UnderWay {
    fn new(lane: &Arc<LaneState>) -> UnderWay {
        lane.in_flight.fetch_add(1, Ordering::Relaxed);
        UnderWay(lane.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How a request's task has ended.
pub(super) type Ended = Result<(Id, Result<(), EngineError>), JoinError>;

/// What became of it, and that it carries nothing any more.
pub(super) fn ended_at(
    lent: &mut HashMap<Id, Vec<Token>>,
    lane: &LaneState,
    ended: Ended,
) -> Result<(), EngineError> {
    match ended {
        Ok((id, result)) => {
            lent.remove(&id);
            result
        }
        Err(_) => Err(EngineError::Panicked {
            lane: lane.lane.to_string(),
        }),
    }
}

/// One request from mark to commit, of jobs that were asked under `book`. The permit is kept until its answers are stored, so that no more outcomes than
/// requests allowed can be unknown after a crash.
pub(super) async fn carry<S: Store, C: Client>(
    shared: Arc<Shared<S, C>>,
    lane: Arc<LaneState>,
    mut batch: Vec<Asked>,
    book: Arc<RuleBook>,
    probes: bool,
    _permit: OwnedSemaphorePermit,
) -> Result<(), EngineError> {
    let _under_way = UnderWay::new(&lane);
    let mut begins = Vec::new();
    for asked in &mut batch {
        if asked.call.is_marked() {
            asked.job.begun = true;
            begins.push(asked.token);
        }
    }
    if !begins.is_empty() {
        shared.store.begin(begins).await?;
    }
    let opening = lane.gate().opening(shared.clock.now());
    let answers = if !probes && opening != Opening::Open {
        // The gate has closed while the marks were written: nothing was sent, and the marks go again.
        lane.gate().budget.unsent();
        lane.heard.notify_one();
        vec![Err(Failure::Denied(Answer::default())); batch.len()]
    } else {
        send(&shared, &lane, &batch).await
    };
    let now = shared.clock.now();
    let is_outdated = !Arc::ptr_eq(&book, &shared.book());
    let mut moves = Vec::new();
    let mut unchanged = Vec::new();
    let mut held = HashSet::new();
    for (asked, answer) in batch.into_iter().zip(answers) {
        let Asked {
            token,
            event,
            mut job,
            rules,
            known,
            who,
            call,
            saved,
        } = asked;
        let answer = match (&call, answer) {
            (Call::LookUp { .. }, Ok(Reply::Profiles(shown)))
                if shown.is_empty() && known.is_some() =>
            {
                Ok(Reply::Remembered(known.clone()))
            }
            (_, answer) => answer,
        };
        let is_apart = matches!(answer, Err(Failure::Apart { .. }));
        let note = |who| lane.recent().note(who, now, rules.order_gap);
        if answer.is_ok() && writes_again(&call) && who.is_some_and(|who| held.contains(&who)) {
            who.into_iter().for_each(note);
            // What stood before it will be written once more, and must not have the last word.
            unchanged.push(token);
            continue;
        }
        let flow = job.state.flow();
        let activation = (rules.workspace.clone(), rules.scope.clone());
        if matches!(answer, Err(Failure::WrongGroup(_))) && !is_outdated {
            shared.hold(&activation, ActivationHoldReason::InvalidGroup);
        }
        if let Some(failed_at) = job.history.last().map(|it| it.at)
            && matches!(
                answer,
                Ok(_) | Err(Failure::Transient(_) | Failure::Unknown(_))
            )
        {
            job.excuse(lane.gate().paused(failed_at, now), now);
        }
        let settled = settle(job, &event, answer, now, &rules, shared.jitter.next());
        let ends = matches!(&settled, Settled::Commit(commit) if !matches!(commit.fate, Fate::Keep { .. }));
        if !ends {
            held.extend(who);
        }
        // Whoever is asked again among fewer repeats what it wrote, if that was taken: between the two no order is needed.
        if ends || !is_apart {
            who.into_iter().for_each(note);
        }
        match settled {
            Settled::Commit(commit) => moves.push(Move {
                token,
                commit: spare(commit, known.as_ref()),
                activation,
                is_outdated,
                flow,
                accepted_at: event.accepted_at,
                trace: event.trace,
                saved,
            }),
            Settled::GiveBack => unchanged.push(token),
        }
    }
    if !unchanged.is_empty() {
        shared.store.give_back(unchanged).await?;
    }
    shared.note_budget(&lane, false);
    shared.store_moves(&lane, moves).await
}

/// Whether a write that was taken may and must be repeated when one before it is: it overwrites, and does nothing that may
/// not happen twice.
fn writes_again(call: &Call) -> bool {
    matches!(call, Call::Track(track) if !track.attributes.is_empty()) && !call.is_marked()
}

/// Sends the calls of `batch` and listens to what the answers say about the lane. One answer for each.
async fn send<S: Store, C: Client>(
    shared: &Shared<S, C>,
    lane: &LaneState,
    batch: &[Asked],
) -> Answers {
    let calls = batch.iter().map(|asked| asked.call.clone()).collect();
    let sent_at = shared.clock.now();
    let outgoing = Outgoing::of(shared.metrics.tracer(), batch);
    let trace = outgoing.as_ref().and_then(Outgoing::header);
    let performed = shared.client.perform(&lane.lane, calls);
    let Heard {
        mut answers,
        told,
        status,
        sent,
    } = in_trace(trace, performed).await;
    answers.resize(batch.len(), Err(Failure::Unknown(unanswered())));
    let now = shared.clock.now();
    if !sent {
        lane.gate().unsent(sent_at, now);
        lane.heard.notify_one();
        return answers;
    }
    let seconds = now.since(sent_at).as_secs_f64();
    let outcome = outcome_of(&answers);
    shared
        .metrics
        .request(&lane.lane, outcome, seconds, batch.len());
    if let Some(outgoing) = outgoing {
        outgoing.note(&lane.lane, batch, &answers, status, (sent_at, now));
    }
    shared.hear_lane(lane, sent_at, now, &mut answers, &told);
    lane.heard.notify_one();
    answers
}

impl<S: Store, C: Client> Shared<S, C> {
    /// What the answers say about the lane as a whole. A throttle without a moment gets the lane's.
    fn hear_lane(
        &self,
        lane: &LaneState,
        sent_at: Timestamp,
        now: Timestamp,
        answers: &mut Answers,
        budget: &Told,
    ) {
        let taken = |answer: &Result<Reply, Failure>| {
            matches!(
                answer,
                Ok(_) | Err(Failure::Rejected(_) | Failure::Apart { .. } | Failure::WrongGroup(_))
            )
        };
        let through = answers.iter().filter(|answer| taken(answer)).count();
        lane.tempo().answered(through, now);
        let mut gate = lane.gate();
        let mut changed = false;
        let failed = answers.iter().find_map(|answer| match answer {
            Err(Failure::Transient(answer) | Failure::Unknown(answer)) => Some(answer),
            _ => None,
        });
        if answers.iter().any(taken) {
            if let Some(hold) = gate.succeeded(sent_at, now) {
                let (reason, seconds) = (hold.reason.as_str(), now.since(hold.since).as_secs());
                tracing::info!(lane = %lane.lane, reason, seconds, "the lane works again");
                changed = true;
            }
        } else if let Some(answer) = failed {
            if gate.failed(sent_at, now, self.jitter.next()) {
                tracing::warn!(lane = %lane.lane, status = answer.status, answer = answer.text,
                    "the lane is held: request after request fails; one probe every few seconds");
            }
            changed = gate.held(now).is_some();
        }
        let denied = answers.iter().find_map(|answer| match answer {
            Err(Failure::Denied(answer)) => Some(answer),
            _ => None,
        });
        if let Some(answer) = denied.cloned() {
            match gate.denied(sent_at, now, !may_be_about_the_request(&answer)) {
                Denial::Lane { is_new } => {
                    if is_new {
                        tracing::error!(lane = %lane.lane, status = answer.status, answer = answer.text,
                            "the lane is held: key, permission or address is refused; one probe a minute");
                    }
                    changed = true;
                }
                Denial::Request => {
                    tracing::warn!(lane = %lane.lane, status = answer.status, answer = answer.text,
                        "a request is refused again and again while others get through: it is for what it asks");
                    blame(answers);
                }
                Denial::Late => {}
            }
        }
        let throttle = answers.iter().find_map(|answer| match answer {
            Err(Failure::Throttled { answer, .. }) => Some(answer.text.clone()),
            _ => None,
        });
        let told: Vec<_> = answers
            .iter_mut()
            .filter_map(|answer| match answer {
                Err(Failure::Throttled { until, .. }) => Some(until),
                _ => None,
            })
            .collect();
        if !told.is_empty() {
            let latest = told.iter().filter_map(|until| **until).max();
            let was_stopped = gate.stopped_until(now).is_some();
            let stop = gate.throttled(sent_at, now, latest, self.jitter.next());
            if !was_stopped {
                let seconds = stop.since(now).as_secs_f64();
                tracing::info!(lane = %lane.lane, seconds, answer = throttle, "429: the lane is stopped");
            }
            for until in told {
                *until = Some(stop);
            }
            changed = true;
        }
        // After the throttle: whether it can be explained is judged by what was known before it.
        let complaint = gate.budget.answered(budget, sent_at, now);
        drop(gate);
        if let Some(complaint) = complaint
            && !lane.complained.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(lane = %lane.lane, complaint,
                "rate headers that cannot be right are passed over; said once a lane");
        }
        if changed {
            lane.changed.notify_one();
        }
    }

    /// Notes what is used of the lane's budget; the next commit carries it. `last`: nothing leaves any more.
    pub(super) fn note_budget(&self, lane: &LaneState, last: bool) {
        // Under the lock, so that no older note replaces a newer one.
        let mut gate = lane.gate();
        let used = gate.remembered(self.clock.now(), last);
        self.store.note_budget(&lane.lane, used);
    }
}
