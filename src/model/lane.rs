//! Lanes: what shares one rate limit in a workspace.

use std::fmt;
use std::str::FromStr;

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::Name;

/// The rate limits a workspace has.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum LaneKind {
    /// `POST /users/track`.
    UsersTrack,
    /// `POST /users/export/ids`.
    UsersExportIds,
    /// `POST /subscription/status/set`, v1 and v2 together.
    SubscriptionStatusSet,
    /// `GET /subscription/status/get` and all that shares Braze's default bucket.
    Default,
    /// `POST /users/delete` and its neighbours.
    UsersDelete,
    /// The workspace's Quikly webhook URL.
    Quikly,
    /// Jobs of activations that are held: nobody is asked anything for them until the hold ends.
    Held,
}

impl LaneKind {
    /// Every kind, in the order they are shown.
    pub const ALL: [LaneKind; 7] = [
        LaneKind::UsersExportIds,
        LaneKind::UsersTrack,
        LaneKind::SubscriptionStatusSet,
        LaneKind::Default,
        LaneKind::UsersDelete,
        LaneKind::Quikly,
        LaneKind::Held,
    ];

    /// The name in configuration, metrics and commands.
    pub const fn as_str(self) -> &'static str {
        match self {
            LaneKind::UsersTrack => "users_track",
            LaneKind::UsersExportIds => "users_export_ids",
            LaneKind::SubscriptionStatusSet => "subscription_status_set",
            LaneKind::Default => "default",
            LaneKind::UsersDelete => "users_delete",
            LaneKind::Quikly => "quikly",
            LaneKind::Held => "held",
        }
    }
}

impl fmt::Display for LaneKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One lane of one workspace, written `acme/users_track`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Lane {
    /// The workspace's name in the configuration.
    pub workspace: Name,
    /// Which of its limits.
    pub kind: LaneKind,
}

impl Lane {
    /// The lane `kind` of `workspace`.
    pub fn new(workspace: &Name, kind: LaneKind) -> Lane {
        Lane {
            workspace: workspace.clone(),
            kind,
        }
    }
}

impl From<Lane> for String {
    fn from(lane: Lane) -> String {
        lane.to_string()
    }
}

impl TryFrom<String> for Lane {
    type Error = NotALane;
    fn try_from(text: String) -> Result<Self, NotALane> {
        text.parse()
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.workspace, self.kind)
    }
}

/// A text that is no lane's name.
#[derive(Debug, thiserror::Error)]
#[error("not a lane: expected WORKSPACE/LANE, such as acme/users_track")]
pub struct NotALane;

impl FromStr for Lane {
    type Err = NotALane;
    fn from_str(text: &str) -> Result<Self, NotALane> {
        let (workspace, kind) = text.split_once('/').ok_or(NotALane)?;
        let kind = LaneKind::ALL
            .into_iter()
            .find(|known| known.as_str() == kind)
            .ok_or(NotALane)?;
        Ok(Lane {
            workspace: workspace.into(),
            kind,
        })
    }
}
