//! `braze-relay sandbox`: a Braze and a Quikly to run against, until it is stopped.
//!
//! Invariants: what it prints on standard output is enough to configure a relay for it. Its keys are no secrets: whoever
//! starts it chooses them, and they open nothing else.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::sandbox::{
    self, Behaviour, Bucket, HeaderVariant, NotAnOption, Options, Permission, Running, Script,
    Spread, Window, WorkspaceOptions,
};

/// Run a Braze and a Quikly to develop and test against
///
/// What they hold can be asked for under /_sandbox/: profiles, credits, requests, sets (every status that was set, and what
/// existed then), prompts (of double opt-ins), summary. GET /_sandbox/people/PHONE says what somebody does when prompted;
/// POST /_sandbox/people/PHONE/stop, start or confirm does it now. POST /_sandbox/behaviour changes how people behave,
/// POST /_sandbox/script plays outages. With --clock-speed, two minutes and thirty days can be lived through.
#[derive(Debug, clap::Args)]
pub struct SandboxArgs {
    /// Where Braze, Quikly and the question routes listen; port 0 takes any free one
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// A second address for Quikly
    #[arg(long, value_name = "ADDRESS")]
    quikly_listen: Option<SocketAddr>,
    /// A workspace and its API key, as NAME=KEY or NAME=KEY:users.track,users.export.ids to allow only this; repeatable
    /// [default: sandbox=sandbox-braze-key]
    #[arg(long, value_name = "NAME=KEY", value_parser = workspace)]
    workspace: Vec<WorkspaceOptions>,
    /// The bearer token Quikly wants
    #[arg(long, default_value = "sandbox-quikly-token", value_name = "TOKEN")]
    quikly_token: String,
    /// Whether Quikly honours Idempotency-Key
    #[arg(long, default_value = "on", value_name = "on|off", value_parser = on_or_off, action = clap::ArgAction::Set)]
    quikly_idempotency: bool,
    /// How long Quikly takes to answer, such as 5ms or 5ms..50ms
    #[arg(long, default_value = "0ms", value_name = "RANGE")]
    quikly_latency: Spread,
    /// How long an accepted write takes to take effect
    #[arg(long, default_value = "10ms..100ms", value_name = "RANGE")]
    appear: Spread,
    /// Braze's documented rate limits, or none
    #[arg(long, default_value = "on", value_name = "on|off", value_parser = on_or_off, action = clap::ArgAction::Set)]
    limits: bool,
    /// The limit of one endpoint, as users_track=3000/3s; several windows with commas; repeatable
    #[arg(long, value_name = "LANE=N/TIME", value_parser = limit)]
    limit: Vec<(Bucket, Windows)>,
    /// Another consumer of an endpoint's limit, who asks evenly, as users_export_ids=20/s; repeatable
    #[arg(long, value_name = "LANE=N/TIME", value_parser = other)]
    other: Vec<(Bucket, Window)>,
    /// How limits are told: epoch, delta, none, mau
    #[arg(long, default_value = "epoch", value_name = "VARIANT")]
    headers: HeaderVariant,
    /// Profiles that exist from the start: NDJSON or a JSON array
    #[arg(long, value_name = "FILE")]
    known: Option<PathBuf>,
    /// A subscription group that exists; repeatable [default: every UUID is one]
    #[arg(long, value_name = "UUID")]
    group: Vec<String>,
    /// The part of all people who confirm a double opt-in, from 0 to 1
    #[arg(long, default_value_t = 0.8, value_name = "PART")]
    confirm: f64,
    /// The part of all people who answer STOP; whoever does neither never answers
    #[arg(long, default_value_t = 0.1, value_name = "PART")]
    refuse: f64,
    /// How long after the prompt people confirm; later than 30 days is too late
    #[arg(long, default_value = "30s..1h", value_name = "RANGE")]
    confirm_after: Spread,
    /// How long after the prompt people refuse
    #[arg(long, default_value = "30s..1h", value_name = "RANGE")]
    refuse_after: Spread,
    /// A custom event that starts the brand's own double opt-in for a subscription group, such as
    /// quikly_double_opt_in=6f4b0c3e-0000-4000-8000-000000000001; repeatable
    #[arg(long, value_name = "EVENT=GROUP", value_parser = opt_in_event)]
    opt_in_event: Vec<(String, String)>,
    /// Outages and oddities: TOML or JSON
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// Fixes every chance, also what people do: one seed and one phone, one reaction
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    time: super::TimeArgs,
}

/// All windows of one bucket.
type Windows = std::sync::Arc<[Window]>;

fn workspace(text: &str) -> Result<WorkspaceOptions, NotAnOption> {
    let wrong = || NotAnOption("expected NAME=KEY or NAME=KEY:PERMISSION,PERMISSION".to_owned());
    let (name, rest) = text.split_once('=').ok_or_else(wrong)?;
    let (key, permissions) = rest
        .split_once(':')
        .map_or((rest, None), |(key, some)| (key, Some(some)));
    if name.is_empty() || key.is_empty() {
        return Err(wrong());
    }
    let mut workspace = WorkspaceOptions::new(name, key);
    if let Some(permissions) = permissions {
        let read = permissions.split(',').map(str::parse::<Permission>);
        workspace.permissions = read.collect::<Result<_, _>>()?;
    }
    Ok(workspace)
}

fn limit(text: &str) -> Result<(Bucket, Windows), NotAnOption> {
    let (bucket, windows) = text.split_once('=').ok_or_else(|| {
        NotAnOption("expected LANE=N/TIME such as users_track=3000/3s".to_owned())
    })?;
    let windows: Result<Vec<Window>, _> = windows.split(',').map(str::parse).collect();
    Ok((bucket.parse()?, windows?.into()))
}

fn other(text: &str) -> Result<(Bucket, Window), NotAnOption> {
    match limit(text)? {
        (bucket, windows) if windows.len() == 1 => Ok((bucket, windows[0])),
        _ => Err(NotAnOption(format!(
            "{text:?}: another consumer has one rate"
        ))),
    }
}

fn opt_in_event(text: &str) -> Result<(String, String), NotAnOption> {
    let pair = text.split_once('=').filter(|(event, _)| !event.is_empty());
    let (event, group) = pair.ok_or_else(|| {
        NotAnOption("expected EVENT=GROUP such as quikly_double_opt_in=6f4b…".to_owned())
    })?;
    Ok((event.to_owned(), group.to_owned()))
}

fn on_or_off(text: &str) -> Result<bool, NotAnOption> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(NotAnOption("expected on or off".to_owned())),
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

impl SandboxArgs {
    fn options(self) -> anyhow::Result<Options> {
        let mut options = Options {
            listen: self.listen,
            quikly_listen: self.quikly_listen,
            quikly_token: self.quikly_token,
            quikly_idempotency: self.quikly_idempotency,
            quikly_latency: self.quikly_latency,
            others: self.other.into_iter().collect(),
            headers: self.headers,
            appear: self.appear,
            seed: self.seed,
            groups: self.group.into_iter().collect(),
            behaviour: Behaviour {
                seed: self.seed,
                confirm: self.confirm,
                refuse: self.refuse,
                confirm_after: self.confirm_after,
                refuse_after: self.refuse_after,
                opt_in_events: self.opt_in_event.into_iter().collect(),
            },
            ..Options::default()
        };
        if !self.workspace.is_empty() {
            options.workspaces = self.workspace;
        }
        if !self.limits {
            options.limits = BTreeMap::new();
        }
        let given = self
            .limit
            .into_iter()
            .map(|(bucket, windows)| (bucket, windows.to_vec()));
        options.limits.extend(given);
        if let Some(path) = &self.known {
            let known = sandbox::read_known(&read(path)?);
            options.known = known.with_context(|| path.display().to_string())?;
        }
        if let Some(path) = &self.script {
            options.script =
                Script::parse(&read(path)?).with_context(|| path.display().to_string())?;
        }
        options.check()?;
        Ok(options)
    }
}

/// Starts it, says how to reach it, and returns when it is told to stop (SIGINT or SIGTERM).
///
/// Errors: a file cannot be read or says nothing sensible, two workspaces share a name or key, an address is taken.
pub async fn run(args: SandboxArgs) -> anyhow::Result<()> {
    let clock = args.time.clock();
    let options = args.options()?;
    let running = sandbox::start(options.clone(), clock)
        .await
        .context("the sandbox cannot start")?;
    print!("{}", greeting(&options, &running));
    until_stopped().await?;
    running.stop().await;
    Ok(())
}

async fn until_stopped() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// Where it listens, and a piece of configuration for a relay.
fn greeting(options: &Options, running: &Running) -> String {
    let braze = running.braze_url();
    let quikly = running.quikly_url();
    let mut text =
        format!("Braze   {braze}\nQuikly  {quikly}\nAsk     {braze}/_sandbox/summary\n\n");
    for workspace in &options.workspaces {
        let (name, key, token) = (&workspace.name, &workspace.api_key, &options.quikly_token);
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "[workspaces.{name}.braze]\nurl = {braze:?}\napi_key = {key:?}\n\
             [workspaces.{name}.quikly]\nurl = {quikly:?}\ntoken = {token:?}\n\n"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests may")]
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: SandboxArgs,
    }

    fn options(line: &[&str]) -> Option<Options> {
        let parsed = Line::try_parse_from(std::iter::once(&"sandbox").chain(line));
        parsed.ok()?.args.options().ok()
    }

    #[test]
    fn every_option_has_a_sensible_default() {
        let options = options(&[]).unwrap();
        assert_eq!(options.workspaces[0].name, "sandbox");
        assert_eq!(options.limits, Bucket::documented());
        assert!(options.quikly_idempotency);
    }

    #[test]
    fn people_behave_by_the_seed_and_parts_that_were_asked_for() {
        let line = ["--seed", "7", "--confirm", "0.5", "--refuse-after", "2s"];
        let event = ["--group", "g", "--opt-in-event", "e=g"];
        let read = options(&[&line[..], &event].concat()).unwrap().behaviour;
        assert_eq!((read.seed, read.refuse_after), (7, "2s".parse().unwrap()));
        assert_eq!(read.opt_in_events["e"], "g");
        assert_eq!(options(&[]).unwrap().behaviour, Behaviour::default());
        assert!(options(&["--confirm", "0.8", "--refuse", "0.3"]).is_none());
        assert!(options(&["--opt-in-event", "e=nope"]).is_none());
        assert!(options(&["--opt-in-event", "e"]).is_none());
    }

    #[test]
    fn limits_can_be_off_but_for_one() {
        let options = options(&["--limits", "off", "--limit", "users_track=2/s,100/h"]).unwrap();
        assert_eq!(options.limits.len(), 1);
        assert_eq!(options.limits[&Bucket::UsersTrack].len(), 2);
    }

    #[test]
    fn another_consumer_has_one_rate() {
        let options = options(&["--other", "users_export_ids=20/s"]).unwrap();
        assert_eq!(options.others[&Bucket::UsersExportIds].requests, 20);
        assert!(super::other("users_track=20/s,40/min").is_err());
    }

    #[test]
    fn workspaces_may_have_few_permissions_and_must_differ() {
        let read = options(&["--workspace", "a=1:users.track", "--workspace", "b=2"]).unwrap();
        assert_eq!(read.workspaces[0].permissions.len(), 1);
        assert_eq!(read.workspaces[1].permissions.len(), 5);
        assert!(options(&["--workspace", "a=1", "--workspace", "b=1"]).is_none());
        assert!(options(&["--workspace", "a=1:users.fly"]).is_none());
        assert!(options(&["--clock-speed", "0"]).is_none());
    }

    #[tokio::test]
    async fn the_greeting_is_a_configuration() {
        let options = options(&[]).unwrap();
        let running = sandbox::start(options.clone(), crate::clock::Clock::system(1.0))
            .await
            .unwrap();
        let text = greeting(&options, &running);
        let snippet = &text[text.find('[').unwrap()..];
        let document: toml_edit::DocumentMut = snippet.parse().unwrap();
        let url = document["workspaces"]["sandbox"]["braze"]["url"]
            .as_str()
            .unwrap();
        assert_eq!(url, running.braze_url());
        running.stop().await;
    }
}
