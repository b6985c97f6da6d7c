//! Making a store of what another one told.
//!
//! Invariants: only where there is no store yet. Until everything was told, checked and made durable, the store says that it
//! is half made, and no other command opens it; whatever ends an import early leaves nothing. What is told is written the
//! ordinary way, in batches. The counts are taken anew from what stands there in the end, and must be what was told; of a
//! salvaged store they are simply that.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::{fs, io};

use super::SledStore;
use super::base::{Base, Draft, broken, group};
use super::counts::Head;
use super::disk::Folder;
use super::format::Format;
use super::keys::{self, LaneKey};
use super::mark::Came;
use super::open::{Purpose, open_sled};
use super::time::group_number;
use super::told::{known, pair, tree_key};
use super::{Place, mend};
use crate::model::id::JobId;
use crate::store::codec::{self, Record, Turn};
use crate::store::entry::{Account, Entry, Key};
use crate::store::{Settings, StoreError};

/// How many entries one batch writes.
const BATCH_ENTRIES: usize = 512;

/// Where the entries come from.
#[derive(Clone, Copy)]
pub struct Origin {
    /// The other store's secret.
    pub secret: [u8; 32],
    /// Something is missing: what is there is made to fit together.
    pub salvaged: bool,
}

impl SledStore {
    /// Makes a store at `place`, where there is none, of what `entries` tells; the first error ends it, and leaves nothing.
    pub fn import(
        place: &Place,
        settings: Settings,
        origin: Origin,
        entries: impl IntoIterator<Item = Result<Entry, StoreError>>,
    ) -> Result<(), StoreError> {
        let folder = make_room(place)?;
        let made = catch_unwind(AssertUnwindSafe(|| {
            begin(&folder, place, origin)?;
            drop(folder);
            let mut import = Import {
                base: Base::open_for(Purpose::Import, place, settings, None)?,
                draft: Draft::default(),
                entries: 0,
                ids: HashSet::new(),
                account: None,
                told: Head::default(),
            };
            for entry in entries {
                import.take(entry?)?;
            }
            import.finish(origin)
        }));
        let made = made.unwrap_or_else(|_| Err(StoreError::Failed("sled panicked".into())));
        if made.is_err() {
            let folder = Folder::open(&place.path)?;
            clear(&folder).map_err(|error| StoreError::Failed(error.to_string()))?;
        }
        made
    }
}

/// The folder, locked, without a store; what is left of an import that did not end is removed.
fn make_room(place: &Place) -> Result<Folder, StoreError> {
    let folder = Folder::open(&place.path)?;
    let refuse =
        |what: &str| StoreError::Refused(format!("store.path {}: {what}", place.path.display()));
    if !folder.database().exists() {
        return match Came::read(&folder.mark()) {
            Ok(Came::Unsaid) => Ok(folder),
            Ok(Came::To(_) | Came::Unreadable) => Err(refuse(
                "a mark lies there without its database: put that back, or move the file `mark` away as well",
            )),
            Err(error) => Err(refuse(&format!("the mark cannot be read: {error}"))),
        };
    }
    let format = Format::read(&open_sled(&folder, place.cache_bytes)?)?;
    if !format.half {
        return Err(refuse(
            "there is a store already, and an import needs an empty one: move that away, or name another path",
        ));
    }
    clear(&folder).map_err(|error| StoreError::Refused(error.to_string()))?;
    Ok(folder)
}

/// The mark first: alone it would keep the next import out.
fn clear(folder: &Folder) -> io::Result<()> {
    match fs::remove_file(folder.mark()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    match fs::remove_dir_all(folder.database()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn begin(folder: &Folder, place: &Place, origin: Origin) -> Result<(), StoreError> {
    let db = open_sled(folder, place.cache_bytes)?;
    let write = |key: &[u8], value: &[u8]| db.insert(key, value).map_err(|error| broken(&error));
    write(keys::FORMAT, &Format::HALF.bytes())?;
    write(keys::SECRET, &origin.secret)?;
    db.flush().map_err(|error| broken(&error))?;
    Ok(())
}

struct Import {
    base: Base,
    draft: Draft,
    entries: usize,
    /// Jobs whose records the draft writes: the tree does not know them yet.
    ids: HashSet<JobId>,
    account: Option<Account>,
    /// The counts as they were told.
    told: Head,
}

impl Import {
    fn take(&mut self, entry: Entry) -> Result<(), StoreError> {
        self.entries += 1;
        if self.entries >= BATCH_ENTRIES {
            self.apply()?;
        }
        let Import { base, draft, .. } = self;
        if let Some((place, known)) = known(&mut base.names, &entry) {
            draft.remember(place, known);
            return Ok(());
        }
        let names = &mut base.names;
        match entry {
            Entry::Workspace { name } => {
                names.workspace(&name);
            }
            Entry::Group { group } => {
                names.group(&group);
            }
            Entry::Job { id, lane, kept } => {
                let key = tree_key(names, &Key::Job { id, lane });
                self.record(id, key, &(*kept).into())?;
            }
            Entry::Letter { id, kept } => {
                let key = tree_key(names, &Key::Letter { id });
                self.record(id, key, &(*kept).into())?;
            }
            Entry::Account(account) => self.account = Some(account),
            Entry::Living {
                lane,
                group,
                due,
                later,
            } => {
                let (lane, group) = (names.lane(&lane), names.group(&group));
                self.told.live(lane, group, due as i64, later as i64);
            }
            Entry::Buried {
                group,
                reason,
                count,
            } => self.told.bury(names.group(&group), reason, count as i64),
            Entry::Done {
                group,
                outcome,
                count,
            } => {
                let row = (names.group(&group), outcome);
                self.told.finished.insert(row, count);
            }
            Entry::Gone { key } => self.gone(&key)?,
            other => {
                if let Some((key, value)) = pair(names, other)? {
                    draft.insert(key, value);
                }
            }
        }
        Ok(())
    }

    /// Writes a record, over an older one if there is one.
    fn record(
        &mut self,
        id: JobId,
        key: Option<Vec<u8>>,
        record: &Record,
    ) -> Result<(), StoreError> {
        let Some(key) = key else { return Ok(()) };
        if !self.ids.insert(id) {
            self.apply()?;
            self.ids.insert(id);
        }
        let pieces = codec::encode_record(record)?;
        self.drop_pieces(id, &key, pieces.rest.len())?;
        self.draft.record(key, id, pieces);
        Ok(())
    }

    fn gone(&mut self, key: &Key) -> Result<(), StoreError> {
        let Some(tree_key) = tree_key(&mut self.base.names, key) else {
            if let Key::Known { place } = key {
                self.draft.forget(place.0);
            }
            return Ok(());
        };
        if let Key::Job { id, .. } | Key::Letter { id } = key {
            if self.ids.contains(id) {
                self.apply()?;
            }
            self.drop_pieces(*id, &tree_key, 0)?;
        }
        self.draft.remove(tree_key);
        Ok(())
    }

    /// Removes those pieces of the record that stands there from number `from` on.
    fn drop_pieces(&mut self, id: JobId, key: &[u8], from: usize) -> Result<(), StoreError> {
        let there = self.base.db.get(key).map_err(|error| broken(&error))?;
        if let Some(first) = there {
            Base::drop_pieces(&mut self.draft, id, from, codec::pieces_behind(&first));
        }
        Ok(())
    }

    fn apply(&mut self) -> Result<(), StoreError> {
        self.entries = 0;
        self.ids.clear();
        self.base.apply(std::mem::take(&mut self.draft), false)?;
        self.base.free_replaced();
        Ok(())
    }

    fn finish(mut self, origin: Origin) -> Result<(), StoreError> {
        self.apply()?;
        if origin.salvaged {
            mend::mend(&mut self.base)?;
        }
        let Import {
            mut base,
            account,
            told,
            ..
        } = self;
        let found = recount(&mut base)?;
        let commit = base.head.commit;
        if origin.salvaged {
            let account = mend::account(&base, account)?;
            base.head = found;
            base.head.finished = told.finished;
            base.head.take_over(account);
        } else {
            add_up(&told, &found)?;
            let account = account
                .ok_or_else(|| StoreError::Refused("the export ends without its account".into()))?;
            base.head = told;
            base.head.take_over(account);
        }
        base.head.commit = base.head.commit.max(commit);
        let mut draft = Draft::default();
        draft.insert(keys::FORMAT, Format::WHOLE.bytes());
        base.apply(draft, true)?;
        base.mark
            .sync()
            .map_err(|error| StoreError::Failed(format!("syncing the mark: {error}")))
    }
}

/// Counts living jobs and dead letters by what stands in the tree.
fn recount(base: &mut Base) -> Result<Head, StoreError> {
    let mut found = Head::default();
    for place in [b"d", b"r", b"t", b"x"] {
        for entry in base.db.scan_prefix(place) {
            let (key, value) = entry.map_err(|error| broken(&error))?;
            let lane = key.get(1..4).and_then(|lane| lane.try_into().ok());
            let lane = LaneKey(lane.unwrap_or_default());
            let id = keys::id_at_end(&key).unwrap_or_default();
            match place {
                b"d" => {
                    let class = key.get(4).copied().and_then(keys::Class::of_byte);
                    let ready = class.is_some_and(keys::Class::is_ready);
                    let ready = i64::from(ready);
                    found.live(lane, group_number(&value), ready, 1 - ready);
                }
                b"r" => {
                    let record = base.read(id, &value)?;
                    found.live(lane, base.names.group(&group(&record)), 1, 0);
                }
                b"t" => {
                    if let Turn::Behind(behind) = codec::decode_turn(&value)? {
                        found.live(LaneKey(behind.lane), behind.group, 0, 1);
                    }
                }
                _ => {
                    let record = base.read(id, &value)?;
                    if let Some(burial) = &record.burial {
                        found.bury(base.names.group(&group(&record)), burial.reason, 1);
                    }
                }
            }
        }
    }
    Ok(found)
}

/// Whether what was told is what stands there.
fn add_up(told: &Head, found: &Head) -> Result<(), StoreError> {
    let living = |head: &Head| -> Vec<_> {
        let rows = head.living.iter().map(|(key, row)| (*key, *row));
        rows.filter(|(_, row)| row.due + row.later > 0).collect()
    };
    let buried = |head: &Head| -> Vec<_> {
        let rows = head.buried.iter().map(|(key, count)| (*key, *count));
        rows.filter(|(_, count)| *count > 0).collect()
    };
    if living(told) == living(found) && buried(told) == buried(found) {
        return Ok(());
    }
    Err(StoreError::Refused(format!(
        "the export does not add up: it counts {} jobs, and tells {} of them",
        told.jobs(),
        found.jobs()
    )))
}
