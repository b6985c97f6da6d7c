//! One hostile world for each way in which somebody could wait for ever, be told otherwise, or be told twice.

use std::time::Duration;

use braze_relay::flow::job::Reason;
use braze_relay::model::rules::RetryPolicy;
use braze_relay::model::time::Timestamp;

use super::super::campaign::START;
use super::super::on_paused_time;
use super::super::world::{Delays, Weather};
use super::{World, all, checks, live, one};

const EVER: Timestamp = Timestamp::from_millis(u64::MAX);

const CALM: World = World {
    weather: Weather {
        until: EVER,
        transient: 0.0,
        unknown_lost: 0.0,
        unknown_applied: 0.0,
        throttled: 0.0,
        told: false,
        denied: 0.0,
        apart: 0.0,
        rejected: 0.0,
        panics: false,
    },
    delays: Delays {
        latency_min: 20,
        latency: 80,
        appears: 100,
        whole: 0,
    },
    retry: RetryPolicy {
        first: Duration::from_secs(1),
        max: Duration::from_mins(1),
        max_attempts: 0,
        max_age: Duration::from_hours(1),
    },
    crashes: 0,
    place: None,
    jumps: false,
    events: 30,
};

/// Campaigns in each hostile world.
const SEEDS: u64 = 40;

fn in_weather(change: impl Fn(&mut Weather)) {
    let mut world = CALM;
    change(&mut world.weather);
    all(0..SEEDS, |_| world);
}

#[test]
fn in_a_calm_world_everything_ends_as_it_was_promised() {
    let coverage = all(0..SEEDS, |_| CALM);
    let dead = coverage.keys().filter(|it| it.starts_with("reason "));
    assert_eq!(
        dead.collect::<Vec<_>>(),
        ["reason bad_answer (configuration)"]
    );
}

#[test]
fn where_everything_is_always_down_all_end_and_none_before_its_time() {
    for seed in 0..SEEDS {
        on_paused_time(async {
            let mut world = CALM;
            world.weather.transient = 1.0;
            let (life, plan) = live(seed, world).await;
            assert_eq!(checks::check(&life, &plan.leads).await, [""; 0]);
            for letter in life.dead().await {
                if letter.burial.reason == Reason::GaveUp {
                    let since = letter.job.unwrap().failing_since.unwrap();
                    assert!(letter.burial.at.since(since) >= world.retry.max_age);
                }
            }
        });
    }
}

#[test]
fn a_throttle_that_lasts_for_hours_kills_nobody_and_then_all_goes_on() {
    for told in [false, true] {
        let mut world = CALM;
        world.weather.throttled = 1.0;
        world.weather.told = told;
        world.weather.until = START + Duration::from_hours(2);
        world.retry.max_attempts = 2;
        let coverage = all(0..SEEDS / 4, |_| world);
        assert!(!coverage.contains_key("reason gave_up (transient)"));
    }
}

#[test]
fn a_crowd_of_updates_of_few_people_all_arrive_in_order() {
    let mut world = CALM;
    world.events = 400;
    all(0..3, |_| world);
}

#[test]
fn answers_that_are_always_lost_end_and_what_parks_is_never_sent_again() {
    in_weather(|weather| {
        weather.unknown_applied = 0.5;
        weather.unknown_lost = 0.5;
    });
}

#[test]
fn a_world_that_rejects_some_harms_nobody_else() {
    in_weather(|weather| weather.rejected = 0.3);
}

#[test]
fn requests_that_are_refused_whole_are_taken_apart() {
    in_weather(|weather| weather.apart = 0.7);
}

#[test]
fn a_profile_that_appears_late_is_waited_for() {
    let mut world = CALM;
    world.delays.appears = 600_000;
    world.delays.whole = 600_000;
    all(0..SEEDS, |_| world);
}

#[test]
fn a_clock_that_jumps_over_every_restart_loses_and_overtakes_nobody() {
    let mut world = CALM;
    world.jumps = true;
    world.crashes = 5;
    world.weather.transient = 0.2;
    all(0..SEEDS, |_| world);
}

#[test]
fn whoever_dies_between_call_and_commit_again_and_again_repeats_only_what_may_be() {
    for place in ["arrived", "before_commit", "sent", "after_begin"] {
        let mut world = CALM;
        world.crashes = 8;
        world.place = Some(place);
        let coverage = all(0..SEEDS, |_| world);
        let died = format!("crash {place}");
        assert!(coverage.keys().any(|it| it.starts_with(&died)), "{place}");
    }
}

#[test]
fn a_campaign_is_the_same_every_time_it_is_lived() {
    let world = super::storm(7);
    assert_eq!(one(7, world).0, one(7, world).0);
}
