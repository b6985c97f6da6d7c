//! One participant's updates reach Braze in the order they were accepted, whatever fails on the way.

use serde_json::{Value, json};

use crate::support::scene::{Scene, moment};

const UPDATES: u64 = 20;

/// The relay leaves two seconds between two requests for one participant; this many times as fast.
const SPEED: u32 = 20;

const CONFIG: &str =
    "[activations.drop]\nworkspace = \"acme\"\nmark_attributes = { joined_drop = true }\n";

/// The `number`-th update, one second after the one before: its event's time tells them apart in Braze.
fn update(email: &str, number: u64) -> Value {
    json!({"id": format!("{email}-{number}"), "q_scope": "drop", "type": "progress", "email": email,
        "at": format!("2026-01-01T00:00:{number:02}Z"), "attributes": {"level": number},
        "event": {"name": "levelled"}})
}

/// The numbers of the updates whose events a profile shows, in the order in which Braze took them.
fn arrived(profile: &Value) -> Vec<u64> {
    let start = moment(&json!("2026-01-01T00:00:00Z"));
    let times = profile["custom_events"][0]["times"].as_array().unwrap();
    let number = |time: &Value| moment(time).since(start).as_secs();
    times.iter().map(number).collect()
}

#[tokio::test]
async fn updates_of_one_participant_arrive_in_order_whatever_fails() {
    // Writes take effect in the order they were accepted, so that the profile shows how they came.
    let people = ["ada@example.com", "bo@example.com", "cy@example.com"];
    let scene = Scene::new(SPEED, CONFIG, &["--appear", "10ms"]).await;
    // Every other request fails, before it is done or behind that.
    let fails = |skip: u64, action: Value| json!({"lane": "users_track", "skip": skip, "next": 1, "action": action});
    let rules: Vec<Value> = (0..12)
        .map(|number| match number % 3 {
            0 => fails(2 * number, json!({"status": 503})),
            1 => fails(2 * number, json!("drop_answer")),
            _ => fails(2 * number, json!("reset")),
        })
        .collect();
    scene.script(&Value::from(rules)).await;
    let relay = scene.relay().await;
    for number in 1..=UPDATES {
        let all = people.map(|email| update(email, number));
        if number % 2 == 0 {
            scene.events(&relay, &all).await;
        } else {
            for event in all {
                scene.events(&relay, &[event]).await;
            }
        }
    }
    scene.ended(&relay).await;
    for email in people {
        let profile = scene.profile(email).await.unwrap();
        // What was done without an answer is repeated, with all that travelled in the same request; nothing else goes
        // back, and nothing is passed over.
        let mut last = 0;
        for number in arrived(&profile) {
            assert!(
                number <= last + 1,
                "{email}: {number} came after {last}: {profile}"
            );
            last = number;
        }
        assert_eq!(last, UPDATES, "{email}: {profile}");
        assert_eq!(profile["custom_attributes"]["level"], UPDATES, "{profile}");
    }
    relay.stop(&scene.setup).await;
}
