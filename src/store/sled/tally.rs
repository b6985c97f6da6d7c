//! The account of an event: how many of its jobs live or are dead, and when it is done.

use super::base::{Base, Draft};
use super::counts::Standing;
use super::keys::{self, Place};
use crate::model::id::JobId;
use crate::model::time::Timestamp;
use crate::store::StoreError;
use crate::store::codec::{self, Done, Known, KnownEvent, Record};

impl Base {
    /// Where the event of a job is remembered.
    pub fn home(&self, record: &Record) -> Place {
        record
            .home
            .unwrap_or_else(|| self.hasher.event(&record.event))
    }

    /// What is remembered of the event of a job.
    pub fn known_event(
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
}

/// By how much an event's jobs change.
#[derive(Default)]
pub struct Tally {
    /// Jobs that live.
    pub alive: i16,
    /// Dead letters.
    pub dead: i16,
    /// One was discarded.
    pub discarded: bool,
    /// The numbers of the jobs that were spawned.
    pub born: Vec<u8>,
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
