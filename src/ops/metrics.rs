//! `GET /metrics`: what was counted as it happened, and gauges from the store's counts of this moment.
//!
//! Invariants: names and labels are the design's. Every gauge is made anew from one reading of the counts, so that the
//! numbers of one scrape fit each other and nothing stale remains; what is configured is told at 0 before it happens.
//! Only configured names, and `none`, become labels.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use super::Ops;
use super::problem::Problem;
use crate::engine::eta::{Eta, Etas, etas};
use crate::engine::gate::HoldReason;
use crate::engine::holds::ActivationHoldReason;
use crate::engine::{ActivationView, LaneView};
use crate::flow::job::Flow;
use crate::model::lane::Lane;
use crate::model::rules::{ParticipationFlow, RuleBook, Rules};
use crate::model::time::Timestamp;
use crate::store::{Counts, LaneCounts, Operate, States, Store};
use crate::telemetry::{Gauges, Metrics, MetricsError, NONE};

/// The exposition format's media type.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers it.
pub(super) async fn scrape<S: Store + Operate>(
    State(ops): State<Arc<Ops<S>>>,
) -> Result<impl IntoResponse, Problem> {
    let counts = ops.counts().await?;
    let book = ops.rules.borrow().clone();
    let now = ops.clock.now();
    let seen = (ops.desk.lanes(), ops.desk.held_activations());
    let text = render(&ops.metrics, &counts, &seen, &book, now)?;
    Ok(([(header::CONTENT_TYPE, TEXT)], text))
}

/// All metrics as Prometheus text.
fn render(
    metrics: &Metrics,
    counts: &Counts,
    (lanes, held): &(Vec<LaneView>, Vec<ActivationView>),
    book: &RuleBook,
    now: Timestamp,
) -> Result<String, MetricsError> {
    let gauges = Gauges::default();
    jobs(&gauges, counts, book)?;
    queues(&gauges, counts, lanes, now)?;
    budgets(&gauges, lanes)?;
    holds(&gauges, lanes)?;
    held_activations(&gauges, held, book)?;
    remaining(&gauges, &etas(&counts.due, lanes, held, book, now))?;
    for (name, help, value) in [
        (
            "relay_store_bytes",
            "The size of the store's files.",
            counts.store_bytes,
        ),
        (
            "relay_store_live_bytes",
            "Keys and values that the store holds, as they were weighed last; 0: not yet.",
            counts.live_bytes,
        ),
        (
            "relay_store_free_bytes",
            "Free disk where the store is.",
            counts.free_bytes,
        ),
    ] {
        gauges.family(name, help, &[])?.set(&[], value as f64)?;
    }
    metrics.text(&gauges)
}

/// Jobs that are not done, by state.
type ByState = [(&'static str, u64); 4];

fn by_state(states: &States) -> ByState {
    let States {
        waiting,
        ready,
        in_flight,
        dead,
    } = *states;
    [
        ("waiting", waiting),
        ("ready", ready),
        ("in_flight", in_flight),
        ("dead", dead),
    ]
}

fn jobs(gauges: &Gauges, counts: &Counts, book: &RuleBook) -> Result<(), MetricsError> {
    let by_flow = gauges.family(
        "relay_jobs",
        "Jobs that are not done.",
        &["workspace", "flow", "state"],
    )?;
    let by_activation = gauges.family(
        "relay_activation_jobs",
        "Jobs that are not done, by activation.",
        &["workspace", "activation", "state"],
    )?;
    let tell = |workspace: &str, activation: &str, flow: &str, states: &States| {
        for (state, count) in by_state(states) {
            by_flow.add(&[workspace, flow, state], count as f64)?;
            by_activation.add(&[workspace, activation, state], count as f64)?;
        }
        Ok::<_, MetricsError>(())
    };
    let nothing = States::default();
    tell(NONE, NONE, NONE, &nothing)?;
    for rules in book.contents() {
        let flow = Flow::Outgrow.as_str();
        tell(&rules.workspace, &rules.scope, flow, &nothing)?;
    }
    for rules in book.activations() {
        for flow in flows(rules) {
            tell(&rules.workspace, &rules.scope, flow.as_str(), &nothing)?;
        }
    }
    for (group, states) in &counts.jobs {
        let flow = group.flow.map_or(NONE, Flow::as_str);
        // The store names an activation by what the client called it once its workspace is known; what has gone from
        // the configuration since goes on being told while it has jobs.
        tell(&group.workspace, &group.activation, flow, states)?;
    }
    Ok(())
}

/// The flows that events of an activation can start.
fn flows(rules: &Rules) -> impl Iterator<Item = Flow> {
    let first = rules.flow.map(|flow| match flow {
        ParticipationFlow::Email => Flow::Email,
        ParticipationFlow::Sms => Flow::Sms,
        ParticipationFlow::DoubleOptIn => Flow::DoubleOptIn,
    });
    let credit = rules.credit.as_ref().map(|_| Flow::Credit);
    let always = [Flow::Progress, Flow::Webhook];
    first.into_iter().chain(always).chain(credit)
}

fn queues(
    gauges: &Gauges,
    counts: &Counts,
    views: &[LaneView],
    now: Timestamp,
) -> Result<(), MetricsError> {
    let depth = gauges.family(
        "relay_queue_depth",
        "Due calls not yet answered.",
        &["workspace", "lane"],
    )?;
    let oldest = gauges.family(
        "relay_queue_oldest_seconds",
        "How long the first due call has been due.",
        &["workspace", "lane"],
    )?;
    let mut lanes: BTreeMap<&Lane, LaneCounts> = views
        .iter()
        .map(|view| (&view.lane, LaneCounts::default()))
        .collect();
    lanes.extend(counts.lanes.iter().map(|(lane, counts)| (lane, *counts)));
    for (lane, counts) in lanes {
        let labels = [&*lane.workspace, lane.kind.as_str()];
        let age = counts
            .oldest_due
            .map_or(0.0, |due| now.since(due).as_secs_f64());
        depth.set(&labels, counts.depth as f64)?;
        oldest.set(&labels, age)?;
    }
    Ok(())
}

fn held_activations(
    gauges: &Gauges,
    views: &[ActivationView],
    book: &RuleBook,
) -> Result<(), MetricsError> {
    let held = gauges.family(
        "relay_activation_held",
        "1 while nothing is asked for the jobs of this activation, for this reason.",
        &["workspace", "activation", "reason"],
    )?;
    for rules in book.activations().chain(book.contents()) {
        let view = views
            .iter()
            .find(|it| it.workspace == rules.workspace && it.activation == rules.scope);
        for reason in ActivationHoldReason::ALL {
            let holds = view.is_some_and(|view| view.hold.reason == reason);
            let labels = [&*rules.workspace, &*rules.scope, reason.as_str()];
            held.set(&labels, f64::from(u8::from(holds)))?;
        }
    }
    Ok(())
}

fn remaining(gauges: &Gauges, etas: &Etas) -> Result<(), MetricsError> {
    let by_lane = gauges.family(
        "relay_lane_eta_seconds",
        "How long the due calls take as things stand; +Inf: held or unanswered, NaN: not known yet.",
        &["workspace", "lane"],
    )?;
    let by_activation = gauges.family(
        "relay_activation_eta_seconds",
        "How long what is due takes as things stand, through all its lanes; +Inf and NaN as for lanes.",
        &["workspace", "activation"],
    )?;
    let number = |eta| match eta {
        Eta::In(seconds) => seconds,
        Eta::Unknown => f64::NAN,
        Eta::Never => f64::INFINITY,
    };
    for (lane, eta) in &etas.lanes {
        by_lane.set(&[&lane.workspace, lane.kind.as_str()], number(*eta))?;
    }
    for ((workspace, activation), row) in &etas.activations {
        by_activation.set(&[workspace, activation], number(row.eta))?;
    }
    Ok(())
}

fn budgets(gauges: &Gauges, views: &[LaneView]) -> Result<(), MetricsError> {
    let used = gauges.family(
        "relay_lane_budget_used_ratio",
        "How much of the lane's fullest window is used, from 0 to 1.",
        &["workspace", "lane"],
    )?;
    for view in views {
        let labels = [&*view.lane.workspace, view.lane.kind.as_str()];
        used.set(&labels, view.budget_used_ratio)?;
    }
    Ok(())
}

fn holds(gauges: &Gauges, views: &[LaneView]) -> Result<(), MetricsError> {
    let held = gauges.family(
        "relay_lane_held",
        "1 while the lane is not worked, for this reason.",
        &["workspace", "lane", "reason"],
    )?;
    for LaneView {
        lane, held: hold, ..
    } in views
    {
        for reason in HoldReason::ALL {
            let holds = hold.is_some_and(|hold| hold.reason == reason);
            let labels = [&*lane.workspace, lane.kind.as_str(), reason.as_str()];
            held.set(&labels, f64::from(u8::from(holds)))?;
        }
    }
    Ok(())
}
