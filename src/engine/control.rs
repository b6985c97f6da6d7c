//! What operators see of the engine, and what they do to it.
//!
//! Invariants: nothing here waits for a request. Holds live as long as the process: a restart tries everything once more.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::gate::{Gate, Hold, HoldReason};
use super::holds::{Activation, ActivationHold, ActivationHoldReason};
use super::lanes::LaneState;
use super::{Engine, Shared, lane};
use crate::client::Client;
use crate::flow::job::{Commit, Flow, Reason};
use crate::model::Name;
use crate::model::lane::{Lane, LaneKind};
use crate::model::time::Timestamp;
use crate::store::Store;

/// One lane as operators see it.
#[derive(Clone, Debug, PartialEq)]
pub struct LaneView {
    /// The lane.
    pub lane: Lane,
    /// Its hold, if it is held.
    pub held: Option<Hold>,
    /// The end of its stop after a 429, if it is stopped.
    pub stopped_until: Option<Timestamp>,
    /// Requests under way.
    pub in_flight: usize,
    /// Requests a second that its limits allow in the long run; `None` without limits.
    pub requests_per_second: Option<f64>,
    /// Calls a second that get through as things stand: what it does while there is work, else what its budget allows;
    /// `None`: it has no limits, and has not shown yet what it can do.
    pub calls_per_second: Option<f64>,
    /// How much of its fullest window is used, 0–1: by everybody where the other side tells, else by us of our share.
    pub budget_used_ratio: f64,
    /// Objects a request may carry.
    pub objects_max: usize,
}

/// An activation that is not worked for now.
#[derive(Clone, Debug, PartialEq)]
pub struct ActivationView {
    /// Whose workspace it writes to.
    pub workspace: Name,
    /// Its `q_scope`, or the Outgrow content.
    pub activation: Name,
    /// Why, and since when.
    pub hold: ActivationHold,
}

impl ActivationView {
    /// Whether it is this one.
    pub fn is_of(&self, (workspace, activation): &Activation) -> bool {
        (&self.workspace, &self.activation) == (workspace, activation)
    }
}

/// What operators see of an engine and do to it, whatever it works with.
pub trait Desk: Send + Sync {
    /// Every lane, in order.
    fn lanes(&self) -> Vec<LaneView>;

    /// Holds a lane until `until`, or until it is released. Answers whether there is such a lane.
    fn hold_lane(&self, lane: &Lane, until: Option<Timestamp>) -> bool;

    /// Ends a lane's hold, whatever its reason. Answers whether there is such a lane.
    fn release_lane(&self, lane: &Lane) -> bool;

    /// Every activation that is held, in order.
    fn held_activations(&self) -> Vec<ActivationView>;

    /// Holds an activation until `until`, or until it is released. Answers whether one of that name is configured.
    fn hold_activation(&self, scope: &str, until: Option<Timestamp>) -> bool;

    /// Ends an activation's hold, whatever its reason. Answers whether one of that name is configured.
    fn release_activation(&self, scope: &str) -> bool;
}

impl<S: Store, C: Client> Desk for Engine<S, C> {
    fn lanes(&self) -> Vec<LaneView> {
        let now = self.shared.clock.now();
        let view = |state: &Arc<LaneState>| {
            let terms = state.terms();
            let mut gate = state.gate();
            let objects_max = self.shared.client.objects_max(&state.lane);
            let allowed = gate.budget.requests_per_second(now);
            LaneView {
                calls_per_second: state.tempo().calls_per_second(allowed, objects_max, now),
                lane: state.lane.clone(),
                held: gate.held(now),
                stopped_until: gate.stopped_until(now),
                budget_used_ratio: gate.budget.used_ratio(now),
                in_flight: state.in_flight.load(Ordering::Relaxed),
                requests_per_second: lane::requests_per_second(&terms.limits, terms.share),
                objects_max,
            }
        };
        self.shared.lanes().iter().map(view).collect()
    }

    fn hold_lane(&self, lane: &Lane, until: Option<Timestamp>) -> bool {
        let now = self.shared.clock.now();
        self.at_gate(lane, |gate| gate.hold(HoldReason::Manual, now, until))
    }

    fn release_lane(&self, lane: &Lane) -> bool {
        let now = self.shared.clock.now();
        self.at_gate(lane, |gate| gate.release(now))
    }

    fn held_activations(&self) -> Vec<ActivationView> {
        let holds = self.shared.holds();
        let view =
            |((workspace, activation), hold): (&Activation, &ActivationHold)| ActivationView {
                workspace: workspace.clone(),
                activation: activation.clone(),
                hold: *hold,
            };
        holds.all().map(view).collect()
    }

    fn hold_activation(&self, scope: &str, until: Option<Timestamp>) -> bool {
        let workspaces = self.workspaces_of(scope);
        let now = self.shared.clock.now();
        for workspace in &workspaces {
            let activation = (workspace.clone(), scope.into());
            let mut holds = self.shared.holds();
            holds.hold_by_hand(&activation, now, until);
            drop(holds);
            // Whoever brings its jobs back has to know when.
            self.shared.bring_back(workspace);
        }
        !workspaces.is_empty()
    }

    fn release_activation(&self, scope: &str) -> bool {
        let mut workspaces = self.workspaces_of(scope);
        // It may be held where it was configured before.
        let held = self.held_activations().into_iter();
        let held = held.filter(|it| &*it.activation == scope);
        workspaces.extend(held.map(|it| it.workspace));
        for workspace in &workspaces {
            let activation = (workspace.clone(), scope.into());
            if self.shared.holds().release(&activation) {
                tracing::info!(%workspace, activation = scope, "the activation's hold has ended");
                self.shared.bring_back(workspace);
            }
        }
        !workspaces.is_empty()
    }
}

impl<S: Store, C: Client> Engine<S, C> {
    /// Where an activation, or an Outgrow content, of this name is configured.
    fn workspaces_of(&self, scope: &str) -> BTreeSet<Name> {
        let book = self.shared.book();
        let named = book
            .activation(scope)
            .into_iter()
            .chain(book.content(scope));
        named.map(|rules| rules.workspace.clone()).collect()
    }

    fn at_gate(&self, lane: &Lane, change: impl FnOnce(&mut Gate)) -> bool {
        let state = self.shared.lanes().get(lane).cloned();
        // Nothing is sent in the lane of what is held: there is nothing to hold.
        let Some(state) = state.filter(|_| lane.kind != LaneKind::Held) else {
            return false;
        };
        change(&mut state.gate());
        state.changed.notify_one();
        true
    }
}

impl<S, C> Shared<S, C> {
    /// Holds an activation, if it is not held already.
    pub(super) fn hold(&self, activation: &Activation, reason: ActivationHoldReason) {
        if self
            .holds()
            .hold(activation, reason, None, self.clock.now())
        {
            tell_held(activation, reason, None);
        }
    }

    /// Jobs of `workspace` were set aside that need not be any more.
    pub(super) fn bring_back(&self, workspace: &Name) {
        if let Some(lane) = self.lanes().get(&Lane::new(workspace, LaneKind::Held)) {
            lane.changed.notify_one();
        }
    }

    /// Counts how a job ends; see [`super::holds::Holds::pass`].
    pub(super) fn pass(
        &self,
        activation: &Activation,
        flow: Flow,
        commit: Commit,
        now: Timestamp,
    ) -> Commit {
        let mut holds = self.holds();
        let was_held = holds.is_held(activation);
        let commit = holds.pass(activation, flow, commit, now);
        if let Some(hold) = holds.of(activation).filter(|_| !was_held) {
            tell_held(activation, hold.reason, hold.died_of);
        }
        commit
    }

    /// Jobs of these activations were set aside. Where the hold ended meanwhile, nobody else would bring them back.
    pub(super) fn ended_meanwhile(&self, aside: &BTreeSet<Activation>) {
        for activation in aside {
            if !self.holds().is_held(activation) {
                self.bring_back(&activation.0);
            }
        }
    }
}

fn tell_held(activation: &Activation, reason: ActivationHoldReason, died_of: Option<Reason>) {
    let (workspace, activation) = activation;
    let (reason, died_of) = (reason.as_str(), died_of.map(Reason::as_str));
    tracing::error!(%workspace, %activation, reason, died_of,
        "the activation is held: its jobs wait until it is released, reloaded with other settings, or the relay is started again");
}
