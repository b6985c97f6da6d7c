//! How what a lane lends is shared between fresh work and work that failed before.
//!
//! Invariants: pure. Where both want more than there is room for, a quarter of all that is lent goes to work that failed,
//! however little is lent at a time.

/// One of so many jobs lent has failed before, where both wait.
const ONE_OF: usize = 4;

/// One lane's shares.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Share {
    /// What rounding down has left so far, as jobs lent.
    left: usize,
}

impl Share {
    /// Of `at_most` jobs, how many may have failed before, with so many of each there.
    pub(super) fn of_failed(&mut self, at_most: usize, fresh: usize, failed: usize) -> usize {
        if fresh + failed <= at_most {
            return failed;
        }
        let lent = at_most + self.left;
        self.left = lent % ONE_OF;
        (lent / ONE_OF)
            .max(at_most.saturating_sub(fresh))
            .min(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_four_has_failed_before_however_little_is_lent_at_a_time() {
        for at_most in 1..=9 {
            let mut share = Share::default();
            let rounds = 4000 / at_most;
            let failed: usize = (0..rounds).map(|_| share.of_failed(at_most, 50, 50)).sum();
            assert_eq!(failed, rounds * at_most / 4, "{at_most}");
        }
    }

    #[test]
    fn what_one_class_leaves_the_other_fills() {
        let mut share = Share::default();
        assert_eq!(share.of_failed(8, 3, 50), 5);
        assert_eq!(share.of_failed(8, 0, 50), 8);
        assert_eq!(share.of_failed(8, 50, 1), 1);
        assert_eq!(share.of_failed(8, 50, 0), 0);
        assert_eq!(share.of_failed(8, 3, 5), 5);
        assert_eq!(share.of_failed(1, 0, 1), 1);
    }
}
