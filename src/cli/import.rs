//! `braze-relay import`: a store of what another one told.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::PathBuf;

use super::export::load;
use super::remote::Failed;
use crate::app::offline::{self, OfflineError};
use crate::config::Env;

/// Make a store of an export
///
/// Only where store.path holds no store yet. The file is checked while it is read: of one that was changed or breaks off
/// nothing stays, and the line is named. Until everything is durable no other command opens the new store.
///
/// Exit codes: 0 done, 1 not, 2 usage or configuration, 3 there is a store already, or it cannot be made.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What braze-relay export wrote; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The configuration file: says where the store is to be
    #[arg(long, value_name = "F")]
    config: PathBuf,
}

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
enum NoImport {
    #[error("{0}")]
    Usage(#[from] Failed),
    #[error("{0}: {1}")]
    File(PathBuf, io::Error),
    #[error("{0}")]
    Offline(#[from] OfflineError),
}

/// Runs the command; returns the exit code.
pub fn run(args: &Args) -> u8 {
    match import(args, &Env::from_process()) {
        Ok(text) => {
            eprintln!("{text}");
            0
        }
        Err(error) => {
            eprintln!("braze-relay: {}", super::text::plain(&error.to_string()));
            match error {
                NoImport::Usage(_) | NoImport::File(..) => 2,
                NoImport::Offline(error) => error.exit_code(),
            }
        }
    }
}

fn import(args: &Args, env: &Env) -> Result<String, NoImport> {
    let config = load(&args.config, env)?;
    let end = if args.file.as_os_str() == "-" {
        offline::import(&config, io::stdin().lock())?
    } else {
        let file = File::open(&args.file);
        let file = file.map_err(|error| NoImport::File(args.file.clone(), error))?;
        offline::import(&config, BufReader::new(file))?
    };
    let entries: u64 = end.counts.values().sum();
    Ok(format!(
        "{entries} entries were imported into {}",
        config.store.path.display()
    ))
}
