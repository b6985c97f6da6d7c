//! What may be sent when: stops, holds, probes.

use super::*;

const NEW: Denial = Denial::Lane { is_new: true };
const KNOWN: Denial = Denial::Lane { is_new: false };

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

#[test]
fn a_throttle_stops_the_lane_until_the_moment_told_and_no_longer_than_is_believed() {
    let mut gate = Gate::default();
    assert_eq!(gate.opening(at(9)), Opening::Open);
    assert_eq!(gate.throttled(at(9), at(10), Some(at(15)), 0.9), at(15));
    assert_eq!(gate.opening(at(14)), Opening::Closed(Some(at(15))));
    assert_eq!(gate.opening(at(15)), Opening::Open);
    let capped = gate.throttled(at(15), at(20), Some(at(1_000_000)), 0.0);
    assert_eq!(capped, at(20) + STOP_TOLD_MAX);
}

#[test]
fn without_a_word_the_stops_grow_from_one_second_to_sixty_and_a_success_resets_them() {
    let mut gate = Gate::default();
    let mut now = at(100);
    for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
        let until = gate.throttled(now, now, None, 0.0);
        assert_eq!(until, now + Duration::from_secs(expected));
        now = until;
    }
    assert!(gate.throttled(now, now, None, 1.0) <= now + STOP_UNTOLD_MAX);
    now = now + STOP_UNTOLD_MAX;
    gate.succeeded(now, now);
    assert_eq!(gate.throttled(now, now, None, 0.0), now + STOP_UNTOLD_FIRST);
}

#[test]
fn a_stop_is_kept_by_the_process_after_this_one_and_not_believed_for_longer_than_ever() {
    let mut gate = Gate::default();
    gate.throttled(at(9), at(10), Some(at(2000)), 0.0);
    let used = gate.remembered(at(20), true);
    let after = |now| {
        let mut gate = Gate::new(Budget::default(), Some(now));
        gate.restore(&used, 0, now);
        gate
    };
    assert_eq!(
        after(at(1000)).opening(at(1999)),
        Opening::Closed(Some(at(2000)))
    );
    assert_eq!(after(at(1000)).opening(at(2000)), Opening::Open);
    assert_eq!(after(at(1000)).paused(at(1000), at(1500)).as_secs(), 500);
    assert_eq!(after(at(3000)).opening(at(3000)), Opening::Open);
    let set_back = Timestamp::ZERO + STOP_TOLD_MAX;
    let mut long = used.clone();
    long.stopped_until = Some(set_back + STOP_TOLD_MAX);
    let mut gate = Gate::default();
    gate.restore(&long, 0, Timestamp::ZERO);
    assert_eq!(
        gate.opening(Timestamp::ZERO),
        Opening::Closed(Some(set_back))
    );
}

#[test]
fn throttles_of_requests_that_were_under_way_together_count_once() {
    let mut gate = Gate::default();
    gate.throttled(at(10), at(11), None, 0.0);
    let factor = gate.budget.factor(at(11));
    assert!(factor < 1.0, "nothing explains it");
    for _ in 0..60 {
        assert_eq!(gate.throttled(at(10), at(11), None, 0.0), at(12));
    }
    assert!(gate.budget.factor(at(11)) >= factor);
    gate.succeeded(at(10), at(12));
    assert_eq!(gate.throttled(at(12), at(12), None, 0.0), at(14));
}

#[test]
fn a_denied_lane_lets_one_probe_through_a_minute_until_one_succeeds() {
    let mut gate = Gate::default();
    assert_eq!(gate.denied(at(9), at(10), true), NEW);
    assert_eq!(gate.denied(at(9), at(10), true), KNOWN);
    assert_eq!(gate.opening(at(69)), Opening::Closed(Some(at(70))));
    assert_eq!(gate.opening(at(70)), Opening::Probe);
    gate.probing(at(70));
    assert_eq!(gate.opening(at(71)), Opening::Closed(Some(at(130))));
    assert!(
        gate.succeeded(at(10), at(70)).is_none(),
        "may have been sent before it was denied"
    );
    assert_eq!(
        gate.succeeded(at(70), at(71)).map(|it| it.since),
        Some(at(10))
    );
    assert_eq!(gate.opening(at(71)), Opening::Open);
}

#[test]
fn a_manual_hold_ends_at_its_end_or_by_release_and_by_nothing_else() {
    let mut gate = Gate::default();
    gate.hold(HoldReason::Manual, at(10), Some(at(20)));
    gate.denied(at(10), at(11), true);
    gate.succeeded(at(12), at(12));
    assert_eq!(gate.opening(at(13)), Opening::Closed(Some(at(20))));
    assert_eq!(gate.opening(at(20)), Opening::Open);
    gate.hold(HoldReason::Manual, at(30), None);
    assert_eq!(gate.opening(at(31)), Opening::Closed(None));
    gate.throttled(at(31), at(31), Some(at(40)), 0.0);
    gate.release(at(32));
    assert_eq!(gate.opening(at(32)), Opening::Closed(Some(at(40))));
}

fn reason(gate: &Gate, now: Timestamp) -> Option<HoldReason> {
    gate.held(now).map(|hold| hold.reason)
}

#[test]
fn a_hold_of_an_operator_and_a_denial_go_before_the_breaker() {
    let mut gate = Gate::default();
    for _ in 0..5 {
        gate.failed(at(10), at(10), 0.0);
    }
    assert_eq!(reason(&gate, at(10)), Some(HoldReason::Breaker));
    assert_eq!(gate.opening(at(11)), Opening::Probe);
    gate.hold(HoldReason::Manual, at(11), Some(at(20)));
    assert_eq!(gate.opening(at(12)), Opening::Closed(Some(at(20))));
    assert_eq!(reason(&gate, at(12)), Some(HoldReason::Manual));
    assert_eq!(gate.opening(at(20)), Opening::Probe);
    gate.probing(at(20));
    let denied = gate.denied(at(20), at(21), true);
    assert_eq!(denied, NEW, "the breaker is no denial");
    assert_eq!(gate.opening(at(30)), Opening::Closed(Some(at(81))));
    gate.probing(at(81));
    let ended = gate.succeeded(at(81), at(82)).map(|hold| hold.reason);
    assert_eq!(ended, Some(HoldReason::Denied));
    assert_eq!(gate.opening(at(82)), Opening::Open);
    for _ in 0..5 {
        gate.failed(at(90), at(90), 0.0);
    }
    gate.throttled(at(90), at(90), Some(at(99)), 0.0);
    assert_eq!(gate.opening(at(92)), Opening::Closed(Some(at(99))));
    gate.release(at(92));
    assert_eq!(gate.opening(at(99)), Opening::Open);
}

#[test]
fn a_probe_that_is_throttled_or_denied_is_followed_by_another() {
    let mut gate = Gate::default();
    for _ in 0..5 {
        gate.failed(at(10), at(10), 0.0);
    }
    gate.probing(at(11));
    gate.throttled(at(11), at(12), Some(at(20)), 0.0);
    assert_eq!(gate.opening(at(19)), Opening::Closed(Some(at(20))));
    assert_eq!(gate.opening(at(20)), Opening::Probe);
    gate.probing(at(20));
    gate.denied(at(20), at(21), true);
    gate.hold(HoldReason::Manual, at(22), Some(at(30)));
    assert_eq!(gate.opening(at(29)), Opening::Closed(Some(at(30))));
    // Behind the operator's hold the lane is denied as before.
    assert_eq!(gate.opening(at(30)), Opening::Closed(Some(at(81))));
    assert_eq!(gate.opening(at(81)), Opening::Probe);
    assert_eq!(reason(&gate, at(81)), Some(HoldReason::Denied));
}

#[test]
fn an_answer_to_what_was_sent_before_a_hold_ended_does_not_begin_it_anew() {
    let mut gate = Gate::default();
    gate.denied(at(9), at(10), true);
    gate.release(at(20));
    assert_eq!(gate.denied(at(19), at(21), true), Denial::Late);
    assert_eq!(gate.opening(at(21)), Opening::Open);
    assert_eq!(gate.denied(at(20), at(22), true), NEW);
    gate.probing(at(82));
    gate.succeeded(at(82), at(83));
    assert_eq!(gate.denied(at(82), at(84), true), Denial::Late);
    assert_eq!(gate.denied(at(83), at(84), true), NEW);
}

#[test]
fn what_is_denied_again_and_again_while_probes_get_through_is_denied_for_what_it_asks() {
    for certain in [false, true] {
        let mut gate = Gate::default();
        assert_eq!(gate.denied(at(0), at(0), certain), NEW);
        for round in 1..=3 {
            let now = at(round * 100);
            gate.probing(now);
            gate.succeeded(now, now);
            let again = gate.denied(now, now, certain);
            let expected = if round == 3 && !certain {
                Denial::Request
            } else {
                NEW
            };
            assert_eq!(again, expected, "{round}");
        }
        // Nothing is concluded where nothing got through, or long after.
        gate.release(at(400));
        assert_eq!(gate.denied(at(400), at(400), certain), NEW);
        gate.succeeded(at(500), at(500));
        assert_eq!(gate.denied(at(561), at(561), certain), NEW);
        gate.succeeded(at(600), at(600));
        assert_eq!(gate.denied(at(4201), at(4201), certain), NEW);
        gate.succeeded(at(4300), at(4300));
        assert_eq!(gate.denied(at(4300), at(4300), certain), NEW);
    }
}

#[test]
fn holds_and_stops_are_pauses_and_an_open_breaker_is_none() {
    let mut gate = Gate::default();
    gate.hold(HoldReason::Manual, at(10), Some(at(20)));
    assert_eq!(gate.paused(at(0), at(15)).as_secs(), 5);
    assert_eq!(gate.paused(at(0), at(30)).as_secs(), 10);
    gate.denied(at(30), at(30), true);
    gate.throttled(at(35), at(35), Some(at(38)), 0.0);
    assert_eq!(gate.paused(at(0), at(40)).as_secs(), 20);
    gate.succeeded(at(45), at(45));
    assert_eq!(gate.paused(at(0), at(50)).as_secs(), 25);
    gate.throttled(at(50), at(50), Some(at(58)), 0.0);
    assert_eq!(gate.paused(at(45), at(55)).as_secs(), 5);
    gate.hold(HoldReason::Manual, at(60), None);
    gate.release(at(70));
    for _ in 0..5 {
        gate.failed(at(80), at(80), 0.0);
    }
    assert_eq!(gate.paused(at(45), at(100)).as_secs(), 8 + 10);
}

#[test]
fn another_key_ends_a_denial_and_nothing_that_an_operator_or_the_other_side_wants() {
    let mut gate = Gate::default();
    gate.denied(at(10), at(10), true);
    gate.hold(HoldReason::Manual, at(11), None);
    gate.throttled(at(12), at(12), Some(at(15)), 0.0);
    assert!(gate.renew(at(13)));
    assert_eq!(
        gate.held(at(13)).map(|hold| hold.reason),
        Some(HoldReason::Manual)
    );
    gate.configured(at(13));
    assert_eq!(
        gate.held(at(13)).map(|hold| hold.reason),
        Some(HoldReason::Manual)
    );
    gate.release(at(14));
    assert_eq!(gate.opening(at(14)), Opening::Closed(Some(at(15))));
    assert_eq!(gate.opening(at(15)), Opening::Open);
}

#[test]
fn nothing_that_was_sent_with_the_key_before_says_anything_of_the_lane() {
    let mut gate = Gate::default();
    for _ in 0..4 {
        gate.failed(at(10), at(11), 0.0);
    }
    assert!(!gate.renew(at(20)), "it was not denied");
    assert_eq!(gate.denied(at(19), at(21), true), Denial::Late);
    gate.failed(at(19), at(21), 0.0);
    assert_eq!(gate.opening(at(21)), Opening::Open);
    assert_eq!(gate.denied(at(21), at(22), true), NEW);
}

#[test]
fn a_lane_that_the_configuration_comes_to_know_is_free() {
    let mut gate = Gate::default();
    gate.hold(HoldReason::Unconfigured, at(1), None);
    gate.configured(at(2));
    assert_eq!(gate.held(at(2)), None);
}
