//! What `/api/v1/forget` is asked and tells.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::id::EventId;
use crate::model::time::Timestamp;

/// `POST /api/v1/forget`: who is to be forgotten, by exactly one of `email` and `phone`. No `Debug`: it says who.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Forget {
    /// By this e-mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// By this phone, E.164.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// Only in this workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// Their profiles in Braze are deleted, too.
    #[serde(default)]
    pub delete_in_braze: bool,
    /// Without it, what would be removed is only counted.
    #[serde(default)]
    pub yes: bool,
}

/// What a forgetting did, or would do. Nothing in it says who it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Receipt {
    /// Its number; `None`: nothing was done, it is a preview.
    pub id: Option<u64>,
    /// When it was asked for.
    pub at: Timestamp,
    /// Who asked, as in the audit.
    pub who: String,
    /// By what: `email` or `phone`.
    pub by: String,
    /// In which workspace; `None`: in all.
    pub workspace: Option<String>,
    /// How many participants it found; a brand's own id counts once a workspace.
    pub people: u64,
    /// Their hashes, as in the audit and in lists; not more than twenty.
    pub participants: Vec<String>,
    /// What was removed, or would be. What went right before a stop in the middle of it may be missing.
    pub removed: Removed,
    /// Whether their profiles were to be deleted.
    pub delete_in_braze: bool,
    /// The deletions in Braze; not more than twenty.
    pub erasures: Vec<Erasing>,
    /// Participants who are known by no e-mail: their profiles are not deleted.
    pub without_email: u64,
    /// When it was done; `None`: not yet. It goes on by itself, also after a stop.
    pub done_at: Option<Timestamp>,
}

/// What was removed, or would be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Removed {
    /// Events that were queued or dead.
    pub events: u64,
    /// Jobs that lived.
    pub jobs: u64,
    /// Of those, being worked on at that moment: one request for each may still reach the other side.
    pub in_flight: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// Remembered addresses of profiles.
    pub addresses: u64,
}

/// The deletion of one person's profiles in one workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Erasing {
    /// Where.
    pub workspace: String,
    /// Its event.
    pub event_id: EventId,
    /// How it stands, where that was asked for.
    #[serde(default)]
    pub state: Option<ErasingState>,
}

/// How a deletion stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErasingState {
    /// It goes on.
    Running,
    /// It is a dead letter.
    Dead,
    /// It has ended: no profile has this e-mail any more. Or its letter was discarded or forgotten.
    Ended,
}

/// `GET /api/v1/forget`: the newest first, a hundred at most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Receipts {
    /// The receipts.
    pub items: Vec<Receipt>,
}
