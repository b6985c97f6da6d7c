//! What operators may rely on when they ask for jobs.

use std::time::Duration;

use braze_relay::flow::job::{Class, Flow, JobState, Reason};
use braze_relay::model::id::JobId;
use braze_relay::store::{JobFilter, Operate, Settings, Store, StoredJob};

use super::Harness;
use super::material::*;
use super::on_sled::SledHarness;

fn all() -> JobFilter {
    JobFilter::default()
}

fn job_ids(jobs: &[StoredJob]) -> Vec<JobId> {
    jobs.iter().map(|job| job.id).collect()
}

/// Jobs of different people in every place there is: accepted together and alone, lent, moved, due later, dead, of two
/// workspaces. In order of their ids.
async fn everywhere(store: &impl Ask) -> Vec<JobId> {
    let now = second(0);
    let mut jobs = first_jobs(&store.put(crowd(6, now), now).await);
    let leased = store.lend(&look_ups(), now, 4).await;
    let later = keep(tracks(), fresh(second(500)));
    store.settle(leased[0].token, moved(later), now).await;
    store.settle(leased[1].token, moved(bury(now)), now).await;
    let child = child(1, &person(2), now);
    let spawned = spawning(keep(tracks(), fresh(now)), vec![child]);
    store.settle(leased[2].token, spawned, now).await;
    jobs.insert(3, jobs[2].event.job(1));

    let alone = |number: usize| seed(&person(number), "join", now);
    jobs.push(store.put_one(alone(6), now).await.job(0));
    let elsewhere = starting(alone(7), run(foreign(), fresh(now)));
    let dead = starting(alone(8), unknown(now));
    let together = vec![elsewhere, alone(9), dead, alone(10)];
    jobs.extend(first_jobs(&store.put(together, now).await));
    jobs
}

pub async fn jobs_are_listed_page_by_page_wherever_they_stand<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    assert!(store.jobs(all(), second(0), 10).await.is_empty());
    let jobs = everywhere(&store).await;
    for limit in [1, 2, 3, 5, 11, 12, 13, 100] {
        let listed = store.jobs(all(), second(0), limit).await;
        assert_eq!(job_ids(&listed), jobs, "in pages of {limit}");
    }
    for (number, id) in jobs.iter().enumerate() {
        let page = store.job_list(all(), Some(*id), 100, second(0)).await;
        let page = page.unwrap();
        assert_eq!(job_ids(&page.items), jobs[number + 1..], "behind {id}");
        assert_eq!(page.next, None);
        let got = store.job_get(*id, second(0)).await.unwrap().unwrap();
        let listed = store.jobs(all(), second(0), 100).await;
        assert_eq!(got, listed[number]);
    }
    for id in [jobs[0].event.job(9), JobId::default()] {
        assert_eq!(store.job_get(id, second(0)).await.unwrap(), None);
    }
}

pub async fn jobs_are_told_in_the_state_they_are_in<H: Harness>() {
    use JobState::{Dead, InFlight, Ready, Waiting};
    let store = H::open(SETTINGS).await.store();
    everywhere(&store).await;
    let states =
        |jobs: Vec<StoredJob>| -> Vec<JobState> { jobs.into_iter().map(|job| job.state).collect() };
    let now = states(store.jobs(all(), second(0), 100).await);
    let mut expected = vec![
        Waiting, Dead, Ready, Ready, InFlight, Ready, Ready, Ready, Ready, Ready, Dead, Ready,
    ];
    assert_eq!(now, expected);
    expected[0] = Ready;
    let later = states(store.jobs(all(), second(500), 100).await);
    assert_eq!(later, expected, "its time has come");

    // Behind its participant's turn it waits, however long it is due; then it has the turn.
    let (first, second_one) = (seed(ADA, "1", second(1)), seed(ADA, "2", second(1)));
    let ids = first_jobs(&store.put(vec![first, second_one], second(1)).await);
    let behind = store.job_get(ids[1], second(9)).await.unwrap().unwrap();
    assert_eq!((behind.state, behind.is_behind), (Waiting, true));
    let leased = store.lend_all(&look_ups(), second(1)).await;
    let holder = leased.iter().find(|leased| leased.token.id == ids[0]);
    let mut end = moved(finish());
    end.gap = Duration::from_secs(7);
    store.settle(holder.unwrap().token, end, second(2)).await;
    let next = store.job_get(ids[1], second(2)).await.unwrap().unwrap();
    assert_eq!((next.state, next.is_behind), (Waiting, false));
    assert_eq!(next.due, Some(second(9)));
    let next = store.job_get(ids[1], second(9)).await.unwrap().unwrap();
    assert_eq!(next.state, Ready);
}

pub async fn jobs_are_filtered_by_what_they_are<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let jobs = everywhere(&store).await;
    let late = second(50);
    let mut other = seed(ADA, "late", late);
    other.event.scope = "autumn".into();
    let autumn = store.put_one(other, late).await.job(0);
    let table: [(&str, JobFilter, Vec<JobId>); 12] = [
        ("in all", all(), [jobs.clone(), vec![autumn]].concat()),
        (
            "of a workspace",
            JobFilter {
                workspace: Some("borealis".into()),
                ..all()
            },
            vec![jobs[8]],
        ),
        (
            "of no workspace",
            JobFilter {
                workspace: Some("acm".into()),
                ..all()
            },
            vec![],
        ),
        (
            "of an activation",
            JobFilter {
                activation: Some("autumn".into()),
                ..all()
            },
            vec![autumn],
        ),
        (
            "of a flow",
            JobFilter {
                flow: Some(Flow::Credit),
                ..all()
            },
            vec![jobs[3]],
        ),
        (
            "dead",
            JobFilter {
                state: Some(JobState::Dead),
                ..all()
            },
            vec![jobs[1], jobs[10]],
        ),
        (
            "waiting",
            JobFilter {
                state: Some(JobState::Waiting),
                ..all()
            },
            vec![jobs[0]],
        ),
        (
            "in flight",
            JobFilter {
                state: Some(JobState::InFlight),
                ..all()
            },
            vec![jobs[4]],
        ),
        (
            "for a reason",
            JobFilter {
                reason: Some(Reason::Rejected),
                ..all()
            },
            vec![jobs[1]],
        ),
        (
            "of a class, living",
            JobFilter {
                class: Some(Class::Rejected),
                state: Some(JobState::Ready),
                ..all()
            },
            vec![],
        ),
        (
            "since",
            JobFilter {
                since: Some(second(1)),
                ..all()
            },
            vec![autumn],
        ),
        (
            "until",
            JobFilter {
                until: Some(second(49)),
                ..all()
            },
            jobs.clone(),
        ),
    ];
    for (what, filter, expected) in table {
        for limit in [1, 2, 100] {
            let listed = store.jobs(filter.clone(), late, limit).await;
            assert_eq!(job_ids(&listed), expected, "{what} by {limit}");
        }
    }
}

pub async fn a_participants_jobs_are_found_without_looking_at_others<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let now = second(0);
    let mut ada = Vec::new();
    // More events than one slice looks at, those of others between them, and some that are over.
    for number in 0..40 {
        let key = number.to_string();
        let job = if number % 3 == 0 {
            fresh(now)
        } else {
            turnless(now)
        };
        let hers = starting(seed(ADA, &key, now), run(look_ups(), job));
        let put = store.put(vec![hers, seed(BO, &key, now)], now).await;
        ada.push(put[0].id.job(0));
    }
    let leased = store.lend_all(&look_ups(), now).await;
    let over: Vec<JobId> = ada.iter().copied().skip(1).step_by(3).collect();
    for leased in leased {
        if over.contains(&leased.token.id) {
            store.settle(leased.token, moved(finish()), now).await;
        } else if leased.token.id == ada[2] {
            store.settle(leased.token, moved(bury(now)), now).await;
        }
    }
    ada.retain(|id| !over.contains(id));
    let hers = JobFilter {
        participant: Some(store.participant_hash(ADA)),
        ..all()
    };
    for limit in [1, 3, 26, 100] {
        let listed = store.jobs(hers.clone(), now, limit).await;
        assert_eq!(job_ids(&listed), ada, "by {limit}");
    }
    let dead = JobFilter {
        state: Some(JobState::Dead),
        ..hers
    };
    assert_eq!(job_ids(&store.jobs(dead, now, 10).await), [ada[1]]);
    let nobody = JobFilter {
        participant: Some(store.participant_hash("nobody@example.com")),
        ..all()
    };
    assert!(store.jobs(nobody, now, 10).await.is_empty());
}

pub async fn whatever_lies_far_behind_is_found_slice_by_slice<H: Harness>() {
    let settings = Settings {
        max_jobs: 100_000,
        ..SETTINGS
    };
    let store = H::open(settings).await.store();
    let now = second(0);
    let mut jobs = first_jobs(&store.put(crowd(3000, now), now).await);
    // Some of them have moved.
    for leased in store.lend(&look_ups(), now, 700).await {
        let later = keep(tracks(), fresh(second(500)));
        store.settle(leased.token, moved(later), now).await;
    }
    let last = starting(seed(ADA, "last", now), run(tracks(), turnless(now)));
    jobs.push(store.put_one(last, now).await.job(0));
    let credit = JobFilter {
        flow: Some(Flow::Credit),
        ..all()
    };
    let found = store.jobs(credit, now, 10).await;
    assert_eq!(job_ids(&found), [jobs[3000]]);
    assert_eq!(job_ids(&store.jobs(all(), now, 1000).await), jobs);
}

pub async fn a_job_that_moves_between_two_pages_is_told_once<H: Harness>() {
    let store = H::open(SETTINGS).await.store();
    let now = second(0);
    let jobs = first_jobs(&store.put(crowd(9, now), now).await);
    let mut told = Vec::new();
    let mut after = None;
    loop {
        let page = store.job_list(all(), after, 2, now).await.unwrap();
        told.extend(job_ids(&page.items));
        after = page.next;
        if after.is_none() {
            break;
        }
        // The first of all moves back into another place, the last of all to where dead letters lie.
        let mut leased = store.lend_all(&look_ups(), now).await;
        let (first, last) = (leased.remove(0), leased.pop());
        let moved_on = keep(tracks(), fresh(second(500)));
        store.settle(first.token, moved(moved_on), now).await;
        if let Some(last) = last {
            store.settle(last.token, moved(bury(now)), now).await;
        }
        let tokens = leased.iter().map(|leased| leased.token).collect();
        store.give_back(tokens).await.unwrap();
    }
    assert_eq!(told, jobs);
}

#[test]
fn one_page_of_the_embedded_store_looks_at_a_bounded_slice() {
    super::hold(async {
        let settings = Settings {
            max_jobs: 100_000,
            ..SETTINGS
        };
        let store = SledHarness::open(settings).await.store();
        let now = second(0);
        store.put(crowd(3000, now), now).await;
        let credit = JobFilter {
            flow: Some(Flow::Credit),
            ..all()
        };
        let page = store.job_list(credit, None, 10, now).await.unwrap();
        assert!(page.items.is_empty());
        assert!(page.next.is_some(), "all 3000 were looked at at once");

        let hers = (0..100).map(|key| seed(ADA, &key.to_string(), now));
        store.put(hers.collect(), now).await;
        let hers = JobFilter {
            participant: Some(store.participant_hash(ADA)),
            ..all()
        };
        let page = store.job_list(hers, None, 1000, now).await.unwrap();
        assert!((1..100).contains(&page.items.len()), "all hers at once");
        assert!(page.next.is_some());
    });
}
