//! Where a flow stands: its state, which says what to ask next and on which lane.
//!
//! Invariants: plain data, stored as it is: variants are added at the end and never change their order.

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::job::Flow;
use crate::model::call::{Address, Subscription};
use crate::model::lane::LaneKind;
use crate::model::time::Timestamp;

/// Where a flow stands. One variant for each flow that this version runs.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub enum State {
    /// E-mail acquisition.
    Email(Profile),
    /// An update of a profile.
    Progress(Profile),
    /// A credit.
    Credit {
        /// Quikly's event identifier, as it was when the credit was earned: it is part of the credit's key.
        event: String,
    },
    /// SMS acquisition.
    Sms(Join),
    /// SMS double opt-in.
    DoubleOptIn(Join),
    /// A Braze webhook on its way to Quikly.
    Webhook,
    /// A lead on its way to a profile.
    Outgrow,
    /// The removal of a person from Braze.
    Erase(Erase),
}

/// Removing whoever has an e-mail: where that stands.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub enum Erase {
    /// Asking which profiles there are.
    LookUp {
        /// How often something was deleted.
        rounds: u8,
        /// What was under way before has had its time to show.
        waited: bool,
    },
    /// Deleting these.
    Delete {
        /// How often something was deleted before.
        rounds: u8,
        /// Ids of one kind.
        ids: Vec<Address>,
    },
}

/// Bringing what we have to the right profile: where that stands.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub enum Profile {
    /// Asking whether there is one.
    LookUp,
    /// There is none: making it.
    Create,
    /// There is one: writing to it.
    Update(Address),
    /// Asking our own memory where it is.
    Recall,
}

/// Bringing a phone into a subscription group: where that stands.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub enum Join {
    /// There is nothing to subscribe, for this reason; the profile gets what it would get by e-mail.
    Only(Missing, Profile),
    /// Reading the status before anything is done.
    Check,
    /// Asking whether there is a profile.
    LookUp {
        /// What is known of before.
        before: Before,
    },
    /// There is none: making it.
    Create {
        /// What is known of before.
        before: Before,
    },
    /// There is one: writing to it.
    Update {
        /// What is known of before.
        before: Before,
        /// Which profile.
        address: Address,
        /// Whether it lacks the phone.
        phone: bool,
    },
    /// Subscribing, or asking for Braze's own double opt-in.
    Set {
        /// What is known of before.
        before: Before,
    },
    /// Nobody knows whether the phone was subscribed: reading the status before it is tried again.
    Recheck {
        /// What is known of before.
        before: Before,
    },
    /// Waiting until the status is Subscribed.
    Confirm {
        /// Since when.
        since: Timestamp,
        /// Until when.
        until: Timestamp,
    },
    /// As `Recheck`, where the phone was to be subscribed along with the profile: nobody knows whether that is there.
    RecheckProfile {
        /// What is known of before.
        before: Before,
    },
}

/// What is known of before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Before {
    /// The status as it was read first.
    pub status: Subscription,
    /// We may have subscribed the phone since: a request of ours had no answer.
    pub maybe: bool,
}

/// Why nothing is subscribed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub enum Missing {
    /// No phone.
    Phone,
    /// No consent.
    Consent,
}

impl Profile {
    const fn lane(&self) -> LaneKind {
        match self {
            Profile::LookUp => LaneKind::UsersExportIds,
            // What is remembered needs no look-up: it goes where it is written, without standing in line for one.
            Profile::Create | Profile::Update(_) | Profile::Recall => LaneKind::UsersTrack,
        }
    }

    const fn step(&self) -> &'static str {
        match self {
            Profile::LookUp => "look_up",
            Profile::Create => "create",
            Profile::Update(_) => "update",
            Profile::Recall => "recall",
        }
    }

    const fn is_found(&self) -> bool {
        matches!(self, Profile::Update(_))
    }
}

impl Join {
    const fn takes_turn(&self) -> bool {
        match self {
            Join::Only(..)
            | Join::Check
            | Join::LookUp { .. }
            | Join::Create { .. }
            | Join::Update { .. }
            | Join::RecheckProfile { .. } => true,
            Join::Set { .. } | Join::Recheck { .. } | Join::Confirm { .. } => false,
        }
    }

    const fn lane(&self) -> LaneKind {
        match self {
            Join::Only(_, profile) => profile.lane(),
            Join::LookUp { .. } => LaneKind::UsersExportIds,
            Join::Create { .. } | Join::Update { .. } => LaneKind::UsersTrack,
            Join::Set { .. } => LaneKind::SubscriptionStatusSet,
            Join::Check
            | Join::Recheck { .. }
            | Join::RecheckProfile { .. }
            | Join::Confirm { .. } => LaneKind::Default,
        }
    }

    const fn step(&self) -> &'static str {
        match self {
            Join::Only(_, profile) => profile.step(),
            Join::Check => "check",
            Join::LookUp { .. } => "look_up",
            Join::Create { .. } => "create",
            Join::Update { .. } => "update",
            Join::Set { .. } => "set",
            Join::Recheck { .. } => "recheck",
            Join::RecheckProfile { .. } => "recheck_profile",
            Join::Confirm { .. } => "confirm",
        }
    }
}

impl State {
    /// The flow it belongs to.
    pub const fn flow(&self) -> Flow {
        match self {
            State::Email(_) => Flow::Email,
            State::Sms(_) => Flow::Sms,
            State::DoubleOptIn(_) => Flow::DoubleOptIn,
            State::Progress(_) => Flow::Progress,
            State::Credit { .. } => Flow::Credit,
            State::Webhook => Flow::Webhook,
            State::Outgrow => Flow::Outgrow,
            State::Erase(_) => Flow::Erase,
        }
    }

    /// Where its call goes.
    pub const fn lane(&self) -> LaneKind {
        match self {
            State::Email(profile) | State::Progress(profile) => profile.lane(),
            State::Sms(join) | State::DoubleOptIn(join) => join.lane(),
            State::Credit { .. } | State::Webhook => LaneKind::Quikly,
            State::Outgrow => LaneKind::UsersTrack,
            State::Erase(Erase::LookUp { .. }) => LaneKind::UsersExportIds,
            State::Erase(Erase::Delete { .. }) => LaneKind::UsersDelete,
        }
    }

    /// Whether a job that stands here holds, or waits for, its participant's turn (see [`store`](crate::store)): until
    /// the profile is there, or the update is delivered.
    pub const fn takes_turn(&self) -> bool {
        match self {
            State::Email(_) | State::Progress(_) | State::Outgrow => true,
            State::Sms(join) | State::DoubleOptIn(join) => join.takes_turn(),
            State::Credit { .. } | State::Webhook | State::Erase(_) => false,
        }
    }

    /// Whether it is an update that relies on what stands before it: it may be lent along with that, to stand in one
    /// request with it (see [`Store::lease`](crate::store::Store::lease)), and dies with it where there is no profile then.
    /// A lead makes its profile itself.
    pub const fn follows(&self) -> bool {
        match self {
            State::Progress(_) => true,
            State::Email(_)
            | State::Outgrow
            | State::Sms(_)
            | State::DoubleOptIn(_)
            | State::Credit { .. }
            | State::Webhook
            | State::Erase(_) => false,
        }
    }

    /// Whether it came to where it is knowing what was remembered, and found it wrong.
    pub const fn has_doubted_memory(&self) -> bool {
        matches!(
            self,
            State::Sms(Join::Create { .. }) | State::DoubleOptIn(Join::Create { .. })
        )
    }

    /// Whether its call makes a profile, if there is none.
    pub const fn creates(&self) -> bool {
        match self {
            State::Email(profile)
            | State::Progress(profile)
            | State::Sms(Join::Only(_, profile))
            | State::DoubleOptIn(Join::Only(_, profile)) => matches!(profile, Profile::Create),
            State::Sms(join) | State::DoubleOptIn(join) => matches!(join, Join::Create { .. }),
            State::Credit { .. } | State::Webhook | State::Outgrow | State::Erase(_) => false,
        }
    }

    /// Whether it is a participation that has not come to a profile yet: should it die, others would look in vain for what
    /// it was to make.
    pub const fn owes_profile(&self) -> bool {
        match self {
            State::Email(profile)
            | State::Sms(Join::Only(_, profile))
            | State::DoubleOptIn(Join::Only(_, profile)) => !profile.is_found(),
            State::Sms(join) | State::DoubleOptIn(join) => matches!(
                join,
                Join::Check
                    | Join::LookUp { .. }
                    | Join::Create { .. }
                    | Join::RecheckProfile { .. }
            ),
            State::Progress(_)
            | State::Credit { .. }
            | State::Webhook
            | State::Outgrow
            | State::Erase(_) => false,
        }
    }

    /// The step's name, for people.
    pub const fn step(&self) -> &'static str {
        match self {
            State::Email(profile) | State::Progress(profile) => profile.step(),
            State::Sms(join) | State::DoubleOptIn(join) => join.step(),
            State::Credit { .. } => "credit",
            State::Webhook => "pass_on",
            State::Outgrow => "write",
            State::Erase(Erase::LookUp { .. }) => "look_up",
            State::Erase(Erase::Delete { .. }) => "delete",
        }
    }
}
