//! How fast a replay may go: a share of every lane's budget, so that live traffic always has the rest.
//!
//! Invariants: pure. A letter is let live when every lane on its way has room for it; the room grows with time, and no
//! more than a second of it is saved up. A lane that is held or stopped keeps the replay waiting, whatever room there is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::gate::HoldReason;
use crate::engine::{ActivationView, LaneView};
use crate::flow;
use crate::flow::job::Flow;
use crate::model::lane::{Lane, LaneKind};
use crate::model::rules::Rules;
use crate::model::time::Timestamp;
use crate::ops::wire::{Replay, USUAL_BUDGET};

/// Calls a second that are reckoned with where a lane has no limits.
const UNLIMITED_PER_SECOND: f64 = 1000.0;

/// How long a replay waits at least, so that many letters go in one write.
const WAIT_MIN: Duration = Duration::from_millis(100);

/// How long it waits at most, seconds: whether it fails again is to be seen soon.
const LOOK_AGAIN_MAX: f64 = 5.0;

/// How long it waits for what may end at any moment.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A lane that is held for so long without a break stops the replay; an operator's own hold does not.
const HELD_MAX: Duration = Duration::from_mins(15);

/// What has the replay's room: a lane, or the replay as a whole where it has a rate of its own.
type Place = Option<Lane>;

/// The room of one place.
#[derive(Clone, Copy, Debug)]
struct Room {
    letters: f64,
    at: Timestamp,
}

/// The pace of one replay. Begins anew, and without any room, with the process.
#[derive(Debug, Default)]
pub struct Pace {
    rooms: BTreeMap<Place, Room>,
    held_since: Option<Timestamp>,
}

/// Why the next letter is not let live.
#[derive(Clone, Debug, PartialEq)]
pub enum Wait {
    /// Look again then; the text says what for, where it is not just the pace.
    Until(Timestamp, Option<String>),
    /// It has waited for too long.
    TooLong(String),
}

/// The lanes that a letter passes when it lives again, with the credit it may earn.
pub fn way(lane: &Lane, flow: Option<Flow>, rules: Option<&Arc<Rules>>) -> Vec<Lane> {
    let mut kinds = match (flow, rules) {
        (Some(flow), Some(rules)) => flow::ahead(flow, lane.kind, rules),
        _ => vec![lane.kind],
    };
    let earns = matches!(flow, Some(Flow::Sms | Flow::DoubleOptIn | Flow::Email))
        && rules.is_some_and(|rules| rules.credit.is_some());
    if earns && !kinds.contains(&LaneKind::Quikly) {
        kinds.push(LaneKind::Quikly);
    }
    let lanes = kinds.into_iter();
    lanes.map(|kind| Lane::new(&lane.workspace, kind)).collect()
}

/// The places of a way, and letters a second that each has room for.
pub fn places(
    rate: Option<f64>,
    budget: Option<f64>,
    way: &[Lane],
    lanes: &[LaneView],
) -> Vec<(Place, f64)> {
    if let Some(rate) = rate {
        return vec![(None, rate)];
    }
    let share = budget.unwrap_or(USUAL_BUDGET);
    let each = way.iter().map(|lane| {
        let view = lanes.iter().find(|view| view.lane == *lane);
        // What the limits allow, and not what it does just now: that would be the replay's own trickle.
        let allowed = view.and_then(|view| {
            let requests = view.requests_per_second?;
            Some(requests * view.objects_max.max(1) as f64)
        });
        let calls = allowed.unwrap_or(UNLIMITED_PER_SECOND);
        (Some(lane.clone()), calls * share)
    });
    each.collect()
}

impl Pace {
    /// Takes the room for one letter that goes this way.
    pub fn take(
        &mut self,
        replay: &Replay,
        way: &[Lane],
        lanes: &[LaneView],
        now: Timestamp,
    ) -> Result<(), Wait> {
        self.open(way, lanes, now)?;
        let places = places(replay.rate, replay.budget, way, lanes);
        let mut wait = Duration::ZERO;
        for (place, per_second) in &places {
            let room = self.rooms.entry(place.clone()).or_insert(Room {
                letters: 0.0,
                at: now,
            });
            room.grow(*per_second, now);
            if room.letters < 1.0 {
                let missing = (1.0 - room.letters) / per_second.max(1e-6);
                wait = wait.max(Duration::from_secs_f64(missing.min(LOOK_AGAIN_MAX)).max(WAIT_MIN));
            }
        }
        if !wait.is_zero() {
            return Err(Wait::Until(now + wait, None));
        }
        for (place, _) in &places {
            if let Some(room) = self.rooms.get_mut(place) {
                room.letters -= 1.0;
            }
        }
        Ok(())
    }

    /// Whether every lane of the way is worked.
    fn open(&mut self, way: &[Lane], lanes: &[LaneView], now: Timestamp) -> Result<(), Wait> {
        let on_the_way = || lanes.iter().filter(|view| way.contains(&view.lane));
        let closed = on_the_way().find_map(|view| Some((view, view.held?)));
        let Some((view, hold)) = closed else {
            self.held_since = None;
            let stopped = on_the_way().filter_map(|view| Some((view.stopped_until?, &view.lane)));
            return match stopped.filter(|(until, _)| *until > now).max() {
                Some((until, lane)) => {
                    let text = format!("{lane} was told to wait (429)");
                    Err(Wait::Until(until.min(now + LOOK_AGAIN), Some(text)))
                }
                None => Ok(()),
            };
        };
        self.waits_for(
            format!("{} is held ({})", view.lane, hold.reason.as_str()),
            hold.reason == HoldReason::Manual,
            now,
        )
    }

    /// Whether the activation is worked.
    pub fn active(&mut self, held: Option<&ActivationView>, now: Timestamp) -> Result<(), Wait> {
        let Some(view) = held else {
            return Ok(());
        };
        let (name, reason) = (&view.activation, view.hold.reason.as_str());
        let text = format!("activation {name} is held ({reason})");
        self.waits_for(text, reason == HoldReason::Manual.as_str(), now)
    }

    fn waits_for(&mut self, what: String, by_hand: bool, now: Timestamp) -> Result<(), Wait> {
        let since = *self.held_since.get_or_insert(now);
        if by_hand {
            self.held_since = None;
        } else if now.since(since) >= HELD_MAX {
            self.held_since = None;
            return Err(Wait::TooLong(format!(
                "{what}, for {} minutes",
                HELD_MAX.as_secs() / 60
            )));
        }
        Err(Wait::Until(now + LOOK_AGAIN, Some(what)))
    }
}

impl Room {
    fn grow(&mut self, per_second: f64, now: Timestamp) {
        let grown = now.since(self.at).as_secs_f64() * per_second;
        self.letters = (self.letters + grown).min(per_second.max(1.0));
        self.at = now;
    }
}

#[cfg(test)]
mod tests;
