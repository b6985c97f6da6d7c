//! What `POST /api/v1/participants` takes and tells.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::JobRow;
use crate::model::id::EventId;
use crate::model::time::Timestamp;

/// Who is looked for. Has no `Debug`: it is somebody's address.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WhichParticipant {
    /// Their e-mail, in whatever case; or their hash, as lists show it.
    pub email: String,
}

/// One person's events, as far as they are remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Participant {
    /// Masked.
    pub participant: String,
    /// As filters take it.
    pub participant_hash: String,
    /// The workspaces in which the relay knows their profile.
    pub addresses: Vec<KnownAddress>,
    /// The newest first.
    pub events: Vec<TimelineEvent>,
    /// There are older ones that are not told.
    pub more: bool,
}

/// Where a profile is believed to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KnownAddress {
    /// In this workspace.
    pub workspace: String,
    /// By what it is addressed: `external_id`, `braze_id`, `alias` or `email`.
    pub address_kind: String,
}

/// One of their events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TimelineEvent {
    /// As its client was told.
    pub id: EventId,
    /// When.
    pub accepted_at: Timestamp,
    /// `queued` while a job lives, `dead` while one is dead and none lives, else `ended`: done, discarded or forgotten.
    pub state: String,
    /// Its jobs that live or are dead; what has ended leaves none.
    pub jobs: Vec<JobRow>,
}
