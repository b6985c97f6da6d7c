//! Braze webhooks and Outgrow leads: both routes over real connections into a store, and the whole way with the binary.

mod order;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use braze_relay::client::http::{Http, Method};
use braze_relay::clock::Clock;
use braze_relay::config;
use braze_relay::flow;
use braze_relay::flow::job::{Reason, State};
use braze_relay::ingest::{Ingest, serve};
use braze_relay::model::event::Source;
use braze_relay::model::lane::Lane;
use braze_relay::model::rules::{AnswerKind, MappedAttribute, Mapping, RuleBook, Rules};
use braze_relay::model::time::Timestamp;
use braze_relay::store::map::MapStore;
use braze_relay::store::{DeadFilter, Operate, Settings, Store};
use braze_relay::telemetry::Metrics;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use url::Url;

use crate::support::{Client, Relay, Sandbox, Setup, until};

const START: Timestamp = Timestamp::from_millis(1_795_770_600_000);
const SOON: Duration = Duration::from_mins(1);

/// The real ingest over the plain-map store.
struct Door {
    address: SocketAddr,
    store: MapStore,
    rules: watch::Sender<Arc<RuleBook>>,
    _stop: oneshot::Sender<()>,
}

fn quiz() -> Rules {
    let attribute = |name: &str, from: &str, kind| MappedAttribute {
        name: name.into(),
        from: from.into(),
        kind,
        coerce: false,
        required: true,
    };
    Rules {
        mapping: Some(Mapping {
            id: Some("/lead/id".into()),
            email: Some("/lead/email".into()),
            external_id: None,
            bad_answer_kills: false,
            attributes: vec![attribute(
                "outgrow_quiz_score",
                "/result/score",
                AnswerKind::Number,
            )],
        }),
        ..Rules::plain("quiz", "acme")
    }
}

impl Door {
    async fn open(rules: impl IntoIterator<Item = Rules>) -> Door {
        let tokens = [
            (Source::Braze, vec!["braze".into()]),
            (Source::Outgrow, vec!["outgrow".into()]),
        ];
        let settings = config::Ingest {
            listen: ([127, 0, 0, 1], 0).into(),
            max_body_bytes: 400_000,
            max_event_bytes: 200_000,
            max_batch: 5,
            tokens: BTreeMap::from(tokens),
        };
        let listener = TcpListener::bind(settings.listen).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (rules, seen) = watch::channel(Arc::new(RuleBook::new(rules)));
        let store = MapStore::new(Settings::default());
        let ingest = Ingest::new(
            store.clone(),
            settings,
            seen,
            Arc::new(Metrics::new().unwrap()),
            Clock::starting_at(START, 1.0),
            flow::start,
        );
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async move {
            let _ = stopped.await;
        };
        tokio::spawn(serve(listener, Arc::new(ingest), stopped, SOON));
        Door {
            address,
            store,
            rules,
            _stop: stop,
        }
    }

    /// Status and body.
    async fn post(&self, path: &str, header: Option<&str>, body: &str) -> (u16, Value) {
        let url = Url::parse(&format!("http://{}{path}", self.address)).unwrap();
        let token = if path == "/webhook/braze" {
            "braze"
        } else {
            "outgrow"
        };
        post(&url, token, header, body).await
    }

    async fn dead(&self) -> Vec<(Reason, Option<flow::job::Flow>, String)> {
        let page = self.store.dead_list(DeadFilter::default(), None, 100).await;
        let letters = page.unwrap().items.into_iter();
        letters
            .map(|it| (it.burial.reason, it.flow, it.event.scope))
            .collect()
    }
}

async fn post(url: &Url, token: &str, id: Option<&str>, body: &str) -> (u16, Value) {
    let bearer = format!("Bearer {token}");
    let mut headers = vec![
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    headers.extend(id.map(|id| ("idempotency-key", id)));
    let http = Http::new(1, SOON).unwrap();
    let body = Some(body.as_bytes().to_vec());
    let answer = http
        .request(Method::POST, url, &headers, body, SOON, 1 << 20)
        .await;
    let answer = answer.unwrap();
    (answer.status, serde_json::from_slice(&answer.body).unwrap())
}

/// How many were new, and how many duplicates.
fn counted((status, body): &(u16, Value)) -> (u64, u64) {
    assert_eq!(*status, 202, "{body}");
    (
        body["accepted"].as_u64().unwrap(),
        body["duplicates"].as_u64().unwrap(),
    )
}

fn webhook(more: &str) -> String {
    format!(r#"{{"q_scope":"login","event":"logged_in","email":"Ada@Example.com"{more}}}"#)
}

#[tokio::test]
async fn a_webhook_becomes_one_job_on_the_lane_to_quikly() {
    let door = Door::open([Rules::plain("login", "acme")]).await;
    let first = door
        .post("/webhook/braze", None, &webhook(r#","tier":"gold""#))
        .await;
    assert_eq!(counted(&first), (1, 0));
    let lane: Lane = "acme/quikly".parse().unwrap();
    let leased = door.store.lease(&lane, START + SOON, 9).await.unwrap();
    assert_eq!(leased.len(), 1);
    assert_eq!(leased[0].job.state, State::Webhook);
    assert_eq!(leased[0].event.email_given(), "Ada@Example.com");
    let told = leased[0].event.event.as_ref().unwrap();
    assert_eq!(
        told.properties.as_ref().unwrap().as_str(),
        r#"{"tier":"gold"}"#
    );
    assert_eq!(door.dead().await, []);
}

#[tokio::test]
async fn a_repeated_delivery_is_one_event_and_two_logins_with_ids_are_two() {
    let door = Door::open([Rules::plain("login", "acme")]).await;
    let post = async |id: Option<&str>, more: &str| {
        counted(&door.post("/webhook/braze", id, &webhook(more)).await)
    };
    for (id, more, expected) in [
        (None, "", (1, 0)),
        (None, "", (0, 1)),
        (None, r#","id":"d-1""#, (1, 0)),
        (None, r#","id":"d-1""#, (0, 1)),
        (None, r#","id":"d-2""#, (1, 0)),
        // The same id with other content is the same event, as everywhere.
        (None, r#","id":"d-2","tier":"gold""#, (0, 1)),
        (Some("d-2"), "", (0, 1)),
        (Some("h"), r#","id":"d-1""#, (1, 0)),
    ] {
        assert_eq!(post(id, more).await, expected, "{id:?} {more}");
    }
    let other = webhook("").replace("Ada", "Bo");
    assert_eq!(
        counted(&door.post("/webhook/braze", None, &other).await),
        (1, 0)
    );
}

#[tokio::test]
async fn a_blank_e_mail_is_a_400_that_says_what_to_do_in_braze() {
    let door = Door::open([Rules::plain("login", "acme")]).await;
    let blank = webhook("").replace("Ada@Example.com", "");
    let (status, body) = door.post("/webhook/braze", None, &blank).await;
    assert_eq!(status, 400);
    assert_eq!(body["errors"][0]["field"], "email");
    assert_eq!(body["errors"][0]["reason"], "is blank");
    assert!(
        body["errors"][0]["remedy"]
            .as_str()
            .unwrap()
            .contains("abort_message")
    );
    for body in ["[]", "{", "", r#"{"q_scope":"login"}"#] {
        let (status, answer) = door.post("/webhook/braze", None, body).await;
        assert_eq!(status, 400, "{body} {answer}");
        assert!(!answer.to_string().contains("login"), "{answer}");
    }
    let large = webhook(&format!(r#","x":"{}""#, "x".repeat(200_000)));
    assert_eq!(door.post("/webhook/braze", None, &large).await.0, 413);
    // Large, but not too large: parsed elsewhere, by the same route.
    let large = webhook(&format!(r#","x":"{}""#, "x".repeat(150_000)));
    assert_eq!(
        counted(&door.post("/webhook/braze", None, &large).await),
        (1, 0)
    );
    assert_eq!(door.dead().await, []);
}

#[tokio::test]
async fn what_is_not_configured_is_accepted_and_dead_until_it_is() {
    let door = Door::open([Rules::plain("quiz", "acme")]).await;
    counted(&door.post("/webhook/braze", None, &webhook("")).await);
    counted(&door.post("/v1/outgrow/quiz", None, r#"{"x":1}"#).await);
    let unknown = Reason::UnknownActivation;
    let (hook, lead) = (flow::job::Flow::Webhook, flow::job::Flow::Outgrow);
    let expected = [
        (unknown, Some(hook), "login".to_owned()),
        (unknown, Some(lead), "quiz".to_owned()),
    ];
    assert_eq!(door.dead().await, expected);
    door.rules.send_replace(Arc::new(RuleBook::new([quiz()])));
    counted(&door.post("/v1/outgrow/quiz", None, r#"{"x":2}"#).await);
    assert_eq!(door.dead().await.len(), 2);
}

#[tokio::test]
async fn any_object_is_a_lead_and_one_first_partial_then_complete_is_two() {
    let door = Door::open([quiz()]).await;
    let post = async |body: &str| counted(&door.post("/v1/outgrow/quiz", None, body).await);
    let (partial, complete) = (
        r#"{"lead":{"id":1,"email":"a@b.example"}}"#,
        r#"{"lead":{"id":1,"email":"a@b.example"},"result":{"score":7}}"#,
    );
    assert_eq!(post(partial).await, (1, 0));
    assert_eq!(post(complete).await, (1, 0));
    assert_eq!(post(partial).await, (0, 1));
    assert_eq!(post("{}").await, (1, 0));
    assert_eq!(post(" {} ").await, (0, 1));
    for body in ["[{}]", "7", "{"] {
        let (status, answer) = door.post("/v1/outgrow/quiz", None, body).await;
        assert_eq!(status, 400, "{body} {answer}");
    }
    let large = format!(r#"{{"x":"{}"}}"#, "x".repeat(150_000));
    assert_eq!(post(&large).await, (1, 0));
    let lane: Lane = "acme/users_track".parse().unwrap();
    let leased = door.store.lease(&lane, START + SOON, 9).await.unwrap();
    // The complete one waits for the partial one, which is of the same participant.
    assert_eq!(leased.len(), 3);
    let counts = door.store.counts(START + SOON).await.unwrap();
    assert_eq!(counts.lanes[&lane].waiting, 1);
    assert!(
        leased
            .iter()
            .all(|it| it.job.state == State::Outgrow && it.event.scope == "quiz")
    );
    assert_eq!(leased[0].event.participant(), "a@b.example");
}

const SOURCES: &str = "[ingest.sources.braze]\ntokens = [{ value = \"braze\" }]\n\
     [ingest.sources.outgrow]\ntokens = [{ value = \"outgrow\" }]\n\
     [activations.login]\nworkspace = \"acme\"\n\
     [outgrow.quiz]\nworkspace = \"acme\"\nemail = \"/lead/email\"\n\
     [outgrow.quiz.attributes]\nquiz_score = { from = \"/score\", type = \"number\" }\nquiz_zip = { from = \"/zip\", type = \"string\" }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhooks_and_leads_go_the_whole_way_with_the_binary() {
    let sandbox = Sandbox::start(&[]).await;
    let setup = Setup::new(&sandbox, SOURCES);
    let relay = Relay::start(&setup).await;
    let client = Client::new();
    let url = |path: &str| relay.events().join(path).unwrap();

    let hook = url("/webhook/braze");
    for _ in 0..2 {
        counted(
            &post(
                &hook,
                "braze",
                None,
                &webhook(r#","id":"d-1","tier":"gold""#),
            )
            .await,
        );
    }
    counted(&post(&hook, "braze", None, &webhook(r#","id":"d-2""#)).await);
    let credits = until("Quikly heard of two logins", SOON, async || {
        let credits = client.lines(&sandbox.question("credits")).await;
        (credits.len() == 2).then_some(credits)
    })
    .await;
    assert_eq!(credits[0]["email"], "Ada@Example.com");
    assert_eq!(credits[0]["q_scope"], "login");
    assert_eq!(credits[0]["event"], "logged_in");
    assert_eq!(credits[0]["more"], json!({"id": "d-1", "tier": "gold"}));
    assert_ne!(credits[0]["key"], credits[1]["key"]);

    let quiz = url("/v1/outgrow/quiz");
    let lead = r#"{"lead":{"email":"Bo@Example.com"},"score":87,"zip":12345}"#;
    counted(&post(&quiz, "outgrow", None, lead).await);
    let profile = until("the profile has its answers", SOON, async || {
        let profiles = client.lines(&sandbox.question("profiles")).await;
        profiles
            .into_iter()
            .find(|it| it["email"] == "bo@example.com")
    })
    .await;
    assert_eq!(profile["custom_attributes"], json!({"quiz_score": 87}));
    counted(&post(&quiz, "outgrow", None, r#"{"score":1}"#).await);
    let dead = until("nobody's lead is dead", SOON, async || {
        let page = client.document(&relay.ops("/api/v1/dead")).await;
        page["items"]
            .as_array()
            .filter(|it| !it.is_empty())
            .cloned()
    })
    .await;
    assert_eq!(dead[0]["reason"], "bad_answer");
    assert_eq!(
        dead[0]["answer"]["text"],
        "email (/lead/email): nothing instead of an e-mail address; quiz_zip (/zip): nothing instead of a text"
    );
    relay.stop(&setup).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhooks_for_a_workspace_without_quikly_wait_where_everybody_sees_it() {
    let sandbox = Sandbox::start(&[]).await;
    let setup = Setup::new(&sandbox, SOURCES);
    let whole = std::fs::read_to_string(setup.config()).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let from = lines
        .iter()
        .position(|line| *line == "[workspaces.acme.quikly]")
        .unwrap();
    let without = [&lines[..from], &lines[from + 4..]].concat().join("\n");
    assert!(!without.contains("quikly-token\"\nlimit"), "{without}");
    setup.write(&without);
    let client = Client::new();
    let relay = Relay::start(&setup).await;
    let hook = relay.events().join("/webhook/braze").unwrap();
    counted(&post(&hook, "braze", None, &webhook("")).await);
    until("the lane is held", SOON, async || {
        let status = client.document(&relay.ops("/api/v1/status")).await;
        let lanes = status["lanes"].as_array().unwrap().clone();
        let lane = lanes.into_iter().find(|it| it["lane"] == "acme/quikly")?;
        (lane["held"]["reason"] == "unconfigured").then_some(())
    })
    .await;
    relay.stop(&setup).await;
    // Once there is a Quikly, it hears of it.
    setup.write(&whole);
    let relay = Relay::start(&setup).await;
    until("Quikly heard of it", SOON, async || {
        let credits = client.lines(&sandbox.question("credits")).await;
        (credits.len() == 1).then_some(())
    })
    .await;
    relay.stop(&setup).await;
}
