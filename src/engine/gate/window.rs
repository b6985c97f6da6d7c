//! One window of a budget: whether it has room for one more request, and when to use what is left of it.
//!
//! Invariants: pure. Without a word from the other side a request takes its place from the moment it leaves until the
//! window's length after its answer. It was counted somewhere in between, so no stretch of that length ever sees more
//! than the limit, whether the other side's window rolls or stands still, and whatever its clock says. That costs
//! latency / length of the budget. A word says what is left, and then exactly that is used: less what is under way, less
//! what the word does not include yet, less what others are expected to take before the window begins anew; spread
//! evenly over the time until then. Around that moment a request could be counted on either side of it: until
//! [`GUARD`] after it the old window has to have room, and what is under way takes room in the new one as well.

mod follow;

use std::time::Duration;

use super::others::Others;
use super::rolling::Rolling;
use super::skew::Skew;
use super::spread::Spread;
use super::standing::Standing;
use crate::model::budget::{Reset, Word};
use crate::model::time::Timestamp;

/// How far the other side's clock may be from where we think it is; a little more than the 50 ms that are allowed, for
/// moments are whole milliseconds.
pub(super) const GUARD: Duration = Duration::from_millis(60);

/// How much further away than its length a window's end is believed to be: seconds are rounded, and clocks differ.
pub(super) const SLACK: Duration = Duration::from_secs(2);

/// What is true of the whole lane at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) now: Timestamp,
    /// Requests under way.
    pub(super) under_way: u32,
    /// How long an answer takes, rather too long than too short.
    pub(super) latency: Duration,
    /// The part of the limit that we may use.
    pub(super) part: f64,
}

/// A limit with what is used of it.
#[derive(Clone, Debug)]
pub(super) struct Window {
    pub(super) limit: u32,
    pub(super) length: Duration,
    /// `false`: the configuration does not know it, the other side told of it.
    pub(super) configured: bool,
    rolling: Rolling,
    standing: Option<Standing>,
    skew: Skew,
    /// It was seen to begin anew as a whole: there was far more left than if it rolled.
    begins_anew: bool,
    /// It was seen to roll: a little more was left than before. Then its words are of no use.
    rolls: bool,
    others: Others,
    /// How what a word leaves is used.
    spread: Spread,
}

impl Window {
    pub(super) fn new(limit: u32, length: Duration, configured: bool) -> Window {
        Window {
            limit,
            length,
            configured,
            rolling: Rolling::new(length),
            standing: None,
            skew: Skew::default(),
            begins_anew: false,
            rolls: false,
            others: Others::default(),
            spread: Spread::default(),
        }
    }

    /// Whether it has room for one more request; else the moment until which it has none unless an answer says otherwise.
    /// `None`: only an answer can make room.
    pub(super) fn check(&mut self, at: &Moment) -> Result<(), Option<Timestamp>> {
        self.turn(at.now);
        let cap = self.cap(at.part);
        let told = self.standing;
        // A share is kept to by our own count where the word leaves open when the window begins.
        if told.is_none_or(|told| cap < self.limit && !told.exact) {
            let used = self.rolling.used(at.now).saturating_add(at.under_way);
            if used >= cap {
                return Err(self.rolling.next_free());
            }
        }
        let Some(standing) = told else {
            return Ok(());
        };
        let over = standing.reset + GUARD;
        let (everybody, ours) = self.room(&standing, at);
        if everybody.min(ours) < 1 || (at.under_way > 0 && self.is_scarce(&standing, at)) {
            return Err(Some(over));
        }
        let for_others = self.for_others(&standing, at.now);
        let left = everybody.saturating_sub(for_others).min(ours);
        let end = standing.reset - at.latency - GUARD;
        let spread = match left {
            0 => Err(over),
            _ => self.spread.check(left, end, cap, at.now),
        };
        let Err(then) = spread else { return Ok(()) };
        if for_others == 0 {
            return Err(Some(then));
        }
        // They may not want it: now and then one leaves to hear that, and time tells it, too.
        match standing.ask_at(self.length, self.limit) {
            Some(ask_at) if ask_at > at.now => Err(Some(then.min(ask_at))),
            Some(_) if left < 1 && at.under_way == 0 => Ok(()),
            _ => Err(Some(then.min(at.now + self.length / 4))),
        }
    }

    /// A request leaves.
    pub(super) fn sent(&mut self) {
        self.spread.sent();
    }

    /// A request that was counted as under way was answered, and nothing was said of this window.
    pub(super) fn answered(&mut self, now: Timestamp) {
        self.turn(now);
        self.rolling.note(now, 1);
        if let Some(standing) = &mut self.standing {
            standing.own += 1;
            standing.unsaid += 1;
            standing.unsaid_at = now;
        }
    }

    /// A request that left at `sent_at` was answered, with a word of this window. What is wrong with the word, if
    /// something is.
    pub(super) fn heard(
        &mut self,
        word: &Word,
        sent_at: Timestamp,
        at: &Moment,
    ) -> Option<&'static str> {
        self.turn(at.now);
        let mut complaint = None;
        let Some(mut reset) = self.reset(word.reset, sent_at, at.now) else {
            self.answered(at.now);
            return None;
        };
        if self.skew.apart() > SLACK {
            complaint = Some(
                "the window is said to end at another time than it can: do the clocks differ?",
            );
        }
        if reset > at.now + self.length + SLACK {
            complaint = Some("the window is said to last longer than it is long");
            reset = at.now + self.length;
        }
        self.rolling.note(at.now, 1);
        let rolls = self.rolling.used(at.now).saturating_add(at.under_way);
        let left_if_it_rolls = self.limit.saturating_sub(rolls);
        if word.remaining > left_if_it_rolls.saturating_add(self.limit / 4) {
            self.begins_anew = true;
            self.rolls = false;
        }
        let half = self.length / 2;
        match self.standing {
            _ if self.rolls => {}
            // It was counted in the window before.
            Some(standing) if reset + half <= standing.reset => {}
            Some(standing) if reset < standing.reset + half => {
                self.heard_again(standing, word, reset, sent_at, at);
            }
            _ => self.begin(word, reset, at),
        }
        complaint
    }

    /// One more word of the window that `standing` is about.
    fn heard_again(
        &mut self,
        mut standing: Standing,
        word: &Word,
        mut reset: Timestamp,
        sent_at: Timestamp,
        at: &Moment,
    ) {
        let later = standing.assumed || sent_at > standing.heard_at;
        if later && !standing.assumed && word.remaining > standing.remaining {
            if word.remaining - standing.remaining <= self.limit / 4 {
                self.rolls = true;
                self.standing = None;
                return;
            }
            // It is a new one. Whole seconds do not say so where the other side's clock is a little ahead.
            if at.now + GUARD >= reset {
                reset = reset + self.length;
            }
            self.begin(word, reset, at);
            return;
        }
        standing.own += 1;
        if later && standing.unsaid_at < sent_at {
            standing.unsaid = 0;
        }
        if later || word.remaining < standing.remaining {
            standing.remaining = word.remaining;
            standing.heard_at = at.now;
            standing.assumed = false;
            let used = self.limit.saturating_sub(word.remaining);
            standing.others = used.saturating_sub(standing.own.saturating_add(at.under_way));
        }
        self.standing = Some(standing);
    }

    /// A new window begins with this word.
    fn begin(&mut self, word: &Word, reset: Timestamp, at: &Moment) {
        let own = match self.standing {
            Some(before) => {
                self.remember_others(&before);
                1
            }
            None => self.rolling.used_since(reset - self.length).max(1),
        };
        let used = self.limit.saturating_sub(word.remaining);
        self.standing = Some(Standing {
            remaining: word.remaining,
            reset,
            heard_at: at.now,
            exact: matches!(word.reset, Reset::At(_)),
            assumed: false,
            own,
            unsaid: 0,
            unsaid_at: Timestamp::ZERO,
            others: used.saturating_sub(own.saturating_add(at.under_way)),
        });
    }

    /// Leaves a window that is over.
    fn turn(&mut self, now: Timestamp) {
        let Some(before) = self.standing else { return };
        let over = before.reset + GUARD;
        if now < over {
            return;
        }
        self.remember_others(&before);
        let unheard = before.assumed && !self.configured;
        self.standing = (self.begins_anew && !unheard).then(|| {
            let length_ms = (self.length.as_millis() as u64).max(1);
            let windows = now.since(over).as_millis() as u64 / length_ms + 1;
            let reset = before.reset + Duration::from_millis(windows.saturating_mul(length_ms));
            before.assumed(reset, self.limit, now)
        });
    }

    /// What others took of a window that is over is what they are expected to take of the next one.
    fn remember_others(&mut self, before: &Standing) {
        if before.assumed {
            if before.own > 0 {
                // Nobody speaks of them any more.
                self.others = Others::default();
            }
            return;
        }
        let heard = before.part_over(before.heard_at, self.length);
        self.others.learn(
            before.others,
            heard,
            before.left(),
            self.limit,
            before.exact,
        );
    }

    /// When the window begins anew. Seconds to go are whole ones: of the moments that they allow, the window's next
    /// boundary by the clock is the one, if it is among them. `None`: right behind a boundary it cannot be told which.
    fn reset(&mut self, reset: Reset, sent_at: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let rest = match reset {
            Reset::At(moment) => {
                self.skew.heard(moment, self.length, sent_at, now);
                return Some(self.skew.ours(moment));
            }
            Reset::In(rest) => rest,
        };
        let told = now + rest;
        let length_ms = (self.length.as_millis() as u64).max(1);
        let window = sent_at.as_millis() / length_ms;
        let boundary = Timestamp::from_millis((window + 1) * length_ms);
        let apart = boundary.since(told).max(told.since(boundary));
        if apart > Duration::from_secs(1) + GUARD {
            return Some(told);
        }
        let into = Duration::from_millis(sent_at.as_millis() - window * length_ms);
        (into >= GUARD).then_some(boundary)
    }

    /// Requests of a window that may be ours.
    fn cap(&self, part: f64) -> u32 {
        // A hair more, for parts that have no exact number.
        ((f64::from(self.limit) * part + 1e-6) as u32).clamp(1, self.limit.max(1))
    }

    /// What is left of this window for everybody, and of our part of it.
    fn room(&self, standing: &Standing, at: &Moment) -> (u32, u32) {
        let cap = self.cap(at.part);
        let ours = if cap < self.limit {
            cap.saturating_sub(standing.own)
        } else {
            self.limit
        };
        (
            standing.left().saturating_sub(at.under_way),
            ours.saturating_sub(at.under_way),
        )
    }

    /// What others are expected to take until it begins anew.
    fn for_others(&self, standing: &Standing, now: Timestamp) -> u32 {
        let part = |moment| standing.part_over(moment, self.length);
        let heard = part(standing.heard_at);
        self.others.to_come(standing.others, heard, part(now))
    }

    /// Others are about and little is left: whatever is under way may meet an empty window.
    fn is_scarce(&self, standing: &Standing, at: &Moment) -> bool {
        let others = self.others.are_about() || standing.others > 0;
        let taken = standing.unsaid.saturating_add(at.under_way);
        others && standing.remaining.saturating_sub(taken) <= 2 + self.limit / 50
    }

    /// Whether the other side's word, or what follows from it, decides now.
    pub(super) fn is_told(&self) -> bool {
        self.standing.is_some()
    }

    /// Whether it still goes by what the other side said, or may be expected to say once more.
    pub(super) fn is_still_told(&mut self, now: Timestamp) -> bool {
        self.turn(now);
        self.is_told()
    }

    /// Whether a refusal now can be explained by what is known: others are about, or it was as good as used up.
    pub(super) fn explains_refusal(&mut self, at: &Moment) -> bool {
        self.turn(at.now);
        let Some(standing) = self.standing.filter(|standing| !standing.assumed) else {
            return false;
        };
        let (everybody, ours) = self.room(&standing, at);
        self.others.are_about() || standing.others > 0 || everybody.min(ours) < 1
    }

    /// It was refused without a reason that is known: it does not begin anew when we think so.
    pub(super) fn doubt(&mut self) {
        self.begins_anew = false;
    }

    /// Requests a second in the long run: our part of the limit, or what others are expected to leave of all of it.
    pub(super) fn per_second(&mut self, at: &Moment) -> f64 {
        self.turn(at.now);
        let theirs = self.standing.map_or(0, |standing| standing.others);
        let left = self
            .limit
            .saturating_sub(self.others.expected().max(theirs));
        f64::from(self.cap(at.part).min(left.max(1))) / self.length.as_secs_f64()
    }

    /// How much of it is used, 0–1: by everybody where that is told, else by us of what is ours.
    pub(super) fn used_ratio(&mut self, at: &Moment) -> f64 {
        self.turn(at.now);
        let (used, of) = if let Some(standing) = &self.standing {
            let used = self.limit.saturating_sub(standing.remaining);
            (used.saturating_add(standing.unsaid), self.limit)
        } else {
            (self.rolling.used(at.now), self.cap(at.part))
        };
        let used = used.saturating_add(at.under_way);
        (f64::from(used) / f64::from(of.max(1))).min(1.0)
    }

    /// So many requests were made until `moment`, before this process.
    pub(super) fn note_before(&mut self, moment: Timestamp, count: u32) {
        self.rolling.note(moment, count);
    }

    pub(super) fn rolling(&mut self) -> &mut Rolling {
        &mut self.rolling
    }

    /// Its length was guessed, and too short.
    pub(super) fn lengthen(&mut self, length: Duration) {
        self.length = length;
        self.skew = Skew::default();
        self.rolling.lengthen(length);
    }
}
