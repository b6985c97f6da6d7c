//! Records of replays: version 2.

#![expect(clippy::unwrap_used, reason = "tests may")]

use std::fs;
use std::path::PathBuf;

use super::*;

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

#[test]
fn a_golden_record_of_a_replay_is_what_is_written_today() {
    let today = encode_record(&replayed()).unwrap().first;
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v2");
    let file = file.join("record-replayed.bin");
    if std::env::var_os("RELAY_WRITE_GOLDEN").is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, &today).unwrap();
    }
    let bytes = fs::read(&file).unwrap();
    assert_eq!(decode_record(&bytes).unwrap(), replayed());
    assert!(today == bytes, "it changed: it needs a new version number");
}

#[test]
fn a_record_of_a_replay_that_is_cut_short_or_newer_is_refused() {
    let mut bytes = encode_record(&replayed()).unwrap().first;
    for length in 0..bytes.len() {
        assert!(decode_record(&bytes[..length]).is_err(), "{length}");
    }
    bytes[0] = 3;
    assert_eq!(decode_record(&bytes), Err(CodecError::Newer(3)));
}

#[test]
fn a_long_record_of_a_replay_is_cut_and_put_together() {
    let mut long = replayed();
    long.event.key = "x".repeat(3 * PIECE_BYTES_MAX);
    let pieces = encode_record(&long).unwrap();
    assert_eq!(usize::from(pieces_behind(&pieces.first)), pieces.rest.len());
    assert_eq!(pieces.rest.len(), 3);
    let whole = [pieces.first, pieces.rest.concat()].concat();
    assert_eq!(decode_record(&whole).unwrap(), long);
}
