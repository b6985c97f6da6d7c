//! The commands. Each is one file with its arguments and a `run` that returns the exit code.
//!
//! Exit codes: 0 ok, 1 no, 2 usage or configuration, 3 unreachable or store refused.

mod check;
mod compact;
mod dead;
mod demo;
mod doctor;
mod export;
mod forget;
mod import;
mod jobs;
mod lane;
mod outgrow;
mod remote;
mod replay;
mod sandbox;
mod serve;
mod status;
mod text;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::clock::{Clock, ClockBase};

/// Carries events between campaign platforms and Braze, and does not lose them
///
/// Quikly and Outgrow post to it; it answers 202 once an event would survive a power cut, and delivers it to Braze as
/// fast as Braze allows. What cannot be delivered becomes a dead letter that can be read, fixed and replayed.
#[derive(Debug, Parser)]
#[command(name = "braze-relay", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Args),
    Check(check::Args),
    Doctor(doctor::Args),
    Status(status::Args),
    Jobs(jobs::Args),
    Dead(dead::Args),
    Replay(replay::Args),
    Lane(lane::Args),
    Forget(Box<forget::Args>),
    Export(export::Args),
    Import(import::Args),
    Compact(compact::Args),
    Outgrow(outgrow::Args),
    Sandbox(Box<sandbox::SandboxArgs>),
    Demo(demo::Args),
}

/// Runs the command of this process; returns the exit code.
pub fn run() -> u8 {
    // Sped-up time is said where it is meant for: of the sandbox and the demo.
    let hidden = |serve: clap::Command| {
        serve
            .mut_arg("clock_speed", |arg| arg.hide(true))
            .mut_arg("clock_base", |arg| arg.hide(true))
    };
    let matches = Cli::command().mut_subcommand("serve", hidden).get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match cli.command {
        Command::Serve(args) => serve::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Jobs(args) => jobs::run(&args),
        Command::Dead(args) => dead::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Lane(args) => lane::run(&args),
        Command::Forget(args) => forget::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Compact(args) => compact::run(&args),
        Command::Outgrow(args) => outgrow::run(&args),
        Command::Sandbox(args) => until_done(sandbox::run(*args)),
        Command::Demo(args) => until_done(demo::run(args)),
    }
}

/// The profile fields of Braze that events, mappings and the demo's files may set, as an export names them.
const PROFILE_FIELDS: [&str; 8] = [
    "first_name",
    "last_name",
    "dob",
    "gender",
    "country",
    "home_city",
    "language",
    "time_zone",
];

/// How fast time passes.
#[derive(Clone, Debug, clap::Args)]
struct TimeArgs {
    /// Let time pass N times as fast; the relay takes it only with loopback URLs
    #[arg(long, value_name = "N", default_value_t = 1.0, value_parser = speed)]
    clock_speed: f64,
    /// Since when it passes that fast (RFC 3339), so that several processes agree; default: the start of this one
    #[arg(long, value_name = "MOMENT", value_parser = ClockBase::parse)]
    clock_base: Option<ClockBase>,
}

impl TimeArgs {
    fn clock(&self) -> Clock {
        match self.clock_base {
            Some(base) => Clock::sped_up_since(base, self.clock_speed),
            None => Clock::system(self.clock_speed),
        }
    }
}

/// A speed of the clock: a positive number.
fn speed(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(speed) if speed > 0.0 && speed <= 1_000_000.0 => Ok(speed),
        _ => Err("a number above 0, such as 10".into()),
    }
}

/// Runs an async command on a runtime of its own; an error is said on standard error.
fn until_done(command: impl Future<Output = anyhow::Result<()>>) -> u8 {
    let done = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(command));
    match done {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("braze-relay: {error:#}");
            1
        }
    }
}
