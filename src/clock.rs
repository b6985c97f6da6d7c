//! The only reader of the operating system's clock.
//!
//! Invariants: the wall clock is read once, at the start; from then on time follows the monotonic clock, so a jump of
//! the wall clock makes nothing early while the relay runs. Under a paused tokio clock (tests) time stands until a
//! test moves it. A speed other than 1 lets two minutes and thirty days be lived through.

use std::time::Duration;

use tokio::time::Instant;

use crate::model::time::Timestamp;

/// The time, as everything in the relay is told it. Cheap to clone; all clones agree.
#[derive(Clone, Debug)]
pub struct Clock {
    base: Timestamp,
    start: Instant,
    speed: f64,
}

impl Clock {
    /// The machine's time, `speed` times as fast from now on.
    pub fn system(speed: f64) -> Clock {
        let wall = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Clock::starting_at(Timestamp::ZERO + wall, speed)
    }

    /// The machine's time until `base`, and `speed` times as fast since then: all processes that are told the same agree.
    pub fn sped_up_since(base: Timestamp, speed: f64) -> Clock {
        let wall = Clock::system(1.0).now();
        Clock::starting_at(base + wall.since(base).mul_f64(speed), speed)
    }

    /// A clock that shows `base` now.
    pub fn starting_at(base: Timestamp, speed: f64) -> Clock {
        Clock {
            base,
            start: Instant::now(),
            speed,
        }
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        self.base + self.elapsed()
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

    /// How many times faster than the machine's this clock runs.
    pub fn speed(&self) -> f64 {
        self.speed
    }

    /// Returns at `moment`, never before it; at once when it has passed.
    pub async fn sleep_until(&self, moment: Timestamp) {
        while self.now() < moment {
            let rest = moment.since(self.base).saturating_sub(self.elapsed());
            tokio::time::sleep(rest.div_f64(self.speed).max(Duration::from_micros(100))).await;
        }
    }

    /// Returns when `rest` of this clock's time has passed.
    pub async fn sleep(&self, rest: Duration) {
        tokio::time::sleep(rest.div_f64(self.speed)).await;
    }
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
