//! What operators cost: `cargo bench --bench watch`. Every page and API call while the store is full and events come in,
//! and what ten open dashboards take from those who post.
//!
//! The real binary serves, in a process of its own, with all lanes held, so that whatever is posted stays; this one posts
//! and asks. Both share the machine's cores. Asked is one thing after the other, without a pause. The bounds are the
//! wishes of the project: an answer within 100 ms in 99 of 100 cases, and at most 5 % of the throughput for ten
//! dashboards; the ratio is that of neighbours in time. Missing one is an error (exit code 1).

#[path = "support/figures.rs"]
mod figures;
#[path = "support/load.rs"]
mod load;
#[path = "support/people.rs"]
mod people;

use std::cell::Cell;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use braze_relay::client::http::{Http, Method};
use clap::Parser;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use url::Url;

use self::figures::{Figures, Latencies, Row, Window};
use self::load::Prebuilt;

const BINARY: &str = env!("CARGO_BIN_EXE_braze-relay");
const TOKEN: &str = "a-token-for-the-bench";
/// Events in a request.
const BATCH: usize = 100;
const ANSWER_WITHIN: Duration = Duration::from_mins(1);
const ANSWER_BYTES_MAX: usize = 1 << 26;
/// Milliseconds.
const ANSWERED_IN: f64 = 100.0;
const KEPT: f64 = 0.95;

/// What operators cost while events come in
#[derive(Clone, Debug, Parser)]
struct Args {
    /// How many jobs are in the store before anything is measured
    #[arg(long, default_value_t = 2_000_000)]
    jobs: u64,
    /// How many of them are dead letters
    #[arg(long, default_value_t = 50_000)]
    dead: u64,
    /// Events a second that come in while operators ask
    #[arg(long, default_value_t = 5000)]
    rate: u64,
    /// How often each thing is asked
    #[arg(long, default_value_t = 200)]
    asks: usize,
    /// Dashboards that are open in half of the rounds
    #[arg(long, default_value_t = 10)]
    dashboards: usize,
    /// How long a round of throughput is
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// How many pairs of rounds
    #[arg(long, default_value_t = 7)]
    repetitions: usize,
    /// Where the store is made
    #[arg(long, default_value = env!("CARGO_TARGET_TMPDIR"))]
    path: PathBuf,
    #[arg(long, hide = true)]
    bench: bool,
    #[arg(long, hide = true)]
    test: bool,
}

/// A relay of its own process.
struct Relay {
    child: Child,
    ingest: SocketAddr,
    ops: Url,
    http: Http,
}

impl Drop for Relay {
    fn drop(&mut self) {
        // Nothing to do when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Relay {
    fn start(folder: &Path) -> Result<Relay> {
        let store = folder.join("store").display().to_string();
        let text = format!(
            "[ingest]\nlisten = \"127.0.0.1:0\"\n[ingest.sources.quikly]\ntokens = [{{ value = \"{TOKEN}\" }}]\n\
             [ops]\nlisten = \"127.0.0.1:0\"\n[store]\npath = {store:?}\nballast_bytes = 1048576\nmax_jobs = 100000000\n\
             [workspaces.{workspace}.braze]\nurl = \"http://127.0.0.1:9\"\napi_key = \"none\"\n\
             [activations.{scope}]\nworkspace = \"{workspace}\"\nflow = \"email\"\n",
            workspace = people::WORKSPACE,
            scope = people::SCOPE,
        );
        let config = folder.join("relay.toml");
        std::fs::write(&config, text)?;
        let mut command = Command::new(BINARY);
        command.args(["serve", "--config"]).arg(&config);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(File::create(folder.join("serve.log"))?);
        let mut child = command.spawn()?;
        let output = child.stdout.take().context("a child without output")?;
        let mut said = String::new();
        BufReader::new(output).read_line(&mut said)?;
        let url = |name: &str| -> Result<Url> {
            let mut words = said.split_whitespace();
            let found = words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            Ok(Url::parse(found.context("the relay said something else")?)?)
        };
        let addresses = url("ingest")?.socket_addrs(|| None)?;
        Ok(Relay {
            child,
            ingest: *addresses.first().context("no address")?,
            ops: url("ops")?,
            http: Http::new(2, Duration::from_secs(5))?,
        })
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Vec<u8>> {
        let headers = [("content-type", "application/json")];
        let body = body.map(|body| body.to_string().into_bytes());
        let url = self.ops.join(path)?;
        let asked = self.http.request(
            method,
            &url,
            &headers,
            body,
            ANSWER_WITHIN,
            ANSWER_BYTES_MAX,
        );
        let answer = asked.await?;
        ensure!(answer.status == 200, "{path} answered {}", answer.status);
        Ok(answer.body)
    }

    async fn json(&self, path: &str) -> Result<Value> {
        Ok(serde_json::from_slice(
            &self.ask(Method::GET, path, None).await?,
        )?)
    }
}

/// One thing that operators ask.
struct Ask {
    method: Method,
    path: String,
    body: Option<Value>,
}

/// Everything that the document describes and that changes nothing, and the pages.
async fn asks(relay: &Relay) -> Result<Vec<Ask>> {
    let document = relay.json("/api/v1/openapi.json").await?;
    let letters = relay.json("/api/v1/dead?limit=1").await?;
    let letter = letters["items"][0]["id"].as_str().context("no letter")?;
    let get = |path: String| Ask {
        method: Method::GET,
        path,
        body: None,
    };
    let mut all: Vec<Ask> = ["/", "/page/app.js", "/metrics", "/readyz"]
        .into_iter()
        .map(|path| get(path.to_owned()))
        .collect();
    let paths = document["paths"].as_object().context("no paths")?;
    for (path, operations) in paths {
        if operations["get"].is_null() || path == "/api/v1/live" {
            continue;
        }
        let there = path
            .replace("{workspace}", people::WORKSPACE)
            .replace("{activation}", people::SCOPE)
            .replace("{id}", letter);
        // Nothing has been replayed and nobody forgotten here.
        if !there.contains('{') && !path.starts_with("/api/v1/forget/") {
            all.push(get(there));
        }
    }
    for more in [
        "/api/v1/dead?reason=unknown_activation&limit=100",
        "/api/v1/dead?text=nobody",
        "/api/v1/dead/counts?text=nobody",
    ] {
        all.push(get(more.to_owned()));
    }
    let filter = json!({ "filter": {} });
    all.push(Ask {
        method: Method::POST,
        path: "/api/v1/replays/preview".to_owned(),
        body: Some(filter),
    });
    if !paths["/api/v1/participants"].is_null() {
        all.push(Ask {
            method: Method::POST,
            path: "/api/v1/participants".to_owned(),
            body: Some(json!({ "email": "person.000000000007@example.com" })),
        });
    }
    Ok(all)
}

/// A browser that has the page open: it reads what is told until it is stopped.
async fn dashboard(ops: Url, stop: Arc<AtomicBool>, heard: Arc<AtomicU64>) -> Result<()> {
    let host = ops.socket_addrs(|| None)?;
    let address = host.first().context("no address")?;
    let mut stream = TcpStream::connect(address).await?;
    let head = format!("GET /api/v1/live HTTP/1.1\r\nhost: {address}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut buffer = vec![0; 64 * 1024];
    while !stop.load(Ordering::Relaxed) {
        let read = stream.read(&mut buffer).await?;
        ensure!(read > 0, "the stream ended");
        heard.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Dashboards on a thread of their own.
struct Open {
    stop: Arc<AtomicBool>,
    heard: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<Result<()>>,
}

impl Open {
    fn some(count: usize, ops: &Url) -> Open {
        let (stop, heard) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let thread = {
            let (stop, heard, ops) = (stop.clone(), Arc::clone(&heard), ops.clone());
            std::thread::spawn(move || {
                on_this_thread(async move {
                    let each = |_| dashboard(ops.clone(), stop.clone(), Arc::clone(&heard));
                    let all: Vec<_> = (0..count).map(each).map(tokio::task::spawn_local).collect();
                    for one in all {
                        one.await??;
                    }
                    Ok(())
                })
            })
        };
        Open {
            stop,
            heard,
            thread,
        }
    }

    /// Closes them; how much they heard.
    fn close(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.join();
        ended.map_err(|_| anyhow::anyhow!("a dashboard broke"))??;
        Ok(self.heard.load(Ordering::Relaxed))
    }
}

fn on_this_thread<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build()?;
    LocalSet::new().block_on(&runtime, work)
}

/// Posts as fast as it goes for so long; events a second.
async fn post(relay: &Relay, events: &Prebuilt, next: &Rc<Cell<u64>>, long: f64) -> Result<f64> {
    let window = Window::after(Duration::from_millis(300), Duration::from_secs_f64(long));
    let heard = load::run(relay.ingest, 32, events, next.clone(), window).await?;
    Ok(heard.latencies.figures(BATCH, window.seconds()).per_second)
}

/// Posts so many a second from a thread of its own, until it is told to stop; how many came in a second.
fn steadily(
    ingest: SocketAddr,
    rate: u64,
    from: u64,
    stop: Arc<AtomicBool>,
) -> std::thread::JoinHandle<Result<(u64, f64)>> {
    std::thread::spawn(move || {
        on_this_thread(async move {
            let next = Rc::new(Cell::new(from));
            let every = Duration::from_secs_f64(BATCH as f64 / rate as f64);
            let mut rounds = tokio::time::interval(every);
            let events = Prebuilt::new(BATCH, TOKEN);
            let mut poster = load::Poster::connect(ingest, events, next.clone()).await?;
            let began = Instant::now();
            while !stop.load(Ordering::Relaxed) {
                rounds.tick().await;
                poster.post().await?;
            }
            let posted = next.get() - from;
            Ok((next.get(), posted as f64 / began.elapsed().as_secs_f64()))
        })
    })
}

async fn fill(relay: &Relay, args: &Args, next: &Rc<Cell<u64>>) -> Result<()> {
    let everything = json!({ "all": true });
    relay
        .ask(Method::POST, "/api/v1/lanes/hold", Some(&everything))
        .await?;
    let unknown = Prebuilt::named(BATCH, TOKEN, "nobody-knows-this-one");
    let mut poster = load::Poster::connect(relay.ingest, unknown, next.clone()).await?;
    while next.get() < args.dead {
        poster.post().await?;
    }
    let known = Prebuilt::new(BATCH, TOKEN);
    while next.get() < args.jobs {
        post(relay, &known, next, 1.0).await?;
        print!("\r{} events are in", next.get());
        std::io::stdout().flush()?;
    }
    println!();
    let status = relay.json("/api/v1/status").await?;
    println!("status: {}", status["events"]);
    Ok(())
}

/// Whether every call is answered in time.
async fn answers(relay: &Relay, args: &Args, next: &Rc<Cell<u64>>) -> Result<bool> {
    let stop = Arc::new(AtomicBool::new(false));
    let coming = steadily(relay.ingest, args.rate, next.get(), stop.clone());
    let watching = Open::some(1, &relay.ops);
    println!(
        "\n{:<52}  {:>8}  {:>8}  {:>9}",
        "", "p50 ms", "p99 ms", "bytes"
    );
    let mut all_in_time = true;
    for ask in asks(relay).await? {
        let mut latencies = Latencies::default();
        let mut bytes = 0;
        for _ in 0..args.asks {
            let began = Instant::now();
            bytes = relay
                .ask(ask.method.clone(), &ask.path, ask.body.as_ref())
                .await?
                .len();
            latencies.add(began.elapsed());
        }
        let Figures { p50_ms, p99_ms, .. } = latencies.figures(1, 1.0);
        let in_time = p99_ms <= ANSWERED_IN;
        all_in_time &= in_time;
        let path = ask
            .path
            .replace(|c: char| c.is_ascii_digit() && ask.path.len() > 50, "");
        let late = if in_time { "" } else { "  LATE" };
        println!("{path:<52}  {p50_ms:>8.2}  {p99_ms:>8.2}  {bytes:>9}{late}");
    }
    watching.close()?;
    stop.store(true, Ordering::Relaxed);
    let came = coming.join();
    let (last, rate) = came.map_err(|_| anyhow::anyhow!("the load broke"))??;
    next.set(last);
    println!("{rate:.0} events/s came in meanwhile");
    ensure!(
        rate >= args.rate as f64 * 0.97,
        "the load did not keep its rate: nothing is said"
    );
    Ok(all_in_time)
}

/// Whether dashboards leave those who post what they had.
async fn throughput(relay: &Relay, args: &Args, next: &Rc<Cell<u64>>) -> Result<bool> {
    let events = Prebuilt::new(BATCH, TOKEN);
    let figures = |per_second| Figures {
        per_second,
        p50_ms: f64::NAN,
        p99_ms: f64::NAN,
    };
    let (mut without, mut with) = (
        Row::new("nobody watches"),
        Row::new(format!("{} dashboards", args.dashboards)),
    );
    let mut heard = 0;
    for repetition in 0..args.repetitions {
        // Turn and turn about, so that a store that grows favours neither.
        for watched in [repetition % 2 == 0, repetition % 2 == 1] {
            if watched {
                let open = Open::some(args.dashboards, &relay.ops);
                with.runs
                    .push(figures(post(relay, &events, next, args.seconds).await?));
                heard += open.close()?;
            } else {
                without
                    .runs
                    .push(figures(post(relay, &events, next, args.seconds).await?));
            }
        }
    }
    let ratio = with.ratio(&without);
    figures::print("Ingest, batches of 100", "events/s", &[without, with]);
    println!(
        "\n{ratio:.3} of the throughput is left with the dashboards open; they heard {heard} times"
    );
    ensure!(heard > 0, "nobody heard anything");
    Ok(ratio >= KEPT)
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let folder = tempfile::tempdir_in(&args.path)?;
    let relay = Relay::start(folder.path())?;
    on_this_thread(async {
        let next = Rc::new(Cell::new(0));
        fill(&relay, &args, &next).await?;
        let in_time = answers(&relay, &args, &next).await?;
        let kept = throughput(&relay, &args, &next).await?;
        println!(
            "\nwithin {ANSWERED_IN:.0} ms: {}; at least {KEPT} of the throughput: {}",
            if in_time { "yes" } else { "NO" },
            if kept { "yes" } else { "NO" }
        );
        Ok(match in_time && kept {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    })
}
