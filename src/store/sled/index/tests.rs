//! The index against a plain map: whatever is remembered and forgotten, over restarts, at any size of its parts.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests may")]

use proptest::prelude::*;

use super::*;
use crate::model::call::Address;
use crate::model::id::EventId;
use crate::store::Learnt;
use crate::store::codec::{KnownEvent, KnownKind};

/// A database in a folder of its own, and the index on it.
struct House {
    db: Db,
    /// Removed at the end.
    _folder: tempfile::TempDir,
    index: Index,
    young_max: usize,
    commit: u64,
}

impl House {
    fn new(young_max: usize) -> House {
        let folder = tempfile::tempdir().unwrap();
        let db = ::sled::open(folder.path()).unwrap();
        let index = Index::open(&db, young_max).unwrap();
        House {
            db,
            _folder: folder,
            index,
            young_max,
            commit: 0,
        }
    }

    fn commit(&mut self, entries: &[(Place, Option<Known>)]) {
        self.commit += 1;
        let mut draft = Draft::default();
        draft.known.extend(entries.iter().cloned());
        self.index.write(&self.db, &mut draft, self.commit).unwrap();
        self.db.apply_batch(draft.batch.into_batch()).unwrap();
        self.db.flush().unwrap();
    }

    /// As after a crash: what was in memory is gone.
    fn reopen(&mut self) {
        self.index = Index::open(&self.db, self.young_max).unwrap();
    }

    fn keys(&self, prefix: &[u8]) -> usize {
        self.db.scan_prefix(prefix).count()
    }

    fn settle(&mut self) {
        for _ in 0..10_000 {
            if self.index.is_settled() {
                return;
            }
            self.commit(&[]);
        }
        panic!("never settled");
    }
}

fn place(person: u8, key: u8) -> Place {
    let mut place = [person; 21];
    place[PARTICIPANT_BYTES..].fill(key);
    place
}

fn value(number: u8) -> Known {
    // Some are longer than others, up to several blocks' worth in one commit.
    let numbers = vec![7; usize::from(number)];
    Known::Event(KnownEvent {
        numbers,
        ..KnownEvent::new(EventId([number; 16]), [0; 4], KnownKind::Participation)
    })
}

/// Everything that can be asked, asked.
fn compare(house: &House, model: &BTreeMap<Place, Known>) {
    for person in 0..6 {
        let mut all = BTreeMap::new();
        for key in 0..30 {
            let place = place(person, key);
            let found = house.index.get(&house.db, &place).unwrap();
            assert_eq!(found.as_ref(), model.get(&place), "{person}/{key}");
            all.extend(found.map(|known| (place, known)));
        }
        let found = house
            .index
            .of_participant(&house.db, &place(person, 3))
            .unwrap();
        assert_eq!(found, all, "{person}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<(u8, u8, Option<u8>)>),
    Idle(u8),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let entry = (
        0..6_u8,
        0..30_u8,
        proptest::option::weighted(0.8, any::<u8>()),
    );
    let step = prop_oneof![
        8 => proptest::collection::vec(entry, 0..12).prop_map(Step::Commit),
        2 => (1..4_u8).prop_map(Step::Idle),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24,
        max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_remembered_and_forgotten_the_index_answers_as_a_map(
        steps in steps(),
        young_max in prop_oneof![Just(1_usize), 2..150_usize],
    ) {
        let mut house = House::new(young_max);
        let mut model = BTreeMap::new();
        for step in steps {
            match step {
                Step::Commit(entries) => {
                    let entries: Vec<_> = entries
                        .into_iter()
                        .map(|(person, key, number)| (place(person, key), number.map(value)))
                        .collect();
                    for (place, known) in &entries {
                        match known {
                            Some(known) => model.insert(*place, known.clone()),
                            None => model.remove(place),
                        };
                    }
                    house.commit(&entries);
                }
                Step::Idle(commits) => (0..commits).for_each(|_| house.commit(&[])),
                Step::Reopen => house.reopen(),
            }
            compare(&house, &model);
        }
    }
}

/// A person of many.
fn nth(number: u32) -> Place {
    let mut place = Place::default();
    place.copy_from_slice(&blake3::hash(&number.to_le_bytes()).as_bytes()[..21]);
    place
}

#[test]
fn what_is_no_longer_needed_is_cleared_away_and_what_was_forgotten_leaves_nothing() {
    let mut house = House::new(100);
    for from in (0..6400).step_by(20) {
        let entries: Vec<_> = (from..from + 20)
            .map(|number| (nth(number), Some(value(1))))
            .collect();
        house.commit(&entries);
    }
    house.settle();
    let (blocks, runs) = (house.keys(b"p"), house.index.runs.len());
    assert!(runs < FAN_IN * 4, "{runs} runs");
    let levels: Vec<u8> = house.index.runs.iter().map(|held| held.run.level).collect();
    assert!(
        levels.is_sorted_by(|older, younger| older >= younger),
        "{levels:?}"
    );
    assert_eq!(
        levels[0], 3,
        "6400 entries are 64 flushes, and so many make three levels"
    );
    assert!(blocks < 6400 * 60 / PIECE_BYTES_MAX * 2, "{blocks} blocks");
    assert!(house.keys(b"l") <= 10, "{} pieces of log", house.keys(b"l"));
    assert_eq!(
        house.index.get(&house.db, &nth(4711)).unwrap(),
        Some(value(1))
    );
    for round in 0..5 {
        for from in (0..6400).step_by(20) {
            let entries: Vec<_> = (from..from + 20)
                .map(|number| (nth(number), None))
                .collect();
            house.commit(&entries);
        }
        house.settle();
        let left = house.keys(b"p");
        if left < blocks / 10 {
            return;
        }
        assert!(round < 4, "{left} of {blocks} blocks are left");
    }
}

#[test]
fn where_as_much_is_forgotten_as_is_remembered_the_runs_stay_short() {
    let mut house = House::new(100);
    let (mut most, live) = (0, 500);
    for from in (0..30_000).step_by(20) {
        let new = (from..from + 20).map(|number| (nth(number), Some(value(1))));
        let old = (from.max(live) - live..(from + 20).max(live) - live).map(|it| (nth(it), None));
        house.commit(&new.chain(old).collect::<Vec<_>>());
        let entries = house.index.runs.iter().map(|held| held.run.entries);
        most = most.max(entries.sum::<u64>());
    }
    // Runs of the level of what is remembered, as many as make a merge, and what comes while they are merged.
    let bound = 2 * FAN_IN as u64 * (u64::from(live) + 100);
    assert!(
        most <= bound,
        "{most} entries of {live} that are remembered"
    );
    assert_eq!(house.index.get(&house.db, &nth(29_000)).unwrap(), None);
    let last = house.index.get(&house.db, &nth(29_999)).unwrap();
    assert_eq!(last, Some(value(1)));
}

#[test]
fn a_run_cut_off_by_a_crash_is_cleared_away_and_its_entries_come_from_the_log() {
    let mut house = House::new(2_000);
    let all: Vec<_> = (0..2_000)
        .map(|number| (nth(number), Some(value(9))))
        .collect();
    for part in all.chunks(10) {
        house.commit(part);
    }
    (0..5).for_each(|_| house.commit(&all[..5]));
    assert!(house.index.frozen.is_some(), "the run is under way");
    let unfinished = house.index.books.last_run;
    assert!(house.keys(&keys::run_prefix(unfinished)) > 0);
    house.reopen();
    for (place, known) in &all {
        assert_eq!(house.index.get(&house.db, place).unwrap(), *known);
    }
    house.settle();
    assert_eq!(house.keys(&keys::run_prefix(unfinished)), 0);
    for (place, known) in &all {
        assert_eq!(house.index.get(&house.db, place).unwrap(), *known);
    }
}

#[test]
fn addresses_that_nobody_believes_any_more_are_left_out_when_runs_are_merged() {
    let learnt = |number: u32, second: u64| {
        let learnt = Learnt {
            address: Address::BrazeId(number.to_string()),
            at: Timestamp::from_millis(second * 1000),
        };
        (nth(number), Some(Known::Address(learnt)))
    };
    let mut house = House::new(25);
    for from in (0..1600).step_by(20) {
        let entries: Vec<_> = (from..from + 20).map(|number| learnt(number, 5)).collect();
        house.commit(&entries);
    }
    house.settle();
    let before = house.keys(b"p");
    house
        .index
        .forget_addresses_before(Timestamp::from_millis(5001));
    for from in (1600..6400).step_by(20) {
        let entries: Vec<_> = (from..from + 20).map(|number| learnt(number, 6)).collect();
        house.commit(&entries);
    }
    house.settle();
    assert_eq!(house.index.get(&house.db, &nth(0)).unwrap(), None);
    let (place, known) = learnt(6399, 6);
    assert_eq!(house.index.get(&house.db, &place).unwrap(), known);
    let left = house.keys(b"p");
    assert!(left < before * 13 / 4, "{left} after {before}");
}
