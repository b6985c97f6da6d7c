//! A real sandbox and a real relay as child processes, and what is asked of them over HTTP.
//!
//! Invariants: both listen on ports of their own and are killed when their handle goes. What is measured is what the
//! sandbox recorded, read while it is being recorded, since it remembers only the latest requests.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use braze_relay::client::http::{Http, Method};
use braze_relay::model::time::Timestamp;
use serde_json::Value;
use url::Url;

const BINARY: &str = env!("CARGO_BIN_EXE_braze-relay");
const TOKEN: &str = "a-token-for-the-bench";
const ANSWER_WITHIN: Duration = Duration::from_mins(1);
const ANSWER_BYTES_MAX: usize = 1 << 30;

/// A process that says on its first lines where it listens.
struct Process {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Process {
    fn start(mut command: Command) -> Result<Process> {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let output = child.stdout.take().context("a child without output")?;
        Ok(Process {
            child,
            output: BufReader::new(output),
        })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let read = self.output.read_line(&mut line)?;
        ensure!(read > 0, "a process ended before it said where it listens");
        Ok(line)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing to do when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One request as the sandbox saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When it came.
    pub at: Timestamp,
    /// Which endpoint.
    pub path: String,
    /// How it was answered.
    pub status: u64,
    /// How much it carried.
    pub objects: u64,
    /// Whether it was another consumer's.
    pub other: bool,
}

/// Both processes.
pub struct Stage {
    sandbox: Process,
    relay: Process,
    braze: Url,
    events: Url,
    metrics: Url,
    http: Http,
    next: u64,
    /// Everything that the sandbox has recorded so far.
    pub seen: Vec<Seen>,
}

impl Stage {
    /// Starts both in `folder`. `options`: further ones of the sandbox; `limits`: lines of the workspace's limits;
    /// `identity`: of the one activation, `drop`.
    pub fn set(folder: &Path, options: &[String], limits: &str, identity: &str) -> Result<Stage> {
        let mut command = Command::new(BINARY);
        command.args(["sandbox", "--limits", "off"]).args(options);
        let mut sandbox = Process::start(command)?;
        let mut url = |name: &str| -> Result<Url> {
            let line = sandbox.line()?;
            let rest = line.strip_prefix(name).context("not what it says")?;
            Ok(Url::parse(rest.trim())?)
        };
        let braze = url("Braze")?;
        let store = folder.join("store").display().to_string();
        let text = format!(
            "[ingest]\nlisten = \"127.0.0.1:0\"\n[ingest.sources.quikly]\ntokens = [{{ value = \"{TOKEN}\" }}]\n\
             [ops]\nlisten = \"127.0.0.1:0\"\n[store]\npath = {store:?}\nballast_bytes = 1048576\n\
             [workspaces.acme.braze]\nurl = \"{}\"\napi_key = \"sandbox-braze-key\"\n\
             [workspaces.acme.braze.limits]\n{limits}\n\
             [activations.drop]\nworkspace = \"acme\"\nflow = \"email\"\nidentity = \"{identity}\"\n\
             mark_attributes = {{ quikly_drop = true }}\n",
            braze.as_str().trim_end_matches('/')
        );
        let config = folder.join("relay.toml");
        std::fs::write(&config, text)?;
        let mut command = Command::new(BINARY);
        command.args(["serve", "--config"]).arg(&config);
        command.stderr(File::create(folder.join("serve.log"))?);
        let mut relay = Process::start(command)?;
        let said = relay.line()?;
        let url = |name: &str| -> Result<Url> {
            let mut words = said.split_whitespace();
            let found = words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            Ok(Url::parse(found.context("the relay said something else")?)?)
        };
        Ok(Stage {
            events: url("ingest")?.join("/v1/quikly/events")?,
            metrics: url("ops")?.join("/metrics")?,
            sandbox,
            relay,
            braze,
            http: Http::new(8, Duration::from_secs(5))?,
            next: 0,
            seen: Vec::new(),
        })
    }

    /// The process ids: relay, sandbox.
    pub fn ids(&self) -> (u32, u32) {
        (self.relay.child.id(), self.sandbox.child.id())
    }

    /// Posts this JSON array of events; returns when they are accepted.
    pub async fn post(&self, events: String) -> Result<()> {
        let bearer = format!("Bearer {TOKEN}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        let (method, body) = (Method::POST, Some(events.into_bytes()));
        let asked = self.http.request(
            method,
            &self.events,
            &headers,
            body,
            ANSWER_WITHIN,
            ANSWER_BYTES_MAX,
        );
        let status = asked.await?.status;
        ensure!(status == 202, "the relay answered {status}");
        Ok(())
    }

    async fn text(&self, url: &Url) -> Result<String> {
        let asked = self
            .http
            .request(Method::GET, url, &[], None, ANSWER_WITHIN, ANSWER_BYTES_MAX);
        Ok(String::from_utf8(asked.await?.body)?)
    }

    /// How many jobs are done; an error when one is dead.
    pub async fn done(&self) -> Result<u64> {
        let text = self.text(&self.metrics).await?;
        let sum = |name: &str| {
            let lines = text.lines().filter(|line| line.starts_with(name));
            let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
            values.sum::<f64>() as u64
        };
        ensure!(sum("relay_dead_total{") == 0, "there are dead letters");
        Ok(sum("relay_done_total{"))
    }

    /// Reads what the sandbox has recorded since the last time.
    pub async fn look(&mut self) -> Result<()> {
        let question = format!("/_sandbox/requests?after={}", self.next);
        let text = self.text(&self.braze.join(&question)?).await?;
        for line in text.lines() {
            let line: Value = serde_json::from_str(line)?;
            let number = line["id"].as_u64().context("a request without number")?;
            ensure!(
                number == self.next,
                "the sandbox has forgotten requests before they were read"
            );
            self.next = number + 1;
            self.seen.push(Seen {
                at: Timestamp::parse_rfc3339(line["at"].as_str().unwrap_or_default())?,
                path: line["path"].as_str().unwrap_or_default().to_owned(),
                status: line["status"].as_u64().unwrap_or_default(),
                objects: line["objects"].as_u64().unwrap_or_default(),
                other: line["other"].as_bool().unwrap_or_default(),
            });
        }
        Ok(())
    }
}
