//! Another configuration while the engine works.
//!
//! Invariants: nothing here waits or can fail, so that a reload is applied whole. Requests under way end with what they
//! began with. What an operator holds stays held, unless there is no such activation any more.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use super::holds::{Activation, ActivationHoldReason};
use super::{Engine, EngineSettings};
use crate::client::Client;
use crate::model::lane::{Lane, LaneKind};
use crate::model::rules::RuleBook;
use crate::store::Store;

/// What is to be followed from now on, and what is another for it.
#[derive(Clone, Debug, Default)]
pub struct Turnover {
    /// Every workspace.
    pub settings: EngineSettings,
    /// Every activation and content.
    pub book: Arc<RuleBook>,
    /// Lanes whose key, token or address is another one.
    pub renewed: BTreeSet<Lane>,
    /// Activations that may do better than before.
    pub corrected: BTreeSet<Activation>,
    /// Those of them that Braze may know the subscription group of.
    pub regrouped: BTreeSet<Activation>,
}

/// Whose hold that ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Released {
    /// Lanes that were denied.
    pub lanes: Vec<Lane>,
    /// Activations that were held for what became of their jobs, or are gone.
    pub activations: Vec<Activation>,
}

impl Turnover {
    fn frees(&self, activation: &Activation, reason: ActivationHoldReason) -> bool {
        let (workspace, scope) = activation;
        let named = [self.book.activation(scope), self.book.content(scope)];
        let mut here = named.into_iter().flatten();
        if !here.any(|rules| rules.workspace == *workspace) {
            return true;
        }
        match reason {
            ActivationHoldReason::Manual => false,
            ActivationHoldReason::InvalidGroup => self.regrouped.contains(activation),
            ActivationHoldReason::Burials => self.corrected.contains(activation),
        }
    }
}

impl<S: Store, C: Client> Engine<S, C> {
    /// Goes by `turnover` from now on: whatever was refused for what is another now is tried at once.
    pub fn follow(&self, turnover: &Turnover) -> Released {
        let shared = &self.shared;
        let now = shared.clock.now();
        let book = shared.book.write();
        *book.unwrap_or_else(PoisonError::into_inner) = turnover.book.clone();
        let lanes = shared.lanes.write();
        let mut lanes = lanes.unwrap_or_else(PoisonError::into_inner);
        lanes.follow(&turnover.settings, None, now);
        let mut released = Released::default();
        for lane in &turnover.renewed {
            let Some(state) = lanes.get(lane).filter(|_| lane.kind != LaneKind::Held) else {
                continue;
            };
            let mut gate = state.gate();
            if gate.renew(now) && gate.held(now).is_none() {
                released.lanes.push(lane.clone());
            }
            drop(gate);
            state.changed.notify_one();
        }
        drop(lanes);
        let mut holds = shared.holds();
        holds.set_after(turnover.settings.hold_after);
        let held = holds.all();
        let freed = held.filter(|(activation, hold)| turnover.frees(activation, hold.reason));
        released.activations = freed.map(|(activation, _)| activation.clone()).collect();
        for activation in &released.activations {
            holds.release(activation);
        }
        drop(holds);
        // Nobody looks at what was set aside where the workspace itself has gone.
        let mut aside: BTreeSet<_> = turnover
            .renewed
            .iter()
            .map(|lane| &lane.workspace)
            .collect();
        aside.extend(released.activations.iter().map(|(workspace, _)| workspace));
        for workspace in aside {
            shared.bring_back(workspace);
        }
        shared.grown.notify_one();
        released
    }
}
