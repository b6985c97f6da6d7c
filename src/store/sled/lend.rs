//! Lending: which jobs of a lane are due, in which order, and who has them.
//!
//! Due work is read from the tree where it stands, in order, from a cursor; memory holds the leases and nothing else,
//! however deep the queue is. A cursor only ever skips what is lent, and is put back by whatever appears behind it.

use ::sled::IVec;

use super::base::{Base, broken};
use super::counts::GroupId;
use super::keys::{self, Class, LaneKey};
use super::time::due_in;
use crate::model::id::JobId;
use crate::model::lane::Lane;
use crate::model::time::Timestamp;
use crate::store::codec::{self, Record, Turn};
use crate::store::{Leased, StoreError, Token};

/// A job on loan.
pub struct Lease {
    /// Which of its leases.
    pub number: u64,
    /// Where it stands.
    pub spot: Spot,
    /// Its group.
    pub group: GroupId,
    /// Its record, as it was lent.
    pub record: Record,
    /// How many pieces lie behind its first.
    pub behind: u8,
}

/// Where a job that may be lent stands in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// Its lane.
    pub lane: LaneKey,
    /// Under which key.
    pub stand: Stand,
}

/// What makes a job due, or that nothing does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stand {
    /// Its record, which has not moved yet: it has no due key.
    Unmoved,
    /// A due key. Not ready, when it got the turn while it was lent along.
    Due(Class, Timestamp),
    /// It is behind a turn, and lent along.
    Behind,
}

impl Spot {
    /// The key that makes the job due there.
    pub fn key(&self, id: JobId) -> Option<Vec<u8>> {
        match self.stand {
            Stand::Unmoved => Some(keys::unmoved(self.lane, id).to_vec()),
            Stand::Due(class, due) => Some(keys::due(self.lane, class, due, id)),
            Stand::Behind => None,
        }
    }

    /// Whether its record has a key of its own.
    pub fn is_moved(&self) -> bool {
        self.stand != Stand::Unmoved
    }

    /// Whether it is counted among what is due.
    pub fn is_ready(&self) -> bool {
        match self.stand {
            Stand::Unmoved => true,
            Stand::Due(class, _) => class.is_ready(),
            Stand::Behind => false,
        }
    }
}

/// A job that could be lent.
struct Candidate {
    id: JobId,
    key: IVec,
    spot: Spot,
    /// When it is due, where that does not stand in its record.
    due: Option<Timestamp>,
    /// The first piece of its record, where the key holds it.
    first: Option<IVec>,
}

impl Base {
    /// Lends up to `at_most` due jobs of a lane.
    pub fn lease(
        &mut self,
        lane: &Lane,
        now: Timestamp,
        at_most: usize,
    ) -> Result<Vec<Leased>, StoreError> {
        self.tell_time(now)?;
        let Some(lane) = self.names.known_lane(lane) else {
            return Ok(Vec::new());
        };
        self.promote(lane, now)?;
        let mut fresh = self.unmoved(lane, at_most)?;
        fresh.extend(self.due_from(lane, Some(Class::ReadyFresh), at_most)?);
        fresh.sort_by_key(|candidate| candidate.id);
        fresh.truncate(at_most);
        let mut retry = self.due_from(lane, Some(Class::ReadyRetry), at_most)?;
        let share = self.shares.entry(lane).or_default();
        retry.truncate(share.of_failed(at_most, fresh.len(), retry.len()));
        fresh.truncate(at_most - retry.len());
        let mut room = at_most - fresh.len() - retry.len();
        let mut leased = Vec::new();
        for candidate in fresh.into_iter().chain(retry) {
            leased.push(self.lend(candidate)?);
            let id = leased.last().map(|leased| leased.token.id);
            for along in self.chain(id, now, room)? {
                room -= 1;
                leased.push(self.lend(along)?);
            }
        }
        Ok(leased)
    }

    /// Those behind the turn of this lent job that may be lent along.
    fn chain(
        &self,
        holder: Option<JobId>,
        now: Timestamp,
        at_most: usize,
    ) -> Result<Vec<Candidate>, StoreError> {
        let mut along = Vec::new();
        let lease = holder.and_then(|id| Some((id, self.leases.get(&id)?)));
        let Some((holder, lease)) = lease.filter(|_| at_most > 0) else {
            return Ok(along);
        };
        let follows = |record: &Record| record.job.as_ref().is_some_and(|job| job.state.follows());
        let Some(participant) = self.turn_of(lease).filter(|_| follows(&lease.record)) else {
            return Ok(along);
        };
        for entry in self.db.scan_prefix(keys::turn_prefix(&participant)) {
            let (key, value) = entry.map_err(|error| broken(&error))?;
            let Some(id) = keys::id_at_end(&key).filter(|id| *id != holder) else {
                continue;
            };
            let Turn::Behind(behind) = codec::decode_turn(&value)? else {
                break;
            };
            let fits = behind.follows && behind.lane == lease.spot.lane.0 && behind.due <= now;
            if !fits || self.leases.contains_key(&id) || along.len() >= at_most {
                break;
            }
            let spot = Spot {
                lane: lease.spot.lane,
                stand: Stand::Behind,
            };
            along.push(Candidate {
                id,
                key,
                spot,
                due: Some(behind.due),
                first: None,
            });
        }
        Ok(along)
    }

    fn lend(&mut self, candidate: Candidate) -> Result<Leased, StoreError> {
        let Candidate {
            id,
            key,
            spot,
            due,
            first,
        } = candidate;
        let first = match first {
            Some(first) => Some(first),
            None => self
                .db
                .get(keys::moved(id))
                .map_err(|error| broken(&error))?,
        };
        let first =
            first.ok_or_else(|| StoreError::Failed(format!("job {id} is due and not there")))?;
        let mut record = self.read(id, &first)?;
        let job = record.job.as_mut();
        let job =
            job.ok_or_else(|| StoreError::Failed(format!("job {id} is due and has no state")))?;
        job.due = due.unwrap_or(job.due);
        let job = job.clone();
        let event = record.event.clone();
        let group = self.group_of(&record);
        let streams = self.streams.entry(spot.lane).or_default();
        match spot.stand {
            Stand::Unmoved => streams.unmoved.pass(&key),
            Stand::Due(Class::ReadyFresh | Class::LaterFresh, _) => streams.fresh.pass(&key),
            Stand::Due(Class::ReadyRetry | Class::LaterRetry, _) => streams.retry.pass(&key),
            Stand::Behind => {}
        }
        self.last_lease += 1;
        let number = self.last_lease;
        let behind = codec::pieces_behind(&first);
        let lease = Lease {
            number,
            spot,
            group,
            record,
            behind,
        };
        let known = match self.turn_of(&lease) {
            Some(participant) => self
                .address(&participant)?
                .filter(|it| it.holds(self.now, self.settings.known_for)),
            None => None,
        };
        self.leases.insert(id, lease);
        Ok(Leased {
            token: Token { id, lease: number },
            event,
            job,
            known,
        })
    }

    /// Unmoved jobs of a lane that are not lent, in order, wherever they stand.
    fn unmoved(&mut self, lane: LaneKey, at_most: usize) -> Result<Vec<Candidate>, StoreError> {
        loop {
            let found = self.due_from(lane, None, at_most)?;
            let room = at_most - found.len();
            let last = found
                .last()
                .map(|candidate| candidate.id)
                .filter(|_| room == 0);
            // Nothing that stands in a pack may be passed over.
            // Of a deep queue no more is taken apart at a time than is lent.
            let some = if room == 0 { at_most } else { room };
            if at_most == 0 || !self.unpack(lane, last, some)? {
                return Ok(found);
            }
        }
    }

    /// Due jobs of one order that are not lent, from its cursor.
    fn due_from(
        &mut self,
        lane: LaneKey,
        class: Option<Class>,
        at_most: usize,
    ) -> Result<Vec<Candidate>, StoreError> {
        let prefix = match class {
            None => keys::unmoved_prefix(lane),
            Some(class) => keys::due_prefix(lane, class),
        };
        let streams = self.streams.entry(lane).or_default();
        let cursor = match class {
            None => &streams.unmoved,
            Some(Class::ReadyFresh | Class::LaterFresh) => &streams.fresh,
            Some(Class::ReadyRetry | Class::LaterRetry) => &streams.retry,
        };
        let mut found = Vec::new();
        for entry in self.db.range(cursor.start(&prefix)..) {
            if found.len() >= at_most {
                break;
            }
            let (key, value) = entry.map_err(|error| broken(&error))?;
            if !key.starts_with(&prefix) {
                break;
            }
            let Some(id) = keys::id_at_end(&key) else {
                continue;
            };
            if self.leases.contains_key(&id) {
                continue;
            }
            let stand = class.map_or(Stand::Unmoved, |class| {
                Stand::Due(class, keys::due_time(&key).unwrap_or_default())
            });
            let (due, first) = match class {
                Some(_) => (Some(due_in(&value)), None),
                None => (None, Some(value)),
            };
            found.push(Candidate {
                id,
                key,
                spot: Spot { lane, stand },
                due,
                first,
            });
        }
        Ok(found)
    }

    /// When the lane's next job is due.
    pub fn next_due(
        &mut self,
        lane: &Lane,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        self.tell_time(now)?;
        let Some(lane) = self.names.known_lane(lane) else {
            return Ok(None);
        };
        for class in [None, Some(Class::ReadyFresh), Some(Class::ReadyRetry)] {
            let due = match class {
                None => self.unmoved(lane, 1)?,
                Some(_) => self.due_from(lane, class, 1)?,
            };
            if !due.is_empty() {
                return Ok(Some(now));
            }
        }
        let mut next = None;
        for class in [Class::LaterFresh, Class::LaterRetry] {
            for entry in self.db.scan_prefix(keys::due_prefix(lane, class)) {
                let (key, _) = entry.map_err(|error| broken(&error))?;
                if keys::id_at_end(&key).is_some_and(|id| self.leases.contains_key(&id)) {
                    // It got the turn while it was lent along.
                    continue;
                }
                let due = keys::due_time(&key);
                next = [next, due].into_iter().flatten().min();
                break;
            }
        }
        Ok(next)
    }

    /// Takes jobs back as they were.
    pub fn give_back(&mut self, tokens: &[Token]) {
        for token in tokens {
            if let Some(lease) = self.take_lease(*token) {
                self.note_spot(token.id, lease.spot);
            }
        }
    }

    /// Ends a lease, if it is still this one.
    pub fn take_lease(&mut self, token: Token) -> Option<Lease> {
        if self.leases.get(&token.id)?.number != token.lease {
            return None;
        }
        self.leases.remove(&token.id)
    }

    fn note_spot(&mut self, id: JobId, spot: Spot) {
        let streams = self.streams.entry(spot.lane).or_default();
        if let Some(key) = spot.key(id) {
            match spot.stand {
                Stand::Unmoved => streams.unmoved.note(&key),
                Stand::Due(class, _) => streams.note(class, &key),
                Stand::Behind => {}
            }
        }
        self.touched.insert(spot.lane);
    }
}

impl Base {
    /// Since when the first due job of a lane that nobody has is due.
    pub fn oldest_unlent(&mut self, lane: LaneKey) -> Result<Option<Timestamp>, StoreError> {
        let mut oldest = None;
        for class in [None, Some(Class::ReadyFresh), Some(Class::ReadyRetry)] {
            let mut due = match class {
                None => self.unmoved(lane, 1)?,
                Some(_) => self.due_from(lane, class, 1)?,
            };
            let Some(Candidate { id, first, due, .. }) = due.pop() else {
                continue;
            };
            if due.is_some() {
                oldest = [oldest, due].into_iter().flatten().min();
                continue;
            }
            let Some(first) = first else { continue };
            let due = self.read(id, &first)?.job.map(|job| job.due);
            oldest = [oldest, due].into_iter().flatten().min();
        }
        Ok(oldest)
    }
}
