//! How much of what Braze permits is used, and that nothing is refused: with the real binary, measured by the sandbox's own
//! record of requests, whose limits are real and told in headers.
//!
//! `RELAY_FULL=1 cargo test --test it process::budget -- --nocapture` prints the figures of whole campaigns and
//! fails when less than 98 % is used (95 % to 105 % of what another consumer leaves). Otherwise a few seconds are played,
//! and only that nothing is refused counts, for a busy machine uses less.

use std::collections::BTreeMap;
use std::time::Duration;

use braze_relay::client::http::{Http, Method};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::support::scene::{Scene, WITHIN, moment};
use crate::support::{Relay, full, until};

/// A campaign whose narrowest lane is told apart by its path.
struct Plan {
    identity: &'static str,
    people: u64,
    /// Requests a second of the binding lane.
    limit: u32,
    lane: &'static str,
    path: &'static str,
    /// Requests a second that another consumer sends there.
    others: u32,
}

impl Plan {
    fn export(people: u64, others: u32) -> Plan {
        Plan {
            identity: "export",
            people,
            limit: 40,
            lane: "users_export_ids",
            path: "/users/export/ids",
            others,
        }
    }

    fn track(people: u64) -> Plan {
        Plan {
            identity: "email",
            people,
            limit: 100,
            lane: "users_track",
            path: "/users/track",
            others: 0,
        }
    }

    /// The sandbox and the relay's configuration agree on the binding limit.
    async fn scene(&self) -> Scene {
        let config = format!(
            "[activations.drop]\nworkspace = \"acme\"\nflow = \"email\"\nidentity = \"{}\"\n\
             mark_attributes = {{ joined = true }}\n",
            self.identity
        );
        let limit = format!("{}={}/s", self.lane, self.limit);
        let scene = Scene::new(1, &config, &["--limit", &limit]).await;
        limited(&scene, self.lane, &format!("{}/s", self.limit));
        scene
    }
}

/// Sets the relay's limit of a lane.
fn limited(scene: &Scene, lane: &str, limit: &str) {
    let text = std::fs::read_to_string(scene.setup.config()).unwrap();
    let line = |line: &str| {
        if line.starts_with(&format!("{lane} = ")) {
            format!("{lane} = [\"{limit}\"]\n")
        } else {
            format!("{line}\n")
        }
    };
    let changed: String = text.lines().map(line).collect();
    assert!(changed.contains(limit));
    scene.setup.write(&changed);
}

async fn join(scene: &Scene, relay: &Relay, people: std::ops::Range<u64>) {
    let all: Vec<u64> = people.collect();
    for some in all.chunks(5000) {
        let one = |person: &u64| {
            json!({"id": format!("join-{person}"), "q_scope": "drop", "type": "participation",
                "email": format!("person.{person}@example.com")})
        };
        let events: Vec<Value> = some.iter().map(one).collect();
        scene.events(relay, &events).await;
    }
}

/// Another tool of the brand that looks somebody up evenly, until it is over. By second: taken, refused.
async fn consumes(
    scene: &Scene,
    a_second: u32,
    over: watch::Receiver<bool>,
) -> (BTreeMap<u64, u64>, u64) {
    let http = Http::new(8, Duration::from_secs(5)).unwrap();
    let url = scene.sandbox.braze.join("/users/export/ids").unwrap();
    let headers = [
        ("authorization", "Bearer sandbox-braze-key"),
        ("content-type", "application/json"),
        ("user-agent", "partner-Other-Tool/1"),
    ];
    let body = json!({"email_address": "nobody@example.com", "fields_to_export": ["email"]});
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / a_second);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut taken, mut refused) = (BTreeMap::new(), 0);
    while !*over.borrow() {
        ticks.tick().await;
        let body = Some(body.to_string().into());
        let asked = http.request(Method::POST, &url, &headers, body, WITHIN, 1 << 16);
        let answer = asked.await.unwrap();
        let now = braze_relay::clock::Clock::system(1.0).now();
        match answer.status {
            429 => refused += 1,
            _ => *taken.entry(now.as_millis() / 1000).or_default() += 1,
        }
    }
    (taken, refused)
}

/// What was measured.
#[derive(Debug)]
struct Measured {
    /// Of what was permitted to us, in the whole seconds in which there was work.
    use_ratio: f64,
    /// Ours, in so many windows.
    refused: u64,
    windows: u64,
    /// Objects in a request, in the middle of it.
    objects: f64,
}

async fn measure(plan: &Plan) -> Measured {
    let scene = plan.scene().await;
    let relay = scene.relay().await;
    let (tell, over) = watch::channel(false);
    let works = async {
        join(&scene, &relay, 0..plan.people).await;
        let within = WITHIN + Duration::from_secs(plan.people / 20);
        let ended = until("all are done", within, async || {
            let done = scene
                .metric(&relay, "relay_done_total{flow=\"email\"")
                .await;
            (done >= plan.people).then_some(())
        });
        ended.await;
        tell.send_replace(true);
    };
    let (others, others_refused) = if plan.others > 0 {
        tokio::join!(works, consumes(&scene, plan.others, over)).1
    } else {
        works.await;
        (BTreeMap::new(), 0)
    };
    let mut seconds: BTreeMap<u64, (u64, u64, u64)> = BTreeMap::new();
    for request in scene.lines("requests").await {
        if request["path"] != plan.path {
            continue;
        }
        let second = moment(&request["at"]).as_millis() / 1000;
        let (taken, refused, objects) = seconds.entry(second).or_default();
        if request["status"] == 429 {
            *refused += 1;
        } else {
            *taken += 1;
            *objects += request["objects"].as_u64().unwrap();
        }
    }
    // Neither the second in which it began nor the one in which it ended. The first of those in between is for finding out.
    let whole: Vec<_> = seconds.iter().skip(2).collect();
    let whole = &whole[..whole.len() - 1];
    let of_others = |second: &u64| others.get(second).copied().unwrap_or(0);
    let permitted: u64 = whole
        .iter()
        .map(|(second, _)| u64::from(plan.limit) - of_others(second))
        .sum();
    let used: u64 = whole
        .iter()
        .map(|(second, (taken, ..))| taken - of_others(second))
        .sum();
    let objects: u64 = whole.iter().map(|(_, (.., objects))| objects).sum();
    let requests: u64 = whole.iter().map(|(_, (taken, ..))| taken).sum();
    let refused: u64 = seconds.values().map(|(_, refused, _)| refused).sum();
    relay.stop(&scene.setup).await;
    Measured {
        use_ratio: used as f64 / permitted as f64,
        refused: refused - others_refused,
        windows: seconds.len() as u64,
        objects: objects as f64 / requests as f64,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn look_ups_use_what_is_permitted_and_none_is_refused() {
    let plan = Plan::export(if full() { 5000 } else { 160 }, 0);
    let measured = measure(&plan).await;
    println!("budget: look-ups at {}/s: {measured:?}", plan.limit);
    assert_eq!(measured.refused, 0);
    if full() {
        assert!(measured.use_ratio >= 0.98, "{measured:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_use_what_is_permitted_in_full_requests_and_none_is_refused() {
    let plan = Plan::track(if full() { 200_000 } else { 26_000 });
    let measured = measure(&plan).await;
    println!("budget: writes at {}/s: {measured:?}", plan.limit);
    assert_eq!(measured.refused, 0);
    if full() {
        assert!(measured.use_ratio >= 0.98, "{measured:?}");
        assert!(measured.objects >= 0.95 * 75.0, "{measured:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_consumer_keeps_its_half_and_we_use_ours() {
    let plan = Plan::export(if full() { 2000 } else { 80 }, 20);
    let measured = measure(&plan).await;
    println!(
        "budget: look-ups at {}/s beside 20/s: {measured:?}",
        plan.limit
    );
    assert!(measured.refused <= measured.windows, "{measured:?}");
    if full() {
        assert!((0.95..=1.05).contains(&measured.use_ratio), "{measured:?}");
    }
}

/// What the relay says is used of the look-ups' budget.
async fn used(scene: &Scene, relay: &Relay) -> f64 {
    let status = scene.client.document(&relay.ops("/api/v1/status")).await;
    let lanes = status["lanes"].as_array().unwrap();
    let lane = lanes
        .iter()
        .find(|lane| lane["lane"] == "acme/users_export_ids");
    lane.unwrap()["budget_used_ratio"].as_f64().unwrap()
}

#[tokio::test]
async fn a_window_goes_on_after_a_stop_and_after_a_kill() {
    let scene = Plan::export(0, 0).scene().await;
    // Nobody tells what is left: the relay's own count is all there is.
    limited(&scene, "users_export_ids", "1000/h");
    let expected = |count: f64| (count - 1e-9)..=(count + 1e-9);
    let relay = scene.relay().await;
    assert!(used(&scene, &relay).await < 1e-9);
    join(&scene, &relay, 0..8).await;
    scene.ended(&relay).await;
    relay.stop(&scene.setup).await;
    let relay = scene.relay().await;
    let after_stop = used(&scene, &relay).await;
    assert!(expected(0.008).contains(&after_stop), "{after_stop}");
    join(&scene, &relay, 8..10).await;
    scene.ended(&relay).await;
    relay.kill().await;
    let relay = scene.relay().await;
    // As many as can be under way, 64, may have left since the last commit.
    let after_kill = used(&scene, &relay).await;
    assert!(expected(0.074).contains(&after_kill), "{after_kill}");
    relay.stop(&scene.setup).await;
}
