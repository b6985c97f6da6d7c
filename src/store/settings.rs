//! What a store is told: how long things are kept, and how many.

use std::time::Duration;

/// What every store is told about keeping and forgetting (`[store]` of the configuration).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long an event's key is remembered, from `accepted_at`; never shorter than its jobs are alive or dead.
    pub event_dedupe: Duration,
    /// How long a child's `once` is remembered, from its spawning; never shorter than its job is alive or dead.
    pub credit_dedupe: Duration,
    /// As `event_dedupe`, for events whose key is a hash of their content.
    pub webhook_dedupe: Duration,
    /// How long a done event can still be looked up.
    pub done_retention: Duration,
    /// How long a dead letter is kept, from its burial; then it counts as discarded.
    pub dead_retention: Duration,
    /// How long an address that was learnt is believed.
    pub known_for: Duration,
    /// With so many jobs alive or dead, new events are no longer taken.
    pub max_jobs: u64,
}

impl Settings {
    /// How long an event's key is remembered after its acceptance; `derived`: it is a hash of its content.
    pub fn key_dedupe(&self, derived: bool) -> Duration {
        if derived {
            self.webhook_dedupe
        } else {
            self.event_dedupe
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        const DAY: Duration = Duration::from_hours(24);
        Settings {
            event_dedupe: DAY * 7,
            credit_dedupe: DAY * 400,
            webhook_dedupe: DAY,
            done_retention: DAY * 7,
            dead_retention: DAY * 90,
            known_for: DAY * 30,
            max_jobs: 20_000_000,
        }
    }
}
