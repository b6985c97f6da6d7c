//! The ingest endpoint over real connections, spoken to in raw HTTP/1.1, with a store that a test can hold or break.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use braze_relay::clock::Clock;
use braze_relay::config;
use braze_relay::flow::job::{
    Burial, Class, Commit, Flow, Job, Profile, Reason, Seed, Start, State,
};
use braze_relay::ingest::{Bounds, Ingest, serve};
use braze_relay::model::budget::BudgetUse;
use braze_relay::model::call::Answer as Said;
use braze_relay::model::event::{Event, Source};
use braze_relay::model::id::EventId;
use braze_relay::model::lane::{Lane, LaneKind};
use braze_relay::model::rules::{RuleBook, Rules};
use braze_relay::model::time::Timestamp;
use braze_relay::store::{Appended, Committed, Counts, Leased, Store, StoreError, Token};
use braze_relay::telemetry::Metrics;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;

/// A store that remembers what was appended. It can refuse, and it can be held while it appends.
#[derive(Clone, Default)]
struct Fake(Arc<Inner>);

#[derive(Default)]
struct Inner {
    kept: Mutex<Kept>,
    entered: Notify,
    release: Notify,
}

#[derive(Default)]
struct Kept {
    seeds: Vec<Seed>,
    ids: HashMap<(String, String, String), EventId>,
    last: EventId,
    hold: bool,
    refuses: Option<StoreError>,
    admits_not: Option<StoreError>,
}

impl Fake {
    fn keys(&self) -> Vec<String> {
        let kept = self.0.kept.lock().unwrap();
        kept.seeds
            .iter()
            .map(|seed| seed.event.key.clone())
            .collect()
    }

    fn set(&self, change: impl FnOnce(&mut Kept)) {
        change(&mut self.0.kept.lock().unwrap());
    }
}

impl Store for Fake {
    async fn append(&self, seeds: Vec<Seed>, now: Timestamp) -> Result<Vec<Appended>, StoreError> {
        let hold = self.0.kept.lock().unwrap().hold;
        self.0.entered.notify_one();
        if hold {
            self.0.release.notified().await;
        }
        let mut kept = self.0.kept.lock().unwrap();
        if let Some(error) = &kept.refuses {
            return Err(error.clone());
        }
        let mut append = |seed: Seed| {
            let event = &seed.event;
            let key = (event.scope.clone(), event.email.clone(), event.key.clone());
            if let Some(id) = kept.ids.get(&key) {
                return Appended {
                    id: *id,
                    duplicate: true,
                };
            }
            let id = EventId::next(kept.last, now, 7);
            kept.last = id;
            kept.ids.insert(key, id);
            kept.seeds.push(seed);
            Appended {
                id,
                duplicate: false,
            }
        };
        Ok(seeds.into_iter().map(&mut append).collect())
    }
    async fn lease(&self, _: &Lane, _: Timestamp, _: usize) -> Result<Vec<Leased>, StoreError> {
        Ok(Vec::new())
    }
    async fn begin(&self, _: Vec<Token>) -> Result<(), StoreError> {
        Ok(())
    }
    async fn give_back(&self, _: Vec<Token>) -> Result<(), StoreError> {
        Ok(())
    }
    async fn commit(
        &self,
        _: Vec<(Token, Commit)>,
        _: Timestamp,
    ) -> Result<Vec<Committed>, StoreError> {
        Ok(Vec::new())
    }
    async fn next_due(&self, _: &Lane, _: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }
    fn wake(&self, _: &Lane) -> Arc<Notify> {
        Arc::default()
    }
    async fn counts(&self, _: Timestamp) -> Result<Counts, StoreError> {
        Ok(Counts::default())
    }
    fn note_budget(&self, _: &Lane, _: BudgetUse) {}
    async fn budgets(&self) -> Result<BTreeMap<Lane, BudgetUse>, StoreError> {
        Ok(BTreeMap::new())
    }
    fn revoked(&self) -> u64 {
        0
    }
    fn admits(&self) -> Result<(), StoreError> {
        self.0
            .kept
            .lock()
            .unwrap()
            .admits_not
            .clone()
            .map_or(Ok(()), Err)
    }
}

/// A stand-in for the flows: what is configured runs, what is not is buried.
fn decide(event: &Event, rules: &RuleBook, now: Timestamp) -> (Start, Option<Start>) {
    let Some(rules) = rules.activation(&event.scope) else {
        let burial = Burial {
            reason: Reason::UnknownActivation,
            class: Class::Configuration,
            answer: Said::default(),
            at: now,
        };
        return (
            Start::Bury {
                workspace: None,
                flow: Some(Flow::Email),
                burial,
            },
            None,
        );
    };
    let lane = Lane::new(&rules.workspace, LaneKind::UsersExportIds);
    let job = |state| Job::new(state, now);
    (
        Start::Run {
            lane: lane.clone(),
            job: job(State::Email(Profile::LookUp)),
        },
        Some(Start::Run {
            lane,
            job: job(State::Progress(Profile::LookUp)),
        }),
    )
}

struct Server {
    address: SocketAddr,
    store: Fake,
    rules: watch::Sender<Arc<RuleBook>>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Server {
    async fn start() -> Server {
        Server::with(Bounds::default(), Duration::from_mins(1)).await
    }

    async fn with(bounds: Bounds, stop_within: Duration) -> Server {
        let settings = config::Ingest {
            listen: ([127, 0, 0, 1], 0).into(),
            max_body_bytes: 400_000,
            max_event_bytes: 65_536,
            max_batch: 5,
            tokens: BTreeMap::from([
                (Source::Quikly, vec!["old".into(), "token".into()]),
                (Source::Braze, vec!["braze".into()]),
            ]),
        };
        let listener = TcpListener::bind(settings.listen).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (rules, seen) = watch::channel(Arc::default());
        let (stop, stopped) = oneshot::channel();
        let store = Fake::default();
        let ingest = Ingest::new(
            store.clone(),
            settings,
            seen,
            Arc::new(Metrics::new().unwrap()),
            Clock::starting_at(Timestamp::from_millis(1_795_770_600_000), 1.0),
            decide,
        )
        .within(bounds);
        let stopped = async move {
            let _ = stopped.await;
        };
        let serving = tokio::spawn(serve(listener, Arc::new(ingest), stopped, stop_within));
        Server {
            address,
            store,
            rules,
            stop,
            serving,
        }
    }

    async fn connect(&self) -> Client {
        Client(BufReader::new(
            TcpStream::connect(self.address).await.unwrap(),
        ))
    }

    /// Posts on a connection of its own.
    async fn post(&self, body: &str) -> Answer {
        self.connect().await.post(body).await
    }
}

/// What never comes fails the test instead of holding it for ever.
async fn soon<T>(awaited: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), awaited)
        .await
        .expect("within ten seconds")
}

struct Client(BufReader<TcpStream>);

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HashMap<String, String>,
    body: Value,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// Index and field of everything that is wrong.
    fn faults(&self) -> Vec<(u64, &str)> {
        let errors = self.body["errors"].as_array().unwrap();
        errors
            .iter()
            .map(|error| {
                (
                    error["index"].as_u64().unwrap(),
                    error["field"].as_str().unwrap(),
                )
            })
            .collect()
    }
}

fn post_head(headers: &str) -> String {
    format!(
        "POST /v1/quikly/events HTTP/1.1\r\nhost: relay\r\nauthorization: Bearer token\r\n{headers}\r\n"
    )
}

fn post(body: &str) -> String {
    post_head(&format!("content-length: {}\r\n", body.len())) + body
}

impl Client {
    async fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).await.unwrap();
    }

    /// The next answer; an interim one (100) has neither headers nor body.
    async fn receive(&mut self) -> Answer {
        self.try_receive().await.expect("an answer")
    }

    async fn try_receive(&mut self) -> Option<Answer> {
        let status_line = self.line().await?;
        let status = status_line.split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = HashMap::new();
        loop {
            let line = self.line().await?;
            let Some((name, value)) = line.split_once(": ") else {
                break;
            };
            headers.insert(name.to_owned(), value.to_owned());
        }
        let length = headers
            .get("content-length")
            .map_or(0, |text| text.parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.ok()?;
        let body = serde_json::from_slice(&body).unwrap_or_default();
        Some(Answer {
            status,
            headers,
            body,
        })
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = soon(self.0.read_line(&mut line)).await.ok()?;
        (read > 0).then(|| line.trim_end().to_owned())
    }

    async fn ask(&mut self, request: &str) -> Answer {
        self.send(request).await;
        self.receive().await
    }

    async fn post(&mut self, body: &str) -> Answer {
        self.ask(&post(body)).await
    }

    /// Nothing more comes from this connection.
    async fn is_closed(&mut self) -> bool {
        self.line().await.is_none()
    }
}

fn event(id: &str) -> String {
    json!({"id": id, "q_scope": "spring-drop", "type": "participation", "email": "ann@example.com"})
        .to_string()
}

fn ids(answer: &Answer) -> Vec<&str> {
    let ids = answer.body["ids"].as_array().unwrap();
    ids.iter().map(|id| id.as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_three_forms_are_accepted_in_input_order() {
    let server = Server::start().await;
    for (body, count) in [
        (event("a"), 1),
        (format!("[{},{}]", event("b"), event("c")), 2),
        (
            format!(
                "{}
{}
",
                event("d"),
                event("e")
            ),
            2,
        ),
    ] {
        let answer = server.post(&body).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.body["accepted"], count);
        assert_eq!(answer.body["duplicates"], 0);
        assert_eq!(ids(&answer).len(), count);
        assert!(ids(&answer).is_sorted());
    }
    assert_eq!(server.store.keys(), ["a", "b", "c", "d", "e"]);
}

#[tokio::test]
async fn a_duplicate_shows_the_first_ones_id_also_within_a_batch() {
    let server = Server::start().await;
    let first = server.post(&event("a")).await;
    let batch = format!("[{},{},{}]", event("b"), event("a"), event("b"));
    let second = server.post(&batch).await;
    assert_eq!(second.body["accepted"], 1);
    assert_eq!(second.body["duplicates"], 2);
    assert_eq!(ids(&second)[1], ids(&first)[0]);
    assert_eq!(ids(&second)[2], ids(&second)[0]);
}

#[tokio::test]
async fn one_bad_event_stops_the_whole_batch_and_every_bad_one_is_named() {
    let server = Server::start().await;
    let batch = format!(r#"[{},{{"id":"x"}},{},7]"#, event("a"), event("b"));
    let answer = server.post(&batch).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.body["status"], 400);
    assert_eq!(answer.body["title"], "Bad Request");
    assert_eq!(
        answer.faults(),
        [(1, "q_scope"), (1, "type"), (1, "email"), (3, "")]
    );
    assert_eq!(server.store.keys(), [""; 0]);
}

#[tokio::test]
async fn an_answer_never_repeats_an_address_or_a_number() {
    let server = Server::start().await;
    let bad = r#"{"id":"a","q_scope":"s","type":"secret","email":"secret@secret","phone":"0049secret","at":"secret"}"#;
    for body in [bad, r#"{"id":"a","email":"secret@example.com" broken}"#] {
        let answer = server.post(body).await;
        assert_eq!(answer.status, 400);
        assert!(
            !answer.body.to_string().contains("secret"),
            "{}",
            answer.body
        );
    }
}

#[tokio::test]
async fn a_header_names_a_single_event() {
    let server = Server::start().await;
    let nameless = event("");
    for (header, key) in [("Webhook-Id", "w"), ("Idempotency-Key", "i")] {
        let head = post_head(&format!(
            "{header}: {key}\r\ncontent-length: {}\r\n",
            nameless.len()
        ));
        let answer = server.connect().await.ask(&(head + &nameless)).await;
        assert_eq!(answer.status, 202);
    }
    assert_eq!(server.store.keys(), ["w", "i"]);
    assert_eq!(server.post(&nameless).await.faults(), [(0, "id")]);
}

#[tokio::test]
async fn nobody_gets_in_without_a_token_and_the_body_is_not_looked_at() {
    let server = Server::start().await;
    for authorization in [
        "",
        "authorization: Bearer wrong\r\n",
        "authorization: Basic token\r\n",
    ] {
        for path in ["/v1/quikly/events", "/v1/outgrow/quiz", "/webhook/braze"] {
            let request = format!(
                "POST {path} HTTP/1.1\r\nhost: r\r\n{authorization}content-length: 2\r\n\r\n{{}}"
            );
            let answer = server.connect().await.ask(&request).await;
            assert_eq!(answer.status, 401, "{path}");
            assert!(answer.header("www-authenticate").starts_with("Bearer"));
            assert_eq!(answer.body["status"], 401);
        }
    }
    for authorization in ["Bearer old", "bearer token", "BEARER token"] {
        let body = event(authorization);
        let head = format!(
            "POST /v1/quikly/events HTTP/1.1\r\nhost: r\r\nauthorization: {authorization}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        assert_eq!(
            server.connect().await.ask(&(head + &body)).await.status,
            202
        );
    }
}

#[tokio::test]
async fn a_source_without_tokens_is_closed_and_tokens_open_one_source_only() {
    let server = Server::start().await;
    let ask = async |path: &str| {
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: r\r\nauthorization: Bearer braze\r\ncontent-length: 2\r\n\r\n{{}}"
        );
        server.connect().await.ask(&request).await
    };
    assert_eq!(ask("/webhook/braze").await.status, 400);
    assert_eq!(ask("/v1/outgrow/quiz").await.status, 401);
    assert_eq!(ask("/v1/quikly/events").await.status, 401);
}

#[tokio::test]
async fn unknown_paths_and_methods_are_told_apart() {
    let server = Server::start().await;
    let ask = async |line: &str| {
        let request = format!("{line} HTTP/1.1\r\nhost: r\r\n\r\n");
        server.connect().await.ask(&request).await
    };
    for line in [
        "GET /",
        "POST /v1/quikly",
        "POST /v1/outgrow/",
        "GET /metrics",
    ] {
        let answer = ask(line).await;
        assert_eq!(answer.status, 404, "{line}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
    for line in [
        "GET /v1/quikly/events",
        "PUT /v1/quikly/events",
        "DELETE /webhook/braze",
    ] {
        let answer = ask(line).await;
        assert_eq!(answer.status, 405, "{line}");
        assert_eq!(answer.header("allow"), "POST");
    }
}

#[tokio::test]
async fn a_body_decides_before_its_media_type_does() {
    let server = Server::start().await;
    let ask = async |headers: &str, body: &str| {
        let head = post_head(&format!("{headers}content-length: {}\r\n", body.len()));
        server.connect().await.ask(&(head + body)).await
    };
    let lines = format!("{}\n{}", event("a"), event("b"));
    for (headers, body, status) in [
        ("", event("a"), 202),
        (
            "content-type: application/json; charset=utf-8\r\n",
            event("a"),
            202,
        ),
        (
            "content-type: application/x-www-form-urlencoded\r\n",
            event("a"),
            202,
        ),
        (
            "content-type: application/x-ndjson; charset=utf-8\r\n",
            lines.clone(),
            202,
        ),
        ("", lines.clone(), 202),
        ("content-type: application/json\r\n", lines, 400),
        ("content-type: text/csv\r\n", "a,b\n1,2".to_owned(), 415),
        ("", "a,b\n1,2".to_owned(), 400),
        ("content-encoding: gzip\r\n", event("a"), 415),
        ("content-encoding: identity\r\n", event("a"), 202),
        ("", String::new(), 400),
        ("", "[]".to_owned(), 400),
        (
            "content-type: application/x-ndjson\r\n",
            "\n\n".to_owned(),
            400,
        ),
    ] {
        let answer = ask(headers, &body).await;
        assert_eq!(answer.status, status, "{headers} {body}");
    }
}

#[tokio::test]
async fn too_much_is_refused_early_when_stated_and_cut_off_when_not() {
    let server = Server::start().await;
    // Only the header is sent: the answer waits for nothing.
    let stated = server
        .connect()
        .await
        .ask(&post_head("content-length: 400001\r\n"))
        .await;
    assert_eq!(stated.status, 413);
    // Who asks first is told before sending.
    let asked = server
        .connect()
        .await
        .ask(&post_head(
            "expect: 100-continue\r\ncontent-length: 400001\r\n",
        ))
        .await;
    assert_eq!(asked.status, 413);
    // A chunked body has no length; this one would go on.
    let mut client = server.connect().await;
    client
        .send(&post_head("transfer-encoding: chunked\r\n"))
        .await;
    client
        .send(&format!("61A81\r\n{}\r\n", " ".repeat(400_001)))
        .await;
    assert_eq!(client.receive().await.status, 413);
    // Too many events, and too large a single one; in a batch that is named by its index.
    let six: Vec<_> = (0..6).map(|n| event(&n.to_string())).collect();
    assert_eq!(
        server.post(&format!("[{}]", six.join(","))).await.status,
        413
    );
    let large = event(&"x".repeat(65_536));
    assert_eq!(server.post(&large).await.status, 413);
    let batch = server.post(&format!("[{},{large}]", event("a"))).await;
    assert_eq!((batch.status, batch.faults()), (400, vec![(1, "")]));
    assert_eq!(server.store.keys(), [""; 0]);
}

#[tokio::test]
async fn a_refused_body_is_read_on_so_that_the_refusal_is_heard() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let body = " ".repeat(300_000);
    let head = format!(
        "POST /v1/quikly/events HTTP/1.1\r\nhost: r\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    assert_eq!(client.ask(&(head + &body)).await.status, 401);
    assert_eq!(client.post(&event("a")).await.status, 202);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up_with_408() {
    let bounds = Bounds {
        body_within: Duration::from_millis(30),
        ..Bounds::default()
    };
    let server = Server::with(bounds, Duration::from_mins(1)).await;
    let mut client = server.connect().await;
    let answer = client
        .ask(&(post_head("content-length: 50\r\n") + "{"))
        .await;
    assert_eq!(answer.status, 408);
    assert_eq!(answer.body["status"], 408);
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let bounds = Bounds {
        head_within: Duration::from_millis(30),
        ..Bounds::default()
    };
    let server = Server::with(bounds, Duration::from_mins(1)).await;
    let mut client = server.connect().await;
    client.send("POST /v1/quikly/events HTTP/1.1\r\n").await;
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn chunked_bodies_are_accepted_however_they_are_cut() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    client
        .send(&post_head("transfer-encoding: chunked\r\n"))
        .await;
    for piece in event("a").as_bytes().chunks(7) {
        let piece = std::str::from_utf8(piece).unwrap();
        client
            .send(&format!("{:x}\r\n{piece}\r\n", piece.len()))
            .await;
    }
    client.send("0\r\n\r\n").await;
    assert_eq!(client.receive().await.status, 202);
    assert_eq!(server.store.keys(), ["a"]);
}

#[tokio::test]
async fn requests_may_follow_each_other_on_one_connection_without_waiting() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    client
        .send(&(post(&event("a")) + &post("{}") + &post(&event("b"))))
        .await;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(client.receive().await.status);
    }
    assert_eq!(statuses, [202, 400, 202]);
    assert_eq!(client.post(&event("c")).await.status, 202);
    assert_eq!(server.store.keys(), ["a", "b", "c"]);
}

#[tokio::test]
async fn a_client_that_has_said_all_may_close_its_side_and_still_hears_the_answer() {
    let server = Server::start().await;
    server.store.set(|kept| kept.hold = true);
    let mut client = server.connect().await;
    client.send(&post(&event("a"))).await;
    client.0.get_mut().shutdown().await.unwrap();
    soon(server.store.0.entered.notified()).await;
    server.store.0.release.notify_one();
    assert_eq!(client.receive().await.status, 202);
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_large_batch_is_accepted_like_a_small_one() {
    let server = Server::start().await;
    let padded = |id: &str| {
        let mut padded: Value = serde_json::from_str(&event(id)).unwrap();
        padded["attributes"] = json!({"note": "é".repeat(30_000)});
        padded.to_string()
    };
    let body = [padded("a"), padded("b"), padded("c")].join("\n");
    assert!(body.len() > 150_000);
    assert_eq!(server.post(&body).await.status, 202);
    assert_eq!(server.store.keys(), ["a", "b", "c"]);
}

#[tokio::test]
async fn a_store_that_will_not_is_a_503_that_says_when_to_come_again() {
    let server = Server::start().await;
    for error in [
        StoreError::Full("the queue is full".into()),
        StoreError::Failed("secret path".into()),
        StoreError::Closed,
    ] {
        server.store.set(|kept| kept.refuses = Some(error));
        let answer = server.post(&event("a")).await;
        assert_eq!(answer.status, 503);
        assert!(answer.header("retry-after").parse::<u64>().unwrap() > 0);
        assert!(!answer.body.to_string().contains("secret"));
        assert_eq!(answer.body["accepted"], Value::Null);
    }
    server.store.set(|kept| kept.refuses = None);
    assert_eq!(server.post(&event("a")).await.status, 202);
}

#[tokio::test]
async fn a_full_store_refuses_before_the_body_is_sent() {
    let server = Server::start().await;
    server
        .store
        .set(|kept| kept.admits_not = Some(StoreError::Full("the disk is full".into())));
    let head = post_head("expect: 100-continue\r\ncontent-length: 300000\r\n");
    let answer = server.connect().await.ask(&head).await;
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").parse::<u64>().unwrap() > 0);
}

#[tokio::test]
async fn bodies_held_at_once_are_bounded_and_room_comes_back() {
    let bounds = Bounds {
        memory_bytes: 0,
        ..Bounds::default()
    };
    let server = Server::with(bounds, Duration::from_mins(1)).await;
    let body = format!("{}{}", event("a"), " ".repeat(300_000));
    let length = format!("content-length: {}\r\n", body.len());
    let mut first = server.connect().await;
    let head = post_head(&format!("expect: 100-continue\r\n{length}"));
    assert_eq!(first.ask(&head).await.status, 100);
    let refused = server.connect().await.ask(&post_head(&length)).await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("retry-after"), "1");
    // It is held until the store has it.
    server.store.set(|kept| kept.hold = true);
    first.send(&body).await;
    soon(server.store.0.entered.notified()).await;
    let refused = server.connect().await.ask(&post_head(&length)).await;
    assert_eq!(refused.status, 503);
    server.store.set(|kept| kept.hold = false);
    server.store.0.release.notify_one();
    assert_eq!(first.receive().await.status, 202);
    assert_eq!(server.post(&body).await.status, 202);
}

#[tokio::test]
async fn what_an_event_starts_is_decided_by_todays_rules() {
    let server = Server::start().await;
    assert_eq!(server.post(&event("a")).await.status, 202);
    server
        .rules
        .send_replace(Arc::new(RuleBook::new([Rules::plain(
            "spring-drop",
            "acme",
        )])));
    assert_eq!(server.post(&event("b")).await.status, 202);
    server.store.set(|kept| {
        assert!(matches!(kept.seeds[0].start, Start::Bury { .. }));
        assert!(matches!(kept.seeds[1].start, Start::Run { .. }));
        assert!(matches!(kept.seeds[1].further, Some(Start::Run { .. })));
    });
}

#[tokio::test]
async fn nothing_is_acknowledged_before_the_store_has_it_and_a_stop_cuts_nothing_that_has_begun() {
    let server = Server::start().await;
    let mut idle = server.connect().await;
    assert_eq!(idle.post(&event("idle")).await.status, 202);
    soon(server.store.0.entered.notified()).await;
    let mut sending = server.connect().await;
    let body = event("sending");
    let head = post_head(&format!(
        "expect: 100-continue\r\ncontent-length: {}\r\n",
        body.len()
    ));
    assert_eq!(sending.ask(&head).await.status, 100);
    server.store.set(|kept| kept.hold = true);
    let mut waiting = server.connect().await;
    waiting.send(&post(&event("waiting"))).await;
    soon(server.store.0.entered.notified()).await;

    server.stop.send(()).unwrap();
    assert!(idle.is_closed().await);
    assert!(TcpStream::connect(server.address).await.is_err());
    assert!(!server.serving.is_finished());
    assert_eq!(server.store.keys(), ["idle"]);

    server.store.set(|kept| kept.hold = false);
    let answer = sending.ask(&body).await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.header("connection"), "close");
    assert!(sending.is_closed().await);
    assert!(!server.serving.is_finished());
    server.store.0.release.notify_one();
    assert_eq!(waiting.receive().await.status, 202);
    assert!(waiting.is_closed().await);
    soon(server.serving).await.unwrap();
    assert_eq!(server.store.keys(), ["idle", "sending", "waiting"]);
}

#[tokio::test]
async fn a_stop_waits_no_longer_than_it_may() {
    let server = Server::with(Bounds::default(), Duration::from_millis(30)).await;
    server.store.set(|kept| kept.hold = true);
    let mut waiting = server.connect().await;
    waiting.send(&post(&event("waiting"))).await;
    soon(server.store.0.entered.notified()).await;
    server.stop.send(()).unwrap();
    soon(server.serving).await.unwrap();
    assert!(waiting.try_receive().await.is_none());
    assert_eq!(server.store.keys(), [""; 0]);
}
