//! A configuration that is read anew, with the real binary: by a signal, by a command, and refused where it must be.

use std::process::Output;

use serde_json::{Value, json};

use super::ACTIVATIONS;
use crate::support::scene::{Scene, WITHIN};
use crate::support::{Relay, TOKEN, until};

const KEY: &str = "api_key = \"sandbox-braze-key\"";

fn people(scope: &str, numbers: std::ops::Range<u64>) -> Vec<Value> {
    let one = |number| {
        json!({"id": format!("join-{number}"), "q_scope": scope, "type": "participation",
            "email": format!("person.{number}@example.com")})
    };
    numbers.map(one).collect()
}

/// Puts `new` in the place of `old` in the configuration.
fn edit(scene: &Scene, old: &str, new: &str) {
    let text = std::fs::read_to_string(scene.setup.config()).unwrap();
    assert!(text.contains(old), "{old}");
    scene.setup.write(&text.replace(old, new));
}

async fn events(scene: &Scene, relay: &Relay, name: &str) -> u64 {
    let status = scene.client.document(&relay.ops("/api/v1/status")).await;
    status["events"][name].as_u64().unwrap()
}

async fn come(scene: &Scene, relay: &Relay, name: &str, count: u64) {
    until(name, WITHIN, async || {
        (events(scene, relay, name).await == count).then_some(())
    })
    .await;
}

/// `reload` with these words: exit code, the document, and what it complained of.
async fn reload(scene: &Scene, relay: &Relay, words: &[&str]) -> (Option<i32>, Value, String) {
    let words = [&["reload", "--json"], words].concat();
    let Output {
        status,
        stdout,
        stderr,
    } = scene.output(relay, &words).await;
    let document = serde_json::from_slice(&stdout).unwrap_or_default();
    let complaint = String::from_utf8(stderr).unwrap();
    (status.code(), document, complaint)
}

fn hang_up(relay: &Relay) {
    let line = format!("kill -HUP {}", relay.pid());
    let status = std::process::Command::new("sh")
        .args(["-c", &line])
        .status();
    assert!(status.unwrap().success());
}

/// The log's lines with this in them, as soon as there is one.
async fn logged(scene: &Scene, text: &str) -> String {
    until(text, WITHIN, async || {
        let log = scene.setup.log();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(text)).collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_put_right_in_its_file_releases_its_lanes_and_nothing_that_an_operator_holds()
{
    let scene = Scene::new(1, ACTIVATIONS, &[]).await;
    let file = scene.setup.file("braze.key");
    std::fs::write(&file, "a-wrong-key\n").unwrap();
    edit(&scene, KEY, &format!("api_key_file = {file:?}"));
    let relay = scene.relay().await;
    scene
        .command(&relay, &["lane", "hold", "acme/quikly"])
        .await;
    scene.events(&relay, &people("resend", 0..40)).await;
    let held = "relay_lane_held{lane=\"users_export_ids\",reason=\"denied\"";
    until(held, WITHIN, async || {
        (scene.metric(&relay, held).await > 0).then_some(())
    })
    .await;
    std::fs::write(&file, "sandbox-braze-key\n").unwrap();
    hang_up(&relay);
    let told = logged(&scene, "the configuration was read anew").await;
    assert!(
        told.contains("\"changed\":\"workspaces.acme.braze.api_key\""),
        "{told}"
    );
    assert!(
        told.contains("\"released\":\"acme/users_export_ids\""),
        "{told}"
    );
    assert_eq!(scene.metric(&relay, held).await, 0);
    // The credits wait for the operator.
    until("all are found or made", WITHIN, async || {
        (scene.jobs(&relay, "credit", "ready").await == 40).then_some(())
    })
    .await;
    assert_eq!(
        scene
            .metric(&relay, "relay_lane_held{lane=\"quikly\",reason=\"manual\"")
            .await,
        1
    );
    scene
        .command(&relay, &["lane", "release", "acme/quikly"])
        .await;
    scene.ended(&relay).await;
    assert_eq!(events(&scene, &relay, "done").await, 40);
    let audit = scene.client.document(&relay.ops("/api/v1/audit")).await;
    let entries = audit["items"].as_array().unwrap().iter();
    let entries: Vec<_> = entries.filter(|entry| entry["what"] == "reload").collect();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["who"], "signal");
    let (code, told, _) = reload(&scene, &relay, &[]).await;
    assert_eq!((code, &told["changed"]), (Some(0), &json!([])));
    for said in [scene.setup.log(), audit.to_string()] {
        assert!(!said.contains("a-wrong-key") && !said.contains("sandbox-braze-key"));
    }
    relay.stop(&scene.setup).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_with_mistakes_changes_nothing_and_every_one_of_them_is_told() {
    let scene = Scene::new(1, ACTIVATIONS, &[]).await;
    let relay = scene.relay().await;
    let good = std::fs::read_to_string(scene.setup.config()).unwrap();
    let new = "[activations.new]\nworkspace = \"acme\"\nflow = \"email\"\n";
    let bad = format!("{good}\n{new}[log]\nlevel = \"loud\"\n[retry]\nfirts = \"1s\"\n");
    scene.setup.write(&bad);
    let (code, told, complaint) = reload(&scene, &relay, &[]).await;
    assert_eq!(code, Some(1), "{complaint}");
    assert_eq!(told["applied"], json!(false));
    let mistakes = told["mistakes"].as_array().unwrap();
    let keys: Vec<_> = mistakes
        .iter()
        .map(|it| it["key"].as_str().unwrap())
        .collect();
    assert_eq!(keys, ["log.level", "retry.firts"], "{told}");
    assert!(mistakes.iter().all(|it| it["line"].as_u64() > Some(10)));
    assert!(complaint.contains("did you mean `first`?"), "{complaint}");
    let before = scene.setup.log();
    hang_up(&relay);
    until("it is told again", WITHIN, async || {
        let more = scene.setup.log()[before.len()..].to_owned();
        (more.matches("\"level\":\"ERROR\"").count() == 2).then_some(())
    })
    .await;
    // Nothing of it counts, neither what was right in it.
    scene.events(&relay, &people("new", 0..3)).await;
    scene.events(&relay, &people("resend", 3..6)).await;
    come(&scene, &relay, "done", 3).await;
    come(&scene, &relay, "dead", 3).await;

    scene.setup.write(&format!("{good}\n{new}"));
    let (code, told, complaint) = reload(&scene, &relay, &[]).await;
    assert_eq!(code, Some(0), "{complaint}");
    assert_eq!(told["changed"], json!(["activations.new"]));
    scene.events(&relay, &people("new", 6..9)).await;
    come(&scene, &relay, "done", 6).await;
    assert_eq!(events(&scene, &relay, "dead").await, 3);
    let replay = ["dead", "replay", "--all", "--yes", "--watch"];
    scene.command(&relay, &replay).await;
    come(&scene, &relay, "done", 9).await;
    relay.stop(&scene.setup).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_left_without_settings_but_by_force() {
    let beta = "[workspaces.beta.braze]\nurl = \"BRAZE\"\napi_key = \"a-wrong-key\"\n\
                [activations.of-beta]\nworkspace = \"beta\"\nflow = \"email\"\n";
    let scene = Scene::new(1, &format!("{ACTIVATIONS}{beta}"), &[]).await;
    let braze = scene.sandbox.braze.as_str().trim_end_matches('/');
    edit(&scene, "BRAZE", braze);
    let relay = scene.relay().await;
    let lane = "acme/users_export_ids";
    scene.command(&relay, &["lane", "hold", lane]).await;
    scene.events(&relay, &people("park", 0..20)).await;
    scene.events(&relay, &people("resend", 20..30)).await;
    scene.events(&relay, &people("of-beta", 30..37)).await;
    let denied = "relay_lane_held{lane=\"users_export_ids\",reason=\"denied\",workspace=\"beta\"";
    until(denied, WITHIN, async || {
        (scene.metric(&relay, denied).await > 0).then_some(())
    })
    .await;

    let all = std::fs::read_to_string(scene.setup.config()).unwrap();
    let from = all.find("[activations.park]").unwrap();
    scene.setup.write(&all[..from]);
    let (code, told, complaint) = reload(&scene, &relay, &[]).await;
    assert_eq!(code, Some(1), "{complaint}");
    let orphans = json!([
        {"workspace": "acme", "activation": "park", "jobs": 20},
        {"workspace": "beta", "activation": "of-beta", "jobs": 7},
    ]);
    assert_eq!(told["orphans"], orphans, "{told}");
    assert!(complaint.contains("acme/park: 20 jobs"), "{complaint}");
    assert_eq!(events(&scene, &relay, "dead").await, 0);
    hang_up(&relay);
    logged(&scene, "jobs that are alive would be left without settings").await;
    assert_eq!(events(&scene, &relay, "queued").await, 37);

    let (code, told, complaint) = reload(&scene, &relay, &["--force"]).await;
    assert_eq!(code, Some(0), "{complaint}");
    assert_eq!(told["jobs_without_rules"], 27);
    assert_eq!(
        told["changed"],
        json!(["activations.of-beta", "activations.park", "workspaces.beta"])
    );
    // Those of the workspace die at once, the others when they come up.
    come(&scene, &relay, "dead", 7).await;
    scene.command(&relay, &["lane", "release", lane]).await;
    come(&scene, &relay, "dead", 27).await;
    come(&scene, &relay, "done", 10).await;
    let letters = scene.dead(&relay).await;
    assert!(
        letters
            .iter()
            .all(|letter| letter["reason"] == "unknown_activation")
    );

    // Back, with a key that works.
    scene
        .setup
        .write(&all.replace("a-wrong-key", "sandbox-braze-key"));
    let (code, _, complaint) = reload(&scene, &relay, &[]).await;
    assert_eq!(code, Some(0), "{complaint}");
    let replay = ["dead", "replay", "--all", "--yes", "--watch"];
    scene.command(&relay, &replay).await;
    come(&scene, &relay, "done", 37).await;
    relay.stop(&scene.setup).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_log_level_and_what_needs_a_restart() {
    let scene = Scene::new(1, ACTIVATIONS, &[]).await;
    let relay = scene.relay().await;
    let post = async |token: &str, path: &str, body: Value| {
        let url = match path {
            "" => relay.events().clone(),
            path => relay.ops(path),
        };
        let bearer = format!("Bearer {token}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        let body = Some(body.to_string().into_bytes());
        let asked = scene.client.ask(
            braze_relay::client::http::Method::POST,
            &url,
            &headers,
            body,
        );
        asked.await.unwrap().status
    };
    let event = |number| people("resend", number..number + 1).remove(0);
    assert_eq!(post(TOKEN, "", event(1)).await, 202);

    let quikly = format!("[ingest.sources.quikly]\ntokens = [{{ value = \"{TOKEN}\" }}]");
    edit(&scene, &quikly, &quikly.replace(TOKEN, "another-token"));
    edit(
        &scene,
        "[ops]",
        "[serve]\nstop_within = \"3s\"\n[log]\nlevel = \"error\"\n[ops]\ntokens = [{ value = \"boss\", role = \"operator\" }]",
    );
    let (code, told, complaint) = reload(&scene, &relay, &[]).await;
    assert_eq!(code, Some(0), "{complaint}");
    let changed = json!(["ingest.sources.quikly.tokens", "log.level", "ops.tokens"]);
    assert_eq!(told["changed"], changed);
    assert_eq!(told["needs_restart"], json!(["serve.stop_within"]));
    assert_eq!(post(TOKEN, "", event(2)).await, 401);
    assert_eq!(post("another-token", "", event(2)).await, 202);
    assert_eq!(post("nobody", "/api/v1/reload", json!({})).await, 401);

    edit(&scene, "level = \"error\"", "level = \"info\"");
    let anew = "the configuration was read anew";
    assert_eq!(scene.setup.log().matches(anew).count(), 0);
    assert_eq!(post("boss", "/api/v1/reload", json!({})).await, 200);
    logged(&scene, anew).await;
    for (body, status) in [
        (json!({"force": "yes"}), 400),
        (json!({"forced": true}), 400),
    ] {
        assert_eq!(post("boss", "/api/v1/reload", body).await, status);
    }
    relay.stop(&scene.setup).await;
}
