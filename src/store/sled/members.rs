//! Who is in a turn, by the tree and by what is drafted.

use super::base::{Base, Draft, broken};
use super::keys::{self, LaneKey, PARTICIPANT_BYTES, Participant, Place};
use crate::model::id::{EventId, JobId};
use crate::model::lane::LaneKind;
use crate::store::StoreError;
use crate::store::codec::{self, Known, Record, Turn};

impl Base {
    /// A job's own key in a turn.
    pub fn member(
        &self,
        draft: &Draft,
        participant: &Participant,
        id: JobId,
    ) -> Result<Option<Turn>, StoreError> {
        if let Some(turn) = draft.turns.get(&(*participant, id)) {
            return Ok(*turn);
        }
        let key = keys::turn(participant, id);
        let value = self.db.get(key).map_err(|error| broken(&error))?;
        Ok(value.map(|value| codec::decode_turn(&value)).transpose()?)
    }

    fn stored_members(
        &self,
        draft: &Draft,
        participant: &Participant,
    ) -> impl Iterator<Item = Result<(JobId, Turn), StoreError>> {
        let entries = self.db.scan_prefix(keys::turn_prefix(participant));
        entries.filter_map(move |entry| {
            let read = || -> Result<Option<(JobId, Turn)>, StoreError> {
                let (key, value) = entry.map_err(|error| broken(&error))?;
                let id = keys::id_at_end(&key).unwrap_or_default();
                if draft.turns.contains_key(&(*participant, id)) {
                    return Ok(None);
                }
                Ok(Some((id, codec::decode_turn(&value)?)))
            };
            read().transpose()
        })
    }

    fn drafted_members(
        draft: &Draft,
        participant: &Participant,
    ) -> impl Iterator<Item = (JobId, Turn)> {
        let first = EventId([0; 16]).job(0);
        let last = EventId([0xff; 16]).job(u8::MAX);
        draft
            .turns
            .range((*participant, first)..=(*participant, last))
            .filter_map(|((_, id), turn)| Some((*id, (*turn)?)))
    }

    /// The first job in a turn, if anybody has a key there.
    pub fn first_member(
        &self,
        draft: &Draft,
        participant: &Participant,
    ) -> Result<Option<(JobId, Turn)>, StoreError> {
        let stored = self.stored_members(draft, participant).next().transpose()?;
        let drafted = Base::drafted_members(draft, participant).next();
        Ok([stored, drafted]
            .into_iter()
            .flatten()
            .min_by_key(|(id, _)| *id))
    }

    /// All that have a key in a turn, in order.
    pub fn members(
        &self,
        draft: &Draft,
        participant: &Participant,
    ) -> Result<Vec<(JobId, Turn)>, StoreError> {
        let stored = self.stored_members(draft, participant);
        let mut all = stored.collect::<Result<Vec<_>, _>>()?;
        all.extend(Base::drafted_members(draft, participant));
        all.sort_unstable_by_key(|(id, _)| *id);
        Ok(all)
    }

    /// Who has a turn in which nobody has a key.
    pub fn alone(
        &self,
        draft: &Draft,
        participant: &Participant,
        earlier: Option<EventId>,
    ) -> Result<Option<JobId>, StoreError> {
        if let Some(alone) = draft.alone.get(participant) {
            return Ok(*alone);
        }
        let Some(id) = earlier.map(|event| event.job(0)) else {
            return Ok(None);
        };
        Ok(self.is_in_turn(participant, id)?.then_some(id))
    }

    /// Whether this job lives, takes the turn, and is in this workspace, by the tree.
    fn is_in_turn(&self, participant: &Participant, id: JobId) -> Result<bool, StoreError> {
        if let Some(lease) = self.leases.get(&id) {
            let here = lease.spot.lane.0[..2] == participant[..2];
            return Ok(here && takes_turn(&lease.record));
        }
        let get = |key: &[u8]| self.db.get(key).map_err(|error| broken(&error));
        if let Some(first) = get(&keys::moved(id))? {
            let record = self.read(id, &first)?;
            let workspace = record.workspace.as_deref().unwrap_or_default();
            let number = self.names.known_workspace(workspace);
            let here = number.is_some_and(|number| number.to_be_bytes() == participant[..2]);
            return Ok(here && takes_turn(&record));
        }
        for lane in lanes_of(participant).filter(|lane| self.head.has_work(*lane)) {
            if get(&keys::unmoved(lane, id))?.is_some() || self.pack_with(lane, id.event)?.is_some()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The latest event of this participant whose first job took this turn when it was accepted.
    pub fn latest_in_turn(
        &self,
        draft: &Draft,
        participant: &Participant,
        home: &Place,
    ) -> Result<Option<EventId>, StoreError> {
        let in_turn = |known: &Known| match known {
            Known::Event(event) => {
                let here = event
                    .turn
                    .is_some_and(|turn| turn.to_be_bytes() == participant[..2]);
                here.then_some(event.id)
            }
            Known::Once { .. } | Known::Address(_) => None,
        };
        let mut place = *home;
        place[..PARTICIPANT_BYTES].copy_from_slice(&participant[2..]);
        let (low, high) = super::index::participant(&place);
        let drafted = draft.known.range(low..=high);
        let drafted = drafted.filter_map(|(_, known)| in_turn(known.as_ref()?));
        let stored = self.index.of_participant(&self.db, &place)?;
        Ok(stored.values().filter_map(in_turn).chain(drafted).max())
    }
}

/// Whether the job of a record takes its participant's turn.
pub fn takes_turn(record: &Record) -> bool {
    let job = record.job.as_ref();
    job.is_some_and(|job| job.state.takes_turn())
}

/// All lanes of a participant's workspace.
pub fn lanes_of(participant: &Participant) -> impl Iterator<Item = LaneKey> + use<> {
    let workspace = u16::from_be_bytes([participant[0], participant[1]]);
    let kinds = LaneKind::ALL.into_iter();
    kinds.map(move |kind| LaneKey::new(workspace, kind))
}
