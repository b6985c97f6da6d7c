//! What `POST /api/v1/lanes/hold` and `/release` take and tell.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::time::Timestamp;

/// What is to be held or released: exactly one of `lane`, `activation` and `all`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WhichLanes {
    /// This lane: `acme/users_track`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<String>,
    /// This activation, or Outgrow content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation: Option<String>,
    /// Every lane; of a release, every activation that is held as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all: Option<bool>,
    /// Of a hold: for so long; without it, until it is released or the relay started again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_seconds: Option<u64>,
    /// Of a hold: why, shown with it and kept in the audit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// What was held or released.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LanesChanged {
    /// These lanes.
    pub lanes: Vec<String>,
    /// These activations.
    pub activations: Vec<String>,
    /// Until when, if the hold has an end.
    pub until: Option<Timestamp>,
}
