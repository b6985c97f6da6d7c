//! Replays: dead letters live again, paced, by the service itself.
//!
//! Invariants: a replay is a paper, so that it survives whatever the process does not. It takes only letters that had died
//! when it began. Whoever pauses or cancels it has the word at once: what is answered afterwards lets nothing live.

mod pace;
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
use super::dead::{parsed, resolved};
use super::problem::Problem;
use super::wire::{
    LetterRow, NewReplay, Preview, PreviewLane, Replay, ReplayPage, ReplayRow, ReplayState,
    USUAL_BUDGET, USUAL_STOP_AT,
};
use crate::flow;
use crate::flow::job::Start;
use crate::model::time::Timestamp;
use crate::store::{
    DeadFilter, DeadLetter, Operate, Page, Paper, REPLAYS_MAX, ReplayCounts, Shelf, Store,
    StoreError,
};

pub(super) use run::run;

/// How many letters are let live in one write, at most.
const SLICE: usize = 50;

/// How many letters one preview looks at.
const PREVIEW_MAX: usize = 1000;

/// How many of them it shows.
const SAMPLE: usize = 5;

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
                let replay: Replay = serde_json::from_str(paper.text()).map_err(|error| {
                    StoreError::Failed(format!("{} cannot be read: {error}", paper.name()))
                })?;
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
    let failed = |error: &dyn std::fmt::Display| StoreError::Failed(error.to_string());
    let text = serde_json::to_string(replay).map_err(|error| failed(&error))?;
    Paper::new(name(replay.number), text).map_err(|error| failed(&error))
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

/// `GET /api/v1/replays`.
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

/// `GET /api/v1/replays/{number}`.
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

/// `POST /api/v1/replays`: begins one.
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
    let mut kept = ops.office.replays.open(&ops.store).await?;
    let unfinished = kept.values_mut().filter(|it| !it.state.is_over()).count();
    if unfinished >= UNFINISHED_MAX {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            format!("{unfinished} replays are not over yet: cancel one first"),
        ));
    }
    let now = ops.clock.now();
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
        judged_from: (0, 0),
        ended_at: None,
    };
    let deed = deed("replay begin", &replay, ReplayCounts::default());
    let fits = paper(&replay)
        .map_err(|_| Problem::bad_request("the filter is too long to be kept: say less"))?;
    ops.note(&who, deed, vec![fits]).await?;
    let old = replay.number.checked_sub(REPLAYS_MAX);
    if let Some(old) = old.filter(|old| kept.all().contains_key(old)) {
        ops.store.put_papers(Vec::new(), vec![name(old)]).await?;
        kept.all().remove(&old);
    }
    kept.all().insert(replay.number, replay.clone());
    drop(kept);
    ops.office.replays.changed.notify_one();
    Ok(Json(ops.row(replay).await?))
}

/// `POST /api/v1/replays/{number}/pause`, `/resume` and `/cancel`.
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
    let mut kept = ops.office.replays.open(&ops.store).await?;
    let replay = kept.all().get_mut(&number).ok_or_else(unknown)?;
    if replay.state.is_over() || (to == ReplayState::Paused && replay.state != ReplayState::Running)
    {
        let state = replay.state.as_str();
        return Err(Problem::new(
            StatusCode::CONFLICT,
            format!("the replay is {state} already"),
        ));
    }
    let counts = ops.replay_counts(number).await?;
    let mut changed = replay.clone();
    changed.state = to;
    changed.why = None;
    if to == ReplayState::Running {
        changed.judged_from = (counts.delivered, counts.died);
    }
    changed.ended_at = to.is_over().then(|| ops.clock.now());
    let deed = deed(what, &changed, counts);
    ops.note(&who, deed, vec![paper(&changed)?]).await?;
    *replay = changed.clone();
    drop(kept);
    ops.office.replays.changed.notify_one();
    Ok(Json(row(changed, counts)))
}

/// `POST /api/v1/replays/preview`: what one slice of it would do; nothing is done.
pub(super) async fn preview<S: Store + Operate>(
    State(ops): State<Arc<Ops<S>>>,
    body: Bytes,
) -> Result<Json<Preview>, Problem> {
    let asked = read(&ops, &body)?;
    let now = ops.clock.now();
    let until = asked.filter.until.map_or(now, |until| until.min(now));
    let filter = DeadFilter {
        until: Some(until),
        ..asked.filter.filter()
    };
    let limit = asked.filter.limit.unwrap_or(PREVIEW_MAX).min(PREVIEW_MAX);
    let page = ops
        .store
        .dead_list(filter, asked.filter.after, limit.max(1))
        .await?;
    let mut preview = Preview {
        count: page.items.len() as u64,
        next: page.next,
        until: Some(until),
        ..Preview::default()
    };
    for letter in &page.items {
        *preview.by_reason.entry(letter.burial.reason).or_default() += 1;
        ops.foresee(letter, &asked, &mut preview, now);
    }
    let hash = |email: &str| ops.store.participant_hash(email);
    let first = page.items.iter().take(SAMPLE);
    preview.sample = first.map(|letter| LetterRow::of(letter, hash)).collect();
    Ok(Json(preview))
}

impl<S: Store + Operate> Ops<S> {
    /// Adds what would become of one letter.
    fn foresee(
        &self,
        letter: &DeadLetter,
        asked: &NewReplay,
        preview: &mut Preview,
        now: Timestamp,
    ) {
        let book = self.rules.borrow().clone();
        let (workspace, job) = (letter.workspace.as_ref(), letter.job.as_ref());
        let (lane, flow) =
            match flow::revive(&letter.event, workspace, letter.flow, job, &book, now) {
                Ok(Start::Run { lane, job }) => (lane, job.state.flow()),
                Ok(Start::Bury { burial, .. }) => {
                    *preview.still_dead.entry(burial.reason).or_default() += 1;
                    return;
                }
                Err(reason) => {
                    *preview.still_dead.entry(reason).or_default() += 1;
                    return;
                }
            };
        let lanes = self.desk.lanes();
        let way = pace::way(&lane, Some(flow), book.of(&letter.event));
        for (place, per_second) in pace::places(asked.rate, asked.budget, &way, &lanes) {
            let name = place
                .as_ref()
                .map_or("rate".to_owned(), ToString::to_string);
            let held = lanes
                .iter()
                .find(|view| Some(&view.lane) == place.as_ref())
                .and_then(|view| view.held)
                .map(|hold| hold.reason.as_str().to_owned());
            let row = preview.lanes.entry(name).or_insert(PreviewLane {
                letters: 0,
                per_second,
                held,
            });
            row.letters += 1;
        }
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
    asked.filter = resolved(&ops.store, asked.filter)?;
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
