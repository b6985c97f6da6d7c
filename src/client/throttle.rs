//! When a 429 lets us come again: every header that says so, in the order they are believed.
//!
//! Invariants: pure. A moment that is not in the future is no word at all (the lane's own backoff then decides), and
//! nobody is believed for longer than [`WAIT_MAX`].

use std::time::Duration;

use super::http::RawAnswer;
use crate::model::time::Timestamp;

/// The longest wait that is believed. Braze's longest window is the hour.
pub const WAIT_MAX: Duration = Duration::from_hours(1);

/// Numbers from here on are seconds since 1970, below it seconds from now: `X-RateLimit-Reset` is one or the other,
/// depending on the contract.
const EPOCH_SECONDS_MIN: f64 = 1e9;

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
    .filter_map(|name| moment(answer.header(name)?, now))
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

fn moment(value: &str, now: Timestamp) -> Option<Timestamp> {
    let Ok(number) = value.parse::<f64>() else {
        return http_date(value);
    };
    let seconds = Duration::try_from_secs_f64(number).ok()?;
    Some(if number >= EPOCH_SECONDS_MIN {
        Timestamp::ZERO + seconds
    } else {
        now + seconds
    })
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
    fn nobody_is_believed_for_longer_than_an_hour() {
        for value in ["7200", "1795779000", "Fri, 27 Nov 2026 11:30:00 GMT"] {
            let wait = wait(&RawAnswer::made(429, &[("retry-after", value)], ""), NOW);
            assert_eq!(wait.until, Some(NOW + WAIT_MAX), "{value}");
            assert_eq!(wait.capped, Some(Duration::from_hours(2)), "{value}");
        }
        assert_eq!(waits(&[("retry-after", "3600")]), Some(3600));
    }
}
