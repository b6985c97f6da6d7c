//! The lane of jobs whose activation is held: brings them back to their own lanes when the hold ends.
//!
//! Invariants: nothing is asked of anybody here. At the start nothing is held yet, so that whatever an earlier process set
//! aside goes back and is tried once more. Who sets a job aside and finds the hold ended meanwhile tells this lane.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::holds::set_aside;
use super::lanes::LaneState;
use super::{EngineError, Shared};
use crate::client::Client;
use crate::flow::job::{Commit, Fate, Job};
use crate::model::Name;
use crate::model::lane::Lane;
use crate::model::time::Timestamp;
use crate::store::{Group, Leased, Store};

/// Jobs brought back in one commit.
const AT_ONCE: usize = 256;

/// Works until it is told to stop, until the configuration does not know the workspace any more, or until the first error of
/// the store.
pub(super) async fn run<S: Store, C: Client>(
    shared: Arc<Shared<S, C>>,
    lane: Arc<LaneState>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), EngineError> {
    let workspace = &lane.lane.workspace;
    while lane.is_aside() {
        let ended = shared.holds().end(workspace, shared.clock.now());
        for (_, activation) in ended {
            tracing::info!(%workspace, %activation, "the activation's hold has ended");
        }
        let next_end = shared.holds().next_end(workspace);
        let again = if is_any_free(&shared, &lane).await? {
            bring_back(&shared, &lane, &stop).await?
        } else {
            None
        };
        let next = next_end.into_iter().chain(again).min();
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
            () = lane.changed.notified() => {},
            () = shared.clock.sleep_until(next.unwrap_or_default()), if next.is_some() => {},
        }
    }
    Ok(())
}

/// Whether a job is set aside whose activation is not held.
async fn is_any_free<S: Store, C: Client>(
    shared: &Shared<S, C>,
    lane: &LaneState,
) -> Result<bool, EngineError> {
    let counts = shared.store.counts(shared.clock.now()).await?;
    let holds = shared.holds();
    let workspace = &lane.lane.workspace;
    let is_free = |group: &Group| !holds.is_held(&(workspace.clone(), group.activation.clone()));
    let mut aside = counts.due.keys().filter(|(of, _)| *of == lane.lane);
    Ok(aside.any(|(_, group)| is_free(group)))
}

/// Looks at each job that is there now once. Some may be free again by the moment returned: they were not when they were
/// looked at, and are due then.
async fn bring_back<S: Store, C: Client>(
    shared: &Shared<S, C>,
    lane: &LaneState,
    stop: &watch::Receiver<bool>,
) -> Result<Option<Timestamp>, EngineError> {
    let there = shared.clock.now();
    let mut again = None;
    while !*stop.borrow() {
        let leased = shared.store.lease(&lane.lane, there, AT_ONCE).await?;
        if leased.is_empty() {
            break;
        }
        let later = shared.clock.now().max(there + Duration::from_millis(1));
        let moves = {
            let holds = shared.holds();
            let mut fate = |it: &Leased| {
                let workspace = &lane.lane.workspace;
                let activation = (workspace.clone(), it.event.scope.as_str().into());
                if holds.is_held(&activation) {
                    again = Some(later);
                    set_aside(workspace, it.job.clone(), later)
                } else {
                    returned(workspace, it.job.clone())
                }
            };
            leased.iter().map(|it| (it.token, fate(it))).collect()
        };
        shared.store.commit(moves, shared.clock.now()).await?;
    }
    Ok(again)
}

/// Back to where it was.
fn returned(workspace: &Name, job: Job) -> Commit {
    let lane = Lane::new(workspace, job.state.lane());
    Commit::new(Fate::Keep { lane, job }, Vec::new())
}
