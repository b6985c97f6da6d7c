//! `progress`, `webhook` and `outgrow` with the real binary, killed while a part is delivered and another waits: the same
//! outcome as without.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::scene::{Scene, WITHIN};
use crate::support::{Relay, until};

/// So many of everything before the outage, and as many in it.
const HALF: u64 = 60;

/// In the outage so many requests are done without an answer before the others are refused.
const UNKNOWN: u64 = 2;

/// Retries that follow soon, since time passes ten times as fast.
const SPEED: u32 = 10;

const CONFIG: &str = "[activations.drop]\nworkspace = \"acme\"\n\
     [outgrow.quiz]\nworkspace = \"acme\"\nid = \"/id\"\nemail = \"/email\"\n\
     [outgrow.quiz.attributes]\nquiz_score = { from = \"/score\", type = \"number\" }\n\
     quiz_styles = { from = \"/styles\", type = \"array\" }\n";

fn email(number: u64) -> String {
    format!("person.{number}@example.com")
}

/// From now on a lane does some requests without a word and refuses the rest.
async fn outage(scene: &Scene, lane: &str) {
    let rules = json!([
        {"lane": lane, "next": UNKNOWN, "action": "drop_answer"},
        {"lane": lane, "skip": UNKNOWN, "action": {"status": 503}},
    ]);
    scene.script(&rules).await;
}

/// Killed once the outage has met some and the others wait behind them; it ends while nobody works.
async fn killed_amid_retries(scene: &Scene, relay: Relay, lane: &str) -> Relay {
    let refused = format!("relay_requests_total{{lane=\"{lane}\",outcome=\"transient\"");
    until("the outage has met some", WITHIN, async || {
        let refused = scene.metric(&relay, &refused).await;
        let dropped = scene.summed("answers_dropped").await;
        (refused > 0 && dropped == UNKNOWN).then_some(())
    })
    .await;
    relay.kill().await;
    scene.script(&json!([])).await;
    scene.relay().await
}

/// An update of one participant; each has several, which do not touch each other's attributes.
fn update(person: u64, number: u64) -> Value {
    json!({"id": format!("update-{person}-{number}"), "q_scope": "drop", "type": "progress", "email": email(person),
        "attributes": {format!("level_{number}"): person * 10 + number},
        "event": {"name": "levelled", "properties": {"level": number}}})
}

#[tokio::test]
async fn progress_killed_amid_retries_reaches_every_profile_whole() {
    // Braze knows every other one.
    let known = tempfile::NamedTempFile::new().unwrap();
    let lines = (0..HALF).step_by(2).map(|person| {
        json!({"email": email(person), "external_id": format!("brand-{person}")}).to_string()
    });
    std::fs::write(known.path(), lines.collect::<Vec<_>>().join("\n")).unwrap();
    let options = ["--known", known.path().to_str().unwrap()];
    let scene = Scene::new(SPEED, CONFIG, &options).await;
    let relay = scene.relay().await;
    let updates = |number| (0..HALF).map(|it| update(it, number)).collect::<Vec<_>>();
    scene.events(&relay, &updates(1)).await;
    until("the first updates have arrived", WITHIN, async || {
        let done = scene
            .metric(&relay, "relay_done_total{flow=\"progress\"")
            .await;
        (done == HALF).then_some(())
    })
    .await;
    outage(&scene, "users_track").await;
    scene.events(&relay, &updates(2)).await;
    let relay = killed_amid_retries(&scene, relay, "users_track").await;
    scene.events(&relay, &updates(3)).await;
    scene.ended(&relay).await;
    assert_eq!(scene.lines("profiles").await.len() as u64, HALF);
    let mut repeated = 0;
    for person in 0..HALF {
        let profile = scene.profile(&email(person)).await.unwrap();
        for number in 1..=3 {
            let level = &profile["custom_attributes"][format!("level_{number}")];
            assert_eq!(*level, json!(person * 10 + number), "{profile}");
        }
        assert_eq!(profile["custom_events"][0]["name"], "levelled");
        let count = profile["custom_events"][0]["count"].as_u64().unwrap();
        assert!((3..=3 + UNKNOWN).contains(&count), "{profile}");
        repeated += count - 3;
    }
    assert!(repeated > 0, "no outcome was unknown: this shows little");
    relay.stop(&scene.setup).await;
}

/// A login that Braze tells.
fn login(number: u64) -> Value {
    json!({"id": format!("login-{number}"), "q_scope": "drop", "event": "logged_in", "email": email(number),
        "tier": number})
}

#[tokio::test]
async fn webhooks_killed_amid_retries_reach_quikly_and_none_is_given_twice() {
    let scene = Scene::new(SPEED, CONFIG, &[]).await;
    let relay = scene.relay().await;
    let post = async |relay: &Relay, number| {
        let receipt = scene.post(relay, "/webhook/braze", &login(number)).await;
        receipt["accepted"].as_u64().unwrap()
    };
    for number in 0..HALF {
        assert_eq!(post(&relay, number).await, 1);
    }
    until("Quikly heard of the first half", WITHIN, async || {
        (scene.summed("credits").await == HALF).then_some(())
    })
    .await;
    outage(&scene, "quikly").await;
    for number in HALF..2 * HALF {
        assert_eq!(post(&relay, number).await, 1);
    }
    let relay = killed_amid_retries(&scene, relay, "quikly").await;
    // Braze delivers again what it is not sure of.
    for number in 0..2 * HALF {
        assert_eq!(post(&relay, number).await, 0);
    }
    scene.ended(&relay).await;
    let given = scene.lines("credits").await;
    assert_eq!(given.len() as u64, 2 * HALF, "something was given twice");
    let told: BTreeMap<u64, &Value> = given
        .iter()
        .map(|it| (it["more"]["tier"].as_u64().unwrap(), it))
        .collect();
    for (number, credit) in &told {
        assert_eq!(credit["email"], email(*number).as_str());
        assert_eq!(credit["more"]["id"], format!("login-{number}"));
    }
    assert_eq!(told.len() as u64, 2 * HALF);
    let keys: BTreeSet<_> = given.iter().map(|it| it["key"].to_string()).collect();
    assert_eq!(keys.len() as u64, 2 * HALF, "two webhooks share a key");
    // Those whose answer was lost were asked for again, with their keys.
    assert_eq!(scene.summed("credit_requests_repeated").await, UNKNOWN);
    relay.stop(&scene.setup).await;
}

#[tokio::test]
async fn leads_killed_amid_retries_arrive_with_every_answer() {
    let scene = Scene::new(SPEED, CONFIG, &[]).await;
    let relay = scene.relay().await;
    let lead = |number: u64| json!({"id": number, "email": email(number), "score": number, "styles": ["trail"]});
    let post = async |relay: &Relay, number| {
        let receipt = scene.post(relay, "/v1/outgrow/quiz", &lead(number)).await;
        receipt["accepted"].as_u64().unwrap()
    };
    for number in 0..HALF {
        assert_eq!(post(&relay, number).await, 1);
    }
    until("the first half has arrived", WITHIN, async || {
        (scene.done(&relay, "outgrow", "updated").await == HALF).then_some(())
    })
    .await;
    outage(&scene, "users_track").await;
    for number in HALF..2 * HALF {
        assert_eq!(post(&relay, number).await, 1);
    }
    let relay = killed_amid_retries(&scene, relay, "users_track").await;
    for number in 0..2 * HALF {
        assert_eq!(post(&relay, number).await, 0);
    }
    scene.ended(&relay).await;
    assert_eq!(scene.lines("profiles").await.len() as u64, 2 * HALF);
    for number in 0..2 * HALF {
        let profile = scene.profile(&email(number)).await.unwrap();
        let answers = json!({"quiz_score": number, "quiz_styles": ["trail"]});
        assert_eq!(profile["custom_attributes"], answers);
    }
    relay.stop(&scene.setup).await;
}
