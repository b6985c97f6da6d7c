//! What a replay does by itself: slice by slice it lets letters live, as fast as it may, until it has looked at all.
//!
//! Invariants: what it let live says so itself (the record carries its number), so that a slice that a crash repeats lets
//! nothing live twice, and a letter that dies again is never taken again. Its place is written down after each slice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::super::Ops;
use super::super::audit::{Deed, Who};
use super::super::dead::start_of;
use super::super::wire::{Replay, ReplayState};
use super::pace::{Pace, Wait, way};
use super::{SLICE, page_of, paper};
use crate::flow::job::Start;
use crate::model::time::Timestamp;
use crate::store::{DeadLetter, Operate, ReplayCounts, Store, StoreError};

/// So many must have ended before the share that died says anything.
const SAMPLE_MIN: u64 = 20;

/// After so many it is judged anew.
const SAMPLE_MAX: u64 = 200;

/// How long a replay rests when a look has found nothing that matches.
const BETWEEN: Duration = Duration::from_millis(20);

/// How long nothing is tried when the store does not answer.
const BREATH: Duration = Duration::from_secs(5);

/// Runs replays for as long as it is polled. Dropped in the middle it is a crash, after which they go on.
pub(in crate::ops) async fn run<S: Store + Operate>(ops: Arc<Ops<S>>) {
    let mut paces = BTreeMap::new();
    loop {
        let changed = ops.office.replays.changed.notified();
        let wake = match ops.round(&mut paces).await {
            Ok(wake) => wake,
            Err(error) => {
                tracing::warn!(%error, "replays wait for the store");
                Some(ops.clock.now() + BREATH)
            }
        };
        match wake {
            None => changed.await,
            Some(wake) => tokio::select! {
                () = changed => {}
                () = ops.clock.sleep_until(wake) => {}
            },
        }
    }
}

impl<S: Store + Operate> Ops<S> {
    /// A slice of every replay that runs; when to come back.
    async fn round(
        &self,
        paces: &mut BTreeMap<u32, Pace>,
    ) -> Result<Option<Timestamp>, StoreError> {
        let mut kept = self.office.replays.open(&self.store).await?;
        let mut wake: Option<Timestamp> = None;
        for replay in kept.values_mut() {
            if replay.state != ReplayState::Running {
                paces.remove(&replay.number);
                continue;
            }
            let pace = paces.entry(replay.number).or_default();
            let mut changed = replay.clone();
            let next = self.slice(&mut changed, pace).await?;
            if changed != *replay {
                self.keep(&changed).await?;
                *replay = changed;
            }
            wake = wake.into_iter().chain(next).min();
        }
        Ok(wake)
    }

    /// Writes down where it stands; when it has come to an end by itself, in the audit, too.
    async fn keep(&self, replay: &Replay) -> Result<(), StoreError> {
        let sheet = paper(replay)?;
        if replay.state == ReplayState::Running {
            return self.store.put_papers(vec![sheet], Vec::new()).await;
        }
        let counts = self.replay_counts(replay.number).await?;
        let (number, why) = (replay.number, replay.why.as_deref());
        let state = replay.state.as_str();
        tracing::info!(number, state, why, "a replay has come to an end by itself");
        let deed = Deed {
            what: "replay",
            which: serde_json::json!({ "number": number }),
            counts: vec![
                ("revived", counts.revived),
                ("delivered", counts.delivered),
                ("died_again", counts.died),
                ("still_dead", replay.still_dead),
                ("left_out", replay.left_out),
            ],
            outcome: match why {
                Some(why) => format!("{state}: {why}"),
                None => state.to_owned(),
            },
            ..Deed::default()
        };
        self.note(&Who("relay".into()), deed, vec![sheet]).await
    }

    /// Lets the next letters live; when to come back, unless it is over.
    async fn slice(
        &self,
        replay: &mut Replay,
        pace: &mut Pace,
    ) -> Result<Option<Timestamp>, StoreError> {
        let counts = self.replay_counts(replay.number).await?;
        if let Some(why) = fails_again(replay, counts) {
            stop(replay, why);
            return Ok(None);
        }
        let page = page_of(&self.store, replay, SLICE).await?;
        let (mut starts, mut wait) = (Vec::new(), None);
        let seen = page.items.len();
        for letter in page.items {
            if replay.filter.leaves_out(letter.burial.reason) {
                replay.left_out += 1;
                replay.cursor = Some(letter.id);
                continue;
            }
            match self.next_start(&letter, replay, pace) {
                Ok(Some(start)) => starts.push((letter.id, start)),
                Ok(None) => replay.still_dead += 1,
                Err(why_not) => {
                    wait = Some(why_not);
                    break;
                }
            }
            replay.cursor = Some(letter.id);
        }
        if !starts.is_empty() {
            let now = self.clock.now();
            let number = Some(replay.number);
            self.store.revive_for(number, starts, now).await?;
        }
        let now = self.clock.now();
        Ok(match wait {
            Some(Wait::TooLong(why)) => {
                stop(replay, why);
                None
            }
            Some(Wait::Until(moment, why)) => {
                replay.why = why;
                Some(moment)
            }
            None if page.next.is_none() => {
                replay.why = None;
                replay.state = ReplayState::Finished;
                replay.ended_at = Some(now);
                None
            }
            None => {
                replay.why = None;
                replay.cursor = page.next;
                // A store full of others' letters is looked through without haste.
                Some(if seen == 0 { now + BETWEEN } else { now })
            }
        })
    }

    /// How the letter lives again, now; `None`: it cannot.
    fn next_start(
        &self,
        letter: &DeadLetter,
        replay: &Replay,
        pace: &mut Pace,
    ) -> Result<Option<Start>, Wait> {
        let book = self.rules.borrow().clone();
        let now = self.clock.now();
        let Ok(Start::Run { lane, job }) = start_of(letter, &book, now) else {
            return Ok(None);
        };
        let held = self.desk.held_activations();
        let activation = (lane.workspace.clone(), letter.event.scope.as_str().into());
        pace.active(held.iter().find(|view| view.is_of(&activation)), now)?;
        let way = way(&lane, Some(job.state.flow()), book.of(&letter.event));
        pace.take(replay, &way, &self.desk.lanes(), now)?;
        Ok(Some(Start::Run { lane, job }))
    }
}

fn stop(replay: &mut Replay, why: String) {
    replay.state = ReplayState::StoppedItself;
    replay.why = Some(why);
}

/// Whether too many of those that ended have died again, and how many. What has ended well enough is judged no more, so
/// that many good ones before do not hide that it fails now.
fn fails_again(replay: &mut Replay, counts: ReplayCounts) -> Option<String> {
    let (delivered, died) = replay.judged_from;
    let died = counts.died.saturating_sub(died);
    let ended = died + counts.delivered.saturating_sub(delivered);
    if ended >= SAMPLE_MIN && died as f64 > replay.stop_at * ended as f64 {
        return Some(format!("{died} of the last {ended} died again"));
    }
    if ended >= SAMPLE_MAX {
        replay.judged_from = (counts.delivered, counts.died);
    }
    None
}

#[cfg(test)]
mod tests;
