//! Dead letters that are discarded, and what becomes of those that a replay lets live.

use braze_relay::flow::job::{
    Class, Commit, Fate, Flow, Job, Outcome, Profile, Reason, Start, State,
};
use braze_relay::model::id::JobId;
use braze_relay::store::{
    DeadFilter, DeadLetter, Note, Operate, Paper, Papers, REPLAYS_MAX, ReplayCounts, Shelf, Store,
};

use super::Harness;
use super::material::*;

/// Dead letters of so many people, who died of being rejected at second 0.
async fn dead(store: &impl Ask, count: usize) -> Vec<JobId> {
    let now = second(0);
    let jobs = first_jobs(&store.put(crowd(count, now), now).await);
    for leased in store.lend_all(&look_ups(), now).await {
        store.settle(leased.token, moved(bury(now)), now).await;
    }
    jobs
}

fn again(ids: &[JobId]) -> Vec<(JobId, Start)> {
    let start = |id: &JobId| (*id, run(look_ups(), fresh(second(1))));
    ids.iter().map(start).collect()
}

async fn counts(store: &impl Operate, replay: u32) -> ReplayCounts {
    let counts = store.replay_counts().await.unwrap();
    counts.get(&replay).copied().unwrap_or_default()
}

fn told(revived: u64, spawned: u64, delivered: u64, died: u64) -> ReplayCounts {
    ReplayCounts {
        revived,
        spawned,
        delivered,
        died,
    }
}

pub async fn a_discarded_letter_is_gone_and_counted_and_its_key_remembered_no_longer_than_done<
    H: Harness,
>() {
    let mut house = H::open(SETTINGS).await;
    let store = house.store();
    let jobs = dead(&store, 3).await;
    let living = store.put_one(seed(ADA, "x", second(0)), second(0)).await;
    let asked = vec![jobs[1], living.job(0), jobs[1], JobId::default(), jobs[2]];
    assert_eq!(
        store.discard(asked, second(1)).await.unwrap(),
        [true, false, false, false, true]
    );
    assert!(
        store
            .discard(Vec::new(), second(1))
            .await
            .unwrap()
            .is_empty()
    );
    let start = run(look_ups(), fresh(second(1)));
    let revived = store.revive(vec![(jobs[1], start)], second(1)).await;
    assert_eq!(revived.unwrap(), [false]);
    house.crash_and_reopen().await;
    let store = house.store();
    let letters = store.letters(DeadFilter::default()).await;
    let left: Vec<JobId> = letters.iter().map(|letter| letter.id).collect();
    assert_eq!(left, jobs[..1]);
    let counts = store.counts(second(1)).await.unwrap();
    let events = counts.events;
    assert_eq!(
        (
            events.accepted,
            events.queued,
            events.dead,
            events.discarded
        ),
        (4, 1, 1, 2)
    );
    assert_eq!(counts.dead.values().sum::<u64>(), 1);
    // Braze may still repeat it.
    let repeated = seed(&person(1), "join", second(2));
    assert!(store.is_duplicate(repeated, second(2)).await);
    let late = second(1) + SETTINGS.event_dedupe + SETTINGS.done_retention;
    let repeated = seed(&person(1), "join", late);
    assert!(!store.is_duplicate(repeated, late).await);
}

pub async fn a_replay_counts_what_lives_what_is_spawned_what_is_delivered_and_what_dies<
    H: Harness,
>() {
    let mut house = H::open(SETTINGS).await;
    let store = house.store();
    let jobs = dead(&store, 5).await;
    let mut letters = again(&jobs[..4]);
    letters.push((JobId::default(), run(look_ups(), fresh(second(1)))));
    letters.push((jobs[0], run(look_ups(), fresh(second(1)))));
    let revived = store.revive_for(Some(7), letters, second(1)).await.unwrap();
    assert_eq!(revived, [true, true, true, true, false, false]);
    assert_eq!(
        store.revive(again(&jobs[4..]), second(1)).await.unwrap(),
        [true]
    );
    assert_eq!(counts(&store, 7).await, told(4, 0, 0, 0));
    assert_eq!(counts(&store, 7).await.living(), 4);
    let mut lent = store.lend_all(&look_ups(), second(1)).await;
    // The one that belongs to nobody is fresh, and goes first.
    lent.rotate_left(1);
    assert_eq!(ids(&lent), jobs);
    // One goes on elsewhere, one is done and credits, one dies; one that belongs to nobody is done.
    for (leased, commit) in lent.iter().zip([
        moved(keep(tracks(), fresh(second(1)))),
        spawning(finish(), vec![child(1, &person(1), second(1))]),
        moved(bury(second(2))),
        Commit::new(Fate::Finish(Outcome::Found), Vec::new()),
        moved(finish()),
    ]) {
        store.settle(leased.token, commit, second(2)).await;
    }
    assert_eq!(counts(&store, 7).await, told(4, 1, 2, 1));

    house.crash_and_reopen().await;
    let store = house.store();
    assert_eq!(counts(&store, 7).await, told(4, 1, 2, 1));
    // The child is of the replay, too; and so is what was kept, over the restart.
    let credit = store.lend_one(&credits(), second(2)).await;
    store
        .settle(credit.token, moved(bury(second(3))), second(3))
        .await;
    let kept = store.lend_one(&tracks(), second(2)).await;
    store.settle(kept.token, moved(finish()), second(3)).await;
    assert_eq!(counts(&store, 7).await, told(4, 1, 3, 2));
    assert_eq!(counts(&store, 7).await.living(), 0);

    let of_seven: Vec<DeadLetter> = store.letters(DeadFilter::default()).await;
    assert!(of_seven.iter().all(|letter| letter.replay == Some(7)));
    let not_of = |replay| DeadFilter {
        not_of: Some(replay),
        ..DeadFilter::default()
    };
    assert!(store.letters(not_of(7)).await.is_empty());
    assert_eq!(store.letters(not_of(8)).await.len(), 2);
    // Whoever lets it live again owns it from then on.
    store
        .revive_for(Some(8), again(&jobs[2..3]), second(4))
        .await
        .unwrap();
    store
        .settle_next(&look_ups(), moved(finish()), second(4))
        .await;
    assert_eq!(counts(&store, 7).await, told(4, 1, 3, 2));
    assert_eq!(counts(&store, 8).await, told(1, 0, 1, 0));
}

pub async fn a_job_buried_with_its_creation_has_died_in_its_replay<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let now = second(0);
    let creation = store.put_one(seed(ADA, "join", now), now).await.job(0);
    let progress = || Job::new(State::Progress(Profile::LookUp), now);
    let update = starting(seed(ADA, "level", now), run(look_ups(), progress()));
    let update = store.put_one(update, now).await.job(0);
    let holder = store.lend_one(&look_ups(), now).await;
    assert_eq!(holder.token.id, creation);
    let dies = Commit {
        bury_successors: Some(burial(Reason::NoProfile, now)),
        ..moved(bury(now))
    };
    store.settle(holder.token, dies.clone(), now).await;
    let letters = vec![
        (creation, run(look_ups(), fresh(now))),
        (update, run(look_ups(), progress())),
    ];
    store.revive_for(Some(3), letters, now).await.unwrap();
    assert_eq!(counts(&store, 3).await, told(2, 0, 0, 0));
    let holder = store.lend_one(&look_ups(), now).await;
    store.settle(holder.token, dies, now).await;
    assert_eq!(counts(&store, 3).await, told(2, 0, 0, 2));
}

pub async fn what_belongs_to_a_replay_never_goes_before_fresh_work<H: Harness>() {
    let mut house = H::open(SETTINGS).await;
    let store = house.store();
    let jobs = dead(&store, 2).await;
    let onward = |number: usize| {
        let spawn = vec![child(1, &person(number), second(1))];
        spawning(keep(tracks(), fresh(second(1))), spawn)
    };
    store
        .revive_for(Some(7), again(&jobs[..1]), second(1))
        .await
        .unwrap();
    store.settle_next(&look_ups(), onward(0), second(1)).await;
    let young = [(ADA, tracks()), (BO, credits())].map(|(email, lane)| {
        let start = run(lane, fresh(second(1)));
        starting(seed(email, "young", second(1)), start)
    });
    let young = store.put(young.to_vec(), second(1)).await;
    // Without a replay, what failed before is fresh again once it succeeds.
    store.revive(again(&jobs[1..]), second(1)).await.unwrap();
    store.settle_next(&look_ups(), onward(1), second(1)).await;
    house.crash_and_reopen().await;
    let store = house.store();
    for (lane, young, number) in [(tracks(), &young[0], 0), (credits(), &young[1], 1)] {
        let lent = store.lend_all(&lane, second(2)).await;
        let [replayed, by_itself] = [0, 1].map(|job| jobs[job].event.job(number));
        assert_eq!(ids(&lent), [by_itself, young.id.job(0), replayed], "{lane}");
        let are_fresh: Vec<bool> = lent.iter().map(|leased| leased.job.fresh).collect();
        assert_eq!(are_fresh, [true, true, false], "{lane}");
    }
}

pub async fn what_is_noted_of_letters_is_written_with_what_becomes_of_them<H: Harness>() {
    let mut house = H::open(SETTINGS).await;
    let store = house.store();
    let jobs = dead(&store, 3).await;
    let old = vec![Paper::new("old", "").unwrap()];
    store.put_papers(old, Vec::new()).await.unwrap();
    let note = |name: &'static str| -> Note {
        Box::new(move |are_letters| Papers {
            remove: vec!["old".into()],
            put: vec![Paper::new(name, format!("{are_letters:?}")).unwrap()],
        })
    };
    let commit = async || store.counts(second(1)).await.unwrap().commit;
    let before = commit().await;
    let asked = vec![jobs[0], jobs[0], JobId::default()];
    let gone = store.discard_noting(asked, note("1"), second(1)).await;
    assert_eq!(gone.unwrap(), [true, false, false]);
    assert_eq!(commit().await, before + 1, "in one write");
    let asked = again(&[jobs[0], jobs[1], jobs[1]]);
    let live = store.revive_noting(None, asked, note("2"), second(1)).await;
    assert_eq!(live.unwrap(), [false, true, false]);
    assert_eq!(commit().await, before + 2, "in one write");
    let none = store.discard_noting(Vec::new(), note("3"), second(1)).await;
    assert!(none.unwrap().is_empty());
    house.crash_and_reopen().await;
    let papers = house.store().papers(Shelf::default(), 9).await.unwrap();
    let told: Vec<_> = papers.iter().map(|it| (it.name(), it.text())).collect();
    let expected = [
        ("1", "[true, false, false]"),
        ("2", "[false, true, false]"),
        ("3", "[]"),
    ];
    assert_eq!(told, expected);
}

pub async fn the_counts_of_the_last_replays_are_kept<H: Harness>() {
    let mut house = H::open(SETTINGS).await;
    let store = house.store();
    let job = dead(&store, 1).await[0];
    let round = async |store: &H::S, replay| {
        store
            .revive_for(Some(replay), again(&[job]), second(1))
            .await
            .unwrap();
        store
            .settle_next(&look_ups(), moved(bury(second(1))), second(1))
            .await;
    };
    round(&store, 1).await;
    round(&store, REPLAYS_MAX).await;
    assert_eq!(counts(&store, 1).await, told(1, 0, 0, 1));
    round(&store, REPLAYS_MAX + 1).await;
    house.crash_and_reopen().await;
    let kept = house.store().replay_counts().await.unwrap();
    assert_eq!(
        kept.into_keys().collect::<Vec<_>>(),
        [REPLAYS_MAX, REPLAYS_MAX + 1]
    );
    round(&house.store(), 1).await;
    assert_eq!(house.store().replay_counts().await.unwrap().len(), 2);
}

pub async fn letters_are_filtered_by_class_time_participant_and_words<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let mut seeds = Vec::new();
    for (number, email, class, text, at) in [
        (0, "ada@example.com", Class::Rejected, "Invalid Zählung", 10),
        (1, "bo@example.com", Class::Denied, "no key", 20),
        (2, "ada@example.com", Class::Transient, "timed out", 30),
    ] {
        let mut burial = burial(Reason::Rejected, second(at));
        burial.class = class;
        burial.answer.text = text.into();
        let start = Start::Bury {
            workspace: Some(name("acme")),
            flow: Some(Flow::Email),
            burial,
        };
        let seed = seed(email, &number.to_string(), second(0));
        seeds.push(starting(seed, start));
    }
    let jobs = first_jobs(&store.put(seeds, second(0)).await);
    let all = DeadFilter::default;
    let ada = Some(store.participant_hash("ada@example.com"));
    let words = |text: &str| DeadFilter {
        text: Some(text.into()),
        ..all()
    };
    let table: [(DeadFilter, &[usize]); 12] = [
        (
            DeadFilter {
                class: Some(Class::Denied),
                ..all()
            },
            &[1],
        ),
        (
            DeadFilter {
                since: Some(second(20)),
                ..all()
            },
            &[1, 2],
        ),
        (
            DeadFilter {
                until: Some(second(20)),
                ..all()
            },
            &[0, 1],
        ),
        (
            DeadFilter {
                since: Some(second(11)),
                until: Some(second(29)),
                ..all()
            },
            &[1],
        ),
        (
            DeadFilter {
                participant: ada.clone(),
                ..all()
            },
            &[0, 2],
        ),
        (
            DeadFilter {
                participant: Some("ada@example.com".into()),
                ..all()
            },
            &[],
        ),
        (words("ZÄHL"), &[0]),
        (words("400"), &[0, 1, 2]),
        (words("denied"), &[1]),
        (words("rejected"), &[0, 1, 2]),
        (words("ada"), &[]),
        (
            DeadFilter {
                participant: ada,
                text: Some("out".into()),
                ..all()
            },
            &[2],
        ),
    ];
    for (filter, expected) in table {
        let expected: Vec<JobId> = expected.iter().map(|index| jobs[*index]).collect();
        let letters = store.letters_by(filter.clone(), 2).await;
        let found: Vec<JobId> = letters.iter().map(|letter| letter.id).collect();
        assert_eq!(found, expected, "{filter:?}");
    }
}
