//! SIGTERM: what has begun is finished or given back, what was answered is there, and the process ends in time with 0.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use braze_relay::client::http::Trouble;
use braze_relay::clock::Stopwatch;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use url::Url;

use super::ACTIVATIONS;
use crate::support::{Client, Item, Post, Receipt, Relay, Sandbox, Setup, TOKEN, until};

const CONNECTIONS: u64 = 24;

/// Receipts by post, and the posts nobody answered.
#[derive(Default)]
struct Notes {
    told: Vec<(Post, Receipt)>,
    unanswered: Vec<Post>,
}

/// Posts until the relay is gone. Half of the connections post batches.
async fn load(
    notes: Arc<Mutex<Notes>>,
    told: watch::Sender<usize>,
    events: Url,
    connection: u64,
) -> Vec<u16> {
    let client = Client::new();
    let mut other = Vec::new();
    for round in 0.. {
        let size = if connection.is_multiple_of(2) { 1 } else { 40 };
        let first = (connection * 100_000 + round) * 40;
        let items = (first..first + size).map(|number| Item::new(number, "resend", number));
        let post = Post(items.collect());
        let answer = client.post(&events, post.body()).await;
        let mut notes = notes.lock().unwrap();
        match answer {
            Ok(answer) if answer.status == 202 => {
                let receipt = Receipt::of(&post, &answer);
                notes.told.push((post, receipt));
                told.send_replace(notes.told.len());
            }
            Ok(answer) => {
                assert!(answer.whole, "an answer was cut");
                other.push(answer.status);
            }
            Err(Trouble::NotSent(_)) => return other,
            Err(Trouble::Unknown(_)) => {
                notes.unanswered.push(post);
                return other;
            }
        }
    }
    other
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_amid_many_posts_cuts_no_answer_and_loses_nothing() {
    let sandbox = Sandbox::start(&[]).await;
    let setup = Setup::new(
        &sandbox,
        &format!("{ACTIVATIONS}[serve]\nstop_within = \"8s\"\n"),
    );
    let relay = Relay::start(&setup).await;
    let notes = Arc::new(Mutex::new(Notes::default()));
    let told = watch::Sender::new(0);
    let mut loaders = JoinSet::new();
    for connection in 0..CONNECTIONS {
        let events = relay.events().clone();
        loaders.spawn(load(notes.clone(), told.clone(), events, connection));
    }
    told.subscribe()
        .wait_for(|told| *told >= 300)
        .await
        .unwrap();
    let watch = Stopwatch::start();
    relay.terminate();
    let status = relay.exit().await;
    let took = watch.elapsed();
    assert_eq!(status.code(), Some(0), "{}", setup.log());
    assert!(took <= Duration::from_secs(8), "{took:?}");
    while let Some(ended) = loaders.join_next().await {
        let other = ended.unwrap();
        assert!(other.iter().all(|status| *status == 503), "{other:?}");
    }

    let Notes { told, unanswered } = std::mem::take(&mut *notes.lock().unwrap());
    let relay = Relay::start(&setup).await;
    let client = Client::new();
    let again = async |post: &Post| {
        let answer = client.post(relay.events(), post.body()).await.unwrap();
        Receipt::of(post, &answer)
    };
    for (post, first) in &told {
        let second = again(post).await;
        assert_eq!((second.accepted, &second.ids), (0, &first.ids));
    }
    let mut stored = 0;
    for post in &unanswered {
        let receipt = again(post).await;
        assert!(
            receipt.accepted == 0 || receipt.duplicates == 0,
            "a batch was half stored: {receipt:?}"
        );
        stored += u64::from(receipt.accepted == 0);
    }
    eprintln!(
        "stop: exit 0 after {took:?}; {} requests were answered, {} were not ({stored} of those are stored)",
        told.len(),
        unanswered.len()
    );
    assert_eq!(stored, 0, "what was stored was not answered");
    relay.stop(&setup).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_was_half_sent_at_the_stop_is_finished_and_answered() {
    let sandbox = Sandbox::start(&[]).await;
    let setup = Setup::new(&sandbox, ACTIVATIONS);
    let relay = Relay::start(&setup).await;
    let client = Client::new();
    let post = Post(vec![Item::new(1, "park", 1), Item::new(2, "park", 2)]);
    let body = post.body();
    let address = relay.events().socket_addrs(|| None).unwrap()[0];
    let mut line = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /v1/quikly/events HTTP/1.1\r\nhost: relay\r\nauthorization: Bearer {TOKEN}\r\n\
         expect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    line.write_all(head.as_bytes()).await.unwrap();
    // The relay wants the body: from here on the request has begun.
    let mut interim = [0; 25];
    line.read_exact(&mut interim).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    line.write_all(&body[..20]).await.unwrap();
    relay.terminate();
    until(
        "it takes no more connections",
        Duration::from_secs(10),
        async || TcpStream::connect(address).await.err(),
    )
    .await;
    line.write_all(&body[20..]).await.unwrap();
    let mut answer = String::new();
    line.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    assert!(answer.contains("{\"accepted\":2,"), "{answer}");
    assert_eq!(relay.exit().await.code(), Some(0), "{}", setup.log());
    let relay = Relay::start(&setup).await;
    let again = client.post(relay.events(), post.body()).await.unwrap();
    let receipt = Receipt::of(&post, &again);
    assert_eq!(receipt.duplicates, 2);
    assert!(receipt.ids.iter().all(|id| answer.contains(id)));
    relay.stop(&setup).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quikly_that_never_answers_holds_no_stop_up() {
    let sandbox = Sandbox::start(&[]).await;
    let setup = Setup::new(
        &sandbox,
        &format!("{ACTIVATIONS}[serve]\nstop_within = \"1s\"\n"),
    );
    let client = Client::new();
    let script = json!({"rules": [{"lane": "quikly", "action": "hang"}]}).to_string();
    let told = client
        .post(&sandbox.question("script"), script.into())
        .await;
    assert_eq!(told.unwrap().status, 200);
    let relay = Relay::start(&setup).await;
    let post = Post(vec![Item::new(1, "resend", 1)]);
    let answer = client.post(relay.events(), post.body()).await.unwrap();
    Receipt::of(&post, &answer);
    until("the credit hangs", Duration::from_secs(30), async || {
        let summary = client
            .document(&sandbox.question("summary?wait=false"))
            .await;
        summary["requests_by_path"].get("/webhook/braze").map(drop)
    })
    .await;
    let watch = Stopwatch::start();
    relay.terminate();
    assert_eq!(relay.exit().await.code(), Some(0), "{}", setup.log());
    let took = watch.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");

    let told = client.delete(&sandbox.question("script")).await;
    assert_eq!(told.unwrap().status, 200);
    let relay = Relay::start(&setup).await;
    until("the credit is given", Duration::from_secs(30), async || {
        let credits = client.lines(&sandbox.question("credits")).await;
        (credits.len() == 1).then_some(())
    })
    .await;
    relay.stop(&setup).await;
}
