//! Turns: which job of a participant goes next, and what makes it due when its turn comes.
//!
//! A turn that nobody waits for has no key: that the job is there says it. Its holder is then the latest event's first job
//! that took the turn when it was accepted; whatever comes to a turn in another way (a child, a revived letter, a job
//! from another workspace) writes a key at once. When a second one comes, each gets a key, and keys stay until the turn is
//! empty.
//!
//! Invariants: where there are keys, exactly one says [`Turn::Holds`], and every job in the turn has one. A job that is
//! behind stands under `w` and has no due key; what its due key will be stands in its place in the turn.

use std::time::Duration;

use super::base::{Base, Draft, broken};
use super::keys::{self, Class, LaneKey, Participant, Place};
use super::lend::{Lease, Stand};
use super::members::takes_turn;
use super::tally::Tally;
use super::time::due_value;
use crate::flow::job::{Burial, Fate};
use crate::model::call::Address;
use crate::model::id::{EventId, JobId};
use crate::model::time::Timestamp;
use crate::store::codec::{self, Behind, Known, Turn};
use crate::store::{Learnt, StoreError, is_memorable};

/// What a commit says about those behind, if it ends a turn.
pub struct TurnEnd<'a> {
    /// How long the next one waits at least.
    pub gap: Duration,
    /// Those that follow, up to the first that does not, are buried so.
    pub bury_successors: Option<Burial>,
    /// Except these: the commit's own children.
    pub born: &'a [JobId],
}

/// Drafts a job's place in a turn, or that it has none any more.
pub fn set_turn(
    draft: &mut Draft,
    participant: Participant,
    id: JobId,
    turn: Option<Turn>,
) -> Result<(), StoreError> {
    let key = keys::turn(&participant, id);
    match &turn {
        Some(turn) => draft.insert(key, codec::encode_turn(turn)?),
        None => draft.remove(key),
    }
    draft.turns.insert((participant, id), turn);
    Ok(())
}

const HOLDS: Option<Turn> = Some(Turn::Holds { due: None });

impl Base {
    /// The participant whose turn a lent job holds or waits for.
    pub fn turn_of(&self, lease: &Lease) -> Option<Participant> {
        takes_turn(&lease.record)
            .then(|| keys::participant(lease.spot.lane, &self.home(&lease.record)))
    }

    /// The participant whose turn a job will hold or wait for after this fate.
    pub fn turn_after(&mut self, fate: &Fate, home: &Place) -> Option<Participant> {
        match fate {
            Fate::Keep { lane, job } => {
                let takes = job.state.takes_turn();
                takes.then(|| keys::participant(self.names.lane(lane), home))
            }
            Fate::Finish(_) | Fate::Bury { .. } => None,
        }
    }

    /// What was learnt of this participant's address.
    pub fn address(&self, participant: &Participant) -> Result<Option<Learnt>, StoreError> {
        let place = self.hasher.address(participant);
        Ok(match self.index.get(&self.db, &place)? {
            Some(Known::Address(learnt)) => Some(learnt),
            Some(Known::Event(_) | Known::Once { .. }) | None => None,
        })
    }

    /// Drafts what a lent job learnt of its participant.
    pub fn learn(
        &self,
        draft: &mut Draft,
        lease: &Lease,
        home: &Place,
        address: Address,
    ) -> Result<(), StoreError> {
        if !is_memorable(&address) {
            return Ok(());
        }
        let participant = keys::participant(lease.spot.lane, home);
        let place = self.hasher.address(&participant);
        let learnt = Learnt {
            address,
            at: self.now,
        };
        let known_for = self.settings.known_for;
        match self.known(draft, &place)? {
            Some(Known::Address(before)) if !learnt.renews(&before, known_for) => {}
            _ => {
                draft.used = true;
                draft.known.insert(place, Some(Known::Address(learnt)));
            }
        }
        Ok(())
    }

    /// Lets a job that was just accepted join a turn, and says whether it is behind. `is_known`: anything is remembered
    /// of the participant; `earlier`: the latest event whose first job took this turn.
    pub fn join(
        &mut self,
        draft: &mut Draft,
        participant: Participant,
        id: JobId,
        is_known: bool,
        earlier: Option<EventId>,
    ) -> Result<bool, StoreError> {
        if is_known {
            if self.first_member(draft, &participant)?.is_some() {
                return Ok(true);
            }
            if let Some(holder) = self.alone(draft, &participant, earlier)? {
                set_turn(draft, participant, holder, HOLDS)?;
                draft.alone.insert(participant, None);
                return Ok(true);
            }
        }
        draft.alone.insert(participant, Some(id));
        Ok(false)
    }

    /// Gives a job of any age its place in a turn, and says whether it is behind; if it is, whoever places it writes that
    /// down. `moving`: the job whose move this is.
    ///
    /// May displace a holder, which must stand in the tree: see [`Base::may_displace`].
    pub fn enter(
        &mut self,
        draft: &mut Draft,
        participant: Participant,
        id: JobId,
        home: &Place,
        moving: Option<JobId>,
    ) -> Result<bool, StoreError> {
        let (first, holder) = match self.first_member(draft, &participant)? {
            Some((first, Turn::Holds { .. })) => (first, first),
            Some((first, Turn::Behind(_))) => {
                let members = self.members(draft, &participant)?;
                let holds = |(_, turn): &&(JobId, Turn)| matches!(turn, Turn::Holds { .. });
                let holder = members.iter().find(holds);
                (first, holder.map_or(first, |(holder, _)| *holder))
            }
            None => {
                let earlier = self.latest_in_turn(draft, &participant, home)?;
                let alone = self.alone(draft, &participant, earlier)?;
                draft.alone.insert(participant, None);
                let Some(alone) = alone else {
                    set_turn(draft, participant, id, HOLDS)?;
                    return Ok(false);
                };
                set_turn(draft, participant, alone, HOLDS)?;
                (alone, alone)
            }
        };
        if first < id || moving == Some(holder) || self.leases.contains_key(&holder) {
            return Ok(true);
        }
        self.displace(draft, participant, holder)?;
        set_turn(draft, participant, id, HOLDS)?;
        Ok(false)
    }

    /// Whether somebody in this turn is younger than `id`: then the draft is to be applied before `id` enters.
    pub fn may_displace(
        &self,
        draft: &Draft,
        participant: &Participant,
        id: JobId,
        home: &Place,
    ) -> Result<bool, StoreError> {
        if let Some((first, _)) = self.first_member(draft, participant)? {
            return Ok(first > id);
        }
        let earlier = self.latest_in_turn(draft, participant, home)?;
        let alone = self.alone(draft, participant, earlier)?;
        Ok(alone.is_some_and(|alone| alone > id))
    }

    /// Notes that the moving job has its turn alone, if so: the tree cannot tell any more, for its lease is taken.
    pub fn note_alone(
        &self,
        draft: &mut Draft,
        turn: Option<Participant>,
        id: JobId,
    ) -> Result<(), StoreError> {
        if let Some(participant) = turn
            && self.member(draft, &participant, id)?.is_none()
        {
            draft.alone.insert(participant, Some(id));
        }
        Ok(())
    }

    /// Takes a job out of a turn; if it was the holder, the next one gets it.
    pub fn leave(
        &mut self,
        draft: &mut Draft,
        participant: Participant,
        id: JobId,
        end: TurnEnd<'_>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let own = self.member(draft, &participant, id)?;
        draft.alone.insert(participant, None);
        let Some(own) = own else {
            return Ok(());
        };
        set_turn(draft, participant, id, None)?;
        if let Turn::Behind(_) = own {
            return Ok(());
        }
        if let Some(burial) = end.bury_successors {
            for (id, turn) in self.members(draft, &participant)? {
                match turn {
                    Turn::Behind(_) if end.born.contains(&id) => {}
                    Turn::Behind(behind) if behind.follows => {
                        set_turn(draft, participant, id, None)?;
                        self.bury_behind(draft, id, behind, burial.clone(), now)?;
                    }
                    Turn::Behind(_) => break,
                    Turn::Holds { .. } => {}
                }
            }
        }
        if let Some((next, Turn::Behind(behind))) = self.first_member(draft, &participant)? {
            let due = behind.due.max(now + end.gap);
            set_turn(
                draft,
                participant,
                next,
                Some(Turn::Holds { due: Some(due) }),
            )?;
            self.make_due(draft, next, behind, due, now);
        }
        Ok(())
    }

    fn make_due(
        &mut self,
        draft: &mut Draft,
        id: JobId,
        behind: Behind,
        due: Timestamp,
        now: Timestamp,
    ) {
        let lane = LaneKey(behind.lane);
        let class = Class::of(behind.fresh, due, now);
        let key = keys::due(lane, class, due, id);
        self.streams.entry(lane).or_default().note(class, &key);
        draft.insert(key, due_value(behind.group, due));
        if class.is_ready() {
            self.head.live(lane, behind.group, 1, -1);
        }
        if let Some(lease) = self.leases.get_mut(&id) {
            // Lent along: its own commit takes that key away again.
            lease.spot.stand = Stand::Due(class, due);
            if let Some(job) = lease.record.job.as_mut() {
                job.due = due;
            }
        }
        self.touched.insert(lane);
    }

    fn bury_behind(
        &mut self,
        draft: &mut Draft,
        id: JobId,
        behind: Behind,
        burial: Burial,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        // Lent along or not: whoever has it learns that its lease is lost.
        self.leases.remove(&id);
        let first = self.stored(keys::moved(id), id)?;
        let mut record = self.read(id, &first)?;
        if let Some(job) = record.job.as_mut() {
            job.due = behind.due;
        }
        let reason = burial.reason;
        record.burial = Some(burial);
        let pieces = codec::encode_record(&record)?;
        Base::drop_pieces(draft, id, pieces.rest.len(), codec::pieces_behind(&first));
        draft.remove(keys::moved(id));
        draft.record(keys::dead(id), id, pieces);
        self.head.live(LaneKey(behind.lane), behind.group, 0, -1);
        self.head.bury(behind.group, reason, 1);
        if let (Some(metrics), Some(group)) = (&self.metrics, self.names.group_of(behind.group)) {
            metrics.dead(&group.workspace, group.flow, reason);
        }
        self.count_replay(draft, record.replay, |counts| counts.died += 1)?;
        let home = self.home(&record);
        self.tally(draft, id, home, None, Tally::DIED, now)
    }

    fn stored(&self, key: Vec<u8>, id: JobId) -> Result<::sled::IVec, StoreError> {
        let first = self.db.get(key).map_err(|error| broken(&error))?;
        first.ok_or_else(|| StoreError::Failed(format!("job {id} is in a turn and not there")))
    }
}
