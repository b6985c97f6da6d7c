//! The state machines. `ask` says what a job wants of the outside; `hear` says where an answer leads.
//!
//! Invariants: pure. No async, no clock, no randomness, no I/O: `now`, jitter and ids are arguments. A crash
//! therefore costs nothing: the stored state alone says what to do next.
//!
//! # Transitions
#![doc = include_str!("transitions.md")]
//!
//! "Credit" is a child of flow `credit`, where the activation gives one. A reply of another kind than the call asks
//! for is [`Step::Unfitting`]. Where a failure leads is the same at every step: see [`settle`](mod@settle).

mod ahead;
mod credit;
mod email;
mod erase;
mod identity;
pub mod job;
mod join;
pub mod mapping;
mod outgrow;
mod plan;
mod progress;
pub mod retry;
pub mod settle;
mod state;
mod webhook;

pub use ahead::ahead;
use join::Kind;
pub use plan::plan;

use job::{Burial, Child, Class, Flow, Job, Outcome, Profile, Reason, Start, State};

use crate::model::Name;
use crate::model::call::{Answer, Call, Company, Reply};
use crate::model::event::{Event, EventKind};
use crate::model::lane::Lane;
use crate::model::rules::{ParticipationFlow, RuleBook, Rules};
use crate::model::time::Timestamp;

/// Where a reply leads.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// On to this state; its call is due at once.
    Next(State),
    /// On to this state; its call is due then. Not a failure.
    Wait {
        /// The state.
        state: State,
        /// When its call is due.
        until: Timestamp,
    },
    /// Back to this state, which failed before: its attempts go on counting.
    Resume(State),
    /// To a dead letter.
    Dead {
        /// Why.
        reason: Reason,
        /// Which failure it is.
        class: Class,
        /// What is told of it.
        text: &'static str,
    },
    /// Nowhere yet: ask the same later. Counts as a failed attempt; the text says why.
    Again(&'static str),
    /// To the end.
    Done {
        /// How it ended.
        outcome: Outcome,
        /// What it spawned.
        spawn: Vec<Child>,
    },
    /// The reply is of another kind than the call asked for: a mistake of ours, treated as an unknown outcome.
    Unfitting,
}

impl Step {
    /// To the end, and nothing comes of it.
    const fn end(outcome: Outcome) -> Step {
        let spawn = Vec::new();
        Step::Done { outcome, spawn }
    }
}

/// What `job` wants of the outside now, by today's `rules` of its activation.
///
/// `None`: by today's rules nobody could ask this; see [`settle::unaskable`].
pub fn ask(job: &Job, event: &Event, rules: &Rules) -> Option<Call> {
    let mut call = whole(&job.state, event, rules)?;
    if let (Call::Track(track), Company::WithoutEvents(_)) = (&mut call, job.company) {
        track.events.clear();
    }
    Some(call)
}

fn whole(state: &State, event: &Event, rules: &Rules) -> Option<Call> {
    Some(match state {
        State::Email(profile) => email::ask(profile, event, rules),
        State::Sms(join) | State::DoubleOptIn(join) => return join::ask(join, event, rules),
        State::Progress(profile) => progress::ask(profile, event, rules),
        State::Credit { event: earned } => credit::ask(earned, event, rules),
        State::Webhook => return webhook::ask(event, rules),
        State::Outgrow => return outgrow::ask(event, rules),
        State::Erase(erase) => erase::ask(erase, event),
    })
}

/// Where `reply` leads `job`, which was asked with the same `rules`.
pub fn hear(job: &Job, event: &Event, reply: &Reply, now: Timestamp, rules: &Rules) -> Step {
    match &job.state {
        State::Email(profile) => email::hear(profile, event, reply, now, rules),
        State::Sms(join) => {
            join::hear(Kind::Sms, join, job.failing_since, event, reply, now, rules)
        }
        State::DoubleOptIn(join) => join::hear(
            Kind::DoubleOptIn,
            join,
            job.failing_since,
            event,
            reply,
            now,
            rules,
        ),
        State::Progress(profile) => progress::hear(profile, event, reply),
        State::Credit { .. } => credit::hear(reply),
        State::Webhook => webhook::hear(reply),
        State::Outgrow => outgrow::hear(event, reply, rules),
        State::Erase(erase) => erase::hear(erase, event, reply, now),
    }
}

/// Whether `call` would write nothing: its configuration went away after it was found necessary. It is not sent and
/// counts as accepted.
pub fn is_empty(call: &Call) -> bool {
    match call {
        Call::LookUp { .. }
        | Call::Recall
        | Call::ReadStatus { .. }
        | Call::SetStatus(_)
        | Call::Credit(_)
        | Call::Delete(_) => false,
        Call::Track(track) => {
            !track.create
                && track.subscribe.is_none()
                && track.attributes.is_empty()
                && track.events.is_empty()
        }
    }
}

/// What an accepted event starts, and what it starts instead when this participant has taken part in this activation
/// before (`None`: the same). A participation that cannot run says by its flow which of the two it is.
pub fn start(event: &Event, book: &RuleBook, now: Timestamp) -> (Start, Option<Start>) {
    let rules = book.of(event);
    let reason = rules.map_or(Reason::UnknownActivation, |_| Reason::NoFlow);
    let bury = |flow| stillborn(rules, flow, reason, now);
    let run = |rules: &Rules, state: State| Start::Run {
        lane: Lane::new(&rules.workspace, state.lane()),
        job: Job::new(state, now),
    };
    let progress = |rules: &Rules| run(rules, State::Progress(progress::start(event, rules)));
    let further = |flow| (bury(flow), Some(bury(Some(Flow::Progress))));
    match (event.kind, rules, rules.and_then(|rules| rules.flow)) {
        (EventKind::Progress, Some(rules), _) => (progress(rules), None),
        (EventKind::Progress, None, _) => (bury(Some(Flow::Progress)), None),
        (EventKind::Participation, Some(rules), Some(ParticipationFlow::Email)) => (
            run(rules, State::Email(email::start(event, rules))),
            Some(progress(rules)),
        ),
        (EventKind::Participation, Some(rules), Some(ParticipationFlow::Sms)) => (
            run(rules, State::Sms(join::start(event, rules))),
            Some(progress(rules)),
        ),
        (EventKind::Participation, Some(rules), Some(ParticipationFlow::DoubleOptIn)) => (
            run(rules, State::DoubleOptIn(join::start(event, rules))),
            Some(progress(rules)),
        ),
        (EventKind::Participation, _, _) => further(None),
        (EventKind::Webhook, Some(rules), _) => (run(rules, State::Webhook), None),
        (EventKind::Webhook, None, _) => (bury(Some(Flow::Webhook)), None),
        (EventKind::Lead, Some(rules), _) => (run(rules, State::Outgrow), None),
        (EventKind::Lead, None, _) => (bury(Some(Flow::Outgrow)), None),
        (EventKind::Erasure, Some(rules), _) => (run(rules, State::Erase(erase::start())), None),
        (EventKind::Erasure, None, _) => (bury(Some(Flow::Erase)), None),
    }
}

/// How a dead letter (its event, its workspace and flow as far as known, its job if it began) lives again.
///
/// A job resumes at its failed step with a clean slate, and its history stays; one that was to make a profile looks
/// first, and one whose activation is in another workspace now begins anew there. One that never began starts anew by
/// today's configuration, a further participation (whose flow is `progress`) as such. The error says why it still cannot
/// run.
pub fn revive(
    event: &Event,
    workspace: Option<&Name>,
    flow: Option<Flow>,
    job: Option<&Job>,
    book: &RuleBook,
    now: Timestamp,
) -> Result<Start, Reason> {
    let Some(job) = job else {
        let (first, further) = start(event, book, now);
        let anew = match further {
            Some(further) if flow == Some(Flow::Progress) => further,
            _ => first,
        };
        return match anew {
            Start::Run { lane, job } => Ok(Start::Run {
                lane,
                job: Job {
                    fresh: false,
                    ..job
                },
            }),
            Start::Bury { burial, .. } => Err(burial.reason),
        };
    };
    let rules = book.of(event).ok_or(Reason::UnknownActivation)?;
    let moved = workspace.is_some_and(|workspace| workspace != &rules.workspace);
    let state = match &job.state {
        state if moved => settle::elsewhere(state, event, rules),
        State::Sms(join) => State::Sms(join::replayed(Kind::Sms, join, event, now, rules)),
        State::DoubleOptIn(join) => {
            State::DoubleOptIn(join::replayed(Kind::DoubleOptIn, join, event, now, rules))
        }
        // Somebody may have made the profile since.
        State::Email(Profile::Create) => State::Email(email::start(event, rules)),
        State::Progress(Profile::Create) => State::Progress(progress::start(event, rules)),
        State::Erase(_) => State::Erase(erase::start()),
        other => other.clone(),
    };
    Ok(Start::Run {
        lane: Lane::new(&rules.workspace, state.lane()),
        job: Job {
            fresh: false,
            company: if moved { Company::Any } else { job.company },
            ..job.clone().at(state, now)
        },
    })
}

/// What is told of a job of `flow` whose activation, or content, is not configured.
const fn not_known(flow: Option<Flow>) -> &'static str {
    match flow {
        Some(Flow::Outgrow) => "no content of this name is configured",
        Some(Flow::Erase) => "no workspace of this name is configured",
        _ => "no activation of this name is configured",
    }
}

/// An answer of our own.
fn said(text: &str) -> Answer {
    Answer {
        status: None,
        text: text.to_owned(),
    }
}

fn stillborn(
    rules: Option<&std::sync::Arc<Rules>>,
    flow: Option<Flow>,
    reason: Reason,
    now: Timestamp,
) -> Start {
    Start::Bury {
        workspace: rules.map(|rules| rules.workspace.clone()),
        flow,
        burial: Burial {
            reason,
            class: Class::Configuration,
            answer: said(match reason {
                Reason::UnknownActivation => not_known(flow),
                _ => "the activation has no flow for this",
            }),
            at: now,
        },
    }
}

#[cfg(test)]
mod tests;
