//! Making what was saved of a damaged store fit together: every job that is there can be worked, and is counted.
//!
//! Invariants: nothing that is there is dropped but keys that lead to no job. A job that lost what makes it due is due as its
//! record says; a turn that lost its holder goes to the next; an event that is not remembered any more is remembered again.
//! Events of which a job lived and none is left count as discarded, and are no longer remembered, nor are credits that got
//! lost: whoever posted them posts them again, and they are delivered. Order within a turn that lost keys is not promised.

use std::collections::HashMap;

use ::sled::IVec;

use super::base::{Base, Draft, broken};
use super::keys::{self, Class, LaneKey, Place};
use super::time::due_value;
use super::turns::set_turn;
use crate::model::id::{EventId, JobId};
use crate::model::lane::Lane;
use crate::model::time::Timestamp;
use crate::store::StoreError;
use crate::store::codec::{self, Known, KnownEvent, KnownKind, Record, Turn};
use crate::store::entry::Account;

/// After so many writes a draft is applied.
const WRITES_MAX: usize = 512;

/// How many entries of the index are read at once.
const SLICE_ENTRIES: usize = 4096;

/// How many of them are in memory (some 15 MB) while all that is done is looked through for them.
const SUSPECTS_MAX: usize = 1 << 18;

/// Makes everything fit together.
pub fn mend(base: &mut Base) -> Result<(), StoreError> {
    drop_what_leads_nowhere(base)?;
    give_turns(base)?;
    for place in [b"w", b"r", b"x"] {
        let mut draft = Draft::default();
        for entry in base.db.scan_prefix(place) {
            let (key, first) = entry.map_err(|error| broken(&error))?;
            let Some(id) = keys::id_at_end(&key) else {
                continue;
            };
            let record = base.read(id, &first)?;
            if place == b"w" {
                make_due(base, &mut draft, id, &record)?;
            }
            remember(base, &mut draft, id, &record)?;
            apply_some(base, &mut draft)?;
        }
        base.apply(draft, false)?;
    }
    forget_what_is_lost(base, SUSPECTS_MAX)
}

/// The account of what is there; what cannot be counted any more is as it was `told`. Events of which nothing is left
/// count as discarded.
pub fn account(base: &Base, told: Option<Account>) -> Result<Account, StoreError> {
    let told = told.unwrap_or_default();
    let mut account = Account {
        queued: 0,
        dead: 0,
        ..told
    };
    for place in [b"w", b"r", b"x"] {
        let mut last = None;
        for key in base.db.scan_prefix(place).keys() {
            let key = key.map_err(|error| broken(&error))?;
            let Some(id) = keys::id_at_end(&key).filter(|id| last != Some(id.event)) else {
                continue;
            };
            last = Some(id.event);
            account.last_id = account.last_id.max(id.event);
            let found = jobs(base, id.event)?;
            match place {
                b"x" if found.alive == 0 => account.dead += 1,
                b"x" => {}
                // Counted where it is met first.
                b"r" if found.first != Some(key) => {}
                _ => account.queued += 1,
            }
        }
    }
    let lost = (told.queued + told.dead).saturating_sub(account.queued + account.dead);
    account.discarded += lost;
    Ok(account)
}

/// Removes due keys and places in turns of jobs that are not there.
fn drop_what_leads_nowhere(base: &mut Base) -> Result<(), StoreError> {
    let mut draft = Draft::default();
    for place in [b"d", b"t"] {
        for entry in base.db.scan_prefix(place) {
            let (key, value) = entry.map_err(|error| broken(&error))?;
            let there = match keys::id_at_end(&key) {
                None => false,
                Some(id) if place == b"t" && !is_behind(&value)? => lives(base, id)?,
                Some(id) => has(base, &keys::moved(id))?,
            };
            if !there {
                draft.remove(key);
            }
            apply_some(base, &mut draft)?;
        }
    }
    base.apply(draft, false)
}

/// Of each turn that nobody has, the first one gets it.
fn give_turns(base: &mut Base) -> Result<(), StoreError> {
    let mut draft = Draft::default();
    let mut last: Option<Vec<u8>> = None;
    for entry in base.db.scan_prefix(b"t") {
        let (key, value) = entry.map_err(|error| broken(&error))?;
        let turn = key[..key.len().saturating_sub(17)].to_vec();
        if last.as_ref() == Some(&turn) {
            continue;
        }
        let mut members = base.db.scan_prefix(&turn).values();
        let held = members.any(|value| value.is_ok_and(|value| is_behind(&value) == Ok(false)));
        last = Some(turn);
        let (Turn::Behind(behind), false) = (codec::decode_turn(&value)?, held) else {
            continue;
        };
        let (Some(id), Some(participant)) = (
            keys::id_at_end(&key),
            key.get(1..17).and_then(|it| it.try_into().ok()),
        ) else {
            continue;
        };
        let due = Some(behind.due);
        set_turn(&mut draft, participant, id, Some(Turn::Holds { due }))?;
        let class = Class::of(behind.fresh, behind.due, Timestamp::ZERO);
        let due_key = keys::due(LaneKey(behind.lane), class, behind.due, id);
        draft.insert(due_key, due_value(behind.group, behind.due));
        apply_some(base, &mut draft)?;
    }
    base.apply(draft, false)
}

/// Makes a moved job due that nothing makes due.
fn make_due(
    base: &mut Base,
    draft: &mut Draft,
    id: JobId,
    record: &Record,
) -> Result<(), StoreError> {
    let (Some(job), Some(workspace)) = (&record.job, record.workspace.as_deref()) else {
        return Ok(());
    };
    let home = base.home(record);
    let own = base
        .names
        .lane(&Lane::new(&workspace.into(), job.state.lane()));
    let participant = keys::participant(own, &home);
    let turn = base.member(draft, &participant, id)?;
    let waited = match turn {
        Some(Turn::Behind(_)) => return Ok(()),
        Some(Turn::Holds { due }) => due,
        None => None,
    };
    let lanes: Vec<LaneKey> = base.names.lane_keys().collect();
    for lane in lanes {
        for due in [Some(job.due), waited].into_iter().flatten() {
            for now in [due, Timestamp::ZERO] {
                let key = keys::due(lane, Class::of(job.fresh, due, now), due, id);
                if has(base, &key)? {
                    return Ok(());
                }
            }
        }
    }
    let due = waited.unwrap_or(job.due);
    let group = base.group_of(record);
    let class = Class::of(job.fresh, due, Timestamp::ZERO);
    draft.insert(keys::due(own, class, due, id), due_value(group, due));
    Ok(())
}

/// Remembers the event of a job as it is, if it is remembered otherwise or not at all.
fn remember(base: &Base, draft: &mut Draft, id: JobId, record: &Record) -> Result<(), StoreError> {
    let home = base.home(record);
    let Jobs {
        alive,
        dead,
        numbers,
        ..
    } = jobs(base, id.event)?;
    let before = match base.known(draft, &home)? {
        Some(Known::Event(event)) if event.id == id.event => Some(event),
        _ => None,
    };
    if before
        .as_ref()
        .is_some_and(|event| (event.alive, event.dead) == (alive, dead))
    {
        return Ok(());
    }
    let known = before.unwrap_or_else(|| KnownEvent {
        numbers,
        ..KnownEvent::new(
            id.event,
            base.hasher.scope(&record.event),
            KnownKind::of(&record.event),
        )
    });
    let known = KnownEvent {
        alive,
        dead,
        ..known
    };
    draft.remember(home, Known::Event(known));
    Ok(())
}

/// Events and jobs that may exist once, as they are remembered, which are not known to be done.
type Suspects = HashMap<Place, Suspect>;

struct Suspect {
    /// The job, or the event's first, that says it is done when it is.
    owner: JobId,
    /// Any job of the event keeps it.
    whole_event: bool,
}

/// Forgets what is remembered of events and jobs of which nothing else is left: neither a job nor a letter, nor that they
/// are done. At most about `at_once` of them are in memory.
fn forget_what_is_lost(base: &mut Base, at_once: usize) -> Result<(), StoreError> {
    let mut from = Some(Place::default());
    while from.is_some() {
        let mut suspects = Suspects::new();
        while let Some(place) = from.filter(|_| suspects.len() < at_once) {
            let (slice, next) = base
                .index
                .slice(&base.db, place, SLICE_ENTRIES.min(at_once))?;
            for (place, value) in slice {
                suspects.extend(suspect(&value)?.map(|suspect| (place, suspect)));
            }
            from = next;
        }
        acquit_what_is_done(base, &mut suspects)?;
        let mut draft = Draft::default();
        for (place, Suspect { owner, whole_event }) in suspects {
            let id = keys::id_bytes(owner);
            let id = if whole_event { &id[..16] } else { &id[..] };
            if !base.has_jobs(id)? {
                draft.forget(place);
                apply_some(base, &mut draft)?;
            }
        }
        base.apply(draft, false)?;
    }
    Ok(())
}

fn suspect(value: &[u8]) -> Result<Option<Suspect>, StoreError> {
    let (owner, whole_event) = match codec::decode_known(value)? {
        Known::Event(event) if event.alive > 0 || event.dead > 0 => (event.id.job(0), true),
        Known::Once { job, .. } => (job, false),
        Known::Event(_) | Known::Address(_) => return Ok(None),
    };
    Ok(Some(Suspect { owner, whole_event }))
}

/// Strikes out those that are done: they are forgotten when their time comes.
fn acquit_what_is_done(base: &Base, suspects: &mut Suspects) -> Result<(), StoreError> {
    let mut acquit = |place: &Place, owner: JobId| {
        if suspects.get(place).is_some_and(|it| it.owner == owner) {
            suspects.remove(place);
        }
    };
    for entry in base.db.scan_prefix(keys::FINISHED_PREFIX) {
        let (key, value) = entry.map_err(|error| broken(&error))?;
        if let Some((_, event)) = keys::finished_parts(&key) {
            let done = codec::decode_done(&value)?;
            acquit(&done.key, event.job(0));
            if let Some((place, owner, _)) = done.once {
                acquit(&place, owner);
            }
        }
    }
    for entry in base.db.scan_prefix(keys::EXPIRY_PREFIX) {
        let (key, value) = entry.map_err(|error| broken(&error))?;
        if let Some((_, place)) = keys::expiry_parts(&key) {
            acquit(&place, codec::decode_owner(&value)?);
        }
    }
    Ok(())
}

/// What there is of an event.
#[derive(Default)]
struct Jobs {
    alive: u8,
    dead: u8,
    numbers: Vec<u8>,
    /// The key of the first that lives.
    first: Option<IVec>,
}

fn jobs(base: &Base, event: EventId) -> Result<Jobs, StoreError> {
    let mut found = Jobs::default();
    let mut prefixes = vec![b"w".to_vec()];
    prefixes.extend(base.names.lane_keys().map(keys::unmoved_prefix));
    prefixes.push(keys::DEAD_PREFIX.to_vec());
    for prefix in prefixes {
        let dead = prefix == keys::DEAD_PREFIX;
        for key in base
            .db
            .scan_prefix([prefix.as_slice(), &event.0].concat())
            .keys()
        {
            let key = key.map_err(|error| broken(&error))?;
            found.numbers.extend(key.last());
            if dead {
                found.dead = found.dead.saturating_add(1);
            } else {
                found.alive = found.alive.saturating_add(1);
                found.first.get_or_insert(key);
            }
        }
    }
    found.numbers.sort_unstable();
    Ok(found)
}

/// Whether this very job lives.
fn lives(base: &Base, id: JobId) -> Result<bool, StoreError> {
    for lane in base.names.lane_keys() {
        if has(base, &keys::unmoved(lane, id))? {
            return Ok(true);
        }
    }
    has(base, &keys::moved(id))
}

fn has(base: &Base, key: &[u8]) -> Result<bool, StoreError> {
    base.db.contains_key(key).map_err(|error| broken(&error))
}

fn is_behind(value: &[u8]) -> Result<bool, codec::CodecError> {
    Ok(matches!(codec::decode_turn(value)?, Turn::Behind(_)))
}

fn apply_some(base: &mut Base, draft: &mut Draft) -> Result<(), StoreError> {
    if draft.writes + draft.known.len() > WRITES_MAX {
        base.apply(std::mem::take(draft), false)?;
        base.free_replaced();
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests may")]
pub mod tests;
