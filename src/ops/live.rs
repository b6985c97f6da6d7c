//! What is watched while it happens: a moment of everything each second, the last hour, and both as a stream of events.
//!
//! Invariants: the store is asked once for all who watch, and ten seconds apart where nobody does; the last hour is kept
//! in memory, in steps of ten seconds. Nothing personal is in it.
//!
//! Deliberately absent: what a process before this one saw (that is Prometheus's).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::{Extension, Json};
use futures_util::stream::{self, Stream};
use tokio::sync::watch;

use super::Ops;
use super::guard::Guard;
use super::problem::Problem;
use super::status;
use super::wire::{History, Live, Moment, Status};
use crate::clock::Stopwatch;
use crate::flow::job::{Flow, Outcome};
use crate::store::{Counts, Operate, Store, StoreError};

/// How often whoever watches is told.
const EVERY: Duration = Duration::from_secs(1);

/// How far apart moments of the last hour are, in steps of [`EVERY`], and how many there are.
const STEP: u32 = 10;
const STEPS_MAX: usize = 360;

/// What the sampler has seen.
#[derive(Debug)]
pub(super) struct Seen {
    now: watch::Sender<Option<Arc<Live>>>,
    hour: Mutex<VecDeque<Moment>>,
}

impl Default for Seen {
    fn default() -> Seen {
        Seen {
            now: watch::Sender::new(None),
            hour: Mutex::default(),
        }
    }
}

/// Totals that rates are the growth of.
#[derive(Clone, Copy, Default)]
struct Totals {
    accepted: u64,
    done: u64,
    dead: u64,
    credits: u64,
}

impl Totals {
    fn of(counts: &Counts) -> Totals {
        let done = counts.done.iter();
        let credits = done.filter(|((group, outcome), _)| {
            group.flow == Some(Flow::Credit) && *outcome == Outcome::Credited
        });
        Totals {
            accepted: counts.events.accepted,
            done: counts.events.done,
            dead: counts.events.dead,
            credits: credits.map(|(_, count)| count).sum(),
        }
    }

    fn moment(self, before: Totals, seconds: f64, status: &Status) -> Moment {
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        let lanes = status.lanes.iter();
        Moment {
            at: status.now,
            accepted_per_second: rate(self.accepted, before.accepted),
            done_per_second: rate(self.done, before.done),
            dead_per_second: rate(self.dead, before.dead),
            credits_per_second: rate(self.credits, before.credits),
            depth: lanes.clone().map(|lane| lane.depth).sum(),
            waiting: lanes.clone().map(|lane| lane.waiting).sum(),
            oldest_seconds: lanes
                .filter_map(|lane| lane.oldest_seconds)
                .reduce(f64::max),
            dead: status.events.dead,
        }
    }
}

/// Takes a moment each second while somebody watches, for as long as it is polled.
pub(super) async fn run<S: Store + Operate>(ops: Arc<Ops<S>>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut second, mut hour): (Option<(Stopwatch, Totals)>, _) = (None, None);
    for number in 0_u32.. {
        ticks.tick().await;
        let is_step = number.is_multiple_of(STEP);
        let seen = &ops.office.live;
        if !is_step && seen.now.receiver_count() == 0 {
            second = None;
            continue;
        }
        // A store that does not answer is told by /readyz; here the picture stands still.
        let Ok(counts) = ops.counts().await else {
            continue;
        };
        let totals = Totals::of(&counts);
        let status = status::of(&ops, &counts);
        let since = |last: &Option<(Stopwatch, Totals)>| match last {
            Some((watch, before)) => totals.moment(*before, watch.elapsed().as_secs_f64(), &status),
            None => totals.moment(totals, 1.0, &status),
        };
        // Whoever begins to watch is told rates at once: those since the last step.
        let moment = since(if second.is_some() { &second } else { &hour });
        second = Some((Stopwatch::start(), totals));
        if is_step {
            let mut moments = seen.hour.lock().unwrap_or_else(PoisonError::into_inner);
            moments.push_back(since(&hour));
            if moments.len() > STEPS_MAX {
                moments.pop_front();
            }
            hour = Some((Stopwatch::start(), totals));
        }
        seen.now.send_replace(Some(Arc::new(Live {
            moment,
            step: seen.last_step(),
            status,
        })));
    }
}

/// The last hour in a few numbers every ten seconds.
#[utoipa::path(
    get,
    path = "/api/v1/history",
    operation_id = "history",
    tag = "now",
    responses((status = 200, description = "The last hour.", body = History)),
)]
pub(super) async fn history<S: Store + Operate>(State(ops): State<Arc<Ops<S>>>) -> Json<History> {
    Json(ops.office.live.history())
}

/// What happens, each second.
#[utoipa::path(
    get,
    path = "/api/v1/live",
    operation_id = "live",
    tag = "now",
    responses((status = 200, description = "Server-sent events: `history` (as `/api/v1/history`), then `now` (`Live`) each second.", content_type = "text/event-stream", body = Live)),
)]
pub(super) async fn live<S: Store + Operate>(
    State(ops): State<Arc<Ops<S>>>,
    Extension(guard): Extension<Arc<Guard>>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let history = Event::default().event("history");
    let history = history.json_data(ops.office.live.history());
    let history = history.map_err(|error| StoreError::Failed(error.to_string()))?;
    let mut now = ops.office.live.now.subscribe();
    now.mark_changed();
    let may = Arc::new(move || guard.still_admits(&headers));
    let events = stream::unfold((Some(history), now, may), async |(first, mut now, may)| {
        if let Some(first) = first {
            return Some((Ok(first), (None, now, may)));
        }
        loop {
            now.changed().await.ok()?;
            // A token or a session may have ended since.
            if !may() {
                return None;
            }
            let live = now.borrow_and_update().clone();
            let event = live.map(|live| Event::default().event("now").json_data(&*live));
            if let Some(Ok(event)) = event {
                return Some((Ok(event), (None, now, may)));
            }
        }
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

impl Seen {
    fn last_step(&self) -> Option<Moment> {
        let moments = self.hour.lock().unwrap_or_else(PoisonError::into_inner);
        moments.back().cloned()
    }

    fn history(&self) -> History {
        let moments = self.hour.lock().unwrap_or_else(PoisonError::into_inner);
        History {
            every_seconds: EVERY.as_secs() * u64::from(STEP),
            moments: moments.iter().cloned().collect(),
        }
    }
}
