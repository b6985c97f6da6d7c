//! Today's settings of activations, as flows read them: an immutable snapshot that a reload swaps whole.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::Name;
use super::json::Object;

/// What a participation starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParticipationFlow {
    /// E-mail acquisition.
    Email,
    /// SMS acquisition. Not in this version.
    Sms,
    /// SMS double opt-in. Not in this version.
    DoubleOptIn,
}

/// What to do with a call whose outcome is unknown and that would count twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnknown {
    /// Send it again: at least once.
    #[default]
    Resend,
    /// Put it aside as a dead letter: at most once.
    Park,
}

/// A custom event that configuration adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfiguredEvent {
    /// Braze's `name`.
    pub name: String,
    /// What happens when nobody knows whether it arrived.
    pub on_unknown: OnUnknown,
}

/// What is told to Quikly when a participant did what the activation asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreditRule {
    /// Quikly's event identifier.
    pub event: String,
    /// What happens when nobody knows whether it arrived.
    pub on_unknown: OnUnknown,
}

/// One activation's settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// Its `q_scope`.
    pub scope: Name,
    /// Whose workspace it writes to.
    pub workspace: Name,
    /// What a participation starts; `None`: nothing, participations die as `no_flow`.
    pub flow: Option<ParticipationFlow>,
    /// Written to the profile, new or found.
    pub mark_attributes: Object,
    /// Written to new profiles only.
    pub created_attributes: Object,
    /// Sent with the creation of a profile.
    pub created_event: Option<ConfiguredEvent>,
    /// The credit, if any.
    pub credit: Option<CreditRule>,
    /// For the custom events that participations and progress bring themselves.
    pub progress_on_unknown: OnUnknown,
    /// How transient failures are repeated.
    pub retry: RetryPolicy,
}

/// How transient failures are repeated (`[retry]`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The first wait.
    pub first: Duration,
    /// The longest wait.
    pub max: Duration,
    /// How many failed attempts of one step are enough; 0: only `max_age` decides.
    pub max_attempts: u32,
    /// How long one step may go on failing, from its first failure.
    pub max_age: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy {
            first: Duration::from_secs(1),
            max: Duration::from_mins(10),
            max_attempts: 0,
            max_age: Duration::from_hours(72),
        }
    }
}

/// All activations of one configuration.
#[derive(Clone, Debug, Default)]
pub struct RuleBook {
    activations: BTreeMap<Name, Arc<Rules>>,
}

impl RuleBook {
    /// A book of these activations.
    pub fn new(rules: impl IntoIterator<Item = Rules>) -> RuleBook {
        RuleBook {
            activations: rules
                .into_iter()
                .map(|rules| (rules.scope.clone(), Arc::new(rules)))
                .collect(),
        }
    }

    /// The settings of the activation named `scope`.
    pub fn activation(&self, scope: &str) -> Option<&Arc<Rules>> {
        self.activations.get(scope)
    }

    /// Every activation, by name.
    pub fn activations(&self) -> impl Iterator<Item = &Arc<Rules>> {
        self.activations.values()
    }
}
