//! Where each lane is read: positions in the orders of its due work.
//!
//! Invariants: a position only ever skips what is lent, and is put back by whatever appears behind it.

use super::keys::Class;

/// A reading position: everything before it is lent or gone.
#[derive(Debug, Default)]
pub struct Cursor(Option<Vec<u8>>);

impl Cursor {
    /// Something stands at `key` now: not to be passed over.
    pub fn note(&mut self, key: &[u8]) {
        if self.0.as_deref().is_some_and(|cursor| key < cursor) {
            self.0 = Some(key.to_vec());
        }
    }

    /// Everything up to and with `key` is lent.
    pub fn pass(&mut self, key: &[u8]) {
        let mut next = key.to_vec();
        next.push(0);
        if self
            .0
            .as_deref()
            .is_none_or(|cursor| cursor < next.as_slice())
        {
            self.0 = Some(next);
        }
    }

    /// Where to read on.
    pub fn start<'a>(&'a self, prefix: &'a [u8]) -> &'a [u8] {
        self.0.as_deref().unwrap_or(prefix)
    }
}

/// The three orders in which a lane's due work is read.
#[derive(Debug, Default)]
pub struct Streams {
    /// Never moved: by acceptance.
    pub unmoved: Cursor,
    /// Moved, fresh: by acceptance.
    pub fresh: Cursor,
    /// Failed before: by when it became due.
    pub retry: Cursor,
}

impl Streams {
    /// A due key appeared.
    pub fn note(&mut self, class: Class, key: &[u8]) {
        match class {
            Class::ReadyFresh => self.fresh.note(key),
            Class::ReadyRetry => self.retry.note(key),
            Class::LaterFresh | Class::LaterRetry => {}
        }
    }
}
