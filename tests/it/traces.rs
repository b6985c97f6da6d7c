//! Traces from one end to the other: what came with an event goes on with every request of its jobs, whatever happens
//! meanwhile, and is exported; nothing else is.

mod town;

use std::collections::BTreeMap;
use std::time::Duration;

use braze_relay::app::App;
use braze_relay::client::http::{Http, Method};
use braze_relay::clock::Clock;
use braze_relay::config::{Config, Env};
use braze_relay::model::time::Timestamp;
use braze_relay::model::trace::TraceContext;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use url::Url;

use crate::support::scene::WITHIN;
use crate::support::until;
use town::{Seen, Town};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";
const EMAIL: &str = "ada.lovelace@example.com";
const PHONE: &str = "+15555550100";
const KEY: &str = "braze-key-of-the-test";
const TOKEN: &str = "quikly-token-of-the-test";

/// When the tests take place.
fn today() -> Timestamp {
    Timestamp::from_millis(1_795_770_600_000)
}

fn days(days: u64) -> Duration {
    Duration::from_hours(24 * days)
}

fn traceparent() -> String {
    format!("00-{TRACE}-{PARENT}-01")
}

fn join(id: &str) -> Value {
    json!({"id": id, "q_scope": "drop", "type": "participation", "email": EMAIL, "phone": PHONE,
        "sms_consent": true, "attributes": {"level": 3}})
}

/// A relay in this process.
struct Running {
    ingest: Url,
    ops: Url,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

/// The configuration of every test: somebody who joins by SMS waits three days before she is subscribed and credited.
fn configuration(town: &Town, folder: &tempfile::TempDir, telemetry: &str) -> String {
    let (url, path) = (&town.url, folder.path().join("data"));
    format!(
        "[ingest]\nlisten = \"127.0.0.1:0\"\n[ingest.sources.quikly]\ntokens = [{{ value = \"{TOKEN}\" }}]\n\
         [ops]\nlisten = \"127.0.0.1:0\"\n[serve]\nstop_within = \"2s\"\n\
         [store]\npath = {path:?}\nballast_bytes = 4096\nreserve_bytes = 0\n\
         [workspaces.acme.braze]\nurl = \"{url}\"\napi_key = \"{KEY}\"\n\
         [workspaces.acme.quikly]\nurl = \"{url}/quikly\"\ntoken = \"{TOKEN}\"\n\
         [activations.drop]\nworkspace = \"acme\"\nflow = \"sms\"\nsubscription_delay = \"3d\"\n\
         subscription_group_id = \"6f4b0c3e-0000-4000-8000-000000000000\"\ncredit = {{ event = \"joined\" }}\n{telemetry}"
    )
}

/// Export to the town.
fn exporting(town: &Town) -> String {
    format!("[telemetry]\notlp_endpoint = \"{}/v1/traces\"\n", town.url)
}

impl Running {
    async fn start(configuration: &str, now: Timestamp) -> Running {
        let loaded = Config::from_toml(configuration, &Env::from_pairs([("A", "b")])).unwrap();
        let clock = Clock::starting_at(now, 1.0);
        let app = App::open(loaded.config, clock).await.unwrap();
        let (ingest, ops) = app.addresses().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = app.run(async move {
            let _ = stopped.await;
        });
        Running {
            ingest: format!("http://{ingest}/v1/quikly/events").parse().unwrap(),
            ops: format!("http://{ops}/metrics").parse().unwrap(),
            stop,
            ended: tokio::spawn(async move { running.await.unwrap() }),
        }
    }

    /// Posts an event; the 202's body.
    async fn post(&self, event: &Value, traceparent: Option<&str>) -> Value {
        let bearer = format!("Bearer {TOKEN}");
        let mut headers = vec![
            ("content-type", "application/json"),
            ("authorization", bearer.as_str()),
        ];
        headers.extend(traceparent.map(|it| ("traceparent", it)));
        let body = serde_json::to_vec(event).unwrap();
        let http = Http::new(1, WITHIN).unwrap();
        let posted = http.request(
            Method::POST,
            &self.ingest,
            &headers,
            Some(body),
            WITHIN,
            9999,
        );
        let answer = posted.await.unwrap();
        assert_eq!(answer.status, 202);
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// What a series of `/metrics` that begins so shows.
    async fn metric(&self, series: &str) -> u64 {
        let http = Http::new(1, WITHIN).unwrap();
        let asked = http.request(Method::GET, &self.ops, &[], None, WITHIN, 1 << 20);
        let text = String::from_utf8(asked.await.unwrap().body).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        let number = line.unwrap_or_else(|| panic!("no {series}")).trim();
        number.parse().unwrap()
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.ended.await.unwrap();
    }
}

/// The traces that the requests to `path` told, one for each request.
fn told(town: &Town, path: &str) -> Vec<Option<TraceContext>> {
    let requests = town.requests();
    let of = requests.iter().filter(|(to, _)| to == path);
    of.map(|(_, header)| header.as_deref().map(|it| it.parse().unwrap()))
        .collect()
}

/// She waits from here on.
async fn waits(town: &Town) {
    until("the profile is made", WITHIN, async || {
        (!told(town, "/users/track").is_empty()).then_some(())
    })
    .await;
}

async fn credited(town: &Town) {
    until("Quikly is told", WITHIN, async || {
        (!told(town, "/quikly").is_empty()).then_some(())
    })
    .await;
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Posts, waits, and goes on days later with another process; the town has seen it all then.
async fn life(town: &Town, telemetry: &str, traceparent: Option<&str>) {
    let folder = tempfile::tempdir().unwrap();
    let configuration = configuration(town, &folder, telemetry);
    let relay = Running::start(&configuration, today()).await;
    assert_eq!(relay.post(&join("1"), traceparent).await["accepted"], 1);
    waits(town).await;
    relay.stop().await;
    let relay = Running::start(&configuration, today() + days(4)).await;
    credited(town).await;
    until("both jobs are done", WITHIN, async || {
        let done = relay.metric("relay_event_done_seconds_count{flow=\"credit\"}");
        (done.await == 1).then_some(())
    })
    .await;
    relay.stop().await;
}

#[tokio::test]
async fn who_waits_for_days_goes_on_in_the_same_trace_after_a_restart_and_so_does_her_credit() {
    let town = Town::build().await;
    life(&town, &exporting(&town), Some(&traceparent())).await;
    let requests = town.requests();
    assert!(requests.len() >= 6, "{requests:?}");
    for (path, header) in &requests {
        let header = header
            .as_deref()
            .unwrap_or_else(|| panic!("{path} tells none"));
        assert!(
            header.starts_with(&format!("00-{TRACE}-")),
            "{path} {header}"
        );
    }
    let spans = town.spans();
    assert!(spans.iter().all(|span| span.trace == TRACE), "{spans:?}");
    let named = |name: &str| -> Vec<&Seen> { spans.iter().filter(|it| it.name == name).collect() };
    let [accept] = named("accept")[..] else {
        panic!("{spans:?}");
    };
    assert_eq!(accept.parent, PARENT);
    for span in spans.iter().filter(|span| span.name != "accept") {
        assert_eq!(span.parent, accept.id, "{}", span.name);
    }
    // Each request's header is the span that shows it.
    let calls = [
        ("users_export_ids", "/users/export/ids"),
        ("users_track", "/users/track"),
        ("subscription_status_get", "/subscription/status/get"),
        ("subscription_status_set", "/v2/subscription/status/set"),
        ("quikly", "/quikly"),
    ];
    for (name, path) in calls {
        let mut shown: Vec<_> = named(name).iter().map(|span| span.id.clone()).collect();
        let mut told: Vec<_> = told(&town, path)
            .iter()
            .map(|it| hex(&it.unwrap().parent))
            .collect();
        shown.sort();
        told.sort();
        assert_eq!(shown, told, "{name}");
        assert!(!shown.is_empty(), "{name}");
    }
    let outcomes: BTreeMap<_, _> = named("done")
        .iter()
        .map(|span| {
            (
                &*span.attributes["relay.flow"],
                &*span.attributes["relay.outcome"],
            )
        })
        .collect();
    let expected = BTreeMap::from([("sms", "subscribed"), ("credit", "credited")]);
    assert_eq!(outcomes, expected);
    let credit = &named("quikly")[0].attributes;
    for (key, value) in [
        ("relay.workspace", "acme"),
        ("relay.lane", "quikly"),
        ("relay.activation", "drop"),
        ("relay.step", "credit"),
        ("relay.attempt", "1"),
        ("relay.outcome", "ok"),
        ("relay.batch_size", "1"),
        ("http.response.status_code", "200"),
    ] {
        assert_eq!(credit.get(key).map(String::as_str), Some(value), "{key}");
    }
}

#[tokio::test]
async fn nothing_of_a_person_and_no_secret_is_exported() {
    let town = Town::build().await;
    life(&town, &exporting(&town), None).await;
    let bodies = town.exported();
    assert!(!bodies.is_empty());
    let personal = [EMAIL, "lovelace", PHONE, "5555550100", KEY, TOKEN, "level"];
    for body in bodies {
        for word in personal {
            let found = body.windows(word.len()).any(|it| it == word.as_bytes());
            assert!(!found, "{word} is exported");
        }
    }
}

#[tokio::test]
async fn without_an_export_no_trace_is_kept_told_or_begun() {
    let town = Town::build().await;
    life(&town, "", Some(&traceparent())).await;
    let requests = town.requests();
    assert!(requests.len() >= 6, "{requests:?}");
    assert!(
        requests.iter().all(|(_, header)| header.is_none()),
        "{requests:?}"
    );
    assert!(town.exported().is_empty());
    // Nor does a trace that was kept while there was an export come back.
    let town = Town::build().await;
    let folder = tempfile::tempdir().unwrap();
    let with = configuration(&town, &folder, &exporting(&town));
    let relay = Running::start(&with, today()).await;
    relay.post(&join("1"), Some(&traceparent())).await;
    waits(&town).await;
    relay.stop().await;
    let without = configuration(&town, &folder, "");
    let relay = Running::start(&without, today() + days(4)).await;
    credited(&town).await;
    relay.stop().await;
    assert_eq!(told(&town, "/quikly"), [None]);
}

#[tokio::test]
async fn an_event_posted_again_in_another_trace_is_a_duplicate_and_stays_in_its_own() {
    let town = Town::build().await;
    let folder = tempfile::tempdir().unwrap();
    let configuration = configuration(&town, &folder, &exporting(&town));
    let relay = Running::start(&configuration, today()).await;
    let first = relay.post(&join("1"), Some(&traceparent())).await;
    let other = traceparent().replace("0af7", "1111");
    let again = relay.post(&join("1"), Some(&other)).await;
    assert_eq!(
        (&again["accepted"], &again["duplicates"]),
        (&json!(0), &json!(1))
    );
    assert_eq!(first["ids"], again["ids"]);
    waits(&town).await;
    relay.stop().await;
    for header in told(&town, "/users/track") {
        assert_eq!(hex(&header.unwrap().trace), TRACE);
    }
    let duplicates: Vec<_> = town
        .spans()
        .into_iter()
        .filter(|span| span.name == "accept")
        .map(|span| (span.trace, span.attributes["relay.duplicate"].clone()))
        .collect();
    let expected = [
        (TRACE.to_owned(), "false".to_owned()),
        (TRACE.replace("0af7", "1111"), "true".to_owned()),
    ];
    assert_eq!(duplicates, expected);
}

#[tokio::test]
async fn what_is_no_traceparent_is_passed_over_and_the_event_begins_a_trace_of_its_own() {
    let town = Town::build().await;
    let folder = tempfile::tempdir().unwrap();
    let configuration = configuration(&town, &folder, &exporting(&town));
    let relay = Running::start(&configuration, today()).await;
    let zero = traceparent().replace(TRACE, &"0".repeat(32));
    assert_eq!(relay.post(&join("1"), Some(&zero)).await["accepted"], 1);
    waits(&town).await;
    relay.stop().await;
    let spans = town.spans();
    let accept = spans.iter().find(|span| span.name == "accept").unwrap();
    assert_eq!(accept.parent, "");
    assert_ne!(accept.trace, "0".repeat(32));
    assert!(
        spans.iter().all(|span| span.trace == accept.trace),
        "{spans:?}"
    );
    for (path, header) in town.requests() {
        let header: TraceContext = header.unwrap().parse().unwrap();
        assert_eq!(hex(&header.trace), accept.trace, "{path}");
    }
}

#[tokio::test]
async fn of_events_without_a_trace_none_begins_one_when_none_shall() {
    let town = Town::build().await;
    let telemetry = format!("{}otlp_sample = 0\n", exporting(&town));
    life(&town, &telemetry, None).await;
    assert!(town.requests().iter().all(|(_, header)| header.is_none()));
    assert!(town.exported().is_empty());
}

#[tokio::test]
async fn a_collector_that_is_down_costs_spans_and_nothing_else() {
    let town = Town::build().await;
    let folder = tempfile::tempdir().unwrap();
    // Nobody listens there.
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = nobody.local_addr().unwrap();
    drop(nobody);
    let telemetry = format!("[telemetry]\notlp_endpoint = \"http://{endpoint}/v1/traces\"\n");
    let configuration = configuration(&town, &folder, &telemetry);
    let relay = Running::start(&configuration, today()).await;
    relay.post(&join("1"), Some(&traceparent())).await;
    waits(&town).await;
    until("what cannot be exported is counted", WITHIN, async || {
        let dropped = relay.metric("relay_spans_total{result=\"dropped\"}").await;
        (dropped > 0).then_some(())
    })
    .await;
    assert_eq!(
        relay.metric("relay_spans_total{result=\"exported\"}").await,
        0
    );
    relay.stop().await;
}

#[tokio::test]
async fn a_collector_that_never_answers_holds_up_neither_work_nor_stop() {
    let town = Town::build().await;
    let folder = tempfile::tempdir().unwrap();
    // Connections stand, and nobody takes them.
    let deaf = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = deaf.local_addr().unwrap();
    let telemetry = format!("[telemetry]\notlp_endpoint = \"http://{endpoint}/v1/traces\"\n");
    let configuration = configuration(&town, &folder, &telemetry);
    let relay = Running::start(&configuration, today()).await;
    relay.post(&join("1"), Some(&traceparent())).await;
    waits(&town).await;
    relay.stop().await;
    let relay = Running::start(&configuration, today() + days(4)).await;
    credited(&town).await;
    relay.stop().await;
}
