//! An export as a file: one JSON object a line, with everything that is needed to know that nothing is missing.
//!
//! The first line is `{"kind":"export","format":1,…}`, with the store's secret. Then come [`Entry`]s, and after every few
//! thousand lines `{"kind":"sum","lines":N,"blake3":…}`: the hash of all bytes before that line, so that damage is found
//! near where it is. The last line is `{"kind":"end","lines":N,"counts":{…},"missing":[…],"blake3":…}`; a file without it is
//! not whole. Whoever has the file has every e-mail address in it, and the secret: it is to be kept like the store.
//!
//! Invariants: written and read line by line; memory does not grow with the file.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read as _, Write};

use serde::{Deserialize, Serialize};

use super::entry::{Entry, Hex};
use crate::model::time::Timestamp;

/// The format written today.
pub const FORMAT: u32 = 1;

/// After how many lines a sum follows.
const SUM_EVERY: u64 = 4096;

/// The longest line, bytes: the longest record, every byte escaped.
const LINE_BYTES_MAX: u64 = 16 << 20;

const SUM: &[u8] = b"{\"kind\":\"sum\"";
const END: &[u8] = b"{\"kind\":\"end\"";

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename = "export")]
pub struct Head {
    /// The format of what follows.
    pub format: u32,
    /// The version of the relay that wrote it.
    pub version: String,
    /// When it was begun.
    pub at: Timestamp,
    /// What the store's hashes are keyed with.
    pub secret: Hex<32>,
    /// It is what could be read of a damaged store.
    pub salvaged: bool,
}

impl Head {
    /// Of an export of a store with this secret that begins now.
    pub fn new(secret: [u8; 32], at: Timestamp, salvaged: bool) -> Head {
        Head {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            at,
            secret: Hex(secret),
            salvaged,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename = "sum")]
struct Sum {
    lines: u64,
    blake3: Hex<32>,
}

/// The last line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename = "end")]
pub struct End {
    /// How many lines there are before it.
    pub lines: u64,
    /// How many entries there are of each kind.
    pub counts: BTreeMap<String, u64>,
    /// What could not be read of a damaged store.
    pub missing: Vec<String>,
    /// The hash of all bytes before it.
    pub blake3: Hex<32>,
}

/// Why a file is not taken. Says at which line, counted from 1.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It cannot be read.
    #[error("line {0}: {1}")]
    Io(u64, io::Error),
    /// A line is not what it should be.
    #[error("line {0}: {1}")]
    Line(u64, String),
    /// It is not, or not yet, whole.
    #[error("line {0}: the file breaks off here: its last line, kind `end`, is missing")]
    Truncated(u64),
    /// Something before this line was changed.
    #[error(
        "line {0}: what stands between line {1} and this one was changed: the checksum does not agree"
    )]
    Changed(u64, u64),
    /// Written by a later version.
    #[error(
        "line 1: written in format {0}, and this version reads up to {FORMAT}: use the version that wrote it"
    )]
    Newer(u32),
}

/// Writes an export.
pub struct Writer<W> {
    out: W,
    hasher: blake3::Hasher,
    lines: u64,
    counts: BTreeMap<String, u64>,
}

impl<W: Write> Writer<W> {
    /// Begins one.
    pub fn new(out: W, head: &Head) -> io::Result<Writer<W>> {
        let mut writer = Writer {
            out,
            hasher: blake3::Hasher::new(),
            lines: 0,
            counts: BTreeMap::new(),
        };
        writer.line(head)?;
        Ok(writer)
    }

    /// Where it is written to.
    pub fn out(&mut self) -> &mut W {
        &mut self.out
    }

    /// Adds an entry.
    pub fn push(&mut self, entry: &Entry) -> io::Result<()> {
        match self.counts.get_mut(entry.kind()) {
            Some(count) => *count += 1,
            None => {
                self.counts.insert(entry.kind().to_owned(), 1);
            }
        }
        self.line(entry)?;
        if self.lines.is_multiple_of(SUM_EVERY) {
            let sum = Sum {
                lines: self.lines,
                blake3: self.sum(),
            };
            self.line(&sum)?;
        }
        Ok(())
    }

    /// Writes the last line. What was left out, and why, is `missing`.
    pub fn end(&mut self, missing: Vec<String>) -> io::Result<End> {
        let end = End {
            lines: self.lines,
            counts: self.counts.clone(),
            missing,
            blake3: self.sum(),
        };
        self.line(&end)?;
        self.out.flush()?;
        Ok(end)
    }

    fn sum(&self) -> Hex<32> {
        Hex(*self.hasher.finalize().as_bytes())
    }

    fn line(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        self.hasher.update(&bytes);
        self.lines += 1;
        self.out.write_all(&bytes)
    }
}

/// Reads an export, entry by entry; the last line is checked before the end is told.
pub struct Reader<R> {
    input: R,
    head: Head,
    hasher: blake3::Hasher,
    lines: u64,
    /// Up to this line all is sound.
    sound: u64,
    counts: BTreeMap<String, u64>,
    end: Option<End>,
}

impl<R: BufRead> Reader<R> {
    /// Reads the first line.
    pub fn new(input: R) -> Result<Reader<R>, ArchiveError> {
        #[derive(Deserialize)]
        struct Any {
            format: Option<u32>,
        }
        let mut reader = Reader {
            input,
            head: Head::new([0; 32], Timestamp::ZERO, false),
            hasher: blake3::Hasher::new(),
            lines: 0,
            sound: 0,
            counts: BTreeMap::new(),
            end: None,
        };
        let line = reader.line()?.ok_or(ArchiveError::Truncated(1))?;
        let any: Option<Any> = serde_json::from_slice(&line).ok();
        match any.and_then(|any| any.format) {
            Some(newer) if newer > FORMAT => return Err(ArchiveError::Newer(newer)),
            _ => {}
        }
        reader.head = serde_json::from_slice(&line)
            .map_err(|_| ArchiveError::Line(1, "this is no export of braze-relay".into()))?;
        reader.hasher.update(&line);
        Ok(reader)
    }

    /// The first line.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The last line, once everything was read.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    fn line(&mut self) -> Result<Option<Vec<u8>>, ArchiveError> {
        let number = self.lines + 1;
        let mut line = Vec::new();
        let mut input = (&mut self.input).take(LINE_BYTES_MAX);
        input
            .read_until(b'\n', &mut line)
            .map_err(|error| ArchiveError::Io(number, error))?;
        if line.is_empty() {
            return Ok(None);
        }
        self.lines = number;
        if line.last() != Some(&b'\n') {
            return Err(ArchiveError::Truncated(number));
        }
        Ok(Some(line))
    }

    fn read(&mut self) -> Result<Option<Entry>, ArchiveError> {
        while self.end.is_none() {
            let line = self.line()?;
            let line = line.ok_or(ArchiveError::Truncated(self.lines + 1))?;
            if line.starts_with(END) {
                self.finish(&line)?;
            } else if line.starts_with(SUM) {
                let sum: Sum = self.parsed(&line)?;
                self.check(sum.lines, sum.blake3)?;
                self.hasher.update(&line);
            } else {
                let entry: Entry = self.parsed(&line)?;
                self.hasher.update(&line);
                *self.counts.entry(entry.kind().to_owned()).or_default() += 1;
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    fn finish(&mut self, line: &[u8]) -> Result<(), ArchiveError> {
        let end: End = self.parsed(line)?;
        self.check(end.lines, end.blake3)?;
        if end.counts != self.counts {
            let why = "the counts are not those of the lines before".into();
            return Err(ArchiveError::Line(self.lines, why));
        }
        if self.line()?.is_some() {
            let why = "something follows the last line".into();
            return Err(ArchiveError::Line(self.lines, why));
        }
        self.end = Some(end);
        Ok(())
    }

    fn parsed<'a, T: Deserialize<'a>>(&self, line: &'a [u8]) -> Result<T, ArchiveError> {
        serde_json::from_slice(line).map_err(|error| {
            // What serde says of an unknown value may quote it.
            let what = if error.is_data() {
                "a field is missing or has another type"
            } else {
                "this is no JSON"
            };
            ArchiveError::Line(self.lines, what.into())
        })
    }

    fn check(&mut self, lines: u64, blake3: Hex<32>) -> Result<(), ArchiveError> {
        if lines != self.lines - 1 || blake3.0 != *self.hasher.finalize().as_bytes() {
            return Err(ArchiveError::Changed(self.lines, self.sound + 1));
        }
        self.sound = self.lines;
        Ok(())
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Entry, ArchiveError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

/// Watches an export go by in pieces, and says in the end whether it was whole.
#[derive(Default)]
pub struct Seal {
    hasher: blake3::Hasher,
    lines: u64,
    /// The last line, as far as it has come.
    last: Vec<u8>,
}

impl Seal {
    /// The next piece.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.last.last() == Some(&b'\n') {
                self.hasher.update(&self.last);
                self.lines += 1;
                self.last.clear();
            }
            let line = bytes.iter().position(|byte| *byte == b'\n');
            let (now, later) = bytes.split_at(line.map_or(bytes.len(), |at| at + 1));
            self.last.extend_from_slice(now);
            bytes = later;
        }
    }

    /// The last line, if everything before it is there.
    pub fn finish(self) -> Result<End, ArchiveError> {
        let here = self.lines + 1;
        if !self.last.starts_with(END) || self.last.last() != Some(&b'\n') {
            return Err(ArchiveError::Truncated(here));
        }
        let end: End = serde_json::from_slice(&self.last)
            .map_err(|error| ArchiveError::Line(here, error.to_string()))?;
        if end.lines != self.lines || end.blake3.0 != *self.hasher.finalize().as_bytes() {
            return Err(ArchiveError::Changed(here, 1));
        }
        Ok(end)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;

    fn workspace(number: usize) -> Entry {
        Entry::Workspace {
            name: format!("w{number}").into(),
        }
    }

    /// An export of so many lines between the first and the last.
    fn written(entries: usize) -> Vec<u8> {
        let head = Head::new([7; 32], Timestamp::from_millis(1_795_770_600_123), false);
        let mut writer = Writer::new(Vec::new(), &head).unwrap();
        for number in 0..entries {
            writer.push(&workspace(number)).unwrap();
        }
        writer.end(Vec::new()).unwrap();
        std::mem::take(writer.out())
    }

    fn read(bytes: &[u8]) -> Result<(Vec<Entry>, End), ArchiveError> {
        let mut reader = Reader::new(bytes)?;
        let entries: Result<Vec<_>, _> = reader.by_ref().collect();
        Ok((entries?, reader.end().unwrap().clone()))
    }

    fn sealed(bytes: &[u8], piece: usize) -> Result<End, ArchiveError> {
        let mut seal = Seal::default();
        bytes.chunks(piece).for_each(|piece| seal.push(piece));
        seal.finish()
    }

    #[test]
    fn what_was_written_is_read() {
        for entries in [0, 1, 4095, 4096, 10_000] {
            let bytes = written(entries);
            let (read, end) = read(&bytes).unwrap();
            assert_eq!(read, (0..entries).map(workspace).collect::<Vec<_>>());
            assert_eq!(end.counts.values().sum::<u64>(), entries as u64);
            for piece in [1, 7, 100_000] {
                assert_eq!(sealed(&bytes, piece).unwrap(), end);
            }
        }
    }

    #[test]
    fn every_truncation_and_every_changed_byte_is_refused() {
        let bytes = written(3);
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length]).is_err(), "{length} bytes");
            assert!(sealed(&bytes[..length], 9).is_err(), "{length} bytes");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            // A digit of the version in the first line, and nothing else, may pass for another: the checksum tells.
            assert!(read(&changed).is_err(), "byte {at}");
        }
        let mut longer = bytes.clone();
        longer.extend_from_slice(b"{}\n");
        assert!(matches!(read(&longer), Err(ArchiveError::Line(6, _))));
    }

    #[test]
    fn the_line_is_named() {
        let bytes = written(10_000);
        let text = String::from_utf8(bytes).unwrap();
        let changed = text.replace("\"w9000\"", "\"w9O00\"");
        let error = read(changed.as_bytes()).unwrap_err();
        // Two sums were sound before.
        assert!(
            matches!(error, ArchiveError::Changed(10_004, 8194)),
            "{error}"
        );
        let broken = text.replace("\"w9000\"", "w9000");
        let error = read(broken.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "line 9004: this is no JSON");
        let newer = text.replacen("\"format\":1", "\"format\":2", 1);
        assert!(matches!(
            read(newer.as_bytes()),
            Err(ArchiveError::Newer(2))
        ));
        let error = read(b"hello\n").unwrap_err().to_string();
        assert_eq!(error, "line 1: this is no export of braze-relay");
    }
}
