//! What `POST /api/v1/reload` takes and tells.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How the configuration is to be read anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewReload {
    /// Even where jobs that are alive would be left without settings: they die as `unknown_activation` when they come up.
    #[serde(default)]
    pub force: bool,
}

/// What a reload has done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reloaded {
    /// `true`: the relay runs by the file as it is now, but for what needs a restart.
    pub applied: bool,
    /// Keys that mean something else now, such as `workspaces.acme.braze.api_key`; a table that came or went as one.
    pub changed: Vec<String>,
    /// Keys that stay as they were until a restart.
    pub needs_restart: Vec<String>,
    /// Lanes that were held as denied, and are tried at once.
    pub released: Vec<String>,
    /// Activations whose hold has ended.
    pub released_activations: Vec<String>,
    /// Jobs alive that were left without settings, by force.
    pub jobs_without_rules: u64,
}

/// Why the file cannot be used: one of the `mistakes` of a refusal (422).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReloadMistake {
    /// The line in the file, from 1; 0 where no line is to blame.
    pub line: usize,
    /// The key's full path; empty for the file as a whole.
    pub key: String,
    /// What is wrong, and what may stand there.
    pub problem: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// Jobs alive that would be left without settings: one of the `orphans` of a refusal (409).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Orphan {
    /// Their workspace.
    pub workspace: String,
    /// The activation or content that would be gone; `none`: people are being forgotten.
    pub activation: String,
    /// How many.
    pub jobs: u64,
}
