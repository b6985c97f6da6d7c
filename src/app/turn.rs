//! A relay that runs goes over to another configuration.
//!
//! Invariants: whatever can fail or wait comes first; from then on everything is swapped at once, so that a reload is
//! applied whole or not at all. Two reloads never meet.

use std::sync::Arc;

use tokio::sync::{Mutex, Notify, watch};

use super::reload::{Plan, orphans};
use super::{AppError, refuse_speed_off_loopback};
use crate::client::Outside;
use crate::clock::Clock;
use crate::config::{Config, Loaded, Mistake, Mistakes, NotYet, Part};
use crate::engine::Engine;
use crate::ingest::Ingest;
use crate::model::rules::RuleBook;
use crate::ops::wire::{ReloadMistake, Reloaded};
use crate::ops::{NotReloaded, Reload, Tokens};
use crate::store::sled::SledStore;
use crate::store::{Store, StoreError};
use crate::telemetry::logs;

/// Where a configuration comes from, each time it is read.
pub type Source = Arc<dyn Fn() -> Result<Loaded, Mistakes> + Send + Sync>;

/// What a relay needs to be reloaded.
#[derive(Clone)]
pub struct Again {
    /// Reads the configuration.
    pub source: Source,
    /// Notified when somebody asks by a signal.
    pub asked: Arc<Notify>,
}

/// Everything that goes by the configuration.
pub(super) struct Relay {
    pub(super) source: Option<Source>,
    /// What it runs by now.
    pub(super) running: Mutex<Config>,
    pub(super) clock: Clock,
    pub(super) store: SledStore,
    pub(super) client: Outside,
    pub(super) engine: Engine<SledStore, Outside>,
    pub(super) ingest: Arc<Ingest<SledStore>>,
    pub(super) rules: watch::Sender<Arc<RuleBook>>,
    pub(super) effective: watch::Sender<Arc<[Part]>>,
    pub(super) tokens: watch::Sender<Arc<Tokens>>,
}

impl Relay {
    /// How operators reload it.
    pub(super) fn reload(self) -> Reload {
        let relay = Arc::new(self);
        Arc::new(move |force| {
            let relay = relay.clone();
            Box::pin(async move { relay.turn(force).await })
        })
    }

    async fn turn(&self, force: bool) -> Result<Reloaded, NotReloaded> {
        let mut running = self.running.lock().await;
        let plan = Plan::of(&running, &self.read().await?);
        let workspaces = &plan.config.workspaces;
        let outside = self
            .client
            .other(workspaces, |name| plan.reconnected.contains(name));
        let outside = outside.map_err(|error| NotReloaded::Mistakes(vec![bare(error)]))?;
        let jobs = self.store.counts(self.clock.now()).await?.jobs;
        let orphans = orphans(&running.rules, &plan.config.rules, &jobs);
        if !force && !orphans.is_empty() {
            return Err(NotReloaded::Orphans(orphans));
        }
        // Nothing waits and nothing fails from here on.
        self.client.swap(outside);
        let released = self.engine.follow(&plan.turnover);
        self.rules.send_replace(plan.turnover.book);
        self.effective.send_replace(plan.config.effective.clone());
        self.ingest.follow(plan.config.ingest.clone());
        let tokens = Tokens::new(&plan.config.ops.tokens);
        self.tokens.send_replace(Arc::new(tokens));
        if running.log_level != plan.config.log_level {
            logs::follow(plan.config.log_level.as_str());
        }
        *running = plan.config;
        let scopes = released.activations.iter();
        Ok(Reloaded {
            applied: true,
            changed: plan.changed,
            needs_restart: plan.needs_restart,
            released: released.lanes.iter().map(ToString::to_string).collect(),
            released_activations: scopes.map(|(_, scope)| scope.to_string()).collect(),
            jobs_without_rules: orphans.iter().map(|it| it.jobs).sum(),
        })
    }

    /// The configuration as it stands there now, if it can be used by this relay.
    async fn read(&self) -> Result<Config, NotReloaded> {
        let source = self.source.clone().ok_or(NotReloaded::NoFile)?;
        let read = tokio::task::spawn_blocking(move || source()).await;
        let Loaded { config, warnings } = read
            .map_err(|_| StoreError::Closed)?
            .map_err(|mistakes| NotReloaded::Mistakes(mistakes.0.into_iter().map(of).collect()))?;
        for warning in warnings {
            tracing::warn!(line = warning.line, "{warning}");
        }
        if !config.not_yet.is_empty() {
            let not_yet = config.not_yet.into_iter().map(of_not_yet);
            return Err(NotReloaded::Mistakes(not_yet.collect()));
        }
        refuse_speed_off_loopback(&config, &self.clock)
            .map_err(|error: AppError| NotReloaded::Mistakes(vec![bare(error)]))?;
        Ok(config)
    }
}

/// Without what stands in keys of their own.
fn of(mistake: Mistake) -> ReloadMistake {
    let said = Mistake {
        key: String::new(),
        remedy: None,
        ..mistake.clone()
    };
    ReloadMistake {
        line: mistake.line,
        key: mistake.key,
        problem: said.to_string(),
        remedy: mistake.remedy,
    }
}

fn of_not_yet(not_yet: NotYet) -> ReloadMistake {
    ReloadMistake {
        line: not_yet.line,
        key: not_yet.key,
        problem: format!("this version cannot do that: {}", not_yet.feature),
        remedy: None,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "an error ends here")]
fn bare(error: impl ToString) -> ReloadMistake {
    ReloadMistake {
        line: 0,
        key: String::new(),
        problem: error.to_string(),
        remedy: None,
    }
}
