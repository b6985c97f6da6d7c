//! What operators may rely on.

use std::time::Duration;

use braze_relay::flow::job::{Flow, Job, Profile, Reason, Start, State};
use braze_relay::model::id::JobId;
use braze_relay::store::{DeadFilter, DeadLetter, Operate, Settings, Store};

use super::Harness;
use super::material::*;

fn letter_ids(letters: &[DeadLetter]) -> Vec<JobId> {
    letters.iter().map(|letter| letter.id).collect()
}

/// `count` letters, buried in another order than they were accepted.
async fn some_letters(store: &impl Ask, count: usize) -> Vec<JobId> {
    let now = second(0);
    let jobs = first_jobs(&store.put(crowd(count, now), now).await);
    for leased in store.lend_all(&look_ups(), now).await.into_iter().rev() {
        store.settle(leased.token, moved(bury(now)), now).await;
    }
    jobs
}

pub async fn letters_are_listed_in_order_and_page_by_page<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    assert!(store.letters(DeadFilter::default()).await.is_empty());
    let jobs = some_letters(&store, 7).await;
    for limit in [1, 2, 3, 6, 7, 8, 100] {
        let letters = store.letters_by(DeadFilter::default(), limit).await;
        assert_eq!(letter_ids(&letters), jobs, "in pages of {limit}");
    }
    let from_the_middle = store
        .dead_list(DeadFilter::default(), Some(jobs[4]), 100)
        .await
        .unwrap();
    assert_eq!(letter_ids(&from_the_middle.items), jobs[5..]);
    let behind_the_last = store
        .dead_list(DeadFilter::default(), Some(jobs[6]), 100)
        .await
        .unwrap();
    assert!(behind_the_last.items.is_empty());
    assert_eq!(behind_the_last.next, None);
}

pub async fn letters_are_filtered_by_what_they_are<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let now = second(0);
    let mut seeds = Vec::new();
    for (number, (workspace, scope, flow, reason)) in [
        (Some("acme"), "a", Some(Flow::Email), Reason::Rejected),
        (Some("acme"), "b", Some(Flow::Email), Reason::NoFlow),
        (Some("borealis"), "a", Some(Flow::Progress), Reason::NoFlow),
        (None, "c", None, Reason::UnknownActivation),
    ]
    .into_iter()
    .enumerate()
    {
        let start = Start::Bury {
            workspace: workspace.map(name),
            flow,
            burial: burial(reason, now),
        };
        let mut seed = starting(seed(ADA, &number.to_string(), now), start);
        seed.event.scope = scope.into();
        seeds.push(seed);
    }
    let jobs = first_jobs(&store.put(seeds, now).await);
    let all = DeadFilter::default;
    let table: [(DeadFilter, &[usize]); 9] = [
        (all(), &[0, 1, 2, 3]),
        (
            DeadFilter {
                workspace: Some("acme".into()),
                ..all()
            },
            &[0, 1],
        ),
        (
            DeadFilter {
                activation: Some("a".into()),
                ..all()
            },
            &[0, 2],
        ),
        (
            DeadFilter {
                activation: Some("c".into()),
                ..all()
            },
            &[3],
        ),
        (
            DeadFilter {
                flow: Some(Flow::Email),
                ..all()
            },
            &[0, 1],
        ),
        (
            DeadFilter {
                reason: Some(Reason::NoFlow),
                ..all()
            },
            &[1, 2],
        ),
        (
            DeadFilter {
                workspace: Some("acme".into()),
                reason: Some(Reason::NoFlow),
                ..all()
            },
            &[1],
        ),
        (
            DeadFilter {
                workspace: Some("acm".into()),
                ..all()
            },
            &[],
        ),
        (
            DeadFilter {
                flow: Some(Flow::Credit),
                ..all()
            },
            &[],
        ),
    ];
    for (filter, expected) in table {
        let expected: Vec<JobId> = expected.iter().map(|index| jobs[*index]).collect();
        for limit in [1, 2, 100] {
            let letters = store.letters_by(filter.clone(), limit).await;
            assert_eq!(letter_ids(&letters), expected, "{filter:?} by {limit}");
        }
    }
}

pub async fn a_letter_is_found_by_its_id<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let jobs = some_letters(&store, 2).await;
    let listed = store.letters(DeadFilter::default()).await;
    for (id, letter) in jobs.iter().zip(listed) {
        assert_eq!(store.dead_get(*id).await.unwrap(), Some(letter));
    }
    let living = store.put_one(seed(ADA, "x", second(1)), second(1)).await;
    for id in [living.job(0), jobs[0].event.job(1), JobId::default()] {
        assert_eq!(store.dead_get(id).await.unwrap(), None);
    }
}

pub async fn a_revived_job_lives_again_under_its_id<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let now = second(0);
    let jobs = some_letters(&store, 2).await;
    let start = run(tracks(), fresh(second(5)));
    assert_eq!(
        store.revive(vec![(jobs[0], start)], now).await.unwrap(),
        [true]
    );
    assert_eq!(store.dead_get(jobs[0]).await.unwrap(), None);
    assert_eq!(
        letter_ids(&store.letters(DeadFilter::default()).await),
        jobs[1..]
    );
    let counts = store.counts(now).await.unwrap();
    assert_eq!((counts.events.queued, counts.events.dead), (1, 1));

    assert!(store.lend_all(&tracks(), second(4)).await.is_empty());
    let leased = store.lend_one(&tracks(), second(5)).await;
    assert_eq!(leased.token.id, jobs[0]);
    assert_eq!(leased.event, event("p0@example.com", "join", now));
    assert_eq!(leased.job, fresh(second(5)));
    let commit = moved(finish());
    assert_eq!(
        store.settle(leased.token, commit, second(5)).await,
        stored(0)
    );
    assert_eq!(store.counts(now).await.unwrap().events.done, 1);
}

pub async fn only_dead_letters_are_revived_and_each_once<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let now = second(0);
    let dead = some_letters(&store, 1).await[0];
    let living = store.put_one(seed(ADA, "x", now), now).await.job(0);
    let start = || run(look_ups(), fresh(now));
    let letters = vec![
        (living, start()),
        (dead, unknown(now)),
        (dead, start()),
        (dead, start()),
        (JobId::default(), start()),
    ];
    assert_eq!(
        store.revive(letters, now).await.unwrap(),
        [false, true, true, false, false]
    );
    assert_eq!(
        store.revive(vec![(dead, start())], now).await.unwrap(),
        [false]
    );
    assert_eq!(ids(&store.lend_all(&look_ups(), now).await), [dead, living]);
    assert!(store.revive(Vec::new(), now).await.unwrap().is_empty());
}

pub async fn a_letter_buried_anew_keeps_its_job<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let id = some_letters(&store, 1).await[0];
    let before = store.dead_get(id).await.unwrap().unwrap();
    let start = Start::Bury {
        workspace: Some(name("borealis")),
        flow: Some(Flow::Progress),
        burial: burial(Reason::NoFlow, second(9)),
    };
    assert_eq!(
        store.revive(vec![(id, start)], second(9)).await.unwrap(),
        [true]
    );
    let expected = DeadLetter {
        workspace: Some(name("borealis")),
        flow: Some(Flow::Progress),
        burial: burial(Reason::NoFlow, second(9)),
        ..before
    };
    assert_eq!(store.dead_get(id).await.unwrap(), Some(expected));
    let counts = store.counts(second(9)).await.unwrap();
    let group = group("borealis", SCOPE, Some(Flow::Progress));
    assert_eq!(counts.dead.get(&(group, Reason::NoFlow)), Some(&1));
    assert_eq!(counts.dead.values().sum::<u64>(), 1);
    assert_eq!((counts.events.dead, counts.events.queued), (1, 0));
}

pub async fn a_revival_is_not_refused_when_the_queue_is_full<H: Harness>() {
    let settings = Settings {
        max_jobs: 2,
        ..SETTINGS
    };
    let store = H::open(settings).await.store();
    let jobs = some_letters(&store, 2).await;
    assert!(store.admits().is_err());
    let start = run(look_ups(), fresh(second(0)));
    assert_eq!(
        store
            .revive(vec![(jobs[1], start)], second(0))
            .await
            .unwrap(),
        [true]
    );
    assert!(store.admits().is_err());
    assert_eq!(
        ids(&store.lend_all(&look_ups(), second(0)).await),
        [jobs[1]]
    );
}

pub async fn an_old_letter_is_discarded_and_its_key_forgotten<H: Harness>() {
    let settings = Settings {
        event_dedupe: SETTINGS.event_dedupe,
        dead_retention: SETTINGS.event_dedupe * 2,
        ..SETTINGS
    };
    let mut house = H::open(settings).await;
    let hour = Duration::from_hours(1);
    let end = second(0) + settings.dead_retention;
    let old = some_letters(&house.store(), 3).await;
    let state = State::Progress(Profile::LookUp);
    let job = Job::new(state, second(0));
    let mut young = seed(BO, "young", second(0));
    young.start = run(tracks(), job);
    house.store().put_one(young, second(0)).await;
    let store = house.store();
    store
        .settle_next(&tracks(), moved(bury(second(0) + hour * 2)), second(0))
        .await;

    // Forgetting is done little by little, by whatever is written.
    let nudge = |number: usize| format!("nudge {number}");
    for number in 0..50 {
        let now = end - millisecond();
        store.put_one(seed(ADA, &nudge(number), now), now).await;
    }
    assert_eq!(store.letters(DeadFilter::default()).await.len(), 4);
    // What is discarded was announced for an hour before: the first look at all of them was at the first write.
    let end = end + hour;
    let mut number = 50;
    while store.letters(DeadFilter::default()).await.len() > 1 {
        assert!(number < 500, "nothing is ever discarded");
        store.put_one(seed(ADA, &nudge(number), end), end).await;
        number += 1;
    }
    assert_eq!(store.dead_get(old[0]).await.unwrap(), None);
    let counts = store.counts(end).await.unwrap();
    assert_eq!((counts.events.discarded, counts.events.dead), (3, 1));
    assert_eq!(counts.dead.values().sum::<u64>(), 1);
    let events = counts.events;
    assert_eq!(events.accepted, 3 + 1 + number as u64);
    assert_eq!(events.queued, number as u64);
    let start = run(look_ups(), fresh(end));
    assert_eq!(
        store.revive(vec![(old[0], start)], end).await.unwrap(),
        [false]
    );

    house.close_and_reopen().await;
    assert_eq!(house.store().counts(end).await.unwrap().events, events);
    let again = seed("p0@example.com", "join", end);
    assert!(!house.store().is_duplicate(again, end).await);
    let young_again = seed(BO, "young", end);
    assert!(house.store().is_duplicate(young_again, end).await);
}
