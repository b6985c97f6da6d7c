//! The only reader of the operating system's clock.
//!
//! Invariants: the wall clock is read once, at the start; from then on time follows the monotonic clock, so a jump of
//! the wall clock makes nothing early while the relay runs. Under a paused tokio clock (tests) time stands until a
//! test moves it. A speed other than 1 lets two minutes and thirty days be lived through; processes that are told the
//! same [`ClockBase`] agree to the microsecond, whatever becomes of the wall clock meanwhile.

use std::fmt;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use tokio::time::Instant;

use crate::model::time::{NotATimestamp, Timestamp};

/// The time, as everything in the relay is told it. Cheap to clone; all clones agree.
#[derive(Clone, Debug)]
pub struct Clock {
    base: Timestamp,
    /// What had passed since `base` when this clock was made.
    ahead: Duration,
    start: Instant,
    speed: f64,
}

impl Clock {
    /// The machine's time, `speed` times as fast from now on.
    pub fn system(speed: f64) -> Clock {
        Clock::starting_at(wall(), speed)
    }

    /// The machine's time until `base`, and `speed` times as fast since then: all processes that are told the same agree.
    pub fn sped_up_since(base: ClockBase, speed: f64) -> Clock {
        let (start, uptime) = start();
        Clock {
            base: base.moment,
            ahead: uptime.saturating_sub(base.uptime).mul_f64(speed),
            start,
            speed,
        }
    }

    /// A clock that shows `base` now.
    pub fn starting_at(base: Timestamp, speed: f64) -> Clock {
        Clock {
            base,
            ahead: Duration::ZERO,
            start: Instant::now(),
            speed,
        }
    }

    /// This clock, put ahead if it is behind `moment`; and by how much it was behind.
    pub fn not_before(self, moment: Timestamp) -> (Clock, Duration) {
        let behind = moment.since(self.now());
        let base = self.base + behind;
        (Clock { base, ..self }, behind)
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        self.base + self.since_base()
    }

    /// Time since this clock was made, with the speed applied, to the nanosecond.
    pub fn elapsed(&self) -> Duration {
        let real = self.start.elapsed();
        if (self.speed - 1.0).abs() < f64::EPSILON {
            real
        } else {
            real.mul_f64(self.speed)
        }
    }

    fn since_base(&self) -> Duration {
        self.ahead + self.elapsed()
    }

    /// How many times faster than the machine's this clock runs.
    pub fn speed(&self) -> f64 {
        self.speed
    }

    /// Returns at `moment`, never before it; at once when it has passed.
    pub async fn sleep_until(&self, moment: Timestamp) {
        while self.now() < moment {
            let rest = moment.since(self.base).saturating_sub(self.since_base());
            tokio::time::sleep(rest.div_f64(self.speed).max(Duration::from_micros(100))).await;
        }
    }

    /// Returns when `rest` of this clock's time has passed.
    pub async fn sleep(&self, rest: Duration) {
        tokio::time::sleep(rest.div_f64(self.speed)).await;
    }
}

/// Since when time passes faster, in a way all processes of a machine understand alike: the wall clock's moment, and how
/// long the machine had been up then. Written `2026-11-27T09:30:00.000Z@5231.123456789`; the moment alone will do, but then
/// each process asks the wall clock, and whatever sets that clock right moves them apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClockBase {
    moment: Timestamp,
    uptime: Duration,
}

impl ClockBase {
    /// From this moment on.
    pub fn now() -> ClockBase {
        ClockBase {
            moment: wall(),
            uptime: uptime(),
        }
    }

    /// Reads what `Display` writes.
    ///
    /// # Errors
    /// When the moment is not in RFC 3339, or seconds do not follow the `@`.
    pub fn parse(text: &str) -> Result<ClockBase, NotATimestamp> {
        let (moment, since_boot) = match text.split_once('@') {
            Some((moment, seconds)) => (moment, Some(seconds)),
            None => (text, None),
        };
        let moment = Timestamp::parse_rfc3339(moment)?;
        let uptime = match since_boot {
            Some(seconds) => seconds
                .parse()
                .ok()
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
                .ok_or(NotATimestamp)?,
            None => uptime().saturating_sub(wall().since(moment)),
        };
        Ok(ClockBase { moment, uptime })
    }
}

impl fmt::Display for ClockBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (moment, uptime) = (self.moment.to_rfc3339(), self.uptime);
        write!(
            f,
            "{moment}@{}.{:09}",
            uptime.as_secs(),
            uptime.subsec_nanos()
        )
    }
}

/// What the wall clock shows.
fn wall() -> Timestamp {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp::ZERO + since_epoch.unwrap_or(Duration::ZERO)
}

/// How long the machine has been up, on the clock that [`Instant`] reads.
fn uptime() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or(Duration::ZERO)
}

/// Now, on both clocks: the narrowest of some readings.
fn start() -> (Instant, Duration) {
    let readings = std::iter::repeat_with(|| {
        let before = uptime();
        (Instant::now(), before, uptime().saturating_sub(before))
    });
    let narrowest = readings.take(10).min_by_key(|&(_, _, width)| width);
    let (start, before, width) = narrowest.unwrap_or((Instant::now(), uptime(), Duration::ZERO));
    (start, before + width / 2)
}

/// Measures how long something of this process takes, in real time whatever the clock's speed.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    /// Running from now on.
    pub fn start() -> Stopwatch {
        Stopwatch(std::time::Instant::now())
    }

    /// Since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_behind_goes_on_from_where_it_was_and_one_that_is_not_is_left_alone() {
        let moment = Timestamp::from_millis;
        let clock = Clock::starting_at(moment(5_000), 1.0);
        let (same, behind) = clock.clone().not_before(moment(4_000));
        assert_eq!((same.now(), behind), (moment(5_000), Duration::ZERO));
        let (ahead, behind) = clock.not_before(moment(8_600));
        assert_eq!(
            (ahead.now(), behind),
            (moment(8_600), Duration::from_millis(3_600))
        );
        ahead.sleep(Duration::from_millis(7)).await;
        assert_eq!(ahead.now(), moment(8_607));
    }

    #[test]
    fn a_base_is_read_as_it_is_written() {
        let base = ClockBase {
            moment: Timestamp::from_millis(1_795_770_600_123),
            uptime: Duration::new(5231, 123_456_789),
        };
        assert_eq!(base.to_string(), "2026-11-27T09:10:00.123Z@5231.123456789");
        let read = ClockBase::parse(&base.to_string()).unwrap();
        assert_eq!(read.moment, base.moment);
        assert!(read.uptime.abs_diff(base.uptime) < Duration::from_nanos(2));
        for bad in [
            "",
            "5231",
            "2026-11-27T09:10:00Z@",
            "2026-11-27T09:10:00Z@-1",
            "2026-11-27T09:10:00Z@x",
        ] {
            assert!(ClockBase::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn clocks_of_one_base_agree_however_fast() {
        let base = ClockBase::now();
        let speed = 1e6;
        let first = Clock::sped_up_since(base, speed);
        std::hint::black_box((0..100_000).sum::<u64>());
        let second = Clock::sped_up_since(base, speed);
        let (before, between, after) = (first.now(), second.now(), first.now());
        let slack = Duration::from_micros(50).mul_f64(speed);
        assert!(before <= between + slack && between <= after + slack);
    }
}
