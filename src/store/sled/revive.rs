//! Dead letters that live again, and those that are discarded.

use std::collections::HashSet;

use super::append::Begin;
use super::base::{Base, Draft, broken};
use super::keys;
use super::tally::Tally;
use crate::flow::job::Start;
use crate::model::id::JobId;
use crate::model::time::Timestamp;
use crate::store::codec::{self, Record};
use crate::store::{Note, StoreError};

impl Base {
    /// Drafts that a dead letter lives again, or stays with another burial. `false`: there is none with this id.
    pub fn revive(
        &mut self,
        draft: &mut Draft,
        id: JobId,
        start: Start,
        replay: Option<u32>,
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
                let begin = Begin::new(record.event, start, record.home, record.once, replay)?;
                self.count_replay(draft, replay, |counts| counts.revived += 1)?;
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
    /// Drafts what is put on paper of a change to these letters. To be called before the change: what of that is applied
    /// early must not come before the papers.
    pub fn note(
        &mut self,
        draft: &mut Draft,
        ids: impl Iterator<Item = JobId>,
        note: Note,
    ) -> Result<(), StoreError> {
        let mut seen = HashSet::new();
        let mut are_letters = Vec::new();
        for id in ids {
            let is_letter = match draft.revived.get(&id) {
                Some(record) => record.is_some(),
                None => self
                    .db
                    .contains_key(keys::dead(id))
                    .map_err(|error| broken(&error))?,
            };
            are_letters.push(is_letter && seen.insert(id));
        }
        Base::put_papers(draft, &note(&are_letters));
        Ok(())
    }

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

    /// Drafts that a dead letter is discarded. `false`: there is none with this id.
    pub fn discard(
        &mut self,
        draft: &mut Draft,
        id: JobId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.tell_time(now)?;
        let Some((record, pieces)) = self.dead_record(draft, id)? else {
            return Ok(false);
        };
        self.discard_record(draft, id, &record, pieces)?;
        Ok(true)
    }

    /// Drafts that this dead letter is discarded; so many pieces of it stand in the tree.
    pub fn discard_record(
        &mut self,
        draft: &mut Draft,
        id: JobId,
        record: &Record,
        pieces: u8,
    ) -> Result<(), StoreError> {
        draft.remove(keys::dead(id));
        Base::drop_pieces(draft, id, 0, pieces);
        draft.revived.insert(id, None);
        let group = self.group_of(record);
        if let Some(burial) = &record.burial {
            self.head.bury(group, burial.reason, -1);
        }
        let once = record.once.as_deref();
        let once = once.map(|once| self.hasher.once(&record.event, once));
        let home = self.home(record);
        self.tally(draft, id, home, once, Tally::DISCARDED, self.now)
    }
}
