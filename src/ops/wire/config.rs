//! What `GET /api/v1/config` tells.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The configuration as it is followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Configuration {
    /// Its tables, as they stand in the file; what is left out there is here with its default.
    pub tables: Vec<ConfigurationTable>,
}

/// One table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfigurationTable {
    /// Its header, such as `workspaces.acme.braze`.
    pub table: String,
    /// Its keys.
    pub settings: Vec<ConfigurationSetting>,
}

/// One key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfigurationSetting {
    /// The key.
    pub key: String,
    /// Its value as it would be written; dots for a secret.
    pub value: String,
    /// `line N` of the file, the environment variable that set it, or `default`.
    pub from: String,
}
