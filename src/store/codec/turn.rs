//! Places in a turn, as they are stored.

use bincode::{Decode, Encode};

use crate::model::time::Timestamp;

/// The place of one job in a turn that several take part in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Turn {
    /// It has the turn.
    Holds {
        /// When it is due, if it had to wait for the turn.
        due: Option<Timestamp>,
    },
    /// It waits, and has no due key.
    Behind(Behind),
}

/// What makes a job that is behind due when it gets the turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Behind {
    /// Its lane: the workspace's number and the kind.
    pub lane: [u8; 3],
    /// The number of its group.
    pub group: u16,
    /// When it is due by itself.
    pub due: Timestamp,
    /// Never failed at this step.
    pub fresh: bool,
    /// May be lent along with the one before it.
    pub follows: bool,
}
