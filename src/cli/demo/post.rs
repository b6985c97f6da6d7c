//! The clients' side: posts the lines as Quikly, Outgrow and Braze would, and posts again, with the same ids, whatever was
//! not answered.
//!
//! Invariants: a request is given up only when it was answered. Requests follow one another, so that events are accepted
//! in the order of the lines.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;
use tokio::sync::{Notify, watch};

use super::lines::Request;
use super::relay::Addresses;
use crate::client::http::{Http, Method};
use crate::clock::{Clock, Stopwatch};

/// How long one request may take, in real time.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long to wait before posting again what was not answered, in real time.
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// How long the relay may be away, in real time.
const AWAY_MAX: Duration = Duration::from_mins(1);
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// What has been posted so far.
#[derive(Debug, Default)]
pub(super) struct Posted {
    /// Events that were answered with 202.
    pub events: Cell<u64>,
    /// Different ids in these answers.
    pub accepted: Cell<u64>,
    /// Requests that were answered.
    pub requests: Cell<usize>,
    /// Requests without an answer, posted again.
    pub unanswered: Cell<u64>,
    /// Events in them that had been accepted all the same.
    pub known_again: Cell<u64>,
    /// Events that were refused, by status.
    pub refused: RefCell<BTreeMap<u16, u64>>,
    /// Answers that are not as they must be.
    pub mistakes: RefCell<Vec<String>>,
    /// The relay's id of the line with this id.
    pub ids: RefCell<HashMap<String, String>>,
    /// Everything was posted.
    pub finished: Cell<bool>,
}

/// Posts everything to wherever the relay is, and tells when the middle has come: just before a request leaves, so that
/// whoever kills the relay then may meet it half done.
#[derive(Debug)]
pub(super) struct Poster<'a> {
    /// The connections.
    pub http: &'a Http,
    /// The demo's time.
    pub clock: &'a Clock,
    /// Where the relay listens; `None` while there is none.
    pub relay: watch::Receiver<Option<Addresses>>,
    /// What has been posted.
    pub posted: &'a Posted,
    /// Told once, in the middle.
    pub middle: &'a Notify,
    /// Whether anybody waits for the middle.
    pub tells_middle: bool,
    /// How many events are posted in a second of the demo's time.
    pub events_per_second: f64,
}

impl Poster<'_> {
    /// Posts all of them.
    pub(super) async fn post(&self, requests: &[Request]) -> anyhow::Result<()> {
        let all: usize = requests.iter().map(|request| request.ids.len()).sum();
        let started = self.clock.now();
        let mut accepted = HashSet::new();
        let mut before = 0;
        let mut told = !self.tells_middle;
        for request in requests {
            let due = started + Duration::from_secs_f64(before as f64 / self.events_per_second);
            self.clock.sleep_until(due).await;
            before += request.ids.len();
            if before * 2 > all && request.must == 202 && !std::mem::replace(&mut told, true) {
                self.middle.notify_one();
            }
            let (answer, attempts) = self.deliver(request).await?;
            self.posted.requests.set(self.posted.requests.get() + 1);
            self.note(request, &answer, &mut accepted, attempts - 1)?;
        }
        self.posted.finished.set(true);
        Ok(())
    }

    fn note(
        &self,
        request: &Request,
        (status, body): &(u16, Vec<u8>),
        accepted: &mut HashSet<String>,
        unanswered: u64,
    ) -> anyhow::Result<()> {
        let posted = self.posted;
        if *status != request.must {
            posted.mistakes.borrow_mut().push(format!(
                "{}: answered with {status}, must be {}: {}",
                request.ids.join(", "),
                request.must,
                String::from_utf8_lossy(body)
            ));
        }
        if *status != 202 {
            *posted.refused.borrow_mut().entry(*status).or_default() += request.ids.len() as u64;
            return Ok(());
        }
        let answer = Accepted::read(body)?;
        add(&posted.events, request.ids.len() as u64);
        for (line, id) in request.ids.iter().zip(&answer.ids) {
            posted.ids.borrow_mut().insert(line.clone(), id.clone());
        }
        accepted.extend(answer.ids);
        posted.accepted.set(accepted.len() as u64);
        if unanswered > 0 {
            add(&posted.unanswered, unanswered);
            let known = answer.duplicates.saturating_sub(request.repeats as u64);
            add(&posted.known_again, known);
        }
        Ok(())
    }

    /// Posts one request until it is answered; says how many attempts that took.
    async fn deliver(&self, request: &Request) -> anyhow::Result<((u16, Vec<u8>), u64)> {
        let since = Stopwatch::start();
        let mut attempts = 0;
        loop {
            let relay = self.relay.borrow().clone();
            if let Some(relay) = relay {
                attempts += 1;
                if let Some(answer) = self.attempt(&relay, request).await? {
                    return Ok((answer, attempts));
                }
            }
            if since.elapsed() > AWAY_MAX {
                bail!("the relay has not answered for a minute");
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    /// Posts one request; `None`: not answered, or not now.
    async fn attempt(
        &self,
        relay: &Addresses,
        request: &Request,
    ) -> anyhow::Result<Option<(u16, Vec<u8>)>> {
        let url = relay.ingest.join(&request.path)?;
        let bearer = format!("Bearer {}", request.token);
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", request.media_type),
        ];
        let body = Some(request.body.clone().into_bytes());
        let answer = self.http.request(
            Method::POST,
            &url,
            &headers,
            body,
            ANSWER_WITHIN,
            ANSWER_BYTES_MAX,
        );
        Ok(match answer.await {
            Ok(answer) if answer.status == 503 || !answer.whole => None,
            Ok(answer) => Some((answer.status, answer.body)),
            Err(_) => None,
        })
    }
}

/// The body of a 202.
struct Accepted {
    ids: Vec<String>,
    duplicates: u64,
}

impl Accepted {
    fn read(body: &[u8]) -> anyhow::Result<Accepted> {
        let body: Value = serde_json::from_slice(body).context("the relay's answer")?;
        let ids = body["ids"]
            .as_array()
            .context("the relay's answer has no ids")?;
        let ids = ids.iter().filter_map(Value::as_str).map(str::to_owned);
        Ok(Accepted {
            ids: ids.collect(),
            duplicates: body["duplicates"].as_u64().unwrap_or_default(),
        })
    }
}

fn add(counter: &Cell<u64>, more: u64) {
    counter.set(counter.get() + more);
}
