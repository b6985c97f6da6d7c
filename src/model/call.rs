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
        /// The phone on the profile matters, too: only Braze can say it, whatever is remembered.
        phone: bool,
    },
    /// Which address of the participant is remembered? Asked of our own memory, never sent.
    Recall,
    /// Write to one profile. `POST /users/track`.
    Track(Track),
    /// Is this phone subscribed? `GET /subscription/status/get`.
    ReadStatus {
        /// The subscription group.
        group: String,
        /// E.164.
        phone: String,
    },
    /// Subscribe this phone. `POST /v2/subscription/status/set`.
    SetStatus(SetStatus),
    /// Tell Quikly. `POST` to the workspace's Quikly URL.
    Credit(Credit),
    /// Delete these profiles, all named by the same kind of id ([`Address::BrazeId`] or [`Address::ExternalId`]), at most
    /// [`IDS_DELETED_MAX`]. `POST /users/delete`.
    Delete(Vec<Address>),
}

/// How many profiles one request deletes at most.
pub const IDS_DELETED_MAX: usize = 50;

/// One subscription of a phone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetStatus {
    /// The subscription group.
    pub group: String,
    /// E.164.
    pub phone: String,
    /// `true`: ask for it by Braze's own double opt-in instead of setting it.
    pub double_opt_in: bool,
    /// What to do with a double opt-in when nobody knows whether it arrived.
    pub on_unknown: OnUnknown,
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
    /// Subscribe the profile's phone to this group in the same object (`subscription_groups`).
    pub subscribe: Option<Subscribe>,
    /// What to do when nobody knows whether it arrived. Matters only with `events` and a double opt-in.
    pub on_unknown: OnUnknown,
}

/// A subscription that goes with a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// The subscription group.
    pub group: String,
    /// By Braze's own double opt-in.
    pub double_opt_in: bool,
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
    /// Further pairs of the body: those a marketer added to a Braze webhook.
    pub pairs: Object,
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
            Call::Track(_) | Call::Recall => LaneKind::UsersTrack,
            Call::ReadStatus { .. } => LaneKind::Default,
            Call::SetStatus(_) => LaneKind::SubscriptionStatusSet,
            Call::Credit(_) => LaneKind::Quikly,
            Call::Delete(_) => LaneKind::UsersDelete,
        }
    }

    /// Whether doing it twice would count twice.
    pub fn counts(&self) -> bool {
        match self {
            Call::LookUp { .. } | Call::Recall | Call::ReadStatus { .. } | Call::Delete(_) => false,
            Call::Track(track) => {
                let subscribe = track.subscribe.as_ref();
                !track.events.is_empty() || subscribe.is_some_and(|it| it.double_opt_in)
            }
            Call::SetStatus(set) => set.double_opt_in,
            Call::Credit(_) => true,
        }
    }

    /// Whether it counts and the activation prefers losing it to its counting twice: with an unknown outcome it is put
    /// aside.
    pub fn parks(&self) -> bool {
        let on_unknown = match self {
            Call::LookUp { .. } | Call::Recall | Call::ReadStatus { .. } | Call::Delete(_) => {
                return false;
            }
            Call::Track(track) => track.on_unknown,
            Call::SetStatus(set) => set.on_unknown,
            Call::Credit(credit) => credit.on_unknown,
        };
        self.counts() && on_unknown == OnUnknown::Park
    }

    /// Whether it must be marked as begun, durably, before it is sent: what parks, and what subscribes: somebody may
    /// answer STOP before we know that it had happened.
    pub fn is_marked(&self) -> bool {
        self.subscribes() || self.parks()
    }

    /// Whether it subscribes a phone.
    pub fn subscribes(&self) -> bool {
        match self {
            Call::SetStatus(_) => true,
            Call::Track(track) => track.subscribe.is_some(),
            Call::LookUp { .. }
            | Call::Recall
            | Call::ReadStatus { .. }
            | Call::Credit(_)
            | Call::Delete(_) => false,
        }
    }
}

/// A call that was answered as it should be.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// The profiles found, in Braze's order.
    Profiles(Vec<Profile>),
    /// What is remembered of the participant's address. To a look-up about the phone: Braze shows no profile, though this
    /// is remembered.
    Remembered(Option<Address>),
    /// The write was accepted.
    Tracked,
    /// The status of the phone.
    Status(Subscription),
    /// The subscription was accepted.
    StatusSet,
    /// Quikly took the credit.
    Credited,
    /// The deletion was accepted.
    Deleted,
}

/// Whether a phone is subscribed to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subscription {
    /// It is.
    Subscribed,
    /// It is not: it never was, somebody said STOP, or a double opt-in is not confirmed yet.
    Unsubscribed,
    /// Braze knows nothing of it.
    Unknown,
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
    /// Braze does not know the subscription group: nothing of this activation that needs it will work.
    WrongGroup(Answer),
    /// Something in its request was refused, and it was not said for which of its calls: to be asked again among fewer.
    Apart {
        /// Among how many calls it may be.
        among: usize,
        /// What of this call has happened.
        happened: Happened,
        /// What was said.
        answer: Answer,
    },
}

/// What of a call has happened that should not happen twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// Nothing: all of it may be asked again.
    Nothing,
    /// Its custom events were taken: the rest may be asked again.
    Events,
    /// Nobody knows.
    Unknown,
}

/// With whom, and with what, a call travels once a request that carried it was refused without a word about whom.
///
/// Stored, and that in the place of what was once `true` for [`Company::Alone`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Company {
    /// With whoever goes.
    Any,
    /// In a request of its own.
    Alone,
    /// In requests of at most so many calls, all of the same company.
    AtMost(u8),
    /// The same, without its custom events: those were taken.
    WithoutEvents(u8),
}

impl Company {
    /// How many calls a request with this one may carry.
    pub const fn calls_max(self) -> usize {
        match self {
            Company::Any => usize::MAX,
            Company::Alone => 1,
            Company::AtMost(calls) | Company::WithoutEvents(calls) => calls as usize,
        }
    }

    /// The company after a refusal among so many calls: half as many. What counts and may have been taken is sent once
    /// more at most: alone, where whatever is said is said of it. `counts`: what nobody knows of it counts.
    #[must_use]
    pub fn after(self, among: usize, happened: Happened, counts: bool) -> Company {
        let among = among.min(self.calls_max());
        let half = u8::try_from(among.div_ceil(2).max(1)).unwrap_or(u8::MAX);
        match (self, happened) {
            (_, Happened::Events) | (Company::WithoutEvents(_), _) => Company::WithoutEvents(half),
            (_, Happened::Unknown) if counts => Company::Alone,
            _ if half == 1 => Company::Alone,
            _ => Company::AtMost(half),
        }
    }
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
            | Failure::WrongGroup(answer)
            | Failure::Apart { answer, .. } => answer,
        }
    }
}
