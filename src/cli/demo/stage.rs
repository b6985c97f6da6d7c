//! Plays one scenario: a sandbox, a relay, the clients, a kill on the way, and the comparison.
//!
//! Invariants: plain data comes in ([`Scenario`]), a [`Report`] goes out. The relay that runs is always in the caller's slot,
//! so that whoever stops the play can end it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::sync::{Notify, watch};
use url::Url;

use super::ask::{Asker, Standing};
use super::lines::{self, Line, Request};
use super::post::{Posted, Poster};
use super::relay::{self, Addresses, Launch, Relay};
use super::report::{Report, Seen};
use super::scenario::{Kill, Name, Scenario};
use super::show::{self, Screen, Total, say};
use crate::client::http::Http;
use crate::clock::{Clock, ClockBase, Stopwatch};
use crate::sandbox::{self, Running};

/// With no number moving for so long, in real time, something is wrong.
const STANDSTILL_MAX: Duration = Duration::from_mins(1);
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// How often a line of progress is printed where there is no terminal: of one scenario, of one among all.
const LINE_EVERY: Duration = Duration::from_secs(1);
const LINE_AMONG_ALL_EVERY: Duration = Duration::from_secs(5);

/// What to play, and how.
#[derive(Debug)]
pub(super) struct Part<'a> {
    /// The scenario.
    pub name: Name,
    /// Another speed than the scenario's own.
    pub clock_speed: Option<f64>,
    /// Only so many people.
    pub people: Option<usize>,
    /// Where store, configuration and log go.
    pub folder: PathBuf,
    /// Whether the relay may be killed.
    pub to_kill: bool,
    /// The line that is expected, but not posted.
    pub leave_out: Option<&'a str>,
    /// Whether it will be looked at afterwards.
    pub keep: bool,
    /// Whether it is the only one, and tells everything.
    pub is_one: bool,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Played {
    /// The comparison.
    pub report: Report,
    total: Total,
}

impl Played {
    /// In numbers.
    pub(super) fn total(&self) -> Total {
        self.total.clone()
    }
}

/// Plays it, from the start to the comparison.
pub(super) async fn play(part: &Part<'_>, child: &mut Option<Relay>) -> anyhow::Result<Played> {
    let scenario = Scenario::new(part.name, part.people)?;
    let speed = part.clock_speed.unwrap_or(scenario.clock_speed);
    let clock_base = ClockBase::now();
    let clock = Clock::sped_up_since(clock_base, speed);
    let running = sandbox::start(scenario.sandbox.clone(), clock.clone()).await?;
    let configuration = relay::configuration(&scenario.configuration, &running, 0, 0);
    std::fs::write(part.folder.join(relay::CONFIG_FILE), configuration)?;
    let launch = Launch {
        binary: std::env::current_exe().context("this binary")?,
        folder: part.folder.clone(),
        clock_speed: speed,
        clock_base,
    };
    let started = Stopwatch::start();
    let asker = Asker(Http::new(4, CONNECT_WITHIN)?);
    let braze = Url::parse(&running.braze_url())?;
    for seat in &scenario.subscribed {
        asker.start(&braze, seat).await?;
    }
    let relay = launch.start().await?;
    introduce(part, &scenario, speed, &running, &relay.addresses);
    let every = if part.is_one {
        LINE_EVERY
    } else {
        LINE_AMONG_ALL_EVERY
    };
    let stage = Stage {
        scenario: &scenario,
        asker: &asker,
        clock: &clock,
        addresses: watch::Sender::new(Some(relay.addresses.clone())),
        posted: Posted::default(),
        now: Notify::new(),
        why: RefCell::new(String::new()),
        screen: RefCell::new(Screen::new(scenario.expected.accepted(), every)),
    };
    *child = Some(relay);
    let left_out = |line: &&Line| part.leave_out != Some(line.id.as_str());
    let sent: Vec<&Line> = scenario.lines.iter().filter(left_out).collect();
    let requests = lines::requests(&sent);
    let poster = stage.poster();
    let mut posted_at_kill = None;
    let standing = tokio::select! {
        ended = async { tokio::try_join!(poster.post(&requests), stage.watch()) } => ended?.1,
        failed = stage.direct(&launch, child, part.to_kill, &mut posted_at_kill) => return Err(failed),
    };
    let addresses = stage
        .addresses
        .borrow()
        .clone()
        .context("there is no relay")?;
    let held = asker.held(&braze, &addresses.ops).await?;
    let seen = stage.seen(posted_at_kill.map(|posted| whose(&requests, posted, &sent)));
    let report = Report::new(&scenario.table, &scenario.expected, &seen, &standing, &held);
    let seconds = started.elapsed().as_secs_f64();
    tell(part, &scenario, &report, seconds);
    if part.keep {
        keep(part, &scenario, &launch, &running, &addresses)?;
    }
    running.stop().await;
    let total = Total {
        name: part.name.as_str(),
        accepted: standing.accepted,
        profiles: held.profiles.len() as u64,
        told: held.credits.len() as u64,
        dead: standing.dead,
        killed: posted_at_kill.is_some(),
        seconds,
        differences: report.differences.len(),
    };
    Ok(Played { report, total })
}

/// Whose events the first requests were about; the one that was on its way at the kill counts, too.
fn whose(requests: &[Request], answered: usize, sent: &[&Line]) -> BTreeSet<String> {
    let requests = requests.iter().take(answered + 1);
    let events = requests.map(|request| request.ids.len()).sum();
    let before = sent.iter().take(events);
    before.map(|line| line.participant.clone()).collect()
}

fn introduce(
    part: &Part<'_>,
    scenario: &Scenario,
    speed: f64,
    sandbox: &Running,
    relay: &Addresses,
) {
    let mut text = show::wrapped(&format!("{}: {}", part.name.as_str(), scenario.story), 0);
    if part.is_one {
        text += &format!(
            "\n\n  relay    {}  (operators: {})\n  sandbox  {}/_sandbox/summary\n  \
             clock    {speed} times as fast as yours, for both{}\n",
            relay.ingest,
            relay.ops,
            sandbox.braze_url(),
            scenario.pace(speed)
        );
    } else {
        text = format!("\n{text}");
    }
    say(&text);
}

/// The comparison: whole, or one line when it agrees and others follow.
fn tell(part: &Part<'_>, scenario: &Scenario, report: &Report, seconds: f64) {
    if part.is_one || !report.agrees() {
        say(&format!(
            "\n{}\n{seconds:.0} s",
            report.text(scenario.verdict)
        ));
        return;
    }
    let rows = report.rows.len();
    let mut lines = report.remarks();
    lines.push(report.verdict(scenario.verdict));
    lines.push(format!("All {rows} numbers agree. {seconds:.0} s"));
    for line in lines {
        say(&show::wrapped(&line, 8));
    }
}

/// Leaves a configuration with fixed ports, and says how to go on.
fn keep(
    part: &Part<'_>,
    scenario: &Scenario,
    launch: &Launch,
    running: &Running,
    relay: &Addresses,
) -> anyhow::Result<()> {
    let port = |url: &Url| url.port().unwrap_or_default();
    let (ingest, ops) = (port(&relay.ingest), port(&relay.ops));
    let text = relay::configuration(&scenario.configuration, running, ingest, ops);
    std::fs::write(launch.folder.join(relay::CONFIG_FILE), text)?;
    if !part.is_one {
        say(&format!("        kept in {}", launch.folder.display()));
        return Ok(());
    }
    let binary = launch.binary.display();
    let config = relay::CONFIG_FILE;
    say(&format!(
        "\nThe dead letters are kept. To look at them:\n  \
         cd {}\n  \
         {binary} serve --config {config} &\n  \
         {binary} dead list --config {config}\n  \
         {binary} dead show ID --config {config}\n",
        launch.folder.display()
    ));
    Ok(())
}

/// What the parts of the play share.
struct Stage<'a> {
    scenario: &'a Scenario,
    asker: &'a Asker,
    clock: &'a Clock,
    addresses: watch::Sender<Option<Addresses>>,
    posted: Posted,
    /// Now is the moment to kill.
    now: Notify,
    /// What it is the middle of.
    why: RefCell<String>,
    screen: RefCell<Screen>,
}

impl Stage<'_> {
    fn poster(&self) -> Poster<'_> {
        Poster {
            http: &self.asker.0,
            clock: self.clock,
            relay: self.addresses.subscribe(),
            posted: &self.posted,
            middle: &self.now,
            tells_middle: matches!(self.scenario.kill, Kill::HalfPosted),
            events_per_second: self.scenario.events_per_second,
        }
    }

    fn seen(&self, before_kill: Option<BTreeSet<String>>) -> Seen {
        let posted = &self.posted;
        Seen {
            sent: posted.events.get(),
            accepted: posted.accepted.get(),
            refused: posted.refused.borrow().clone(),
            mistakes: posted.mistakes.borrow().clone(),
            ids: posted.ids.borrow().clone(),
            before_kill,
        }
    }

    /// Kills the relay at its moment, starts it again, and returns only when something fails.
    async fn direct(
        &self,
        launch: &Launch,
        child: &mut Option<Relay>,
        kill: bool,
        posted_at_kill: &mut Option<usize>,
    ) -> anyhow::Error {
        let mut to_kill = kill;
        loop {
            let Some(relay) = child.as_mut() else {
                return anyhow::anyhow!("there is no relay");
            };
            tokio::select! {
                Err(error) = relay.ended(&launch.folder) => return error,
                () = self.now.notified(), if to_kill => {
                    to_kill = false;
                    *posted_at_kill = Some(self.posted.requests.get());
                    if let Err(error) = self.kill_and_start(launch, child).await {
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
    ) -> anyhow::Result<()> {
        if let Some(mut relay) = child.take() {
            relay.kill().await?;
        }
        self.addresses.send_replace(None);
        let down = Stopwatch::start();
        let screen = &self.screen;
        let why = match self.scenario.kill {
            Kill::HalfPosted => format!(
                "after {} events had their 202; posting goes on",
                self.posted.events.get()
            ),
            Kill::When(_) => self.why.borrow().clone(),
        };
        screen
            .borrow()
            .tell(&format!("SIGKILL: the relay is gone, {why}."));
        let relay = launch.start().await?;
        screen.borrow().tell(&format!(
            "started again on the same store, ready after {:.1} s",
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
        let mut told = false;
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
                if let (Kill::When(moment), true, false) = (self.scenario.kill, whole, told)
                    && let Some(why) = moment(&last)
                {
                    told = true;
                    self.why.replace(why);
                    self.now.notify_one();
                }
            }
            if moved.elapsed() > STANDSTILL_MAX {
                bail!("nothing has moved for a minute: {last:?}");
            }
            tokio::time::sleep(show::ASK_EVERY).await;
        }
    }

    fn tell_resent(&self) {
        let (unanswered, known) = (&self.posted.unanswered, &self.posted.known_again);
        if unanswered.get() > 0 {
            let text = format!(
                "{} attempt(s) to post had no answer and were repeated with the same ids; \
                 {} of the events were on disk already",
                unanswered.get(),
                known.get()
            );
            say(&show::wrapped(&text, 8));
        }
    }
}
