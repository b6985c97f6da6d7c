//! Moving jobs: commits and begun marks.

use std::collections::BTreeMap;

use super::append::Begin;
use super::base::{Base, Draft, Placing};
use super::counts::GroupId;
use super::keys::{self, LaneKey, Participant, Place};
use super::lend::{Lease, Stand};
use super::tally::Tally;
use super::turns::TurnEnd;
use crate::flow::job::{Child, Commit, Fate, Job, Start};
use crate::model::id::JobId;
use crate::model::time::Timestamp;
use crate::store::codec::{self, Known, Pieces, Record};
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
        let after = self.turn_after(&fate, &home);
        let enters = after.filter(|_| after != before);
        if enters.is_some()
            || bury_successors.is_some()
            || spawn.iter().any(|child| child.job.state.takes_turn())
        {
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
        let (born, mut behind) =
            self.spawn_all(draft, (id, lease.record.replay), home, spawn, enters, now)?;
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
        let replay = lease.record.replay;
        let (delivered, died) = match &fate {
            Fate::Keep { .. } => (0, 0),
            Fate::Finish(_) => (1, 0),
            Fate::Bury { .. } => (0, 1),
        };
        if u64::from(children) + delivered + died > 0 {
            self.count_replay(draft, replay, |counts| {
                counts.spawned += u64::from(children);
                counts.delivered += delivered;
                counts.died += died;
            })?;
        }
        let mut tally = Tally {
            alive: i16::from(children),
            born,
            ..Tally::default()
        };
        match fate {
            Fate::Keep { lane, job } => {
                let lane = self.names.lane(&lane);
                self.keep(draft, (id, lease), (lane, job), behind, now)?;
            }
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
        (id, lease): (JobId, Lease),
        (lane, mut job): (LaneKey, Job),
        behind: Option<Participant>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        job.fresh &= lease.record.replay.is_none();
        let (fresh, due, follows) = (job.fresh, job.due, job.state.follows());
        let workspace = self
            .names
            .lane_of(lane)
            .map(|lane| lane.workspace.to_string());
        let (pieces, group) = self.rewrite(draft, id, lease, |record| {
            record.workspace = workspace;
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
        (parent, replay): (JobId, Option<u32>),
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
                let begin = Begin::new(child.event, start, Some(home), child.once, replay)?;
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
}
