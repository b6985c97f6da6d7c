//! One request, one response.
//!
//! Invariants: who may not post is told so before anything of the body is read; a body is read only when the store takes
//! new events, within a time and within a number of bytes, and what all requests together hold is bounded; 202 is said
//! only after the store said that the events are durable. Nothing of a body, a header or a store's error is logged here.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HeaderMap, HeaderValue,
};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::SemaphorePermit;
use tokio::time::timeout;

use super::plant::{self, Route};
use super::problem::Problem;
use super::{Ingest, trace};
use crate::store::{Appended, Store, StoreError};
use crate::telemetry::Intake;

/// What is reserved for a body of unknown length before any of it has come, and whenever more comes; bytes.
pub(super) const CHUNK_BYTES: usize = 16 * 1024;

/// How long, and how much, a body that nobody wants is read on, so that its sender gets to read the refusal instead of a
/// reset connection (RFC 9112 section 9.6).
const DISCARD_WITHIN: Duration = Duration::from_secs(5);
const DISCARD_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// When to come back: the queue is full and has to drain; many large bodies at once; the store has failed, or the process
/// is about to end.
const AGAIN_WHEN_FULL: Duration = Duration::from_secs(30);
const AGAIN_WHEN_CROWDED: Duration = Duration::from_secs(1);
pub(super) const AGAIN_WHEN_FAILED: Duration = Duration::from_secs(10);

/// Answers one request.
pub(super) async fn answer<S: Store>(
    ingest: &Arc<Ingest<S>>,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let (head, mut body) = request.into_parts();
    let Some(route) = Route::of(head.uri.path()) else {
        discard(&head.headers, body);
        return Problem::no_such_route().into_response();
    };
    if head.method != Method::POST {
        discard(&head.headers, body);
        return Problem::wrong_method().into_response();
    }
    let accepted = match take(ingest, route, &head, &mut body).await {
        Ok(accepted) => accepted,
        Err(problem) => {
            if !problem.closes() {
                discard(&head.headers, body);
            }
            let (intake, events) = problem.intake();
            ingest.metrics.intake(route.source(), intake, events);
            return problem.into_response();
        }
    };
    let duplicates = accepted.iter().filter(|one| one.duplicate).count();
    let new = accepted.len() - duplicates;
    for (intake, count) in [(Intake::Accepted, new), (Intake::Duplicate, duplicates)] {
        ingest.metrics.intake(route.source(), intake, count as u64);
    }
    receipt(&accepted, new, duplicates)
}

async fn take<S: Store>(
    ingest: &Arc<Ingest<S>>,
    route: Route<'_>,
    head: &Parts,
    body: &mut Incoming,
) -> Result<Vec<Appended>, Problem> {
    let authorization = head.headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
    if !ingest.doors.open(route.source(), authorization) {
        return Err(Problem::unauthorized());
    }
    if is_encoded(&head.headers) {
        return Err(Problem::encoded());
    }
    let stated = stated_length(&head.headers);
    if stated.is_some_and(|bytes| bytes > ingest.settings.max_body_bytes as u64) {
        return Err(Problem::body_too_large(ingest.settings.max_body_bytes));
    }
    ingest.store.admits().map_err(|error| refused(&error))?;

    let began = ingest.clock.now();
    let within = ingest.bounds.body_within;
    let (bytes, _held) = timeout(within, read(ingest, stated, body))
        .await
        .map_err(|_| Problem::too_slow(within))??;
    let mut seeds = plant::seeds(ingest, route, &head.headers, bytes).await?;
    let tracer = ingest.metrics.tracer();
    let mut spans = Vec::new();
    if tracer.is_on() {
        let rules = ingest.rules.borrow().clone();
        spans = trace::begin(tracer, &head.headers, &rules, &mut seeds, began);
    }
    let count = seeds.len();
    let accepted = ingest
        .store
        .append(seeds, ingest.clock.now())
        .await
        .map_err(|error| refused(&error).concerning(count))?;
    trace::end(tracer, spans, &accepted, ingest.clock.now());
    Ok(accepted)
}

/// The whole body, and the right to hold it in memory.
async fn read<'i, S>(
    ingest: &'i Ingest<S>,
    stated: Option<u64>,
    body: &mut Incoming,
) -> Result<(Bytes, SemaphorePermit<'i>), Problem> {
    let bytes_max = ingest.settings.max_body_bytes;
    let reserve = |bytes: usize| {
        ingest
            .memory
            .try_acquire_many(u32::try_from(bytes).unwrap_or(u32::MAX))
            .map_err(|_| {
                Problem::unavailable("too much is being posted at once", AGAIN_WHEN_CROWDED)
            })
    };
    let first = stated.map_or(CHUNK_BYTES, |bytes| {
        usize::try_from(bytes).unwrap_or(bytes_max)
    });
    let mut held = reserve(first)?;
    // The usual body is one frame, and is not copied.
    let mut whole = Bytes::new();
    let mut joined: Vec<u8> = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::broken_off())?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let so_far = whole.len() + joined.len() + data.len();
        if so_far > bytes_max {
            return Err(Problem::body_too_large(bytes_max));
        }
        let missing = so_far.saturating_sub(held.num_permits());
        if missing > 0 {
            held.merge(reserve(missing.max(CHUNK_BYTES))?);
        }
        if whole.is_empty() && joined.is_empty() {
            whole = data;
        } else {
            if joined.is_empty() {
                joined.reserve_exact(held.num_permits().max(so_far));
                joined.extend_from_slice(&std::mem::take(&mut whole));
            }
            joined.extend_from_slice(&data);
        }
    }
    if joined.is_empty() {
        Ok((whole, held))
    } else {
        Ok((Bytes::from(joined), held))
    }
}

fn receipt(accepted: &[Appended], new: usize, duplicates: usize) -> Response<Full<Bytes>> {
    let mut body = String::with_capacity(48 + accepted.len() * 39);
    // Writing to a String does not fail.
    let _ = write!(
        body,
        "{{\"accepted\":{new},\"duplicates\":{duplicates},\"ids\":["
    );
    for (index, one) in accepted.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let _ = write!(body, "{comma}\"{}\"", one.id);
    }
    body.push_str("]}");
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = StatusCode::ACCEPTED;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// 503 for whatever the store will not do. Only what clients can act on is told.
fn refused(error: &StoreError) -> Problem {
    match error {
        StoreError::Full(why) => Problem::unavailable(
            format!("the relay takes no new events for now: {why}"),
            AGAIN_WHEN_FULL,
        ),
        StoreError::Failed(_)
        | StoreError::Refused(_)
        | StoreError::Copy(_)
        | StoreError::Closed => Problem::unavailable(
            "the relay cannot store events now; none of these is known to be accepted",
            AGAIN_WHEN_FAILED,
        ),
    }
}

fn is_encoded(headers: &HeaderMap) -> bool {
    headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity") && !value.is_empty())
}

fn stated_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads on what is left of a body that was refused, within bounds. Not when the client waits to be told to send it.
fn discard(headers: &HeaderMap, mut body: Incoming) {
    if body.is_end_stream() || headers.contains_key(EXPECT) {
        return;
    }
    let reading = async move {
        let mut left = DISCARD_BYTES_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            let read = frame.data_ref().map_or(0, |data| data.len() as u64);
            match left.checked_sub(read) {
                Some(rest) => left = rest,
                None => break,
            }
        }
    };
    tokio::spawn(timeout(DISCARD_WITHIN, reading));
}
