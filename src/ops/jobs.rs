//! Jobs that are not done: list and show.
//!
//! Invariants: nobody's whole address is told, not of a single job either. One request looks at a bounded slice and says
//! where to go on.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;

use super::Ops;
use super::asked::hashed;
use super::problem::Problem;
use super::wire::{JobHeld, JobPage, JobRow, JobShown, WhichJobs, lane_of};
use crate::engine::{ActivationView, LaneView};
use crate::flow;
use crate::flow::job::JobState;
use crate::model::id::JobId;
use crate::store::{Operate, Store, StoredJob};

/// The jobs of a page when nothing else is asked for.
const PAGE: usize = 100;

/// The most jobs of one page.
const PAGE_MAX: usize = 1000;

/// Jobs that live or are dead, and match.
#[utoipa::path(
    get,
    path = "/api/v1/jobs",
    operation_id = "job_list",
    tag = "jobs",
    params(WhichJobs),
    responses((status = 200, description = "A page, the oldest event first; people masked.", body = JobPage)),
)]
pub(super) async fn list<S: Store + Operate>(
    State(ops): State<Arc<Ops<S>>>,
    query: Result<Query<WhichJobs>, QueryRejection>,
) -> Result<Json<JobPage>, Problem> {
    let Query(which) = query.map_err(|error| Problem::bad_request(error.body_text()))?;
    Ok(Json(page(&ops, which).await?))
}

/// The jobs that are asked for, whichever way their participant is named.
pub(super) async fn page<S: Store + Operate>(
    ops: &Ops<S>,
    mut which: WhichJobs,
) -> Result<JobPage, Problem> {
    let limit @ 1..=PAGE_MAX = which.limit.unwrap_or(PAGE) else {
        return Err(Problem::bad_request(format!(
            "`limit` is from 1 to {PAGE_MAX}"
        )));
    };
    which.participant = hashed(&ops.store, which.participant)?;
    let (filter, now) = (which.filter(), ops.clock.now());
    let found = ops.store.job_list(filter, which.after, limit, now).await?;
    let holds = Holds::of(ops);
    let rows = found.items.iter().map(|job| row(ops, &holds, job));
    Ok(JobPage {
        items: rows.collect(),
        next: found.next,
    })
}

/// One job: how it got where it is, and what comes next.
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{id}",
    operation_id = "job_show",
    tag = "jobs",
    params(("id" = JobId, Path, description = "Its id.")),
    responses((status = 200, description = "All of it.", body = JobShown)),
)]
pub(super) async fn show<S: Store + Operate>(
    State(ops): State<Arc<Ops<S>>>,
    Path(id): Path<String>,
) -> Result<Json<JobShown>, Problem> {
    let id: JobId = id
        .parse()
        .map_err(|error| Problem::bad_request(format!("{error}")))?;
    let found = ops.store.job_get(id, ops.clock.now()).await?;
    let job = found.ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_FOUND,
            "no job that lives or is dead has this id: it is done, discarded or forgotten, or there never was one",
        )
    })?;
    let row = row(&ops, &Holds::of(&ops), &job);
    let plan = plan(&ops, &job, &row);
    Ok(Json(JobShown::of(row, job.job.as_ref(), plan)))
}

/// What is held at this moment.
struct Holds {
    lanes: Vec<LaneView>,
    activations: Vec<ActivationView>,
}

impl Holds {
    fn of<S>(ops: &Ops<S>) -> Holds {
        Holds {
            lanes: ops.desk.lanes(),
            activations: ops.desk.held_activations(),
        }
    }

    /// What keeps this job from being worked: the hold of its activation before that of its lane.
    fn over(&self, job: &StoredJob) -> Option<JobHeld> {
        let lane = lane_of(job)?;
        let activation = self
            .activations
            .iter()
            .find(|view| view.workspace == lane.workspace && *view.activation == *job.event.scope);
        if let Some(view) = activation {
            return Some(JobHeld {
                activation: Some(view.activation.to_string()),
                lane: None,
                reason: view.hold.reason.as_str().to_owned(),
                since: view.hold.since,
                until: view.hold.until,
            });
        }
        let view = self.lanes.iter().find(|view| view.lane == lane)?;
        let hold = view.held?;
        Some(JobHeld {
            activation: None,
            lane: Some(lane.to_string()),
            reason: hold.reason.as_str().to_owned(),
            since: hold.since,
            until: hold.until,
        })
    }
}

fn row<S: Store + Operate>(ops: &Ops<S>, holds: &Holds, job: &StoredJob) -> JobRow {
    let hash = |email: &str| ops.store.participant_hash(email);
    JobRow::of(job, hash, holds.over(job))
}

/// When it goes on, and what comes then.
fn plan<S: Store + Operate>(ops: &Ops<S>, job: &StoredJob, row: &JobRow) -> Vec<String> {
    let due = job.due.unwrap_or_default();
    let when = match (job.state, &row.held) {
        (JobState::Dead, _) => {
            "it is dead: nothing comes until `dead replay` lets it live again".to_owned()
        }
        (JobState::InFlight, _) => "its call is under way".to_owned(),
        (_, Some(held)) => {
            let what = held.activation.as_ref().map_or_else(
                || format!("lane {}", held.lane.as_deref().unwrap_or_default()),
                |activation| format!("activation {activation}"),
            );
            let until = held.until;
            let until = until.map_or("until it is released".into(), |it| format!("until {it}"));
            format!("it waits: {what} is held ({}) {until}", held.reason)
        }
        (JobState::Waiting, None) if job.is_behind => {
            "it waits until an earlier job of its participant comes to an end".to_owned()
        }
        (JobState::Waiting, None) => format!("it waits until {due}"),
        (JobState::Ready, None) => format!("it is due since {due}: its lane comes to it"),
    };
    let book = ops.rules.borrow().clone();
    let stands = job.job.as_ref().map(|job| &job.state);
    let steps = stands.map(|state| flow::plan(state, book.of(&job.event).map(|rules| &**rules)));
    let steps = steps.unwrap_or_else(|| vec!["it begins anew by today's configuration".to_owned()]);
    std::iter::once(when).chain(steps).collect()
}
