//! The client's side: posts the file as Quikly would, and posts again, with the same ids, whatever was not answered.
//!
//! Invariants: a request is given up only when it was answered with 202. Requests follow one another, so that events are
//! accepted in the order of the file.

use std::cell::Cell;
use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;
use tokio::sync::{Notify, watch};

use super::data::Request;
use super::relay::{Addresses, TOKEN};
use crate::client::http::{Http, Method};
use crate::clock::{Clock, Stopwatch};

/// How long one request may take, in real time.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long to wait before posting again what was not answered, in real time.
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// How long the relay may be away, in real time.
const AWAY_MAX: Duration = Duration::from_mins(1);
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Events posted in a second of the demo's time: half as many again as Braze lets us look up, so that a queue builds up.
const EVENTS_PER_SECOND: f64 = 60.0;

/// What has been posted so far.
#[derive(Debug, Default)]
pub(super) struct Posted {
    /// Events that were answered with 202.
    pub events: Cell<u64>,
    /// Different ids in these answers.
    pub accepted: Cell<u64>,
    /// Requests without an answer, posted again.
    pub unanswered: Cell<u64>,
    /// Events in them that had been accepted all the same.
    pub known_again: Cell<u64>,
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
}

impl Poster<'_> {
    /// Posts all of them.
    pub(super) async fn post(&self, requests: &[Request]) -> anyhow::Result<()> {
        let all: usize = requests.iter().map(|request| request.events).sum();
        let started = self.clock.now();
        let mut ids = HashSet::new();
        let mut before = 0;
        let mut told = false;
        for request in requests {
            let due = started + Duration::from_secs_f64(before as f64 / EVENTS_PER_SECOND);
            self.clock.sleep_until(due).await;
            before += request.events;
            if before * 2 > all && request.events > 1 && !std::mem::replace(&mut told, true) {
                self.middle.notify_one();
            }
            let (new, attempts) = self.deliver(request, &mut ids).await?;
            add(&self.posted.events, request.events as u64);
            self.posted.accepted.set(ids.len() as u64);
            if attempts > 1 {
                add(&self.posted.unanswered, attempts - 1);
                let known = new.duplicates.saturating_sub(request.repeats as u64);
                add(&self.posted.known_again, known);
            }
        }
        self.posted.finished.set(true);
        Ok(())
    }

    /// Posts one request until it is answered; says how many attempts that took.
    async fn deliver(
        &self,
        request: &Request,
        ids: &mut HashSet<String>,
    ) -> anyhow::Result<(Accepted, u64)> {
        let since = Stopwatch::start();
        let mut attempts = 0;
        loop {
            let relay = self.relay.borrow().clone();
            if let Some(relay) = relay {
                attempts += 1;
                if let Some(accepted) = self.attempt(&relay, request).await? {
                    ids.extend(accepted.ids.iter().cloned());
                    return Ok((accepted, attempts));
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
    ) -> anyhow::Result<Option<Accepted>> {
        let url = relay.ingest.join("/v1/quikly/events")?;
        let bearer = format!("Bearer {TOKEN}");
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
        match answer.await {
            Ok(answer) if answer.status == 202 && answer.whole => {
                Accepted::read(&answer.body).map(Some)
            }
            Ok(answer) if answer.status == 202 || answer.status == 503 => Ok(None),
            Ok(answer) => bail!(
                "the relay refused a request ({}): {}",
                answer.status,
                String::from_utf8_lossy(&answer.body)
            ),
            Err(_) => Ok(None),
        }
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
