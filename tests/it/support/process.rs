//! The binary as a process: `serve`, `sandbox`, and commands that end by themselves.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use url::Url;

use super::{TOKEN, until};

/// The program itself.
pub const BINARY: &str = env!("CARGO_BIN_EXE_braze-relay");

/// Ready, or gone: both are far quicker.
const WITHIN: Duration = Duration::from_mins(1);

/// A folder with a configuration, a store and a log.
pub struct Setup {
    folder: tempfile::TempDir,
    store: PathBuf,
}

impl Setup {
    /// A folder of its own. `more` is further configuration.
    pub fn new(sandbox: &Sandbox, more: &str) -> Setup {
        // The configuration takes no slash at the end, and an origin as a URL has one.
        let braze = sandbox.braze.as_str().trim_end_matches('/');
        Setup::with_urls(braze, sandbox.quikly.as_str(), more)
    }

    /// The same for a Braze and a Quikly elsewhere.
    pub fn with_urls(braze: &str, quikly: &str, more: &str) -> Setup {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("relay-data");
        let setup = Setup { folder, store };
        let store = setup.store.display().to_string();
        // Limits that never bind: what holds a test up is then the relay itself.
        let text = format!(
            "[ingest]\nlisten = \"127.0.0.1:0\"\n[ingest.sources.quikly]\ntokens = [{{ value = \"{TOKEN}\" }}]\n\
             [ops]\nlisten = \"127.0.0.1:0\"\n\
             [store]\npath = {store:?}\nballast_bytes = 1048576\n\
             [workspaces.acme.braze]\nurl = \"{braze}\"\napi_key = \"sandbox-braze-key\"\n\
             [workspaces.acme.braze.limits]\nusers_track = [\"100000/s\"]\nusers_export_ids = [\"100000/s\"]\n\
             [workspaces.acme.quikly]\nurl = \"{quikly}\"\ntoken = \"sandbox-quikly-token\"\nlimit = [\"100000/s\"]\n\
             {more}\n"
        );
        setup.write(&text);
        setup
    }

    pub fn store(&self) -> PathBuf {
        self.store.clone()
    }

    /// The same with its store there.
    pub fn with_store_at(self, store: &Path) -> Setup {
        let text = std::fs::read_to_string(self.config()).unwrap();
        let (from, to) = (
            format!("{:?}", self.store.display().to_string()),
            format!("{:?}", store.display().to_string()),
        );
        assert!(text.contains(&from));
        self.write(&text.replace(&from, &to));
        Setup {
            store: store.to_owned(),
            ..self
        }
    }

    pub fn config(&self) -> PathBuf {
        self.folder.path().join("relay.toml")
    }

    /// A file of this name beside them.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Another configuration.
    pub fn write(&self, text: &str) {
        std::fs::write(self.config(), text).unwrap();
    }

    /// What all relays of this folder have said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("serve.log")
    }

    /// `serve`, run by `wrapper` if there is one.
    fn command(&self, wrapper: &[&str]) -> Command {
        let line = [BINARY, "serve", "--config"];
        let mut words = wrapper.iter().copied().chain(line);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).arg(self.config());
        command.stderr(appending(&self.log_file()));
        command
    }

    /// Runs `serve` where it must not start; the exit code and what it said.
    pub async fn refused(&self) -> (Option<i32>, String) {
        let before = self.log().len();
        let mut child = spawn(self.command(&[]));
        let status = exit_of(&mut child).await;
        (status.code(), self.log()[before..].to_owned())
    }
}

/// A relay that is ready.
pub struct Relay {
    child: Child,
    _output: Lines<BufReader<ChildStdout>>,
    events: Url,
    ops: Url,
}

impl Relay {
    /// Starts `serve` and waits for its ready line.
    pub async fn start(setup: &Setup) -> Relay {
        Relay::start_by(setup, &[]).await
    }

    /// The same with further options.
    pub async fn start_with(setup: &Setup, options: &[&str]) -> Relay {
        let mut command = setup.command(&[]);
        command.args(options);
        Relay::started(setup, command).await
    }

    /// The same, run by another program, which must become it.
    pub async fn start_by(setup: &Setup, wrapper: &[&str]) -> Relay {
        Relay::started(setup, setup.command(wrapper)).await
    }

    /// Starts it where it may refuse: its exit code then.
    pub async fn ready_or_gone(setup: &Setup) -> Result<Relay, Option<i32>> {
        Relay::ready_or_gone_by(setup, &[]).await
    }

    /// The same, run by another program, which must become it.
    pub async fn ready_or_gone_by(setup: &Setup, wrapper: &[&str]) -> Result<Relay, Option<i32>> {
        Relay::told(setup.command(wrapper)).await
    }

    async fn started(setup: &Setup, command: Command) -> Relay {
        let told = Relay::told(command).await;
        told.unwrap_or_else(|code| panic!("serve did not get ready: {code:?}\n{}", setup.log()))
    }

    async fn told(command: Command) -> Result<Relay, Option<i32>> {
        let mut child = spawn(command);
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = tokio::time::timeout(WITHIN, output.next_line()).await;
        let Ok(Ok(Some(line))) = first else {
            return Err(exit_of(&mut child).await.code());
        };
        let url = |name: &str| {
            let mut words = line.split(' ');
            let found = words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            Url::parse(found.unwrap()).unwrap()
        };
        Ok(Relay {
            events: url("ingest").join("/v1/quikly/events").unwrap(),
            ops: url("ops"),
            child,
            _output: output,
        })
    }

    /// Where events are posted.
    pub fn events(&self) -> &Url {
        &self.events
    }

    /// A route of the ops listener.
    pub fn ops(&self, route: &str) -> Url {
        self.ops.join(route).unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// `kill -9`, and waits until it is gone.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        // The shell's own kill: no tool needs to be installed.
        let line = format!("kill -TERM {}", self.pid());
        let status = std::process::Command::new("sh")
            .args(["-c", &line])
            .status();
        assert!(status.unwrap().success());
    }

    /// How it ended.
    pub async fn exit(mut self) -> ExitStatus {
        exit_of(&mut self.child).await
    }

    /// SIGTERM, and a clean end.
    pub async fn stop(self, setup: &Setup) {
        self.terminate();
        let status = self.exit().await;
        assert_eq!(status.code(), Some(0), "{}", setup.log());
    }

    /// Resident memory in bytes, from `/proc`.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kilobytes = line.unwrap().split_whitespace().nth(1).unwrap();
        kilobytes.parse::<u64>().unwrap() * 1024
    }
}

/// A Braze and a Quikly in a process of their own.
pub struct Sandbox {
    _child: Child,
    _output: Lines<BufReader<ChildStdout>>,
    pub braze: Url,
    pub quikly: Url,
}

impl Sandbox {
    /// Starts `sandbox` without limits.
    pub async fn start(options: &[&str]) -> Sandbox {
        let mut command = Command::new(BINARY);
        command.args(["sandbox", "--limits", "off"]).args(options);
        let mut child = spawn(command);
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut url = async |name: &str| {
            let line = tokio::time::timeout(WITHIN, output.next_line()).await;
            let line = line.unwrap().unwrap().expect("the sandbox ended");
            Url::parse(line.strip_prefix(name).unwrap().trim()).unwrap()
        };
        let (braze, quikly) = (url("Braze").await, url("Quikly").await);
        Sandbox {
            _child: child,
            _output: output,
            braze,
            quikly,
        }
    }

    /// A question route.
    pub fn question(&self, question: &str) -> Url {
        let path = format!("/_sandbox/{question}");
        self.braze.join(&path).unwrap()
    }
}

/// Waits for the end of a process that ends by itself.
async fn exit_of(child: &mut Child) -> ExitStatus {
    until("the process ends", WITHIN, async || {
        child.try_wait().unwrap()
    })
    .await
}

fn spawn(mut command: Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command.kill_on_drop(true).spawn().unwrap()
}

fn appending(file: &Path) -> File {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)
        .unwrap()
}
