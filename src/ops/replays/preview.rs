//! What a replay would do.
//!
//! Invariants: nothing is done; one request looks at a bounded slice and says where to go on.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;

use super::super::Ops;
use super::super::dead::start_of;
use super::super::problem::Problem;
use super::super::wire::{LetterRow, NewReplay, Preview, PreviewLane};
use super::{pace, read};
use crate::flow::job::Start;
use crate::model::time::Timestamp;
use crate::store::{DeadFilter, DeadLetter, Operate, Store};

/// How many letters one preview looks at.
const PREVIEW_MAX: usize = 1000;

/// How many of them it shows.
const SAMPLE: usize = 5;

/// What one slice of a replay would do; nothing is done.
#[utoipa::path(
    post,
    path = "/api/v1/replays/preview",
    operation_id = "replay_preview",
    tag = "replays",
    request_body = NewReplay,
    responses((status = 200, description = "What a replay would do.", body = Preview)),
)]
pub(in crate::ops) async fn preview<S: Store + Operate>(
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
    let out = |letter: &DeadLetter| asked.filter.leaves_out(letter.burial.reason);
    let (left_out, letters): (Vec<_>, Vec<_>) = page.items.into_iter().partition(out);
    let mut preview = Preview {
        count: letters.len() as u64,
        left_out: left_out.len() as u64,
        next: page.next,
        until: Some(until),
        ..Preview::default()
    };
    for letter in &letters {
        *preview.by_reason.entry(letter.burial.reason).or_default() += 1;
        ops.foresee(letter, &asked, &mut preview, now);
    }
    let hash = |email: &str| ops.store.participant_hash(email);
    let first = letters.iter().take(SAMPLE);
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
        let (lane, flow) = match start_of(letter, &book, now) {
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
