//! Moving jobs: commits, begun marks, and dead letters that live again.

use super::append::Begin;
use super::base::{Base, Draft, Placing, broken};
use super::counts::{GroupId, Standing};
use super::keys::{self, Place};
use super::lend::Lease;
use crate::flow::job::{Child, Commit, Fate, Start};
use crate::model::id::JobId;
use crate::model::time::Timestamp;
use crate::store::codec::{self, Done, Known, KnownEvent, Pieces, Record};
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
        self.tell_time(now)?;
        let Some(lease) = self.take_lease(token) else {
            return Ok(Committed::LostLease);
        };
        let id = token.id;
        draft.remove(lease.spot.key(id));
        self.head.live(lease.spot.lane, lease.group, -1, 0);
        let ended = matches!(commit.fate, Fate::Finish(_));
        if ended {
            // Whatever it held may be taken by its own children already.
            draft.ended.insert(id);
        }
        let home = self.home(&lease.record);
        let born = self.spawn_all(draft, id, home, commit.spawn, now)?;
        let children = born.len() as u8;
        let once = lease
            .record
            .once
            .as_deref()
            .filter(|_| ended)
            .map(|once| self.hasher.once(&lease.record.event, once));
        let mut tally = Tally {
            alive: i16::from(children),
            born,
            ..Tally::default()
        };
        match commit.fate {
            Fate::Keep { lane, job } => {
                let (fresh, due) = (job.fresh, job.due);
                let workspace = lane.workspace.to_string();
                let lane = self.names.lane(&lane);
                let (pieces, group) = self.rewrite(draft, id, lease, |record| {
                    record.workspace = Some(workspace);
                    record.flow = Some(job.state.flow());
                    record.job = Some(job);
                })?;
                self.place(
                    draft,
                    Placing {
                        id,
                        lane,
                        group,
                        pieces: pieces.into(),
                        fresh,
                        due,
                        first: false,
                    },
                    now,
                );
            }
            Fate::Finish(outcome) => {
                if lease.spot.due.is_some() {
                    draft.remove(keys::moved(id));
                }
                Base::drop_pieces(draft, id, 0, lease.behind);
                self.head.finish(lease.group, outcome);
                tally.alive -= 1;
            }
            Fate::Bury { job, burial } => {
                if lease.spot.due.is_some() {
                    draft.remove(keys::moved(id));
                }
                let reason = burial.reason;
                let (pieces, group) = self.rewrite(draft, id, lease, |record| {
                    record.flow = Some(job.state.flow());
                    record.job = Some(job);
                    record.burial = Some(burial);
                })?;
                draft.record(keys::dead(id), id, pieces);
                self.head.bury(group, reason, 1);
                tally.alive -= 1;
                tally.dead += 1;
            }
        }
        self.tally(draft, id, home, once, tally, now)?;
        Ok(Committed::Stored { children })
    }

    /// Encodes a lent record after `change`, and drops the pieces it no longer needs.
    fn rewrite(
        &mut self,
        draft: &mut Draft,
        id: JobId,
        lease: Lease,
        change: impl FnOnce(&mut Record),
    ) -> Result<(Pieces, GroupId), StoreError> {
        let mut record = lease.record;
        change(&mut record);
        let pieces = codec::encode_record(&record)?;
        Base::drop_pieces(draft, id, pieces.rest.len(), lease.behind);
        let group = self.group_of(&record);
        Ok((pieces, group))
    }

    /// Drafts those children that were never spawned before, and says their numbers.
    fn spawn_all(
        &mut self,
        draft: &mut Draft,
        parent: JobId,
        home: Place,
        children: Vec<Child>,
        now: Timestamp,
    ) -> Result<Vec<u8>, StoreError> {
        let mut born = Vec::new();
        if children.is_empty() {
            return Ok(born);
        }
        let known = self.known_event(draft, parent, &home)?;
        for Child {
            number,
            lane,
            job,
            event,
            once,
        } in children
        {
            let taken = number == 0 || number == parent.number;
            if taken || born.contains(&number) || known.numbers.contains(&number) {
                continue;
            }
            let id = parent.event.job(number);
            if let Some(once) = &once {
                let place = self.hasher.once(&event, once);
                if self.remembers_once(draft, &place, now)? {
                    continue;
                }
                draft.remember(place, Known::Once { job: id, at: now });
            }
            let begin = Begin::new(event, Start::Run { lane, job }, Some(home), once)?;
            self.begin(draft, id, begin, now, true);
            born.push(number);
        }
        Ok(born)
    }

    fn remembers_once(
        &self,
        draft: &Draft,
        place: &Place,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        match self.known(draft, place)? {
            // A child of this very draft is remembered and not yet in the tree.
            Some(Known::Once { job, at }) => Ok(at + self.settings.credit_dedupe > now
                || (!draft.ended.contains(&job) && self.has_jobs(&keys::id_bytes(job))?)),
            Some(Known::Event(_)) | None => Ok(false),
        }
    }

    /// Where the event of a job is remembered.
    pub fn home(&self, record: &Record) -> Place {
        record
            .home
            .unwrap_or_else(|| self.hasher.event(&record.event))
    }

    fn known_event(
        &self,
        draft: &Draft,
        id: JobId,
        home: &Place,
    ) -> Result<KnownEvent, StoreError> {
        match self.known(draft, home)? {
            Some(Known::Event(known)) if known.id == id.event => Ok(known),
            _ => Err(StoreError::Failed(format!(
                "the event of job {id} is not remembered"
            ))),
        }
    }

    /// Keeps account of an event's jobs, and ends it when none is left. `once`: the job that ended held this place.
    pub fn tally(
        &mut self,
        draft: &mut Draft,
        id: JobId,
        home: Place,
        once: Option<Place>,
        tally: Tally,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let plain = tally.born == [1] && id.number == 0;
        if tally.alive == 0 && tally.dead == 0 && (tally.born.is_empty() || plain) && once.is_none()
        {
            return Ok(());
        }
        let mut known = self.known_event(draft, id, &home)?;
        let was = standing(&known);
        tally.apply(&mut known, id.number);
        let is = standing(&known);
        self.head.pass(was, is);
        let mut expiry = None;
        if let Some(place) = once
            && let Some(Known::Once { job, at }) = self.known(draft, &place)?
        {
            expiry = Some((place, job, at + self.settings.credit_dedupe));
        }
        if known.alive == 0 && known.dead == 0 {
            let done = Done {
                key: home,
                once: expiry.take(),
            };
            draft.insert(keys::finished(now, known.id), codec::encode_done(&done)?);
        } else {
            draft.remember(home, Known::Event(known));
        }
        if let Some((place, owner, until)) = expiry {
            draft.insert(keys::expiry(until, &place), codec::encode_owner(owner)?);
        }
        Ok(())
    }

    /// Drafts the begun mark of lent jobs; they stay lent.
    pub fn mark_begun(&mut self, draft: &mut Draft, tokens: &[Token]) -> Result<(), StoreError> {
        for token in tokens {
            let Some(lease) = self
                .leases
                .get_mut(&token.id)
                .filter(|lease| lease.number == token.lease)
            else {
                continue;
            };
            let Some(job) = lease.record.job.as_mut() else {
                continue;
            };
            job.begun = true;
            let pieces = codec::encode_record(&lease.record)?;
            lease.behind = pieces.rest.len() as u8;
            let key = if lease.spot.due.is_none() {
                lease.spot.key(token.id)
            } else {
                keys::moved(token.id)
            };
            draft.record(key, token.id, pieces);
        }
        Ok(())
    }

    /// Drafts that a dead letter lives again, or stays with another burial. `false`: there is none with this id.
    pub fn revive(
        &mut self,
        draft: &mut Draft,
        id: JobId,
        start: Start,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.tell_time(now)?;
        let Some(record) = self.dead_record(draft, id)? else {
            return Ok(false);
        };
        let group = self.group_of(&record);
        if let Some(burial) = &record.burial {
            self.head.bury(group, burial.reason, -1);
        }
        let home = self.home(&record);
        match start {
            Start::Run { .. } => {
                draft.remove(keys::dead(id));
                let begin = Begin::new(record.event, start, record.home, record.once)?;
                self.begin(draft, id, begin, now, false);
                self.tally(
                    draft,
                    id,
                    home,
                    None,
                    Tally {
                        alive: 1,
                        dead: -1,
                        ..Tally::default()
                    },
                    now,
                )?;
                draft.revived.insert(id, None);
            }
            Start::Bury {
                workspace,
                flow,
                burial,
            } => {
                let workspace = workspace.map(|name| name.to_string());
                let reason = burial.reason;
                let record = Record {
                    workspace,
                    flow,
                    burial: Some(burial),
                    ..record
                };
                draft.record(keys::dead(id), id, codec::encode_record(&record)?);
                let group = self.group_of(&record);
                self.head.bury(group, reason, 1);
                draft.revived.insert(id, Some(record));
            }
        }
        Ok(true)
    }
}

impl Base {
    /// A dead letter, this draft included. The draft drops its pieces: whoever asks writes it anew.
    fn dead_record(&self, draft: &mut Draft, id: JobId) -> Result<Option<Record>, StoreError> {
        if let Some(record) = draft.revived.get(&id) {
            return Ok(record.clone());
        }
        let Some(first) = self
            .db
            .get(keys::dead(id))
            .map_err(|error| broken(&error))?
        else {
            return Ok(None);
        };
        Base::drop_pieces(draft, id, 0, codec::pieces_behind(&first));
        self.read(id, &first).map(Some)
    }
}

/// By how much an event's jobs change.
#[derive(Default)]
pub struct Tally {
    alive: i16,
    dead: i16,
    discarded: bool,
    /// The numbers of the jobs that were spawned.
    born: Vec<u8>,
}

impl Tally {
    /// A dead job was discarded.
    pub const DISCARDED: Tally = Tally {
        alive: 0,
        dead: -1,
        discarded: true,
        born: Vec::new(),
    };

    fn apply(self, known: &mut KnownEvent, number: u8) {
        known.alive = known.alive.saturating_add_signed(self.alive as i8);
        known.dead = known.dead.saturating_add_signed(self.dead as i8);
        known.discarded |= self.discarded;
        if !self.born.is_empty() {
            known.numbers.push(number);
            known.numbers.extend(self.born);
            known.numbers.sort_unstable();
            known.numbers.dedup();
        }
    }
}

fn standing(event: &KnownEvent) -> Standing {
    match event {
        KnownEvent {
            alive: 0,
            dead: 0,
            discarded: false,
            ..
        } => Standing::Done,
        KnownEvent {
            alive: 0,
            dead: 0,
            discarded: true,
            ..
        } => Standing::Discarded,
        KnownEvent { alive: 0, .. } => Standing::Dead,
        KnownEvent { .. } => Standing::Queued,
    }
}
