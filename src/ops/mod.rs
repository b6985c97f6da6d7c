//! For operators: the second listener, with health, metrics and the API.
//!
//! Invariants: a reader costs the queue nothing but counts and bounded slices. Without tokens it is served on loopback
//! only, and only to who knows it by a loopback name (a web page that rebinds its own name gets nothing). Nothing
//! personal is in `/metrics`, in lists or in logs; a single dead letter is shown whole, since it must be understood and
//! put right. Decisions about jobs are the flow's, moving them is the store's.
//!
//! Deliberately absent: everything clients post (that is [`crate::ingest`]), TLS, CORS.

mod audit;
mod backup;
mod change;
mod dead;
mod forget;
mod guard;
mod lanes;
mod live;
mod metrics;
mod page;
mod problem;
mod replays;
mod session;
mod sheet;
mod status;
pub mod wire;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use secrecy::SecretString;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::guard::Guard;
use self::problem::Problem;
use crate::clock::Clock;
use crate::config::Role;
use crate::engine::Desk;
use crate::model::rules::RuleBook;
use crate::store::{Counts, Operate, Store, StoreError};
use crate::telemetry::Metrics;

/// How long the store may take to tell its counts before it is said not to answer.
const COUNTS_WITHIN: Duration = Duration::from_secs(5);

/// How long what has begun may take once it is time to stop.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// Why the rest of the process does not work, the other listener above all; `None` while it does.
pub type Trouble = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// Everything operators are answered from.
pub struct Ops<S> {
    /// The queue.
    pub store: S,
    /// The time.
    pub clock: Clock,
    /// What has been counted.
    pub metrics: Arc<Metrics>,
    /// Today's settings: replays begin by them.
    pub rules: watch::Receiver<Arc<RuleBook>>,
    /// The engine.
    pub desk: Arc<dyn Desk>,
    /// What `/readyz` is told beside the store.
    pub trouble: Trouble,
    /// Who may; empty: everybody on this machine.
    pub tokens: Vec<(SecretString, Role)>,
    /// The relay's version.
    pub version: &'static str,
    /// What the listener itself remembers.
    pub office: Office,
}

/// What the listener remembers between two requests; [`Office::default`] at a start.
#[derive(Debug, Default)]
pub struct Office {
    audit: audit::Audit,
    changes: change::Changes,
    forgetting: forget::Desk,
    holds: lanes::Because,
    live: live::Seen,
    replays: replays::Replays,
}

/// Why operators are not served.
#[derive(Debug, thiserror::Error)]
pub enum OpsError {
    /// Everybody could replay.
    #[error("ops.tokens are required to listen on {0}, which is not on loopback")]
    Open(SocketAddr),
    /// The listener failed.
    #[error("the ops listener failed: {0}")]
    Listener(#[from] std::io::Error),
}

/// Serves `listener` until `stop` is done, then answers, and carries out, what has begun, for a second at most.
pub async fn serve<S: Store + Operate>(
    listener: TcpListener,
    ops: Arc<Ops<S>>,
    stop: impl Future<Output = ()>,
) -> Result<(), OpsError> {
    let local = listener.local_addr()?;
    if ops.tokens.is_empty() && !local.ip().is_loopback() {
        return Err(OpsError::Open(local));
    }
    ops.metrics
        .announce(ops.desk.lanes().iter().map(|view| &view.lane));
    // Dropped, and with it whatever replay or forgetting runs, when this returns.
    let mut working = JoinSet::new();
    working.spawn(replays::run(ops.clone()));
    working.spawn(forget::run(ops.clone()));
    working.spawn(live::run(ops.clone()));
    let (tell, mut told) = watch::channel(());
    let server = axum::serve(listener, router(ops.clone())).with_graceful_shutdown(async move {
        let _ = told.changed().await;
    });
    let mut server = pin!(server.into_future());
    tokio::select! {
        ended = &mut server => return Ok(ended?),
        () = stop => {
            drop(tell);
            working.abort_all();
        }
    }
    // Whoever is not done by then is cut: nothing here must keep the process from stopping.
    let closed = async {
        let ended = server.await;
        ops.office.changes.over().await;
        ended
    };
    match tokio::time::timeout(CLOSE_WITHIN, closed).await {
        Ok(ended) => Ok(ended?),
        Err(_) => Ok(()),
    }
}

fn router<S: Store + Operate>(ops: Arc<Ops<S>>) -> Router {
    let guard = Arc::new(Guard::new(&ops.tokens, ops.clock.clone()));
    let named = Router::new()
        .route("/", get(page::front))
        .route("/page/{name}", get(page::file))
        .route("/api/v1/login", post(session::login))
        .route("/api/v1/logout", post(session::logout))
        .layer(middleware::from_fn_with_state(
            guard.clone(),
            guard::check_name,
        ));
    let guarded = Router::new()
        .route("/api/v1/me", get(session::me))
        .route("/metrics", get(metrics::scrape::<S>))
        .route("/api/v1/status", get(status::status::<S>))
        .route("/api/v1/live", get(live::live::<S>))
        .route("/api/v1/history", get(live::history::<S>))
        .route("/api/v1/audit", get(audit::list::<S>))
        .route("/api/v1/dead", get(dead::list::<S>))
        .route("/api/v1/dead/counts", get(dead::counts::<S>))
        .route("/api/v1/dead/discard", post(dead::discard::<S>))
        .route(
            "/api/v1/replays",
            get(replays::list::<S>).post(replays::begin::<S>),
        )
        .route("/api/v1/replays/preview", post(replays::preview::<S>))
        .route("/api/v1/replays/{number}", get(replays::show::<S>))
        .route(
            "/api/v1/replays/{number}/{what}",
            post(replays::change::<S>),
        )
        .route("/api/v1/dead/replay", post(dead::replay::<S>))
        .route(
            "/api/v1/forget",
            post(forget::forget::<S>).get(forget::list::<S>),
        )
        .route("/api/v1/forget/{id}", get(forget::show::<S>))
        .route("/api/v1/lanes/hold", post(lanes::hold::<S>))
        .route("/api/v1/lanes/release", post(lanes::release::<S>))
        .route("/api/v1/backup", post(backup::backup::<S>))
        .route("/api/v1/dead/{id}", get(dead::show::<S>))
        .fallback(nowhere)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(guard.clone(), guard::check));
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz::<S>))
        .merge(named)
        .merge(guarded)
        .layer(Extension(guard))
        .layer(middleware::map_response(dress))
        .with_state(ops)
}

impl<S: Store> Ops<S> {
    /// How much there is of everything; an error when the store has failed or does not answer in time.
    async fn counts(&self) -> Result<Counts, StoreError> {
        let counts = self.store.counts(self.clock.now());
        match tokio::time::timeout(COUNTS_WITHIN, counts).await {
            Ok(counts) => counts,
            Err(_) => Err(StoreError::Failed(format!(
                "it has not answered for {COUNTS_WITHIN:?}"
            ))),
        }
    }
}

async fn livez() -> &'static str {
    "ok\n"
}

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    reasons: Vec<String>,
    /// Nothing that makes it unready: why new events are refused for now.
    #[serde(skip_serializing_if = "Option::is_none")]
    refusing: Option<String>,
}

async fn readyz<S: Store>(State(ops): State<Arc<Ops<S>>>) -> Response {
    let counted = ops.counts().await.err().map(|error| error.to_string());
    let reasons: Vec<String> = counted.into_iter().chain((ops.trouble)()).collect();
    let status = match reasons.as_slice() {
        [] => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let readiness = Readiness {
        ready: reasons.is_empty(),
        refusing: match ops.store.admits() {
            Err(full @ StoreError::Full(_)) => Some(full.to_string()),
            Ok(()) | Err(_) => None,
        },
        reasons,
    };
    (status, Json(readiness)).into_response()
}

async fn nowhere() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is nothing here; see /")
}

async fn wrong_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "this is not what can be done here",
    )
}

/// What every answer carries: people are in some of them, and no browser is to guess what they are.
async fn dress(response: Response) -> Response {
    let mut response = problem::told(response);
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        ),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}
