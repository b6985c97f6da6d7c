//! HTTP in front of the world: connections that can be cut, routing, and the script's outages.
//!
//! Invariants: bodies are read and parsed, and answers written, outside the world's lock; nothing waits while holding it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body as HttpBody, to_bytes};
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use super::record::{OTHER_PATH, Seen};
use super::script::Instead;
use super::wire::{self, Answer, Asked, Body, Endpoint};
use super::world::BODY_BYTES_MAX;
use super::{Sandbox, ask};

/// So much of a body that is too long is read, so that the 413 arrives instead of a reset.
const BODY_BYTES_READ_MAX: usize = 4 * BODY_BYTES_MAX;
/// Pause after a failed accept: most of them mean too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until the sandbox stops.
pub async fn serve(listener: TcpListener, sandbox: Arc<Sandbox>) {
    let stop = sandbox.clone();
    let router = Router::new().fallback(handle).with_state(sandbox);
    let service = router.into_make_service_with_connect_info::<Line>();
    let serving = axum::serve(Lines(listener), service);
    let served = serving.with_graceful_shutdown(async move { stop.stopped().await });
    // It cannot fail: accept errors are waited out by `Lines`.
    drop(served.await);
}

/// Says of one connection whether it is to be cut.
#[derive(Clone, Debug, Default)]
struct Line(Arc<AtomicBool>);

impl Line {
    /// Whatever is written from now on breaks the connection.
    fn cut(&self) -> Response {
        self.0.store(true, Ordering::Release);
        Response::new(HttpBody::empty())
    }
}

struct Lines(TcpListener);

impl Listener for Lines {
    type Io = Cuttable;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Cuttable, SocketAddr) {
        loop {
            match self.0.accept().await {
                Ok((stream, peer)) => {
                    // Without it answers wait for acknowledgements; a socket that refuses is merely slow.
                    drop(stream.set_nodelay(true));
                    let line = Line::default();
                    return (Cuttable { stream, line }, peer);
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Connected<IncomingStream<'_, Lines>> for Line {
    fn connect_info(stream: IncomingStream<'_, Lines>) -> Line {
        stream.io().line.clone()
    }
}

/// A connection that is reset at the next write once its line is cut.
struct Cuttable {
    stream: TcpStream,
    line: Line,
}

impl Cuttable {
    fn whole(&self) -> io::Result<()> {
        if self.line.0.load(Ordering::Acquire) {
            // Closing then sends a reset instead of an orderly end.
            drop(self.stream.set_zero_linger());
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

impl AsyncRead for Cuttable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Cuttable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.whole()?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.whole()?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.whole()?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.whole()?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

async fn handle(
    State(sandbox): State<Arc<Sandbox>>,
    ConnectInfo(line): ConnectInfo<Line>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let query = parts.uri.query().unwrap_or_default();
    if let Some(question) = path.strip_prefix("/_sandbox") {
        return ask::answer(&sandbox, &parts.method, question, query, body).await;
    }
    let key = text(&parts.headers, "authorization").and_then(wire::bearer);
    let endpoint = match Endpoint::of(parts.method.as_str(), path) {
        Ok(endpoint) => endpoint,
        Err(answer) => {
            note(&sandbox, OTHER_PATH, key, &answer, false);
            return response(answer);
        }
    };
    let asked = Asked {
        endpoint,
        key,
        query,
        type_is_json: text(&parts.headers, "content-type").is_some_and(wire::is_json),
        agent_is_partner: text(&parts.headers, "user-agent").is_some_and(wire::is_partner),
        idempotency_key: text(&parts.headers, "idempotency-key"),
        accepted_at: text(&parts.headers, "x-relay-accepted-at"),
    };
    tokio::select! {
        answer = play(&sandbox, &asked, body) => answer.map_or_else(|| line.cut(), response),
        () = until_stopped_for_good(&sandbox) => line.cut(),
    }
}

/// Lets requests under way end; those that would never end are cut a little before the sandbox gives up on them.
async fn until_stopped_for_good(sandbox: &Sandbox) {
    sandbox.stopped().await;
    tokio::time::sleep(super::STOP_WITHIN / 2).await;
}

/// Answers as Braze or Quikly would, or `None`: closes the connection without an answer.
async fn play(sandbox: &Sandbox, asked: &Asked<'_>, body: HttpBody) -> Option<Answer> {
    let (effects, delay) = sandbox.world().begin(asked, sandbox.clock.now());
    if !delay.is_zero() {
        sandbox.clock.sleep(delay).await;
    }
    let path = asked.endpoint.path();
    match &effects.instead {
        None => {}
        Some(Instead::Status(status, retry_after)) => {
            let mut answer = Answer::message(*status, "The sandbox's script says so");
            let seconds = retry_after.map(|rest| ("retry-after", rest.as_secs().to_string()));
            answer.headers.extend(seconds);
            note(sandbox, path, asked.key, &answer, false);
            return Some(answer);
        }
        Some(instead) => {
            note(sandbox, path, asked.key, &Answer::message(0, ""), false);
            if *instead == Instead::Hang {
                std::future::pending::<()>().await;
            }
            return None;
        }
    }
    let body = read(body).await?;
    let (answer, latency) = {
        let mut world = sandbox.world();
        let now = sandbox.clock.now();
        let answer = world.answer(asked, body, &effects, now);
        let latency = match asked.endpoint {
            Endpoint::Quikly => world.pick(sandbox.options.quikly_latency),
            _ => Duration::ZERO,
        };
        (answer, latency)
    };
    note(sandbox, path, asked.key, &answer, effects.drop_answer);
    if !latency.is_zero() {
        sandbox.clock.sleep(latency).await;
    }
    (!effects.drop_answer).then_some(answer)
}

/// `None`: the client went away in the middle of it.
async fn read(body: HttpBody) -> Option<Body> {
    match to_bytes(body, BODY_BYTES_READ_MAX).await {
        Ok(bytes) if bytes.len() > BODY_BYTES_MAX => Some(Body::TooLong),
        Ok(bytes) => Some(serde_json::from_slice(&bytes).map_or(Body::Malformed, Body::Json)),
        Err(error) => {
            let source = std::error::Error::source(&error)?;
            source
                .is::<http_body_util::LengthLimitError>()
                .then_some(Body::TooLong)
        }
    }
}

fn note(
    sandbox: &Sandbox,
    path: &'static str,
    key: Option<&str>,
    answer: &Answer,
    answer_dropped: bool,
) {
    let at = sandbox.clock.now();
    let mut world = sandbox.world();
    let workspace = world.workspace_of(key).map(str::to_owned);
    world.record.add(Seen {
        at,
        workspace,
        path,
        status: answer.status,
        objects: answer.objects,
        answer_dropped,
        other: false,
    });
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn response(answer: Answer) -> Response {
    let mut response = Response::new(HttpBody::from(answer.body.to_string()));
    // Only a script can ask for a status that is none.
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    for (name, value) in answer.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    response
}
