//! Signing in with a browser: a token once, then a cookie that no script can read and no other site can send.
//!
//! Invariants: a session is known by the digest of a random number, lives in memory, at most [`LASTS`], and ends with the
//! process; at most [`SESSIONS_MAX`] of them. What it may do is what its token may today: nothing, where that is a token no
//! more. After [`WRONG_MAX`] wrong tokens within a minute nobody signs in until it is over; what brings its token with each
//! request is not held up by that.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::json;

use super::asked::parsed;
use super::audit::Who;
use super::guard::{Digest, Guard};
use super::problem::Problem;
use super::wire::{Login, Me};
use crate::config::Role;
use crate::model::time::Timestamp;

/// How long a session lasts.
const LASTS: Duration = Duration::from_hours(12);

/// So many sessions at once; the oldest goes.
const SESSIONS_MAX: usize = 1000;

/// So many wrong tokens within so long, then nobody is signed in until that is over.
const WRONG_MAX: u32 = 20;
const WRONG_WITHIN: Duration = Duration::from_mins(1);

/// The cookie's name.
pub(super) const COOKIE: &str = "relay_session";

/// Everybody who is signed in, and how many tried in vain.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    all: Mutex<HashMap<Digest, Session>>,
    wrong: Mutex<Wrong>,
}

/// Wrong tokens since so long.
#[derive(Debug, Default)]
struct Wrong {
    since: Timestamp,
    count: u32,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    token: Digest,
    until: Timestamp,
}

impl Sessions {
    /// A session of this token: the cookie's value.
    fn begin(&self, token: Digest, now: Timestamp) -> String {
        let value =
            uuid::Uuid::new_v4().simple().to_string() + &uuid::Uuid::new_v4().simple().to_string();
        let until = now + LASTS;
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, session| session.until > now);
        if all.len() >= SESSIONS_MAX {
            let oldest = all.iter().min_by_key(|(_, session)| session.until);
            if let Some(key) = oldest.map(|(key, _)| *key) {
                all.remove(&key);
            }
        }
        all.insert(digest(&value), Session { token, until });
        value
    }

    /// The token that the cookie stands for.
    pub(super) fn of(&self, headers: &HeaderMap, now: Timestamp) -> Option<Digest> {
        let key = digest(cookie(headers)?);
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let session = all.get(&key).filter(|session| session.until > now)?;
        Some(session.token)
    }

    /// Whether a token may be tried.
    fn may_try(&self, now: Timestamp) -> bool {
        let wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.count < WRONG_MAX || is_over(&wrong, now)
    }

    fn was_wrong(&self, now: Timestamp) {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if is_over(&wrong, now) {
            *wrong = Wrong {
                since: now,
                count: 0,
            };
        }
        wrong.count += 1;
    }

    fn end(&self, headers: &HeaderMap) {
        if let Some(value) = cookie(headers) {
            let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
            all.remove(&digest(value));
        }
    }
}

/// A browser says where its page came from, and a proxy in front that ends TLS leaves that as it is.
fn is_encrypted(headers: &HeaderMap) -> bool {
    let origin = headers.get(header::ORIGIN);
    origin.is_some_and(|origin| origin.as_bytes().starts_with(b"https://"))
}

/// Also where the clock was put back.
fn is_over(wrong: &Wrong, now: Timestamp) -> bool {
    now < wrong.since || now >= wrong.since + WRONG_WITHIN
}

fn digest(value: &str) -> Digest {
    *blake3::hash(value.as_bytes()).as_bytes()
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).iter();
    all.filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

/// The cookie; `encrypted`: the browser got here by TLS, and is to send it in no other way.
fn set(value: &str, seconds: u64, encrypted: bool) -> Result<HeaderValue, Problem> {
    let secure = if encrypted { "; Secure" } else { "" };
    let text =
        format!("{COOKIE}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}");
    HeaderValue::from_str(&text).map_err(|_| {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the cookie cannot be written",
        )
    })
}

/// Signs in with one of `ops.tokens`.
#[utoipa::path(
    post,
    path = "/api/v1/login",
    operation_id = "login",
    tag = "session",
    request_body = Login,
    responses((status = 200, description = "The role; the session is in a cookie.", body = Me)),
)]
pub(super) async fn login(
    Extension(guard): Extension<Arc<Guard>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    // What cannot be read is not repeated: it may be a token.
    let Login { token } =
        parsed(&body).map_err(|_| Problem::bad_request("send {\"token\":\"…\"}"))?;
    let now = guard.clock.now();
    if !guard.sessions.may_try(now) {
        return Err(Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too many wrong tokens within a minute: try again when it is over",
        ));
    }
    let Some((token, role, number)) = guard.token(token.trim().as_bytes()) else {
        guard.sessions.was_wrong(now);
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "no token of ops.tokens",
        ));
    };
    let value = guard.sessions.begin(token, now);
    let cookie = set(&value, LASTS.as_secs(), is_encrypted(&headers))?;
    let me = Me {
        who: Who::of(role, number).0,
        role: role.as_str().to_owned(),
        signed_in: true,
    };
    Ok(([(header::SET_COOKIE, cookie)], Json(me)).into_response())
}

/// Signs out.
#[utoipa::path(
    post,
    path = "/api/v1/logout",
    operation_id = "logout",
    tag = "session",
    responses((status = 200, description = "The session is over.")),
)]
pub(super) async fn logout(
    Extension(guard): Extension<Arc<Guard>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    guard.sessions.end(&headers);
    Ok((
        [(header::SET_COOKIE, set("", 0, is_encrypted(&headers))?)],
        Json(json!({})),
    )
        .into_response())
}

/// Who the relay takes you for.
#[utoipa::path(
    get,
    path = "/api/v1/me",
    operation_id = "me",
    tag = "session",
    responses((status = 200, description = "Who you are.", body = Me)),
)]
pub(super) async fn me(
    Extension(guard): Extension<Arc<Guard>>,
    Extension(who): Extension<Who>,
    Extension(role): Extension<Role>,
    headers: HeaderMap,
) -> Json<Me> {
    let session = guard.session(&headers);
    Json(Me {
        who: who.0,
        role: role.as_str().to_owned(),
        signed_in: session.is_some(),
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;

    fn noon() -> Timestamp {
        Timestamp::from_millis(1_795_770_600_000)
    }

    fn with(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let text = format!("other=1; {COOKIE}={value}; more=2");
        headers.append(header::COOKIE, text.parse().unwrap());
        headers
    }

    #[test]
    fn a_session_is_its_token_until_twelve_hours_are_over() {
        let sessions = Sessions::default();
        let (look, act) = (
            sessions.begin([2; 32], noon()),
            sessions.begin([1; 32], noon()),
        );
        assert_ne!(look, act);
        let last = noon() + LASTS - Duration::from_millis(1);
        assert_eq!(sessions.of(&with(&look), last), Some([2; 32]));
        assert_eq!(sessions.of(&with(&act), last), Some([1; 32]));
        assert_eq!(sessions.of(&with(&look), noon() + LASTS), None);
        for other in ["", "x", &look[1..], &format!("{look}0")] {
            assert_eq!(sessions.of(&with(other), noon()), None, "{other:?}");
        }
        assert_eq!(sessions.of(&HeaderMap::new(), noon()), None);
    }

    #[test]
    fn whoever_signs_out_is_out_and_nobody_else() {
        let sessions = Sessions::default();
        let one = sessions.begin([1; 32], noon());
        let other = sessions.begin([1; 32], noon());
        sessions.end(&with(&one));
        assert_eq!(sessions.of(&with(&one), noon()), None);
        assert!(sessions.of(&with(&other), noon()).is_some());
    }

    #[test]
    fn there_are_never_more_than_a_thousand_and_the_oldest_goes() {
        let sessions = Sessions::default();
        let at = |number: usize| noon() + Duration::from_millis(number as u64);
        let begun = (0..=SESSIONS_MAX).map(|number| sessions.begin([1; 32], at(number)));
        let begun: Vec<String> = begun.collect();
        let there = |value: &String| sessions.of(&with(value), noon()).is_some();
        assert!(!there(&begun[0]));
        assert!(begun[1..].iter().all(there));
    }

    #[test]
    fn after_twenty_wrong_tokens_none_is_tried_until_the_minute_is_over() {
        let sessions = Sessions::default();
        for _ in 0..WRONG_MAX {
            assert!(sessions.may_try(noon()));
            sessions.was_wrong(noon());
        }
        let last = noon() + WRONG_WITHIN - Duration::from_millis(1);
        assert!(!sessions.may_try(noon()) && !sessions.may_try(last));
        assert!(sessions.may_try(noon() + WRONG_WITHIN));
        sessions.was_wrong(noon() + WRONG_WITHIN);
        assert!(sessions.may_try(noon() + WRONG_WITHIN));
        let before = noon() - Duration::from_hours(1);
        assert!(sessions.may_try(before), "a clock that was put back");
    }

    #[test]
    fn no_script_reads_the_cookie_and_no_other_site_sends_it() {
        let encrypted = set("value", 60, true).unwrap();
        assert!(encrypted.to_str().unwrap().ends_with("; Secure"));
        let cookie = set("value", 60, false).unwrap();
        let text = cookie.to_str().unwrap();
        let mut parts = text.split("; ");
        assert_eq!(parts.next(), Some("relay_session=value"));
        let flags: Vec<&str> = parts.collect();
        assert_eq!(
            flags,
            ["Path=/", "HttpOnly", "SameSite=Strict", "Max-Age=60"]
        );
    }
}
