//! `braze-relay reload`: the relay reads its configuration anew.
//!
//! Invariants: what the relay refuses to apply it says whole, a line for each mistake or activation.

use std::fmt::Write as _;
use std::io::Write;

use serde_json::Value;

use super::remote::{Failed, Remote, write};
use super::text::plain;
use crate::config::Env;
use crate::ops::wire::{NewReload, Reloaded};

/// Let the relay read its configuration anew
///
/// The file it was started with is checked whole. What can change while the relay runs changes at once: keys, tokens,
/// limits, workspaces, activations, the log level; keys that need a restart are named. With any mistake nothing changes.
/// Lanes that were denied go on where their key, token or URL is another. SIGHUP does the same, without --force.
///
/// Exit codes: 0 applied, or nothing to change; 1 refused, 2 usage, 3 the relay cannot be reached.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Even where jobs that wait would be left without settings: they die as unknown_activation
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    remote: Remote,
}

/// Runs the command with the environment of this process; returns the exit code.
pub fn run(args: &Args) -> u8 {
    let out = &mut std::io::stdout().lock();
    match reload(args, &Env::from_process(), out) {
        Ok(()) => 0,
        Err(failed) => refused(args, &failed, out),
    }
}

fn reload(args: &Args, env: &Env, out: &mut impl Write) -> Result<(), Failed> {
    let caller = args.remote.caller(env)?;
    let asked = NewReload { force: args.force };
    let reloaded: Reloaded = caller.post("api/v1/reload", &asked)?;
    if args.remote.json {
        return write(out, &reloaded);
    }
    Ok(out.write_all(told(&reloaded).as_bytes())?)
}

/// What the relay says of a refusal, with its lines.
fn refused(args: &Args, failed: &Failed, out: &mut impl Write) -> u8 {
    let Failed::Refused { detail, more, .. } = failed else {
        return failed.tell(&args.remote);
    };
    if args.remote.json {
        let mut document = more.clone();
        document.insert("applied".into(), Value::Bool(false));
        document.insert("error".into(), Value::from(detail.as_str()));
        // Whoever closed our output does not want to hear it.
        let _ = write(out, &document);
    }
    for line in detail.lines() {
        eprintln!("braze-relay: {}", plain(line));
    }
    failed.exit_code()
}

fn told(reloaded: &Reloaded) -> String {
    let Reloaded {
        applied: _,
        changed,
        needs_restart,
        released,
        released_activations,
        jobs_without_rules,
    } = reloaded;
    let mut text = String::new();
    for (what, names) in [
        ("changed", changed),
        ("needs a restart", needs_restart),
        ("released", released),
        ("released activation", released_activations),
    ] {
        for name in names {
            let _ = writeln!(text, "{what}: {}", plain(name));
        }
    }
    if *jobs_without_rules > 0 {
        let _ = writeln!(text, "jobs left without settings: {jobs_without_rules}");
    }
    if text.is_empty() {
        text += "nothing to change\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reload_did_is_told_a_line_each() {
        let reloaded = Reloaded {
            applied: true,
            changed: vec!["workspaces.acme.braze.api_key".into()],
            needs_restart: vec!["store.path".into()],
            released: vec!["acme/users_track".into()],
            released_activations: vec!["spring".into()],
            jobs_without_rules: 7,
        };
        assert_eq!(
            told(&reloaded),
            "changed: workspaces.acme.braze.api_key\nneeds a restart: store.path\nreleased: acme/users_track\n\
             released activation: spring\njobs left without settings: 7\n"
        );
        assert_eq!(told(&Reloaded::default()), "nothing to change\n");
    }
}
