//! What `GET /api/v1/activations/{workspace}/{activation}` tells.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::HeldActivation;
use crate::flow::job::{Outcome, Reason};

/// One activation, or Outgrow content: how far people are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Activation {
    /// Whose workspace it writes to.
    pub workspace: String,
    /// Its name.
    pub activation: String,
    /// What a participation starts; `None` when it starts nothing, or the activation is not configured any more.
    pub flow: Option<String>,
    /// Participations, less those that were discarded or forgotten: the steps add up to it.
    pub joined: u64,
    /// Where each of them is, in the order in which they are passed.
    pub steps: Vec<Step>,
    /// What became of credits at Quikly.
    pub credits: Credits,
    /// Braze webhooks on their way to Quikly.
    pub webhooks: Webhooks,
    /// Dead letters of all its flows, by reason.
    pub dead: Vec<DeadReason>,
    /// Participations that ended well, by outcome.
    pub done: Vec<DoneOutcome>,
    /// Updates (`progress`) that are not delivered yet.
    pub updates_living: u64,
    /// Its calls that are due, not yet answered.
    pub due: u64,
    /// How long they take; `None`: nobody knows.
    pub eta_seconds: Option<f64>,
    /// Its hold, if it is held.
    pub held: Option<HeldActivation>,
}

/// How many are at one step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Step {
    /// Its name, for programs.
    pub step: String,
    /// Its name, for people.
    pub label: String,
    /// How many participations are at it.
    pub count: u64,
    /// Whether they live.
    pub kind: StepKind,
}

/// Whether something still happens at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// Yes.
    Living,
    /// They ended well.
    Done,
    /// They are dead letters.
    Dead,
}

/// Credits of one activation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Credits {
    /// Not told yet.
    pub waiting: u64,
    /// Told.
    pub credited: u64,
    /// Dead letters.
    pub dead: u64,
}

/// Braze webhooks that name one activation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Webhooks {
    /// Not passed on yet.
    pub waiting: u64,
    /// Passed on.
    pub passed_on: u64,
    /// Dead letters.
    pub dead: u64,
}

/// Dead letters of one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeadReason {
    /// Why.
    pub reason: Reason,
    /// How many.
    pub count: u64,
}

/// Participations of one outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DoneOutcome {
    /// How they ended.
    pub outcome: Outcome,
    /// How many.
    pub count: u64,
}
