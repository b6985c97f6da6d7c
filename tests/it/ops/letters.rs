//! Dead letters: list, count, show, discard, and replay by id.

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
        ("&since=2020-01-01T00:00:00Z", 6),
        ("&participant=%20ADA.Lovelace@example.com", 1),
        ("&participant=p3@example.com&reason=rejected", 0),
        ("&text=REFUSED", 1),
    ] {
        assert_eq!(ids(query).await.len(), count, "{query}");
    }
    assert_eq!(ids("&class=rejected").await, [rejected.to_string()]);
    let page = world.get("/api/v1/dead?class=rejected").await.json();
    let hash = page["items"][0]["participant_hash"].as_str().unwrap();
    let of_hash = ids(&format!("&participant={}", hash.to_uppercase())).await;
    assert_eq!(of_hash, [rejected.to_string()]);
}

#[tokio::test]
async fn letters_are_counted_by_reason_whatever_chooses_them() {
    let world = World::open().await;
    world.rejected(ADA).await;
    let gone = (0..5).map(|n| posted("gone", &format!("p{n}@example.com")));
    world.append(gone.collect()).await;
    for (query, expected) in [
        ("", json!({"rejected": 1, "unknown_activation": 5})),
        ("workspace=acme", json!({"rejected": 1})),
        ("workspace=none", json!({})),
        (
            "reason=unknown_activation",
            json!({"unknown_activation": 5}),
        ),
        ("flow=email", json!({"rejected": 1})),
        ("flow=sms", json!({})),
        ("activation=gone", json!({"unknown_activation": 5})),
        ("activation=spring-drop", json!({"rejected": 1})),
        ("workspace=acme&activation=gone", json!({})),
        ("class=rejected", json!({"rejected": 1})),
        ("text=refused", json!({"rejected": 1})),
    ] {
        let counts = world.get(&format!("/api/v1/dead/counts?{query}")).await;
        let counts = counts.json();
        assert_eq!(counts["by_reason"], expected, "{query}");
        let sum: u64 = expected
            .as_object()
            .unwrap()
            .values()
            .filter_map(Value::as_u64)
            .sum();
        assert_eq!(
            (&counts["count"], &counts["next"]),
            (&json!(sum), &Value::Null)
        );
    }
}

#[tokio::test]
async fn what_is_discarded_is_gone_counted_and_in_the_audit_with_why() {
    let world = World::open().await;
    let id = world.rejected(ADA).await;
    let other = world.rejected("bo@example.com").await;
    let gone = (0..5).map(|n| posted("gone", &format!("p{n}@example.com")));
    world.append(gone.collect()).await;
    let body =
        json!({"ids": [id, id, "00000000-0000-7000-8000-000000000000.0"], "because": "a test"});
    let said = world.post("/api/v1/dead/discard", &body).await.json();
    assert_eq!(said["discarded"], 1);
    assert_eq!(said["not_found"].as_array().unwrap().len(), 1);
    assert_eq!(
        world.get(&format!("/api/v1/dead/{id}")).await.refusal(),
        404
    );

    let mut body =
        json!({"filter": {"activation": "gone", "limit": 2}, "because": "never configured"});
    let mut discarded = 0;
    loop {
        let said = world.post("/api/v1/dead/discard", &body).await.json();
        discarded += said["discarded"].as_u64().unwrap();
        body["filter"]["after"] = said["next"].clone();
        body["filter"]["until"] = said["until"].clone();
        if said["next"].is_null() {
            break;
        }
    }
    assert_eq!(discarded, 5);
    let events = world.get("/api/v1/status").await.json()["events"].clone();
    assert_eq!(
        (&events["discarded"], &events["dead"], &events["adds_up"]),
        (&json!(6), &json!(1), &json!(true))
    );
    assert_eq!(
        world.get(&format!("/api/v1/dead/{other}")).await.status,
        200
    );
    let audit = world.get("/api/v1/audit").await.json();
    let items = audit["items"].as_array().unwrap();
    assert_eq!(items.last().unwrap()["why"], "a test");
    assert_eq!(items[0]["why"], "never configured");
    let counted = items
        .iter()
        .filter_map(|it| it["counts"]["discarded"].as_u64());
    assert_eq!(counted.sum::<u64>(), 6);

    for wrong in [
        json!({"ids": [other]}),
        json!({"ids": [other], "because": " "}),
        json!({"ids": [], "because": "x"}),
        json!({"because": "x"}),
        json!({"ids": [other], "filter": {}, "because": "x"}),
        json!({"filter": {"reson": "x"}, "because": "x"}),
    ] {
        let said = world.post("/api/v1/dead/discard", &wrong).await;
        assert_eq!(said.refusal(), 400, "{wrong}");
    }
    assert_eq!(
        world.get(&format!("/api/v1/dead/{other}")).await.status,
        200
    );
}

#[tokio::test]
async fn what_cannot_be_understood_changes_nothing() {
    let world = World::open().await;
    let id = world.rejected(ADA).await.to_string();
    for body in [
        json!({}),
        json!({ "ids": [] }),
        json!({ "all": true }),
        json!({ "ids": [id], "reason": "rejected" }),
        json!({ "ids": ["not-an-id"] }),
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
        "participant=ada",
        "participant=ada@@example.com",
        "since=yesterday",
    ] {
        let said = world.get(&format!("/api/v1/dead?{query}")).await;
        assert_eq!(said.refusal(), 400, "{query}");
    }
    assert_eq!(world.get("/api/v1/dead/not-an-id").await.refusal(), 400);
    assert_eq!(
        world.get("/api/v1/forget/not-a-number").await.refusal(),
        400
    );
    assert_eq!(world.get("/api/v1/dead/%ff").await.refusal(), 400);
    let long = json!({"ids": [], "because": "x".repeat(3 << 20)});
    let said = world.post("/api/v1/dead/discard", &long).await;
    assert_eq!(said.refusal(), 413);
    assert_eq!(world.get("/api/v1/dead/replay").await.refusal(), 405);
    assert_eq!(world.get(&format!("/api/v1/dead/{id}")).await.status, 200);
}
