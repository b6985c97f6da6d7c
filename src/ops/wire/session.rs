//! What signing in takes and tells.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /api/v1/login`. Has no `Debug`: it is a secret.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// One of `ops.tokens`.
    pub token: String,
}

/// `GET /api/v1/me`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Me {
    /// As the audit names whoever uses this token.
    pub who: String,
    /// `viewer` or `operator`.
    pub role: String,
    /// Whether it is by a session, which can be ended.
    pub signed_in: bool,
}
