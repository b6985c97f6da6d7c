//! What is counted, and that it is exact at every moment.

use braze_relay::flow::job::{Fate, Flow, Outcome, Reason};
use braze_relay::store::{Group, LaneCounts, Operate, States, Store};

use super::Harness;
use super::material::*;

fn email_jobs() -> Group {
    group("acme", SCOPE, Some(Flow::Email))
}

fn credit_jobs() -> Group {
    group("acme", SCOPE, Some(Flow::Credit))
}

fn states(waiting: u64, ready: u64, in_flight: u64, dead: u64) -> States {
    States {
        waiting,
        ready,
        in_flight,
        dead,
    }
}

pub async fn a_job_is_waiting_then_ready_then_in_flight<H: Harness>() {
    let mut house = H::open(SETTINGS).await;
    let store = house.store();
    let seed = starting(
        seed(ADA, "join", second(0)),
        run(look_ups(), fresh(second(10))),
    );
    let id = store.put_one(seed, second(0)).await.job(0);
    let jobs = async |store: &H::S, now| {
        store
            .counts(now)
            .await
            .unwrap()
            .jobs
            .get(&email_jobs())
            .copied()
    };

    let just_before = second(10) - millisecond();
    assert_eq!(jobs(&store, just_before).await, Some(states(1, 0, 0, 0)));
    assert_eq!(jobs(&store, second(10)).await, Some(states(0, 1, 0, 0)));
    let token = store.lend_one(&look_ups(), second(10)).await.token;
    assert_eq!(jobs(&store, second(10)).await, Some(states(0, 0, 1, 0)));
    store.begin(vec![token]).await.unwrap();
    assert_eq!(jobs(&store, second(10)).await, Some(states(0, 0, 1, 0)));
    store.give_back(vec![token]).await.unwrap();
    assert_eq!(jobs(&store, second(10)).await, Some(states(0, 1, 0, 0)));

    let later = moved(keep(look_ups(), failed(second(20))));
    store.settle_next(&look_ups(), later, second(10)).await;
    assert_eq!(jobs(&store, second(10)).await, Some(states(1, 0, 0, 0)));
    store.lend_one(&look_ups(), second(20)).await;
    house.crash_and_reopen().await;
    let store = house.store();
    assert_eq!(jobs(&store, second(20)).await, Some(states(0, 1, 0, 0)));

    store
        .settle_next(&look_ups(), moved(bury(second(20))), second(20))
        .await;
    assert_eq!(jobs(&store, second(20)).await, Some(states(0, 0, 0, 1)));
    let start = run(look_ups(), fresh(second(30)));
    store.revive(vec![(id, start)], second(20)).await.unwrap();
    assert_eq!(jobs(&store, second(20)).await, Some(states(1, 0, 0, 0)));
    store
        .settle_next(&look_ups(), moved(finish()), second(30))
        .await;
    let left = jobs(&store, second(30)).await.unwrap_or_default();
    assert_eq!(left, States::default());
}

pub async fn a_lane_counts_what_is_due_lent_or_not<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let mut seeds = Vec::new();
    for (number, due) in [30, 10, 20, 40].into_iter().enumerate() {
        let make = if number % 2 == 0 { fresh } else { failed };
        let start = run(look_ups(), make(second(due)));
        seeds.push(starting(seed(&person(number), "1", second(0)), start));
    }
    seeds.push(starting(
        seed(BO, "x", second(0)),
        run(foreign(), fresh(second(5))),
    ));
    store.put(seeds, second(0)).await;
    let lane = async |now| {
        store
            .counts(now)
            .await
            .unwrap()
            .lanes
            .get(&look_ups())
            .copied()
            .unwrap()
    };
    let expect = |depth, waiting, oldest: Option<u64>| LaneCounts {
        depth,
        waiting,
        oldest_due: oldest.map(second),
    };
    assert_eq!(lane(second(0)).await, expect(0, 4, None));
    assert_eq!(lane(second(10)).await, expect(1, 3, Some(10)));
    assert_eq!(lane(second(35)).await, expect(3, 1, Some(10)));
    let leased = store.lend_all(&look_ups(), second(35)).await;
    assert_eq!(
        lane(second(35)).await,
        expect(3, 1, Some(10)),
        "lent ones count"
    );
    let oldest = leased
        .iter()
        .find(|leased| leased.job.due == second(10))
        .unwrap();
    store
        .settle(oldest.token, moved(finish()), second(35))
        .await;
    assert_eq!(lane(second(35)).await, expect(2, 1, Some(20)));
    let now = second(35);
    let counts = store.counts(now).await.unwrap();
    let there = counts.lanes.get(&foreign()).copied();
    assert_eq!(there, Some(expect(1, 0, Some(5))));
    let elsewhere = group("borealis", SCOPE, Some(Flow::Email));
    let due = [((look_ups(), email_jobs()), 2), ((foreign(), elsewhere), 1)];
    assert_eq!(counts.due, due.into_iter().collect());
    let later = [((look_ups(), email_jobs()), 1)];
    assert_eq!(counts.later, later.into_iter().collect());
}

pub async fn an_unknown_workspace_is_counted_as_none<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let now = second(0);
    let buried = starting(seed(ADA, "join", now), unknown(now));
    let id = store.put_one(buried, now).await.job(0);
    let nobody = group("none", "none", None);
    let counts = store.counts(now).await.unwrap();
    assert_eq!(counts.jobs.get(&nobody), Some(&states(0, 0, 0, 1)));
    let reason = Reason::UnknownActivation;
    assert_eq!(counts.dead.get(&(nobody.clone(), reason)), Some(&1));

    let start = run(look_ups(), fresh(now));
    store.revive(vec![(id, start)], now).await.unwrap();
    let counts = store.counts(now).await.unwrap();
    let left = counts.jobs.get(&nobody).copied().unwrap_or_default();
    assert_eq!(left, States::default());
    assert_eq!(counts.jobs.get(&email_jobs()), Some(&states(0, 1, 0, 0)));
    assert_eq!(counts.dead.values().sum::<u64>(), 0);
}

pub async fn what_is_done_is_counted_by_group_and_outcome<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let now = second(0);
    let mut seeds = crowd(4, now);
    seeds[3].event.scope = "vip-list".into();
    store.put(seeds, now).await;
    let outcomes = [
        Outcome::Created,
        Outcome::Found,
        Outcome::Found,
        Outcome::Found,
    ];
    let leased = store.lend_all(&look_ups(), now).await;
    for (leased, outcome) in leased.iter().zip(outcomes) {
        let commit = spawning(Fate::Finish(outcome), vec![child(1, ADA, now)]);
        store.settle(leased.token, commit, now).await;
    }
    let credit = store.lend_all(&credits(), now).await[0].token;
    let commit = moved(Fate::Finish(Outcome::Credited));
    store.settle(credit, commit, now).await;

    let done = store.counts(now).await.unwrap().done;
    let vip = group("acme", "vip-list", Some(Flow::Email));
    let expected = [
        ((email_jobs(), Outcome::Created), 1),
        ((email_jobs(), Outcome::Found), 2),
        ((vip, Outcome::Found), 1),
        ((credit_jobs(), Outcome::Credited), 1),
    ];
    assert_eq!(done, expected.into_iter().collect());
}

pub async fn dead_letters_are_counted_by_group_and_reason<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let now = second(0);
    store.put(crowd(3, now), now).await;
    let reasons = [Reason::GaveUp, Reason::Rejected, Reason::Rejected];
    let leased = store.lend_all(&look_ups(), now).await;
    for (leased, reason) in leased.iter().zip(reasons) {
        let fate = Fate::Bury {
            job: failed(now),
            burial: burial(reason, now),
        };
        store.settle(leased.token, moved(fate), now).await;
    }
    let dead = store.counts(now).await.unwrap().dead;
    assert_eq!(dead.get(&(email_jobs(), Reason::GaveUp)), Some(&1));
    assert_eq!(dead.get(&(email_jobs(), Reason::Rejected)), Some(&2));
    let start = run(look_ups(), fresh(now));
    let letters = vec![(leased[1].token.id, start)];
    store.revive(letters, now).await.unwrap();
    let dead = store.counts(now).await.unwrap().dead;
    assert_eq!(dead.get(&(email_jobs(), Reason::Rejected)), Some(&1));
}

pub async fn a_commit_with_children_moves_the_counts_in_one_step<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let now = second(0);
    store.put(crowd(2, now), now).await;
    let leased = store.lend_all(&look_ups(), now).await;
    let children = vec![child(1, ADA, now), child(2, ADA, second(9))];
    let moves = leased
        .iter()
        .map(|leased| (leased.token, spawning(finish(), children.clone())))
        .collect();
    store.commit(moves, now).await.unwrap();
    let counts = store.counts(now).await.unwrap();
    assert_eq!(counts.jobs.get(&credit_jobs()), Some(&states(2, 2, 0, 0)));
    let parents = counts.jobs.get(&email_jobs()).copied().unwrap_or_default();
    assert_eq!(parents, States::default());
    assert_eq!((counts.events.queued, counts.events.done), (2, 0));
}

pub async fn commit_numbers_grow_with_every_write<H: Harness>() {
    let mut house = H::open(SETTINGS).await;
    let store = house.store();
    let now = second(0);
    let mut last = store.counts(now).await.unwrap().commit;
    let mut grown = async |store: &H::S, what: &str| {
        let number = store.counts(now).await.unwrap().commit;
        assert!(number > last, "{what} went without a commit");
        last = number;
    };
    store.put(crowd(1, now), now).await;
    grown(&store, "append").await;
    let leased = store.lend_one(&look_ups(), now).await;
    store.begin(vec![leased.token]).await.unwrap();
    grown(&store, "begin").await;
    store.settle(leased.token, moved(bury(now)), now).await;
    grown(&store, "commit").await;
    let start = run(look_ups(), fresh(now));
    let letters = vec![(leased.token.id, start)];
    store.revive(letters, now).await.unwrap();
    grown(&store, "revive").await;
    house.close_and_reopen().await;
    let store = house.store();
    store.settle_next(&look_ups(), moved(finish()), now).await;
    grown(&store, "a commit after opening again").await;
}
