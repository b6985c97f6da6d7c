//! What a simulated life is observed by: the dice, the crash that is planned, what was covered, what was violated.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use braze_relay::client::Answers;
use tokio::sync::Notify;

/// How often each thing that must occur has occurred.
pub type Coverage = BTreeMap<String, u64>;

/// Where a process can die.
pub const PLACES: [&str; 7] = [
    "after_lease",
    "before_begin",
    "after_begin",
    "sent",
    "arrived",
    "before_commit",
    "after_commit",
];

/// How a call can be answered, whatever it is.
pub const CLASSES: [&str; 7] = [
    "ok",
    "transient",
    "unknown, resent",
    "throttled",
    "rejected",
    "denied",
    "apart",
];

/// Clones share everything.
#[derive(Clone)]
pub struct Lab(Arc<Mutex<State>>, Arc<Notify>);

pub struct State {
    dice: u64,
    /// Operations until the next crash.
    crash_in: Option<u64>,
    /// The crash happens only at this kind of place.
    crash_at: Option<&'static str>,
    crashed: bool,
    pub coverage: Coverage,
    pub violations: Vec<String>,
    /// How each call of the request that was answered last was answered; taken by the store operation that follows.
    pub answered: Vec<&'static str>,
    /// The same answers whole.
    pub heard: Answers,
    /// How often more than once something may have happened: unknown outcomes and crashes.
    pub allowed: BTreeMap<String, u32>,
}

impl Lab {
    pub fn new(seed: u64) -> Lab {
        let state = State {
            dice: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d,
            crash_in: None,
            crash_at: None,
            crashed: false,
            coverage: Coverage::new(),
            violations: Vec::new(),
            answered: Vec::new(),
            heard: Vec::new(),
            allowed: BTreeMap::new(),
        };
        Lab(Arc::new(Mutex::new(state)), Arc::new(Notify::new()))
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// A number below `bound`.
    pub fn below(&self, bound: u64) -> u64 {
        let mut state = self.state();
        state.dice = state.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = state.dice;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % bound.max(1)
    }

    pub fn chance(&self, probability: f64) -> bool {
        (self.below(1_000_000) as f64) < probability * 1e6
    }

    /// Some thousandths below `most`, or none: as likely.
    pub fn some(&self, most: u64) -> f64 {
        if self.chance(0.5) {
            self.below(most) as f64 / 1e3
        } else {
            0.0
        }
    }

    pub fn cover(&self, what: String) {
        *self.state().coverage.entry(what).or_default() += 1;
    }

    pub fn violated(&self, what: String) {
        self.state().violations.push(what);
    }

    pub fn allow(&self, what: String) {
        *self.state().allowed.entry(what).or_default() += 1;
    }

    pub fn allowed(&self, what: &str) -> u32 {
        self.state().allowed.get(what).copied().unwrap_or(0)
    }

    /// The next crash comes after so many operations, at a place of this kind if one is named.
    pub fn plan_crash(&self, after: Option<u64>, at: Option<&'static str>) {
        let mut state = self.state();
        state.crash_in = after;
        state.crash_at = at;
        state.crashed = false;
    }

    /// A place where the process may die. Never returns when it does. `steps` are the jobs that it hits.
    pub async fn place(&self, place: &'static str, steps: impl FnOnce() -> Vec<String>) {
        let dies = {
            let mut state = self.state();
            let state = &mut *state;
            let here = state.crash_at.is_none_or(|at| at == place);
            match &mut state.crash_in {
                _ if state.crashed => true,
                Some(left) if here => {
                    *left = left.saturating_sub(1);
                    let dies = *left == 0;
                    state.crashed = dies;
                    dies
                }
                _ => false,
            }
        };
        if dies {
            for step in steps() {
                self.cover(format!("crash {place} × {step}"));
            }
            self.1.notify_one();
            std::future::pending::<()>().await;
        }
    }

    /// Returns when the process dies.
    pub async fn death(&self) {
        self.1.notified().await;
    }
}

/// Prints what a suite saw, and fails when something of `required` was not: a few seeds alone need not see all.
pub fn saw_all(coverage: &Coverage, required: &[String], seeds: u64) {
    for (what, count) in coverage {
        println!("{count:>9}  {what}");
    }
    let seen = |it: &&String| coverage.contains_key(*it);
    let missing: Vec<_> = required.iter().filter(|it| !seen(it)).collect();
    assert!(
        missing.is_empty() || seeds < 500,
        "never occurred: {missing:#?}"
    );
}
