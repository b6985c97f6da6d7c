//! Refusals as `application/problem+json` (RFC 9457).
//!
//! Invariants: whatever is refused is told so; every 401 says how to authenticate, every 503 when to come back.

use std::borrow::Cow;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::wire;
use crate::store::StoreError;
use crate::telemetry::MetricsError;

/// The media type of every refusal.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";

/// Why an operator was not answered.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    detail: Cow<'static, str>,
}

impl Problem {
    /// A refusal with this status; `detail` says what to do about it.
    pub(super) fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem {
            status,
            detail: detail.into(),
        }
    }

    /// 400.
    pub(super) fn bad_request(detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

impl From<MetricsError> for Problem {
    fn from(error: MetricsError) -> Problem {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

/// What was refused before one of ours saw it, as a problem too. The framework says it in words of its own, and as text.
pub(super) fn told(response: Response) -> Response {
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE);
    let is_text = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if status.as_u16() < 400 || !is_text {
        return response;
    }
    let detail = match status {
        StatusCode::PAYLOAD_TOO_LARGE => "the body is longer than 2 MB: ask in parts",
        _ => "the request cannot be read",
    };
    Problem::new(status, detail).into_response()
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or_default();
        let body = wire::Problem {
            r#type: "about:blank".to_owned(),
            title: title.to_owned(),
            status: self.status.as_u16(),
            detail: self.detail.into_owned(),
        };
        // Texts and a number: there is nothing in it that could not be written.
        let mut response = serde_json::to_vec(&body)
            .unwrap_or_default()
            .into_response();
        *response.status_mut() = self.status;
        let mut say = |name, value| {
            response
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        };
        say(header::CONTENT_TYPE, PROBLEM_JSON);
        if self.status == StatusCode::UNAUTHORIZED {
            say(header::WWW_AUTHENTICATE, "Bearer realm=\"braze-relay ops\"");
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            say(header::RETRY_AFTER, "5");
        }
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            say(header::RETRY_AFTER, "60");
        }
        response
    }
}
