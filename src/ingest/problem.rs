//! Refusals as `application/problem+json` (RFC 9457).
//!
//! Invariants: every 503 says when to come back, every 401 how to authenticate, every 405 what is allowed. What may
//! work later is never refused with another 4xx than 408: Braze repeats nothing else. Nothing of a body is repeated.

use std::borrow::Cow;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{
    ACCEPT_ENCODING, ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::check::Fault;
use super::parse::Unfit;
use crate::telemetry::Intake;

/// Why a request was not accepted.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    detail: Cow<'static, str>,
    faults: Vec<(usize, Fault)>,
    hint: Option<Hint>,
    events: u64,
}

/// What a client is told in a header.
#[derive(Clone, Copy, Debug)]
enum Hint {
    /// Only POST.
    Post,
    /// A bearer token is missing.
    Bearer,
    /// The connection ends here.
    Close,
    /// No compression.
    Plain,
    /// Come again after so many seconds.
    Again(u64),
}

impl Hint {
    fn header(self) -> (HeaderName, HeaderValue) {
        let (name, value) = match self {
            Hint::Post => (ALLOW, "POST"),
            Hint::Bearer => (WWW_AUTHENTICATE, "Bearer realm=\"braze-relay\""),
            Hint::Close => (CONNECTION, "close"),
            Hint::Plain => (ACCEPT_ENCODING, "identity"),
            Hint::Again(seconds) => return (RETRY_AFTER, HeaderValue::from(seconds)),
        };
        (name, HeaderValue::from_static(value))
    }
}

impl Problem {
    fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem {
            status,
            detail: detail.into(),
            faults: Vec::new(),
            hint: None,
            events: 1,
        }
    }

    fn with(self, hint: Hint) -> Problem {
        Problem {
            hint: Some(hint),
            ..self
        }
    }

    /// The same, concerning so many events.
    pub(super) fn concerning(self, events: usize) -> Problem {
        Problem {
            events: events as u64,
            ..self
        }
    }

    /// 404.
    pub(super) fn no_such_route() -> Problem {
        Problem::new(
            StatusCode::NOT_FOUND,
            "there is nothing here; POST goes to /v1/quikly/events, /v1/outgrow/CONTENT or /webhook/braze",
        )
    }

    /// 405.
    pub(super) fn wrong_method() -> Problem {
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, "only POST is allowed here").with(Hint::Post)
    }

    /// 401. The same for a wrong token and for a closed source: who has no token learns nothing.
    pub(super) fn unauthorized() -> Problem {
        Problem::new(
            StatusCode::UNAUTHORIZED,
            "send `Authorization: Bearer` with a token that is accepted for this source",
        )
        .with(Hint::Bearer)
    }

    /// 408.
    pub(super) fn too_slow(within: Duration) -> Problem {
        let detail = format!("the body did not arrive within {within:?}; send it again");
        Problem::new(StatusCode::REQUEST_TIMEOUT, detail).with(Hint::Close)
    }

    /// Whether the connection ends with it: nothing more is expected from there.
    pub(super) fn closes(&self) -> bool {
        self.status == StatusCode::REQUEST_TIMEOUT
    }

    /// 400 for a body that ended before its end; nobody is likely to read it.
    pub(super) fn broken_off() -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "the body broke off")
    }

    /// 413.
    pub(super) fn body_too_large(bytes_max: usize) -> Problem {
        let detail =
            format!("the body is larger than {bytes_max} bytes; send fewer events at once");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    }

    /// 415 for a compressed body (RFC 9110 section 15.5.16).
    pub(super) fn encoded() -> Problem {
        Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "compressed bodies are not taken; send the body without a content-encoding",
        )
        .with(Hint::Plain)
    }

    /// 503.
    pub(super) fn unavailable(detail: impl Into<Cow<'static, str>>, again_in: Duration) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            .with(Hint::Again(again_in.as_secs().max(1)))
    }

    /// 400, 413 or 415 for a body that cannot be taken. `stated_otherwise`: the request says that it is no JSON.
    pub(super) fn unfit(
        unfit: Unfit,
        stated_otherwise: bool,
        batch_max: usize,
        event_bytes_max: usize,
    ) -> Problem {
        match unfit {
            Unfit::NotJson(why) if stated_otherwise => Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                format!("send application/json or application/x-ndjson; the body is not JSON: {why}"),
            ),
            Unfit::NotJson(why) => Problem::new(
                StatusCode::BAD_REQUEST,
                format!(
                    "the body is not JSON: {why}; one event a line is taken as application/x-ndjson"
                ),
            ),
            Unfit::Empty => Problem::new(StatusCode::BAD_REQUEST, "there is no event in the body"),
            Unfit::TooMany => Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("there are more than {batch_max} events in the body"),
            ),
            Unfit::TooLarge => Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the event is larger than {event_bytes_max} bytes"),
            ),
            Unfit::Faulty { events, faults } => Problem {
                faults,
                ..Problem::new(
                    StatusCode::BAD_REQUEST,
                    "nothing was accepted: `errors` names every event that is wrong, by index from 0",
                )
                .concerning(events)
            },
        }
    }

    /// What is counted, and how often.
    pub(super) fn intake(&self) -> (Intake, u64) {
        let intake = match self.status {
            StatusCode::UNAUTHORIZED => Intake::Unauthorized,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::REQUEST_TIMEOUT => Intake::Unavailable,
            _ => Intake::Rejected,
        };
        (intake, self.events)
    }

    /// The answer.
    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let body = Body {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or_default(),
            status: self.status.as_u16(),
            detail: &self.detail,
            errors: self.faults.iter().map(Named::from).collect(),
        };
        // Texts, numbers and lists of them: there is nothing in it that could not be written.
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(hint) = self.hint {
            let (name, value) = hint.header();
            headers.insert(name, value);
        }
        response
    }
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'a str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Named<'a>>,
}

#[derive(Serialize)]
struct Named<'a> {
    index: usize,
    field: &'a str,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'a str>,
}

impl<'a> From<&'a (usize, Fault)> for Named<'a> {
    fn from((index, fault): &'a (usize, Fault)) -> Named<'a> {
        Named {
            index: *index,
            field: &fault.field,
            reason: &fault.reason,
            remedy: fault.remedy,
        }
    }
}
