//! Forgetting through the listener: who may, what is told, and that nothing told says who it was.

use std::collections::BTreeSet;

use braze_relay::model::Name;
use braze_relay::model::id::EventId;
use braze_relay::model::rules::RetryPolicy;
use braze_relay::store::{Shelf, Standing};
use serde_json::json;

use super::mortal::Mortal;
use super::*;
use crate::support::until;

const FORGET: &str = "/api/v1/forget";
const ADA: &str = "ada@example.com";
const PHONE: &str = "+15550100";

fn erasing<S>(world: &World<S>) {
    let workspaces = ["acme", "globex"].map(Name::from);
    let book = RuleBook::new([spring()]).erasing(&workspaces, RetryPolicy::default());
    world.rules.send_replace(Arc::new(book));
}

/// Somebody's lead without an e-mail, on its way in this workspace; the answers say this.
fn lead(workspace: &str, key: &str, external_id: Option<&str>, says: &str) -> Seed {
    let mut answers = Object::new();
    answers.insert("contact".into(), says.into());
    let event = Event {
        source: Source::Outgrow,
        kind: EventKind::Lead,
        key: key.into(),
        email: String::new(),
        external_id: external_id.map(Into::into),
        phone: None,
        attributes: Some(ObjectText::new(&answers)),
        ..event(&format!("quiz-of-{workspace}"), "")
    };
    let lane = format!("{workspace}/users_track").parse().unwrap();
    let start = Start::Run {
        lane,
        job: Job::new(State::Outgrow, today()),
    };
    Seed {
        event,
        start,
        further: None,
    }
}

#[tokio::test]
async fn a_preview_removes_nothing_and_a_receipt_says_what_went_and_not_who() {
    let world = World::open().await;
    erasing(&world);
    world.rejected(ADA).await;
    world.rejected("bo@example.com").await;
    let preview = world
        .post(FORGET, &json!({"email": "Ada@Example.com "}))
        .await;
    assert_eq!(preview.json()["removed"]["dead_letters"], 1);
    assert_eq!(preview.json()["id"], Value::Null);
    assert_eq!(world.get(FORGET).await.json(), json!({"items": []}));
    let asked = json!({"email": ADA, "yes": true, "delete_in_braze": true});
    let receipt = world.post(FORGET, &asked).await;
    let told = receipt.json();
    assert_eq!(
        (&told["id"], &told["who"], &told["by"]),
        (&json!(1), &json!("local"), &json!("email"))
    );
    assert_eq!(told["removed"]["dead_letters"], 1);
    assert_eq!(told["erasures"].as_array().unwrap().len(), 2);
    let shown = world.get("/api/v1/forget/1").await;
    assert_eq!(shown.json()["erasures"][0]["state"], "running");
    let audit = world.get("/api/v1/audit").await;
    assert_eq!(audit.json()["items"][0]["what"], "forget");
    assert_eq!(audit.json()["items"][0]["counts"]["dead_letters"], 1);
    for said in [
        preview,
        receipt,
        shown,
        audit,
        world.get(FORGET).await,
        world.get("/metrics").await,
    ] {
        assert!(!said.text.contains("ada@"), "{}", said.text);
    }
    let left = world.get("/api/v1/dead").await.json();
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
    // Once more: there is nothing left, and that has a receipt, too; the removal goes on.
    let again = world
        .post(FORGET, &json!({"email": ADA, "yes": true}))
        .await
        .json();
    assert_eq!(
        (&again["id"], &again["removed"]["events"]),
        (&json!(2), &json!(0))
    );
    let shown = world.get("/api/v1/forget/1").await;
    assert_eq!(shown.json()["erasures"][0]["state"], "running");
}

#[tokio::test]
async fn what_is_asked_wrongly_is_refused_without_a_word_of_it() {
    let world = World::open().await;
    erasing(&world);
    for (wrong, status) in [
        (json!({}), 400),
        (json!({"email": ADA, "phone": "+15550100"}), 400),
        (json!({"email": "ada.example.com"}), 400),
        (json!({"phone": "555"}), 400),
        (json!({"email": ADA, "ada@else.example": 1}), 400),
        (json!({"email": ADA, "workspace": "beta", "yes": true}), 404),
    ] {
        let said = world.post(FORGET, &wrong).await;
        assert_eq!(said.refusal(), status, "{wrong}");
        assert!(!said.text.contains("ada@"), "{}", said.text);
    }
    assert_eq!(world.get("/api/v1/forget/7").await.refusal(), 404);
    assert_eq!(world.get("/api/v1/forget/x").await.refusal(), 400);
}

#[tokio::test]
async fn a_viewer_may_read_receipts_and_forget_nobody() {
    let tokens = vec![("look-token".into(), Role::Viewer)];
    let world = World::with_tokens(tokens).await;
    let headers = [
        ("content-type", "application/json"),
        ("authorization", "Bearer look-token"),
    ];
    let asked = json!({"email": ADA, "yes": true}).to_string();
    let said = world
        .ask(Method::POST, FORGET, &headers, Some(&asked))
        .await;
    assert_eq!(said.refusal(), 403);
    let said = world.ask(Method::GET, FORGET, &headers, None).await;
    assert_eq!(said.json(), json!({"items": []}));
}

#[tokio::test]
async fn a_name_that_another_brand_or_another_lead_has_too_is_not_theirs() {
    let world = World::open().await;
    erasing(&world);
    let others = "somebody@example.com";
    let jobs = world
        .append(vec![
            lead("acme", "a", Some("1042"), ADA),
            lead("globex", "g", Some("1042"), others),
            lead("acme", "1", None, ADA),
            lead("globex", "1", None, others),
        ])
        .await;
    let asked = json!({"email": ADA, "yes": true});
    let only = |workspace: &str| json!({"email": ADA, "workspace": workspace});
    for (workspace, events) in [("acme", 2), ("globex", 0)] {
        let said = world.post(FORGET, &only(workspace)).await.json();
        assert_eq!(said["removed"]["events"], events, "{workspace}");
    }
    let said = world.post(FORGET, &asked).await.json();
    assert_eq!(
        (&said["people"], &said["removed"]["events"]),
        (&json!(3), &json!(2))
    );
    let mut left = Vec::new();
    for id in &jobs {
        left.push(world.store.standing(id.event).await.unwrap());
    }
    let expected = [
        Standing::Ended,
        Standing::Queued,
        Standing::Ended,
        Standing::Queued,
    ];
    assert_eq!(left, expected);
}

#[tokio::test]
async fn a_deletion_in_braze_that_cannot_be_stored_is_refused_before_anything_is_gone() {
    let settings = Settings {
        max_jobs: 3,
        ..Settings::default()
    };
    let world = World::on(MapStore::new(settings), Vec::new()).await;
    erasing(&world);
    let ada = world.rejected(ADA).await;
    let bo = world.rejected("bo@example.com").await;
    world.append(vec![lead("acme", "1", None, "nobody")]).await;
    let asked = json!({"email": ADA, "yes": true, "delete_in_braze": true});
    assert_eq!(world.post(FORGET, &asked).await.refusal(), 503);
    assert_eq!(world.get(FORGET).await.json(), json!({"items": []}));
    assert_eq!(
        world.store.standing(ada.event).await.unwrap(),
        Standing::Dead
    );
    world.store.discard(vec![bo], today()).await.unwrap();
    let said = world.post(FORGET, &asked).await.json();
    assert_eq!(
        (&said["id"], &said["removed"]["events"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(said["erasures"].as_array().unwrap().len(), 2, "{said}");
    assert_eq!(
        world.store.standing(ada.event).await.unwrap(),
        Standing::Ended
    );
}

/// Twenty people with one phone, each with something that the phone does not stand in, besides the one thing it does.
fn twenty() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for number in 0..20 {
        let email = format!("p{number}@example.com");
        let mut plain = running(&email);
        plain.event.key = "plain".into();
        plain.event.phone = None;
        seeds.extend([plain, running(&email)]);
    }
    seeds
}

async fn receipts<S: Store + Operate>(world: &World<S>) -> Vec<Value> {
    let said = world.get(FORGET).await.json();
    said["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn what_has_begun_ends_whenever_the_process_dies_and_is_told_once() {
    let asked = json!({"phone": PHONE, "yes": true, "delete_in_braze": true});
    let mut cuts = BTreeSet::new();
    for writes in 0.. {
        let map = MapStore::new(Settings::default());
        let mortal = Mortal::after(map.clone(), writes);
        let world = World::with_desk(mortal.clone(), Vec::new(), false).await;
        erasing(&world);
        let appended = map.append(twenty(), today()).await.unwrap();
        let said = world.post(FORGET, &asked).await;
        let died = mortal.is_dead();
        assert_eq!(said.status, if died { 503 } else { 200 }, "{}", said.text);
        drop(world);
        let map = map.crash();
        let gone = over(&map, appended.iter().map(|it| it.id)).await;
        let world = World::with_desk(map.clone(), Vec::new(), false).await;
        erasing(&world);
        let begun = !receipts(&world).await.is_empty();
        assert!(begun || gone == 0, "{gone} are gone and nothing was begun");
        if begun {
            until("it is done", Duration::from_secs(20), async || {
                let receipt = receipts(&world).await.remove(0);
                let work = map.papers(Shelf::of("forgetting/"), 1).await.unwrap();
                (receipt["done_at"].is_string() && work.is_empty()).then_some(())
            })
            .await;
            let said = world.get("/api/v1/forget/1").await.json();
            assert_eq!(
                (&said["people"], &said["who"]),
                (&json!(20), &json!("local"))
            );
            let all = appended.iter().map(|it| it.id);
            assert_eq!(over(&map, all).await, 40, "after {writes} writes");
            let counts = map.counts(today()).await.unwrap().events;
            // Of everybody one deletion for each workspace, and no second one.
            assert_eq!((counts.queued, counts.forgotten), (40, 40));
            let audit = world.get("/api/v1/audit").await;
            assert_eq!(audit.json()["items"].as_array().unwrap().len(), 1);
        }
        cuts.insert((begun, gone > 0, gone == 40));
        if !died {
            break;
        }
    }
    // Before it began, before anything was gone, with some of them gone, and with all.
    let expected = [
        (false, false, false),
        (true, false, false),
        (true, true, false),
    ];
    assert_eq!(
        cuts,
        expected.into_iter().chain([(true, true, true)]).collect()
    );
}

/// How many of these events are over.
async fn over(map: &MapStore, events: impl Iterator<Item = EventId>) -> usize {
    let mut ended = 0;
    for event in events {
        let stands = map.standing(event).await.unwrap();
        ended += usize::from(stands == Standing::Ended);
    }
    ended
}

#[tokio::test]
async fn no_paper_of_it_is_left_but_the_receipt_and_that_names_nobody() {
    let world = World::open().await;
    erasing(&world);
    world.rejected(ADA).await;
    let asked = json!({"email": ADA, "yes": true, "delete_in_braze": true});
    world.post(FORGET, &asked).await.json();
    let all = world.store.papers(Shelf::default(), 1000).await.unwrap();
    let names: Vec<&str> = all
        .iter()
        .filter_map(|it| it.name().split('/').next())
        .collect();
    assert_eq!(names, ["audit", "forget"]);
    assert!(all.iter().all(|it| !it.text().contains("ada@")));
}
