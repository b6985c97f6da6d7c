//! What comes in and is accepted.

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::json::ObjectText;
use super::time::Timestamp;

/// Who posts to us.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Quikly: participations and progress.
    Quikly,
    /// Outgrow: leads.
    Outgrow,
    /// Braze: campaign webhooks on their way to Quikly.
    Braze,
}

impl Source {
    /// Every source.
    pub const ALL: [Source; 3] = [Source::Quikly, Source::Outgrow, Source::Braze];

    /// The name in configuration and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Source::Quikly => "quikly",
            Source::Outgrow => "outgrow",
            Source::Braze => "braze",
        }
    }
}

/// What an event tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// Somebody joins an activation.
    Participation,
    /// Something happened to somebody inside an activation.
    Progress,
    /// A Braze campaign tells Quikly something about somebody.
    Webhook,
    /// Somebody answered a quiz.
    Lead,
}

/// A custom event that goes on to Braze.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct CustomEvent {
    /// Braze's `name`.
    pub name: String,
    /// Braze's `properties`, if any.
    pub properties: Option<ObjectText>,
}

/// An accepted event, complete: what is stored is enough to carry it out, today or after a replay.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Event {
    /// Who posted it.
    pub source: Source,
    /// Participation or progress.
    pub kind: EventKind,
    /// The client's own id of it.
    pub key: String,
    /// The `q_scope` (or the Outgrow content).
    pub scope: String,
    /// The e-mail, trimmed and lower-cased: look-up, alias, `email` and participant.
    pub email: String,
    /// The e-mail as it came, where it differs; Quikly gets this one.
    pub email_given: Option<String>,
    /// The brand's own id of the participant, where a lead brings one.
    pub external_id: Option<String>,
    /// E.164.
    pub phone: Option<String>,
    /// Whether the participant agreed to be sent SMS.
    pub sms_consent: bool,
    /// When it happened: the event's `at`, else when it was accepted.
    pub at: Timestamp,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// The participation's or progress's own attributes; of a lead, the lead.
    pub attributes: Option<ObjectText>,
    /// Its own custom event; of a webhook, the event it tells and its further pairs.
    pub event: Option<CustomEvent>,
}

impl Event {
    /// The e-mail as the client wrote it.
    pub fn email_given(&self) -> &str {
        self.email_given.as_deref().unwrap_or(&self.email)
    }

    /// Who it is about: the e-mail; without one the external id; without either, nobody that others are about.
    pub fn participant(&self) -> &str {
        match &self.external_id {
            _ if !self.email.is_empty() => &self.email,
            Some(id) => id,
            None => &self.key,
        }
    }

    /// The same event without what only its first job needs.
    pub fn slim(&self) -> Event {
        Event {
            attributes: None,
            event: None,
            ..self.clone()
        }
    }
}
