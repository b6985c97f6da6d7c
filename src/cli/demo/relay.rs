//! The relay as a child process of the same binary: started, killed, started again.
//!
//! Invariants: the child is killed when its handle goes. It is told nothing but its configuration and what time it is:
//! variables of the environment that would change its configuration are not passed on.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use url::Url;

use crate::clock::ClockBase;
use crate::sandbox::Running;

/// What Quikly has to show.
pub(super) const QUIKLY_SENDS: &str = "demo-quikly-sends";
/// What Outgrow has to show.
pub(super) const OUTGROW_TOKEN: &str = "demo-outgrow-token";
/// What Braze's webhooks have to show.
pub(super) const BRAZE_TOKEN: &str = "demo-webhook-token";
/// Braze's key.
pub(super) const BRAZE_KEY: &str = "demo-braze-key";
/// Quikly's.
pub(super) const QUIKLY_TOKEN: &str = "demo-quikly-token";
/// The workspace.
pub(super) const WORKSPACE: &str = "acme";

/// The configuration's name in the folder.
pub(super) const CONFIG_FILE: &str = "relay.toml";
/// The folder of the store in the folder.
pub(super) const STORE_FOLDER: &str = "relay-data";
/// The relay's log in the folder.
pub(super) const LOG_FILE: &str = "relay.log";

/// Requests to Braze at once, and so requests that a kill can leave unanswered.
pub(super) const BRAZE_IN_FLIGHT: u64 = 16;
/// The same at Quikly.
pub(super) const QUIKLY_IN_FLIGHT: u64 = 16;

/// How long the relay may take to say that it is ready, in real time.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// Where the relay listens.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Addresses {
    /// For events.
    pub ingest: Url,
    /// For operators.
    pub ops: Url,
}

/// The configuration of the demo's relay; port 0 takes any free one. `own`: the scenario's activations and contents.
pub(super) fn configuration(
    own: &str,
    sandbox: &Running,
    ingest_port: u16,
    ops_port: u16,
) -> String {
    let (braze, quikly) = (sandbox.braze_url(), sandbox.quikly_url());
    format!(
        r#"# What `braze-relay demo` ran the relay with. Every key is explained by: braze-relay check --example
[ingest]
listen = "127.0.0.1:{ingest_port}"
[ingest.sources.quikly]
tokens = [{{ value = "{QUIKLY_SENDS}" }}]
[ingest.sources.outgrow]
tokens = [{{ value = "{OUTGROW_TOKEN}" }}]
[ingest.sources.braze]
tokens = [{{ value = "{BRAZE_TOKEN}" }}]

[ops]
listen = "127.0.0.1:{ops_port}"

[store]
path = "{STORE_FOLDER}"
reserve_bytes = 33554432
ballast_bytes = 1048576

[workspaces.{WORKSPACE}.braze]
url = "{braze}"
api_key = "{BRAZE_KEY}"
max_in_flight = {BRAZE_IN_FLIGHT}
[workspaces.{WORKSPACE}.quikly]
url = "{quikly}"
token = "{QUIKLY_TOKEN}"
max_in_flight = {QUIKLY_IN_FLIGHT}

{}
"#,
        own.trim()
    )
}

/// How to start it.
#[derive(Debug)]
pub(super) struct Launch {
    /// This binary.
    pub binary: PathBuf,
    /// Where the configuration is, and where it works.
    pub folder: PathBuf,
    /// How many times faster than the machine's its time passes, as the sandbox's does.
    pub clock_speed: f64,
    /// Since when.
    pub clock_base: ClockBase,
}

/// A relay that runs.
#[derive(Debug)]
pub(super) struct Relay {
    child: Child,
    /// Where it listens.
    pub addresses: Addresses,
}

impl Launch {
    /// Starts it and waits until it is ready.
    pub(super) async fn start(&self) -> anyhow::Result<Relay> {
        let log = self.folder.join(LOG_FILE);
        let errors = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("the log {}", log.display()))?;
        let mut command = Command::new(&self.binary);
        command
            .args(["serve", "--config", CONFIG_FILE])
            .args(["--clock-speed", &self.clock_speed.to_string()])
            .args(["--clock-base", &self.clock_base.to_string()])
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .kill_on_drop(true);
        for (name, _) in std::env::vars_os() {
            if name
                .to_string_lossy()
                .to_ascii_uppercase()
                .starts_with("RELAY__")
            {
                command.env_remove(name);
            }
        }
        let mut child = command.spawn().context("the relay could not be started")?;
        let output = child.stdout.take().context("no standard output")?;
        let mut line = String::new();
        let mut output = BufReader::new(output);
        let read = tokio::time::timeout(READY_WITHIN, output.read_line(&mut line)).await;
        let failed = || anyhow!("the relay did not become ready; its log: {}", log.display());
        read.map_err(|_| failed())??;
        let addresses = ready(&line).ok_or_else(failed)?;
        Ok(Relay { child, addresses })
    }
}

impl Relay {
    /// SIGKILL: no chance to put anything in order. Returns when it is gone.
    pub(super) async fn kill(&mut self) -> anyhow::Result<()> {
        self.child
            .kill()
            .await
            .context("the relay could not be killed")
    }

    /// Returns, with an error, when it ends without having been killed by us.
    pub(super) async fn ended(&mut self, folder: &Path) -> anyhow::Result<()> {
        let status = self.child.wait().await?;
        let log = folder.join(LOG_FILE);
        bail!(
            "the relay ended by itself ({status}); its log: {}",
            log.display()
        )
    }
}

/// Reads `ready ingest=URL ops=URL`.
fn ready(line: &str) -> Option<Addresses> {
    let mut words = line.trim().strip_prefix("ready ")?.split(' ');
    let mut url = |name: &str| words.next()?.strip_prefix(name)?.parse().ok();
    Some(Addresses {
        ingest: url("ingest=")?,
        ops: url("ops=")?,
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::super::scenario::{Name, Scenario};
    use super::*;
    use crate::clock::Clock;
    use crate::config::{Config, Env};
    use crate::sandbox::{self, Options};

    #[test]
    fn the_ready_line_tells_both_addresses() {
        let told = ready("ready ingest=http://127.0.0.1:1 ops=http://127.0.0.1:2\n").unwrap();
        assert_eq!(told.ingest.as_str(), "http://127.0.0.1:1/");
        assert_eq!(told.ops.port(), Some(2));
        assert_eq!(ready("error"), None);
        assert_eq!(ready("ready ingest=x"), None);
    }

    #[tokio::test]
    async fn every_configuration_can_be_used_as_it_is() {
        let running = sandbox::start(Options::default(), Clock::system(1.0))
            .await
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(CONFIG_FILE);
        for name in Name::ALL {
            let own = Scenario::new(name, Some(50)).unwrap().configuration;
            std::fs::write(&file, configuration(&own, &running, 0, 0)).unwrap();
            let loaded = Config::load(&file, &Env::from_pairs([("A", "b")])).unwrap();
            assert!(loaded.config.not_yet.is_empty());
            // That an unknown external id makes a profile is meant.
            let mut warnings = loaded.warnings.iter();
            assert!(
                warnings.all(|it| it.key.ends_with(".external_id")),
                "{name:?}"
            );
        }
        running.stop().await;
    }
}
