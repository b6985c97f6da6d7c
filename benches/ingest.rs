//! Events over HTTP, all in one run: a bare hyper endpoint, hyper over the plainest sled group commit, and the relay.
//!
//! Every server is a child process of this program (this program again, told what to be), so that each begins fresh and
//! its threads can be told from the load's; the load comes from this process, on one thread, over loopback. Both share
//! the machine's cores, so absolute figures are those of relay and load together. Servers are run in turn, repetition
//! by repetition, and ratios are taken within a repetition: a machine that is busy elsewhere moves both.
//!
//! The relay is the real `Ingest` over a real `SledStore`, with parsing, authentication, de-duplication and jobs; no
//! engine runs, so all lanes stand still. What the sandbox or Braze would add is deliberately absent.

#[path = "support/figures.rs"]
mod figures;
#[path = "support/load.rs"]
mod load;
#[path = "support/people.rs"]
mod people;
#[path = "support/plain.rs"]
mod plain;
#[path = "support/threads.rs"]
mod threads;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use braze_relay::clock::Clock;
use braze_relay::ingest::{self, Ingest};
use braze_relay::model::event::Source;
use braze_relay::store::sled::{Place, SledStore};
use braze_relay::store::{Settings, Store as _};
use braze_relay::telemetry::Metrics;
use braze_relay::{config, flow};
use clap::{Parser, ValueEnum};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;

use self::figures::{Row, Window, median};
use self::load::Prebuilt;
use self::plain::Plain;

const TOKEN: &str = "a-token-for-the-bench";
const BATCH: usize = 100;
/// Where the numbers of people who are there beforehand begin.
const BEFORE_FROM: u64 = 500_000_000_000;

/// Events over HTTP: a bare endpoint, the plainest durable one, and the relay
#[derive(Clone, Debug, Parser)]
struct Args {
    /// How long each server is measured in each repetition
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// How often all of it is repeated
    #[arg(long, default_value_t = 5)]
    repetitions: usize,
    /// Keep-alive connections
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// How many events the relay holds beforehand in the last row; 0: leave it out
    #[arg(long, default_value_t = 200_000)]
    keys: u64,
    /// Only these rows
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Case>,
    /// Worker threads of the servers' runtimes; 0: as many as there are cores, as `serve` has them
    #[arg(long, default_value_t = 0)]
    workers: usize,
    /// Where stores are made
    #[arg(long, default_value = env!("CARGO_TARGET_TMPDIR"))]
    path: PathBuf,
    /// Be a server
    #[arg(long, hide = true)]
    serve: Option<Kind>,
    #[arg(long, hide = true)]
    bench: bool,
    #[arg(long, hide = true)]
    test: bool,
}

/// What a server does before it answers 202.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Bare,
    Plain,
    Relay,
}

/// The rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Case {
    Bare,
    Plain,
    Relay,
    Batches,
    Full,
}

impl Case {
    const fn kind(self) -> Kind {
        match self {
            Case::Bare => Kind::Bare,
            Case::Plain => Kind::Plain,
            Case::Relay | Case::Batches | Case::Full => Kind::Relay,
        }
    }

    const fn events(self) -> usize {
        match self {
            Case::Batches => BATCH,
            Case::Bare | Case::Plain | Case::Relay | Case::Full => 1,
        }
    }

    fn name(self, keys: u64) -> String {
        match self {
            Case::Bare => "(a) bare hyper".into(),
            Case::Plain => "(b) hyper + plain sled, 1 key".into(),
            Case::Relay => "(c) relay".into(),
            Case::Batches => format!("(d) relay, batches of {BATCH}"),
            Case::Full => format!("(e) relay, {keys} before"),
        }
    }
}

fn main() -> Result<()> {
    let mut args = Args::parse();
    if let Some(kind) = args.serve {
        return be_server(kind, &args);
    }
    // `cargo test --benches` does not say `--bench`: it only wants to see that this runs.
    if args.test || !args.bench {
        args.seconds = 0.2;
        args.repetitions = 1;
        args.keys = args.keys.min(2_000);
    }
    measure(&args)
}

fn measure(args: &Args) -> Result<()> {
    let cases: Vec<Case> = Case::value_variants()
        .iter()
        .copied()
        .filter(|case| args.only.is_empty() || args.only.contains(case))
        .filter(|case| *case != Case::Full || args.keys > 0)
        .collect();
    let folder = tempfile::tempdir_in(&args.path)?;
    let full = folder.path().join("full");
    if cases.contains(&Case::Full) {
        fill(&full, args.keys)?;
    }
    let mut rows: BTreeMap<Case, Row> = cases
        .iter()
        .map(|case| (*case, Row::new(case.name(args.keys))))
        .collect();
    let mut costs: BTreeMap<Case, Vec<Cost>> = BTreeMap::new();
    let next = Rc::new(Cell::new(0));
    for repetition in 0..args.repetitions {
        for case in &cases {
            let path = match case {
                Case::Full => full.clone(),
                _ => folder.path().join("fresh"),
            };
            let (figures, cost) = one(args, *case, &path, &next)
                .with_context(|| format!("{case:?}, repetition {repetition}"))?;
            if *case != Case::Full {
                std::fs::remove_dir_all(&path).or_else(|error| match error.kind() {
                    std::io::ErrorKind::NotFound => Ok(()),
                    _ => Err(error),
                })?;
            }
            if let Some(row) = rows.get_mut(case) {
                row.runs.push(figures);
            }
            costs.entry(*case).or_default().push(cost);
        }
    }
    show(args, &rows, &costs);
    Ok(())
}

/// CPU of one repetition by thread of the server (and the load's), µs per event.
type Cost = BTreeMap<String, f64>;

/// One server under load, once.
fn one(
    args: &Args,
    case: Case,
    path: &Path,
    next: &Rc<Cell<u64>>,
) -> Result<(figures::Figures, Cost)> {
    let mut server = Server::start(case.kind(), path, args.workers)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let request = Prebuilt::new(case.events(), TOKEN);
    let long = Duration::from_secs_f64(args.seconds);
    let window = Window::after(long.min(Duration::from_millis(500)), long);
    let ours = std::process::id();
    let before = (server.cpu(), threads::cpu_micros(ours));
    let running = load::run(
        server.address,
        args.connections,
        &request,
        next.clone(),
        window,
    );
    let heard = tokio::task::LocalSet::new().block_on(&runtime, running)?;
    let events = heard.answers * case.events() as u64;
    let mut cost: Cost = server
        .cpu()
        .into_iter()
        .map(|(name, micros)| {
            let micros = micros - before.0.get(&name).copied().unwrap_or(0.0);
            (name, micros / events as f64)
        })
        .collect();
    cost.insert("server".into(), cost.values().sum());
    let load: f64 =
        threads::cpu_micros(ours).values().sum::<f64>() - before.1.values().sum::<f64>();
    cost.insert("(load)".into(), load / events as f64);
    let stored = server.stop()?;
    ensure!(
        case.kind() == Kind::Bare || stored == events,
        "{events} events were answered 202, and {stored} were stored"
    );
    Ok((
        heard.latencies.figures(case.events(), window.seconds()),
        cost,
    ))
}

fn show(args: &Args, rows: &BTreeMap<Case, Row>, costs: &BTreeMap<Case, Vec<Cost>>) {
    let bytes = people::template().len();
    figures::print(
        &format!(
            "Ingest: {} connections, events of {bytes} bytes, medians of {} × {} s",
            args.connections, args.repetitions, args.seconds
        ),
        "events/s",
        &rows.values().cloned().collect::<Vec<_>>(),
    );
    println!("\nCPU, µs per event: the server in all, the load, and the server's threads");
    for (case, runs) in costs {
        let mut names: Vec<&String> = runs.iter().flat_map(BTreeMap::keys).collect();
        names.sort_unstable_by_key(|name| (*name != "server", *name));
        names.dedup();
        let of = |name: &str| {
            median(
                runs.iter()
                    .filter_map(|run| run.get(name).copied())
                    .collect(),
            )
        };
        let parts: Vec<String> = names
            .into_iter()
            .map(|name| (name, of(name)))
            .filter(|(_, micros)| *micros >= 0.05)
            .map(|(name, micros)| format!("{name} {micros:.1}"))
            .collect();
        println!("{:32}  {}", case.name(args.keys), parts.join("   "));
    }
    println!("\nRatios, medians over the repetitions");
    let ratio = |of: Case, to: Case| Some(rows.get(&of)?.ratio(rows.get(&to)?));
    for (of, to, text) in [
        (Case::Plain, Case::Bare, "(b)/(a)"),
        (Case::Relay, Case::Bare, "(c)/(a)"),
        (Case::Relay, Case::Plain, "(c)/(b), at least 0.60"),
        (Case::Full, Case::Plain, "(e)/(b), at least 0.60"),
        (Case::Full, Case::Relay, "(e)/(c)"),
    ] {
        if let Some(ratio) = ratio(of, to) {
            println!("{text:32}  {ratio:.2}");
        }
    }
    if let Some(batches) = rows.get(&Case::Batches) {
        println!(
            "{:32}  {:.0} events/s",
            "(d), at least 25000",
            batches.per_second()
        );
    }
}

/// A server in a process of its own.
struct Server {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Server {
    fn start(kind: Kind, path: &Path, workers: usize) -> Result<Server> {
        let kind = kind.to_possible_value().context("a hidden kind")?;
        let mut process = Command::new(std::env::current_exe()?)
            .args(["--serve", kind.get_name(), "--path"])
            .arg(path)
            .args(["--workers", &workers.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = process.stdin.take();
        let output = process.stdout.take().context("a child without output")?;
        let mut output = BufReader::new(output);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let address = line.trim().parse().context("the server did not start")?;
        Ok(Server {
            process,
            input,
            output,
            address,
        })
    }

    fn cpu(&self) -> BTreeMap<String, f64> {
        threads::cpu_micros(self.process.id())
    }

    /// Stops it; says how many events it stored.
    fn stop(&mut self) -> Result<u64> {
        self.input = None;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let status = self.process.wait()?;
        ensure!(status.success(), "the server ended with {status}");
        Ok(line.trim().parse()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing to do when it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The other process: says its address, serves until standard input ends, says how much it stored.
fn be_server(kind: Kind, args: &Args) -> Result<()> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if args.workers > 0 {
        builder.worker_threads(args.workers);
    }
    let runtime = builder.enable_all().build()?;
    let ended = || {
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            drop(end);
        });
        async {
            let _ = ended.await;
        }
    };
    let stored = runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let ready = || {
            println!("{address}");
            std::io::stdout().flush()
        };
        match kind {
            Kind::Bare => {
                ready()?;
                serve_plainly(listener, None, ended()).await
            }
            Kind::Plain => {
                let store = Plain::open(&args.path)?;
                ready()?;
                serve_plainly(listener, Some(store), ended()).await
            }
            Kind::Relay => {
                let store = open_relay(&args.path)?;
                let clock = Clock::system(1.0);
                let before = store.counts(clock.now()).await?.events.accepted;
                ready()?;
                serve_relay(listener, store.clone(), clock.clone(), ended()).await?;
                let after = store.counts(clock.now()).await?.events.accepted;
                store.close().await?;
                Ok(after - before)
            }
        }
    })?;
    println!("{stored}");
    Ok(())
}

fn open_relay(path: &Path) -> Result<SledStore> {
    let place = Place {
        path: path.to_owned(),
        cache_bytes: plain::CACHE_BYTES,
        reserve_bytes: 256 * 1024 * 1024,
        ballast_bytes: 16 * 1024 * 1024,
        young_max: Place::YOUNG_MAX,
    };
    let metrics = Arc::new(Metrics::new()?);
    Ok(SledStore::open(place, Settings::default(), Some(metrics))?)
}

async fn serve_relay(
    listener: TcpListener,
    store: SledStore,
    clock: Clock,
    ended: impl Future<Output = ()>,
) -> Result<()> {
    let settings = config::Ingest {
        listen: listener.local_addr()?,
        max_body_bytes: 8 * 1024 * 1024,
        max_event_bytes: 64 * 1024,
        max_batch: 10_000,
        tokens: BTreeMap::from([(Source::Quikly, vec![TOKEN.into()])]),
    };
    let rules = watch::Sender::new(Arc::new(people::book()));
    let ingest = Ingest::new(
        store,
        settings,
        rules.subscribe(),
        Arc::new(Metrics::new()?),
        clock,
        flow::start,
    );
    ingest::serve(listener, Arc::new(ingest), ended, Duration::from_secs(10)).await;
    Ok(())
}

/// A bare endpoint; with a store, one that answers when the body is durable there.
async fn serve_plainly(
    listener: TcpListener,
    store: Option<Plain>,
    ended: impl Future<Output = ()>,
) -> Result<u64> {
    let stored = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let mut ended = std::pin::pin!(ended);
    loop {
        let (stream, _) = tokio::select! {
            accepted = listener.accept() => accepted?,
            () = &mut ended => return Ok(stored.load(std::sync::atomic::Ordering::Relaxed)),
        };
        stream.set_nodelay(true)?;
        let (store, stored) = (store.clone(), stored.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| answer_plainly(request, store.as_ref(), &stored));
            let _ = hyper::server::conn::http1::Builder::new()
                .pipeline_flush(true)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer_plainly(
    request: Request<Incoming>,
    store: Option<&Plain>,
    stored: &std::sync::atomic::AtomicU64,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    let Ok(body) = request.into_body().collect().await else {
        return Ok(response);
    };
    if let Some(store) = store {
        let entry = (store.key(), Some(body.to_bytes().to_vec()));
        if store.write(vec![entry]).await.is_err() {
            return Ok(response);
        }
        stored.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(response)
}

/// Makes a relay's store with so many events in it.
fn fill(path: &Path, keys: u64) -> Result<()> {
    const AT_ONCE: u64 = 2_000;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let store = open_relay(path)?;
        let clock = Clock::system(1.0);
        let book = people::book();
        let mut waiting = std::collections::VecDeque::new();
        for from in (0..keys).step_by(AT_ONCE as usize) {
            let numbers = from..keys.min(from + AT_ONCE);
            let now = clock.now();
            let seeds = numbers.map(|number| people::seed(BEFORE_FROM + number, &book, now));
            let seeds = seeds.collect();
            let theirs = store.clone();
            waiting.push_back(tokio::spawn(async move { theirs.append(seeds, now).await }));
            if waiting.len() >= 4
                && let Some(first) = waiting.pop_front()
            {
                first.await??;
            }
            if from > 0 && from % 500_000 == 0 {
                eprintln!("{from} of {keys} events are there");
            }
        }
        for rest in waiting {
            rest.await??;
        }
        store.close().await?;
        Ok(())
    })
}
