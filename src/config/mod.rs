//! Settings: one TOML file, checked whole, with every mistake named at once.
//!
//! Invariants: what a [`Config`] holds is valid; a secret is never printed, neither by `Debug` nor in an error. The
//! meaning of each key is said in `deploy/relay.example.toml`, which [`EXAMPLE`] holds, and nowhere else.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::model::Name;
use crate::model::event::Source;
use crate::model::rules::RuleBook;

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
    /// `[workspaces.NAME]`.
    pub workspaces: BTreeMap<Name, Workspace>,
    /// `[activations.Q_SCOPE]` with `[retry]`, as flows read them.
    pub rules: RuleBook,
    /// Settings that are valid but ask for what this version does not do yet; `serve` refuses to start with any.
    pub not_yet: Vec<NotYet>,
}

/// A feature that is switched on and not built yet.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// So many requests in so long: `"3000/3s"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Requests.
    pub requests: u32,
    /// In this long.
    pub window: Duration,
}
