//! Lists of what is remembered: places, and values with their own envelopes.

use super::{CodecError, PIECE_BYTES_MAX, SMALL_ENVELOPE, VERSION, opened};

/// What an entry takes beyond its value: place and length.
pub const ENTRY_BYTES: usize = 21 + 2;

/// Begins a list of entries, each a place and a value: `[version: u8]`, then for each its place, the length of its value
/// (two bytes, big-endian) and the value with its own envelope. An empty value says that what was there is forgotten.
pub fn begin_entries() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(PIECE_BYTES_MAX);
    bytes.push(VERSION);
    bytes
}

/// Adds an entry.
pub fn push_entry(bytes: &mut Vec<u8>, place: &[u8; 21], value: &[u8]) {
    bytes.extend_from_slice(place);
    bytes.extend_from_slice(&(value.len() as u16).to_be_bytes());
    bytes.extend_from_slice(value);
}

/// Reads entries, in their order.
pub fn entries(bytes: &[u8]) -> Result<Entries<'_>, CodecError> {
    opened::<SMALL_ENVELOPE>(bytes).map(Entries)
}

/// Entries not yet read.
pub struct Entries<'a>(&'a [u8]);

impl<'a> Iterator for Entries<'a> {
    type Item = Result<(&'a [u8; 21], &'a [u8]), CodecError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut self.0);
        let entry = rest.split_first_chunk().and_then(|(place, rest)| {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            let (value, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
            self.0 = rest;
            Some((place, value))
        });
        Some(entry.ok_or_else(|| CodecError::Damaged("an entry that ends too early".into())))
    }
}
