//! Dead letters that their age will discard soon: announced before it happens.
//!
//! Invariants: no look of its own: the sweep, which comes by every letter again and again, tells what it sees, and what it
//! saw of all of them is published when it has come round. Nothing is discarded before that has happened once since the
//! start, and a while has passed: whoever shortened `store.dead_retention` by mistake, or stood still for weeks, can act.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::time::Timestamp;
use crate::telemetry::{Metrics, NONE};

/// So long before, at most, it is announced; with a short retention a quarter of it.
const AHEAD_MAX: Duration = Duration::from_hours(7 * 24);

/// So long after it was first announced, at most, nothing is discarded; with a short retention a quarter of it.
const GRACE_MAX: Duration = Duration::from_hours(1);

/// How often it is said again.
const SAY_EVERY: Duration = Duration::from_hours(24);

/// What the present round of the sweep has seen, and what the last one had.
#[derive(Debug, Default)]
pub struct Expiring {
    seen: BTreeMap<String, u64>,
    first: Option<Timestamp>,
    /// Every workspace that was ever told: it must go back to 0.
    told: BTreeMap<String, u64>,
    said_at: Option<Timestamp>,
    /// When the sweep had come round for the first time.
    round_at: Option<Timestamp>,
    discarded: u64,
}

impl Expiring {
    /// Whether a letter may be discarded that is past its `retention`: all of them have been announced.
    pub fn is_announced(&self, retention: Duration, now: Timestamp) -> bool {
        let grace = GRACE_MAX.min(retention / 4);
        self.round_at.is_some_and(|at| at + grace <= now)
    }

    /// A letter was discarded.
    pub fn discard(&mut self) {
        self.discarded += 1;
    }

    /// The sweep came by a letter that will be discarded at `end`.
    pub fn see(
        &mut self,
        workspace: Option<&str>,
        end: Timestamp,
        retention: Duration,
        now: Timestamp,
    ) {
        let ahead = AHEAD_MAX.min(retention / 4);
        if end > now + ahead {
            return;
        }
        *self
            .seen
            .entry(workspace.unwrap_or(NONE).to_owned())
            .or_default() += 1;
        self.first = self.first.into_iter().chain([end]).min();
    }

    /// The sweep has come round.
    pub fn come_round(&mut self, metrics: Option<&Metrics>, now: Timestamp) {
        self.round_at.get_or_insert(now);
        let discarded = std::mem::take(&mut self.discarded);
        if discarded > 0 {
            tracing::warn!(
                discarded,
                "dead letters were older than store.dead_retention and are gone"
            );
        }
        let first = self.first.take();
        for count in self.told.values_mut() {
            *count = 0;
        }
        self.told.append(&mut self.seen);
        if let Some(metrics) = metrics {
            for (workspace, count) in &self.told {
                metrics.dead_expiring(workspace, *count);
            }
        }
        let Some(first) = first else {
            self.said_at = None;
            return;
        };
        if self.said_at.is_none_or(|at| now.since(at) >= SAY_EVERY) {
            self.said_at = Some(now);
            let count: u64 = self.told.values().sum();
            tracing::warn!(count, %first,
                "dead letters will be discarded by store.dead_retention, the first of them then: replay or export them");
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;
    use crate::telemetry::Gauges;

    const DAY: Duration = Duration::from_hours(24);

    #[test]
    fn nothing_is_discarded_before_it_was_announced_for_an_hour_or_a_quarter() {
        let now = Timestamp::from_millis(1_795_770_600_000);
        let mut expiring = Expiring::default();
        assert!(!expiring.is_announced(DAY, now + DAY), "never looked at");
        expiring.come_round(None, now);
        expiring.come_round(None, now + DAY);
        let (nearly, second) = (Duration::from_secs(3599), Duration::from_secs(1));
        assert!(!expiring.is_announced(DAY, now + nearly));
        assert!(expiring.is_announced(DAY, now + nearly + second));
        assert!(expiring.is_announced(second * 4, now + second));
        assert!(!expiring.is_announced(second * 5, now + second));
    }

    fn told(metrics: &Metrics, workspace: &str) -> String {
        let text = metrics.text(&Gauges::default()).unwrap();
        let series = format!("relay_dead_expiring{{workspace=\"{workspace}\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&series));
        line.unwrap_or("-").to_owned()
    }

    #[test]
    fn what_expires_within_a_week_or_a_quarter_is_told_when_the_sweep_has_come_round() {
        let metrics = Metrics::new().unwrap();
        let now = Timestamp::from_millis(1_795_770_600_000);
        let mut expiring = Expiring::default();
        let mut see = |workspace, days: u32, retention: u32, round: bool| {
            expiring.see(workspace, now + DAY * days, DAY * retention, now);
            if round {
                expiring.come_round(Some(&metrics), now);
            }
        };
        see(Some("acme"), 7, 90, false);
        see(Some("acme"), 8, 90, false);
        see(Some("acme"), 2, 8, false);
        see(Some("acme"), 3, 8, false);
        assert_eq!(told(&metrics, "acme"), "-", "not before it has come round");
        see(None, 1, 90, true);
        assert_eq!(told(&metrics, "acme"), "2");
        assert_eq!(told(&metrics, "none"), "1");
        see(None, 1, 90, true);
        assert_eq!(told(&metrics, "acme"), "0");
        assert_eq!(told(&metrics, "none"), "1");
    }
}
