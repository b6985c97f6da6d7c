//! What is held and goes on, with the real binary: a key that is revoked for a while, a group that does not exist, and
//! what an operator holds.

use serde_json::{Value, json};

use super::ACTIVATIONS;
use crate::support::scene::{GROUP, Scene, WITHIN};
use crate::support::{Relay, until};

/// How fast time passes: a minute between two probes takes two seconds.
const SPEED: u32 = 30;

fn people(scope: &str, numbers: std::ops::Range<u64>) -> Vec<Value> {
    let one = |number| {
        json!({"id": format!("join-{number}"), "q_scope": scope, "type": "participation",
            "email": format!("person.{number}@example.com"), "phone": format!("+1555{number:07}"), "sms_consent": true})
    };
    numbers.map(one).collect()
}

async fn events(scene: &Scene, relay: &Relay, name: &str) -> u64 {
    let status = scene.client.document(&relay.ops("/api/v1/status")).await;
    status["events"][name].as_u64().unwrap()
}

/// Waits until the gauge that begins so is 1 for somebody.
async fn is_held(scene: &Scene, relay: &Relay, gauge: &str) {
    until(gauge, WITHIN, async || {
        (scene.metric(relay, gauge).await > 0).then_some(())
    })
    .await;
}

const DENIED: &str = "relay_lane_held{lane=\"users_export_ids\",reason=\"denied\"";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_revoked_in_mid_campaign_kills_nobody_and_all_goes_on_once_it_works_again() {
    let scene = Scene::new(SPEED, ACTIVATIONS, &[]).await;
    let relay = scene.relay().await;
    scene.events(&relay, &people("resend", 0..200)).await;
    scene.script(&json!([{"action": "revoke_key"}])).await;
    scene.events(&relay, &people("resend", 200..400)).await;
    is_held(&scene, &relay, DENIED).await;
    scene.events(&relay, &people("resend", 400..500)).await;
    // Two probes later nothing has changed.
    let denied = "relay_requests_total{lane=\"users_export_ids\",outcome=\"denied\"";
    let before = scene.metric(&relay, denied).await;
    until("two more probes", WITHIN, async || {
        (scene.metric(&relay, denied).await >= before + 2).then_some(())
    })
    .await;
    assert_eq!(events(&scene, &relay, "dead").await, 0);
    assert!(events(&scene, &relay, "queued").await >= 300);
    let said = scene.command(&relay, &["lane", "list"]).await;
    assert!(said.contains("HELD: denied since "), "{said}");

    scene.script(&json!([])).await;
    scene.ended(&relay).await;
    assert_eq!(events(&scene, &relay, "done").await, 500);
    assert_eq!(scene.metric(&relay, DENIED).await, 0);
    assert_eq!(scene.lines("credits?wait=false").await.len(), 500);
    // What was under way when it was revoked, and one probe a minute.
    let denied = scene.metric(&relay, denied).await;
    assert!(denied < 64 + 30, "{denied} requests were denied");
    relay.stop(&scene.setup).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_group_holds_its_activation_and_once_it_is_corrected_everybody_arrives() {
    const WRONG: &str = "6f4b0c3e-0000-4000-8000-00000000dead";
    let config = format!(
        "[activations.sms]\nworkspace = \"acme\"\nflow = \"sms\"\nsubscription_group_id = \"{WRONG}\"\n\
         credit = {{ event = \"joined\" }}\n"
    );
    let scene = Scene::new(SPEED, &config, &[]).await;
    let relay = scene.relay().await;
    scene.events(&relay, &people("sms", 0..150)).await;
    let gauge = "relay_activation_held{activation=\"sms\",reason=\"invalid_group\"";
    is_held(&scene, &relay, gauge).await;
    let dead = events(&scene, &relay, "dead").await;
    assert!(dead <= 50, "{dead} were buried");
    let said = scene.command(&relay, &["status"]).await;
    let way_on = "release it with braze-relay lane release --activation sms";
    assert!(said.contains(way_on), "{said}");
    relay.stop(&scene.setup).await;

    let text = std::fs::read_to_string(scene.setup.config()).unwrap();
    scene.setup.write(&text.replace(WRONG, GROUP));
    let relay = scene.relay().await;
    let replay = ["dead", "replay", "--all", "--yes", "--watch"];
    let said = scene.command(&relay, &replay).await;
    let told = format!("replay 1 is finished: {dead} live again, 0 left");
    assert!(said.contains(&told), "{said}");
    scene.ended(&relay).await;
    assert_eq!(events(&scene, &relay, "done").await, 150);
    assert_eq!(scene.done(&relay, "sms", "subscribed").await, 150);
    assert_eq!(scene.lines("credits?wait=false").await.len(), 150);
    relay.stop(&scene.setup).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_operator_holds_rests_until_it_is_released() {
    let scene = Scene::new(SPEED, ACTIVATIONS, &[]).await;
    let relay = scene.relay().await;
    let hold = [
        "lane",
        "hold",
        "acme/users_export_ids",
        "--for",
        "30d",
        "--json",
    ];
    let said: Value = serde_json::from_str(&scene.command(&relay, &hold).await).unwrap();
    assert_eq!(said["lanes"], json!(["acme/users_export_ids"]));
    assert!(said["until"].is_string(), "{said}");
    let hold = ["lane", "hold", "--activation", "park"];
    assert_eq!(
        scene.command(&relay, &hold).await,
        "activation park is held\n"
    );
    let said = scene.command(&relay, &["lane", "list"]).await;
    assert!(
        said.contains("HELD: manual since ") && said.contains("activation park is HELD"),
        "{said}"
    );

    scene.events(&relay, &people("resend", 0..20)).await;
    scene.events(&relay, &people("park", 20..40)).await;
    let release = ["lane", "release", "acme/users_export_ids"];
    scene.command(&relay, &release).await;
    until(
        "those of the other activation are done",
        WITHIN,
        async || (events(&scene, &relay, "done").await == 20).then_some(()),
    )
    .await;
    assert_eq!(scene.lines("credits?wait=false").await.len(), 20);
    assert_eq!(events(&scene, &relay, "queued").await, 20);
    let said = scene.command(&relay, &["lane", "release", "--all"]).await;
    assert!(said.ends_with("activation park is released\n"), "{said}");
    scene.ended(&relay).await;
    assert_eq!(events(&scene, &relay, "done").await, 40);

    for (words, expected) in [
        (&["lane", "hold", "acme/nowhere"][..], 1),
        (&["lane", "hold", "acme/held"], 1),
        (&["lane", "release", "nowhere"], 1),
        (&["lane", "hold", "--activation", "nowhere"], 1),
        (&["lane", "hold"], 2),
        (&["lane", "hold", "--all", "--for", "soon"], 2),
        (&["lane", "release", "--all", "--activation", "park"], 2),
        (&["lane", "list"], 0),
    ] {
        let code = scene.output(&relay, words).await.status.code();
        assert_eq!(code, Some(expected), "{words:?}");
    }
    relay.stop(&scene.setup).await;
}
