//! One answer, one move: what becomes of a job once its call was answered.
//!
//! | answer | job | attempt | `begun` |
//! |---|---|---|---|
//! | a reply that leads on | kept at its next step, due now, fresh | reset | cleared |
//! | a reply that ends the flow | finished; children spawned in the same write | – | – |
//! | a reply that is not enough yet | as transient | used | cleared |
//! | a reply that does not fit the call | as unknown | | |
//! | transient | kept, due by [`retry`]; `gave_up` after `max_age` or `max_attempts` | used | cleared |
//! | unknown, call may be repeated | as transient | used | cleared |
//! | unknown, call parks | buried, `unknown_outcome` | – | – |
//! | throttled | kept, due when said, as fresh as it was | not used | cleared |
//! | rejected | buried, `rejected` | – | – |
//! | denied | given back unchanged; kept when it was marked as begun | not used | cleared |
//! | apart | kept, due now, alone; `rejected` when it was alone already | not used | cleared |
//!
//! Invariants: pure; every answer has exactly one of these rows; `begun` never outlives an answer, so that a job found
//! with it was interrupted.

use std::time::Duration;

use super::job::{Burial, Class, Commit, Fate, Job, Profile, Reason, State};
use super::{NO_ACTIVATION, Step, ask, hear, retry, said};
use crate::model::call::{Answer, Failure, Reply};
use crate::model::event::Event;
use crate::model::lane::Lane;
use crate::model::rules::Rules;
use crate::model::time::Timestamp;

/// When a throttled call is due again if nobody says when.
const THROTTLE_MIN: Duration = Duration::from_secs(1);

/// What is to be done with a leased job.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "lives for a moment, one at a time"
)]
pub enum Settled {
    /// Store this.
    Commit(Commit),
    /// Give it back: nothing about it has changed.
    GiveBack,
}

/// What becomes of `job` now that its call was answered. `rules` are those it was asked with; `jitter` is from 0 to 1.
pub fn settle(
    job: Job,
    event: &Event,
    answer: Result<Reply, Failure>,
    now: Timestamp,
    rules: &Rules,
    jitter: f64,
) -> Settled {
    let failure = match answer {
        Ok(reply) => match hear(&job, event, &reply, now, rules) {
            Step::Next(state) => return keep(job.at(state, now), rules),
            Step::Done { outcome, spawn } => {
                return Settled::Commit(Commit::new(Fate::Finish(outcome), spawn));
            }
            Step::Again(text) => Failure::Transient(said(text)),
            Step::Unfitting => Failure::Unknown(said("the answer does not fit what was asked")),
        },
        Err(failure) => failure,
    };
    match failure {
        Failure::Unknown(answer) if ask(&job, event, rules).parks() => bury(
            job,
            Reason::UnknownOutcome,
            Class::UnknownOutcome,
            answer,
            now,
        ),
        Failure::Transient(answer) | Failure::Unknown(answer) => {
            repeat(job, answer, now, rules, jitter)
        }
        Failure::Throttled { until, .. } => {
            let due = until.unwrap_or(now + THROTTLE_MIN).max(now);
            keep(
                Job {
                    due,
                    begun: false,
                    ..job
                },
                rules,
            )
        }
        Failure::Rejected(answer) => bury(job, Reason::Rejected, Class::Rejected, answer, now),
        Failure::Denied(_) if job.begun => keep(
            Job {
                begun: false,
                ..job
            },
            rules,
        ),
        Failure::Denied(_) => Settled::GiveBack,
        Failure::Apart(answer) if job.alone => {
            bury(job, Reason::Rejected, Class::Rejected, answer, now)
        }
        Failure::Apart(_) => keep(
            Job {
                alone: true,
                begun: false,
                due: now,
                ..job
            },
            rules,
        ),
    }
}

/// What becomes of a job that is found marked as begun: it was interrupted between the mark and the answer. `None`
/// when its call may simply be repeated.
pub fn found_begun(job: &Job, event: &Event, now: Timestamp, rules: &Rules) -> Option<Commit> {
    if !job.begun || !ask(job, event, rules).parks() {
        return None;
    }
    let answer = said("interrupted after it was begun");
    Some(buried(
        job.clone(),
        Reason::UnknownOutcome,
        Class::UnknownOutcome,
        answer,
        now,
    ))
}

/// What becomes of a job whose activation is not configured any more.
pub fn vanished(job: Job, now: Timestamp) -> Commit {
    let answer = said(NO_ACTIVATION);
    buried(
        job,
        Reason::UnknownActivation,
        Class::Configuration,
        answer,
        now,
    )
}

/// What becomes of a job whose activation has moved to another workspace: it starts there with what is true anywhere.
pub fn moved(job: Job, now: Timestamp, rules: &Rules) -> Commit {
    let state = match &job.state {
        State::Email(_) => State::Email(Profile::LookUp),
        State::Progress(_) => State::Progress(Profile::LookUp),
        State::Credit { event } => State::Credit {
            event: event.clone(),
        },
    };
    kept(job.at(state, now), rules)
}

fn repeat(mut job: Job, answer: Answer, now: Timestamp, rules: &Rules, jitter: f64) -> Settled {
    let since = *job.failing_since.get_or_insert(now);
    job.attempts = job.attempts.saturating_add(1);
    job.fresh = false;
    job.begun = false;
    match retry::again(&rules.retry, job.attempts, since, now, jitter) {
        None => bury(job, Reason::GaveUp, Class::Transient, answer, now),
        Some(due) => {
            job.note(now, answer);
            keep(Job { due, ..job }, rules)
        }
    }
}

fn keep(job: Job, rules: &Rules) -> Settled {
    Settled::Commit(kept(job, rules))
}

fn kept(job: Job, rules: &Rules) -> Commit {
    let lane = Lane::new(&rules.workspace, job.state.lane());
    Commit::new(Fate::Keep { lane, job }, Vec::new())
}

fn bury(job: Job, reason: Reason, class: Class, answer: Answer, now: Timestamp) -> Settled {
    Settled::Commit(buried(job, reason, class, answer, now))
}

fn buried(mut job: Job, reason: Reason, class: Class, answer: Answer, now: Timestamp) -> Commit {
    job.note(now, answer.clone());
    let burial = Burial {
        reason,
        class,
        answer,
        at: now,
    };
    Commit::new(Fate::Bury { job, burial }, Vec::new())
}
