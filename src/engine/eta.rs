//! How long the work that is due takes, for every lane and every activation, as things stand.
//!
//! Invariants: pure. What is due is reckoned through the lanes that it still has to pass, as if it flowed: each lane lets
//! as much through as it does now, of everybody's alike, and what has got through one is due in the next. New work, and
//! work that waits for a date or for its participant's turn, is not reckoned with; in truth older work goes first.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::holds::Activation;
use super::{ActivationView, LaneView};
use crate::flow::ahead;
use crate::model::lane::{Lane, LaneKind};
use crate::model::rules::{RuleBook, Rules};
use crate::model::time::Timestamp;
use crate::store::Group;

/// A step of the reckoning is this part of the time reckoned so far, and never shorter than the other. Seconds.
const STEP_PART: f64 = 0.005;
const STEP_MIN: f64 = 0.05;
/// What takes longer has no end in sight. Seconds: some three hundred years.
const FAR: f64 = 1e10;
/// Half a call: what is left of it is a matter of rounding.
const NOTHING: f64 = 0.5;

/// How long something takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Eta {
    /// So many seconds; 0 when nothing is due.
    In(f64),
    /// The lane has no limits, and has not shown yet what it can do.
    Unknown,
    /// It does not end as things stand: it is held, or nothing is answered.
    Never,
}

impl Eta {
    /// Seconds, where there are any.
    pub fn seconds(self) -> Option<f64> {
        match self {
            Eta::In(seconds) => Some(seconds),
            Eta::Unknown | Eta::Never => None,
        }
    }

    /// When both are over.
    fn and(self, other: Eta) -> Eta {
        match (self, other) {
            (Eta::Never, _) | (_, Eta::Never) => Eta::Never,
            (Eta::Unknown, _) | (_, Eta::Unknown) => Eta::Unknown,
            (Eta::In(one), Eta::In(other)) => Eta::In(one.max(other)),
        }
    }
}

/// What one activation has to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ActivationEta {
    /// Its calls that are due.
    pub due: u64,
    /// How long they, and what follows from them at once, take.
    pub eta: Eta,
}

/// How long everything takes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Etas {
    /// By lane: every one that there is.
    pub lanes: BTreeMap<Lane, Eta>,
    /// By workspace and activation: those that are configured, and those that have work.
    pub activations: BTreeMap<Activation, ActivationEta>,
}

/// How one lane goes from now on.
#[derive(Clone, Copy, Debug)]
enum Course {
    /// So many calls a second, as of so many seconds from now.
    Goes { calls: f64, opens_in: f64 },
    /// It goes as well; nobody knows how fast.
    Unknown,
    /// It is closed, and nobody knows for how long.
    Stands,
}

impl Course {
    fn of(view: &LaneView, now: Timestamp) -> Course {
        let released = view.held.map(|hold| hold.until);
        if view.lane.kind == LaneKind::Held || released == Some(None) {
            return Course::Stands;
        }
        let opens = released.flatten().max(view.stopped_until);
        let opens_in = opens.map_or(0.0, |opens| opens.since(now).as_secs_f64());
        match view.calls_per_second {
            None => Course::Unknown,
            Some(calls) if calls > 0.0 => Course::Goes { calls, opens_in },
            Some(_) => Course::Stands,
        }
    }

    /// How long `calls` take that are due now.
    fn eta(self, due: u64) -> Eta {
        match self {
            _ if due == 0 => Eta::In(0.0),
            Course::Goes { calls, opens_in } => Eta::In(opens_in + due as f64 / calls),
            Course::Unknown => Eta::Unknown,
            Course::Stands => Eta::Never,
        }
    }

    /// Calls that it lets through between two moments.
    fn passes(self, from: f64, until: f64) -> f64 {
        match self {
            Course::Goes { calls, opens_in } => calls * (until - from.max(opens_in)).max(0.0),
            Course::Unknown => f64::INFINITY,
            Course::Stands => 0.0,
        }
    }
}

/// Work of one activation on its way through one lane after another.
struct Stream {
    activation: Activation,
    /// The lanes, by their place among the courses, and what is due in each.
    way: Vec<(usize, f64)>,
    /// Known once it is over; at once, where it cannot be reckoned.
    eta: Option<Eta>,
}

impl Stream {
    fn new(activation: Activation, way: Vec<usize>, due: u64, courses: &[Course]) -> Stream {
        let on_the_way = way.iter().filter_map(|place| courses.get(*place));
        let each = on_the_way.map(|course| course.eta(1));
        let eta = each.reduce(Eta::and);
        let mut way: Vec<(usize, f64)> = way.into_iter().map(|place| (place, 0.0)).collect();
        if let Some((_, first)) = way.first_mut() {
            *first = due as f64;
        }
        Stream {
            activation,
            way,
            eta: eta.filter(|eta| eta.seconds().is_none()),
        }
    }

    /// Until `then`, so great a part of what is due in each lane gets through it.
    fn pass(&mut self, parts: &[f64], then: f64) {
        let (mut arrives, mut left) = (0.0, 0.0);
        for (place, due) in &mut self.way {
            let passes = *due * parts.get(*place).copied().unwrap_or(1.0);
            *due += arrives - passes;
            arrives = passes;
            left += *due;
        }
        if left < NOTHING && self.eta.is_none() {
            self.eta = Some(Eta::In(then));
        }
    }
}

/// How long everything takes that is `due`: in `lanes`, by the settings of `book`, without the activations `held`.
pub fn etas(
    due: &BTreeMap<(Lane, Group), u64>,
    lanes: &[LaneView],
    held: &[ActivationView],
    book: &RuleBook,
    now: Timestamp,
) -> Etas {
    let places: BTreeMap<&Lane, usize> = lanes.iter().map(|view| &view.lane).zip(0..).collect();
    let courses: Vec<Course> = lanes.iter().map(|view| Course::of(view, now)).collect();
    let mut depths: BTreeMap<&Lane, u64> = places.keys().map(|lane| (*lane, 0)).collect();
    let nothing = ActivationEta {
        due: 0,
        eta: Eta::In(0.0),
    };
    let configured = book.activations().chain(book.contents());
    let names = configured.map(|rules| (rules.workspace.clone(), rules.scope.clone()));
    let mut activations: BTreeMap<Activation, ActivationEta> =
        names.map(|name| (name, nothing)).collect();
    let mut streams = Vec::new();
    for ((lane, group), count) in due.iter().filter(|(_, count)| **count > 0) {
        *depths.entry(lane).or_default() += count;
        let name = (group.workspace.clone(), group.activation.clone());
        let row = activations.entry(name.clone()).or_insert(nothing);
        row.due += count;
        if held.iter().any(|it| it.is_of(&name)) {
            row.eta = Eta::Never;
            continue;
        }
        let way = way(lane, group, book);
        let way = way.iter().filter_map(|lane| places.get(lane).copied());
        streams.push(Stream::new(name, way.collect(), *count, &courses));
    }
    flow(&mut streams, &courses);
    for Stream {
        activation, eta, ..
    } in streams
    {
        if let Some(row) = activations.get_mut(&activation) {
            row.eta = row.eta.and(eta.unwrap_or(Eta::Never));
        }
    }
    let course = |lane| places.get(lane).and_then(|place| courses.get(*place));
    let eta = |lane, due| course(lane).map_or(Eta::Never, |course| course.eta(due));
    let depths = depths.into_iter();
    Etas {
        lanes: depths
            .map(|(lane, due)| (lane.clone(), eta(lane, due)))
            .collect(),
        activations,
    }
}

/// The lanes that what is due in `lane` has to pass, this one first.
fn way(lane: &Lane, group: &Group, book: &RuleBook) -> Vec<Lane> {
    let of = |rules: &&Arc<Rules>| rules.workspace == group.workspace;
    let named = book.activation(&group.activation).filter(of);
    let rules = named.or_else(|| book.content(&group.activation).filter(of));
    let kinds = match (group.flow, rules) {
        (Some(flow), Some(rules)) => ahead(flow, lane.kind, rules),
        // It dies, or is brought elsewhere.
        _ => vec![lane.kind],
    };
    let lanes = kinds.into_iter();
    lanes.map(|kind| Lane::new(&lane.workspace, kind)).collect()
}

/// Lets all streams flow, step by step, until each is over that can be.
fn flow(streams: &mut [Stream], courses: &[Course]) {
    let mut now = 0.0;
    while now < FAR && streams.iter().any(|stream| stream.eta.is_none()) {
        let then = now + (now * STEP_PART).max(STEP_MIN);
        let mut due = vec![0.0; courses.len()];
        for (place, of_stream) in streams.iter().flat_map(|stream| &stream.way) {
            if let Some(due) = due.get_mut(*place) {
                *due += of_stream;
            }
        }
        let parts: Vec<f64> = courses
            .iter()
            .zip(due)
            .map(|(course, due)| (course.passes(now, then) / due.max(NOTHING)).min(1.0))
            .collect();
        for stream in streams.iter_mut() {
            stream.pass(&parts, then);
        }
        now = then;
    }
}

#[cfg(test)]
mod tests;
