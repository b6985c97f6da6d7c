//! Activations that are not worked for now, and the burials in a row that lead there.
//!
//! Invariants: pure. Burials are counted for each flow of an activation: what one flow brings to an end says nothing about
//! another, whose every job may die. Nothing is remembered of activations that neither die nor are held.

use std::collections::BTreeMap;

use crate::flow::job::{Commit, Fate, Flow, Job, Reason};
use crate::model::Name;
use crate::model::lane::{Lane, LaneKind};
use crate::model::time::Timestamp;

/// Why an activation is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActivationHoldReason {
    /// Too many of its jobs in a row have died for one reason.
    Burials,
    /// Braze does not know its subscription group.
    InvalidGroup,
    /// An operator wants it.
    Manual,
}

impl ActivationHoldReason {
    /// Every reason.
    pub const ALL: [ActivationHoldReason; 3] = [
        ActivationHoldReason::Burials,
        ActivationHoldReason::InvalidGroup,
        ActivationHoldReason::Manual,
    ];

    /// The label in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            ActivationHoldReason::Burials => "burials",
            ActivationHoldReason::InvalidGroup => "invalid_group",
            ActivationHoldReason::Manual => "manual",
        }
    }
}

/// An activation of a workspace.
pub type Activation = (Name, Name);

/// An activation that is not worked for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActivationHold {
    /// Why.
    pub reason: ActivationHoldReason,
    /// What its jobs died of, if they did.
    pub died_of: Option<Reason>,
    /// Since when.
    pub since: Timestamp,
    /// Until when, if an operator has said so.
    pub until: Option<Timestamp>,
}

/// All holds of activations.
#[derive(Debug)]
pub struct Holds {
    /// That many burials in a row hold an activation.
    after: u32,
    held: BTreeMap<Activation, ActivationHold>,
    rows: BTreeMap<Activation, BTreeMap<Flow, (Reason, u32)>>,
}

impl Holds {
    /// None yet. `after`: that many burials in a row hold an activation.
    pub fn new(after: u32) -> Holds {
        Holds {
            after,
            held: BTreeMap::new(),
            rows: BTreeMap::new(),
        }
    }

    /// Whether the activation is held.
    pub fn is_held(&self, activation: &Activation) -> bool {
        self.held.contains_key(activation)
    }

    /// Its hold, if it is held.
    pub fn of(&self, activation: &Activation) -> Option<ActivationHold> {
        self.held.get(activation).copied()
    }

    /// Every activation that is held.
    pub fn all(&self) -> impl Iterator<Item = (&Activation, &ActivationHold)> {
        self.held.iter()
    }

    /// Holds it, if it is not held already. Answers whether that is new.
    pub fn hold(
        &mut self,
        activation: &Activation,
        reason: ActivationHoldReason,
        died_of: Option<Reason>,
        now: Timestamp,
    ) -> bool {
        let is_new = !self.is_held(activation);
        if is_new {
            let hold = ActivationHold {
                reason,
                died_of,
                since: now,
                until: None,
            };
            self.held.insert(activation.clone(), hold);
        }
        is_new
    }

    /// An operator holds it, until `until` or until it is released, whatever it is held for already.
    pub fn hold_by_hand(
        &mut self,
        activation: &Activation,
        now: Timestamp,
        until: Option<Timestamp>,
    ) {
        let hold = ActivationHold {
            reason: ActivationHoldReason::Manual,
            died_of: None,
            since: now,
            until,
        };
        self.held.insert(activation.clone(), hold);
    }

    /// When the first hold of `workspace` ends by itself, if any does.
    pub fn next_end(&self, workspace: &Name) -> Option<Timestamp> {
        let of_workspace = self.held.iter().filter(|it| it.0.0 == *workspace);
        of_workspace.filter_map(|it| it.1.until).min()
    }

    /// Releases those of `workspace` whose end has come, and names them.
    pub fn end(&mut self, workspace: &Name, now: Timestamp) -> Vec<Activation> {
        let of_workspace = self.held.iter().filter(|it| it.0.0 == *workspace);
        let ended = of_workspace.filter(|it| it.1.until.is_some_and(|end| end <= now));
        let ended: Vec<Activation> = ended.map(|it| it.0.clone()).collect();
        for activation in &ended {
            self.release(activation);
        }
        ended
    }

    /// From now on so many burials in a row hold an activation.
    pub fn set_after(&mut self, after: u32) {
        self.after = after;
    }

    /// What became of its jobs so far says nothing about the next.
    pub fn count_anew(&mut self, activation: &Activation) {
        self.rows.remove(activation);
    }

    /// Ends its hold, and begins to count anew. Answers whether it was held.
    pub fn release(&mut self, activation: &Activation) -> bool {
        self.rows.remove(activation);
        self.held.remove(activation).is_some()
    }

    /// Counts how `commit` ends a job, if it does; what must not be buried is set aside instead. What nobody may repeat
    /// unasked is buried whatever is held.
    pub fn pass(
        &mut self,
        activation: &Activation,
        flow: Flow,
        commit: Commit,
        now: Timestamp,
    ) -> Commit {
        match commit.fate {
            Fate::Finish(_) => {
                self.finished(activation, flow);
                commit
            }
            // Nobody waits for what the configuration does not know: it would not go on when the hold ends.
            Fate::Bury { ref burial, .. } if burial.reason == Reason::UnknownActivation => commit,
            Fate::Bury { job, burial }
                if !self.may_bury(activation, flow, burial.reason, now)
                    && burial.reason != Reason::UnknownOutcome =>
            {
                set_aside(&activation.0, job, now)
            }
            Fate::Keep { .. } | Fate::Bury { .. } => commit,
        }
    }

    /// A job of `flow` has come to its end.
    pub fn finished(&mut self, activation: &Activation, flow: Flow) {
        if let Some(rows) = self.rows.get_mut(activation) {
            rows.remove(&flow);
            if rows.is_empty() {
                self.rows.remove(activation);
            }
        }
    }

    /// A job of `flow` is about to be buried. Answers whether it may be: else its activation is held, and it waits with
    /// the others. The last burial of too many in a row begins the hold.
    pub fn may_bury(
        &mut self,
        activation: &Activation,
        flow: Flow,
        reason: Reason,
        now: Timestamp,
    ) -> bool {
        if self.is_held(activation) {
            return false;
        }
        let rows = self.rows.entry(activation.clone()).or_default();
        let row = rows.entry(flow).or_insert((reason, 0));
        if row.0 != reason {
            *row = (reason, 0);
        }
        row.1 += 1;
        if row.1 >= self.after {
            self.hold(activation, ActivationHoldReason::Burials, Some(reason), now);
        }
        true
    }
}

/// What becomes of a job whose activation is held: it waits in a lane of its own, where nobody asks for it. What was to
/// kill it is forgotten but for its history: it begins anew when the hold ends.
pub fn set_aside(workspace: &Name, job: Job, now: Timestamp) -> Commit {
    let job = Job {
        due: now,
        attempts: 0,
        failing_since: None,
        begun: false,
        ..job
    };
    let lane = Lane::new(workspace, LaneKind::Held);
    Commit::new(Fate::Keep { lane, job }, Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn spring() -> Activation {
        ("acme".into(), "spring".into())
    }

    #[test]
    fn too_many_burials_in_a_row_for_one_reason_hold_the_activation_and_the_next_is_not_buried() {
        let mut holds = Holds::new(3);
        for second in 1..=3 {
            assert!(!holds.is_held(&spring()));
            assert!(holds.may_bury(&spring(), Flow::Sms, Reason::Rejected, at(second)));
        }
        let expected = ActivationHold {
            reason: ActivationHoldReason::Burials,
            died_of: Some(Reason::Rejected),
            since: at(3),
            until: None,
        };
        assert_eq!(holds.all().collect::<Vec<_>>(), [(&spring(), &expected)]);
        assert!(!holds.may_bury(&spring(), Flow::Sms, Reason::GaveUp, at(4)));
        let other = ("acme".into(), "autumn".into());
        assert!(holds.may_bury(&other, Flow::Sms, Reason::Rejected, at(4)));
        assert!(holds.release(&spring()));
        assert!(holds.may_bury(&spring(), Flow::Sms, Reason::Rejected, at(5)));
        assert!(!holds.is_held(&spring()));
    }

    #[test]
    fn another_reason_or_a_job_of_the_same_flow_that_ends_well_begins_the_count_anew() {
        let mut holds = Holds::new(2);
        holds.may_bury(&spring(), Flow::Sms, Reason::Rejected, at(1));
        holds.may_bury(&spring(), Flow::Sms, Reason::GaveUp, at(1));
        holds.finished(&spring(), Flow::Sms);
        holds.may_bury(&spring(), Flow::Sms, Reason::GaveUp, at(1));
        holds.finished(&spring(), Flow::Progress);
        assert!(!holds.is_held(&spring()));
        holds.may_bury(&spring(), Flow::Sms, Reason::GaveUp, at(2));
        assert!(holds.is_held(&spring()));
    }

    #[test]
    fn an_operator_overrules_what_it_is_held_for_and_may_say_until_when() {
        let mut holds = Holds::new(1);
        holds.may_bury(&spring(), Flow::Sms, Reason::Rejected, at(1));
        holds.hold_by_hand(&spring(), at(2), Some(at(10)));
        let hold = holds.of(&spring()).map(|it| (it.reason, it.until));
        assert_eq!(hold, Some((ActivationHoldReason::Manual, Some(at(10)))));
        let (acme, beta) = ("acme".into(), "beta".into());
        assert_eq!(holds.next_end(&acme), Some(at(10)));
        assert_eq!(holds.next_end(&beta), None);
        assert_eq!(holds.end(&acme, at(9)), []);
        assert_eq!(holds.end(&beta, at(10)), []);
        assert_eq!(holds.end(&acme, at(10)), [spring()]);
        assert!(!holds.is_held(&spring()));
        holds.hold_by_hand(&spring(), at(20), None);
        assert_eq!(
            (holds.next_end(&acme), holds.end(&acme, at(99))),
            (None, vec![])
        );
    }
}
