//! Every change has its entry, whoever hangs up when; and an entry says nobody's name.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests may")]

use axum::Extension;
use axum::body::Bytes;
use axum::extract::Path;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

use super::*;
use crate::clock::Clock;
use crate::engine::{ActivationView, Desk, LaneView};
use crate::flow::{self, job::Seed};
use crate::model::event::{Event, EventKind, Source};
use crate::model::lane::Lane;
use crate::model::rules::RuleBook;
use crate::ops::{Office, dead, lanes, replays, serve};
use crate::store::Settings;
use crate::store::map::MapStore;
use crate::telemetry::Metrics;

/// An engine that holds whatever it is told to.
struct Willing;

impl Desk for Willing {
    fn lanes(&self) -> Vec<LaneView> {
        Vec::new()
    }
    fn hold_lane(&self, _: &Lane, _: Option<Timestamp>) -> bool {
        true
    }
    fn release_lane(&self, _: &Lane) -> bool {
        true
    }
    fn held_activations(&self) -> Vec<ActivationView> {
        Vec::new()
    }
    fn hold_activation(&self, _: &str, _: Option<Timestamp>) -> bool {
        true
    }
    fn release_activation(&self, _: &str) -> bool {
        true
    }
}

fn today() -> Timestamp {
    Timestamp::from_millis(1_795_770_600_000)
}

/// An office without anybody in front of it, and so many dead letters.
async fn office(letters: usize) -> (Arc<Ops<MapStore>>, Vec<JobId>) {
    let store = MapStore::new(Settings::default());
    let book = Arc::new(RuleBook::new([]));
    let seed = |number| {
        let event = Event {
            source: Source::Quikly,
            kind: EventKind::Participation,
            key: format!("join-{number}"),
            scope: "gone".into(),
            email: format!("p{number}@example.com"),
            email_given: None,
            trace: None,
            external_id: None,
            phone: None,
            sms_consent: false,
            at: today(),
            accepted_at: today(),
            attributes: None,
            event: None,
        };
        let (start, further) = flow::start(&event, &book, today());
        Seed {
            event,
            start,
            further,
        }
    };
    let seeds = (0..letters).map(seed).collect();
    let appended = store.append(seeds, today()).await.unwrap();
    let ops = Ops {
        store,
        clock: Clock::starting_at(today(), 1.0),
        metrics: Arc::new(Metrics::new().unwrap()),
        effective: watch::channel(Arc::default()).1,
        rules: watch::channel(book).1,
        desk: Arc::new(Willing),
        trouble: Arc::new(|| None),
        tokens: Vec::new(),
        version: "1.2.3",
        office: Office::default(),
    };
    let ids = appended.iter().map(|one| one.id.job(0)).collect();
    (Arc::new(ops), ids)
}

/// Whatever can go on without anybody's help has gone on.
async fn settled() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Asks for a change, and hangs up in the middle of it: when its entry is about to have its number.
async fn hung_up<T>(ops: &Ops<MapStore>, asking: impl Future<Output = T>) {
    let busy = ops.office.audit.0.lock().await;
    tokio::select! {
        biased;
        _ = asking => panic!("answered before it was written down"),
        () = settled() => {}
    }
    drop(busy);
    ops.office.changes.over().await;
}

async fn entries(ops: &Arc<Ops<MapStore>>) -> Vec<AuditEntry> {
    let papers = ops.store.papers(Shelf::of(PREFIX), 99).await.unwrap();
    let read = |paper: &Paper| serde_json::from_str(paper.text()).unwrap();
    papers.iter().map(read).collect()
}

fn posted(body: &Value) -> Bytes {
    body.to_string().into()
}

#[tokio::test]
async fn a_change_whose_asker_hangs_up_is_carried_out_and_written_down() {
    let (ops, ids) = office(120).await;
    let who = || Extension(Who("operator-1".into()));
    let state = || State(ops.clone());
    let discard = posted(&json!({"ids": ids, "because": "a test"}));
    hung_up(&ops, dead::discard(state(), who(), discard)).await;
    let again = posted(&json!({ "ids": ids[..1] }));
    hung_up(&ops, dead::replay(state(), who(), again)).await;
    let hold = || posted(&json!({"lane": "acme/quikly"}));
    hung_up(&ops, lanes::hold(state(), who(), hold())).await;
    hung_up(&ops, lanes::release(state(), who(), hold())).await;

    let entries = entries(&ops).await;
    let told: Vec<_> = entries
        .iter()
        .map(|it| (it.number, it.what.as_str(), it.counts.get("discarded")))
        .collect();
    assert_eq!(
        told,
        [
            (1, "dead discard", Some(&50)),
            (2, "dead discard", Some(&50)),
            (3, "dead discard", Some(&20)),
            (4, "dead replay", None),
            (5, "lane hold", None),
            (6, "lane release", None),
        ]
    );
    let named = entries.iter().filter_map(|it| it.which["ids"].as_array());
    let named: Vec<_> = named.flatten().map(|id| id.as_str().unwrap()).collect();
    let all: Vec<_> = ids.iter().chain(&ids[..1]).map(JobId::to_string).collect();
    assert_eq!(named, all, "every letter is named");
    assert_eq!(entries[0].why.as_deref(), Some("a test"));
}

#[tokio::test]
async fn a_replay_whose_asker_hangs_up_is_listed_and_its_number_is_its_own() {
    let (ops, _) = office(1).await;
    let who = || Extension(Who("operator-1".into()));
    let state = || State(ops.clone());
    let asked = || posted(&json!({"rate": 0.000_001}));
    hung_up(&ops, replays::begin(state(), who(), asked())).await;
    let Ok(Json(second)) = replays::begin(state(), who(), asked()).await else {
        panic!("the second was refused");
    };
    assert_eq!(second.replay.number, 2);
    let cancel = || Path(("1".to_owned(), "cancel".to_owned()));
    hung_up(&ops, replays::change(state(), who(), cancel())).await;
    let Ok(Json(page)) = replays::list(state()).await else {
        panic!("no list");
    };
    let told: Vec<_> = page
        .items
        .iter()
        .map(|row| (row.replay.number, row.replay.state.as_str()))
        .collect();
    assert_eq!(told, [(2, "running"), (1, "cancelled")]);
    let done: Vec<_> = entries(&ops).await.into_iter().map(|it| it.what).collect();
    assert_eq!(done, ["replay begin", "replay begin", "replay cancel"]);
}

#[tokio::test]
async fn a_number_is_given_once_whether_its_entry_is_ever_written_or_not() {
    let (ops, _) = office(0).await;
    let who = Who("local".into());
    let lost = ops.entry(&who, Deed::default()).await.unwrap();
    ops.note(&who, Deed::default(), Vec::new()).await.unwrap();
    let kept = entries(&ops).await;
    assert_eq!((lost.number, kept.len(), kept[0].number), (1, 1, 2));
}

#[tokio::test]
async fn a_stop_waits_for_what_is_being_changed() {
    let (ops, _) = office(0).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(serve(listener, ops.clone(), async {
        let _ = stopped.await;
    }));
    let (go_on, waits) = oneshot::channel::<()>();
    let changing = tokio::spawn(async move {
        let change = async move {
            let _ = waits.await;
            Ok(())
        };
        ops.to_the_end(change).await.is_ok()
    });
    settled().await;
    stop.send(()).unwrap();
    settled().await;
    assert!(!serving.is_finished(), "it did not wait");
    go_on.send(()).unwrap();
    serving.await.unwrap().unwrap();
    assert!(changing.await.unwrap());
}

#[test]
fn addresses_and_numbers_are_blotted_out_of_what_operators_say() {
    for (said, kept) in [
        ("wrong key", "wrong key"),
        ("ada@example.com asked", "*** asked"),
        ("asked (Ada <ada@example.com>)", "asked (Ada ***"),
        ("call +1 555", "call +1 555"),
        ("call +15550100123", "call ***"),
        (
            "asked by +1 555 010 0123 on Monday",
            "asked by *** on Monday",
        ),
        ("5550100123 wants out", "*** wants out"),
        ("(555) 010-0123", "***"),
        ("to=%2B1 a%40b.de", "to=%2B1 ***"),
        (
            "until 2026-11-27T09:10:00.000Z, 3 of 40",
            "until 2026-11-27T09:10:00.000Z, 3 of 40",
        ),
        ("over since 2026-11-27", "over since 2026-11-27"),
        (
            "0123456789abcdef0123456789ab",
            "0123456789abcdef0123456789ab",
        ),
        (
            "01934f6e-0000-7000-8000-000000000001.0",
            "01934f6e-0000-7000-8000-000000000001.0",
        ),
    ] {
        assert_eq!(blotted(said), kept, "{said}");
    }
    assert_eq!(
        blotted(&"ä".repeat(1000)).chars().count(),
        TEXT_CHARS_MAX + 1
    );
}

#[test]
fn a_filter_that_says_who_is_known_and_names_with_digits_are_no_such() {
    let filter = |workspace: &str, activation: &str, text: &str| Which {
        workspace: Some(workspace.into()),
        activation: Some(activation.into()),
        text: Some(text.into()),
        ..Which::default()
    };
    for (filter, says) in [
        (filter("acme", "drop-20261127", "timed out"), None),
        (filter("acme-2026-1127", "Spring2026Drop2027", "503"), None),
        (filter("ada@example.com", "", ""), Some("workspace")),
        (filter("", "+15550100123", ""), Some("activation")),
        (filter("", "mail+15550100123", ""), Some("activation")),
        (filter("", "555 010 0123", ""), Some("activation")),
        (filter("", "", "to ada@example.com"), Some("text")),
        (filter("", "", "to 555 010-0123"), Some("text")),
    ] {
        assert_eq!(names_somebody(&filter), says, "{filter:?}");
    }
    assert_eq!(names_somebody(&Which::default()), None);
}
