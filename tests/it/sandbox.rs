//! The sandbox over HTTP: what only shows on the wire.

mod people;

use std::net::SocketAddr;
use std::time::Duration;

use braze_relay::clock::Clock;
use braze_relay::model::time::Timestamp;
use braze_relay::sandbox::{
    self, HeaderVariant, Options, Permission, Running, Spread, WorkspaceOptions,
};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};

const KEY: &str = "sandbox-braze-key";
const TOKEN: &str = "sandbox-quikly-token";
const AGENT: &str = "partner-Quikly-BrazeRelay/0.1.0";

struct Tester {
    running: Running,
    client: Client,
}

impl Tester {
    async fn new(options: Options) -> Tester {
        Tester::living_by(options, Clock::system(1.0)).await
    }

    async fn living_by(options: Options, clock: Clock) -> Tester {
        let running = sandbox::start(options, clock).await.unwrap();
        let client = Client::builder()
            .user_agent(AGENT)
            .no_proxy()
            .build()
            .unwrap();
        Tester { running, client }
    }

    fn post_as(&self, key: &str, path: &str, body: &Value) -> RequestBuilder {
        let request = self
            .client
            .post(format!("http://{}{path}", self.running.addr));
        request
            .bearer_auth(key)
            .header("content-type", "application/json")
            .body(body.to_string())
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        told(self.post_as(KEY, path, body).send().await.unwrap()).await
    }

    async fn ask(&self, question: &str) -> Value {
        let url = format!("http://{}/_sandbox{question}", self.running.addr);
        told(self.client.get(url).send().await.unwrap()).await.1
    }

    async fn list(&self, question: &str) -> (Vec<Value>, Option<String>) {
        let url = format!("http://{}/_sandbox{question}", self.running.addr);
        let response = self.client.get(url).send().await.unwrap();
        let next = response
            .headers()
            .get("x-sandbox-next")
            .map(|next| next.to_str().unwrap().to_owned());
        let text = response.text().await.unwrap();
        (
            text.lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect(),
            next,
        )
    }

    async fn script(&self, rules: Value) {
        let (status, body) = self
            .post("/_sandbox/script", &json!({ "rules": rules }))
            .await;
        assert_eq!(status, 200, "{body}");
    }

    async fn credit(&self, key: &str) -> reqwest::Result<Response> {
        let body = json!({"q_scope": "spring", "event": "joined", "email": "Ada@b.co"});
        let request = self
            .client
            .post(self.running.quikly_url())
            .bearer_auth(TOKEN);
        let request = request
            .header("content-type", "application/json")
            .header("idempotency-key", key);
        request
            .header("x-relay-accepted-at", "2026-11-27T09:30:00.000Z")
            .body(body.to_string())
            .send()
            .await
    }
}

async fn told(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    (
        status,
        serde_json::from_str(&response.text().await.unwrap()).unwrap(),
    )
}

fn create(email: &str) -> Value {
    json!({"attributes": [{"_update_existing_only": false, "email": email,
        "user_alias": {"alias_name": email, "alias_label": "email"}}]})
}

fn look_up(email: &str) -> Value {
    json!({"email_address": email, "fields_to_export": ["braze_id", "email"]})
}

fn at_once() -> Options {
    Options {
        appear: Spread::default(),
        limits: std::collections::BTreeMap::new(),
        ..Options::default()
    }
}

#[tokio::test]
async fn a_created_profile_is_found_and_shown_and_counted() {
    let tester = Tester::new(Options::default()).await;
    let (status, body) = tester.post("/users/track", &create("ada@b.co")).await;
    assert_eq!(
        (status, body),
        (
            201,
            json!({"message": "success", "attributes_processed": 1})
        )
    );
    let (profiles, _) = tester.list("/profiles?email=ada@b.co").await;
    assert_eq!(
        profiles[0]["user_aliases"][0]["alias_name"],
        json!("ada@b.co")
    );
    let (status, body) = tester.post("/users/export/ids", &look_up("ada@b.co")).await;
    assert_eq!(
        (status, &body["users"][0]["email"]),
        (201, &json!("ada@b.co"))
    );
    let summary = tester.ask("/summary").await;
    assert_eq!(summary["profiles_created_by_api"], json!(1));
    assert_eq!(
        summary["requests_by_path"]["/users/track"],
        json!({"201": 1})
    );
    assert_eq!(summary["track_objects"], json!({"1": 1}));
    let (requests, _) = tester.list("/requests").await;
    assert_eq!(
        (requests.len(), &requests[0]["workspace"]),
        (2, &json!("sandbox"))
    );
    tester.running.stop().await;
}

#[tokio::test]
async fn a_look_up_before_the_write_took_effect_finds_nobody() {
    let options = Options {
        appear: Spread::exactly(Duration::from_hours(1)),
        ..at_once()
    };
    let tester = Tester::new(options).await;
    tester.post("/users/track", &create("ada@b.co")).await;
    let (_, body) = tester.post("/users/export/ids", &look_up("ada@b.co")).await;
    assert_eq!(body["users"], json!([]));
    let summary = tester.ask("/summary?wait=false").await;
    assert_eq!(
        (&summary["profiles"], &summary["writes_pending"]),
        (&json!(0), &json!(1))
    );
}

#[tokio::test]
async fn the_door_is_as_strict_as_the_real_one() {
    let mut options = at_once();
    let mut reader = WorkspaceOptions::new("reader", "reader-key");
    reader.permissions = [Permission::UsersExportIds].into();
    options.workspaces.push(reader);
    let tester = Tester::new(options).await;
    let body = create("ada@b.co");

    let answer = tester
        .post_as("wrong", "/users/track", &body)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.headers()["x-ratelimit-remaining"], "");
    assert_eq!(
        told(answer).await,
        (401, json!({"message": "Invalid API key: wrong"}))
    );
    let status = async |request: RequestBuilder| request.send().await.unwrap().status().as_u16();
    assert_eq!(
        status(tester.post_as("reader-key", "/users/track", &body)).await,
        403
    );
    assert_eq!(
        status(tester.post_as("reader-key", "/users/export/ids", &look_up("a@b.co"))).await,
        201
    );
    assert_eq!(
        status(tester.post_as(KEY, "/users/track/", &body)).await,
        403
    );
    assert_eq!(status(tester.post_as(KEY, "/users/trak", &body)).await, 404);
    let url = format!("{}/users/track", tester.running.braze_url());
    assert_eq!(status(tester.client.get(&url).bearer_auth(KEY)).await, 404);
    assert_eq!(
        status(
            tester
                .client
                .post(&url)
                .bearer_auth(KEY)
                .body(body.to_string())
        )
        .await,
        415
    );
    let malformed = tester
        .post_as(KEY, "/users/track", &body)
        .body("{\"attributes\": [");
    let (code, answer) = told(malformed.send().await.unwrap()).await;
    assert!(code == 400 && answer["error"].is_string() && answer.get("message").is_none());
    let huge = tester.post_as(KEY, "/users/track", &json!({"x": "y".repeat(4 << 20)}));
    assert_eq!(status(huge).await, 413);
    let own_agent = tester
        .post_as(KEY, "/users/track", &body)
        .header("user-agent", "curl/8");
    assert_eq!(status(own_agent).await, 201);
    assert_eq!(
        tester.ask("/summary").await["user_agent_violations"],
        json!(1)
    );
}

#[tokio::test]
async fn workspaces_have_their_own_profiles_and_known_ones_can_be_given() {
    let mut options = at_once();
    options
        .workspaces
        .push(WorkspaceOptions::new("other", "other-key"));
    options.known = sandbox::read_known(
        "{\"email\": \"everywhere@b.co\"}\n{\"email\": \"other@b.co\", \"workspace\": \"other\"}",
    )
    .unwrap();
    let tester = Tester::new(options).await;
    tester.post("/users/track", &create("ada@b.co")).await;
    let emails = async |question: &str| -> Vec<String> {
        let (profiles, _) = tester.list(question).await;
        profiles
            .iter()
            .map(|profile| profile["email"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        emails("/profiles?workspace=sandbox").await,
        ["everywhere@b.co", "ada@b.co"]
    );
    assert_eq!(
        emails("/profiles?workspace=other").await,
        ["everywhere@b.co", "other@b.co"]
    );
    let (first, next) = tester.list("/profiles?limit=3").await;
    assert_eq!((first.len(), next.as_deref()), (3, Some("3")));
    let (rest, next) = tester.list("/profiles?after=3&limit=3").await;
    assert_eq!((rest.len(), next), (1, None));
    let reset = tester
        .client
        .delete(format!("http://{}/_sandbox", tester.running.addr));
    assert_eq!(reset.send().await.unwrap().status(), 200);
    assert_eq!(emails("/profiles").await.len(), 3);
}

#[tokio::test]
async fn a_limit_refuses_until_its_window_ends_and_says_when() {
    // A clock that nearly stands, one second before a full minute.
    let clock = || Clock::starting_at(Timestamp::from_millis(1_592_427_599_000), 1e-6);
    for (variant, name, value) in [
        (HeaderVariant::Epoch, "x-ratelimit-reset", "1592427600"),
        (HeaderVariant::Delta, "x-ratelimit-reset", "1"),
        (HeaderVariant::Mau, "x-ratelimit-retry-after", "1"),
    ] {
        let mut options = at_once();
        options.headers = variant;
        options.limits = [(
            "users_track".parse().unwrap(),
            vec!["2/min".parse().unwrap()],
        )]
        .into();
        let tester = Tester::living_by(options, clock()).await;
        let body = create("ada@b.co");
        let mut answers = Vec::new();
        for _ in 0..3 {
            answers.push(
                tester
                    .post_as(KEY, "/users/track", &body)
                    .send()
                    .await
                    .unwrap(),
            );
        }
        assert_eq!(answers[0].headers()["x-ratelimit-remaining"], "1");
        assert_eq!(answers[1].status(), 201);
        assert_eq!(
            (answers[2].status().as_u16(), &answers[2].headers()[name]),
            (429, &value.parse().unwrap())
        );
        let three = answers[2].headers().contains_key("x-ratelimit-limit");
        assert_eq!(three, variant != HeaderVariant::Mau);
        assert_eq!(tester.ask("/summary").await["throttled"], json!(1));
    }
}

#[tokio::test]
async fn quikly_gives_one_credit_per_key_or_does_not() {
    for (honours, credits) in [(true, 1), (false, 2)] {
        let tester = Tester::new(Options {
            quikly_idempotency: honours,
            ..at_once()
        })
        .await;
        for key in ["k", "k"] {
            assert_eq!(tester.credit(key).await.unwrap().status(), 200);
        }
        let (shown, _) = tester.list("/credits?email=ada@b.co").await;
        assert_eq!(shown.len(), credits);
        assert_eq!(
            (&shown[0]["key"], &shown[0]["accepted_at"]),
            (&json!("k"), &json!("2026-11-27T09:30:00.000Z"))
        );
        let summary = tester.ask("/summary").await;
        assert_eq!(
            (
                &summary["credit_requests_repeated"],
                &summary["credits_distinct"]
            ),
            (&json!(1), &json!(1))
        );
    }
}

#[tokio::test]
async fn the_script_plays_outages_one_after_another() {
    let tester = Tester::new(at_once()).await;
    let body = create("ada@b.co");
    tester
        .script(json!([
            {"lane": "users_track", "next": 1, "retry_after": "7s", "action": {"status": 503}},
            {"lane": "users_track", "skip": 1, "next": 1, "action": "reset"},
            {"path": "/users/track", "skip": 2, "next": 1, "action": "revoke_key"},
            {"workspace": "sandbox", "lane": "users_track", "skip": 3, "next": 1, "action": "drop_answer"},
        ]))
        .await;
    let answer = tester
        .post_as(KEY, "/users/track", &body)
        .send()
        .await
        .unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["retry-after"]),
        (503, &"7".parse().unwrap())
    );
    assert!(
        tester
            .post_as(KEY, "/users/track", &body)
            .send()
            .await
            .is_err(),
        "reset"
    );
    assert_eq!(tester.post("/users/track", &body).await.0, 401);
    assert_eq!(
        tester.list("/profiles").await.0.len(),
        0,
        "nothing was done so far"
    );
    assert!(
        tester
            .post_as(KEY, "/users/track", &body)
            .send()
            .await
            .is_err(),
        "dropped"
    );
    assert_eq!(
        tester.list("/profiles").await.0.len(),
        1,
        "done, although nobody was told"
    );
    assert_eq!(tester.post("/users/track", &body).await.0, 201);
    let summary = tester.ask("/summary").await;
    assert_eq!(
        summary["requests_by_path"]["/users/track"],
        json!({"0": 1, "201": 2, "401": 1, "503": 1})
    );
    assert_eq!(summary["answers_dropped"], json!(1));
}

#[tokio::test]
async fn a_request_that_hangs_is_cut_when_the_sandbox_stops() {
    let tester = Tester::new(at_once()).await;
    tester
        .script(json!([{"lane": "quikly", "action": "hang"}]))
        .await;
    let client = tester.client.clone();
    let url = tester.running.quikly_url();
    let hanging = tokio::spawn(client.post(url).bearer_auth(TOKEN).body("{}").send());
    let arrived = async || {
        tester.ask("/summary").await["requests_by_path"]["/webhook/braze"] == json!({"0": 1})
    };
    while !arrived().await {
        tokio::task::yield_now().await;
    }
    tester.running.stop().await;
    let ended = tokio::time::timeout(Duration::from_secs(20), hanging).await;
    assert!(
        ended
            .expect("the connection is still open")
            .unwrap()
            .is_err()
    );
}

#[tokio::test]
async fn quikly_may_listen_elsewhere() {
    let quikly_listen: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let tester = Tester::new(Options {
        quikly_listen: Some(quikly_listen),
        ..at_once()
    })
    .await;
    assert_ne!(tester.running.addr, tester.running.quikly_addr);
    assert_eq!(tester.credit("k").await.unwrap().status(), 200);
}

#[tokio::test]
async fn two_workspaces_with_one_key_are_refused() {
    let mut options = at_once();
    options.workspaces.push(WorkspaceOptions::new("other", KEY));
    assert!(sandbox::start(options, Clock::system(1.0)).await.is_err());
}
