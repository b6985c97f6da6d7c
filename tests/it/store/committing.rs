//! What holds when a job is moved.

use braze_relay::flow::job::{Fate, Flow, Job, Outcome, Profile, Reason, State};
use braze_relay::model::call::Address;
use braze_relay::store::{Committed, DeadFilter, DeadLetter, EventCounts, Operate, Store};

use super::Harness;
use super::material::*;

pub async fn a_kept_job_is_as_it_was_committed<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let now = second(0);
    let id = store.put_one(seed(ADA, "join", now), now).await;
    let address = Address::Alias(ADA.into());
    let job = Job {
        state: State::Email(Profile::Update(address)),
        ..laden(second(30), 500)
    };
    let commit = moved(keep(tracks(), job.clone()));
    assert_eq!(store.settle_next(&look_ups(), commit, now).await, stored(0));

    assert!(store.lend_all(&look_ups(), second(99)).await.is_empty());
    assert!(store.lend_all(&tracks(), second(29)).await.is_empty());
    let leased = store.lend_one(&tracks(), second(30)).await;
    assert_eq!(leased.token.id, id.job(0));
    assert_eq!(leased.event, event(ADA, "join", now));
    assert_eq!(leased.job, job);
}

pub async fn a_finished_job_is_gone<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let now = second(0);
    let id = store.put_one(seed(ADA, "join", now), now).await;
    let commit = moved(Fate::Finish(Outcome::Created));
    assert_eq!(store.settle_next(&look_ups(), commit, now).await, stored(0));
    assert!(store.lend_all(&look_ups(), second(9999)).await.is_empty());
    assert_eq!(store.next_due(&look_ups(), now).await.unwrap(), None);
    assert_eq!(store.dead_get(id.job(0)).await.unwrap(), None);
    let counts = store.counts(now).await.unwrap();
    assert_eq!((counts.events.accepted, counts.events.done), (1, 1));
}

pub async fn a_buried_job_is_a_dead_letter_with_everything<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let now = second(0);
    let id = store.put_one(seed(ADA, "join", now), now).await;
    let job = laden(second(1), 700);
    let burial = burial(Reason::GaveUp, second(1));
    let commit = moved(Fate::Bury {
        job: job.clone(),
        burial: burial.clone(),
    });
    assert_eq!(store.settle_next(&look_ups(), commit, now).await, stored(0));
    assert!(store.lend_all(&look_ups(), second(9999)).await.is_empty());
    let expected = DeadLetter {
        id: id.job(0),
        workspace: Some(name("acme")),
        flow: Some(Flow::Email),
        event: event(ADA, "join", now),
        job: Some(job),
        burial,
        replay: None,
    };
    assert_eq!(store.dead_get(id.job(0)).await.unwrap(), Some(expected));
}

pub async fn a_token_is_good_for_one_commit<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let (lane, now) = (look_ups(), second(0));
    store.put(crowd(1, now), now).await;
    let token = store.lend_one(&lane, now).await.token;
    let stay = moved(keep(lane.clone(), fresh(now)));
    let twice = vec![(token, stay.clone()), (token, moved(finish()))];
    assert_eq!(
        store.commit(twice, now).await.unwrap(),
        [stored(0), Committed::LostLease]
    );
    assert_eq!(
        store.settle(token, moved(finish()), now).await,
        Committed::LostLease
    );
    // Nor when the job is lent to somebody else by now.
    let current = store.lend_one(&lane, now).await.token;
    assert_eq!(
        store.settle(token, moved(finish()), now).await,
        Committed::LostLease
    );
    assert_eq!(store.settle(current, moved(finish()), now).await, stored(0));
    assert_eq!(
        store.settle(current, moved(finish()), now).await,
        Committed::LostLease
    );
    assert_eq!(store.counts(now).await.unwrap().events.done, 1);
}

pub async fn a_commit_without_a_lease_stores_nothing_of_it<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let (lane, now) = (look_ups(), second(0));
    store.put(crowd(1, now), now).await;
    let leased = store.lend_one(&lane, now).await;
    store.give_back(vec![leased.token]).await.unwrap();
    let before = store.counts(now).await.unwrap();
    let children = vec![only_once(child(1, ADA, now)), child(2, ADA, now)];
    for fate in [finish(), bury(now), keep(tracks(), failed(now))] {
        let answer = store
            .settle(leased.token, spawning(fate, children.clone()), now)
            .await;
        assert_eq!(answer, Committed::LostLease);
    }
    let after = store.counts(now).await.unwrap();
    assert_eq!((after.events, &after.jobs), (before.events, &before.jobs));
    assert_eq!(after.done, before.done);
    assert!(store.lend_all(&credits(), now).await.is_empty());
    // What was not stored is not remembered either.
    let commit = spawning(finish(), children);
    assert_eq!(store.settle_next(&lane, commit, now).await, stored(2));
}

pub async fn every_move_of_a_call_has_its_own_answer<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let (lane, now) = (look_ups(), second(0));
    let jobs = first_jobs(&store.put(crowd(4, now), now).await);
    let leased = store.lend_all(&lane, now).await;
    store.give_back(vec![leased[1].token]).await.unwrap();
    let moves = vec![
        (
            leased[3].token,
            spawning(finish(), vec![child(1, ADA, now)]),
        ),
        (leased[1].token, moved(finish())),
        (leased[0].token, moved(bury(now))),
        (leased[2].token, moved(keep(tracks(), fresh(now)))),
    ];
    assert_eq!(
        store.commit(moves, now).await.unwrap(),
        [stored(1), Committed::LostLease, stored(0), stored(0)]
    );
    assert_eq!(ids(&store.lend_all(&lane, now).await), [jobs[1]]);
    assert_eq!(ids(&store.lend_all(&tracks(), now).await), [jobs[2]]);
    assert!(store.dead_get(jobs[0]).await.unwrap().is_some());
    assert!(store.commit(Vec::new(), now).await.unwrap().is_empty());
}

pub async fn a_child_runs_under_the_event_of_its_parent<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let now = second(0);
    let id = store.put_one(seed(ADA, "join", now), now).await;
    let slim = event(ADA, "join", now).slim();
    let mut young = child(7, ADA, second(3));
    young.event = slim.clone();
    let expected = young.job.clone();
    store
        .settle_next(&look_ups(), spawning(finish(), vec![young]), now)
        .await;
    assert!(store.lend_all(&credits(), second(2)).await.is_empty());
    let leased = store.lend_one(&credits(), second(3)).await;
    assert_eq!(leased.token.id, id.job(7));
    assert_eq!((leased.event, leased.job), (slim, expected));
}

pub async fn a_number_is_spawned_once_even_when_its_job_is_done<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let (lane, now) = (look_ups(), second(0));
    store.put(crowd(1, now), now).await;
    let stay = || keep(look_ups(), fresh(now));
    let one = child(1, ADA, now);
    let again = spawning(stay(), vec![one.clone(), one.clone(), child(0, ADA, now)]);
    assert_eq!(
        store.settle_next(&lane, again.clone(), now).await,
        stored(1)
    );
    assert_eq!(
        store.settle_next(&lane, again.clone(), now).await,
        stored(0)
    );

    store.settle_next(&credits(), moved(bury(now)), now).await;
    assert_eq!(
        store.settle_next(&lane, again.clone(), now).await,
        stored(0)
    );
    let letter = store.letters(DeadFilter::default()).await[0].id;
    let start = run(credits(), turnless(now));
    store.revive(vec![(letter, start)], now).await.unwrap();
    store.settle_next(&credits(), moved(finish()), now).await;
    let much_later = second(0) + SETTINGS.credit_dedupe * 3;
    let last = spawning(finish(), vec![one, child(2, ADA, now)]);
    assert_eq!(store.settle_next(&lane, last, much_later).await, stored(1));
}

pub async fn a_dying_job_may_leave_children<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let now = second(0);
    store.put(crowd(1, now), now).await;
    let commit = spawning(bury(now), vec![child(1, ADA, now)]);
    assert_eq!(store.settle_next(&look_ups(), commit, now).await, stored(1));
    let events = store.counts(now).await.unwrap().events;
    assert_eq!(
        (events.queued, events.dead),
        (1, 0),
        "one of its jobs lives"
    );
    store.settle_next(&credits(), moved(finish()), now).await;
    let events = store.counts(now).await.unwrap().events;
    assert_eq!((events.queued, events.dead), (0, 1));
}

pub async fn once_is_kept_per_participant_whatever_the_event<H: Harness>() {
    let mut house = H::open(SETTINGS).await;
    let (lane, now) = (look_ups(), second(0));
    house.store().put(crowd(5, now), now).await;
    let leased = house.store().lend_all(&lane, now).await;
    let mut other_once = only_once(child(1, ADA, now));
    other_once.once = Some("acme/vip-list/joined".into());
    let moves = vec![
        (
            leased[0].token,
            spawning(
                finish(),
                vec![only_once(child(1, ADA, now)), only_once(child(2, ADA, now))],
            ),
        ),
        (
            leased[1].token,
            spawning(finish(), vec![only_once(child(1, ADA, now))]),
        ),
        (
            leased[2].token,
            spawning(finish(), vec![only_once(child(1, BO, now))]),
        ),
        (
            leased[3].token,
            spawning(finish(), vec![other_once, child(3, ADA, now)]),
        ),
    ];
    assert_eq!(
        house.store().commit(moves, now).await.unwrap(),
        [stored(1), stored(0), stored(1), stored(2)]
    );
    house.crash_and_reopen().await;
    let commit = spawning(finish(), vec![only_once(child(1, ADA, now))]);
    assert_eq!(
        house.store().settle_next(&lane, commit, now).await,
        stored(0)
    );
    assert_eq!(house.store().lend_all(&credits(), now).await.len(), 4);
}

pub async fn once_is_forgotten_when_its_time_is_over_and_its_job_is_done<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let (lane, now) = (look_ups(), second(0));
    let spawned_at = second(50);
    store.put(crowd(3, now), now).await;
    let leased = store.lend_all(&lane, now).await;
    // Its day counts from the spawning, not from the event.
    let commit = || spawning(finish(), vec![only_once(child(1, ADA, now))]);
    assert_eq!(
        store.settle(leased[0].token, commit(), spawned_at).await,
        stored(1)
    );
    store
        .settle_next(&credits(), moved(finish()), spawned_at)
        .await;

    let end = spawned_at + SETTINGS.credit_dedupe;
    assert_eq!(
        store
            .settle(leased[1].token, commit(), end - millisecond())
            .await,
        stored(0)
    );
    assert_eq!(
        store.settle(leased[2].token, commit(), end).await,
        stored(1)
    );
}

pub async fn once_is_remembered_while_its_job_lives_or_is_dead<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let (lane, now) = (look_ups(), second(0));
    let late = second(0) + SETTINGS.credit_dedupe * 3;
    store.put(crowd(4, now), now).await;
    let leased = store.lend_all(&lane, now).await;
    let commit = || spawning(finish(), vec![only_once(child(1, ADA, now))]);
    assert_eq!(
        store.settle(leased[0].token, commit(), now).await,
        stored(1)
    );
    assert_eq!(
        store.settle(leased[1].token, commit(), late).await,
        stored(0)
    );
    store.settle_next(&credits(), moved(bury(late)), late).await;
    assert_eq!(
        store.settle(leased[2].token, commit(), late).await,
        stored(0)
    );
    let letter = store.letters(DeadFilter::default()).await[0].id;
    let start = run(credits(), fresh(late));
    store.revive(vec![(letter, start)], late).await.unwrap();
    store.settle_next(&credits(), moved(finish()), late).await;
    assert_eq!(
        store.settle(leased[3].token, commit(), late).await,
        stored(1)
    );
}

pub async fn an_event_is_done_when_all_its_jobs_are<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let now = second(0);
    let queued = EventCounts {
        accepted: 1,
        queued: 1,
        ..EventCounts::default()
    };
    let dead = EventCounts {
        dead: 1,
        queued: 0,
        ..queued
    };
    let done = EventCounts {
        done: 1,
        queued: 0,
        ..queued
    };
    let events = async || store.counts(now).await.unwrap().events;
    store.put(crowd(1, now), now).await;
    assert_eq!(events().await, queued);
    let commit = spawning(finish(), vec![child(1, ADA, now), child(2, ADA, now)]);
    store.settle_next(&look_ups(), commit, now).await;
    assert_eq!(events().await, queued, "its children live");
    let leased = store.lend_all(&credits(), now).await;
    store.settle(leased[0].token, moved(bury(now)), now).await;
    assert_eq!(events().await, queued, "one child lives");
    store.settle(leased[1].token, moved(finish()), now).await;
    assert_eq!(events().await, dead);
    let start = run(credits(), fresh(now));
    let letters = vec![(leased[0].token.id, start)];
    store.revive(letters, now).await.unwrap();
    assert_eq!(events().await, queued);
    store.settle_next(&credits(), moved(finish()), now).await;
    assert_eq!(events().await, done);
}

pub async fn what_a_job_held_once_is_free_for_its_own_child_when_it_ends<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    store.put_one(seed(ADA, "1", second(0)), second(0)).await;
    let held = |number| only_once(child(number, ADA, second(0)));
    store
        .settle_next(&look_ups(), spawning(finish(), vec![held(1)]), second(0))
        .await;
    let end = second(0) + SETTINGS.credit_dedupe;
    let answer = store
        .settle_next(&credits(), spawning(finish(), vec![held(2)]), end)
        .await;
    assert_eq!(answer, stored(1));
}
