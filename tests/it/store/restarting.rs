//! What holds over the end of a process, clean or not.

use std::collections::BTreeMap;

use braze_relay::model::budget::{BudgetUse, WindowUse};
use braze_relay::store::{Committed, DeadFilter, Operate, Store};

use super::Harness;
use super::material::*;

/// Opens the store again, in either way.
async fn reopen<H: Harness>(house: &mut H, clean: bool) {
    if clean {
        house.close_and_reopen().await;
    } else {
        house.crash_and_reopen().await;
    }
}

pub async fn what_was_lent_is_due_again<H: Harness>() {
    let mut house = H::open(SETTINGS).await;
    let now = second(0);
    let jobs = first_jobs(&house.store().put(crowd(4, now), now).await);
    for clean in [false, true, false] {
        let leased = house.store().lend(&look_ups(), now, 3).await;
        assert_eq!(ids(&leased), jobs[..3]);
        reopen(&mut house, clean).await;
    }
    assert_eq!(ids(&house.store().lend_all(&look_ups(), now).await), jobs);
}

pub async fn a_token_from_before_is_lost_even_when_the_job_is_lent_again<H: Harness>() {
    let mut house = H::open(SETTINGS).await;
    let now = second(0);
    house.store().put(crowd(3, now), now).await;
    for clean in [false, true] {
        let before = house.store().lend_all(&look_ups(), now).await;
        reopen(&mut house, clean).await;
        let store = house.store();
        let commit = moved(finish());
        let lost = store.settle(before[0].token, commit.clone(), now).await;
        assert_eq!(lost, Committed::LostLease);
        // Lent again in the same order: a count of leases that begins anew would give the same tokens.
        let current = store.lend_all(&look_ups(), now).await;
        assert_eq!(ids(&current), ids(&before));
        for (before, current) in before.iter().zip(&current) {
            assert_ne!(before.token, current.token);
            let lost = store.settle(before.token, commit.clone(), now).await;
            assert_eq!(lost, Committed::LostLease);
        }
        let tokens = before.iter().map(|leased| leased.token).collect();
        store.give_back(tokens).await.unwrap();
        assert!(store.lend_all(&look_ups(), now).await.is_empty());
        let tokens = current.iter().map(|leased| leased.token).collect();
        store.give_back(tokens).await.unwrap();
    }
}

/// A store with something of everything; nothing is lent.
pub async fn filled(store: &impl Ask) {
    let now = second(0);
    store.put(crowd(12, now), now).await;
    let leased = store.lend_all(&look_ups(), now).await;
    for (number, leased) in leased.iter().enumerate() {
        let young = vec![only_once(child(1, ADA, now)), child(2, BO, second(40))];
        let commit = match number % 6 {
            0 => moved(finish()),
            1 => moved(bury(now)),
            2 => moved(keep(tracks(), laden(second(30), 600))),
            3 => spawning(finish(), young),
            4 => spawning(bury(now), young),
            _ => continue,
        };
        store.settle(leased.token, commit, now).await;
    }
    let buried = starting(seed(ADA, "nowhere", now), unknown(now));
    store.put(vec![buried], now).await;
    let lent = leased.iter().map(|leased| leased.token).collect();
    store.give_back(lent).await.unwrap();
}

pub async fn counts_are_the_same_as_before<H: Harness>() {
    let mut house = H::open(SETTINGS).await;
    filled(&house.store()).await;
    let before = async |now| comparable(house.store().counts(now).await.unwrap());
    let expected = [
        before(second(0)).await,
        before(second(35)).await,
        before(second(99)).await,
    ];
    for clean in [true, false] {
        reopen(&mut house, clean).await;
        for (now, expected) in [0, 35, 99].into_iter().zip(&expected) {
            let counts = comparable(house.store().counts(second(now)).await.unwrap());
            assert_eq!(counts, *expected, "after {now} seconds");
        }
    }
}

pub async fn everything_remembered_is_still_remembered<H: Harness>() {
    let mut house = H::open(SETTINGS).await;
    let now = second(0);
    filled(&house.store()).await;
    for clean in [true, false] {
        reopen(&mut house, clean).await;
        for person in 0..12 {
            let again = seed(&format!("p{person}@example.com"), "join", now);
            assert!(house.store().is_duplicate(again, second(7)).await);
        }
        // Further participations, too.
        let key = format!("again {clean}");
        let mut further = seed("p0@example.com", &key, now);
        further.further = Some(run(foreign(), fresh(now)));
        house.store().put_one(further, now).await;
        house
            .store()
            .settle_next(&foreign(), moved(finish()), now)
            .await;
    }
}

pub async fn jobs_and_letters_are_as_they_were_to_the_byte<H: Harness>() {
    let mut house = H::open(SETTINGS).await;
    let store = house.store();
    filled(&store).await;
    let letters = store.letters(DeadFilter::default()).await;
    assert_eq!(letters.len(), 5);
    let late = second(99);
    let mut jobs = Vec::new();
    for lane in [look_ups(), tracks(), credits()] {
        let leased = store.lend_all(&lane, late).await;
        assert!(!leased.is_empty(), "nothing in {lane}");
        jobs.push((lane, leased));
    }
    for clean in [true, false] {
        reopen(&mut house, clean).await;
        let store = house.store();
        assert_eq!(store.letters(DeadFilter::default()).await, letters);
        for letter in &letters {
            let got = store.dead_get(letter.id).await.unwrap();
            assert_eq!(got.as_ref(), Some(letter));
        }
        for (lane, before) in &jobs {
            let leased = store.lend_all(lane, late).await;
            assert_eq!(leased.len(), before.len());
            for (leased, before) in leased.iter().zip(before) {
                assert_eq!(leased.token.id, before.token.id);
                assert_eq!((&leased.event, &leased.job), (&before.event, &before.job));
            }
        }
    }
}

pub async fn order_and_due_times_are_as_they_were<H: Harness>() {
    let mut house = H::open(SETTINGS).await;
    let mut seeds = Vec::new();
    for (number, (due, make)) in [
        (9, failed as fn(_) -> _),
        (3, fresh),
        (8, failed),
        (1, fresh),
        (50, fresh),
    ]
    .into_iter()
    .enumerate()
    {
        let start = run(look_ups(), make(second(due)));
        seeds.push(starting(seed(&person(number), "1", second(0)), start));
    }
    let jobs = first_jobs(&house.store().put(seeds, second(0)).await);
    for clean in [true, false] {
        reopen(&mut house, clean).await;
        let store = house.store();
        let due = store.next_due(&look_ups(), second(0)).await.unwrap();
        assert_eq!(due, Some(second(1)));
        let leased = store.lend_all(&look_ups(), second(10)).await;
        assert_eq!(ids(&leased), [jobs[1], jobs[3], jobs[2], jobs[0]]);
        let due = store.next_due(&look_ups(), second(10)).await.unwrap();
        assert_eq!(due, Some(second(50)));
    }
}

fn used(requests: u32, complete: bool) -> BudgetUse {
    let window = |length_ms| WindowUse {
        length_ms,
        requests: (0..12)
            .map(|step| (second(step), requests + step as u32))
            .collect(),
    };
    BudgetUse {
        complete,
        windows: vec![window(1000), window(3_600_000)],
        stopped_until: Some(second(90)),
    }
}

pub async fn what_was_noted_of_a_budget_is_found_by_the_next_process<H: Harness>() {
    let mut house = H::open(SETTINGS).await;
    let now = second(0);
    assert!(house.store().budgets().await.unwrap().is_empty());
    house.store().put(crowd(3, now), now).await;
    for (count, clean) in [(10, true), (20, false), (30, true)] {
        let store = house.store();
        store.note_budget(&tracks(), used(count, false));
        store.note_budget(&look_ups(), used(count + 1, false));
        store.note_budget(&look_ups(), used(count + 2, false));
        // A clean stop needs nothing more; over a crash the next durable call carries it.
        if !clean {
            let leased = store.lend(&look_ups(), now, 1).await;
            let commit = moved(finish());
            store.settle(leased[0].token, commit, now).await;
        }
        reopen(&mut house, clean).await;
        let expected = [
            (tracks(), used(count, false)),
            (look_ups(), used(count + 2, false)),
        ];
        let found = house.store().budgets().await.unwrap();
        assert_eq!(found, BTreeMap::from(expected));
    }
}

pub async fn a_complete_budget_is_complete_for_one_opening<H: Harness>() {
    let mut house = H::open(SETTINGS).await;
    for clean in [true, false] {
        house.store().note_budget(&tracks(), used(7, true));
        reopen(&mut house, true).await;
        for complete in [true, false, false] {
            let found = house.store().budgets().await.unwrap();
            assert_eq!(found, BTreeMap::from([(tracks(), used(7, complete))]));
            reopen(&mut house, clean).await;
        }
    }
}
