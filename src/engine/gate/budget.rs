//! The budget of a lane: all its windows, which all have to agree, and the factor that a 429 lowers.
//!
//! Invariants: pure. What leaves is under way until it is answered or said not to have left. A 429 that nothing explains
//! lowers the part of every window that we use to [`FACTOR_AFTER_REFUSAL`] of what it was, never below
//! [`FACTOR_MIN`]; each window without one gives [`FACTOR_STEP`] back. Answers of one burst count once: the gate says
//! which are one. What was used stays used when the limits change.
//!
//! Deliberately absent: smoothing without a word from the other side; that is the pace's.

use std::time::Duration;

use super::rolling::Rolling;
use super::window::{Moment, SLACK, Window};
use crate::model::budget::{BudgetUse, Reset, Told, Word};
use crate::model::time::Timestamp;

/// Two refusals halve the pace; three windows later most of it is back.
const FACTOR_AFTER_REFUSAL: f64 = 0.7;
/// Slower it would hardly find out that it may go again.
const FACTOR_MIN: f64 = 0.1;
/// Full pace again six quiet windows after one refusal. Where the limit is truly lower than we know, one request in some
/// hundred is refused, and five sixths of what is allowed are used.
const FACTOR_STEP: f64 = 0.05;
/// A quiet window is the lane's shortest, but neither shorter nor longer than this.
const QUIET_MIN: Duration = Duration::from_secs(1);
const QUIET_MAX: Duration = Duration::from_mins(1);

/// The lengths that Braze's windows have ("API limits" in its documentation).
const LENGTHS: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_mins(1),
    Duration::from_hours(1),
];

/// The longest of them: for so long it is known what was used, whatever windows are configured now.
const HISTORY: Duration = Duration::from_hours(1);

/// More windows than this that we know nothing of are not remembered.
const STRANGERS_MAX: usize = 4;

/// The latency that is reckoned with follows a slower answer at once, a faster one in so many steps.
const LATENCY_STEPS: u32 = 16;

/// All windows of a lane.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Those of the limits first, in their order.
    windows: Vec<Window>,
    history: Rolling,
    share: f64,
    under_way: u32,
    latency: Duration,
    /// The factor, and since when it has been recovering.
    lowered: Option<(f64, Timestamp)>,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget::new([], 1.0)
    }
}

impl Budget {
    /// Nothing used yet. `limits`: requests in so long; `share` (0–1) of each is ours. Without limits everything is
    /// allowed that the other side does not refuse.
    pub fn new(limits: impl IntoIterator<Item = (u32, Duration)>, share: f64) -> Budget {
        let windows = limits.into_iter();
        Budget {
            windows: windows
                .map(|(limit, length)| Window::new(limit, length, true))
                .collect(),
            history: Rolling::new(HISTORY),
            share: share.clamp(0.0, 1.0),
            under_way: 0,
            latency: Duration::ZERO,
            lowered: None,
        }
    }

    /// From now on these limits count, and this share of them. What was used before counts in them, by us and, in a window of
    /// the same length, by others.
    pub fn follow(
        &mut self,
        limits: impl IntoIterator<Item = (u32, Duration)>,
        share: f64,
        now: Timestamp,
    ) {
        self.share = share.clamp(0.0, 1.0);
        let mut before = std::mem::take(&mut self.windows);
        let configured = before.iter_mut().filter(|window| window.configured);
        let mut counted: Vec<(Duration, Rolling)> = configured
            .map(|window| (window.length, window.rolling().clone()))
            .collect();
        counted.sort_by_key(|(length, _)| *length);
        for (limit, length) in limits {
            let long_enough = counted.iter().find(|(counted, _)| *counted >= length);
            let used = long_enough.map_or(&self.history, |(_, used)| used);
            let fits = |it: &Window| it.length == length && (it.configured || it.limit == limit);
            let fitting = before.iter().enumerate().filter(|(_, it)| fits(it));
            let best = fitting.max_by_key(|(_, it)| (it.limit == limit, it.configured));
            let window = match best.map(|(index, _)| index) {
                Some(index) => before.swap_remove(index).with_limit(limit, used, now),
                None => Window::after(limit, length, used, now),
            };
            self.windows.push(window);
        }
        before.retain(|window| !window.configured);
        self.windows.append(&mut before);
        self.drop_strangers(now);
    }

    /// Whether one more request may leave at `now`; else the moment until which none may unless an answer changes that.
    /// `None`: only an answer can.
    pub fn check(&mut self, now: Timestamp) -> Result<(), Option<Timestamp>> {
        self.drop_strangers(now);
        let at = self.moment(now);
        let mut wait = Ok(());
        for window in &mut self.windows {
            wait = match (wait, window.check(&at)) {
                (wait, Ok(())) => wait,
                (Ok(()), late) => late,
                (Err(one), Err(other)) => Err(one.zip(other).map(|(one, other)| one.max(other))),
            };
        }
        wait
    }

    /// A request leaves.
    pub fn sent(&mut self) {
        self.under_way = self.under_way.saturating_add(1);
        for window in &mut self.windows {
            window.sent();
        }
    }

    /// A request did not leave after all.
    pub fn unsent(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// A request that left at `sent_at` was answered, or never will be; with what the answer told. What is wrong with
    /// that, if something is.
    pub fn answered(
        &mut self,
        told: &Told,
        sent_at: Timestamp,
        now: Timestamp,
    ) -> Option<&'static str> {
        self.under_way = self.under_way.saturating_sub(1);
        self.history.note(now, 1);
        self.history.used(now);
        let took = now.since(sent_at);
        let faster = self.latency.saturating_sub(took) / LATENCY_STEPS;
        self.latency = took.max(self.latency.saturating_sub(faster));
        let at = self.moment(now);
        let (word, mut complaint) = match told {
            Told::Nothing => (None, None),
            Told::Word(word) => (Some(word), None),
            Told::Absurd(why) => (None, Some(*why)),
        };
        let about = word.and_then(|word| match self.about(word, now) {
            Ok(index) => Some((index, word)),
            Err(why) => {
                complaint = Some(why);
                None
            }
        });
        for (index, window) in self.windows.iter_mut().enumerate() {
            match about {
                Some((told, word)) if told == index => {
                    complaint = window.heard(word, sent_at, &at).or(complaint);
                }
                _ => window.answered(now),
            }
        }
        self.drop_strangers(now);
        complaint
    }

    /// What the configuration does not know counts as long as the other side tells of it.
    fn drop_strangers(&mut self, now: Timestamp) {
        self.windows
            .retain_mut(|window| window.configured || window.is_still_told(now));
    }

    /// Which window a word is about: the shortest with this limit that it can be about. One that the configuration does
    /// not know counts from now on as well.
    fn about(&mut self, word: &Word, now: Timestamp) -> Result<usize, &'static str> {
        let rest = match word.reset {
            Reset::At(moment) => moment.since(now),
            Reset::In(rest) => rest,
        };
        let same = |window: &Window, configured| {
            window.limit == word.limit && window.configured == configured
        };
        let known = self.windows.iter().enumerate();
        let known = known.filter(|(_, window)| same(window, true));
        let fitting = known
            .clone()
            .filter(|(_, window)| rest <= window.length + SLACK)
            .min_by_key(|(_, window)| window.length);
        let longest = || known.max_by_key(|(_, window)| window.length);
        if let Some((index, _)) = fitting.or_else(longest) {
            return Ok(index);
        }
        let length = LENGTHS
            .into_iter()
            .find(|length| rest <= *length + SLACK)
            .ok_or("a window is said to last longer than any of Braze's")?;
        let stranger = self.windows.iter().position(|window| same(window, false));
        if let Some(index) = stranger {
            if let Some(window) = self.windows.get_mut(index)
                && window.length < length
            {
                window.lengthen(length);
            }
            return Ok(index);
        }
        let strangers = self.windows.iter().filter(|window| !window.configured);
        if strangers.count() >= STRANGERS_MAX {
            return Err("there are more windows than can be");
        }
        self.windows.push(Window::new(word.limit, length, false));
        Ok(self.windows.len() - 1)
    }

    /// A request was refused with a 429, the first of its burst. Returns the factor if that lowered it: not when the
    /// windows explain it, since they keep to what the other side says.
    pub fn refused(&mut self, now: Timestamp) -> Option<f64> {
        let at = self.moment(now);
        let explained = |window: &mut Window| window.explains_refusal(&at);
        if self.windows.iter_mut().any(explained) {
            return None;
        }
        self.windows.iter_mut().for_each(Window::doubt);
        let factor = (self.factor(now) * FACTOR_AFTER_REFUSAL).max(FACTOR_MIN);
        self.lowered = Some((factor, now));
        Some(factor)
    }

    /// The part of our share that is used at `now`.
    pub fn factor(&self, now: Timestamp) -> f64 {
        let Some((factor, since)) = self.lowered else {
            return 1.0;
        };
        let shortest = self.windows.iter().map(|window| window.length).min();
        let quiet = shortest.map_or(QUIET_MIN, |length| length.clamp(QUIET_MIN, QUIET_MAX));
        let windows = (now.since(since).as_secs_f64() / quiet.as_secs_f64()).floor();
        (factor + FACTOR_STEP * windows).min(1.0)
    }

    /// Whether the window of the `index`-th limit goes by what the other side says.
    pub fn is_told(&self, index: usize) -> bool {
        self.windows.get(index).is_some_and(Window::is_told)
    }

    /// How much of the fullest window is used, 0–1: by everybody where that is told, else by us of what is ours.
    pub fn used_ratio(&mut self, now: Timestamp) -> f64 {
        let at = self.moment(now);
        let ratios = self.windows.iter_mut();
        ratios
            .map(|window| window.used_ratio(&at))
            .fold(0.0, f64::max)
    }

    /// Requests a second that it allows in the long run, as things stand; `None` without limits.
    pub fn requests_per_second(&mut self, now: Timestamp) -> Option<f64> {
        let at = self.moment(now);
        let windows = self.windows.iter_mut();
        windows
            .map(|window| window.per_second(&at))
            .reduce(f64::min)
    }

    /// What a process after this one has to know. `last`: nothing leaves any more.
    pub(super) fn remembered(&mut self, now: Timestamp, last: bool) -> BudgetUse {
        let under_way = self.under_way;
        let configured = self.windows.iter_mut().filter(|window| window.configured);
        BudgetUse {
            complete: last && under_way == 0,
            windows: configured
                .map(|window| window.rolling().remembered(now, under_way))
                .collect(),
            stopped_until: None,
        }
    }

    /// Goes on where a process before this one ended. If it did not write down its end, up to `unknown` requests more
    /// were made since. Windows are matched by length: of those remembered the shortest that is long enough, else the
    /// longest.
    pub(super) fn restore(&mut self, before: &BudgetUse, unknown: u32, now: Timestamp) {
        let mut remembered: Vec<_> = before.windows.iter().collect();
        remembered.sort_by_key(|window| window.length_ms);
        for (moment, count) in remembered.last().into_iter().flat_map(|it| &it.requests) {
            self.history.note((*moment).min(now), *count);
        }
        if !before.complete {
            self.history.note(now, unknown);
        }
        for window in &mut self.windows {
            let length_ms = window.length.as_millis() as u64;
            let long_enough = remembered.iter().find(|it| it.length_ms >= length_ms);
            let best = long_enough.or(remembered.last());
            for (moment, count) in best.into_iter().flat_map(|best| &best.requests) {
                // Nothing was made in the future: the clock was set back.
                window.note_before((*moment).min(now), *count);
            }
            if !before.complete {
                window.note_before(now, unknown);
            }
        }
    }

    fn moment(&self, now: Timestamp) -> Moment {
        Moment {
            now,
            under_way: self.under_way,
            latency: self.latency,
            part: self.share * self.factor(now),
        }
    }
}

#[cfg(test)]
mod tests;
