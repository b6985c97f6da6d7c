//! How exactly the wait of `sms` ends, with the real binary and in real time, while other events come in.
//!
//! What is measured is what Braze would see: from the request that created a profile to the request that sets its phone,
//! less `subscription_delay`. The answer to the creation, the relay's `linger` and the way to Braze are in it; Braze's
//! documented limits hold. `RELAY_FULL=1 cargo test --release --test it process::due -- --nocapture` prints the figures
//! of 20,000 waits that fall due within ten seconds, and fails when 1 % of them is later than 250 ms. Otherwise a tenth
//! of the people is asked for, and only that nobody is early.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use url::Url;

use crate::support::scene::{GROUP, Scene, moment};
use crate::support::{Client, Relay, full, until};

const LATE_MAX: Duration = Duration::from_millis(250);

/// What is measured.
struct Plan {
    people: u64,
    /// People who join in a second, and so fall due in a second.
    joining: u64,
    delay: Duration,
    /// Other events a second, each a request of its own.
    load: u64,
}

impl Plan {
    fn new() -> Plan {
        if full() {
            Plan {
                people: 20_000,
                joining: 2000,
                delay: Duration::from_mins(2),
                load: 2000,
            }
        } else {
            Plan {
                people: 2000,
                joining: 2000,
                delay: Duration::from_secs(4),
                load: 200,
            }
        }
    }

    fn config(&self) -> String {
        let delay = self.delay.as_secs();
        format!(
            "[activations.wait]\nworkspace = \"acme\"\nflow = \"sms\"\nidentity = \"email\"\n\
             phone_mismatch = \"replace\"\nsubscription_group_id = \"{GROUP}\"\nsubscription_delay = \"{delay}s\"\n\
             [activations.load]\nworkspace = \"acme\"\nflow = \"email\"\nidentity = \"email\"\n\
             mark_attributes = {{ joined = true }}\n"
        )
    }
}

/// People who join an activation together.
const TOGETHER: u64 = 100;

async fn join(client: &Client, url: &Url, first: u64) {
    let one = |number: u64| {
        json!({"id": format!("wait-{number}"), "q_scope": "wait", "type": "participation",
            "email": format!("wait.{number}@example.com"), "phone": format!("+1555{number:07}"), "sms_consent": true})
    };
    let some: Vec<Value> = (first..first + TOGETHER).map(one).collect();
    let answer = client.post(url, Value::from(some).to_string().into());
    assert_eq!(answer.await.unwrap().status, 202);
}

/// Everybody joins, evenly.
async fn all_join(plan: &Plan, url: &Url) {
    let client = Client::new();
    let mut ticks = evenly(plan.joining / TOGETHER);
    for first in (0..plan.people).step_by(TOGETHER as usize) {
        ticks.tick().await;
        join(&client, url, first).await;
    }
}

/// So many ticks a second; those that were missed are made up for.
fn evenly(a_second: u64) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / a_second as u32);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    ticks
}

/// Connections that other events come in by.
const CONNECTIONS: u64 = 8;

/// Other events on one connection, evenly, until it is over. How many there were.
async fn load(url: Url, connection: u64, a_second: u64, over: watch::Receiver<bool>) -> u64 {
    let client = Client::new();
    let mut ticks = evenly(a_second);
    for number in 0.. {
        ticks.tick().await;
        if *over.borrow() {
            return number;
        }
        let event = json!({"id": format!("load-{connection}-{number}"), "q_scope": "load",
            "type": "participation", "email": format!("load.{connection}.{number}@example.com")});
        let answer = client.post(&url, event.to_string().into()).await.unwrap();
        assert_eq!(answer.status, 202);
    }
    0
}

/// How late each set was, in milliseconds, sorted; below zero: early. And how long they took to fall due.
async fn lateness(scene: &Scene, plan: &Plan) -> (Vec<i64>, Duration) {
    let sets = scene.lines("sets").await;
    assert_eq!(sets.len() as u64, plan.people, "somebody was set twice");
    let mut created = Vec::new();
    let mut late = Vec::new();
    for set in &sets {
        assert_eq!(set["outcome"], "taken", "{set}");
        let [profile] = set["profiles"].as_array().unwrap().as_slice() else {
            panic!("not one profile: {set}");
        };
        let asked = moment(&profile["created_asked_at"]);
        created.push(asked);
        let due = asked + plan.delay;
        late.push(moment(&set["at"]).as_millis() as i64 - due.as_millis() as i64);
    }
    late.sort_unstable();
    let (first, last) = (created.iter().min(), created.iter().max());
    (late, last.unwrap().since(*first.unwrap()))
}

/// What the relay says of itself: of all jobs that became due, how many were taken up within this many seconds.
async fn taken_up(scene: &Scene, relay: &Relay, within: &str) -> f64 {
    let name = "relay_due_lag_seconds";
    let some = scene
        .metric(relay, &format!("{name}_bucket{{le=\"{within}\"}}"))
        .await;
    some as f64 / scene.metric(relay, &format!("{name}_count")).await as f64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_never_ends_early_and_hardly_late_whatever_else_comes_in() {
    let plan = Plan::new();
    // Braze's own limits, where this meets them.
    let limits = [
        "subscription_status_set=5000/min",
        "default=250000/h",
        "users_track=3000/3s",
    ];
    let options = limits.map(|limit| ["--limit", limit]).concat();
    let scene = Scene::new(1, &plan.config(), &options).await;
    // Between asking for a profile and having it lies what a wait must not be counted from.
    scene
        .script(&json!([{"lane": "users_track", "action": {"delay": "50ms..150ms"}}]))
        .await;
    let relay = scene.relay().await;
    let within = plan.delay + Duration::from_secs(60);
    all_join(&plan, relay.events()).await;
    until("all have a profile and wait", within, async || {
        (scene.summed("profiles").await == plan.people).then_some(())
    })
    .await;
    assert_eq!(scene.summed("sets").await, 0, "the wait is too short");
    let (tell, over) = watch::channel(false);
    let mut loads = JoinSet::new();
    for connection in 0..CONNECTIONS {
        let url = relay.events().clone();
        loads.spawn(load(url, connection, plan.load / CONNECTIONS, over.clone()));
    }
    until("all are set", within, async || {
        (scene.summed("sets").await >= plan.people).then_some(())
    })
    .await;
    tell.send_replace(true);
    let events: u64 = loads.join_all().await.into_iter().sum();
    let (late, spread) = lateness(&scene, &plan).await;
    let at = |share: f64| late[((late.len() - 1) as f64 * share) as usize];
    eprintln!(
        "due: {} waits of {:?} fell due within {spread:?} while {events} other events came in: late by {} ms at best, \
         {} in the median, {} for 99 %, {} at worst; {:.2} % of all due jobs were taken up within 250 ms, {:.2} % within 100",
        plan.people,
        plan.delay,
        late[0],
        at(0.5),
        at(0.99),
        late[late.len() - 1],
        taken_up(&scene, &relay, "0.25").await * 100.0,
        taken_up(&scene, &relay, "0.1").await * 100.0,
    );
    assert_eq!(
        scene.summed("throttled").await,
        0,
        "faster than Braze allows"
    );
    assert!(late[0] >= 0, "{} ms early", -late[0]);
    if full() {
        assert!(spread <= Duration::from_secs(11), "{spread:?}");
        assert!(at(0.99) <= LATE_MAX.as_millis() as i64, "{} ms", at(0.99));
    }
    relay.stop(&scene.setup).await;
}
