//! What a batch writes, in its order, until it is handed to sled: sled's own batch cannot be read.

use ::sled::{Batch, IVec};

/// Insertions, and removals (`None`). A later one of the same key counts.
#[derive(Default)]
pub struct Writes(Vec<(IVec, Option<IVec>)>);

impl Writes {
    /// Will be there.
    pub fn insert(&mut self, key: impl Into<IVec>, value: impl Into<IVec>) {
        self.0.push((key.into(), Some(value.into())));
    }

    /// Will be gone.
    pub fn remove(&mut self, key: impl Into<IVec>) {
        self.0.push((key.into(), None));
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &(IVec, Option<IVec>)> {
        self.0.iter()
    }

    /// As sled takes them.
    pub fn into_batch(self) -> Batch {
        let mut batch = Batch::default();
        for (key, value) in self.0 {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        batch
    }
}
