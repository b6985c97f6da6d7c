//! What makes a job that failed older, and what does not: `max_age` runs while the other side is down, not while the lane
//! is held or stopped.

use std::time::Duration;

use braze_relay::engine::Desk;
use braze_relay::flow::job::Reason;
use braze_relay::model::lane::{Lane, LaneKind};
use braze_relay::model::rules::{OnUnknown, RetryPolicy, Rules};

use super::campaign::{LONG, Life, event, rules};
use super::invariants;
use super::on_paused_time;
use super::world::{Delays, Weather};

const RETRY: RetryPolicy = RetryPolicy {
    first: Duration::from_secs(1),
    max: Duration::from_mins(1),
    max_attempts: 0,
    max_age: Duration::from_mins(10),
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Pause {
    Manual,
    Denied,
    Throttled,
    /// Held by hand, and the relay was started again before it was released.
    Restarted,
    /// Not a pause: request after request fails.
    Down,
}

fn is(weather: Weather, life: &Life, lasts: Duration) -> Weather {
    Weather {
        until: life.clock.now() + lasts,
        ..weather
    }
}

/// A job fails once, rests in a lane that is not worked for an hour, and fails for five minutes more.
async fn lives_through(pause: Pause) -> Life {
    let delays = Delays {
        latency_min: 20,
        latency: 0,
        appears: 0,
        whole: 0,
    };
    let rules = Rules {
        retry: RETRY,
        ..rules("drop", "acme", OnUnknown::Resend)
    };
    let mut life = Life::new(11, delays, 3, vec![rules]);
    let lane = Lane::new(&"acme".into(), LaneKind::UsersExportIds);
    let fails = Weather {
        transient: 1.0,
        ..Weather::default()
    };
    let hour = Duration::from_hours(1);
    life.world.model().weather = is(fails, &life, Duration::from_millis(500));
    life.accept(vec![event(1, "drop", "p1@b.example")]).await;
    let mut engine = life.start().await;
    life.wait(Duration::from_millis(600)).await;
    assert_eq!(life.world.model().calls, 1, "it has failed once");
    let weather = match pause {
        Pause::Manual | Pause::Restarted => Weather::default(),
        Pause::Denied => Weather {
            denied: 1.0,
            ..Weather::default()
        },
        Pause::Throttled => Weather {
            throttled: 1.0,
            told: true,
            ..Weather::default()
        },
        Pause::Down => fails,
    };
    if matches!(pause, Pause::Manual | Pause::Restarted) {
        assert!(engine.hold_lane(&lane, None));
    }
    life.world.model().weather = is(weather, &life, hour);
    life.wait(hour).await;
    if pause == Pause::Restarted {
        life.kill().await;
        engine = life.start().await;
    }
    assert!(engine.release_lane(&lane));
    life.world.released();
    life.world.model().weather = is(fails, &life, Duration::from_mins(5));
    life.wait(Duration::from_mins(20)).await;
    life
}

#[test]
fn time_under_a_hold_or_a_stop_does_not_make_a_job_that_failed_older() {
    for pause in [
        Pause::Manual,
        Pause::Denied,
        Pause::Throttled,
        Pause::Restarted,
    ] {
        on_paused_time(async {
            let mut life = lives_through(pause).await;
            assert!(life.dead().await.is_empty(), "{pause:?}");
            assert_eq!(life.counts().events.done, 1, "{pause:?}");
            life.kill().await;
            assert_eq!(invariants::check(&life).await, Vec::<String>::new());
        });
    }
}

#[test]
fn time_under_an_open_breaker_does() {
    on_paused_time(async {
        let mut life = lives_through(Pause::Down).await;
        assert_eq!(life.dead().await[0].burial.reason, Reason::GaveUp);
        life.kill().await;
    });
}

#[test]
fn whoever_goes_on_failing_after_a_pause_is_given_up_in_the_end() {
    on_paused_time(async {
        let delays = Delays {
            latency_min: 20,
            latency: 0,
            appears: 0,
            whole: 0,
        };
        let rules = Rules {
            retry: RETRY,
            ..rules("drop", "acme", OnUnknown::Resend)
        };
        let mut life = Life::new(12, delays, 3, vec![rules]);
        let mixed = Weather {
            transient: 0.5,
            throttled: 0.5,
            told: true,
            ..Weather::default()
        };
        life.world.model().weather = is(mixed, &life, LONG);
        life.accept(vec![event(1, "drop", "p1@b.example")]).await;
        life.run_empty(LONG).await;
        let dead = life.dead().await;
        let age = dead[0].burial.at.since(dead[0].event.accepted_at);
        // As long as may be, and the stops of five seconds between waits of a minute.
        assert!(age >= RETRY.max_age && age < RETRY.max_age * 2, "{age:?}");
    });
}
