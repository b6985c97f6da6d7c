//! Bytes as text, and what is told of records and what is remembered as they are stored.

use serde::{Deserialize, Serialize};

use super::{EventOf, Kept};
use crate::store::codec::{KnownKind, Record};

/// So many bytes, hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Hex<const N: usize>(pub [u8; N]);

/// Bytes, hexadecimal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Bytes(pub Vec<u8>);

impl<const N: usize> Default for Hex<N> {
    fn default() -> Hex<N> {
        Hex([0; N])
    }
}

impl From<Bytes> for String {
    fn from(bytes: Bytes) -> String {
        hex(&bytes.0)
    }
}

impl TryFrom<String> for Bytes {
    type Error = String;
    fn try_from(text: String) -> Result<Bytes, String> {
        unhex(&text).map(Bytes)
    }
}

impl<const N: usize> From<Hex<N>> for String {
    fn from(bytes: Hex<N>) -> String {
        hex(&bytes.0)
    }
}

impl<const N: usize> TryFrom<String> for Hex<N> {
    type Error = String;
    fn try_from(text: String) -> Result<Hex<N>, String> {
        let bytes = unhex(&text)?;
        let bytes = bytes
            .try_into()
            .map_err(|_| format!("expected {N} bytes, hexadecimal"))?;
        Ok(Hex(bytes))
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |half: u8| char::from(DIGITS[usize::from(half)]);
    let both = |byte: &u8| [digit(byte >> 4), digit(byte & 15)];
    bytes.iter().flat_map(both).collect()
}

fn unhex(text: &str) -> Result<Vec<u8>, String> {
    let half = |digit: u8| char::from(digit).to_digit(16).map(|half| half as u8);
    let both = |pair: &[u8]| Some(half(pair[0])? << 4 | half(*pair.get(1)?)?);
    let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(both).collect();
    bytes.ok_or_else(|| "expected bytes, hexadecimal".into())
}

impl From<Record> for Kept {
    fn from(record: Record) -> Kept {
        let Record {
            workspace,
            flow,
            event,
            job,
            burial,
            home,
            once,
            replay,
        } = record;
        Kept {
            workspace,
            flow,
            event,
            job,
            burial,
            home: home.map(Hex),
            once,
            replay,
        }
    }
}

impl From<Kept> for Record {
    fn from(kept: Kept) -> Record {
        let Kept {
            workspace,
            flow,
            event,
            job,
            burial,
            home,
            once,
            replay,
        } = kept;
        Record {
            workspace,
            flow,
            event,
            job,
            burial,
            home: home.map(|home| home.0),
            once,
            replay,
        }
    }
}

impl From<KnownKind> for EventOf {
    fn from(kind: KnownKind) -> EventOf {
        match kind {
            KnownKind::Other => EventOf::Other,
            KnownKind::Participation => EventOf::Participation,
            KnownKind::Derived => EventOf::Derived,
        }
    }
}

impl From<EventOf> for KnownKind {
    fn from(of: EventOf) -> KnownKind {
        match of {
            EventOf::Other => KnownKind::Other,
            EventOf::Participation => KnownKind::Participation,
            EventOf::Derived => KnownKind::Derived,
        }
    }
}
