//! `POST /api/v1/lanes/hold` and `/release`: operators hold lanes and activations, and end whatever hold there is.
//!
//! Invariants: nothing is held for ever by mistake: what has an end says so in the answer, and a restart ends all holds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};

use super::Ops;
use super::asked::parsed;
use super::audit::{Deed, Who, blotted};
use super::problem::Problem;
use super::wire::{LanesChanged, WhichLanes};
use crate::engine::Desk;
use crate::model::lane::{Lane, LaneKind};
use crate::store::{Operate, Store, StoreError};

/// What exactly is meant.
enum Target {
    Lane(String),
    Activation(String),
    All,
}

/// Why operators hold what they hold, by the lane's or the activation's name. As long as a hold, it ends with the process.
#[derive(Debug, Default)]
pub(super) struct Because(Mutex<BTreeMap<String, String>>);

impl Because {
    /// Why this lane or activation is held by hand.
    pub(super) fn of(&self, name: &str) -> Option<String> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(name).cloned()
    }

    /// From now on these are held, or not any more, for that.
    fn is(&self, changed: &LanesChanged, because: Option<&str>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for name in changed.lanes.iter().chain(&changed.activations) {
            match because {
                Some(because) => all.insert(name.clone(), because.to_owned()),
                None => all.remove(name),
            };
        }
    }
}

/// Holds lanes or an activation.
#[utoipa::path(
    post,
    path = "/api/v1/lanes/hold",
    operation_id = "lanes_hold",
    tag = "lanes",
    request_body = WhichLanes,
    responses((status = 200, description = "What is held now.", body = LanesChanged)),
)]
pub(super) async fn hold<S: Store + Operate>(
    State(ops): State<Arc<Ops<S>>>,
    Extension(who): Extension<Who>,
    body: Bytes,
) -> Result<Json<LanesChanged>, Problem> {
    let mut which: WhichLanes = parsed(&body)?;
    let because = which.because.take().map(|text| blotted(&text));
    let because = because.filter(|text| !text.is_empty());
    let until = match which.for_seconds {
        None => None,
        Some(0) => return Err(Problem::bad_request("`for_seconds` is at least 1")),
        Some(seconds) => Some(ops.clock.now() + Duration::from_secs(seconds)),
    };
    let office = ops.clone();
    let change = async move {
        let named = which.clone();
        let desk = &*ops.desk;
        let mut changed = match target(which)? {
            Target::Lane(name) => one_lane(name, |lane| desk.hold_lane(lane, until)),
            Target::Activation(scope) => {
                let known = desk.hold_activation(&scope, until);
                one_activation(scope, known)
            }
            Target::All => Ok(every_lane(desk, |lane| desk.hold_lane(lane, until))),
        }?;
        changed.until = until;
        ops.office.holds.is(&changed, because.as_deref());
        tell("held", &changed);
        note(&ops, &who, "lane hold", &named, because, &changed).await?;
        Ok(Json(changed))
    };
    office.to_the_end(change).await
}

/// Ends holds.
#[utoipa::path(
    post,
    path = "/api/v1/lanes/release",
    operation_id = "lanes_release",
    tag = "lanes",
    request_body = WhichLanes,
    responses((status = 200, description = "What is released now.", body = LanesChanged)),
)]
pub(super) async fn release<S: Store + Operate>(
    State(ops): State<Arc<Ops<S>>>,
    Extension(who): Extension<Who>,
    body: Bytes,
) -> Result<Json<LanesChanged>, Problem> {
    let which: WhichLanes = parsed(&body)?;
    if which.for_seconds.is_some() || which.because.is_some() {
        return Err(Problem::bad_request(
            "`for_seconds` and `because` are for a hold",
        ));
    }
    let office = ops.clone();
    let change = async move {
        let named = which.clone();
        let desk = &*ops.desk;
        let changed = match target(which)? {
            Target::Lane(name) => one_lane(name, |lane| desk.release_lane(lane)),
            Target::Activation(scope) => {
                let known = desk.release_activation(&scope);
                one_activation(scope, known)
            }
            Target::All => {
                let mut changed = every_lane(desk, |lane| desk.release_lane(lane));
                for view in desk.held_activations() {
                    if desk.release_activation(&view.activation) {
                        changed.activations.push(view.activation.to_string());
                    }
                }
                Ok(changed)
            }
        }?;
        ops.office.holds.is(&changed, None);
        tell("released", &changed);
        note(&ops, &who, "lane release", &named, None, &changed).await?;
        Ok(Json(changed))
    };
    office.to_the_end(change).await
}

async fn note<S: Store + Operate>(
    ops: &Ops<S>,
    who: &Who,
    what: &'static str,
    named: &WhichLanes,
    why: Option<String>,
    changed: &LanesChanged,
) -> Result<(), StoreError> {
    let until = changed.until.map(|until| format!("until {until}"));
    let deed = Deed {
        what,
        which: serde_json::to_value(named).unwrap_or_default(),
        why,
        counts: vec![
            ("lanes", changed.lanes.len() as u64),
            ("activations", changed.activations.len() as u64),
        ],
        outcome: until.unwrap_or_else(|| "done".into()),
    };
    ops.note(who, deed, Vec::new()).await
}

fn target(which: WhichLanes) -> Result<Target, Problem> {
    match (which.lane, which.activation, which.all) {
        (Some(name), None, None | Some(false)) => Ok(Target::Lane(name)),
        (None, Some(scope), None | Some(false)) => Ok(Target::Activation(scope)),
        (None, None, Some(true)) => Ok(Target::All),
        _ => Err(Problem::bad_request(
            "give one of `lane`, `activation` and `all`: true",
        )),
    }
}

fn one_lane(name: String, change: impl Fn(&Lane) -> bool) -> Result<LanesChanged, Problem> {
    let known = name.parse().is_ok_and(|lane| change(&lane));
    let lanes = known.then_some(name).into_iter().collect::<Vec<_>>();
    if lanes.is_empty() {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "there is no lane of this name; `lane list` shows all",
        ));
    }
    Ok(LanesChanged {
        lanes,
        ..LanesChanged::default()
    })
}

fn one_activation(scope: String, known: bool) -> Result<LanesChanged, Problem> {
    if !known {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "no activation or content of this name is configured",
        ));
    }
    Ok(LanesChanged {
        activations: vec![scope],
        ..LanesChanged::default()
    })
}

fn every_lane(desk: &dyn Desk, change: impl Fn(&Lane) -> bool) -> LanesChanged {
    let lanes = desk.lanes().into_iter().map(|view| view.lane);
    let lanes = lanes.filter(|lane| lane.kind != LaneKind::Held && change(lane));
    LanesChanged {
        lanes: lanes.map(|lane| lane.to_string()).collect(),
        ..LanesChanged::default()
    }
}

fn tell(what: &'static str, changed: &LanesChanged) {
    let (lanes, activations) = (changed.lanes.join(" "), changed.activations.join(" "));
    let until = changed.until.map(|until| until.to_string());
    tracing::info!(what, lanes, activations, until, "an operator changed holds");
}
