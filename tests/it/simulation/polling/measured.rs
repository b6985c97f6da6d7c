//! What a crowd that waits has cost, and how late its confirmations were noticed.

use std::collections::BTreeMap;
use std::time::Duration;

use braze_relay::flow::job::Outcome;

use super::{Crowd, FIRST};

/// Requests that read a status.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    pub requests: u64,
    pub calls: u64,
}

/// What one crowd cost.
pub struct Measured {
    pub polls: BTreeMap<u64, Cost>,
    pub checks: BTreeMap<u64, Cost>,
    pub late: Vec<(Duration, Duration)>,
    pub ends: BTreeMap<Outcome, u64>,
    pub living: usize,
}

impl Measured {
    /// The most in any sixty minutes.
    pub fn worst(&self) -> u64 {
        let from = |minute: &u64| {
            let hour = self.polls.range(*minute..minute + 60);
            hour.map(|(_, cost)| cost.requests).sum()
        };
        self.polls.keys().map(from).max().unwrap_or(0)
    }

    /// Of all hours the middle one.
    pub fn typical(&self) -> u64 {
        let mut hours: BTreeMap<u64, u64> = BTreeMap::new();
        for (minute, cost) in &self.polls {
            *hours.entry(minute / 60).or_default() += cost.requests;
        }
        let mut hours: Vec<u64> = hours.into_values().collect();
        hours.sort_unstable();
        hours.get(hours.len() / 2).copied().unwrap_or(0)
    }

    /// How late, as a part of how long it took to confirm. Sooner than this the first wait counts, not a part.
    pub fn relative(&self) -> Vec<f64> {
        let slow = self.late.iter().filter(|it| it.1 >= FIRST * 4);
        slow.map(|it| it.0.as_secs_f64() / it.1.as_secs_f64())
            .collect()
    }

    pub fn print(&self, crowd: Crowd) {
        let sum = |costs: &BTreeMap<u64, Cost>| {
            costs.values().fold(Cost::default(), |sum, cost| Cost {
                requests: sum.requests + cost.requests,
                calls: sum.calls + cost.calls,
            })
        };
        let (polls, checks) = (sum(&self.polls), sum(&self.checks));
        let full = |cost: Cost| cost.calls as f64 / cost.requests.max(1) as f64;
        println!("{crowd:?}");
        println!(
            "  polls: {} requests in the worst hour, {} in the typical one; {} in all, {:.1} phones each",
            self.worst(),
            self.typical(),
            polls.requests,
            full(polls)
        );
        println!(
            "  before anybody is asked: {} requests, {:.1} phones each",
            checks.requests,
            full(checks)
        );
        let noticed = |text: &str, mut figures: Vec<f64>| {
            figures.sort_unstable_by(f64::total_cmp);
            let last = figures.len().saturating_sub(1) as f64;
            let at = |part: f64| figures.get((last * part) as usize).copied().unwrap_or(0.0);
            println!(
                "  {text}: {:.3} (median), {:.3} (99 of 100), {:.3} (worst) of {}",
                at(0.5),
                at(0.99),
                at(1.0),
                figures.len()
            );
        };
        let seconds = self.late.iter().map(|it| it.0.as_secs_f64());
        noticed("confirmations noticed late by seconds", seconds.collect());
        noticed(
            "by parts of the time that it took to confirm, where that was two minutes or more",
            self.relative(),
        );
        println!("  ends: {:?}, {} still wait", self.ends, self.living);
    }
}
