//! A workspace and a clock for tests: sets, tracks and asks, with writes that appear after [`APPEAR`].
//!
//! Invariants: only for tests; nobody answers a prompt unless the behaviour says so.

#![expect(clippy::unwrap_used, reason = "tests may")]

use std::time::Duration;

use serde_json::{Value, json};

use super::options::{Options, Spread};
use super::people::Behaviour;
use super::script::Effects;
use super::subscription::{get, set};
use super::track::track;
use super::wire::Answer;
use super::workspace::Workspace;
use super::world::{Means, Random};
use crate::model::time::Timestamp;

pub const GROUP: &str = "6f4b0c3e-0000-4000-8000-000000000000";
pub const PHONE: &str = "+15550100000";
pub const DAY: Duration = Duration::from_hours(24);
pub const APPEAR: Duration = Duration::from_millis(50);

pub struct Scene {
    pub workspace: Workspace,
    pub now: Timestamp,
}

impl Scene {
    /// These profiles exist, and nobody answers a prompt.
    pub fn new(known: &[Value]) -> Scene {
        let silent = Behaviour {
            confirm: 0.0,
            refuse: 0.0,
            ..Behaviour::default()
        };
        Scene::with(known, silent)
    }

    /// These profiles exist, and everybody confirms after so long.
    pub fn confirming(known: &[Value], after: Duration) -> Scene {
        let behaviour = Behaviour {
            confirm: 1.0,
            refuse: 0.0,
            confirm_after: Spread::exactly(after),
            ..Behaviour::default()
        };
        Scene::with(known, behaviour)
    }

    pub fn with(known: &[Value], behaviour: Behaviour) -> Scene {
        let known = known.iter().map(|one| one.as_object().unwrap().clone());
        let options = Options {
            known: known.collect(),
            behaviour,
            ..Options::default()
        };
        let workspace = Workspace::new(&options.workspaces[0], &options, Timestamp::ZERO);
        let now = Timestamp::ZERO;
        Scene { workspace, now }
    }

    pub fn run(&mut self, act: impl FnOnce(&mut Workspace, &mut Means<'_>) -> Answer) -> Answer {
        self.workspace.settle(self.now);
        let mut means = Means {
            now: self.now,
            effects: &Effects::default(),
            appear: Spread::exactly(APPEAR),
            random: &mut Random::new(1),
        };
        act(&mut self.workspace, &mut means)
    }

    pub fn set(&mut self, body: &Value) -> Answer {
        self.run(|workspace, means| set(workspace, body.as_object().unwrap(), means))
    }

    /// One attributes object.
    pub fn track(&mut self, object: &Value) {
        self.track_all(&json!({ "attributes": [object] }));
    }

    pub fn track_all(&mut self, body: &Value) {
        self.run(|workspace, means| track(workspace, body.as_object().unwrap().clone(), means));
    }

    /// The status of [`PHONE`], lower-cased, so long from now.
    pub fn status(&mut self, after: Duration) -> String {
        self.now = self.now + after;
        let query = format!("subscription_group_id={GROUP}&phone=%2B15550100000");
        let answer = self.run(|workspace, means| get(workspace, &query, means));
        answer.body["status"][PHONE]
            .as_str()
            .unwrap()
            .to_lowercase()
    }
}

/// A status set for [`PHONE`], with `more`.
pub fn subscribe(more: &Value) -> Value {
    let mut body =
        json!({"subscription_group_id": GROUP, "subscription_state": "subscribed", "phone": PHONE});
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    body
}

/// A status set for [`PHONE`] with double opt-in.
pub fn opt_in() -> Value {
    subscribe(&json!({"use_double_opt_in_logic": true}))
}
