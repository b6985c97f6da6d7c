//! What the writer works on: the tree, the account, the leases; and how one batch is drafted and made durable.
//!
//! Invariants: nothing is written but through a [`Draft`], and a draft is applied whole, together with the account as
//! it is afterwards. After [`Base::apply`] with `durable` the batch survives a power cut; an error there is final.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::sync::Arc;

use ::sled::{Db, IVec};

use super::copying::Copying;
use super::counts::{GroupId, Head, Names};
use super::disk::Folder;
pub use super::draft::Draft;
use super::expiring::Expiring;
use super::index::Index;
use super::keys::{self, Class, LaneKey, Participant, Place};
use super::landing::fits_a_pack;
use super::lend::Lease;
use super::mark::Mark;
use super::streams::Streams;
use super::time::due_value;
use super::turns::set_turn;
use super::weigh::Weight;
use crate::clock::Stopwatch;
use crate::model::Name;
use crate::model::budget::BudgetUse;
use crate::model::id::JobId;
use crate::model::lane::Lane;
use crate::model::time::Timestamp;
use crate::store::codec::{self, Behind, CodecError, Known, PIECE_BYTES_MAX, Pieces, Record, Turn};
use crate::store::hash::Hasher;
use crate::store::share::Share;
use crate::store::{Group, ReplayCounts, Settings, StoreError};
use crate::telemetry::Metrics;

/// A write replaces one page or a few, and a round of freeing takes at most 512.
const WRITES_PER_ROUND: usize = 64;

/// What sled is given in one batch at most, in bytes, where it can be parted.
///
/// Seven threads write for it behind its back, one part of a batch each, and then wait for the lock on its segments. Whoever
/// lets the file grow holds that lock until an earlier cut of the file is through, which is a task for the same seven: with
/// all of them in that queue everything stands still for ever (`watch`). So each batch is written before the next, and is
/// small. What a slow disk has not taken yet is memory, too.
pub const BATCH_BYTES_MAX: usize = 1 << 18;

/// Everything the writer thread owns.
pub struct Base {
    /// The database: one tree.
    pub db: Db,
    /// Our own descriptor on its data file.
    pub data_file: File,
    /// The mark.
    pub mark: Mark,
    /// The folder, locked.
    pub folder: Folder,
    /// The account.
    pub head: Head,
    /// Names of lanes and groups.
    pub names: Names,
    /// Hashes.
    pub hasher: Hasher,
    /// What is remembered of participants.
    pub index: Index,
    /// What was found of budgets when the store was opened.
    pub budgets: BTreeMap<Lane, BudgetUse>,
    /// What became of what replays let live.
    pub replays: BTreeMap<u32, ReplayCounts>,
    /// Dead letters that their age will discard soon.
    pub expiring: Expiring,
    /// Settings.
    pub settings: Settings,
    /// Jobs on loan.
    pub leases: HashMap<JobId, Lease>,
    /// The number of the last lease.
    pub last_lease: u64,
    /// Where each lane is read.
    pub streams: BTreeMap<LaneKey, Streams>,
    /// How each lane shares what it lends.
    pub shares: BTreeMap<LaneKey, Share>,
    /// Lanes in which something may have become due.
    pub touched: BTreeSet<LaneKey>,
    /// The account's pieces as they were last written.
    pub written: Vec<Vec<u8>>,
    /// Bits for the next id.
    pub dice: u64,
    /// The last slice of the sweep found something: there may be more.
    pub sweeping: bool,
    /// Where the sweep of dead letters goes on.
    pub sweep_from: Option<JobId>,
    /// How many slices were swept.
    pub sweeps: u64,
    /// The last slice of dead letters met one that was past its time.
    pub is_discarding: bool,
    /// Leases were lost with a person in this batch.
    pub revokes: bool,
    /// Keys written since sled was last made to free what they replaced.
    pub replaced: usize,
    /// The latest time that anybody told us.
    pub now: Timestamp,
    /// How much is alive.
    pub weight: Weight,
    /// The number of the last copy.
    pub last_copy: u64,
    /// A copy that is being taken.
    pub copying: Option<Copying>,
    /// Commit times.
    pub metrics: Option<Arc<Metrics>>,
}

impl From<CodecError> for StoreError {
    fn from(error: CodecError) -> StoreError {
        StoreError::Failed(error.to_string())
    }
}

/// An error of the engine itself: final.
pub fn broken(error: &::sled::Error) -> StoreError {
    StoreError::Failed(format!("sled/db: {error}"))
}

/// A record as sled takes it. Made on the caller's thread: sled copies every value of more than 22 bytes, and the
/// writer's time is the dearest.
#[derive(Clone)]
pub struct Written {
    /// With the envelope.
    pub first: IVec,
    /// Without.
    pub rest: Vec<IVec>,
}

impl From<Pieces> for Written {
    fn from(pieces: Pieces) -> Written {
        // From a slice: from a vector sled would shrink it first.
        Written {
            first: IVec::from(pieces.first.as_slice()),
            rest: pieces
                .rest
                .iter()
                .map(|piece| IVec::from(piece.as_slice()))
                .collect(),
        }
    }
}

/// A job to be put in its place.
pub struct Placing {
    /// The job.
    pub id: JobId,
    /// Where its next call goes.
    pub lane: LaneKey,
    /// Its group.
    pub group: GroupId,
    /// Its record.
    pub pieces: Written,
    /// Never failed at this step.
    pub fresh: bool,
    /// When it is due.
    pub due: Timestamp,
    /// It has not moved yet.
    pub first: bool,
    /// It waits behind the turn of this participant.
    pub behind: Option<Participant>,
    /// It may be lent along with the one before it.
    pub follows: bool,
}

impl Base {
    /// The group of a record.
    pub fn group_of(&mut self, record: &Record) -> GroupId {
        self.names.group(&group(record))
    }

    /// Puts a living job where it will be found when it is due.
    pub fn place(
        &mut self,
        draft: &mut Draft,
        placing: Placing,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let Placing {
            id,
            lane,
            group,
            pieces,
            fresh,
            due,
            first,
            behind,
            follows,
        } = placing;
        if let Some(participant) = behind {
            draft.record(keys::moved(id), id, pieces);
            let waits = Behind {
                lane: lane.0,
                group,
                due,
                fresh,
                follows,
            };
            set_turn(draft, participant, id, Some(Turn::Behind(waits)))?;
            self.head.live(lane, group, 0, 1);
            return Ok(());
        }
        let class = Class::of(fresh, due, now);
        let streams = self.streams.entry(lane).or_default();
        if first && class == Class::ReadyFresh && fits_a_pack(id, &pieces) {
            draft.used = true;
            draft.arriving += pieces.first.len();
            draft
                .arrivals
                .entry(lane)
                .or_default()
                .push((id.event, pieces.first));
        } else if first && class == Class::ReadyFresh {
            let key = keys::unmoved(lane, id);
            streams.unmoved.note(&key);
            draft.record(&key, id, pieces);
        } else {
            draft.record(keys::moved(id), id, pieces);
            let key = keys::due(lane, class, due, id);
            streams.note(class, &key);
            draft.insert(key, due_value(group, due));
        }
        let (ready, later) = if class.is_ready() { (1, 0) } else { (0, 1) };
        self.head.live(lane, group, ready, later);
        self.touched.insert(lane);
        Ok(())
    }

    /// What is remembered at a place, this draft included.
    pub fn known(&self, draft: &Draft, place: &Place) -> Result<Option<Known>, StoreError> {
        if let Some(known) = draft.known.get(place) {
            return Ok(known.clone());
        }
        self.index.get(&self.db, place)
    }

    /// Puts a stored record together again.
    pub fn read(&self, id: JobId, first: &[u8]) -> Result<Record, StoreError> {
        let behind = codec::pieces_behind(first);
        if behind == 0 {
            return Ok(codec::decode_record(first)?);
        }
        let mut bytes = first.to_vec();
        for number in 0..behind {
            let piece = self
                .db
                .get(keys::piece(id, number))
                .map_err(|error| broken(&error))?;
            let piece = piece
                .ok_or_else(|| StoreError::Failed(format!("a piece of job {id} is missing")))?;
            bytes.extend_from_slice(&piece);
        }
        Ok(codec::decode_record(&bytes)?)
    }

    /// Removes the pieces of `id` from number `from` on.
    pub fn drop_pieces(draft: &mut Draft, id: JobId, from: usize, count: u8) {
        for number in from..usize::from(count) {
            draft.remove(keys::piece(id, number as u8));
        }
    }

    /// Writes the draft and the account in one batch, and waits until it is in the file; `durable`: and survives a power cut.
    ///
    /// The order is the whole point: batch, sled's flush, fdatasync on our own descriptor (sled's flush alone is
    /// sync_file_range, which promises nothing), and only then the mark.
    pub fn apply(&mut self, mut draft: Draft, durable: bool) -> Result<(), StoreError> {
        if draft.used {
            let watch = Stopwatch::start();
            let known_for_millis = self.settings.known_for.as_millis() as u64;
            self.land(&mut draft);
            self.head.commit += 1;
            let forgotten = self.now.as_millis().saturating_sub(known_for_millis);
            self.index
                .forget_addresses_before(Timestamp::from_millis(forgotten));
            self.index.write(&self.db, &mut draft, self.head.commit)?;
            self.replaced += draft.writes + 1;
            self.write_names(&mut draft)?;
            self.write_head(&mut draft)?;
            let copied = self.copied(&draft)?;
            self.db
                .apply_batch(draft.batch.into_batch())
                .map_err(|error| broken(&error))?;
            self.tell(copied)?;
            if durable {
                self.make_durable()?;
                if let Some(metrics) = &self.metrics {
                    metrics.commit(watch.elapsed().as_secs_f64());
                }
            } else {
                self.write_out()?;
            }
        }
        Ok(())
    }

    /// Applies what is drafted so far, so that the tree knows it, and begins anew. To be called between moves: each is whole.
    pub fn apply_early(&mut self, draft: &mut Draft) -> Result<(), StoreError> {
        if draft.used {
            // What comes behind it makes this durable too.
            let rest = Draft {
                used: true,
                ..Draft::default()
            };
            self.apply(std::mem::replace(draft, rest), false)?;
        }
        Ok(())
    }

    /// Frees what batches have replaced.
    ///
    /// sled leaves that to readers: each 128th look into the tree frees at most 512 old pages, and a batch is one look
    /// however much it writes. A writer that hardly reads would come to hold gigabytes.
    pub fn free_replaced(&mut self) {
        for _ in 0..self.replaced.div_ceil(WRITES_PER_ROUND) {
            ::sled::pin().flush();
        }
        self.replaced = 0;
    }

    /// Waits until sled has handed to the system what it was given.
    fn write_out(&self) -> Result<(), StoreError> {
        self.db.flush().map(|_| ()).map_err(|error| broken(&error))
    }

    /// Everything applied so far survives a power cut when this returns.
    pub fn make_durable(&mut self) -> Result<(), StoreError> {
        self.write_out()?;
        let gate =
            |what: &str, error: std::io::Error| StoreError::Failed(format!("{what}: {error}"));
        self.data_file
            .sync_data()
            .map_err(|error| gate("fdatasync of sled/db", error))?;
        self.mark
            .set(self.head.commit)
            .map_err(|error| gate("writing the mark", error))
    }

    fn write_head(&mut self, draft: &mut Draft) -> Result<(), StoreError> {
        let bytes = codec::encode_table(&self.head)?;
        for (number, piece) in bytes.chunks(PIECE_BYTES_MAX).enumerate() {
            match self.written.get_mut(number) {
                Some(written) if written == piece => continue,
                Some(written) => piece.clone_into(written),
                None => self.written.push(piece.to_vec()),
            }
            draft
                .batch
                .insert(&keys::table(keys::HEAD, number as u8), piece);
        }
        Ok(())
    }

    fn write_names(&mut self, draft: &mut Draft) -> Result<(), StoreError> {
        if self.names.changed {
            let bytes = codec::encode_table(&self.names.to_stored())?;
            for (number, piece) in bytes.chunks(PIECE_BYTES_MAX).enumerate() {
                draft
                    .batch
                    .insert(&keys::table(keys::NAMES, number as u8), piece);
            }
            self.names.changed = false;
        }
        Ok(())
    }
}

/// The group a record is counted in.
pub fn group(record: &Record) -> Group {
    let workspace = record.workspace.as_deref().map(Name::from);
    Group::of(workspace.as_ref(), &record.event, record.flow)
}
