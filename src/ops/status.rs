//! `GET /api/v1/status`: how much there is of everything, in one document.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::Ops;
use super::lanes::Because;
use super::problem::Problem;
use super::wire::{
    ActivationRow, Dead, Done, Events, Group, Held, HeldActivation, Jobs, LaneRow, Status, StoreRow,
};
use crate::engine::eta::{ActivationEta, Etas, etas};
use crate::engine::gate::HoldReason;
use crate::engine::holds::{Activation, ActivationHoldReason};
use crate::engine::{ActivationView, LaneView};
use crate::flow::job::Flow;
use crate::model::lane::Lane;
use crate::model::time::Timestamp;
use crate::store::{self, Counts, EventCounts, LaneCounts, Operate, States, Store};
use crate::telemetry::NONE;

/// How much there is of everything.
#[utoipa::path(
    get,
    path = "/api/v1/status",
    operation_id = "status",
    tag = "now",
    responses((status = 200, description = "All of it.", body = Status)),
)]
pub(super) async fn status<S: Store + Operate>(
    State(ops): State<Arc<Ops<S>>>,
) -> Result<Json<Status>, Problem> {
    let counts = ops.counts().await?;
    Ok(Json(of(&ops, &counts)))
}

/// All of it, of this reading of the counts.
pub(super) fn of<S: Store + Operate>(ops: &Ops<S>, counts: &Counts) -> Status {
    let now = ops.clock.now();
    let (views, held_views) = (ops.desk.lanes(), ops.desk.held_activations());
    let book = ops.rules.borrow().clone();
    let because = &ops.office.holds;
    let etas = etas(&counts.due, &views, &held_views, &book, now);
    Status {
        version: ops.version.to_owned(),
        now,
        uptime_seconds: ops.clock.elapsed().as_secs(),
        events: events(counts.events),
        jobs: jobs(counts),
        dead: dead(counts),
        done: done(counts),
        activations: etas.activations.iter().map(activation).collect(),
        held_activations: held_views.iter().map(|view| held(view, because)).collect(),
        lanes: lanes(&counts.lanes, views, because, &etas, now),
        store: StoreRow {
            bytes: counts.store_bytes,
            free_bytes: counts.free_bytes,
            commit: counts.commit,
            refusing: ops.store.admits().err().map(|error| error.to_string()),
        },
    }
}

fn events(counts: EventCounts) -> Events {
    let EventCounts {
        accepted,
        done,
        dead,
        queued,
        discarded,
        forgotten,
    } = counts;
    Events {
        accepted,
        done,
        dead,
        queued,
        discarded,
        forgotten,
        adds_up: accepted == done + dead + queued + discarded + forgotten,
    }
}

fn group(group: &store::Group) -> Group {
    Group {
        workspace: group.workspace.to_string(),
        activation: group.activation.to_string(),
        flow: group.flow.map_or(NONE, Flow::as_str).to_owned(),
    }
}

fn jobs(counts: &Counts) -> Vec<Jobs> {
    let living = counts
        .jobs
        .iter()
        .filter(|(_, states)| **states != States::default());
    living
        .map(|(name, states)| Jobs {
            group: group(name),
            waiting: states.waiting,
            ready: states.ready,
            in_flight: states.in_flight,
            dead: states.dead,
        })
        .collect()
}

fn dead(counts: &Counts) -> Vec<Dead> {
    let rows = counts.dead.iter().filter(|(_, count)| **count > 0);
    rows.map(|((name, reason), count)| Dead {
        group: group(name),
        reason: *reason,
        count: *count,
    })
    .collect()
}

fn done(counts: &Counts) -> Vec<Done> {
    let rows = counts.done.iter().filter(|(_, count)| **count > 0);
    rows.map(|((name, outcome), count)| Done {
        group: group(name),
        outcome: *outcome,
        count: *count,
    })
    .collect()
}

pub(super) fn held(view: &ActivationView, because: &Because) -> HeldActivation {
    let by_hand = view.hold.reason == ActivationHoldReason::Manual;
    HeldActivation {
        workspace: view.workspace.to_string(),
        activation: view.activation.to_string(),
        reason: view.hold.reason.as_str().to_owned(),
        died_of: view.hold.died_of,
        since: view.hold.since,
        until: view.hold.until,
        because: by_hand.then(|| because.of(&view.activation)).flatten(),
    }
}

fn activation(((workspace, activation), row): (&Activation, &ActivationEta)) -> ActivationRow {
    ActivationRow {
        workspace: workspace.to_string(),
        activation: activation.to_string(),
        due: row.due,
        eta_seconds: row.eta.seconds(),
    }
}

/// Every lane the engine or the store knows, in order.
fn lanes(
    counted: &BTreeMap<Lane, LaneCounts>,
    views: Vec<LaneView>,
    because: &Because,
    etas: &Etas,
    now: Timestamp,
) -> Vec<LaneRow> {
    let mut all: BTreeMap<Lane, Option<LaneView>> =
        counted.keys().map(|lane| (lane.clone(), None)).collect();
    for view in views {
        all.insert(view.lane.clone(), Some(view));
    }
    all.into_iter()
        .map(|(lane, view)| {
            let counts = counted.get(&lane).copied().unwrap_or_default();
            let seen = view.as_ref();
            LaneRow {
                lane: lane.to_string(),
                depth: counts.depth,
                waiting: counts.waiting,
                oldest_seconds: counts.oldest_due.map(|due| now.since(due).as_secs_f64()),
                eta_seconds: etas.lanes.get(&lane).map_or(Some(0.0), |eta| eta.seconds()),
                in_flight: seen.map_or(0, |view| view.in_flight as u64),
                requests_per_second: seen.and_then(|view| view.requests_per_second),
                budget_used_ratio: seen.map(|view| view.budget_used_ratio),
                objects_max: seen.map(|view| view.objects_max as u64),
                held: seen.and_then(|view| view.held).map(|hold| Held {
                    reason: hold.reason.as_str().to_owned(),
                    since: hold.since,
                    until: hold.until,
                    because: (hold.reason == HoldReason::Manual)
                        .then(|| because.of(&lane.to_string()))
                        .flatten(),
                }),
                stopped_until: seen.and_then(|view| view.stopped_until),
            }
        })
        .collect()
}
