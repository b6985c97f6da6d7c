//! Replays: dead letters live again, paced, by the service itself.
//!
//! Invariants: a replay is a paper, so that it survives whatever the process does not. It takes only letters that had died
//! when it began, and none of `unknown_outcome` unless that is the reason it is asked for: what may have happened would
//! happen twice. Whoever pauses or cancels it has the word at once: what is answered afterwards lets nothing live.

mod pace;
mod preview;
mod run;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use tokio::sync::{Mutex, MutexGuard, Notify};

use super::Ops;
use super::audit::{Deed, Who};
use super::dead::{kept, parsed};
use super::problem::Problem;
use super::sheet;
use super::wire::{
    NewReplay, Replay, ReplayPage, ReplayRow, ReplayState, USUAL_BUDGET, USUAL_STOP_AT,
};
use crate::store::{
    DeadFilter, DeadLetter, Operate, Page, Paper, REPLAYS_MAX, ReplayCounts, Shelf, Store,
    StoreError,
};

pub(super) use preview::{__path_preview, preview};
pub(super) use run::run;

/// How many letters are let live in one write, at most.
const SLICE: usize = 50;

/// So many replays that are not over are enough.
const UNFINISHED_MAX: usize = 20;

/// How the names of their papers begin.
const PREFIX: &str = "replay/";

/// All replays there are, once they have been read; and who is told of changes.
#[derive(Debug, Default)]
pub(super) struct Replays {
    all: Mutex<Option<BTreeMap<u32, Replay>>>,
    changed: Notify,
}

/// All replays, by number.
struct Kept<'a>(MutexGuard<'a, Option<BTreeMap<u32, Replay>>>);

impl Kept<'_> {
    fn all(&mut self) -> &mut BTreeMap<u32, Replay> {
        self.0.get_or_insert_default()
    }

    fn values_mut(&mut self) -> impl Iterator<Item = &mut Replay> {
        self.all().values_mut()
    }
}

impl Replays {
    /// Everything about them; nobody else changes anything meanwhile.
    async fn open<S: Operate>(&self, store: &S) -> Result<Kept<'_>, StoreError> {
        let mut all = self.all.lock().await;
        if all.is_none() {
            let papers = store
                .papers(Shelf::of(PREFIX), REPLAYS_MAX as usize)
                .await?;
            let read = |paper: &Paper| {
                let replay: Replay = sheet::read(paper)?;
                Ok((replay.number, replay))
            };
            *all = Some(papers.iter().map(read).collect::<Result<_, StoreError>>()?);
        }
        Ok(Kept(all))
    }
}

fn name(number: u32) -> String {
    format!("{PREFIX}{number:010}")
}

fn paper(replay: &Replay) -> Result<Paper, StoreError> {
    sheet::write(name(replay.number), replay)
}

/// A replay that has just begun.
#[cfg(test)]
fn begun() -> Replay {
    Replay {
        number: 1,
        who: "local".into(),
        began_at: crate::model::time::Timestamp::ZERO,
        filter: super::wire::Which::default(),
        rate: None,
        budget: None,
        stop_at: USUAL_STOP_AT,
        expected: None,
        state: ReplayState::Running,
        why: None,
        cursor: None,
        still_dead: 0,
        left_out: 0,
        judged_from: (0, 0),
        ended_at: None,
    }
}

/// The next letters of a replay.
async fn page_of<S: Operate>(
    store: &S,
    replay: &Replay,
    limit: usize,
) -> Result<Page<DeadLetter>, StoreError> {
    let filter = DeadFilter {
        not_of: Some(replay.number),
        ..replay.filter.filter()
    };
    store.dead_list(filter, replay.cursor, limit).await
}

impl<S: Store + Operate> Ops<S> {
    async fn replay_counts(&self, number: u32) -> Result<ReplayCounts, StoreError> {
        let counts = self.store.replay_counts().await?;
        Ok(counts.get(&number).copied().unwrap_or_default())
    }

    async fn row(&self, replay: Replay) -> Result<ReplayRow, StoreError> {
        let counts = self.replay_counts(replay.number).await?;
        Ok(row(replay, counts))
    }
}

fn row(replay: Replay, counts: ReplayCounts) -> ReplayRow {
    let left = match replay.state {
        ReplayState::Finished => Some(0),
        _ => replay
            .expected
            .map(|expected| expected.saturating_sub(counts.revived + replay.still_dead)),
    };
    ReplayRow {
        revived: counts.revived,
        spawned: counts.spawned,
        delivered: counts.delivered,
        died_again: counts.died,
        living: counts.living(),
        left,
        replay,
    }
}

/// Replays.
#[utoipa::path(
    get,
    path = "/api/v1/replays",
    operation_id = "replay_list",
    tag = "replays",
    responses((status = 200, description = "The newest first.", body = ReplayPage)),
)]
pub(super) async fn list<S: Store + Operate>(
    State(ops): State<Arc<Ops<S>>>,
) -> Result<Json<ReplayPage>, Problem> {
    let counts = ops.store.replay_counts().await?;
    let mut kept = ops.office.replays.open(&ops.store).await?;
    let of = |number| counts.get(&number).copied().unwrap_or_default();
    let newest = kept.all().values().rev().cloned();
    Ok(Json(ReplayPage {
        items: newest
            .map(|replay| row(replay.clone(), of(replay.number)))
            .collect(),
    }))
}

/// One replay and how far it is.
#[utoipa::path(
    get,
    path = "/api/v1/replays/{number}",
    operation_id = "replay_show",
    tag = "replays",
    params(("number" = u32, Path, description = "Its number.")),
    responses((status = 200, description = "It.", body = ReplayRow)),
)]
pub(super) async fn show<S: Store + Operate>(
    State(ops): State<Arc<Ops<S>>>,
    Path(number): Path<String>,
) -> Result<Json<ReplayRow>, Problem> {
    let number = numbered(&number)?;
    let mut kept = ops.office.replays.open(&ops.store).await?;
    let replay = kept.all().get(&number).cloned().ok_or_else(unknown)?;
    drop(kept);
    Ok(Json(ops.row(replay).await?))
}

/// Begins a replay of all that match.
#[utoipa::path(
    post,
    path = "/api/v1/replays",
    operation_id = "replay_begin",
    tag = "replays",
    request_body = NewReplay,
    responses((status = 200, description = "It has begun.", body = ReplayRow)),
)]
pub(super) async fn begin<S: Store + Operate>(
    State(ops): State<Arc<Ops<S>>>,
    Extension(who): Extension<Who>,
    body: Bytes,
) -> Result<Json<ReplayRow>, Problem> {
    let asked = read(&ops, &body)?;
    if asked.filter.after.is_some() || asked.filter.limit.is_some() {
        return Err(Problem::bad_request(
            "`after` and `limit` are for a preview",
        ));
    }
    let office = ops.clone();
    office
        .to_the_end(async move { ops.begin_replay(&who, asked).await })
        .await
}

/// Pauses, resumes or cancels a replay.
#[utoipa::path(
    post,
    path = "/api/v1/replays/{number}/{what}",
    operation_id = "replay_change",
    tag = "replays",
    params(("number" = u32, Path, description = "Its number."), ("what" = String, Path, description = "`pause`, `resume` or `cancel`.")),
    responses((status = 200, description = "As it is now.", body = ReplayRow)),
)]
pub(super) async fn change<S: Store + Operate>(
    State(ops): State<Arc<Ops<S>>>,
    Extension(who): Extension<Who>,
    Path((number, what)): Path<(String, String)>,
) -> Result<Json<ReplayRow>, Problem> {
    let number = numbered(&number)?;
    let (what, to) = match what.as_str() {
        "pause" => ("replay pause", ReplayState::Paused),
        "resume" => ("replay resume", ReplayState::Running),
        "cancel" => ("replay cancel", ReplayState::Cancelled),
        _ => {
            return Err(Problem::new(
                StatusCode::NOT_FOUND,
                "pause, resume or cancel it",
            ));
        }
    };
    let office = ops.clone();
    office
        .to_the_end(async move { ops.change_replay(&who, number, what, to).await })
        .await
}

impl<S: Store + Operate> Ops<S> {
    /// Begins a replay.
    async fn begin_replay(&self, who: &Who, asked: NewReplay) -> Result<Json<ReplayRow>, Problem> {
        let mut kept = self.office.replays.open(&self.store).await?;
        let unfinished = kept.values_mut().filter(|it| !it.state.is_over()).count();
        if unfinished >= UNFINISHED_MAX {
            return Err(Problem::new(
                StatusCode::CONFLICT,
                format!("{unfinished} replays are not over yet: cancel one first"),
            ));
        }
        let now = self.clock.now();
        let last = kept.all().last_key_value().map_or(0, |(last, _)| *last);
        let budget = asked.rate.is_none().then_some(USUAL_BUDGET);
        let mut filter = asked.filter;
        filter.until = Some(filter.until.map_or(now, |until| until.min(now)));
        let replay = Replay {
            number: last + 1,
            who: who.0.clone(),
            began_at: now,
            filter,
            rate: asked.rate,
            budget: asked.budget.or(budget),
            stop_at: asked.stop_at.unwrap_or(USUAL_STOP_AT),
            expected: asked.expected,
            state: ReplayState::Running,
            why: None,
            cursor: None,
            still_dead: 0,
            left_out: 0,
            judged_from: (0, 0),
            ended_at: None,
        };
        let deed = deed("replay begin", &replay, ReplayCounts::default());
        let fits = paper(&replay)
            .map_err(|_| Problem::bad_request("the filter is too long to be kept: say less"))?;
        self.note(who, deed, vec![fits]).await?;
        kept.all().insert(replay.number, replay.clone());
        let old = replay.number.checked_sub(REPLAYS_MAX);
        if let Some(old) = old.filter(|old| kept.all().contains_key(old)) {
            self.store.put_papers(Vec::new(), vec![name(old)]).await?;
            kept.all().remove(&old);
        }
        drop(kept);
        self.office.replays.changed.notify_one();
        Ok(Json(self.row(replay).await?))
    }

    /// Pauses, resumes or cancels one.
    async fn change_replay(
        &self,
        who: &Who,
        number: u32,
        what: &'static str,
        to: ReplayState,
    ) -> Result<Json<ReplayRow>, Problem> {
        let mut kept = self.office.replays.open(&self.store).await?;
        let replay = kept.all().get_mut(&number).ok_or_else(unknown)?;
        if replay.state.is_over()
            || (to == ReplayState::Paused && replay.state != ReplayState::Running)
        {
            let state = replay.state.as_str();
            return Err(Problem::new(
                StatusCode::CONFLICT,
                format!("the replay is {state} already"),
            ));
        }
        let counts = self.replay_counts(number).await?;
        let mut changed = replay.clone();
        changed.state = to;
        changed.why = None;
        if to == ReplayState::Running {
            changed.judged_from = (counts.delivered, counts.died);
        }
        changed.ended_at = to.is_over().then(|| self.clock.now());
        let deed = deed(what, &changed, counts);
        self.note(who, deed, vec![paper(&changed)?]).await?;
        *replay = changed.clone();
        drop(kept);
        self.office.replays.changed.notify_one();
        Ok(Json(row(changed, counts)))
    }
}

fn read<S: Store + Operate>(ops: &Ops<S>, body: &[u8]) -> Result<NewReplay, Problem> {
    let mut asked: NewReplay = parsed(body)?;
    if asked.rate.is_some() && asked.budget.is_some() {
        return Err(Problem::bad_request("give either `rate` or `budget`"));
    }
    let part = |part: Option<f64>| part.is_none_or(|part| part > 0.0 && part <= 1.0);
    if !part(asked.budget) || !part(asked.stop_at) {
        return Err(Problem::bad_request(
            "`budget` and `stop_at` are above 0, and 1 at most",
        ));
    }
    if !asked.rate.is_none_or(|rate| rate > 0.0 && rate <= 1e6) {
        return Err(Problem::bad_request("`rate` is above 0: letters a second"));
    }
    asked.filter = kept(&ops.store, asked.filter)?;
    Ok(asked)
}

fn numbered(text: &str) -> Result<u32, Problem> {
    text.parse()
        .map_err(|_| Problem::bad_request("a replay is named by its number"))
}

fn unknown() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "there is no replay of this number (any more)",
    )
}

fn deed(what: &'static str, replay: &Replay, counts: ReplayCounts) -> Deed {
    Deed {
        what,
        which: serde_json::json!({
            "number": replay.number,
            "filter": replay.filter,
            "rate": replay.rate,
            "budget": replay.budget,
            "stop_at": replay.stop_at,
        }),
        counts: vec![
            ("revived", counts.revived),
            ("delivered", counts.delivered),
            ("died_again", counts.died),
        ],
        outcome: replay.state.as_str().to_owned(),
        ..Deed::default()
    }
}
