//! `export`, `import`, `compact` and the backup of a relay that runs, through the real commands.

mod backup;
mod damage;
mod files;
mod golden;
mod killed;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use braze_relay::flow::job::{
    Burial, Child, Class, Commit, Fate, Job, Outcome, Profile, Reason, Seed, Start, State,
};
use braze_relay::model::call::{Address, Answer};
use braze_relay::model::event::{Event, EventKind, Source};
use braze_relay::model::json::{Object, ObjectText};
use braze_relay::model::lane::Lane;
use braze_relay::model::time::Timestamp;
use braze_relay::model::trace::TraceContext;
use braze_relay::store::sled::{Place, SledStore};
use braze_relay::store::{Counts, DeadFilter, Operate, Settings, Store};
use serde_json::Value;

use crate::support::Setup;

/// When the tests take place.
fn second(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_795_770_600_000) + std::time::Duration::from_secs(seconds)
}

fn lane(name: &str) -> Lane {
    name.parse().unwrap()
}

fn place(path: &Path) -> Place {
    Place {
        path: path.to_owned(),
        cache_bytes: 1 << 20,
        reserve_bytes: 0,
        ballast_bytes: 0,
        young_max: 64,
    }
}

fn open(path: &Path) -> SledStore {
    SledStore::open(place(path), Settings::default(), None).unwrap()
}

/// A relay's folder whose outside answers nobody.
fn nowhere() -> Setup {
    Setup::with_urls("http://127.0.0.1:1", "http://127.0.0.1:1", "")
}

struct Ran {
    code: i32,
    told: String,
    said: String,
}

/// Runs a command with the configuration of this folder.
fn run(setup: &Setup, words: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_braze-relay"));
    command.args(words).arg("--config").arg(setup.config());
    let ran = command.stdin(Stdio::null()).output().unwrap();
    Ran {
        code: ran.status.code().unwrap(),
        told: String::from_utf8_lossy(&ran.stdout).into_owned(),
        said: String::from_utf8_lossy(&ran.stderr).into_owned(),
    }
}

impl Ran {
    /// The one document on standard output.
    fn document(&self) -> Value {
        serde_json::from_str(&self.told).unwrap()
    }

    fn ok(self) -> Ran {
        assert_eq!(self.code, 0, "{}", self.said);
        self
    }
}

fn seed(person: usize, key: &str) -> Seed {
    let mut attributes = Object::new();
    attributes.insert("größe".into(), "x".repeat(person % 7 * 900).into());
    let event = Event {
        source: Source::Quikly,
        kind: EventKind::Participation,
        key: key.into(),
        scope: "spring-drop".into(),
        email: format!("p{person}@example.com"),
        email_given: None,
        // Every other one came in a trace.
        trace: (person % 2 == 0).then_some(TraceContext {
            trace: *b"sixteen bytes of",
            parent: *b"eight of",
            sampled: true,
        }),
        external_id: None,
        phone: None,
        sms_consent: false,
        at: second(0),
        accepted_at: second(0),
        attributes: Some(ObjectText::new(&attributes)),
        event: None,
    };
    let job = Job::new(State::Email(Profile::LookUp), second(0));
    Seed {
        event,
        start: Start::Run {
            lane: lane("acme/users_export_ids"),
            job,
        },
        further: None,
    }
}

/// What becomes of the job of the person with this number.
fn fate(number: usize, event: &Event) -> Commit {
    let job = Job::new(State::Email(Profile::LookUp), second(0));
    let credit = State::Credit {
        event: "joined".into(),
    };
    let child = Child {
        number: 1,
        lane: lane("acme/quikly"),
        job: Job::new(credit, second(300)),
        event: event.slim(),
        once: Some("acme/spring-drop/joined".into()),
    };
    let burial = Burial {
        reason: Reason::Rejected,
        class: Class::Rejected,
        answer: Answer::default(),
        at: second(1),
    };
    match number % 4 {
        0 => Commit {
            learnt: Some(Address::ExternalId(format!("id-{number}"))),
            ..Commit::new(Fate::Finish(Outcome::Created), vec![child])
        },
        1 => Commit::new(Fate::Bury { job, burial }, Vec::new()),
        2 => {
            let lane = lane("acme/users_track");
            let job = job.at(State::Email(Profile::Create), second(120));
            Commit::new(Fate::Keep { lane, job }, Vec::new())
        }
        _ => Commit::new(Fate::Finish(Outcome::Found), Vec::new()),
    }
}

/// Fills a store: of `people` three quarters move on, and everybody comes twice.
async fn fill(store: &SledStore, people: usize) {
    let now = second(0);
    let seeds = (0..people).map(|person| seed(person, "join")).collect();
    store.append(seeds, now).await.unwrap();
    let look_ups = lane("acme/users_export_ids");
    let leased = store.lease(&look_ups, now, people * 3 / 4).await.unwrap();
    let moves = leased.iter().enumerate();
    let moves = moves.map(|(number, leased)| (leased.token, fate(number, &leased.event)));
    store.commit(moves.collect(), now).await.unwrap();
    let again = (0..people).map(|person| seed(person, "again")).collect();
    store.append(again, now).await.unwrap();
}

/// Everything that can be asked, but for the adapter's own affairs.
async fn asked(store: &SledStore) -> (Counts, String) {
    let now = second(2);
    let counts = store.counts(now).await.unwrap();
    let counts = Counts {
        commit: 0,
        store_bytes: 0,
        live_bytes: 0,
        free_bytes: 0,
        ..counts
    };
    let letters = store.dead_list(DeadFilter::default(), None, 100_000);
    let mut text = format!("{:?}", letters.await.unwrap().items);
    for name in ["users_export_ids", "users_track", "quikly"] {
        let lane = lane(&format!("acme/{name}"));
        for leased in store.lease(&lane, second(1000), 100_000).await.unwrap() {
            text += &format!("{:?} {:?}\n", leased.token.id, (leased.job, leased.known));
        }
    }
    (counts, text)
}

/// Names and contents of all files in a folder.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            found.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}
