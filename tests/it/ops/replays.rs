//! Replays that the relay carries out, before the plain-map store; a test plays the engine.

use std::collections::BTreeSet;

use braze_relay::store::{DeadFilter, Operate as _};
use serde_json::json;

use super::*;
use crate::support::until;

const REPLAYS: &str = "/api/v1/replays";

fn updates() -> Lane {
    "acme/users_track".parse().unwrap()
}

/// So many letters that were rejected at their update.
async fn rejected(world: &World, count: usize) -> Vec<JobId> {
    let mut ids = Vec::new();
    for number in 0..count {
        ids.push(world.rejected(&format!("p{number}@example.com")).await);
    }
    ids
}

/// Nobody knows whether it has happened.
fn unknown() -> Fate {
    let burial = burial(Reason::UnknownOutcome, Class::UnknownOutcome);
    let job = failed(&burial);
    Fate::Bury { job, burial }
}

/// A replay in which whatever there is has room.
fn quick() -> Value {
    json!({"filter": {"reason": "rejected"}, "rate": 1_000_000, "expected": 60})
}

impl World {
    async fn replay(&self, number: u64) -> Value {
        self.get(&format!("{REPLAYS}/{number}")).await.json()
    }

    /// Asks until it is so.
    async fn until(&self, number: u64, so: impl Fn(&Value) -> bool) -> Value {
        until("the replay is so", Duration::from_secs(20), async || {
            Some(self.replay(number).await).filter(&so)
        })
        .await
    }

    /// Somebody whose update may have reached Braze, or not.
    async fn parked(&self, email: &str) -> JobId {
        let id = self.append(vec![running(email)]).await[0];
        let leased = self.lend_all(&look_ups()).await.remove(0);
        self.settle(&leased, unknown()).await;
        id
    }

    /// It has come so far once more.
    async fn settle_unknown(&self) {
        let leased = self.lend_all(&updates()).await;
        let last = leased.iter().max_by_key(|leased| leased.token.id);
        self.settle(last.unwrap(), unknown()).await;
    }

    async fn change(&self, number: u64, what: &str) -> Said {
        let path = format!("{REPLAYS}/{number}/{what}");
        self.post(&path, &json!({})).await
    }

    /// What is lent in the lane of updates dies again, or is done.
    async fn settle_all(&self, dies: impl Fn(usize) -> bool) -> Vec<JobId> {
        let late = today() + DAY * 2;
        let lent = self.store.lease(&updates(), late, 10_000).await.unwrap();
        for (place, leased) in lent.iter().enumerate() {
            let fate = if dies(place) {
                let burial = burial(Reason::Rejected, Class::Rejected);
                let job = leased.job.clone();
                Fate::Bury { job, burial }
            } else {
                Fate::Finish(Outcome::Updated)
            };
            self.settle(leased, fate).await;
        }
        lent.iter().map(|leased| leased.token.id).collect()
    }
}

/// A replay of sixty letters that has let at least so many live.
async fn under_way(world: &World, revived: u64) {
    rejected(world, 60).await;
    let asked = json!({"filter": {"reason": "rejected"}, "rate": 25});
    world.post(REPLAYS, &asked).await;
    let enough = |row: &Value| row["revived"].as_u64().unwrap() >= revived;
    world.until(1, enough).await;
}

#[tokio::test]
async fn a_replay_lets_all_that_match_live_once_and_tells_what_becomes_of_them() {
    let world = World::free().await;
    let ids = rejected(&world, 60).await;
    world.append(vec![posted("gone", "x@example.com")]).await;
    let begun = world.post(REPLAYS, &quick()).await.json();
    assert_eq!(
        (&begun["number"], &begun["state"]),
        (&json!(1), &json!("running"))
    );
    assert_eq!(begun["who"], "local");
    let row = world.until(1, |row| row["state"] == "finished").await;
    assert_eq!((&row["revived"], &row["living"]), (&json!(60), &json!(60)));
    assert_eq!(row["left"], 0);
    let lived = world.settle_all(|place| place < 3).await;
    assert_eq!(BTreeSet::from_iter(lived), BTreeSet::from_iter(ids));
    let row = world.replay(1).await;
    assert_eq!(
        (&row["delivered"], &row["died_again"], &row["living"]),
        (&json!(57), &json!(3), &json!(0))
    );
    let left = world
        .store
        .dead_list(DeadFilter::default(), None, 99)
        .await
        .unwrap();
    assert_eq!(
        left.items.len(),
        4,
        "those that died again, and the one that did not match"
    );
    let audit = world.get("/api/v1/audit").await.json();
    let what = |place: usize| audit["items"][place]["what"].clone();
    assert_eq!((what(1), what(0)), (json!("replay begin"), json!("replay")));
    assert_eq!(audit["items"][0]["who"], "relay");
    assert_eq!(audit["items"][0]["counts"]["revived"], 60);
    assert_eq!(audit["items"][0]["outcome"], "finished");
}

#[tokio::test]
async fn a_replay_is_paused_resumed_and_cancelled() {
    let world = World::free().await;
    rejected(&world, 3).await;
    // So slow that none ever goes.
    world.post(REPLAYS, &json!({"rate": 0.000_001})).await;
    assert_eq!(world.change(1, "pause").await.json()["state"], "paused");
    assert_eq!(world.replay(1).await["state"], "paused");
    assert_eq!(world.change(1, "pause").await.refusal(), 409);
    assert_eq!(world.change(1, "resume").await.json()["state"], "running");
    assert_eq!(world.change(1, "cancel").await.json()["state"], "cancelled");
    for what in ["pause", "resume", "cancel"] {
        assert_eq!(world.change(1, what).await.refusal(), 409, "{what}");
    }
    assert_eq!(world.change(1, "forget").await.refusal(), 404);
    let audit = world.get("/api/v1/audit").await.json();
    let items = audit["items"].as_array().unwrap().iter().rev();
    let done: Vec<_> = items
        .map(|it| it["what"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        done,
        [
            "replay begin",
            "replay pause",
            "replay resume",
            "replay cancel"
        ]
    );
    let row = world.replay(1).await;
    assert_eq!(
        (&row["revived"], &row["state"]),
        (&json!(0), &json!("cancelled"))
    );
    assert!(row["ended_at"].is_string());
}

#[tokio::test]
async fn what_dies_after_it_began_is_not_its_own() {
    let world = World::free().await;
    rejected(&world, 3).await;
    let early = (today() - DAY).to_string();
    let asked = json!({"filter": {"until": early}, "rate": 1_000_000});
    world.post(REPLAYS, &asked).await;
    let row = world.until(1, |row| row["state"] == "finished").await;
    assert_eq!(row["revived"], 0);
    // It cannot be asked for either.
    let late = (today() + DAY * 9).to_string();
    let asked = json!({"filter": {"until": late}, "rate": 1_000_000});
    let row = world.post(REPLAYS, &asked).await.json();
    assert_eq!(row["filter"]["until"], row["began_at"]);
}

#[tokio::test]
async fn more_than_its_share_of_deaths_stops_it_and_resume_begins_to_count_anew() {
    let world = World::free().await;
    under_way(&world, 20).await;
    let lived = world.settle_all(|place| place < 5).await.len();
    assert!(lived < 60, "there must be some left to stop for");
    let row = world.until(1, |row| row["state"] != "running").await;
    assert_eq!(row["state"], "stopped_itself", "{row}");
    assert!(
        row["why"].as_str().unwrap().ends_with("died again"),
        "{row}"
    );
    let before = row["revived"].clone();
    let row = world.change(1, "resume").await.json();
    assert_eq!(
        (&row["state"], &row["revived"]),
        (&json!("running"), &before)
    );
    let row = world.until(1, |row| row["state"] != "running").await;
    assert_eq!(
        (&row["state"], &row["revived"]),
        (&json!("finished"), &json!(60))
    );
}

#[tokio::test]
async fn a_restart_goes_on_where_it_was_and_lets_nothing_live_twice() {
    let world = World::free().await;
    under_way(&world, 5).await;
    // Whoever lives dies again, at a moment before it began: as after a leap of the clock.
    world.settle_all(|_| true).await;
    let crashed = world.store.crash();
    // The paper of an earlier moment: the crash came before the last one was written.
    let shelf = braze_relay::store::Shelf::of("replay/");
    let papers = crashed.papers(shelf, 9).await.unwrap();
    let mut early: Value = serde_json::from_str(papers[0].text()).unwrap();
    early["cursor"] = Value::Null;
    early["stop_at"] = json!(1.0);
    let early = braze_relay::store::Paper::new(papers[0].name(), early.to_string()).unwrap();
    crashed.put_papers(vec![early], Vec::new()).await.unwrap();
    drop(world);
    let world = World::freely(crashed).await;
    let row = world.until(1, |row| row["state"] == "finished").await;
    assert_eq!(row["revived"], 60, "each once: {row}");
}

#[tokio::test]
async fn a_preview_tells_how_many_why_and_how_fast_and_does_nothing() {
    let world = World::free().await;
    rejected(&world, 7).await;
    world.append(vec![posted("gone", "x@example.com")]).await;
    let preview = async |body| world.post("/api/v1/replays/preview", &body).await.json();
    let all = preview(json!({})).await;
    assert_eq!(all["count"], 8);
    assert_eq!(
        all["by_reason"],
        json!({"rejected": 7, "unknown_activation": 1})
    );
    assert_eq!(all["still_dead"], json!({"unknown_activation": 1}));
    // 40 requests of one object a second, and a quarter of that.
    let tracks = json!({"letters": 7, "per_second": 10.0, "held": null});
    let quikly = json!({"letters": 7, "per_second": 10.0, "held": null});
    assert_eq!(
        all["lanes"],
        json!({"acme/users_track": tracks, "acme/quikly": quikly})
    );
    assert_eq!(all["sample"].as_array().unwrap().len(), 5);
    let half = preview(json!({"filter": {"limit": 3}, "budget": 0.5})).await;
    assert_eq!(
        (
            &half["count"],
            &half["lanes"]["acme/users_track"]["per_second"]
        ),
        (&json!(3), &json!(20.0))
    );
    assert!(half["next"].is_string());
    let slow = preview(json!({"rate": 2.0})).await;
    assert_eq!(
        slow["lanes"],
        json!({"rate": {"letters": 7, "per_second": 2.0, "held": null}})
    );
    assert_eq!(world.get(REPLAYS).await.json(), json!({"items": []}));
    assert_eq!(
        world.get("/api/v1/status").await.json()["events"]["dead"],
        8
    );
}

#[tokio::test]
async fn what_is_held_keeps_a_replay_waiting_and_says_so() {
    let world = World::open().await;
    rejected(&world, 3).await;
    // Their activation is held, as the desk of these tests has it; and so is their credit's lane.
    world.post(REPLAYS, &json!({})).await;
    let row = world.until(1, |row| row["why"].is_string()).await;
    let why = row["why"].as_str().unwrap();
    assert!(why.contains("held"), "{why}");
    assert_eq!(
        (&row["state"], &row["revived"]),
        (&json!("running"), &json!(0))
    );
}

#[tokio::test]
async fn what_is_no_replay_is_refused() {
    let world = World::free().await;
    for wrong in [
        json!([]),
        json!({"rate": 1, "budget": 0.5}),
        json!({"rate": 0}),
        json!({"budget": 1.5}),
        json!({"budget": 0}),
        json!({"stop_at": 2}),
        json!({"filter": {"participant": "nobody"}}),
        json!({"filter": {"limit": 5}}),
        json!({"filter": {"reson": "x"}}),
        json!({"all": true}),
    ] {
        assert_eq!(world.post(REPLAYS, &wrong).await.refusal(), 400, "{wrong}");
    }
    assert_eq!(world.get("/api/v1/replays/7").await.refusal(), 404);
    assert_eq!(world.get("/api/v1/replays/x").await.refusal(), 400);
    assert_eq!(world.change(7, "pause").await.refusal(), 404);
    // So many that are not over are enough.
    world.rejected("ada@example.com").await;
    for _ in 0..20 {
        assert_eq!(
            world
                .post(REPLAYS, &json!({"rate": 0.000_001}))
                .await
                .status,
            200
        );
    }
    assert_eq!(
        world.post(REPLAYS, &json!({"rate": 1})).await.refusal(),
        409
    );
}

#[tokio::test]
async fn what_may_have_happened_is_replayed_only_where_just_that_is_asked_for() {
    let world = World::free().await;
    rejected(&world, 3).await;
    let unknown = world.parked("ada@example.com").await;
    let of_ada = json!({"filter": {"participant": "ada@example.com"}, "rate": 1_000_000});
    let preview = world.post("/api/v1/replays/preview", &of_ada).await.json();
    assert_eq!(
        (&preview["count"], &preview["left_out"]),
        (&json!(0), &json!(1))
    );
    assert_eq!(
        (&preview["by_reason"], &preview["sample"]),
        (&json!({}), &json!([]))
    );
    let all = json!({"rate": 1_000_000});
    let preview = world.post("/api/v1/replays/preview", &all).await.json();
    assert_eq!(
        (&preview["count"], &preview["left_out"]),
        (&json!(3), &json!(1))
    );
    for (number, asked) in [(1, of_ada), (2, all)] {
        world.post(REPLAYS, &asked).await;
        let row = world.until(number, |row| row["state"] == "finished").await;
        assert_eq!(row["left_out"], 1, "{row}");
    }
    let there = world.get(&format!("/api/v1/dead/{unknown}")).await;
    assert_eq!(there.status, 200, "it is still dead");
    assert_eq!(world.replay(2).await["revived"], 3);

    let meant = json!({"filter": {"reason": "unknown_outcome"}, "rate": 1_000_000});
    let preview = world.post("/api/v1/replays/preview", &meant).await.json();
    assert_eq!(
        (&preview["count"], &preview["left_out"]),
        (&json!(1), &json!(0))
    );
    world.post(REPLAYS, &meant).await;
    let row = world.until(3, |row| row["state"] == "finished").await;
    assert_eq!((&row["revived"], &row["left_out"]), (&json!(1), &json!(0)));
    // Or where it is named.
    world.settle_unknown().await;
    let named = json!({ "ids": [unknown] });
    let said = world.post("/api/v1/dead/replay", &named).await.json();
    assert_eq!(said["revived"], 1);
}
