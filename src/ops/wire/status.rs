//! What `GET /api/v1/status` tells.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::flow::job::{Outcome, Reason};
use crate::model::time::Timestamp;

/// `GET /api/v1/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The relay's version.
    pub version: String,
    /// When this was counted.
    pub now: Timestamp,
    /// Since the relay started.
    pub uptime_seconds: u64,
    /// Events by where they are.
    pub events: Events,
    /// Jobs that are not done; groups that have none are left out.
    pub jobs: Vec<Jobs>,
    /// Dead letters by reason.
    pub dead: Vec<Dead>,
    /// Jobs done, by outcome, since the store was made.
    pub done: Vec<Done>,
    /// Activations that are configured or have work, and how long that takes.
    #[serde(default)]
    pub activations: Vec<ActivationRow>,
    /// Activations that are held.
    #[serde(default)]
    pub held_activations: Vec<HeldActivation>,
    /// Every lane that is configured or has work.
    pub lanes: Vec<LaneRow>,
    /// The store.
    pub store: StoreRow,
}

/// Events: `accepted = done + dead + queued + discarded + forgotten`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Events {
    /// Everything ever accepted by this store.
    pub accepted: u64,
    /// All of its jobs are done.
    pub done: u64,
    /// A job is dead and none lives.
    pub dead: u64,
    /// A job lives.
    pub queued: u64,
    /// Discarded.
    pub discarded: u64,
    /// Forgotten with the person.
    pub forgotten: u64,
    /// Whether that adds up. Anything but `true` is a mistake of the relay.
    pub adds_up: bool,
}

/// What is counted together. What is not known is `none`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct Group {
    /// The workspace.
    pub workspace: String,
    /// The activation.
    pub activation: String,
    /// The flow.
    pub flow: String,
}

/// Jobs of one group by state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Jobs {
    /// Of what.
    #[serde(flatten)]
    pub group: Group,
    /// Due in the future.
    pub waiting: u64,
    /// Due.
    pub ready: u64,
    /// Being carried out.
    pub in_flight: u64,
    /// Dead letters.
    pub dead: u64,
}

/// Dead letters of one group and reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Dead {
    /// Of what.
    #[serde(flatten)]
    pub group: Group,
    /// Why.
    pub reason: Reason,
    /// How many.
    pub count: u64,
}

/// Jobs done of one group and outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Done {
    /// Of what.
    #[serde(flatten)]
    pub group: Group,
    /// How.
    pub outcome: Outcome,
    /// How many.
    pub count: u64,
}

/// One activation, or Outgrow content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ActivationRow {
    /// Whose workspace it writes to.
    pub workspace: String,
    /// Its name.
    pub activation: String,
    /// Its calls that are due, not yet answered.
    pub due: u64,
    /// How long they take as things stand, with what follows from them at once in further lanes; `None`: nobody knows,
    /// since it is held (see `held_activations`), or a lane on the way is (see `lanes`), or answers nothing, or has no
    /// limits and has not shown its pace yet.
    pub eta_seconds: Option<f64>,
}

/// One lane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LaneRow {
    /// As on the command line: `acme/users_track`.
    pub lane: String,
    /// Due calls not yet answered.
    pub depth: u64,
    /// Calls due in the future.
    pub waiting: u64,
    /// How long the first of `depth` has been due.
    pub oldest_seconds: Option<f64>,
    /// How long `depth` takes as things stand; `None`: nobody knows, since it is held, or answers nothing, or has no limits
    /// and has not shown its pace yet.
    #[serde(default)]
    pub eta_seconds: Option<f64>,
    /// Requests under way.
    pub in_flight: u64,
    /// What its limits allow in the long run; `None` without limits, or where the engine has no such lane.
    pub requests_per_second: Option<f64>,
    /// How much of its fullest window is used, 0 to 1: by everybody where Braze tells, else by us of our share; `None`
    /// where the engine has no such lane.
    pub budget_used_ratio: Option<f64>,
    /// Objects a request may carry.
    pub objects_max: Option<u64>,
    /// Its hold, if it is held.
    pub held: Option<Held>,
    /// The end of its stop after a 429, if it is stopped.
    pub stopped_until: Option<Timestamp>,
}

/// Why a lane is not worked for now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Held {
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when, if that is known.
    pub until: Option<Timestamp>,
    /// Why, in the words of the operator who holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// Why an activation is not worked for now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeldActivation {
    /// Whose workspace it writes to.
    pub workspace: String,
    /// Its `q_scope`, or the Outgrow content.
    pub activation: String,
    /// `burials`, `invalid_group` or `manual`.
    pub reason: String,
    /// What too many of its jobs in a row died of.
    pub died_of: Option<Reason>,
    /// Since when.
    pub since: Timestamp,
    /// Until when, if that is known.
    #[serde(default)]
    pub until: Option<Timestamp>,
    /// Why, in the words of the operator who holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// The store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoreRow {
    /// The size of its files.
    pub bytes: u64,
    /// Free disk.
    pub free_bytes: u64,
    /// The number of its last commit.
    pub commit: u64,
    /// Why it takes no new events now; `None` while it does.
    pub refusing: Option<String>,
}
