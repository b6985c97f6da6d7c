//! `braze-relay demo`: a few thousand made-up people join a campaign and arrive in a Braze made up for them.
//!
//! Invariants: the sandbox lives in this process, the relay is a child of the same binary; the child never outlives the
//! command, whichever way it ends short of SIGKILL. What is compared in the end was asked over HTTP on one side and worked
//! out from the files on the other. Nothing is left behind unless asked for, or needed to see what went wrong.

mod ask;
mod data;
mod expect;
mod post;
mod relay;
mod show;
mod table;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};
use url::Url;

use self::ask::{Asker, Standing};
use self::data::Line;
use self::expect::Expected;
use self::post::{Posted, Poster};
use self::relay::{Addresses, Launch, Relay};
use self::show::{Screen, say};
use self::table::{Report, Seen};
use crate::client::http::Http;
use crate::clock::{Clock, Stopwatch};
use crate::sandbox::{self, Options, Running, Spread, WorkspaceOptions, read_known};

/// Look-ups a second that Braze allows.
const LOOK_UPS_PER_SECOND: f64 = 40.0;
/// With no number moving for so long, in real time, something is wrong.
const STANDSTILL_MAX: Duration = Duration::from_mins(1);
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// Watch people join a campaign and arrive in Braze
///
/// Starts a sandbox (a made-up Braze and Quikly) and a relay on free ports of this machine, posts a file of some 3,000
/// made-up people, kills the relay half-way with SIGKILL, starts it again on the same store, and compares in the end what
/// must be there with what the sandbox really holds. Needs nothing else, changes nothing else, and takes well under a
/// minute.
///
/// Exit codes: 0 the sandbox holds exactly what it must, 1 it does not, or something failed, 2 usage.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many times faster than the machine's the clock of relay and sandbox runs. Braze's limits stay as they are, by
    /// that clock: at 1, 3,000 look-ups take 75 seconds
    #[arg(long, value_name = "N", default_value_t = 10.0, value_parser = super::speed)]
    clock_speed: f64,
    /// Only the first so many people of the file
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    people: Option<u32>,
    /// Where store, configuration and log go: a folder that is empty or not there yet [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Leave store, configuration and log where they are, and say how to look at the dead letters
    #[arg(long)]
    keep: bool,
    /// Do not kill the relay half-way
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
        ended = play(&args, &folder.path, &mut child) => ended,
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

/// The folder everything is in.
struct Folder {
    path: PathBuf,
    /// Removes it when dropped.
    temporary: Option<TempDir>,
    /// Given, and was not there before.
    made: bool,
}

impl Folder {
    fn new(given: Option<&Path>) -> anyhow::Result<Folder> {
        let Some(given) = given else {
            let temporary = tempfile::Builder::new()
                .prefix("braze-relay-demo-")
                .tempdir()?;
            return Ok(Folder {
                path: temporary.path().to_owned(),
                temporary: Some(temporary),
                made: false,
            });
        };
        let made = !given.exists();
        let told = || format!("--store {}", given.display());
        std::fs::create_dir_all(given).with_context(told)?;
        if std::fs::read_dir(given)
            .with_context(told)?
            .next()
            .is_some()
        {
            bail!(
                "{}: the folder must be empty: the demo begins with an empty store",
                told()
            );
        }
        Ok(Folder {
            path: std::path::absolute(given)?,
            temporary: None,
            made,
        })
    }

    /// Removes what the demo has made, and nothing else.
    fn remove(self) -> anyhow::Result<()> {
        if let Some(temporary) = self.temporary {
            return temporary.close().context("the temporary folder");
        }
        std::fs::remove_dir_all(self.path.join(relay::STORE_FOLDER))?;
        for file in [relay::CONFIG_FILE, relay::LOG_FILE] {
            std::fs::remove_file(self.path.join(file))?;
        }
        if self.made {
            std::fs::remove_dir(&self.path)?;
        }
        Ok(())
    }

    /// Leaves everything; says where.
    fn leave(&mut self) -> PathBuf {
        if let Some(temporary) = self.temporary.take() {
            // Keeping is all that this does.
            self.path = temporary.keep();
        }
        self.path.clone()
    }
}

/// From the start to the comparison. The relay that runs is in `child`, so that whoever stops this can end it.
async fn play(args: &Args, folder: &Path, child: &mut Option<Relay>) -> anyhow::Result<End> {
    let people = args.people.map(|people| people as usize);
    let lines = data::participations(people)?;
    let expected = expect::expected(&lines, data::KNOWN)?;
    let clock_base = Clock::system(1.0).now();
    let clock = Clock::sped_up_since(clock_base, args.clock_speed);
    let running = sandbox::start(sandbox_options()?, clock.clone()).await?;
    std::fs::write(
        folder.join(relay::CONFIG_FILE),
        relay::configuration(&running, 0, 0),
    )?;
    let launch = Launch {
        binary: std::env::current_exe().context("this binary")?,
        folder: folder.to_owned(),
        clock_speed: args.clock_speed,
        clock_base,
    };
    let started = Stopwatch::start();
    let relay = launch.start().await?;
    introduce(&expected, args.clock_speed, &running, &relay.addresses);
    let asker = Asker(Http::new(4, CONNECT_WITHIN)?);
    let stage = Stage {
        asker: &asker,
        clock: &clock,
        addresses: watch::Sender::new(Some(relay.addresses.clone())),
        posted: Posted::default(),
        middle: Notify::new(),
        screen: std::cell::RefCell::new(Screen::new(expected.accepted())),
    };
    *child = Some(relay);
    let sent: Vec<&Line> = lines
        .iter()
        .filter(|line| args.leave_out.as_deref() != Some(line.field("id")))
        .collect();
    let requests = data::requests(&sent);
    let poster = stage.poster();
    let mut posted_at_kill = None;
    let standing = tokio::select! {
        ended = async { tokio::try_join!(poster.post(&requests), stage.watch()) } => ended?.1,
        failed = stage.direct(&launch, child, !args.no_kill, &mut posted_at_kill) => return Err(failed),
    };
    let held = asker.held(&Url::parse(&running.braze_url())?).await?;
    let seen = Seen {
        sent: stage.posted.events.get(),
        accepted: stage.posted.accepted.get(),
        killed: posted_at_kill.is_some(),
    };
    // The request that was on its way at the kill counts as posted.
    let before = posted_at_kill.map_or(0, |posted| posted as usize + data::LARGEST);
    let before: BTreeSet<String> = sent
        .iter()
        .take(before)
        .map(|line| line.participant())
        .collect();
    let report = Report::new(&expected, seen, &standing, &held, &before);
    say(&format!("\n{}", report.text()));
    say(&format!("{:.0} s", started.elapsed().as_secs_f64()));
    if args.keep {
        keep(&launch, &running, stage.addresses.borrow().as_ref())?;
    }
    running.stop().await;
    Ok(if report.agrees() {
        End::Agrees
    } else {
        End::Differs(report.differences.len())
    })
}

fn sandbox_options() -> anyhow::Result<Options> {
    Ok(Options {
        workspaces: vec![WorkspaceOptions::new(relay::WORKSPACE, relay::BRAZE_KEY)],
        quikly_token: relay::QUIKLY_TOKEN.to_owned(),
        quikly_latency: Spread {
            least: Duration::from_millis(20),
            most: Duration::from_millis(200),
        },
        known: read_known(data::KNOWN)?,
        ..Options::default()
    })
}

fn introduce(expected: &Expected, speed: f64, sandbox: &Running, relay: &Addresses) {
    let look_ups = expected.look_ups();
    let seconds = look_ups as f64 / (LOOK_UPS_PER_SECOND * speed);
    let known: usize = data::KNOWN.lines().count();
    say(&format!(
        "{} participations of made-up people, {known} profiles that Braze knows already, a relay and a sandbox:\n  \
         relay    {}  (operators: {})\n  \
         sandbox  {}/_sandbox/summary\n\
         Braze allows 40 look-ups a second. The clock runs {speed} times as fast, so {look_ups} look-ups take at least \
         {seconds:.0} s.\n",
        expected.sent,
        relay.ingest,
        relay.ops,
        sandbox.braze_url()
    ));
}

/// What the parts of the play share.
struct Stage<'a> {
    asker: &'a Asker,
    clock: &'a Clock,
    addresses: watch::Sender<Option<Addresses>>,
    posted: Posted,
    middle: Notify,
    screen: std::cell::RefCell<Screen>,
}

impl Stage<'_> {
    fn poster(&self) -> Poster<'_> {
        Poster {
            http: &self.asker.0,
            clock: self.clock,
            relay: self.addresses.subscribe(),
            posted: &self.posted,
            middle: &self.middle,
        }
    }

    /// Kills the relay in the middle, starts it again, and returns only when something fails.
    async fn direct(
        &self,
        launch: &Launch,
        child: &mut Option<Relay>,
        kill: bool,
        posted_at_kill: &mut Option<u64>,
    ) -> anyhow::Error {
        let mut to_kill = kill;
        loop {
            let Some(relay) = child.as_mut() else {
                return anyhow::anyhow!("there is no relay");
            };
            tokio::select! {
                Err(error) = relay.ended(&launch.folder) => return error,
                () = self.middle.notified(), if to_kill => {
                    to_kill = false;
                    if let Err(error) = self.kill_and_start(launch, child, posted_at_kill).await {
                        return error;
                    }
                }
            }
        }
    }

    async fn kill_and_start(
        &self,
        launch: &Launch,
        child: &mut Option<Relay>,
        posted_at_kill: &mut Option<u64>,
    ) -> anyhow::Result<()> {
        *posted_at_kill = Some(self.posted.events.get());
        if let Some(mut relay) = child.take() {
            relay.kill().await?;
        }
        self.addresses.send_replace(None);
        let down = Stopwatch::start();
        let posted = self.posted.events.get();
        let screen = &self.screen;
        screen.borrow().tell(&format!(
            "       SIGKILL: the relay is gone, after {posted} events had their 202. Quikly goes on posting."
        ));
        let relay = launch.start().await?;
        screen.borrow().tell(&format!(
            "       started again on the same store, ready after {:.1} s",
            down.elapsed().as_secs_f64()
        ));
        self.addresses.send_replace(Some(relay.addresses.clone()));
        *child = Some(relay);
        Ok(())
    }

    /// Shows progress until everything that was posted is done or dead.
    async fn watch(&self) -> anyhow::Result<Standing> {
        let mut last = Standing::default();
        let mut moved = Stopwatch::start();
        loop {
            let relay = self.addresses.borrow().clone();
            let answer = match relay {
                Some(relay) => self.asker.standing(&relay.ops).await.ok(),
                None => None,
            };
            if let Some(standing) = answer {
                if standing != last {
                    moved = Stopwatch::start();
                }
                last = standing;
                let whole =
                    self.posted.finished.get() && last.accepted >= self.posted.accepted.get();
                if whole && last.queued == 0 {
                    self.screen.borrow_mut().close(&last);
                    self.tell_resent();
                    return Ok(last);
                }
                self.screen.borrow_mut().show(&last);
            }
            if moved.elapsed() > STANDSTILL_MAX {
                bail!("nothing has moved for a minute: {last:?}");
            }
            tokio::time::sleep(show::ASK_EVERY).await;
        }
    }

    fn tell_resent(&self) {
        let Posted {
            unanswered,
            known_again,
            ..
        } = &self.posted;
        if unanswered.get() > 0 {
            say(&format!(
                "        {} attempt(s) to post had no answer and were repeated with the same ids; {} of the events were on disk already",
                unanswered.get(),
                known_again.get()
            ));
        }
    }
}

/// Leaves a configuration with fixed ports, and says how to go on.
fn keep(launch: &Launch, running: &Running, relay: Option<&Addresses>) -> anyhow::Result<()> {
    let port = |url: &Url| url.port().unwrap_or_default();
    let (ingest, ops) = relay.map_or((0, 0), |relay| (port(&relay.ingest), port(&relay.ops)));
    let file = launch.folder.join(relay::CONFIG_FILE);
    std::fs::write(&file, relay::configuration(running, ingest, ops))?;
    let binary = launch.binary.display();
    let config = relay::CONFIG_FILE;
    say(&format!(
        "\nThe dead letters are kept. To look at them:\n  \
         cd {}\n  \
         {binary} serve --config {config} &\n  \
         {binary} dead list --config {config}\n  \
         {binary} dead show ID --config {config}",
        launch.folder.display()
    ));
    Ok(())
}
