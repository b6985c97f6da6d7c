//! `sms` and `double_opt_in` with the real binary, sped up, killed in the middle of the two minutes and of the polls.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use braze_relay::clock::Clock;
use braze_relay::model::time::Timestamp;
use serde_json::{Value, json};

use crate::support::{Client, Relay, Sandbox, Setup, until};

const GROUP: &str = "6f4b0c3e-0000-4000-8000-000000000000";
const OPT_IN: &str = "quikly_double_opt_in";
const PEOPLE: u64 = 120;

/// A run long enough for slow machines, short enough to fail.
const WITHIN: Duration = Duration::from_mins(1);

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

struct Scene {
    sandbox: Sandbox,
    setup: Setup,
    client: Client,
    base: String,
    speed: String,
}

impl Scene {
    /// A sandbox and a configuration, both with time `speed` times as fast.
    async fn new(speed: u32, options: &[&str]) -> Scene {
        let base = Clock::system(1.0).now().to_rfc3339();
        let speed = speed.to_string();
        let event = format!("{OPT_IN}={GROUP}");
        let mut all = vec![
            "--clock-speed",
            &speed,
            "--clock-base",
            &base,
            "--group",
            GROUP,
        ];
        all.extend(["--opt-in-event", &event, "--appear", "1s..90s"]);
        all.extend(options);
        let sandbox = Sandbox::start(&all).await;
        let setup = Setup::new(&sandbox, &activations());
        let client = Client::new();
        Scene {
            sandbox,
            setup,
            client,
            base,
            speed,
        }
    }

    async fn relay(&self) -> Relay {
        let time = ["--clock-speed", &self.speed, "--clock-base", &self.base];
        Relay::start_with(&self.setup, &time).await
    }

    async fn post(&self, relay: &Relay, scope: &str) {
        let body = serde_json::to_vec(&crowd(scope)).unwrap();
        assert_eq!(
            self.client.post(relay.events(), body).await.unwrap().status,
            202
        );
    }

    /// The sum of the metrics whose lines begin so.
    async fn metric(&self, relay: &Relay, name: &str) -> u64 {
        let text = self.client.text(&relay.ops("/metrics")).await;
        let lines = text.lines().filter(|line| line.starts_with(name));
        lines
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum::<f64>() as u64
    }

    async fn ended(&self, relay: &Relay) {
        until("nobody waits any more", WITHIN, async || {
            let status = self.client.document(&relay.ops("/api/v1/status")).await;
            (status["events"]["queued"] == 0).then_some(())
        })
        .await;
    }

    /// How many jobs of flow `sms` are due in the future.
    async fn waiting(&self, relay: &Relay) -> u64 {
        self.metric(relay, "relay_jobs{flow=\"sms\",state=\"waiting\"")
            .await
    }

    /// Who of an activation was credited.
    async fn credits(&self, scope: &str) -> BTreeSet<u64> {
        let mut credited = BTreeSet::new();
        for credit in self.client.lines(&self.sandbox.question("credits")).await {
            if credit["q_scope"] == scope && credit["duplicate"] != true {
                let email = credit["email"].as_str().unwrap();
                let number = email.trim_start_matches(scope).trim_start_matches('.');
                let number = number.split('@').next().unwrap().parse().unwrap();
                credited.insert(number);
            }
        }
        credited
    }

    /// What must be true of everybody, asked of the sandbox.
    async fn judge(&self, scope: &str) -> BTreeSet<u64> {
        let credited = self.credits(scope).await;
        for number in 0..PEOPLE {
            let phone = phone(scope, number);
            let path = format!("people/{phone}").replace('+', "%2B");
            let person = self.client.document(&self.sandbox.question(&path)).await;
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

    /// When each phone of this activation was set, by the sandbox's clock; each at most once.
    async fn sets(&self, scope: &str) -> BTreeMap<String, Value> {
        let mut sets = BTreeMap::new();
        for set in self.client.lines(&self.sandbox.question("sets")).await {
            let whom = set["phone"].as_str().unwrap().to_owned();
            if whom.starts_with(&phone(scope, 0)[..6]) {
                assert_eq!(set["outcome"], "taken", "{set}");
                assert_eq!(sets.insert(whom, set), None, "somebody was set twice");
            }
        }
        sets
    }
}

#[tokio::test]
async fn sms_killed_in_the_middle_of_the_two_minutes_subscribes_and_credits_everybody_who_agreed() {
    // Two minutes in four seconds.
    let scene = Scene::new(30, &[]).await;
    let relay = scene.relay().await;
    scene.post(&relay, "sms").await;
    until("somebody who agreed waits", WITHIN, async || {
        (scene.waiting(&relay).await > 0).then_some(())
    })
    .await;
    relay.kill().await;
    assert!(
        scene.sets("sms").await.is_empty(),
        "nobody is set before the delay is over"
    );
    let relay = scene.relay().await;
    scene.ended(&relay).await;
    let agreed = (0..PEOPLE)
        .filter(|number| consents(*number))
        .collect::<BTreeSet<_>>();
    assert_eq!(scene.judge("sms").await, agreed);
    let sets = scene.sets("sms").await;
    assert_eq!(sets.len(), agreed.len());
    for set in sets.values() {
        let profile = &set["profiles"][0];
        let moment = |value: &Value| Timestamp::parse_rfc3339(value.as_str().unwrap()).unwrap();
        let waited = moment(&set["at"]).since(moment(&profile["created_asked_at"]));
        assert!(waited >= Duration::from_secs(120), "{set}");
    }
    relay.stop(&scene.setup).await;
}

#[tokio::test]
async fn who_said_stop_while_nobody_knew_whether_they_were_subscribed_is_left_alone() {
    let scene = Scene::new(30, &["--seed", "3"]).await;
    let relay = scene.relay().await;
    scene.post(&relay, "sms").await;
    let agreed: Vec<u64> = (0..PEOPLE).filter(|number| consents(*number)).collect();
    until("all who agreed wait", WITHIN, async || {
        (scene.waiting(&relay).await == agreed.len() as u64).then_some(())
    })
    .await;
    // Every subscription works and is not answered, and for now nobody can be asked about it.
    let script = json!({"rules": [
        {"path": "/v2/subscription/status/set", "action": "drop_answer"},
        {"path": "/subscription/status/get", "action": {"status": 503}},
    ]});
    let url = scene.sandbox.question("script");
    let told = scene
        .client
        .post(&url, serde_json::to_vec(&script).unwrap())
        .await;
    assert_eq!(told.unwrap().status, 200);
    until("all are subscribed", WITHIN, async || {
        (scene.sets("sms").await.len() == agreed.len()).then_some(())
    })
    .await;
    for number in &agreed {
        let path = format!("people/{}/stop", phone("sms", *number)).replace('+', "%2B");
        let stopped = scene
            .client
            .post(&scene.sandbox.question(&path), Vec::new())
            .await;
        assert_eq!(stopped.unwrap().status, 200);
    }
    assert_eq!(scene.client.delete(&url).await.unwrap().status, 200);
    scene.ended(&relay).await;
    assert_eq!(scene.credits("sms").await, BTreeSet::new());
    let sets = scene.client.lines(&scene.sandbox.question("sets")).await;
    assert!(
        sets.iter().all(|set| set["stopped_at"].is_null()),
        "somebody was subscribed again"
    );
    let opted_out = "relay_done_total{flow=\"sms\",outcome=\"opted_out\"";
    assert_eq!(scene.metric(&relay, opted_out).await, agreed.len() as u64);
    relay.stop(&scene.setup).await;
}

#[tokio::test]
async fn double_opt_in_killed_in_the_middle_of_the_polls_credits_exactly_those_who_confirmed() {
    // Thirty days in some twenty-six seconds; people confirm within three of them.
    let options = [
        "--confirm",
        "0.5",
        "--refuse",
        "0.2",
        "--confirm-after",
        "1m..3d",
        "--seed",
        "5",
    ];
    let scene = Scene::new(100_000, &options).await;
    let relay = scene.relay().await;
    scene.post(&relay, "event").await;
    scene.post(&relay, "logic").await;
    until("somebody is credited", WITHIN, async || {
        let credits = scene.client.lines(&scene.sandbox.question("credits")).await;
        (!credits.is_empty()).then_some(())
    })
    .await;
    relay.kill().await;
    let relay = scene.relay().await;
    scene.ended(&relay).await;
    for scope in ["event", "logic"] {
        let credited = scene.judge(scope).await;
        assert!(
            credited.len() > 20 && credited.len() < 80,
            "{scope}: {}",
            credited.len()
        );
    }
    let not_confirmed = scene
        .metric(
            &relay,
            "relay_done_total{flow=\"double_opt_in\",outcome=\"not_confirmed\"",
        )
        .await;
    assert!(not_confirmed > 20, "{not_confirmed}");
    relay.stop(&scene.setup).await;
}
