//! Forgetting a person: everything of some of their events, in one write.
//!
//! What is remembered of a participant names their events, and so their jobs: nothing is searched for. Whoever is behind
//! in a turn goes before its holder, so that a turn never passes to somebody who is about to go.
//!
//! Invariants: works on the tree as it is: whatever was drafted before is applied first, and what it drafts is applied
//! before anything else is drafted.

use ::sled::IVec;

use super::base::{Base, Draft, broken};
use super::counts::Standing;
use super::keys::{self, LaneKey, Participant, Place};
use super::members::{lanes_of, takes_turn};
use super::turns::TurnEnd;
use crate::model::id::{EventId, JobId};
use crate::model::lane::LaneKind;
use crate::model::time::Timestamp;
use crate::store::address::Learnt;
use crate::store::codec::{self, Done, Known, Record, Turn};
use crate::store::hash;
use crate::store::person::outlives;
use crate::store::{Held, Person, Portion, ReplayCounts, StoreError, Timeline};

/// How many events one slice looks at.
const EVENTS_MAX: usize = 16;

/// A job of somebody.
pub struct Theirs {
    /// The job.
    pub id: JobId,
    stand: Stands,
    first: IVec,
    /// Its record.
    pub record: Record,
}

/// Where a job stands.
#[derive(Clone, Copy)]
enum Stands {
    Packed(LaneKey),
    Unmoved,
    Moved,
    Dead,
}

/// An event of somebody, where it is remembered, and its jobs.
struct Affair {
    event: EventId,
    home: Place,
    jobs: Vec<Theirs>,
}

impl Base {
    /// What there is of a person.
    pub fn held(
        &mut self,
        person: &Person,
        before: Option<EventId>,
        now: Timestamp,
    ) -> Result<Portion, StoreError> {
        self.tell_time(now)?;
        let (affairs, next) = self.affairs(person, before)?;
        let mut held = self.count(&affairs);
        if next.is_none() {
            held.addresses = self.addresses(person)?.1;
        }
        Ok(Portion { held, next })
    }

    /// What is remembered of a participant.
    pub fn timeline(
        &mut self,
        participant: &str,
        limit: usize,
        now: Timestamp,
    ) -> Result<Timeline, StoreError> {
        self.tell_time(now)?;
        let home = hash::person(participant);
        let known = self.index.of_participant(&self.db, &home)?;
        let events = known.into_values().filter_map(|known| match known {
            Known::Event(event) => Some(event.id),
            Known::Once { .. } | Known::Address(_) => None,
        });
        let mut events: Vec<EventId> = events.collect();
        events.sort_unstable_by(|one, other| other.cmp(one));
        let more = events.len() > limit;
        events.truncate(limit);
        let mut addresses = Vec::new();
        for (number, name) in (0..).zip(self.names.all_workspaces()) {
            if let Some((_, learnt)) = self.address_in(number, &home)?
                && learnt.holds(self.now, self.settings.known_for)
            {
                addresses.push((name.clone(), learnt.address));
            }
        }
        Ok(Timeline {
            events,
            more,
            addresses,
        })
    }

    /// How an event stands.
    pub fn standing(&self, event: EventId) -> Result<crate::store::Standing, StoreError> {
        let jobs = self.jobs_of(event)?;
        let dead = |job: &Theirs| matches!(job.stand, Stands::Dead);
        Ok(if jobs.is_empty() {
            crate::store::Standing::Ended
        } else if jobs.iter().all(dead) {
            crate::store::Standing::Dead
        } else {
            crate::store::Standing::Queued
        })
    }

    /// Forgets what there is of a person.
    pub fn forget(
        &mut self,
        draft: &mut Draft,
        person: &Person,
        before: Option<EventId>,
        now: Timestamp,
    ) -> Result<Portion, StoreError> {
        self.tell_time(now)?;
        self.apply_early(draft)?;
        let (affairs, next) = self.affairs(person, before)?;
        let mut held = self.count(&affairs);
        self.revokes |= held.lent > 0;
        // First of all, and by itself: the account is written with it.
        for job in affairs.iter().flat_map(|affair| &affair.jobs) {
            if let Stands::Packed(lane) = job.stand {
                self.unpack_event(lane, job.id.event)?;
            }
        }
        let mut leaving = Vec::new();
        for affair in affairs {
            let lives = |job: &Theirs| !matches!(job.stand, Stands::Dead);
            let was = if affair.jobs.iter().any(lives) {
                Standing::Queued
            } else {
                Standing::Dead
            };
            self.head.pass(was, Standing::Forgotten);
            let done = Done {
                key: affair.home,
                once: None,
            };
            draft.insert(
                keys::finished(now, affair.event),
                codec::encode_done(&done)?,
            );
            for job in affair.jobs {
                let turn = self.turn_at(&job.record, &affair.home);
                let behind = match turn {
                    Some(turn) => {
                        matches!(self.member(draft, &turn, job.id)?, Some(Turn::Behind(_)))
                    }
                    None => false,
                };
                leaving.push((!behind, job, turn));
            }
        }
        leaving.sort_by_key(|(holds, ..)| *holds);
        for (_, job, turn) in leaving {
            self.keep_once(draft, &job)?;
            if matches!(job.stand, Stands::Dead) {
                self.drop_letter(draft, &job);
            } else {
                self.drop_living(draft, &job, turn, now)?;
            }
        }
        if next.is_none() {
            let (places, holding) = self.addresses(person)?;
            held.addresses = holding;
            for place in places {
                self.index.wipe(&self.db, draft, &place)?;
                draft.forget(place);
            }
        }
        draft.used = true;
        self.apply_early(draft)?;
        Ok(Portion { held, next })
    }

    /// The next of a person's events that have jobs and are to go, newest first, and where to go on.
    fn affairs(
        &self,
        person: &Person,
        before: Option<EventId>,
    ) -> Result<(Vec<Affair>, Option<EventId>), StoreError> {
        let place = hash::person(&person.participant);
        let mut events = Vec::new();
        for (home, known) in self.index.of_participant(&self.db, &place)? {
            if let Known::Event(event) = known
                && before.is_none_or(|before| event.id < before)
            {
                events.push((event.id, home));
            }
        }
        events.sort_unstable_by(|one, other| other.cmp(one));
        let more = events.len() > EVENTS_MAX;
        events.truncate(EVENTS_MAX);
        let next = events.last().filter(|_| more).map(|(event, _)| *event);
        let mut affairs = Vec::new();
        for (event, home) in events {
            let jobs = self.jobs_of(event)?;
            let theirs =
                |record: &Record| person.has(event, &record.event, record.workspace.as_deref());
            let stays = |job: &Theirs| outlives(&job.record.event) && job.record.burial.is_none();
            if jobs.iter().any(|job| theirs(&job.record)) && !jobs.iter().any(stays) {
                affairs.push(Affair { event, home, jobs });
            }
        }
        Ok((affairs, next))
    }

    /// Every job of an event that lives or is dead.
    pub fn jobs_of(&self, event: EventId) -> Result<Vec<Theirs>, StoreError> {
        let mut places = vec![
            (keys::MOVED_PREFIX.to_vec(), Stands::Moved),
            (keys::DEAD_PREFIX.to_vec(), Stands::Dead),
        ];
        let mut jobs = Vec::new();
        for lane in self
            .names
            .lane_keys()
            .filter(|lane| self.head.has_work(*lane))
        {
            places.push((keys::unmoved_prefix(lane), Stands::Unmoved));
            let pack = self.pack_with(lane, event)?;
            for (id, bytes) in pack
                .iter()
                .flat_map(|(_, pack)| codec::decode_pack(pack))
                .flatten()
            {
                if id == event {
                    jobs.push(Theirs {
                        id: event.job(0),
                        stand: Stands::Packed(lane),
                        first: IVec::from(bytes),
                        record: codec::decode_record(bytes)?,
                    });
                }
            }
        }
        for (prefix, stand) in places {
            for entry in self.db.scan_prefix([&prefix[..], &event.0].concat()) {
                let (key, first) = entry.map_err(|error| broken(&error))?;
                let id = keys::id_at_end(&key).unwrap_or_default();
                let record = self.read(id, &first)?;
                jobs.push(Theirs {
                    id,
                    stand,
                    first,
                    record,
                });
            }
        }
        Ok(jobs)
    }

    fn count(&self, affairs: &[Affair]) -> Held {
        let mut held = Held {
            events: affairs.len() as u64,
            ..Held::default()
        };
        for job in affairs.iter().flat_map(|affair| &affair.jobs) {
            if matches!(job.stand, Stands::Dead) {
                held.dead += 1;
                continue;
            }
            held.living += 1;
            held.lent += u64::from(self.leases.contains_key(&job.id));
        }
        held
    }

    /// Where addresses of a person are remembered, and how many of those are believed.
    fn addresses(&self, person: &Person) -> Result<(Vec<Place>, u64), StoreError> {
        let home = hash::person(&person.participant);
        let (mut places, mut holding) = (Vec::new(), 0);
        for (number, name) in (0..).zip(self.names.all_workspaces()) {
            if !person.is_at(name) {
                continue;
            }
            if let Some((place, learnt)) = self.address_in(number, &home)? {
                holding += u64::from(learnt.holds(self.now, self.settings.known_for));
                places.push(place);
            }
        }
        Ok((places, holding))
    }

    /// What is remembered of where somebody's profile is in the workspace of this number, and where that stands.
    fn address_in(&self, number: u16, home: &Place) -> Result<Option<(Place, Learnt)>, StoreError> {
        // Any lane of the workspace will do.
        let lane = LaneKey::new(number, LaneKind::UsersTrack);
        let place = self.hasher.address(&keys::participant(lane, home));
        Ok(match self.index.get(&self.db, &place)? {
            Some(Known::Address(learnt)) => Some((place, learnt)),
            _ => None,
        })
    }

    /// The turn that the job of a record holds or waits for, if it lives.
    pub fn turn_at(&self, record: &Record, home: &Place) -> Option<Participant> {
        let number = self.names.known_workspace(record.workspace.as_deref()?)?;
        let takes = record.burial.is_none() && takes_turn(record);
        takes.then(|| keys::participant(LaneKey::new(number, LaneKind::UsersTrack), home))
    }

    /// What may exist once is remembered as long as if its job had ended.
    fn keep_once(&self, draft: &mut Draft, job: &Theirs) -> Result<(), StoreError> {
        let Some(once) = &job.record.once else {
            return Ok(());
        };
        let place = self.hasher.once(&job.record.event, once);
        if let Some(Known::Once { job, at }) = self.known(draft, &place)? {
            let until = at + self.settings.credit_dedupe;
            draft.insert(keys::expiry(until, &place), codec::encode_owner(job)?);
        }
        Ok(())
    }

    fn drop_letter(&mut self, draft: &mut Draft, job: &Theirs) {
        draft.remove(keys::dead(job.id));
        Base::drop_pieces(draft, job.id, 0, codec::pieces_behind(&job.first));
        let group = self.group_of(&job.record);
        if let Some(burial) = &job.record.burial {
            self.head.bury(group, burial.reason, -1);
        }
    }

    fn drop_living(
        &mut self,
        draft: &mut Draft,
        job: &Theirs,
        turn: Option<Participant>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let id = job.id;
        let member = match &turn {
            Some(turn) => self.member(draft, turn, id)?,
            None => None,
        };
        let group = self.group_of(&job.record);
        self.count_replay(draft, job.record.replay, ReplayCounts::forget)?;
        let (lane, ready) = match (self.leases.remove(&id), &member) {
            (Some(lease), _) => {
                if let Some(key) = lease.spot.key(id) {
                    draft.remove(key);
                }
                (lease.spot.lane, lease.spot.is_ready())
            }
            (None, Some(Turn::Behind(behind))) => (LaneKey(behind.lane), false),
            (None, _) => self.drop_due(draft, job, member)?,
        };
        if matches!(job.stand, Stands::Moved) {
            draft.remove(keys::moved(id));
        }
        Base::drop_pieces(draft, id, 0, codec::pieces_behind(&job.first));
        let (due, later) = if ready { (1, 0) } else { (0, 1) };
        self.head.live(lane, group, -due, -later);
        if let Some(turn) = turn {
            let end = TurnEnd {
                gap: std::time::Duration::ZERO,
                bury_successors: None,
                born: &[],
            };
            self.leave(draft, turn, id, end, now)?;
        }
        Ok(())
    }

    /// Removes what makes a job due that is neither lent nor behind, and says in which lane, and whether it is due.
    fn drop_due(
        &mut self,
        draft: &mut Draft,
        job: &Theirs,
        member: Option<Turn>,
    ) -> Result<(LaneKey, bool), StoreError> {
        let waited = match member {
            Some(Turn::Holds { due }) => due,
            Some(Turn::Behind(_)) | None => None,
        };
        let workspace = job.record.workspace.as_deref().unwrap_or_default();
        let number = self.names.known_workspace(workspace).unwrap_or_default();
        let lane = LaneKey::new(number, LaneKind::UsersTrack);
        for lane in lanes_of(&keys::participant(lane, &Place::default())) {
            if let Some((_, ready, _)) = self.take_due(draft, lane, job.id, waited)? {
                return Ok((lane, ready));
            }
        }
        Err(StoreError::Failed(format!(
            "job {} is not due anywhere",
            job.id
        )))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests;
