//! Quikly: telling it that a participant did what the activation asks.
//!
//! Invariants: one request for each call, never repeated here. How Quikly answers is documented nowhere: every status
//! has a meaning, and a body has none but to be shown, redacted.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use url::Url;

use super::answer::{self, Redactor};
use super::http::{Http, Method, NotBuilt, RawAnswer};
use super::{Heard, connect_within};
use crate::clock::Clock;
use crate::config;
use crate::model::call::{Credit, Failure, Reply};
use crate::model::json::Object;
use crate::model::time::Timestamp;

/// How much of an answer is read.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// One workspace's Quikly. Clones share connections.
#[derive(Clone, Debug)]
pub struct Quikly {
    http: Http,
    url: Url,
    authorization: SecretString,
    token: SecretString,
    timeout: Duration,
    clock: Clock,
}

#[derive(Serialize)]
struct CreditBody<'a> {
    q_scope: &'a str,
    event: &'a str,
    email: &'a str,
    #[serde(flatten)]
    pairs: &'a Object,
}

impl Quikly {
    /// A pool of connections of its own, as `settings` say.
    pub fn new(settings: &config::Quikly, clock: Clock) -> Result<Quikly, NotBuilt> {
        Ok(Quikly {
            http: Http::new(settings.max_in_flight, connect_within(settings.timeout))?,
            url: settings.url.clone(),
            authorization: format!("Bearer {}", settings.token.expose_secret()).into(),
            token: settings.token.clone(),
            timeout: settings.timeout,
            clock,
        })
    }

    /// `POST` to the webhook URL.
    pub async fn credit(&self, credit: &Credit) -> Heard {
        let body = serde_json::to_vec(&CreditBody {
            q_scope: &credit.q_scope,
            event: &credit.event,
            email: &credit.email,
            pairs: &credit.pairs,
        })
        .unwrap_or_default();
        let accepted_at = credit.accepted_at.to_rfc3339();
        let headers = [
            ("authorization", self.authorization.expose_secret()),
            ("content-type", "application/json"),
            (
                "user-agent",
                concat!("braze-relay/", env!("CARGO_PKG_VERSION")),
            ),
            ("idempotency-key", &credit.idempotency_key),
            ("x-relay-accepted-at", &accepted_at),
        ];
        let asked = self
            .http
            .request(
                Method::POST,
                &self.url,
                &headers,
                Some(body),
                self.timeout,
                ANSWER_BYTES_MAX,
            )
            .await;
        let answer = match asked {
            Ok(answer) => answer,
            Err(trouble) => return Heard::silent(vec![Err(answer::unanswered(&trouble))]),
        };
        let mut redactor = Redactor::new(self.token.expose_secret());
        redactor.hide(&credit.email);
        let said = credited(&answer, &redactor, self.clock.now());
        Heard::told(vec![said], &answer)
    }
}

/// What an answer means. 409 is a repetition of a key whose first request is still being worked on: it will be decided
/// by then. 404 is an answer about the activation or the participant, as the URL is fixed; 405 and the like are about
/// the URL, and no job is lost for those; a body that is too large is so for ever. A gateway that gave up waiting does not
/// know whether it happened.
fn credited(answer: &RawAnswer, redactor: &Redactor, now: Timestamp) -> Result<Reply, Failure> {
    let said = || redactor.answer(answer.status, &answer::message(answer));
    Err(match answer.status {
        200..300 => return Ok(Reply::Credited),
        300..400 => answer::redirected(answer.status),
        400 | 404 | 410 | 413 | 414 | 422 | 431 | 451 => Failure::Rejected(said()),
        401 => answer::key_refused(),
        504 | 520 | 524 | 598 | 599 => Failure::Unknown(said()),
        408 | 409 | 423 | 425 | 500.. => Failure::Transient(said()),
        429 => answer::throttled(answer, redactor, now),
        _ => Failure::Denied(said()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(status: u16) -> &'static str {
        let answer = RawAnswer::made(status, &[], r#"{"error":"token T0ken of eve@example.com"}"#);
        match credited(&answer, &Redactor::new("T0ken"), Timestamp::ZERO) {
            Ok(reply) => {
                assert_eq!(reply, Reply::Credited);
                "credited"
            }
            Err(failure) => {
                let said = failure.answer();
                assert_eq!(said.status, Some(status));
                assert!(
                    !said.text.contains("T0ken") && !said.text.contains("eve@"),
                    "{}",
                    said.text
                );
                match failure {
                    Failure::Transient(_) => "transient",
                    Failure::Unknown(_) => "unknown",
                    Failure::Throttled { .. } => "throttled",
                    Failure::Rejected(_) => "rejected",
                    Failure::Denied(_) => "denied",
                    Failure::WrongGroup(_) => "wrong group",
                    Failure::Apart { .. } => "apart",
                }
            }
        }
    }

    #[test]
    fn every_status_has_one_meaning() {
        for (statuses, meaning) in [
            (&[200, 201, 202, 204][..], "credited"),
            (&[400, 404, 410, 413, 414, 422, 431, 451], "rejected"),
            (&[301, 302, 307, 401, 402, 403, 405, 406, 415], "denied"),
            (&[408, 409, 425, 500, 502, 503, 521, 522], "transient"),
            (&[504, 520, 524, 598, 599], "unknown"),
            (&[429], "throttled"),
        ] {
            for status in statuses {
                assert_eq!(class(*status), meaning, "{status}");
            }
        }
    }
}
