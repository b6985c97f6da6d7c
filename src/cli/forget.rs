//! `braze-relay forget`: forgets a person, and shows the receipts.
//!
//! Invariants: nothing that says who it is is printed. What is typed as an argument stands in the shell's history and in
//! the list of processes; standard input does not.

use std::fmt::Write as _;
use std::io::{Read, Write};

use super::remote::{Failed, Remote, write};
use crate::config::Env;
use crate::ops::wire::{ErasingState, Forget, Receipt, Receipts};

/// How much of standard input is read.
const INPUT_BYTES_MAX: u64 = 1024;

/// Forget a person: everything in queue, dead letters and memory; on request their profiles in Braze, too
///
/// Without --yes this is a preview: it says what would be removed, and removes nothing. A repetition of an event of theirs
/// stays a duplicate, and credits nothing: hashes keyed with a secret of the store are kept for that, as long as the
/// configuration says. Somebody is found by e-mail; by external id in its workspace, where a lead without an e-mail carries
/// the address; and by phone through whatever is queued or dead at that moment. What other people's events say about them
/// is not found. What has begun goes on by itself, also after a restart; with --delete-in-braze nothing begins while the
/// relay takes no new events.
///
/// An argument stands in the shell's history and in the list of processes: --email-stdin and --phone-stdin do not, such
/// as `braze-relay forget --email-stdin --yes < address.txt`.
///
/// Exit codes: 0 ok (or a preview), 1 no such workspace or receipt, or not done yet, 2 usage, 3 the relay cannot be
/// reached, or does not begin it now.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    whom: Whom,
    /// Only in this workspace
    #[arg(long, value_name = "NAME")]
    workspace: Option<String>,
    /// Delete their profiles in Braze, too, by e-mail; irreversible
    #[arg(long)]
    delete_in_braze: bool,
    /// Do it; without it this is a preview, and nothing is removed
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(clap::Args)]
#[group(multiple = false)]
struct Whom {
    /// The e-mail address
    #[arg(value_name = "EMAIL")]
    address: Option<String>,
    /// The e-mail address, as EMAIL
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// Read the e-mail address from standard input
    #[arg(long)]
    email_stdin: bool,
    /// The phone number, E.164
    #[arg(long, value_name = "PHONE")]
    phone: Option<String>,
    /// Read the phone number from standard input
    #[arg(long)]
    phone_stdin: bool,
}

impl std::fmt::Debug for Whom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Whom")
    }
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    List(List),
    Show(Show),
}

/// List the receipts, the newest first, a hundred at most
#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    remote: Remote,
}

/// Show one receipt, and how its deletions in Braze stand
#[derive(Debug, clap::Args)]
struct Show {
    /// Its number
    id: u64,
    #[command(flatten)]
    remote: Remote,
}

/// Runs the command with the environment of this process; returns the exit code.
pub fn run(args: &Args) -> u8 {
    let env = Env::from_process();
    let out = &mut std::io::stdout().lock();
    let (remote, answered) = match &args.command {
        Some(Command::List(args)) => (&args.remote, list(args, &env, out)),
        Some(Command::Show(args)) => (&args.remote, show(args, &env, out)),
        None => (&args.remote, forget(args, &env, out)),
    };
    answered.unwrap_or_else(|failed| failed.tell(remote))
}

fn forget(args: &Args, env: &Env, out: &mut impl Write) -> Result<u8, Failed> {
    let (email, phone) = match &args.whom {
        Whom {
            email_stdin: true, ..
        } => (Some(from_input()?), None),
        Whom {
            phone_stdin: true, ..
        } => (None, Some(from_input()?)),
        Whom {
            address: None,
            email: None,
            phone: None,
            ..
        } => {
            return Err(Failed::Usage(
                "say who: --email-stdin, --phone-stdin, --email ADDRESS or --phone PHONE".into(),
            ));
        }
        Whom {
            address,
            email,
            phone,
            ..
        } => (address.clone().or_else(|| email.clone()), phone.clone()),
    };
    let asked = Forget {
        email,
        phone,
        workspace: args.workspace.clone(),
        delete_in_braze: args.delete_in_braze,
        yes: args.yes,
    };
    let receipt: Receipt = args.remote.caller(env)?.post("api/v1/forget", &asked)?;
    tell(&receipt, &args.remote, out)?;
    Ok(u8::from(args.yes && receipt.done_at.is_none()))
}

fn from_input() -> Result<String, Failed> {
    let mut text = String::new();
    let mut input = std::io::stdin().lock().take(INPUT_BYTES_MAX);
    input.read_to_string(&mut text)?;
    Ok(text.trim().to_owned())
}

fn list(args: &List, env: &Env, out: &mut impl Write) -> Result<u8, Failed> {
    let receipts: Receipts = args.remote.caller(env)?.get("api/v1/forget")?;
    if args.remote.json {
        write(out, &receipts)?;
        return Ok(0);
    }
    for receipt in &receipts.items {
        out.write_all(told(receipt).as_bytes())?;
    }
    if receipts.items.is_empty() {
        writeln!(out, "nobody was forgotten")?;
    }
    Ok(0)
}

fn show(args: &Show, env: &Env, out: &mut impl Write) -> Result<u8, Failed> {
    let caller = args.remote.caller(env)?;
    let receipt: Receipt = caller.get(&format!("api/v1/forget/{}", args.id))?;
    tell(&receipt, &args.remote, out)?;
    Ok(0)
}

fn tell(receipt: &Receipt, remote: &Remote, out: &mut impl Write) -> Result<(), Failed> {
    if remote.json {
        return write(out, receipt);
    }
    Ok(out.write_all(told(receipt).as_bytes())?)
}

fn told(receipt: &Receipt) -> String {
    let Receipt {
        id,
        at,
        who,
        by,
        workspace,
        people,
        participants,
        removed,
        delete_in_braze,
        erasures,
        without_email,
        done_at,
    } = receipt;
    let place = workspace.as_deref().unwrap_or("all workspaces");
    let mut text = match id {
        Some(id) => format!("receipt {id}, {at}, asked by {who}, by {by}, in {place}\n"),
        None => format!("a preview, by {by}, in {place}: nothing was removed; do it with --yes\n"),
    };
    if id.is_some() && done_at.is_none() {
        text += "  not done yet: it goes on by itself, also after a restart; look again with forget show\n";
        return text;
    }
    let verb = if id.is_some() { "removed" } else { "there are" };
    let _ = writeln!(
        text,
        "  {people} people; {verb} {} events: {} jobs ({} in flight), {} dead letters; {} addresses",
        removed.events, removed.jobs, removed.in_flight, removed.dead_letters, removed.addresses
    );
    for participant in participants {
        let _ = writeln!(text, "  participant {participant}");
    }
    if *delete_in_braze && *without_email > 0 {
        let _ = writeln!(
            text,
            "  {without_email} of them known by no e-mail: nothing is deleted in Braze by that name"
        );
    }
    for erasing in erasures {
        let state = match erasing.state {
            None => "asked for",
            Some(ErasingState::Running) => "running",
            Some(ErasingState::Dead) => "a dead letter: see `dead show`",
            Some(ErasingState::Ended) => "ended",
        };
        let _ = writeln!(
            text,
            "  deletion in Braze, {}: {state} ({}.0)",
            erasing.workspace, erasing.event_id
        );
    }
    text
}
