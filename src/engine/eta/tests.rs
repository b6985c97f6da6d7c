//! What the ETA is in every situation that counts.

use std::time::Duration;

use super::*;
use crate::engine::gate::{Hold, HoldReason};
use crate::engine::holds::{ActivationHold, ActivationHoldReason};
use crate::flow::job::Flow;
use crate::model::rules::{CreditRule, OnUnknown};

const EXPORT: LaneKind = LaneKind::UsersExportIds;
const TRACK: LaneKind = LaneKind::UsersTrack;
const QUIKLY: LaneKind = LaneKind::Quikly;

fn now() -> Timestamp {
    Timestamp::from_millis(1_000_000)
}

fn view(kind: LaneKind, calls_per_second: Option<f64>) -> LaneView {
    LaneView {
        lane: Lane::new(&"acme".into(), kind),
        held: None,
        stopped_until: None,
        in_flight: 0,
        requests_per_second: None,
        calls_per_second,
        budget_used_ratio: 0.0,
        objects_max: 1,
    }
}

fn held(kind: LaneKind, until: Option<Timestamp>) -> LaneView {
    let hold = Hold {
        reason: HoldReason::Manual,
        since: now(),
        until,
    };
    LaneView {
        held: Some(hold),
        ..view(kind, Some(10.0))
    }
}

/// Two activations whose participations are looked up, written and credited.
fn book() -> RuleBook {
    RuleBook::new(["spring", "autumn"].map(|scope| Rules {
        credit: Some(CreditRule {
            event: "joined".into(),
            on_unknown: OnUnknown::Resend,
        }),
        ..Rules::plain(scope, "acme")
    }))
}

type Due<'a> = &'a [(&'a str, Flow, LaneKind, u64)];

fn told(due: Due, lanes: &[LaneView], held: &[ActivationView]) -> Etas {
    let due = due.iter().map(|(scope, flow, kind, count)| {
        let group = Group {
            workspace: "acme".into(),
            activation: (*scope).into(),
            flow: Some(*flow),
        };
        ((Lane::new(&"acme".into(), *kind), group), *count)
    });
    etas(&due.collect(), lanes, held, &book(), now())
}

fn lane(etas: &Etas, kind: LaneKind) -> Eta {
    etas.lanes[&Lane::new(&"acme".into(), kind)]
}

fn activation(etas: &Etas, scope: &str) -> ActivationEta {
    etas.activations[&("acme".into(), scope.into())]
}

/// That of the activation `spring`, the lanes being as usual: 40, 7500 and 50 calls a second.
fn of_spring(due: Due) -> f64 {
    let lanes = [
        view(EXPORT, Some(40.0)),
        view(TRACK, Some(7500.0)),
        view(QUIKLY, Some(50.0)),
    ];
    activation(&told(due, &lanes, &[]), "spring")
        .eta
        .seconds()
        .unwrap_or(f64::NAN)
}

#[test]
fn a_lane_takes_as_long_as_its_due_calls_take_at_its_pace() {
    let due = [
        ("spring", Flow::Email, EXPORT, 300),
        ("autumn", Flow::Email, EXPORT, 100),
    ];
    let stopped = LaneView {
        stopped_until: Some(now() + Duration::from_secs(7)),
        ..view(EXPORT, Some(40.0))
    };
    let over = LaneView {
        stopped_until: Some(now()),
        ..view(EXPORT, Some(40.0))
    };
    for (view, expected) in [
        (view(EXPORT, Some(40.0)), Eta::In(10.0)),
        (view(EXPORT, None), Eta::Unknown),
        (view(EXPORT, Some(0.0)), Eta::Never),
        (stopped, Eta::In(17.0)),
        (over, Eta::In(10.0)),
        (held(EXPORT, None), Eta::Never),
        (
            held(EXPORT, Some(now() + Duration::from_secs(60))),
            Eta::In(100.0),
        ),
    ] {
        let told_of = format!("{view:?}");
        let etas = told(&due, &[view], &[]);
        assert_eq!(lane(&etas, EXPORT), expected, "{told_of}");
    }
    let etas = told(&due, &[], &[]);
    assert_eq!(
        lane(&etas, EXPORT),
        Eta::Never,
        "nobody works it: the engine does not know it"
    );
}

#[test]
fn where_nothing_is_due_it_takes_no_time_whatever_stands() {
    let lanes = [
        held(EXPORT, None),
        view(TRACK, None),
        view(QUIKLY, Some(0.0)),
        view(LaneKind::Held, None),
    ];
    let etas = told(&[("gone", Flow::Email, TRACK, 0)], &lanes, &[]);
    assert_eq!(etas.lanes.len(), 4);
    assert!(etas.lanes.values().all(|eta| *eta == Eta::In(0.0)));
    let names: Vec<&str> = etas.activations.keys().map(|(_, name)| &**name).collect();
    assert_eq!(names, ["autumn", "spring"]);
    let idle = ActivationEta {
        due: 0,
        eta: Eta::In(0.0),
    };
    assert!(etas.activations.values().all(|row| *row == idle));
}

#[test]
fn an_activation_takes_as_long_as_the_narrowest_lane_on_its_way() {
    for (due, expected) in [
        // The look-ups: whatever is credited meanwhile keeps up with them.
        (&[("spring", Flow::Email, EXPORT, 5000)][..], 125.0),
        // The credits: they begin at once, and take longer.
        (&[("spring", Flow::Email, TRACK, 5000)], 100.0),
        // Credits that stand there already make those that come wait only as long as they last.
        (
            &[
                ("spring", Flow::Email, EXPORT, 5000),
                ("spring", Flow::Credit, QUIKLY, 5000),
            ],
            200.0,
        ),
        (
            &[
                ("spring", Flow::Email, EXPORT, 5000),
                ("spring", Flow::Credit, QUIKLY, 500),
            ],
            125.0,
        ),
        // Progress earns no credit.
        (&[("spring", Flow::Progress, TRACK, 75_000)], 10.0),
    ] {
        let took = of_spring(due);
        assert!((took / expected - 1.0).abs() < 0.03, "{took} for {due:?}");
    }
}

#[test]
fn what_others_wait_for_in_the_same_lane_is_waited_for_as_well_but_not_what_comes_behind() {
    let mine = ("spring", Flow::Credit, QUIKLY, 500);
    let crowd = ("autumn", Flow::Credit, QUIKLY, 4500);
    let took = of_spring(&[mine, crowd]);
    assert!((97.0..103.0).contains(&took), "{took}");
    // 100,000 that are looked up first reach the lane more slowly than it works.
    let upstream = ("autumn", Flow::Email, EXPORT, 100_000);
    let took = of_spring(&[mine, upstream]);
    assert!((10.0..60.0).contains(&took), "{took}");
}

#[test]
fn a_lane_that_stands_holds_up_all_that_has_to_pass_it_and_nobody_else() {
    let due = [
        ("spring", Flow::Email, EXPORT, 400),
        ("autumn", Flow::Progress, EXPORT, 400),
    ];
    let lanes = |quikly| [view(EXPORT, Some(40.0)), view(TRACK, Some(7500.0)), quikly];
    for (quikly, expected) in [
        (held(QUIKLY, None), Eta::Never),
        (view(QUIKLY, Some(0.0)), Eta::Never),
        (view(QUIKLY, None), Eta::Unknown),
    ] {
        let etas = told(&due, &lanes(quikly), &[]);
        assert_eq!(activation(&etas, "spring").eta, expected);
        let others = activation(&etas, "autumn");
        assert!(
            others
                .eta
                .seconds()
                .is_some_and(|took| (19.0..21.0).contains(&took)),
            "{others:?}"
        );
    }
    let later = held(QUIKLY, Some(now() + Duration::from_secs(100)));
    let took = activation(&told(&due, &lanes(later), &[]), "spring").eta;
    assert!(
        took.seconds()
            .is_some_and(|took| (138.0..145.0).contains(&took)),
        "{took:?}"
    );
}

#[test]
fn an_activation_that_is_held_has_no_end_wherever_its_work_is_and_keeps_nobody() {
    let hold = ActivationView {
        workspace: "acme".into(),
        activation: "spring".into(),
        hold: ActivationHold {
            reason: ActivationHoldReason::Manual,
            died_of: None,
            since: now(),
            until: None,
        },
    };
    let lanes = [view(EXPORT, Some(40.0)), view(LaneKind::Held, None)];
    let mine = ("spring", Flow::Email, EXPORT, 4000);
    let aside = ("spring", Flow::Email, LaneKind::Held, 2);
    let theirs = ("autumn", Flow::Progress, EXPORT, 400);
    let etas = told(&[mine, aside, theirs], &lanes, &[hold]);
    let spring = activation(&etas, "spring");
    assert_eq!((spring.due, spring.eta), (4002, Eta::Never));
    assert_eq!(lane(&etas, LaneKind::Held), Eta::Never);
    let autumn = activation(&etas, "autumn").eta;
    assert!(
        autumn
            .seconds()
            .is_some_and(|took| (9.9..10.3).contains(&took)),
        "{autumn:?}"
    );
}

#[test]
fn what_is_configured_no_more_is_told_while_it_has_work_and_what_takes_for_ever_says_so() {
    let due = [("gone", Flow::Email, TRACK, 1000)];
    let etas = told(&due, &[view(TRACK, Some(10.0))], &[]);
    let gone = activation(&etas, "gone");
    assert!(
        gone.eta
            .seconds()
            .is_some_and(|took| (99.0..102.0).contains(&took)),
        "{gone:?}"
    );
    let due = [("spring", Flow::Progress, TRACK, 1000)];
    let etas = told(&due, &[view(TRACK, Some(1e-9))], &[]);
    assert_eq!(activation(&etas, "spring").eta, Eta::Never);
}
