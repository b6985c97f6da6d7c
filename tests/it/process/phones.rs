//! `sms` and `double_opt_in` with the real binary, sped up, killed in the middle of the two minutes and of the polls.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::scene::{GROUP, Scene, WITHIN, moment};
use crate::support::{Relay, until};

const OPT_IN: &str = "quikly_double_opt_in";
const PEOPLE: u64 = 120;
const DELAY: Duration = Duration::from_secs(120);

fn activations() -> String {
    let common = format!("workspace = \"acme\"\nsubscription_group_id = \"{GROUP}\"\n");
    format!(
        "[activations.sms]\nflow = \"sms\"\n{common}credit = {{ event = \"joined\" }}\n\
         [activations.event]\nflow = \"double_opt_in\"\n{common}credit = {{ event = \"confirmed\" }}\n\
         opt_in = {{ event = \"{OPT_IN}\" }}\n\
         [activations.logic]\nflow = \"double_opt_in\"\n{common}credit = {{ event = \"confirmed\" }}\n\
         opt_in = {{ use_double_opt_in_logic = true }}\n"
    )
}

fn phone(scope: &str, number: u64) -> String {
    let first = match scope {
        "sms" => 1,
        "event" => 2,
        _ => 3,
    };
    format!("+1555{first}{number:06}")
}

/// Everybody of one activation; each fifth without consent, each seventh without a phone.
fn crowd(scope: &str) -> Vec<Value> {
    let one = |number: u64| {
        let mut event = json!({"id": format!("{scope}-{number}"), "q_scope": scope, "type": "participation",
            "email": format!("{scope}.{number}@example.com"), "sms_consent": !number.is_multiple_of(5)});
        if !number.is_multiple_of(7) {
            event["phone"] = phone(scope, number).into();
        }
        event
    };
    (0..PEOPLE).map(one).collect()
}

fn consents(number: u64) -> bool {
    !number.is_multiple_of(5) && !number.is_multiple_of(7)
}

fn agreed() -> BTreeSet<u64> {
    (0..PEOPLE).filter(|number| consents(*number)).collect()
}

/// A crowd that joins, as fast as `speed` lets it.
struct Joining(Scene);

impl Joining {
    async fn new(speed: u32, options: &[&str]) -> Joining {
        let event = format!("{OPT_IN}={GROUP}");
        let all = [&["--opt-in-event", &event, "--appear", "1s..90s"], options].concat();
        Joining(Scene::new(speed, &activations(), &all).await)
    }

    /// All of them are due in the future.
    async fn all_wait(&self, relay: &Relay, flow: &str) {
        let all = agreed().len() as u64;
        until("all who agreed wait", WITHIN, async || {
            (self.0.jobs(relay, flow, "waiting").await == all).then_some(())
        })
        .await;
    }

    /// Who of an activation was credited.
    async fn credits(&self, scope: &str) -> BTreeSet<u64> {
        let mut credited = BTreeSet::new();
        for credit in self.0.lines("credits?wait=false").await {
            if credit["q_scope"] == scope {
                let email = credit["email"].as_str().unwrap();
                let number = email.trim_start_matches(scope).trim_start_matches('.');
                let number = number.split('@').next().unwrap().parse().unwrap();
                assert!(credited.insert(number), "credited twice: {credit}");
            }
        }
        credited
    }

    /// What must be true of everybody, asked of the sandbox.
    async fn judge(&self, scope: &str) -> BTreeSet<u64> {
        let credited = self.credits(scope).await;
        let scene = &self.0;
        for number in 0..PEOPLE {
            let phone = phone(scope, number);
            let path = format!("people/{phone}").replace('+', "%2B");
            let person = scene.client.document(&scene.sandbox.question(&path)).await;
            let subscribed = person.to_string().to_lowercase().contains("\"subscribed\"");
            if credited.contains(&number) {
                assert!(
                    consents(number),
                    "{scope}.{number} was credited without consent"
                );
                assert!(
                    subscribed,
                    "{scope}.{number} was credited and is not subscribed: {person}"
                );
            } else {
                assert!(
                    !(subscribed && consents(number)),
                    "{scope}.{number} is subscribed and not credited: {person}"
                );
            }
        }
        credited
    }

    /// Every set of this activation by phone: each at most once, and met by a profile.
    async fn sets(&self, scope: &str) -> BTreeMap<String, Value> {
        let mut sets = BTreeMap::new();
        for set in self.0.lines("sets?wait=false").await {
            let whom = set["phone"].as_str().unwrap().to_owned();
            if whom.starts_with(&phone(scope, 0)[..6]) {
                assert_eq!(set["outcome"], "taken", "{set}");
                assert_eq!(sets.insert(whom, set), None, "somebody was set twice");
            }
        }
        sets
    }

    /// All who agreed were set, each once and not before Braze had had two minutes.
    async fn set_in_time(&self, scope: &str) {
        let sets = self.sets(scope).await;
        let phones: BTreeSet<_> = agreed().into_iter().map(|it| phone(scope, it)).collect();
        assert_eq!(sets.keys().cloned().collect::<BTreeSet<_>>(), phones);
        for set in sets.values() {
            let created = moment(&set["profiles"][0]["created_asked_at"]);
            assert!(moment(&set["at"]).since(created) >= DELAY, "{set}");
        }
    }

    /// How many requests read a status so far.
    async fn reads(&self) -> u64 {
        let summary = self.0.sandbox.question("summary?wait=false");
        let summary = self.0.client.document(&summary).await;
        let reads = &summary["requests_by_path"]["/subscription/status/get"]["200"];
        reads.as_u64().unwrap_or(0)
    }
}

#[tokio::test]
async fn sms_killed_in_the_middle_of_the_two_minutes_subscribes_and_credits_everybody_who_agreed() {
    // Two minutes in four seconds.
    let joining = Joining::new(30, &[]).await;
    let scene = &joining.0;
    let relay = scene.relay().await;
    scene.events(&relay, &crowd("sms")).await;
    until("somebody who agreed waits", WITHIN, async || {
        (scene.jobs(&relay, "sms", "waiting").await > 0).then_some(())
    })
    .await;
    relay.kill().await;
    assert!(
        joining.sets("sms").await.is_empty(),
        "nobody is set before the delay is over"
    );
    let relay = scene.relay().await;
    scene.ended(&relay).await;
    assert_eq!(joining.judge("sms").await, agreed());
    joining.set_in_time("sms").await;
    relay.stop(&scene.setup).await;
}

#[tokio::test]
async fn sms_killed_in_the_middle_of_the_polls_credits_everybody_without_a_second_set() {
    // Two minutes in two seconds; then some subscriptions show at once, some after five minutes.
    let joining = Joining::new(60, &[]).await;
    let scene = &joining.0;
    scene
        .script(&json!([{"lane": "subscription_status_set", "action": {"appear": "1s..5m"}}]))
        .await;
    let relay = scene.relay().await;
    scene.events(&relay, &crowd("sms")).await;
    let all = agreed().len();
    until("all are set", WITHIN, async || {
        (scene.summed("sets").await == all as u64).then_some(())
    })
    .await;
    let reads = joining.reads().await;
    until("they are read back", WITHIN, async || {
        (joining.reads().await >= reads + 3).then_some(())
    })
    .await;
    relay.kill().await;
    let before = joining.credits("sms").await.len();
    assert!(before < all, "the polls were over already");
    let relay = scene.relay().await;
    scene.ended(&relay).await;
    assert_eq!(joining.judge("sms").await, agreed());
    joining.set_in_time("sms").await;
    relay.stop(&scene.setup).await;
}

#[tokio::test]
async fn who_said_stop_while_nobody_knew_whether_they_were_subscribed_is_left_alone() {
    let joining = Joining::new(30, &["--seed", "3"]).await;
    let scene = &joining.0;
    let relay = scene.relay().await;
    scene.events(&relay, &crowd("sms")).await;
    joining.all_wait(&relay, "sms").await;
    // Every subscription works and is not answered, and for now nobody can be asked about it.
    scene
        .script(&json!([
            {"path": "/v2/subscription/status/set", "action": "drop_answer"},
            {"path": "/subscription/status/get", "action": {"status": 503}},
        ]))
        .await;
    let agreed = agreed();
    until("all are subscribed", WITHIN, async || {
        (joining.sets("sms").await.len() == agreed.len()).then_some(())
    })
    .await;
    for number in &agreed {
        scene.text(&phone("sms", *number), "stop").await;
    }
    scene.script(&json!([])).await;
    scene.ended(&relay).await;
    assert_eq!(joining.credits("sms").await, BTreeSet::new());
    let sets = scene.lines("sets").await;
    assert!(
        sets.iter().all(|set| set["stopped_at"].is_null()),
        "somebody was subscribed again"
    );
    let opted_out = scene.done(&relay, "sms", "opted_out").await;
    assert_eq!(opted_out, agreed.len() as u64);
    relay.stop(&scene.setup).await;
}

#[tokio::test]
async fn double_opt_in_killed_in_the_middle_of_the_two_minutes_prompts_everybody_who_agreed_once() {
    let options = [
        "--confirm",
        "1",
        "--refuse",
        "0",
        "--confirm-after",
        "10s..1m",
    ];
    let joining = Joining::new(60, &options).await;
    let scene = &joining.0;
    let relay = scene.relay().await;
    scene.events(&relay, &crowd("logic")).await;
    joining.all_wait(&relay, "double_opt_in").await;
    relay.kill().await;
    assert_eq!(scene.summed("prompts").await, 0);
    assert_eq!(scene.summed("sets").await, 0);
    let relay = scene.relay().await;
    scene.ended(&relay).await;
    assert_eq!(joining.judge("logic").await, agreed());
    joining.set_in_time("logic").await;
    assert_eq!(scene.summed("prompts").await, agreed().len() as u64);
    relay.stop(&scene.setup).await;
}

#[tokio::test]
async fn double_opt_in_killed_in_the_middle_of_the_polls_credits_exactly_those_who_confirmed() {
    // Thirty days in some nine seconds; people confirm within nine of them.
    let options = [
        "--confirm",
        "0.5",
        "--refuse",
        "0.2",
        "--confirm-after",
        "1m..9d",
        "--seed",
        "5",
    ];
    let joining = Joining::new(300_000, &options).await;
    let scene = &joining.0;
    let relay = scene.relay().await;
    scene.events(&relay, &crowd("event")).await;
    scene.events(&relay, &crowd("logic")).await;
    until("somebody is credited", WITHIN, async || {
        (scene.summed("credits").await > 0).then_some(())
    })
    .await;
    relay.kill().await;
    let relay = scene.relay().await;
    scene.ended(&relay).await;
    for scope in ["event", "logic"] {
        let credited = joining.judge(scope).await;
        assert!(
            credited.len() > 20 && credited.len() < 80,
            "{scope}: {}",
            credited.len()
        );
    }
    let not_confirmed = scene.done(&relay, "double_opt_in", "not_confirmed").await;
    assert!(not_confirmed > 20, "{not_confirmed}");
    relay.stop(&scene.setup).await;
}
