//! Telling everything there is while it is worked: for exports and backups.
//!
//! sled has no snapshots. A copy is a scan in bounded slices, one for each time that more is asked for; and, between those
//! slices, all that is written. What was written before a slice is told before it: in the order of the telling a later word
//! replaces an earlier one, and at the end stands the store as it was at the end.
//!
//! Invariants: the writer never waits for whoever takes the copy. What is written meanwhile is held for them up to
//! [`HELD_BYTES_MAX`]; beyond that the copy is given up. Without a copy this costs one look at an `Option` per batch.

use std::collections::BTreeMap;

use ::sled::IVec;

use super::base::{Base, Draft, broken};
use super::keys::{self, Place};
use super::request::Request;
use super::told::{Raw, Teller, account, is_told};
use super::{LaneKey, SledStore};
use crate::store::StoreError;
use crate::store::codec;
use crate::store::entry::Entries;

/// How many keys, and about how many bytes, one slice tells.
const SLICE_KEYS: usize = 256;
const SLICE_BYTES: usize = 256 * 1024;

/// How much of what is written is held for whoever takes the copy.
const HELD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A copy that is being taken.
pub struct Copying {
    number: u64,
    from: From,
    held: Vec<Raw>,
    held_bytes: usize,
    /// How many names were told.
    names: usize,
}

/// Where the scan goes on.
enum From {
    Tree(Vec<u8>),
    Index(Place),
    End,
}

/// What is told at once.
pub struct Slice {
    /// In order.
    pub raw: Vec<Raw>,
    /// There is no more.
    pub last: bool,
}

/// A batch that is about to be applied, as far as a copy must know it.
pub struct Copied {
    /// What it writes, the last word for each key.
    writes: BTreeMap<IVec, Option<IVec>>,
    /// The jobs that stand in packs it removes.
    unpacked: Vec<Raw>,
    known: Vec<Raw>,
}

impl Base {
    /// Begins a copy; one that was being taken is given up.
    pub fn begin_copy(&mut self) -> u64 {
        self.last_copy += 1;
        self.copying = Some(Copying {
            number: self.last_copy,
            from: From::Tree(Vec::new()),
            held: Vec::new(),
            held_bytes: 0,
            names: 0,
        });
        self.last_copy
    }

    /// Gives a copy up.
    pub fn end_copy(&mut self, number: u64) {
        self.copying.take_if(|copying| copying.number == number);
    }

    /// What was written since the last slice, and the next slice.
    pub fn go_on_copying(&mut self, number: u64) -> Result<Slice, StoreError> {
        let copying = self.copying.take_if(|copying| copying.number == number);
        let Some(mut copying) = copying else {
            return Err(StoreError::Copy(
                "the copy was given up: another one was begun, or it was taken too slowly for what is written meanwhile"
                    .into(),
            ));
        };
        self.tell_names(&mut copying);
        let mut raw = std::mem::take(&mut copying.held);
        copying.held_bytes = 0;
        copying.from = match copying.from {
            From::Tree(from) => self.tree_slice(from, &mut raw)?,
            From::Index(from) => {
                let at_most = self.slice_keys();
                let (entries, next) = self.index.slice(&self.db, from, at_most)?;
                let entries = entries.into_iter();
                raw.extend(entries.map(|(place, value)| Raw::Known(place, value)));
                next.map_or(From::End, From::Index)
            }
            From::End => From::End,
        };
        let last = matches!(copying.from, From::End);
        if last {
            raw.push(Raw::Told(account(&self.head, &self.names)));
        } else {
            self.copying = Some(copying);
        }
        Ok(Slice { raw, last })
    }

    fn tree_slice(&self, from: Vec<u8>, raw: &mut Vec<Raw>) -> Result<From, StoreError> {
        let (mut from, mut bytes) = (from, 0);
        let upto = raw.len() + self.slice_keys();
        'places: loop {
            for entry in self.db.range(from.as_slice()..) {
                let (key, value) = entry.map_err(|error| broken(&error))?;
                let place = key.first().copied().unwrap_or_default();
                if !is_told(place) {
                    let Some(next) = place.checked_add(1) else {
                        break;
                    };
                    from = vec![next];
                    continue 'places;
                }
                if raw.len() >= upto || bytes >= SLICE_BYTES {
                    return Ok(From::Tree(key.to_vec()));
                }
                let put = self.whole(key, value)?;
                bytes += put.bytes();
                raw.push(put);
            }
            return Ok(From::Index(Place::default()));
        }
    }

    /// Who is to hold little in memory is asked for little at once.
    fn slice_keys(&self) -> usize {
        SLICE_KEYS.min(self.index.young_max())
    }

    /// A key with its value; of a record all of it.
    fn whole(&self, key: IVec, first: IVec) -> Result<Raw, StoreError> {
        let is_record = matches!(key.first(), Some(b'r' | b'w' | b'x'));
        let pieces = if is_record {
            codec::pieces_behind(&first)
        } else {
            0
        };
        if pieces == 0 {
            return Ok(Raw::Put(key, first));
        }
        let id = keys::id_at_end(&key).unwrap_or_default();
        let mut bytes = first.to_vec();
        for number in 0..pieces {
            let piece = self.db.get(keys::piece(id, number));
            let piece = piece.map_err(|error| broken(&error))?;
            let missing = || StoreError::Failed(format!("a piece of job {id} is missing"));
            bytes.extend_from_slice(&piece.ok_or_else(missing)?);
        }
        Ok(Raw::Put(key, bytes.into()))
    }

    /// What a copy must know of a draft before it is applied; `None` when none is being taken.
    pub fn copied(&self, draft: &Draft) -> Result<Option<Copied>, StoreError> {
        if self.copying.is_none() {
            return Ok(None);
        }
        let writes = draft.batch.iter().cloned();
        let writes = writes.filter(|(key, _)| key.first().is_some_and(|place| is_told(*place)));
        let mut copied = Copied {
            writes: writes.collect(),
            unpacked: Vec::new(),
            known: Vec::new(),
        };
        let removed = copied.writes.iter();
        for (key, _) in removed.filter(|(key, value)| key[0] == b'a' && value.is_none()) {
            let Some(pack) = self.db.get(key).map_err(|error| broken(&error))? else {
                continue;
            };
            let Some(lane) = key.get(1..4).and_then(|lane| lane.try_into().ok()) else {
                continue;
            };
            for (event, _) in codec::decode_pack(&pack)? {
                let key = keys::unmoved(LaneKey(lane), event.job(0));
                copied.unpacked.push(Raw::Gone(IVec::from(&key)));
            }
        }
        for (place, known) in &draft.known {
            let value = known.as_ref().map(codec::encode_known).transpose()?;
            let value = IVec::from(value.unwrap_or_default());
            copied.known.push(Raw::Known(*place, value));
        }
        Ok(Some(copied))
    }

    /// Holds what was applied for whoever takes the copy. First what is gone: of a job that moved its new place is told behind.
    pub fn tell(&mut self, copied: Option<Copied>) -> Result<(), StoreError> {
        let Some((copied, mut copying)) = copied.zip(self.copying.take()) else {
            return Ok(());
        };
        self.tell_names(&mut copying);
        let before = copying.held.len();
        copying.held.extend(copied.unpacked);
        let (mut gone, mut there) = (Vec::new(), Vec::new());
        for (key, value) in copied.writes {
            match value {
                Some(value) => there.push(self.whole(key, value)?),
                None if key[0] == b'a' => {}
                None => gone.push(Raw::Gone(key)),
            }
        }
        copying.held.extend(gone);
        copying.held.extend(there);
        copying.held.extend(copied.known);
        copying.held_bytes += copying.held[before..].iter().map(Raw::bytes).sum::<usize>();
        if copying.held_bytes <= HELD_BYTES_MAX {
            self.copying = Some(copying);
        }
        Ok(())
    }

    fn tell_names(&self, copying: &mut Copying) {
        let names = self.names.all_workspaces().len() + self.names.all_groups().len();
        if names > copying.names {
            copying.names = names;
            copying.held.push(Raw::Names(self.names.to_stored()));
        }
    }
}

impl SledStore {
    /// Takes a copy of the store as it is worked.
    pub(super) async fn entries(&self) -> Result<Entries, StoreError> {
        let number = self.ask(|reply| Request::BeginCopy { reply }).await?;
        let (entries, to) = Entries::channel(self.hasher.secret());
        let store = self.clone();
        tokio::spawn(async move {
            let mut teller = Teller::default();
            loop {
                let slice = store.ask(|reply| Request::GoOnCopying { number, reply });
                let told = slice.await.and_then(|slice| {
                    let mut entries = Vec::with_capacity(slice.raw.len());
                    for raw in slice.raw {
                        teller.tell(raw, &mut entries)?;
                    }
                    Ok((entries, slice.last))
                });
                let (told, last) = match told {
                    Ok((entries, last)) => (Ok(entries), last),
                    Err(error) => (Err(error), true),
                };
                let gone = to.send(told).await.is_err();
                if last || gone {
                    // Whoever took it has gone, or it is complete: nothing is held for it any more.
                    let _ = store.requests.send(Request::EndCopy { number });
                    return;
                }
            }
        });
        Ok(entries)
    }
}
