//! What `GET /api/v1/audit` tells.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::model::time::Timestamp;

/// A page of the audit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditPage {
    /// The newest first.
    pub items: Vec<AuditEntry>,
    /// Go on with `after` this, to older ones; `None` at the end.
    pub next: Option<u64>,
}

/// One change that somebody made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// Grows with every entry.
    pub number: u64,
    /// When it was done.
    pub at: Timestamp,
    /// `local`, or role and number of the token (`operator-2`: the second of `ops.tokens`); `relay`: by itself.
    pub who: String,
    /// What was done, such as `lane hold`.
    pub what: String,
    /// To what: names, ids or a filter, a participant as a hash.
    pub which: Value,
    /// Why, where somebody said so.
    pub why: Option<String>,
    /// How many of each.
    pub counts: BTreeMap<String, u64>,
    /// What came of it.
    pub outcome: String,
}
