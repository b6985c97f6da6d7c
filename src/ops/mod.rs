//! For operators: the second listener, with health, metrics and the API.
//!
//! Invariants: a reader costs the queue nothing but counts and bounded slices. Without tokens it is served on loopback
//! only, and only to who knows it by a loopback name (a web page that rebinds its own name gets nothing). Nothing
//! personal is in `/metrics`, in lists or in logs; a single dead letter is shown whole, since it must be understood and
//! put right. Decisions about jobs are the flow's, moving them is the store's.
//!
//! Deliberately absent: everything clients post (that is [`crate::ingest`]), TLS, CORS.

mod activations;
mod audit;
mod backup;
mod change;
mod config;
mod dead;
mod forget;
mod guard;
mod jobs;
mod lanes;
mod live;
mod metrics;
mod page;
mod participants;
mod problem;
mod replays;
mod schema;
mod session;
mod sheet;
mod status;
mod table;
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
use axum::routing::get;
use axum::{Extension, Json, Router};
use secrecy::SecretString;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::guard::Guard;
use self::problem::Problem;
use self::table::{Closed, Table};
use crate::clock::Clock;
use crate::config::{Part, Role};
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
    /// Today's configuration, as it is shown.
    pub effective: watch::Receiver<Arc<[Part]>>,
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
    let Closed {
        guarded,
        open,
        document,
    } = table().close(ops.version);
    let named = open
        .route("/", get(page::front))
        .route("/page/{name}", get(page::file))
        .layer(middleware::from_fn_with_state(
            guard.clone(),
            guard::check_name,
        ));
    let guarded = guarded
        .route("/metrics", get(metrics::scrape::<S>))
        .route("/api/v1/openapi.json", get(Json(document)))
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

/// What the API answers.
fn table<S: Store + Operate>() -> Table<Arc<Ops<S>>> {
    Table::new()
        .open(session::__path_login, session::login)
        .open(session::__path_logout, session::logout)
        .route(session::__path_me, session::me)
        .route(status::__path_status, status::status::<S>)
        .route(live::__path_live, live::live::<S>)
        .route(live::__path_history, live::history::<S>)
        .route(activations::__path_show, activations::show::<S>)
        .route(audit::__path_list, audit::list::<S>)
        .route(config::__path_show, config::show::<S>)
        .route(participants::__path_show, participants::show::<S>)
        .route(jobs::__path_list, jobs::list::<S>)
        .route(jobs::__path_show, jobs::show::<S>)
        .route(dead::__path_list, dead::list::<S>)
        .route(dead::__path_counts, dead::counts::<S>)
        .route(dead::__path_show, dead::show::<S>)
        .route(dead::__path_replay, dead::replay::<S>)
        .route(dead::__path_discard, dead::discard::<S>)
        .route(replays::__path_list, replays::list::<S>)
        .route(replays::__path_begin, replays::begin::<S>)
        .route(replays::__path_preview, replays::preview::<S>)
        .route(replays::__path_show, replays::show::<S>)
        .route(replays::__path_change, replays::change::<S>)
        .route(forget::__path_forget, forget::forget::<S>)
        .route(forget::__path_list, forget::list::<S>)
        .route(forget::__path_show, forget::show::<S>)
        .route(lanes::__path_hold, lanes::hold::<S>)
        .route(lanes::__path_release, lanes::release::<S>)
        .route(backup::__path_backup, backup::backup::<S>)
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
