//! `braze-relay compact`: the store's files as small as what they hold.

use std::path::PathBuf;

use super::export::load;
use super::remote::Failed;
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
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
enum NotCompacted {
    #[error("{0}")]
    Usage(#[from] Failed),
    #[error("{0}")]
    Offline(#[from] OfflineError),
}

/// Runs the command; returns the exit code.
pub fn run(args: &Args) -> u8 {
    match compact(args) {
        Ok(text) => {
            eprintln!("{text}");
            0
        }
        Err(error) => {
            eprintln!("braze-relay: {}", super::text::plain(&error.to_string()));
            match error {
                NotCompacted::Usage(_) => 2,
                NotCompacted::Offline(error) => error.exit_code(),
            }
        }
    }
}

fn compact(args: &Args) -> Result<String, NotCompacted> {
    let config = load(&args.config, &Env::from_process())?;
    let sizes = offline::compact(&config)?;
    Ok(format!(
        "{}: {} bytes, before {}",
        config.store.path.display(),
        sizes.after,
        sizes.before
    ))
}
