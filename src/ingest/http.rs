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

use super::Ingest;
use super::media::MediaType;
use super::parse::{self, Bounds};
use super::problem::Problem;
use crate::flow::job::Seed;
use crate::model::event::{Event, Source};
use crate::store::{Appended, Store, StoreError};
use crate::telemetry::Intake;

/// Bodies up to this size are parsed where they are; larger ones on a thread that nobody else waits for. Bytes.
const PARSE_HERE_BYTES_MAX: usize = 128 * 1024;

/// What is reserved for a body of unknown length before any of it has come, and whenever more comes; bytes.
pub(super) const CHUNK_BYTES: usize = 16 * 1024;

/// How long, and how much, a body that nobody wants is read on, so that its sender gets to read the refusal instead of a
/// reset connection (RFC 9112 section 9.6).
const DISCARD_WITHIN: Duration = Duration::from_secs(5);
const DISCARD_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// When to come back: the queue is full and has to drain; many large bodies at once; the store has failed and the process
/// is about to end; a route that only a newer relay serves.
const AGAIN_WHEN_FULL: Duration = Duration::from_secs(30);
const AGAIN_WHEN_CROWDED: Duration = Duration::from_secs(1);
const AGAIN_WHEN_FAILED: Duration = Duration::from_secs(10);
const AGAIN_WHEN_NEWER: Duration = Duration::from_mins(5);

/// Where a path leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    /// `/v1/quikly/events`.
    Events,
    /// `/v1/outgrow/{content}` and `/webhook/braze`: known, and not served by this version.
    NotYet(Source),
}

impl Route {
    fn of(path: &str) -> Option<Route> {
        match path {
            "/v1/quikly/events" => Some(Route::Events),
            "/webhook/braze" => Some(Route::NotYet(Source::Braze)),
            _ => path
                .strip_prefix("/v1/outgrow/")
                .filter(|content| !content.is_empty() && !content.contains('/'))
                .map(|_| Route::NotYet(Source::Outgrow)),
        }
    }

    const fn source(self) -> Source {
        match self {
            Route::Events => Source::Quikly,
            Route::NotYet(source) => source,
        }
    }
}

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
    route: Route,
    head: &Parts,
    body: &mut Incoming,
) -> Result<Vec<Appended>, Problem> {
    let authorization = head.headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
    if !ingest.doors.open(route.source(), authorization) {
        return Err(Problem::unauthorized());
    }
    if let Route::NotYet(_) = route {
        return Err(Problem::unavailable(
            "this version of the relay does not serve this route yet; nothing was accepted",
            AGAIN_WHEN_NEWER,
        ));
    }
    if is_encoded(&head.headers) {
        return Err(Problem::encoded());
    }
    let stated = stated_length(&head.headers);
    if stated.is_some_and(|bytes| bytes > ingest.settings.max_body_bytes as u64) {
        return Err(Problem::body_too_large(ingest.settings.max_body_bytes));
    }
    ingest.store.admits().map_err(|error| refused(&error))?;

    let within = ingest.bounds.body_within;
    let (bytes, _held) = timeout(within, read(ingest, stated, body))
        .await
        .map_err(|_| Problem::too_slow(within))??;
    let seeds = seeds(ingest, head, bytes).await?;
    let count = seeds.len();
    ingest
        .store
        .append(seeds, ingest.clock.now())
        .await
        .map_err(|error| refused(&error).concerning(count))
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

/// What is to be stored for the body, by today's rules.
async fn seeds<S: Store>(
    ingest: &Arc<Ingest<S>>,
    head: &Parts,
    body: Bytes,
) -> Result<Vec<Seed>, Problem> {
    let content_type = head.headers.get(CONTENT_TYPE);
    let media_type = MediaType::of(content_type.and_then(|value| value.to_str().ok()));
    let header_id = header_id(&head.headers);
    if body.len() <= PARSE_HERE_BYTES_MAX {
        return plant(ingest, &body, media_type, header_id);
    }
    let ingest = ingest.clone();
    let header_id = header_id.map(str::to_owned);
    let planting = move || plant(&ingest, &body, media_type, header_id.as_deref());
    tokio::task::spawn_blocking(planting)
        .await
        .unwrap_or_else(|_| {
            Err(Problem::unavailable(
                "the relay is stopping; nothing was accepted",
                AGAIN_WHEN_FAILED,
            ))
        })
}

fn plant<S>(
    ingest: &Ingest<S>,
    body: &[u8],
    media_type: MediaType,
    header_id: Option<&str>,
) -> Result<Vec<Seed>, Problem> {
    let bounds = Bounds {
        event_bytes_max: ingest.settings.max_event_bytes,
        batch_max: ingest.settings.max_batch,
    };
    let now = ingest.clock.now();
    let events = parse::events(body, media_type, header_id, bounds, now).map_err(|unfit| {
        Problem::unfit(
            unfit,
            media_type == MediaType::Other,
            bounds.batch_max,
            bounds.event_bytes_max,
        )
    })?;
    let rules = ingest.rules.borrow().clone();
    let seed = |event: Event| {
        let (start, further) = (ingest.decide)(&event, &rules, now);
        Seed {
            event,
            start,
            further,
        }
    };
    Ok(events.into_iter().map(seed).collect())
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
        StoreError::Failed(_) | StoreError::Refused(_) | StoreError::Closed => {
            Problem::unavailable(
                "the relay cannot store events now; none of these is known to be accepted",
                AGAIN_WHEN_FAILED,
            )
        }
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

/// The event's id where its body has none: Standard Webhooks' header, else the IETF draft's.
fn header_id(headers: &HeaderMap) -> Option<&str> {
    ["webhook-id", "idempotency-key"]
        .into_iter()
        .filter_map(|name| std::str::from_utf8(headers.get(name)?.as_bytes()).ok())
        .map(str::trim)
        .find(|id| !id.is_empty())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_where_the_design_says_and_nowhere_else() {
        for (path, route) in [
            ("/v1/quikly/events", Some(Route::Events)),
            ("/webhook/braze", Some(Route::NotYet(Source::Braze))),
            ("/v1/outgrow/quiz", Some(Route::NotYet(Source::Outgrow))),
            ("/v1/outgrow/", None),
            ("/v1/outgrow/quiz/more", None),
            ("/v1/quikly/events/", None),
            ("/", None),
        ] {
            assert_eq!(Route::of(path), route, "{path}");
        }
    }

    #[test]
    fn the_first_header_that_says_something_names_a_single_event() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            pairs
                .iter()
                .map(|(name, value)| {
                    (
                        hyper::header::HeaderName::from_static(name),
                        HeaderValue::from_static(value),
                    )
                })
                .collect::<HeaderMap>()
        };
        for (pairs, id) in [
            (
                &[("webhook-id", "w"), ("idempotency-key", "i")][..],
                Some("w"),
            ),
            (&[("webhook-id", " "), ("idempotency-key", "i")], Some("i")),
            (&[("idempotency-key", " i ")], Some("i")),
            (&[("x-request-id", "x")], None),
        ] {
            assert_eq!(header_id(&headers(pairs)), id);
        }
    }
}
