//! The pace of a replay.

use super::super::begun;
use super::*;
use crate::engine::gate::Hold;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000 + millis)
}

fn lane(kind: LaneKind) -> Lane {
    Lane::new(&"acme".into(), kind)
}

fn view(kind: LaneKind, requests_per_second: Option<f64>, objects_max: usize) -> LaneView {
    LaneView {
        lane: lane(kind),
        held: None,
        stopped_until: None,
        in_flight: 0,
        requests_per_second,
        calls_per_second: Some(0.0),
        budget_used_ratio: 1.0,
        objects_max,
    }
}

fn lanes() -> Vec<LaneView> {
    vec![
        view(LaneKind::UsersExportIds, Some(40.0), 1),
        view(LaneKind::UsersTrack, Some(50.0), 75),
        view(LaneKind::Quikly, None, 1),
    ]
}

fn way() -> Vec<Lane> {
    let kinds = [LaneKind::UsersExportIds, LaneKind::UsersTrack];
    kinds.map(lane).to_vec()
}

fn replay(rate: Option<f64>, budget: Option<f64>) -> Replay {
    Replay {
        began_at: at(0),
        rate,
        budget,
        ..begun()
    }
}

/// How many go in so many seconds, looked at every 50 ms.
fn goes(replay: &Replay, lanes: &[LaneView], way: &[Lane], seconds: u64) -> usize {
    let mut pace = Pace::default();
    let mut count = 0;
    for millis in (0..=seconds * 1000).step_by(50) {
        while pace.take(replay, way, lanes, at(millis)).is_ok() {
            count += 1;
        }
    }
    count
}

#[test]
fn a_replay_goes_at_its_part_of_the_narrowest_budget_on_its_way() {
    let (lanes, way) = (lanes(), way());
    assert_eq!(goes(&replay(None, None), &lanes, &way, 60), 600);
    assert_eq!(goes(&replay(None, Some(0.5)), &lanes, &way, 60), 1200);
    assert_eq!(goes(&replay(None, Some(0.1)), &lanes, &way[1..], 10), 3750);
    assert_eq!(goes(&replay(Some(3.0), None), &lanes, &way, 60), 180);
    assert_eq!(goes(&replay(Some(0.1), None), &lanes, &way, 60), 6);
    let quikly = [lane(LaneKind::Quikly)];
    assert_eq!(goes(&replay(None, None), &lanes, &quikly, 10), 2500);
}

#[test]
fn no_more_than_a_second_of_room_is_saved_up() {
    let mut pace = Pace::default();
    let (lanes, way, replay) = (lanes(), way(), replay(None, None));
    assert!(pace.take(&replay, &way, &lanes, at(0)).is_err());
    let mut go = |now| {
        let take = |_: &usize| pace.take(&replay, &way, &lanes, now).is_ok();
        (0..1000).take_while(take).count()
    };
    assert_eq!(go(at(3_600_000)), 10);
    assert_eq!(go(at(3_600_500)), 5);
}

#[test]
fn a_wait_says_until_when_and_is_worth_waking_for() {
    let mut pace = Pace::default();
    let (lanes, way) = (lanes(), way());
    let waits = |pace: &mut Pace, replay| pace.take(replay, &way, &lanes, at(0));
    let slow = replay(Some(0.5), None);
    assert_eq!(waits(&mut pace, &slow), Err(Wait::Until(at(2000), None)));
    let quick = replay(None, Some(1.0));
    assert_eq!(waits(&mut pace, &quick), Err(Wait::Until(at(100), None)));
}

fn held(reason: HoldReason) -> Vec<LaneView> {
    let mut lanes = lanes();
    lanes[1].held = Some(Hold {
        reason,
        since: at(0),
        until: None,
    });
    lanes
}

#[test]
fn a_held_lane_keeps_it_waiting_and_stops_it_in_the_end_unless_an_operator_holds_it() {
    for (reason, stops) in [
        (HoldReason::Breaker, true),
        (HoldReason::Denied, true),
        (HoldReason::Unconfigured, true),
        (HoldReason::Manual, false),
    ] {
        let (mut pace, way) = (Pace::default(), way());
        let replay = replay(None, None);
        let minutes = HELD_MAX.as_millis() as u64;
        let mut waits = |now, lanes: &[LaneView]| pace.take(&replay, &way, lanes, at(now));
        let text = format!("acme/users_track is held ({})", reason.as_str());
        let waiting = Err(Wait::Until(at(1000), Some(text.clone())));
        assert_eq!(waits(0, &held(reason)), waiting);
        assert!(matches!(
            waits(minutes - 1, &held(reason)),
            Err(Wait::Until(..))
        ));
        // It was worked in between.
        assert!(!matches!(
            waits(minutes - 1, &lanes()),
            Err(Wait::Until(_, Some(_)))
        ));
        assert!(matches!(
            waits(minutes, &held(reason)),
            Err(Wait::Until(..))
        ));
        let end = waits(2 * minutes, &held(reason));
        let too_long = Err(Wait::TooLong(format!("{text}, for 15 minutes")));
        assert_eq!(end == too_long, stops, "{reason:?}: {end:?}");
    }
}

#[test]
fn a_lane_that_was_told_to_wait_keeps_it_waiting_as_long() {
    let mut lanes = lanes();
    lanes[0].stopped_until = Some(at(700));
    let mut pace = Pace::default();
    let text = "acme/users_export_ids was told to wait (429)".to_owned();
    assert_eq!(
        pace.take(&replay(None, None), &way(), &lanes, at(0)),
        Err(Wait::Until(at(700), Some(text)))
    );
    assert!(!matches!(
        pace.take(&replay(None, None), &way(), &lanes, at(701)),
        Err(Wait::Until(_, Some(_)))
    ));
}

#[test]
fn what_may_earn_a_credit_takes_room_at_quikly_too() {
    use crate::model::rules::{CreditRule, OnUnknown};
    let credited = Arc::new(Rules {
        credit: Some(CreditRule {
            event: "joined".into(),
            on_unknown: OnUnknown::Resend,
        }),
        ..Rules::plain("spring", "acme")
    });
    let from = lane(LaneKind::SubscriptionStatusSet);
    let quikly = lane(LaneKind::Quikly);
    let sms = super::way(&from, Some(Flow::Sms), Some(&credited));
    assert_eq!(sms, [from.clone(), quikly]);
    assert_eq!(
        super::way(&from, Some(Flow::Progress), Some(&credited)),
        std::slice::from_ref(&from)
    );
    assert_eq!(super::way(&from, None, None), [from]);
}
