//! Dead letters: list, count, show, discard; and replay, of a few by their ids.
//!
//! Invariants: whether and how a letter lives again is the flow's decision ([`flow::revive`]) by today's settings; under
//! the same id, so that what may happen once still happens once. No letter is changed without an entry in the audit, in the
//! same write. One request looks at a bounded slice and says where to go on.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::{Extension, Json};

use super::Ops;
use super::asked::{kept, parsed, resolved};
use super::audit::{Deed, Who};
use super::problem::Problem;
use super::wire::{
    Discard, Discarded, Ids, Letter, LetterCounts, LetterPage, LetterRow, Replayed, StillDead,
    Which,
};
use crate::flow;
use crate::flow::job::{Reason, Start};
use crate::model::id::JobId;
use crate::model::rules::RuleBook;
use crate::model::time::Timestamp;
use crate::store::{Counts, DeadLetter, Operate, Page, Store};
use crate::telemetry::NONE;

/// The letters of a page when nothing else is asked for.
const PAGE: usize = 100;

/// The most letters of one page, and the most that one request changes.
const PAGE_MAX: usize = 1000;

/// So many letters are let live, or discarded, in one write: the store has others to serve, and one entry in the audit
/// names them all.
const SLICE: usize = 50;

/// The most characters of what says why.
const BECAUSE_CHARS_MAX: usize = 300;

/// Dead letters that match.
#[utoipa::path(
    get,
    path = "/api/v1/dead",
    operation_id = "dead_list",
    tag = "dead letters",
    params(Which),
    responses((status = 200, description = "A page, the oldest event first; people masked.", body = LetterPage)),
)]
pub(super) async fn list<S: Store + Operate>(
    State(ops): State<Arc<Ops<S>>>,
    query: Result<Query<Which>, QueryRejection>,
) -> Result<Json<LetterPage>, Problem> {
    let which = asked(&ops.store, query)?;
    let page = page(&ops.store, &which, PAGE).await?;
    let hash = |email: &str| ops.store.participant_hash(email);
    Ok(Json(LetterPage {
        items: page
            .items
            .iter()
            .map(|letter| LetterRow::of(letter, hash))
            .collect(),
        next: page.next,
    }))
}

/// How many match: from the store's own account where it has one, else of a slice.
#[utoipa::path(
    get,
    path = "/api/v1/dead/counts",
    operation_id = "dead_counts",
    tag = "dead letters",
    params(Which),
    responses((status = 200, description = "How many, by reason.", body = LetterCounts)),
)]
pub(super) async fn counts<S: Store + Operate>(
    State(ops): State<Arc<Ops<S>>>,
    query: Result<Query<Which>, QueryRejection>,
) -> Result<Json<LetterCounts>, Problem> {
    let which = asked(&ops.store, query)?;
    let at = ops.clock.now();
    if which.after.is_none() && is_counted(&which) {
        let counts = ops.counts().await?;
        return Ok(Json(LetterCounts {
            at,
            ..counted(&counts, &which)
        }));
    }
    let page = page(&ops.store, &which, PAGE_MAX).await?;
    let mut by_reason = BTreeMap::new();
    for letter in &page.items {
        *by_reason.entry(letter.burial.reason).or_default() += 1;
    }
    Ok(Json(LetterCounts {
        at,
        count: page.items.len() as u64,
        by_reason,
        next: page.next,
    }))
}

/// Whether the account tells these letters apart from others. Those of unknown workspaces stand there without a name.
fn is_counted(which: &Which) -> bool {
    let Which {
        workspace,
        activation,
        flow: _,
        reason: _,
        class,
        since,
        until,
        participant,
        text,
        after: _,
        limit: _,
    } = which;
    let named = match workspace.as_deref() {
        Some(NONE) => false,
        Some(_) => true,
        None => activation.is_none(),
    };
    let rest = (class, since, until, participant, text);
    named && rest == (&None, &None, &None, &None, &None)
}

fn counted(counts: &Counts, which: &Which) -> LetterCounts {
    let mut answer = LetterCounts::default();
    for ((group, reason), count) in &counts.dead {
        let is =
            |wanted: &Option<String>, name: &str| wanted.as_deref().is_none_or(|it| it == name);
        if is(&which.workspace, &group.workspace)
            && is(&which.activation, &group.activation)
            && which.flow.is_none_or(|flow| group.flow == Some(flow))
            && which.reason.is_none_or(|wanted| *reason == wanted)
            && *count > 0
        {
            answer.count += count;
            *answer.by_reason.entry(*reason).or_default() += count;
        }
    }
    answer
}

/// One dead letter, whole, with what was posted.
#[utoipa::path(
    get,
    path = "/api/v1/dead/{id}",
    operation_id = "dead_show",
    tag = "dead letters",
    params(("id" = JobId, Path, description = "Its id.")),
    responses((status = 200, description = "All of it.", body = Letter)),
)]
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
    let hash = |email: &str| ops.store.participant_hash(email);
    Ok(Json(Letter::of(&letter, hash)))
}

/// Lets single letters live again, at the step at which they died.
#[utoipa::path(
    post,
    path = "/api/v1/dead/replay",
    operation_id = "dead_replay",
    tag = "dead letters",
    request_body = Ids,
    responses((status = 200, description = "What came of it.", body = Replayed)),
)]
pub(super) async fn replay<S: Store + Operate>(
    State(ops): State<Arc<Ops<S>>>,
    Extension(who): Extension<Who>,
    body: Bytes,
) -> Result<Json<Replayed>, Problem> {
    let Ids { ids } = parsed(&body)?;
    let ids = distinct(ids)?;
    let office = ops.clone();
    let change = async move {
        let mut answer = Replayed::default();
        for some in ids.chunks(SLICE) {
            revive(&ops, &who, some, &mut answer).await?;
        }
        answer.not_found.sort_unstable();
        tracing::info!(
            revived = answer.revived,
            still_dead = answer.still_dead.len(),
            not_found = answer.not_found.len(),
            "dead letters were replayed"
        );
        Ok(Json(answer))
    };
    office.to_the_end(change).await
}

/// Discards letters for good, with a reason.
#[utoipa::path(
    post,
    path = "/api/v1/dead/discard",
    operation_id = "dead_discard",
    tag = "dead letters",
    request_body = Discard,
    responses((status = 200, description = "What came of it; by a filter a slice at a time.", body = Discarded)),
)]
pub(super) async fn discard<S: Store + Operate>(
    State(ops): State<Arc<Ops<S>>>,
    Extension(who): Extension<Who>,
    body: Bytes,
) -> Result<Json<Discarded>, Problem> {
    let asked: Discard = parsed(&body)?;
    let because = asked.because.trim().to_owned();
    if because.is_empty() || because.chars().count() > BECAUSE_CHARS_MAX {
        return Err(Problem::bad_request(format!(
            "`because` says why, for the audit, in {BECAUSE_CHARS_MAX} characters at most"
        )));
    }
    let mut answer = Discarded::default();
    let (ids, filter) = match asked.filter {
        Some(_) if !asked.ids.is_empty() => {
            return Err(Problem::bad_request("give either `ids` or `filter`"));
        }
        None => (distinct(asked.ids)?, None),
        Some(filter) => {
            let mut which = kept(&ops.store, filter)?;
            let until = which.until.unwrap_or_else(|| ops.clock.now());
            which.until = Some(until);
            let page = page(&ops.store, &which, PAGE_MAX).await?;
            (answer.next, answer.until) = (page.next, Some(until));
            let ids = page.items.iter().map(|letter| letter.id).collect();
            (ids, Some(which))
        }
    };
    let office = ops.clone();
    let change = async move {
        for some in ids.chunks(SLICE) {
            let mut which = serde_json::json!({ "ids": some });
            if let Some(filter) = &filter {
                which["filter"] = serde_json::json!(filter);
            }
            let deed = Deed {
                what: "dead discard",
                which,
                why: Some(because.clone()),
                outcome: "done".into(),
                ..Deed::default()
            };
            let note = ops.noting(&who, deed, |are_letters| {
                vec![("discarded", how_many(are_letters))]
            });
            let (note, now) = (note.await?, ops.clock.now());
            let gone = ops.store.discard_noting(some.to_vec(), note, now).await?;
            answer.discarded += how_many(&gone);
            if filter.is_none() {
                let missing = some.iter().zip(gone).filter(|(_, gone)| !gone);
                answer.not_found.extend(missing.map(|(id, _)| *id));
            }
        }
        let discarded = answer.discarded;
        tracing::info!(discarded, "dead letters were discarded");
        Ok(Json(answer))
    };
    office.to_the_end(change).await
}

fn how_many(of: &[bool]) -> u64 {
    of.iter().filter(|it| **it).count() as u64
}

/// Each once, in order.
fn distinct(mut ids: Vec<JobId>) -> Result<Vec<JobId>, Problem> {
    if ids.is_empty() || ids.len() > PAGE_MAX {
        return Err(Problem::bad_request(format!("give 1 to {PAGE_MAX} `ids`")));
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

fn asked<S: Operate>(
    store: &S,
    query: Result<Query<Which>, QueryRejection>,
) -> Result<Which, Problem> {
    let Query(which) = query.map_err(|error| Problem::bad_request(error.body_text()))?;
    resolved(store, which)
}

/// How a letter lives again by today's settings; why not, where it cannot.
pub(super) fn start_of(
    letter: &DeadLetter,
    book: &RuleBook,
    now: Timestamp,
) -> Result<Start, Reason> {
    let (workspace, job) = (letter.workspace.as_ref(), letter.job.as_ref());
    flow::revive(&letter.event, workspace, letter.flow, job, book, now)
}

/// Lets those of these live that can.
async fn revive<S: Store + Operate>(
    ops: &Ops<S>,
    who: &Who,
    ids: &[JobId],
    answer: &mut Replayed,
) -> Result<(), Problem> {
    let book = ops.rules.borrow().clone();
    let now = ops.clock.now();
    let (mut starts, mut still_dead, mut not_found) = (Vec::new(), Vec::new(), Vec::new());
    for &id in ids {
        let Some(letter) = ops.store.dead_get(id).await? else {
            not_found.push(id);
            continue;
        };
        match start_of(&letter, &book, now) {
            Ok(start) => starts.push((id, start)),
            Err(reason) => still_dead.push(StillDead { id, reason }),
        }
    }
    let deed = Deed {
        what: "dead replay",
        which: serde_json::json!({ "ids": ids }),
        outcome: "done".into(),
        ..Deed::default()
    };
    let (dead, gone) = (still_dead.len() as u64, not_found.len() as u64);
    let note = ops.noting(who, deed, move |are_letters| {
        let revived = how_many(are_letters);
        let gone = gone + are_letters.len() as u64 - revived;
        vec![
            ("revived", revived),
            ("still_dead", dead),
            ("not_found", gone),
        ]
    });
    let note = note.await?;
    let asked: Vec<JobId> = starts.iter().map(|(id, _)| *id).collect();
    let live = ops.store.revive_noting(None, starts, note, now).await?;
    answer.revived += how_many(&live);
    let missing = asked.into_iter().zip(live).filter(|(_, lives)| !lives);
    not_found.extend(missing.map(|(id, _)| id));
    answer.still_dead.append(&mut still_dead);
    answer.not_found.append(&mut not_found);
    Ok(())
}

/// The letters that are asked for.
async fn page<S: Operate>(
    store: &S,
    which: &Which,
    usual: usize,
) -> Result<Page<DeadLetter>, Problem> {
    let limit @ 1..=PAGE_MAX = which.limit.unwrap_or(usual) else {
        return Err(Problem::bad_request(format!(
            "`limit` is from 1 to {PAGE_MAX}"
        )));
    };
    Ok(store.dead_list(which.filter(), which.after, limit).await?)
}
