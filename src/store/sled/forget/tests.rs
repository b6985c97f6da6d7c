//! What the files still hold of somebody who was forgotten: the tree nothing once the index is settled, and what sled has
//! overwritten until it is written anew.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::super::base::Base;
use super::super::disk::Folder;
use super::super::open::open_sled;
use super::super::{Place, SledStore};
use crate::flow::job::{
    Burial, Class, Commit, Fate, Job, Outcome, Profile, Reason, Seed, Start, State,
};
use crate::model::call::{Address, Answer};
use crate::model::event::{Event, EventKind, Source};
use crate::model::json::{Object, ObjectText};
use crate::model::lane::Lane;
use crate::model::time::Timestamp;
use crate::store::{Named, Operate, Person, Settings, Store};

const ADA: &str = "ada.lovelace@example.com";
const PHONE: &str = "+15550177777";
const NOW: Timestamp = Timestamp::from_millis(1_795_770_600_000);

fn place(path: &Path, young_max: usize) -> Place {
    Place::small(path, young_max)
}

fn seed(email: &str, key: usize, state: State) -> Seed {
    let mut object = Object::new();
    object.insert(
        "note".into(),
        format!("of {email}").repeat(1 + 400 * (key % 9 / 8)).into(),
    );
    let event = Event {
        source: Source::Quikly,
        kind: EventKind::Progress,
        key: key.to_string(),
        scope: "drop".into(),
        email: email.into(),
        email_given: None,
        trace: None,
        external_id: None,
        phone: (email == ADA).then(|| PHONE.into()),
        sms_consent: false,
        at: NOW,
        accepted_at: NOW,
        attributes: Some(ObjectText::new(&object)),
        event: None,
    };
    let lane = Lane::new(&"acme".into(), state.lane());
    let job = Job::new(state, NOW);
    Seed {
        event,
        start: Start::Run { lane, job },
        further: None,
    }
}

fn lane(text: &str) -> Lane {
    text.parse().unwrap()
}

/// How often the words stand in the files below `path`.
fn traces(path: &Path) -> usize {
    let mut found = 0;
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found += traces(&entry.path());
            continue;
        }
        let bytes = fs::read(entry.path()).unwrap();
        for word in [ADA, PHONE] {
            found += bytes
                .windows(word.len())
                .filter(|it| it == &word.as_bytes())
                .count();
        }
    }
    found
}

/// The tree as it is, entry by entry, in a fresh folder: how often the words stand in its files.
fn copied(path: &Path) -> usize {
    let fresh = tempfile::tempdir().unwrap();
    let from = open_sled(&Folder::open(path).unwrap(), 1 << 20).unwrap();
    let to = ::sled::open(fresh.path().join("sled")).unwrap();
    for entry in from.iter() {
        let (key, value) = entry.unwrap();
        to.insert(key, value).unwrap();
    }
    to.flush().unwrap();
    drop((from, to));
    traces(fresh.path())
}

/// Somebody with something in every place among others, and an address that is young, in a run, or in several.
async fn lived(store: &SledStore, others: usize) {
    let look_ups = lane("acme/users_export_ids");
    for round in 0..3 {
        let people = (0..others).map(|number| {
            let email = format!("p{number}@example.com");
            seed(&email, round, State::Progress(Profile::LookUp))
        });
        let credit = || State::Credit {
            event: "joined".into(),
        };
        let hers = (0..9).map(|key| seed(ADA, 10 * round + key, credit()));
        let update = seed(ADA, 100 + round, State::Progress(Profile::LookUp));
        let all: Vec<Seed> = people.chain(hers).chain([update]).collect();
        store.append(all, NOW).await.unwrap();
        let leased = store.lease(&look_ups, NOW, 10_000).await.unwrap();
        let learnt = |it: &crate::store::Leased| {
            let commit = Commit::new(Fate::Finish(Outcome::Updated), Vec::new());
            let learnt = Some(Address::Alias(it.event.email.clone()));
            (it.token, Commit { learnt, ..commit })
        };
        store
            .commit(leased.iter().map(learnt).collect(), NOW)
            .await
            .unwrap();
        let leased = store.lease(&lane("acme/quikly"), NOW, 4).await.unwrap();
        let burial = Burial {
            reason: Reason::Rejected,
            class: Class::Rejected,
            answer: Answer::default(),
            at: NOW,
        };
        let moves = leased.iter().enumerate().map(|(number, it)| {
            let job = it.job.clone();
            let fate = match number % 2 {
                0 => Fate::Bury {
                    job,
                    burial: burial.clone(),
                },
                _ => Fate::Keep {
                    lane: lane("acme/quikly"),
                    job: Job {
                        due: NOW + Duration::from_secs(9),
                        ..job
                    },
                },
            };
            (it.token, Commit::new(fate, Vec::new()))
        });
        store.commit(moves.collect(), NOW).await.unwrap();
    }
}

async fn forget(store: &SledStore) {
    let mut before = None;
    loop {
        let person = Person {
            participant: store.participant_hash(ADA),
            workspace: None,
            named: Named::Email,
        };
        before = store.forget(person, before, NOW).await.unwrap().next;
        if before.is_none() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tree_holds_nothing_of_who_is_forgotten_and_the_files_nothing_once_it_is_written_anew()
{
    // All young; in one run of many; in runs that were merged or are being merged.
    for (young_max, others) in [(1 << 16, 100), (150, 100), (20, 300), (5, 300)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let store = SledStore::open(place(path, young_max), Settings::default(), None).unwrap();
        lived(&store, others).await;
        assert!(
            traces(path) > 0,
            "nothing to look for: the test sees nothing"
        );
        forget(&store).await;
        store.close().await.unwrap();
        // A stop that comes at once settles nothing: the next start goes on with it.
        let mut base = Base::open(&place(path, young_max), Settings::default(), None).unwrap();
        while !base.index.is_settled() {
            base.settle().unwrap();
        }
        base.make_durable().unwrap();
        drop(base);
        assert_eq!(copied(path), 0, "young_max {young_max}");
        SledStore::compact(&place(path, young_max), Settings::default())
            .await
            .unwrap();
        assert_eq!(traces(path), 0, "young_max {young_max}, compacted");
    }
}
