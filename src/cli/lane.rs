//! `braze-relay lane`: lanes: list, hold, release; activations, too.
//!
//! Invariants: what is held stays accepted: nothing is lost by a hold, and nothing grows old by it.

use std::fmt::Write as _;
use std::io::Write;
use std::time::Duration;

use serde_json::json;

use super::remote::{Failed, Remote, write};
use super::status::{held_activations, lanes};
use super::text::plain;
use crate::config::Env;
use crate::ops::wire::{LanesChanged, Status, WhichLanes};

/// List lanes, hold them, release them
///
/// A lane is what shares one rate limit in a workspace: acme/users_track, acme/users_export_ids, acme/quikly. What is
/// held waits, and goes on where it was when it is released. Holds end with the process.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    List(List),
    Hold(Hold),
    Release(Release),
}

/// List every lane and every activation that is held
///
/// Exit codes: 0 ok, 1 the token may not, 2 usage, 3 the relay cannot be reached.
#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    remote: Remote,
}

/// Hold a lane, an activation, or every lane
///
/// Requests under way are answered; no other leaves.
///
/// Exit codes: 0 ok, 1 no such lane or activation, 2 usage, 3 the relay cannot be reached.
#[derive(Debug, clap::Args)]
struct Hold {
    #[command(flatten)]
    which: Which,
    /// For so long, such as 10m; without it, until it is released
    #[arg(long = "for", value_name = "DURATION", value_parser = lasting)]
    lasting: Option<Duration>,
    /// Why, shown with the hold and kept in the audit
    #[arg(long, value_name = "TEXT")]
    because: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

/// End the hold of a lane, of an activation, or all holds, whatever they are for
///
/// What is held because it is refused is held again if it still is.
///
/// Exit codes: 0 ok, 1 no such lane or activation, 2 usage, 3 the relay cannot be reached.
#[derive(Debug, clap::Args)]
struct Release {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// This lane, as `lane list` names it
    #[arg(value_name = "NAME")]
    lane: Option<String>,
    /// This activation, or Outgrow content
    #[arg(long, value_name = "Q_SCOPE")]
    activation: Option<String>,
    /// Every lane; of a release, every activation that is held as well
    #[arg(long)]
    all: bool,
}

/// Whole seconds, at least one.
fn lasting(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(lasting) if lasting >= Duration::from_secs(1) => Ok(lasting),
        _ => Err("a duration of a second or more, such as 10m".into()),
    }
}

impl Which {
    fn wire(&self) -> WhichLanes {
        WhichLanes {
            lane: self.lane.clone(),
            activation: self.activation.clone(),
            all: self.all.then_some(true),
            for_seconds: None,
            because: None,
        }
    }
}

/// Runs the command with the environment of this process; returns the exit code.
pub fn run(args: &Args) -> u8 {
    let env = Env::from_process();
    let out = &mut std::io::stdout().lock();
    let (remote, answered) = match &args.command {
        Command::List(args) => (&args.remote, list(&args.remote, &env, out)),
        Command::Hold(args) => {
            let which = WhichLanes {
                for_seconds: args.lasting.map(|lasting| lasting.as_secs()),
                because: args.because.clone(),
                ..args.which.wire()
            };
            let answered = change(&args.remote, "hold", &which, &env, out);
            (&args.remote, answered)
        }
        Command::Release(args) => {
            let which = args.which.wire();
            let answered = change(&args.remote, "release", &which, &env, out);
            (&args.remote, answered)
        }
    };
    answered.unwrap_or_else(|failed| failed.tell(remote))
}

fn list(remote: &Remote, env: &Env, out: &mut impl Write) -> Result<u8, Failed> {
    let status: Status = remote.caller(env)?.get("api/v1/status")?;
    if remote.json {
        let Status {
            lanes,
            held_activations,
            ..
        } = status;
        let document = json!({ "lanes": lanes, "held_activations": held_activations });
        write(out, &document)?;
    } else {
        let mut text = lanes(&status.lanes);
        if !status.held_activations.is_empty() {
            text += "\n";
            text += &held_activations(&status.held_activations);
        }
        out.write_all(text.as_bytes())?;
    }
    Ok(0)
}

fn change(
    remote: &Remote,
    what: &str,
    which: &WhichLanes,
    env: &Env,
    out: &mut impl Write,
) -> Result<u8, Failed> {
    let caller = remote.caller(env)?;
    let changed: LanesChanged = caller.post(&format!("api/v1/lanes/{what}"), which)?;
    if remote.json {
        write(out, &changed)?;
    } else {
        let what = if what == "hold" { "held" } else { "released" };
        out.write_all(told(what, &changed).as_bytes())?;
    }
    Ok(0)
}

fn told(what: &str, changed: &LanesChanged) -> String {
    let until = changed.until;
    let until = until.map_or(String::new(), |until| format!(" until {until}"));
    let mut text = String::new();
    for lane in &changed.lanes {
        let _ = writeln!(text, "{} is {what}{until}", plain(lane));
    }
    for activation in &changed.activations {
        let _ = writeln!(text, "activation {} is {what}{until}", plain(activation));
    }
    if text.is_empty() {
        text += "there is nothing of that kind\n";
    }
    text
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::model::time::Timestamp;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn asked(line: &str) -> Option<WhichLanes> {
        let words = std::iter::once("lane").chain(line.split(' '));
        match Line::try_parse_from(words).ok()?.args.command {
            Command::List(_) => None,
            Command::Hold(args) => Some(WhichLanes {
                for_seconds: args.lasting.map(|lasting| lasting.as_secs()),
                because: args.because,
                ..args.which.wire()
            }),
            Command::Release(args) => Some(args.which.wire()),
        }
    }

    #[test]
    fn exactly_one_of_a_name_an_activation_and_all_is_asked_for() {
        let json = |line| asked(line).map(|which| serde_json::to_value(which).unwrap());
        for (line, expected) in [
            ("hold acme/quikly", Some(json!({"lane": "acme/quikly"}))),
            (
                "hold --activation spring --for 10m",
                Some(json!({"activation": "spring", "for_seconds": 600})),
            ),
            (
                "hold --all --because outage",
                Some(json!({"all": true, "because": "outage"})),
            ),
            ("release --all --because outage", None),
            ("release --all", Some(json!({"all": true}))),
            ("release", None),
            ("hold --for 10m", None),
            ("hold acme/quikly --all", None),
            ("hold acme/quikly --activation spring", None),
            ("hold --all --for 0s", None),
            ("hold --all --for 10", None),
            ("release --all --for 10m", None),
        ] {
            assert_eq!(json(line), expected, "{line}");
        }
    }

    #[test]
    fn what_was_held_is_told_a_line_each() {
        let changed = LanesChanged {
            lanes: vec!["acme/quikly".into(), "a\u{1b}/b".into()],
            activations: vec!["spring".into()],
            until: Some(Timestamp::from_millis(1_795_770_600_000)),
        };
        assert_eq!(
            told("held", &changed),
            "acme/quikly is held until 2026-11-27T09:10:00.000Z\n\
             a?/b is held until 2026-11-27T09:10:00.000Z\n\
             activation spring is held until 2026-11-27T09:10:00.000Z\n"
        );
        assert_eq!(
            told("released", &LanesChanged::default()),
            "there is nothing of that kind\n"
        );
    }
}
