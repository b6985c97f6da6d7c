//! What a store counts: events by where they are, jobs by group and state, lanes by what is due.
//!
//! Invariants: exact at every moment, and never taken by a scan.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::flow::job::{Flow, Outcome, Reason};
use crate::model::Name;
use crate::model::event::{Event, EventKind};
use crate::model::lane::Lane;
use crate::model::time::Timestamp;

/// What is counted together: jobs of one flow of one activation.
///
/// The workspace is the one of the job's lane. Where it is unknown, workspace and activation are both `none`: names that
/// only clients know must not become labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Group {
    /// The workspace, or `none`.
    pub workspace: Name,
    /// The activation, or `none` where it is not configured.
    pub activation: Name,
    /// The flow; `None` is shown as `none`.
    pub flow: Option<Flow>,
}

impl Group {
    /// The group of a job of `event`, in this workspace if one is known.
    pub fn of(workspace: Option<&Name>, event: &Event, flow: Option<Flow>) -> Group {
        let none = || Name::from("none");
        Group {
            workspace: workspace.cloned().unwrap_or_else(none),
            activation: workspace
                .filter(|_| event.kind != EventKind::Erasure)
                .map_or_else(none, |_| event.scope.as_str().into()),
            flow,
        }
    }
}

/// Jobs of one group by state. A job that is not done is in exactly one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct States {
    /// Due in the future or behind its participant's turn, and not lent.
    pub waiting: u64,
    /// Due, and not lent.
    pub ready: u64,
    /// Lent to a worker.
    pub in_flight: u64,
    /// Dead letters.
    pub dead: u64,
}

/// Events by where they are. `accepted` is the sum of all the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventCounts {
    /// Everything ever accepted by this store.
    pub accepted: u64,
    /// All of its jobs are done.
    pub done: u64,
    /// A job is dead and none lives.
    pub dead: u64,
    /// A job lives.
    pub queued: u64,
    /// Discarded by an operator.
    pub discarded: u64,
    /// Was queued or dead, and was forgotten with the person.
    pub forgotten: u64,
}

/// One lane's queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneCounts {
    /// Due calls not yet answered, lent ones included.
    pub depth: u64,
    /// Due in the future or behind its participant's turn, and not lent.
    pub waiting: u64,
    /// Since when the first of those in `depth` is due: of each order of lending the first in it, which need not be the
    /// one that is due longest.
    pub oldest_due: Option<Timestamp>,
}

/// How much there is of everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The number of the last commit.
    pub commit: u64,
    /// Events.
    pub events: EventCounts,
    /// Jobs that are not done.
    pub jobs: BTreeMap<Group, States>,
    /// Dead letters by group and reason.
    pub dead: BTreeMap<(Group, Reason), u64>,
    /// Jobs done, by group and outcome, since the store was made.
    pub done: BTreeMap<(Group, Outcome), u64>,
    /// Lanes that have or had work.
    pub lanes: BTreeMap<Lane, LaneCounts>,
    /// Whose the due calls of each lane are: what its `depth` is made of.
    pub due: BTreeMap<(Lane, Group), u64>,
    /// Whose the calls are that are due later: what each lane's `waiting` is made of.
    pub later: BTreeMap<(Lane, Group), u64>,
    /// The size of the store's files, bytes.
    pub store_bytes: u64,
    /// Of those, what is alive: keys and values, as they were weighed last; nought before they were.
    pub live_bytes: u64,
    /// Free disk, bytes.
    pub free_bytes: u64,
}
