//! The ops listener over real connections, in front of the plain-map store: what operators see is what the store holds,
//! who may not sees nothing, and a dead letter that can be read can be replayed.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests may")]

mod access;
mod audit;
mod backup;
mod document;
mod forget;
mod health;
mod jobs;
mod lanes;
mod letters;
mod mortal;
mod numbers;
mod replays;
mod session;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use braze_relay::client::http::{Http, Method};
use braze_relay::clock::Clock;
use braze_relay::config::Role;
use braze_relay::engine::gate::{Hold, HoldReason};
use braze_relay::engine::holds::{ActivationHold, ActivationHoldReason};
use braze_relay::engine::{ActivationView, Desk, LaneView};
use braze_relay::flow;
use braze_relay::flow::job::{
    Attempt, Burial, Class, Commit, Fate, Job, Outcome, Profile, Reason, Seed, Start, State,
};
use braze_relay::model::call::{Address, Answer};
use braze_relay::model::event::{Event, EventKind, Source};
use braze_relay::model::id::JobId;
use braze_relay::model::json::{Object, ObjectText};
use braze_relay::model::lane::Lane;
use braze_relay::model::rules::{CreditRule, OnUnknown, ParticipationFlow, RuleBook, Rules};
use braze_relay::model::time::Timestamp;
use braze_relay::ops::{Office, Ops, OpsError, serve};
use braze_relay::store::map::MapStore;
use braze_relay::store::{Leased, Operate, Settings, Store};
use braze_relay::telemetry::Metrics;
use secrecy::SecretString;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

const DAY: Duration = Duration::from_hours(24);

/// When the tests take place.
fn today() -> Timestamp {
    Timestamp::from_millis(1_795_770_600_000)
}

fn look_ups() -> Lane {
    "acme/users_export_ids".parse().unwrap()
}

/// A relay's ops listener, with a store that a test fills.
struct World<S = MapStore> {
    store: S,
    metrics: Arc<Metrics>,
    rules: watch::Sender<Arc<RuleBook>>,
    trouble: Arc<Mutex<Option<String>>>,
    /// What the engine was told to do.
    told: Arc<Mutex<Vec<String>>>,
    address: SocketAddr,
    http: Http,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), OpsError>>,
}

struct Said {
    status: u16,
    kind: String,
    /// `Set-Cookie`.
    cookie: Option<String>,
    text: String,
}

impl Said {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    /// The status, for a refusal that is a problem document.
    fn refusal(&self) -> u16 {
        assert_eq!(self.kind, "application/problem+json", "{}", self.text);
        assert_eq!(self.json()["status"], self.status);
        assert!(!self.json()["detail"].as_str().unwrap().is_empty());
        self.status
    }
}

impl World {
    async fn open() -> World {
        World::with_tokens(Vec::new()).await
    }

    async fn with_tokens(tokens: Vec<(SecretString, Role)>) -> World {
        World::on(MapStore::new(Settings::default()), tokens).await
    }

    async fn on(store: MapStore, tokens: Vec<(SecretString, Role)>) -> World {
        World::with_desk(store, tokens, false).await
    }

    /// Where nothing is held.
    async fn free() -> World {
        World::freely(MapStore::new(Settings::default())).await
    }

    async fn freely(store: MapStore) -> World {
        World::with_desk(store, Vec::new(), true).await
    }
}

impl<S: Store + Operate> World<S> {
    async fn with_desk(store: S, tokens: Vec<(SecretString, Role)>, free: bool) -> World<S> {
        let metrics = Arc::new(Metrics::new().unwrap());
        let rules = watch::Sender::new(Arc::new(RuleBook::new([spring()])));
        let trouble = Arc::new(Mutex::new(None));
        let trouble_told = trouble.clone();
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let ops = Ops {
            store: store.clone(),
            clock: Clock::starting_at(today() + DAY, 1.0),
            metrics: metrics.clone(),
            rules: rules.subscribe(),
            effective: watch::Sender::new(Arc::default()).subscribe(),
            desk: Arc::new(Seen(told.clone(), free)),
            trouble: Arc::new(move || trouble_told.lock().unwrap().clone()),
            tokens,
            version: "1.2.3",
            office: Office::default(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(serve(listener, Arc::new(ops), async {
            let _ = stopped.await;
        }));
        World {
            store,
            metrics,
            rules,
            trouble,
            told,
            address,
            http: Http::new(1, Duration::from_secs(5)).unwrap(),
            stop,
            serving,
        }
    }

    async fn get(&self, path: &str) -> Said {
        self.ask(Method::GET, path, &[], None).await
    }

    async fn post(&self, path: &str, body: &Value) -> Said {
        let headers = [("content-type", "application/json")];
        let body = body.to_string();
        self.ask(Method::POST, path, &headers, Some(&body)).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Said {
        let url = format!("http://{}{path}", self.address).parse().unwrap();
        let body = body.map(|body| body.as_bytes().to_vec());
        let within = Duration::from_secs(20);
        let asked = self
            .http
            .request(method, &url, headers, body, within, 1 << 20);
        let answer = asked.await.unwrap();
        Said {
            status: answer.status,
            kind: answer.header("content-type").unwrap_or_default().to_owned(),
            cookie: answer.header("set-cookie").map(str::to_owned),
            text: String::from_utf8(answer.body).unwrap(),
        }
    }

    async fn append(&self, seeds: Vec<Seed>) -> Vec<JobId> {
        let appended = self.store.append(seeds, today()).await.unwrap();
        appended.iter().map(|one| one.id.job(0)).collect()
    }

    async fn lend_all(&self, lane: &Lane) -> Vec<Leased> {
        // The relay's clock shows a day later, and has gone on.
        let now = today() + DAY * 2;
        self.store.lease(lane, now, 10_000).await.unwrap()
    }

    async fn settle(&self, leased: &Leased, fate: Fate) {
        let moves = vec![(leased.token, Commit::new(fate, Vec::new()))];
        self.store.commit(moves, today()).await.unwrap();
    }

    /// One participation that was refused by Braze at its second step.
    async fn rejected(&self, email: &str) -> JobId {
        let id = self.append(vec![running(email)]).await[0];
        let leased = self.lend_all(&look_ups()).await.remove(0);
        let burial = burial(Reason::Rejected, Class::Rejected);
        let job = failed(&burial);
        self.settle(&leased, Fate::Bury { job, burial }).await;
        id
    }
}

fn spring() -> Rules {
    Rules {
        flow: Some(ParticipationFlow::Email),
        credit: Some(CreditRule {
            event: "joined".into(),
            on_unknown: OnUnknown::Resend,
        }),
        ..Rules::plain("spring-drop", "acme")
    }
}

/// An engine as it is seen: three lanes, one of them held, and an activation that is held, unless all is free. It notes
/// what it is told to do.
struct Seen(Arc<Mutex<Vec<String>>>, bool);

impl Seen {
    /// Notes it, if there is such a thing.
    fn told(&self, known: bool, what: &str, whom: &str, until: Option<Timestamp>) -> bool {
        if known {
            let until = until.map_or(String::new(), |until| format!(" until {until}"));
            self.0.lock().unwrap().push(format!("{what} {whom}{until}"));
        }
        known
    }
}

impl Desk for Seen {
    fn lanes(&self) -> Vec<LaneView> {
        let mut lanes = lanes();
        if self.1 {
            for view in &mut lanes {
                view.held = None;
            }
        }
        lanes
    }

    fn hold_lane(&self, lane: &Lane, until: Option<Timestamp>) -> bool {
        let known = lanes().iter().any(|it| it.lane == *lane);
        self.told(known, "hold", &lane.to_string(), until)
    }

    fn release_lane(&self, lane: &Lane) -> bool {
        let known = lanes().iter().any(|it| it.lane == *lane);
        self.told(known, "release", &lane.to_string(), None)
    }

    fn held_activations(&self) -> Vec<ActivationView> {
        if self.1 {
            return Vec::new();
        }
        let hold = ActivationHold {
            reason: ActivationHoldReason::Burials,
            died_of: Some(Reason::Rejected),
            since: today(),
            until: None,
        };
        vec![ActivationView {
            workspace: "acme".into(),
            activation: "spring-drop".into(),
            hold,
        }]
    }

    fn hold_activation(&self, scope: &str, until: Option<Timestamp>) -> bool {
        self.told(scope == "spring-drop", "hold", scope, until)
    }

    fn release_activation(&self, scope: &str) -> bool {
        self.told(scope == "spring-drop", "release", scope, None)
    }
}

fn lanes() -> Vec<LaneView> {
    let view = |name: &str, held| LaneView {
        lane: name.parse().unwrap(),
        held,
        stopped_until: None,
        in_flight: 0,
        requests_per_second: Some(40.0),
        calls_per_second: Some(2.0),
        budget_used_ratio: 0.25,
        objects_max: 1,
    };
    let hold = Hold {
        reason: HoldReason::Denied,
        since: today(),
        until: None,
    };
    vec![
        view("acme/users_export_ids", None),
        view("acme/users_track", None),
        view("acme/quikly", Some(hold)),
    ]
}

fn event(scope: &str, email: &str) -> Event {
    let mut attributes = Object::new();
    attributes.insert("level".into(), 3.into());
    Event {
        source: Source::Quikly,
        kind: EventKind::Participation,
        key: format!("join-{email}"),
        scope: scope.into(),
        email: email.into(),
        email_given: None,
        trace: None,
        external_id: None,
        phone: Some("+15550100".into()),
        sms_consent: false,
        at: today(),
        accepted_at: today(),
        attributes: Some(ObjectText::new(&attributes)),
        event: None,
    }
}

/// A participation as the ingest stores it: by the flow's own decision.
fn posted(scope: &str, email: &str) -> Seed {
    let event = event(scope, email);
    let book = RuleBook::new([spring()]);
    let (start, further) = flow::start(&event, &book, today());
    Seed {
        event,
        start,
        further,
    }
}

fn running(email: &str) -> Seed {
    let seed = posted("spring-drop", email);
    assert!(matches!(seed.start, Start::Run { .. }));
    seed
}

fn burial(reason: Reason, class: Class) -> Burial {
    Burial {
        reason,
        class,
        answer: Answer {
            status: Some(400),
            text: "refused".into(),
        },
        at: today(),
    }
}

fn failed(burial: &Burial) -> Job {
    let state = State::Email(Profile::Update(Address::BrazeId("b-1".into())));
    Job {
        attempts: 1,
        failures: 2,
        fresh: false,
        history: vec![Attempt {
            at: today(),
            step: "update".into(),
            answer: burial.answer.clone(),
        }],
        ..Job::new(state, today())
    }
}
