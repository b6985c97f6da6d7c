//! Settings: one TOML file, checked whole, with every mistake named at once.
//!
//! Invariants: what a [`Config`] holds is valid; a secret is never printed, neither by `Debug` nor in an error. The
//! meaning of each key is said in `deploy/relay.example.toml`, which [`EXAMPLE`] holds, and nowhere else.

mod activations;
mod attributes;
mod effective;
mod env;
pub(crate) mod field;
mod mistake;
mod outgrow;
mod read;
mod schema;
mod secret;
mod settings;
mod tree;
mod webhook;
mod workspaces;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde::Serialize;
use url::Url;

use crate::model::Name;
use crate::model::event::Source;
use crate::model::rules::{RuleBook, Rules};

pub use effective::{MASK, Part, Setting};
pub use env::{Env, PREFIX};
pub use mistake::{Mistake, Mistakes, Warning};

use mistake::Notes;
use read::{Context, Section};
use tree::Place;

/// The annotated example that ships with the relay.
pub const EXAMPLE: &str = include_str!("../../deploy/relay.example.toml");

/// A whole valid configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[ingest]`.
    pub ingest: Ingest,
    /// `[ops]`.
    pub ops: Ops,
    /// `[store]`.
    pub store: Store,
    /// `[serve] stop_within`.
    pub stop_within: Duration,
    /// `[telemetry] otlp_…`: where traces are exported to; `None`: nowhere.
    pub traces: Option<Traces>,
    /// `[workspaces.NAME]`.
    pub workspaces: BTreeMap<Name, Workspace>,
    /// `[activations.Q_SCOPE]` and `[outgrow.CONTENT]` with `[retry]`, as flows read them.
    pub rules: RuleBook,
    /// `[retry] hold_after`: burials of one activation in a row, for one reason, that hold it.
    pub hold_after: u32,
    /// Settings that are valid but ask for what this version does not do yet; `serve` refuses to start with any.
    pub not_yet: Vec<NotYet>,
    /// Every key as it is followed, without secrets.
    pub effective: Arc<[Part]>,
}

/// A configuration that can be used, and what should be thought about.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What works and is probably not what was meant.
    pub warnings: Vec<Warning>,
}

impl Config {
    /// Reads the file at `path` with the secrets and overrides of `env`. Offline: nothing is asked of anybody.
    /// A file that cannot be read is one mistake, with line 0 and no key.
    pub fn load(path: &Path, env: &Env) -> Result<Loaded, Mistakes> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            let problem = format!("the file cannot be read: {error}");
            let nowhere = Place::Line(0);
            Mistakes(vec![Mistake::new(&nowhere, "", problem).remedy(
                "name an existing file; `braze-relay check --example` prints one to begin with",
            )])
        })?;
        Config::from_toml(&text, env)
    }

    /// As [`Config::load`], for a text that is already here.
    pub fn from_toml(text: &str, env: &Env) -> Result<Loaded, Mistakes> {
        Config::from_tree(tree::parse(text)?, env)
    }

    fn from_tree(mut tree: tree::Table, env: &Env) -> Result<Loaded, Mistakes> {
        let notes = Notes::default();
        env::apply(&mut tree, env, &notes);
        schema::note_unknown(&tree, schema::ROOT, "", &notes);
        let context = Context { env, notes: &notes };
        let root = Section::root(context, &tree);
        notes.written(&tree);

        let ingest = settings::ingest(&root.table_or_empty("ingest"));
        let ops = settings::ops(&root.table_or_empty("ops"), &ingest);
        let store = settings::store(&root.table_or_empty("store"));
        let stop_within = root
            .table_or_empty("serve")
            .duration("stop_within", Duration::from_secs(10));
        let (retry, hold_after) = settings::retry(&root.table_or_empty("retry"));
        let traces = settings::traces(&root.table_or_empty("telemetry"));
        let known = workspaces::Known::of(&root);
        let workspaces = workspaces::read(&known);
        let rules = activations::read(&root, &known, retry);
        webhook::check(&root, &known, &ingest, &rules);
        let contents = outgrow::read(&root, &known, retry);

        let (warnings, not_yet, effective) = notes.close()?;
        let config = Config {
            ingest,
            ops,
            store,
            stop_within,
            traces,
            rules: RuleBook::new(rules.into_iter().chain(contents).map(|rules| {
                let braze = workspaces.get(&rules.workspace).map(|it| &it.braze);
                Rules {
                    order_gap: braze.map_or(rules.order_gap, |braze| braze.order_gap),
                    known_for: braze.map_or(rules.known_for, |braze| braze.known_for),
                    ..rules
                }
            }))
            .erasing(workspaces.keys(), retry),
            workspaces,
            hold_after,
            not_yet,
            effective: effective.into(),
        };
        Ok(Loaded { config, warnings })
    }
}

/// The export of traces.
#[derive(Clone, Debug)]
pub struct Traces {
    /// Takes OTLP over HTTP, protobuf.
    pub endpoint: Url,
    /// Of events that come without a trace, the part that begins one; 0 to 1.
    pub sample: f64,
}

/// A feature that is switched on and not built yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotYet {
    /// The line it is switched on in; 0: by the environment.
    pub line: usize,
    /// The key's full path.
    pub key: String,
    /// What it would be.
    pub feature: String,
}

/// `[ingest]`.
#[derive(Clone, Debug)]
pub struct Ingest {
    /// `listen`.
    pub listen: SocketAddr,
    /// `max_body_bytes`.
    pub max_body_bytes: usize,
    /// `max_event_bytes`.
    pub max_event_bytes: usize,
    /// `max_batch`.
    pub max_batch: usize,
    /// Accepted bearer tokens by source; a source without any is closed.
    pub tokens: BTreeMap<Source, Vec<SecretString>>,
}

/// `[ops]`.
#[derive(Clone, Debug)]
pub struct Ops {
    /// `listen`.
    pub listen: SocketAddr,
    /// Tokens with their roles; empty: open, and then on loopback only.
    pub tokens: Vec<(SecretString, Role)>,
}

/// What an ops token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Look.
    Viewer,
    /// Look and change.
    Operator,
}

impl Role {
    /// As the configuration names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
        }
    }
}

/// `[store]`.
#[derive(Clone, Debug)]
pub struct Store {
    /// `path`.
    pub path: PathBuf,
    /// `cache_bytes`.
    pub cache_bytes: u64,
    /// `max_jobs`.
    pub max_jobs: u64,
    /// `reserve_bytes`.
    pub reserve_bytes: u64,
    /// `ballast_bytes`.
    pub ballast_bytes: u64,
    /// `event_dedupe`.
    pub event_dedupe: Duration,
    /// `credit_dedupe`.
    pub credit_dedupe: Duration,
    /// `webhook_dedupe`.
    pub webhook_dedupe: Duration,
    /// `done_retention`.
    pub done_retention: Duration,
    /// `dead_retention`.
    pub dead_retention: Duration,
}

/// `[workspaces.NAME]`.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// `brand`.
    pub brand: Option<String>,
    /// `[….braze]`.
    pub braze: Braze,
    /// `[….quikly]`; needed only where something is told to Quikly.
    pub quikly: Option<Quikly>,
}

/// `[workspaces.NAME.braze]`.
#[derive(Clone, Debug)]
pub struct Braze {
    /// `url`, without a trailing slash in its path.
    pub url: Url,
    /// `api_key`.
    pub api_key: SecretString,
    /// `share`, 0–1.
    pub share: f64,
    /// `timeout` of one request.
    pub timeout: Duration,
    /// `max_in_flight` requests.
    pub max_in_flight: usize,
    /// `track_objects_max`.
    pub track_objects_max: usize,
    /// `linger`.
    pub linger: Duration,
    /// `order_gap`.
    pub order_gap: Duration,
    /// `partner`, as in `User-Agent: partner-<this>/<version>`.
    pub partner: String,
    /// `known_for`.
    pub known_for: Duration,
    /// `[….limits]`: the windows of each Braze lane (every one but `quikly`), all of which apply.
    pub limits: BTreeMap<crate::model::lane::LaneKind, Vec<Limit>>,
}

/// `[workspaces.NAME.quikly]`.
#[derive(Clone, Debug)]
pub struct Quikly {
    /// `url`.
    pub url: Url,
    /// `token`.
    pub token: SecretString,
    /// `limit`: all windows apply.
    pub limit: Vec<Limit>,
    /// `max_in_flight` requests.
    pub max_in_flight: usize,
    /// `timeout` of one request.
    pub timeout: Duration,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, unit) = match self.window.as_secs() {
            seconds if seconds.is_multiple_of(3600) => (seconds / 3600, "h"),
            seconds if seconds.is_multiple_of(60) => (seconds / 60, "min"),
            seconds => (seconds, "s"),
        };
        let count = if count == 1 {
            String::new()
        } else {
            count.to_string()
        };
        write!(f, "{}/{count}{unit}", self.requests)
    }
}

/// So many requests in so long: `"3000/3s"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Requests.
    pub requests: u32,
    /// In this long.
    pub window: Duration,
}
