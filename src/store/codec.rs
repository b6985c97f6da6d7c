//! How records are written down: bincode 2 inside an envelope that says which version it is.
//!
//! Invariants: everything stored begins with its version; every version ever released can be read (golden files in
//! `tests/golden` prove it); nothing is decoded beyond [`RECORD_BYTES_MAX`]. The only file that names bincode beyond
//! its derive macros.
//!
//! # Format, version 1
//! Records: `[version: u8][pieces: u8][bincode, standard configuration]`. A record longer than one piece is cut: the
//! first piece carries the envelope and says how many more there are. Small values have no pieces and go without that
//! byte. What is remembered of an ordinary event is 23 bytes.
//!
//! # Format, version 2: records of replays alone
//! `[version: u8][pieces: u8][number of the replay: u32, big-endian][bincode as in version 1]`.
//!
//! # Format, version 3: records of traces alone
//! `[version: u8][pieces: u8][trace: 16][parent: 8][marks: u8][bincode as in version 1]`. Marks: 1, it is sampled; 2, the
//! number of a replay follows, as in version 2.

mod entries;
mod envelope;
mod known;
mod turn;

use bincode::de::Decoder;
use bincode::enc::Encoder;
use bincode::error::{DecodeError, EncodeError};
use bincode::{Decode, Encode};

pub use self::entries::{ENTRY_BYTES, Entries, begin_entries, entries, push_entry};
pub use self::known::{
    Known, KnownEvent, KnownKind, decode_known, encode_known, is_address, is_address_before,
};
pub use self::turn::{Behind, Turn};

use self::envelope::Said;
use crate::flow::job::{Burial, Flow, Job};
use crate::model::event::Event;
use crate::model::id::{EventId, JobId};
use crate::model::time::Timestamp;

/// The version written today.
pub const VERSION: u8 = 1;

/// The longest record, in bytes; an event of 64 KiB and all its history is far below.
pub const RECORD_BYTES_MAX: usize = 1 << 20;

/// The longest stored piece, in bytes: sled moves values of about 8 KB into files that it never syncs.
pub const PIECE_BYTES_MAX: usize = 4096;

/// Version and pieces.
const RECORD_ENVELOPE: usize = 2;
/// The version alone.
const SMALL_ENVELOPE: usize = 1;

/// Bytes that are no record of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Written by a later version.
    #[error(
        "stored in format {0}, newer than what this version reads: use the version that wrote it"
    )]
    Newer(u8),
    /// Damaged, or not ours.
    #[error("a stored record cannot be read ({0})")]
    Damaged(String),
    /// Longer than any record may be.
    #[error("a record of {0} bytes is longer than {RECORD_BYTES_MAX}")]
    TooLong(usize),
}

/// A job with its event, living or dead.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its workspace; `None` while its activation is not configured.
    pub workspace: Option<String>,
    /// The flow, as far as known.
    pub flow: Option<Flow>,
    /// The event it belongs to.
    pub event: Event,
    /// Where it stands; `None` when it never began.
    pub job: Option<Job>,
    /// Why it died; `None` while it lives.
    pub burial: Option<Burial>,
    /// Where the event is remembered, for jobs that others spawned: their own event may be another.
    pub home: Option<[u8; 21]>,
    /// The key under which at most one such job exists per participant.
    pub once: Option<String>,
    /// The replay that let it, or the job it came from, live again last. Stands in the envelope.
    pub replay: Option<u32>,
}

impl Encode for Record {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.workspace.encode(encoder)?;
        self.flow.encode(encoder)?;
        self.event.encode(encoder)?;
        self.job.encode(encoder)?;
        self.burial.encode(encoder)?;
        self.home.encode(encoder)?;
        self.once.encode(encoder)
    }
}

impl<Context> Decode<Context> for Record {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Record, DecodeError> {
        Ok(Record {
            workspace: Decode::decode(decoder)?,
            flow: Decode::decode(decoder)?,
            event: Decode::decode(decoder)?,
            job: Decode::decode(decoder)?,
            burial: Decode::decode(decoder)?,
            home: Decode::decode(decoder)?,
            once: Decode::decode(decoder)?,
            replay: None,
        })
    }
}

// An event as it stands in a record: all but its trace, which stands in the envelope.
impl Encode for Event {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.source.encode(encoder)?;
        self.kind.encode(encoder)?;
        self.key.encode(encoder)?;
        self.scope.encode(encoder)?;
        self.email.encode(encoder)?;
        self.email_given.encode(encoder)?;
        self.external_id.encode(encoder)?;
        self.phone.encode(encoder)?;
        self.sms_consent.encode(encoder)?;
        self.at.encode(encoder)?;
        self.accepted_at.encode(encoder)?;
        self.attributes.encode(encoder)?;
        self.event.encode(encoder)
    }
}

impl<Context> Decode<Context> for Event {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Event, DecodeError> {
        Ok(Event {
            source: Decode::decode(decoder)?,
            kind: Decode::decode(decoder)?,
            key: Decode::decode(decoder)?,
            scope: Decode::decode(decoder)?,
            email: Decode::decode(decoder)?,
            email_given: Decode::decode(decoder)?,
            external_id: Decode::decode(decoder)?,
            phone: Decode::decode(decoder)?,
            sms_consent: Decode::decode(decoder)?,
            at: Decode::decode(decoder)?,
            accepted_at: Decode::decode(decoder)?,
            attributes: Decode::decode(decoder)?,
            event: Decode::decode(decoder)?,
            trace: None,
        })
    }
}

/// An event that is done, until its key may be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Done {
    /// Where it is remembered.
    pub key: [u8; 21],
    /// The once-key that its last job held, and until when that is remembered.
    pub once: Option<([u8; 21], JobId, Timestamp)>,
}

/// Encodes `value` behind an envelope that begins with the version.
fn encode<const ENVELOPE: usize>(value: &impl Encode, room: usize) -> Result<Vec<u8>, CodecError> {
    let mut bytes = Vec::with_capacity(room);
    bytes.push(VERSION);
    bytes.resize(ENVELOPE, 0);
    encode_behind(bytes, value)
}

/// Encodes `value` behind the envelope that `bytes` are.
fn encode_behind(mut bytes: Vec<u8>, value: &impl Encode) -> Result<Vec<u8>, CodecError> {
    let config = bincode::config::standard();
    bincode::encode_into_std_write(value, &mut bytes, config)
        .map_err(|error| CodecError::Damaged(error.to_string()))?;
    if bytes.len() > RECORD_BYTES_MAX {
        return Err(CodecError::TooLong(bytes.len()));
    }
    Ok(bytes)
}

/// What is behind the envelope, if this version can read it.
fn opened<const ENVELOPE: usize>(bytes: &[u8]) -> Result<&[u8], CodecError> {
    match bytes.first() {
        Some(&VERSION) if bytes.len() >= ENVELOPE => Ok(&bytes[ENVELOPE..]),
        Some(&newer) if newer > VERSION => Err(CodecError::Newer(newer)),
        _ => Err(CodecError::Damaged("no version".into())),
    }
}

fn decode<const ENVELOPE: usize, T: Decode<()>>(bytes: &[u8]) -> Result<T, CodecError> {
    decoded(opened::<ENVELOPE>(bytes)?)
}

/// What stands behind an envelope.
fn decoded<T: Decode<()>>(rest: &[u8]) -> Result<T, CodecError> {
    let config = bincode::config::standard().with_limit::<RECORD_BYTES_MAX>();
    match bincode::decode_from_slice(rest, config) {
        Ok((value, used)) if used == rest.len() => Ok(value),
        Ok(_) => Err(CodecError::Damaged("bytes behind its end".into())),
        Err(error) => Err(CodecError::Damaged(error.to_string())),
    }
}

/// A record as it is stored: the first piece, and the ones behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pieces {
    /// With the envelope.
    pub first: Vec<u8>,
    /// Without.
    pub rest: Vec<Vec<u8>>,
}

/// Writes a record down.
pub fn encode_record(record: &Record) -> Result<Pieces, CodecError> {
    cut(encode_behind(Said::of(record).write(), record)?)
}

/// Cuts encoded bytes into pieces of at most [`PIECE_BYTES_MAX`].
fn cut(mut bytes: Vec<u8>) -> Result<Pieces, CodecError> {
    if bytes.len() <= PIECE_BYTES_MAX {
        return Ok(Pieces {
            first: bytes,
            rest: Vec::new(),
        });
    }
    let rest: Vec<Vec<u8>> = bytes[PIECE_BYTES_MAX..]
        .chunks(PIECE_BYTES_MAX)
        .map(<[u8]>::to_vec)
        .collect();
    let length = bytes.len();
    bytes.truncate(PIECE_BYTES_MAX);
    bytes[1] = u8::try_from(rest.len()).map_err(|_| CodecError::TooLong(length))?;
    Ok(Pieces { first: bytes, rest })
}

/// How many pieces follow this first one.
pub fn pieces_behind(first: &[u8]) -> u8 {
    first.get(1).copied().unwrap_or(0)
}

/// Reads a record whose pieces have been put together.
pub fn decode_record(bytes: &[u8]) -> Result<Record, CodecError> {
    let (Said { replay, trace }, rest) = Said::read(bytes)?;
    let mut record: Record = decoded(rest)?;
    record.replay = replay;
    record.event.trace = trace;
    Ok(record)
}

/// What a record takes in a pack beyond its own bytes: id and length.
pub const PACKED_BYTES: usize = 16 + 2;

/// What a pack takes beyond its records: version and number.
pub const PACK_BYTES: usize = 2;

/// The most records of a pack; fewer fit.
pub const PACKED_MAX: usize = u8::MAX as usize;

/// Writes records that arrived together into one value: `[version: u8][number: u8]`, then for each the event's id, the
/// length of its record (two bytes, big-endian) and the record with its own envelope. Only records without further
/// pieces fit, and at most [`PACKED_MAX`].
pub fn encode_pack<'a>(records: impl IntoIterator<Item = (EventId, &'a [u8])>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(PIECE_BYTES_MAX);
    bytes.extend_from_slice(&[VERSION, 0]);
    for (id, record) in records {
        bytes[1] = bytes[1].saturating_add(1);
        bytes.extend_from_slice(&id.0);
        bytes.extend_from_slice(&(record.len() as u16).to_be_bytes());
        bytes.extend_from_slice(record);
    }
    bytes
}

/// Takes a pack apart, in its order.
pub fn decode_pack(bytes: &[u8]) -> Result<Vec<(EventId, &[u8])>, CodecError> {
    let cut_off = || CodecError::Damaged("a pack that ends too early".into());
    let mut rest = opened::<PACK_BYTES>(bytes)?;
    let mut records = Vec::with_capacity(usize::from(bytes[1]));
    for _ in 0..bytes[1] {
        let (id, behind) = rest.split_first_chunk::<16>().ok_or_else(cut_off)?;
        let (length, behind) = behind.split_first_chunk::<2>().ok_or_else(cut_off)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (record, behind) = behind.split_at_checked(length).ok_or_else(cut_off)?;
        records.push((EventId(*id), record));
        rest = behind;
    }
    if !rest.is_empty() {
        return Err(CodecError::Damaged("bytes behind its end".into()));
    }
    Ok(records)
}

/// Writes a place in a turn down.
pub fn encode_turn(turn: &Turn) -> Result<Vec<u8>, CodecError> {
    encode::<SMALL_ENVELOPE>(turn, 24)
}

/// Reads a place in a turn.
pub fn decode_turn(bytes: &[u8]) -> Result<Turn, CodecError> {
    decode::<SMALL_ENVELOPE, _>(bytes)
}

/// Writes a finished event down.
pub fn encode_done(done: &Done) -> Result<Vec<u8>, CodecError> {
    encode::<SMALL_ENVELOPE>(done, 80)
}

/// Reads a finished event.
pub fn decode_done(bytes: &[u8]) -> Result<Done, CodecError> {
    decode::<SMALL_ENVELOPE, _>(bytes)
}

/// Writes a job's id down, as the owner of a key.
pub fn encode_owner(owner: JobId) -> Result<Vec<u8>, CodecError> {
    encode::<SMALL_ENVELOPE>(&owner, 20)
}

/// Reads the owner of a key.
pub fn decode_owner(bytes: &[u8]) -> Result<JobId, CodecError> {
    decode::<SMALL_ENVELOPE, _>(bytes)
}

/// Writes an operators' paper down: `[version: u8][UTF-8]`.
pub fn encode_paper(text: &str) -> Vec<u8> {
    [&[VERSION], text.as_bytes()].concat()
}

/// Reads an operators' paper.
pub fn decode_paper(bytes: &[u8]) -> Result<&str, CodecError> {
    std::str::from_utf8(opened::<SMALL_ENVELOPE>(bytes)?)
        .map_err(|error| CodecError::Damaged(error.to_string()))
}

/// Encodes a table of the store's own; integers have fixed width, so that a changed number moves nothing behind it.
pub fn encode_table(table: &impl Encode) -> Result<Vec<u8>, CodecError> {
    let mut bytes = vec![VERSION];
    let config = bincode::config::standard().with_fixed_int_encoding();
    bincode::encode_into_std_write(table, &mut bytes, config)
        .map_err(|error| CodecError::Damaged(error.to_string()))?;
    Ok(bytes)
}

/// Reads a table of the store's own.
pub fn decode_table<T: Decode<()>>(bytes: &[u8]) -> Result<T, CodecError> {
    let config = bincode::config::standard()
        .with_fixed_int_encoding()
        .with_limit::<{ 16 * RECORD_BYTES_MAX }>();
    let (table, _) = bincode::decode_from_slice(opened::<SMALL_ENVELOPE>(bytes)?, config)
        .map_err(|error| CodecError::Damaged(error.to_string()))?;
    Ok(table)
}

#[cfg(test)]
mod tests;
