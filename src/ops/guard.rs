//! Who may: bearer tokens with roles, and what keeps web pages out.
//!
//! Invariants: tokens are compared in constant time, by digest; every token is tried, whichever matches. Without tokens
//! a request must name a loopback host (or none): a page whose name was rebound to this machine still says its own
//! name. Whatever changes something is JSON and comes from no other origin, so that no form and no foreign page can
//! send it. No token is kept in clear, printed or logged.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use tokio::sync::watch;

use super::audit::Who;
use super::problem::Problem;
use super::session::Sessions;
use crate::clock::Clock;
use crate::config::Role;

/// The digests of the tokens, with what they allow.
#[derive(Default)]
pub struct Tokens(Vec<(Digest, Role)>);

/// A token, or what stands for one, as it is kept.
pub(super) type Digest = [u8; 32];

impl Tokens {
    /// These tokens; without any, whoever is on this machine may everything.
    pub fn new(tokens: &[(SecretString, Role)]) -> Tokens {
        let known = tokens.iter();
        Tokens(
            known
                .map(|(token, role)| (digest(token.expose_secret().as_bytes()), *role))
                .collect(),
        )
    }

    /// Whether everybody on this machine may.
    pub(super) fn is_open(&self) -> bool {
        self.0.is_empty()
    }

    /// The role of the token with this digest, and its number among all, from 1.
    fn find(&self, token: &Digest) -> Option<(Role, usize)> {
        let known = self.0.iter().zip(1..);
        known.fold(None, |found, ((known, role), number)| {
            let same: bool = known.ct_eq(token).into();
            found.max(same.then_some((*role, number)))
        })
    }
}

/// Who may today, and who has signed in.
pub(super) struct Guard {
    tokens: watch::Receiver<Arc<Tokens>>,
    pub(super) sessions: Sessions,
    pub(super) clock: Clock,
}

/// Lets a request for what holds no data pass, or for signing in: without tokens only under a loopback name.
pub(super) async fn check_name(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Response {
    let named = guard
        .is_open()
        .then(|| only_loopback(request.uri().authority(), request.headers()));
    let changes = !request.method().is_safe();
    let checked = named.transpose().and_then(|_| {
        if changes {
            same_origin(request.headers())?;
            json(request.headers())?;
        }
        Ok(())
    });
    match checked {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// Lets a request pass or answers it.
pub(super) async fn check(
    State(guard): State<Arc<Guard>>,
    mut request: Request,
    next: Next,
) -> Response {
    let authority = request.uri().authority();
    match guard.admit(
        request.method(),
        request.uri().path(),
        authority,
        request.headers(),
    ) {
        Ok((who, role)) => {
            request.extensions_mut().insert(who);
            request.extensions_mut().insert(role);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

impl Guard {
    /// A guard who knows the tokens of the day.
    pub(super) fn new(tokens: watch::Receiver<Arc<Tokens>>, clock: Clock) -> Guard {
        Guard {
            tokens,
            sessions: Sessions::default(),
            clock,
        }
    }

    /// Whether everybody on this machine may.
    pub(super) fn is_open(&self) -> bool {
        self.tokens.borrow().is_open()
    }

    fn admit(
        &self,
        method: &Method,
        path: &str,
        authority: Option<&Authority>,
        headers: &HeaderMap,
    ) -> Result<(Who, Role), Problem> {
        let mut found = (Who("local".into()), Role::Operator);
        let changes = !method.is_safe();
        if self.is_open() {
            only_loopback(authority, headers)?;
        } else {
            let needed = needed(changes, path);
            match self.role(headers) {
                None => {
                    return Err(Problem::new(
                        StatusCode::UNAUTHORIZED,
                        "send `Authorization: Bearer` with one of ops.tokens, or sign in at /",
                    ));
                }
                Some((role, _)) if role < needed => {
                    return Err(Problem::new(
                        StatusCode::FORBIDDEN,
                        "this token may look, not change: its role is viewer, and this needs operator",
                    ));
                }
                Some((role, number)) => found = (Who::of(role, number), role),
            }
        }
        if changes {
            same_origin(headers)?;
            json(headers)?;
        }
        Ok(found)
    }

    /// Whether whoever sent these headers may still look.
    pub(super) fn still_admits(&self, headers: &HeaderMap) -> bool {
        self.is_open() || self.role(headers).is_some()
    }

    /// The role of the token, and its number among all, from 1.
    fn role(&self, headers: &HeaderMap) -> Option<(Role, usize)> {
        match headers.get(header::AUTHORIZATION) {
            Some(stated) => {
                let (_, role, number) = self.token(bearer(stated.as_bytes())?)?;
                Some((role, number))
            }
            None => self.session(headers),
        }
    }

    /// As [`Guard::role`], by the token that somebody signed in with. One that is no token any more has no sessions.
    pub(super) fn session(&self, headers: &HeaderMap) -> Option<(Role, usize)> {
        let token = self.sessions.of(headers, self.clock.now())?;
        self.tokens.borrow().find(&token)
    }

    /// This token as it is kept, its role, and its number among all, from 1.
    pub(super) fn token(&self, token: &[u8]) -> Option<(Digest, Role, usize)> {
        let token = digest(token);
        let (role, number) = self.tokens.borrow().find(&token)?;
        Some((token, role, number))
    }
}

/// What is posted and changes nothing: it is asked with more than belongs into an address.
const LOOKS: [&str; 2] = ["/api/v1/participants", "/api/v1/replays/preview"];

/// The role that a request needs.
pub(super) fn needed(posts: bool, path: &str) -> Role {
    if posts && !LOOKS.contains(&path) {
        Role::Operator
    } else {
        Role::Viewer
    }
}

fn digest(token: &[u8]) -> Digest {
    *blake3::hash(token).as_bytes()
}

/// The token, never an empty one, of a `Bearer` header (RFC 6750 section 2.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let value = value.trim_ascii();
    let space = value.iter().position(|byte| *byte == b' ')?;
    let (scheme, token) = value.split_at(space);
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer") && !token.is_empty()).then_some(token)
}

fn only_loopback(authority: Option<&Authority>, headers: &HeaderMap) -> Result<(), Problem> {
    let named = headers.get_all(header::HOST).iter();
    let hosts = named.map(|host| Authority::try_from(host.as_bytes()).ok());
    let loopback = |host: Option<Authority>| host.is_some_and(|host| is_loopback(host.host()));
    if hosts.chain(authority.cloned().map(Some)).all(loopback) {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "without ops.tokens the relay answers only to localhost or a loopback address as its host",
    ))
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Programs say no origin; a page must be one of ours.
fn same_origin(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let origin = origin.as_bytes();
    let from = origin
        .strip_prefix(b"http://")
        .or_else(|| origin.strip_prefix(b"https://"));
    let host = headers.get(header::HOST).map(HeaderValue::as_bytes);
    if from.is_some_and(|from| host.is_some_and(|host| from.eq_ignore_ascii_case(host))) {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "this came from a page of another origin",
    ))
}

fn json(headers: &HeaderMap) -> Result<(), Problem> {
    let stated = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(str::trim);
    if stated.is_some_and(|stated| stated.eq_ignore_ascii_case("application/json")) {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "send application/json",
    ))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;

    fn guard_of(tokens: &[(SecretString, Role)]) -> Guard {
        let tokens = watch::channel(Arc::new(Tokens::new(tokens))).1;
        Guard::new(tokens, Clock::system(1.0))
    }

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    fn verdict(guard: &Guard, method: &Method, pairs: &[(header::HeaderName, &str)]) -> u16 {
        match guard.admit(method, "/api/v1/dead/replay", None, &headers(pairs)) {
            Ok(_) => 200,
            Err(problem) => problem.into_response().status().as_u16(),
        }
    }

    #[test]
    fn without_tokens_only_loopback_names_are_answered() {
        let open = guard_of(&[]);
        for (host, status) in [
            ("localhost", 200),
            ("LOCALHOST:9090", 200),
            ("127.0.0.1:9090", 200),
            ("127.8.9.10", 200),
            ("[::1]:9090", 200),
            ("[::1]", 200),
            ("evil.example:9090", 403),
            ("localhost.evil.example", 403),
            ("127.0.0.1.evil.example", 403),
            ("192.168.0.7:9090", 403),
            ("0.0.0.0:9090", 403),
            ("[::]", 403),
            ("evil@localhost@evil.example", 403),
            ("", 403),
        ] {
            let said = verdict(&open, &Method::GET, &[(header::HOST, host)]);
            assert_eq!(said, status, "{host:?}");
        }
        assert_eq!(verdict(&open, &Method::GET, &[]), 200);
        let two = [(header::HOST, "localhost"), (header::HOST, "evil.example")];
        assert_eq!(verdict(&open, &Method::GET, &two), 403);
        let evil = "evil.example".parse().unwrap();
        let named = headers(&[(header::HOST, "localhost")]);
        assert!(
            open.admit(&Method::GET, "/metrics", Some(&evil), &named)
                .is_err()
        );
    }

    #[test]
    fn a_viewer_may_ask_by_post_what_changes_nothing() {
        let guard = guard_of(&[("look".into(), Role::Viewer)]);
        let asking = headers(&[
            (header::AUTHORIZATION, "Bearer look"),
            (header::CONTENT_TYPE, "application/json"),
        ]);
        for (path, may) in [
            ("/api/v1/participants", true),
            ("/api/v1/replays/preview", true),
            ("/api/v1/replays", false),
            ("/api/v1/participants/", false),
            ("/api/v1/forget", false),
        ] {
            let admitted = guard.admit(&Method::POST, path, None, &asking);
            assert_eq!(admitted.is_ok(), may, "{path}");
        }
    }

    #[test]
    fn what_changes_something_is_json_and_of_no_other_origin() {
        let open = guard_of(&[]);
        let kind = (header::CONTENT_TYPE, "application/json; charset=utf-8");
        let host = (header::HOST, "localhost:9090");
        for (rest, status) in [
            (vec![kind.clone()], 200),
            (vec![], 415),
            (vec![(header::CONTENT_TYPE, "text/plain")], 415),
            (vec![(header::CONTENT_TYPE, "application/jsonp")], 415),
            (
                vec![kind.clone(), (header::ORIGIN, "http://localhost:9090")],
                200,
            ),
            (
                vec![kind.clone(), (header::ORIGIN, "http://localhost:80")],
                403,
            ),
            (
                vec![kind.clone(), (header::ORIGIN, "https://evil.example")],
                403,
            ),
            (vec![kind, (header::ORIGIN, "null")], 403),
        ] {
            let pairs: Vec<_> = std::iter::once(host.clone()).chain(rest).collect();
            assert_eq!(verdict(&open, &Method::POST, &pairs), status, "{pairs:?}");
        }
    }

    #[test]
    fn with_tokens_a_viewer_looks_and_an_operator_changes() {
        let guard = guard_of(&[
            ("look".into(), Role::Viewer),
            ("act".into(), Role::Operator),
            ("both".into(), Role::Operator),
            ("both".into(), Role::Viewer),
        ]);
        for (authorization, get, post) in [
            ("Bearer look", 200, 403),
            ("bearer  act ", 200, 200),
            ("Bearer both", 200, 200),
            ("Bearer lo", 401, 401),
            ("Bearer looks", 401, 401),
            ("Bearer", 401, 401),
            ("Bearer ", 401, 401),
            ("Basic look", 401, 401),
            ("look", 401, 401),
        ] {
            let pairs = [
                (header::HOST, "relay.example"),
                (header::AUTHORIZATION, authorization),
                (header::CONTENT_TYPE, "application/json"),
            ];
            let said = [Method::GET, Method::POST].map(|method| verdict(&guard, &method, &pairs));
            assert_eq!(said, [get, post], "{authorization:?}");
        }
        assert_eq!(verdict(&guard, &Method::GET, &[]), 401);
    }
}
