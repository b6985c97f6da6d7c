//! What people do when they are asked to confirm: by chance, but the same for one phone and one seed, always.
//!
//! Invariants: pure. A reaction follows from [`Behaviour`] and the phone alone, so that a test can compute what must happen;
//! which prompt, group or workspace asked does not matter.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::options::{NotAnOption, Spread};
use super::world::Random;

/// How people behave, and which custom events make the brand ask them. Fractions are of all people, from 0 to 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Behaviour {
    /// Fixes who does what, and when.
    pub seed: u64,
    /// How many confirm.
    pub confirm: f64,
    /// How many answer STOP; whoever does neither never answers.
    pub refuse: f64,
    /// How long after the prompt they confirm.
    pub confirm_after: Spread,
    /// How long after the prompt they refuse.
    pub refuse_after: Spread,
    /// By name of a custom event: the subscription group for which it starts the brand's own double opt-in.
    pub opt_in_events: BTreeMap<String, String>,
}

impl Default for Behaviour {
    fn default() -> Self {
        let hour = Spread {
            least: Duration::from_secs(30),
            most: Duration::from_hours(1),
        };
        Behaviour {
            seed: 0,
            confirm: 0.8,
            refuse: 0.1,
            confirm_after: hour,
            refuse_after: hour,
            opt_in_events: BTreeMap::new(),
        }
    }
}

/// What somebody does about a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// The keyword that confirms, so long after the prompt.
    Confirm(Duration),
    /// STOP, so long after the prompt.
    Refuse(Duration),
    /// Nothing, ever.
    Ignore,
}

impl Reaction {
    /// As the question routes call it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reaction::Confirm(_) => "confirm",
            Reaction::Refuse(_) => "refuse",
            Reaction::Ignore => "ignore",
        }
    }

    /// How long after the prompt; `None`: never.
    pub const fn after(self) -> Option<Duration> {
        match self {
            Reaction::Confirm(after) | Reaction::Refuse(after) => Some(after),
            Reaction::Ignore => None,
        }
    }
}

impl Behaviour {
    /// What the person with this phone (E.164) does about every prompt.
    pub fn reaction(&self, phone: &str) -> Reaction {
        // FNV-1a of the phone, so that the same seed gives the same people in every build.
        let hash = phone
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        let mut random = Random::new(hash ^ Random::new(self.seed).next());
        // 53 bits are what a float holds exactly.
        let lot = (random.next() >> 11) as f64 / (1_u64 << 53) as f64;
        let when = random.next();
        if lot < self.confirm {
            Reaction::Confirm(self.confirm_after.pick(when))
        } else if lot < self.confirm + self.refuse {
            Reaction::Refuse(self.refuse_after.pick(when))
        } else {
            Reaction::Ignore
        }
    }

    /// What contradicts itself. `is_group` says which subscription groups exist.
    pub fn check(&self, is_group: &dyn Fn(&str) -> bool) -> Result<(), NotAnOption> {
        let fraction = |part: f64| (0.0..=1.0).contains(&part);
        // What floats leave over when tenths are added.
        let all = self.confirm + self.refuse <= 1.0 + 1e-9;
        if !fraction(self.confirm) || !fraction(self.refuse) || !all {
            return Err(NotAnOption(
                "who confirms and who refuses are fractions from 0 to 1, together at most 1"
                    .to_owned(),
            ));
        }
        match self.opt_in_events.values().find(|group| !is_group(group)) {
            Some(group) => Err(NotAnOption(format!("{group:?} is no subscription group"))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd(behaviour: &Behaviour) -> Vec<Reaction> {
        let phone = |number: u32| format!("+1555{number:07}");
        (0..10_000)
            .map(|number| behaviour.reaction(&phone(number)))
            .collect()
    }

    #[test]
    fn a_seed_and_a_phone_fix_what_somebody_does() {
        let behaviour = Behaviour::default();
        assert_eq!(crowd(&behaviour), crowd(&behaviour));
        let other = Behaviour {
            seed: 1,
            ..behaviour.clone()
        };
        assert_ne!(crowd(&behaviour), crowd(&other));
    }

    #[test]
    fn as_many_confirm_refuse_and_stay_silent_as_was_asked_for_within_their_delays() {
        let behaviour = Behaviour {
            confirm: 0.5,
            refuse: 0.2,
            confirm_after: Spread::exactly(Duration::from_secs(5)),
            ..Behaviour::default()
        };
        let crowd = crowd(&behaviour);
        let many = |what: &str| crowd.iter().filter(|one| one.as_str() == what).count();
        assert!((4_800..5_200).contains(&many("confirm")));
        assert!((1_850..2_150).contains(&many("refuse")));
        assert!((2_800..3_200).contains(&many("ignore")));
        for one in crowd {
            let Reaction::Refuse(after) = one else {
                assert!(one.after().is_none_or(|after| after.as_secs() == 5));
                continue;
            };
            assert!(after >= behaviour.refuse_after.least && after <= behaviour.refuse_after.most);
        }
    }

    #[test]
    fn nobody_or_everybody_may_confirm_but_not_more() {
        let with = |confirm, refuse| Behaviour {
            confirm,
            refuse,
            ..Behaviour::default()
        };
        let all = |behaviour: &Behaviour, what| {
            let crowd = crowd(behaviour);
            crowd.iter().all(|one| one.as_str() == what)
        };
        assert!(all(&with(1.0, 0.0), "confirm"));
        assert!(all(&with(0.0, 1.0), "refuse"));
        assert!(all(&with(0.0, 0.0), "ignore"));
        assert!(with(0.7, 0.3).check(&|_| true).is_ok());
        for (confirm, refuse) in [(0.8, 0.3), (1.1, 0.0), (-0.1, 0.0), (f64::NAN, 0.0)] {
            assert!(with(confirm, refuse).check(&|_| true).is_err());
        }
        let mut listening = Behaviour::default();
        listening.opt_in_events.insert("e".into(), "g".into());
        assert!(listening.check(&|_| false).is_err());
    }
}
