//! A Braze and a Quikly to run against: for tests, for the demo, for a user's staging.
//!
//! # Invariants
//! * Written from Braze's documentation and recorded traffic, never from our client: it shares no request or answer type
//!   with it and imports nothing of the relay but the clock and the timestamp. A mistake in the client therefore shows.
//! * As strict as the real thing. Where the documentation leaves a choice, the one that hurts more is taken.
//! * A write that was answered with success is queued and takes effect later (`appear`), each request after its own delay:
//!   two requests keep no order. What exists is decided by what has taken effect when a request arrives.
//! * Every decision is a plain function of what is held, the request and `now`; the seed fixes all chances.
//! * Everything is in memory behind one lock. Recordings of requests are a ring; counters count everything.
//!
//! # Deliberately absent
//! No persistence; no deleting, merging or identifying; no `/users/track/sync` or `/bulk`; no campaigns but the one that a
//! custom event can start, the brand's own double opt-in; no TLS.

mod ask;
mod attributes;
mod delete;
mod email;
mod events;
mod export;
mod http;
mod identifier;
mod keywords;
mod limits;
mod opt_in;
mod options;
mod people;
mod profiles;
mod quikly;
mod record;
mod script;
mod sets;
mod subscription;
#[cfg(test)]
mod tests;
mod track;
mod wire;
mod workspace;
mod world;
mod write;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::clock::Clock;

pub use limits::{Bucket, HeaderVariant, Window};
pub use options::{NotAnOption, Options, Permission, Spread, WorkspaceOptions, read_known};
pub use people::{Behaviour, Reaction};
pub use script::{Action, ErrorShape, NotAScript, Rule, Script};

use world::World;

/// How long [`Running::stop`] waits for requests under way.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// What every connection shares.
struct Sandbox {
    clock: Clock,
    options: Options,
    world: Mutex<World>,
    stopping: watch::Receiver<bool>,
}

impl Sandbox {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when the sandbox stops.
    async fn stopped(&self) {
        let mut stopping = self.stopping.clone();
        // An error means that whoever ran the sandbox is gone, which is the same.
        drop(stopping.wait_for(|stop| *stop).await);
    }
}

/// A sandbox that listens. Dropping it stops it too, without waiting.
#[derive(Debug)]
pub struct Running {
    /// Where Braze, Quikly and the question routes listen.
    pub addr: SocketAddr,
    /// Where Quikly listens: [`Running::addr`], unless another address was asked for.
    pub quikly_addr: SocketAddr,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Running {
    /// The URL of the Braze endpoints, for `[workspaces.X.braze] url`.
    pub fn braze_url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The URL for `[workspaces.X.quikly] url`.
    pub fn quikly_url(&self) -> String {
        format!("http://{}{}", self.quikly_addr, wire::QUIKLY_PATH)
    }

    /// Stops listening, lets requests under way end and cuts those that do not within two seconds.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for mut task in self.tasks {
            if tokio::time::timeout(STOP_WITHIN, &mut task).await.is_err() {
                task.abort();
            }
        }
    }
}

/// Starts a sandbox inside this process; it lives by `clock`.
///
/// Errors: an address cannot be bound, or two workspaces have the same key or name.
pub async fn start(options: Options, clock: Clock) -> io::Result<Running> {
    options
        .check()
        .map_err(|wrong| io::Error::new(io::ErrorKind::InvalidInput, wrong))?;
    let (stop, stopping) = watch::channel(false);
    let listeners = [Some(options.listen), options.quikly_listen];
    let sandbox = Arc::new(Sandbox {
        world: Mutex::new(World::new(&options, clock.now())),
        clock,
        options,
        stopping,
    });
    let mut addresses = Vec::new();
    let mut tasks = Vec::new();
    for listen in listeners.into_iter().flatten() {
        let listener = tokio::net::TcpListener::bind(listen).await?;
        addresses.push(listener.local_addr()?);
        tasks.push(tokio::spawn(http::serve(listener, sandbox.clone())));
    }
    Ok(Running {
        addr: addresses[0],
        quikly_addr: addresses[addresses.len() - 1],
        stop,
        tasks,
    })
}
