//! Another configuration while the engine works.
//!
//! Invariants: nothing here waits or can fail, so that a reload is applied whole. Requests under way end with what they
//! began with. What an operator holds stays held, unless there is no such activation any more.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use super::holds::{Activation, ActivationHoldReason, Holds};
use super::lanes::{LaneState, Terms};
use super::{Engine, EngineSettings, Shared};
use crate::client::Client;
use crate::model::Name;
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
    /// Activations that were held for what became of their jobs, or are gone; not those that an operator holds elsewhere
    /// now.
    pub activations: Vec<Activation>,
}

/// What a lane's jobs are asked under.
#[derive(Clone, Debug)]
pub(super) struct Today {
    pub(super) terms: Arc<Terms>,
    pub(super) book: Arc<RuleBook>,
}

impl Today {
    /// Whether nothing was reloaded in between that matters to the lane.
    pub(super) fn is(&self, other: &Today) -> bool {
        Arc::ptr_eq(&self.terms, &other.terms) && Arc::ptr_eq(&self.book, &other.book)
    }
}

impl<S, C> Shared<S, C> {
    /// The terms first: they change after the book does, so that they are never newer than it.
    pub(super) fn today(&self, lane: &LaneState) -> Today {
        let terms = lane.terms();
        let book = self.book();
        Today { terms, book }
    }
}

impl Turnover {
    /// Where an activation, or a content, of this name is from now on.
    fn workspaces_of(&self, scope: &str) -> impl Iterator<Item = &Name> {
        let named = [self.book.activation(scope), self.book.content(scope)];
        named.into_iter().flatten().map(|rules| &rules.workspace)
    }

    fn frees(&self, activation: &Activation, reason: ActivationHoldReason) -> bool {
        let (workspace, scope) = activation;
        if !self.workspaces_of(scope).any(|it| it == workspace) {
            return true;
        }
        match reason {
            ActivationHoldReason::Manual => false,
            ActivationHoldReason::InvalidGroup => self.regrouped.contains(activation),
            ActivationHoldReason::Burials => self.corrected.contains(activation),
        }
    }

    /// What an operator holds is held where it is from now on.
    fn hold_along(&self, holds: &mut Holds) {
        let held = holds
            .all()
            .map(|(activation, hold)| (activation.clone(), *hold));
        let held: Vec<_> = held.collect();
        for (activation, hold) in held {
            if hold.reason == ActivationHoldReason::Manual && self.frees(&activation, hold.reason) {
                for workspace in self.workspaces_of(&activation.1) {
                    let there = (workspace.clone(), activation.1.clone());
                    holds.hold_by_hand(&there, hold.since, hold.until);
                }
            }
        }
    }

    /// Ends the holds that say nothing any more. Answers which are held nowhere now.
    fn release(&self, holds: &mut Holds) -> Vec<Activation> {
        holds.set_after(self.settings.hold_after);
        for activation in &self.corrected {
            holds.count_anew(activation);
        }
        let held = holds.all();
        let freed = held.filter(|(activation, hold)| self.frees(activation, hold.reason));
        let mut freed: Vec<_> = freed.map(|(activation, _)| activation.clone()).collect();
        for activation in &freed {
            holds.release(activation);
        }
        freed.retain(|(_, scope)| {
            let mut there = self.workspaces_of(scope);
            !there.any(|it| holds.is_held(&(it.clone(), scope.clone())))
        });
        freed
    }
}

impl<S: Store, C: Client> Engine<S, C> {
    /// Goes by `turnover` from now on: whatever was refused for what is another now is tried at once.
    pub fn follow(&self, turnover: &Turnover) -> Released {
        let shared = &self.shared;
        let now = shared.clock.now();
        // Before the rules send its jobs there.
        turnover.hold_along(&mut shared.holds());
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
        }
        drop(lanes);
        released.activations = turnover.release(&mut shared.holds());
        // Whatever is on loan is asked anew, and what need not be set aside any more comes back.
        for lane in shared.lanes().iter() {
            lane.changed.notify_one();
        }
        shared.grown.notify_one();
        released
    }
}
