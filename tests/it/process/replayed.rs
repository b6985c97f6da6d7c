//! An outage whose dead letters live again, by the real commands: previewed, paced, through a kill, stopped by a second
//! outage, resumed, and all delivered, nobody credited twice.
//!
//! With `RELAY_FULL=1` 50,000 die, and the figures are worth printing: `RELAY_FULL=1 cargo test --release --test it
//! process::replayed -- --nocapture`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::ACTIVATIONS;
use crate::support::scene::Scene;
use crate::support::{Relay, full, until};

/// How fast time passes.
const SPEED: u32 = 30;

const WITHIN: Duration = Duration::from_mins(10);

/// Whoever fails for so long is dead; however many do.
const RETRY: &str = "[retry]\nmax_age = \"1s\"\nhold_after = 1000000\n";

/// Three of four writes fail: what fails altogether waits behind the breaker, and nobody dies.
fn outage() -> Value {
    json!([{"path": "/users/track", "spare": 4, "action": {"status": 500}}])
}

async fn events(scene: &Scene, relay: &Relay) -> Value {
    let status = scene.client.document(&relay.ops("/api/v1/status")).await;
    status["events"].clone()
}

async fn count(scene: &Scene, relay: &Relay, name: &str) -> u64 {
    events(scene, relay).await[name].as_u64().unwrap()
}

/// Posts people until so many are dead; how many were posted.
async fn die(scene: &Scene, relay: &Relay, target: u64) -> u64 {
    let batch = (target / 2).clamp(100, 1000);
    let mut posted = 0;
    while count(scene, relay, "dead").await < target {
        let one = |number| {
            json!({"id": format!("join-{number}"), "q_scope": "resend", "type": "participation",
                "email": format!("person.{number}@example.com")})
        };
        let people: Vec<Value> = (posted..posted + batch).map(one).collect();
        scene.events(relay, &people).await;
        posted += batch;
        until("they are done or dead", WITHIN, async || {
            (count(scene, relay, "queued").await == 0).then_some(())
        })
        .await;
    }
    posted
}

/// Mean seconds, by the relay's clock, from acceptance to delivery of updates of people nobody replays.
async fn live(scene: &Scene, relay: &Relay, from: u64, rounds: u64) -> f64 {
    let measured = async |what: &str| {
        let name = format!("relay_event_done_seconds_{what}{{flow=\"progress\"}}");
        let text = scene.client.text(&relay.ops("/metrics")).await;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(&name).map(str::to_owned));
        line.map_or(0.0, |rest| rest.trim().parse::<f64>().unwrap())
    };
    let before = (measured("sum").await, measured("count").await);
    for round in from..from + rounds {
        let update = |number: u64| {
            json!({"id": format!("level-{round}-{number}"), "q_scope": "park", "type": "progress",
                "email": format!("live.{round}.{number}@example.com"), "attributes": {"level": round}})
        };
        let updates: Vec<Value> = (0..10).map(update).collect();
        scene.events(relay, &updates).await;
        until("they are delivered", WITHIN, async || {
            let done = measured("count").await - before.1;
            (done >= (10 * (round + 1 - from)) as f64).then_some(())
        })
        .await;
    }
    (measured("sum").await - before.0) / (measured("count").await - before.1)
}

async fn replay(scene: &Scene, relay: &Relay, number: u64) -> Value {
    let url = relay.ops(&format!("/api/v1/replays/{number}"));
    scene.client.document(&url).await
}

async fn until_replay(
    scene: &Scene,
    relay: &Relay,
    what: &str,
    so: impl Fn(&Value) -> bool,
) -> Value {
    until(what, WITHIN, async || {
        Some(replay(scene, relay, 1).await).filter(&so)
    })
    .await
}

fn number(row: &Value, name: &str) -> u64 {
    row[name].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_is_replayed_at_its_pace_through_a_kill_and_a_second_outage_to_the_last_letter() {
    let (target, rounds, rate) = if full() {
        (50_000, 50, "20/s")
    } else {
        (300, 5, "2/s")
    };
    let scene = Scene::new(SPEED, &format!("{ACTIVATIONS}{RETRY}"), &[]).await;
    let relay = scene.relay().await;
    scene.script(&outage()).await;
    let posted = die(&scene, &relay, target).await;
    scene.script(&json!([])).await;
    let dead = count(&scene, &relay, "dead").await;
    let before = live(&scene, &relay, 0, rounds).await;

    let preview = scene
        .command(
            &relay,
            &["dead", "replay", "--all", "--rate", rate, "--json"],
        )
        .await;
    let preview: Value = serde_json::from_str(&preview).unwrap();
    assert_eq!(number(&preview, "count"), dead, "{preview}");
    assert_eq!(preview["by_reason"], json!({ "gave_up": dead }));
    assert_eq!(
        count(&scene, &relay, "dead").await,
        dead,
        "nothing was done"
    );
    let one = scene
        .command(&relay, &["dead", "list", "--limit", "1", "--json"])
        .await;
    let one: Value = serde_json::from_str(&one).unwrap();
    let id = one["items"][0]["id"].as_str().unwrap();
    for what in [
        vec!["dead", "discard", id, "--because", "a test", "--json"],
        vec!["dead", "replay", id, "--json"],
    ] {
        let said = scene.command(&relay, &what).await;
        let said: Value = serde_json::from_str(&said).unwrap();
        let told = json!({"preview": true, "count": 1, "by_reason": {"gave_up": 1}});
        assert_eq!(said, told, "{what:?}");
    }
    assert_eq!(
        count(&scene, &relay, "dead").await,
        dead,
        "nothing was done without --yes"
    );
    let replayed = ["dead", "replay", "--all", "--rate", rate, "--yes"];
    let said = scene.command(&relay, &replayed).await;
    assert!(said.starts_with("replay 1 is running"), "{said}");

    let some = |row: &Value| number(row, "revived") >= dead / 10;
    until_replay(&scene, &relay, "some live again", some).await;
    let during = live(&scene, &relay, rounds, rounds).await;
    relay.kill().await;
    let relay = scene.relay().await;
    let row = replay(&scene, &relay, 1).await;
    assert_eq!(row["state"], "running", "{row}");
    let half = |row: &Value| number(row, "revived") >= dead * 3 / 10;
    until_replay(&scene, &relay, "it goes on by itself", half).await;

    scene.script(&outage()).await;
    let stopped = |row: &Value| row["state"] != "running";
    let row = until_replay(&scene, &relay, "it stops itself", stopped).await;
    assert_eq!(row["state"], "stopped_itself", "{row}");
    let why = row["why"].as_str().unwrap();
    assert!(why.ends_with("died again"), "{why}");
    let revived = number(&row, "revived");
    assert!(revived < dead, "it stopped before all lived: {row}");
    scene.script(&json!([])).await;
    // What it let live before goes on; nothing more is let live.
    let settled = |row: &Value| number(row, "living") == 0;
    let row = until_replay(&scene, &relay, "what lives ends", settled).await;
    assert_eq!(number(&row, "revived"), revived);
    let died_again = number(&row, "died_again");
    let left = count(&scene, &relay, "dead").await;
    assert_eq!(left, dead - revived + died_again);

    let said = scene.command(&relay, &["replay", "resume", "1"]).await;
    assert!(said.starts_with("replay 1 is running"), "{said}");
    let said = scene
        .command(&relay, &["replay", "show", "1", "--watch"])
        .await;
    let end = format!("replay 1 is finished: {dead} live again, 0 left");
    assert!(said.contains(&end), "each once: {said}");
    assert_eq!(count(&scene, &relay, "dead").await, died_again);
    let rest = [
        "dead", "replay", "--all", "--rate", "1000/s", "--yes", "--watch",
    ];
    let said = scene.command(&relay, &rest).await;
    let end = format!("replay 2 is finished: {died_again} live again, 0 left");
    assert!(said.contains(&end), "{said}");

    let end = events(&scene, &relay).await;
    assert_eq!(number(&end, "accepted"), posted + 20 * rounds);
    assert_eq!(
        (&end["done"], &end["adds_up"]),
        (&end["accepted"], &json!(true))
    );
    let mut credits = BTreeMap::<String, u64>::new();
    for credit in scene.lines("credits?wait=false").await {
        *credits
            .entry(credit["email"].as_str().unwrap().to_owned())
            .or_default() += 1;
    }
    assert_eq!(credits.len() as u64, posted, "everybody was credited");
    let twice: Vec<_> = credits.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "{} were credited twice", twice.len());
    let audit = scene.client.document(&relay.ops("/api/v1/audit")).await;
    let done: Vec<&str> = audit["items"]
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .map(|it| it["what"].as_str().unwrap())
        .collect();
    let expected = [
        "replay begin",
        "replay",
        "replay resume",
        "replay",
        "replay begin",
        "replay",
    ];
    assert_eq!(done, expected);
    println!(
        "{posted} posted, {dead} died; {revived} lived when it stopped itself, {died_again} died again"
    );
    println!(
        "live updates took {before:.2} s before and {during:.2} s during the replay, on a clock {SPEED} times as fast: \
         {:.2} times as long; the bound is 1.20 (20 %)",
        during / before
    );
    relay.stop(&scene.setup).await;
}
