//! Limits, workspaces and bounds that change while the engine works.

use std::time::Duration;

use braze_relay::config::Limit;
use braze_relay::engine::holds::ActivationHoldReason;
use braze_relay::engine::{Desk, Turnover};
use braze_relay::flow::job::Reason;
use braze_relay::model::call::Call;
use braze_relay::model::event::Event;
use braze_relay::model::lane::{Lane, LaneKind};
use braze_relay::model::rules::{OnUnknown, RuleBook};
use braze_relay::model::time::Timestamp;

use super::again::{Way, activation};
use super::campaign::{LONG, Life, event, rules};
use super::invariants;
use super::on_paused_time;
use super::world::{Delays, Weather};

const MINUTE: Duration = Duration::from_mins(1);

fn life() -> Life {
    let delays = Delays {
        latency_min: 20,
        latency: 0,
        appears: 0,
        whole: 0,
    };
    let both = ["acme", "beta"];
    let rules =
        both.map(|workspace| rules(&format!("of-{workspace}"), workspace, OnUnknown::Resend));
    Life::new(9, delays, 0, rules.into())
}

async fn joined(life: &mut Life, scope: &str, first: u64, count: u64) {
    let join = |key| event(key, scope, &format!("p{key}@b.example"));
    life.accept((first..first + count).map(join).collect())
        .await;
}

fn look_ups(workspace: &str) -> Lane {
    Lane::new(&workspace.into(), LaneKind::UsersExportIds)
}

/// Look-ups may go so often in a minute.
fn limited(life: &mut Life, requests: u32) {
    let acme = life.settings.workspaces.get_mut("acme").unwrap();
    let limit = Limit {
        requests,
        window: MINUTE,
    };
    acme.braze
        .limits
        .insert(LaneKind::UsersExportIds, vec![limit]);
}

#[test]
fn limits_that_change_every_second_never_let_more_through_than_the_highest_of_them() {
    on_paused_time(async {
        let mut life = life();
        limited(&mut life, 20);
        joined(&mut life, "of-acme", 0, 300).await;
        let engine = life.start().await;
        for second in 0..300 {
            limited(&mut life, [30, 20, 25][second % 3]);
            engine.follow(&Turnover {
                settings: life.settings.clone(),
                book: life.book.clone(),
                ..Turnover::default()
            });
            life.wait(Duration::from_secs(1)).await;
        }
        let sent = life.world.model().sent[&look_ups("acme")].clone();
        assert!(sent.len() > 60, "{}", sent.len());
        for pair in sent.windows(31) {
            assert!(pair[30].since(pair[0]) >= MINUTE, "{pair:?}");
        }
        life.kill().await;
    });
}

#[test]
fn a_workspace_that_goes_leaves_nothing_behind_and_works_again_when_it_is_back() {
    on_paused_time(async {
        let mut life = life();
        let denied = Weather {
            until: Timestamp::from_millis(u64::MAX),
            denied: 1.0,
            ..Weather::default()
        };
        let lane = look_ups("beta");
        life.world.model().exceptions.insert(lane.clone(), denied);
        joined(&mut life, "of-beta", 0, 30).await;
        joined(&mut life, "of-acme", 30, 30).await;
        let engine = life.start().await;
        life.wait(Duration::from_secs(10)).await;
        assert_eq!(life.counts().events.queued, 30);

        let (settings, book) = (life.settings.clone(), life.book.clone());
        life.settings.workspaces.remove("beta");
        let acme = [rules("of-acme", "acme", OnUnknown::Resend)];
        life.book = RuleBook::new(acme).into();
        life.reload(&engine);
        life.wait(Duration::from_secs(10)).await;
        let dead = life.dead().await;
        assert_eq!(dead.len(), 30);
        let vanished = |reason| reason == Reason::UnknownActivation;
        assert!(dead.iter().all(|letter| vanished(letter.burial.reason)));

        (life.settings, life.book) = (settings, book);
        life.reload(&engine);
        life.world.model().exceptions.clear();
        life.world.released();
        joined(&mut life, "of-beta", 60, 30).await;
        life.replay().await;
        life.wait(Duration::from_mins(2)).await;
        assert_eq!(life.counts().events.done, 90);
        life.kill().await;
        life.run_empty(LONG).await;
        assert_eq!(invariants::check(&life).await, Vec::<String>::new());
    });
}

#[test]
fn a_workspace_that_comes_is_worked_for_and_fewer_requests_at_once_are_kept_to() {
    on_paused_time(async {
        let mut life = life();
        let beta = life.settings.workspaces.remove("beta").unwrap();
        let engine = life.start().await;
        // Its lanes are worked by now.
        life.wait(Duration::from_secs(1)).await;
        life.settings.workspaces.insert("beta".into(), beta);
        let acme = life.settings.workspaces.get_mut("acme").unwrap();
        acme.braze.max_in_flight = 1;
        acme.quikly.as_mut().unwrap().max_in_flight = 1;
        life.reload(&engine);
        joined(&mut life, "of-beta", 0, 30).await;
        life.wait(Duration::from_mins(1)).await;
        assert_eq!(life.counts().events.done, 30);
        life.world.model().in_flight_max = 1;
        joined(&mut life, "of-acme", 30, 30).await;
        life.wait(Duration::from_mins(1)).await;
        assert_eq!(life.counts().events.done, 60);
        assert!(
            engine
                .lanes()
                .iter()
                .any(|view| view.lane == look_ups("beta"))
        );
        life.kill().await;
        assert_eq!(invariants::check(&life).await, Vec::<String>::new());
    });
}

#[test]
fn what_an_operator_holds_stays_held_through_a_reload() {
    on_paused_time(async {
        let mut life = life();
        let engine = life.start().await;
        let lane = look_ups("acme");
        assert!(engine.hold_lane(&lane, None) && engine.hold_activation("of-beta", None));
        life.reload(&engine);
        joined(&mut life, "of-acme", 0, 5).await;
        joined(&mut life, "of-beta", 5, 5).await;
        life.wait(Duration::from_mins(2)).await;
        assert_eq!(life.counts().events.done, 0);
        assert!(engine.release_lane(&lane) && engine.release_activation("of-beta"));
        life.wait(Duration::from_mins(2)).await;
        assert_eq!(life.counts().events.done, 10);
        life.kill().await;
    });
}

#[test]
fn what_waits_for_its_turn_when_its_workspace_is_renamed_ends_in_the_other_and_holds_no_lane() {
    on_paused_time(async {
        let mut life = life();
        limited(&mut life, 20);
        joined(&mut life, "of-acme", 0, 30).await;
        let engine = life.start().await;
        life.wait(Duration::from_secs(30)).await;
        let before = life.world.model().sent[&look_ups("acme")].len();
        assert!((1..30).contains(&before), "{before}");

        let gone = Weather {
            until: Timestamp::from_millis(u64::MAX),
            denied: 1.0,
            ..Weather::default()
        };
        for kind in LaneKind::ALL {
            let lane = Lane::new(&"acme".into(), kind);
            life.world.model().exceptions.insert(lane, gone);
        }
        let mut settings = life.settings.workspaces.remove("acme").unwrap();
        settings.braze.limits.clear();
        life.settings.workspaces.insert("gamma".into(), settings);
        let both = [("of-acme", "gamma"), ("of-beta", "beta")];
        let rules = both.map(|(scope, workspace)| rules(scope, workspace, OnUnknown::Resend));
        life.book = RuleBook::new(rules).into();
        life.reload(&engine);
        life.wait(Duration::from_mins(5)).await;
        assert_eq!(life.counts().events.done, 30);
        assert!(engine.lanes().iter().all(|view| view.held.is_none()));
        let after = life.world.model().sent[&look_ups("acme")].len();
        assert_eq!(after, before, "asked of who is gone");
        life.kill().await;
    });
}

#[test]
fn what_waits_for_its_turn_when_its_group_is_corrected_is_never_sent_with_the_old_one() {
    on_paused_time(async {
        let of_group = |group: &str| {
            let mut rules = activation(Way::Sms);
            rules.phone.as_mut().unwrap().group = group.into();
            rules
        };
        let mut life = life();
        life.book = RuleBook::new([of_group("old")]).into();
        let acme = life.settings.workspaces.get_mut("acme").unwrap();
        let limit = Limit {
            requests: 2,
            window: MINUTE,
        };
        let sets = LaneKind::SubscriptionStatusSet;
        acme.braze.limits.insert(sets, vec![limit]);
        let join = |key| Event {
            phone: Some(format!("+1555000{key:04}")),
            sms_consent: true,
            ..event(key, "drop", &format!("p{key}@b.example"))
        };
        life.accept((0..30).map(join).collect()).await;
        let groups = |life: &Life| -> Vec<String> {
            let model = life.world.model();
            let set = |call: &Call| match call {
                Call::SetStatus(set) => Some(set.group.clone()),
                _ => None,
            };
            model.taken.iter().filter_map(|it| set(&it.call)).collect()
        };
        let engine = life.start().await;
        for _ in 0..600 {
            life.wait(Duration::from_secs(1)).await;
            if !groups(&life).is_empty() {
                break;
            }
        }
        life.world.model().subscribed_from = Some(life.clock.now());
        // Whatever was under way has been answered.
        life.wait(Duration::from_secs(5)).await;
        let before = groups(&life).len();
        assert!((1..10).contains(&before), "{before}");

        life.book = RuleBook::new([of_group("new")]).into();
        engine.follow(&Turnover {
            settings: life.settings.clone(),
            book: life.book.clone(),
            ..Turnover::default()
        });
        life.wait(Duration::from_hours(1)).await;
        let after = groups(&life).split_off(before);
        assert!(after.len() >= 30 - before, "{}", after.len());
        assert!(after.iter().all(|group| group == "new"), "{after:?}");
        life.kill().await;
    });
}

#[test]
fn what_an_operator_holds_stays_held_where_it_has_moved_to() {
    on_paused_time(async {
        let mut life = life();
        let engine = life.start().await;
        assert!(engine.hold_activation("of-beta", None));
        joined(&mut life, "of-beta", 0, 5).await;
        life.wait(Duration::from_mins(1)).await;

        let both = ["of-acme", "of-beta"];
        let rules = both.map(|scope| rules(scope, "acme", OnUnknown::Resend));
        life.book = RuleBook::new(rules).into();
        life.reload(&engine);
        joined(&mut life, "of-beta", 5, 5).await;
        life.wait(Duration::from_mins(2)).await;
        assert_eq!(life.counts().events.done, 0);
        let held = engine.held_activations();
        assert_eq!(held.len(), 1);
        assert_eq!(
            (&*held[0].workspace, held[0].hold.reason),
            ("acme", ActivationHoldReason::Manual)
        );
        assert!(engine.release_activation("of-beta"));
        life.wait(Duration::from_mins(2)).await;
        assert_eq!(life.counts().events.done, 10);
        life.kill().await;
    });
}
