//! What holds when events are taken in.

use braze_relay::flow::job::{Seed, Start};
use braze_relay::model::event::{CustomEvent, EventKind, Source};
use braze_relay::store::{Appended, DeadFilter, Operate, Settings, Store, StoreError};

use super::Harness;
use super::material::*;

pub async fn an_empty_call_stores_nothing<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    assert!(store.put(Vec::new(), second(0)).await.is_empty());
    assert_eq!(store.counts(second(0)).await.unwrap().events.accepted, 0);
    assert!(store.lend_all(&look_ups(), second(9)).await.is_empty());
}

pub async fn ids_grow_in_order_of_acceptance_even_when_the_clock_goes_back<H: Harness>() {
    let mut house = H::open(SETTINGS).await;
    let mut ids = Vec::new();
    for (round, now) in [5, 5, 3, 9, 2].into_iter().enumerate() {
        let seeds = (0..3)
            .map(|number| seed(ADA, &format!("{round}.{number}"), second(now)))
            .collect();
        let appended = house.store().put(seeds, second(now)).await;
        ids.extend(appended.into_iter().map(|appended| appended.id));
        if round == 3 {
            house.crash_and_reopen().await;
        }
    }
    assert!(ids.is_sorted_by(|one, next| one < next), "{ids:?}");
}

pub async fn the_same_key_again_is_a_duplicate_and_shows_the_first_id<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let first = store.put_one(seed(ADA, "join", second(0)), second(0)).await;
    let again = store
        .put(vec![seed(ADA, "join", second(5))], second(5))
        .await;
    assert!(again[0].duplicate);
    assert_eq!(again[0].id, first);
    assert_eq!(store.counts(second(5)).await.unwrap().events.accepted, 1);
    assert_eq!(store.lend_all(&look_ups(), second(9)).await.len(), 1);
}

pub async fn a_duplicate_within_a_call_is_found_too<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let seeds = ["a", "b", "a", "b", "a"]
        .into_iter()
        .map(|key| seed(ADA, key, second(0)))
        .collect();
    let appended = store.put(seeds, second(0)).await;
    let duplicate: Vec<bool> = appended.iter().map(|one| one.duplicate).collect();
    assert_eq!(duplicate, [false, false, true, true, true]);
    assert_eq!(appended[2].id, appended[0].id);
    assert_eq!(appended[3].id, appended[1].id);
    assert_eq!(appended[4].id, appended[0].id);
    assert_eq!(store.counts(second(0)).await.unwrap().events.accepted, 2);
}

pub async fn the_same_key_with_other_content_is_a_duplicate<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    store.put_one(seed(ADA, "join", second(0)), second(0)).await;
    let mut other = starting(seed(ADA, "join", second(1)), unknown(second(1)));
    other.event.kind = EventKind::Progress;
    other.event.attributes = Some(attributes(40));
    assert!(store.is_duplicate(other, second(1)).await);
    let leased = store.lend_one(&look_ups(), second(1)).await;
    assert_eq!(leased.event, event(ADA, "join", second(0)));
}

pub async fn a_key_counts_within_source_scope_and_participant<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let first = seed(ADA, "join", second(0));
    store.put_one(first.clone(), second(0)).await;
    let mut others = vec![first.clone(); 4];
    others[0].event.source = Source::Outgrow;
    others[1].event.scope = "vip-list".into();
    others[2].event.email = BO.into();
    others[3].event.key = "join ".into();
    // Pieces that would read the same when written one after the other.
    let mut run_together = vec![first.clone(); 2];
    run_together[0].event.scope = "ab".into();
    run_together[0].event.email = "c@example.com".into();
    run_together[1].event.scope = "a".into();
    run_together[1].event.email = "bc@example.com".into();
    for other in others.into_iter().chain(run_together) {
        assert!(
            !store.is_duplicate(other.clone(), second(0)).await,
            "{:?}",
            other.event
        );
        assert!(store.is_duplicate(other, second(0)).await);
    }
}

pub async fn a_key_is_forgotten_when_its_time_is_over_and_its_jobs_are_done<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let first = store.put_one(seed(ADA, "join", second(0)), second(0)).await;
    store
        .settle_next(&look_ups(), moved(finish()), second(1))
        .await;

    let end = second(0) + SETTINGS.event_dedupe;
    assert!(
        store
            .is_duplicate(seed(ADA, "join", end - millisecond()), end - millisecond())
            .await
    );
    let second_time = store.put_one(seed(ADA, "join", end), end).await;
    assert!(second_time > first);
    let again = store.put(vec![seed(ADA, "join", end)], end).await;
    assert_eq!((again[0].id, again[0].duplicate), (second_time, true));
    assert_eq!(store.counts(end).await.unwrap().events.accepted, 2);
}

pub async fn a_derived_key_is_remembered_for_a_time_of_its_own<H: Harness>() {
    // Shorter and longer than that of others.
    for webhook_dedupe in [SETTINGS.event_dedupe / 2, SETTINGS.event_dedupe * 2] {
        let mut house = H::open(Settings {
            webhook_dedupe,
            ..SETTINGS
        })
        .await;
        let webhook = |email: &str, now| {
            let mut seed = seed(email, "#5eed", now);
            (seed.event.source, seed.event.kind) = (Source::Braze, EventKind::Webhook);
            seed.further = None;
            seed
        };
        let seeds = [ADA, BO].map(|email| webhook(email, second(0)));
        house.store().put(seeds.into(), second(0)).await;
        house.crash_and_reopen().await;
        let store = house.store();
        // The first one ends, the other lives on.
        let lent = store.lease(&look_ups(), second(1), 1).await.unwrap();
        store
            .settle(lent[0].token, moved(finish()), second(1))
            .await;
        let end = second(0) + webhook_dedupe;
        let before = end - millisecond();
        // What may be forgotten is, beside other work.
        for other in ["1", "2", "3"] {
            store.put_one(seed(BO, other, before), before).await;
        }
        assert!(store.is_duplicate(webhook(ADA, before), before).await);
        assert!(!store.is_duplicate(webhook(ADA, end), end).await);
        assert!(store.is_duplicate(webhook(BO, end), end).await);
    }
}

pub async fn a_key_is_remembered_while_a_job_lives_or_is_dead<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let late = second(0) + SETTINGS.event_dedupe * 3;
    store.put_one(seed(ADA, "join", second(0)), second(0)).await;
    assert!(store.is_duplicate(seed(ADA, "join", late), late).await);

    // Its first job is done, the child lives.
    let parent = store.lend_one(&look_ups(), second(1)).await.token;
    let commit = spawning(finish(), vec![child(1, ADA, second(1))]);
    assert_eq!(store.settle(parent, commit, second(1)).await, stored(1));
    assert!(store.is_duplicate(seed(ADA, "join", late), late).await);

    // The child is dead.
    store.settle_next(&credits(), moved(bury(late)), late).await;
    assert!(store.is_duplicate(seed(ADA, "join", late), late).await);

    // The child is done.
    let letters = store.letters(DeadFilter::default()).await;
    let start = run(credits(), fresh(late));
    store
        .revive(vec![(letters[0].id, start)], late)
        .await
        .unwrap();
    store.settle_next(&credits(), moved(finish()), late).await;
    assert!(!store.is_duplicate(seed(ADA, "join", late), late).await);
}

/// A seed that starts on the look-up lane, or on the track lane when it is a further participation.
fn taking_part(email: &str, key: &str) -> Seed {
    Seed {
        further: Some(run(tracks(), turnless(second(0)))),
        ..starting(
            seed(email, key, second(0)),
            run(look_ups(), turnless(second(0))),
        )
    }
}

pub async fn a_further_participation_starts_what_further_says<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    store.put_one(taking_part(ADA, "1"), second(0)).await;
    assert_eq!(store.lend_all(&tracks(), second(0)).await.len(), 0);
    let further = store.put_one(taking_part(ADA, "2"), second(0)).await;
    assert_eq!(
        ids(&store.lend_all(&tracks(), second(0)).await),
        [further.job(0)]
    );
    // Where nothing else is to be started, it starts as it says.
    let plain = store.put_one(seed(ADA, "3", second(0)), second(0)).await;
    assert!(ids(&store.lend_all(&look_ups(), second(0)).await).contains(&plain.job(0)));
}

pub async fn a_further_participation_is_seen_within_one_call<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let seeds = vec![
        taking_part(ADA, "1"),
        taking_part(BO, "1"),
        taking_part(ADA, "1"),
        taking_part(ADA, "2"),
        taking_part(ADA, "3"),
    ];
    let appended = store.put(seeds, second(0)).await;
    let jobs = first_jobs(&appended);
    assert_eq!(
        ids(&store.lend_all(&look_ups(), second(0)).await),
        [jobs[0], jobs[1]]
    );
    assert_eq!(
        ids(&store.lend_all(&tracks(), second(0)).await),
        [jobs[3], jobs[4]]
    );
}

pub async fn only_participations_of_the_same_source_scope_and_participant_make_one_further<
    H: Harness,
>() {
    let store = H::open(SETTINGS).await.store();
    let mut others = vec![taking_part(ADA, "other"); 3];
    others[0].event.source = Source::Outgrow;
    others[1].event.scope = "vip-list".into();
    others[2].event.kind = EventKind::Progress;
    others.push(taking_part(BO, "other"));
    others.push(taking_part(ADA, "first"));
    let appended = store.put(others, second(0)).await;
    assert_eq!(
        ids(&store.lend_all(&look_ups(), second(0)).await),
        first_jobs(&appended)
    );
    // A participation that is dead was one nevertheless.
    store
        .put_one(
            starting(seed("cy@example.com", "1", second(0)), unknown(second(0))),
            second(0),
        )
        .await;
    store
        .put_one(taking_part("cy@example.com", "2"), second(0))
        .await;
    assert_eq!(store.lend_all(&tracks(), second(0)).await.len(), 1);
}

pub async fn a_forgotten_participation_makes_none_further<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let end = second(0) + SETTINGS.event_dedupe;
    store.put_one(taking_part(ADA, "1"), second(0)).await;
    store
        .settle_next(&look_ups(), moved(finish()), second(0))
        .await;
    store
        .put_one(taking_part(ADA, "2"), end - millisecond())
        .await;
    assert_eq!(store.lend_all(&tracks(), end).await.len(), 1);

    store.put_one(taking_part(BO, "1"), end).await;
    store.settle_next(&look_ups(), moved(finish()), end).await;
    let end = end + SETTINGS.event_dedupe;
    store.put_one(taking_part(BO, "2"), end).await;
    assert_eq!(store.lend_all(&tracks(), end).await.len(), 0);
    assert_eq!(store.lend_all(&look_ups(), end).await.len(), 1);
}

pub async fn an_event_that_starts_buried_is_a_dead_letter_at_once<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let buried = starting(seed(ADA, "join", second(0)), unknown(second(0)));
    let id = store.put_one(buried.clone(), second(0)).await;
    assert!(store.is_duplicate(buried.clone(), second(0)).await);
    let letter = store.dead_get(id.job(0)).await.unwrap().unwrap();
    assert_eq!(letter.id, id.job(0));
    assert_eq!(letter.event, buried.event);
    assert_eq!(
        (letter.workspace, letter.flow, letter.job),
        (None, None, None)
    );
    let events = store.counts(second(0)).await.unwrap().events;
    assert_eq!((events.accepted, events.dead, events.queued), (1, 1, 0));
}

pub async fn a_full_queue_takes_nothing_new_but_knows_duplicates<H: Harness>() {
    let settings = Settings {
        max_jobs: 3,
        ..SETTINGS
    };
    let store = H::open(settings).await.store();
    let now = second(0);
    let seed = |email, key, now| starting(seed(email, key, now), run(look_ups(), turnless(now)));
    let dead = starting(seed(BO, "join", now), unknown(now));
    store.put(vec![seed(ADA, "1", now), dead], now).await;
    store.admits().unwrap();
    // One call may go beyond the mark.
    store
        .put(vec![seed(ADA, "2", now), seed(ADA, "3", now)], now)
        .await;
    let before = store.counts(now).await.unwrap();

    assert!(matches!(store.admits(), Err(StoreError::Full(_))));
    let mixed = vec![seed(ADA, "1", now), seed(ADA, "4", now)];
    let refused = store.append(mixed, now).await;
    assert!(matches!(refused, Err(StoreError::Full(_))));
    assert_eq!(store.counts(now).await.unwrap().events, before.events);
    assert_eq!(store.counts(now).await.unwrap().jobs, before.jobs);
    assert!(store.is_duplicate(seed(ADA, "1", now), now).await);
    assert!(store.put(Vec::new(), now).await.is_empty());

    // Working on goes on, children included.
    let leased = store.lend_all(&look_ups(), now).await;
    let commit = spawning(finish(), vec![child(1, ADA, now), child(2, ADA, now)]);
    assert_eq!(store.settle(leased[0].token, commit, now).await, stored(2));
    assert!(store.admits().is_err());
    for leased in &leased[1..] {
        store.settle(leased.token, moved(finish()), now).await;
    }
    assert!(
        store.admits().is_err(),
        "two children and a letter are three"
    );
    let leased = store.lend_all(&credits(), now).await;
    store.settle(leased[0].token, moved(finish()), now).await;
    store.admits().unwrap();
    assert!(!store.is_duplicate(seed(ADA, "4", now), now).await);
}

pub async fn records_of_any_size_and_script_come_back_as_they_were<H: Harness>() {
    let mut house = H::open(SETTINGS).await;
    let now = second(0);
    let sizes = [
        0, 90, 3_900, 4_050, 4_095, 4_096, 4_097, 4_200, 8_191, 8_192, 8_193, 20_000, 65_536,
    ];
    let mut seeds = Vec::new();
    for (number, size) in sizes.into_iter().enumerate() {
        let mut seed = seed(&format!("größe{number}@例え.jp"), "ключ\u{0}/\u{ff}", now);
        seed.event.scope = "été/雪".into();
        seed.event.email_given = Some(format!("  Größe{number}@例え.JP "));
        seed.event.attributes = Some(attributes(size));
        seed.event.event = Some(CustomEvent {
            name: "加入".into(),
            properties: Some(attributes(size / 8)),
        });
        seed.start = run(look_ups(), laden(now, size / 16));
        seeds.push(seed);
    }
    let appended = house.store().put(seeds.clone(), now).await;
    for reopen in [false, true] {
        if reopen {
            house.crash_and_reopen().await;
        }
        let leased = house.store().lend_all(&look_ups(), now).await;
        assert_eq!(leased.len(), seeds.len());
        for (leased, seed) in leased.iter().zip(&seeds) {
            let Start::Run { job, .. } = &seed.start else {
                unreachable!()
            };
            assert!(leased.event == seed.event, "the event came back changed");
            assert!(leased.job == *job, "the job came back changed");
        }
        let again = house.store().put(seeds.clone(), now).await;
        assert!(again.iter().all(|one| one.duplicate));
        assert_eq!(first_jobs(&again), first_jobs(&appended));
        let tokens = leased.iter().map(|leased| leased.token).collect();
        house.store().give_back(tokens).await.unwrap();
    }
}

pub async fn a_key_is_remembered_while_its_job_waits_beside_others<H: Harness>() {
    let mut house = H::open(SETTINGS).await;
    let seeds = |now| -> Vec<_> {
        (0..40)
            .map(|number| seed(&format!("p{number}@example.com"), "1", now))
            .collect()
    };
    let first = house.store().put(seeds(second(0)), second(0)).await;
    let end = second(0) + SETTINGS.event_dedupe;
    for _ in 0..2 {
        let again = house.store().put(seeds(end), end).await;
        assert!(again.iter().all(|it| it.duplicate));
        let ids = |list: &[Appended]| list.iter().map(|it| it.id).collect::<Vec<_>>();
        assert_eq!(ids(&again), ids(&first));
        house.crash_and_reopen().await;
    }
    // Half of them have moved on: the others are remembered all the same.
    let store = house.store();
    for lent in store.lease(&look_ups(), end, 20).await.unwrap() {
        store.settle(lent.token, moved(finish()), end).await;
    }
    let again = store.put(seeds(end), end).await;
    let fresh = again.iter().filter(|it| !it.duplicate).count();
    assert_eq!(fresh, 20);
    assert!(again[20..].iter().all(|it| it.duplicate));
}
