//! What a salvaged store remembers: what is done, and nothing that was lost with its job.

use std::path::Path;

use super::super::disk::Folder;
use super::super::open::open_sled;
use super::super::{Origin, Place as At, SledStore};
use super::*;
use crate::flow::job::{
    Burial, Child, Class as Failure, Commit, Fate, Job, Outcome, Profile, Reason, Seed, Start,
    State,
};
use crate::model::call::Answer;
use crate::model::event::{Event, EventKind, Source};
use crate::store::{Committed, Settings, Store};

pub const NOW: Timestamp = Timestamp::from_millis(1_795_770_600_000);

pub fn at(path: &Path) -> At {
    At::small(path, 4)
}

pub fn opened(path: &Path) -> SledStore {
    SledStore::open(at(path), Settings::default(), None).unwrap()
}

pub fn lane(name: &str) -> Lane {
    format!("acme/{name}").parse().unwrap()
}

/// An event of the person with this name.
fn seed(person: &str, key: &str) -> Seed {
    let event = Event {
        source: Source::Quikly,
        kind: EventKind::Participation,
        key: key.into(),
        scope: "drop".into(),
        email: format!("{person}@example.com"),
        email_given: None,
        trace: None,
        external_id: None,
        phone: None,
        sms_consent: false,
        at: NOW,
        accepted_at: NOW,
        attributes: None,
        event: None,
    };
    let job = Job::new(State::Email(Profile::LookUp), NOW);
    let lane = lane("users_export_ids");
    Seed {
        event,
        start: Start::Run { lane, job },
        further: None,
    }
}

/// What becomes of the first job of the person with this name.
fn fate(event: &Event) -> Commit {
    let job = Job::new(State::Email(Profile::LookUp), NOW);
    let credit = State::Credit {
        event: "joined".into(),
    };
    let child = Child {
        number: 1,
        lane: lane("quikly"),
        job: Job::new(credit, NOW),
        event: event.slim(),
        once: Some("acme/drop/joined".into()),
    };
    let burial = Burial {
        reason: Reason::Rejected,
        class: Failure::Rejected,
        answer: Answer::default(),
        at: NOW,
    };
    let finish = |children| Commit::new(Fate::Finish(Outcome::Found), children);
    match event.email.split('@').next().unwrap() {
        "moved" => {
            let lane = lane("users_track");
            Commit::new(Fate::Keep { lane, job }, Vec::new())
        }
        "dead" => Commit::new(Fate::Bury { job, burial }, Vec::new()),
        "done" => finish(Vec::new()),
        _ => finish(vec![child]),
    }
}

/// Commits what is due in this lane, and says how many jobs were spawned.
async fn worked(store: &SledStore, name: &str) -> u8 {
    let leased = store.lease(&lane(name), NOW, 100).await.unwrap();
    let moves = leased.iter().map(|leased| {
        let commit = match &leased.job.state {
            State::Credit { .. } => Commit::new(Fate::Finish(Outcome::Credited), Vec::new()),
            _ => fate(&leased.event),
        };
        (leased.token, commit)
    });
    let done = store.commit(moves.collect(), NOW).await.unwrap();
    let children = done.iter().map(|done| match done {
        Committed::Stored { children } => *children,
        Committed::LostLease => panic!("a lease was lost"),
    });
    children.sum()
}

/// Somebody in every place.
pub async fn lived(store: &SledStore) {
    let append = async |people: &[&str]| {
        let seeds = people.iter().map(|person| seed(person, "join")).collect();
        store.append(seeds, NOW).await.unwrap();
    };
    append(&["credited"]).await;
    assert_eq!(worked(store, "users_export_ids").await, 1);
    worked(store, "quikly").await;
    append(&["moved", "dead", "done", "to-credit"]).await;
    assert_eq!(worked(store, "users_export_ids").await, 1);
    append(&["alone"]).await;
    append(&["packed", "packed-too", "packed-as-well"]).await;
}

/// Makes everything unreadable that stands in these places.
pub fn spoil(path: &Path, places: &[u8]) {
    let db = open_sled(&Folder::open(path).unwrap(), 1 << 20).unwrap();
    for place in places {
        let keys: Vec<_> = db.scan_prefix([*place]).keys().collect();
        assert!(
            !keys.is_empty(),
            "nothing stands in `{}`",
            char::from(*place)
        );
        for key in keys {
            db.insert(key.unwrap(), b"spoilt").unwrap();
        }
    }
    db.flush().unwrap();
}

/// What can be read of the store at `path`, in another folder.
pub fn salvaged(path: &Path) -> (tempfile::TempDir, SledStore) {
    let mut salvage = SledStore::salvage(&at(path)).unwrap();
    let origin = Origin {
        secret: salvage.secret(),
        salvaged: true,
    };
    let told = std::iter::from_fn(|| salvage.more());
    let told: Vec<_> = told.flatten().map(Ok).collect();
    let folder = tempfile::tempdir().unwrap();
    SledStore::import(&at(folder.path()), Settings::default(), origin, told).unwrap();
    let store = opened(folder.path());
    (folder, store)
}

#[tokio::test]
async fn what_was_lost_can_be_posted_again_and_what_is_done_cannot() {
    let folder = tempfile::tempdir().unwrap();
    let store = opened(folder.path());
    lived(&store).await;
    store.close().await.unwrap();
    spoil(folder.path(), b"warx");
    let (_kept, store) = salvaged(folder.path());
    let lost = [
        "moved",
        "dead",
        "to-credit",
        "alone",
        "packed",
        "packed-too",
    ];
    for person in lost {
        let again = store.append(vec![seed(person, "join")], NOW).await.unwrap();
        assert!(
            !again[0].duplicate,
            "{person} is lost, and taken to be there"
        );
    }
    for person in ["done", "credited"] {
        let again = store.append(vec![seed(person, "join")], NOW).await.unwrap();
        assert!(again[0].duplicate, "{person} is done, and forgotten");
    }
    // Of those that were lost one is to be credited now; `credited` is not, whatever else comes.
    let further = seed("credited", "further");
    store.append(vec![further], NOW).await.unwrap();
    let credits = worked(&store, "users_export_ids").await;
    assert_eq!(credits, 4, "alone, to-credit and two of the packed");
    let events = store.counts(NOW).await.unwrap().events;
    // The credit of `to-credit` ended its first event.
    assert_eq!(
        (events.discarded, events.accepted),
        (7, 9 + 7),
        "{events:?}"
    );
}

#[tokio::test]
async fn what_is_there_stays_remembered_however_little_is_looked_at_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = opened(folder.path());
    lived(&store).await;
    store.close().await.unwrap();
    drop(store);
    let mut base = Base::open(&at(folder.path()), Settings::default(), None).unwrap();
    let lanes: Vec<LaneKey> = base.names.lane_keys().collect();
    for lane in lanes {
        while base.unpack(lane, None, 100).unwrap() {}
    }
    let remembered = |base: &Base| {
        let slice = base.index.slice(&base.db, Place::default(), 1000);
        slice.unwrap().0.len()
    };
    let before = remembered(&base);
    for at_once in [1, 2, 1000] {
        forget_what_is_lost(&mut base, at_once).unwrap();
        assert_eq!(remembered(&base), before, "{at_once}");
    }
    let gone: Vec<IVec> = base
        .db
        .scan_prefix(b"x")
        .keys()
        .map(Result::unwrap)
        .collect();
    for key in gone {
        base.db.remove(key).unwrap();
    }
    forget_what_is_lost(&mut base, 2).unwrap();
    assert_eq!(remembered(&base), before - 1);
}

#[tokio::test]
async fn a_turn_whose_holder_was_lost_goes_on_though_another_job_of_its_event_lives() {
    let folder = tempfile::tempdir().unwrap();
    let store = opened(folder.path());
    let spawn = |person: &str| {
        let Seed { event, .. } = seed(person, "join");
        Commit {
            fate: Fate::Keep {
                lane: lane("users_export_ids"),
                job: Job::new(State::Email(Profile::LookUp), NOW),
            },
            ..fate(&event)
        }
    };
    store
        .append(vec![seed("first", "join")], NOW)
        .await
        .unwrap();
    let leased = store
        .lease(&lane("users_export_ids"), NOW, 1)
        .await
        .unwrap();
    store
        .commit(vec![(leased[0].token, spawn("first"))], NOW)
        .await
        .unwrap();
    // Waits for the turn of the same person.
    store
        .append(vec![seed("first", "again")], NOW)
        .await
        .unwrap();
    store.close().await.unwrap();
    // The holder itself is lost; the credit that it spawned lives.
    let first = leased[0].token.id;
    let db = open_sled(&Folder::open(folder.path()).unwrap(), 1 << 20).unwrap();
    db.insert(keys::moved(first), b"spoilt").unwrap();
    db.flush().unwrap();
    drop(db);
    let (_kept, store) = salvaged(folder.path());
    let next = store
        .lease(&lane("users_export_ids"), NOW, 10)
        .await
        .unwrap();
    assert_eq!(next.len(), 1, "nobody has the turn");
    assert_eq!(next[0].event.key, "again");
}
