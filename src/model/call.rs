//! What we ask of the outside for one job, and every way it may be answered.
//!
//! Invariants: a [`Call`] is complete (whoever sends it needs nothing else); an answer is either a [`Reply`] or one
//! of the few [`Failure`]s, each of which is a decision rather than a description.

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::json::Object;
use super::lane::LaneKind;
use super::rules::OnUnknown;
use super::time::Timestamp;

/// The longest `alias_name` Braze takes, in bytes (user_alias object).
pub const ALIAS_BYTES_MAX: usize = 236;

/// The `alias_label` of profiles we create.
pub const ALIAS_LABEL: &str = "email";

/// How a profile is named in a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Address {
    /// The brand's own id.
    ExternalId(String),
    /// Braze's id.
    BrazeId(String),
    /// Our alias: this name under [`ALIAS_LABEL`].
    Alias(String),
    /// The e-mail, where it cannot be an alias.
    Email(String),
}

impl Address {
    /// How a profile that we create for `email` is named: by alias, or by e-mail when that is too long for one.
    pub fn for_creation(email: &str) -> Address {
        if email.len() <= ALIAS_BYTES_MAX {
            Address::Alias(email.to_owned())
        } else {
            Address::Email(email.to_owned())
        }
    }
}

/// One thing asked of the outside world for one job.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// Which profiles have this (normalised) e-mail? `POST /users/export/ids`.
    LookUp {
        /// The normalised e-mail.
        email: String,
    },
    /// Write to one profile. `POST /users/track`.
    Track(Track),
    /// Tell Quikly. `POST` to the workspace's Quikly URL.
    Credit(Credit),
}

/// What is written to one profile.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    /// Which profile.
    pub address: Address,
    /// `true`: make it if it does not exist (`_update_existing_only: false`); else never.
    pub create: bool,
    /// Profile fields and custom attributes; empty: no attributes object is sent (unless `create`).
    pub attributes: Object,
    /// Custom events, in this order.
    pub events: Vec<TrackEvent>,
    /// What to do when nobody knows whether it arrived. Matters only with `events`.
    pub on_unknown: OnUnknown,
}

/// One Braze custom event.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackEvent {
    /// `name`.
    pub name: String,
    /// `time`.
    pub time: Timestamp,
    /// `properties`.
    pub properties: Option<Object>,
}

/// One word to Quikly.
#[derive(Clone, Debug, PartialEq)]
pub struct Credit {
    /// The activation.
    pub q_scope: String,
    /// Quikly's event identifier.
    pub event: String,
    /// The e-mail as Quikly gave it to us.
    pub email: String,
    /// The `Idempotency-Key`: the same for every repetition.
    pub idempotency_key: String,
    /// `X-Relay-Accepted-At`.
    pub accepted_at: Timestamp,
    /// What to do when nobody knows whether it arrived.
    pub on_unknown: OnUnknown,
}

impl Call {
    /// Which limit it counts against.
    pub const fn lane(&self) -> LaneKind {
        match self {
            Call::LookUp { .. } => LaneKind::UsersExportIds,
            Call::Track(_) => LaneKind::UsersTrack,
            Call::Credit(_) => LaneKind::Quikly,
        }
    }

    /// Whether it must be marked as begun, durably, before it is sent: doing it twice would count twice and the
    /// activation prefers losing it to that.
    pub fn parks(&self) -> bool {
        match self {
            Call::LookUp { .. } => false,
            Call::Track(track) => !track.events.is_empty() && track.on_unknown == OnUnknown::Park,
            Call::Credit(credit) => credit.on_unknown == OnUnknown::Park,
        }
    }
}

/// A call that was answered as it should be.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// The profiles found, in Braze's order.
    Profiles(Vec<Profile>),
    /// The write was accepted.
    Tracked,
    /// Quikly took the credit.
    Credited,
}

/// A profile as a look-up shows it; what Braze left out is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// The brand's own id.
    pub external_id: Option<String>,
    /// Braze's id.
    pub braze_id: Option<String>,
    /// E-mail on the profile, as Braze shows it.
    pub email: Option<String>,
    /// Phone on the profile.
    pub phone: Option<String>,
}

/// What the other side said, fit to be kept and shown: no address, no phone number, no token, bounded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Answer {
    /// HTTP status, when there was an answer.
    pub status: Option<u16>,
    /// A short redacted text: Braze's message, or what went wrong on the way.
    pub text: String,
}

/// A call that was not answered as it should be, named by what is to be done about it.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// It did not happen; later it may. Uses an attempt.
    Transient(Answer),
    /// It was sent, and nobody knows whether it happened.
    Unknown(Answer),
    /// Too fast. Not before `until`, when Braze says so.
    Throttled {
        /// When Braze will listen again, if it said.
        until: Option<Timestamp>,
        /// What was said.
        answer: Answer,
    },
    /// This call will never be accepted as it is.
    Rejected(Answer),
    /// The key, the permission or the address of the endpoint is wrong: nothing on this lane will work.
    Denied(Answer),
    /// The request was refused whole, nothing of it happened, and it was not said for which of its calls: each is to be asked alone.
    Apart(Answer),
}

impl Failure {
    /// What was said.
    pub fn answer(&self) -> &Answer {
        match self {
            Failure::Transient(answer)
            | Failure::Unknown(answer)
            | Failure::Throttled { answer, .. }
            | Failure::Rejected(answer)
            | Failure::Denied(answer)
            | Failure::Apart(answer) => answer,
        }
    }
}
