//! Taking the turn from a holder that is not lent, wherever it stands: somebody older came.

use super::base::{Base, Draft, broken};
use super::keys::{self, Class, LaneKey, Participant};
use super::members::lanes_of;
use super::time::due_in;
use super::turns::set_turn;
use crate::model::id::JobId;
use crate::model::time::Timestamp;
use crate::store::StoreError;
use crate::store::codec::{Behind, Turn};

impl Base {
    /// Puts a holder that is not lent behind: its due key goes, wherever it stands.
    pub fn displace(
        &mut self,
        draft: &mut Draft,
        participant: Participant,
        id: JobId,
    ) -> Result<(), StoreError> {
        let waited = match self.member(draft, &participant, id)? {
            Some(Turn::Holds { due }) => due,
            Some(Turn::Behind(_)) | None => None,
        };
        for lane in lanes_of(&participant) {
            let Some((first, was_ready, due)) = self.take_due(draft, lane, id, waited)? else {
                continue;
            };
            let record = self.read(id, &first)?;
            let Some(job) = &record.job else { continue };
            let group = self.group_of(&record);
            let behind = Behind {
                lane: lane.0,
                group,
                due: due.unwrap_or(job.due),
                fresh: job.fresh,
                follows: job.state.follows(),
            };
            draft.insert(keys::moved(id), first);
            if was_ready {
                self.head.live(lane, group, -1, 1);
            }
            return set_turn(draft, participant, id, Some(Turn::Behind(behind)));
        }
        Err(StoreError::Failed(format!(
            "job {id} has the turn and is not due anywhere"
        )))
    }

    /// Removes what makes a job due in this lane: its record's first piece, whether it was among what is due, and since
    /// or from when, where that does not stand in the record. `None`: it is not in this lane.
    pub fn take_due(
        &mut self,
        draft: &mut Draft,
        lane: LaneKey,
        id: JobId,
        waited: Option<Timestamp>,
    ) -> Result<Option<(::sled::IVec, bool, Option<Timestamp>)>, StoreError> {
        let get = |key: &[u8]| self.db.get(key).map_err(|error| broken(&error));
        if let Some(first) = get(&keys::moved(id))? {
            let job = self.read(id, &first)?.job;
            let (fresh, own) = job.map_or((true, None), |job| (job.fresh, Some(job.due)));
            let ready = Class::of(fresh, Timestamp::ZERO, Timestamp::ZERO);
            let later = Class::of(fresh, Timestamp::from_millis(1), Timestamp::ZERO);
            for class in [ready, later] {
                for due in [own, waited].into_iter().flatten() {
                    let key = keys::due(lane, class, due, id);
                    if let Some(value) = get(&key)? {
                        draft.remove(key);
                        let due = due_in(&value);
                        return Ok(Some((first, class.is_ready(), Some(due))));
                    }
                }
            }
            return Ok(None);
        }
        let key = keys::unmoved(lane, id);
        if let Some(first) = get(&key)? {
            draft.remove(&key);
            return Ok(Some((first, true, None)));
        }
        if id.number == 0
            && let Some(first) = self.take_from_pack(draft, lane, id.event)?
        {
            return Ok(Some((first, true, None)));
        }
        Ok(None)
    }
}
