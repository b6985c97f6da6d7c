//! The audit of what operators change.

use braze_relay::store::{Operate, Paper, Shelf};
use serde_json::json;

use super::*;

const AUDIT: &str = "/api/v1/audit";
const HOLD: &str = "/api/v1/lanes/hold";

#[tokio::test]
async fn every_change_is_written_down_with_who_what_and_how_many() {
    let world = World::open().await;
    let id = world.rejected("ada@example.com").await;
    assert_eq!(
        world.get(AUDIT).await.json(),
        json!({"items": [], "next": null})
    );
    let hold = json!({"lane": "acme/quikly", "for_seconds": 60});
    world.post(HOLD, &hold).await;
    let release = json!({"all": true});
    world.post("/api/v1/lanes/release", &release).await;
    world
        .post("/api/v1/dead/replay", &json!({"ids": [id]}))
        .await;
    // What is refused changes nothing.
    let nowhere = json!({"lane": "acme/nowhere"});
    assert_eq!(world.post(HOLD, &nowhere).await.refusal(), 404);

    let audit = world.get(AUDIT).await.json();
    let items = audit["items"].as_array().unwrap();
    let told: Vec<_> = items
        .iter()
        .map(|it| {
            json!([
                it["number"],
                it["who"],
                it["what"],
                it["which"],
                it["counts"]
            ])
        })
        .collect();
    assert_eq!(
        told,
        [
            json!([3, "local", "dead replay", {"ids": [id]},
                {"revived": 1, "still_dead": 0, "not_found": 0}]),
            json!([2, "local", "lane release", release, {"lanes": 3, "activations": 1}]),
            json!([1, "local", "lane hold", hold, {"lanes": 1, "activations": 0}]),
        ]
    );
    let at: Timestamp = serde_json::from_value(items[0]["at"].clone()).unwrap();
    assert!(at >= today() + DAY);
    assert_eq!(audit["next"], Value::Null);
}

#[tokio::test]
async fn whoever_has_a_token_is_named_by_role_and_number_and_never_by_the_token() {
    let tokens = vec![
        ("look-token".into(), Role::Viewer),
        ("first-token".into(), Role::Operator),
        ("other-token".into(), Role::Operator),
    ];
    let world = World::with_tokens(tokens).await;
    let ask = async |method, path: &str, token: &str, body: Option<&str>| {
        let bearer = format!("Bearer {token}");
        let headers = [
            ("content-type", "application/json"),
            ("authorization", bearer.as_str()),
        ];
        world.ask(method, path, &headers, body).await
    };
    let all = r#"{"all": true}"#;
    assert_eq!(
        ask(Method::POST, HOLD, "look-token", Some(all))
            .await
            .refusal(),
        403
    );
    assert_eq!(
        ask(Method::POST, HOLD, "other-token", Some(all))
            .await
            .status,
        200
    );
    assert_eq!(world.get(AUDIT).await.refusal(), 401);
    let seen = ask(Method::GET, AUDIT, "look-token", None).await;
    assert!(!seen.text.contains("token"), "{}", seen.text);
    let seen = seen.json();
    assert_eq!(seen["items"].as_array().unwrap().len(), 1);
    assert_eq!(seen["items"][0]["who"], "operator-3");
}

#[tokio::test]
async fn the_audit_is_read_from_its_newest_entry_by_a_cursor() {
    let world = World::open().await;
    for _ in 0..5 {
        world.post(HOLD, &json!({"all": true})).await;
    }
    let mut path = format!("{AUDIT}?limit=2");
    let mut seen = Vec::new();
    loop {
        let page = world.get(&path).await.json();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 2);
        seen.extend(items.iter().map(|it| it["number"].as_u64().unwrap()));
        match page["next"].as_u64() {
            None => break,
            Some(next) => path = format!("{AUDIT}?limit=2&after={next}"),
        }
    }
    assert_eq!(seen, [5, 4, 3, 2, 1]);
    for wrong in ["limit=0", "limit=1001", "after=x", "before=3"] {
        let path = format!("{AUDIT}?{wrong}");
        assert_eq!(world.get(&path).await.refusal(), 400, "{wrong}");
    }
}

#[tokio::test]
async fn it_goes_on_behind_what_an_earlier_process_wrote_and_forgets_what_is_old() {
    let store = MapStore::new(Settings::default());
    let name = |number: u64| format!("audit/{number:020}");
    let old = |number| Paper::new(name(number), "{}").unwrap();
    let put = vec![old(1), old(2), old(10_000)];
    store.put_papers(put, Vec::new()).await.unwrap();
    let world = World::on(store.clone(), Vec::new()).await;
    world.post(HOLD, &json!({"all": true})).await;
    let left = store.papers(Shelf::of("audit/"), 9).await.unwrap();
    let left: Vec<_> = left.iter().map(Paper::name).collect();
    assert_eq!(left, [name(2), name(10_000), name(10_001)]);
}

#[tokio::test]
async fn an_entry_names_every_letter_that_was_asked_for() {
    let world = World::open().await;
    let ids: Vec<String> = (0..120)
        .map(|number| format!("00000000-0000-7000-8000-{number:012}"))
        .collect();
    let replay = json!({ "ids": ids });
    assert_eq!(world.post("/api/v1/dead/replay", &replay).await.status, 200);
    let discard = json!({ "ids": ids, "because": "asked by +1 555 010 0123 (5550100123)" });
    let said = world.post("/api/v1/dead/discard", &discard).await;
    assert_eq!(said.status, 200);
    let audit = world.get(AUDIT).await.json();
    for what in ["dead replay", "dead discard"] {
        let of = |it: &&Value| it["what"] == what;
        let entries = audit["items"].as_array().unwrap().iter().rev().filter(of);
        let named = entries.flat_map(|it| it["which"]["ids"].as_array().unwrap());
        let named: Vec<_> = named.map(|id| id.as_str().unwrap()).collect();
        assert_eq!(named, ids, "{what}");
    }
    assert_eq!(audit["items"][0]["why"], "asked by ***");
}

#[tokio::test]
async fn a_number_or_address_in_a_filter_is_refused_and_nowhere_kept() {
    let world = World::open().await;
    world.rejected("ada@example.com").await;
    for (field, filter) in [
        ("text", json!({"text": "ada@example.com"})),
        ("text", json!({"text": "to +1 (555) 010-0123"})),
        (
            "activation",
            json!({"activation": "ada@example.com +15550100123"}),
        ),
        ("activation", json!({"activation": "5550100123"})),
        ("workspace", json!({"workspace": "ada%40example.com"})),
    ] {
        for (path, body) in [
            ("/api/v1/replays", json!({ "filter": filter })),
            ("/api/v1/replays/preview", json!({ "filter": filter })),
            (
                "/api/v1/dead/discard",
                json!({ "filter": filter, "because": "x" }),
            ),
        ] {
            let said = world.post(path, &body).await;
            assert_eq!(said.refusal(), 400, "{path} {filter}");
            let detail = said.json()["detail"].to_string();
            let remedied = detail.contains(field) && detail.contains("--participant");
            assert!(remedied, "{detail}");
            assert!(
                !detail.contains("ada") && !detail.contains("555"),
                "{detail}"
            );
        }
    }
    // Whoever is meant is named by an address that is not kept.
    let ada = json!({"filter": {"participant": "ada@example.com", "activation": "drop-20261127"}});
    assert_eq!(world.post("/api/v1/replays", &ada).await.status, 200);
    for path in ["/api/v1/replays", AUDIT] {
        let kept = world.get(path).await.text;
        assert!(!kept.contains("example.com"), "{kept}");
        assert!(!kept.contains("5550100123"), "{kept}");
        assert!(kept.contains("drop-20261127"), "{kept}");
    }
}

#[tokio::test]
async fn a_filter_that_is_too_long_to_be_kept_is_refused() {
    let world = World::open().await;
    let filter = json!({"activation": "x".repeat(600)});
    let discard = json!({"filter": filter, "because": "x"});
    for (path, body) in [
        ("/api/v1/dead/discard", discard),
        ("/api/v1/replays", json!({ "filter": filter })),
    ] {
        let said = world.post(path, &body).await;
        assert_eq!(said.refusal(), 400, "{path}");
        assert!(said.text.contains("too long"), "{}", said.text);
    }
    assert_eq!(world.get(AUDIT).await.json()["items"], json!([]));
}
