//! From a route and a whole body to what is to be stored for it.
//!
//! Invariants: what is stored for a body follows from the route, the headers that name an event, the body, the moment and
//! today's rules. A large body is parsed where nobody else waits for it. Of a lead's answers only the names that the
//! configuration gives them are logged.

use std::sync::Arc;

use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap};

use super::media::MediaType;
use super::parse::{self, Bounds};
use super::problem::Problem;
use super::{Ingest, http, lead, single, webhook};
use crate::flow::job::Seed;
use crate::flow::mapping;
use crate::model::event::{Event, Source};
use crate::model::rules::{Mapping, RuleBook};
use crate::store::Store;

/// Bodies up to this size are parsed where they are; larger ones on a thread that nobody else waits for. Bytes.
const PARSE_HERE_BYTES_MAX: usize = 128 * 1024;

/// Where a path leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route<'a> {
    /// `/v1/quikly/events`.
    Events,
    /// `/webhook/braze`.
    Webhook,
    /// `/v1/outgrow/{content}`.
    Lead(&'a str),
}

impl Route<'_> {
    pub(super) fn of(path: &str) -> Option<Route<'_>> {
        match path {
            "/v1/quikly/events" => Some(Route::Events),
            "/webhook/braze" => Some(Route::Webhook),
            _ => path
                .strip_prefix("/v1/outgrow/")
                .filter(|content| !content.is_empty() && !content.contains('/'))
                .map(Route::Lead),
        }
    }

    pub(super) const fn source(self) -> Source {
        match self {
            Route::Events => Source::Quikly,
            Route::Webhook => Source::Braze,
            Route::Lead(_) => Source::Outgrow,
        }
    }
}

/// What is to be stored for the body, by today's rules.
pub(super) async fn seeds<S: Store>(
    ingest: &Arc<Ingest<S>>,
    bounds: Bounds,
    route: Route<'_>,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Vec<Seed>, Problem> {
    let content_type = headers.get(CONTENT_TYPE);
    let media_type = MediaType::of(content_type.and_then(|value| value.to_str().ok()));
    let header_id = header_id(headers);
    if body.len() <= PARSE_HERE_BYTES_MAX {
        return plant(ingest, bounds, route, &body, media_type, header_id);
    }
    let ingest = ingest.clone();
    let header_id = header_id.map(str::to_owned);
    let content = match route {
        Route::Lead(content) => Some(content.to_owned()),
        Route::Events | Route::Webhook => None,
    };
    let is_webhook = route == Route::Webhook;
    let planting = move || {
        let route = match &content {
            Some(content) => Route::Lead(content),
            None if is_webhook => Route::Webhook,
            None => Route::Events,
        };
        plant(
            &ingest,
            bounds,
            route,
            &body,
            media_type,
            header_id.as_deref(),
        )
    };
    tokio::task::spawn_blocking(planting)
        .await
        .unwrap_or_else(|_| {
            Err(Problem::unavailable(
                "the relay is stopping; nothing was accepted",
                http::AGAIN_WHEN_FAILED,
            ))
        })
}

fn plant<S>(
    ingest: &Ingest<S>,
    bounds: Bounds,
    route: Route<'_>,
    body: &[u8],
    media_type: MediaType,
    header_id: Option<&str>,
) -> Result<Vec<Seed>, Problem> {
    let now = ingest.clock.now();
    let rules = ingest.rules.borrow().clone();
    let bytes_max = bounds.event_bytes_max;
    let events = match route {
        Route::Events => parse::events(body, media_type, header_id, bounds, now),
        Route::Webhook => single::read(body, bytes_max, Some(webhook::ESCAPE))
            .and_then(|single| webhook::event(&single, header_id, now))
            .map(|event| vec![event]),
        Route::Lead(content) => single::read(body, bytes_max, None).map(|single| {
            let mapping = mapping_of(&rules, content);
            if let Some(mapping) = mapping {
                tell_bad(content, &single, mapping);
            }
            vec![lead::event(&single, content, mapping, header_id, now)]
        }),
    };
    let events = events.map_err(|unfit| {
        let stated_otherwise = media_type == MediaType::Other;
        Problem::unfit(unfit, stated_otherwise, bounds.batch_max, bytes_max)
    })?;
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

fn mapping_of<'r>(rules: &'r RuleBook, content: &str) -> Option<&'r Mapping> {
    rules.content(content)?.mapping.as_ref()
}

/// Whoever keeps the mapping is told what it cannot use; the lead itself is accepted all the same.
fn tell_bad(content: &str, single: &single::Single<'_>, mapping: &Mapping) {
    let mapped = mapping::map(&single.value, mapping);
    if !mapped.bad.is_empty() {
        let bad = mapping::told(&mapped.bad);
        tracing::info!(
            content,
            bad,
            "a lead has answers that cannot be used as they are mapped"
        );
    }
}

/// The event's id where its body has none: Standard Webhooks' header, else the IETF draft's.
fn header_id(headers: &HeaderMap) -> Option<&str> {
    ["webhook-id", "idempotency-key"]
        .into_iter()
        .filter_map(|name| std::str::from_utf8(headers.get(name)?.as_bytes()).ok())
        .map(str::trim)
        .find(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn paths_lead_where_the_design_says_and_nowhere_else() {
        for (path, route) in [
            ("/v1/quikly/events", Some(Route::Events)),
            ("/webhook/braze", Some(Route::Webhook)),
            ("/webhook/braze/", None),
            ("/v1/outgrow/quiz", Some(Route::Lead("quiz"))),
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
                        HeaderName::from_static(name),
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
