//! What must be there in the end, worked out from what is posted alone.
//!
//! Invariants: whoever fills this in asks nobody and shares no code with the relay's flows: a mistake there shows here.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::lines::Line;
use super::profile::Profile;

/// Something told to Quikly.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Credit {
    /// `q_scope`
    pub scope: String,
    /// `event`
    pub event: String,
    /// As the client wrote it.
    pub email: String,
    /// Further pairs, as JSON.
    pub pairs: String,
}

impl Credit {
    /// Without further pairs.
    pub(super) fn new(scope: &str, event: &str, email: &str) -> Credit {
        Credit {
            scope: scope.to_owned(),
            event: event.to_owned(),
            email: email.to_owned(),
            pairs: "{}".to_owned(),
        }
    }
}

/// A phone in a subscription group.
pub(super) type Seat = (String, String);

/// All of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Expected {
    /// Events that are answered with 202.
    pub sent: u64,
    /// Those of them that are delivered again.
    pub duplicates: u64,
    /// Events that are refused, by status.
    pub refused: BTreeMap<u16, u64>,
    /// Profiles that are created.
    pub created: u64,
    /// By whose they are.
    pub profiles: BTreeMap<String, Vec<Profile>>,
    /// How often each is told to Quikly.
    pub credits: BTreeMap<Credit, u64>,
    /// The phones whose status is set, each once, and whether that begins Braze's own double opt-in.
    pub sets: BTreeMap<Seat, bool>,
    /// The phones that are asked to confirm, each once.
    pub prompts: BTreeSet<Seat>,
    /// The lines that become dead letters, and why.
    pub dead: BTreeMap<String, &'static str>,
}

impl Expected {
    /// What the lines alone show; these profiles are there from the start.
    pub(super) fn new(lines: &[Line], known: BTreeMap<String, Vec<Profile>>) -> Expected {
        let mut expected = Expected {
            profiles: known,
            ..Expected::default()
        };
        let mut same = HashSet::new();
        for line in lines {
            if line.is_good() {
                expected.sent += 1;
                expected.duplicates += u64::from(!same.insert(&line.same));
            } else {
                *expected.refused.entry(line.must).or_default() += 1;
            }
        }
        expected
    }

    /// Events with an id of their own.
    pub(super) fn accepted(&self) -> u64 {
        self.sent - self.duplicates
    }

    /// Dead letters of this reason.
    pub(super) fn dead_of(&self, reason: &str) -> u64 {
        let all = self.dead.values();
        all.filter(|is| **is == reason).count() as u64
    }

    /// A new profile.
    pub(super) fn create(&mut self, profile: Profile) {
        self.created += 1;
        let whose = profile.whose().to_owned();
        self.profiles.entry(whose).or_default().push(profile);
    }

    /// One more told to Quikly.
    pub(super) fn credit(&mut self, credit: Credit) {
        *self.credits.entry(credit).or_default() += 1;
    }
}
