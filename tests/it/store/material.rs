//! People, events and jobs to fill a store with, and a shorter way to talk to one.

use std::sync::Arc;
use std::time::Duration;

use braze_relay::flow::job::{
    Attempt, Burial, Child, Class, Commit, Fate, Flow, HISTORY_MAX, Job, Outcome, Profile, Reason,
    Seed, Start, State,
};
use braze_relay::model::Name;
use braze_relay::model::call::{Answer, Company};
use braze_relay::model::event::{Event, EventKind, Source};
use braze_relay::model::id::{EventId, JobId};
use braze_relay::model::json::{Object, ObjectText};
use braze_relay::model::lane::Lane;
use braze_relay::model::time::Timestamp;
use braze_relay::model::trace::TraceContext;
use braze_relay::store::{
    Appended, Committed, Counts, DeadFilter, DeadLetter, Group, JobFilter, LaneCounts, Leased,
    Operate, Settings, States, Store, StoredJob, Token,
};
use tokio::sync::Notify;

pub const ADA: &str = "ada@example.com";
pub const BO: &str = "bo@example.com";
pub const SCOPE: &str = "spring-drop";

/// Short times, so that a test can name them.
pub const SETTINGS: Settings = Settings {
    event_dedupe: Duration::from_secs(1000),
    credit_dedupe: Duration::from_secs(2000),
    webhook_dedupe: Duration::from_secs(500),
    done_retention: Duration::from_secs(1000),
    dead_retention: Duration::from_secs(100_000),
    known_for: Duration::from_secs(100_000),
    max_jobs: 1_000,
};

/// So many seconds after the day the tests take place.
pub fn second(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_795_770_600_000) + Duration::from_secs(seconds)
}

pub fn millisecond() -> Duration {
    Duration::from_millis(1)
}

pub fn look_ups() -> Lane {
    "acme/users_export_ids".parse().unwrap()
}

pub fn tracks() -> Lane {
    "acme/users_track".parse().unwrap()
}

pub fn credits() -> Lane {
    "acme/quikly".parse().unwrap()
}

/// The look-up lane of another workspace.
pub fn foreign() -> Lane {
    "borealis/users_export_ids".parse().unwrap()
}

pub fn group(workspace: &str, activation: &str, flow: Option<Flow>) -> Group {
    Group {
        workspace: workspace.into(),
        activation: activation.into(),
        flow,
    }
}

pub fn event(email: &str, key: &str, accepted_at: Timestamp) -> Event {
    Event {
        source: Source::Quikly,
        kind: EventKind::Participation,
        key: key.into(),
        scope: SCOPE.into(),
        email: email.into(),
        email_given: None,
        trace: Some(TraceContext {
            trace: *b"sixteen bytes of",
            parent: *b"eight of",
            sampled: true,
        }),
        external_id: None,
        phone: Some("+15550100".into()),
        sms_consent: true,
        at: accepted_at,
        accepted_at,
        attributes: None,
        event: None,
    }
}

/// About so many bytes of attributes, none of them ASCII.
pub fn attributes(bytes: usize) -> ObjectText {
    let mut object = Object::new();
    object.insert("größe".into(), "雪é\u{1F600}".repeat(bytes / 9).into());
    ObjectText::new(&object)
}

pub fn fresh(due: Timestamp) -> Job {
    Job::new(State::Email(Profile::LookUp), due)
}

pub fn failed(due: Timestamp) -> Job {
    Job {
        fresh: false,
        attempts: 1,
        failures: 1,
        failing_since: Some(due),
        ..fresh(due)
    }
}

/// A job with every field filled and a history as long as it may be.
pub fn laden(due: Timestamp, bytes_per_attempt: usize) -> Job {
    let attempt = Attempt {
        at: due,
        step: "update".into(),
        answer: Answer {
            status: Some(503),
            text: "é".repeat(bytes_per_attempt / 2),
        },
    };
    Job {
        begun: true,
        company: Company::Alone,
        history: vec![attempt; HISTORY_MAX],
        ..failed(due)
    }
}

pub fn run(lane: Lane, job: Job) -> Start {
    Start::Run { lane, job }
}

pub fn burial(reason: Reason, at: Timestamp) -> Burial {
    Burial {
        reason,
        class: Class::Rejected,
        answer: Answer {
            status: Some(400),
            text: "refusé".into(),
        },
        at,
    }
}

/// Buried at the start: nothing is known of the workspace.
pub fn unknown(at: Timestamp) -> Start {
    Start::Bury {
        workspace: None,
        flow: None,
        burial: burial(Reason::UnknownActivation, at),
    }
}

/// A participation that looks up its participant at once.
pub fn seed(email: &str, key: &str, now: Timestamp) -> Seed {
    Seed {
        event: event(email, key, now),
        start: run(look_ups(), fresh(now)),
        further: None,
    }
}

/// A job that takes no turn: several of one participant are due side by side.
pub fn turnless(due: Timestamp) -> Job {
    let event = "joined".into();
    Job::new(State::Credit { event }, due)
}

pub fn starting(seed: Seed, start: Start) -> Seed {
    Seed { start, ..seed }
}

/// So many different people.
pub fn person(number: usize) -> String {
    format!("p{number}@example.com")
}

/// `count` participations of different people, all due at once.
pub fn crowd(count: usize, now: Timestamp) -> Vec<Seed> {
    (0..count)
        .map(|number| seed(&person(number), "join", now))
        .collect()
}

pub fn child(number: u8, email: &str, now: Timestamp) -> Child {
    let state = State::Credit {
        event: "joined".into(),
    };
    Child {
        number,
        lane: credits(),
        job: Job::new(state, now),
        event: event(email, "child", now),
        once: None,
    }
}

pub fn only_once(child: Child) -> Child {
    Child {
        once: Some("acme/spring-drop/joined".into()),
        ..child
    }
}

pub fn keep(lane: Lane, job: Job) -> Fate {
    Fate::Keep { lane, job }
}

pub fn finish() -> Fate {
    Fate::Finish(Outcome::Found)
}

pub fn bury(now: Timestamp) -> Fate {
    Fate::Bury {
        job: failed(now),
        burial: burial(Reason::Rejected, now),
    }
}

pub fn moved(fate: Fate) -> Commit {
    Commit::new(fate, Vec::new())
}

pub fn spawning(fate: Fate, spawn: Vec<Child>) -> Commit {
    Commit::new(fate, spawn)
}

pub fn name(text: &str) -> Name {
    text.into()
}

pub fn ids(leased: &[Leased]) -> Vec<JobId> {
    leased.iter().map(|leased| leased.token.id).collect()
}

pub fn first_jobs(appended: &[Appended]) -> Vec<JobId> {
    appended.iter().map(|appended| appended.id.job(0)).collect()
}

pub fn stored(children: u8) -> Committed {
    Committed::Stored { children }
}

/// What the tests ask of a store that is expected to answer.
pub trait Ask: Store + Operate {
    async fn put(&self, seeds: Vec<Seed>, now: Timestamp) -> Vec<Appended> {
        self.append(seeds, now).await.unwrap()
    }

    /// Appends one event that must be new.
    async fn put_one(&self, seed: Seed, now: Timestamp) -> EventId {
        let appended = self.put(vec![seed], now).await;
        assert!(!appended[0].duplicate, "taken for a duplicate");
        appended[0].id
    }

    async fn is_duplicate(&self, seed: Seed, now: Timestamp) -> bool {
        self.put(vec![seed], now).await[0].duplicate
    }

    async fn lend(&self, lane: &Lane, now: Timestamp, at_most: usize) -> Vec<Leased> {
        self.lease(lane, now, at_most).await.unwrap()
    }

    /// Everything that is due in the lane, and not lent.
    async fn lend_all(&self, lane: &Lane, now: Timestamp) -> Vec<Leased> {
        self.lend(lane, now, 100_000).await
    }

    /// The one job that is due in the lane.
    async fn lend_one(&self, lane: &Lane, now: Timestamp) -> Leased {
        let mut leased = self.lend_all(lane, now).await;
        assert_eq!(leased.len(), 1, "one job was to be due in {lane}");
        leased.remove(0)
    }

    async fn settle(&self, token: Token, commit: Commit, now: Timestamp) -> Committed {
        let answers = self.commit(vec![(token, commit)], now).await.unwrap();
        assert_eq!(answers.len(), 1);
        answers[0]
    }

    /// Lends the one job due in the lane and commits this.
    async fn settle_next(&self, lane: &Lane, commit: Commit, now: Timestamp) -> Committed {
        let token = self.lend_one(lane, now).await.token;
        self.settle(token, commit, now).await
    }

    /// Every job that matches, asked for in pages of this size.
    async fn jobs(&self, filter: JobFilter, now: Timestamp, limit: usize) -> Vec<StoredJob> {
        let mut jobs = Vec::new();
        let mut after = None;
        loop {
            let page = self.job_list(filter.clone(), after, limit, now).await;
            let page = page.unwrap();
            assert!(page.items.len() <= limit);
            jobs.extend(page.items);
            match page.next {
                None => return jobs,
                next => {
                    assert!(next > after, "a page that does not go on");
                    after = next;
                }
            }
        }
    }

    async fn letters(&self, filter: DeadFilter) -> Vec<DeadLetter> {
        self.letters_by(filter, 100).await
    }

    /// Every letter that matches, asked for in pages of this size.
    async fn letters_by(&self, filter: DeadFilter, limit: usize) -> Vec<DeadLetter> {
        let mut letters = Vec::new();
        let mut after = None;
        loop {
            let page = self.dead_list(filter.clone(), after, limit).await.unwrap();
            assert!(page.items.len() <= limit);
            letters.extend(page.items);
            match page.next {
                None => return letters,
                next => {
                    assert!(next > after, "a page that does not go on");
                    after = next;
                }
            }
        }
    }
}

impl<S: Store + Operate> Ask for S {}

/// Whether a word is already there; takes it.
pub fn take_word(wake: &Arc<Notify>) -> bool {
    std::pin::pin!(wake.notified()).enable()
}

/// Without what is the adapter's own business, and without what is nought.
pub fn comparable(mut counts: Counts) -> Counts {
    counts.jobs.retain(|_, states| *states != States::default());
    counts.dead.retain(|_, count| *count > 0);
    counts.done.retain(|_, count| *count > 0);
    let idle = LaneCounts::default();
    counts.lanes.retain(|_, lane| *lane != idle);
    for lane in counts.lanes.values_mut() {
        // Which of the due ones is told is the adapter's affair; whether there is one is not.
        lane.oldest_due = lane.oldest_due.map(|_| Timestamp::ZERO);
    }
    Counts {
        commit: 0,
        store_bytes: 0,
        live_bytes: 0,
        free_bytes: 0,
        ..counts
    }
}
