//! Dead letters: list, show, replay.
//!
//! Invariants: whether and how a letter lives again is the flow's decision ([`flow::revive`]) by today's settings; under
//! the same id, so that what may happen once still happens once. One request looks at a bounded slice and says where to
//! go on. A replay of all takes only letters that had died when it began, so that it ends even where they die again.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use tokio::task::JoinSet;

use super::Ops;
use super::audit::{Deed, Who};
use super::problem::Problem;
use super::wire::{Letter, LetterPage, LetterRow, Replayed, StillDead, Which};
use crate::flow;
use crate::model::id::JobId;
use crate::store::{DeadLetter, Operate, Store, StoreError};

/// The letters of a page when nothing else is asked for.
const PAGE: usize = 100;

/// The most letters of one page, and the most that one request revives.
const PAGE_MAX: usize = 1000;

/// `GET /api/v1/dead`.
pub(super) async fn list<S: Store + Operate>(
    State(ops): State<Arc<Ops<S>>>,
    query: Result<Query<Which>, QueryRejection>,
) -> Result<Json<LetterPage>, Problem> {
    let Query(which) = query.map_err(|error| Problem::bad_request(error.body_text()))?;
    if which.all.is_some() || !which.ids.is_empty() {
        return Err(Problem::bad_request("`all` and `ids` are for a replay"));
    }
    let limit = limit(&which, PAGE)?;
    let page = page(&ops.store, &which, limit).await?;
    Ok(Json(LetterPage {
        items: page.0.iter().map(LetterRow::of).collect(),
        next: page.1,
    }))
}

/// `GET /api/v1/dead/{id}`.
pub(super) async fn show<S: Store + Operate>(
    State(ops): State<Arc<Ops<S>>>,
    Path(id): Path<String>,
) -> Result<Json<Letter>, Problem> {
    let id: JobId = id
        .parse()
        .map_err(|error| Problem::bad_request(format!("{error}")))?;
    let letter = ops.store.dead_get(id).await?.ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_FOUND,
            "no dead letter has this id (any more)",
        )
    })?;
    Ok(Json(Letter::of(&letter)))
}

/// `POST /api/v1/dead/replay`.
pub(super) async fn replay<S: Store + Operate>(
    State(ops): State<Arc<Ops<S>>>,
    Extension(who): Extension<Who>,
    body: Bytes,
) -> Result<Json<Replayed>, Problem> {
    let which: Which = serde_json::from_slice(&body)
        .map_err(|error| Problem::bad_request(format!("the body cannot be read: {error}")))?;
    let named = serde_json::to_value(&which).unwrap_or_default();
    let answer = if which.all == Some(true) {
        replay_all(&ops, which).await?
    } else {
        replay_ids(&ops, which).await?
    };
    tracing::info!(
        revived = answer.revived,
        still_dead = answer.still_dead.len(),
        not_found = answer.not_found.len(),
        "dead letters were replayed"
    );
    let deed = Deed {
        what: "dead replay",
        which: named,
        counts: vec![
            ("revived", answer.revived),
            ("still_dead", answer.still_dead.len() as u64),
            ("not_found", answer.not_found.len() as u64),
        ],
        outcome: "done".into(),
        ..Deed::default()
    };
    ops.note(&who, deed, Vec::new()).await?;
    Ok(Json(answer))
}

async fn replay_all<S: Store + Operate>(ops: &Ops<S>, which: Which) -> Result<Replayed, Problem> {
    if !which.ids.is_empty() {
        return Err(Problem::bad_request("give either `ids` or `all`"));
    }
    let until = which.until.unwrap_or_else(|| ops.clock.now());
    let which = Which {
        until: Some(until),
        ..which
    };
    let limit = limit(&which, PAGE_MAX)?;
    let (letters, next) = page(&ops.store, &which, limit).await?;
    let answer = revive(ops, letters).await?;
    Ok(Replayed {
        next,
        until: Some(until),
        ..answer
    })
}

async fn replay_ids<S: Store + Operate>(ops: &Ops<S>, which: Which) -> Result<Replayed, Problem> {
    let mut ids = which.ids.clone();
    let rest = Which {
        ids: Vec::new(),
        all: None,
        ..which
    };
    if rest != Which::default() {
        return Err(Problem::bad_request(
            "filters go with `all`, not with `ids`",
        ));
    }
    if ids.is_empty() || ids.len() > PAGE_MAX {
        return Err(Problem::bad_request(format!(
            "give `ids` (1 to {PAGE_MAX}) or `all`: true"
        )));
    }
    ids.sort_unstable();
    ids.dedup();
    let mut asked = JoinSet::new();
    for id in ids {
        let store = ops.store.clone();
        asked.spawn(async move { (id, store.dead_get(id).await) });
    }
    let mut letters = Vec::new();
    let mut not_found = Vec::new();
    while let Some(found) = asked.join_next().await {
        let (id, letter) = found.map_err(|_| StoreError::Closed)?;
        match letter? {
            Some(letter) => letters.push(letter),
            None => not_found.push(id),
        }
    }
    letters.sort_unstable_by_key(|letter| letter.id);
    let mut answer = revive(ops, letters).await?;
    answer.not_found.append(&mut not_found);
    answer.not_found.sort_unstable();
    Ok(answer)
}

/// Lets those of `letters` live that can.
async fn revive<S: Store + Operate>(
    ops: &Ops<S>,
    letters: Vec<DeadLetter>,
) -> Result<Replayed, Problem> {
    let book = ops.rules.borrow().clone();
    let now = ops.clock.now();
    let mut answer = Replayed::default();
    let mut starts = Vec::new();
    for letter in letters {
        let DeadLetter {
            id,
            workspace,
            flow,
            event,
            job,
            ..
        } = letter;
        match flow::revive(&event, workspace.as_ref(), flow, job.as_ref(), &book, now) {
            Ok(start) => starts.push((id, start)),
            Err(reason) => answer.still_dead.push(StillDead { id, reason }),
        }
    }
    let ids: Vec<JobId> = starts.iter().map(|(id, _)| *id).collect();
    if ids.is_empty() {
        return Ok(answer);
    }
    let revived = ops.store.revive(starts, now).await?;
    for (id, lives) in ids.into_iter().zip(revived) {
        if lives {
            answer.revived += 1;
        } else {
            answer.not_found.push(id);
        }
    }
    Ok(answer)
}

async fn page<S: Operate>(
    store: &S,
    which: &Which,
    limit: usize,
) -> Result<(Vec<DeadLetter>, Option<JobId>), Problem> {
    let page = store.dead_list(which.filter(), which.after, limit).await?;
    Ok((page.items, page.next))
}

fn limit(which: &Which, usual: usize) -> Result<usize, Problem> {
    match which.limit.unwrap_or(usual) {
        limit @ 1..=PAGE_MAX => Ok(limit),
        _ => Err(Problem::bad_request(format!(
            "`limit` is from 1 to {PAGE_MAX}"
        ))),
    }
}
