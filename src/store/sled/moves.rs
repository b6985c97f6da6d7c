//! Moving jobs: commits, begun marks, and dead letters that live again.

use std::collections::BTreeMap;

use super::append::Begin;
use super::base::{Base, Draft, Placing, broken};
use super::counts::{GroupId, Standing};
use super::keys::{self, Participant, Place};
use super::lend::{Lease, Stand};
use super::turns::TurnEnd;
use crate::flow::job::{Child, Commit, Fate, Job, Start};
use crate::model::id::JobId;
use crate::model::lane::Lane;
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
        let Commit {
            fate,
            spawn,
            learnt,
            gap,
            bury_successors,
        } = commit;
        let id = token.id;
        let home = self.home(&lease.record);
        let before = self.turn_of(&lease);
        let after = self.turn_after(&fate, &lease.record, &home);
        let enters = after.filter(|_| after != before);
        if enters.is_some() || bury_successors.is_some() || spawn.iter().any(Child::takes_turn) {
            self.apply_early(draft)?;
            self.note_alone(draft, before, id)?;
        }
        if let Some(address) = learnt {
            self.learn(draft, &lease, &home, address)?;
        }
        if let Some(key) = lease.spot.key(id) {
            draft.remove(key);
        }
        let (due, later) = if lease.spot.is_ready() {
            (1, 0)
        } else {
            (0, 1)
        };
        self.head.live(lease.spot.lane, lease.group, -due, -later);
        let ended = matches!(fate, Fate::Finish(_));
        if ended {
            // Whatever it held may be taken by its own children already.
            draft.ended.insert(id);
        }
        let (born, mut behind) = self.spawn_all(draft, id, home, spawn, enters, now)?;
        let children = born.len() as u8;
        let born_ids: Vec<JobId> = born.iter().map(|number| id.event.job(*number)).collect();
        if lease.spot.stand == Stand::Behind && after == before {
            behind = before;
        }
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
        match fate {
            Fate::Keep { lane, job } => self.keep(draft, id, lease, lane, job, behind, now)?,
            Fate::Finish(outcome) => {
                if lease.spot.is_moved() {
                    draft.remove(keys::moved(id));
                }
                Base::drop_pieces(draft, id, 0, lease.behind);
                self.head.finish(lease.group, outcome);
                tally.alive -= 1;
            }
            Fate::Bury { job, burial } => {
                if lease.spot.is_moved() {
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
        if let Some(participant) = before.filter(|_| after != before) {
            let end = TurnEnd {
                gap,
                bury_successors,
                born: &born_ids,
            };
            self.leave(draft, participant, id, end, now)?;
        }
        Ok(Committed::Stored { children })
    }

    /// Drafts that a lent job goes on.
    fn keep(
        &mut self,
        draft: &mut Draft,
        id: JobId,
        lease: Lease,
        lane: Lane,
        job: Job,
        behind: Option<Participant>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (fresh, due, follows) = (job.fresh, job.due, job.state.follows());
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
                behind,
                follows,
            },
            now,
        )
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

    /// Drafts those children that were never spawned before, and says their numbers; and, when the parent itself `enters`
    /// a turn, whether it is behind there.
    fn spawn_all(
        &mut self,
        draft: &mut Draft,
        parent: JobId,
        home: Place,
        children: Vec<Child>,
        enters: Option<Participant>,
        now: Timestamp,
    ) -> Result<(Vec<u8>, Option<Participant>), StoreError> {
        let mut born = Vec::new();
        let mut begins = Vec::new();
        let mut entering = Vec::from_iter(enters.map(|participant| (parent, participant)));
        if !children.is_empty() {
            let known = self.known_event(draft, parent, &home)?;
            for child in children {
                let number = child.number;
                let taken = number == 0 || number == parent.number;
                if taken || born.contains(&number) || known.numbers.contains(&number) {
                    continue;
                }
                let id = parent.event.job(number);
                if let Some(once) = &child.once {
                    let place = self.hasher.once(&child.event, once);
                    if self.remembers_once(draft, &place, now)? {
                        continue;
                    }
                    draft.remember(place, Known::Once { job: id, at: now });
                }
                let start = Start::Run {
                    lane: child.lane,
                    job: child.job,
                };
                let begin = Begin::new(child.event, start, Some(home), child.once)?;
                if let Some(lane) = begin.takes_turn_in() {
                    let lane = self.names.lane(lane);
                    entering.push((id, keys::participant(lane, &home)));
                }
                begins.push((id, begin));
                born.push(number);
            }
        }
        // In the order of their ids, so that none displaces another of this very draft.
        entering.sort_unstable();
        let mut behind = BTreeMap::new();
        for (id, participant) in entering {
            if self.enter(draft, participant, id, &home, Some(parent))? {
                behind.insert(id, participant);
            }
        }
        for (id, begin) in begins {
            self.begin(draft, id, begin, behind.get(&id).copied(), now, true)?;
        }
        Ok((born, behind.remove(&parent)))
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
            Some(Known::Event(_) | Known::Address(_)) | None => Ok(false),
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
            let key = if lease.spot.is_moved() {
                keys::moved(token.id)
            } else {
                keys::unmoved(lease.spot.lane, token.id).to_vec()
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
        let Some((record, pieces)) = self.dead_record(draft, id)? else {
            return Ok(false);
        };
        let home = self.home(&record);
        let mut behind = None;
        if let Start::Run { lane, job } = &start
            && job.state.takes_turn()
            && !record.event.email.is_empty()
        {
            let lane = self.names.lane(lane);
            let participant = keys::participant(lane, &home);
            if self.may_displace(draft, &participant, id, &home)? {
                self.apply_early(draft)?;
            }
            if self.enter(draft, participant, id, &home, None)? {
                behind = Some(participant);
            }
        }
        Base::drop_pieces(draft, id, 0, pieces);
        let group = self.group_of(&record);
        if let Some(burial) = &record.burial {
            self.head.bury(group, burial.reason, -1);
        }
        match start {
            Start::Run { .. } => {
                draft.remove(keys::dead(id));
                let begin = Begin::new(record.event, start, record.home, record.once)?;
                self.begin(draft, id, begin, behind, now, false)?;
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
    /// A dead letter, this draft included, and how many pieces of it stand in the tree.
    fn dead_record(&self, draft: &Draft, id: JobId) -> Result<Option<(Record, u8)>, StoreError> {
        if let Some(record) = draft.revived.get(&id) {
            return Ok(record.clone().map(|record| (record, 0)));
        }
        let Some(first) = self
            .db
            .get(keys::dead(id))
            .map_err(|error| broken(&error))?
        else {
            return Ok(None);
        };
        let record = self.read(id, &first)?;
        Ok(Some((record, codec::pieces_behind(&first))))
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
    /// A living job died.
    pub const DIED: Tally = Tally {
        alive: -1,
        dead: 1,
        discarded: false,
        born: Vec::new(),
    };

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
