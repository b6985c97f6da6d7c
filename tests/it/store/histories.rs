//! Random histories: the adapter and the plain map live through the same, and must agree after every step.
//!
//! Ids differ in their random bits, so the adapter's are read as the map's, paired by order of acceptance. Besides
//! agreeing, nothing may be lost: a ledger that knows nothing of states counts what came in and what ended, and at the
//! end every job is found exactly once.

mod carrying;
mod plans;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use braze_relay::flow::job::{Fate, Seed};
use braze_relay::model::id::{EventId, JobId};
use braze_relay::model::lane::Lane;
use braze_relay::model::time::Timestamp;
use braze_relay::store::map::MapStore;
use braze_relay::store::{
    Appended, Committed, Counts, DeadFilter, DeadLetter, Held, JobFilter, LaneCounts, Leased,
    Operate, Portion, Settings, States, Store, StoreError, StoredJob, Token,
};
use proptest::test_runner::{Config, TestRunner};

pub use self::carrying::Copying;
use self::plans::{
    ChildPlan, EndPlan, FatePlan, Pick, SeedPlan, StartPlan, Step, lane_of, person_of, step,
};
use super::Harness;
use super::material::{Ask, comparable, finish, moved, second, stored};

/// Times so short and a queue so small that histories reach every edge.
const SETTINGS: Settings = Settings {
    event_dedupe: Duration::from_secs(10),
    credit_dedupe: Duration::from_secs(20),
    webhook_dedupe: Duration::from_secs(5),
    done_retention: Duration::from_secs(5),
    dead_retention: Duration::from_hours(24 * 365),
    known_for: Duration::from_secs(6),
    max_jobs: 60,
};

/// Plays histories against the adapter and the map until one disagrees; tells the shortest one that does.
pub fn agree_with_the_plain_map<H: Harness>() {
    let mut runner = TestRunner::new(Config {
        cases: H::HISTORIES,
        failure_persistence: None,
        max_shrink_iters: 1_000,
        ..Config::default()
    });
    let outcome = runner.run(&proptest::collection::vec(step(), 1..50), |steps| {
        super::hold(async {
            let mut pair = Pair::<H>::open().await;
            for step in steps {
                pair.play(step).await;
                pair.agree().await;
            }
            pair.find_every_job().await;
        });
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

/// The adapter and the map, side by side.
struct Pair<H: Harness> {
    house: H,
    map: MapStore,
    now: Timestamp,
    /// The map's id of each of the adapter's.
    ids: BTreeMap<EventId, EventId>,
    /// The adapter's id of each of the map's.
    back: BTreeMap<EventId, EventId>,
    /// The tokens of jobs that are lent: the adapter's and the map's.
    out: Vec<(Token, Token)>,
    spent: Vec<(Token, Token)>,
    /// A copy that is being taken of the adapter.
    copying: Option<carrying::Copying>,
    ledger: Ledger,
}

/// What must be there, from the answers alone.
#[derive(Default)]
struct Ledger {
    accepted: u64,
    jobs: u64,
    finished: u64,
}

impl<H: Harness> Pair<H> {
    async fn open() -> Self {
        Pair {
            house: H::open(SETTINGS).await,
            map: MapStore::new(SETTINGS),
            now: second(0),
            ids: BTreeMap::new(),
            back: BTreeMap::new(),
            out: Vec::new(),
            spent: Vec::new(),
            copying: None,
            ledger: Ledger::default(),
        }
    }

    async fn play(&mut self, step: Step) {
        if let Some(copying) = &mut self.copying {
            copying.go_on().await;
        }
        match step {
            Step::Append(plans) => self.append(&plans).await,
            Step::Lease { lane, at_most } => self.lease(&lane_of(lane), at_most).await,
            Step::Begin(picks) => {
                let (real, model) = self.tokens(&picks);
                self.house.store().begin(real).await.unwrap();
                self.map.begin(model).await.unwrap();
            }
            Step::GiveBack(picks) => {
                let (real, model) = self.tokens(&picks);
                self.house.store().give_back(real.clone()).await.unwrap();
                self.map.give_back(model).await.unwrap();
                self.spend(&real);
            }
            Step::Commit(moves) => self.commit(moves).await,
            Step::Revive(replay, letters) => self.revive(replay, letters).await,
            Step::Discard(letters) => self.discard(letters).await,
            Step::Forget { person, workspace } => self.forget(person, workspace).await,
            Step::Pass { milliseconds } => {
                self.now = self.now + Duration::from_millis(milliseconds);
            }
            Step::Copy => self.begin_copy().await,
            Step::Carry(way) => self.carry(way).await,
            Step::Crash => {
                self.copying = None;
                self.house.crash_and_reopen().await;
                self.restart_map();
            }
            Step::Close => {
                self.copying = None;
                self.house.close_and_reopen().await;
                self.restart_map();
            }
        }
    }

    fn restart_map(&mut self) {
        self.map = self.map.crash();
        self.spent.append(&mut self.out);
    }

    async fn append(&mut self, plans: &[SeedPlan]) {
        let seeds: Vec<Seed> = plans.iter().map(|plan| plan.seed(self.now)).collect();
        let real = self.house.store().append(seeds.clone(), self.now).await;
        let model = self.map.append(seeds, self.now).await;
        let (real, model) = match (real, model) {
            (Ok(real), Ok(model)) => (real, model),
            (Err(StoreError::Full(_)), Err(StoreError::Full(_))) => return,
            (real, model) => panic!("the store says {real:?}, the map {model:?}"),
        };
        assert_eq!(real.len(), model.len());
        for (real, model) in real.iter().zip(&model) {
            if !real.duplicate {
                let newest = self.ids.last_key_value().map(|(id, _)| *id);
                assert!(Some(real.id) > newest, "ids do not grow");
                self.ids.insert(real.id, model.id);
                self.back.insert(model.id, real.id);
                self.ledger.accepted += 1;
                self.ledger.jobs += 1;
            }
            let read = Appended {
                id: self.ids[&real.id],
                ..*real
            };
            assert_eq!(read, *model);
        }
    }

    async fn lease(&mut self, lane: &Lane, at_most: usize) {
        let real = self.house.store().lend(lane, self.now, at_most).await;
        let model = self.map.lend(lane, self.now, at_most).await;
        let read = |leased: &Leased| (self.read(leased.token.id), leased.clone());
        let plain = |leased: &Leased| (leased.token.id, leased.clone());
        let read: Vec<_> = real.iter().map(read).map(without_token).collect();
        let plain: Vec<_> = model.iter().map(plain).map(without_token).collect();
        assert_eq!(read, plain);
        let tokens = real.iter().zip(&model);
        self.out
            .extend(tokens.map(|(real, model)| (real.token, model.token)));
    }

    async fn commit(&mut self, plans: Vec<(Pick, FatePlan, EndPlan, Vec<ChildPlan>)>) {
        let mut real_moves = Vec::new();
        let mut model_moves = Vec::new();
        for (pick, fate, end, children) in plans {
            let Some((real, model)) = self.token(pick) else {
                continue;
            };
            let spawn = children.iter().map(|plan| plan.child(self.now)).collect();
            let commit = end.commit(fate.fate(self.now), spawn, self.now);
            real_moves.push((real, commit.clone()));
            model_moves.push((model, commit));
        }
        let real = self
            .house
            .store()
            .commit(real_moves.clone(), self.now)
            .await;
        let model = self.map.commit(model_moves, self.now).await;
        let (real, model) = (real.unwrap(), model.unwrap());
        assert_eq!(real, model);
        for (answer, (token, commit)) in real.iter().zip(&real_moves) {
            if let Committed::Stored { children } = answer {
                self.ledger.jobs += u64::from(*children);
                if matches!(commit.fate, Fate::Finish(_)) {
                    self.ledger.jobs -= 1;
                    self.ledger.finished += 1;
                }
                self.spend(&[*token]);
            }
        }
        self.spend_buried().await;
    }

    /// Jobs that were lent along, and are buried with the one before them: their leases are lost.
    async fn spend_buried(&mut self) {
        let letters = self.map.letters(DeadFilter::default()).await;
        let buried: BTreeSet<JobId> = letters.iter().map(|letter| letter.id).collect();
        let lost = |(_, model): &mut (Token, Token)| buried.contains(&model.id);
        self.spent.extend(self.out.extract_if(.., lost));
    }

    /// The letters, in the map's ids, and jobs that are none.
    async fn known(&self) -> Vec<JobId> {
        let letters = self.map.letters(DeadFilter::default()).await;
        let mut known: Vec<JobId> = letters.iter().map(|letter| letter.id).collect();
        known.extend(self.out.iter().map(|(_, model)| model.id));
        known
    }

    async fn discard(&mut self, picks: Vec<u16>) {
        let known = self.known().await;
        if known.is_empty() {
            return;
        }
        let picked = picks
            .iter()
            .map(|index| known[usize::from(*index) % known.len()]);
        let model: Vec<JobId> = picked.collect();
        let real = model
            .iter()
            .map(|id| self.back[&id.event].job(id.number))
            .collect();
        let real = self.house.store().discard(real, self.now).await.unwrap();
        let model = self.map.discard(model, self.now).await.unwrap();
        assert_eq!(real, model);
        self.ledger.jobs -= real.iter().filter(|gone| **gone).count() as u64;
    }

    async fn revive(&mut self, replay: Option<u32>, plans: Vec<(u16, StartPlan)>) {
        let known = self.known().await;
        if known.is_empty() {
            return;
        }
        let (mut real, mut model) = (Vec::new(), Vec::new());
        for (index, plan) in plans {
            let id = known[usize::from(index) % known.len()];
            let start = plan.start(self.now);
            real.push((self.back[&id.event].job(id.number), start.clone()));
            model.push((id, start));
        }
        let store = self.house.store();
        let real = store.revive_for(replay, real, self.now).await.unwrap();
        let model = self.map.revive_for(replay, model, self.now).await.unwrap();
        assert_eq!(real, model);
    }

    async fn forget(&mut self, person: u8, workspace: u8) {
        let model = person_of(&self.map, person, workspace);
        let map = self.map.held(model.clone(), None, self.now).await;
        let there = map.unwrap().held;
        let (store, mut before) = (self.house.store(), None);
        let person = person_of(&store, person, workspace);
        let (mut held, mut gone) = (Held::default(), Held::default());
        loop {
            let slice = store.held(person.clone(), before, self.now).await;
            let Portion { held: some, next } = slice.unwrap();
            held = held.and(some);
            let slice = store.forget(person.clone(), before, self.now).await;
            gone = gone.and(slice.unwrap().held);
            before = next;
            if next.is_none() {
                break;
            }
        }
        let map = self.map.forget(model, None, self.now).await;
        assert_eq!((map.unwrap().held, held, gone), (there, there, there));
        self.ledger.jobs -= gone.living + gone.dead;
        let map = self.map.clone();
        let lost = |(_, model): &mut (Token, Token)| !map.is_lent(*model);
        self.spent.extend(self.out.extract_if(.., lost));
    }

    /// Everything that can be asked is answered alike, and adds up.
    async fn agree(&mut self) {
        let store = self.house.store();
        let counts = comparable(store.counts(self.now).await.unwrap());
        assert_eq!(counts, comparable(self.map.counts(self.now).await.unwrap()));
        self.add_up(&counts);
        let replays = store.replay_counts().await.unwrap();
        assert_eq!(replays, self.map.replay_counts().await.unwrap());
        assert_eq!(store.admits().is_ok(), self.map.admits().is_ok());
        for lane in (0..3).map(lane_of) {
            // When something is due already, it does not matter since when.
            let now = self.now;
            let clamp = |due: Option<Timestamp>| due.map(|due| due.max(now));
            let real = store.next_due(&lane, now).await.unwrap();
            let model = self.map.next_due(&lane, now).await.unwrap();
            assert_eq!(clamp(real), clamp(model), "next due in {lane}");
        }
        let letters = store.letters_by(DeadFilter::default(), 7).await;
        let read: Vec<DeadLetter> = letters
            .into_iter()
            .map(|letter| DeadLetter {
                id: self.read(letter.id),
                ..letter
            })
            .collect();
        assert_eq!(read, self.map.letters(DeadFilter::default()).await);
        let jobs = store.jobs(JobFilter::default(), self.now, 7).await;
        let read_jobs = jobs.into_iter().map(|job| StoredJob {
            id: self.read(job.id),
            ..job
        });
        let plain = self.map.jobs(JobFilter::default(), self.now, 100).await;
        assert_eq!(read_jobs.collect::<Vec<_>>(), plain);
        if let Some(job) = plain.last() {
            let id = self.back[&job.id.event].job(job.id.number);
            let got = store.job_get(id, self.now).await.unwrap().unwrap();
            assert_eq!((got.id, got.state, &got.job), (id, job.state, &job.job));
        }
        if let Some(letter) = read.last() {
            let id = self.back[&letter.id.event].job(letter.id.number);
            let got = store.dead_get(id).await.unwrap().unwrap();
            assert_eq!((got.id, &got.burial), (id, &letter.burial));
        }
    }

    fn add_up(&self, counts: &Counts) {
        let events = &counts.events;
        assert_eq!(events.accepted, self.ledger.accepted);
        assert_eq!(
            events.accepted,
            events.done + events.dead + events.queued + events.discarded + events.forgotten
        );
        let sum = |of: fn(&States) -> u64| counts.jobs.values().map(of).sum::<u64>();
        let alive = sum(|states| states.waiting + states.ready + states.in_flight);
        let dead = sum(|states| states.dead);
        assert_eq!(alive + dead, self.ledger.jobs, "a job was lost or doubled");
        assert_eq!(counts.dead.values().sum::<u64>(), dead);
        assert_eq!(counts.done.values().sum::<u64>(), self.ledger.finished);
        let in_lanes = |of: fn(&LaneCounts) -> u64| counts.lanes.values().map(of).sum::<u64>();
        assert_eq!(in_lanes(|lane| lane.depth + lane.waiting), alive);
        for (lane, row) in &counts.lanes {
            for (whose, in_all) in [(&counts.due, row.depth), (&counts.later, row.waiting)] {
                let of = whose.iter().filter(|((at, _), _)| at == lane);
                assert_eq!(of.map(|(_, count)| count).sum::<u64>(), in_all);
            }
        }
        assert_eq!(sum(|states| states.in_flight), self.out.len() as u64);
    }

    /// At the end every job that is not done is found once: due in a lane when its turn comes, or among the letters.
    async fn find_every_job(mut self) {
        self.house.crash_and_reopen().await;
        let store = self.house.store();
        let late = self.now + Duration::from_hours(1);
        let mut found: Vec<JobId> = Vec::new();
        loop {
            let before = found.len();
            for lane in (0..3).map(lane_of) {
                for leased in store.lend_all(&lane, late).await {
                    found.push(leased.token.id);
                    // Whoever is behind has the turn then.
                    let answer = store.settle(leased.token, moved(finish()), late).await;
                    assert_eq!(answer, stored(0));
                }
            }
            if found.len() == before {
                break;
            }
        }
        let letters = store.letters(DeadFilter::default()).await;
        found.extend(letters.iter().map(|letter| letter.id));
        let distinct: BTreeSet<JobId> = found.iter().copied().collect();
        assert_eq!(distinct.len(), found.len(), "a job is in two places");
        assert_eq!(found.len() as u64, self.ledger.jobs);
    }

    fn read(&self, id: JobId) -> JobId {
        self.ids[&id.event].job(id.number)
    }

    fn token(&self, pick: Pick) -> Option<(Token, Token)> {
        let pool = if pick.spent { &self.spent } else { &self.out };
        let index = usize::from(pick.index).checked_rem(pool.len())?;
        Some(pool[index])
    }

    fn tokens(&self, picks: &[Pick]) -> (Vec<Token>, Vec<Token>) {
        picks.iter().filter_map(|pick| self.token(*pick)).unzip()
    }

    fn spend(&mut self, tokens: &[Token]) {
        let spent = |(real, _): &mut (Token, Token)| tokens.contains(real);
        self.spent.extend(self.out.extract_if(.., spent));
    }
}

fn without_token((id, leased): (JobId, Leased)) -> Leased {
    let token = Token { id, lease: 0 };
    Leased { token, ..leased }
}
