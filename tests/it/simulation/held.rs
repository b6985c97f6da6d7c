//! An activation whose every job would die is held instead, and goes on where it was once that is mended.

use std::sync::Arc;
use std::time::Duration;

use braze_relay::engine::Desk;
use braze_relay::engine::holds::ActivationHoldReason;
use braze_relay::flow::job::Reason;
use braze_relay::model::event::Event;
use braze_relay::model::lane::{Lane, LaneKind};
use braze_relay::model::rules::{OnUnknown, RuleBook, Rules};
use braze_relay::model::time::Timestamp;
use braze_relay::store::DeadLetter;

use super::again::{Way, activation};
use super::campaign::{LONG, Life, event, rich, rules};
use super::invariants;
use super::lab::Lab;
use super::on_paused_time;
use super::world::{Delays, Weather};

const EVER: Timestamp = Timestamp::from_millis(u64::MAX);

fn delays() -> Delays {
    Delays {
        latency_min: 20,
        latency: 80,
        appears: 100,
        whole: 0,
    }
}

fn life(seed: u64, rules: Vec<Rules>, hold_after: u32) -> Life {
    let mut life = Life::new(seed, delays(), 3, rules);
    life.settings.hold_after = hold_after;
    life
}

fn joins(scope: &str, first: u64, count: u64) -> Vec<Event> {
    let join = |key| Event {
        phone: Some(format!("+1555000{key:04}")),
        sms_consent: true,
        ..rich(event(key, scope, &format!("p{key}@b.example")))
    };
    (first..first + count).map(join).collect()
}

fn sent(life: &Life, kind: LaneKind) -> usize {
    let lane = Lane::new(&"acme".into(), kind);
    life.world.model().sent.get(&lane).map_or(0, Vec::len)
}

fn refuses_everything() -> Weather {
    Weather {
        rejected: 1.0,
        until: EVER,
        ..Weather::default()
    }
}

#[test]
fn a_group_that_braze_does_not_know_holds_its_activation_and_buries_nobody() {
    on_paused_time(async {
        let wrong = |group: &str| {
            let mut rules = activation(Way::Sms);
            rules.phone.as_mut().unwrap().group = group.into();
            rules
        };
        let other = rules("other", "acme", OnUnknown::Resend);
        let mut life = life(3, vec![wrong("mistyped"), other.clone()], 50);
        life.world.model().unknown_groups.insert("mistyped".into());
        life.accept(joins("drop", 0, 200)).await;
        life.accept(joins("other", 1000, 50)).await;
        let engine = life.start().await;
        life.wait(Duration::from_hours(2)).await;
        assert!(life.dead().await.is_empty());
        assert_eq!(life.counts().events.done, 50, "the others");
        let held = engine.held_activations();
        assert_eq!(held.len(), 1);
        assert_eq!(
            (&*held[0].workspace, &*held[0].activation),
            ("acme", "drop")
        );
        assert_eq!(held[0].hold.reason, ActivationHoldReason::InvalidGroup);
        let sets = sent(&life, LaneKind::SubscriptionStatusSet);
        assert!(
            sets <= 4,
            "{sets} requests: no more than may be under way at once"
        );
        life.kill().await;

        // The configuration is corrected, and the relay started again.
        life.book = Arc::new(RuleBook::new([wrong("g"), other]));
        let now = life.clock.now();
        life.world.model().subscribed_from = Some(now + Duration::from_mins(1));
        life.run_empty(LONG).await;
        assert_eq!(life.counts().events.done, 250);
        assert_eq!(invariants::check(&life).await, Vec::<String>::new());
    });
}

#[test]
fn too_many_burials_in_a_row_hold_the_activation_until_it_is_released() {
    on_paused_time(async {
        let rules = ["drop", "other"].map(|it| rules(it, "acme", OnUnknown::Resend));
        let mut life = life(4, rules.into(), 7);
        let credits = Lane::new(&"acme".into(), LaneKind::Quikly);
        life.world
            .model()
            .exceptions
            .insert(credits, refuses_everything());
        life.accept(joins("drop", 0, 100)).await;
        let engine = life.start().await;
        life.wait(Duration::from_hours(1)).await;
        assert_eq!(life.dead().await.len(), 7);
        let held = engine.held_activations();
        assert_eq!(held[0].hold.died_of, Some(Reason::Rejected));
        let counts = life.counts();
        assert_eq!((counts.events.dead, counts.events.queued), (7, 93));
        let aside = counts.lanes[&Lane::new(&"acme".into(), LaneKind::Held)];
        assert_eq!(aside.depth, 93, "ready, and asked nothing");

        // What comes meanwhile waits, too; who has nothing to do with it does not.
        life.world.model().exceptions.clear();
        life.accept(joins("drop", 500, 20)).await;
        life.accept(joins("other", 1000, 20)).await;
        life.wait(Duration::from_mins(5)).await;
        assert_eq!(life.counts().events.done, 20);
        assert!(engine.release_activation("drop"));
        assert!(!engine.release_activation("nowhere"));
        life.wait(Duration::from_mins(5)).await;
        assert_eq!(life.counts().events.done, 20 + 93 + 20);
        life.kill().await;
        life.replay().await;
        life.run_empty(LONG).await;
        assert_eq!(life.counts().events.done, 140);
        assert_eq!(invariants::check(&life).await, Vec::<String>::new());
    });
}

#[test]
fn nobody_is_forgotten_who_was_set_aside_while_the_hold_ended() {
    for seed in 0..60 {
        on_paused_time(async {
            let rules = ["drop", "other"].map(|it| rules(it, "acme", OnUnknown::Resend));
            // Storing takes longer than some holds last.
            let mut life = Life::new(seed, delays(), 40, rules.into());
            let dice = Lab::new(seed ^ 0x4e1d);
            let engine = life.start().await;
            for round in 0..20 {
                life.accept(joins("drop", 1000 * round, dice.below(8)))
                    .await;
                life.accept(joins("other", 1000 * round + 500, dice.below(4)))
                    .await;
                let scope = ["drop", "drop", "other"][dice.below(3) as usize];
                life.wait(Duration::from_millis(dice.below(300))).await;
                assert!(engine.hold_activation(scope, None));
                life.wait(Duration::from_millis(dice.below(60))).await;
                assert!(engine.release_activation(scope));
            }
            life.wait(Duration::from_mins(10)).await;
            let counts = life.counts();
            assert_eq!(counts.events.queued, 0, "seed {seed}: {counts:#?}");
            life.kill().await;
            assert_eq!(invariants::check(&life).await, Vec::<String>::new());
        });
    }
}

#[test]
fn what_a_restart_finds_set_aside_goes_on() {
    on_paused_time(async {
        let mut life = life(5, vec![rules("drop", "acme", OnUnknown::Resend)], 50);
        let engine = life.start().await;
        assert!(engine.hold_activation("drop", None));
        life.accept(joins("drop", 0, 600)).await;
        life.wait(Duration::from_mins(1)).await;
        assert_eq!(
            (
                sent(&life, LaneKind::UsersExportIds),
                life.counts().events.queued
            ),
            (0, 600)
        );
        life.kill().await;
        life.run_empty(LONG).await;
        assert_eq!(life.counts().events.done, 600);
        assert_eq!(invariants::check(&life).await, Vec::<String>::new());
    });
}

#[test]
fn an_operator_says_until_when_an_activation_is_held_and_then_it_goes_on_by_itself() {
    on_paused_time(async {
        let rules = ["drop", "other"].map(|it| rules(it, "acme", OnUnknown::Resend));
        let mut life = life(6, rules.into(), 50);
        let engine = life.start().await;
        life.wait(Duration::from_secs(1)).await;
        let end = life.clock.now() + Duration::from_mins(10);
        assert!(engine.hold_activation("drop", Some(end)));
        assert!(!engine.hold_activation("nowhere", Some(end)));
        life.accept(joins("drop", 0, 40)).await;
        life.accept(joins("other", 1000, 40)).await;
        life.wait(Duration::from_mins(10) - Duration::from_secs(1))
            .await;
        assert_eq!(life.counts().events.done, 40);
        assert_eq!(engine.held_activations()[0].hold.until, Some(end));
        life.wait(Duration::from_secs(15)).await;
        assert_eq!(life.counts().events.done, 80);
        assert!(engine.held_activations().is_empty());
        life.kill().await;
        assert_eq!(invariants::check(&life).await, Vec::<String>::new());
    });
}

#[test]
fn nothing_is_held_for_an_activation_that_is_gone_and_one_that_was_held_can_be_released() {
    on_paused_time(async {
        let mut life = life(8, vec![rules("drop", "acme", OnUnknown::Resend)], 7);
        let credits = Lane::new(&"acme".into(), LaneKind::Quikly);
        let refuses = refuses_everything();
        life.world.model().exceptions.insert(credits, refuses);
        life.accept(joins("drop", 0, 100)).await;
        let engine = life.start().await;
        life.wait(Duration::from_hours(1)).await;
        assert_eq!(engine.held_activations().len(), 1);
        // What is set aside is buried when it comes back.
        life.book = Arc::new(RuleBook::new([]));
        life.reload(&engine);
        life.wait(Duration::from_mins(1)).await;
        let of = |dead: &[DeadLetter], reason| {
            let dead = dead.iter().filter(|it| it.burial.reason == reason);
            dead.count()
        };
        let dead = life.dead().await;
        assert_eq!(of(&dead, Reason::UnknownActivation), 93);
        assert_eq!(engine.held_activations(), []);

        assert!(!engine.hold_activation("drop", None), "nobody knows it");
        life.kill().await;
    });
}
