//! A person is forgotten by the real command, the real relay is killed around it, and the sandbox tells what Braze holds.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Child;

use super::ACTIVATIONS;
use crate::support::scene::{Scene, WITHIN};
use crate::support::{Dice, Relay, full, until};

const ADA: &str = "ada@example.com";
const BO: &str = "bo@example.com";
const PHONE: &str = "+15550188888";

fn joins(email: &str, key: &str) -> Value {
    json!({"id": key, "q_scope": "resend", "type": "participation", "email": email})
}

fn progress(email: &str, key: &str, scope: &str) -> Value {
    json!({"id": key, "q_scope": scope, "type": "progress", "email": email, "attributes": {"level": key}})
}

/// What a command prints to who gives it this on standard input; it must end with this code.
async fn told(relay: &Relay, words: &[&str], input: &str, code: i32) -> Value {
    let mut child = begun(relay, &[words, &["--json"]].concat());
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(input.as_bytes()).await.unwrap();
    drop(pipe);
    let output = child.wait_with_output().await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
    let low = said.to_lowercase();
    assert!(
        !low.contains("ada@") && !low.contains("bo@") && !low.contains(PHONE),
        "{said}"
    );
    serde_json::from_str(&said).unwrap()
}

fn begun(relay: &Relay, words: &[&str]) -> Child {
    let mut command = Scene::asking(relay, words);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

async fn events(scene: &Scene, relay: &Relay) -> Value {
    let status = scene.client.document(&relay.ops("/api/v1/status")).await;
    assert_eq!(status["events"]["adds_up"], true, "{status}");
    status["events"].clone()
}

const HOLD: [&str; 5] = ["lane", "hold", "--all", "--for", "30d"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_command_forgets_a_person_in_queue_letters_and_braze_and_a_kill_brings_nobody_back() {
    let scene = Scene::new(60, ACTIVATIONS, &["--appear", "1s..30s"]).await;
    let relay = scene.relay().await;
    let mut crowd = vec![joins("Ada@Example.com", "a0"), joins(BO, "b0")];
    crowd.extend((0..20).map(|number| joins(&format!("p{number}@example.com"), "p")));
    scene.events(&relay, &crowd).await;
    scene.ended(&relay).await;
    assert!(scene.profile(ADA).await.is_some());
    scene.command(&relay, &HOLD).await;
    let hers = [
        progress(ADA, "a1", "resend"),
        progress(ADA, "a2", "park"),
        progress(ADA, "a3", "resend"),
        progress(ADA, "a4", "nowhere"),
        progress(ADA, "a5", "nowhere"),
    ];
    scene.events(&relay, &hers).await;
    let his = [progress(BO, "b1", "resend")];
    scene.events(&relay, &his).await;

    let removed =
        json!({"events": 5, "jobs": 3, "in_flight": 0, "dead_letters": 2, "addresses": 1});
    let preview = told(&relay, &["forget", ADA], "", 0).await;
    assert_eq!(
        (&preview["removed"], &preview["id"]),
        (&removed, &Value::Null)
    );
    assert_eq!(scene.dead(&relay).await.len(), 2);
    let words = ["forget", "--email-stdin", "--yes", "--delete-in-braze"];
    let receipt = told(&relay, &words, "  Ada@Example.com\n", 0).await;
    assert_eq!((&receipt["removed"], &receipt["id"]), (&removed, &json!(1)));
    assert!(receipt["done_at"].is_string(), "{receipt}");
    relay.kill().await;

    let relay = scene.relay().await;
    let nothing = told(&relay, &["forget", ADA], "", 0).await;
    assert_eq!(nothing["removed"]["events"], 0, "{nothing}");
    let again = scene.events(&relay, &hers).await;
    assert_eq!(
        (&again["accepted"], &again["duplicates"]),
        (&json!(0), &json!(5))
    );
    scene.ended(&relay).await;
    let counted = events(&scene, &relay).await;
    assert_eq!(
        (&counted["forgotten"], &counted["dead"]),
        (&json!(5), &json!(0))
    );
    assert_eq!(scene.profile(ADA).await, None);
    assert_eq!(scene.done(&relay, "erase", "erased").await, 1);
    let his = scene.profile(BO).await.unwrap();
    assert_eq!(his["custom_attributes"]["level"], "b1");
    assert_eq!(scene.lines("credits?wait=false").await.len(), 22);
    let shown = told(&relay, &["forget", "show", "1"], "", 0).await;
    assert_eq!(shown["erasures"][0]["state"], "ended", "{shown}");
    let listed = told(&relay, &["forget", "list"], "", 0).await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    let audit = scene.client.text(&relay.ops("/api/v1/audit")).await;
    assert!(audit.contains("\"forget\""), "{audit}");
    let metrics = scene.client.text(&relay.ops("/metrics")).await;
    for text in [audit, metrics, scene.setup.log()] {
        assert!(!text.to_lowercase().contains("ada@"), "{text}");
    }

    // By phone, whoever it is; and what is asked wrongly.
    scene.command(&relay, &HOLD).await;
    let mut phoned = progress(BO, "b2", "resend");
    phoned["phone"] = PHONE.into();
    scene.events(&relay, &[phoned]).await;
    let words = ["forget", "--phone-stdin", "--yes"];
    let receipt = told(&relay, &words, PHONE, 0).await;
    assert_eq!(
        (&receipt["people"], &receipt["removed"]["events"]),
        (&json!(1), &json!(1))
    );
    for (words, code) in [
        (&["forget"][..], 2),
        (&["forget", "nobody"], 2),
        (&["forget", "--phone", "0155"], 2),
        (&["forget", "--email", ADA], 0),
        (&["forget", ADA, "--workspace", "nowhere"], 1),
        (&["forget", "show", "99"], 1),
    ] {
        told(&relay, words, "", code).await;
    }
    relay.stop(&scene.setup).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_was_said_to_be_forgotten_is_and_what_was_cut_off_goes_on_by_itself() {
    let seed = std::env::var("RELAY_SEED")
        .ok()
        .and_then(|it| it.parse().ok());
    let seed = seed.unwrap_or(std::process::id().into());
    println!("RELAY_SEED={seed}");
    let mut dice = Dice(seed);
    let scene = Scene::new(1, ACTIVATIONS, &[]).await;
    let (mut answered, mut cut, mut receipts) = (0, 0, 0);
    for round in 0..if full() { 60 } else { 8 } {
        let relay = scene.relay().await;
        let letter = |key| progress(ADA, &format!("{round}-{key}"), "nowhere");
        let mut letters: Vec<_> = (0..200).map(letter).collect();
        // Whoever has this phone is found by the newest alone, which goes first.
        letters[199]["phone"] = PHONE.into();
        scene.events(&relay, &letters).await;
        let mut child = begun(&relay, &["forget", "--phone", PHONE, "--yes", "--json"]);
        let patience = Duration::from_millis(dice.below(80));
        let ended = tokio::time::timeout(patience, child.wait()).await;
        let was_answered = ended.is_ok_and(|ended| ended.unwrap().success());
        match dice.below(2) {
            0 => relay.kill().await,
            _ => relay.stop(&scene.setup).await,
        }
        let relay = scene.relay().await;
        let listed = told(&relay, &["forget", "list"], "", 0).await;
        if listed["items"].as_array().unwrap().len() == receipts {
            assert!(!was_answered);
            let counted = events(&scene, &relay).await;
            assert_eq!(
                counted["forgotten"],
                200 * round,
                "nothing had begun: {counted}"
            );
            told(&relay, &["forget", "--phone-stdin", "--yes"], PHONE, 0).await;
        } else if was_answered {
            answered += 1;
        } else {
            cut += 1;
            until("it is done", WITHIN, async || {
                let listed = told(&relay, &["forget", "list"], "", 0).await;
                listed["items"][0]["done_at"].is_string().then_some(())
            })
            .await;
        }
        receipts += 1;
        let left = told(&relay, &["forget", ADA], "", 0).await;
        assert_eq!(left["removed"]["events"], 0, "{left}");
        let counted = events(&scene, &relay).await;
        assert_eq!(counted["forgotten"], 200 * (round + 1), "{counted}");
        assert_eq!(counted["dead"], 0, "{counted}");
        relay.stop(&scene.setup).await;
    }
    println!("of {receipts}, {answered} were answered, {cut} were cut off after they began");
}
