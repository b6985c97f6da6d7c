//! `braze-relay outgrow`: what a content's mapping makes of a lead, and a first mapping from a sample of one.
//!
//! Invariants: `map`, and `test` without `--send`, ask nothing of anybody. A lead's answers are shown to whoever has its
//! file, and are written nowhere else.

use std::path::{Path, PathBuf};

use serde_json::Value;
use url::Url;

use super::remote::{Failed, Remote};
use crate::config::Env;

mod map;
mod send;
mod test;

/// Try a mapping of Outgrow leads, or begin one
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Test(Box<Test>),
    Map(Map),
}

/// Show what a content's mapping makes of a lead: whose it is, what is written, what is dropped and why
///
/// With --send the lead takes the real way: it is posted to the running relay with the token of
/// [ingest.sources.outgrow], followed until it is done or dead, and read back from Braze, if the key may export
/// (users.export.ids, which Outgrow itself does not need).
///
/// Exit codes: 0 every answer can be used (and arrived), 1 not so, 2 usage or configuration, 3 the relay cannot be
/// reached.
#[derive(Debug, clap::Args)]
struct Test {
    /// The content, as in [outgrow.CONTENT]
    #[arg(long, value_name = "C")]
    content: String,
    /// A lead as Outgrow posts it (a JSON object) [default: one made up to fit the mapping]
    #[arg(long, value_name = "FILE")]
    lead: Option<PathBuf>,
    /// Send it for real: a profile is written in the workspace's Braze
    #[arg(long)]
    send: bool,
    /// The relay's ingest listener [default: ingest.listen of --config]
    #[arg(long, value_name = "URL", requires = "send")]
    ingest: Option<Url>,
    #[command(flatten)]
    remote: Remote,
}

/// Propose a mapping from a sample lead: TOML to paste into the configuration, and to correct
#[derive(Debug, clap::Args)]
struct Map {
    /// A lead as Outgrow posts it (a JSON object)
    file: PathBuf,
    /// The content's name
    #[arg(long, value_name = "NAME", default_value = "my-quiz")]
    content: String,
    /// Answer with one JSON document
    #[arg(long)]
    json: bool,
}

/// Runs the command with the environment of this process; returns the exit code.
pub fn run(args: &Args) -> u8 {
    let env = Env::from_process();
    let out = &mut std::io::stdout().lock();
    match &args.command {
        Command::Test(args) => {
            test::run(args, &env, out).unwrap_or_else(|failed| failed.tell(&args.remote))
        }
        Command::Map(args) => map::run(args, out).unwrap_or_else(|failed| {
            let remote = Remote {
                json: args.json,
                ..Remote::default()
            };
            failed.tell(&remote)
        }),
    }
}

/// The lead in a file.
fn read(file: &Path) -> Result<Value, Failed> {
    let name = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failed::Usage(format!("{name} cannot be read: {error}")))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    match serde_json::from_str(text) {
        Ok(lead @ Value::Object(_)) => Ok(lead),
        Ok(_) => Err(Failed::Usage(format!("{name} is not a JSON object"))),
        Err(error) => Err(Failed::Usage(format!("{name} is not JSON: {error}"))),
    }
}
