//! What holds while jobs are lent.

use std::time::Duration;

use braze_relay::model::id::JobId;
use braze_relay::model::lane::Lane;
use braze_relay::store::{Operate, Store};

use super::Harness;
use super::material::*;

pub async fn only_due_jobs_of_the_lane_are_lent<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let starts = [
        run(look_ups(), fresh(second(10))),
        run(look_ups(), fresh(second(10) + millisecond())),
        run(look_ups(), failed(second(10))),
        run(look_ups(), failed(second(10) + millisecond())),
        run(tracks(), fresh(second(0))),
        run(foreign(), fresh(second(0))),
    ];
    let mut jobs = Vec::new();
    for (number, start) in starts.into_iter().enumerate() {
        let seed = starting(seed(&person(number), "1", second(0)), start);
        jobs.push(store.put_one(seed, second(0)).await.job(0));
    }
    let now = second(10);
    assert!(
        store
            .lend_all(&look_ups(), now - millisecond())
            .await
            .is_empty()
    );
    assert!(store.lend(&look_ups(), now, 0).await.is_empty());
    assert_eq!(
        ids(&store.lend_all(&look_ups(), now).await),
        [jobs[0], jobs[2]]
    );
    assert_eq!(ids(&store.lend_all(&tracks(), now).await), [jobs[4]]);
    assert_eq!(ids(&store.lend_all(&foreign(), now).await), [jobs[5]]);
    assert!(store.lend_all(&credits(), now).await.is_empty());
    assert_eq!(
        ids(&store.lend_all(&look_ups(), now + millisecond()).await),
        [jobs[1], jobs[3]]
    );
}

pub async fn a_lent_job_is_not_lent_again_until_it_is_given_back<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let now = second(0);
    let jobs = first_jobs(&store.put(crowd(5, now), now).await);
    let first = store.lend(&look_ups(), now, 3).await;
    assert_eq!(ids(&first), jobs[..3]);
    let second_lease = store.lend(&look_ups(), now, 3).await;
    assert_eq!(ids(&second_lease), jobs[3..]);
    assert!(store.lend_all(&look_ups(), second(9999)).await.is_empty());

    store
        .give_back(vec![first[2].token, first[0].token])
        .await
        .unwrap();
    let again = store.lend_all(&look_ups(), now).await;
    assert_eq!(ids(&again), [jobs[0], jobs[2]]);
    assert_eq!(again[0].job, first[0].job);
    assert_eq!(again[0].event, first[0].event);
    assert_ne!(again[0].token, first[0].token);
}

/// One event for each of these starts, in this order.
async fn filled(store: &impl Ask, lane: &Lane, due: &[u64], is_fresh: bool) -> Vec<JobId> {
    let mut seeds = Vec::new();
    for (number, due) in due.iter().enumerate() {
        let make = if is_fresh { fresh } else { failed };
        let number = if is_fresh { number } else { 1_000 + number };
        let start = run(lane.clone(), make(second(*due)));
        seeds.push(starting(seed(&person(number), "1", second(0)), start));
    }
    first_jobs(&store.put(seeds, second(0)).await)
}

pub async fn fresh_jobs_go_in_order_of_acceptance_whenever_they_were_due<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let jobs = filled(&store, &look_ups(), &[7, 3, 20, 5, 1], true).await;
    let mut lent = Vec::new();
    for _ in 0..4 {
        lent.extend(ids(&store.lend(&look_ups(), second(10), 1).await));
    }
    assert_eq!(lent, [jobs[0], jobs[1], jobs[3], jobs[4]]);
    // What became due late goes before what was accepted after it.
    let late = store.lend_all(&look_ups(), second(20)).await;
    assert_eq!(ids(&late), [jobs[2]]);
    let younger = store
        .put_one(seed(BO, "join", second(20)), second(20))
        .await;
    let tokens = late.iter().map(|leased| leased.token).collect();
    store.give_back(tokens).await.unwrap();
    assert_eq!(
        ids(&store.lend_all(&look_ups(), second(20)).await),
        [jobs[2], younger.job(0)]
    );
}

pub async fn failed_jobs_go_in_order_of_their_due_time<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let jobs = filled(&store, &look_ups(), &[7, 3, 20, 3, 1], false).await;
    let first = ids(&store.lend(&look_ups(), second(10), 2).await);
    assert_eq!(first, [jobs[4], jobs[1]]);
    let rest = ids(&store.lend(&look_ups(), second(10), 9).await);
    assert_eq!(rest, [jobs[3], jobs[0]]);
}

pub async fn failed_work_gets_a_quarter_and_what_fresh_work_leaves<H: Harness>() {
    // (fresh ready, failed ready, at most) -> (fresh lent, failed lent)
    let table = [
        ((20, 20, 8), (6, 2)),
        ((20, 20, 7), (6, 1)),
        ((20, 20, 4), (3, 1)),
        ((20, 20, 3), (3, 0)),
        ((20, 20, 1), (1, 0)),
        ((20, 1, 8), (7, 1)),
        ((20, 0, 8), (8, 0)),
        ((7, 20, 8), (6, 2)),
        ((6, 20, 8), (6, 2)),
        ((5, 20, 8), (5, 3)),
        ((1, 20, 8), (1, 7)),
        ((0, 20, 8), (0, 8)),
        ((0, 20, 1), (0, 1)),
        ((3, 3, 100), (3, 3)),
    ];
    for ((fresh_ready, failed_ready, at_most), (fresh_lent, failed_lent)) in table {
        let store = H::open(SETTINGS).await.store();
        let lane = look_ups();
        // Those that failed are older and were due earlier: neither lets them go first.
        let failed_jobs = filled(&store, &lane, &vec![0; failed_ready], false).await;
        let fresh_jobs = filled(&store, &lane, &vec![5; fresh_ready], true).await;
        let mut expected = fresh_jobs[..fresh_lent].to_vec();
        expected.extend(&failed_jobs[..failed_lent]);
        let lent = ids(&store.lend(&lane, second(10), at_most).await);
        assert_eq!(
            lent, expected,
            "{fresh_ready} fresh, {failed_ready} failed, {at_most} at most"
        );
    }
}

pub async fn failed_work_gets_its_quarter_however_little_is_lent_at_a_time<H: Harness>() {
    for at_most in 1..=3 {
        let store = H::open(SETTINGS).await.store();
        let lane = look_ups();
        let failed_jobs = filled(&store, &lane, &[0; 12], false).await;
        filled(&store, &lane, &[5; 24], true).await;
        let mut failed = 0;
        for _ in 0..24 / at_most {
            let lent = ids(&store.lend(&lane, second(10), at_most).await);
            assert_eq!(lent.len(), at_most);
            failed += lent.iter().filter(|id| failed_jobs.contains(id)).count();
        }
        assert_eq!(failed, 6, "{at_most} at a time");
    }
}

pub async fn next_due_tells_the_earliest_job_that_is_not_lent<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let lane = look_ups();
    assert_eq!(store.next_due(&lane, second(0)).await.unwrap(), None);
    filled(&store, &lane, &[30, 20], true).await;
    filled(&store, &lane, &[10, 40], false).await;
    filled(&store, &tracks(), &[], true).await;

    let mut told = Vec::new();
    for now in [10, 20, 30, 40] {
        let before = second(now) - millisecond();
        assert_eq!(
            store.next_due(&lane, before).await.unwrap(),
            Some(second(now))
        );
        let due = store.next_due(&lane, second(now)).await.unwrap();
        assert!(due.is_some_and(|due| due <= second(now)));
        told.push(store.lend_one(&lane, second(now)).await.token);
    }
    assert_eq!(store.next_due(&lane, second(99)).await.unwrap(), None);
    store.give_back(vec![told[3]]).await.unwrap();
    let due = store.next_due(&lane, second(99)).await.unwrap();
    assert!(due.is_some_and(|due| due <= second(99)));
}

pub async fn a_begun_job_stays_lent_and_keeps_its_mark_until_a_commit<H: Harness>() {
    let mut house = H::open(SETTINGS).await;
    let (lane, now) = (look_ups(), second(0));
    house.store().put(crowd(2, now), now).await;
    let leased = house.store().lend_all(&lane, now).await;
    assert!(!leased[0].job.begun);
    house.store().begin(vec![leased[0].token]).await.unwrap();
    assert!(house.store().lend_all(&lane, now).await.is_empty());

    let tokens = leased.iter().map(|leased| leased.token).collect();
    house.store().give_back(tokens).await.unwrap();
    let again = house.store().lend_all(&lane, now).await;
    let begun: Vec<bool> = again.iter().map(|leased| leased.job.begun).collect();
    assert_eq!(begun, [true, false]);

    house.store().begin(vec![again[1].token]).await.unwrap();
    house.crash_and_reopen().await;
    let again = house.store().lend_all(&lane, now).await;
    assert!(again.iter().all(|leased| leased.job.begun));

    let commit = moved(keep(lane.clone(), fresh(now)));
    house.store().settle(again[0].token, commit, now).await;
    assert!(!house.store().lend_one(&lane, now).await.job.begun);
}

pub async fn a_lost_lease_neither_begins_nor_gives_back<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let (lane, now) = (look_ups(), second(0));
    store.put(crowd(1, now), now).await;
    let old = store.lend_one(&lane, now).await.token;
    store.give_back(vec![old]).await.unwrap();
    store.begin(vec![old]).await.unwrap();
    let current = store.lend_one(&lane, now).await;
    assert!(!current.job.begun);

    store.begin(vec![old]).await.unwrap();
    store.give_back(vec![old, old]).await.unwrap();
    assert!(store.lend_all(&lane, now).await.is_empty());
    store.give_back(vec![current.token]).await.unwrap();
    assert!(!store.lend_one(&lane, now).await.job.begun);
}

/// Asserts that somebody waiting for the lane hears of it.
async fn hears(store: &impl Store, lane: &Lane, what: &str) {
    let wake = store.wake(lane);
    let heard = tokio::time::timeout(Duration::from_secs(10), wake.notified()).await;
    assert!(heard.is_ok(), "{what} woke nobody");
    take_word(&wake);
}

pub async fn whoever_waits_for_a_lane_is_woken_by_whatever_brings_work<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let now = second(0);
    assert!(!take_word(&store.wake(&look_ups())), "nothing came yet");

    let later = starting(seed(BO, "b", now), run(look_ups(), fresh(second(99))));
    store.put(vec![later], now).await;
    hears(&store, &look_ups(), "an append that is due later").await;
    let id = store.put_one(seed(ADA, "a", now), now).await;
    hears(&store, &look_ups(), "an append").await;

    let leased = store.lend_one(&look_ups(), now).await;
    store.give_back(vec![leased.token]).await.unwrap();
    hears(&store, &look_ups(), "giving back").await;

    let commit = spawning(
        keep(tracks(), failed(second(5))),
        vec![child(1, ADA, second(9))],
    );
    store.settle_next(&look_ups(), commit, now).await;
    hears(&store, &tracks(), "a job that goes on").await;
    hears(&store, &credits(), "a child").await;

    store
        .settle_next(&tracks(), moved(bury(second(5))), second(5))
        .await;
    let start = run(foreign(), fresh(now));
    assert_eq!(
        store.revive(vec![(id.job(0), start)], now).await.unwrap(),
        [true]
    );
    hears(&store, &foreign(), "a revival").await;
}

pub async fn jobs_accepted_together_go_before_one_accepted_later<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let now = second(0);
    let crowd = |from: u32, to: u32| -> Vec<_> {
        (from..to)
            .map(|number| seed(&format!("p{number}@example.com"), "1", now))
            .collect()
    };
    let mut accepted = store.put(crowd(0, 30), now).await;
    accepted.extend(store.put(crowd(30, 31), now).await);
    accepted.extend(store.put(crowd(31, 60), now).await);
    let mut lent = Vec::new();
    for at_most in [1, 3, 27, 1, 28] {
        let leased = store.lease(&look_ups(), now, at_most).await.unwrap();
        lent.extend(leased.into_iter().map(|it| it.token.id));
    }
    let expected: Vec<_> = accepted.iter().map(|it| it.id.job(0)).collect();
    assert_eq!(lent, expected);
}
