//! What is known of a window that ends at a known moment.
//!
//! Invariants: pure. What is said of it and what follows from that; what to do with it is the window's.

use std::time::Duration;

use crate::model::time::Timestamp;

/// How many requests of a window may be spent on hearing whether others still take all of it: one of so many, and never
/// more than [`ASKS_MAX`].
const ASKS_SHARE: u32 = 20;
const ASKS_MAX: u32 = 16;

/// What is known of a window that ends at a known moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    /// What the latest word left.
    pub(super) remaining: u32,
    pub(super) reset: Timestamp,
    /// When the latest word was heard.
    pub(super) heard_at: Timestamp,
    /// The moment of the reset was told, not the seconds until then.
    pub(super) exact: bool,
    /// Nobody said so: it follows from the window before.
    pub(super) assumed: bool,
    /// Our requests that were answered in this window.
    pub(super) own: u32,
    /// Those of them that the latest word may not include, and when the last of these was answered.
    pub(super) unsaid: u32,
    pub(super) unsaid_at: Timestamp,
    /// What others took, by the latest word.
    pub(super) others: u32,
}

impl Standing {
    /// The one after it, of which nobody has spoken yet.
    pub(super) fn assumed(self, reset: Timestamp, limit: u32, now: Timestamp) -> Standing {
        Standing {
            remaining: limit,
            reset,
            heard_at: now,
            exact: self.exact,
            assumed: true,
            own: 0,
            unsaid: 0,
            unsaid_at: Timestamp::ZERO,
            others: 0,
        }
    }

    /// What is left of it, whoever takes it; some of that may be under way.
    pub(super) fn left(&self) -> u32 {
        self.remaining.saturating_sub(self.unsaid)
    }

    /// How much of it is over at `moment`, 0–1.
    pub(super) fn part_over(&self, moment: Timestamp, length: Duration) -> f64 {
        let rest = self.reset.since(moment).as_secs_f64();
        (1.0 - rest / length.as_secs_f64()).max(0.0)
    }

    /// From when on one may leave for no other reason than to hear what others took. `None`: the last one was answered
    /// without a word.
    pub(super) fn ask_at(&self, length: Duration, limit: u32) -> Option<Timestamp> {
        let every = if self.assumed {
            Duration::ZERO
        } else {
            length / (limit / ASKS_SHARE).clamp(1, ASKS_MAX)
        };
        (self.unsaid == 0).then_some(self.heard_at + every)
    }
}
