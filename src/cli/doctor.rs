//! `braze-relay doctor`: before a campaign, whether everything is ready, and whether the campaign fits.
//!
//! Invariants: writes no profile, sets no status, gives no credit, touches no store; what cannot be asked without that is
//! said to be so. No key, token or body is shown. Looking (`observe`, `disk`) is apart from judging (the rest).
//! Deliberately absent: anything asked of a relay that runs; `status` does that.

mod braze;
mod disk;
mod finding;
mod host;
mod judge;
mod limits;
mod observe;
mod plan;
mod report;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::join_all;

use self::finding::Findings;
use self::judge::Scope;
use self::plan::Campaign;
use self::report::Report;
use super::text::plain;
use crate::client::http::NotBuilt;
use crate::clock::Clock;
use crate::config::{Config, Env};

/// Look whether everything is ready for a campaign, and whether it fits
///
/// For this machine: the configuration, the tokens of sources, durable commits a second where the store is (or would be),
/// free space. For each workspace: names, connections, TLS, clocks, the key, each permission that its flows need, Braze's
/// limits as it reports them. For each activation: its subscription group, and how many participations an hour fit through
/// its lanes; with --expect and --within, whether that many do, what binds, and what to switch. Each activation is
/// reckoned as if it were alone, everybody new, with a phone where its flow wants one, and nobody else using the limits.
///
/// Nothing is written, nobody is subscribed, no credit is given: Braze is asked about an address and a phone that are
/// nobody's, and for writes with an empty request, which it refuses; that one was judged and not forbidden is taken for a
/// permission (Braze does not document in which order it looks). One request counts against each limit. Quikly is sent
/// one HEAD request without token. `?` is what cannot be told.
///
/// Exit codes: 0 ready (there may be warnings), 1 something fails or does not fit, 2 usage or configuration, 3 nobody
/// could be reached.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file (TOML)
    #[arg(long, value_name = "F")]
    config: PathBuf,
    /// Only this workspace
    #[arg(long, value_name = "W")]
    workspace: Option<String>,
    /// Only this activation, and its workspace
    #[arg(long, value_name = "Q_SCOPE")]
    activation: Option<String>,
    /// So many participations are expected of each activation
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    expect: Option<u64>,
    /// Within so long
    #[arg(long, value_name = "TIME", default_value = "1h", requires = "expect", value_parser = within)]
    within: Duration,
    /// Answer with one JSON document
    #[arg(long)]
    json: bool,
}

fn within(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(within) if !within.is_zero() => Ok(within),
        _ => Err("a duration above zero, such as 30m or 1h".into()),
    }
}

/// Runs the command with the environment of this process; returns the exit code.
pub fn run(args: &Args) -> u8 {
    let (out, err) = (io::stdout(), io::stderr());
    answer(args, &Env::from_process(), &mut out.lock(), &mut err.lock()).unwrap_or(1)
}

/// Fails only when nobody listens any more.
fn answer(args: &Args, env: &Env, out: &mut impl Write, err: &mut impl Write) -> io::Result<u8> {
    let mut refuse = |out: &mut dyn Write, why: &str| {
        if args.json {
            writeln!(out, "{:#}", serde_json::json!({ "error": why }))?;
        }
        writeln!(err, "braze-relay: {}", plain(why))?;
        io::Result::Ok(2)
    };
    let loaded = match Config::load(&args.config, env) {
        Ok(loaded) => loaded,
        Err(mistakes) => return super::check::refused(&args.config, mistakes, args.json, out, err),
    };
    let scope = match scope(args, &loaded) {
        Ok(scope) => scope,
        Err(why) => return refuse(out, &why),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let examined = runtime.block_on(examine(args, &scope));
    // A name that nobody resolves keeps its thread; it is not waited for.
    runtime.shutdown_background();
    let report = match examined {
        Ok(report) => report,
        Err(error) => return refuse(out, &error.to_string()),
    };
    if args.json {
        writeln!(out, "{:#}", report.document())?;
    } else {
        out.write_all(report.told().as_bytes())?;
    }
    Ok(report.exit_code())
}

/// What the arguments choose of the configuration; or why that is nothing.
fn scope<'a>(args: &Args, loaded: &'a crate::config::Loaded) -> Result<Scope<'a>, String> {
    let config = &loaded.config;
    let known = |names: Vec<&str>| match names.as_slice() {
        [] => "there is none".to_owned(),
        names => format!("there is: {}", names.join(", ")),
    };
    if let Some(name) = &args.workspace
        && !config.workspaces.contains_key(name.as_str())
    {
        let known = known(config.workspaces.keys().map(|it| &**it).collect());
        return Err(format!("there is no [workspaces.{name}]; {known}"));
    }
    let one = args.activation.as_deref();
    let rules = one.map(|name| {
        config.rules.activation(name).ok_or_else(|| {
            let known = known(config.rules.activations().map(|it| &*it.scope).collect());
            format!("there is no [activations.{name}]; {known}")
        })
    });
    let rules = rules.transpose()?;
    let of = rules.map(|rules| &*rules.workspace);
    if let (Some(of), Some(wanted)) = (of, args.workspace.as_deref())
        && of != wanted
    {
        return Err(format!(
            "that activation is of workspace {of}, not {wanted}"
        ));
    }
    let only = of.or(args.workspace.as_deref());
    let ours = |name: &str| only.is_none_or(|only| only == name);
    let activations = config.rules.activations();
    let contents = config.rules.contents();
    Ok(Scope {
        loaded,
        workspaces: config
            .workspaces
            .iter()
            .filter(|(name, _)| ours(name))
            .collect(),
        activations: activations
            .filter(|it| ours(&it.workspace) && one.is_none_or(|one| *it.scope == *one))
            .collect(),
        contents: contents
            .filter(|it| ours(&it.workspace) && one.is_none())
            .collect(),
    })
}

/// Looks at everything at once, and judges what was seen.
async fn examine(args: &Args, scope: &Scope<'_>) -> Result<Report, NotBuilt> {
    let clock = Clock::system(1.0);
    let store = &scope.loaded.config.store;
    let campaign = args.expect.map(|expect| Campaign {
        expect,
        within: args.within,
    });
    let path = store.path.clone();
    let measured = tokio::task::spawn_blocking(move || disk::measure(&path));
    let asked = scope.workspaces.iter().map(|(name, settings)| {
        let (questions, clock) = (scope.questions(name), &clock);
        async move {
            let seen = observe::look(settings, &questions, clock).await?;
            Ok((*name, *settings, questions, seen))
        }
    });
    let (measured, seen) = tokio::join!(measured, join_all(asked));
    let seen = seen.into_iter().collect::<Result<Vec<_>, NotBuilt>>()?;
    let measured = match measured {
        Ok(measured) => measured.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };

    let mut findings = Findings::default();
    findings.about("machine");
    judge::configuration(&mut findings, scope);
    disk::judge(&mut findings, &measured, &store.path, store.reserve_bytes);
    let (mut rooms, mut reached) = (Vec::new(), scope.workspaces.is_empty());
    for (name, settings, questions, seen) in &seen {
        findings.about(format!("workspace {name}"));
        judge::workspace(&mut findings, settings, questions, seen);
        let quikly = seen.quikly.as_ref();
        reached |= seen.braze.is_there() || quikly.is_some_and(|(host, _)| host.is_there());
        let ours = scope.activations.iter().filter(|it| it.workspace == **name);
        for rules in ours {
            findings.about(format!("activation {}", rules.scope));
            let answers = &seen.answers;
            rooms.extend(judge::activation(
                &mut findings,
                rules,
                settings,
                answers,
                campaign,
            ));
        }
    }
    if let (Some(campaign), Ok(disk)) = (campaign, &measured) {
        findings.about("machine, for the campaign");
        judge::machine_room(&mut findings, campaign, &rooms, disk, store.reserve_bytes);
    }
    Ok(Report {
        findings,
        rooms,
        reached,
    })
}
