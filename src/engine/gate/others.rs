//! What others take of a window that we share with them, and so what is to be left for them.
//!
//! Invariants: pure. They are expected to take what they took of the window before. That is a guess, and never keeps us
//! out for long: whoever has fallen behind it is expected to take less, and what is not heard again is asked for.

/// What others are expected to take of a whole window.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Others(u32);

impl Others {
    /// Whether there are any.
    pub(super) fn are_about(self) -> bool {
        self.0 > 0
    }

    /// What they are expected to take of a whole window.
    pub(super) fn expected(self) -> u32 {
        self.0
    }

    /// A window of `limit` is over, of which they had taken `taken` when the latest word of it was heard, after the part
    /// `heard` (0–1) of it; `remaining` was left then for whatever came behind. `exact`: its end was told to the moment.
    pub(super) fn learn(
        &mut self,
        taken: u32,
        heard: f64,
        remaining: u32,
        limit: u32,
        exact: bool,
    ) {
        if heard < 0.5 {
            // Too little of it was seen.
            self.0 = self.0.max(taken);
            return;
        }
        // Of a narrow window one more for them is a twentieth of ours. Where it is told to the moment when it begins anew, one
        // less costs a refusal now and then; elsewhere a refusal may cost a whole window.
        let whole = f64::from(taken) / heard;
        self.0 = if exact { whole } else { whole.round() } as u32;
        let to_come = self.0.saturating_sub(taken);
        if self.0 > 0 && remaining.saturating_sub(to_come) <= limit / 100 {
            // Nothing was spared: they may have wanted more.
            self.0 += (self.0 / 20).max(1);
        }
    }

    /// What they are expected to take until the window begins anew, when the part `now` of it is over and the latest
    /// word, after the part `heard`, had `taken` of it taken by them.
    pub(super) fn to_come(self, taken: u32, heard: f64, now: f64) -> u32 {
        let (whole, taken) = (f64::from(self.0), f64::from(taken));
        // At the end of the window they cannot still take all of it.
        let at_most = 2.0 * whole * (1.0 - now);
        // Who is further behind than chance explains is expected to fall behind by as much again.
        let due = whole * heard;
        let behind = due - 3.0 * due.sqrt() - taken;
        let expected = (whole - taken).min(at_most) - 2.0 * behind.max(0.0);
        expected.ceil() as u32
    }
}
