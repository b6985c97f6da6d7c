//! The scenarios: each one file that says how the relay is configured, what the sandbox is like, what is posted, and what
//! must be there in the end.
//!
//! Invariants: plain data; asks nobody. What must be there follows from what people are, never from the relay's code.

mod double_opt_in;
mod email;
mod outgrow;
mod phones;
mod progress;
mod sms;
mod webhook;

use std::time::Duration;

use clap::ValueEnum;
use clap::builder::PossibleValue;

use super::ask::Standing;
use super::expected::{Expected, Seat};
use super::lines::Line;
use super::relay::{BRAZE_KEY, QUIKLY_TOKEN, WORKSPACE};
use super::report::Measure;
use crate::sandbox::{self, Options, Spread, WorkspaceOptions, read_known};

/// Look-ups a second that Braze allows.
const LOOK_UPS_PER_SECOND: f64 = 40.0;

/// Which scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Email,
    Sms,
    DoubleOptIn,
    Progress,
    Webhook,
    Outgrow,
}

impl Name {
    /// In the order they are played.
    pub(super) const ALL: [Name; 6] = [
        Name::Email,
        Name::Sms,
        Name::DoubleOptIn,
        Name::Progress,
        Name::Webhook,
        Name::Outgrow,
    ];

    /// On the command line.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Name::Email => "email",
            Name::Sms => "sms",
            Name::DoubleOptIn => "double-opt-in",
            Name::Progress => "progress",
            Name::Webhook => "webhook",
            Name::Outgrow => "outgrow",
        }
    }

    const fn help(self) -> &'static str {
        match self {
            Name::Email => "People join two campaigns by e-mail; killed half-way",
            Name::Sms => "People join by SMS; killed in the middle of their two minutes",
            Name::DoubleOptIn => "People must confirm by SMS; killed in the middle of the polls",
            Name::Progress => {
                "People get on inside a campaign, update by update, while Braze fails"
            }
            Name::Webhook => "Braze campaigns tell Quikly something, while Quikly is down",
            Name::Outgrow => "Quiz answers become attributes, the bad ones too",
        }
    }
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    One(Name),
    All,
}

impl Choice {
    /// The scenarios, in order.
    pub(super) fn names(&self) -> &[Name] {
        match self {
            Choice::One(name) => std::slice::from_ref(name),
            Choice::All => &Name::ALL,
        }
    }
}

impl ValueEnum for Choice {
    fn value_variants<'a>() -> &'a [Choice] {
        const ALL: [Choice; 7] = [
            Choice::One(Name::Email),
            Choice::One(Name::Sms),
            Choice::One(Name::DoubleOptIn),
            Choice::One(Name::Progress),
            Choice::One(Name::Webhook),
            Choice::One(Name::Outgrow),
            Choice::All,
        ];
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Choice::One(name) => PossibleValue::new(name.as_str()).help(name.help()),
            Choice::All => PossibleValue::new("all").help("One after another, and a table of all"),
        })
    }
}

/// When the relay is killed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kill {
    /// When half of the events are posted, just before a request leaves.
    HalfPosted,
    /// When everything is posted and this says what it is the middle of.
    When(fn(&Standing) -> Option<String>),
}

/// All that makes a scenario.
pub(super) struct Scenario {
    /// What happens, for whoever watches.
    pub story: String,
    /// The activations and contents, as TOML.
    pub configuration: String,
    /// What the sandbox is like.
    pub sandbox: Options,
    /// Who is subscribed before anything is posted.
    pub subscribed: Vec<Seat>,
    /// How many times faster than the machine's the clock runs.
    pub clock_speed: f64,
    /// What is posted, in order.
    pub lines: Vec<Line>,
    /// How fast, by the demo's clock.
    pub events_per_second: f64,
    /// Look-ups that this takes at least.
    pub look_ups: u64,
    /// When the relay is killed.
    pub kill: Kill,
    /// What must be there.
    pub expected: Expected,
    /// The rows of the table, each in words and what it is about.
    pub table: Vec<(&'static str, Measure)>,
    /// What it means when everything agrees.
    pub verdict: &'static str,
}

impl Scenario {
    /// The scenario of this name, with its own number of people or with so many.
    pub(super) fn new(name: Name, people: Option<usize>) -> anyhow::Result<Scenario> {
        match name {
            Name::Email => email::scenario(people),
            Name::Sms => sms::scenario(people),
            Name::DoubleOptIn => double_opt_in::scenario(people),
            Name::Progress => progress::scenario(people),
            Name::Webhook => webhook::scenario(people),
            Name::Outgrow => outgrow::scenario(people),
        }
    }

    /// What Braze's narrowest limit makes of the speed, in words.
    pub(super) fn pace(&self, speed: f64) -> String {
        if self.look_ups == 0 {
            return String::new();
        }
        let look_ups = self.look_ups;
        let seconds = look_ups as f64 / (LOOK_UPS_PER_SECOND * speed);
        format!(
            "; Braze allows 40 look-ups a second by it,\n           so {look_ups} of them take at least {seconds:.1} s"
        )
    }
}

/// A sandbox with the demo's workspace, which knows these profiles (a line each).
fn sandbox(known: &str) -> Result<Options, sandbox::NotAnOption> {
    Ok(Options {
        workspaces: vec![WorkspaceOptions::new(WORKSPACE, BRAZE_KEY)],
        quikly_token: QUIKLY_TOKEN.to_owned(),
        quikly_latency: Spread {
            least: Duration::from_millis(20),
            most: Duration::from_millis(200),
        },
        known: read_known(known)?,
        ..Options::default()
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn few_people_do_all_that_many_do() {
        for name in Name::ALL {
            let people = if name == Name::Email { 500 } else { 40 };
            let scenario = Scenario::new(name, Some(people)).unwrap();
            for (what, measure) in &scenario.table {
                let nothing = matches!(
                    (name, measure),
                    (Name::Progress, Measure::Dead) | (Name::Webhook, Measure::Profiles)
                );
                let must = measure.must(&scenario.expected);
                assert_eq!(must == 0, nothing, "{name:?} {what}: {must}");
            }
        }
    }

    #[test]
    fn everything_is_the_same_again_and_ids_tell_events_apart() {
        for name in Name::ALL {
            let lines = |scenario: Scenario| -> Vec<_> {
                let lines = scenario.lines.into_iter();
                lines.map(|line| (line.id, line.same, line.text)).collect()
            };
            let first = lines(Scenario::new(name, Some(200)).unwrap());
            assert_eq!(first, lines(Scenario::new(name, Some(200)).unwrap()));
            let ids: HashSet<_> = first.iter().map(|(id, _, _)| id).collect();
            let same: HashSet<_> = first.iter().map(|(id, same, _)| (id, same)).collect();
            assert_eq!(ids.len(), same.len(), "{name:?}");
        }
    }
}
