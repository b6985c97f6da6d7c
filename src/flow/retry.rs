//! When what failed is tried again.
//!
//! Invariants: the waits grow, never sink below the first, and end: by number (`max_attempts`) or by age (`max_age`,
//! counted from the first failure of the present step, less the time that is excused), whichever comes first. The jitter
//! only lengthens, so that a crowd that failed together never comes back earlier than it was told to, and not together.

use std::time::Duration;

use crate::model::rules::RetryPolicy;
use crate::model::time::Timestamp;

/// The wait after the `failures`-th failure in a row (1: the first): `first`, doubled for each further one up to
/// `max`, lengthened by up to half of itself. `jitter` is from 0 to 1.
pub fn backoff(first: Duration, max: Duration, failures: u32, jitter: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(31);
    let wait = first
        .saturating_mul(1 << doublings)
        .min(max)
        .max(Duration::from_millis(1));
    wait + (wait / 2).mul_f64(jitter.clamp(0.0, 1.0))
}

/// When a step is tried again that has failed `attempts` times since `failing_since`; `None`: it has failed for too
/// long or too often. The last date is the end of `max_age` itself.
pub fn again(
    policy: &RetryPolicy,
    attempts: u32,
    failing_since: Timestamp,
    now: Timestamp,
    jitter: f64,
) -> Option<Timestamp> {
    let end = failing_since + policy.max_age;
    let too_often = policy.max_attempts > 0 && attempts >= policy.max_attempts;
    if too_often || now >= end {
        return None;
    }
    Some((now + backoff(policy.first, policy.max, attempts, jitter)).min(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        first: Duration::from_secs(1),
        max: Duration::from_secs(10),
        max_attempts: 0,
        max_age: Duration::from_secs(100),
    };

    #[test]
    fn waits_double_up_to_the_longest_and_jitter_only_lengthens_them() {
        let seconds =
            |failures, jitter| backoff(POLICY.first, POLICY.max, failures, jitter).as_secs_f64();
        for (failures, wait) in [
            (1, 1.0),
            (2, 2.0),
            (3, 4.0),
            (4, 8.0),
            (5, 10.0),
            (99, 10.0),
            (u32::MAX, 10.0),
        ] {
            assert!((seconds(failures, 0.0) - wait).abs() < 1e-9);
            assert!((seconds(failures, 1.0) - wait * 1.5).abs() < 1e-9);
        }
    }

    #[test]
    fn a_step_ends_by_age_or_by_number_and_its_last_date_is_the_end() {
        let at = Timestamp::from_millis;
        assert_eq!(again(&POLICY, 1, at(0), at(0), 0.0), Some(at(1000)));
        assert_eq!(again(&POLICY, 9, at(0), at(95_000), 0.0), Some(at(100_000)));
        assert_eq!(again(&POLICY, 9, at(0), at(100_000), 0.0), None);
        let twice = RetryPolicy {
            max_attempts: 2,
            ..POLICY
        };
        assert!(again(&twice, 1, at(0), at(0), 0.0).is_some());
        assert_eq!(again(&twice, 2, at(0), at(1), 0.0), None);
    }
}
