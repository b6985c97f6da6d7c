//! The commands. Each is one file with its arguments and a `run` that returns the exit code.
//!
//! Exit codes: 0 ok, 1 no, 2 usage or configuration, 3 unreachable or store refused.

mod check;
mod demo;
mod sandbox;
mod serve;

use clap::{Parser, Subcommand};

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
    Demo(demo::Args),
    Sandbox(sandbox::SandboxArgs),
}

/// Runs the command of this process; returns the exit code.
pub fn run() -> u8 {
    match Cli::parse().command {
        Command::Serve(args) => serve::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Demo(args) => until_done(demo::run(args)),
        Command::Sandbox(args) => until_done(sandbox::run(args)),
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
