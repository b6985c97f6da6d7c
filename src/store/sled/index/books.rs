//! Which runs there are, as it is stored.

use bincode::{Decode, Encode};

/// As it is stored: which runs there are.
#[derive(Debug, Default, Encode, Decode)]
pub struct Manifest {
    /// Complete ones, oldest first.
    pub runs: Vec<Run>,
    /// The rest.
    pub books: Books,
}

/// One run.
#[derive(Clone, Copy, Debug, Encode, Decode)]
pub struct Run {
    /// Its number, never given twice.
    pub number: u32,
    /// How long it is: each level is four times the one below.
    pub level: u8,
    /// How many there are.
    pub entries: u64,
}

/// What else must be known.
#[derive(Clone, Debug, Default, Encode, Decode)]
pub struct Books {
    /// Numbers of runs that are not, or no longer, part of the index.
    pub garbage: Vec<u32>,
    /// Entries of commits before this one are in the runs.
    pub log_from: u64,
    /// The number given last.
    pub last_run: u32,
}

impl Books {
    /// A number for a new run. It is garbage until it is complete.
    pub fn begin(&mut self) -> u32 {
        self.last_run += 1;
        self.garbage.push(self.last_run);
        self.last_run
    }

    /// This run is no garbage; or it is no more.
    pub fn spare(&mut self, number: u32) {
        self.garbage.retain(|run| *run != number);
    }
}
