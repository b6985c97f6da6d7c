//! Ten thousand webhooks at once, with the binary: they reach Quikly in order of acceptance, whatever waits beside them.

use std::collections::BTreeMap;

use braze_relay::client::http::{Http, Method};
use braze_relay::model::time::Timestamp;
use serde_json::{Value, json};
use url::Url;

use super::{SOON, SOURCES, webhook};
use crate::support::{Client, Relay, Sandbox, Setup, until};

const WEBHOOKS: u64 = 10_000;
const CONNECTIONS: u64 = 64;
/// `max_in_flight` of a workspace's Quikly, when nothing is said.
const IN_FLIGHT: usize = 16;

/// Posts so many webhooks over many connections. Returns the `id`s they bring, in order of acceptance.
async fn post_many(hook: &Url, name: &str) -> Vec<String> {
    let http = Http::new(CONNECTIONS as usize, SOON).unwrap();
    let mut posting = tokio::task::JoinSet::new();
    for connection in 0..CONNECTIONS {
        let (http, hook, name) = (http.clone(), hook.clone(), name.to_owned());
        posting.spawn(async move {
            let headers = [("authorization", "Bearer braze")];
            let mut ids = Vec::new();
            for number in (connection..WEBHOOKS).step_by(CONNECTIONS as usize) {
                let id = format!("{name}-{number}");
                let body = webhook(&format!(r#","id":"{id}""#))
                    .replace("Ada", &id)
                    .into_bytes();
                let asked = http.request(Method::POST, &hook, &headers, Some(body), SOON, 1 << 16);
                let answer = asked.await.unwrap();
                let receipt: Value = serde_json::from_slice(&answer.body).unwrap();
                assert_eq!(answer.status, 202, "{receipt}");
                ids.push((receipt["ids"][0].as_str().unwrap().to_owned(), id));
            }
            ids
        });
    }
    // The relay's ids grow in order of acceptance.
    let mut accepted: Vec<_> = posting.join_all().await.into_iter().flatten().collect();
    accepted.sort_unstable();
    accepted.into_iter().map(|(_, id)| id).collect()
}

/// A webhook that Quikly took.
struct Taken {
    id: String,
    accepted_at: Timestamp,
    at: Timestamp,
}

/// What Quikly took, in order, once there are so many.
async fn taken(client: &Client, sandbox: &Sandbox, count: u64) -> Vec<Taken> {
    until("Quikly heard of all of them", SOON, async || {
        let summary = client.document(&sandbox.question("summary")).await;
        (summary["credits"].as_u64()? >= count).then_some(())
    })
    .await;
    let credits = client.lines(&sandbox.question("credits")).await;
    let moment = |value: &Value| Timestamp::parse_rfc3339(value.as_str().unwrap()).unwrap();
    let taken = |credit: &Value| Taken {
        id: credit["more"]["id"].as_str().unwrap().to_owned(),
        accepted_at: moment(&credit["accepted_at"]),
        at: moment(&credit["at"]),
    };
    credits.iter().map(taken).collect()
}

/// Of what was accepted in this order and taken in that, nothing is displaced by more than the calls in flight.
fn in_order(accepted: &[String], taken: &[&Taken]) {
    assert_eq!(accepted.len(), taken.len());
    let rank: BTreeMap<&String, usize> = accepted.iter().zip(0..).collect();
    let places = taken.iter().zip(0..);
    let displaced = places.map(|(it, place): (_, usize)| place.abs_diff(rank[&it.id]));
    // A single request that the machine holds up is overtaken by many; nothing else is.
    let far: Vec<_> = displaced.filter(|places| *places > IN_FLIGHT).collect();
    assert!(
        far.len() <= 10,
        "displaced by more than what is in flight: {far:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_webhooks_reach_quikly_in_order_of_acceptance() {
    let sandbox = Sandbox::start(&[]).await;
    let setup = Setup::new(&sandbox, SOURCES);
    let relay = Relay::start(&setup).await;
    let hook = relay.events().join("/webhook/braze").unwrap();
    let accepted = post_many(&hook, "new").await;
    let taken = taken(&Client::new(), &sandbox, WEBHOOKS).await;
    in_order(&accepted, &taken.iter().collect::<Vec<_>>());
    relay.stop(&setup).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_retries_displace_no_webhook_that_is_fresh() {
    let sandbox = Sandbox::start(&[]).await;
    // All that failed is due again soon, and stays due.
    let retry = "[retry]\nfirst = \"2s\"\nmax = \"2s\"\n";
    let setup = Setup::new(&sandbox, &format!("{retry}{SOURCES}"));
    let relay = Relay::start(&setup).await;
    let client = Client::new();
    let hook = relay.events().join("/webhook/braze").unwrap();
    let script = async |rule: Value| {
        let body = json!({"rules": [rule]}).to_string().into_bytes();
        let answer = client.post(&sandbox.question("script"), body).await;
        assert_eq!(answer.unwrap().status, 200);
    };

    // Some get through, else the lane would be held and most of them not even be tried.
    script(json!({"lane": "quikly", "spare": 2, "action": {"status": 503}})).await;
    let mut old = post_many(&hook, "old").await;
    old.extend(post_many(&hook, "older").await);
    until("all of them have been tried", SOON, async || {
        let summary = client.document(&sandbox.question("summary")).await;
        (summary["requests"].as_u64()? >= 2 * WEBHOOKS).then_some(())
    })
    .await;
    // Quikly works again, and before that asks for a rest in which the fresh ones come: then all are due at once.
    let rest = json!({"lane": "quikly", "next": 1, "retry_after": "2s", "action": {"status": 429}});
    script(rest).await;
    let fresh = post_many(&hook, "new").await;

    let taken = taken(&client, &sandbox, 3 * WEBHOOKS).await;
    let is_fresh = |it: &&Taken| it.id.starts_with("new");
    in_order(&fresh, &taken.iter().filter(is_fresh).collect::<Vec<_>>());
    // While fresh ones are ready, of the room at most a quarter goes to those that failed. Old ones that had not been
    // tried when Quikly asked for a rest go before the first new one.
    let last_in = taken.iter().filter(is_fresh).map(|it| it.accepted_at).max();
    // Until nearly all of them are out: the very last may be held up by the machine.
    let fresh_out = taken.iter().enumerate().filter(|(_, it)| is_fresh(it));
    let (end, _) = fresh_out.take(fresh.len() * 99 / 100).last().unwrap();
    let start = taken.iter().position(|it| is_fresh(&it)).unwrap();
    let meanwhile = taken[start..end].iter().filter(|it| Some(it.at) > last_in);
    let (new, failed): (Vec<_>, Vec<_>) = meanwhile.partition(is_fresh);
    assert!(new.len() > 1000, "only {} were ready together", new.len());
    assert!(
        failed.len() <= new.len() / 3 + 10 * IN_FLIGHT,
        "{} that failed before the last of {} fresh ones",
        failed.len(),
        new.len()
    );
    let mut again: Vec<String> = taken.into_iter().map(|it| it.id).collect();
    again.retain(|id| !id.starts_with("new"));
    again.sort_unstable();
    old.sort_unstable();
    assert!(again == old, "one that failed is lost or was told twice");
    relay.stop(&setup).await;
}
