//! A relay's surroundings for one story: a sandbox and a configuration, on one clock, and the questions tests ask of both.
//!
//! Invariants: relay and sandbox share a clock, sped up or not, over every restart of the relay. What is asked of the
//! sandbox is what Braze and Quikly would hold.

use std::process::Output;
use std::time::Duration;

use braze_relay::clock::ClockBase;
use braze_relay::model::time::Timestamp;
use serde_json::{Value, json};
use tokio::process::Command;

use super::process::BINARY;
use super::{Client, Relay, Sandbox, Setup, TOKEN, until};

/// A run long enough for slow machines, short enough to fail.
pub const WITHIN: Duration = Duration::from_mins(1);

/// The subscription group of these stories.
pub const GROUP: &str = "6f4b0c3e-0000-4000-8000-000000000000";

/// A sandbox in a process of its own, and a folder for relays that work against it.
pub struct Scene {
    pub sandbox: Sandbox,
    pub setup: Setup,
    pub client: Client,
    time: Vec<String>,
}

impl Scene {
    /// Both with time `speed` times as fast. All sources are open; `config` is further configuration, `options` are
    /// further options of the sandbox.
    pub async fn new(speed: u32, config: &str, options: &[&str]) -> Scene {
        let base = ClockBase::now().to_string();
        let speed = speed.to_string();
        let time = ["--clock-speed", &speed, "--clock-base", &base];
        let sandbox = Sandbox::start(&[&time[..], &["--group", GROUP], options].concat()).await;
        let tokens = format!("tokens = [{{ value = \"{TOKEN}\" }}]");
        let sources =
            format!("[ingest.sources.braze]\n{tokens}\n[ingest.sources.outgrow]\n{tokens}");
        Scene {
            setup: Setup::new(&sandbox, &format!("{sources}\n{config}")),
            sandbox,
            client: Client::new(),
            time: time.map(str::to_owned).to_vec(),
        }
    }

    /// Starts a relay.
    pub async fn relay(&self) -> Relay {
        let time: Vec<&str> = self.time.iter().map(String::as_str).collect();
        Relay::start_with(&self.setup, &time).await
    }

    /// Posts `body` to a route of the relay. The 202's body.
    pub async fn post(&self, relay: &Relay, route: &str, body: &Value) -> Value {
        let url = relay.events().join(route).unwrap();
        let body = serde_json::to_vec(body).unwrap();
        let answer = self.client.post(&url, body).await.unwrap();
        let text = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, 202, "{text}");
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// Posts these Quikly events in one request.
    pub async fn events(&self, relay: &Relay, events: &[Value]) -> Value {
        let all = Value::from(events);
        self.post(relay, "/v1/quikly/events", &all).await
    }

    /// From now on these rules hold in the sandbox, and no others.
    pub async fn script(&self, rules: &Value) {
        let script = json!({ "rules": rules }).to_string();
        let url = self.sandbox.question("script");
        let told = self.client.post(&url, script.into()).await.unwrap();
        let text = String::from_utf8_lossy(&told.body);
        assert_eq!(told.status, 200, "{text}");
    }

    /// What the sandbox answers to a question, line by line.
    pub async fn lines(&self, question: &str) -> Vec<Value> {
        self.client.lines(&self.sandbox.question(question)).await
    }

    /// A number of the sandbox's summary, without waiting for writes on their way.
    pub async fn summed(&self, name: &str) -> u64 {
        let url = self.sandbox.question("summary?wait=false");
        self.client.document(&url).await[name].as_u64().unwrap()
    }

    /// The one profile with this e-mail; `None`: there is none.
    pub async fn profile(&self, email: &str) -> Option<Value> {
        let question = format!("profiles?email={}", email.replace('+', "%2B"));
        let mut found = self.lines(&question).await;
        assert!(found.len() < 2, "{email} has several profiles");
        found.pop()
    }

    /// Somebody texts `word` (`stop`, `start`, `confirm`) to the group.
    pub async fn text(&self, phone: &str, word: &str) {
        let path = format!("people/{phone}/{word}?subscription_group_id={GROUP}");
        let url = self.sandbox.question(&path.replace('+', "%2B"));
        let told = self.client.post(&url, Vec::new()).await.unwrap();
        let text = String::from_utf8_lossy(&told.body);
        assert_eq!(told.status, 200, "{phone} {word}: {text}");
    }

    /// The sum of the metrics whose lines begin so.
    pub async fn metric(&self, relay: &Relay, name: &str) -> u64 {
        let text = self.client.text(&relay.ops("/metrics")).await;
        let lines = text.lines().filter(|line| line.starts_with(name));
        lines
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum::<f64>() as u64
    }

    /// How many jobs of `flow` are in `state`.
    pub async fn jobs(&self, relay: &Relay, flow: &str, state: &str) -> u64 {
        let name = format!("relay_jobs{{flow=\"{flow}\",state=\"{state}\"");
        self.metric(relay, &name).await
    }

    /// How many jobs of `flow` ended with `outcome`, in this relay's life.
    pub async fn done(&self, relay: &Relay, flow: &str, outcome: &str) -> u64 {
        let name = format!("relay_done_total{{flow=\"{flow}\",outcome=\"{outcome}\"");
        self.metric(relay, &name).await
    }

    /// Waits until nothing is queued; the relay's account must then add up.
    pub async fn ended(&self, relay: &Relay) {
        let events = until("nothing is queued", WITHIN, async || {
            let status = self.client.document(&relay.ops("/api/v1/status")).await;
            (status["events"]["queued"] == 0).then(|| status["events"].clone())
        })
        .await;
        assert_eq!(events["adds_up"], json!(true), "{events}");
    }

    /// The dead letters, whole.
    pub async fn dead(&self, relay: &Relay) -> Vec<Value> {
        let page = relay.ops("/api/v1/dead?limit=1000");
        let page = self.client.document(&page).await;
        assert_eq!(page["next"], Value::Null, "more than a page");
        let mut letters = Vec::new();
        for row in page["items"].as_array().unwrap() {
            let id = row["id"].as_str().unwrap();
            let letter = relay.ops(&format!("/api/v1/dead/{id}"));
            letters.push(self.client.document(&letter).await);
        }
        letters
    }

    /// `braze-relay WORDS… --ops …`, which must end well. What it said.
    pub async fn command(&self, relay: &Relay, words: &[&str]) -> String {
        let Output {
            status,
            stdout,
            stderr,
        } = self.output(relay, words).await;
        let said = String::from_utf8(stdout).unwrap();
        let complaint = String::from_utf8_lossy(&stderr);
        assert!(status.success(), "{words:?}: {status}\n{said}\n{complaint}");
        said
    }

    /// The same, however it ends.
    pub async fn output(&self, relay: &Relay, words: &[&str]) -> Output {
        Scene::asking(relay, words).output().await.unwrap()
    }

    /// The command, not yet run.
    pub fn asking(relay: &Relay, words: &[&str]) -> Command {
        let ops = relay.ops("/");
        let mut command = Command::new(BINARY);
        command.args(words).args(["--ops", ops.as_str()]);
        command
    }
}

/// A moment as the sandbox shows it.
pub fn moment(value: &Value) -> Timestamp {
    Timestamp::parse_rfc3339(value.as_str().unwrap()).unwrap()
}
