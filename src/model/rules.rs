//! Today's settings of activations, as flows read them: an immutable snapshot that a reload swaps whole.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::Name;
use super::event::{Event, Source};
use super::json::Object;

/// What a participation starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParticipationFlow {
    /// E-mail acquisition.
    Email,
    /// SMS acquisition.
    Sms,
    /// SMS double opt-in.
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

/// How a participant's profile is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Identity {
    /// Looked up by e-mail; created under an alias.
    #[default]
    Export,
    /// Addressed by e-mail, without a look-up: new and found cannot be told apart.
    Email,
}

/// How a phone is subscribed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SubscribeBy {
    /// By a request of its own, some time after the profile was made.
    #[default]
    Delayed,
    /// Within the request that writes the profile.
    Inline,
}

/// What to do with a found profile that has another phone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PhoneMismatch {
    /// A dead letter: overwriting would let anyone who types a victim's e-mail redirect her messages.
    #[default]
    Dead,
    /// The phone is replaced.
    Replace,
}

/// How a double opt-in begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptIn {
    /// By a custom event, which starts the brand's own.
    Event(ConfiguredEvent),
    /// By Braze's.
    Logic(OnUnknown),
}

/// How a status is read until it is Subscribed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfirmEvery {
    /// The first wait.
    pub first: Duration,
    /// The longest wait.
    pub max: Duration,
    /// How long in all.
    pub within: Duration,
}

/// What flows with a phone need to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhoneRules {
    /// The subscription group's id.
    pub group: String,
    /// How a phone is subscribed.
    pub subscribe: SubscribeBy,
    /// How long Braze needs to know a new profile or phone.
    pub delay: Duration,
    /// What to do with a found profile that has another phone.
    pub mismatch: PhoneMismatch,
    /// How the status is read back.
    pub confirm: ConfirmEvery,
    /// How a double opt-in begins; `None`: it is a plain subscription.
    pub opt_in: Option<OptIn>,
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
    /// How profiles are found.
    pub identity: Identity,
    /// For flows with a phone.
    pub phone: Option<PhoneRules>,
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
    /// Where these are the settings of an Outgrow content: how answers become attributes.
    pub mapping: Option<Mapping>,
    /// How long between two requests for one participant.
    pub order_gap: Duration,
    /// How long an address that was learnt is believed.
    pub known_for: Duration,
}

impl Rules {
    /// Of an activation of which nothing but its workspace is said.
    pub fn plain(scope: impl Into<Name>, workspace: impl Into<Name>) -> Rules {
        Rules {
            scope: scope.into(),
            workspace: workspace.into(),
            flow: None,
            identity: Identity::Export,
            phone: None,
            mark_attributes: Object::new(),
            created_attributes: Object::new(),
            created_event: None,
            credit: None,
            progress_on_unknown: OnUnknown::Resend,
            retry: RetryPolicy::default(),
            mapping: None,
            order_gap: Duration::from_secs(2),
            known_for: Duration::from_hours(30 * 24),
        }
    }
}

/// How a lead becomes a profile.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapping {
    /// JSON pointer (RFC 6901) to the lead's id.
    pub id: Option<String>,
    /// JSON pointer to the e-mail.
    pub email: Option<String>,
    /// JSON pointer to the brand's own id.
    pub external_id: Option<String>,
    /// A bad answer kills the whole lead; else only the attribute is dropped.
    pub bad_answer_kills: bool,
    /// Which answers become which attributes.
    pub attributes: Vec<MappedAttribute>,
}

/// One answer that becomes an attribute.
#[derive(Clone, Debug, PartialEq)]
pub struct MappedAttribute {
    /// Braze's name of it.
    pub name: String,
    /// JSON pointer to the answer.
    pub from: String,
    /// What it must be.
    pub kind: AnswerKind,
    /// Whether it may be converted to that.
    pub coerce: bool,
    /// Whether a lead without it is a bad answer.
    pub required: bool,
}

/// What an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerKind {
    /// A JSON number.
    Number,
    /// A JSON string.
    String,
    /// `true` or `false`.
    Boolean,
    /// An array of strings or numbers.
    Array,
    /// A date or date-time.
    Time,
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

/// All activations and contents of one configuration.
#[derive(Clone, Debug, Default)]
pub struct RuleBook {
    activations: BTreeMap<Name, Arc<Rules>>,
    contents: BTreeMap<Name, Arc<Rules>>,
    /// How people are removed, by workspace.
    erasures: BTreeMap<Name, Arc<Rules>>,
}

impl RuleBook {
    /// A book of these activations and contents.
    pub fn new(rules: impl IntoIterator<Item = Rules>) -> RuleBook {
        let mut book = RuleBook::default();
        for rules in rules {
            let shelf = match rules.mapping {
                Some(_) => &mut book.contents,
                None => &mut book.activations,
            };
            shelf.insert(rules.scope.clone(), Arc::new(rules));
        }
        book
    }

    /// The same book, with these workspaces to remove people from.
    #[must_use]
    pub fn erasing<'a>(
        mut self,
        workspaces: impl IntoIterator<Item = &'a Name>,
        retry: RetryPolicy,
    ) -> RuleBook {
        for name in workspaces {
            let rules = Rules {
                retry,
                ..Rules::plain(name.clone(), name.clone())
            };
            self.erasures.insert(name.clone(), Arc::new(rules));
        }
        self
    }

    /// The settings that an event goes by.
    pub fn of(&self, event: &Event) -> Option<&Arc<Rules>> {
        match event.source {
            Source::Outgrow => self.contents.get(event.scope.as_str()),
            Source::Quikly | Source::Braze => self.activation(&event.scope),
            Source::Operator => self.erasures.get(event.scope.as_str()),
        }
    }

    /// Every workspace, by name.
    pub fn workspaces(&self) -> impl Iterator<Item = &Name> {
        self.erasures.keys()
    }

    /// The settings of the Outgrow content of this name.
    pub fn content(&self, name: &str) -> Option<&Arc<Rules>> {
        self.contents.get(name)
    }

    /// The settings of the activation named `scope`.
    pub fn activation(&self, scope: &str) -> Option<&Arc<Rules>> {
        self.activations.get(scope)
    }

    /// Every Outgrow content, by name.
    pub fn contents(&self) -> impl Iterator<Item = &Arc<Rules>> {
        self.contents.values()
    }

    /// Every activation, by name.
    pub fn activations(&self) -> impl Iterator<Item = &Arc<Rules>> {
        self.activations.values()
    }
}
