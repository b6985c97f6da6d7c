//! `braze-relay export`: the whole queue as a file.
//!
//! Invariants: a file appears under its name only when it is whole, readable by its owner alone; what was fetched from a
//! relay that runs is checked on the way.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::remote::{Failed, Remote, write};
use crate::app::offline::{self, OfflineError};
use crate::clock::Clock;
use crate::config::Config;
use crate::config::Env;
use crate::store::archive::{ArchiveError, End, Seal};

/// Write the whole queue to a file
///
/// Jobs, dead letters, what is remembered for de-duplication and credits, counts: one JSON object a line, its kind in
/// `kind`, with checksums and the number of each kind in the last line. braze-relay import makes a store of it. The file
/// holds every address that the queue holds, and the secret of the store: keep it like the store itself.
///
/// A relay that runs is asked through its ops listener (role operator): a backup, consistent as of its end. Otherwise the
/// store is opened here. Kinds, by field: see the module documentation of store::entry.
///
/// Exit codes: 0 whole, 1 not, 2 usage or configuration, 3 unreachable or store refused.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to write it; - is standard output
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
    /// Read what can be read of a damaged store, and list what cannot; the store itself is not touched
    #[arg(long, requires = "config", conflicts_with = "ops")]
    salvage: bool,
    #[command(flatten)]
    remote: Remote,
}

/// Why there is no export.
#[derive(Debug, thiserror::Error)]
enum NoExport {
    #[error("{0}")]
    Remote(#[from] Failed),
    #[error("{0}")]
    Offline(#[from] OfflineError),
    #[error("what came from the relay is not whole: {0}")]
    Broken(#[from] ArchiveError),
    #[error("{0}: {1}")]
    File(PathBuf, io::Error),
}

impl NoExport {
    fn exit_code(&self) -> u8 {
        match self {
            NoExport::Remote(failed) => failed.exit_code(),
            NoExport::Offline(error) => error.exit_code(),
            NoExport::Broken(_) => 1,
            NoExport::File(..) => 2,
        }
    }
}

/// Runs the command; returns the exit code.
pub fn run(args: &Args) -> u8 {
    match export(args, &Env::from_process()) {
        Ok(end) => {
            if args.remote.json && args.file.as_os_str() != "-" {
                let _ = write(&mut io::stdout(), &end);
            }
            let entries: u64 = end.counts.values().sum();
            let jobs = end.counts.get("job").copied().unwrap_or_default();
            let letters = end.counts.get("letter").copied().unwrap_or_default();
            eprintln!("{entries} entries: {jobs} jobs, {letters} dead letters");
            for missing in &end.missing {
                eprintln!("missing: {missing}");
            }
            u8::from(!end.missing.is_empty())
        }
        Err(error) => {
            if args.remote.json && args.file.as_os_str() != "-" {
                let _ = write(&mut io::stdout(), &json!({ "error": error.to_string() }));
            }
            eprintln!("braze-relay: {}", super::text::plain(&error.to_string()));
            error.exit_code()
        }
    }
}

fn export(args: &Args, env: &Env) -> Result<End, NoExport> {
    if args.file.as_os_str() == "-" {
        let mut out = BufWriter::new(io::stdout().lock());
        let end = take(args, env, &mut out)?;
        out.flush().map_err(OfflineError::Output)?;
        return Ok(end);
    }
    let named = |error| NoExport::File(args.file.clone(), error);
    if args.file.exists() {
        return Err(named(io::Error::other(
            "there is a file already: name another one",
        )));
    }
    let part = part_of(&args.file);
    let file = create(&part).map_err(named)?;
    let mut out = BufWriter::new(file);
    let taken = take(args, env, &mut out).and_then(|end| {
        let file = out
            .into_inner()
            .map_err(|error| named(error.into_error()))?;
        file.sync_all().map_err(named)?;
        std::fs::rename(&part, &args.file).map_err(named)?;
        Ok(end)
    });
    if taken.is_err() {
        // What is not whole is of no use; that it cannot be removed is no news either.
        let _ = std::fs::remove_file(&part);
    }
    taken
}

fn part_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)
}

fn take(args: &Args, env: &Env, out: &mut impl Write) -> Result<End, NoExport> {
    if args.remote.ops.is_none()
        && let Some(file) = &args.remote.config
    {
        let config = load(file, env)?;
        let now = Clock::system(1.0).now();
        if args.salvage {
            // sled panics on what it cannot read; that is contained, and told in our own words.
            std::panic::set_hook(Box::new(|_| {}));
            return Ok(offline::salvage(&config, now, out)?);
        }
        if !offline::is_served(&config) {
            return Ok(offline::export(&config, now, out)?);
        }
    }
    let mut seal = Seal::default();
    args.remote.caller(env)?.fetch("api/v1/backup", |piece| {
        seal.push(piece);
        out.write_all(piece)
    })?;
    Ok(seal.finish()?)
}

/// The configuration, as every command that needs no relay reads it.
pub(super) fn load(file: &Path, env: &Env) -> Result<Config, Failed> {
    Ok(Config::load(file, env)
        .map_err(|mistakes| Failed::Usage(format!("{}: {mistakes}", file.display())))?
        .config)
}
