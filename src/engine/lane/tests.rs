//! The pace and the budget together against a model of the other side: what leaves, what is refused, what is used.
//!
//! Invariants: time is tokio's paused clock, moved from event to event; every run follows from its seed.

#![expect(clippy::unwrap_used, reason = "tests may")]

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::*;
use crate::engine::gate::Gate;
use crate::model::budget::{Reset, Told, Word};
use crate::model::time::Timestamp;

/// A moment that is on none of the clock's boundaries.
const START: u64 = 1_795_770_600_000 + 137;

/// How the other side counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counts {
    Aligned,
    Rolling,
}

/// How it tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tells {
    Nothing,
    Epoch,
    Delta,
    /// As `Delta`, but a refusal says only when to come again.
    Mau,
}

#[derive(Clone, Copy, Debug)]
struct Plan {
    limit: u32,
    window_ms: u64,
    counts: Counts,
    tells: Tells,
    /// From 0 to so many milliseconds there, and as many back.
    one_way_ms: (u64, u64),
    /// The other side's clock less ours.
    skew_ms: i64,
    /// Requests that another consumer sends in each window, evenly.
    others: u32,
    /// How late timers are, at most.
    late_ms: u64,
    share: f64,
    windows: u64,
    seed: u64,
}

const PLAN: Plan = Plan {
    limit: 40,
    window_ms: 1000,
    counts: Counts::Aligned,
    tells: Tells::Nothing,
    one_way_ms: (0, 1),
    skew_ms: 0,
    others: 0,
    late_ms: 2,
    share: 1.0,
    windows: 60,
    seed: 1,
};

/// The other side's account. `at`: by its own clock, milliseconds.
struct Server {
    plan: Plan,
    /// Moments of what was taken, ours or not.
    taken: VecDeque<u64>,
    refused: Vec<u64>,
    others_refused: u64,
    ours: u64,
}

impl Server {
    fn start_of(&self, at: u64) -> u64 {
        match self.plan.counts {
            Counts::Aligned => at / self.plan.window_ms * self.plan.window_ms,
            Counts::Rolling => at.saturating_sub(self.plan.window_ms - 1),
        }
    }

    /// Takes one, or not; what is left and when it begins anew.
    fn take(&mut self, at: u64) -> (bool, u32, u64) {
        let start = self.start_of(at);
        while self.taken.front().is_some_and(|moment| *moment < start) {
            self.taken.pop_front();
        }
        let taken = (self.taken.len() as u32) < self.plan.limit;
        if taken {
            self.taken.push_back(at);
        }
        let left = self.plan.limit - self.taken.len() as u32;
        let reset = match self.plan.counts {
            Counts::Aligned => start + self.plan.window_ms,
            Counts::Rolling => self.taken.front().unwrap() + self.plan.window_ms,
        };
        (taken, left, reset)
    }

    /// What an answer at `at` tells; the moment to come again is in the second.
    fn tell(&self, taken: bool, left: u32, reset: u64, at: u64) -> (Told, Option<Reset>) {
        let rest = Reset::In(Duration::from_secs((reset - at).div_ceil(1000)));
        let epoch = Reset::At(Timestamp::from_millis(reset.div_ceil(1000) * 1000));
        let word = |reset| {
            Told::Word(Word {
                limit: self.plan.limit,
                remaining: left,
                reset,
            })
        };
        match self.plan.tells {
            Tells::Nothing => (Told::Nothing, None),
            Tells::Epoch => (word(epoch), Some(epoch)),
            Tells::Mau if !taken => (Told::Nothing, Some(rest)),
            Tells::Delta | Tells::Mau => (word(rest), Some(rest)),
        }
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Other,
    Arrives(u64),
    Answered(u64, bool, usize),
}

struct Numbers(u64);

impl Numbers {
    fn within(&mut self, (least, most): (u64, u64)) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        least + (bits ^ (bits >> 31)) % (most - least + 1)
    }
}

/// What came of a run.
#[derive(Debug)]
struct Outcome {
    /// Part of what was permitted to us that was used.
    use_ratio: f64,
    refused: usize,
    /// The most refusals in one window.
    refused_in_one: usize,
    others_refused: u64,
    /// Requests of ours in any stretch as long as a window, as they arrived.
    most: usize,
    /// Requests of ours in one window of the other side, by its clock.
    most_in_one: usize,
}

/// There is always work: plays so many windows.
fn play(plan: Plan) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(run(plan))
}

async fn run(plan: Plan) -> Outcome {
    let base = START + Numbers(plan.seed).within((0, 3_600_000));
    let clock = Clock::starting_at(Timestamp::from_millis(base), 1.0);
    let limit = Limit {
        requests: plan.limit,
        window: Duration::from_millis(plan.window_ms),
    };
    let budget = Budget::new([(limit.requests, limit.window)], plan.share);
    let mut gate = Gate::new(budget, None);
    let mut pace = Pace::new(&[limit], plan.share, &clock);
    let mut numbers = Numbers(plan.seed);
    let mut server = Server {
        plan,
        taken: VecDeque::new(),
        refused: Vec::new(),
        others_refused: 0,
        ours: 0,
    };
    let mut events = BinaryHeap::new();
    let mut answers: Vec<(Told, Option<Reset>)> = Vec::new();
    let mut arrivals = Vec::new();
    let theirs = |now: u64| now.saturating_add_signed(plan.skew_ms);
    // The first windows are for finding out.
    let warm = 3 * plan.window_ms;
    let (mut ours_warm, end) = (0, base + warm + plan.windows * plan.window_ms);
    if plan.others > 0 {
        events.push(Reverse((base, Event::Other)));
    }
    let mut wake = base;
    loop {
        let now = clock.now().as_millis();
        if now >= end {
            break;
        }
        if now < base + warm {
            ours_warm = server.ours;
        }
        while let Some(Reverse((at, _))) = events.peek()
            && *at <= now
        {
            match events.pop().unwrap().0.1 {
                Event::Other => {
                    if !server.take(theirs(now)).0 {
                        server.others_refused += 1;
                    }
                    let even = plan.window_ms / u64::from(plan.others);
                    let next = now + numbers.within((even / 2, even + even / 2));
                    events.push(Reverse((next, Event::Other)));
                }
                Event::Arrives(sent_at) => {
                    let at = theirs(now);
                    let (taken, left, reset) = server.take(at);
                    if taken {
                        server.ours += 1;
                        arrivals.push(at);
                    } else {
                        server.refused.push(at);
                    }
                    answers.push(server.tell(taken, left, reset, at));
                    let back = now + numbers.within(plan.one_way_ms);
                    let answered = Event::Answered(sent_at, taken, answers.len() - 1);
                    events.push(Reverse((back, answered)));
                }
                Event::Answered(sent_at, taken, answer) => {
                    let (told, again) = answers[answer];
                    let (sent_at, heard_at) = (Timestamp::from_millis(sent_at), clock.now());
                    if taken {
                        gate.succeeded(sent_at, heard_at);
                    } else {
                        let until = again.map(|again| match again {
                            Reset::At(moment) => moment,
                            Reset::In(rest) => heard_at + rest,
                        });
                        gate.throttled(sent_at, heard_at, until, 0.5);
                    }
                    let complaint = gate.budget.answered(&told, sent_at, heard_at);
                    let apart = plan.skew_ms.abs() > 1000;
                    assert!(complaint.is_none() || apart, "{complaint:?} {plan:?}");
                    wake = now;
                }
            }
        }
        if now >= wake {
            let stop = gate.stopped_until(clock.now());
            let wait = match stop {
                Some(until) => Err(Some(until.since(clock.now()))),
                None => pace.check(&mut gate.budget),
            };
            match wait {
                Ok(()) => {
                    pace.spend();
                    gate.budget.sent();
                    let arrives = now + numbers.within(plan.one_way_ms);
                    events.push(Reverse((arrives, Event::Arrives(now))));
                    continue;
                }
                Err(Some(wait)) => {
                    let wait_ms = wait.as_micros().div_ceil(1000).max(1) as u64;
                    wake = now + wait_ms + numbers.within((0, plan.late_ms));
                }
                Err(None) => wake = u64::MAX,
            }
        }
        let next = events.peek().map_or(wake, |Reverse((at, _))| wake.min(*at));
        let step = next.max(now + 1) - now;
        tokio::time::advance(Duration::from_millis(step)).await;
    }
    let permitted = f64::from(plan.limit - plan.others) * plan.share * plan.windows as f64;
    let window = |at: &u64| at / plan.window_ms;
    let most_of = |moments: &[u64]| {
        let starts = 0..moments.len();
        let stretch = |first: usize| {
            let rest = &moments[first..];
            rest.iter()
                .take_while(|at| **at < rest[0] + plan.window_ms)
                .count()
        };
        starts.map(stretch).max().unwrap_or(0)
    };
    let in_one = server
        .refused
        .chunk_by(|one, other| window(one) == window(other));
    arrivals.sort_unstable();
    Outcome {
        use_ratio: (server.ours - ours_warm) as f64 / permitted,
        refused: server.refused.len(),
        refused_in_one: in_one.map(<[u64]>::len).max().unwrap_or(0),
        others_refused: server.others_refused,
        most: most_of(&arrivals),
        most_in_one: {
            let in_one = arrivals.chunk_by(|one, other| window(one) == window(other));
            in_one.map(<[u64]>::len).max().unwrap_or(0)
        },
    }
}

const LIMITS: [(u32, u64); 3] = [(40, 1000), (100, 1000), (3000, 3000)];

/// As many as are played in a fair time.
const fn windows(window_ms: u64) -> u64 {
    60_000 / window_ms
}

#[test]
fn nothing_is_refused_and_on_a_near_host_nearly_everything_is_used_however_it_counts_and_tells() {
    for (limit, window_ms) in LIMITS {
        for (counts, tells) in [
            (Counts::Aligned, Tells::Nothing),
            (Counts::Rolling, Tells::Nothing),
            (Counts::Aligned, Tells::Epoch),
            (Counts::Aligned, Tells::Delta),
            (Counts::Aligned, Tells::Mau),
        ] {
            for skew_ms in [-49, 0, 49] {
                let windows = windows(window_ms);
                let plan = Plan {
                    limit,
                    window_ms,
                    counts,
                    tells,
                    skew_ms,
                    windows,
                    ..PLAN
                };
                let outcome = play(plan);
                println!("{limit}/{window_ms} {counts:?} {tells:?} {skew_ms}: {outcome:?}");
                assert_eq!(outcome.refused, 0, "{plan:?}");
                assert!(outcome.use_ratio >= 0.98, "{outcome:?} {plan:?}");
            }
        }
    }
}

#[test]
fn far_away_unevenly_and_late_nothing_is_refused_no_share_exceeded_and_what_is_told_is_used() {
    for seed in 0..150 {
        let mut numbers = Numbers(seed);
        let (limit, window_ms) = LIMITS[numbers.within((0, 1)) as usize];
        let tells = [Tells::Epoch, Tells::Delta, Tells::Mau, Tells::Nothing];
        let plan = Plan {
            limit,
            window_ms,
            tells: tells[numbers.within((0, 3)) as usize],
            counts: [Counts::Aligned, Counts::Rolling][numbers.within((0, 1)) as usize],
            share: [0.5, 1.0, 1.0, 1.0][numbers.within((0, 3)) as usize],
            one_way_ms: (0, numbers.within((0, 30))),
            skew_ms: numbers.within((0, 98)) as i64 - 49,
            late_ms: numbers.within((0, 10)),
            windows: 30,
            seed,
            ..PLAN
        };
        let outcome = play(plan);
        assert_eq!(outcome.refused, 0, "{plan:?}");
        let ours = f64::from(limit) * plan.share;
        assert!(outcome.most_in_one as f64 <= ours, "{outcome:?} {plan:?}");
        // Where our own count decides, a place is free again a window after its answer, which took both ways on average.
        let exact = plan.share > 0.99 || plan.tells == Tells::Epoch;
        let told = plan.counts == Counts::Aligned && plan.tells != Tells::Nothing && exact;
        let taken_ms = plan.one_way_ms.1 + plan.late_ms + 20;
        let own_count = window_ms as f64 / (window_ms + taken_ms) as f64;
        let least = if told { 0.98 } else { own_count };
        assert!(outcome.use_ratio >= least, "{outcome:?} {plan:?}");
    }
}

#[test]
fn a_clock_that_is_wrong_is_reckoned_with_once_that_is_seen() {
    for (limit, window_ms) in LIMITS {
        for skew_ms in [-3_600_000, -5000, -500, -150, 150, 500, 5000, 3_600_000] {
            let windows = windows(window_ms);
            let plan = Plan {
                limit,
                window_ms,
                tells: Tells::Epoch,
                skew_ms,
                windows,
                ..PLAN
            };
            let outcome = play(plan);
            // Before anything is known windows are taken to begin when they do not.
            assert!(
                outcome.refused as f64 <= f64::from(limit) * 0.1,
                "{outcome:?} {plan:?}"
            );
            assert!(outcome.use_ratio >= 0.85, "{outcome:?} {plan:?}");
        }
    }
}

#[test]
fn a_window_that_rolls_and_tells_is_not_taken_for_one_that_begins_anew() {
    for tells in [Tells::Epoch, Tells::Delta] {
        for (limit, window_ms) in LIMITS {
            for one_way_ms in [(0, 1), (0, 30)] {
                let counts = Counts::Rolling;
                let windows = windows(window_ms);
                let plan = Plan {
                    limit,
                    window_ms,
                    counts,
                    tells,
                    one_way_ms,
                    windows,
                    ..PLAN
                };
                let outcome = play(plan);
                println!("{limit}/{window_ms} {tells:?} {one_way_ms:?}: {outcome:?}");
                assert_eq!(outcome.refused, 0, "{plan:?}");
                let slow = window_ms as f64 / (window_ms + 10 + one_way_ms.1 * 3 / 2) as f64;
                assert!(outcome.use_ratio >= slow, "{outcome:?} {plan:?}");
            }
        }
    }
}

#[test]
fn another_who_takes_half_leaves_us_the_other_half_and_at_most_one_refusal_in_a_window() {
    for (limit, window_ms) in LIMITS {
        for tells in [Tells::Epoch, Tells::Delta, Tells::Mau] {
            for seed in 1..6 {
                let plan = Plan {
                    limit,
                    window_ms,
                    tells,
                    one_way_ms: (0, seed),
                    others: limit / 2,
                    seed,
                    ..PLAN
                };
                let outcome = play(plan);
                println!("{limit}/{window_ms} {tells:?} {seed}: {outcome:?}");
                assert!(outcome.refused_in_one <= 1, "{outcome:?} {plan:?}");
                // To be told "in a second" by a refusal costs the whole next window where that is a second.
                let coarse = tells != Tells::Epoch && window_ms == 1000;
                let least = match tells {
                    _ if coarse => 0.85,
                    Tells::Epoch => 0.98,
                    _ => 0.95,
                };
                let most = 1.05;
                assert!(
                    (least..=most).contains(&outcome.use_ratio),
                    "{outcome:?} {plan:?}"
                );
                let others = f64::from(plan.others) * plan.windows as f64;
                assert!(
                    outcome.others_refused as f64 <= others * 0.06,
                    "{outcome:?}"
                );
            }
        }
    }
}

#[test]
fn a_share_is_never_exceeded_in_a_window_and_is_used() {
    for (limit, window_ms) in LIMITS {
        for (tells, share) in [
            (Tells::Nothing, 0.5),
            (Tells::Epoch, 0.5),
            (Tells::Delta, 0.25),
        ] {
            let windows = windows(window_ms);
            let plan = Plan {
                limit,
                window_ms,
                tells,
                share,
                windows,
                ..PLAN
            };
            let outcome = play(plan);
            println!("{limit}/{window_ms} {tells:?} {share}: {outcome:?}");
            assert_eq!(outcome.refused, 0);
            assert!(
                (0.98..=1.001).contains(&outcome.use_ratio),
                "{outcome:?} {plan:?}"
            );
            if tells == Tells::Nothing {
                assert!(
                    outcome.most as f64 <= f64::from(limit) * share,
                    "{outcome:?}"
                );
            }
        }
    }
}
