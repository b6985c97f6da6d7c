//! One hostile world for each bound: randomness alone does not find the bound that is missing.

use std::time::Duration;

use braze_relay::engine::Desk;
use braze_relay::engine::gate::HoldReason;
use braze_relay::flow::job::{Class, Flow, Outcome, Reason};
use braze_relay::model::lane::{Lane, LaneKind};
use braze_relay::model::rules::{OnUnknown, RetryPolicy, Rules};
use braze_relay::model::time::Timestamp;

use super::campaign::{LONG, Life, START, event, rich, rules};
use super::invariants;
use super::lab::Lab;
use super::on_paused_time;
use super::world::{Delays, Person, Weather};

const EVER: Timestamp = Timestamp::from_millis(u64::MAX);

const QUICK: Delays = Delays {
    latency_min: 20,
    latency: 80,
    appears: 100,
    whole: 0,
};

const RETRY: RetryPolicy = RetryPolicy {
    first: Duration::from_secs(1),
    max: Duration::from_mins(1),
    max_attempts: 0,
    max_age: Duration::from_hours(1),
};

fn life(delays: Delays, retry: RetryPolicy, on_unknown: OnUnknown) -> Life {
    let all = [("drop", "acme"), ("other", "beta")];
    let rules = all.map(|(scope, workspace)| Rules {
        retry,
        ..rules(scope, workspace, on_unknown)
    });
    Life::new(7, delays, 3, rules.into())
}

async fn joined(life: &mut Life, scope: &str, count: u64) {
    let first = if scope == "drop" { 0 } else { 10_000 };
    let keys = first..first + count;
    let events = keys.map(|key| rich(event(key, scope, &format!("p{key}@b.example"))));
    life.accept(events.collect()).await;
}

fn weather(weather: Weather) -> Weather {
    Weather {
        until: EVER,
        ..weather
    }
}

fn acme(kind: LaneKind) -> Lane {
    Lane::new(&"acme".into(), kind)
}

fn sent(life: &Life, lane: &Lane) -> usize {
    life.world.model().sent.get(lane).map_or(0, Vec::len)
}

async fn ends_well(life: &Life) {
    assert_eq!(invariants::check(life).await, Vec::<String>::new());
}

async fn all_dead(life: &Life, count: usize, reason: Reason, class: Class) {
    let letters = life.dead().await;
    assert_eq!(letters.len(), count);
    for letter in &letters {
        assert_eq!((letter.burial.reason, letter.burial.class), (reason, class));
    }
}

#[test]
fn a_host_that_is_always_down_is_given_up_after_max_age_and_not_before() {
    on_paused_time(async {
        let mut life = life(QUICK, RETRY, OnUnknown::Resend);
        life.world.model().weather = weather(Weather {
            transient: 1.0,
            ..Weather::default()
        });
        joined(&mut life, "drop", 5).await;
        life.run_empty(LONG).await;
        all_dead(&life, 5, Reason::GaveUp, Class::Transient).await;
        for letter in life.dead().await {
            let job = letter.job.unwrap();
            let age = letter.burial.at.since(job.failing_since.unwrap());
            // Their last dates are one moment, and an open breaker lets one after the other through.
            assert!(age >= RETRY.max_age && age < RETRY.max_age + Duration::from_secs(5 * 7));
            // An hour of waits of one to one and a half minutes, after six shorter ones.
            assert!((40..=68).contains(&job.attempts), "{}", job.attempts);
            assert_eq!(job.history.len(), 12);
        }
        // Nobody asks the store again and again while all wait.
        let (leases, calls) = (life.store.leases(), life.world.model().calls);
        assert!(
            leases <= 3 * calls + 20,
            "{leases} leases for {calls} calls"
        );
        ends_well(&life).await;
    });
}

#[test]
fn max_attempts_gives_up_after_so_many() {
    on_paused_time(async {
        let retry = RetryPolicy {
            max_attempts: 4,
            ..RETRY
        };
        let mut life = life(QUICK, retry, OnUnknown::Resend);
        life.world.model().weather = weather(Weather {
            unknown_lost: 1.0,
            ..Weather::default()
        });
        joined(&mut life, "drop", 5).await;
        life.run_empty(LONG).await;
        all_dead(&life, 5, Reason::GaveUp, Class::Transient).await;
        assert_eq!(sent(&life, &acme(LaneKind::UsersExportIds)), 20);
        ends_well(&life).await;
    });
}

#[test]
fn a_lane_throttled_for_ever_never_dies_and_never_storms() {
    for told in [false, true] {
        on_paused_time(async {
            let retry = RetryPolicy {
                max_attempts: 20,
                max_age: Duration::from_mins(10),
                ..RETRY
            };
            let mut life = life(QUICK, retry, OnUnknown::Park);
            life.world.model().weather = weather(Weather {
                throttled: 1.0,
                told,
                ..Weather::default()
            });
            joined(&mut life, "drop", 20).await;
            life.start().await;
            life.wait(Duration::from_hours(2)).await;
            assert!(life.dead().await.is_empty());
            // At most four requests (those that are under way together) for each stop: 60 s untold, 5 s told.
            let most = if told {
                7200 / 5 * 4
            } else {
                7200 / 40 * 4 + 40
            };
            let sent = sent(&life, &acme(LaneKind::UsersExportIds));
            assert!(sent > 20 && sent < most, "{sent} requests in two hours");
            // The first failure that counts comes after two hours of throttles, and is the first.
            life.world.model().weather = Weather {
                until: life.clock.now() + Duration::from_secs(90),
                transient: 1.0,
                ..Weather::default()
            };
            life.kill().await;
            life.run_empty(LONG).await;
            assert!(life.dead().await.is_empty());
            ends_well(&life).await;
        });
    }
}

#[test]
fn a_lane_denied_for_ever_sends_one_probe_a_minute_until_it_works() {
    on_paused_time(async {
        let retry = RetryPolicy {
            max_attempts: 1,
            max_age: Duration::from_secs(1),
            ..RETRY
        };
        let mut life = life(QUICK, retry, OnUnknown::Park);
        life.world.model().weather = weather(Weather {
            denied: 1.0,
            ..Weather::default()
        });
        joined(&mut life, "drop", 20).await;
        let engine = life.start().await;
        let lane = acme(LaneKind::UsersExportIds);
        life.wait(Duration::from_hours(3)).await;
        let probes = sent(&life, &lane);
        assert!(
            (170..=184).contains(&probes),
            "{probes} requests in three hours"
        );
        assert!(life.dead().await.is_empty());
        let view = engine
            .lanes()
            .into_iter()
            .find(|it| it.lane == lane)
            .unwrap();
        assert_eq!(view.held.map(|it| it.reason), Some(HoldReason::Denied));

        life.world.model().weather = Weather::default();
        life.wait(Duration::from_secs(70)).await;
        assert_eq!(life.counts().events.done, 20);
        assert!(engine.lanes().iter().all(|it| it.held.is_none()));
        life.kill().await;
        ends_well(&life).await;
    });
}

#[test]
fn a_lane_that_was_denied_is_tried_at_once_after_a_restart() {
    on_paused_time(async {
        let mut life = life(QUICK, RETRY, OnUnknown::Park);
        life.world.model().weather = weather(Weather {
            denied: 1.0,
            ..Weather::default()
        });
        joined(&mut life, "drop", 20).await;
        life.start().await;
        life.wait(Duration::from_secs(90)).await;
        life.world.model().weather = Weather::default();
        life.kill().await;
        life.start().await;
        life.wait(Duration::from_secs(6)).await;
        assert_eq!(life.counts().events.done, 20);
        life.kill().await;
        ends_well(&life).await;
    });
}

#[test]
fn an_operator_or_a_reload_releases_a_denied_lane_at_once() {
    for by_reload in [false, true] {
        on_paused_time(async {
            let mut life = life(QUICK, RETRY, OnUnknown::Park);
            // Denied where calls that park are under way: their marks have to go again.
            let lane = acme(LaneKind::UsersTrack);
            let denied = weather(Weather {
                denied: 1.0,
                ..Weather::default()
            });
            life.world.model().exceptions.insert(lane.clone(), denied);
            joined(&mut life, "drop", 20).await;
            let engine = life.start().await;
            life.wait(Duration::from_secs(10)).await;
            assert!(sent(&life, &lane) <= 4);
            life.world.model().exceptions.clear();
            life.world.released();
            if by_reload {
                life.reload(&engine);
            } else {
                assert!(engine.release_lane(&lane));
            }
            life.wait(Duration::from_secs(5)).await;
            assert_eq!(life.counts().events.done, 20);
            life.kill().await;
            ends_well(&life).await;
        });
    }
}

#[test]
fn a_lane_held_by_hand_rests_and_nobody_else_does() {
    on_paused_time(async {
        let mut life = life(QUICK, RETRY, OnUnknown::Resend);
        joined(&mut life, "drop", 5).await;
        joined(&mut life, "other", 5).await;
        let engine = life.start().await;
        let lane = acme(LaneKind::UsersExportIds);
        assert!(engine.hold_lane(&lane, None));
        life.wait(Duration::from_hours(30)).await;
        assert_eq!((sent(&life, &lane), life.counts().events.done), (0, 5));
        assert!(engine.hold_lane(&lane, Some(life.clock.now() + Duration::from_mins(1))));
        life.wait(Duration::from_secs(59)).await;
        assert_eq!(sent(&life, &lane), 0);
        life.wait(Duration::from_secs(10)).await;
        assert_eq!(life.counts().events.done, 10);
        life.kill().await;
        ends_well(&life).await;
    });
}

#[test]
fn a_profile_that_never_becomes_whole_is_given_up() {
    on_paused_time(async {
        let mut life = life(QUICK, RETRY, OnUnknown::Resend);
        let email = "p0@b.example".to_owned();
        life.world.add_known(
            "acme",
            Person {
                email,
                whole_at: EVER,
                ..Person::default()
            },
        );
        joined(&mut life, "drop", 1).await;
        life.run_empty(LONG).await;
        all_dead(&life, 1, Reason::GaveUp, Class::Transient).await;
        let requests = sent(&life, &acme(LaneKind::UsersExportIds));
        assert!(
            (40..=68).contains(&requests),
            "{requests} look-ups in an hour"
        );
        ends_well(&life).await;
    });
}

#[test]
fn what_is_rejected_is_asked_once() {
    on_paused_time(async {
        let mut life = life(QUICK, RETRY, OnUnknown::Resend);
        life.world.model().weather = weather(Weather {
            rejected: 1.0,
            ..Weather::default()
        });
        joined(&mut life, "drop", 30).await;
        life.run_empty(LONG).await;
        all_dead(&life, 30, Reason::Rejected, Class::Rejected).await;
        assert_eq!(life.world.model().calls, 30);
        ends_well(&life).await;
    });
}

#[test]
fn a_profile_that_appears_late_is_not_made_twice() {
    on_paused_time(async {
        let slow = Delays {
            appears: 3_600_000,
            whole: 600_000,
            ..QUICK
        };
        let mut life = life(slow, RETRY, OnUnknown::Park);
        for key in 0..60 {
            life.accept(vec![rich(event(
                key,
                "drop",
                &format!("p{}@b.example", key % 5),
            ))])
            .await;
            life.start().await;
            life.wait(Duration::from_secs(90)).await;
            life.kill().await;
        }
        life.run_empty(LONG).await;
        assert_eq!(life.counts().events.done, 60);
        ends_well(&life).await;
    });
}

#[test]
fn a_call_that_parks_and_was_begun_is_never_sent_after_a_crash() {
    on_paused_time(async {
        let mut life = life(QUICK, RETRY, OnUnknown::Park);
        joined(&mut life, "drop", 3).await;
        life.lab.plan_crash(Some(1), Some("after_begin"));
        life.start().await;
        assert!(life.wait(LONG).await);
        life.kill().await;
        let before = sent(&life, &acme(LaneKind::UsersTrack));
        life.run_empty(LONG).await;
        let dead = life.dead().await;
        assert!(!dead.is_empty() && before == 0);
        for letter in &dead {
            assert_eq!(letter.burial.reason, Reason::UnknownOutcome);
            assert!(letter.job.as_ref().is_some_and(|it| it.begun));
            assert!(
                !life.world.model().people["acme"]
                    .iter()
                    .any(|it| it.email == letter.event.email)
            );
        }
        ends_well(&life).await;
    });
}

#[test]
fn a_credit_under_park_is_not_repeated_whatever_becomes_of_its_answer() {
    on_paused_time(async {
        let mut life = life(QUICK, RETRY, OnUnknown::Park);
        let unknown = weather(Weather {
            unknown_applied: 0.5,
            unknown_lost: 0.5,
            ..Weather::default()
        });
        life.world
            .model()
            .exceptions
            .insert(acme(LaneKind::Quikly), unknown);
        joined(&mut life, "drop", 20).await;
        life.run_empty(LONG).await;
        all_dead(&life, 20, Reason::UnknownOutcome, Class::UnknownOutcome).await;
        assert!(
            life.dead()
                .await
                .iter()
                .all(|it| it.flow == Some(Flow::Credit))
        );
        assert_eq!(sent(&life, &acme(LaneKind::Quikly)), 20);
        ends_well(&life).await;
    });
}

#[test]
fn whoever_joins_again_when_the_event_is_long_forgotten_is_not_credited_twice() {
    on_paused_time(async {
        let mut life = life(QUICK, RETRY, OnUnknown::Resend);
        for week in 0..4 {
            let again =
                (0..5).map(|key| event(100 * week + key, "drop", &format!("p{key}@b.example")));
            life.accept(again.collect()).await;
            life.run_empty(LONG).await;
            life.clock.sleep(Duration::from_hours(192)).await;
        }
        assert_eq!(life.counts().events.done, 20);
        assert_eq!(sent(&life, &acme(LaneKind::Quikly)), 5);
        ends_well(&life).await;
    });
}

#[test]
fn a_host_that_hangs_stalls_no_other_workspace_and_no_other_host() {
    on_paused_time(async {
        let mut life = life(QUICK, RETRY, OnUnknown::Resend);
        joined(&mut life, "drop", 20).await;
        life.run_empty(LONG).await;
        // From now on acme's Braze answers nothing, and each request takes its whole timeout.
        let hangs = Delays {
            latency_min: 0,
            ..QUICK
        };
        life.world.delays_of(
            "acme",
            Delays {
                latency_min: 30_000,
                ..hangs
            },
        );
        for kind in [LaneKind::UsersExportIds, LaneKind::UsersTrack] {
            let dead = weather(Weather {
                transient: 1.0,
                ..Weather::default()
            });
            life.world.model().exceptions.insert(acme(kind), dead);
        }
        let more = (100..160).map(|key| event(key, "drop", &format!("q{key}@b.example")));
        life.accept(more.collect()).await;
        joined(&mut life, "other", 60).await;
        life.start().await;
        life.wait(Duration::from_secs(8)).await;
        let counts = life.counts();
        assert_eq!(counts.events.done, 20 + 60);
        life.wait(Duration::from_hours(1)).await;
        // Four requests at a time until the breaker opens, then one, thirty seconds each and a wait behind it.
        let after = START + Duration::from_mins(1);
        let model = life.world.model();
        let sent = &model.sent[&acme(LaneKind::UsersExportIds)];
        let sent = sent.iter().filter(|it| **it > after).count();
        assert!(sent <= 8 + 3600 / 31, "{sent} requests in an hour");
    });
}

#[test]
fn a_quikly_that_hangs_slows_no_braze() {
    on_paused_time(async {
        let mut life = life(QUICK, RETRY, OnUnknown::Resend);
        let hangs = Delays {
            latency_min: 30_000,
            ..QUICK
        };
        life.world.delays_of("acme/quikly", hangs);
        let dead = weather(Weather {
            unknown_lost: 1.0,
            ..Weather::default()
        });
        let credits = acme(LaneKind::Quikly);
        life.world.model().exceptions.insert(credits.clone(), dead);
        joined(&mut life, "drop", 400).await;
        life.start().await;
        // 400 look-ups at 40 a second, and what comes behind them.
        life.wait(Duration::from_secs(12)).await;
        let created = || {
            let done = life.counts().done;
            let all = done.iter().filter(|it| it.0.1 == Outcome::Created);
            all.map(|it| *it.1).sum::<u64>()
        };
        assert_eq!(created(), 400);
        life.wait(Duration::from_mins(30)).await;
        // Four at once until the breaker opens, then one at a time.
        let sent = sent(&life, &credits);
        assert!(sent <= 8 + 1800 / 31, "{sent} requests");
        life.world.delays_of("acme/quikly", QUICK);
        life.world.model().exceptions.clear();
        life.wait(Duration::from_mins(4)).await;
        assert_eq!(life.counts().events.done, 400);
        life.kill().await;
        ends_well(&life).await;
    });
}

#[test]
fn requests_refused_whole_are_halved_until_everybody_was_alone_and_no_more() {
    on_paused_time(async {
        let mut life = life(QUICK, RETRY, OnUnknown::Park);
        let apart = weather(Weather {
            apart: 1.0,
            ..Weather::default()
        });
        life.world
            .model()
            .exceptions
            .insert(acme(LaneKind::UsersTrack), apart);
        joined(&mut life, "drop", 30).await;
        life.run_empty(LONG).await;
        all_dead(&life, 30, Reason::Rejected, Class::Rejected).await;
        // The look-ups bring them in small groups. Of each at most as many requests again as it has jobs, for the halves.
        let requests = sent(&life, &acme(LaneKind::UsersTrack));
        assert!((31..=75).contains(&requests), "{requests}");
        ends_well(&life).await;
    });
}

#[test]
fn a_crowd_goes_as_fast_as_the_limits_allow_in_full_requests() {
    on_paused_time(async {
        let mut life = life(QUICK, RETRY, OnUnknown::Resend);
        joined(&mut life, "drop", 1200).await;
        let start = life.clock.now();
        life.start().await;
        while life.counts().events.queued > 0 {
            life.wait(Duration::from_millis(100)).await;
        }
        // 1200 look-ups at 40 a second are what it takes; everything else happens meanwhile.
        let took = life.clock.now().since(start);
        assert!(took < Duration::from_secs(33), "{took:?}");
        life.kill().await;
        for (kind, most) in [
            (LaneKind::UsersExportIds, 40),
            (LaneKind::UsersTrack, 100),
            (LaneKind::Quikly, 50),
        ] {
            let model = life.world.model();
            let sent = &model.sent[&acme(kind)];
            for (index, first) in sent.iter().enumerate() {
                let within = sent[index..]
                    .iter()
                    .take_while(|it| it.since(*first) < Duration::from_secs(1));
                assert!(within.count() <= most, "{kind}");
            }
        }
        let created = life
            .counts()
            .done
            .iter()
            .filter(|it| it.0.1 == Outcome::Created)
            .map(|it| *it.1)
            .sum::<u64>();
        assert_eq!(created, 1200);
        ends_well(&life).await;
    });
}

#[test]
fn waiting_tracks_share_requests_up_to_what_one_may_carry() {
    on_paused_time(async {
        let mut life = life(QUICK, RETRY, OnUnknown::Resend);
        let lane = acme(LaneKind::UsersTrack);
        joined(&mut life, "drop", 200).await;
        let engine = life.start().await;
        engine.hold_lane(&lane, None);
        life.wait(Duration::from_secs(30)).await;
        engine.release_lane(&lane);
        life.wait(Duration::from_secs(30)).await;
        assert_eq!(life.counts().events.done, 200);
        // Three objects each: attributes, created_event, the participation's own event.
        assert_eq!(sent(&life, &lane), 200 * 3 / 75);
        life.kill().await;
        ends_well(&life).await;
    });
}

#[test]
fn work_whose_activation_moved_or_vanished_is_moved_or_buried() {
    on_paused_time(async {
        let mut life = life(QUICK, RETRY, OnUnknown::Resend);
        joined(&mut life, "drop", 3).await;
        joined(&mut life, "other", 3).await;
        let moved = rules("drop", "beta", OnUnknown::Resend);
        life.book = std::sync::Arc::new(braze_relay::model::rules::RuleBook::new([moved]));
        life.run_empty(LONG).await;
        all_dead(&life, 3, Reason::UnknownActivation, Class::Configuration).await;
        assert_eq!(life.world.model().people["beta"].len(), 3);
        assert!(!life.world.model().people.contains_key("acme"));
        ends_well(&life).await;
    });
}

#[test]
fn work_of_a_workspace_that_is_not_configured_any_more_is_moved_or_buried_too() {
    on_paused_time(async {
        let mut life = life(QUICK, RETRY, OnUnknown::Resend);
        joined(&mut life, "drop", 3).await;
        joined(&mut life, "other", 3).await;
        life.settings.workspaces.remove("acme");
        let moved = rules("drop", "beta", OnUnknown::Resend);
        let other = rules("other", "beta", OnUnknown::Resend);
        life.book = std::sync::Arc::new(braze_relay::model::rules::RuleBook::new([moved, other]));
        life.run_empty(LONG).await;
        assert_eq!(life.counts().events.done, 6);
        ends_well(&life).await;
    });
}

#[test]
fn dice_are_fair_enough() {
    let lab = Lab::new(1);
    let heads = (0..10_000).filter(|_| lab.chance(0.5)).count();
    assert!((4800..5200).contains(&heads));
}
