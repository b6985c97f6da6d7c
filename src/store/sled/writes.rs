//! What a batch writes, in its order, until it is handed to sled: sled's own batch cannot be read.

use ::sled::{Batch, IVec};

/// Insertions, and removals (`None`). A later one of the same key counts.
#[derive(Default)]
pub struct Writes {
    writes: Vec<(IVec, Option<IVec>)>,
    bytes: usize,
}

/// What sled writes beside a key and its value: a header, and now and then the page around it anew.
const BESIDE_BYTES: usize = 256;

impl Writes {
    /// Will be there.
    pub fn insert(&mut self, key: impl Into<IVec>, value: impl Into<IVec>) {
        let (key, value) = (key.into(), value.into());
        self.bytes += BESIDE_BYTES + key.len() + value.len();
        self.writes.push((key, Some(value)));
    }

    /// Will be gone.
    pub fn remove(&mut self, key: impl Into<IVec>) {
        let key = key.into();
        self.bytes += BESIDE_BYTES + key.len();
        self.writes.push((key, None));
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &(IVec, Option<IVec>)> {
        self.writes.iter()
    }

    /// What sled will write for it, in bytes: at least that, and up to five times as much.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// As sled takes them.
    pub fn into_batch(self) -> Batch {
        let mut batch = Batch::default();
        for (key, value) in self.writes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        batch
    }
}
