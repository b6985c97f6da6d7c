//! How fast a lane gets through its work: by what it has done of late, else by what its budget allows.
//!
//! Invariants: pure. Only time in which there was work without a break counts, and only when there was enough of it: what
//! a lane does that waits for work says nothing about what it could do. What is remembered is bounded.

use std::time::Duration;

use crate::model::time::Timestamp;

/// The present pace is that of so many whole seconds at most.
const SECONDS_MAX: u64 = 30;
/// It is not known before there was work for so many.
const SECONDS_MIN: u64 = 10;
/// Nor before so many requests were answered: what so few do is chance.
const REQUESTS_MIN: u32 = 20;
/// When nothing has left for longer, the lane was closed; it begins anew behind that.
const BREAK: Duration = Duration::from_secs(5);
/// Of how many full requests the usual number of calls is the average.
const FILL_STEPS: f64 = 8.0;

/// What was answered within one second.
#[derive(Clone, Copy, Debug, Default)]
struct Second {
    number: u64,
    requests: u32,
    calls: u64,
}

/// Time in which there was work without a break.
#[derive(Clone, Copy, Debug)]
struct Busy {
    since: Timestamp,
    last_sent: Timestamp,
}

/// What one lane has done of late.
#[derive(Clone, Debug, Default)]
pub struct Tempo {
    busy: Option<Busy>,
    seconds: [Second; SECONDS_MAX as usize + 1],
    /// Calls in a full request.
    fill: Option<f64>,
    /// The last pace that was known.
    before: Option<f64>,
}

impl Tempo {
    /// A request leaves; `full`: more calls were ready than fitted.
    pub fn sent(&mut self, calls: usize, full: bool, now: Timestamp) {
        match &mut self.busy {
            Some(busy) if now.since(busy.last_sent) <= BREAK => busy.last_sent = now,
            busy => {
                *busy = Some(Busy {
                    since: now,
                    last_sent: now,
                });
            }
        }
        if full {
            let calls = calls as f64;
            let fill = self.fill.unwrap_or(calls);
            self.fill = Some(fill + (calls - fill) / FILL_STEPS);
        }
    }

    /// A request was answered, by which so many calls are through with the lane.
    pub fn answered(&mut self, calls: usize, now: Timestamp) {
        let second = self.second(now);
        second.requests = second.requests.saturating_add(1);
        second.calls += calls as u64;
        self.before = self.present(now).or(self.before);
    }

    /// So many calls did not need a request to get through.
    pub fn passed(&mut self, calls: usize, now: Timestamp) {
        self.second(now).calls += calls as u64;
    }

    /// There is nothing to do.
    pub fn idle(&mut self) {
        self.busy = None;
    }

    /// Calls a second that get through at `now`. `None`: the lane has no limits, and has not shown yet what it can do.
    pub fn calls_per_second(
        &self,
        requests_per_second: Option<f64>,
        objects_max: usize,
        now: Timestamp,
    ) -> Option<f64> {
        let fill = self.fill.unwrap_or(objects_max as f64);
        let allowed = requests_per_second.map(|requests| requests * fill);
        self.present(now).or(allowed).or(self.before)
    }

    /// What it does, where that is known.
    fn present(&self, now: Timestamp) -> Option<f64> {
        let busy = self.busy?;
        if now.since(busy.last_sent) > BREAK {
            return None;
        }
        // Whole seconds alone: not the first, in which it began, and not this one.
        let until = number(now);
        let from = (number(busy.since) + 1).max(until.saturating_sub(SECONDS_MAX));
        let count = until.saturating_sub(from);
        let within = self.seconds.iter();
        let within = within.filter(|second| (from..until).contains(&second.number));
        let (requests, calls) = within.fold((0, 0), |(requests, calls), second| {
            (requests + second.requests, calls + second.calls)
        });
        let enough = count >= SECONDS_MIN && requests >= REQUESTS_MIN;
        enough.then(|| calls as f64 / count as f64)
    }

    fn second(&mut self, now: Timestamp) -> &mut Second {
        let number = number(now);
        let place = number % self.seconds.len() as u64;
        let second = &mut self.seconds[place as usize];
        if second.number != number {
            *second = Second {
                number,
                ..Second::default()
            };
        }
        second
    }
}

fn number(moment: Timestamp) -> u64 {
    moment.as_millis() / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Option<f64> = Some(100.0);

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + millis)
    }

    /// For so long, a request of 75 leaves every `every` milliseconds and is answered, with `calls` of them through.
    fn works(tempo: &mut Tempo, from: u64, millis: u64, every: u64, calls: usize) -> u64 {
        for now in (from..from + millis).step_by(every as usize) {
            tempo.sent(75, true, at(now));
            tempo.answered(calls, at(now));
        }
        from + millis
    }

    fn told(tempo: &Tempo, now: u64) -> Option<f64> {
        tempo.calls_per_second(LIMIT, 75, at(now))
    }

    #[test]
    fn the_budget_is_believed_until_there_was_work_for_long_enough_and_then_what_is_done() {
        let mut tempo = Tempo::default();
        assert_eq!(told(&tempo, 0), Some(7500.0));
        let now = works(&mut tempo, 500, 10_000, 100, 75);
        assert_eq!(told(&tempo, now), Some(7500.0), "nine whole seconds");
        let now = works(&mut tempo, now, 1_000, 100, 75);
        assert_eq!(told(&tempo, now), Some(750.0), "ten");
    }

    #[test]
    fn the_pace_is_that_of_the_last_half_minute() {
        let mut tempo = Tempo::default();
        let now = works(&mut tempo, 0, 300_000, 100, 75);
        let now = works(&mut tempo, now, 15_000, 100, 25);
        assert_eq!(told(&tempo, now), Some(500.0));
        let now = works(&mut tempo, now, 15_000, 100, 25);
        assert_eq!(told(&tempo, now), Some(250.0));
    }

    #[test]
    fn a_lane_that_waits_for_work_does_not_show_what_it_could_do() {
        let mut tempo = Tempo::default();
        let mut now = 0;
        for _ in 0..60 {
            now = works(&mut tempo, now, 900, 100, 75) + 100;
            tempo.idle();
        }
        assert_eq!(told(&tempo, now), Some(7500.0));
    }

    #[test]
    fn a_lane_that_was_closed_begins_anew() {
        let mut tempo = Tempo::default();
        let now = works(&mut tempo, 0, 60_000, 100, 75);
        assert_eq!(told(&tempo, now + 4_000), Some(750.0 * 26.0 / 30.0));
        assert_eq!(told(&tempo, now + 6_000), Some(7500.0));
        let now = works(&mut tempo, now + 6_000, 5_000, 100, 75);
        assert_eq!(told(&tempo, now), Some(7500.0));
    }

    #[test]
    fn few_requests_say_nothing_and_requests_that_nothing_came_of_say_it_loudly() {
        let mut tempo = Tempo::default();
        let now = works(&mut tempo, 0, 60_000, 4_000, 75);
        assert_eq!(told(&tempo, now), Some(7500.0));
        let mut tempo = Tempo::default();
        let now = works(&mut tempo, 0, 60_000, 100, 0);
        assert_eq!(told(&tempo, now), Some(0.0));
    }

    #[test]
    fn without_limits_it_is_known_once_it_was_seen_and_stays_known() {
        let mut tempo = Tempo::default();
        let free = |tempo: &Tempo, now| tempo.calls_per_second(None, 75, at(now));
        assert_eq!(free(&tempo, 0), None);
        let now = works(&mut tempo, 0, 20_000, 100, 75);
        assert_eq!(free(&tempo, now), Some(750.0));
        tempo.idle();
        assert_eq!(free(&tempo, now + 1_000_000), Some(750.0));
    }

    #[test]
    fn full_requests_show_how_many_calls_one_carries() {
        let mut tempo = Tempo::default();
        tempo.sent(3, false, at(0));
        assert_eq!(told(&tempo, 0), Some(7500.0), "it was not full");
        tempo.sent(37, true, at(0));
        assert_eq!(told(&tempo, 0), Some(3700.0));
        for _ in 0..100 {
            tempo.sent(75, true, at(0));
        }
        assert!(told(&tempo, 0).is_some_and(|pace| pace > 7490.0));
    }

    #[test]
    fn what_needs_no_request_gets_through_as_well() {
        let mut tempo = Tempo::default();
        let mut now = 0;
        for _ in 0..40 {
            now = works(&mut tempo, now, 1_000, 100, 1);
            tempo.passed(5, at(now - 1));
        }
        assert_eq!(told(&tempo, now), Some(15.0));
    }
}
