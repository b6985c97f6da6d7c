//! One answer, one move: what becomes of a job once its call was answered.
//!
//! | answer | job | attempt | `begun` |
//! |---|---|---|---|
//! | a reply that leads on | kept at its next step, due now, fresh | reset | cleared |
//! | a reply that is to be waited for | kept at its next step, due then, fresh | reset | cleared |
//! | a reply that leads back to a step that failed | kept there, due now | kept | cleared |
//! | a reply that the flow cannot live with | buried, with its reason | – | – |
//! | a reply that ends the flow | finished; children spawned in the same write | – | – |
//! | a reply that is not enough yet | as transient | used | cleared |
//! | a reply that does not fit the call | as unknown | | |
//! | transient | kept, due by [`retry`]; `gave_up` after `max_age` or `max_attempts` | used | cleared |
//! | unknown, call may be repeated | as transient | used | cleared |
//! | unknown, call parks | buried, `unknown_outcome` | – | – |
//! | throttled | kept, due when said, as fresh as it was | not used | cleared |
//! | rejected | buried, `rejected` | – | – |
//! | denied | given back unchanged; kept when it was marked as begun | not used | cleared |
//! | the subscription group is unknown | as denied | | |
//! | apart | kept, due now, among half as many; `rejected` when it was alone already | not used | cleared |
//! | apart, events taken | the same, without them | not used | cleared |
//! | apart, nobody knows what happened, call may be repeated | kept, due now, alone if it counts, else among half as many | not used | cleared |
//! | apart, nobody knows what happened, call parks | buried, `unknown_outcome` | – | – |
//!
//! A call that subscribes a phone and was answered by transient, unknown, throttled or denied is kept at `recheck`
//! (`recheck_profile`): the status is read before it is tried again. One that is found begun goes there too, unless it
//! parks.
//!
//! Whoever looked up or made a profile has learnt its address. What ends a turn after a request keeps the next of the
//! participant waiting for `order_gap`. Where a participation dies before there is a profile, what follows it dies with it
//! (`no_profile`): else it would make a profile without what a new one is to get.
//!
//! Invariants: pure; every answer has exactly one of these rows; `begun` never outlives an answer, so that a job found
//! with it was interrupted.

use std::time::Duration;

use super::job::{Burial, Class, Commit, Fate, Flow, Job, Reason, State};
use super::{Step, ask, email, hear, identity, join, not_known, outgrow, progress, retry, said};
use crate::model::call::{Address, Answer, Call, Company, Failure, Happened, Reply};
use crate::model::event::Event;
use crate::model::lane::{Lane, LaneKind};
use crate::model::rules::{OnUnknown, Rules};
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
    let reply = answer.as_ref().ok();
    let learnt = reply.and_then(|reply| learnt(&job, event, reply));
    let gap = match job.state.lane() {
        LaneKind::UsersTrack => rules.order_gap,
        _ => Duration::ZERO,
    };
    match decided(job, event, answer, now, rules, jitter) {
        Settled::Commit(commit) => Settled::Commit(Commit {
            learnt,
            gap,
            ..commit
        }),
        Settled::GiveBack => Settled::GiveBack,
    }
}

/// What a reply says about where the participant's profile is.
fn learnt(job: &Job, event: &Event, reply: &Reply) -> Option<Address> {
    match reply {
        // Where somebody is who is to be removed is nothing to remember.
        _ if job.state.flow() == Flow::Erase => None,
        Reply::Profiles(profiles) => match identity::recognise(profiles, &event.email) {
            identity::Found::At(person) => Some(person.address),
            identity::Found::Nobody | identity::Found::NotWhole => None,
        },
        Reply::Tracked if job.state.creates() => Some(Address::for_creation(&event.email)),
        _ => None,
    }
}

fn decided(
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
            Step::Wait { state, until } => return keep(job.at(state, until), rules),
            Step::Resume(state) => {
                let begun = false;
                let due = now;
                return keep(
                    Job {
                        state,
                        due,
                        begun,
                        ..job
                    },
                    rules,
                );
            }
            Step::Dead {
                reason,
                class,
                text,
            } => return bury(job, reason, class, said(text), now),
            Step::Done { outcome, spawn } => {
                return Settled::Commit(Commit::new(Fate::Finish(outcome), spawn));
            }
            Step::Again(text) => Failure::Transient(said(text)),
            Step::Unfitting => Failure::Unknown(said("the answer does not fit what was asked")),
        },
        Err(failure) => failure,
    };
    let call = ask(&job, event, rules);
    let parks = call.as_ref().is_some_and(Call::parks);
    match failure {
        Failure::Unknown(answer) if parks => bury(
            job,
            Reason::UnknownOutcome,
            Class::UnknownOutcome,
            answer,
            now,
        ),
        Failure::Transient(answer) => {
            let state = once_more(&job, call.as_ref(), false);
            repeat(job, state, answer, now, rules, jitter)
        }
        Failure::Unknown(answer) => {
            let state = once_more(&job, call.as_ref(), true);
            repeat(job, state, answer, now, rules, jitter)
        }
        Failure::Throttled { until, .. } => {
            let due = until.unwrap_or(now + THROTTLE_MIN).max(now);
            keep(
                Job {
                    due,
                    begun: false,
                    state: once_more(&job, call.as_ref(), false),
                    ..job
                },
                rules,
            )
        }
        Failure::Rejected(answer) => bury(job, Reason::Rejected, Class::Rejected, answer, now),
        Failure::Denied(_) | Failure::WrongGroup(_) if job.begun => keep(
            Job {
                begun: false,
                state: once_more(&job, call.as_ref(), false),
                ..job
            },
            rules,
        ),
        Failure::Denied(_) | Failure::WrongGroup(_) => Settled::GiveBack,
        Failure::Apart {
            happened: Happened::Unknown,
            answer,
            ..
        } if parks => {
            let reason = Reason::UnknownOutcome;
            bury(job, reason, Class::UnknownOutcome, answer, now)
        }
        Failure::Apart { answer, .. } if job.company.calls_max() == 1 => {
            bury(job, Reason::Rejected, Class::Rejected, answer, now)
        }
        Failure::Apart {
            among, happened, ..
        } => {
            let counts = call.as_ref().is_some_and(Call::counts);
            let state = match happened {
                Happened::Unknown => once_more(&job, call.as_ref(), true),
                Happened::Nothing | Happened::Events => job.state.clone(),
            };
            keep(
                Job {
                    company: job.company.after(among, happened, counts),
                    begun: false,
                    due: now,
                    state,
                    ..job
                },
                rules,
            )
        }
    }
}

/// What becomes of a job that is found marked as begun: it was interrupted between the mark and the answer. `None`
/// when its call may simply be repeated.
pub fn found_begun(job: &Job, event: &Event, now: Timestamp, rules: &Rules) -> Option<Commit> {
    let call = ask(job, event, rules).filter(|_| job.begun)?;
    // Only what parks is marked while its address is still to be recalled: that was done in memory before it was sent.
    let parks = match call {
        Call::Recall => rules.progress_on_unknown == OnUnknown::Park,
        _ => call.parks(),
    };
    let job = job.clone();
    if parks {
        let answer = said("interrupted after it was begun");
        let reason = Reason::UnknownOutcome;
        return Some(buried(job, reason, Class::UnknownOutcome, answer, now));
    }
    call.is_marked().then(|| {
        let job = Job {
            state: once_more(&job, Some(&call), true),
            begun: false,
            due: now,
            ..job
        };
        kept(job, rules)
    })
}

/// Where a job goes on whose call was not answered as it should be: one that subscribes looks first whether somebody has
/// said STOP meanwhile. `maybe`: the call may have happened.
fn once_more(job: &Job, call: Option<&Call>, maybe: bool) -> State {
    let subscribes = call.is_some_and(Call::subscribes);
    match &job.state {
        State::Sms(join) if subscribes => State::Sms(join::once_more(join, maybe)),
        State::DoubleOptIn(join) if subscribes => State::DoubleOptIn(join::once_more(join, maybe)),
        other => other.clone(),
    }
}

/// What becomes of a job that nobody could ask by today's rules: its activation is no longer one with a phone, or its
/// lead is no good.
pub fn unaskable(job: Job, event: &Event, now: Timestamp, rules: &Rules) -> Commit {
    if job.state == State::Outgrow {
        let answer = said(&outgrow::unmappable(event, rules));
        return buried(job, Reason::BadAnswer, Class::Configuration, answer, now);
    }
    let answer = said("the activation has no flow for this any more");
    buried(job, Reason::NoFlow, Class::Configuration, answer, now)
}

/// What becomes of a job whose activation is not configured any more.
pub fn vanished(job: Job, now: Timestamp) -> Commit {
    let answer = said(not_known(Some(job.state.flow())));
    buried(
        job,
        Reason::UnknownActivation,
        Class::Configuration,
        answer,
        now,
    )
}

/// What becomes of a job whose activation has moved to another workspace: it starts there with what is true anywhere.
pub fn moved(job: Job, event: &Event, now: Timestamp, rules: &Rules) -> Commit {
    let state = elsewhere(&job.state, event, rules);
    let company = Company::Any;
    kept(
        Job {
            company,
            ..job.at(state, now)
        },
        rules,
    )
}

/// Where a job begins in another workspace: with what is true anywhere.
pub(super) fn elsewhere(state: &State, event: &Event, rules: &Rules) -> State {
    match state {
        State::Email(_) => State::Email(email::start(event, rules)),
        State::Sms(_) => State::Sms(join::start(event, rules)),
        State::DoubleOptIn(_) => State::DoubleOptIn(join::start(event, rules)),
        State::Progress(_) => State::Progress(progress::start(event, rules)),
        State::Credit { .. } | State::Webhook | State::Outgrow | State::Erase(_) => state.clone(),
    }
}

fn repeat(
    mut job: Job,
    state: State,
    answer: Answer,
    now: Timestamp,
    rules: &Rules,
    jitter: f64,
) -> Settled {
    let since = *job.failing_since.get_or_insert(now);
    job.attempts = job.attempts.saturating_add(1);
    job.fresh = false;
    job.begun = false;
    match retry::again(&rules.retry, job.attempts, since, now, jitter) {
        None => {
            let job = Job { state, ..job };
            bury(job, Reason::GaveUp, Class::Transient, answer, now)
        }
        Some(due) => {
            job.note(now, answer);
            keep(Job { state, due, ..job }, rules)
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
    let orphans = job.state.owes_profile() && reason != Reason::PhoneMismatch;
    let bury_successors = orphans.then(|| Burial {
        reason: Reason::NoProfile,
        class,
        answer: said(
            "the participation before it, which was to make the profile, is a dead letter",
        ),
        at: now,
    });
    let burial = Burial {
        reason,
        class,
        answer,
        at: now,
    };
    Commit {
        bury_successors,
        ..Commit::new(Fate::Bury { job, burial }, Vec::new())
    }
}
