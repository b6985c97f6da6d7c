//! What `GET /api/v1/live` and `/history` tell.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Status;
use crate::model::time::Timestamp;

/// An event `now` of `GET /api/v1/live`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Live {
    /// In a few numbers, over the last second or so.
    pub moment: Moment,
    /// The newest of the history, which it grows by.
    #[serde(default)]
    pub step: Option<Moment>,
    /// Everything, as `GET /api/v1/status` tells it.
    pub status: Status,
}

/// `GET /api/v1/history`, and the event `history` of `GET /api/v1/live`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct History {
    /// How far apart they are.
    pub every_seconds: u64,
    /// Those of the last hour, since the relay started, the oldest first.
    pub moments: Vec<Moment>,
}

/// Everything at one moment, in a few numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Moment {
    /// When.
    pub at: Timestamp,
    /// Events.
    pub accepted_per_second: f64,
    /// Events.
    pub done_per_second: f64,
    /// Events, by how much those that are dead grew.
    pub dead_per_second: f64,
    /// Told to Quikly.
    pub credits_per_second: f64,
    /// Calls that are due and not yet answered, of all lanes.
    pub depth: u64,
    /// Calls that are due in the future.
    pub waiting: u64,
    /// How long the first of `depth` has been due.
    pub oldest_seconds: Option<f64>,
    /// Dead events that lie there.
    pub dead: u64,
}
