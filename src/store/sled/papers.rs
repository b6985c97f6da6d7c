//! Operators' papers: one key for each, by its name.

use super::base::{Base, Draft, broken};
use super::keys;
use crate::store::codec;
use crate::store::paper::LOOK_MAX;
use crate::store::{Paper, Papers, Shelf, StoreError};

impl Base {
    /// Drafts that papers are gone, and then that others are there.
    pub fn put_papers(draft: &mut Draft, papers: &Papers) {
        for name in &papers.remove {
            draft.remove(keys::paper(name));
        }
        for paper in &papers.put {
            draft.insert(keys::paper(paper.name()), codec::encode_paper(paper.text()));
        }
    }

    /// The first `limit` papers of a shelf.
    pub fn papers(&self, shelf: &Shelf, limit: usize) -> Result<Vec<Paper>, StoreError> {
        let behind = shelf.behind.as_deref().map(keys::paper);
        let mut from = keys::paper(&shelf.prefix);
        // What begins with the prefix ends before whatever is longer than a name may be.
        let mut until = [from.as_slice(), &[0xff]].concat();
        match behind {
            Some(behind) if shelf.last_first => until = until.min(behind),
            Some(behind) => from = from.max([behind.as_slice(), &[0]].concat()),
            None => {}
        }
        if from >= until {
            return Ok(Vec::new());
        }
        let rows = self.db.range(from..until);
        let limit = limit.min(LOOK_MAX);
        let read = |row: ::sled::Result<(::sled::IVec, ::sled::IVec)>| {
            let (key, value) = row.map_err(|error| broken(&error))?;
            let name = keys::paper_name(&key).unwrap_or_default();
            let text = codec::decode_paper(&value)?;
            Paper::new(name, text).map_err(|error| StoreError::Failed(error.to_string()))
        };
        if shelf.last_first {
            rows.rev().take(limit).map(read).collect()
        } else {
            rows.take(limit).map(read).collect()
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use crate::store::codec::{CodecError, VERSION, decode_paper, encode_paper};

    #[test]
    fn a_golden_paper_is_what_is_written_today() {
        let file = format!("tests/golden/v{VERSION}/paper.bin");
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(file);
        let today = encode_paper("{\"näme\":7}");
        if std::env::var_os("RELAY_WRITE_GOLDEN").is_some() {
            fs::write(&file, &today).unwrap();
        }
        let bytes = fs::read(&file).unwrap();
        assert_eq!(decode_paper(&bytes).unwrap(), "{\"näme\":7}");
        assert!(today == bytes, "it changed: it needs a new version number");
        let newer = [&[VERSION + 1], "text".as_bytes()].concat();
        assert_eq!(decode_paper(&newer), Err(CodecError::Newer(VERSION + 1)));
        assert!(decode_paper(&[VERSION, 0xff]).is_err());
        assert!(decode_paper(&[]).is_err());
    }
}
