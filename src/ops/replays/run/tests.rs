//! When a replay stops itself.

use super::super::begun;
use super::*;

fn replay(stop_at: f64) -> Replay {
    Replay { stop_at, ..begun() }
}

fn counts(delivered: u64, died: u64) -> ReplayCounts {
    ReplayCounts {
        revived: 100_000,
        spawned: 0,
        delivered,
        died,
    }
}

#[test]
fn it_stops_when_more_than_the_share_has_died_and_enough_have_ended_to_say_so() {
    for (stop_at, delivered, died, stops) in [
        (0.2, 0, 0, false),
        (0.2, 0, 19, false),
        (0.2, 0, 20, true),
        (0.2, 16, 4, false),
        (0.2, 15, 5, true),
        (0.2, 10_000, 2_500, false),
        (0.2, 10_000, 2_501, true),
        (1.0, 0, 1_000, false),
    ] {
        let said = fails_again(&mut replay(stop_at), counts(delivered, died));
        assert_eq!(
            said.is_some(),
            stops,
            "{stop_at} {delivered} {died}: {said:?}"
        );
    }
}

#[test]
fn many_that_went_well_do_not_hide_that_it_fails_now() {
    let mut replay = replay(0.2);
    let mut delivered = 0;
    while delivered < 10_000 {
        delivered += 50;
        assert_eq!(fails_again(&mut replay, counts(delivered, 0)), None);
    }
    let stopped =
        (1..=SAMPLE_MAX).find(|died| fails_again(&mut replay, counts(delivered, *died)).is_some());
    assert!(
        stopped.is_some_and(|died| died <= SAMPLE_MAX / 2),
        "{stopped:?}"
    );
}

#[test]
fn what_died_before_it_was_resumed_counts_no_more() {
    let mut replay = replay(0.2);
    replay.judged_from = (100, 400);
    assert_eq!(fails_again(&mut replay, counts(119, 400)), None);
    assert!(fails_again(&mut replay, counts(119, 410)).is_some());
}
