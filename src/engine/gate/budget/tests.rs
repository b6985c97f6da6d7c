//! What a budget does with what it is told, step by step; with the pace against a model: see the lane's tests.

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);

/// Milliseconds after a full hour.
fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(1_795_770_000_000 + millis)
}

fn word(limit: u32, remaining: u32, reset: Reset) -> Told {
    Told::Word(Word {
        limit,
        remaining,
        reset,
    })
}

/// One request, sent and answered at once.
fn ask(budget: &mut Budget, told: &Told, millis: u64) -> Option<&'static str> {
    budget.sent();
    budget.answered(told, at(millis), at(millis))
}

/// How many requests may leave at `millis`, when none is answered.
fn room(budget: &Budget, millis: u64) -> u32 {
    let mut budget = budget.clone();
    let mut count = 0;
    while budget.check(at(millis)).is_ok() && count < 10_000 {
        budget.sent();
        count += 1;
    }
    count
}

/// The same, each answered without a word before the next.
fn rest(budget: &Budget, millis: u64) -> u32 {
    let mut budget = budget.clone();
    let mut count = 0;
    while budget.check(at(millis)).is_ok() && count < 10_000 {
        ask(&mut budget, &Told::Nothing, millis);
        count += 1;
    }
    count
}

#[test]
fn every_window_has_to_agree_and_the_last_one_says_when() {
    let mut budget = Budget::new([(3, SECOND), (5, Duration::from_mins(1))], 1.0);
    assert_eq!(room(&budget, 0), 3);
    for _ in 0..3 {
        assert_eq!(ask(&mut budget, &Told::Nothing, 100), None);
    }
    assert_eq!(budget.check(at(200)), Err(Some(at(1101))));
    assert_eq!(room(&budget, 1101), 2);
    ask(&mut budget, &Told::Nothing, 1200);
    ask(&mut budget, &Told::Nothing, 1200);
    assert_eq!(budget.check(at(3000)), Err(Some(at(60_120))));
    assert_eq!(room(&budget, 60_120), 3);
}

#[test]
fn what_is_under_way_holds_its_place_until_it_is_answered_or_did_not_leave() {
    let mut budget = Budget::new([(2, SECOND)], 1.0);
    budget.sent();
    budget.sent();
    assert_eq!(budget.check(at(50_000)), Err(None));
    budget.unsent();
    assert_eq!(room(&budget, 50_000), 1);
    budget.answered(&Told::Nothing, at(0), at(50_000));
    assert_eq!(room(&budget, 50_000), 1);
    assert_eq!(room(&budget, 51_001), 2);
}

#[test]
fn a_share_is_a_part_of_every_window_and_never_less_than_one() {
    for (share, ours) in [(1.0, 40), (0.5, 20), (0.33, 13), (0.29, 11), (0.001, 1)] {
        assert_eq!(
            room(&Budget::new([(40, SECOND)], share), 0),
            ours,
            "{share}"
        );
    }
}

#[test]
fn a_word_counts_before_anything_is_refused() {
    let mut budget = Budget::new([(250_000, HOUR)], 1.0);
    assert!(room(&budget, 1000) > 9000);
    let end = Reset::At(at(3_600_000));
    assert_eq!(ask(&mut budget, &word(250_000, 3, end), 3_599_000), None);
    assert_eq!(rest(&budget, 3_599_999), 3);
    // Others are about: while one is under way nobody knows whether there is room for a second.
    assert_eq!(room(&budget, 3_599_999), 1);
    budget.sent();
    // It was answered without a word: the last word does not include it.
    budget.answered(&Told::Nothing, at(3_599_990), at(3_599_999));
    assert_eq!(rest(&budget, 3_599_999), 2);
    ask(&mut budget, &word(250_000, 0, end), 3_599_999);
    assert_eq!(budget.check(at(3_599_999)), Err(Some(at(3_600_060))));
    assert!(budget.check(at(3_600_060)).is_ok());
}

#[test]
fn a_slow_answer_of_the_window_before_says_nothing_about_this_one() {
    let mut budget = Budget::new([(40, SECOND)], 1.0);
    for left in (0..40).rev() {
        ask(&mut budget, &word(40, left, Reset::At(at(1000))), 500);
    }
    assert_eq!(rest(&budget, 1059), 0);
    // Far more is left than if it rolled: it begins anew.
    ask(&mut budget, &word(40, 39, Reset::At(at(2000))), 1100);
    assert_eq!(rest(&budget, 2059), 39);
    budget.sent();
    assert!(budget.check(at(2060)).is_ok());
    budget.answered(&word(40, 0, Reset::At(at(2000))), at(1990), at(2100));
    assert_eq!(rest(&budget, 2990), 40);
}

/// Somebody takes `theirs` of a window and is never seen again. What we get of the first half of each of the two windows
/// behind it, and of all of it, when every request is answered at once: with a word, or `silent`.
fn behind_a_crowd(limit: u32, length: Duration, theirs: u32, silent: bool) -> [(u32, u32); 2] {
    let length_ms = length.as_millis() as u64;
    let mut budget = Budget::new([(limit, length)], 1.0);
    let word = |window, left| word(limit, left, Reset::At(at((window + 1) * length_ms)));
    for left in (0..limit).rev() {
        ask(&mut budget, &word(0, left), length_ms / 2);
    }
    // It begins anew as a whole.
    ask(&mut budget, &word(1, limit - 1), length_ms * 11 / 10);
    let left = (limit - theirs).saturating_sub(2);
    ask(&mut budget, &word(1, left), length_ms * 3 / 2);
    let told = word(1, left.saturating_sub(1));
    ask(&mut budget, &told, length_ms * 2 - 1);
    let mut now = length_ms * 2 + 60;
    let mut ours = [(0, 0); 2];
    while now < length_ms * 4 {
        match budget.check(at(now)) {
            Ok(()) => {
                let window = now / length_ms;
                let (early, all) = &mut ours[window as usize - 2];
                *all += 1;
                *early += u32::from(now % length_ms < length_ms / 2);
                let word = word(window, limit.saturating_sub(*all));
                ask(
                    &mut budget,
                    if silent { &Told::Nothing } else { &word },
                    now,
                );
            }
            // Only an answer: there is none to come.
            Err(None) => break,
            Err(Some(then)) => now = then.since(at(0)).as_millis() as u64,
        }
    }
    ours
}

#[test]
fn whoever_took_everything_once_does_not_keep_us_out_of_the_windows_behind() {
    for (limit, length) in [(40, SECOND), (5000, Duration::from_mins(1)), (5000, HOUR)] {
        for theirs in [limit / 2, limit - 1, limit] {
            for silent in [false, true] {
                let [first, second] = behind_a_crowd(limit, length, theirs, silent);
                let story =
                    format!("{limit} in {length:?} after {theirs}, {silent}: {first:?} {second:?}");
                assert!(f64::from(first.1) >= 0.85 * f64::from(limit), "{story}");
                assert!(silent || first.0 >= limit / 20, "{story}");
                assert!(second.0 >= limit * 2 / 5, "{story}");
                assert!(f64::from(second.1) >= 0.95 * f64::from(limit), "{story}");
            }
        }
    }
}

#[test]
fn a_limit_that_the_configuration_does_not_know_counts_as_well_while_it_is_told() {
    let mut budget = Budget::new([(40, SECOND)], 1.0);
    let told = word(250, 2, Reset::In(Duration::from_secs(30)));
    assert_eq!(ask(&mut budget, &told, 30_000), None);
    assert_eq!(rest(&budget, 59_990), 2);
    // Braze grants more now, and speaks of it alone.
    let told = word(2500, 2499, Reset::At(at(180_000)));
    ask(&mut budget, &told, 150_000);
    assert_eq!(
        budget.windows.len(),
        2,
        "the one that nobody speaks of any more is gone"
    );
    assert_eq!(rest(&budget, 179_990), 40);
}

#[test]
fn two_windows_that_are_told_in_turn_are_kept_apart() {
    let mut budget = Budget::new([(100, SECOND), (1000, HOUR)], 1.0);
    let second = Reset::At(at(1000));
    ask(&mut budget, &word(100, 99, second), 10);
    ask(&mut budget, &word(1000, 5, Reset::At(at(3_600_000))), 20);
    ask(&mut budget, &word(100, 97, second), 30);
    // Of the hour 5 were left before the last one.
    assert_eq!(rest(&budget, 990), 4);
}

#[test]
fn what_cannot_be_is_complained_about_and_never_stops_the_lane_for_long() {
    let mut budget = Budget::new([(40, SECOND)], 1.0);
    let told = word(40, 0, Reset::At(at(86_400_000)));
    assert!(ask(&mut budget, &told, 0).is_some());
    assert_eq!(
        budget.check(at(10)),
        Err(Some(at(1062))),
        "a window's length is believed"
    );
    let told = word(40, 0, Reset::At(Timestamp::from_millis(7000)));
    assert!(ask(&mut budget, &told, 3000).is_some());
    assert!(budget.check(at(3062)).is_ok(), "it ended long ago");
    let told = word(77, 0, Reset::In(Duration::from_secs(86_400)));
    assert!(ask(&mut budget, &told, 6000).is_some());
    assert!(budget.check(at(6001)).is_ok(), "no window lasts a day");
    assert!(
        ask(
            &mut budget,
            &Told::Absurd("less than nothing is left"),
            9000
        )
        .is_some()
    );
    assert!(budget.check(at(9001)).is_ok());
    for limit in 100..200 {
        ask(
            &mut budget,
            &word(limit, limit, Reset::At(at(60_000))),
            20_000,
        );
    }
    assert!(budget.windows.len() <= 1 + STRANGERS_MAX);
}

#[test]
fn a_refusal_that_nothing_explains_lowers_the_factor_and_quiet_windows_give_it_back() {
    let mut budget = Budget::new([(100, SECOND), (250_000, HOUR)], 1.0);
    let factors = [0, 1, 2, 3, 4, 5, 6, 7, 8].map(|now| {
        let factor = budget.refused(at(now));
        factor.map(|factor| (factor * 1000.0) as u32)
    });
    let expected = [700, 489, 342, 240, 168, 117, 100, 100, 100];
    assert_eq!(factors, expected.map(Some));
    assert_eq!(room(&budget, 1000), 10);
    assert_eq!(
        room(&budget, 1010),
        15,
        "a quiet window gives a twentieth back"
    );
    assert_eq!(room(&budget, 10_010), 60);
    assert_eq!(room(&budget, 18_010), 100);
}

#[test]
fn a_refusal_of_an_empty_window_or_beside_another_consumer_lowers_nothing() {
    let mut budget = Budget::new([(100, SECOND)], 1.0);
    let end = Reset::At(at(1000));
    ask(&mut budget, &word(100, 50, end), 500);
    assert_eq!(budget.refused(at(501)), None, "49 were others'");
    let mut budget = Budget::new([(100, SECOND)], 1.0);
    ask(&mut budget, &word(100, 99, end), 10);
    assert!(
        budget.refused(at(20)).is_some(),
        "99 were left, and it was refused"
    );
}

#[test]
fn a_window_goes_on_after_a_restart_and_what_nobody_wrote_down_is_added() {
    let limits = [
        (100, SECOND),
        (5000, Duration::from_mins(1)),
        (250_000, HOUR),
    ];
    let mut before = Budget::new(limits, 1.0);
    for millis in 0..4000 {
        if millis % 2 == 0 {
            ask(&mut before, &Told::Nothing, millis * 10);
        }
    }
    let now = at(40_000);
    let complete = before.remembered(now, true);
    assert!(complete.complete);
    assert!(!before.remembered(now, false).complete, "more may leave");
    before.sent();
    let cut_off = before.remembered(now, true);
    assert!(!cut_off.complete, "one was given up");
    let restored = |before: &BudgetUse, limit| {
        let mut budget = Budget::new([limit], 1.0);
        budget.restore(before, 64, now);
        budget
    };
    let minute = (5000, Duration::from_mins(1));
    assert_eq!(room(&restored(&complete, minute), 40_000), 3000);
    assert_eq!(room(&restored(&cut_off, minute), 40_000), 3000 - 1 - 64);
    assert_eq!(room(&restored(&complete, minute), 106_000), 5000);
    // The configuration has changed meanwhile: the window that is long enough counts, or else the longest.
    assert_eq!(
        room(
            &restored(&complete, (4000, Duration::from_secs(50))),
            40_000
        ),
        2000
    );
    let day = Duration::from_hours(24);
    assert_eq!(room(&restored(&complete, (2100, day)), 40_000), 100);
    // Whoever was there before never came to write it down.
    let nothing = BudgetUse::default();
    assert_eq!(room(&restored(&nothing, minute), 40_000), 5000 - 64);
}

#[test]
fn how_much_is_used_is_told_by_the_fullest_window() {
    let mut budget = Budget::new([(40, SECOND), (250_000, HOUR)], 0.5);
    assert!(budget.used_ratio(at(0)) < 1e-9);
    for _ in 0..5 {
        ask(&mut budget, &Told::Nothing, 10);
    }
    assert!((budget.used_ratio(at(10)) - 0.25).abs() < 1e-9);
    let told = word(250_000, 25_000, Reset::At(at(3_600_000)));
    ask(&mut budget, &told, 20);
    assert!((budget.used_ratio(at(5000)) - 0.9).abs() < 1e-9);
}

#[test]
fn a_window_of_which_nobody_speaks_any_more_does_not_count() {
    let mut budget = Budget::default();
    let told = word(2, 1, Reset::In(Duration::from_secs(3500)));
    ask(&mut budget, &told, 100_000);
    let silent = Told::Nothing;
    ask(&mut budget, &silent, 101_000);
    assert!(budget.check(at(102_000)).is_err(), "two in an hour");
    // Its hour is over, and so is one more in which nobody has said a word.
    let late = 3 * 3_600_000;
    for millis in late..late + 10 {
        assert_eq!(budget.check(at(millis)), Ok(()));
        ask(&mut budget, &silent, millis);
    }
}

#[test]
fn the_long_run_is_that_of_the_narrowest_window_less_what_is_not_ours() {
    assert_eq!(Budget::default().requests_per_second(at(0)), None);
    let windows = [(100, SECOND), (3000, Duration::from_mins(1))];
    let mut budget = Budget::new(windows, 1.0);
    assert_eq!(budget.requests_per_second(at(0)), Some(50.0));
    assert_eq!(
        Budget::new(windows, 0.5).requests_per_second(at(0)),
        Some(25.0)
    );
    budget.refused(at(0));
    assert_eq!(budget.requests_per_second(at(0)), Some(35.0));
    // Others take 30 of the 100 while we take 10, and are expected to take as many again.
    let mut budget = Budget::new([(100, SECOND)], 1.0);
    let told = |left, end| word(100, left, Reset::At(at(end)));
    for left in (60..70).rev() {
        ask(&mut budget, &told(left, 1000), 999);
    }
    assert_eq!(budget.requests_per_second(at(999)), Some(70.0));
    ask(&mut budget, &told(99, 2000), 1100);
    assert_eq!(budget.requests_per_second(at(1100)), Some(70.0));
}

const MINUTE: Duration = Duration::from_mins(1);

/// So many requests, each answered at once without a word.
fn asks(budget: &mut Budget, count: u32, millis: u64) {
    for _ in 0..count {
        ask(budget, &Told::Nothing, millis);
    }
}

#[test]
fn what_was_used_stays_used_whatever_the_limits_become() {
    let mut budget = Budget::new([(40, SECOND)], 1.0);
    asks(&mut budget, 30, 0);
    budget.follow([(40, SECOND)], 1.0, at(100));
    assert_eq!(room(&budget, 100), 10);
    budget.follow([(50, SECOND)], 1.0, at(100));
    assert_eq!(room(&budget, 100), 20);
    budget.follow([(20, SECOND)], 1.0, at(100));
    assert_eq!(room(&budget, 100), 0);
    budget.follow([(50, SECOND)], 0.5, at(100));
    assert_eq!(room(&budget, 100), 0);
    assert_eq!(room(&budget, 1001), 25);
    budget.follow([(40, MINUTE)], 1.0, at(100));
    assert_eq!(room(&budget, 100), 10);
    // Nor is a longer window that went and came back a new one.
    budget.follow([(1000, SECOND)], 1.0, at(2000));
    asks(&mut budget, 5, 5000);
    budget.follow([], 1.0, at(20_000));
    budget.follow([(40, MINUTE)], 1.0, at(30_000));
    assert_eq!(room(&budget, 30_000), 5);
    assert_eq!(room(&budget, 70_000), 40);
}

#[test]
fn what_is_under_way_takes_room_in_limits_that_came_later() {
    let mut budget = Budget::new([(3, SECOND)], 1.0);
    budget.sent();
    budget.follow([(2, MINUTE)], 1.0, at(0));
    assert_eq!(room(&budget, 0), 1);
    budget.answered(&Told::Nothing, at(0), at(10));
    assert_eq!(room(&budget, 10), 1);
}

#[test]
fn what_others_took_is_taken_of_another_limit_too() {
    let mut budget = Budget::new([(100, MINUTE)], 1.0);
    let reset = Reset::At(at(50_000));
    ask(&mut budget, &word(100, 10, reset), 100);
    budget.follow([(120, MINUTE)], 1.0, at(200));
    budget.follow([(95, MINUTE)], 1.0, at(200));
    assert!(room(&budget, 49_000) <= 5);
    // What it was told of and the configuration says now is one window.
    let mut budget = Budget::new([(100, MINUTE)], 1.0);
    ask(&mut budget, &word(50, 10, reset), 100);
    budget.follow([(50, MINUTE)], 1.0, at(200));
    assert_eq!(budget.windows.len(), 1);
    assert!(room(&budget, 49_000) <= 10);
}
