//! That nothing is refused however fast it goes, and that what was used is held: with the real binary, by the sandbox's own
//! record of requests, whose limits are real and told in headers.
//!
//! How much of what is permitted is used is a matter of time, and so of the bench `load`. A few seconds are played here.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::scene::{Scene, WITHIN, moment};
use crate::support::{Relay, until};

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
        let other = format!("{}={}/s", self.lane, self.others);
        let options = ["--limit", &limit, "--other", &other];
        let scene = Scene::new(1, &config, &options).await;
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

/// What the sandbox saw of us in the binding lane.
#[derive(Debug)]
struct Seen {
    taken: u64,
    refused: u64,
    objects: u64,
    /// The most that were refused in one second of the clock, which is a window.
    refused_of_a_second: u64,
    /// Of another consumer.
    others: u64,
}

async fn play(plan: &Plan) -> Seen {
    let scene = plan.scene().await;
    let relay = scene.relay().await;
    join(&scene, &relay, 0..plan.people).await;
    let ended = until("all are done", WITHIN, async || {
        let done = scene
            .metric(&relay, "relay_done_total{flow=\"email\"")
            .await;
        (done >= plan.people).then_some(())
    });
    ended.await;
    let mut seen = Seen {
        taken: 0,
        refused: 0,
        objects: 0,
        refused_of_a_second: 0,
        others: 0,
    };
    let mut refused: BTreeMap<u64, u64> = BTreeMap::new();
    for request in scene.lines("requests").await {
        match (&request["path"], &request["other"], &request["status"]) {
            (path, _, _) if path != plan.path => {}
            (_, Value::Bool(true), _) => seen.others += 1,
            (_, _, status) if status == 429 => {
                seen.refused += 1;
                let second = moment(&request["at"]).as_millis() / 1000;
                *refused.entry(second).or_default() += 1;
            }
            _ => {
                seen.taken += 1;
                seen.objects += request["objects"].as_u64().unwrap();
            }
        }
    }
    seen.refused_of_a_second = refused.into_values().max().unwrap_or(0);
    relay.stop(&scene.setup).await;
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_look_up_is_refused() {
    let seen = play(&Plan::export(160, 0)).await;
    assert_eq!((seen.taken, seen.refused), (160, 0), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_write_is_refused() {
    let seen = play(&Plan::track(26_000)).await;
    assert_eq!((seen.objects, seen.refused), (26_000, 0), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_another_consumer_hardly_anything_is_refused() {
    let seen = play(&Plan::export(80, 20)).await;
    assert_eq!(seen.taken, 80);
    assert!(seen.others > 0 && seen.refused_of_a_second <= 1, "{seen:?}");
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
