//! Forgetting what is past its time: a bounded slice at a time, so that nothing ever stops for it; twice a second, and
//! with each batch that is small or comes while there is something to forget. And, while nobody writes, putting the
//! index in order.

use super::base::{Base, Draft, broken};
use super::keys::{self, Place};
use crate::model::id::JobId;
use crate::store::StoreError;
use crate::store::codec::{self, Known, PIECE_BYTES_MAX};

/// How many entries of each kind one slice looks at.
const SLICE_MAX: usize = 64;

/// Of dead letters also no more than so many bytes, or one more: they may be long.
const DEAD_BYTES_MAX: usize = 64 << 10;

/// Dead letters stay for months: with so many batches one slice of them is enough, unless there is something to discard.
const BATCHES_PER_DEAD: u64 = 16;

impl Base {
    /// Takes a slice of putting the index in order, while nobody writes. Not durable by itself: lost in a power cut, it
    /// happens again.
    pub fn settle(&mut self) -> Result<(), StoreError> {
        if self.index.is_settled() {
            return Ok(());
        }
        let work = Draft {
            used: true,
            ..Draft::default()
        };
        self.apply(work, false)?;
        self.free_replaced();
        Ok(())
    }

    /// Sweeps one slice while nobody writes. Not durable by itself: lost in a power cut, it happens again.
    pub fn apply_sweep(&mut self) -> Result<(), StoreError> {
        let mut draft = Draft::default();
        self.sweep(&mut draft)?;
        if !self.is_discarding {
            self.sweep_dead(&mut draft)?;
        }
        self.apply(draft, false)
    }

    /// Drafts the next slice.
    pub fn sweep(&mut self, draft: &mut Draft) -> Result<(), StoreError> {
        let before = (draft.writes, draft.known.len());
        self.sweep_finished(draft)?;
        self.sweep_keys(draft)?;
        if self.is_discarding || self.sweeps.is_multiple_of(BATCHES_PER_DEAD) {
            self.sweep_dead(draft)?;
        }
        self.sweeps += 1;
        self.sweeping = (draft.writes, draft.known.len()) != before;
        Ok(())
    }

    fn sweep_finished(&mut self, draft: &mut Draft) -> Result<(), StoreError> {
        for entry in self.db.scan_prefix(keys::FINISHED_PREFIX).take(SLICE_MAX) {
            let (key, value) = entry.map_err(|error| broken(&error))?;
            let Some((at, event)) = keys::finished_parts(&key) else {
                continue;
            };
            if at + self.settings.done_retention > self.now {
                break;
            }
            let done = codec::decode_done(&value)?;
            draft.remove(key);
            // Which of the two it is need not be known here: what is past its time counts as forgotten already.
            let longest = self.settings.event_dedupe.max(self.settings.webhook_dedupe);
            let until = event.accepted_at() + longest;
            if until > self.now {
                draft.insert(
                    keys::expiry(until, &done.key),
                    codec::encode_owner(event.job(0))?,
                );
            } else {
                self.forget_if_owned(draft, done.key, event.job(0))?;
            }
            if let Some((place, owner, until)) = done.once {
                draft.insert(keys::expiry(until, &place), codec::encode_owner(owner)?);
            }
        }
        Ok(())
    }

    fn sweep_keys(&mut self, draft: &mut Draft) -> Result<(), StoreError> {
        for entry in self.db.scan_prefix(keys::EXPIRY_PREFIX).take(SLICE_MAX) {
            let (key, value) = entry.map_err(|error| broken(&error))?;
            let Some((until, place)) = keys::expiry_parts(&key) else {
                continue;
            };
            if until > self.now {
                break;
            }
            draft.remove(key);
            self.forget_if_owned(draft, place, codec::decode_owner(&value)?)?;
        }
        Ok(())
    }

    /// Forgets what is remembered at a place, unless somebody else is remembered there by now.
    fn forget_if_owned(
        &mut self,
        draft: &mut Draft,
        place: Place,
        owner: JobId,
    ) -> Result<(), StoreError> {
        let there = match self.known(draft, &place)? {
            Some(Known::Event(event)) => Some(event.id.job(0)),
            Some(Known::Once { job, .. }) => Some(job),
            Some(Known::Address(_)) | None => None,
        };
        if there == Some(owner) {
            draft.forget(place);
        }
        Ok(())
    }

    fn sweep_dead(&mut self, draft: &mut Draft) -> Result<(), StoreError> {
        let from = self
            .sweep_from
            .map_or_else(|| keys::DEAD_PREFIX.to_vec(), keys::dead);
        let (mut last, mut bytes) = (None, 0);
        self.is_discarding = false;
        for (looked, entry) in self.db.range(from..).enumerate() {
            let (key, first) = entry.map_err(|error| broken(&error))?;
            let Some(id) = keys::id_at_end(&key).filter(|_| key.starts_with(keys::DEAD_PREFIX))
            else {
                break;
            };
            if looked >= SLICE_MAX || bytes > DEAD_BYTES_MAX {
                last = Some(id);
                break;
            }
            if draft.revived.contains_key(&id) {
                continue;
            }
            bytes += first.len() + usize::from(codec::pieces_behind(&first)) * PIECE_BYTES_MAX;
            let record = self.read(id, &first)?;
            let Some(burial) = &record.burial else {
                continue;
            };
            let retention = self.settings.dead_retention;
            let end = burial.at + retention;
            if end > self.now || !self.expiring.is_announced(retention, self.now) {
                let workspace = record.workspace.as_deref();
                self.expiring.see(workspace, end, retention, self.now);
                continue;
            }
            self.is_discarding = true;
            self.expiring.discard();
            self.discard_record(draft, id, &record, codec::pieces_behind(&first))?;
        }
        if last.is_none() {
            self.expiring.come_round(self.metrics.as_deref(), self.now);
        }
        self.sweep_from = last;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
