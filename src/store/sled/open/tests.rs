//! Damage that sled itself does not see: whoever meets it names the database and the way on.

use std::path::Path;

use ::sled::Db;

use super::*;
use crate::store::Store;
use crate::store::sled::SledStore;
use crate::store::sled::mend::tests::{NOW, at, lane, lived, opened, salvaged, spoil};

/// A store with something in every place, closed. What is remembered stands in the log, or in `runs`.
async fn closed(runs: bool) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let young_max = if runs { 4 } else { 64 };
    let place = Place {
        young_max,
        ..at(folder.path())
    };
    let store = SledStore::open(place.clone(), Settings::default(), None).unwrap();
    lived(&store).await;
    store.close().await.unwrap();
    drop(store);
    let mut base = Base::open(&place, Settings::default(), None).unwrap();
    while !base.index.is_settled() {
        base.settle().unwrap();
    }
    base.make_durable().unwrap();
    folder
}

fn tree(path: &Path) -> Db {
    open_sled(&Folder::open(path).unwrap(), 1 << 20).unwrap()
}

fn refusal(path: &Path) -> String {
    let opened = SledStore::open(at(path), Settings::default(), None);
    match opened.err() {
        Some(StoreError::Refused(said)) => said,
        other => panic!("not refused: {other:?}"),
    }
}

fn says_where_and_what(said: &str, path: &Path) {
    let file = path.join("sled").display().to_string();
    assert!(said.contains(&file), "where: {said}");
    assert!(said.contains("Restore a backup"), "the way on: {said}");
    assert!(said.contains("export --salvage"), "the way on: {said}");
}

#[tokio::test]
async fn what_cannot_be_read_when_it_is_opened_is_refused_with_the_file_and_the_way_on() {
    for place in [b"m", b"n", b"i", b"l", b"b", b"v"] {
        let folder = closed(b"ib".contains(&place[0])).await;
        if place == b"b" {
            let db = tree(folder.path());
            let filters: Vec<_> = db.scan_prefix(place).keys().collect();
            assert!(!filters.is_empty());
            for key in filters {
                db.remove(key.unwrap()).unwrap();
            }
        } else {
            let spoilt: &[u8] = if place == b"v" { b"v" } else { b"spoilt" };
            let db = tree(folder.path());
            let keys: Vec<_> = db.scan_prefix(place).keys().collect();
            assert!(!keys.is_empty(), "nothing stands in {place:?}");
            for key in keys {
                db.insert(key.unwrap(), spoilt).unwrap();
            }
        }
        let said = refusal(folder.path());
        says_where_and_what(&said, folder.path());
    }
}

#[tokio::test]
async fn without_its_secret_its_manifest_or_its_account_a_store_in_use_is_refused() {
    for (key, what) in [
        (keys::SECRET, "secret"),
        (keys::MANIFEST, "which runs"),
        (&keys::table(keys::HEAD, 0), "account is missing"),
    ] {
        let folder = closed(true).await;
        // With it, it would be behind its mark.
        std::fs::remove_file(folder.path().join("mark")).unwrap();
        tree(folder.path()).remove(key).unwrap().unwrap();
        let said = refusal(folder.path());
        assert!(said.contains(what), "{said}");
        says_where_and_what(&said, folder.path());
    }
}

#[tokio::test]
async fn damage_met_while_it_runs_is_told_with_the_file_and_the_way_on() {
    let folder = closed(false).await;
    spoil(folder.path(), b"a");
    let store = opened(folder.path());
    let leased = store.lease(&lane("users_export_ids"), NOW, 10).await;
    assert!(leased.is_err());
    let said = store.failed().await;
    assert!(said.starts_with("the store has failed: "), "{said}");
    assert_eq!(said.matches("has failed").count(), 1, "{said}");
    says_where_and_what(&said, folder.path());
}

#[tokio::test]
async fn a_salvage_keeps_others_out_and_leaves_nothing_even_when_it_was_cut_off() {
    let folder = closed(false).await;
    let salvage = SledStore::salvage(&at(folder.path())).unwrap();
    let said = refusal(folder.path());
    assert!(said.contains("another process has it open"), "{said}");
    let copy = folder.path().join("salvage");
    assert!(copy.exists());
    drop(salvage);
    assert!(!copy.exists());
    // As one leaves it that was killed.
    let left = || {
        std::fs::create_dir_all(copy.join("sled")).unwrap();
        std::fs::write(copy.join("sled/db"), "everybody's addresses").unwrap();
    };
    left();
    drop(SledStore::salvage(&at(folder.path())).unwrap());
    assert!(!copy.exists());
    left();
    opened(folder.path()).close().await.unwrap();
    assert!(!copy.exists());
}

#[tokio::test]
async fn what_is_salvaged_without_its_secret_gets_a_random_one() {
    let folder = closed(false).await;
    tree(folder.path()).remove(keys::SECRET).unwrap().unwrap();
    let mut secrets = Vec::new();
    for _ in 0..2 {
        let (kept, store) = salvaged(folder.path());
        store.close().await.unwrap();
        let secret = tree(kept.path()).get(keys::SECRET).unwrap().unwrap();
        secrets.push(secret.to_vec());
    }
    assert_ne!(secrets[0], secrets[1]);
    assert!(!secrets.contains(&vec![0; 32]));
}
