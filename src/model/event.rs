//! What comes in and is accepted.

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::json::ObjectText;
use super::time::Timestamp;
use super::trace::TraceContext;

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
    /// Whoever operates the relay. Posts nothing: what it asks comes by the other listener.
    Operator,
}

impl Source {
    /// Every source that posts to us.
    pub const ALL: [Source; 3] = [Source::Quikly, Source::Outgrow, Source::Braze];

    /// The name in configuration and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Source::Quikly => "quikly",
            Source::Outgrow => "outgrow",
            Source::Braze => "braze",
            Source::Operator => "operator",
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
    /// Somebody is to be removed from Braze. Its scope is the workspace.
    Erasure,
}

/// What keys begin with that are hashes of their event's content.
const DERIVED: char = '#';

/// The key of an event that brought none, by the hash of its content.
pub fn derived_key(hash: &str) -> String {
    format!("{DERIVED}{hash}")
}

/// The key of a webhook or lead that brought `id`: never one that passes for a derived one.
pub fn given_key(id: &str) -> String {
    match id.chars().next() {
        Some(DERIVED | '\\') => format!("\\{id}"),
        _ => id.to_owned(),
    }
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Who posted it.
    pub source: Source,
    /// Participation or progress.
    pub kind: EventKind,
    /// The client's own id of it; of a webhook or a lead without one, `#` and a hash of its content.
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
    /// The trace it belongs to, where somebody looks at traces. Nothing follows from it; the same event in another trace
    /// is the same event. Stands in the envelope of what is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceContext>,
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

    /// Whether its key is a hash of its content, and so would be the same for a later event that says the same: such a
    /// key is remembered only as long as a repetition is likely to be one. No key that a client gave is one of these.
    pub fn has_derived_key(&self) -> bool {
        self.source != Source::Quikly && self.key.starts_with(DERIVED)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn keyed(source: Source, key: String) -> Event {
        Event {
            source,
            kind: EventKind::Webhook,
            key,
            scope: "drop".into(),
            email: "a@b.example".into(),
            email_given: None,
            trace: None,
            external_id: None,
            phone: None,
            sms_consent: false,
            at: Timestamp::ZERO,
            accepted_at: Timestamp::ZERO,
            attributes: None,
            event: None,
        }
    }

    #[test]
    fn no_id_of_a_client_passes_for_a_hash_and_no_two_become_one_key() {
        assert!(keyed(Source::Braze, derived_key("ab")).has_derived_key());
        let ids = ["#ab", "\\#ab", "\\\\#ab", "ab", "", " #ab"];
        let keys: std::collections::BTreeSet<_> = ids.map(given_key).into();
        assert_eq!(keys.len(), ids.len());
        for key in keys {
            assert!(
                !keyed(Source::Outgrow, key.clone()).has_derived_key(),
                "{key}"
            );
        }
        assert!(!keyed(Source::Quikly, "#ab".into()).has_derived_key());
    }
}
