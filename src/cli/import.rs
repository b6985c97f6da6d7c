//! `braze-relay import`: a store of what another one told.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::PathBuf;

use serde_json::{Value, json};

use super::export::load;
use super::remote::{Failed, offline_told};
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
    /// Answer with one JSON document
    #[arg(long)]
    json: bool,
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

impl NoImport {
    fn exit_code(&self) -> u8 {
        match self {
            NoImport::Usage(_) | NoImport::File(..) => 2,
            NoImport::Offline(error) => error.exit_code(),
        }
    }
}

/// Runs the command; returns the exit code.
pub fn run(args: &Args) -> u8 {
    let told = import(args, &Env::from_process());
    let code = told.as_ref().map_or_else(NoImport::exit_code, |_| 0);
    offline_told(told, args.json);
    code
}

/// What came of it, for people and as a document.
fn import(args: &Args, env: &Env) -> Result<(String, Value), NoImport> {
    let config = load(&args.config, env)?;
    let end = if args.file.as_os_str() == "-" {
        offline::import(&config, io::stdin().lock())?
    } else {
        let file = File::open(&args.file);
        let file = file.map_err(|error| NoImport::File(args.file.clone(), error))?;
        offline::import(&config, BufReader::new(file))?
    };
    let path = config.store.path.display().to_string();
    let entries: u64 = end.counts.values().sum();
    let text = format!("{entries} entries were imported into {path}");
    let document = json!({ "path": path, "entries": entries, "counts": end.counts });
    Ok((text, document))
}
