//! Who may, and what nobody is shown.

use serde_json::json;

use super::*;

#[tokio::test]
async fn a_viewer_looks_an_operator_changes_and_nobody_else_sees_anything() {
    let world = World::with_tokens(vec![
        ("look".into(), Role::Viewer),
        ("act".into(), Role::Operator),
    ])
    .await;
    let id = world.rejected("ada@example.com").await;
    let body = json!({ "ids": [id.to_string()] }).to_string();
    let paths = [
        "/metrics",
        "/api/v1/status",
        "/api/v1/dead",
        "/api/v1/openapi.json",
        "/nowhere",
    ];
    for path in paths {
        for authorization in [None, Some("Bearer wrong"), Some("Basic look")] {
            let headers: Vec<_> = authorization
                .map(|value| ("authorization", value))
                .into_iter()
                .collect();
            let said = world.ask(Method::GET, path, &headers, None).await;
            assert_eq!(said.refusal(), 401, "{path} {authorization:?}");
        }
        let said = world
            .ask(Method::GET, path, &[("authorization", "Bearer look")], None)
            .await;
        assert_eq!(
            said.status,
            if path == "/nowhere" { 404 } else { 200 },
            "{path}"
        );
    }
    // The page holds nothing: what it shows it asks for, and it begins by signing in.
    for open in ["/livez", "/readyz", "/", "/page/app.js"] {
        assert_eq!(world.get(open).await.status, 200, "{open}");
    }
    for (authorization, status) in [
        ("Bearer wrong", 401),
        ("Bearer look", 403),
        ("Bearer act", 200),
    ] {
        let headers = [
            ("authorization", authorization),
            ("content-type", "application/json"),
        ];
        let said = world
            .ask(Method::POST, "/api/v1/dead/replay", &headers, Some(&body))
            .await;
        assert_eq!(said.status, status, "{authorization}: {}", said.text);
    }
}

#[tokio::test]
async fn a_page_that_rebinds_its_name_or_posts_from_elsewhere_gets_nothing() {
    let world = World::open().await;
    let id = world.rejected("ada@example.com").await;
    for path in [
        "/",
        "/metrics",
        "/api/v1/status",
        "/api/v1/dead",
        "/nowhere",
    ] {
        let said = world
            .ask(Method::GET, path, &[("host", "evil.example")], None)
            .await;
        assert_eq!(said.refusal(), 403, "{path}");
    }
    let body = json!({ "ids": [id.to_string()] }).to_string();
    let kind = ("content-type", "application/json");
    for (headers, status) in [
        (vec![kind, ("host", "evil.example")], 403),
        (vec![kind, ("origin", "http://evil.example")], 403),
        (vec![("content-type", "text/plain")], 415),
        (vec![], 415),
    ] {
        let said = world
            .ask(Method::POST, "/api/v1/dead/replay", &headers, Some(&body))
            .await;
        assert_eq!(said.refusal(), status, "{headers:?}");
    }
    assert_eq!(world.get(&format!("/api/v1/dead/{id}")).await.status, 200);
}

#[tokio::test]
async fn no_list_and_no_metric_tells_an_address_or_a_phone_number() {
    let world = World::open().await;
    let id = world.rejected("ada.lovelace@example.com").await;
    world
        .append(vec![
            posted("gone", "grace@example.com"),
            running("jean@example.com"),
        ])
        .await;
    let replay = json!({ "ids": [id] });
    let told = [
        world.get("/").await,
        world.get("/metrics").await,
        world.get("/readyz").await,
        world.get("/api/v1/status").await,
        world.get("/api/v1/dead").await,
        world.get("/api/v1/dead?participant=ada.lovelace@example.com").await,
        world.get("/api/v1/dead/counts").await,
        world
            .post("/api/v1/replays/preview", &json!({"filter": {"participant": "grace@example.com"}}))
            .await,
        world
            .post("/api/v1/replays", &json!({"filter": {"participant": "grace@example.com"}}))
            .await,
        world
            .post(
                "/api/v1/dead/discard",
                &json!({"filter": {"participant": "grace@example.com"}, "because": "grace@example.com asked"}),
            )
            .await,
        world.get("/api/v1/replays").await,
        world.get("/api/v1/audit").await,
        world.post("/api/v1/dead/replay", &replay).await,
    ];
    for said in told {
        assert_eq!(said.status, 200);
        for person in ["ada.lovelace", "grace@", "jean@", "+15550100"] {
            assert!(!said.text.contains(person), "{person} in {}", said.text);
        }
    }
    assert_eq!(
        world.get(&format!("/api/v1/dead/{id}")).await.refusal(),
        404
    );
}

#[tokio::test]
async fn without_tokens_nothing_but_loopback_is_served() {
    let world = World::open().await;
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let ops = Ops {
        store: world.store.clone(),
        clock: Clock::starting_at(today(), 1.0),
        metrics: world.metrics.clone(),
        rules: world.rules.subscribe(),
        effective: watch::Sender::new(Arc::default()).subscribe(),
        desk: Arc::new(Seen(Arc::default(), false)),
        trouble: Arc::new(|| None),
        tokens: Vec::new(),
        version: "1.2.3",
        office: Office::default(),
    };
    let refused = serve(listener, Arc::new(ops), async {}).await;
    assert!(matches!(refused, Err(OpsError::Open(_))), "{refused:?}");
}
