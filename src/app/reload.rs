//! What another configuration means for a relay that runs: what changes, what has to wait for a restart, whose holds end,
//! and whose jobs it would leave without settings.
//!
//! Invariants: pure. What cannot change while the relay runs stays as a whole as it was: the configuration to run from now
//! on ([`Plan::config`]) holds the old value, so that the next reload tells of it again. Keys are told, values never.
//!
//! Deliberately absent: reading files, and applying it; that is [`super::turn`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use secrecy::ExposeSecret;

use crate::config::keys::Settings;
use crate::config::{Braze, Config, Part, Quikly};
use crate::engine::holds::Activation;
use crate::engine::{EngineSettings, Turnover};
use crate::flow::job::Flow;
use crate::model::Name;
use crate::model::lane::{Lane, LaneKind};
use crate::model::rules::{RuleBook, Rules};
use crate::ops::wire::Orphan;
use crate::store::{Group, States};

/// How a running relay gets to another configuration.
pub struct Plan {
    /// What it runs by then.
    pub config: Config,
    /// Keys that change.
    pub changed: Vec<String>,
    /// Keys that stay as they are until a restart.
    pub needs_restart: Vec<String>,
    /// What the engine is told.
    pub turnover: Turnover,
    /// Workspaces whose connections are made anew, by what is said of them.
    pub reconnected: BTreeSet<Name>,
}

impl Plan {
    /// From `running` to `new`.
    pub fn of(running: &Config, new: &Config) -> Plan {
        let mut config = new.clone();
        keep(running, &mut config);
        let (before, after) = (Settings::of(running), Settings::of(&config));
        let changed = before.changed(&after);
        let needs_restart = after.changed(&Settings::of(new));
        config.effective = shown(running, new, &needs_restart);
        let renewed = renewed(running, &config);
        let (corrected, regrouped) = corrected(running, &config, &renewed);
        let is_touched = |name: &&Name| {
            let key = format!("workspaces.{name}");
            let below = format!("{key}.");
            let touches = |it: &String| *it == key || it.starts_with(&below);
            changed.iter().any(touches)
        };
        let reconnected = config.workspaces.keys().filter(is_touched);
        Plan {
            reconnected: reconnected.cloned().collect(),
            turnover: Turnover {
                settings: EngineSettings::of(&config),
                book: Arc::new(config.rules.clone()),
                renewed,
                corrected,
                regrouped,
            },
            changed,
            needs_restart,
            config,
        }
    }
}

/// What cannot change while it runs is as it was.
fn keep(running: &Config, config: &mut Config) {
    config.store = running.store.clone();
    config.traces.clone_from(&running.traces);
    config.stop_within = running.stop_within;
    config.ingest.listen = running.ingest.listen;
    config.ops.listen = running.ops.listen;
    if config.ops.tokens.is_empty() && !running.ops.listen.ip().is_loopback() {
        // Right where it would listen then, and open to everybody where it listens now.
        config.ops.tokens.clone_from(&running.ops.tokens);
    }
}

/// The configuration as it is followed then: what needs a restart is as it was.
fn shown(running: &Config, new: &Config, needs_restart: &[String]) -> Arc<[Part]> {
    let mut parts = new.effective.to_vec();
    for part in &mut parts {
        let before = running.effective.iter().find(|it| it.table == part.table);
        for setting in &mut part.settings {
            let key = format!("{}.{}", part.table, setting.key);
            let before = before.and_then(|it| it.settings.iter().find(|it| it.key == setting.key));
            if let Some(before) = before.filter(|_| needs_restart.contains(&key)) {
                setting.clone_from(before);
            }
        }
    }
    parts.into()
}

/// The lanes that ask somebody else, or by another key, or nobody any more.
fn renewed(running: &Config, config: &Config) -> BTreeSet<Lane> {
    let mut renewed = BTreeSet::new();
    for (name, before) in &running.workspaces {
        let after = config.workspaces.get(name);
        let braze = after.is_some_and(|after| same_braze(&before.braze, &after.braze));
        let quikly = after.map(|after| (&before.quikly, &after.quikly));
        let quikly = quikly.is_some_and(|quikly| match quikly {
            (Some(before), Some(after)) => same_quikly(before, after),
            (None, None) => true,
            (None, Some(_)) | (Some(_), None) => false,
        });
        for kind in LaneKind::ALL {
            let same = match kind {
                LaneKind::Quikly => quikly,
                LaneKind::UsersExportIds
                | LaneKind::UsersTrack
                | LaneKind::SubscriptionStatusSet
                | LaneKind::Default
                | LaneKind::UsersDelete
                | LaneKind::Held => braze,
            };
            if !same {
                renewed.insert(Lane::new(name, kind));
            }
        }
    }
    renewed
}

fn same_braze(before: &Braze, after: &Braze) -> bool {
    let keys = [&before.api_key, &after.api_key].map(ExposeSecret::expose_secret);
    before.url == after.url && keys[0] == keys[1]
}

fn same_quikly(before: &Quikly, after: &Quikly) -> bool {
    let tokens = [&before.token, &after.token].map(ExposeSecret::expose_secret);
    before.url == after.url && tokens[0] == tokens[1]
}

/// Activations and contents that may do better than before: by other settings, or where somebody else is asked. And of those
/// the ones whose subscription group may be known by now.
fn corrected(
    running: &Config,
    config: &Config,
    renewed: &BTreeSet<Lane>,
) -> (BTreeSet<Activation>, BTreeSet<Activation>) {
    let (mut corrected, mut regrouped) = (BTreeSet::new(), BTreeSet::new());
    let group = |rules: &Rules| rules.phone.as_ref().map(|phone| phone.group.clone());
    for rules in config.rules.activations().chain(config.rules.contents()) {
        let before = match rules.mapping {
            Some(_) => running.rules.content(&rules.scope),
            None => running.rules.activation(&rules.scope),
        };
        let asks = |kind| renewed.contains(&Lane::new(&rules.workspace, kind));
        let elsewhere = asks(LaneKind::Default);
        let activation = (rules.workspace.clone(), rules.scope.clone());
        if elsewhere || before.is_none_or(|before| group(before) != group(rules)) {
            regrouped.insert(activation.clone());
        }
        if elsewhere || asks(LaneKind::Quikly) || before.is_none_or(|before| before != rules) {
            corrected.insert(activation);
        }
    }
    (corrected, regrouped)
}

/// Whose jobs are alive, had settings by `before`, and would have none by `after`.
pub fn orphans(before: &RuleBook, after: &RuleBook, jobs: &BTreeMap<Group, States>) -> Vec<Orphan> {
    let mut alive: BTreeMap<(&Name, &Name), u64> = BTreeMap::new();
    for (group, states) in jobs {
        let jobs = states.waiting + states.ready + states.in_flight;
        if jobs > 0 && is_known(before, group) && !is_known(after, group) {
            *alive
                .entry((&group.workspace, &group.activation))
                .or_default() += jobs;
        }
    }
    let orphan = |((workspace, activation), jobs): ((&Name, &Name), u64)| Orphan {
        workspace: workspace.to_string(),
        activation: activation.to_string(),
        jobs,
    };
    alive.into_iter().map(orphan).collect()
}

fn is_known(book: &RuleBook, group: &Group) -> bool {
    match group.flow {
        Some(Flow::Outgrow) => book.content(&group.activation).is_some(),
        Some(Flow::Erase) => book.workspaces().any(|name| *name == group.workspace),
        Some(Flow::Sms | Flow::DoubleOptIn) => {
            let rules = book.activation(&group.activation);
            rules.is_some_and(|rules| rules.phone.is_some())
        }
        Some(Flow::Email | Flow::Progress | Flow::Webhook | Flow::Credit) | None => {
            book.activation(&group.activation).is_some()
        }
    }
}

#[cfg(test)]
mod tests;
