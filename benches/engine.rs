//! The engine alone: whole participations from the queue to their end, with an outside that answers at once.
//!
//! What is there is accepted beforehand; then the engine runs until all of it is done. The flows are `email` with
//! `identity = "email"` (one write; 75 objects to a request) and with `"export"` (a look-up in a request of its own, then the
//! write); the stores are the plain map and sled. Beside them, in the same run and in turn, sled alone: the same jobs
//! leased and finished by 75. The map looks through all it holds at every lease, so that it is given
//! [`MAP_AT_ONCE`] people at a time. Ratios are taken within a repetition, since a machine that is busy elsewhere moves all.
//! Deliberately absent: HTTP, and limits (see the bench `load`).

#[expect(dead_code, reason = "no single one is timed here")]
#[path = "support/figures.rs"]
mod figures;
#[expect(dead_code, reason = "nothing is posted here")]
#[path = "support/people.rs"]
mod people;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use braze_relay::client::{Answers, Client, Heard};
use braze_relay::clock::Clock;
use braze_relay::engine::{Engine, EngineSettings, HostSettings, WorkspaceSettings};
use braze_relay::flow::job::{Commit, Fate, Outcome};
use braze_relay::model::call::{Call, Reply, Subscription};
use braze_relay::model::lane::{Lane, LaneKind};
use braze_relay::model::rules::{Identity, ParticipationFlow, RuleBook, Rules};
use braze_relay::store::map::MapStore;
use braze_relay::store::sled::{Place, SledStore};
use braze_relay::store::{Settings, Store};
use braze_relay::telemetry::Metrics;
use clap::Parser;
use tokio::sync::Notify;

use self::figures::{Figures, Row};

/// What one write carries.
const OBJECTS_MAX: usize = 75;
/// As the relay's configuration has it.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// How many people a map holds at most.
const MAP_AT_ONCE: u64 = 1000;
/// How many are accepted at once.
const AT_ONCE: u64 = 2000;
/// How often the end is asked for once all has been answered.
const ASK_EVERY: Duration = Duration::from_millis(1);

/// The engine over the map store and sled, with an outside that answers at once
#[derive(Clone, Debug, Parser)]
struct Args {
    /// How many people join in each repetition
    #[arg(long, default_value_t = 50_000)]
    people: u64,
    /// How often all of it is repeated
    #[arg(long, default_value_t = 5)]
    repetitions: usize,
    /// Where stores are made
    #[arg(long, default_value = env!("CARGO_TARGET_TMPDIR"))]
    path: PathBuf,
    #[arg(long, hide = true)]
    bench: bool,
    #[arg(long, hide = true)]
    test: bool,
}

/// Finds nobody, takes everything, and says when so many writes were taken.
#[derive(Clone)]
struct AtOnce {
    left: Arc<AtomicU64>,
    all: Arc<Notify>,
}

impl Client for AtOnce {
    async fn perform(&self, _: &Lane, calls: Vec<Call>) -> Heard {
        let answers: Answers = calls
            .iter()
            .map(|call| {
                Ok(match call {
                    Call::LookUp { .. } => Reply::Profiles(Vec::new()),
                    Call::Recall => Reply::Remembered(None),
                    Call::Track(_) => {
                        if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
                            self.all.notify_one();
                        }
                        Reply::Tracked
                    }
                    Call::ReadStatus { .. } => Reply::Status(Subscription::Subscribed),
                    Call::SetStatus(_) => Reply::StatusSet,
                    Call::Credit(_) => Reply::Credited,
                    Call::Delete(_) => Reply::Deleted,
                })
            })
            .collect();
        Heard::silent(answers)
    }

    fn objects_max(&self, lane: &Lane) -> usize {
        match lane.kind {
            LaneKind::UsersTrack => OBJECTS_MAX,
            _ => 1,
        }
    }
}

fn book(identity: Identity) -> RuleBook {
    RuleBook::new([Rules {
        flow: Some(ParticipationFlow::Email),
        identity,
        ..Rules::plain(people::SCOPE, people::WORKSPACE)
    }])
}

/// As `serve` has it by default, without limits.
fn settings() -> EngineSettings {
    let braze = HostSettings {
        limits: BTreeMap::new(),
        share: 1.0,
        max_in_flight: 64,
        linger: Duration::from_millis(20),
    };
    let quikly = None;
    EngineSettings {
        workspaces: BTreeMap::from([(
            people::WORKSPACE.into(),
            WorkspaceSettings { braze, quikly },
        )]),
        stop_within: Duration::from_secs(10),
        hold_after: 50,
    }
}

fn rate(people: u64, took: Duration) -> Figures {
    // No single one is timed.
    Figures {
        per_second: people as f64 / took.as_secs_f64(),
        p50_ms: f64::NAN,
        p99_ms: f64::NAN,
    }
}

async fn join(store: &impl Store, count: u64, book: &RuleBook, clock: &Clock) -> Result<()> {
    for from in (0..count).step_by(AT_ONCE as usize) {
        let now = clock.now();
        let numbers = from..count.min(from + AT_ONCE);
        let seeds = numbers.map(|number| people::seed(number, book, now));
        store.append(seeds.collect(), now).await?;
    }
    Ok(())
}

/// How long people take from the queue to their end, by the engine.
async fn work(store: impl Store, people: u64, identity: Identity) -> Result<Duration> {
    let clock = Clock::system(1.0);
    let book = Arc::new(book(identity));
    let client = AtOnce {
        left: Arc::new(AtomicU64::new(people)),
        all: Arc::default(),
    };
    let metrics = Arc::new(Metrics::new()?);
    let all = client.all.clone();
    // Made before anybody joins: an engine that finds work keeps `order_gap` from what another one may have sent.
    let engine = Engine::new(
        store.clone(),
        client,
        clock.clone(),
        metrics,
        &settings(),
        book.clone(),
        1,
    )
    .await?;
    join(&store, people, &book, &clock).await?;
    let began = Instant::now();
    let stop = async {
        all.notified().await;
        let mut rounds = tokio::time::interval(ASK_EVERY);
        while let Ok(counts) = store.counts(clock.now()).await
            && counts.events.done < people
        {
            rounds.tick().await;
        }
    };
    engine.run(stop).await?;
    let took = began.elapsed();
    let counts = store.counts(clock.now()).await?;
    ensure!(counts.events.done == people, "not all are done");
    Ok(took)
}

fn open(path: &std::path::Path) -> Result<SledStore> {
    let place = Place {
        path: path.to_owned(),
        cache_bytes: CACHE_BYTES,
        reserve_bytes: 0,
        ballast_bytes: 0,
        young_max: Place::YOUNG_MAX,
    };
    Ok(SledStore::open(place, Settings::default(), None)?)
}

async fn work_on_sled(args: &Args, identity: Identity) -> Result<Figures> {
    let folder = tempfile::tempdir_in(&args.path)?;
    let store = open(&folder.path().join("store"))?;
    let took = work(store.clone(), args.people, identity).await?;
    store.close().await?;
    Ok(rate(args.people, took))
}

async fn work_on_maps(args: &Args, identity: Identity) -> Result<Figures> {
    let mut took = Duration::ZERO;
    let rounds = (args.people / MAP_AT_ONCE / 5).max(1);
    let people = args.people.min(MAP_AT_ONCE);
    for _ in 0..rounds {
        took += work(MapStore::new(Settings::default()), people, identity).await?;
    }
    Ok(rate(people * rounds, took))
}

/// The same jobs leased and finished, one commit after another, with nothing in between.
async fn sled_alone(args: &Args) -> Result<Figures> {
    let folder = tempfile::tempdir_in(&args.path)?;
    let store = open(&folder.path().join("store"))?;
    let clock = Clock::system(1.0);
    join(&store, args.people, &book(Identity::Email), &clock).await?;
    let lane = Lane::new(&people::WORKSPACE.into(), LaneKind::UsersTrack);
    let began = Instant::now();
    let mut commits = tokio::task::JoinSet::new();
    loop {
        let now = clock.now();
        let leased = store.lease(&lane, now, OBJECTS_MAX).await?;
        if leased.is_empty() {
            break;
        }
        let finish = || Commit::new(Fate::Finish(Outcome::Found), Vec::new());
        let moves = leased.into_iter().map(|it| (it.token, finish())).collect();
        let store = store.clone();
        commits.spawn(async move { store.commit(moves, now).await });
        if commits.len() >= 64 {
            commits.join_next().await.context("none is under way")???;
        }
    }
    while let Some(ended) = commits.join_next().await {
        ended??;
    }
    let took = began.elapsed();
    let done = store.counts(clock.now()).await?.events.done;
    ensure!(done == args.people, "not all are done");
    store.close().await?;
    Ok(rate(args.people, took))
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = Args::parse();
    // `cargo test --benches` does not say `--bench`: it only wants to see that this runs.
    if args.test || !args.bench {
        args.people = args.people.min(500);
        args.repetitions = 1;
    }
    let mut rows = [
        "(a) sled alone: lease + finish",
        "(b) engine, sled, email",
        "(c) engine, sled, export",
        "(d) engine, map, email",
        "(e) engine, map, export",
    ]
    .map(Row::new);
    for _ in 0..args.repetitions {
        let runs = [
            sled_alone(&args).await?,
            work_on_sled(&args, Identity::Email).await?,
            work_on_sled(&args, Identity::Export).await?,
            work_on_maps(&args, Identity::Email).await?,
            work_on_maps(&args, Identity::Export).await?,
        ];
        for (row, run) in rows.iter_mut().zip(runs) {
            row.runs.push(run);
        }
    }
    let title = format!(
        "The engine: participations to their end, medians of {} × {} people",
        args.repetitions, args.people
    );
    figures::print(&title, "people/s", &rows);
    println!("\nRatios, medians over the repetitions");
    let [alone, sled_email, sled_export, map_email, map_export] = &rows;
    for (text, of, to) in [
        ("(b)/(a)", sled_email, alone),
        ("(c)/(b)", sled_export, sled_email),
        ("(e)/(d)", map_export, map_email),
        ("(b)/(d)", sled_email, map_email),
    ] {
        println!("{text:32}  {:.2}", of.ratio(to));
    }
    Ok(())
}
