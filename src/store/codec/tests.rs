//! Records of replays and of traces: versions 2 and 3.

#![expect(clippy::unwrap_used, reason = "tests may")]

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::model::trace::TraceContext;

/// The living record of version 1, in a replay.
fn replayed() -> Record {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1");
    let plain = decode_record(&fs::read(folder.join("record-living.bin")).unwrap()).unwrap();
    assert_eq!(plain.replay, None);
    Record {
        replay: Some(0x0102_0304),
        ..plain
    }
}

/// The same in a trace, and there in a replay.
fn traced() -> [(&'static str, Record); 2] {
    let traced = |sampled, record: Record| {
        let mut traced = record;
        traced.event.trace = Some(TraceContext {
            trace: *b"sixteen bytes of",
            parent: *b"eight of",
            sampled,
        });
        traced
    };
    let plain = Record {
        replay: None,
        ..replayed()
    };
    [
        ("record-traced", traced(true, plain)),
        ("record-traced-replayed", traced(false, replayed())),
    ]
}

/// The one of version 2 and those of version 3.
fn marked() -> impl Iterator<Item = (u8, &'static str, Record)> {
    let replayed = (2, "record-replayed", replayed());
    let traced = traced().into_iter().map(|(name, it)| (3, name, it));
    std::iter::once(replayed).chain(traced)
}

#[test]
fn golden_records_of_replays_and_traces_are_what_is_written_today() {
    for (version, name, record) in marked() {
        let today = encode_record(&record).unwrap().first;
        assert_eq!(today[0], version, "{name}");
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
        let file = folder.join(format!("v{version}/{name}.bin"));
        if std::env::var_os("RELAY_WRITE_GOLDEN").is_some() {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, &today).unwrap();
        }
        let bytes = fs::read(&file).unwrap();
        assert_eq!(decode_record(&bytes).unwrap(), record, "{name}");
        assert!(
            today == bytes,
            "{name} changed: it needs a new version number"
        );
    }
}

#[test]
fn a_trace_costs_25_bytes_and_none_costs_nothing() {
    let length = |record: &Record| encode_record(record).unwrap().first.len();
    let [(_, in_trace), (_, in_both)] = traced();
    let mut plain = in_trace.clone();
    plain.event.trace = None;
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1");
    let before = fs::read(folder.join("record-living.bin")).unwrap();
    assert_eq!(length(&plain), before.len());
    assert_eq!(length(&in_trace), before.len() + 25);
    assert_eq!(length(&in_both), length(&replayed()) + 25);
}

#[test]
fn a_record_that_is_cut_short_or_newer_or_marked_otherwise_is_refused() {
    for (version, name, record) in marked() {
        let mut bytes = encode_record(&record).unwrap().first;
        for length in 0..bytes.len() {
            assert!(decode_record(&bytes[..length]).is_err(), "{name} {length}");
        }
        if version == 3 {
            bytes[26] |= 4;
            assert!(decode_record(&bytes).is_err(), "{name}");
        }
        bytes[0] = 4;
        assert_eq!(decode_record(&bytes), Err(CodecError::Newer(4)), "{name}");
    }
}

#[test]
fn a_long_record_of_a_replay_or_trace_is_cut_and_put_together() {
    for (_, _, mut long) in marked() {
        long.event.key = "x".repeat(3 * PIECE_BYTES_MAX);
        let pieces = encode_record(&long).unwrap();
        assert_eq!(usize::from(pieces_behind(&pieces.first)), pieces.rest.len());
        assert_eq!(pieces.rest.len(), 3);
        let whole = [pieces.first, pieces.rest.concat()].concat();
        assert_eq!(decode_record(&whole).unwrap(), long);
    }
}
