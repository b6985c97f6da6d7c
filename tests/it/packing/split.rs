//! Requests are full while there is work, and those that are too large are split until they are not.

use braze_relay::flow::job::Reason;
use braze_relay::model::json::ObjectText;
use braze_relay::model::lane::LaneKind;
use braze_relay::model::rules::{Identity, ParticipationFlow, Rules};
use serde_json::{Value, json};

use super::{Outcome, Stage, participation};

fn rules() -> Rules {
    Rules {
        flow: Some(ParticipationFlow::Email),
        identity: Identity::Email,
        ..Rules::plain("drop", "acme")
    }
}

/// So many participations against this script.
async fn played(jobs: u64, with_event: bool, script: Value) -> Outcome {
    let stage = Stage::new(rules(), Vec::new(), &script).await;
    let events = (0..jobs).map(|number| participation(number, with_event, &stage.clock));
    let events = events.collect();
    stage.plays(events, LaneKind::UsersTrack).await
}

fn all_delivered_once(outcome: &Outcome, jobs: u64) {
    assert!(outcome.dead.is_empty(), "{:?}", outcome.dead);
    assert_eq!(outcome.delivered.len() as u64, jobs);
    let events = outcome.delivered[&0].events;
    let once = outcome
        .delivered
        .values()
        .all(|it| it.attributes == 1 && it.events == events);
    assert!(once, "{:?}", outcome.delivered);
}

#[tokio::test]
async fn requests_are_full_while_there_is_work() {
    let outcome = played(3000, false, json!([])).await;
    all_delivered_once(&outcome, 3000);
    assert_eq!(outcome.sizes, [(75, 40)].into());
    // Two objects each: 37 of them fit.
    let outcome = played(1480, true, json!([])).await;
    all_delivered_once(&outcome, 1480);
    assert_eq!(outcome.sizes, [(74, 40)].into());
}

#[tokio::test]
async fn where_braze_takes_fewer_objects_a_request_is_halved_until_it_fits() {
    let outcome = played(75, false, json!([{"action": {"objects_max": 5}}])).await;
    all_delivered_once(&outcome, 75);
    // 75, 38 twice, 19 or so four times, 10 eight times; then fives.
    assert!(outcome.requests <= 15 + 20, "{}", outcome.requests);
}

#[tokio::test]
async fn a_413_splits_the_request_and_nobody_dies_of_having_been_in_it() {
    // Two requests of 37, and each half of each.
    let outcome = played(74, true, json!([{"next": 6, "action": {"status": 413}}])).await;
    all_delivered_once(&outcome, 74);
    assert!(
        (14..=18).contains(&outcome.requests),
        "{}",
        outcome.requests
    );
}

#[tokio::test]
async fn a_413_for_one_alone_says_so_and_ends() {
    let outcome = played(75, false, json!([{"action": {"status": 413}}])).await;
    assert_eq!(outcome.dead.len(), 75);
    assert!(
        outcome
            .dead
            .values()
            .all(|reason| *reason == Reason::Rejected)
    );
    for text in outcome.texts {
        assert!(
            text.starts_with("larger than Braze takes in one request"),
            "{text}"
        );
    }
    assert!(outcome.requests <= 180, "{}", outcome.requests);
}

#[tokio::test]
async fn requests_stay_below_four_megabytes_and_what_is_larger_alone_dies_unsent() {
    let stage = Stage::new(rules(), Vec::new(), &json!([])).await;
    let heavy = |number, bytes: usize| {
        let mut event = participation(number, false, &stage.clock);
        // The sandbox takes no such text into a profile, but the request that brings it.
        let attributes = json!({"written": {"inc": 1}, "text": "x".repeat(bytes)});
        event.attributes = Some(ObjectText::new(attributes.as_object().unwrap()));
        event
    };
    let mut events: Vec<_> = (0..20).map(|number| heavy(number, 500_000)).collect();
    events.insert(10, heavy(99, 4_000_000));
    let outcome = stage.plays(events, LaneKind::UsersTrack).await;
    assert_eq!(outcome.dead, [(99, Reason::Rejected)].into());
    assert_eq!(
        outcome.texts,
        ["larger than Braze takes in one request".to_owned()].into()
    );
    assert_eq!(outcome.delivered.len(), 20);
    assert!(outcome.delivered.values().all(|it| it.attributes == 1));
    // Seven of half a megabyte fit.
    assert_eq!(outcome.sizes, [(7, 2), (3, 2)].into());
}
