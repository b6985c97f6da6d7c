//! The store alone: events appended durably by 1, 64 and 256 producers, in batches, and brought to their end.
//!
//! Each producer appends, waits until that is durable, and appends again. Beside it, in the same run and in turn, the
//! plainest sled group commit of one key per event by as many producers: ratios are taken within a repetition, since
//! a machine that is busy elsewhere moves both. Deliberately absent: HTTP and parsing (see the bench `ingest`).

#[path = "support/figures.rs"]
mod figures;
#[path = "support/people.rs"]
mod people;
#[path = "support/plain.rs"]
mod plain;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use braze_relay::clock::Clock;
use braze_relay::flow::job::{Commit, Fate, Outcome};
use braze_relay::model::lane::{Lane, LaneKind};
use braze_relay::model::rules::RuleBook;
use braze_relay::store::sled::{Place, SledStore};
use braze_relay::store::{Committed, Settings, Store as _};
use clap::Parser;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use self::figures::{Figures, Latencies, Row, Window};
use self::plain::Plain;

/// How many jobs are leased at once: as many as one request to Braze carries.
const LEASE_MAX: usize = 75;
/// How many commits may be under way at once.
const COMMITS_MAX: usize = 16;

/// The store: durable appends, and jobs brought to their end, against the plainest sled group commit
#[derive(Clone, Debug, Parser)]
struct Args {
    /// How long each is measured in each repetition
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
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

/// Who appends, and how much at once.
const APPENDS: [(usize, usize); 5] = [(1, 1), (64, 1), (256, 1), (1, 100), (64, 100)];
/// How many producers append what is brought to its end.
const PAIRS_BY: usize = 64;

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = Args::parse();
    // `cargo test --benches` does not say `--bench`: it only wants to see that this runs.
    if args.test || !args.bench {
        args.seconds = 0.1;
        args.repetitions = 1;
    }
    let mut appends: Vec<[Row; 2]> = APPENDS
        .iter()
        .map(|(producers, each)| {
            let what = match each {
                1 => format!("{producers} producers"),
                _ => format!("{producers} producers × {each}"),
            };
            [
                Row::new(format!("{what}: plain sled, 1 key")),
                Row::new(format!("{what}: store")),
            ]
        })
        .collect();
    let mut pairs = [
        "plain sled, in",
        "plain sled, out",
        "store, append",
        "store, lease + finish",
    ]
    .map(Row::new);
    for _ in 0..args.repetitions {
        for ((producers, each), [plain, store]) in APPENDS.into_iter().zip(&mut appends) {
            plain.runs.push(append_plain(&args, producers, each).await?);
            store.runs.push(append_store(&args, producers, each).await?);
        }
        for (row, figures) in pairs[..2].iter_mut().zip(pairs_plain(&args).await?) {
            row.runs.push(figures);
        }
        for (row, figures) in pairs[2..].iter_mut().zip(pairs_store(&args).await?) {
            row.runs.push(figures);
        }
    }
    let span = format!("medians of {} × {} s", args.repetitions, args.seconds);
    figures::print(
        &format!("Appending durably, {span}"),
        "events/s",
        &appends.iter().flatten().cloned().collect::<Vec<_>>(),
    );
    println!();
    for [plain, store] in &appends {
        println!("{:32}  {:.2} of plain", store.name, store.ratio(plain));
    }
    figures::print(
        &format!("In and out, {PAIRS_BY} producers, leases of {LEASE_MAX}, {span}"),
        "events/s",
        &pairs,
    );
    println!(
        "\n{:32}  {:.2} of plain",
        "store, out",
        pairs[3].ratio(&pairs[1])
    );
    Ok(())
}

fn window(args: &Args) -> Window {
    let long = Duration::from_secs_f64(args.seconds);
    Window::after((long / 4).min(Duration::from_millis(500)), long)
}

/// A store in a folder that goes when this does.
fn open_store(path: &Path) -> Result<SledStore> {
    let place = Place {
        path: path.to_owned(),
        cache_bytes: plain::CACHE_BYTES,
        reserve_bytes: 0,
        ballast_bytes: 0,
        young_max: Place::YOUNG_MAX,
    };
    Ok(SledStore::open(place, Settings::default(), None)?)
}

/// Runs `once` in `producers` tasks until the window is over, and measures how long each of its runs takes.
async fn produce<F, R>(producers: usize, window: Window, once: F) -> Result<Latencies>
where
    F: Fn() -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<()>> + Send,
{
    let mut tasks = JoinSet::new();
    for _ in 0..producers {
        let once = once.clone();
        tasks.spawn(async move {
            let mut latencies = Latencies::default();
            loop {
                let began = Instant::now();
                once().await?;
                let ended = Instant::now();
                if window.has(ended) {
                    latencies.add(ended - began);
                }
                if window.is_over(ended) {
                    return Ok::<_, anyhow::Error>(latencies);
                }
            }
        });
    }
    let mut all = Latencies::default();
    while let Some(one) = tasks.join_next().await {
        all.merge(one??);
    }
    Ok(all)
}

async fn append_plain(args: &Args, producers: usize, each: usize) -> Result<Figures> {
    let folder = tempfile::tempdir_in(&args.path)?;
    let store = Plain::open(&folder.path().join("plain"))?;
    let window = window(args);
    let body = people::template().into_bytes();
    let latencies = produce(producers, window, move || {
        let store = store.clone();
        let entries = (0..each).map(|_| (store.key(), Some(body.clone())));
        let entries = entries.collect();
        async move { store.write(entries).await }
    })
    .await?;
    Ok(latencies.figures(each, window.seconds()))
}

/// Hands out people, and what they start.
#[derive(Clone)]
struct Crowd {
    next: Arc<AtomicU64>,
    book: Arc<RuleBook>,
    clock: Clock,
}

impl Crowd {
    fn new() -> Crowd {
        Crowd {
            next: Arc::default(),
            book: Arc::new(people::book()),
            clock: Clock::system(1.0),
        }
    }

    /// Appends so many new ones.
    async fn join(&self, store: &SledStore, count: usize) -> Result<()> {
        let from = self.next.fetch_add(count as u64, Ordering::Relaxed);
        let now = self.clock.now();
        let seeds = (from..from + count as u64).map(|number| people::seed(number, &self.book, now));
        store.append(seeds.collect(), now).await?;
        Ok(())
    }
}

async fn append_store(args: &Args, producers: usize, each: usize) -> Result<Figures> {
    let folder = tempfile::tempdir_in(&args.path)?;
    let store = open_store(&folder.path().join("store"))?;
    let crowd = Crowd::new();
    let window = window(args);
    let theirs = store.clone();
    let latencies = produce(producers, window, move || {
        let (store, crowd) = (theirs.clone(), crowd.clone());
        async move { crowd.join(&store, each).await }
    })
    .await?;
    store.close().await?;
    Ok(latencies.figures(each, window.seconds()))
}

async fn pairs_plain(args: &Args) -> Result<[Figures; 2]> {
    let folder = tempfile::tempdir_in(&args.path)?;
    let store = Plain::open(&folder.path().join("plain"))?;
    let window = window(args);
    let body = people::template().into_bytes();
    let (put, mut there) = mpsc::unbounded_channel();
    let theirs = store.clone();
    let out = tokio::spawn(async move {
        let mut out = Outgoing::new(window);
        let mut keys = Vec::new();
        while there.recv_many(&mut keys, LEASE_MAX).await > 0 && out.goes_on() {
            let (store, entries) = (theirs.clone(), std::mem::take(&mut keys));
            out.send(entries.len(), async move { store.write(entries).await })
                .await?;
        }
        out.finish().await
    });
    let latencies = produce(PAIRS_BY, window, move || {
        let (store, put, body) = (store.clone(), put.clone(), body.clone());
        async move {
            let key = store.key();
            store.write(vec![(key, Some(body))]).await?;
            let _ = put.send((key, None));
            Ok(())
        }
    })
    .await?;
    Ok([latencies.figures(1, window.seconds()), out.await??])
}

async fn pairs_store(args: &Args) -> Result<[Figures; 2]> {
    let folder = tempfile::tempdir_in(&args.path)?;
    let store = open_store(&folder.path().join("store"))?;
    let crowd = Crowd::new();
    let window = window(args);
    let (theirs, clock) = (store.clone(), crowd.clock.clone());
    let out = tokio::spawn(async move { finish_all(theirs, clock, window).await });
    let producing = store.clone();
    let latencies = produce(PAIRS_BY, window, move || {
        let (store, crowd) = (producing.clone(), crowd.clone());
        async move { crowd.join(&store, 1).await }
    })
    .await?;
    let out = out.await??;
    store.close().await?;
    Ok([latencies.figures(1, window.seconds()), out])
}

/// Leases what is due and finishes it, as a worker whose calls take no time.
async fn finish_all(store: SledStore, clock: Clock, window: Window) -> Result<Figures> {
    let lane = Lane::new(&people::WORKSPACE.into(), LaneKind::UsersExportIds);
    let wake = store.wake(&lane);
    let mut out = Outgoing::new(window);
    while out.goes_on() {
        let leased = store.lease(&lane, clock.now(), LEASE_MAX).await?;
        if leased.is_empty() {
            let _ = tokio::time::timeout(Duration::from_millis(50), wake.notified()).await;
            continue;
        }
        let moves: Vec<_> = leased
            .into_iter()
            .map(|leased| {
                let commit = Commit::new(Fate::Finish(Outcome::Found), Vec::new());
                (leased.token, commit)
            })
            .collect();
        let (store, now) = (store.clone(), clock.now());
        out.send(moves.len(), async move {
            let done = store.commit(moves, now).await?;
            let kept = |one: &Committed| matches!(one, Committed::Stored { .. });
            anyhow::ensure!(done.iter().all(kept), "a lease was lost");
            Ok(())
        })
        .await?;
    }
    out.finish().await
}

/// What is brought to its end, several at once.
struct Outgoing {
    window: Window,
    slots: Arc<Semaphore>,
    under_way: JoinSet<Result<(usize, Instant, Instant)>>,
    count: usize,
    latencies: Latencies,
}

impl Outgoing {
    fn new(window: Window) -> Outgoing {
        Outgoing {
            window,
            slots: Arc::new(Semaphore::new(COMMITS_MAX)),
            under_way: JoinSet::new(),
            count: 0,
            latencies: Latencies::default(),
        }
    }

    fn goes_on(&self) -> bool {
        !self.window.is_over(Instant::now())
    }

    async fn send(
        &mut self,
        count: usize,
        commit: impl Future<Output = Result<()>> + Send + 'static,
    ) -> Result<()> {
        let slot = self.slots.clone().acquire_owned().await?;
        self.under_way.spawn(async move {
            let began = Instant::now();
            commit.await?;
            drop(slot);
            Ok((count, began, Instant::now()))
        });
        while let Some(ended) = self.under_way.try_join_next() {
            self.note(ended??);
        }
        Ok(())
    }

    fn note(&mut self, (count, began, ended): (usize, Instant, Instant)) {
        if self.window.has(ended) {
            self.count += count;
            self.latencies.add(ended - began);
        }
    }

    async fn finish(mut self) -> Result<Figures> {
        while let Some(ended) = self.under_way.join_next().await {
            self.note(ended??);
        }
        let seconds = self.window.seconds();
        Ok(Figures {
            per_second: self.count as f64 / seconds,
            ..self.latencies.figures(1, seconds)
        })
    }
}
