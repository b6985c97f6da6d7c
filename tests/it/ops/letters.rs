//! Dead letters: list, show, replay.

use braze_relay::store::DeadFilter;
use braze_relay::store::Operate as _;
use serde_json::json;

use super::*;

const ADA: &str = "ada.lovelace@example.com";

#[tokio::test]
async fn a_letter_is_listed_masked_shown_whole_and_lives_again() {
    let world = World::open().await;
    let id = world.rejected(ADA).await;
    let page = world.get("/api/v1/dead").await.json();
    let item = &page["items"][0];
    assert_eq!(page["next"], Value::Null);
    assert_eq!(item["id"], id.to_string());
    assert_eq!(item["event_id"], id.event.to_string());
    assert_eq!(item["participant"], "a***@example.com");
    assert_eq!(item["step"], "update");
    assert_eq!(item["reason"], "rejected");
    assert_eq!(item["answer"], json!({ "status": 400, "text": "refused" }));
    assert_eq!(item["died_at"], today().to_string());
    assert_eq!(
        (&item["attempts"], &item["failures"]),
        (&json!(1), &json!(2))
    );

    let shown = world.get(&format!("/api/v1/dead/{id}")).await.json();
    assert_eq!(shown["id"], id.to_string());
    assert_eq!(shown["participant"], ADA);
    assert_eq!(shown["history"][0]["step"], "update");
    assert_eq!(shown["event"]["q_scope"], "spring-drop");
    assert_eq!(shown["event"]["type"], "participation");
    assert_eq!(shown["event"]["email"], ADA);
    assert_eq!(shown["event"]["attributes"], json!({ "level": 3 }));

    let body = json!({ "ids": [id.to_string(), id.to_string()] });
    let replayed = world.post("/api/v1/dead/replay", &body).await.json();
    assert_eq!(replayed["revived"], 1);
    assert_eq!(replayed["still_dead"], json!([]));
    assert_eq!(replayed["not_found"], json!([]));
    assert_eq!(
        world.get(&format!("/api/v1/dead/{id}")).await.refusal(),
        404
    );

    // It goes on where it failed, under the same id.
    let lane = "acme/users_track".parse().unwrap();
    let leased = world.lend_all(&lane).await.remove(0);
    assert_eq!(leased.token.id, id);
    assert_eq!(leased.job.state.step(), "update");
    assert_eq!(leased.job.history.len(), 1);

    let again = world.post("/api/v1/dead/replay", &body).await.json();
    assert_eq!(again["revived"], 0);
    assert_eq!(again["not_found"], json!([id.to_string()]));
}

#[tokio::test]
async fn what_cannot_run_today_stays_dead_and_runs_once_it_is_configured() {
    let world = World::open().await;
    let id = world.append(vec![posted("autumn", ADA)]).await[0];
    let body = json!({ "ids": [id.to_string()] });
    let refused = world.post("/api/v1/dead/replay", &body).await.json();
    assert_eq!(refused["revived"], 0);
    let still = json!([{ "id": id.to_string(), "reason": "unknown_activation" }]);
    assert_eq!(refused["still_dead"], still);

    let autumn = Rules {
        scope: "autumn".into(),
        ..spring()
    };
    world.rules.send_replace(Arc::new(RuleBook::new([autumn])));
    let replayed = world.post("/api/v1/dead/replay", &body).await.json();
    assert_eq!(replayed["revived"], 1);
    assert_eq!(world.lend_all(&look_ups()).await.len(), 1);
}

#[tokio::test]
async fn filters_choose_and_pages_go_on() {
    let world = World::open().await;
    let rejected = world.rejected(ADA).await;
    world
        .append(
            (0..5)
                .map(|n| posted("gone", &format!("p{n}@example.com")))
                .collect(),
        )
        .await;
    let ids = async |query: &str| {
        let mut found = Vec::new();
        let mut after = String::new();
        loop {
            let page = world
                .get(&format!("/api/v1/dead?limit=2{query}{after}"))
                .await
                .json();
            for item in page["items"].as_array().unwrap() {
                found.push(item["id"].as_str().unwrap().to_owned());
            }
            match page["next"].as_str() {
                None => return found,
                Some(next) => after = format!("&after={next}"),
            }
        }
    };
    for (query, count) in [
        ("", 6),
        ("&workspace=acme", 1),
        ("&workspace=other", 0),
        ("&activation=gone", 5),
        ("&flow=email", 1),
        ("&reason=unknown_activation", 5),
        ("&class=rejected", 1),
        ("&class=configuration", 5),
        ("&reason=rejected&class=configuration", 0),
        ("&until=2020-01-01T00:00:00Z", 0),
    ] {
        assert_eq!(ids(query).await.len(), count, "{query}");
    }
    assert_eq!(ids("&class=rejected").await, [rejected.to_string()]);
}

#[tokio::test]
async fn a_replay_of_all_takes_only_what_matches_and_was_dead_when_it_began() {
    let world = World::open().await;
    for n in 0..5 {
        world.rejected(&format!("p{n}@example.com")).await;
    }
    world.append(vec![posted("gone", ADA)]).await;
    let mut body = json!({ "all": true, "reason": "rejected", "limit": 2 });
    let (mut revived, mut calls) = (0, 0);
    loop {
        let replayed = world.post("/api/v1/dead/replay", &body).await.json();
        revived += replayed["revived"].as_u64().unwrap();
        calls += 1;
        body["until"] = replayed["until"].clone();
        assert!(body["until"].is_string());
        match &replayed["next"] {
            Value::Null => break,
            next => body["after"] = next.clone(),
        }
    }
    assert_eq!(revived, 5);
    assert!(calls >= 3, "a bounded slice at a time");
    let left = world
        .store
        .dead_list(DeadFilter::default(), None, 10)
        .await
        .unwrap();
    assert_eq!(left.items.len(), 1);

    let earlier = (today() - DAY).to_string();
    world.rejected(ADA).await;
    let body = json!({ "all": true, "reason": "rejected", "until": earlier });
    let replayed = world.post("/api/v1/dead/replay", &body).await.json();
    assert_eq!(replayed["revived"], 0);
}

#[tokio::test]
async fn what_cannot_be_understood_changes_nothing() {
    let world = World::open().await;
    let id = world.rejected(ADA).await.to_string();
    for body in [
        json!({}),
        json!({ "ids": [] }),
        json!({ "all": false }),
        json!({ "ids": [id], "all": true }),
        json!({ "ids": [id], "reason": "rejected" }),
        json!({ "ids": ["not-an-id"] }),
        json!({ "all": true, "reson": "rejected" }),
        json!({ "all": true, "reason": "no such reason" }),
        json!({ "all": true, "limit": 0 }),
        json!([]),
    ] {
        let said = world.post("/api/v1/dead/replay", &body).await;
        assert_eq!(said.refusal(), 400, "{body}");
    }
    for query in [
        "reson=rejected",
        "reason=no",
        "limit=0",
        "limit=1001",
        "after=x",
        "all=true",
    ] {
        let said = world.get(&format!("/api/v1/dead?{query}")).await;
        assert_eq!(said.refusal(), 400, "{query}");
    }
    assert_eq!(world.get("/api/v1/dead/not-an-id").await.refusal(), 400);
    assert_eq!(world.get("/api/v1/dead/replay").await.refusal(), 405);
    assert_eq!(world.get(&format!("/api/v1/dead/{id}")).await.status, 200);
}
