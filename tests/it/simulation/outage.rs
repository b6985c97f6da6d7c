//! A host that is down: it is not hammered, nothing is lost, and when it is back nobody storms it and fresh work goes first.
//!
//! `RELAY_FULL=1` has 500,000 retries wait; else there is a tenth.

use std::time::Duration;

use braze_relay::engine::Desk;
use braze_relay::engine::gate::HoldReason;
use braze_relay::model::lane::{Lane, LaneKind};

use super::on_paused_time;
use super::stage::{LIMIT, SECOND, Stage, address};
use crate::support::full;

const HOUR: Duration = Duration::from_hours(1);

#[test]
fn after_an_outage_of_an_hour_nothing_is_lost_nobody_storms_and_fresh_work_goes_first() {
    on_paused_time(async {
        let retries = if full() { 500_000 } else { 50_000 };
        let stage = Stage::new(75).await;
        stage.host.seen().down = true;
        let began = stage.now();
        stage.failed(0..retries, HOUR).await;
        // Who joins meanwhile has not failed, and waits as well.
        let mut next = retries;
        for _ in 0..600 {
            stage.fresh(next..next + 1).await;
            next += 1;
            stage.wait(6 * SECOND).await;
        }
        assert_eq!(stage.held(), Some(HoldReason::Breaker));
        let while_down = stage.sent(began, HOUR);
        let calls: usize = stage.host.seen().sent.iter().map(|it| it.1).sum();
        assert_eq!(stage.counts().await.events.queued, next);

        stage.host.seen().down = false;
        let back = stage.now();
        stage.wait(SECOND / 10).await;
        let late = next;
        stage.fresh(late..late + 1).await;
        let late_from = stage.now();
        while stage.counts().await.events.queued > 0 {
            assert!(stage.now().since(back) < HOUR, "it does not end");
            stage.wait(SECOND).await;
        }
        let all = stage.now().since(back).as_secs();
        let works = stage.first_success();
        let first_second = stage.sent(works, SECOND);
        let most = stage.fullest_second(back);
        let (delivered, twice) = {
            let seen = stage.host.seen();
            let twice = seen.delivered.values().filter(|it| it.1 > 1).count();
            (seen.delivered.len() as u64, twice)
        };
        let lost = late + 1 - delivered;
        let closed = works.since(back);
        let fresh = stage.delivered(late, late_from).unwrap();
        println!(
            "outage: {retries} retries waited; {while_down} requests with {calls} calls in the hour; lost {lost}, \
             twice {twice}; the first success after {closed:?}, {first_second} requests in the second after it, {most} in the \
             fullest, of {LIMIT}; a fresh event accepted just after recovery is done after {fresh:?}; \
             all after {all} s"
        );
        let counts = stage.counts().await.events;
        assert_eq!((counts.done, counts.dead, lost, twice), (late + 1, 0, 0, 0));
        // A probe every four to six seconds, and the requests that opened the breaker.
        assert!((600..=920).contains(&while_down), "{while_down}");
        // Each with one call, but for those before it opened.
        assert!(calls <= while_down + 16 * 75, "{calls}");
        assert!(most <= LIMIT as usize && first_second <= LIMIT as usize);
        assert!(fresh < 8 * SECOND, "{fresh:?}");
        // A quarter and more of every request may be fresh, the rest retries, all of them full.
        let even = retries / u64::from(LIMIT * 75);
        assert!(all <= even + even / 10 + 10, "{all} s");
    });
}

#[test]
fn fresh_work_passes_retries_that_pile_up() {
    for objects_max in [1, 75] {
        on_paused_time(async {
            let stage = Stage::new(objects_max).await;
            let a_second = u64::from(LIMIT) * objects_max as u64;
            let retries = 14 * a_second;
            stage.failed(0..retries, SECOND).await;
            stage.wait(2 * SECOND).await;
            // Not quite as much as three quarters of what the lane takes.
            let share = a_second * 7 / 20;
            for round in 0..20 {
                let first = retries + round * share;
                stage.fresh(first..first + share).await;
                stage.wait(SECOND / 2).await;
                let seen = stage.host.seen();
                let waits = (retries..first).find(|it| !seen.delivered.contains_key(&address(*it)));
                assert_eq!(waits, None, "{objects_max}: after a second");
            }
            // The retries have had their quarter meanwhile.
            let seen = stage.host.seen();
            let late = (0..retries).filter(|it| seen.delivered.contains_key(&address(*it)));
            let late = late.count() as u64;
            assert!(late >= 3 * a_second, "{late} of {retries}");
        });
    }
}

#[test]
fn a_job_that_always_fails_keeps_nobody_waiting_behind_the_breaker() {
    on_paused_time(async {
        let stage = Stage::new(1).await;
        stage.host.seen().poison = Some(address(0));
        stage.host.seen().down = true;
        stage.fresh(0..50).await;
        stage.wait(20 * SECOND).await;
        assert_eq!(stage.held(), Some(HoldReason::Breaker));
        stage.host.seen().down = false;
        stage.wait(60 * SECOND).await;
        assert_eq!(stage.counts().await.events.done, 49);
        // It is alone now, and opens the breaker again.
        stage.wait(HOUR).await;
        assert_eq!(stage.held(), Some(HoldReason::Breaker));
        let from = stage.now();
        stage.fresh(100..110).await;
        stage.wait(8 * SECOND).await;
        assert_eq!(stage.counts().await.events.done, 59);
        assert!(stage.delivered(109, from).is_some());
        assert_eq!(stage.held(), None);
    });
}

#[test]
fn a_hold_by_hand_goes_before_the_breaker_and_a_release_ends_both() {
    on_paused_time(async {
        let stage = Stage::new(1).await;
        let lane = Lane::new(&"acme".into(), LaneKind::UsersTrack);
        stage.host.seen().down = true;
        stage.fresh(0..50).await;
        stage.wait(20 * SECOND).await;
        assert_eq!(stage.held(), Some(HoldReason::Breaker));
        assert!(stage.engine.hold_lane(&lane, None));
        let from = stage.now();
        stage.wait(HOUR).await;
        assert_eq!(
            (stage.held(), stage.sent(from, HOUR)),
            (Some(HoldReason::Manual), 0)
        );
        stage.host.seen().down = false;
        assert!(stage.engine.release_lane(&lane));
        stage.wait(2 * SECOND).await;
        assert_eq!((stage.held(), stage.counts().await.events.done), (None, 50));
    });
}
