//! A long queue that cannot move: memory, readiness after a kill, and metrics do not grow with it.

use std::time::Duration;

use braze_relay::clock::Stopwatch;
use serde_json::json;
use tokio::task::JoinSet;
use url::Url;

use super::ACTIVATIONS;
use crate::support::{Client, Item, Post, Receipt, Relay, Sandbox, Setup, full, until};

const BATCH: u64 = 1000;
const CONNECTIONS: u64 = 4;
const RESIDENT_BYTES_MAX: u64 = 250_000_000;
const READY_WITHIN: Duration = Duration::from_secs(5);
/// Milliseconds are aimed at; a scan of the queue would take seconds.
const METRICS_WITHIN: Duration = Duration::from_millis(250);
const SCRAPES: usize = 9;

async fn load(events: Url, from: u64, to: u64) {
    let client = Client::new();
    for first in (from..to).step_by(BATCH as usize) {
        let items = (first..first + BATCH).map(|number| Item::new(number, "resend", number));
        let post = Post(items.collect());
        let answer = client.post(&events, post.body()).await.unwrap();
        assert_eq!(Receipt::of(&post, &answer).accepted, BATCH);
    }
}

/// The median of some scrapes, and what the last one said.
async fn scrape(client: &Client, relay: &Relay) -> (Duration, String) {
    let mut times = Vec::new();
    let mut text = String::new();
    for _ in 0..SCRAPES {
        let watch = Stopwatch::start();
        text = client.text(&relay.ops("/metrics")).await;
        times.push(watch.elapsed());
    }
    times.sort_unstable();
    (times[SCRAPES / 2], text)
}

/// The sum of `relay_jobs` that are alive.
fn alive(metrics: &str) -> u64 {
    let lines = metrics
        .lines()
        .filter(|line| line.starts_with("relay_jobs{") && !line.contains("state=\"dead\""));
    let values = lines.map(|line| line.rsplit_once(' ').unwrap().1);
    values
        .map(|value| value.parse::<f64>().unwrap() as u64)
        .sum()
}

/// What is bounded, as it was at one moment.
struct Measured {
    what: &'static str,
    resident: u64,
    scrape: Duration,
}

async fn measure(what: &'static str, client: &Client, relay: &Relay, waiting: u64) -> Measured {
    let (took, text) = scrape(client, relay).await;
    assert_eq!(alive(&text), waiting, "{text}");
    let resident = relay.resident_bytes();
    eprintln!(
        "waiting: {what}, {waiting} events: {} MB resident, /metrics in {took:?}",
        resident / 1_000_000
    );
    Measured {
        what,
        resident,
        scrape: took,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_queue_costs_neither_memory_nor_readiness() {
    let waiting = if full() { 1_000_000 } else { 100_000 };
    let sandbox = Sandbox::start(&[]).await;
    let client = Client::new();
    // The lane is held as denied: what waits does not move.
    let script = json!({"rules": [{"action": "revoke_key"}]}).to_string();
    let told = client
        .post(&sandbox.question("script"), script.into())
        .await;
    assert_eq!(told.unwrap().status, 200);
    let setup = Setup::new(&sandbox, ACTIVATIONS);
    let relay = Relay::start(&setup).await;
    let watch = Stopwatch::start();
    let mut loaders = JoinSet::new();
    let share = waiting / CONNECTIONS;
    for number in 0..CONNECTIONS {
        let events = relay.events().clone();
        loaders.spawn(load(events, number * share, (number + 1) * share));
    }
    while let Some(ended) = loaders.join_next().await {
        ended.unwrap();
    }
    eprintln!(
        "waiting: {waiting} events accepted in {:?}",
        watch.elapsed()
    );
    let before = measure("before the kill", &client, &relay, waiting).await;
    relay.kill().await;

    let watch = Stopwatch::start();
    let relay = Relay::start(&setup).await;
    let said = watch.elapsed();
    until("it is ready", READY_WITHIN, async || {
        let answer = client.get(&relay.ops("/readyz")).await.ok()?;
        (answer.status == 200).then_some(())
    })
    .await;
    let ready = watch.elapsed();
    eprintln!("waiting: ready line after {said:?}, /readyz 200 after {ready:?}");
    let after = measure("after the kill", &client, &relay, waiting).await;
    let one = Post(vec![
        Item::new(0, "resend", 0),
        Item::new(waiting, "resend", waiting),
    ]);
    let answer = client.post(relay.events(), one.body()).await.unwrap();
    let receipt = Receipt::of(&one, &answer);
    assert_eq!((receipt.accepted, receipt.duplicates), (1, 1));
    let later = measure("a moment later", &client, &relay, waiting + 1).await;
    // Everything has been printed by now.
    assert!(ready < READY_WITHIN, "{ready:?}");
    for Measured {
        what,
        resident,
        scrape,
    } in [before, after, later]
    {
        assert!(
            resident < RESIDENT_BYTES_MAX,
            "{what}: {resident} bytes resident"
        );
        assert!(scrape < METRICS_WITHIN, "{what}: /metrics took {scrape:?}");
    }
    relay.stop(&setup).await;
}
