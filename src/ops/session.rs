//! Signing in with a browser: a token once, then a cookie that no script can read and no other site can send.
//!
//! Invariants: a session is known by the digest of a random number, lives in memory, at most [`LASTS`], and ends with the
//! process; at most [`SESSIONS_MAX`] of them. What it may do is what its token may today: nothing, where that is a token no
//! more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::json;

use super::audit::Who;
use super::dead::parsed;
use super::guard::{Digest, Guard};
use super::problem::Problem;
use super::wire::{Login, Me};
use crate::config::Role;
use crate::model::time::Timestamp;

/// How long a session lasts.
const LASTS: Duration = Duration::from_hours(12);

/// So many sessions at once; the oldest goes.
const SESSIONS_MAX: usize = 1000;

/// The cookie's name.
pub(super) const COOKIE: &str = "relay_session";

/// Everybody who is signed in.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<Digest, Session>>);

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
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let session = all.get(&key).filter(|session| session.until > now)?;
        Some(session.token)
    }

    fn end(&self, headers: &HeaderMap) {
        if let Some(value) = cookie(headers) {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.remove(&digest(value));
        }
    }
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

fn set(value: &str, seconds: u64) -> Result<HeaderValue, Problem> {
    let text = format!("{COOKIE}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}");
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
    body: Bytes,
) -> Result<Response, Problem> {
    // What cannot be read is not repeated: it may be a token.
    let Login { token } =
        parsed(&body).map_err(|_| Problem::bad_request("send {\"token\":\"…\"}"))?;
    let Some((token, role, number)) = guard.token(token.trim().as_bytes()) else {
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "no token of ops.tokens",
        ));
    };
    let value = guard.sessions.begin(token, guard.clock.now());
    let cookie = set(&value, LASTS.as_secs())?;
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
    Ok(([(header::SET_COOKIE, set("", 0)?)], Json(json!({}))).into_response())
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
