//! Whole campaigns, measured at the sandbox: `cargo bench --bench load -- --scenario NAME`.
//!
//! The real binary serves, the real sandbox answers, each in a process of its own; this one only posts events, waits,
//! and reads what the sandbox recorded. Where a limit binds, the wish does not depend on how busy the machine is, and
//! missing it is an error (exit code 1). Without limits all three share the machine's cores, and the table of CPU says
//! which of them binds. Deliberately absent: anything that the relay says of its own speed.

#[path = "support/stage.rs"]
mod stage;
#[path = "support/threads.rs"]
mod threads;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, ValueEnum};

use self::stage::{Seen, Stage};

/// Events in one request.
const BATCH: u64 = 1000;
/// How often both are asked how far they are, once everybody has joined.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// So many objects fill a write.
const OBJECTS_MAX: f64 = 75.0;
/// The configuration has no word for "no limit"; this one never binds.
const NEVER_BINDS: &str = "1000000/s";

/// Whole campaigns against the sandbox, and what it saw of them
#[derive(Clone, Debug, Parser)]
struct Args {
    /// Only these
    #[arg(long, value_enum, value_delimiter = ',')]
    scenario: Vec<Scenario>,
    /// How many people join, instead of as many as the scenario has
    #[arg(long)]
    people: Option<u64>,
    /// Where stores are made
    #[arg(long, default_value = env!("CARGO_TARGET_TMPDIR"))]
    path: PathBuf,
    #[arg(long, hide = true)]
    bench: bool,
    #[arg(long, hide = true)]
    test: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// 200,000 people without look-ups, 100 writes a second
    Email,
    /// 5,000 people, 40 look-ups a second
    Export,
    /// The same beside another consumer who takes half
    Beside,
    /// No limits: 300,000 people without look-ups, 60,000 with
    Unlimited,
}

/// A campaign of one activation.
#[derive(Clone, Copy, Debug)]
struct Campaign {
    name: &'static str,
    identity: &'static str,
    people: u64,
    /// The lane that binds, or would.
    lane: &'static str,
    path: &'static str,
    /// Requests a second there; `None`: unlimited.
    limit: Option<u32>,
    /// Requests a second that another consumer asks for there.
    others: u32,
    /// Without a limit: so many done a second.
    wish: f64,
}

const EMAIL: Campaign = Campaign {
    name: "email",
    identity: "email",
    people: 200_000,
    lane: "users_track",
    path: "/users/track",
    limit: Some(100),
    others: 0,
    wish: 0.0,
};

const EXPORT: Campaign = Campaign {
    name: "export",
    identity: "export",
    people: 5000,
    lane: "users_export_ids",
    path: "/users/export/ids",
    limit: Some(40),
    ..EMAIL
};

impl Scenario {
    fn campaigns(self) -> Vec<Campaign> {
        let free = |campaign: Campaign, name, people, wish| Campaign {
            name,
            people,
            limit: None,
            wish,
            ..campaign
        };
        match self {
            Scenario::Email => vec![EMAIL],
            Scenario::Export => vec![EXPORT],
            Scenario::Beside => vec![Campaign {
                name: "beside",
                people: 2000,
                others: 20,
                ..EXPORT
            }],
            Scenario::Unlimited => vec![
                free(EMAIL, "unlimited, email", 300_000, 15_000.0),
                free(EXPORT, "unlimited, export", 60_000, 3000.0),
            ],
        }
    }
}

impl Campaign {
    fn stage(&self, folder: &Path) -> Result<Stage> {
        let mut options = Vec::new();
        let mut limits: BTreeMap<&str, String> = ["users_track", "users_export_ids"]
            .map(|lane| (lane, NEVER_BINDS.to_owned()))
            .into();
        if let Some(limit) = self.limit {
            limits.insert(self.lane, format!("{limit}/s"));
            options.extend(["--limit".into(), format!("{}={limit}/s", self.lane)]);
        }
        if self.others > 0 {
            options.extend(["--other".into(), format!("{}={}/s", self.lane, self.others)]);
        }
        let lines = limits
            .iter()
            .fold(String::new(), |mut lines, (lane, limit)| {
                // Writing to a string cannot fail.
                let _ = writeln!(lines, "{lane} = [\"{limit}\"]");
                lines
            });
        Stage::set(folder, &options, &lines, self.identity)
    }

    /// A JSON array of these people's participations.
    fn events(numbers: std::ops::Range<u64>) -> String {
        let one = |number: u64| {
            format!(
                r#"{{"id":"join-{number}","q_scope":"drop","type":"participation","email":"person.{number}@example.com","attributes":{{"quikly_level":3,"quikly_incentive":"10 % off the next order"}}}}"#
            )
        };
        format!("[{}]", numbers.map(one).collect::<Vec<_>>().join(","))
    }
}

/// What one campaign came to.
struct Run {
    seen: Vec<Seen>,
    /// How long posting took.
    accepted: Duration,
    /// CPU by process and thread, µs.
    cpu: BTreeMap<&'static str, BTreeMap<String, f64>>,
    took: Duration,
}

async fn play(campaign: &Campaign, path: &Path) -> Result<Run> {
    let folder = tempfile::tempdir_in(path)?;
    let mut stage = campaign.stage(folder.path())?;
    let (relay, sandbox) = stage.ids();
    let processes = [
        ("relay", relay),
        ("sandbox", sandbox),
        ("load", std::process::id()),
    ];
    let cpu = || processes.map(|(name, id)| (name, threads::cpu_micros(id)));
    let (before, began) = (cpu(), Instant::now());
    for from in (0..campaign.people).step_by(BATCH as usize) {
        let until = campaign.people.min(from + BATCH);
        stage.post(Campaign::events(from..until)).await?;
    }
    let accepted = began.elapsed();
    let mut rounds = tokio::time::interval(LOOK_EVERY);
    while stage.done().await? < campaign.people {
        stage.look().await?;
        rounds.tick().await;
    }
    let took = began.elapsed();
    let cpu = cpu()
        .into_iter()
        .zip(before)
        .map(|((name, after), (_, before))| {
            let used = after.into_iter().map(|(thread, micros)| {
                let micros = micros - before.get(&thread).copied().unwrap_or(0.0);
                (thread, micros)
            });
            (name, used.collect())
        })
        .collect();
    stage.look().await?;
    Ok(Run {
        seen: std::mem::take(&mut stage.seen),
        accepted,
        cpu,
        took,
    })
}

/// One line of a table; `met`: `None` where nothing was asked.
struct Line {
    what: &'static str,
    asked: String,
    measured: String,
    met: Option<bool>,
}

impl Line {
    fn new(what: &'static str, asked: String, measured: String, met: bool) -> Line {
        Line {
            what,
            asked,
            measured,
            met: Some(met),
        }
    }

    fn told(what: &'static str, measured: String) -> Line {
        Line {
            what,
            asked: String::new(),
            measured,
            met: None,
        }
    }
}

/// One second of a lane, at the sandbox.
#[derive(Clone, Copy, Default)]
struct Second {
    taken: u64,
    refused: u64,
    others: u64,
}

/// Where a limit binds: how it was used in the whole seconds in which there was work, how full writes were, what was refused.
fn bound(campaign: &Campaign, limit: u32, run: &Run) -> Result<Vec<Line>> {
    let mut seconds: BTreeMap<u64, Second> = BTreeMap::new();
    for seen in run.seen.iter().filter(|seen| seen.path == campaign.path) {
        let second = seconds.entry(seen.at.as_millis() / 1000).or_default();
        match (seen.other, seen.status) {
            (true, 429) => {}
            (true, _) => second.others += 1,
            (false, 429) => second.refused += 1,
            (false, _) => second.taken += 1,
        }
    }
    // Neither the second in which it began nor the one in which it ended.
    let (first, last) = (seconds.first_key_value(), seconds.last_key_value());
    let (first, last) = first.zip(last).context("the sandbox saw nothing")?;
    let whole = *first.0 + 1..*last.0;
    let count = whole.end.saturating_sub(whole.start);
    let of = |second: u64| seconds.get(&second).copied().unwrap_or_default();
    let sum = |field: fn(Second) -> u64| whole.clone().map(|second| field(of(second))).sum::<u64>();
    let permitted = u64::from(limit) * count - sum(|second| second.others);
    let used = sum(|second| second.taken) as f64 / permitted.max(1) as f64;
    let refused: u64 = seconds.values().map(|second| second.refused).sum();
    let most = seconds.values().map(|second| second.refused).max();
    let mut lines = vec![
        Line::told("seconds with work", format!("{count} whole ones")),
        Line::told("permitted to us", format!("{permitted} requests")),
    ];
    let measured = format!("{:.1} %", used * 100.0);
    let (asked, met) = if campaign.others > 0 {
        ("95 % to 105 %", (0.95..=1.05).contains(&used))
    } else {
        ("at least 98 %", used >= 0.98)
    };
    // Where there was no whole second, nothing can be said.
    lines.push(Line::new(
        "of them used",
        asked.into(),
        measured,
        met || count == 0,
    ));
    let most = most.unwrap_or_default();
    lines.push(if campaign.others > 0 {
        let measured = format!("{refused} in {} windows, {most} at most", seconds.len());
        Line::new("refused (429)", "1 in a window".into(), measured, most <= 1)
    } else {
        Line::new(
            "refused (429)",
            "0".into(),
            refused.to_string(),
            refused == 0,
        )
    });
    Ok(lines)
}

/// How full the requests of the binding lane were, of all of them.
fn full(campaign: &Campaign, run: &Run) -> Line {
    let ours = run.seen.iter().filter(|seen| seen.path == campaign.path);
    let taken: Vec<u64> = ours
        .filter(|seen| !seen.other && seen.status != 429)
        .map(|seen| seen.objects)
        .collect();
    let places = match campaign.lane {
        "users_track" => OBJECTS_MAX,
        // Braze takes one e-mail in a look-up.
        _ => 1.0,
    };
    let fill = taken.iter().sum::<u64>() as f64 / (taken.len() as f64 * places);
    let few = taken.len() < 10;
    Line::new(
        "requests full",
        "at least 95 %".into(),
        format!("{:.1} % of {places}", fill * 100.0),
        fill >= 0.95 || few,
    )
}

/// Without limits: how many were delivered in a second.
fn free(campaign: &Campaign, run: &Run) -> Result<Vec<Line>> {
    let mut moments = run.seen.iter().map(|seen| seen.at.as_millis());
    let first = moments.next().context("the sandbox saw nothing")?;
    let (first, last) = moments.fold((first, first), |(first, last), at| {
        (first.min(at), last.max(at))
    });
    let seconds = ((last - first).max(1)) as f64 / 1e3;
    let rate = campaign.people as f64 / seconds;
    let writes = run.seen.iter().filter(|seen| seen.path == EMAIL.path);
    let (requests, objects) = writes.fold((0_u64, 0_u64), |(requests, objects), seen| {
        (requests + 1, objects + seen.objects)
    });
    let fill = objects as f64 / requests.max(1) as f64;
    Ok(vec![
        Line::told("first to last request", format!("{seconds:.2} s")),
        Line::new(
            "delivered a second",
            format!("at least {}", campaign.wish),
            format!("{rate:.0}"),
            rate >= campaign.wish,
        ),
        Line::told("objects in a write", format!("{fill:.1}")),
        Line::told("requests in all", run.seen.len().to_string()),
    ])
}

fn show(campaign: &Campaign, run: &Run, lines: &[Line]) {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("unknown");
    println!(
        "\n{}: {} people, accepted in {:.1} s, done in {:.1} s; load average {load}",
        campaign.name,
        campaign.people,
        run.accepted.as_secs_f64(),
        run.took.as_secs_f64()
    );
    println!("{:24}{:20}{:32}met", "", "asked", "measured");
    for line in lines {
        let met = line.met.map_or("", |met| if met { "yes" } else { "NO" });
        println!("{:24}{:20}{:32}{met}", line.what, line.asked, line.measured);
    }
    for (process, threads) in &run.cpu {
        let sum: f64 = threads.values().sum();
        let mut threads: Vec<_> = threads.iter().collect();
        threads.sort_unstable_by(|a, b| b.1.total_cmp(a.1));
        let parts: Vec<String> = threads
            .into_iter()
            .map(|(name, micros)| (name, micros / campaign.people as f64))
            .filter(|(_, micros)| *micros >= 0.5)
            .map(|(name, micros)| format!("{name} {micros:.1}"))
            .collect();
        println!(
            "CPU of {process:8} {:.2} cores, {:.1} µs a person: {}",
            sum / run.took.as_micros() as f64,
            sum / campaign.people as f64,
            parts.join(", ")
        );
    }
}

fn main() -> Result<ExitCode> {
    let mut args = Args::parse();
    // `cargo test --benches` does not say `--bench`: it only wants to see that this runs.
    let only_tries = args.test || !args.bench;
    if only_tries {
        args.people = Some(args.people.unwrap_or(60));
    }
    if args.scenario.is_empty() {
        args.scenario = Scenario::value_variants().to_vec();
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut missed = false;
    for scenario in &args.scenario {
        for campaign in scenario.campaigns() {
            let people = args.people.unwrap_or(campaign.people);
            ensure!(people > 0, "nobody joins");
            let campaign = Campaign { people, ..campaign };
            let run = runtime
                .block_on(play(&campaign, &args.path))
                .with_context(|| campaign.name)?;
            let lines = match campaign.limit {
                Some(limit) => {
                    let mut lines = bound(&campaign, limit, &run)?;
                    lines.push(full(&campaign, &run));
                    missed |= lines.iter().any(|line| line.met == Some(false));
                    lines
                }
                None => free(&campaign, &run)?,
            };
            show(&campaign, &run, &lines);
        }
    }
    Ok(ExitCode::from(u8::from(missed && !only_tries)))
}
