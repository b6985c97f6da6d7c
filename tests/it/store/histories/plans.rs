//! What a random history is made of: small plans, so that a failing history reads well, and what each becomes.

use std::time::Duration;

use braze_relay::flow::job::{Burial, Child, Commit, Fate, Flow, Job, Outcome, Profile, Reason};
use braze_relay::flow::job::{Seed, Start, State};
use braze_relay::model::call::Address;
use braze_relay::model::event::{EventKind, Source};
use braze_relay::model::lane::Lane;
use braze_relay::model::time::Timestamp;
use braze_relay::store::{Named, Operate, Person};
use proptest::prelude::*;

use super::super::material::{self, attributes, burial, laden};

/// Who has no e-mail never takes a turn.
const PEOPLE: [&str; 5] = [
    "ada@example.com",
    "bo@example.com",
    "ćira@例え.jp",
    "dov@example.com",
    "",
];

/// What is done to both.
#[derive(Clone, Debug)]
pub enum Step {
    Append(Vec<SeedPlan>),
    Lease {
        lane: u8,
        at_most: usize,
    },
    Begin(Vec<Pick>),
    GiveBack(Vec<Pick>),
    Commit(Vec<(Pick, FatePlan, EndPlan, Vec<ChildPlan>)>),
    /// For one of two replays, or none.
    Revive(Option<u32>, Vec<(u16, StartPlan)>),
    Discard(Vec<u16>),
    Forget {
        person: u8,
        workspace: u8,
    },
    Pass {
        milliseconds: u64,
    },
    Crash,
    Close,
    /// Begins to take a copy, while the history goes on.
    Copy,
    /// Everything moves into a store of the same or the other kind.
    Carry(Way),
}

/// Which of the two is made anew, of what the first of these tells.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    AdapterToAdapter,
    AdapterToMap,
    MapToAdapter,
}

/// One of the tokens that are out, or one of those that are spent.
#[derive(Clone, Copy, Debug)]
pub struct Pick {
    pub index: u16,
    pub spent: bool,
}

#[derive(Clone, Debug)]
pub struct SeedPlan {
    source: bool,
    progress: bool,
    scope: bool,
    person: u8,
    key: u8,
    bytes: usize,
    start: StartPlan,
    further: Option<StartPlan>,
}

#[derive(Clone, Debug)]
pub enum StartPlan {
    Run(JobPlan),
    Bury { known: bool, reason: u8 },
}

#[derive(Clone, Debug)]
pub struct JobPlan {
    lane: u8,
    /// Milliseconds from three seconds ago.
    due: u64,
    fresh: bool,
    begun: bool,
    flow: u8,
    bytes_per_attempt: usize,
}

#[derive(Clone, Debug)]
pub enum FatePlan {
    Keep(JobPlan),
    Finish(u8),
    Bury(JobPlan, u8),
}

/// What a commit says beside its fate.
#[derive(Clone, Debug)]
pub struct EndPlan {
    learnt: Option<usize>,
    gap: u64,
    bury_successors: Option<u8>,
}

#[derive(Clone, Debug)]
pub struct ChildPlan {
    number: u8,
    person: u8,
    once: Option<bool>,
    job: JobPlan,
}

fn bytes() -> impl Strategy<Value = usize> {
    prop_oneof![8 => Just(0), 2 => Just(90), 1 => Just(5_000), 1 => Just(20_000)]
}

fn person() -> impl Strategy<Value = u8> {
    prop_oneof![4 => Just(0), 2 => Just(1), 2 => Just(2), 2 => Just(3), 1 => Just(4)]
}

fn end() -> impl Strategy<Value = EndPlan> {
    let length = prop_oneof![4 => 1..40_usize, 1 => Just(2_000), 1 => Just(2_001)];
    let learnt = prop::option::weighted(0.3, length);
    let gap = prop_oneof![2 => Just(0), 2 => 1..4_000_u64];
    let bury_successors = prop::option::weighted(0.15, 0..9_u8);
    (learnt, gap, bury_successors).prop_map(|(learnt, gap, bury_successors)| EndPlan {
        learnt,
        gap,
        bury_successors,
    })
}

fn job() -> impl Strategy<Value = JobPlan> {
    let bytes_per_attempt = prop_oneof![8 => Just(0), 1 => Just(100), 1 => Just(1_000)];
    let due = prop_oneof![3 => Just(3_000), 2 => 0..3_000_u64, 2 => 3_000..12_000_u64];
    (
        0..3_u8,
        due,
        any::<bool>(),
        any::<bool>(),
        prop_oneof![2 => Just(0), 3 => Just(1), 2 => Just(2)],
        bytes_per_attempt,
    )
        .prop_map(
            |(lane, due, fresh, begun, flow, bytes_per_attempt)| JobPlan {
                lane,
                due,
                fresh,
                begun,
                flow,
                bytes_per_attempt,
            },
        )
}

fn start() -> impl Strategy<Value = StartPlan> {
    prop_oneof![
        6 => job().prop_map(StartPlan::Run),
        1 => (any::<bool>(), 0..9_u8)
            .prop_map(|(known, reason)| StartPlan::Bury { known, reason }),
    ]
}

fn seed() -> impl Strategy<Value = SeedPlan> {
    let what = (prop::bool::weighted(0.1), prop::bool::weighted(0.3));
    let further = prop::option::of(start());
    (
        what,
        any::<bool>(),
        person(),
        0..5_u8,
        bytes(),
        start(),
        further,
    )
        .prop_map(
            |((source, progress), scope, person, key, bytes, start, further)| SeedPlan {
                source,
                progress,
                scope,
                person,
                key,
                bytes,
                start,
                further,
            },
        )
}

fn pick() -> impl Strategy<Value = Pick> {
    (any::<u16>(), prop::bool::weighted(0.1)).prop_map(|(index, spent)| Pick { index, spent })
}

fn fate() -> impl Strategy<Value = FatePlan> {
    prop_oneof![
        3 => job().prop_map(FatePlan::Keep),
        3 => (0..4_u8).prop_map(FatePlan::Finish),
        2 => (job(), 0..9_u8).prop_map(|(job, reason)| FatePlan::Bury(job, reason)),
    ]
}

fn child() -> impl Strategy<Value = ChildPlan> {
    (0..5_u8, person(), prop::option::of(any::<bool>()), job()).prop_map(
        |(number, person, once, job)| ChildPlan {
            number,
            person,
            once,
            job,
        },
    )
}

pub fn step() -> impl Strategy<Value = Step> {
    let moves = (pick(), fate(), end(), prop::collection::vec(child(), 0..3));
    prop_oneof![
        6 => prop::collection::vec(seed(), 0..7).prop_map(Step::Append),
        6 => (0..3_u8, 0..12_usize).prop_map(|(lane, at_most)| Step::Lease { lane, at_most }),
        1 => prop::collection::vec(pick(), 0..3).prop_map(Step::Begin),
        1 => prop::collection::vec(pick(), 0..4).prop_map(Step::GiveBack),
        6 => prop::collection::vec(moves, 1..6).prop_map(Step::Commit),
        2 => (prop::option::of(1..3_u32), prop::collection::vec((any::<u16>(), start()), 0..4))
            .prop_map(|(replay, letters)| Step::Revive(replay, letters)),
        1 => prop::collection::vec(any::<u16>(), 0..3).prop_map(Step::Discard),
        1 => (person(), 0..4_u8).prop_map(|(person, workspace)| Step::Forget { person, workspace }),
        4 => (0..9_000_u64).prop_map(|milliseconds| Step::Pass { milliseconds }),
        1 => Just(Step::Crash),
        1 => Just(Step::Close),
        1 => Just(Step::Copy),
        1 => prop_oneof![
            Just(Step::Carry(Way::AdapterToAdapter)),
            Just(Step::Carry(Way::AdapterToMap)),
            Just(Step::Carry(Way::MapToAdapter)),
        ],
    ]
}

pub fn lane_of(number: u8) -> Lane {
    match number {
        0 => material::look_ups(),
        1 => material::tracks(),
        _ => material::foreign(),
    }
}

/// Whoever has no e-mail is known by the key of an event. As this store names them.
pub fn person_of(store: &impl Operate, person: u8, workspace: u8) -> Person {
    let participant = match PEOPLE[usize::from(person)] {
        "" => "k0",
        email => email,
    };
    Person {
        participant: store.participant_hash(participant),
        workspace: match workspace {
            0 => Some("acme".into()),
            1 => Some("borealis".into()),
            _ => None,
        },
        named: Named::Email,
    }
}

impl SeedPlan {
    pub fn seed(&self, now: Timestamp) -> Seed {
        let person = PEOPLE[usize::from(self.person)];
        let mut event = material::event(person, &format!("k{}", self.key), now);
        if self.source {
            event.source = Source::Outgrow;
        }
        if self.progress {
            event.kind = EventKind::Progress;
        }
        if self.scope {
            event.scope = "vip-list".into();
        }
        event.attributes = (self.bytes > 0).then(|| attributes(self.bytes));
        Seed {
            event,
            start: self.start.start(now),
            further: self.further.as_ref().map(|plan| plan.start(now)),
        }
    }
}

impl StartPlan {
    pub fn start(&self, now: Timestamp) -> Start {
        match self {
            StartPlan::Run(plan) => Start::Run {
                lane: lane_of(plan.lane),
                job: plan.job(now),
            },
            StartPlan::Bury { known, reason } => Start::Bury {
                workspace: known.then(|| material::name("acme")),
                flow: known.then_some(Flow::Email),
                burial: buried(*reason, now),
            },
        }
    }
}

fn buried(reason: u8, now: Timestamp) -> Burial {
    burial(Reason::ALL[usize::from(reason)], now)
}

impl JobPlan {
    fn job(&self, now: Timestamp) -> Job {
        let due = now - Duration::from_secs(3) + Duration::from_millis(self.due);
        let history = match self.bytes_per_attempt {
            0 => Vec::new(),
            bytes => laden(due, bytes).history,
        };
        let state = match self.flow {
            0 => State::Email(Profile::LookUp),
            1 => State::Progress(Profile::Create),
            _ => State::Credit {
                event: "joined".into(),
            },
        };
        Job {
            fresh: self.fresh,
            begun: self.begun,
            history,
            ..Job::new(state, due)
        }
    }
}

impl FatePlan {
    pub fn fate(&self, now: Timestamp) -> Fate {
        match self {
            FatePlan::Keep(plan) => Fate::Keep {
                lane: lane_of(plan.lane),
                job: plan.job(now),
            },
            FatePlan::Finish(outcome) => Fate::Finish(Outcome::ALL[usize::from(*outcome)]),
            FatePlan::Bury(plan, reason) => Fate::Bury {
                job: plan.job(now),
                burial: buried(*reason, now),
            },
        }
    }
}

impl EndPlan {
    pub fn commit(&self, fate: Fate, spawn: Vec<Child>, now: Timestamp) -> Commit {
        Commit {
            learnt: self
                .learnt
                .map(|length| Address::BrazeId("b".repeat(length))),
            gap: Duration::from_millis(self.gap),
            bury_successors: self.bury_successors.map(|reason| buried(reason, now)),
            ..Commit::new(fate, spawn)
        }
    }
}

impl ChildPlan {
    pub fn child(&self, now: Timestamp) -> Child {
        let person = PEOPLE[usize::from(self.person)];
        Child {
            number: self.number,
            lane: lane_of(self.job.lane),
            job: self.job.job(now),
            event: material::event(person, "child", now),
            once: self.once.map(|one| format!("acme/spring-drop/{one}")),
        }
    }
}
