//! The clients against servers that answer, stall, break off and lie, byte by byte.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use braze_relay::client::http::{Http, Method, Trouble};
use braze_relay::client::{Answers, Client, Outside};
use braze_relay::clock::Clock;
use braze_relay::config;
use braze_relay::model::Name;
use braze_relay::model::call::{Address, Call, Credit, Failure, Profile, Reply, Track, TrackEvent};
use braze_relay::model::json::Object;
use braze_relay::model::lane::{Lane, LaneKind};
use braze_relay::model::rules::OnUnknown;
use braze_relay::model::time::Timestamp;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const KEY: &str = "b6ad1a3e-41a5-4a32-a0d2-aaaaaaaaaaaa";
const TOKEN: &str = "quikly-t0ken";
const EMAIL: &str = "ada@example.com";

/// Long enough for a busy machine, short enough to be waited for.
const SHORT: Duration = Duration::from_millis(500);
const LONG: Duration = Duration::from_secs(30);

/// 2026-11-27T09:30:00Z.
const NOW: Timestamp = Timestamp::from_millis(1_795_771_800_000);

/// What a server does with a connection.
#[derive(Clone, Debug)]
enum Act {
    /// Reads a request, answers this, closes.
    Answer(String),
    /// Closes without reading.
    Hang,
    /// Reads a request, closes without a word.
    ReadAndHang,
    /// Reads a request and says nothing until the other side goes.
    Silence,
    /// Reads a request and answers a body without end.
    Endless,
}

/// A server that does the same with every connection and remembers what it was asked.
struct Server {
    url: String,
    requests: Arc<Mutex<Vec<Request>>>,
    connections: Arc<Mutex<usize>>,
}

#[derive(Clone, Debug)]
struct Request {
    line: String,
    headers: BTreeMap<String, String>,
    body: Value,
}

impl Server {
    async fn start(act: Act) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server {
            url: format!("http://{}", listener.local_addr().unwrap()),
            requests: Arc::default(),
            connections: Arc::default(),
        };
        let (requests, connections) = (server.requests.clone(), server.connections.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *connections.lock().unwrap() += 1;
                tokio::spawn(handle(stream, act.clone(), requests.clone()));
            }
        });
        server
    }

    async fn answering(status: &str, headers: &str, body: &str) -> Server {
        Server::start(Act::Answer(format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n{body}",
            body.len()
        )))
        .await
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

async fn handle(mut stream: TcpStream, act: Act, requests: Arc<Mutex<Vec<Request>>>) {
    if matches!(act, Act::Hang) {
        return;
    }
    let Some(request) = read_request(&mut stream).await else {
        return;
    };
    requests.lock().unwrap().push(request);
    match act {
        Act::Hang | Act::ReadAndHang => {}
        Act::Answer(text) => {
            stream.write_all(text.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
        Act::Silence => {
            let _ = stream.read(&mut [0; 1]).await;
        }
        Act::Endless => {
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            let mut going = stream.write_all(head.as_bytes()).await;
            while going.is_ok() {
                let chunk = format!("400\r\n{}\r\n", "x".repeat(0x400));
                going = stream.write_all(chunk.as_bytes()).await;
            }
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap();
    let mut lines = head.split("\r\n").map(str::to_owned);
    let line = lines.next().unwrap();
    let headers: BTreeMap<String, String> = lines
        .map(|header| {
            let (name, value) = header.split_once(": ").unwrap();
            (name.to_lowercase(), value.to_owned())
        })
        .collect();
    let length: usize = headers
        .get("content-length")
        .map_or(0, |n| n.parse().unwrap());
    while bytes.len() < head_end + 4 + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some(Request {
        line,
        headers,
        body: serde_json::from_slice(&bytes[head_end + 4..]).unwrap_or_default(),
    })
}

fn outside(url: &str, timeout: Duration) -> Outside {
    let workspace = config::Workspace {
        brand: None,
        braze: config::Braze {
            url: url.parse().unwrap(),
            api_key: KEY.into(),
            share: 1.0,
            timeout,
            max_in_flight: 4,
            track_objects_max: 75,
            linger: Duration::ZERO,
            order_gap: Duration::ZERO,
            partner: "Quikly-BrazeRelay".into(),
            known_for: Duration::ZERO,
            limits: BTreeMap::new(),
        },
        quikly: Some(config::Quikly {
            url: format!("{url}/webhook/braze").parse().unwrap(),
            token: TOKEN.into(),
            limit: Vec::new(),
            max_in_flight: 4,
            timeout,
        }),
    };
    let without_quikly = config::Workspace {
        quikly: None,
        ..workspace.clone()
    };
    let workspaces = BTreeMap::from([
        (Name::from("acme"), workspace),
        (Name::from("silent"), without_quikly),
    ]);
    Outside::of(&workspaces, Clock::starting_at(NOW, 1.0)).unwrap()
}

async fn perform(outside: &Outside, workspace: &str, calls: Vec<Call>) -> Answers {
    let lane = Lane::new(&workspace.into(), calls[0].lane());
    let count = calls.len();
    let answers = outside.perform(&lane, calls).await.answers;
    assert_eq!(answers.len(), count);
    answers
}

async fn asked(url: &str, call: Call) -> Result<Reply, Failure> {
    perform(&outside(url, LONG), "acme", vec![call])
        .await
        .remove(0)
}

fn look_up() -> Call {
    Call::LookUp {
        email: EMAIL.into(),
        phone: false,
    }
}

fn track(address: Address, attributes: Value, events: usize) -> Call {
    Call::Track(Track {
        address,
        create: false,
        attributes: serde_json::from_value::<Object>(attributes).unwrap(),
        events: vec![
            TrackEvent {
                name: "joined".into(),
                time: NOW,
                properties: None,
            };
            events
        ],
        subscribe: None,
        on_unknown: OnUnknown::Resend,
    })
}

fn credit() -> Call {
    Call::Credit(Credit {
        q_scope: "spring-drop".into(),
        event: "sms_joined".into(),
        email: "Ada@Example.com".into(),
        pairs: Object::new(),
        idempotency_key: "credit-1".into(),
        accepted_at: NOW,
        on_unknown: OnUnknown::Resend,
    })
}

fn every_call() -> [Call; 3] {
    [
        look_up(),
        track(Address::Alias(EMAIL.into()), json!({"level": 1}), 1),
        credit(),
    ]
}

fn class(answer: &Result<Reply, Failure>) -> &'static str {
    match answer {
        Ok(_) => "ok",
        Err(Failure::Transient(_)) => "transient",
        Err(Failure::Unknown(_)) => "unknown",
        Err(Failure::Throttled { .. }) => "throttled",
        Err(Failure::Rejected(_)) => "rejected",
        Err(Failure::WrongGroup(_)) => "wrong group",
        Err(Failure::Denied(_)) => "denied",
        Err(Failure::Apart { .. }) => "apart",
    }
}

async fn classes(act: Act, timeout: Duration) -> [&'static str; 3] {
    let server = Server::start(act).await;
    let outside = outside(&server.url, timeout);
    let mut classes = [""; 3];
    for (place, call) in classes.iter_mut().zip(every_call()) {
        *place = class(&perform(&outside, "acme", vec![call]).await[0]);
    }
    assert_eq!(server.connections(), 3, "each request is sent at most once");
    classes
}

#[tokio::test]
async fn a_look_up_is_one_post_with_the_headers_braze_wants_of_partners() {
    let server = Server::answering(
        "201 Created",
        "",
        r#"{"message":"success","users":[{"external_id":"x","email":"ada@example.com"}]}"#,
    )
    .await;
    let found = asked(&format!("{}/proxy/", server.url), look_up()).await;
    assert_eq!(
        found,
        Ok(Reply::Profiles(vec![Profile {
            external_id: Some("x".into()),
            email: Some(EMAIL.into()),
            ..Profile::default()
        }]))
    );
    let [request] = server.requests().try_into().unwrap();
    assert_eq!(request.line, "POST /proxy/users/export/ids HTTP/1.1");
    let header = |name: &str| request.headers.get(name).cloned().unwrap_or_default();
    assert_eq!(header("authorization"), format!("Bearer {KEY}"));
    assert_eq!(header("content-type"), "application/json");
    assert_eq!(
        header("user-agent"),
        format!("partner-Quikly-BrazeRelay/{}", env!("CARGO_PKG_VERSION"))
    );
    for absent in ["accept-encoding", "cookie", "referer"] {
        assert_eq!(header(absent), "", "{absent}");
    }
    assert_eq!(
        request.body,
        json!({"email_address": EMAIL,
            "fields_to_export": ["braze_id", "external_id", "user_aliases", "email", "phone"]})
    );
}

#[tokio::test]
async fn tracks_share_one_request_and_only_the_guilty_one_is_rejected() {
    let server = Server::answering(
        "201 Created",
        "",
        r#"{"message":"success","events_processed":1,"errors":[{"type":"'x' is bad","input_array":"attributes","index":1}]}"#,
    )
    .await;
    let calls = vec![
        track(Address::Alias(EMAIL.into()), json!({"level": 1}), 1),
        track(Address::BrazeId("b".into()), json!({"x": 1}), 0),
        track(Address::ExternalId("c".into()), json!({}), 0),
    ];
    let answers = perform(&outside(&server.url, LONG), "acme", calls).await;
    assert_eq!(
        answers.iter().map(class).collect::<Vec<_>>(),
        ["ok", "rejected", "ok"]
    );
    assert_eq!(answers[1].as_ref().unwrap_err().answer().text, "'x' is bad");
    let [request] = server.requests().try_into().unwrap();
    assert_eq!(request.line, "POST /users/track HTTP/1.1");
    assert_eq!(
        request.body,
        json!({
            "attributes": [
                {"user_alias": {"alias_name": EMAIL, "alias_label": "email"}, "_update_existing_only": true, "level": 1},
                {"braze_id": "b", "_update_existing_only": true, "x": 1},
            ],
            "events": [
                {"user_alias": {"alias_name": EMAIL, "alias_label": "email"}, "_update_existing_only": true,
                 "name": "joined", "time": "2026-11-27T09:30:00.000Z"},
            ],
        })
    );
}

#[tokio::test]
async fn a_track_without_anything_to_write_sends_nothing() {
    let server = Server::start(Act::Hang).await;
    let nothing = track(Address::BrazeId("b".into()), json!({}), 0);
    assert_eq!(asked(&server.url, nothing).await, Ok(Reply::Tracked));
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_credit_is_one_post_to_the_webhook_url_with_its_key_and_its_time() {
    let server = Server::answering("200 OK", "", "thanks").await;
    assert_eq!(asked(&server.url, credit()).await, Ok(Reply::Credited));
    let [request] = server.requests().try_into().unwrap();
    assert_eq!(request.line, "POST /webhook/braze HTTP/1.1");
    let header = |name: &str| request.headers.get(name).cloned().unwrap_or_default();
    assert_eq!(header("authorization"), format!("Bearer {TOKEN}"));
    assert_eq!(header("content-type"), "application/json");
    assert_eq!(header("idempotency-key"), "credit-1");
    assert_eq!(header("x-relay-accepted-at"), "2026-11-27T09:30:00.000Z");
    assert_eq!(
        request.body,
        json!({"q_scope": "spring-drop", "event": "sms_joined", "email": "Ada@Example.com"})
    );
}

#[tokio::test]
async fn what_never_left_is_transient() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refused = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let plain = Server::start(Act::Hang).await;
    let no_tls = plain.url.replace("http:", "https:");
    for url in [refused, no_tls] {
        for call in every_call() {
            let answer = asked(&url, call).await;
            assert_eq!(class(&answer), "transient", "{url}");
            let text = answer.unwrap_err().answer().text.clone();
            assert!(text.starts_with("not sent: "), "{text}");
            assert!(!text.contains("127.0.0.1"), "{text}");
        }
    }
}

#[tokio::test]
async fn what_was_sent_and_not_answered_is_unknown_unless_it_was_a_read() {
    let expected = ["transient", "unknown", "unknown"];
    for act in [Act::Hang, Act::ReadAndHang] {
        assert_eq!(classes(act.clone(), LONG).await, expected, "{act:?}");
    }
    assert_eq!(classes(Act::Silence, SHORT).await, expected);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_success_but_keeps_its_status() {
    let cut = |status: &str| {
        Act::Answer(format!(
            "HTTP/1.1 {status}\r\ncontent-length: 999\r\nconnection: close\r\n\r\n{}",
            r#"{"message":"success","users":[]}"#
        ))
    };
    assert_eq!(
        classes(cut("201 Created"), LONG).await,
        ["transient", "unknown", "ok"]
    );
    assert_eq!(
        classes(cut("503 Service Unavailable"), LONG).await,
        ["transient"; 3]
    );
}

#[tokio::test]
async fn an_answer_without_end_is_read_no_further_than_its_cap() {
    let until_the_cap = tokio::time::timeout(LONG / 2, classes(Act::Endless, LONG));
    assert_eq!(until_the_cap.await.unwrap(), ["transient", "unknown", "ok"]);
    let server = Server::start(Act::Endless).await;
    let answer = Http::new(1, LONG)
        .unwrap()
        .request(
            Method::GET,
            &server.url.parse().unwrap(),
            &[],
            None,
            LONG,
            1500,
        )
        .await
        .unwrap();
    assert_eq!((answer.body.len(), answer.whole), (1500, false));
}

#[tokio::test]
async fn an_answer_of_exactly_the_cap_is_whole() {
    let server =
        Server::answering("200 OK", "X-Some-Header: Value \r\nx-empty:\r\n", "12345").await;
    let answer = Http::new(1, LONG)
        .unwrap()
        .request(
            Method::GET,
            &server.url.parse().unwrap(),
            &[("authorization", "Bearer t")],
            None,
            LONG,
            5,
        )
        .await
        .unwrap();
    assert_eq!(
        (answer.body.as_slice(), answer.whole),
        (&b"12345"[..], true)
    );
    assert_eq!(answer.header("x-some-header"), Some("Value"));
    assert_eq!(answer.header("x-empty"), None);
    assert!(!format!("{answer:?}").contains("12345"));
    let [request] = server.requests().try_into().unwrap();
    assert_eq!(request.line, "GET / HTTP/1.1");
    assert_eq!(request.headers["authorization"], "Bearer t");
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let elsewhere = Server::answering("200 OK", "", "{}").await;
    let location = format!("location: {}/\r\n", elsewhere.url);
    for status in ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"] {
        let server = Server::answering(status, &location, "").await;
        for call in every_call() {
            assert_eq!(class(&asked(&server.url, call).await), "denied", "{status}");
        }
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn a_throttle_tells_when_by_any_header() {
    for (headers, seconds) in [
        ("Retry-After: 7\r\n", Some(7)),
        ("retry-after: Fri, 27 Nov 2026 09:30:07 GMT\r\n", Some(7)),
        ("X-Ratelimit-Retry-After: 7\r\n", Some(7)),
        ("X-RateLimit-Reset: 1795771807\r\n", Some(7)),
        ("X-RateLimit-Reset: 7\r\n", Some(7)),
        ("Retry-After: \r\nX-RateLimit-Reset: 7\r\n", Some(7)),
        ("Retry-After: 86400\r\n", Some(3600)),
        ("", None),
    ] {
        let server =
            Server::answering("429 Too Many Requests", headers, r#"{"message":"slow"}"#).await;
        for call in every_call() {
            let Err(Failure::Throttled { until, answer }) = asked(&server.url, call).await else {
                unreachable!("a 429 is a throttle");
            };
            // The clock of the test goes on while it runs.
            let waits = until.map(|until| until.since(NOW));
            match seconds {
                None => assert_eq!(waits, None),
                Some(seconds) => {
                    let least = Duration::from_secs(seconds);
                    let range = least..least + LONG;
                    assert!(range.contains(&waits.unwrap()), "{headers} {waits:?}");
                }
            }
            assert_eq!(
                answer.text.contains("capped at 3600 s"),
                seconds == Some(3600)
            );
            assert!(answer.text.ends_with("slow"), "{}", answer.text);
        }
    }
}

#[tokio::test]
async fn a_refused_key_is_denied_and_its_echo_is_not_shown() {
    let body = json!({"message": format!("Invalid API key: {KEY} {TOKEN}")}).to_string();
    let empty = "X-RateLimit-Limit: \r\nX-RateLimit-Remaining: \r\nX-RateLimit-Reset: \r\n";
    for (status, shown) in [
        ("401 Unauthorized", "the key was refused"),
        ("403 Forbidden", "***"),
    ] {
        let server = Server::answering(status, empty, &body).await;
        for call in every_call() {
            let answer = asked(&server.url, call).await;
            assert_eq!(class(&answer), "denied");
            let failure = format!("{answer:?}");
            assert!(failure.contains(shown), "{failure}");
            assert!(!failure.contains(KEY), "{failure}");
            assert!(
                status.starts_with("403") || !failure.contains("Invalid"),
                "{failure}"
            );
        }
    }
}

#[tokio::test]
async fn what_is_not_configured_is_denied_and_says_so() {
    let server = Server::start(Act::Hang).await;
    let outside = outside(&server.url, LONG);
    for (workspace, call, text) in [
        ("nobody", look_up(), "no workspace nobody is configured"),
        ("silent", credit(), "the workspace has no quikly settings"),
    ] {
        let answer = perform(&outside, workspace, vec![call]).await.remove(0);
        assert_eq!(class(&answer), "denied");
        assert_eq!(answer.unwrap_err().answer().text, text);
    }
    let lane = Lane::new(&"nobody".into(), LaneKind::UsersExportIds);
    let heard = outside.perform(&lane, vec![look_up()]).await;
    assert!(!heard.sent, "it says nothing about the lane");
    assert_eq!(server.connections(), 0);
    let objects = |workspace: &str, kind| outside.objects_max(&Lane::new(&workspace.into(), kind));
    assert_eq!(objects("acme", LaneKind::UsersTrack), 75);
    assert_eq!(objects("acme", LaneKind::UsersExportIds), 1);
    assert_eq!(objects("nobody", LaneKind::UsersTrack), 1);
}

#[tokio::test]
async fn calls_of_several_kinds_are_answered_one_by_one_in_order() {
    let server = Server::answering("201 Created", "", r#"{"message":"success","users":[]}"#).await;
    let answers = perform(&outside(&server.url, LONG), "acme", every_call().to_vec()).await;
    assert_eq!(
        answers,
        [
            Ok(Reply::Profiles(Vec::new())),
            Ok(Reply::Tracked),
            Ok(Reply::Credited)
        ]
    );
}

#[tokio::test]
async fn a_header_that_cannot_be_sent_sends_nothing() {
    let server = Server::start(Act::Hang).await;
    let url = server.url.parse().unwrap();
    let trouble = Http::new(1, LONG)
        .unwrap()
        .request(
            Method::GET,
            &url,
            &[("authorization", "a\nb")],
            None,
            LONG,
            1,
        )
        .await
        .unwrap_err();
    assert_eq!(
        trouble,
        Trouble::NotSent("the value of header authorization cannot be sent".into())
    );
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn debug_output_shows_no_secret() {
    let shown = format!("{:?}", outside("http://127.0.0.1:1", LONG));
    assert!(!shown.contains(KEY) && !shown.contains(TOKEN), "{shown}");
}
