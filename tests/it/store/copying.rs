//! What is promised of copies: everything, to the byte, also while the queue is worked.

use std::time::Duration;

use braze_relay::model::budget::{BudgetUse, WindowUse};
use braze_relay::store::entry::{Entries, Entry};
use braze_relay::store::{Counts, DeadFilter, Operate, Paper, Shelf, Store, StoreError};

use super::Harness;
use super::histories::Copying;
use super::material::*;
use super::restarting::filled;

async fn copied(store: &impl Ask) -> ([u8; 32], Vec<Entry>) {
    Copying::begin(store).await.finish().await
}

/// The same again, through the text of an export.
fn through_text(told: Vec<Entry>) -> Vec<Entry> {
    let again = |entry: Entry| {
        let text = serde_json::to_string(&entry).unwrap();
        let read: Entry = serde_json::from_str(&text).unwrap();
        assert_eq!(read, entry, "{text}");
        read
    };
    told.into_iter().map(again).collect()
}

pub async fn an_empty_store_is_copied_into_an_empty_store<H: Harness>() {
    let house = H::open(SETTINGS).await;
    let (secret, told) = copied(&house.store()).await;
    let other = H::import(SETTINGS, secret, told).await.unwrap().store();
    let counts = comparable(other.counts(second(0)).await.unwrap());
    assert_eq!(counts, Counts::default());
    other.put_one(seed(ADA, "join", second(0)), second(0)).await;
    assert_eq!(ids(&other.lend_all(&look_ups(), second(0)).await).len(), 1);
}

pub async fn what_is_copied_is_there_again_to_the_byte<H: Harness>() {
    let house = H::open(SETTINGS).await;
    let store = house.store();
    filled(&store).await;
    let now = second(1);
    let mut wide = seed("wide@example.com", "join", now);
    wide.event.attributes = Some(attributes(9_000));
    store.put(vec![wide], now).await;
    let used = BudgetUse {
        complete: false,
        windows: vec![WindowUse {
            length_ms: 3000,
            requests: vec![(now, 17)],
        }],
        stopped_until: Some(second(3)),
    };
    store.note_budget(&look_ups(), used.clone());
    let paper = Paper::new("audit/7", "{\"who\":\"ada\"}").unwrap();
    store
        .put_papers(vec![paper.clone()], Vec::new())
        .await
        .unwrap();
    store.put(crowd(20, now), now).await;
    let (secret, told) = copied(&store).await;
    let other = H::import(SETTINGS, secret, through_text(told)).await;
    let other = other.unwrap().store();
    assert_eq!(
        other.letters(DeadFilter::default()).await,
        store.letters(DeadFilter::default()).await
    );
    assert_eq!(other.budgets().await.unwrap().get(&look_ups()), Some(&used));
    for late in [now, second(99)] {
        for lane in [look_ups(), tracks(), credits()] {
            let there = other.lend_all(&lane, late).await;
            let here = store.lend_all(&lane, late).await;
            assert_eq!(ids(&there), ids(&here));
            let jobs = there.iter().zip(&here);
            for (there, here) in jobs {
                assert_eq!((&there.job, &there.event), (&here.job, &here.event));
                assert_eq!(there.known, here.known);
            }
        }
        let counts = async |store: &H::S| comparable(store.counts(late).await.unwrap());
        assert_eq!(counts(&other).await, counts(&store).await);
    }
    let papers = other.papers(Shelf::of("audit/"), 9).await.unwrap();
    assert_eq!(papers, [paper]);
    // Everybody is remembered, and no id is given again.
    for person in 0..12 {
        let again = seed(&format!("p{person}@example.com"), "join", now);
        assert!(other.is_duplicate(again, second(7)).await);
    }
    let newest = store.put_one(seed(BO, "one", now), now).await;
    let next = other.put_one(seed(BO, "two", now), second(2)).await;
    assert!(next > newest);
}

pub async fn a_copy_taken_while_the_queue_is_worked_tells_what_stands_at_its_end<H: Harness>() {
    let house = H::open(SETTINGS).await;
    let store = house.store();
    let now = second(0);
    store.put(crowd(60, now), now).await;
    let mut copying = Copying::begin(&store).await;
    // Enough for every place to be passed by the scan with something still to come.
    for round in 0..40_u64 {
        let now = second(round);
        copying.go_on().await;
        let leased = store.lend(&look_ups(), now, 2).await;
        for leased in leased {
            let young = vec![only_once(child(1, ADA, now)), child(2, BO, second(400))];
            let commit = match round % 5 {
                0 => moved(finish()),
                1 => moved(bury(now)),
                2 => moved(keep(tracks(), laden(second(300), 600))),
                3 => spawning(finish(), young),
                _ => moved(keep(look_ups(), fresh(now + Duration::from_secs(5)))),
            };
            store.settle(leased.token, commit, now).await;
        }
        let joins = seed(&format!("late{round}@example.com"), "join", now);
        let updates = starting(
            seed(ADA, &format!("u{round}"), now),
            run(tracks(), fresh(now)),
        );
        store.put(vec![joins, updates], now).await;
    }
    let late = second(40);
    let floor = store.counts(late).await.unwrap().commit;
    let (secret, told) = copying.finish().await;
    let end = told.iter().find_map(|entry| match entry {
        Entry::Account(account) => Some(account.commit),
        _ => None,
    });
    // An adapter may tell everything at once; then there is nothing more to see here.
    if end.unwrap() < floor {
        return;
    }
    let gone = told.iter().filter(|it| matches!(it, Entry::Gone { .. }));
    assert!(gone.count() > 20, "nothing was written meanwhile");
    let other = H::import(SETTINGS, secret, through_text(told)).await;
    let other = other.unwrap().store();
    let counts = async |store: &H::S| comparable(store.counts(late).await.unwrap());
    assert_eq!(counts(&other).await, counts(&store).await);
    assert_eq!(
        other.letters(DeadFilter::default()).await,
        store.letters(DeadFilter::default()).await
    );
    for lane in [look_ups(), tracks(), credits()] {
        let all = second(1000);
        let there = other.lend_all(&lane, all).await;
        assert_eq!(ids(&there), ids(&store.lend_all(&lane, all).await));
    }
}

pub async fn a_later_copy_breaks_an_earlier_one_off<H: Harness>() {
    let house = H::open(SETTINGS).await;
    let store = house.store();
    store.put(crowd(100, second(0)), second(0)).await;
    let mut early = store.copy().await.unwrap();
    let late = store.copy().await.unwrap();
    let all = async |mut entries: Entries| {
        let mut told = Vec::new();
        while let Some(more) = entries.next().await {
            told.extend(more.unwrap());
        }
        told
    };
    let late = all(late).await;
    assert!(late.iter().any(|it| matches!(it, Entry::Account(_))));
    // What it has told so far is followed by the reason why there is no more, or by all the rest.
    let mut whole = false;
    while let Some(more) = early.next().await {
        match more {
            Ok(more) => whole = more.iter().any(|it| matches!(it, Entry::Account(_))),
            Err(StoreError::Copy(why)) => {
                assert!(!whole && why.contains("another one"), "{why}");
                return;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(whole, "a copy ended early without a word");
}

pub async fn an_export_that_lacks_something_is_refused<H: Harness>() {
    let house = H::open(SETTINGS).await;
    filled(&house.store()).await;
    let (secret, told) = copied(&house.store()).await;
    let without = |lacks: fn(&Entry) -> bool| {
        let mut left = told.clone();
        let index = left.iter().position(lacks).unwrap();
        left.remove(index);
        left
    };
    for told in [
        without(|it| matches!(it, Entry::Account(_))),
        without(|it| matches!(it, Entry::Due { .. })),
    ] {
        let refused = H::import(SETTINGS, secret, told).await.err().unwrap();
        assert!(matches!(refused, StoreError::Refused(_)), "{refused:?}");
    }
}
