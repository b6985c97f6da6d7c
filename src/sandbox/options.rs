//! What a sandbox is started with.
//!
//! Invariants: keys and tokens never appear in `Debug`. Absent: no command line; that is in `cli`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::limits::{Bucket, HeaderVariant, Window};
use super::people::Behaviour;
use super::profiles::Object;
use super::script::Script;
use super::workspace::is_group;

/// A text or a combination that is no valid setting.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotAnOption(pub String);

/// What an API key may do; the names are Braze's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// `users.track`
    UsersTrack,
    /// `users.export.ids`
    UsersExportIds,
    /// `users.delete`
    UsersDelete,
    /// `subscription.status.get`
    SubscriptionStatusGet,
    /// `subscription.status.set`
    SubscriptionStatusSet,
}

impl Permission {
    /// Every one that the sandbox knows.
    pub const ALL: [Permission; 5] = [
        Permission::UsersTrack,
        Permission::UsersExportIds,
        Permission::UsersDelete,
        Permission::SubscriptionStatusGet,
        Permission::SubscriptionStatusSet,
    ];

    /// Braze's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Permission::UsersTrack => "users.track",
            Permission::UsersExportIds => "users.export.ids",
            Permission::UsersDelete => "users.delete",
            Permission::SubscriptionStatusGet => "subscription.status.get",
            Permission::SubscriptionStatusSet => "subscription.status.set",
        }
    }
}

impl FromStr for Permission {
    type Err = NotAnOption;
    fn from_str(text: &str) -> Result<Self, NotAnOption> {
        let known = Permission::ALL.into_iter().find(|one| one.as_str() == text);
        known.ok_or_else(|| NotAnOption(format!("{text:?} is no permission of the sandbox")))
    }
}

/// One workspace: its own key, profiles and limits.
#[derive(Clone)]
pub struct WorkspaceOptions {
    /// How question routes and scripts call it.
    pub name: String,
    /// The REST key that names it.
    pub api_key: String,
    /// What the key may do.
    pub permissions: BTreeSet<Permission>,
}

impl WorkspaceOptions {
    /// A workspace whose key may do everything.
    pub fn new(name: &str, api_key: &str) -> WorkspaceOptions {
        WorkspaceOptions {
            name: name.to_owned(),
            api_key: api_key.to_owned(),
            permissions: Permission::ALL.into_iter().collect(),
        }
    }
}

impl fmt::Debug for WorkspaceOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("WorkspaceOptions");
        shown.field("name", &self.name);
        shown.field("permissions", &self.permissions);
        shown.finish_non_exhaustive()
    }
}

/// A range of durations, written `10ms..100ms` or `50ms`; each drawing is uniform, ends included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Spread {
    /// The shortest.
    pub least: Duration,
    /// The longest.
    pub most: Duration,
}

impl Spread {
    /// Always the same.
    pub const fn exactly(length: Duration) -> Spread {
        Spread {
            least: length,
            most: length,
        }
    }

    /// The duration that `random` chooses, in whole milliseconds.
    pub fn pick(self, random: u64) -> Duration {
        let least = self.least.as_millis() as u64;
        let width = (self.most.as_millis() as u64).saturating_sub(least);
        Duration::from_millis(least + random % (width + 1))
    }
}

impl FromStr for Spread {
    type Err = NotAnOption;
    fn from_str(text: &str) -> Result<Self, NotAnOption> {
        let (least, most) = text.split_once("..").unwrap_or((text, text));
        let read = |part: &str| {
            humantime::parse_duration(part.trim()).map_err(|_| {
                NotAnOption(format!(
                    "{text:?} is no duration or range such as 10ms..100ms"
                ))
            })
        };
        let spread = Spread {
            least: read(least)?,
            most: read(most)?,
        };
        if spread.least > spread.most {
            return Err(NotAnOption(format!(
                "{text:?}: the shorter duration comes first"
            )));
        }
        Ok(spread)
    }
}

impl TryFrom<String> for Spread {
    type Error = NotAnOption;
    fn try_from(text: String) -> Result<Self, NotAnOption> {
        text.parse()
    }
}

impl From<Spread> for String {
    fn from(spread: Spread) -> String {
        let shown = humantime::format_duration;
        format!("{}..{}", shown(spread.least), shown(spread.most))
    }
}

/// Everything a sandbox can be told. [`Options::default`] is one workspace, `sandbox`, with Braze's documented limits.
#[derive(Clone)]
pub struct Options {
    /// Where Braze, Quikly and the question routes listen; port 0: any free one.
    pub listen: SocketAddr,
    /// A second address for Quikly, where a test wants to tell the hosts apart.
    pub quikly_listen: Option<SocketAddr>,
    /// The workspaces, at least one.
    pub workspaces: Vec<WorkspaceOptions>,
    /// The bearer token that Quikly wants.
    pub quikly_token: String,
    /// Whether Quikly gives one credit for one `Idempotency-Key`.
    pub quikly_idempotency: bool,
    /// How long Quikly takes to answer, after it has acted.
    pub quikly_latency: Spread,
    /// The windows of each bucket; a bucket without any is unlimited.
    pub limits: BTreeMap<Bucket, Vec<Window>>,
    /// What another consumer asks for of each bucket, evenly, in every workspace.
    pub others: BTreeMap<Bucket, Window>,
    /// How limits are told.
    pub headers: HeaderVariant,
    /// How long an accepted write takes to take effect.
    pub appear: Spread,
    /// Fixes every chance.
    pub seed: u64,
    /// Profiles that exist from the start, see [`read_known`].
    pub known: Vec<Object>,
    /// The subscription groups that exist; empty: any UUID is one.
    pub groups: BTreeSet<String>,
    /// What people do who are asked to confirm, and which events ask them.
    pub behaviour: Behaviour,
    /// Outages and oddities from the start.
    pub script: Script,
    /// How many requests `/_sandbox/requests` remembers.
    pub requests_kept: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            quikly_listen: None,
            workspaces: vec![WorkspaceOptions::new("sandbox", "sandbox-braze-key")],
            quikly_token: "sandbox-quikly-token".to_owned(),
            quikly_idempotency: true,
            quikly_latency: Spread::default(),
            limits: Bucket::documented(),
            others: BTreeMap::new(),
            headers: HeaderVariant::Epoch,
            appear: Spread {
                least: Duration::from_millis(10),
                most: Duration::from_millis(100),
            },
            seed: 0,
            known: Vec::new(),
            groups: BTreeSet::new(),
            behaviour: Behaviour::default(),
            script: Script::default(),
            requests_kept: 10_000,
        }
    }
}

impl Options {
    /// What contradicts itself.
    pub fn check(&self) -> Result<(), NotAnOption> {
        let mut keys = BTreeSet::new();
        let mut names = BTreeSet::new();
        for workspace in &self.workspaces {
            if !names.insert(&workspace.name) || !keys.insert(&workspace.api_key) {
                let name = &workspace.name;
                return Err(NotAnOption(format!(
                    "workspace {name:?}: names and keys must differ from workspace to workspace"
                )));
            }
        }
        if self.workspaces.is_empty() {
            return Err(NotAnOption("at least one workspace is needed".to_owned()));
        }
        self.behaviour.check(&|id| is_group(&self.groups, id))
    }
}

/// Reads known profiles: NDJSON, or one JSON array. Each is an object with any of `external_id`, `braze_id`, `user_aliases`
/// (`[{alias_name, alias_label}]`), `email`, `phone`, `custom_attributes` (object), Braze's profile fields, and
/// `workspace` (a name; without it, the profile exists in every workspace).
pub fn read_known(text: &str) -> Result<Vec<Object>, NotAnOption> {
    let wrong = |place: usize, why: &str| NotAnOption(format!("known profile {place}: {why}"));
    let values: Vec<Value> = if text.trim_start().starts_with('[') {
        serde_json::from_str(text).map_err(|error| wrong(0, &error.to_string()))?
    } else {
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        let read = lines.enumerate().map(|(place, line)| {
            serde_json::from_str(line).map_err(|error| wrong(place, &error.to_string()))
        });
        read.collect::<Result<_, _>>()?
    };
    let objects = values
        .into_iter()
        .enumerate()
        .map(|(place, value)| match value {
            Value::Object(object) => Ok(object),
            _ => Err(wrong(place, "not an object")),
        });
    objects.collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests may")]
    use super::*;

    #[test]
    fn a_spread_is_one_duration_or_a_range_in_order() {
        let range: Spread = "10ms..1s".parse().unwrap();
        assert_eq!(range.pick(0), Duration::from_millis(10));
        assert_eq!(range.pick(990), Duration::from_secs(1));
        assert_eq!(range.pick(991), Duration::from_millis(10));
        assert_eq!(
            "5s".parse::<Spread>().unwrap().pick(77),
            Duration::from_secs(5)
        );
        assert!("2s..1s".parse::<Spread>().is_err());
        assert!("soon".parse::<Spread>().is_err());
    }

    #[test]
    fn known_profiles_are_lines_or_an_array_of_objects() {
        assert_eq!(
            read_known("{\"email\":\"a@b.co\"}\n\n{}\n").unwrap().len(),
            2
        );
        assert_eq!(read_known(" [{},{}]").unwrap().len(), 2);
        assert!(read_known("[1]").is_err());
        assert!(read_known("{}\nnope").is_err());
    }
}
