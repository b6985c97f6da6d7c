//! From a job on loan to what it asks: what our own memory, today's configuration or nothing at all answers is settled
//! before anything is sent.
//!
//! Invariants: a job that could be sent is either asked, moved on, or given back. Of one participant nothing is asked
//! while what comes before it waits, and nothing sooner than a gap after the last request.

use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use super::follow::Today;
use super::holds::set_aside;
use super::lanes::LaneState;
use super::moves::Move;
use super::recent::Who;
use super::request::Asked;
use crate::flow::job::{Commit, Fate, Job};
use crate::flow::settle::{Settled, found_begun, moved, settle, unaskable, vanished};
use crate::flow::{ask, is_empty};
use crate::model::call::{Address, Call, Reply};
use crate::model::event::Event;
use crate::model::lane::LaneKind;
use crate::model::rules::Rules;
use crate::model::time::Timestamp;
use crate::store::{Learnt, Leased, Token};

/// What becomes of a job on loan before anything is sent.
#[expect(
    clippy::large_enum_variant,
    reason = "lives for a moment, one at a time"
)]
pub(super) enum Prepared {
    /// It has something to ask.
    Asks(Asked),
    /// It is settled already.
    Moves(Move),
    /// It cannot be worked here, and not elsewhere either.
    Stray(Token),
}

impl Prepared {
    /// Whether what stands behind it may be asked along with it: it asks, too, or it has ended.
    pub(super) fn lets_pass(&self) -> bool {
        match self {
            Prepared::Asks(asked) => asked.who.is_some(),
            Prepared::Moves(it) => !matches!(it.commit.fate, Fate::Keep { .. }),
            Prepared::Stray(_) => false,
        }
    }
}

/// What a job asks, or what became of it.
enum Wish {
    Asks(Job, Call),
    Moves(Commit),
    GiveBack,
}

pub(super) fn prepare<S, C>(
    shared: &Shared<S, C>,
    lane: &LaneState,
    leased: Leased,
    today: &Today,
    now: Timestamp,
) -> Prepared {
    let Leased {
        token,
        event,
        job,
        known,
    } = leased;
    let flow = job.state.flow();
    let (accepted_at, trace) = (event.accepted_at, event.trace);
    let rules = today.book.of(&event).cloned();
    let believes = |learnt: &Learnt| {
        let known_for = rules.as_ref().map(|rules| rules.known_for);
        known_for.is_none_or(|known_for| learnt.holds(now, known_for))
    };
    let known = known.filter(believes);
    let address = known.as_ref().map(|learnt| learnt.address.clone());
    let activation = (lane.lane.workspace.clone(), event.scope.as_str().into());
    let moves = |commit, saved| {
        Prepared::Moves(Move {
            token,
            commit: spare(commit, address.as_ref()),
            activation: activation.clone(),
            is_outdated: false,
            flow,
            accepted_at,
            trace,
            saved,
        })
    };
    let Some(rules) = rules else {
        return moves(vanished(job, now), 0);
    };
    let begun = found_begun(&job, &event, now, &rules);
    if rules.workspace != lane.lane.workspace {
        // What else was begun there is of no use here.
        let dead = begun.filter(|commit| matches!(commit.fate, Fate::Bury { .. }));
        return moves(dead.unwrap_or_else(|| moved(job, &event, now, &rules)), 0);
    }
    if let Some(commit) = begun {
        return moves(commit, 0);
    }
    if !today.terms.configured {
        return Prepared::Stray(token);
    }
    if shared.holds().is_held(&activation) {
        return moves(set_aside(&rules.workspace, job, now), 0);
    }
    let mut saved = 0;
    match wish(lane, &mut saved, job, &event, known.as_ref(), &rules, now) {
        Wish::Moves(commit) => moves(commit, saved),
        Wish::GiveBack => Prepared::Stray(token),
        Wish::Asks(job, call) => {
            let takes_turn = lane.lane.kind == LaneKind::UsersTrack && job.state.takes_turn();
            let who = takes_turn.then(|| Who::of(event.participant()));
            let asked = Asked {
                token,
                event,
                job,
                rules,
                call,
                known: address.clone(),
                who,
                saved,
            };
            match too_soon(lane, &asked, now) {
                None => Prepared::Asks(asked),
                Some(due) => moves(later(lane, asked.job, due), 0),
            }
        }
    }
}

/// Goes on with what needs nobody outside, step by step, as long as it stays in this lane: nothing of that is worth a write.
fn wish(
    lane: &LaneState,
    saved: &mut u64,
    mut job: Job,
    event: &Event,
    known: Option<&Learnt>,
    rules: &Arc<Rules>,
    now: Timestamp,
) -> Wish {
    loop {
        let Some(call) = ask(&job, event, rules) else {
            return Wish::Moves(unaskable(job, event, now, rules));
        };
        let reply = match (&call, known) {
            (Call::Recall, None) => Reply::Remembered(None),
            // Somebody else has made the profile meanwhile: it is not made, and given what a new one gets, once more.
            (Call::Track(_), Some(known)) if job.state.creates() && is_news(known, &job) => {
                Reply::Remembered(Some(known.address.clone()))
            }
            (Call::Recall | Call::LookUp { phone: false, .. }, Some(known)) => {
                *saved += 1;
                Reply::Remembered(Some(known.address.clone()))
            }
            (call, _) if is_empty(call) => Reply::Tracked,
            _ => return Wish::Asks(job, call),
        };
        match settle(job, event, Ok(reply), now, rules, 0.0) {
            Settled::GiveBack => return Wish::GiveBack,
            Settled::Commit(commit) => match commit.fate {
                Fate::Keep { lane: to, job: on } if to == lane.lane => job = on,
                fate => {
                    let gap = Duration::ZERO;
                    return Wish::Moves(Commit {
                        fate,
                        gap,
                        ..commit
                    });
                }
            },
        }
    }
}

/// Whether what is remembered was learnt since the job set out to make the profile: most would not have come there, had
/// they known before; of the others only their first failure tells since when they stand there.
fn is_news(known: &Learnt, job: &Job) -> bool {
    let since = job.first_failure();
    !job.state.has_doubted_memory() || since.is_some_and(|since| known.at >= since)
}

/// When it may leave, if not now.
fn too_soon(lane: &LaneState, asked: &Asked, now: Timestamp) -> Option<Timestamp> {
    let at = lane.recent().not_before(asked.who?, asked.rules.order_gap);
    (at > now).then_some(at)
}

fn later(lane: &LaneState, job: Job, due: Timestamp) -> Commit {
    let lane = lane.lane.clone();
    let job = Job { due, ..job };
    Commit::new(Fate::Keep { lane, job }, Vec::new())
}

/// Nobody looks in vain for a profile that is known to be there, whatever became of one who was to make it.
pub(super) fn spare(commit: Commit, known: Option<&Address>) -> Commit {
    Commit {
        bury_successors: commit.bury_successors.filter(|_| known.is_none()),
        ..commit
    }
}
