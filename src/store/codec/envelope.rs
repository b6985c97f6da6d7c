//! The envelopes of records: what stands before the record itself, by version.
//!
//! Invariants: a record is written in the lowest version that can say all of it, so that one without a trace is what it
//! always was.

use super::{CodecError, RECORD_ENVELOPE, Record, VERSION};
use crate::model::trace::TraceContext;

/// The version of a record that belongs to a replay.
const REPLAYED: u8 = 2;
/// The version of a record that belongs to a trace.
const TRACED: u8 = 3;

/// What is said behind the trace's ids: it is sampled; a replay follows.
const SAMPLED: u8 = 1;
const IN_REPLAY: u8 = 2;

/// What an envelope says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) replay: Option<u32>,
    pub(super) trace: Option<TraceContext>,
}

impl Said {
    pub(super) fn of(record: &Record) -> Said {
        Said {
            replay: record.replay,
            trace: record.event.trace,
        }
    }

    /// The envelope of a record of one piece.
    pub(super) fn write(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(512);
        let version = match (self.replay, self.trace) {
            (None, None) => VERSION,
            (Some(_), None) => REPLAYED,
            (_, Some(_)) => TRACED,
        };
        bytes.extend_from_slice(&[version, 0]);
        if let Some(trace) = self.trace {
            bytes.extend_from_slice(&trace.trace);
            bytes.extend_from_slice(&trace.parent);
            let sampled = if trace.sampled { SAMPLED } else { 0 };
            let replayed = self.replay.map_or(0, |_| IN_REPLAY);
            bytes.push(sampled | replayed);
        }
        if let Some(replay) = self.replay {
            bytes.extend_from_slice(&replay.to_be_bytes());
        }
        bytes
    }

    /// What the envelope says, and what is behind it.
    pub(super) fn read(bytes: &[u8]) -> Result<(Said, &[u8]), CodecError> {
        let cut_off = || CodecError::Damaged("an envelope that ends too early".into());
        let no_version = || CodecError::Damaged("no version".into());
        let (start, rest) = bytes
            .split_first_chunk::<RECORD_ENVELOPE>()
            .ok_or_else(no_version)?;
        let (trace, replayed, rest) = match start[0] {
            VERSION => (None, false, rest),
            REPLAYED => (None, true, rest),
            TRACED => {
                let (trace, marks, rest) = traced(rest).ok_or_else(cut_off)?;
                if marks & !(SAMPLED | IN_REPLAY) != 0 {
                    return Err(CodecError::Damaged("unknown marks".into()));
                }
                (Some(trace), marks & IN_REPLAY != 0, rest)
            }
            newer if newer > TRACED => return Err(CodecError::Newer(newer)),
            _ => return Err(no_version()),
        };
        let (replay, rest) = match rest.split_first_chunk::<4>() {
            _ if !replayed => (None, rest),
            Some((replay, rest)) => (Some(u32::from_be_bytes(*replay)), rest),
            None => return Err(cut_off()),
        };
        Ok((Said { replay, trace }, rest))
    }
}

/// The trace, what else is said, and what is behind it.
fn traced(bytes: &[u8]) -> Option<(TraceContext, u8, &[u8])> {
    let (trace, bytes) = bytes.split_first_chunk::<16>()?;
    let (parent, bytes) = bytes.split_first_chunk::<8>()?;
    let (marks, rest) = bytes.split_first()?;
    let context = TraceContext {
        trace: *trace,
        parent: *parent,
        sampled: marks & SAMPLED != 0,
    };
    Some((context, *marks, rest))
}
