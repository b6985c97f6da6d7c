//! `braze-relay export`: the whole queue as a file.
//!
//! Invariants: a file appears under its name only when it is whole, readable by its owner alone; what was fetched from a
//! relay that runs is checked on the way.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::NamedTempFile;

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
/// Until it is whole the file is FILE.XXXXXX.part beside it; a command that is killed leaves that behind, to be removed.
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

/// What is not written over.
const TAKEN: &str = "there is a file already: name another one";

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
    #[error("cannot write {0}: {1}")]
    Output(String, io::Error),
}

impl NoExport {
    fn exit_code(&self) -> u8 {
        match self {
            NoExport::Remote(failed) => failed.exit_code(),
            NoExport::Offline(error) => error.exit_code(),
            NoExport::Broken(_) | NoExport::Output(..) => 1,
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
        return written(args, env, &mut out).map_err(|error| to("standard output", error));
    }
    let named = |error| NoExport::File(args.file.clone(), error);
    if args.file.exists() {
        return Err(named(io::Error::other(TAKEN)));
    }
    // Beside the file, so that it can be renamed; gone again unless the process is killed.
    let mut part = part_of(&args.file).map_err(named)?;
    let end = written(args, env, &mut BufWriter::new(part.as_file_mut()));
    let whole = end.and_then(|end| {
        let synced = part.as_file().sync_all();
        synced
            .map(|()| end)
            .map_err(|error| Failed::Output(error).into())
    });
    let end = whole.map_err(|error| to(&args.file.to_string_lossy(), error))?;
    part.persist_noclobber(&args.file)
        .map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => named(io::Error::other(TAKEN)),
            _ => named(error.error),
        })?;
    Ok(end)
}

/// The same error, with where it was that could not be written.
fn to(whom: &str, error: NoExport) -> NoExport {
    match error {
        NoExport::Remote(Failed::Output(error))
        | NoExport::Offline(OfflineError::Output(error)) => {
            NoExport::Output(whom.to_owned(), error)
        }
        error => error,
    }
}

/// A file of its own beside `file`, of its owner alone: `NAME.XXXXXX.part`.
fn part_of(file: &Path) -> io::Result<NamedTempFile> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    tempfile::Builder::new()
        .prefix(&format!("{name}."))
        .suffix(".part")
        .tempfile_in(folder)
}

fn written(args: &Args, env: &Env, out: &mut impl Write) -> Result<End, NoExport> {
    let end = take(args, env, out)?;
    out.flush().map_err(OfflineError::Output)?;
    Ok(end)
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
