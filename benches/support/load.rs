//! Load over HTTP/1.1: keep-alive connections that each send, wait for the answer, and send again.
//!
//! Written by hand on one thread, so that most of the machine is left to what is measured: requests are prebuilt bytes
//! in which only the numbers change; of an answer only the status and the length are read. Anything but 202 ends it.

use std::cell::Cell;
use std::io::Write as _;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::figures::{Latencies, Window};
use super::people::{self, DIGITS};

/// A prebuilt request of one event, or of a JSON array of several.
#[derive(Clone)]
pub struct Prebuilt {
    bytes: Vec<u8>,
    /// For each event, where its number goes.
    places: Vec<Vec<usize>>,
}

impl Prebuilt {
    /// A request with so many events.
    pub fn new(events: usize, token: &str) -> Prebuilt {
        Prebuilt::named(events, token, people::SCOPE)
    }

    /// The same of another activation.
    pub fn named(events: usize, token: &str, scope: &str) -> Prebuilt {
        let template = people::template().replace(people::SCOPE, scope);
        let list = vec![template.as_str(); events].join(",");
        let (body, mut start) = match events {
            1 => (list, 0),
            _ => (format!("[{list}]"), 1),
        };
        let head = format!(
            "POST /v1/quikly/events HTTP/1.1\r\nhost: relay.example.com\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        start += head.len();
        let zeros = "0".repeat(DIGITS);
        let within = |event: usize| {
            template
                .match_indices(&zeros)
                .map(move |(at, _)| event + at)
        };
        let places = (0..events)
            .map(|index| within(start + index * (template.len() + 1)).collect())
            .collect();
        Prebuilt {
            bytes: [head, body].concat().into_bytes(),
            places,
        }
    }

    fn stamp(&mut self, next: &Cell<u64>) {
        for event in &self.places {
            let number = next.get();
            next.set(number + 1);
            for place in event {
                let mut room = &mut self.bytes[*place..*place + DIGITS];
                // The room is exactly as long as what is written.
                let _ = write!(room, "{number:0DIGITS$}");
            }
        }
    }
}

/// What came of it.
pub struct Heard {
    /// Answers within the window.
    pub latencies: Latencies,
    /// All answers.
    pub answers: u64,
}

/// Sends until the window is over; every event gets a number of its own from `next`.
pub async fn run(
    address: SocketAddr,
    connections: usize,
    request: &Prebuilt,
    next: Rc<Cell<u64>>,
    window: Window,
) -> Result<Heard> {
    let mut conversations = tokio::task::JoinSet::new();
    for _ in 0..connections {
        let poster = Poster::connect(address, request.clone(), next.clone()).await?;
        conversations.spawn_local(converse(poster, window));
    }
    let mut heard = Heard {
        latencies: Latencies::default(),
        answers: 0,
    };
    while let Some(conversation) = conversations.join_next().await {
        let Heard { latencies, answers } = conversation??;
        heard.latencies.merge(latencies);
        heard.answers += answers;
    }
    Ok(heard)
}

/// One connection that posts when it is told to.
pub struct Poster {
    stream: TcpStream,
    request: Prebuilt,
    next: Rc<Cell<u64>>,
    buffer: Vec<u8>,
}

impl Poster {
    /// Connects; every event gets a number of its own from `next`.
    pub async fn connect(
        address: SocketAddr,
        request: Prebuilt,
        next: Rc<Cell<u64>>,
    ) -> Result<Poster> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Poster {
            stream,
            request,
            next,
            buffer: vec![0; 64 * 1024],
        })
    }

    /// Sends one request and reads its answer.
    pub async fn post(&mut self) -> Result<()> {
        self.request.stamp(&self.next);
        self.stream.write_all(&self.request.bytes).await?;
        answer(&mut self.stream, &mut self.buffer).await
    }
}

async fn converse(mut poster: Poster, window: Window) -> Result<Heard> {
    let mut heard = Heard {
        latencies: Latencies::default(),
        answers: 0,
    };
    loop {
        let began = Instant::now();
        poster.post().await?;
        let ended = Instant::now();
        heard.answers += 1;
        if window.has(ended) {
            heard.latencies.add(ended - began);
        }
        if window.is_over(ended) {
            return Ok(heard);
        }
    }
}

/// Reads one answer whole.
async fn answer(stream: &mut TcpStream, buffer: &mut [u8]) -> Result<()> {
    let mut filled = 0;
    let length = loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        ensure!(read > 0, "the server closed a connection");
        filled += read;
        if let Some(length) = answer_length(&buffer[..filled])? {
            break length;
        }
    };
    while filled < length {
        let read = stream.read(&mut buffer[filled..]).await?;
        ensure!(read > 0, "the server closed a connection");
        filled += read;
    }
    ensure!(filled == length, "the server said more than it was asked");
    Ok(())
}

/// How long the answer is, head and body, once its head is there.
fn answer_length(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&bytes[..end])?;
    ensure!(
        head.get(9..12) == Some("202"),
        "answered {}",
        String::from_utf8_lossy(bytes)
    );
    let (_, rest) = head
        .split_once("content-length: ")
        .context("an answer without a length")?;
    let digits = rest.split("\r\n").next().unwrap_or_default();
    Ok(Some(end + 4 + digits.parse::<usize>()?))
}
