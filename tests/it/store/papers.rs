//! Operators' papers.

use braze_relay::store::{Operate, Paper, Settings, Shelf, paper};

use super::Harness;
use super::material::SETTINGS;

fn sheet(name: &str, text: &str) -> Paper {
    Paper::new(name, text).unwrap()
}

async fn names(store: &impl Operate, shelf: Shelf, limit: usize) -> Vec<String> {
    let found = store.papers(shelf, limit).await.unwrap();
    found.iter().map(|paper| paper.name().to_owned()).collect()
}

async fn filled(store: &impl Operate) {
    let put = ["a/2", "b", "a/1", "a/10", "a", "a/ü"].map(|name| sheet(name, name));
    store.put_papers(put.to_vec(), Vec::new()).await.unwrap();
}

pub async fn papers_are_found_by_their_names_from_either_end<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    assert!(names(&store, Shelf::default(), 9).await.is_empty());
    filled(&store).await;
    let shelf = |prefix: &str, behind: Option<&str>, last_first| Shelf {
        prefix: prefix.into(),
        behind: behind.map(str::to_owned),
        last_first,
    };
    let table: [(Shelf, usize, &[&str]); 10] = [
        (
            shelf("", None, false),
            9,
            &["a", "a/1", "a/10", "a/2", "a/ü", "b"],
        ),
        (shelf("a/", None, false), 9, &["a/1", "a/10", "a/2", "a/ü"]),
        (shelf("a/", None, false), 2, &["a/1", "a/10"]),
        (shelf("a/", Some("a/10"), false), 9, &["a/2", "a/ü"]),
        (shelf("a/", Some("a/11"), false), 1, &["a/2"]),
        (shelf("a/", None, true), 2, &["a/ü", "a/2"]),
        (shelf("a/", Some("a/2"), true), 9, &["a/10", "a/1"]),
        (shelf("a/", Some("z"), false), 9, &[]),
        (shelf("a/", Some("A"), true), 9, &[]),
        (shelf("c", None, true), 9, &[]),
    ];
    for (shelf, limit, expected) in table {
        assert_eq!(
            names(&store, shelf.clone(), limit).await,
            expected,
            "{shelf:?} {limit}"
        );
    }
}

pub async fn a_paper_is_written_anew_and_taken_away<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    filled(&store).await;
    let long = "é".repeat(paper::TEXT_BYTES_MAX / 2);
    let put = vec![sheet("a/1", &long), sheet("b", "again")];
    let remove = vec!["a".into(), "b".into(), "nothing".into()];
    store.put_papers(put.clone(), remove).await.unwrap();
    store.put_papers(Vec::new(), Vec::new()).await.unwrap();
    assert_eq!(
        store.papers(Shelf::default(), 9).await.unwrap(),
        [
            put[0].clone(),
            sheet("a/10", "a/10"),
            sheet("a/2", "a/2"),
            sheet("a/ü", "a/ü"),
            put[1].clone(),
        ]
    );
}

pub async fn papers_are_there_after_a_crash_and_when_the_queue_is_full<H: Harness>() {
    let mut harness = H::open(Settings {
        max_jobs: 0,
        ..SETTINGS
    })
    .await;
    filled(&harness.store()).await;
    let hash = harness.store().participant_hash("ada@example.com");
    let before = harness.store().papers(Shelf::default(), 9).await.unwrap();
    harness.crash_and_reopen().await;
    let store = harness.store();
    assert_eq!(store.papers(Shelf::default(), 9).await.unwrap(), before);
    assert_eq!(before.len(), 6);
    assert_eq!(store.participant_hash("ada@example.com"), hash);
    assert_ne!(store.participant_hash("bo@example.com"), hash);
    assert!(hash.len() == 28 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
}
