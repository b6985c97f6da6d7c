//! What a screen shows, and what keys do to it.
//!
//! Invariants: pure. Nothing is held or released but by an answer to the question whether to.

use std::collections::BTreeMap;

use crate::flow::job::Reason;
use crate::model::time::Timestamp;
use crate::ops::wire::{History, Live, Moment};

/// The moments of an hour in steps of ten seconds; of anything else, as many.
const MOMENTS_MAX: usize = 360;

/// How the relay is heard of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// Nothing was heard yet.
    Waiting,
    /// It tells what happens.
    Live,
    /// It was heard of, and is no more; or never was. Why.
    Lost(String),
}

/// What a row is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A lane, as it is written: `acme/users_track`.
    Lane(String),
    /// An activation.
    Activation(String),
}

impl Target {
    /// As people call it.
    pub(super) fn named(&self) -> String {
        match self {
            Target::Lane(name) => format!("lane {name}"),
            Target::Activation(name) => format!("activation {name}"),
        }
    }
}

/// A change of holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// Held; else released.
    pub(super) hold: bool,
    /// What.
    pub(super) target: Target,
}

/// What keys mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// A letter.
    Letter(char),
    /// The row above.
    Up,
    /// The row below.
    Down,
    /// Yes, to a question.
    Enter,
    /// No, to a question; away with the help.
    Escape,
}

/// What is to be done because of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Nothing but drawing.
    Nothing,
    /// The end.
    Quit,
    /// The relay is to be asked for this.
    Change(Change),
}

/// Everything that is shown.
#[derive(Clone, Debug)]
pub(super) struct View {
    /// How the relay is heard of.
    pub(super) link: Link,
    /// For how long nothing was heard, seconds.
    pub(super) silent_seconds: f64,
    /// What it told last; while the display is paused, what it had told then.
    pub(super) live: Option<Live>,
    /// The display is paused.
    pub(super) paused: bool,
    /// What it told last since then.
    pub(super) waiting: Option<Live>,
    /// The last hour.
    pub(super) hour: Vec<Moment>,
    /// How far apart those are.
    pub(super) every_seconds: u64,
    /// Dead letters by reason when this began.
    pub(super) dead_before: Option<BTreeMap<Reason, u64>>,
    /// The row that keys are about.
    pub(super) selected: Option<Target>,
    /// A question that waits for its answer.
    pub(super) asked: Option<Change>,
    /// The keys are explained.
    pub(super) help: bool,
    /// What came of the last change.
    pub(super) said: Option<String>,
    /// Colours may be used.
    pub(super) colour: bool,
}

impl View {
    /// Before anything was heard.
    pub(super) fn new(colour: bool) -> View {
        View {
            link: Link::Waiting,
            silent_seconds: 0.0,
            live: None,
            paused: false,
            waiting: None,
            hour: Vec::new(),
            every_seconds: 10,
            dead_before: None,
            selected: None,
            asked: None,
            help: false,
            said: None,
            colour,
        }
    }

    /// The relay has told the last hour.
    pub(super) fn history(&mut self, history: History) {
        self.every_seconds = history.every_seconds.max(1);
        self.hour = history.moments;
    }

    /// The relay has told a moment.
    pub(super) fn now(&mut self, live: Live) {
        self.link = Link::Live;
        self.silent_seconds = 0.0;
        let is_new = |step: &&Moment| self.hour.last().is_none_or(|last| last.at != step.at);
        if let Some(step) = live.step.as_ref().filter(is_new) {
            self.hour.push(step.clone());
            let surplus = self.hour.len().saturating_sub(MOMENTS_MAX);
            self.hour.drain(..surplus);
        }
        if self.dead_before.is_none() {
            self.dead_before = Some(dead(&live));
        }
        if self.paused {
            self.waiting = Some(live);
        } else {
            self.live = Some(live);
        }
    }

    /// The relay is not heard of any more.
    pub(super) fn lost(&mut self, why: String) {
        self.link = Link::Lost(why);
    }

    /// Everything that can be selected, in the order it is shown: what is held first, so that it is seen however little
    /// room there is.
    pub(super) fn targets(&self) -> Vec<Target> {
        let lanes = self.lanes().into_iter();
        let lanes = lanes.map(|lane| Target::Lane(lane.lane.clone()));
        let activations = self.activations().into_iter();
        let activations = activations.map(|row| Target::Activation(row.name));
        lanes.chain(activations).collect()
    }

    /// Lanes: those held, those stopped, the others.
    pub(super) fn lanes(&self) -> Vec<&crate::ops::wire::LaneRow> {
        let status = self.live.iter().map(|live| &live.status);
        let mut lanes: Vec<_> = status.flat_map(|status| &status.lanes).collect();
        lanes.sort_by_key(|lane| match (&lane.held, lane.stopped_until) {
            (Some(_), _) => 0,
            (None, Some(_)) => 1,
            (None, None) => 2,
        });
        lanes
    }

    /// Activations that are held or have something due: those held first.
    pub(super) fn activations(&self) -> Vec<Activation> {
        let Some(live) = &self.live else {
            return Vec::new();
        };
        let status = &live.status;
        let mut rows: Vec<Activation> = Vec::new();
        for held in &status.held_activations {
            let of = |row: &&crate::ops::wire::ActivationRow| {
                (&row.workspace, &row.activation) == (&held.workspace, &held.activation)
            };
            let row = status.activations.iter().find(of);
            rows.push(Activation {
                name: held.activation.clone(),
                due: row.map_or(0, |row| row.due),
                eta_seconds: None,
                held: Some((held.reason.clone(), held.until)),
            });
        }
        for row in status.activations.iter().filter(|row| row.due > 0) {
            if !rows.iter().any(|held| held.name == row.activation) {
                rows.push(Activation {
                    name: row.activation.clone(),
                    due: row.due,
                    eta_seconds: row.eta_seconds,
                    held: None,
                });
            }
        }
        rows
    }

    /// Dead letters by reason, and how many more there are than when this began.
    pub(super) fn dead(&self) -> Vec<(Reason, u64, u64)> {
        let now = self.live.as_ref().map(dead).unwrap_or_default();
        let before = self.dead_before.as_ref();
        now.into_iter()
            .map(|(reason, count)| {
                let was = before.and_then(|before| before.get(&reason).copied());
                (reason, count, count.saturating_sub(was.unwrap_or(0)))
            })
            .collect()
    }

    /// What a key does.
    pub(super) fn key(&mut self, key: Key) -> Act {
        if let Some(change) = self.asked.take() {
            return match key {
                Key::Letter('y' | 'Y') | Key::Enter => {
                    self.said = Some(format!("asking for {} …", change.target.named()));
                    Act::Change(change)
                }
                Key::Letter('q') => Act::Quit,
                Key::Letter(_) | Key::Up | Key::Down | Key::Escape => {
                    self.said = Some("nothing was changed".into());
                    Act::Nothing
                }
            };
        }
        if std::mem::take(&mut self.help) {
            return match key {
                Key::Letter('q') => Act::Quit,
                _ => Act::Nothing,
            };
        }
        match key {
            Key::Letter('q') => return Act::Quit,
            Key::Letter('?') => self.help = true,
            Key::Letter('p') => self.pause(),
            Key::Letter('k') | Key::Up => self.select(|at| at.saturating_sub(1)),
            Key::Letter('j') | Key::Down => self.select(|at| at + 1),
            Key::Letter('h') => self.ask(true),
            Key::Letter('r') => self.ask(false),
            Key::Letter(_) | Key::Enter | Key::Escape => {}
        }
        Act::Nothing
    }

    fn pause(&mut self) {
        self.paused = !self.paused;
        if let Some(live) = self.waiting.take() {
            self.live = Some(live);
        }
    }

    fn select(&mut self, to: impl FnOnce(usize) -> usize) {
        let all = self.targets();
        let at = self.position(&all);
        let to = at.map_or(0, to).min(all.len().saturating_sub(1));
        self.selected = all.into_iter().nth(to);
    }

    fn position(&self, all: &[Target]) -> Option<usize> {
        let selected = self.selected.as_ref()?;
        all.iter().position(|target| target == selected)
    }

    fn ask(&mut self, hold: bool) {
        let all = self.targets();
        let selected = self.position(&all).and_then(|at| all.into_iter().nth(at));
        match selected {
            Some(target) => self.asked = Some(Change { hold, target }),
            None => self.said = Some("select a row first: up and down, or j and k".into()),
        }
    }
}

/// An activation's row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Activation {
    /// Its name.
    pub(super) name: String,
    /// Calls that are due.
    pub(super) due: u64,
    /// How long they take; `None`: nobody knows.
    pub(super) eta_seconds: Option<f64>,
    /// Why it is held, and until when.
    pub(super) held: Option<(String, Option<Timestamp>)>,
}

fn dead(live: &Live) -> BTreeMap<Reason, u64> {
    let mut by_reason = BTreeMap::new();
    for dead in &live.status.dead {
        *by_reason.entry(dead.reason).or_default() += dead.count;
    }
    by_reason
}
