//! Signing in with a browser: what a cookie allows, and what it does not.

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

const LOGIN: &str = "/api/v1/login";
const HOLD: &str = "/api/v1/lanes/hold";
const JSON: (&str, &str) = ("content-type", "application/json");

async fn world() -> World {
    World::with_tokens(vec![
        ("look".into(), Role::Viewer),
        ("act".into(), Role::Operator),
    ])
    .await
}

/// Signs in: the cookie as a browser sends it.
async fn cookie(world: &World, token: &str) -> String {
    let said = world.post(LOGIN, &json!({ "token": token })).await;
    assert_eq!(said.status, 200, "{}", said.text);
    let cookie = said.cookie.unwrap();
    for flag in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"] {
        assert!(
            cookie.split("; ").any(|part| part == flag),
            "{flag}: {cookie}"
        );
    }
    cookie.split(';').next().unwrap().to_owned()
}

async fn get(world: &World, path: &str, cookie: &str) -> Said {
    world
        .ask(Method::GET, path, &[("cookie", cookie)], None)
        .await
}

async fn hold(world: &World, headers: &[(&str, &str)]) -> u16 {
    let body = json!({"lane": "acme/quikly"}).to_string();
    let said = world.ask(Method::POST, HOLD, headers, Some(&body)).await;
    said.status
}

#[tokio::test]
async fn without_signing_in_the_page_is_served_and_nothing_that_it_shows() {
    let world = world().await;
    let page = world.get("/").await;
    assert_eq!(
        (page.status, &*page.kind),
        (200, "text/html; charset=utf-8")
    );
    assert_eq!(world.get("/page/app.js").await.status, 200);
    assert_eq!(world.get("/page/../mod.rs").await.refusal(), 401);
    assert_eq!(world.get("/page/other.js").await.refusal(), 404);
    for path in ["/api/v1/me", "/api/v1/live", "/api/v1/history"] {
        assert_eq!(world.get(path).await.refusal(), 401, "{path}");
        let said = get(&world, path, "relay_session=0123").await;
        assert_eq!(said.refusal(), 401, "{path}");
    }
}

#[tokio::test]
async fn a_token_becomes_a_cookie_that_may_what_the_token_may_until_it_is_given_back() {
    let world = world().await;
    for (token, role, who, changes) in [
        ("look", "viewer", "viewer-1", 403),
        (" act ", "operator", "operator-2", 200),
    ] {
        let cookie = cookie(&world, token).await;
        let me = get(&world, "/api/v1/me", &cookie).await.json();
        assert_eq!(me, json!({"who": who, "role": role, "signed_in": true}));
        assert_eq!(get(&world, "/api/v1/status", &cookie).await.status, 200);
        let status = hold(&world, &[JSON, ("cookie", &cookie)]).await;
        assert_eq!(status, changes, "{token}");
        let headers = [JSON, ("cookie", cookie.as_str())];
        let out = world
            .ask(Method::POST, "/api/v1/logout", &headers, Some("{}"))
            .await;
        assert!(out.cookie.unwrap().contains("Max-Age=0"));
        assert_eq!(get(&world, "/api/v1/me", &cookie).await.refusal(), 401);
        assert_eq!(hold(&world, &headers).await, 401);
    }
}

#[tokio::test]
async fn a_cookie_changes_nothing_from_elsewhere_or_as_a_form() {
    let world = world().await;
    let cookie = cookie(&world, "act").await;
    let cookie = ("cookie", cookie.as_str());
    let ours = format!("http://{}", world.address);
    for (headers, status) in [
        (vec![cookie], 415),
        (vec![cookie, ("content-type", "text/plain")], 415),
        (
            vec![
                cookie,
                ("content-type", "application/x-www-form-urlencoded"),
            ],
            415,
        ),
        (vec![cookie, JSON, ("origin", "https://evil.example")], 403),
        (vec![cookie, JSON, ("origin", "null")], 403),
        (vec![cookie, JSON, ("origin", ours.as_str())], 200),
    ] {
        assert_eq!(hold(&world, &headers).await, status, "{headers:?}");
    }
}

#[tokio::test]
async fn nobody_signs_in_from_another_origin_as_a_form_or_by_guessing() {
    let world = world().await;
    let right = json!({"token": "act"}).to_string();
    let login = async |headers: &[(&str, &str)], body: &str| {
        let said = world.ask(Method::POST, LOGIN, headers, Some(body)).await;
        assert!(said.cookie.is_none() || said.status == 200, "{}", said.text);
        said.status
    };
    let foreign = [JSON, ("origin", "https://evil.example")];
    assert_eq!(login(&foreign, &right).await, 403);
    assert_eq!(login(&[], &right).await, 415);
    assert_eq!(login(&[JSON], "{\"token\":3}").await, 400);
    for _ in 0..20 {
        assert_eq!(login(&[JSON], "{\"token\":\"guess\"}").await, 401);
    }
    assert_eq!(login(&[JSON], &right).await, 429);
    // Programs bring their token with each request.
    let bearer = [("authorization", "Bearer act")];
    let status = world.ask(Method::GET, "/api/v1/status", &bearer, None);
    assert_eq!(status.await.status, 200);
}

#[tokio::test]
async fn without_tokens_a_page_under_another_name_gets_nothing_not_even_the_page() {
    let world = World::open().await;
    let foreign = [("host", "rebound.example")];
    for path in [
        "/",
        "/page/app.js",
        "/api/v1/me",
        "/api/v1/live",
        "/metrics",
    ] {
        let said = world.ask(Method::GET, path, &foreign, None).await;
        assert_eq!(said.refusal(), 403, "{path}");
    }
}

#[tokio::test]
async fn a_stream_ends_with_the_token_that_opened_it() {
    let world = world().await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let head = format!(
        "GET /api/v1/live HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer look\r\nconnection: close\r\n\r\n",
        world.address
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut heard = String::new();
    let mut buffer = [0; 4096];
    while !heard.contains("event: now") {
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(read > 0, "it ended by itself: {heard}");
        heard += &String::from_utf8_lossy(&buffer[..read]);
    }
    let others = Tokens::new(&[("another".into(), Role::Operator)]);
    world.tokens.send_replace(Arc::new(others));
    let mut last = Vec::new();
    let rest = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut last));
    assert!(
        matches!(rest.await, Ok(Ok(_))),
        "it goes on without a token"
    );
}
