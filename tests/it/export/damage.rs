//! Stores that are damaged, newer or older.

use super::*;

/// Flips a bit in the middle of what is in the data file.
fn flip(file: &Path, at: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[at] ^= 0x10;
    fs::write(file, bytes).unwrap();
}

#[tokio::test]
async fn a_damaged_store_is_salvaged_untouched_and_says_what_is_missing() {
    let mut missing = 0;
    for tenth in 1..10 {
        let (here, there) = (nowhere(), nowhere());
        let store = open(&here.store());
        fill(&store, 300).await;
        for person in 0..40 {
            let again = seed(person, "third");
            store.append(vec![again], second(1)).await.unwrap();
        }
        store.close().await.unwrap();
        let db = here.store().join("sled/db");
        let size = fs::metadata(&db).unwrap().len() as usize;
        flip(&db, size / 10 * tenth);
        let before = contents(&here.store());
        let file = here.file("saved.ndjson");
        let ran = run(&here, &["export", "--salvage", file.to_str().unwrap()]);
        assert_eq!(contents(&here.store()), before, "it was written to");
        let beside = fs::read_dir(here.store().parent().unwrap()).unwrap();
        let beside = beside.map(|entry| entry.unwrap().file_name());
        let left = |name: std::ffi::OsString| name.to_string_lossy().starts_with(".salvage");
        assert!(!beside.into_iter().any(left), "a copy was left");
        assert!(!ran.said.contains("RUST_BACKTRACE"), "{}", ran.said);
        if ran.code == 3 {
            assert!(
                ran.said.contains("nothing of it can be opened"),
                "{}",
                ran.said
            );
            missing += 1;
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        if ran.code == 1 {
            missing += 1;
            assert!(ran.said.contains("missing: sled/"), "{}", ran.said);
            let last = text.lines().last().unwrap();
            assert!(last.contains("\"missing\":[\"sled/"), "{last}");
        } else {
            assert_eq!(ran.code, 0, "{}", ran.said);
        }
        // Whatever is there can be worked off.
        run(&there, &["import", file.to_str().unwrap()]).ok();
        let store = open(&there.store());
        work_off(&store).await;
        let counts = store.counts(second(5000)).await.unwrap();
        assert_eq!(counts.events.queued, 0, "{:?}", counts.events);
        let events = counts.events;
        assert_eq!(
            events.accepted,
            events.done + events.dead + events.discarded
        );
        store.close().await.unwrap();
    }
    assert!(missing > 0, "no damage was noticed");
}

/// Finishes everything that becomes due.
pub async fn work_off(store: &SledStore) {
    let late = second(4000);
    loop {
        let mut moved = 0;
        for name in ["users_export_ids", "users_track", "quikly"] {
            let lane = lane(&format!("acme/{name}"));
            let leased = store.lease(&lane, late, 100_000).await.unwrap();
            moved += leased.len();
            let done = || Commit::new(Fate::Finish(Outcome::Found), Vec::new());
            let moves = leased.iter().map(|leased| (leased.token, done()));
            store.commit(moves.collect(), late).await.unwrap();
        }
        if moved == 0 {
            return;
        }
    }
}

#[tokio::test]
async fn a_store_behind_its_mark_is_refused_and_salvage_counts_what_is_missing() {
    let setup = nowhere();
    let store = open(&setup.store());
    fill(&store, 50).await;
    store.close().await.unwrap();
    // The mark of a store that had come further.
    let other = nowhere();
    let ahead = open(&other.store());
    for round in 0..40 {
        let seeds = vec![seed(round, "join")];
        ahead.append(seeds, second(0)).await.unwrap();
    }
    let came = ahead.counts(second(0)).await.unwrap().commit;
    ahead.close().await.unwrap();
    fs::copy(other.store().join("mark"), setup.store().join("mark")).unwrap();
    let (code, said) = setup.refused().await;
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("export --salvage"), "{said}");
    let file = setup.file("saved.ndjson");
    let ran = run(&setup, &["export", "--salvage", file.to_str().unwrap()]);
    assert_eq!(ran.code, 1, "{}", ran.said);
    assert!(
        ran.said.contains("missing: sled/db: the last ")
            && ran.said.contains(&format!("to {came}")),
        "{}",
        ran.said
    );
}
