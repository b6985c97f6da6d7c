//! Moving jobs: commits, begun marks, and dead letters that live again.

use super::append::Begin;
use super::base::{Base, Draft, Placing, broken};
use super::counts::Standing;
use super::keys::{self, Place};
use super::lend::Lease;
use crate::flow::job::{Child, Commit, Fate, Start};
use crate::model::event::Event;
use crate::model::id::JobId;
use crate::model::time::Timestamp;
use crate::store::codec::{self, Done, Known, Record};
use crate::store::{Committed, StoreError, Token};

impl Base {
    /// Drafts one move.
    pub fn commit(
        &mut self,
        draft: &mut Draft,
        token: Token,
        commit: Commit,
        now: Timestamp,
    ) -> Result<Committed, StoreError> {
        self.tell_time(now);
        let Some(lease) = self.take_lease(token) else { return Ok(Committed::LostLease) };
        let id = token.id;
        draft.remove(lease.spot.key(id));
        self.head.live(lease.spot.lane, lease.group, -1, 0);
        let mut children = 0;
        let event = lease.record.event.clone();
        for child in commit.spawn {
            children += u8::from(self.spawn(draft, id, child, now)?);
        }
        let once = lease.record.once.as_deref().map(|once| self.hasher.once(&event, once));
        let tally = match commit.fate {
            Fate::Keep { lane, job } => {
                let (fresh, due) = (job.fresh, job.due);
                let lane = self.names.lane(&lane);
                let flow = Some(job.state.flow());
                let pieces = self.rewrite(draft, id, lease, |record| {
                    record.flow = flow;
                    record.job = Some(job);
                })?;
                let group = pieces.1;
                let placing = Placing { id, lane, group, pieces: pieces.0, fresh, due, first: false };
                self.place(draft, placing, now);
                Tally { alive: i16::from(children), dead: 0 }
            }
            Fate::Finish(outcome) => {
                if lease.spot.due.is_some() {
                    draft.remove(keys::moved(id));
                }
                Base::drop_pieces(draft, id, 0, lease.behind);
                self.head.finish(lease.group, outcome);
                Tally { alive: i16::from(children) - 1, dead: 0 }
            }
            Fate::Bury { job, burial } => {
                if lease.spot.due.is_some() {
                    draft.remove(keys::moved(id));
                }
                let reason = burial.reason;
                let (pieces, group) = self.rewrite(draft, id, lease, |record| {
                    record.job = Some(job);
                    record.burial = Some(burial);
                })?;
                draft.record(keys::dead(id), id, pieces);
                self.head.bury(group, reason, 1);
                Tally { alive: i16::from(children) - 1, dead: 1 }
            }
        };
        self.tally(draft, id, &event, once, tally, now)?;
        Ok(Committed::Stored { children })
    }

    /// Encodes a lent record after `change`, and drops the pieces it no longer needs.
    fn rewrite(
        &mut self,
        draft: &mut Draft,
        id: JobId,
        lease: Lease,
        change: impl FnOnce(&mut Record),
    ) -> Result<(codec::Pieces, u16), StoreError> {
        let mut record = lease.record;
        change(&mut record);
        let pieces = codec::encode_record(&record)?;
        Base::drop_pieces(draft, id, pieces.rest.len(), lease.behind);
        let group = self.group_of(&record);
        Ok((pieces, group))
    }

    /// Drafts a child, unless it was spawned before.
    fn spawn(&mut self, draft: &mut Draft, parent: JobId, child: Child, now: Timestamp) -> Result<bool, StoreError> {
        let Child { number, lane, job, event, once } = child;
        let id = parent.event.job(number);
        if let Some(once) = &once {
            let place = self.hasher.once(&event, once);
            if self.known(draft, &place)?.is_some() {
                return Ok(false);
            }
            draft.remember(place, Known::Once { job: id })?;
        }
        if self.exists(&lane, id)? {
            return Ok(false);
        }
        let begin = Begin::new(event, Start::Run { lane, job }, once)?;
        self.begin(draft, id, begin, now, true);
        Ok(true)
    }

    fn exists(&mut self, lane: &crate::model::lane::Lane, id: JobId) -> Result<bool, StoreError> {
        let lane = self.names.lane(lane);
        for key in [keys::unmoved(lane, id), keys::moved(id), keys::dead(id)] {
            if self.db.contains_key(key).map_err(|error| broken(&error))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Keeps account of an event's jobs, and ends it when none is left.
    fn tally(
        &mut self,
        draft: &mut Draft,
        id: JobId,
        event: &Event,
        once: Option<Place>,
        tally: Tally,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if tally.is_nothing() {
            return Ok(());
        }
        let place = self.hasher.event(event);
        let Some(Known::Event { id: event_id, scope, participation, alive, dead }) = self.known(draft, &place)? else {
            return Err(StoreError::Failed(format!("the event of job {id} is not remembered")));
        };
        let was = standing(alive, dead);
        let (alive, dead) = (tally.alive(alive), tally.dead(dead));
        let is = standing(alive, dead);
        self.head.pass(was, is);
        let mut last_once = once.map(|place| (place, id, now + self.settings.credit_dedupe));
        if is == Standing::Done {
            let once = last_once.take().map(|(place, id, until)| (place, id, until.as_millis()));
            draft.insert(keys::finished(now, event_id), codec::encode_done(&Done { key: place, once })?);
        } else {
            draft.remember(place, Known::Event { id: event_id, scope, participation, alive, dead })?;
        }
        if tally.dead == 0
            && let Some((place, owner, until)) = last_once
        {
            draft.insert(keys::expiry(until, &place), codec::encode_owner(owner)?);
        }
        Ok(())
    }

    /// Drafts the begun mark of lent jobs; they stay lent.
    pub fn mark_begun(&mut self, draft: &mut Draft, tokens: &[Token]) -> Result<(), StoreError> {
        for token in tokens {
            let Some(lease) = self.leases.get_mut(&token.id) else { continue };
            let Some(job) = lease.record.job.as_mut().filter(|_| lease.number == token.lease) else { continue };
            job.begun = true;
            let pieces = codec::encode_record(&lease.record)?;
            lease.behind = pieces.rest.len() as u8;
            let key = if lease.spot.due.is_none() { lease.spot.key(token.id) } else { keys::moved(token.id) };
            draft.record(key, token.id, pieces);
        }
        Ok(())
    }

    /// Drafts that a dead letter lives again, or dies anew. `false`: there is none with this id.
    pub fn revive(
        &mut self,
        draft: &mut Draft,
        id: JobId,
        start: Start,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.tell_time(now);
        let Some(first) = self.db.get(keys::dead(id)).map_err(|error| broken(&error))? else { return Ok(false) };
        let record = self.read(id, &first)?;
        let group = self.group_of(&record);
        if let Some(burial) = &record.burial {
            self.head.bury(group, burial.reason, -1);
        }
        draft.remove(keys::dead(id));
        let lives = matches!(start, Start::Run { .. });
        let Record { event, once, .. } = record;
        let begin = Begin::new(event.clone(), start, once)?;
        Base::drop_pieces(draft, id, 0, codec::pieces_behind(&first));
        self.begin(draft, id, begin, now, false);
        let moved = i16::from(lives);
        self.tally(draft, id, &event, None, Tally { alive: moved, dead: -moved }, now)?;
        Ok(true)
    }
}

/// By how much an event's living and dead jobs change.
struct Tally {
    alive: i16,
    dead: i16,
}

impl Tally {
    fn is_nothing(&self) -> bool {
        self.alive == 0 && self.dead == 0
    }

    fn alive(&self, before: u8) -> u8 {
        before.saturating_add_signed(self.alive as i8)
    }

    fn dead(&self, before: u8) -> u8 {
        before.saturating_add_signed(self.dead as i8)
    }
}

fn standing(alive: u8, dead: u8) -> Standing {
    match (alive, dead) {
        (0, 0) => Standing::Done,
        (0, _) => Standing::Dead,
        _ => Standing::Queued,
    }
}
