//! What is remembered of participants: a sorted index of our own, kept in runs.
//!
//! One random key for every event is what a tree of pages is worst at: each insertion rewrites a page somewhere, and
//! once the tree is larger than the cache it reads one first. Here what a commit remembers is written behind one key of
//! its own (the log), collected in memory, and now and then written down in order as a run of blocks of up to 4 KiB;
//! runs of one size are merged into a longer one, in slices, a little with every commit (a log-structured merge tree).
//! What is forgotten hides what is older until it meets it in the oldest run. That one's size is what is left of it, and
//! not how often it was merged: where most is forgotten again it stays short, and is soon merged with what is new.
//!
//! Invariants: what is newer hides what is older: young, then frozen, then runs from the last to the first. A run is
//! read only when it is complete; what a crash leaves of an unfinished one is in `garbage`. The log is kept until the
//! run that holds it is complete. In memory are at most about twice `young_max` entries, and a [`filter`] of two bytes
//! for every other.

mod block;
mod books;
mod filter;
mod merge;
mod slice;
mod wipe;

use std::collections::BTreeMap;

use self::block::Writer;
use self::books::{Books, Manifest, Run};
use self::filter::{Filter, Probe};
use self::merge::{Flush, Merge};
use super::base::{Draft, broken};
use super::keys::{self, PARTICIPANT_BYTES, Place};
use crate::model::time::Timestamp;
use crate::store::StoreError;
use crate::store::codec::{self, Known, PIECE_BYTES_MAX};
use ::sled::{Db, IVec};

/// Runs of one level that are merged into one of the next.
const FAN_IN: usize = 4;

/// How many entries are flushed for each that is remembered: it must be done before the next flush is due.
const FLUSH_PACE: usize = 4;

/// With so many runs one entry is merged for each that is remembered, with more runs more: a burst is taken at once and
/// put in order behind it, and whoever never rests still has a bounded number of runs.
const RUNS_PER_PACE: usize = 4;

/// Into how many slices a flush is cut at most: of commits that remember nothing, and of those that have nothing else
/// to do either.
const SLICES_BUSY: usize = 2048;
const SLICES_IDLE: usize = 16;

/// How many keys of what is no longer needed go with one commit.
const CLEAR_MAX: usize = 64;

/// Entries by place. An empty value says that it is forgotten: what is older is hidden.
pub type Table = BTreeMap<Place, IVec>;

/// The index, as far as it is in memory.
pub struct Index {
    young: Table,
    frozen: Option<Frozen>,
    /// Complete runs, oldest first.
    runs: Vec<Held>,
    books: Books,
    /// The manifest is not yet written as it is.
    changed: bool,
    merge: Option<Merge>,
    /// Log pieces of earlier commits are no longer needed, and some may still be there.
    log_to_clear: bool,
    young_max: usize,
    /// What is young is written down at once, however little it is: the log still holds what is to be gone.
    hurries: bool,
    /// Addresses learnt before that are no longer believed.
    forget_before: Timestamp,
}

/// Entries on their way into a run.
struct Frozen {
    table: Table,
    /// The log up to this commit is in them.
    upto: u64,
    flush: Flush,
}

/// A run, and who is not in it.
struct Held {
    run: Run,
    filter: Filter,
}

impl Index {
    /// Reads the manifest and the log.
    pub fn open(db: &Db, young_max: usize) -> Result<Index, StoreError> {
        let Manifest { runs, books } =
            match db.get(keys::MANIFEST).map_err(|error| broken(&error))? {
                Some(bytes) => codec::decode_table(&bytes)?,
                None => no_runs(db)?,
            };
        let mut young = Table::default();
        let mut hurries = false;
        for entry in db.range(keys::log(books.log_from, 0)..) {
            let (key, piece) = entry.map_err(|error| broken(&error))?;
            if !key.starts_with(keys::LOG_PREFIX) {
                break;
            }
            for entry in codec::entries(&piece)? {
                let (place, value) = entry?;
                let before = young.insert(*place, IVec::from(value));
                hurries |= value.is_empty() && before.is_some_and(|it| codec::is_address(&it));
            }
        }
        let runs = runs.into_iter().map(|run| {
            let filter = Filter::read(db, run.number)?;
            Ok(Held { run, filter })
        });
        let runs = runs.collect::<Result<_, StoreError>>()?;
        Ok(Index {
            young,
            frozen: None,
            runs,
            books,
            changed: false,
            merge: None,
            log_to_clear: true,
            young_max,
            hurries,
            forget_before: Timestamp::ZERO,
        })
    }

    /// What is remembered at a place.
    pub fn get(&self, db: &Db, place: &Place) -> Result<Option<Known>, StoreError> {
        let frozen = self.frozen.as_ref().map(|frozen| &frozen.table);
        for table in [Some(&self.young), frozen].into_iter().flatten() {
            if let Some(value) = table.get(place) {
                return known(value);
            }
        }
        for run in self.runs_with(place).rev() {
            if let Some(value) = block::find(db, run, place)? {
                return known(&value);
            }
        }
        Ok(None)
    }

    /// All that is remembered of the participant of this place.
    pub fn of_participant(
        &self,
        db: &Db,
        place: &Place,
    ) -> Result<BTreeMap<Place, Known>, StoreError> {
        let (low, high) = participant(place);
        let mut found = Table::default();
        for run in self.runs_with(place) {
            block::collect(db, run, low, high, &mut found)?;
        }
        let frozen = self.frozen.as_ref().map(|frozen| &frozen.table);
        for table in [frozen, Some(&self.young)].into_iter().flatten() {
            found.extend(
                table
                    .range(low..=high)
                    .map(|(place, value)| (*place, value.clone())),
            );
        }
        let mut all = BTreeMap::new();
        for (place, value) in found {
            if let Some(known) = known(&value)? {
                all.insert(place, known);
            }
        }
        Ok(all)
    }

    /// The runs that may hold the participant of this place, oldest first.
    fn runs_with(&self, place: &Place) -> impl DoubleEndedIterator<Item = u32> {
        let probe = Probe::of(place);
        let runs = self.runs.iter();
        runs.filter(move |held| held.filter.perhaps(&probe))
            .map(|held| held.run.number)
    }

    /// From now on merging leaves out addresses that were learnt before this.
    pub fn forget_addresses_before(&mut self, moment: Timestamp) {
        self.forget_before = moment;
    }

    /// Puts what `draft` makes known into its batch, as part of commit `commit`, together with a slice of the work that
    /// keeps the runs in order.
    pub fn write(&mut self, db: &Db, draft: &mut Draft, commit: u64) -> Result<(), StoreError> {
        let idle = draft.writes == 0 && draft.known.is_empty();
        let slices = if idle { SLICES_IDLE } else { SLICES_BUSY };
        let slice = self.young_max.div_ceil(slices);
        let added = self.log(draft, commit)?;
        // First, so that it reads no run whose last blocks are in this very draft.
        self.merge(db, draft, slice + added * self.runs.len() / RUNS_PER_PACE)?;
        self.freeze(commit);
        self.flush(draft, slice + added * FLUSH_PACE);
        self.clear(db, draft)?;
        if std::mem::take(&mut self.changed) {
            let manifest = Manifest {
                runs: self.runs.iter().map(|held| held.run).collect(),
                books: self.books.clone(),
            };
            draft.insert(keys::MANIFEST, codec::encode_table(&manifest)?);
        }
        Ok(())
    }

    /// Whether nothing is left that a further commit would do.
    pub fn is_settled(&self) -> bool {
        self.frozen.is_none()
            && !self.log_to_clear
            && self.books.garbage.is_empty()
            && !self.hurries
            && self.mergeable().is_none()
    }

    fn log(&mut self, draft: &mut Draft, commit: u64) -> Result<usize, StoreError> {
        let mut piece = codec::begin_entries();
        let mut number = 0;
        for (place, known) in &draft.known {
            let value = match known {
                Some(known) => codec::encode_known(known)?,
                None => Vec::new(),
            };
            if piece.len() + codec::ENTRY_BYTES + value.len() > PIECE_BYTES_MAX {
                let full = std::mem::replace(&mut piece, codec::begin_entries());
                draft
                    .batch
                    .insert(&keys::log(commit, number), full.as_slice());
                number += 1;
            }
            codec::push_entry(&mut piece, place, &value);
            self.young.insert(*place, IVec::from(value.as_slice()));
        }
        let added = draft.known.len();
        if added > 0 {
            draft
                .batch
                .insert(&keys::log(commit, number), piece.as_slice());
            draft.writes += usize::from(number) + 1;
        }
        Ok(added)
    }

    fn freeze(&mut self, commit: u64) {
        if (self.hurries || self.young.len() >= self.young_max) && self.frozen.is_none() {
            self.hurries = false;
            self.changed = true;
            let table = std::mem::take(&mut self.young);
            let flush = Flush::new(self.books.begin(), table.len());
            self.frozen = Some(Frozen {
                table,
                upto: commit,
                flush,
            });
        }
    }

    fn flush(&mut self, draft: &mut Draft, entries: usize) {
        let Some(mut frozen) = self.frozen.take() else {
            return;
        };
        if frozen.flush.step(&frozen.table, draft, entries) {
            let level = 0;
            let held = self.complete(draft, frozen.flush.into_writer(), level);
            self.runs.push(held);
            self.books.log_from = frozen.upto + 1;
            self.log_to_clear = true;
        } else {
            self.frozen = Some(frozen);
        }
    }

    /// What was written is a run now.
    fn complete(&mut self, draft: &mut Draft, written: Writer, level: u8) -> Held {
        let Writer {
            run: number,
            filter,
            entries,
            ..
        } = written;
        filter.write(draft, number);
        self.books.spare(number);
        self.changed = true;
        let run = Run {
            number,
            level,
            entries,
        };
        Held { run, filter }
    }

    /// The first of `FAN_IN` runs of one level, of the lowest level that has so many.
    fn mergeable(&self) -> Option<usize> {
        let level = |index: usize| self.runs[index].run.level;
        let from = self.runs.len().checked_sub(FAN_IN)?;
        (0..=from)
            .rev()
            .find(|first| (*first..first + FAN_IN).all(|index| level(index) == level(*first)))
            // Of more than that the oldest: an order of sizes is kept.
            .and_then(|first| (0..=first).find(|index| level(*index) == level(first)))
    }

    fn merge(&mut self, db: &Db, draft: &mut Draft, entries: usize) -> Result<(), StoreError> {
        let Some(mut merge) = self.merge.take().or_else(|| self.begin_merge()) else {
            return Ok(());
        };
        if !merge.step(db, draft, entries, self.forget_before)? {
            self.merge = Some(merge);
            return Ok(());
        }
        let (inputs, written) = merge.into_parts();
        let of = |held: &Held| inputs.contains(&held.run.number);
        if let Some(first) = self.runs.iter().position(of) {
            let level = self.level(written.entries);
            let held = self.complete(draft, written, level);
            self.runs.splice(first..first + FAN_IN, [held]);
        }
        self.books.garbage.extend(inputs);
        Ok(())
    }

    /// How long a run of so many entries is: each level is `FAN_IN` times the one below.
    fn level(&self, entries: u64) -> u8 {
        let flushes = entries.div_ceil(self.young_max as u64).max(1);
        flushes.ilog(FAN_IN as u64) as u8
    }

    fn begin_merge(&mut self) -> Option<Merge> {
        let first = self.mergeable()?;
        let inputs = &self.runs[first..first + FAN_IN];
        self.changed = true;
        let entries: u64 = inputs.iter().map(|held| held.run.entries).sum();
        let inputs: Vec<u32> = inputs.iter().map(|held| held.run.number).collect();
        // Nothing is older than the oldest: what hides nothing may go.
        let oldest = first == 0;
        Some(Merge::new(
            &inputs,
            self.books.begin(),
            entries as usize,
            oldest,
        ))
    }

    /// Removes a slice of what is no longer needed: blocks of merged or unfinished runs, and the log of what is in runs.
    fn clear(&mut self, db: &Db, draft: &mut Draft) -> Result<(), StoreError> {
        let flushing = self.frozen.as_ref().map(|frozen| frozen.flush.run());
        let merging = self.merge.as_ref().map(Merge::run);
        let gone = |run: &&u32| Some(**run) != flushing && Some(**run) != merging;
        if let Some(run) = self.books.garbage.iter().find(gone).copied()
            && !remove(draft, db.scan_prefix(keys::run_prefix(run)))?
            && !remove(draft, db.scan_prefix(keys::filter_prefix(run)))?
        {
            self.books.spare(run);
            self.changed = true;
        }
        if self.log_to_clear {
            let old = db.range(keys::log(0, 0)..keys::log(self.books.log_from, 0));
            self.log_to_clear = remove(draft, old)?;
        }
        Ok(())
    }
}

/// The manifest of an index without runs. It is written with the first block of the first run.
fn no_runs(db: &Db) -> Result<Manifest, StoreError> {
    match db.scan_prefix(keys::RUN_PREFIX).next() {
        None => Ok(Manifest::default()),
        Some(Ok(_)) => Err(StoreError::Failed(
            "the index of participants: which runs it has is missing".into(),
        )),
        Some(Err(error)) => Err(broken(&error)),
    }
}

/// Removes a slice of these; `false` when there was none.
fn remove(draft: &mut Draft, entries: ::sled::Iter) -> Result<bool, StoreError> {
    let mut any = false;
    for key in entries.keys().take(CLEAR_MAX) {
        any = true;
        draft.remove(key.map_err(|error| broken(&error))?);
    }
    Ok(any)
}

fn known(value: &[u8]) -> Result<Option<Known>, StoreError> {
    if value.is_empty() {
        return Ok(None);
    }
    Ok(Some(codec::decode_known(value)?))
}

/// The first and the last place that a participant may have.
pub fn participant(place: &Place) -> (Place, Place) {
    let (mut low, mut high) = (*place, *place);
    low[PARTICIPANT_BYTES..].fill(0);
    high[PARTICIPANT_BYTES..].fill(0xff);
    (low, high)
}

#[cfg(test)]
mod tests;
