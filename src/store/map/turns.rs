//! Who holds which participant's turn, and who is behind.
//!
//! Invariants: a turn has a holder as long as anybody takes part in it; the holder is the first by id, except that one who
//! was lent when somebody older came keeps it until it ends.

use std::collections::{BTreeMap, BTreeSet};

use super::super::hash::PARTICIPANT_BYTES;
use crate::model::Name;
use crate::model::id::JobId;

/// A participant: the workspace of the job's lane, and who the event that was accepted is about, as a hash.
pub(in crate::store) type Participant = (Name, Person);

/// The participant's part of a place.
pub(in crate::store) type Person = [u8; PARTICIPANT_BYTES];

/// All turns.
#[derive(Clone, Default)]
pub(super) struct Turns(BTreeMap<Participant, Turn>);

#[derive(Clone)]
struct Turn {
    holder: JobId,
    behind: BTreeSet<JobId>,
}

impl Turns {
    /// Whether this job waits for the turn of this participant.
    pub(super) fn is_behind(&self, id: JobId, of: Option<&Participant>) -> bool {
        of.and_then(|participant| self.0.get(participant))
            .is_some_and(|turn| turn.holder != id)
    }

    /// Those behind, in order.
    pub(super) fn behind(&self, of: &Participant) -> Vec<JobId> {
        let turn = self.0.get(of).into_iter();
        turn.flat_map(|turn| turn.behind.iter().copied()).collect()
    }

    /// Gives the job its place. `stays`: whether a holder may not lose the turn to somebody older.
    pub(super) fn enter(&mut self, of: &Participant, id: JobId, stays: impl FnOnce(JobId) -> bool) {
        let Some(turn) = self.0.get_mut(of) else {
            let behind = BTreeSet::new();
            self.0.insert(of.clone(), Turn { holder: id, behind });
            return;
        };
        let first = turn
            .behind
            .first()
            .map_or(turn.holder, |first| turn.holder.min(*first));
        if id < first && !stays(turn.holder) {
            turn.behind.insert(turn.holder);
            turn.holder = id;
        } else {
            turn.behind.insert(id);
        }
    }

    /// Gives a turn to this holder, with these behind it.
    pub(super) fn restore(&mut self, of: Participant, holder: JobId, behind: BTreeSet<JobId>) {
        self.0.insert(of, Turn { holder, behind });
    }

    /// Whether the job holds the turn.
    pub(super) fn holds(&self, of: &Participant, id: JobId) -> bool {
        self.0.get(of).is_some_and(|turn| turn.holder == id)
    }

    /// Takes the job out, and says who has the turn because of that.
    pub(super) fn leave(&mut self, of: &Participant, id: JobId) -> Option<JobId> {
        let turn = self.0.get_mut(of)?;
        if turn.behind.remove(&id) || turn.holder != id {
            return None;
        }
        let next = turn.behind.pop_first();
        if let Some(next) = next {
            turn.holder = next;
        } else {
            self.0.remove(of);
        }
        next
    }
}
