//! The commands. Each is one file with its arguments and a `run` that returns the exit code.
//!
//! Exit codes: 0 ok, 1 no, 2 usage or configuration, 3 unreachable or store refused.

mod check;
mod compact;
mod completions;
mod dead;
mod demo;
mod doctor;
mod export;
mod forget;
mod import;
mod jobs;
mod lane;
mod man;
mod outgrow;
mod reload;
mod remote;
mod replay;
mod sandbox;
mod serve;
mod status;
mod text;
mod top;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::clock::{Clock, ClockBase};

/// Carries events between campaign platforms and Braze, and does not lose them
///
/// Quikly and Outgrow post to it; it answers 202 once an event would survive a power cut, and delivers it to Braze as
/// fast as Braze allows. What cannot be delivered becomes a dead letter that can be read, fixed and replayed.
#[derive(Debug, Parser)]
#[command(name = NAME, version, propagate_version = true)]
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
    Top(top::Args),
    Jobs(jobs::Args),
    Dead(dead::Args),
    Replay(replay::Args),
    Lane(lane::Args),
    Reload(reload::Args),
    Forget(Box<forget::Args>),
    Export(export::Args),
    Import(import::Args),
    Compact(compact::Args),
    Outgrow(outgrow::Args),
    Sandbox(Box<sandbox::SandboxArgs>),
    Demo(demo::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// What it is called.
const NAME: &str = "braze-relay";

/// All commands, as they are shown.
fn command() -> clap::Command {
    // Sped-up time is said where it is meant for: of the sandbox and the demo.
    let hidden = |serve: clap::Command| {
        serve
            .mut_arg("clock_speed", |arg| arg.hide(true))
            .mut_arg("clock_base", |arg| arg.hide(true))
    };
    Cli::command().mut_subcommand("serve", hidden)
}

/// Says how the command line is wrong, also as the one document where that is asked for; or shows help, or the version.
fn refused(error: &clap::Error) -> u8 {
    let asks_json = std::env::args_os().any(|arg| arg == "--json");
    if error.use_stderr() && asks_json {
        let document = serde_json::json!({ "error": error.to_string().trim_end() });
        // Whoever closed our output does not want to hear it.
        let _ = remote::write(&mut std::io::stdout(), &document);
    }
    let _ = error.print();
    u8::try_from(error.exit_code()).unwrap_or(2)
}

/// Runs the command of this process; returns the exit code.
pub fn run() -> u8 {
    let matches = command().try_get_matches();
    let cli = match matches.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => return refused(&error),
    };
    match cli.command {
        Command::Serve(args) => serve::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Jobs(args) => jobs::run(&args),
        Command::Dead(args) => dead::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Lane(args) => lane::run(&args),
        Command::Reload(args) => reload::run(&args),
        Command::Forget(args) => forget::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Compact(args) => compact::run(&args),
        Command::Outgrow(args) => outgrow::run(&args),
        Command::Sandbox(args) => until_done(sandbox::run(*args)),
        Command::Demo(args) => until_done(demo::run(args)),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What each command takes behind its name, with who need not and why.
    const EXCEPTIONS: [(&str, &[&str], &str); 10] = [
        (
            "serve",
            &["--ops", "--json"],
            "it is the relay, and its log is its answer",
        ),
        (
            "sandbox",
            &["--config", "--ops", "--json"],
            "it is a Braze, and its log is its answer",
        ),
        (
            "demo",
            &["--config", "--ops", "--json"],
            "it brings a relay of its own, and tells a story",
        ),
        (
            "completions",
            &["--config", "--ops", "--json"],
            "a script is its answer",
        ),
        (
            "man",
            &["--config", "--ops", "--json"],
            "pages are its answer",
        ),
        ("check", &["--ops"], "it is offline"),
        ("import", &["--ops"], "it is offline"),
        ("compact", &["--ops"], "it is offline"),
        (
            "outgrow map",
            &["--config", "--ops"],
            "it is offline, and a sample is all it reads",
        ),
        (
            "doctor",
            &["--ops"],
            "it asks Braze and this machine, not the relay",
        ),
    ];

    fn walk(command: &clap::Command, before: &str, missing: &mut Vec<String>, seen: &mut usize) {
        for sub in command.get_subcommands() {
            let name = format!("{before}{}", sub.get_name());
            if sub.has_subcommands() {
                walk(sub, &format!("{name} "), missing, seen);
                continue;
            }
            *seen += 1;
            let excused = EXCEPTIONS.iter().find(|(known, ..)| *known == name);
            for flag in ["--config", "--ops", "--json"] {
                let is_there = sub
                    .get_arguments()
                    .any(|arg| arg.get_long() == flag.get(2..));
                let is_excused = excused.is_some_and(|(_, flags, _)| flags.contains(&flag));
                if !is_there && !is_excused {
                    missing.push(format!("{name} {flag}"));
                }
            }
        }
    }

    #[test]
    fn every_command_takes_config_ops_and_json_or_says_why_not() {
        let (mut missing, mut seen) = (Vec::new(), 0);
        walk(&command(), "", &mut missing, &mut seen);
        assert!(seen > 25, "only {seen} commands were found");
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }
}
