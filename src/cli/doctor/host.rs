//! One host: its name, a connection, TLS, how long an answer takes, and its clock.
//!
//! Invariants: pure.

use std::time::Duration;

use super::finding::{Findings, Verdict, fail, ok, unknown, warn};
use crate::cli::text;
use crate::client::probe::{Observed, Said};
use crate::model::time::Timestamp;

/// An answer that takes longer is worth a word: look-ups go at 40 a second, and 64 requests at once.
const SLOW: Duration = Duration::from_secs(1);

/// The two clocks may be so far apart: `Date` has whole seconds, and takes its time to come.
const APART_OK: Duration = Duration::from_secs(2);
/// Farther apart events are dated wrongly (Braze takes no future), and every window of a budget is over at another moment.
const APART_MAX: Duration = Duration::from_secs(30);

/// What was seen of a host before anything was asked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Host {
    /// `rest.iad-01.braze.com:443`
    pub name: String,
    pub https: bool,
    /// How many addresses it has, and how long it took to hear; or why none.
    pub dns: Result<(usize, Duration), String>,
    /// How long TCP took; or why there is no connection. `None`: there was no address to try.
    pub tcp: Option<Result<Duration, String>>,
}

impl Host {
    /// Whether somebody accepts connections there.
    pub fn is_there(&self) -> bool {
        matches!(self.tcp, Some(Ok(_)))
    }
}

/// What there is to say of `host`, which gave these answers. `of`: `braze` or `quikly`.
pub(super) fn judge(findings: &mut Findings, of: &str, host: &Host, answers: &[&Observed]) {
    let name = &host.name;
    findings.add(
        format!("{of}.dns"),
        match &host.dns {
            Ok((addresses, took)) => ok(format!(
                "{name}: {addresses} address{}, {}",
                if *addresses == 1 { "" } else { "es" },
                milliseconds(*took)
            )),
            Err(why) => fail(
                format!("{name} has no address: {why}"),
                format!("look at the {of} url, and at this machine's resolver"),
            ),
        },
    );
    let Some(tcp) = &host.tcp else { return };
    findings.add(
        format!("{of}.tcp"),
        match tcp {
            Ok(took) => ok(format!("connected in {}", milliseconds(*took))),
            Err(why) => fail(
                format!("no connection to {name}: {why}"),
                "is the way out open (firewall, route, proxy)? the relay uses no proxy",
            ),
        },
    );
    if tcp.is_err() {
        return;
    }
    findings.add(format!("{of}.tls"), tls(host, answers));
    let answered = answers.iter().filter(|it| !is_silent(it));
    let quickest = answered.map(|it| it.took).min();
    findings.add(
        format!("{of}.answer"),
        match quickest {
            Some(took) if took > SLOW => warn(
                format!("the first answer took {}", milliseconds(took)),
                "that is slow: if it stays so, look at the way there",
            ),
            Some(took) => ok(format!("first answer after {}", milliseconds(took))),
            None => fail(
                format!("no answer: {}", why_silent(answers)),
                "it accepts connections and does not answer: ask again; is something in between?",
            ),
        },
    );
    let apart = answers
        .iter()
        .filter_map(|it| Some((it.ours, it.theirs?, it.took)));
    let apart = apart.map(|(ours, theirs, took)| apart_by(ours, theirs, took));
    findings.add(format!("{of}.clock"), clock(apart.min()));
}

fn tls(host: &Host, answers: &[&Observed]) -> Verdict {
    let connected = |it: &&Observed| {
        !matches!(
            it.said,
            Said::Silent {
                connected: false,
                ..
            }
        )
    };
    match (host.https, answers.iter().any(connected)) {
        (false, _) => ok("plain http, to this machine"),
        (true, true) => ok("the certificate is valid"),
        (true, false) => fail(
            format!("no TLS: {}", why_silent(answers)),
            "is something in between that opens TLS? the relay trusts the usual public authorities only",
        ),
    }
}

fn is_silent(seen: &Observed) -> bool {
    matches!(seen.said, Said::Silent { .. })
}

fn why_silent(answers: &[&Observed]) -> String {
    let why = answers.iter().find_map(|it| match &it.said {
        Said::Silent { text, .. } => Some(text.clone()),
        _ => None,
    });
    why.unwrap_or_else(|| "nothing was asked".into())
}

/// How far apart two clocks are at least, of which one showed `theirs`, to the second, while a request that was over at
/// `ours` was under way.
fn apart_by(ours: Timestamp, theirs: Timestamp, took: Duration) -> Duration {
    let (earliest, latest) = (theirs, theirs + Duration::from_secs(1));
    let asked = ours - took;
    asked.since(latest).max(earliest.since(ours))
}

/// What it means that the clocks are `apart`.
fn clock(apart: Option<Duration>) -> Verdict {
    let remedy = "set this machine's clock (chrony, systemd-timesyncd)";
    match apart {
        None => unknown("no Date in any answer"),
        Some(apart) if apart > APART_MAX => fail(
            format!(
                "{} apart from Date: events are dated wrongly",
                text::duration(apart.as_secs_f64())
            ),
            remedy,
        ),
        Some(apart) if apart > APART_OK => warn(
            format!("{} apart from Date", text::duration(apart.as_secs_f64())),
            remedy,
        ),
        Some(apart) if apart.is_zero() => ok("agrees with Date, to the second"),
        Some(apart) => ok(format!(
            "{} apart from Date",
            text::duration(apart.as_secs_f64())
        )),
    }
}

/// `3 ms`, `1,204 ms`.
fn milliseconds(took: Duration) -> String {
    format!("{} ms", took.as_millis().max(1))
}
