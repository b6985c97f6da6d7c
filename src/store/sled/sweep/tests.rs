//! What happens to dead letters whose time ran out while nothing ran that could announce it.

#![expect(clippy::unwrap_used, reason = "tests may")]

use std::path::Path;
use std::time::Duration;

use super::super::{Place, SledStore};
use crate::flow::job::{Burial, Class, Job, Profile, Reason, Seed, Start, State};
use crate::model::call::Answer;
use crate::model::event::{Event, EventKind, Source};
use crate::model::lane::Lane;
use crate::model::time::Timestamp;
use crate::store::{DeadFilter, Operate, Settings, Store};

const NOW: Timestamp = Timestamp::from_millis(1_795_770_600_000);
const HOUR: Duration = Duration::from_hours(1);

fn open(path: &Path) -> SledStore {
    let place = Place::small(path, 5);
    SledStore::open(place, Settings::default(), None).unwrap()
}

fn seed(key: &str, now: Timestamp, dies: bool) -> Seed {
    let event = Event {
        source: Source::Quikly,
        kind: EventKind::Progress,
        key: key.into(),
        scope: "drop".into(),
        email: "ada@example.com".into(),
        email_given: None,
        trace: None,
        external_id: None,
        phone: None,
        sms_consent: false,
        at: now,
        accepted_at: now,
        attributes: None,
        event: None,
    };
    let burial = Burial {
        at: now,
        reason: Reason::NoFlow,
        class: Class::Rejected,
        answer: Answer::default(),
    };
    let state = State::Progress(Profile::LookUp);
    let start = if dies {
        Start::Bury {
            workspace: Some("acme".into()),
            flow: None,
            burial,
        }
    } else {
        Start::Run {
            lane: Lane::new(&"acme".into(), state.lane()),
            job: Job::new(state, now),
        }
    };
    Seed {
        event,
        start,
        further: None,
    }
}

/// Writes enough for the sweep to come by all letters twice.
async fn nudge(store: &SledStore, now: Timestamp) {
    for number in 0..40 {
        let key = format!("{number} {now}");
        store
            .append(vec![seed(&key, now, false)], now)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn what_ran_out_while_nothing_ran_stays_for_an_hour_after_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store
        .append(vec![seed("dies", NOW, true)], NOW)
        .await
        .unwrap();
    store.close().await.unwrap();
    let started = NOW + Settings::default().dead_retention + 24 * HOUR;
    let store = open(folder.path());
    let letters = async || {
        let page = store.dead_list(DeadFilter::default(), None, 10).await;
        page.unwrap().items.len()
    };
    nudge(&store, started).await;
    nudge(&store, started + HOUR - Duration::from_millis(1)).await;
    assert_eq!(letters().await, 1);
    nudge(&store, started + HOUR).await;
    assert_eq!(letters().await, 0);
    assert_eq!(
        store.counts(started + HOUR).await.unwrap().events.discarded,
        1
    );
}
