//! What becomes of a window when its limit, or what windows there are, changes.
//!
//! Invariants: pure. Whatever was used stays used.

use std::time::Duration;

use super::super::rolling::Rolling;
use super::super::standing::Standing;
use super::Window;
use crate::model::time::Timestamp;

impl Window {
    /// One that begins with what was counted before, by a window that may have had another length.
    pub(in crate::engine::gate) fn after(
        limit: u32,
        length: Duration,
        before: &Rolling,
        now: Timestamp,
    ) -> Window {
        Window {
            rolling: before.seen_by(length, now),
            ..Window::new(limit, length, true)
        }
    }

    /// The same with another limit, which the configuration knows: whatever is used of it stays used.
    pub(in crate::engine::gate) fn with_limit(
        self,
        limit: u32,
        before: &Rolling,
        now: Timestamp,
    ) -> Window {
        let standing = self.standing.map(|standing| Standing {
            remaining: (standing.remaining.saturating_add(limit)).saturating_sub(self.limit),
            ..standing
        });
        let rolling = if self.configured {
            self.rolling
        } else {
            before.seen_by(self.length, now)
        };
        Window {
            limit,
            configured: true,
            standing,
            rolling,
            ..self
        }
    }
}
