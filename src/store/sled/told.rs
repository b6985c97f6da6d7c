//! What stands in the tree, told as entries that any store understands; and written down again.
//!
//! Invariants: stateless but for the names: one key of the tree is one entry (a pack one for each of its jobs), so that
//! what is told of a scan and of the writes behind it fits together. What an adapter derives (runs, filters, the log of the
//! index, pieces) is not told; a place that this file does not know is told as it is.

use ::sled::IVec;

use super::budgets;
use super::counts::{GroupId, Head, Names, StoredNames};
use super::keys::{self, Class, LaneKey, Place};
use super::time::{due_in, due_value, group_number};
use crate::model::Name;
use crate::model::id::JobId;
use crate::model::lane::Lane;
use crate::model::time::Timestamp;
use crate::store::codec::{self, Behind, Done, Known, KnownEvent, Turn};
use crate::store::entry::{Bytes, Entry, EventOf, Hex, Kept, Key, Stand, TurnOf, Waits};
use crate::store::{Group, StoreError};

/// Places that are told each in an entry of its own.
#[cfg(test)]
const TOLD: &[u8] = b"arwxdtfkuoy";

/// Places that follow from others, or are told otherwise: pieces, and what the index is made of.
const DERIVED: &[u8] = b"clpbi";

/// Places that are the store's own: the account, the names, the secret, the format.
const OWN: &[u8] = b"mnsv";

/// Whether what stands there is told as it stands there; a place that is not known here is.
pub fn is_told(place: u8) -> bool {
    !DERIVED.contains(&place) && !OWN.contains(&place)
}

/// What the writer hands over: as it stands in the tree, but that pieces are put together and the index is looked through.
pub enum Raw {
    /// This stands there; of a record, with all its pieces.
    Put(IVec, IVec),
    /// Nothing stands there any more.
    Gone(IVec),
    /// What is remembered at a place; empty: nothing any more.
    Known(Place, IVec),
    /// The names that the others use, whenever there are more.
    Names(StoredNames),
    /// What needs no telling apart.
    Told(Vec<Entry>),
}

impl Raw {
    /// What it is, for people; nothing personal.
    pub fn name(&self) -> String {
        match self {
            Raw::Put(key, _) | Raw::Gone(key) => {
                let place = key.first().copied().map_or('?', char::from);
                match keys::id_at_end(key) {
                    Some(id) if "rwx".contains(place) => format!("job {id} (place `{place}`)"),
                    _ => format!("a key of place `{place}`"),
                }
            }
            Raw::Known(..) => "something that is remembered of a participant".into(),
            Raw::Names(_) => "the names of workspaces and groups".into(),
            Raw::Told(_) => "the account".into(),
        }
    }

    /// About how many bytes it takes.
    pub fn bytes(&self) -> usize {
        match self {
            Raw::Put(key, value) => key.len() + value.len(),
            Raw::Gone(key) => key.len(),
            Raw::Known(place, value) => place.len() + value.len(),
            Raw::Names(_) | Raw::Told(_) => 0,
        }
    }
}

/// The account, as entries.
pub fn account(head: &Head, names: &Names) -> Vec<Entry> {
    let group = |number| names.group_of(number).cloned();
    let living = head.living.iter().filter_map(|((lane, number), row)| {
        Some(Entry::Living {
            lane: names.lane_of(LaneKey(*lane))?,
            group: group(*number)?,
            due: row.due,
            later: row.later,
        })
    });
    let buried = head.buried.iter().filter_map(|((number, reason), count)| {
        Some(Entry::Buried {
            group: group(*number)?,
            reason: *reason,
            count: *count,
        })
    });
    let done = head
        .finished
        .iter()
        .filter_map(|((number, outcome), count)| {
            Some(Entry::Done {
                group: group(*number)?,
                outcome: *outcome,
                count: *count,
            })
        });
    let rows = living.chain(buried).chain(done);
    rows.chain([Entry::Account(head.account())]).collect()
}

/// Tells entries; learns the names on the way.
#[derive(Default)]
pub struct Teller {
    names: Names,
    workspaces: usize,
    groups: usize,
}

fn strange(key: &[u8]) -> StoreError {
    let place = key.first().copied().map_or('?', char::from);
    StoreError::Failed(format!("a key of place `{place}` cannot be read"))
}

impl Teller {
    /// The entries that `raw` is.
    pub fn tell(&mut self, raw: Raw, entries: &mut Vec<Entry>) -> Result<(), StoreError> {
        match raw {
            Raw::Put(key, value) => self.put(&key, &value, entries)?,
            Raw::Gone(key) => entries.push(Entry::Gone {
                key: self.key(&key)?,
            }),
            Raw::Known(place, value) if value.is_empty() => entries.push(Entry::Gone {
                key: Key::Known { place: Hex(place) },
            }),
            Raw::Known(place, value) => entries.push(self.known(place, &value)?),
            Raw::Names(stored) => self.learn(stored, entries),
            Raw::Told(told) => entries.extend(told),
        }
        Ok(())
    }

    fn learn(&mut self, stored: StoredNames, entries: &mut Vec<Entry>) {
        self.names = Names::from_stored(stored);
        let (workspaces, groups) = (self.names.all_workspaces(), self.names.all_groups());
        let new = workspaces[self.workspaces..].iter();
        entries.extend(new.map(|name| Entry::Workspace { name: name.clone() }));
        let new = groups[self.groups..].iter();
        entries.extend(new.map(|group| Entry::Group {
            group: group.clone(),
        }));
        self.workspaces = workspaces.len();
        self.groups = groups.len();
    }

    fn put(&self, key: &[u8], value: &[u8], entries: &mut Vec<Entry>) -> Result<(), StoreError> {
        let job = |id: JobId, lane: Option<Lane>, record: &[u8]| -> Result<Entry, StoreError> {
            let kept = Box::new(Kept::from(codec::decode_record(record)?));
            Ok(Entry::Job { id, lane, kept })
        };
        let entry = match (key.first(), self.key(key)?) {
            (Some(b'a'), Key::Job { lane, .. }) => {
                for (event, record) in codec::decode_pack(value)? {
                    entries.push(job(event.job(0), lane.clone(), record)?);
                }
                return Ok(());
            }
            (_, Key::Job { id, lane }) => job(id, lane, value)?,
            (_, Key::Letter { id }) => Entry::Letter {
                id,
                kept: Box::new(codec::decode_record(value)?.into()),
            },
            (_, Key::Due { stand, .. }) => Entry::Due {
                stand,
                due: due_in(value),
                group: self.group(group_number(value))?,
            },
            (_, Key::Turn { of, id }) => self.turn(of, id, codec::decode_turn(value)?)?,
            (_, Key::Finished { at, id }) => {
                let Done { key: place, once } = codec::decode_done(value)?;
                Entry::Finished {
                    at,
                    id,
                    place: Hex(place),
                    once: once.map(|(place, owner, until)| (Hex(place), owner, until)),
                }
            }
            (_, Key::Expiry { until, place }) => Entry::Expiry {
                until,
                place,
                owner: codec::decode_owner(value)?,
            },
            (Some(b'u'), Key::Other { .. }) => {
                let number = key.get(1..).and_then(|key| <[u8; 3]>::try_from(key).ok());
                Entry::Budget {
                    lane: self.lane(LaneKey(number.ok_or_else(|| strange(key))?))?,
                    used: budgets::decode(value)?,
                }
            }
            (_, Key::Paper { name }) => Entry::Paper {
                name,
                text: codec::decode_paper(value)?.to_owned(),
            },
            (_, Key::Replay { number }) => Entry::Replay {
                number,
                counts: codec::decode_table(value)?,
            },
            (_, Key::Other { key }) => Entry::Other {
                key,
                value: Bytes(value.to_vec()),
            },
            (_, Key::Known { .. }) => return Err(strange(key)),
        };
        entries.push(entry);
        Ok(())
    }

    fn turn(&self, of: TurnOf, id: JobId, turn: Turn) -> Result<Entry, StoreError> {
        let (behind, due) = match turn {
            Turn::Holds { due } => (None, due),
            Turn::Behind(behind) => {
                let waits = Waits {
                    lane: self.lane(LaneKey(behind.lane))?,
                    group: self.group(behind.group)?,
                    fresh: behind.fresh,
                    follows: behind.follows,
                };
                (Some(waits), Some(behind.due))
            }
        };
        Ok(Entry::Turn {
            of,
            id,
            behind,
            due,
        })
    }

    fn known(&self, place: Place, value: &[u8]) -> Result<Entry, StoreError> {
        let place = Hex(place);
        Ok(match codec::decode_known(value)? {
            Known::Event(event) => Entry::Event {
                place,
                id: event.id,
                scope: Hex(event.scope),
                of: EventOf::from(event.kind),
                turn: event
                    .turn
                    .map(|number| self.workspace(number))
                    .transpose()?,
                alive: event.alive,
                dead: event.dead,
                discarded: event.discarded,
                numbers: event.numbers,
            },
            Known::Once { job, at } => Entry::Once { place, job, at },
            Known::Address(learnt) => Entry::Address { place, learnt },
        })
    }

    /// What a key of the tree is the key of.
    fn key(&self, key: &[u8]) -> Result<Key, StoreError> {
        let strange = || strange(key);
        let lane = |from: usize| {
            let bytes = key.get(from..from + 3).and_then(|it| it.try_into().ok());
            self.lane(LaneKey(bytes.ok_or_else(strange)?))
        };
        let id = || keys::id_at_end(key).ok_or_else(strange);
        Ok(match key.first() {
            Some(b'a') => Key::Job {
                id: JobId::default(),
                lane: Some(lane(1)?),
            },
            Some(b'r') => Key::Job {
                id: id()?,
                lane: Some(lane(1)?),
            },
            Some(b'w') => Key::Job {
                id: id()?,
                lane: None,
            },
            Some(b'x') => Key::Letter { id: id()? },
            Some(b'd') => {
                let class = key.get(4).copied().and_then(Class::of_byte);
                let class = class.ok_or_else(strange)?;
                let stand = Stand {
                    id: id()?,
                    lane: lane(1)?,
                    ready: class.is_ready(),
                    fresh: matches!(class, Class::ReadyFresh | Class::LaterFresh),
                };
                let due = keys::due_time(key).ok_or_else(strange)?;
                Key::Due { stand, due }
            }
            Some(b't') => {
                let (number, person) = keys::turn_parts(key).ok_or_else(strange)?;
                let of = TurnOf {
                    workspace: self.workspace(number)?,
                    participant: Hex(person),
                };
                Key::Turn { of, id: id()? }
            }
            Some(b'f') => {
                let (at, id) = keys::finished_parts(key).ok_or_else(strange)?;
                Key::Finished { at, id }
            }
            Some(b'k') => {
                let (until, place) = keys::expiry_parts(key).ok_or_else(strange)?;
                let place = Hex(place);
                Key::Expiry { until, place }
            }
            Some(b'o') => Key::Paper {
                name: keys::paper_name(key).ok_or_else(strange)?.to_owned(),
            },
            Some(b'y') => Key::Replay {
                number: keys::replay_number(key).ok_or_else(strange)?,
            },
            _ => Key::Other {
                key: Bytes(key.to_vec()),
            },
        })
    }

    fn workspace(&self, number: u16) -> Result<Name, StoreError> {
        let name = self.names.all_workspaces().get(usize::from(number));
        name.cloned()
            .ok_or_else(|| StoreError::Failed(format!("workspace {number} has no name")))
    }

    fn lane(&self, key: LaneKey) -> Result<Lane, StoreError> {
        let lane = self.names.lane_of(key);
        lane.ok_or_else(|| StoreError::Failed(format!("{key:?} is no lane")))
    }

    fn group(&self, number: GroupId) -> Result<Group, StoreError> {
        let group = self.names.group_of(number).cloned();
        group.ok_or_else(|| StoreError::Failed(format!("group {number} has no name")))
    }
}

/// The key of the tree that an entry's key is. What is remembered has none: it is the index's.
pub fn tree_key(names: &mut Names, key: &Key) -> Option<Vec<u8>> {
    Some(match key {
        Key::Job { id, lane: None } => keys::moved(*id),
        Key::Job {
            id,
            lane: Some(lane),
        } => keys::unmoved(names.lane(lane), *id).to_vec(),
        Key::Letter { id } => keys::dead(*id),
        Key::Due { stand, due } => due_key(names, stand, *due),
        Key::Turn { of, id } => turn_key(names, of, *id),
        Key::Known { .. } => return None,
        Key::Finished { at, id } => keys::finished(*at, *id),
        Key::Expiry { until, place } => keys::expiry(*until, &place.0),
        Key::Paper { name } => keys::paper(name),
        Key::Replay { number } => keys::replay(*number).to_vec(),
        Key::Other { key } => key.0.clone(),
    })
}

/// The key that makes a job due.
pub fn due_key(names: &mut Names, stand: &Stand, due: Timestamp) -> Vec<u8> {
    let class = match (stand.ready, stand.fresh) {
        (true, true) => Class::ReadyFresh,
        (true, false) => Class::ReadyRetry,
        (false, true) => Class::LaterFresh,
        (false, false) => Class::LaterRetry,
    };
    keys::due(names.lane(&stand.lane), class, due, stand.id)
}

/// A job's key in a turn.
pub fn turn_key(names: &mut Names, of: &TurnOf, id: JobId) -> Vec<u8> {
    let mut place = Place::default();
    place[..keys::PARTICIPANT_BYTES].copy_from_slice(&of.participant.0);
    let number = names.workspace(&of.workspace);
    keys::turn(&crate::store::hash::participant(number, &place), id)
}

/// A key and a value of the tree, as an entry becomes them.
pub type Pair = (Vec<u8>, Vec<u8>);

/// Of an entry that is neither a record, nor remembered, nor counted: what stands in the tree.
pub fn pair(names: &mut Names, entry: Entry) -> Result<Option<Pair>, StoreError> {
    Ok(Some(match entry {
        Entry::Due { stand, due, group } => {
            let group = names.group(&group);
            (due_key(names, &stand, due), due_value(group, due))
        }
        Entry::Turn {
            of,
            id,
            behind,
            due,
        } => {
            let turn = match behind {
                None => Turn::Holds { due },
                Some(waits) => Turn::Behind(Behind {
                    lane: names.lane(&waits.lane).0,
                    group: names.group(&waits.group),
                    due: due.unwrap_or_default(),
                    fresh: waits.fresh,
                    follows: waits.follows,
                }),
            };
            (turn_key(names, &of, id), codec::encode_turn(&turn)?)
        }
        Entry::Finished {
            at,
            id,
            place,
            once,
        } => {
            let once = once.map(|(place, owner, until)| (place.0, owner, until));
            let key = place.0;
            let done = codec::encode_done(&Done { key, once })?;
            (keys::finished(at, id), done)
        }
        Entry::Expiry {
            until,
            place,
            owner,
        } => (keys::expiry(until, &place.0), codec::encode_owner(owner)?),
        Entry::Budget { lane, used } => {
            let key = keys::budget(names.lane(&lane)).to_vec();
            (key, codec::encode_table(&used)?)
        }
        Entry::Paper { name, text } => (keys::paper(&name), codec::encode_paper(&text)),
        Entry::Replay { number, counts } => {
            (keys::replay(number).to_vec(), codec::encode_table(&counts)?)
        }
        Entry::Other { key, value } => (key.0, value.0),
        Entry::Workspace { .. }
        | Entry::Group { .. }
        | Entry::Job { .. }
        | Entry::Letter { .. }
        | Entry::Event { .. }
        | Entry::Once { .. }
        | Entry::Address { .. }
        | Entry::Account(_)
        | Entry::Living { .. }
        | Entry::Buried { .. }
        | Entry::Done { .. }
        | Entry::Gone { .. } => return Ok(None),
    }))
}

/// What an entry says is remembered, and where.
pub fn known(names: &mut Names, entry: &Entry) -> Option<(Place, Known)> {
    Some(match entry {
        Entry::Event {
            place,
            id,
            scope,
            of,
            turn,
            alive,
            dead,
            discarded,
            numbers,
        } => {
            let event = KnownEvent {
                id: *id,
                scope: scope.0,
                kind: (*of).into(),
                turn: turn.as_ref().map(|name| names.workspace(name)),
                alive: *alive,
                dead: *dead,
                discarded: *discarded,
                numbers: numbers.clone(),
            };
            (place.0, Known::Event(event))
        }
        Entry::Once { place, job, at } => (place.0, Known::Once { job: *job, at: *at }),
        Entry::Address { place, learnt } => (place.0, Known::Address(learnt.clone())),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The letters of the table in `keys.rs`.
    fn places() -> Vec<u8> {
        let rows = include_str!("keys.rs").lines();
        let rows = rows.filter_map(|line| line.strip_prefix("//! | `"));
        rows.filter_map(|row| row.bytes().next()).collect()
    }

    #[test]
    fn every_place_of_the_tree_is_told_or_need_not_be() {
        let places = places();
        assert!(places.len() >= 18, "the table of keys.rs was not found");
        for told in TOLD {
            assert!(is_told(*told), "`{}` is not told", char::from(*told));
        }
        for place in &places {
            let named = [TOLD, DERIVED, OWN].concat().contains(place);
            let place = char::from(*place);
            assert!(
                named,
                "place `{place}` is new: tell it in an entry of its own, or add it to TOLD as it is if its keys hold no numbers of \
                 lanes or groups and only this adapter needs it"
            );
        }
        for named in [TOLD, DERIVED, OWN].concat() {
            let letter = char::from(named);
            assert!(places.contains(&named), "`{letter}` is no place any more");
        }
    }
}
