//! HTTP as the clients need it: one request, one answer, and the difference between "never left" and "nobody knows".
//!
//! Invariants: the only file that names reqwest. What was asked for is sent at most once. An answer is never longer
//! than the caller's cap. No URL, header or body is in an error or in `Debug` output. Deliberately absent: redirects
//! (a 3xx is an answer like any other), proxies from the environment, cookies, compression, retries.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

pub use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use url::Url;

use crate::model::trace::{self, TraceContext};

/// How long an unused connection is kept. Shorter than what servers and load balancers keep (60 s and more), so that
/// a request seldom meets a connection that is just being closed: its outcome would be unknown.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// How often a silent HTTP/2 connection is asked whether it is alive, and how long it has to say so.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_WITHIN: Duration = Duration::from_secs(10);

/// How many characters of a cause are told.
const CAUSE_CHARS_MAX: usize = 120;

tokio::task_local! {
    /// The trace that requests of this task go on with.
    static TRACE: HeaderValue;
}

/// Lets every request that `work` makes go on with this trace: each says so in its `traceparent` (W3C Trace Context).
pub async fn in_trace<F: Future>(trace: Option<TraceContext>, work: F) -> F::Output {
    let value = trace.and_then(|trace| HeaderValue::from_str(&trace.to_string()).ok());
    match value {
        Some(value) => TRACE.scope(value, work).await,
        None => work.await,
    }
}

/// A pool of connections. Clones share it.
#[derive(Clone)]
pub struct Http {
    client: reqwest::Client,
}

/// TLS or the resolver could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client could not be set up")]
pub struct NotBuilt(#[source] reqwest::Error);

/// No answer, and what that means for the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Nothing arrived: no address, no connection, no TLS.
    #[error("not sent: {0}")]
    NotSent(String),
    /// It was, or may have been, sent; no answer came (time-out, reset).
    #[error("no answer: {0}")]
    Unknown(String),
}

/// What was asked for has not been fetched whole.
#[derive(Debug, thiserror::Error)]
pub enum NotFetched {
    /// There was no answer.
    #[error("{0}")]
    Unanswered(Trouble),
    /// The answer was good, and broke off.
    #[error("it broke off: {0}")]
    BrokenOff(Trouble),
    /// Whoever was handed its pieces took no more.
    #[error("{0}")]
    NotTaken(std::io::Error),
}

/// What came back.
pub struct RawAnswer {
    /// HTTP status, whatever it is.
    pub status: u16,
    /// The body, at most the cap.
    pub body: Vec<u8>,
    /// `false`: there was, or would have been, more of the body than is here.
    pub whole: bool,
    headers: HeaderMap,
}

impl Http {
    /// A pool that keeps up to `max_in_flight` connections for each host. A connection that does not stand (name, TCP,
    /// TLS) after `connect_within` is [`Trouble::NotSent`]; keep it well below the time-outs of requests, which are
    /// [`Trouble::Unknown`].
    pub fn new(max_in_flight: usize, connect_within: Duration) -> Result<Http, NotBuilt> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .tcp_nodelay(true)
            .tcp_keepalive(PING_EVERY)
            .connect_timeout(connect_within)
            .pool_max_idle_per_host(max_in_flight)
            .pool_idle_timeout(IDLE_MAX)
            .http2_keep_alive_interval(PING_EVERY)
            .http2_keep_alive_timeout(PING_WITHIN)
            .build()
            .map_err(NotBuilt)?;
        Ok(Http { client })
    }

    /// Sends one request and reads its answer, at most `cap_bytes` of the body, all within `timeout` (real time).
    pub async fn request(
        &self,
        method: Method,
        url: &Url,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
        timeout: Duration,
        cap_bytes: usize,
    ) -> Result<RawAnswer, Trouble> {
        let mut request = self
            .client
            .request(method, url.clone())
            .timeout(timeout)
            .headers(header_map(headers)?);
        if let Ok(trace) = TRACE.try_with(HeaderValue::clone) {
            request = request.header(trace::HEADER, trace);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request.send().await.map_err(|error| trouble(&error))?;
        Ok(read(response, cap_bytes).await)
    }
}

impl Http {
    /// Posts an empty JSON object and hands the body of a 200 to `piece`, as it comes; of any other answer at most `cap_bytes` are
    /// kept. Each piece must come `within` (real time); what `piece` refuses ends it.
    pub async fn fetch(
        &self,
        url: &Url,
        headers: &[(&str, &str)],
        within: Duration,
        cap_bytes: usize,
        mut piece: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<RawAnswer, NotFetched> {
        let headers = header_map(headers).map_err(NotFetched::Unanswered)?;
        let request = self.client.post(url.clone()).headers(headers);
        let sent = within_time(within, request.body("{}").send()).await;
        let mut response = sent.map_err(NotFetched::Unanswered)?;
        if response.status().as_u16() != 200 {
            return Ok(read(response, cap_bytes).await);
        }
        loop {
            let chunk = within_time(within, response.chunk()).await;
            match chunk.map_err(NotFetched::BrokenOff)? {
                Some(chunk) => piece(&chunk).map_err(NotFetched::NotTaken)?,
                None => {
                    return Ok(RawAnswer {
                        status: 200,
                        body: Vec::new(),
                        whole: true,
                        headers: std::mem::take(response.headers_mut()),
                    });
                }
            }
        }
    }
}

async fn within_time<T>(
    within: Duration,
    asked: impl Future<Output = reqwest::Result<T>>,
) -> Result<T, Trouble> {
    match tokio::time::timeout(within, asked).await {
        Ok(answered) => answered.map_err(|error| trouble(&error)),
        Err(_) => Err(Trouble::Unknown("timed out".into())),
    }
}

/// Whether `value` can be sent as a header.
pub fn fits_a_header(value: &str) -> bool {
    HeaderValue::from_str(value).is_ok()
}

impl RawAnswer {
    /// The header `name` (lower case), trimmed; `None` also when it is empty or not text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let value = self.headers.get(name)?.to_str().ok()?.trim();
        (!value.is_empty()).then_some(value)
    }

    /// An answer as if it had come.
    #[cfg(test)]
    pub fn made(status: u16, headers: &[(&str, &str)], body: &str) -> RawAnswer {
        RawAnswer {
            status,
            body: body.into(),
            whole: true,
            headers: header_map(headers).unwrap_or_default(),
        }
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Http")
    }
}

impl fmt::Debug for RawAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawAnswer")
            .field("status", &self.status)
            .field("body_bytes", &self.body.len())
            .field("whole", &self.whole)
            .finish_non_exhaustive()
    }
}

fn header_map(headers: &[(&str, &str)]) -> Result<HeaderMap, Trouble> {
    let mut map = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let unfit = || Trouble::NotSent(format!("the value of header {name} cannot be sent"));
        let name = HeaderName::try_from(*name).map_err(|_| unfit())?;
        let mut value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| unfit())?;
        value.set_sensitive(name == AUTHORIZATION);
        map.append(name, value);
    }
    Ok(map)
}

/// Reads the body. What breaks off keeps its status: that is still what the other side said.
async fn read(mut response: reqwest::Response, cap_bytes: usize) -> RawAnswer {
    let mut answer = RawAnswer {
        status: response.status().as_u16(),
        body: Vec::new(),
        whole: false,
        headers: std::mem::take(response.headers_mut()),
    };
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                let room = cap_bytes - answer.body.len();
                answer
                    .body
                    .extend_from_slice(&chunk[..chunk.len().min(room)]);
                if chunk.len() > room {
                    return answer;
                }
            }
            Ok(None) => {
                answer.whole = true;
                return answer;
            }
            Err(_) => return answer,
        }
    }
}

fn trouble(error: &reqwest::Error) -> Trouble {
    if error.is_connect() || error.is_builder() {
        Trouble::NotSent(cause(error))
    } else if error.is_timeout() {
        Trouble::Unknown("timed out".into())
    } else {
        Trouble::Unknown(cause(error))
    }
}

/// The innermost cause: unlike the outer ones it never tells the URL.
fn cause(error: &reqwest::Error) -> String {
    let mut innermost = error.source();
    while let Some(next) = innermost.and_then(std::error::Error::source) {
        innermost = Some(next);
    }
    innermost.map_or_else(
        || "the request could not be made".into(),
        |cause| cause.to_string().chars().take(CAUSE_CHARS_MAX).collect(),
    )
}
