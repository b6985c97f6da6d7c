//! What is left of a person who is forgotten: nothing but what tells a repetition.

use std::collections::BTreeMap;

use braze_relay::flow::job::{Commit, Erase, Job, Profile, Seed, Start, State};
use braze_relay::model::call::Address;
use braze_relay::model::event::{EventKind, Source};
use braze_relay::model::id::JobId;
use braze_relay::model::json::{Object, ObjectText};
use braze_relay::model::lane::{Lane, LaneKind};
use braze_relay::store::{
    Committed, DeadFilter, EventCounts, Held, Named, Operate, Person, Portion, Standing, Store,
    Timeline, Trace,
};

use super::Harness;
use super::material::*;

fn ada(store: &impl Ask) -> Person {
    of(store, ADA, None)
}

fn of(store: &impl Ask, email: &str, workspace: Option<&str>) -> Person {
    Person {
        participant: store.participant_hash(email),
        workspace: workspace.map(str::to_owned),
        named: Named::Email,
    }
}

/// Forgets slice by slice, and says what that was.
async fn forget(store: &impl Ask, person: &Person, seconds: u64) -> Held {
    let mut held = Held::default();
    let mut before = None;
    loop {
        let slice = store.forget(person.clone(), before, second(seconds)).await;
        let Portion { held: some, next } = slice.unwrap();
        held = held.and(some);
        assert!(next.is_none() || before.is_none_or(|before| next < Some(before)));
        match next {
            Some(next) => before = Some(next),
            None => return held,
        }
    }
}

async fn held(store: &impl Ask, person: &Person, seconds: u64) -> Held {
    let mut held = Held::default();
    let mut before = None;
    loop {
        let slice = store.held(person.clone(), before, second(seconds)).await;
        let Portion { held: some, next } = slice.unwrap();
        held = held.and(some);
        match next {
            Some(next) => before = Some(next),
            None => return held,
        }
    }
}

async fn search(store: &impl Ask, trace: Trace) -> BTreeMap<Person, Option<String>> {
    let mut people = BTreeMap::new();
    let mut from = None;
    loop {
        let found = store.search(trace.clone(), from).await.unwrap();
        people.extend(found.people);
        match found.next {
            Some(next) => from = Some(next),
            None => return people,
        }
    }
}

async fn events(store: &impl Ask, seconds: u64) -> EventCounts {
    store.counts(second(seconds)).await.unwrap().events
}

/// Somebody of whom there is something in every place: lent, due, behind, waiting, failed, dead, aside, with a child.
async fn everywhere(store: &impl Ask) -> Vec<JobId> {
    let now = second(0);
    let credit = |key: &str, job: Job| starting(seed(ADA, key, now), run(credits(), job));
    let mut large = credit("large", turnless(now));
    large.event.attributes = Some(attributes(9_000));
    let seeds = vec![
        seed(BO, "before", now),
        seed(ADA, "lent", now),
        seed(ADA, "behind", now),
        credit("dead", turnless(now)),
        large,
        starting(seed(BO, "with", now), run(credits(), turnless(now))),
        credit("packed", turnless(now)),
        credit("later", turnless(second(50))),
        starting(seed(ADA, "unknown", now), unknown(now)),
        starting(seed(ADA, "abroad", now), run(foreign(), fresh(now))),
    ];
    let jobs = first_jobs(&store.put(seeds, now).await);
    let dead = store.lend(&credits(), now, 1).await.remove(0);
    assert_eq!(dead.token.id, jobs[3]);
    store.settle(dead.token, moved(bury(now)), now).await;
    jobs
}

pub async fn everything_of_a_person_goes_wherever_it_stands<H: Harness>() {
    let mut house = H::open(SETTINGS).await;
    let store = house.store();
    let jobs = everywhere(&store).await;
    let lent = store.lend_all(&look_ups(), second(1)).await;
    assert_eq!(ids(&lent), [jobs[0], jobs[1]]);
    let expected = Held {
        events: 8,
        living: 6,
        lent: 1,
        dead: 2,
        addresses: 0,
    };
    assert_eq!(held(&store, &ada(&store), 1).await, expected);
    assert_eq!(forget(&store, &ada(&store), 1).await, expected);
    assert_eq!(held(&store, &ada(&store), 1).await, Held::default());

    let commit = moved(keep(tracks(), fresh(second(1))));
    let answer = store.settle(lent[1].token, commit, second(1)).await;
    assert_eq!(answer, Committed::LostLease);
    store.give_back(vec![lent[0].token]).await.unwrap();
    assert!(store.letters(DeadFilter::default()).await.is_empty());
    house.crash_and_reopen().await;
    let store = house.store();
    let counts = store.counts(second(1)).await.unwrap();
    let events = EventCounts {
        accepted: 10,
        queued: 2,
        forgotten: 8,
        ..EventCounts::default()
    };
    assert_eq!(counts.events, events);
    let waiting = counts.jobs.values().map(|states| states.waiting);
    assert_eq!(waiting.sum::<u64>(), 0);
    for (lane, left) in [
        (look_ups(), vec![jobs[0]]),
        (credits(), vec![jobs[5]]),
        (foreign(), vec![]),
    ] {
        assert_eq!(
            ids(&store.lend_all(&lane, second(99)).await),
            left,
            "{lane}"
        );
    }
}

pub async fn a_forgotten_event_that_comes_again_is_a_duplicate_and_credits_nothing<H: Harness>() {
    let mut house = H::open(SETTINGS).await;
    let store = house.store();
    let now = second(0);
    let first = store.put_one(seed(ADA, "join", now), now).await;
    let credit = spawning(finish(), vec![only_once(child(1, ADA, now))]);
    assert_eq!(
        store.settle_next(&look_ups(), credit.clone(), now).await,
        stored(1)
    );
    assert_eq!(forget(&store, &ada(&store), 1).await.living, 1);

    let again = store
        .put(vec![seed(ADA, "join", second(2))], second(2))
        .await;
    assert!(again[0].duplicate && again[0].id == first);
    assert_eq!(held(&store, &ada(&store), 2).await, Held::default());
    house.close_and_reopen().await;
    let store = house.store();
    store
        .put_one(seed(ADA, "another", second(3)), second(3))
        .await;
    assert_eq!(
        store.settle_next(&look_ups(), credit, second(3)).await,
        stored(0)
    );
    assert_eq!(events(&store, 3).await.done, 1);

    // For as long as it would have been remembered otherwise, and no longer.
    let last = second(0) + SETTINGS.event_dedupe - millisecond();
    assert!(store.is_duplicate(seed(ADA, "join", last), last).await);
    let later = second(0) + SETTINGS.credit_dedupe;
    for number in 0..50 {
        // Forgetting is done little by little, by whatever is written.
        let other = seed(BO, &format!("{number}"), later);
        store.put_one(other, later).await;
    }
    store.put_one(seed(ADA, "join", later), later).await;
    let leased = store.lend_all(&look_ups(), later).await.pop().unwrap();
    let credit = spawning(finish(), vec![only_once(child(1, ADA, later))]);
    assert_eq!(store.settle(leased.token, credit, later).await, stored(1));
}

pub async fn what_a_lent_job_learns_after_its_person_was_forgotten_is_not_kept<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let now = second(0);
    let learning = |commit: Commit| Commit {
        learnt: Some(Address::Alias(ADA.into())),
        ..commit
    };
    store.put_one(seed(ADA, "first", now), now).await;
    store
        .settle_next(&look_ups(), learning(moved(finish())), now)
        .await;
    store.put_one(seed(ADA, "second", now), now).await;
    let lent = store.lend_one(&look_ups(), now).await;
    assert!(lent.known.is_some());
    let before = store.revoked();
    let expected = Held {
        events: 1,
        living: 1,
        lent: 1,
        addresses: 1,
        ..Held::default()
    };
    assert_eq!(forget(&store, &ada(&store), 0).await, expected);
    assert!(store.revoked() > before);
    let answer = store
        .settle(lent.token, learning(moved(finish())), now)
        .await;
    assert_eq!(answer, Committed::LostLease);
    store.put_one(seed(ADA, "third", now), now).await;
    assert_eq!(store.lend_one(&look_ups(), now).await.known, None);
    assert_eq!(held(&store, &ada(&store), 0).await.addresses, 0);
}

pub async fn only_what_is_in_the_workspace_goes_when_one_is_named<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let now = second(0);
    let learnt = Some(Address::Alias(ADA.into()));
    let abroad = |key: &str| starting(seed(ADA, key, now), run(foreign(), fresh(now)));
    store.put(vec![seed(ADA, "1", now), abroad("2")], now).await;
    for lane in [look_ups(), foreign()] {
        let learnt = learnt.clone();
        let commit = Commit {
            learnt,
            ..moved(finish())
        };
        store.settle_next(&lane, commit, now).await;
    }
    let nowhere = starting(seed(ADA, "5", now), unknown(now));
    store
        .put(vec![seed(ADA, "3", now), abroad("4"), nowhere], now)
        .await;
    let here = of(&store, ADA, Some("acme"));
    let expected = Held {
        events: 1,
        living: 1,
        addresses: 1,
        ..Held::default()
    };
    assert_eq!(forget(&store, &here, 0).await, expected);
    assert!(store.lend_all(&look_ups(), now).await.is_empty());
    assert!(store.lend_one(&foreign(), now).await.known.is_some());
    assert_eq!(store.letters(DeadFilter::default()).await.len(), 1);
    let nobody = of(&store, ADA, Some("nowhere"));
    assert_eq!(forget(&store, &nobody, 0).await, Held::default());
    let rest = forget(&store, &ada(&store), 0).await;
    assert_eq!((rest.events, rest.dead, rest.addresses), (2, 1, 1));
}

pub async fn a_timeline_tells_what_has_ended_too_the_newest_first_and_of_nobody_else<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let (now, later) = (second(0), second(5));
    let done = store.put_one(seed(ADA, "done", now), now).await;
    let learnt = Commit {
        learnt: Some(Address::Alias(ADA.into())),
        ..moved(finish())
    };
    store.settle_next(&look_ups(), learnt, now).await;
    store.put_one(seed(BO, "other", now), now).await;
    let dead = starting(seed(ADA, "dead", later), unknown(later));
    let dead = store.put_one(dead, later).await;
    let queued = store.put_one(seed(ADA, "queued", later), later).await;
    let told = async |limit| {
        let hash = store.participant_hash(ADA);
        store.timeline(hash, limit, later).await.unwrap()
    };
    let whole = told(9).await;
    assert_eq!(whole.events, [queued, dead, done]);
    assert!(!whole.more);
    assert_eq!(
        whole.addresses,
        [("acme".into(), Address::Alias(ADA.into()))]
    );
    let newest = told(2).await;
    assert_eq!(newest.events, [queued, dead]);
    assert!(newest.more);
    let nobody = store.participant_hash("nobody@example.com");
    let nothing = store.timeline(nobody, 9, later).await.unwrap();
    assert_eq!(nothing, Timeline::default());
}

pub async fn what_was_done_or_discarded_stays_counted_so<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let now = second(0);
    store.put_one(seed(ADA, "done", now), now).await;
    store.settle_next(&look_ups(), moved(finish()), now).await;
    store.put_one(seed(ADA, "queued", now), now).await;
    assert_eq!(forget(&store, &ada(&store), 0).await.events, 1);
    assert_eq!(forget(&store, &ada(&store), 0).await, Held::default());
    let counted = EventCounts {
        accepted: 2,
        done: 1,
        forgotten: 1,
        ..EventCounts::default()
    };
    assert_eq!(events(&store, 0).await, counted);
    assert_eq!(store.next_due(&look_ups(), now).await.unwrap(), None);
}

pub async fn a_long_life_goes_slice_by_slice_and_nobody_else_with_it<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let now = second(0);
    let mut seeds = Vec::new();
    for number in 0..50 {
        seeds.push(seed(ADA, &format!("turn {number}"), now));
        let other = seed(BO, &format!("credit {number}"), now);
        seeds.push(starting(other, run(credits(), turnless(now))));
        let own = seed(ADA, &format!("credit {number}"), now);
        seeds.push(starting(own, run(credits(), turnless(now))));
    }
    store.put(seeds, now).await;
    store.lend(&credits(), now, 30).await;
    let gone = forget(&store, &ada(&store), 0).await;
    assert_eq!((gone.events, gone.living, gone.lent), (100, 100, 15));
    assert_eq!(store.lend_all(&credits(), now).await.len(), 50 - 15);
    assert!(store.lend_all(&look_ups(), now).await.is_empty());
    let counts = store.counts(now).await.unwrap();
    assert_eq!((counts.events.queued, counts.events.forgotten), (50, 100));
}

pub async fn an_older_one_behind_a_lent_holder_goes_too<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let now = second(0);
    let old = store.put_one(seed(ADA, "old", now), now).await.job(0);
    store.settle_next(&look_ups(), moved(bury(now)), now).await;
    store.put_one(seed(ADA, "young", now), now).await;
    let young = store.lend_one(&look_ups(), now).await;
    let start = run(look_ups(), fresh(now));
    assert_eq!(store.revive(vec![(old, start)], now).await.unwrap(), [true]);
    let gone = forget(&store, &ada(&store), 0).await;
    assert_eq!((gone.events, gone.living, gone.lent), (2, 2, 1));
    assert!(store.lend_all(&look_ups(), second(9)).await.is_empty());
    let answer = store.settle(young.token, moved(finish()), now).await;
    assert_eq!(answer, Committed::LostLease);
    // The turn is free: whoever comes again has it.
    store.put_one(seed(ADA, "anew", now), now).await;
    store.lend_one(&look_ups(), now).await;
}

pub async fn nothing_that_comes_in_the_same_moment_brings_somebody_back<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let now = second(0);
    let letter = store.put_one(seed(ADA, "letter", now), now).await.job(0);
    store.settle_next(&look_ups(), moved(bury(now)), now).await;
    let packs = (0..6).map(|number| {
        let person = if number % 2 == 0 { ADA } else { BO };
        let start = run(credits(), turnless(now));
        starting(seed(person, &format!("{number}"), now), start)
    });
    store.put(packs.collect(), now).await;
    let revived = vec![(letter, run(look_ups(), fresh(now)))];
    // Asked for together, so that they are written together.
    let (put, first, second_time, lives, bo) = tokio::join!(
        store.append(vec![seed(ADA, "in between", now)], now),
        store.forget(ada(&store), None, now),
        store.forget(ada(&store), None, now),
        store.revive(revived, now),
        store.forget(of(&store, BO, None), None, now),
    );
    assert!(!put.unwrap()[0].duplicate);
    assert_eq!(first.unwrap().held.events, 5);
    assert_eq!(second_time.unwrap().held, Held::default());
    assert_eq!(lives.unwrap(), [false]);
    assert_eq!(bo.unwrap().held.events, 3);
    for lane in [look_ups(), credits()] {
        assert!(store.lend_all(&lane, now).await.is_empty(), "{lane}");
    }
    assert_eq!(events(&store, 0).await.forgotten, 8);
}

pub async fn a_removal_under_way_is_left_alone_and_its_letter_is_not<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let now = second(0);
    let state = State::Erase(Erase::LookUp {
        rounds: 0,
        waited: false,
    });
    let mut removal = starting(seed(ADA, "r", now), run(look_ups(), Job::new(state, now)));
    removal.event.source = Source::Operator;
    removal.event.kind = EventKind::Erasure;
    store.put_one(removal, now).await;
    assert_eq!(forget(&store, &ada(&store), 0).await, Held::default());
    let lent = store.lend_one(&look_ups(), now).await;
    assert_eq!(
        store.settle(lent.token, moved(bury(now)), now).await,
        stored(0)
    );
    let gone = forget(&store, &ada(&store), 0).await;
    assert_eq!((gone.events, gone.dead), (1, 1));
    assert!(store.letters(DeadFilter::default()).await.is_empty());
}

/// A lead without an e-mail that carries an address among its answers.
fn lead(scope: &str, key: &str, external_id: Option<&str>, mail: &str, start: Start) -> Seed {
    let mut answers = Object::new();
    answers.insert("mail".into(), mail.into());
    let mut seed = starting(seed("", key, second(0)), start);
    seed.event.source = Source::Outgrow;
    seed.event.scope = scope.into();
    seed.event.phone = None;
    seed.event.external_id = external_id.map(Into::into);
    seed.event.attributes = Some(ObjectText::new(&answers));
    seed
}

fn writing(workspace: &str) -> Start {
    let lane = Lane::new(&name(workspace), LaneKind::UsersTrack);
    run(lane, Job::new(State::Outgrow, second(0)))
}

pub async fn somebody_is_found_by_phone_and_by_what_nameless_leads_say<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let now = second(0);
    let with = |email: &str, key: &str, phone: Option<&str>| {
        let mut seed = seed(email, key, now);
        seed.event.phone = phone.map(Into::into);
        seed
    };
    let mut seeds: Vec<_> = (0..700)
        .map(|number| with(&person(number), "x", None))
        .collect();
    seeds.push(with(ADA, "x", Some("+15550101")));
    seeds.push(with(BO, "x", Some("+15550101")));
    seeds.push(lead(
        "quiz",
        "nameless",
        None,
        "Ada@Example.com",
        writing("acme"),
    ));
    seeds.push(lead("quiz", "named", Some("u-1"), ADA, writing("acme")));
    let mut says = lead("quiz", "says", None, " +1 555-0101", writing("acme"));
    says.event.email = "eve@example.com".into();
    seeds.push(says);
    let appended = store.put(seeds, now).await;
    let nameless = appended[702].id;
    let mut dead = with("dov@example.com", "dead", Some("+15550101"));
    dead.start = unknown(now);
    store.put_one(dead, now).await;
    store.lend(&look_ups(), now, 300).await;
    let phone = Trace::Phone("+15550101".into());
    let all = [ADA, BO, "dov@example.com", "eve@example.com"];
    let expected = all.map(|email| (of(&store, email, None), Some(email.to_owned())));
    assert_eq!(search(&store, phone).await, expected.into());
    let email = Trace::Email(ADA.into());
    let found = search(&store, email).await;
    let named = [
        ("nameless", Named::Event(nameless)),
        ("u-1", Named::ExternalId),
    ];
    let expected = named.map(|(name, named)| {
        let person = Person {
            named,
            ..of(&store, name, Some("acme"))
        };
        (person, None)
    });
    assert_eq!(found, expected.into());
    for person in found.keys() {
        assert_eq!(forget(&store, person, 0).await.events, 1);
    }
    assert_eq!(ids(&store.lend_all(&tracks(), now).await).len(), 1);
    assert!(search(&store, Trace::Phone("+1".into())).await.is_empty());
}

pub async fn whoever_has_the_same_name_by_another_brand_or_key_is_left_alone<H: Harness>() {
    let mut house = H::open(SETTINGS).await;
    let store = house.store();
    let now = second(0);
    // Of "1042" at acme there are two leads, one of them with the address; and one that is nobody's and has this key.
    let others = "someone@example.com";
    let seeds = vec![
        lead("quiz", "a1", Some("1042"), ADA, writing("acme")),
        lead("quiz", "a2", Some("1042"), others, writing("acme")),
        lead("quiz", "1042", None, others, writing("acme")),
        lead("poll", "g1", Some("1042"), others, writing("globex")),
        lead("poll", "g2", Some("1042"), others, unknown(now)),
        // Nobody's, with one key in two contents, and a letter of a brand that nobody knows.
        lead("quiz", "1", None, ADA, writing("acme")),
        lead("poll", "1", None, others, writing("globex")),
        lead("gone", "x1", Some("1043"), ADA, unknown(now)),
        lead("lost", "x2", Some("1043"), others, unknown(now)),
    ];
    let appended = store.put(seeds, now).await;
    let learnt = |id: &str| Commit {
        learnt: Some(Address::ExternalId(id.into())),
        ..moved(finish())
    };
    for workspace in ["acme", "globex"] {
        let key = format!("done at {workspace}");
        let done = lead("quiz", &key, Some("1044"), others, writing(workspace));
        store.put_one(done, now).await;
        let lane = Lane::new(&name(workspace), LaneKind::UsersTrack);
        let lent = store.lend_all(&lane, now).await;
        let (done, others): (Vec<_>, Vec<_>) = lent
            .into_iter()
            .partition(|it| it.event.external_id.as_deref() == Some("1044"));
        store.settle(done[0].token, learnt("1044"), now).await;
        store
            .give_back(others.iter().map(|it| it.token).collect())
            .await
            .unwrap();
    }
    let mut gone = Held::default();
    for person in search(&store, Trace::Email(ADA.into())).await.keys() {
        let there = held(&store, person, 0).await;
        assert_eq!(forget(&store, person, 0).await, there);
        gone = gone.and(there);
    }
    // Whoever was behind in the turn of that name has it now.
    let behind = store.lend_one(&tracks(), now).await.token;
    assert_eq!(behind.id.event, appended[2].id);
    // What was remembered of a customer goes in their brand's workspace alone.
    let customer = Person {
        named: Named::ExternalId,
        ..of(&store, "1044", Some("acme"))
    };
    gone = gone.and(forget(&store, &customer, 0).await);
    let expected = Held {
        events: 4,
        living: 3,
        dead: 1,
        addresses: 1,
        ..Held::default()
    };
    assert_eq!(gone, expected);
    house.crash_and_reopen().await;
    let store = house.store();
    let stays = [2, 3, 4, 6, 8].map(|number| appended[number].id);
    for (number, appended) in appended.iter().enumerate() {
        let stands = store.standing(appended.id).await.unwrap();
        let ended = stands == Standing::Ended;
        assert_eq!(ended, !stays.contains(&appended.id), "lead {number}");
    }
    let elsewhere = Person {
        workspace: Some("globex".into()),
        ..customer
    };
    assert_eq!(held(&store, &elsewhere, 0).await.addresses, 1);
}

pub async fn updates_lent_along_with_a_forgotten_holder_are_lost_with_it<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let now = second(0);
    let update = |key: &str| {
        let job = Job::new(State::Progress(Profile::Create), now);
        starting(
            seed(ADA, key, now),
            Start::Run {
                lane: tracks(),
                job,
            },
        )
    };
    store
        .put(vec![update("1"), update("2"), update("3")], now)
        .await;
    let lent = store.lend_all(&tracks(), now).await;
    assert_eq!(lent.len(), 3);
    let done = store.settle(lent[0].token, moved(finish()), now).await;
    assert_eq!(done, stored(0));
    let gone = forget(&store, &ada(&store), 0).await;
    assert_eq!((gone.living, gone.lent), (2, 2));
    for lost in &lent[1..] {
        let answer = store.settle(lost.token, moved(finish()), now).await;
        assert_eq!(answer, Committed::LostLease);
    }
    let counts = comparable(store.counts(now).await.unwrap());
    assert!(
        counts.jobs.is_empty() && counts.lanes.is_empty(),
        "{counts:?}"
    );
}
