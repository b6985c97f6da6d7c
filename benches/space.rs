//! The store's space over steady traffic: how large its files become over what they hold, and what each event costs.
//!
//! Events are appended in batches and brought to their end as they come, (a) with a queue of bounded depth, (b) with a share of
//! them that stays: moved once, due in three weeks, as people are who do not confirm. Time passes one millisecond an event, so
//! that what is remembered of done events goes again, as it does over weeks. In the end the store is compacted: what is left
//! then is what it holds.

#[path = "support/people.rs"]
#[expect(dead_code, reason = "of what benches share not all is needed here")]
mod people;

use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use braze_relay::flow::job::{Commit, Fate, Outcome};
use braze_relay::model::lane::{Lane, LaneKind};
use braze_relay::model::time::Timestamp;
use braze_relay::store::sled::{Place, SledStore};
use braze_relay::store::{Leased, Settings, Store as _};
use clap::Parser;

/// How many events one call appends or brings on.
const BATCH: u64 = 64;

/// How often the figures are printed.
const LINES: u64 = 10;

/// The store's files over what they hold
#[derive(Clone, Debug, Parser)]
struct Args {
    /// Events that pass through
    #[arg(long, default_value_t = 500_000)]
    events: u64,
    /// How many wait at any moment
    #[arg(long, default_value_t = 100_000)]
    deep: u64,
    /// How many of them stay, evenly among all; 0: only the others
    #[arg(long, default_value_t = 100_000)]
    staying: u64,
    /// For how many events after it a done one is remembered
    #[arg(long, default_value_t = 100_000)]
    remembered: u64,
    /// Where stores are made
    #[arg(long, default_value = env!("CARGO_TARGET_TMPDIR"))]
    path: PathBuf,
    #[arg(long, hide = true)]
    bench: bool,
    #[arg(long, hide = true)]
    test: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = Args::parse();
    if args.test || !args.bench {
        (args.events, args.deep, args.staying, args.remembered) = (3000, 500, 500, 500);
    }
    Traffic::run("(a) all passing through", &args, 0).await?;
    if args.staying > 0 {
        Traffic::run("(b) some staying for weeks", &args, args.staying).await?;
    }
    Ok(())
}

struct Traffic {
    store: SledStore,
    now: Timestamp,
    lane: Lane,
    later: Lane,
    /// One in so many stays.
    stays: u64,
    leased: u64,
    waiting: VecDeque<Leased>,
    appending: Duration,
    committing: Duration,
}

impl Traffic {
    async fn run(name: &str, args: &Args, staying: u64) -> Result<()> {
        let folder = tempfile::tempdir_in(&args.path)?;
        let place = Place {
            path: folder.path().to_owned(),
            cache_bytes: 64 << 20,
            reserve_bytes: 0,
            ballast_bytes: 0,
            young_max: Place::YOUNG_MAX,
        };
        let memory = Duration::from_millis(args.remembered);
        let settings = Settings {
            event_dedupe: memory,
            webhook_dedupe: memory,
            done_retention: memory,
            ..Settings::default()
        };
        let workspace = people::WORKSPACE.into();
        let mut traffic = Traffic {
            store: SledStore::open(place.clone(), settings, None)?,
            now: Timestamp::from_millis(1_795_770_600_000),
            lane: Lane::new(&workspace, LaneKind::UsersExportIds),
            later: Lane::new(&workspace, LaneKind::UsersTrack),
            stays: args.events.checked_div(staying).unwrap_or(0).max(1),
            leased: 0,
            waiting: VecDeque::new(),
            appending: Duration::ZERO,
            committing: Duration::ZERO,
        };
        if staying == 0 {
            traffic.stays = 0;
        }
        let before = written()?;
        println!(
            "\n{name}: {} events, {} deep, {staying} staying",
            args.events, args.deep
        );
        println!(
            "{:>10} {:>12} {:>12} {:>12}",
            "events", "files MB", "resident MB", "written MB"
        );
        let book = people::book();
        let mut line = 0;
        let mut number = 0;
        while number < args.events {
            let seeds = (number..number + BATCH).map(|it| people::seed(it, &book, traffic.now));
            let begun = Instant::now();
            traffic.store.append(seeds.collect(), traffic.now).await?;
            traffic.appending += begun.elapsed();
            traffic.now = traffic.now + Duration::from_millis(BATCH);
            number += BATCH;
            if number > args.deep {
                traffic.bring_on().await?;
            }
            if number * LINES / args.events > line {
                line = number * LINES / args.events;
                let files = traffic.store.counts(traffic.now).await?.store_bytes;
                let written = written()? - before;
                println!(
                    "{number:>10} {:>12.1} {:>12.1} {:>12.1}",
                    mb(files),
                    mb(resident()?),
                    mb(written)
                );
            }
        }
        let files = traffic.store.counts(traffic.now).await?.store_bytes;
        let written = written()? - before;
        traffic.store.close().await?;
        let begun = Instant::now();
        let sizes = SledStore::compact(&place, settings).await?;
        let each = |all: Duration, events: u64| all.as_secs_f64() * 1e6 / events.max(1) as f64;
        println!(
            "append {:.1} µs an event, commit {:.1} µs a move (batches of {BATCH}, each durable)",
            each(traffic.appending, number),
            each(traffic.committing, traffic.leased)
        );
        println!(
            "files {:.1} MB; compacted {:.1} MB in {:.1} s: factor {:.2}; written {:.0} bytes an event, {:.1} times what is held",
            mb(files),
            mb(sizes.after),
            begun.elapsed().as_secs_f64(),
            files as f64 / sizes.after as f64,
            written as f64 / number as f64,
            written as f64 / sizes.after as f64,
        );
        Ok(())
    }

    /// Brings as many jobs to their end, or to where they stay, as came.
    async fn bring_on(&mut self) -> Result<()> {
        if self.waiting.len() < BATCH as usize {
            let more = self.store.lease(&self.lane, self.now, BATCH as usize);
            self.waiting.extend(more.await?);
        }
        let take = self.waiting.len().min(BATCH as usize);
        let mut moves = Vec::with_capacity(take);
        for leased in self.waiting.drain(..take) {
            self.leased += 1;
            let stays = self.stays > 0 && self.leased.is_multiple_of(self.stays);
            let fate = if stays {
                let due = self.now + Duration::from_hours(24 * 21);
                let mut job = leased.job;
                job.due = due;
                let lane = self.later.clone();
                Fate::Keep { lane, job }
            } else {
                Fate::Finish(Outcome::Found)
            };
            moves.push((leased.token, Commit::new(fate, Vec::new())));
        }
        let begun = Instant::now();
        self.store.commit(moves, self.now).await?;
        self.committing += begun.elapsed();
        Ok(())
    }
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Bytes that this process has sent to the disk.
fn written() -> Result<u64> {
    field("/proc/self/io", "write_bytes:", 1)
}

/// Resident memory, bytes.
fn resident() -> Result<u64> {
    field("/proc/self/status", "VmRSS:", 1024)
}

fn field(file: &str, name: &str, unit: u64) -> Result<u64> {
    let text = fs::read_to_string(file)?;
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    let number = value.and_then(|value| value.split_whitespace().next());
    Ok(number.context("no such field")?.parse::<u64>()? * unit)
}
