//! Which of the pending jobs leave in the next request, so that nobody overtakes: of one participant they go in order or not
//! at all.
//!
//! Invariants: pure.

use std::collections::HashSet;

use super::recent::Who;

/// What becomes of a pending job when a request leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It leaves.
    Goes,
    /// It waits for the next request.
    Stays,
    /// It stands behind one that leaves: its turn is over for now.
    Behind,
}

/// What becomes of each of `pending`, in order, when those at `picked` (ascending) fit into the request.
pub fn parts(pending: impl Iterator<Item = Option<Who>>, picked: &[usize]) -> Vec<Part> {
    let (mut going, mut staying) = (HashSet::new(), HashSet::new());
    let mut picked = picked.iter().copied().peekable();
    let part = |(position, who): (usize, Option<Who>)| {
        let fits = picked.next_if_eq(&position).is_some();
        if fits && who.is_none_or(|who| !staying.contains(&who)) {
            going.extend(who);
            return Part::Goes;
        }
        staying.extend(who);
        if who.is_some_and(|who| going.contains(&who)) {
            Part::Behind
        } else {
            Part::Stays
        }
    };
    pending.enumerate().map(part).collect()
}

/// Which of `pending` is the probe with this number: another one each time, but nobody before what comes before him.
pub fn probe(pending: impl Iterator<Item = Option<Who>>, number: usize) -> usize {
    let mut seen = HashSet::new();
    let first = pending.enumerate();
    let first = first.filter(|(_, who)| who.is_none_or(|who| seen.insert(who)));
    let first: Vec<usize> = first.map(|it| it.0).collect();
    let nth = number.checked_rem(first.len());
    nth.and_then(|nth| first.get(nth)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::Part::{Behind, Goes, Stays};
    use super::*;

    fn check(pending: &[&str], picked: &[usize], expected: &[Part]) {
        let who = |name: &&str| (!name.is_empty()).then(|| Who::of(name));
        assert_eq!(
            parts(pending.iter().map(who), picked),
            expected,
            "{pending:?}"
        );
    }

    #[test]
    fn another_one_is_the_probe_each_time_but_nobody_before_what_comes_before_him() {
        let who = |name: &&str| (!name.is_empty()).then(|| Who::of(name));
        let pending = ["ann", "ann", "", "bo", "ann", ""];
        let chosen = (0..6).map(|number| probe(pending.iter().map(who), number));
        assert_eq!(chosen.collect::<Vec<_>>(), [0, 2, 3, 5, 0, 2]);
        assert_eq!(probe([].into_iter(), 7), 0);
    }

    #[test]
    fn what_fits_goes_and_the_rest_waits() {
        check(&["ann", "bo", "cy"], &[0, 2], &[Goes, Stays, Goes]);
        check(&["", "", ""], &[1], &[Stays, Goes, Stays]);
    }

    #[test]
    fn nobody_goes_before_an_earlier_one_of_the_same_participant() {
        check(&["ann", "bo", "ann"], &[1, 2], &[Stays, Goes, Stays]);
    }

    #[test]
    fn whoever_is_left_behind_one_that_goes_has_lost_its_turn() {
        check(&["ann", "ann", "ann"], &[0, 2], &[Goes, Behind, Behind]);
        check(&["ann", "bo", "ann"], &[0, 1], &[Goes, Goes, Behind]);
    }
}
