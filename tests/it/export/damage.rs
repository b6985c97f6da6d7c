//! Stores that are damaged, newer or older.

use braze_relay::store::entry::Entry;
use braze_relay::store::sled::Origin;

use super::*;
use crate::support::Told;

/// Flips a bit in the middle of what is in the data file.
fn flip(file: &Path, at: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[at] ^= 0x10;
    fs::write(file, bytes).unwrap();
}

#[tokio::test]
async fn a_damaged_store_is_salvaged_untouched_and_says_what_is_missing() {
    let (mut missing, mut anew) = (0, 0);
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
        // Whatever is there can be worked off, and whoever posted the rest posts it again.
        run(&there, &["import", file.to_str().unwrap()]).ok();
        let store = open(&there.store());
        let before = store.counts(second(0)).await.unwrap().events;
        let lost = posted_again(&store, &text).await;
        work_off(&store).await;
        let counts = store.counts(second(5000)).await.unwrap();
        assert_eq!(counts.events.queued, 0, "{:?}", counts.events);
        let events = counts.events;
        assert_eq!(events.accepted, before.accepted + lost);
        assert_eq!(
            events.accepted,
            events.done + events.dead + events.discarded
        );
        assert_eq!(events.discarded, before.discarded);
        anew += lost;
        store.close().await.unwrap();
    }
    assert!(missing > 0, "no damage was noticed");
    assert!(anew > 0, "nothing was lost: this shows nothing");
}

#[tokio::test]
async fn what_was_lost_while_its_event_is_remembered_is_accepted_anew_and_delivered() {
    let (here, there) = (nowhere(), nowhere());
    let store = open(&here.store());
    fill(&store, 300).await;
    for person in 0..40 {
        let again = seed(person, "third");
        store.append(vec![again], second(1)).await.unwrap();
    }
    // As a salvage tells it that cannot read every third record, and everything that is remembered.
    let mut copy = store.copy().await.unwrap();
    let secret = copy.secret();
    let mut entries = Vec::new();
    while let Some(told) = copy.next().await {
        entries.extend(told.unwrap());
    }
    store.close().await.unwrap();
    let mut number = 0;
    entries.retain(|entry| match entry {
        Entry::Job { .. } | Entry::Letter { .. } => {
            number += 1;
            number % 3 > 0
        }
        _ => true,
    });
    let lines = entries
        .iter()
        .map(|entry| serde_json::to_string(entry).unwrap());
    let saved = lines.collect::<Vec<_>>().join("\n");
    let origin = Origin {
        secret,
        salvaged: true,
    };
    let entries = entries.into_iter().map(Ok);
    SledStore::import(&place(&there.store()), Settings::default(), origin, entries).unwrap();
    let store = open(&there.store());
    let before = store.counts(second(0)).await.unwrap().events;
    let lost = posted_again(&store, &saved).await;
    assert!(lost > 150 && lost == before.discarded, "{lost}, {before:?}");
    work_off(&store).await;
    let events = store.counts(second(5000)).await.unwrap().events;
    assert_eq!(events.queued, 0);
    assert_eq!(
        events.done,
        events.accepted - events.dead - lost,
        "{events:?}"
    );
}

/// Posts everything again. What was saved is a duplicate, anything else is accepted anew: how many.
async fn posted_again(store: &SledStore, saved: &str) -> u64 {
    let saved = Told::of(saved);
    let saved = saved.events();
    let first = (0..300).flat_map(|person| [seed(person, "join"), seed(person, "again")]);
    let seeds: Vec<_> = first.chain((0..40).map(|it| seed(it, "third"))).collect();
    let keys: Vec<_> = seeds.iter().map(|seed| seed.event.key.clone()).collect();
    let answers = store.append(seeds, second(2)).await.unwrap();
    let mut anew = 0;
    for (answer, key) in answers.iter().zip(keys) {
        let id = answer.id.to_string();
        anew += u64::from(!answer.duplicate);
        assert!(
            !answer.duplicate || saved.contains(id.as_str()),
            "{id} ({key}) is taken to be there, and nothing of it was saved"
        );
    }
    anew
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
async fn a_damaged_mark_is_refused_and_one_that_was_moved_away_is_not_missed() {
    let setup = nowhere();
    let store = open(&setup.store());
    fill(&store, 20).await;
    let before = store.counts(second(2)).await.unwrap().events;
    store.close().await.unwrap();
    let mark = setup.store().join("mark");
    let sound = fs::read(&mark).unwrap();
    let damaged: Vec<u8> = sound.iter().map(|byte| byte ^ 0x10).collect();
    fs::write(&mark, &damaged).unwrap();
    let (code, said) = setup.refused().await;
    assert_eq!(code, Some(3), "{said}");
    assert!(
        said.contains("mark: the mark is damaged") && said.contains("moving the file `mark` away"),
        "{said}"
    );
    assert_eq!(fs::read(&mark).unwrap(), damaged, "it was written to");
    // An empty one is what a power cut may leave of a store's first moments.
    for emptied in [false, true] {
        fs::remove_file(&mark).unwrap();
        if emptied {
            fs::write(&mark, "").unwrap();
        }
        let store = open(&setup.store());
        assert_eq!(store.counts(second(2)).await.unwrap().events, before);
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn an_import_beside_the_mark_of_another_store_is_refused_and_leaves_it() {
    let (here, there) = (nowhere(), nowhere());
    let store = open(&here.store());
    fill(&store, 20).await;
    store.close().await.unwrap();
    let file = here.file("all.ndjson");
    run(&here, &["export", file.to_str().unwrap()]).ok();
    fs::create_dir(there.store()).unwrap();
    let mark = there.store().join("mark");
    fs::copy(here.store().join("mark"), &mark).unwrap();
    let ran = run(&there, &["import", file.to_str().unwrap()]);
    assert_eq!(ran.code, 3, "{}", ran.said);
    assert!(ran.said.contains("without its database"), "{}", ran.said);
    assert_eq!(
        fs::read(&mark).unwrap(),
        fs::read(here.store().join("mark")).unwrap()
    );
    fs::remove_file(mark).unwrap();
    run(&there, &["import", file.to_str().unwrap()]).ok();
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
