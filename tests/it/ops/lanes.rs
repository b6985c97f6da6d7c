//! Holding and releasing lanes and activations.

use serde_json::json;

use super::*;

const HOLD: &str = "/api/v1/lanes/hold";
const RELEASE: &str = "/api/v1/lanes/release";

fn names() -> Value {
    json!(["acme/users_export_ids", "acme/users_track", "acme/quikly"])
}

#[tokio::test]
async fn lanes_and_activations_are_held_and_released_by_name_or_all() {
    let world = World::open().await;
    let later = (today() + DAY + Duration::from_mins(10)).to_string();
    for (path, body, lanes, activations) in [
        (
            HOLD,
            json!({"lane": "acme/quikly"}),
            json!(["acme/quikly"]),
            json!([]),
        ),
        (
            HOLD,
            json!({"activation": "spring-drop"}),
            json!([]),
            json!(["spring-drop"]),
        ),
        (HOLD, json!({"all": true}), names(), json!([])),
        (
            RELEASE,
            json!({"lane": "acme/quikly"}),
            json!(["acme/quikly"]),
            json!([]),
        ),
        (
            RELEASE,
            json!({"activation": "spring-drop"}),
            json!([]),
            json!(["spring-drop"]),
        ),
        (
            RELEASE,
            json!({"all": true}),
            names(),
            json!(["spring-drop"]),
        ),
    ] {
        let changed = world.post(path, &body).await.json();
        assert_eq!(
            (&changed["lanes"], &changed["activations"]),
            (&lanes, &activations),
            "{body}"
        );
        assert_eq!(changed["until"], Value::Null);
        if path == HOLD {
            let mut body = body;
            body["for_seconds"] = 600.into();
            let until = world.post(path, &body).await.json()["until"].clone();
            // The clock of these tests goes on.
            assert!(until.as_str().unwrap() >= later.as_str(), "{until}");
        }
    }
    // What they were is what the engine was told.
    let told = world.told.lock().unwrap().clone();
    assert_eq!(told[0], "hold acme/quikly");
    assert!(
        told[1].starts_with("hold acme/quikly until 2026-"),
        "{told:?}"
    );
    assert_eq!(told.last().unwrap(), "release spring-drop");
    assert_eq!(told.len(), 2 * (1 + 1 + 3) + 1 + 1 + 4);
}

#[tokio::test]
async fn what_is_not_there_is_404_and_what_makes_no_sense_400() {
    let world = World::open().await;
    for path in [HOLD, RELEASE] {
        for (body, status) in [
            (json!({"lane": "acme/users_delete"}), 404),
            (json!({"lane": "nowhere"}), 404),
            (json!({"activation": "nowhere"}), 404),
            (json!({}), 400),
            (json!({"all": false}), 400),
            (json!({"all": true, "lane": "acme/quikly"}), 400),
            (
                json!({"activation": "spring-drop", "lane": "acme/quikly"}),
                400,
            ),
            (json!({"lanes": ["acme/quikly"]}), 400),
            (json!({"lane": 3}), 400),
            (json!([]), 400),
        ] {
            assert_eq!(
                world.post(path, &body).await.refusal(),
                status,
                "{path} {body}"
            );
        }
        assert_eq!(world.get(path).await.refusal(), 405);
    }
    let zero = json!({"all": true, "for_seconds": 0});
    assert_eq!(world.post(HOLD, &zero).await.refusal(), 400);
    let for_a_release = json!({"all": true, "for_seconds": 60});
    assert_eq!(world.post(RELEASE, &for_a_release).await.refusal(), 400);
    let with_reason = json!({"all": true, "because": "an outage"});
    assert_eq!(world.post(RELEASE, &with_reason).await.refusal(), 400);
    assert_eq!(*world.told.lock().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn only_an_operator_holds() {
    let tokens = vec![
        ("look".into(), Role::Viewer),
        ("act".into(), Role::Operator),
    ];
    let world = World::with_tokens(tokens).await;
    for path in [HOLD, RELEASE] {
        for (authorization, kind, status) in [
            ("Bearer wrong", "application/json", 401),
            ("Bearer look", "application/json", 403),
            ("Bearer act", "text/plain", 415),
            ("Bearer act", "application/json", 200),
        ] {
            let headers = [("authorization", authorization), ("content-type", kind)];
            let body = Some("{\"lane\": \"acme/quikly\"}");
            let said = world.ask(Method::POST, path, &headers, body).await;
            assert_eq!(said.status, status, "{path} {authorization} {kind}");
        }
    }
}

#[tokio::test]
async fn why_something_is_held_is_in_the_audit_without_anybodys_address() {
    let world = World::open().await;
    let because = "ada@example.com complains";
    let body = json!({"lane": "acme/quikly", "because": because});
    world.post(HOLD, &body).await.json();
    let audit = world.get("/api/v1/audit").await.json();
    let entry = &audit["items"][0];
    assert_eq!(entry["what"], "lane hold");
    let why = entry["why"].as_str().unwrap();
    assert!(
        why.ends_with(" complains") && !why.contains("ada"),
        "{entry}"
    );
    assert_eq!(entry["which"], json!({"lane": "acme/quikly"}));
}
