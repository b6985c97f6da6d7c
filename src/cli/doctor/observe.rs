//! Looking outside: names, connections, questions. All hosts are asked at the same time.
//!
//! Invariants: every wait is bounded; a host that is dead costs [`REACH_WITHIN`], one that accepts and says nothing
//! [`ANSWER_WITHIN`] more. Nothing is sent to a host before it is known to accept connections. Nothing is judged here.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::{TcpStream, lookup_host};
use url::{Host as UrlHost, Url};

use super::braze::Answers;
use super::host::Host;
use crate::client::http::NotBuilt;
use crate::client::probe::{Observed, Prober, Question, knock};
use crate::clock::{Clock, Stopwatch};
use crate::config::Workspace;

/// A name and a connection may take so long together.
const REACH_WITHIN: Duration = Duration::from_secs(4);
/// An answer may take so long.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// What was seen of one workspace's hosts.
pub(super) struct Outlook {
    pub braze: Host,
    pub answers: Answers,
    pub quikly: Option<(Host, Option<Observed>)>,
}

/// Asks one workspace's Braze these questions, and knocks at its Quikly.
pub(super) async fn look(
    workspace: &Workspace,
    questions: &[Question],
    clock: &Clock,
) -> Result<Outlook, NotBuilt> {
    let quikly = async {
        let Some(settings) = &workspace.quikly else {
            return Ok(None);
        };
        let host = reach(&settings.url).await;
        let seen = if host.is_there() {
            Some(knock(&settings.url, ANSWER_WITHIN, clock).await?)
        } else {
            None
        };
        Ok(Some((host, seen)))
    };
    let braze = async {
        let host = reach(&workspace.braze.url).await;
        let mut answers = Answers::new();
        if host.is_there() {
            let prober = Prober::new(&workspace.braze, ANSWER_WITHIN, clock.clone())?;
            let asked = questions.iter().map(|question| prober.ask(question));
            answers.extend(questions.iter().cloned().zip(join_all(asked).await));
        }
        Ok((host, answers))
    };
    let (braze, quikly) = tokio::join!(braze, quikly);
    let (braze, answers) = braze?;
    Ok(Outlook {
        braze,
        answers,
        quikly: quikly?,
    })
}

/// Looks for a host's name and connects.
async fn reach(url: &Url) -> Host {
    let port = url.port_or_known_default().unwrap_or(443);
    let mut host = Host {
        name: format!("{}:{port}", url.host_str().unwrap_or_default()),
        https: url.scheme() == "https",
        dns: Err(too_long()),
        tcp: None,
    };
    let watch = Stopwatch::start();
    let resolved = tokio::time::timeout(REACH_WITHIN, addresses(url, port)).await;
    let addresses = match resolved {
        Err(_) => return host,
        Ok(Err(why)) => {
            host.dns = Err(why.to_string());
            return host;
        }
        Ok(Ok(addresses)) => addresses,
    };
    host.dns = Ok((addresses.len(), watch.elapsed()));
    let rest = REACH_WITHIN.saturating_sub(watch.elapsed());
    let watch = Stopwatch::start();
    let connected = tokio::time::timeout(rest, TcpStream::connect(&addresses[..])).await;
    host.tcp = Some(match connected {
        Err(_) => Err(too_long()),
        Ok(Err(why)) => Err(why.to_string()),
        Ok(Ok(_)) => Ok(watch.elapsed()),
    });
    host
}

fn too_long() -> String {
    format!("nothing within {} s", REACH_WITHIN.as_secs())
}

async fn addresses(url: &Url, port: u16) -> std::io::Result<Vec<SocketAddr>> {
    Ok(match url.host() {
        Some(UrlHost::Ipv4(address)) => vec![(address, port).into()],
        Some(UrlHost::Ipv6(address)) => vec![(address, port).into()],
        Some(UrlHost::Domain(name)) => lookup_host((name, port)).await?.collect(),
        None => Vec::new(),
    })
}
