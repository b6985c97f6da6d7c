//! Coming in: the HTTP endpoint that clients post events to.
//!
//! # Invariants
//! * An event is answered 202 only after the store said that it would survive a power cut, and a body is accepted whole or
//!   not at all.
//! * What is held in memory for clients is bounded: connections, header bytes, and body bytes over all connections.
//! * A stop cuts no request that has begun: the listener closes, idle connections are closed, the others are answered and
//!   then closed.
//! * Everything that is wrong with a body is a plain value of [`parse`] and [`check`], which do no I/O.
//!
//! # Deliberately absent
//! No decision what an event starts: a function given from above does that. No routes for operators. No clock but the one
//! that is given. No other HTTP server: hyper is named in this folder and nowhere else.

mod auth;
mod check;
mod free;
mod http;
mod lead;
mod media;
mod parse;
mod plant;
mod problem;
mod single;
mod trace;
mod webhook;

use std::convert::Infallible;
use std::io::ErrorKind;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use backoff::backoff::Backoff;
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::auth::Doors;
use crate::clock::Clock;
use crate::config;
use crate::flow::job::Start;
use crate::model::event::Event;
use crate::model::rules::RuleBook;
use crate::model::time::Timestamp;
use crate::store::Store;
use crate::telemetry::Metrics;

/// What an event starts by these rules, and what it starts instead when its participant has taken part before. Pure.
pub type Decide = fn(&Event, &RuleBook, Timestamp) -> (Start, Option<Start>);

/// What clients may use of the process.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How long a connection may take to send a request's header, the wait for a next request included.
    pub head_within: Duration,
    /// How long a request may take to send its body.
    pub body_within: Duration,
    /// How many bytes of bodies are held at once, over all connections. Never less than one body of the largest size.
    pub memory_bytes: usize,
    /// How many connections are open at once; further ones wait in the system's backlog.
    pub connections: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds {
            head_within: Duration::from_mins(1),
            body_within: Duration::from_mins(1),
            memory_bytes: 64 * 1024 * 1024,
            connections: 4096,
        }
    }
}

/// The largest header a request may have, and the most that is read from a connection at once. Bytes.
const READ_BYTES_MAX: usize = 64 * 1024;

/// The waits after a failed accept: no file descriptors, no memory.
const ACCEPT_WAIT_FIRST: Duration = Duration::from_millis(5);
const ACCEPT_WAIT_MAX: Duration = Duration::from_secs(1);

/// Everything a request needs to be answered.
pub struct Ingest<S> {
    store: S,
    settings: config::Ingest,
    rules: watch::Receiver<Arc<RuleBook>>,
    metrics: Arc<Metrics>,
    clock: Clock,
    decide: Decide,
    bounds: Bounds,
    doors: Doors,
    memory: Semaphore,
}

impl<S: Store> Ingest<S> {
    /// An ingest into `store`. Whoever reloads the configuration sends the new rules through the other end of `rules`.
    pub fn new(
        store: S,
        settings: config::Ingest,
        rules: watch::Receiver<Arc<RuleBook>>,
        metrics: Arc<Metrics>,
        clock: Clock,
        decide: Decide,
    ) -> Ingest<S> {
        let ingest = Ingest {
            store,
            doors: Doors::new(&settings.tokens),
            settings,
            rules,
            metrics,
            clock,
            decide,
            bounds: Bounds::default(),
            memory: Semaphore::new(0),
        };
        ingest.within(Bounds::default())
    }

    /// The same within other bounds.
    #[must_use]
    pub fn within(self, bounds: Bounds) -> Ingest<S> {
        let largest = self
            .settings
            .max_body_bytes
            .saturating_add(http::CHUNK_BYTES);
        let bytes = bounds.memory_bytes.max(largest);
        Ingest {
            memory: Semaphore::new(bytes.min(Semaphore::MAX_PERMITS)),
            bounds,
            ..self
        }
    }
}

/// Serves `listener` until `stop` is done, then answers what has begun, for `stop_within` at most. Returns when the last
/// connection is closed.
pub async fn serve<S: Store>(
    listener: TcpListener,
    ingest: Arc<Ingest<S>>,
    stop: impl Future<Output = ()>,
    stop_within: Duration,
) {
    let stopping = watch::Sender::new(());
    let slots = Arc::new(Semaphore::new(ingest.bounds.connections));
    let mut connections = JoinSet::new();
    let mut accepting = Accepting::new(listener);
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            biased;
            () = &mut stop => break,
            (stream, slot) = accepting.next(&slots) => {
                connections.spawn(converse(stream, slot, ingest.clone(), stopping.subscribe()));
            }
        }
        while connections.try_join_next().is_some() {}
    }
    drop(accepting);
    stopping.send_replace(());
    let closing = async { while connections.join_next().await.is_some() {} };
    if timeout(stop_within, closing).await.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "the time to stop is over: connections that are still open are cut"
        );
        connections.shutdown().await;
    }
}

/// A listener that survives what accepting can fail of.
struct Accepting {
    listener: TcpListener,
    waits: ExponentialBackoff,
    failing: bool,
}

impl Accepting {
    fn new(listener: TcpListener) -> Accepting {
        let waits = ExponentialBackoffBuilder::new()
            .with_initial_interval(ACCEPT_WAIT_FIRST)
            .with_max_interval(ACCEPT_WAIT_MAX)
            .with_max_elapsed_time(None)
            .build();
        Accepting {
            listener,
            waits,
            failing: false,
        }
    }

    /// The next connection, with the slot it holds as long as it is open.
    async fn next(&mut self, slots: &Arc<Semaphore>) -> (TcpStream, Option<OwnedSemaphorePermit>) {
        // The semaphore is never closed, so the slot is always there.
        let slot = slots.clone().acquire_owned().await.ok();
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    if self.failing {
                        tracing::info!("connections are accepted again");
                        self.failing = false;
                        self.waits.reset();
                    }
                    return (stream, slot);
                }
                Err(error) if is_of_the_connection(error.kind()) => {}
                Err(error) => {
                    if !self.failing {
                        tracing::error!(%error, "connections cannot be accepted; trying again");
                        self.failing = true;
                    }
                    let wait = self.waits.next_backoff().unwrap_or(ACCEPT_WAIT_MAX);
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }
}

/// Whether accepting failed because of the one connection that was to be accepted.
fn is_of_the_connection(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted
    )
}

/// One connection from beginning to end.
async fn converse<S: Store>(
    stream: TcpStream,
    _slot: Option<OwnedSemaphorePermit>,
    ingest: Arc<Ingest<S>>,
    mut stopping: watch::Receiver<()>,
) {
    // Answers are small and whole; without this they wait for the client's acknowledgement.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| {
        let ingest = &ingest;
        async move { Ok::<_, Infallible>(http::answer(ingest, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(ingest.bounds.head_within)
        .keep_alive(true)
        // A client that has said all may close its side and still wants to hear the answer.
        .half_close(true)
        .pipeline_flush(true)
        .max_buf_size(READ_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        // What has arrived is read before a stop is heard.
        biased;
        ended = connection.as_mut() => ended,
        _ = stopping.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
