//! What holds between the jobs of one participant: whose turn it is, and what is known of the participant.

use std::time::Duration;

use braze_relay::flow::job::{Burial, Commit, Fate, Job, Profile, Reason, Seed, State};
use braze_relay::model::call::Address;
use braze_relay::model::id::JobId;
use braze_relay::model::lane::Lane;
use braze_relay::model::time::Timestamp;
use braze_relay::store::{
    ADDRESS_BYTES_MAX, Committed, DeadFilter, EventCounts, LaneCounts, Leased, Operate, Settings,
    Store,
};

use super::Harness;
use super::material::*;

const GAP: Duration = Duration::from_secs(7);

/// Updates of ada's profile, due at these seconds.
fn updates(due: &[u64]) -> Vec<Seed> {
    let seeds = due.iter().enumerate();
    let seeds = seeds.map(|(number, due)| {
        starting(
            seed(ADA, &number.to_string(), second(0)),
            run(tracks(), update(second(*due))),
        )
    });
    seeds.collect()
}

fn update(due: Timestamp) -> Job {
    Job::new(State::Progress(Profile::LookUp), due)
}

/// Look-ups of ada under these keys, due at once: no two of them are ever lent along.
async fn line(store: &impl Ask, keys: &[&str]) -> Vec<JobId> {
    let seeds = keys.iter().map(|key| seed(ADA, key, second(0)));
    first_jobs(&store.put(seeds.collect(), second(0)).await)
}

fn ending(fate: Fate, gap: Duration) -> Commit {
    Commit { gap, ..moved(fate) }
}

fn burying(fate: Fate, burial: Burial) -> Commit {
    Commit {
        bury_successors: Some(burial),
        ..moved(fate)
    }
}

fn no_profile() -> Burial {
    burial(Reason::NoProfile, second(3))
}

async fn lane_counts(store: &impl Store, lane: &Lane, now: Timestamp) -> (u64, u64) {
    let counts = store.counts(now).await.unwrap();
    let LaneCounts { depth, waiting, .. } = counts.lanes[lane];
    (depth, waiting)
}

/// Lends and finishes until nothing is left, and says in what order.
async fn drain(store: &impl Ask, lane: &Lane, now: Timestamp) -> Vec<JobId> {
    let mut order = Vec::new();
    loop {
        let leased = store.lend(lane, now, 1).await;
        let Some(leased) = leased.first() else {
            return order;
        };
        order.push(leased.token.id);
        store.settle(leased.token, moved(finish()), now).await;
    }
}

fn tokens(leased: &[Leased]) -> Vec<braze_relay::store::Token> {
    leased.iter().map(|leased| leased.token).collect()
}

pub async fn one_job_of_a_participant_goes_at_a_time_in_order_of_acceptance<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let now = second(0);
    let mut jobs = line(&store, &["1", "2"]).await;
    jobs.extend(line(&store, &["3"]).await);
    let other_lane = starting(seed(ADA, "4", now), run(tracks(), failed(now)));
    jobs.push(store.put_one(other_lane, now).await.job(0));
    let others = [
        seed(BO, "1", now),
        starting(seed(ADA, "5", now), run(look_ups(), turnless(now))),
        seed("", "6", now),
        seed("", "7", now),
    ];
    let others = first_jobs(&store.put(others.to_vec(), now).await);
    let elsewhere = starting(seed(ADA, "8", now), run(foreign(), fresh(now)));
    let elsewhere = store.put_one(elsewhere, now).await.job(0);

    assert_eq!(store.next_due(&tracks(), now).await.unwrap(), None);
    assert_eq!(lane_counts(&store, &look_ups(), now).await, (5, 2));
    assert_eq!(lane_counts(&store, &tracks(), now).await, (0, 1));
    let leased = store.lend_all(&look_ups(), now).await;
    let mut expected = vec![jobs[0]];
    expected.extend(&others);
    assert_eq!(ids(&leased), expected, "nobody else is held up");
    assert_eq!(ids(&store.lend_all(&foreign(), now).await), [elsewhere]);
    assert_eq!(store.next_due(&look_ups(), now).await.unwrap(), None);

    store.settle(leased[0].token, moved(finish()), now).await;
    assert_eq!(lane_counts(&store, &look_ups(), now).await, (5, 1));
    assert_eq!(drain(&store, &look_ups(), now).await, jobs[1..3]);
    assert_eq!(drain(&store, &tracks(), now).await, jobs[3..]);
}

pub async fn the_turn_passes_when_its_holder_ends_dies_or_goes_on_without_it<H: Harness>() {
    let now = second(0);
    for fate in [
        finish(),
        bury(now),
        keep(tracks(), turnless(now)),
        keep(foreign(), fresh(now)),
    ] {
        let store = H::open(SETTINGS).await.store();
        let jobs = line(&store, &["1", "2", "3"]).await;
        store
            .settle_next(&look_ups(), moved(fate.clone()), now)
            .await;
        let leased = store.lend_one(&look_ups(), now).await;
        assert_eq!(leased.token.id, jobs[1], "after {fate:?}");
        assert_eq!(leased.job, fresh(now));
        store.settle(leased.token, moved(finish()), now).await;
        assert_eq!(drain(&store, &look_ups(), now).await, jobs[2..]);
    }
}

pub async fn a_kept_holder_keeps_the_turn_retries_included<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let jobs = line(&store, &["1", "2"]).await;
    let retry = ending(keep(look_ups(), failed(second(60))), GAP);
    store.settle_next(&look_ups(), retry, second(0)).await;
    assert!(store.lend_all(&look_ups(), second(59)).await.is_empty());
    let due = store.next_due(&look_ups(), second(1)).await.unwrap();
    assert_eq!(due, Some(second(60)));
    let on = moved(keep(tracks(), fresh(second(61))));
    store.settle_next(&look_ups(), on, second(60)).await;
    assert!(store.lend_all(&look_ups(), second(999)).await.is_empty());
    let given_back = store.lend_one(&tracks(), second(61)).await;
    store.give_back(vec![given_back.token]).await.unwrap();
    assert!(store.lend_all(&look_ups(), second(999)).await.is_empty());
    store
        .settle_next(&tracks(), moved(finish()), second(61))
        .await;
    assert_eq!(drain(&store, &look_ups(), second(61)).await, jobs[1..]);
}

pub async fn the_next_one_is_due_after_the_gap_and_never_before_its_own_time<H: Harness>() {
    let mut house = H::open(SETTINGS).await;
    for (number, own) in [0, 6, 7, 8, 100].into_iter().enumerate() {
        let store = house.store();
        let begin = second(1_000 * number as u64);
        let due = begin + Duration::from_secs(own);
        let person = person(number);
        let behind = starting(seed(&person, "2", begin), run(look_ups(), fresh(due)));
        store
            .put(vec![seed(&person, "1", begin), behind], begin)
            .await;
        let first = store.lend_one(&look_ups(), begin).await;
        store
            .settle(first.token, ending(finish(), GAP), begin)
            .await;
        let expected = due.max(begin + GAP);
        house.crash_and_reopen().await;
        let store = house.store();
        let told = store.next_due(&look_ups(), begin).await.unwrap();
        assert_eq!(told, Some(expected));
        let early = expected - millisecond();
        assert!(store.lend_all(&look_ups(), early).await.is_empty());
        let leased = store.lend_one(&look_ups(), expected).await;
        assert_eq!(leased.job.due, expected);
        // It stays its due time when it is given back.
        store.give_back(vec![leased.token]).await.unwrap();
        let again = store.lend_one(&look_ups(), expected).await;
        assert_eq!(again.job, leased.job);
        store.settle(again.token, moved(finish()), expected).await;
    }
}

pub async fn whoever_waits_for_a_lane_is_woken_when_a_turn_passes_to_it<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let now = second(0);
    let behind = starting(seed(ADA, "2", now), run(tracks(), fresh(now)));
    store.put(vec![seed(ADA, "1", now), behind], now).await;
    let leased = store.lend_one(&look_ups(), now).await;
    let wake = store.wake(&tracks());
    take_word(&wake);
    store.settle(leased.token, moved(finish()), now).await;
    let heard = tokio::time::timeout(Duration::from_secs(10), wake.notified()).await;
    assert!(heard.is_ok(), "the turn woke nobody");
}

pub async fn those_that_follow_a_creation_that_died_are_buried_with_it<H: Harness>() {
    let mut house = H::open(SETTINGS).await;
    let store = house.store();
    let now = second(3);
    let short = |key: &str| {
        starting(
            seed(ADA, key, second(0)),
            run(look_ups(), update(second(0))),
        )
    };
    let updating = Job {
        state: State::Progress(Profile::Create),
        ..laden(second(50), 900)
    };
    let mut long = starting(seed(ADA, "3", second(0)), run(tracks(), updating.clone()));
    long.event.attributes = Some(attributes(9_000));
    let line = vec![
        seed(ADA, "1", second(0)),
        short("2"),
        long.clone(),
        seed(ADA, "4", second(0)),
        short("5"),
    ];
    let jobs = first_jobs(&store.put(line, second(0)).await);
    let long_id = jobs[2];
    let other = store.put_one(seed(BO, "1", second(0)), second(0)).await;
    let leased = store.lend_all(&look_ups(), now).await;
    let young = child(1, ADA, now);
    let commit = Commit {
        spawn: vec![young],
        ..burying(bury(now), no_profile())
    };
    assert_eq!(store.settle(leased[0].token, commit, now).await, stored(1));
    for clean in [None, Some(true), Some(false)] {
        match clean {
            None => {}
            Some(true) => house.close_and_reopen().await,
            Some(false) => house.crash_and_reopen().await,
        }
        let store = house.store();
        let letters = store.letters(DeadFilter::default()).await;
        let dead: Vec<_> = letters
            .iter()
            .map(|letter| (letter.id, letter.burial.reason))
            .collect();
        assert_eq!(
            dead,
            [
                (jobs[0], Reason::Rejected),
                (jobs[1], Reason::NoProfile),
                (long_id, Reason::NoProfile)
            ]
        );
        assert_eq!(letters[2].event, long.event);
        assert_eq!(letters[2].job.as_ref(), Some(&updating));
        assert_eq!(letters[2].burial, no_profile());
        assert_eq!(letters[2].workspace, Some(name("acme")));
        let counts = store.counts(now).await.unwrap();
        let events = EventCounts {
            accepted: 6,
            dead: 2,
            queued: 4,
            ..EventCounts::default()
        };
        assert_eq!(counts.events, events);
        assert_eq!(counts.dead.values().sum::<u64>(), 3);
        assert_eq!(lane_counts(&store, &tracks(), now).await, (0, 0));
        assert_eq!(store.next_due(&tracks(), now).await.unwrap(), None);
    }
    // One that makes a profile itself has the turn now; whoever lives again takes it in order.
    let store = house.store();
    let leased = store.lend_all(&look_ups(), now).await;
    let lent: Vec<_> = leased.iter().map(|leased| leased.token.id).collect();
    assert_eq!(lent, [jobs[3], other.job(0)]);
    store.settle(leased[0].token, moved(finish()), now).await;
    let revivals = [long_id, jobs[1]].map(|id| (id, run(look_ups(), fresh(now))));
    store.revive(revivals.to_vec(), now).await.unwrap();
    let order = [jobs[1], long_id, jobs[4]];
    assert_eq!(drain(&store, &look_ups(), now).await, order);
}

pub async fn only_the_end_of_a_turn_buries_those_behind<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let now = second(0);
    let jobs = line(&store, &["1", "2", "3"]).await;
    let retry = burying(keep(look_ups(), failed(now)), no_profile());
    store.settle_next(&look_ups(), retry, now).await;
    let free = starting(seed(ADA, "free", now), run(credits(), turnless(now)));
    store.put_one(free, now).await;
    store
        .settle_next(&credits(), burying(finish(), no_profile()), now)
        .await;
    assert_eq!(drain(&store, &look_ups(), now).await, jobs);
}

pub async fn a_revived_job_goes_before_whoever_is_younger_and_not_lent<H: Harness>() {
    // Where the younger one stands: accepted in a pack, alone, failed before, or due after a gap.
    for stands in 0..5 {
        let mut house = H::open(SETTINGS).await;
        let store = house.store();
        let (now, late) = (second(10), second(99));
        let old = line(&store, &["1"]).await[0];
        store.settle_next(&look_ups(), moved(bury(now)), now).await;
        let mut crowd = crowd(4, now);
        crowd.insert(2, seed(ADA, "2", now));
        let younger = match stands {
            0 => store.put(crowd, now).await[2].id.job(0),
            1 => store.put_one(seed(ADA, "2", now), now).await.job(0),
            2 => {
                let id = store.put_one(seed(ADA, "2", now), now).await.job(0);
                let retry = moved(keep(look_ups(), failed(second(20))));
                store.settle_next(&look_ups(), retry, now).await;
                id
            }
            3 => {
                let later = starting(seed(ADA, "2", now), run(look_ups(), fresh(second(20))));
                store.put_one(later, now).await.job(0)
            }
            _ => {
                let jobs = line(&store, &["2", "3"]).await;
                store
                    .settle_next(&look_ups(), ending(finish(), GAP), now)
                    .await;
                jobs[1]
            }
        };
        let start = run(tracks(), fresh(now));
        store.revive(vec![(old, start)], now).await.unwrap();
        for clean in [true, false] {
            let store = house.store();
            let leased = store.lend_all(&look_ups(), late).await;
            assert!(!ids(&leased).contains(&younger), "overtaken at {stands}");
            store.give_back(tokens(&leased)).await.unwrap();
            if clean {
                house.close_and_reopen().await;
            } else {
                house.crash_and_reopen().await;
            }
        }
        let store = house.store();
        let (_, waiting) = lane_counts(&store, &look_ups(), late).await;
        assert_eq!(waiting, 1);
        let leased = store.lend_one(&tracks(), late).await;
        assert_eq!(leased.token.id, old);
        store.settle(leased.token, moved(finish()), late).await;
        let leased = store.lend_all(&look_ups(), late).await;
        assert!(ids(&leased).contains(&younger), "lost at {stands}");
        assert_eq!(lane_counts(&store, &look_ups(), late).await.1, 0);
    }
}

pub async fn one_who_is_lent_keeps_the_turn_until_it_ends<H: Harness>() {
    let mut house = H::open(SETTINGS).await;
    let store = house.store();
    let now = second(0);
    let old = line(&store, &["1"]).await[0];
    store.settle_next(&look_ups(), moved(bury(now)), now).await;
    let young = line(&store, &["2", "3"]).await;
    let lent = store.lend_one(&look_ups(), now).await;
    let start = run(look_ups(), fresh(now));
    store.revive(vec![(old, start)], now).await.unwrap();
    assert!(store.lend_all(&look_ups(), now).await.is_empty());

    let retry = moved(keep(look_ups(), failed(second(5))));
    store.settle(lent.token, retry, now).await;
    assert!(store.lend_all(&look_ups(), second(4)).await.is_empty());
    house.crash_and_reopen().await;
    let store = house.store();
    let expected = [young[0], old, young[1]];
    assert_eq!(drain(&store, &look_ups(), second(5)).await, expected);
}

pub async fn a_child_takes_its_place_before_the_turn_of_its_parent_ends<H: Harness>() {
    let mut house = H::open(SETTINGS).await;
    let now = second(0);
    let line = line(&house.store(), &["1", "2"]).await;
    let step = |number| {
        let mut child = child(number, ADA, now);
        child.job = fresh(now);
        child
    };
    let commit = Commit {
        gap: GAP,
        ..spawning(finish(), vec![step(2), step(1)])
    };
    let answer = house.store().settle_next(&look_ups(), commit, now).await;
    assert_eq!(answer, stored(2));
    house.crash_and_reopen().await;
    let store = house.store();
    assert!(store.lend_all(&credits(), now).await.is_empty(), "the gap");
    let after = now + GAP;
    assert!(store.lend_all(&look_ups(), after).await.is_empty());
    let children = [line[0].event.job(1), line[0].event.job(2)];
    assert_eq!(drain(&store, &credits(), after).await, children);
    assert_eq!(drain(&store, &look_ups(), after).await, line[1..]);
}

pub async fn a_job_that_comes_to_take_the_turn_takes_its_place_by_its_id<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let now = second(0);
    let free = starting(seed(ADA, "free", now), run(credits(), turnless(now)));
    let old = store.put_one(free, now).await.job(0);
    let young = line(&store, &["1", "2"]).await;
    let moving = store.put_one(
        starting(seed(ADA, "away", now), run(foreign(), fresh(now))),
        now,
    );
    let moving = moving.await.job(0);
    let here = || moved(keep(look_ups(), fresh(now)));
    store.settle_next(&foreign(), here(), now).await;
    store.settle_next(&credits(), here(), now).await;
    let expected = [old, young[0], young[1], moving];
    assert_eq!(drain(&store, &look_ups(), now).await, expected);
}

/// Calls that a store may gather into one write: the first keeps it busy while the others come.
pub async fn turns_hold_between_calls_that_come_at_once<H: Harness>() {
    let mut house = H::open(SETTINGS).await;
    let store = house.store();
    for round in 0..20 {
        let now = second(100 * round);
        let ada = |key: &str| seed(ADA, &format!("{key}{round}"), now);
        let following = |key: &str| starting(ada(key), run(look_ups(), update(now)));
        let busy = |number: u64| {
            let key = format!("{round}/{number}");
            store.put_one(starting(seed(BO, &key, now), unknown(now)), now)
        };
        // One ends and another comes: nobody is behind somebody who is gone.
        store.put_one(ada("1"), now).await;
        let first = store.lend_one(&look_ups(), now).await.token;
        let (_, _, second_id) = tokio::join!(
            busy(1),
            store.settle(first, moved(bury(now)), now),
            store.put_one(ada("2"), now),
        );
        let leased = store.lend_one(&look_ups(), now).await;
        assert_eq!(leased.token.id, second_id.job(0));
        // It is kept, one comes behind it, and one that is older lives again.
        let again = || vec![(first.id, run(look_ups(), fresh(now)))];
        let (_, _, third_id, _) = tokio::join!(
            busy(2),
            store.settle(leased.token, moved(keep(look_ups(), failed(now))), now),
            store.put_one(following("3"), now),
            store.revive(again(), now),
        );
        let leased = store.lend_one(&look_ups(), now).await;
        assert_eq!(leased.token.id, first.id);
        // It ends, two come, and the next takes what follows with it.
        store.settle(leased.token, moved(finish()), now).await;
        let leased = store.lend_one(&look_ups(), now).await;
        assert_eq!(leased.token.id, second_id.job(0));
        let (_, fourth_id, _, _) = tokio::join!(
            busy(3),
            store.put_one(following("4"), now),
            store.settle(leased.token, burying(bury(now), no_profile()), now),
            store.put_one(ada("5"), now),
        );
        for id in [third_id, fourth_id] {
            let letter = store.dead_get(id.job(0)).await.unwrap().unwrap();
            assert_eq!(letter.burial.reason, Reason::NoProfile);
        }
        assert_eq!(drain(&store, &look_ups(), now).await.len(), 1);
        // Two come, and an older one lives again before them.
        let (_, sixth, seventh, _) = tokio::join!(
            busy(4),
            store.put_one(ada("6"), now),
            store.put_one(ada("7"), now),
            store.revive(vec![(third_id.job(0), run(look_ups(), fresh(now)))], now),
        );
        let expected = [third_id, sixth, seventh].map(|id| id.job(0));
        assert_eq!(drain(&store, &look_ups(), now).await, expected);
    }
    house.crash_and_reopen().await;
    let late = second(9_999);
    let left = house.store().lend_all(&look_ups(), late).await;
    assert!(left.is_empty());
}

pub async fn turns_are_the_same_after_a_restart<H: Harness>() {
    let mut house = H::open(SETTINGS).await;
    let now = second(0);
    let jobs = line(&house.store(), &["1", "2", "3", "4", "5"]).await;
    for (number, id) in jobs.iter().enumerate() {
        for clean in [true, false] {
            let before = comparable(house.store().counts(now).await.unwrap());
            if clean {
                house.close_and_reopen().await;
            } else {
                house.crash_and_reopen().await;
            }
            let store = house.store();
            assert_eq!(comparable(store.counts(now).await.unwrap()), before);
            let waiting = 4 - number as u64;
            assert_eq!(lane_counts(&store, &look_ups(), now).await, (1, waiting));
            let leased = store.lend_one(&look_ups(), now).await;
            assert_eq!(leased.token.id, *id);
            store.give_back(vec![leased.token]).await.unwrap();
        }
        let store = house.store();
        store.settle_next(&look_ups(), moved(finish()), now).await;
    }
    assert!(house.store().lend_all(&look_ups(), now).await.is_empty());
}

pub async fn updates_of_one_participant_are_lent_along_in_order<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let now = second(0);
    let mut seeds = updates(&[0, 0, 0, 5, 0]);
    let other = starting(seed(BO, "1", now), run(tracks(), update(now)));
    seeds.insert(1, other);
    let jobs = first_jobs(&store.put(seeds, now).await);
    assert_eq!(ids(&store.lend(&tracks(), now, 1).await), jobs[..1]);
    // Not behind somebody who was lent without them.
    assert_eq!(ids(&store.lend(&tracks(), now, 9).await), [jobs[1]]);

    for (at_most, expected) in [
        (2, vec![jobs[0], jobs[1]]),
        (3, vec![jobs[0], jobs[2], jobs[1]]),
        (9, vec![jobs[0], jobs[2], jobs[3], jobs[1]]),
    ] {
        let store = H::open(SETTINGS).await.store();
        let mut seeds = updates(&[0, 0, 0, 5, 0]);
        seeds.insert(1, starting(seed(BO, "1", now), run(tracks(), update(now))));
        let again = first_jobs(&store.put(seeds, now).await);
        let position = |id: &JobId| jobs.iter().position(|job| job == id);
        let leased = store.lend(&tracks(), now, at_most).await;
        let lent: Vec<_> = ids(&leased)
            .iter()
            .map(|id| again.iter().position(|job| job == id))
            .collect();
        let expected: Vec<_> = expected.iter().map(position).collect();
        assert_eq!(lent, expected, "{at_most} at most");
        let lent = leased.len() as u64;
        let (depth, waiting) = lane_counts(&store, &tracks(), now).await;
        assert_eq!((depth, waiting), (lent.max(2), 6 - lent.max(2)));
    }
}

pub async fn only_what_follows_in_the_same_lane_is_lent_along<H: Harness>() {
    let now = second(0);
    for start in [
        run(look_ups(), update(now)),
        run(tracks(), fresh(now)),
        run(tracks(), update(second(1))),
    ] {
        let store = H::open(SETTINGS).await.store();
        let mut seeds = updates(&[0, 0, 0]);
        seeds[1] = starting(seeds[1].clone(), start);
        let jobs = first_jobs(&store.put(seeds, now).await);
        assert_eq!(ids(&store.lend_all(&tracks(), now).await), jobs[..1]);
    }
}

pub async fn those_lent_along_are_committed_like_others<H: Harness>() {
    let mut house = H::open(SETTINGS).await;
    let store = house.store();
    let now = second(0);
    let jobs = first_jobs(&store.put(updates(&[0, 0, 0, 0, 0]), now).await);
    let lent = store.lend_all(&tracks(), now).await;
    assert_eq!(ids(&lent), jobs);
    // The second ends, the first and third are to be tried again, the fourth comes back, the last stays out.
    let retry = |due| {
        moved(keep(
            tracks(),
            Job {
                fresh: false,
                ..update(second(due))
            },
        ))
    };
    let moves = vec![
        (lent[1].token, moved(finish())),
        (lent[0].token, retry(2)),
        (lent[2].token, retry(9)),
    ];
    let answers = store.commit(moves, now).await.unwrap();
    assert_eq!(answers, [stored(0), stored(0), stored(0)]);
    store.give_back(vec![lent[3].token]).await.unwrap();
    assert_eq!(lane_counts(&store, &tracks(), now).await, (1, 3));
    assert!(store.lend_all(&tracks(), second(1)).await.is_empty());
    let first = store.lend_one(&tracks(), second(2)).await;
    assert_eq!(first.token.id, jobs[0]);
    let end = ending(finish(), Duration::ZERO);
    store.settle(first.token, end, second(2)).await;
    assert!(store.lend_all(&tracks(), second(8)).await.is_empty());
    let third = store.lend_all(&tracks(), second(9)).await;
    assert_eq!(ids(&third), jobs[2..4], "the last is still out");
    house.crash_and_reopen().await;
    let store = house.store();
    assert_eq!(lane_counts(&store, &tracks(), second(9)).await, (1, 2));
    assert_eq!(ids(&store.lend_all(&tracks(), second(9)).await), jobs[2..]);
}

pub async fn one_lent_along_gets_the_turn_while_it_is_out<H: Harness>() {
    let mut house = H::open(SETTINGS).await;
    let store = house.store();
    let now = second(0);
    let jobs = first_jobs(&store.put(updates(&[0, 0, 0]), now).await);
    let lent = store.lend_all(&tracks(), now).await;
    store
        .settle(lent[0].token, ending(finish(), GAP), now)
        .await;
    assert_eq!(lane_counts(&store, &tracks(), now).await, (2, 0));
    let after = now + GAP;
    assert!(
        store.lend_all(&tracks(), after).await.is_empty(),
        "it is out"
    );
    assert_eq!(store.next_due(&tracks(), now).await.unwrap(), None);
    // Its own commit goes through, before and after the gap.
    let retry = moved(keep(tracks(), update(second(1))));
    store.settle(lent[1].token, retry, now).await;
    let again = store.lend_all(&tracks(), second(1)).await;
    assert_eq!(ids(&again), jobs[1..2], "the third is still out");
    store
        .settle(again[0].token, ending(finish(), GAP), second(1))
        .await;
    house.crash_and_reopen().await;
    let store = house.store();
    assert!(store.lend_all(&tracks(), after).await.is_empty(), "the gap");
    let third = store.lend_one(&tracks(), second(1) + GAP).await;
    assert_eq!(third.token.id, jobs[2]);
}

pub async fn one_lent_along_and_buried_with_the_first_has_lost_its_lease<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let now = second(0);
    let jobs = first_jobs(&store.put(updates(&[0, 0, 0]), now).await);
    let lent = store.lend_all(&tracks(), now).await;
    store.settle(lent[1].token, moved(finish()), now).await;
    let commit = burying(bury(now), no_profile());
    store.settle(lent[0].token, commit, now).await;
    let lost = store.settle(lent[2].token, moved(finish()), now).await;
    assert_eq!(lost, Committed::LostLease);
    let letters = store.letters(DeadFilter::default()).await;
    let dead: Vec<JobId> = letters.iter().map(|letter| letter.id).collect();
    assert_eq!(dead, [jobs[0], jobs[2]]);
    assert_eq!(lane_counts(&store, &tracks(), now).await, (0, 0));
}

fn believed(leased: &Leased) -> Option<Address> {
    leased.known.clone().map(|learnt| learnt.address)
}

pub async fn what_was_learnt_is_believed_for_so_long_and_longer_when_it_was_learnt_again<
    H: Harness,
>() {
    let known_for = Duration::from_secs(100);
    let settings = Settings {
        known_for,
        ..SETTINGS
    };
    let address = Address::BrazeId("b1".into());
    // Learnt again before half of the time it is no news; from then on it is.
    for (again, until) in [(49, 100), (50, 150)] {
        let mut house = H::open(settings).await;
        let store = house.store();
        store.put_one(seed(ADA, "1", second(0)), second(0)).await;
        for at in [0, again] {
            let now = second(at);
            let learning = Commit {
                learnt: Some(address.clone()),
                ..moved(keep(look_ups(), fresh(now)))
            };
            store.settle_next(&look_ups(), learning, now).await;
        }
        house.crash_and_reopen().await;
        let store = house.store();
        for (at, expected) in [(until - 1, Some(address.clone())), (until, None)] {
            let leased = store.lend_one(&look_ups(), second(at)).await;
            assert_eq!(believed(&leased), expected, "{again} {at}");
            store.give_back(vec![leased.token]).await.unwrap();
        }
    }
}

pub async fn what_was_learnt_of_a_participant_is_lent_with_its_jobs<H: Harness>() {
    let mut house = H::open(SETTINGS).await;
    let now = second(0);
    let external = |text: &str| Address::ExternalId(text.into());
    let learning = |fate, address: &Address| Commit {
        learnt: Some(address.clone()),
        ..moved(fate)
    };
    let store = house.store();
    store
        .put(vec![seed(ADA, "1", now), seed(BO, "1", now)], now)
        .await;
    let lent = store.lend_all(&look_ups(), now).await;
    assert_eq!(believed(&lent[0]), None);
    let on = learning(keep(tracks(), fresh(now)), &external("crm-1"));
    store.settle(lent[0].token, on, now).await;
    for clean in [true, false] {
        let known = house.store().lend_one(&tracks(), now).await;
        assert_eq!(believed(&known), Some(external("crm-1")));
        if clean {
            house.close_and_reopen().await;
        } else {
            house.crash_and_reopen().await;
        }
    }
    let store = house.store();
    assert_eq!(
        believed(&store.lend_one(&look_ups(), now).await),
        None,
        "bo's"
    );
    let last = learning(finish(), &external("crm-2"));
    store.settle_next(&tracks(), last, now).await;
    // Another event, much later; another workspace; a job that takes no turn; nobody.
    let late = second(0) + SETTINGS.event_dedupe * 9;
    let seeds = [
        (ADA, run(tracks(), fresh(late))),
        (ADA, run(foreign(), fresh(late))),
        (ADA, run(credits(), turnless(late))),
    ];
    let seeds = seeds
        .into_iter()
        .enumerate()
        .map(|(number, (who, start))| starting(seed(who, &format!("late {number}"), late), start));
    store.put(seeds.collect(), late).await;
    let known = store.lend_one(&tracks(), late).await;
    assert_eq!(believed(&known), Some(external("crm-2")), "the latest");
    assert_eq!(believed(&store.lend_one(&foreign(), late).await), None);
    assert_eq!(believed(&store.lend_one(&credits(), late).await), None);
    // An address that is too long is passed over; the longest is not.
    for (length, expected) in [
        (ADDRESS_BYTES_MAX + 1, "crm-2".to_owned()),
        (ADDRESS_BYTES_MAX, "x".repeat(ADDRESS_BYTES_MAX)),
    ] {
        let again = moved(keep(tracks(), fresh(late)));
        let again = Commit {
            learnt: Some(external(&"x".repeat(length))),
            ..again
        };
        let token = match store.lend(&tracks(), late, 1).await.pop() {
            Some(leased) => leased.token,
            None => known.token,
        };
        store.settle(token, again, late).await;
        let leased = store.lend_one(&tracks(), late).await;
        assert_eq!(believed(&leased), Some(external(&expected)));
        store.give_back(vec![leased.token]).await.unwrap();
    }
    // Nobody is nobody.
    store
        .put(vec![seed("", "1", late), seed("", "2", late)], late)
        .await;
    let nobody = store.lend_all(&look_ups(), late).await;
    let nobody = nobody.iter().find(|leased| leased.event.email.is_empty());
    let on = learning(finish(), &external("crm-3"));
    store.settle(nobody.unwrap().token, on, late).await;
    let seed = starting(seed("", "3", late), run(tracks(), fresh(late)));
    let id = store.put_one(seed, late).await.job(0);
    let leased = store.lend_all(&tracks(), late).await;
    let nobody = leased.iter().find(|leased| leased.token.id == id);
    assert_eq!(believed(nobody.unwrap()), None);
}
