//! Forgetting through the listener: who may, what is told, and that nothing told says who it was.

use braze_relay::model::Name;
use braze_relay::model::rules::RetryPolicy;
use serde_json::json;

use super::*;

const FORGET: &str = "/api/v1/forget";
const ADA: &str = "ada@example.com";

fn erasing(world: &World) {
    let book = RuleBook::new([spring()]).erasing(&[Name::from("acme")], RetryPolicy::default());
    world.rules.send_replace(Arc::new(book));
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
    assert_eq!(told["erasures"].as_array().unwrap().len(), 1);
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
        assert!(!said.text.contains("ada"), "{}", said.text);
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
        assert!(!said.text.contains("ada"), "{}", said.text);
    }
    assert_eq!(world.get("/api/v1/forget/7").await.refusal(), 404);
    assert_eq!(world.get("/api/v1/forget/x").await.status, 400);
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
