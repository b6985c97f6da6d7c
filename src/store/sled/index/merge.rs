//! Writing runs in slices: out of memory, and out of other runs.

use std::ops::Bound;

use ::sled::{Db, IVec};

use super::Table;
use super::block::{self, Writer};
use crate::model::time::Timestamp;
use crate::store::StoreError;
use crate::store::codec;
use crate::store::sled::base::Draft;
use crate::store::sled::keys::{self, Place};

/// A table on its way into a run.
pub struct Flush {
    writer: Writer,
    last: Option<Place>,
}

impl Flush {
    /// Of so many entries into this run.
    pub fn new(run: u32, entries: usize) -> Flush {
        Flush {
            writer: Writer::new(run, entries),
            last: None,
        }
    }

    /// The run it becomes.
    pub fn run(&self) -> u32 {
        self.writer.run
    }

    /// What is being written.
    pub fn writer(&mut self) -> &mut Writer {
        &mut self.writer
    }

    /// What was written.
    pub fn into_writer(self) -> Writer {
        self.writer
    }

    /// Writes so many entries more; `true` when all are written.
    pub fn step(&mut self, table: &Table, draft: &mut Draft, entries: usize) -> bool {
        let from = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = table.range((from, Bound::Unbounded));
        for (place, value) in rest.by_ref().take(entries) {
            self.writer.push(draft, place, value);
            self.last = Some(*place);
        }
        let done = rest.next().is_none();
        if done {
            self.writer.end_block(draft);
        }
        done
    }
}

/// Runs on their way into one.
pub struct Merge {
    writer: Writer,
    /// Oldest first.
    inputs: Vec<Input>,
    /// What is forgotten hides nothing: it need not be said.
    oldest: bool,
}

struct Input {
    run: u32,
    /// Entries of one block, those not yet written last first.
    read: Vec<(Place, IVec)>,
    /// Where reading goes on; `None` at the end.
    from: Option<Vec<u8>>,
}

impl Merge {
    /// Of these runs, oldest first, with so many entries, into this one. `oldest`: no run is older.
    pub fn new(inputs: &[u32], run: u32, entries: usize, oldest: bool) -> Merge {
        let inputs = inputs.iter().map(|run| Input {
            run: *run,
            read: Vec::new(),
            from: Some(keys::run_prefix(*run)),
        });
        Merge {
            writer: Writer::new(run, entries),
            inputs: inputs.collect(),
            oldest,
        }
    }

    /// The run it becomes.
    pub fn run(&self) -> u32 {
        self.writer.run
    }

    /// Takes the value at a place out of what was read and is not yet written.
    pub fn wipe(&mut self, place: &Place) -> Result<(), StoreError> {
        let read = self.inputs.iter_mut().flat_map(|input| &mut input.read);
        for (_, value) in read.filter(|(at, _)| at == place) {
            *value = IVec::default();
        }
        self.writer.wipe(place)
    }

    /// The runs it is made of, and what was written.
    pub fn into_parts(self) -> (Vec<u32>, Writer) {
        let inputs = self.inputs.iter().map(|input| input.run).collect();
        (inputs, self.writer)
    }

    /// Writes so many entries more, but for addresses learnt before `forget_before`; `true` when all are written.
    pub fn step(
        &mut self,
        db: &Db,
        draft: &mut Draft,
        entries: usize,
        forget_before: Timestamp,
    ) -> Result<bool, StoreError> {
        for _ in 0..entries {
            for input in &mut self.inputs {
                input.fill(db)?;
            }
            let Some(place) = self.inputs.iter().filter_map(Input::first).min().copied() else {
                self.writer.end_block(draft);
                return Ok(true);
            };
            let mut newest = None;
            for input in &mut self.inputs {
                newest = input.take(&place).or(newest);
            }
            if let Some(value) = newest
                && !(self.oldest && is_forgotten(&value, forget_before)?)
            {
                self.writer.push(draft, &place, &value);
            }
        }
        Ok(false)
    }
}

fn is_forgotten(value: &[u8], forget_before: Timestamp) -> Result<bool, StoreError> {
    Ok(value.is_empty() || codec::is_address_before(value, forget_before)?)
}

impl Input {
    fn fill(&mut self, db: &Db) -> Result<(), StoreError> {
        if self.read.is_empty()
            && let Some(from) = self.from.take()
            && let Some((behind, block)) = block::next(db, self.run, &from)?
        {
            for entry in codec::entries(&block)? {
                let (place, value) = entry?;
                self.read.push((*place, IVec::from(value)));
            }
            self.read.reverse();
            self.from = Some(behind);
        }
        Ok(())
    }

    fn first(&self) -> Option<&Place> {
        self.read.last().map(|(place, _)| place)
    }

    fn take(&mut self, place: &Place) -> Option<IVec> {
        if self.first() == Some(place) {
            return self.read.pop().map(|(_, value)| value);
        }
        None
    }
}
