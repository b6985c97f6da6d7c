//! `braze-relay demo`: made-up people use everything the relay does, against a Braze and a Quikly made up for them.
//!
//! Invariants: the sandbox lives in this process, the relay is a child of the same binary; the child never outlives the
//! command, whichever way it ends short of SIGKILL. What is compared in the end was asked over HTTP on one side and worked
//! out from what was posted on the other. Nothing is left behind unless asked for, or needed to see what went wrong.
//! A scenario is data ([`scenario::Scenario`]); whatever plays and compares one plays and compares all.

mod ask;
mod compare;
mod expected;
mod folder;
mod lines;
mod people;
mod post;
mod profile;
mod relay;
mod report;
mod scenario;
mod show;
mod stage;

use std::path::PathBuf;

use anyhow::bail;
use tokio::signal::unix::{SignalKind, signal};

use self::folder::Folder;
use self::relay::Relay;
use self::scenario::{Choice, Name};
use self::show::{Total, say};
use self::stage::{Part, Played};

/// Watch people join campaigns and arrive in Braze
///
/// Starts a sandbox (a made-up Braze and Quikly) and a relay on free ports of this machine, posts what made-up people do,
/// kills the relay on the way with SIGKILL, starts it again on the same store, and compares in the end what must be there
/// with what the sandbox really holds. Needs nothing else, changes nothing else, and takes some ten seconds; with
/// `--scenario all` half a minute.
///
/// Exit codes: 0 the sandbox holds exactly what it must, 1 it does not, or something failed, 2 usage.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What people do
    #[arg(long, value_name = "NAME", value_enum, default_value_t = Choice::One(Name::Email))]
    scenario: Choice,
    /// How many times faster than the machine's the demo's clock runs [default: as the scenario needs it]
    ///
    /// Relay and sandbox live by it. Braze's limits stay as they are, by that clock: at 1, 3,000 look-ups take 75 seconds.
    #[arg(long, value_name = "N", value_parser = super::speed)]
    clock_speed: Option<f64>,
    /// Only the first so many people
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    people: Option<u32>,
    /// Where store, configuration and log go: a folder that is empty or not there yet [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Leave store, configuration and log where they are, and say how to look at the dead letters
    #[arg(long)]
    keep: bool,
    /// Do not kill the relay
    #[arg(long)]
    no_kill: bool,
    /// Do not post the line with this id, but expect its effects: shows that the comparison would find it
    #[arg(long, value_name = "ID", hide = true)]
    leave_out: Option<String>,
}

/// Runs the command. An error: something failed, or the sandbox does not hold what it must.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let mut folder = Folder::new(args.store.as_deref())?;
    let mut child = None;
    let ended = tokio::select! {
        ended = perform(&args, &folder, &mut child) => ended,
        stopped = until_stopped() => stopped,
    };
    if let Some(mut relay) = child.take() {
        relay.kill().await?;
    }
    match ended {
        Ok(End::Agrees) if !args.keep => folder.remove(),
        Ok(End::Agrees) => {
            folder.leave();
            Ok(())
        }
        Ok(End::Differs(count)) => {
            let place = folder.leave();
            bail!(
                "{count} difference(s); store, configuration and log are in {}",
                place.display()
            )
        }
        Ok(End::Stopped) => {
            folder.remove()?;
            bail!("stopped before the end")
        }
        Err(error) => {
            let place = folder.leave();
            Err(error.context(format!(
                "store, configuration and log are in {}",
                place.display()
            )))
        }
    }
}

enum End {
    Agrees,
    Differs(usize),
    Stopped,
}

async fn until_stopped() -> anyhow::Result<End> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
    }
    Ok(End::Stopped)
}

/// Plays what was asked for. The relay that runs is in `child`, so that whoever stops this can end it.
async fn perform(args: &Args, folder: &Folder, child: &mut Option<Relay>) -> anyhow::Result<End> {
    let names = args.scenario.names();
    let is_one = names.len() == 1;
    let mut played = Vec::new();
    for name in names {
        let part = Part {
            name: *name,
            clock_speed: args.clock_speed,
            people: args.people.map(|people| people as usize),
            folder: folder.part((!is_one).then_some(*name))?,
            to_kill: !args.no_kill,
            leave_out: args.leave_out.as_deref(),
            keep: args.keep,
            is_one,
        };
        played.push(stage::play(&part, child).await?);
        if let Some(mut relay) = child.take() {
            relay.kill().await?;
        }
    }
    if is_one {
        say("Everything else the relay does: braze-relay demo --scenario all");
    } else {
        say(&show::totals(
            &played.iter().map(Played::total).collect::<Vec<Total>>(),
        ));
    }
    let differences = played.iter().map(|one| one.report.differences.len()).sum();
    Ok(match differences {
        0 => End::Agrees,
        count => End::Differs(count),
    })
}
