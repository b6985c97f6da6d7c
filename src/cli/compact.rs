//! `braze-relay compact`: the store's files as small as what they hold.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::export::load;
use super::remote::{Failed, offline_told};
use crate::app::offline::{self, OfflineError};
use crate::config::Env;

/// Make the store's files as small as what they hold
///
/// Stop the relay first. The store is copied into a fresh one inside its folder, compared with it, and exchanged for it in
/// one step; whatever ends this early leaves the store as it was. Afterwards nothing that was forgotten is in the files any
/// more. Needs as much free disk as relay_store_live_bytes says, and about half as much again.
///
/// Exit codes: 0 done, 1 not, 2 usage or configuration, 3 the store is in use or cannot be opened.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file: says where the store is
    #[arg(long, value_name = "F")]
    config: PathBuf,
    /// Answer with one JSON document
    #[arg(long)]
    json: bool,
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
enum NotCompacted {
    #[error("{0}")]
    Usage(#[from] Failed),
    #[error("{0}")]
    Offline(#[from] OfflineError),
}

impl NotCompacted {
    fn exit_code(&self) -> u8 {
        match self {
            NotCompacted::Usage(_) => 2,
            NotCompacted::Offline(error) => error.exit_code(),
        }
    }
}

/// Runs the command; returns the exit code.
pub fn run(args: &Args) -> u8 {
    let told = compact(args);
    let code = told.as_ref().map_or_else(NotCompacted::exit_code, |_| 0);
    offline_told(told, args.json);
    code
}

/// What came of it, for people and as a document.
fn compact(args: &Args) -> Result<(String, Value), NotCompacted> {
    let config = load(&args.config, &Env::from_process())?;
    let sizes = offline::compact(&config)?;
    let path = config.store.path.display().to_string();
    let (before, after) = (sizes.before, sizes.after);
    let text = format!("{path}: {after} bytes, before {before}");
    let document = json!({ "path": path, "bytes": after, "bytes_before": before });
    Ok((text, document))
}
