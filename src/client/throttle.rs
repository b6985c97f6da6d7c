//! What headers say about the rate: when a 429 lets us come again, and what any answer says is left.
//!
//! Invariants: pure. A moment by the other side's clock is taken as so long after its `Date`, where the two clocks differ by
//! more than that header is coarse. A moment that is not in the future is no word at all (the lane's own backoff then decides), and
//! nobody is believed for longer than [`WAIT_MAX`]. What is left is told only by headers that are all there and make
//! sense; which window they are about, and whether it can be so, is the lane's to judge. Names of headers have any case.

use std::time::Duration;

use super::http::RawAnswer;
use crate::model::budget::{Reset, Told, Word};
use crate::model::time::Timestamp;

/// The longest wait that is believed. Braze's longest window is the hour.
pub const WAIT_MAX: Duration = Duration::from_hours(1);

/// Numbers from here on are seconds since 1970, below it seconds from now: `X-RateLimit-Reset` is one or the other,
/// depending on the contract.
const EPOCH_SECONDS_MIN: f64 = 1e9;

/// `Date` has whole seconds, and takes its time to come.
const DATE_SLACK: Duration = Duration::from_secs(2);

/// What a 429 says about the next moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wait {
    /// Not before this; `None` without a word about it.
    pub until: Option<Timestamp>,
    /// It said more than [`WAIT_MAX`]: this long.
    pub capped: Option<Duration>,
}

/// Reads `Retry-After` (seconds or HTTP date, RFC 9110 section 10.2.3), else `X-Ratelimit-Retry-After` (seconds), else
/// `X-RateLimit-Reset` (epoch seconds or seconds from now).
pub fn wait(answer: &RawAnswer, now: Timestamp) -> Wait {
    let asked = [
        "retry-after",
        "x-ratelimit-retry-after",
        "x-ratelimit-reset",
    ]
    .into_iter()
    .filter_map(|name| moment(answer.header(name)?, answer, now))
    .find(|moment| *moment > now);
    match asked {
        None => Wait::default(),
        Some(moment) if moment > now + WAIT_MAX => Wait {
            until: Some(now + WAIT_MAX),
            capped: Some(moment.since(now)),
        },
        until => Wait {
            until,
            capped: None,
        },
    }
}

/// Reads `X-RateLimit-Limit`, `-Remaining` and `-Reset` (epoch seconds or seconds from now). Empty ones, as Braze sends
/// with a 401, are not there; where one is missing nothing is told.
pub fn told(answer: &RawAnswer) -> Told {
    let name = ["limit", "remaining", "reset"];
    let [limit, remaining, reset] = name.map(|name| answer.header(&format!("x-ratelimit-{name}")));
    let (Some(limit), Some(remaining), Some(reset)) = (limit, remaining, reset) else {
        return Told::Nothing;
    };
    let (Ok(limit), Ok(remaining)) = (limit.parse::<u32>(), remaining.parse::<u32>()) else {
        return Told::Absurd("a limit or what is left of it is no number of requests");
    };
    if limit == 0 || remaining > limit {
        return Told::Absurd("more is said to be left than the limit allows");
    }
    let Some(reset) = seconds(reset) else {
        return Told::Absurd("when the window begins anew cannot be read");
    };
    Told::Word(Word {
        limit,
        remaining,
        reset,
    })
}

fn moment(value: &str, answer: &RawAnswer, now: Timestamp) -> Option<Timestamp> {
    let moment = match seconds(value) {
        Some(Reset::In(rest)) => return Some(now + rest),
        Some(Reset::At(moment)) => moment,
        None => http_date(value)?,
    };
    let theirs = date(answer).unwrap_or(now);
    let apart = now.since(theirs).max(theirs.since(now));
    Some(if apart > DATE_SLACK {
        now + moment.since(theirs)
    } else {
        moment
    })
}

/// Seconds since 1970 or from now, by their magnitude.
fn seconds(value: &str) -> Option<Reset> {
    let number: f64 = value.parse().ok()?;
    let seconds = Duration::try_from_secs_f64(number).ok()?;
    Some(if number >= EPOCH_SECONDS_MIN {
        Reset::At(Timestamp::ZERO + seconds)
    } else {
        Reset::In(seconds)
    })
}

/// The other side's `Date`, in whole seconds (RFC 9110 section 6.6.1).
pub fn date(answer: &RawAnswer) -> Option<Timestamp> {
    http_date(answer.header("date")?)
}

fn http_date(value: &str) -> Option<Timestamp> {
    let date = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    u64::try_from(date.as_millisecond())
        .ok()
        .map(Timestamp::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-27T09:30:00Z.
    const NOW: Timestamp = Timestamp::from_millis(1_795_771_800_000);

    fn waits(headers: &[(&str, &str)]) -> Option<u64> {
        wait(&RawAnswer::made(429, headers, ""), NOW)
            .until
            .map(|until| until.since(NOW).as_secs())
    }

    #[test]
    fn every_header_variant_tells_the_same_moment() {
        assert_eq!(NOW.to_rfc3339(), "2026-11-27T09:30:00.000Z");
        for (name, value) in [
            ("Retry-After", "7"),
            ("retry-after", "Fri, 27 Nov 2026 09:30:07 GMT"),
            ("X-Ratelimit-Retry-After", "7"),
            ("X-RateLimit-Reset", "1795771807"),
            ("x-ratelimit-reset", "7"),
        ] {
            assert_eq!(waits(&[(name, value)]), Some(7), "{name}: {value}");
        }
    }

    #[test]
    fn a_moment_is_taken_by_the_clock_of_who_told_it() {
        for date in [
            "Fri, 27 Nov 2026 09:20:00 GMT",
            "Fri, 27 Nov 2026 09:40:00 GMT",
        ] {
            let theirs = http_date(date).unwrap_or_default();
            let reset = (theirs + Duration::from_secs(7)).as_millis() / 1000;
            let reset = reset.to_string();
            let again = [("date", date), ("x-ratelimit-reset", &reset)];
            assert_eq!(waits(&again), Some(7), "{date}");
            assert_eq!(
                waits(&[("date", date), ("x-ratelimit-reset", "7")]),
                Some(7)
            );
            assert_eq!(waits(&[("date", date), ("retry-after", date)]), None);
        }
        // Seconds that `Date` does not tell are not made up.
        let near = [
            ("date", "Fri, 27 Nov 2026 09:29:59 GMT"),
            ("x-ratelimit-reset", "1795771807"),
        ];
        assert_eq!(waits(&near), Some(7));
        assert_eq!(
            waits(&[("date", "today"), ("x-ratelimit-reset", "1795771807")]),
            Some(7)
        );
    }

    #[test]
    fn the_first_header_that_says_something_about_the_future_wins() {
        let order = [
            ("retry-after", "3"),
            ("x-ratelimit-retry-after", "4"),
            ("x-ratelimit-reset", "5"),
        ];
        assert_eq!(waits(&order), Some(3));
        assert_eq!(waits(&order[1..]), Some(4));
        let blank = [
            ("retry-after", ""),
            ("x-ratelimit-retry-after", " "),
            ("x-ratelimit-reset", "5"),
        ];
        assert_eq!(waits(&blank), Some(5));
        let past = [("retry-after", "0"), ("x-ratelimit-reset", "5")];
        assert_eq!(waits(&past), Some(5));
    }

    #[test]
    fn what_cannot_be_read_or_lies_in_the_past_is_no_word() {
        for value in [
            "",
            "soon",
            "-5",
            "NaN",
            "inf",
            "1e400",
            "0",
            "1795771799",
            "Fri, 27 Nov 2020 09:30:07 GMT",
        ] {
            assert_eq!(
                waits(&[("retry-after", value), ("x-ratelimit-reset", value)]),
                None,
                "{value}"
            );
        }
        assert_eq!(waits(&[]), None);
    }

    #[test]
    fn what_is_left_is_read_from_every_variant_of_the_headers() {
        let answer = |names: [&str; 3], values: [&str; 3]| {
            let headers: Vec<_> = names.into_iter().zip(values).collect();
            told(&RawAnswer::made(200, &headers, ""))
        };
        let word = |reset| {
            Told::Word(Word {
                limit: 40,
                remaining: 7,
                reset,
            })
        };
        let lower = [
            "x-ratelimit-limit",
            "x-ratelimit-remaining",
            "x-ratelimit-reset",
        ];
        let mixed = [
            "X-RateLimit-Limit",
            "X-RateLimit-Remaining",
            "X-RateLimit-Reset",
        ];
        let upper = [
            "X-RATELIMIT-LIMIT",
            "X-RATELIMIT-REMAINING",
            "X-RATELIMIT-RESET",
        ];
        let epoch = Reset::At(Timestamp::from_millis(1_795_771_807_000));
        for names in [lower, mixed, upper] {
            assert_eq!(answer(names, ["40", "7", "1795771807"]), word(epoch));
            let rest = Reset::In(Duration::from_secs(12));
            assert_eq!(answer(names, [" 40", "7 ", "12"]), word(rest));
            assert_eq!(answer(names, ["", "", ""]), Told::Nothing);
            assert_eq!(answer(names, ["40", "7", ""]), Told::Nothing);
            for absurd in [
                ["0", "0", "12"],
                ["40", "41", "12"],
                ["40", "-1", "12"],
                ["forty", "7", "12"],
                ["40", "7", "-12"],
                ["40", "7", "soon"],
                ["40", "7", "NaN"],
                ["4000000000000", "7", "12"],
            ] {
                let told = answer(names, absurd);
                assert!(matches!(told, Told::Absurd(_)), "{absurd:?}: {told:?}");
            }
        }
        let only_wait = [("X-Ratelimit-Retry-After", "3")];
        assert_eq!(told(&RawAnswer::made(429, &only_wait, "")), Told::Nothing);
    }

    #[test]
    fn nobody_is_believed_for_longer_than_an_hour() {
        for value in ["7200", "1795779000", "Fri, 27 Nov 2026 11:30:00 GMT"] {
            let wait = wait(&RawAnswer::made(429, &[("retry-after", value)], ""), NOW);
            assert_eq!(wait.until, Some(NOW + WAIT_MAX), "{value}");
            assert_eq!(wait.capped, Some(Duration::from_hours(2)), "{value}");
        }
        assert_eq!(waits(&[("retry-after", "3600")]), Some(3600));
    }
}
