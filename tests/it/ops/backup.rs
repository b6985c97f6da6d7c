//! `POST /api/v1/backup`.

use braze_relay::store::Operate;
use braze_relay::store::archive::{Reader, Seal};

use super::*;

#[tokio::test]
async fn a_backup_is_for_operators_and_another_store_can_be_made_of_it() {
    let world = World::with_tokens(vec![
        ("look".into(), Role::Viewer),
        ("act".into(), Role::Operator),
    ])
    .await;
    let dead = world.rejected("ada@example.com").await;
    world.append(vec![running("bo@example.com")]).await;
    let ask = async |method: Method, token: &str| {
        let authorization = format!("Bearer {token}");
        let headers = [
            ("authorization", authorization.as_str()),
            ("content-type", "application/json"),
        ];
        world
            .ask(method, "/api/v1/backup", &headers, Some("{}"))
            .await
    };
    assert_eq!(ask(Method::POST, "look").await.refusal(), 403);
    assert_eq!(ask(Method::GET, "act").await.refusal(), 405);
    let said = ask(Method::POST, "act").await;
    assert_eq!(
        (said.status, said.kind.as_str()),
        (200, "application/x-ndjson")
    );
    let mut seal = Seal::default();
    seal.push(said.text.as_bytes());
    assert_eq!(seal.finish().unwrap().counts["letter"], 1);
    let reader = Reader::new(said.text.as_bytes()).unwrap();
    let secret = reader.head().secret.0;
    let entries: Vec<_> = reader.map(|entry| Ok(entry.unwrap())).collect();
    let other = MapStore::import(Settings::default(), secret, entries).unwrap();
    assert!(other.dead_get(dead).await.unwrap().is_some());
    let counts = async |store: &MapStore| store.counts(today()).await.unwrap().events;
    assert_eq!(counts(&other).await, counts(&world.store).await);
}
