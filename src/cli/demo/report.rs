//! The end: what must be there beside what the relay says and what the sandbox holds, and every difference by name.
//!
//! Invariants: pure. What a kill may repeat is bounded and said; everything else must be exactly as on paper. However a job
//! of the relay ended, a row of the table tells of it: an end that nobody expects is a difference.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::time::Duration;

use super::ask::{Held, Standing, is_outcome};
use super::compare;
use super::expected::Expected;
use super::profile::Profile;
use super::relay::{BRAZE_IN_FLIGHT, QUIKLY_IN_FLIGHT};
use super::show::wrapped;

/// How many differences are printed.
const DIFFERENCES_SHOWN: usize = 20;
/// Objects of one request to Braze.
const OBJECTS_PER_REQUEST: u64 = 75;

/// What the clients saw.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Events answered with 202.
    pub sent: u64,
    /// Different ids among the answers.
    pub accepted: u64,
    /// Events that were refused, by status.
    pub refused: BTreeMap<u16, u64>,
    /// Answers that are not as they must be.
    pub mistakes: Vec<String>,
    /// The relay's id of each line.
    pub ids: HashMap<String, String>,
    /// Whose events were posted when the relay was killed; `None`: it was not.
    pub before_kill: Option<BTreeSet<String>>,
}

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    /// Events answered with 202.
    Sent,
    /// Events refused with this status.
    Refused(u16),
    /// Events delivered again.
    Duplicates,
    /// Events of their own.
    Accepted,
    /// Different ids in the answers.
    Ids,
    /// Profiles created, with the ends of jobs that say so.
    Created(&'static [&'static str]),
    /// Jobs that ended so (`flow/outcome`, `flow/`): this many.
    Ended(u64, &'static [&'static str]),
    /// Credits, and webhooks passed on.
    ToldQuikly,
    /// Dead events.
    Dead,
    /// Dead letters of this reason.
    DeadOf(&'static str),
    /// People who have profiles.
    People,
    /// Profiles.
    Profiles,
    /// Attributes of all profiles.
    Attributes,
    /// Custom events of all profiles.
    Events,
    /// Profiles that are Subscribed in a group.
    Subscribed,
    /// Statuses set.
    Sets,
    /// People asked to confirm.
    Prompts,
}

impl Measure {
    /// What must be.
    pub(super) fn must(self, expected: &Expected) -> u64 {
        let profiles = expected.profiles.values().flatten();
        match self {
            Measure::Sent => expected.sent,
            Measure::Refused(status) => expected.refused.get(&status).copied().unwrap_or(0),
            Measure::Duplicates => expected.duplicates,
            Measure::Accepted | Measure::Ids => expected.accepted(),
            Measure::Created(_) => expected.created,
            Measure::Ended(count, _) => count,
            Measure::ToldQuikly => expected.credits.values().sum(),
            Measure::Dead => expected.dead.len() as u64,
            Measure::DeadOf(reason) => expected.dead_of(reason),
            Measure::People => expected.profiles.len() as u64,
            Measure::Profiles | Measure::Attributes | Measure::Events | Measure::Subscribed => {
                self.sum(profiles)
            }
            Measure::Sets => expected.sets.len() as u64,
            Measure::Prompts => expected.prompts.len() as u64,
        }
    }

    fn relay(self, seen: &Seen, standing: &Standing) -> Option<u64> {
        let ended = |how: &[&str]| how.iter().map(|how| standing.ended(how)).sum();
        match self {
            Measure::Sent => Some(seen.sent),
            Measure::Refused(status) => Some(seen.refused.get(&status).copied().unwrap_or(0)),
            Measure::Duplicates => Some(seen.sent.saturating_sub(standing.accepted)),
            Measure::Accepted => Some(standing.accepted),
            Measure::Ids => Some(seen.accepted),
            Measure::Created(how) => (!how.is_empty()).then(|| ended(how)),
            Measure::Ended(_, how) => Some(ended(how)),
            Measure::ToldQuikly => Some(standing.told_quikly()),
            Measure::Dead => Some(standing.dead),
            Measure::DeadOf(reason) => Some(standing.reasons.get(reason).copied().unwrap_or(0)),
            Measure::People
            | Measure::Profiles
            | Measure::Attributes
            | Measure::Events
            | Measure::Subscribed
            | Measure::Sets
            | Measure::Prompts => None,
        }
    }

    fn sandbox(self, held: &Held) -> Option<u64> {
        match self {
            Measure::Created(_) => Some(held.created),
            Measure::ToldQuikly => Some(held.credits.len() as u64),
            Measure::People => {
                let people: BTreeSet<_> = held.profiles.iter().map(Profile::whose).collect();
                Some(people.len() as u64)
            }
            Measure::Profiles | Measure::Attributes | Measure::Events | Measure::Subscribed => {
                Some(self.sum(held.profiles.iter()))
            }
            Measure::Sets => Some(held.sets.len() as u64),
            Measure::Prompts => Some(held.prompts.len() as u64),
            Measure::Sent
            | Measure::Refused(_)
            | Measure::Duplicates
            | Measure::Accepted
            | Measure::Ids
            | Measure::Ended(..)
            | Measure::Dead
            | Measure::DeadOf(_) => None,
        }
    }

    /// Over all profiles.
    fn sum<'a>(self, profiles: impl Iterator<Item = &'a Profile>) -> u64 {
        let of_one = |profile: &Profile| match self {
            Measure::Attributes => profile.attributes.len() as u64,
            Measure::Events => profile.events.values().sum(),
            Measure::Subscribed => profile.groups.len() as u64,
            _ => 1,
        };
        profiles.map(of_one).sum()
    }

    /// Whether it tells of jobs that ended so.
    fn tells_of(self, outcome: &str) -> bool {
        let how: &[&str] = match self {
            Measure::Created(how) | Measure::Ended(_, how) => how,
            Measure::ToldQuikly => &["credit/credited", "webhook/passed_on"],
            _ => &[],
        };
        how.iter().any(|how| is_outcome(how, outcome))
    }
}

/// One line of a table: what it is about, what must be, what is. `None`: nobody can say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// In words.
    pub what: &'static str,
    /// What must be.
    pub must: u64,
    /// What the relay says, or said to its clients.
    pub relay: Option<u64>,
    /// What the sandbox holds.
    pub sandbox: Option<u64>,
}

impl Row {
    /// Whether all that can be said is as it must be.
    pub(super) fn agrees(&self) -> bool {
        [self.relay, self.sandbox]
            .into_iter()
            .flatten()
            .all(|is| is == self.must)
    }
}

/// The comparison.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    /// The table.
    pub rows: Vec<Row>,
    /// What is not as it must be, each by name.
    pub differences: Vec<String>,
    events_repeated: u64,
    credits_repeated: u64,
    killed: bool,
    answers_dropped: u64,
    shortest_wait: Option<Duration>,
}

impl Report {
    /// Compares. `table`: the rows, each in words and what it is about.
    pub(super) fn new(
        table: &[(&'static str, Measure)],
        expected: &Expected,
        seen: &Seen,
        standing: &Standing,
        held: &Held,
    ) -> Report {
        let mut by_name = seen.mistakes.clone();
        let may_repeat = |person: &str| {
            let before = seen.before_kill.as_ref();
            before.is_some_and(|before| before.contains(person))
        };
        let events_repeated = compare::profiles(
            &expected.profiles,
            &held.profiles,
            &may_repeat,
            &mut by_name,
        );
        compare::credits(&expected.credits, &held.credits, &mut by_name);
        compare::sets(&expected.sets, &held.sets, &mut by_name);
        compare::prompts(&expected.prompts, &held.prompts, &mut by_name);
        compare::letters(expected, &held.letters, &seen.ids, &mut by_name);
        let mut report = Report {
            rows: table
                .iter()
                .map(|(what, measure)| Row {
                    what,
                    must: measure.must(expected),
                    relay: measure.relay(seen, standing),
                    sandbox: match measure {
                        // Repetitions that a kill explains are told apart.
                        Measure::Events => measure.sandbox(held).map(|is| is - events_repeated),
                        _ => measure.sandbox(held),
                    },
                })
                .collect(),
            differences: Vec::new(),
            events_repeated,
            credits_repeated: held.credits_repeated,
            killed: seen.before_kill.is_some(),
            answers_dropped: held.answers_dropped,
            shortest_wait: held.sets.iter().filter_map(|set| set.waited).min(),
        };
        let differing = report.rows.iter().filter(|row| !row.agrees());
        report.differences = differing.map(difference).collect();
        report.differences.append(&mut by_name);
        report.strange_ends(table, standing);
        report.bounds();
        report
    }

    /// Whether everything is as it must be.
    pub(super) fn agrees(&self) -> bool {
        self.differences.is_empty()
    }

    fn strange_ends(&mut self, table: &[(&'static str, Measure)], standing: &Standing) {
        for (outcome, count) in &standing.outcomes {
            if *count > 0 && !table.iter().any(|(_, row)| row.tells_of(outcome)) {
                self.differences.push(format!(
                    "{count} job(s) of the relay ended as {outcome}, must be 0"
                ));
            }
        }
    }

    /// What the kill, and answers cut off by the script, may have repeated, and no more.
    fn bounds(&mut self) {
        let (events, credits) = if self.killed {
            (BRAZE_IN_FLIGHT * OBJECTS_PER_REQUEST, QUIKLY_IN_FLIGHT)
        } else {
            (0, 0)
        };
        let credits = credits + self.answers_dropped;
        for (what, is, most) in [
            ("custom events", self.events_repeated, events),
            ("credit requests", self.credits_repeated, credits),
        ] {
            if is > most {
                self.differences.push(format!(
                    "{is} {what} were repeated; {most} can have been under way without an answer"
                ));
            }
        }
    }

    /// As a table, with remarks and the verdict.
    pub(super) fn text(&self, verdict: &str) -> String {
        let number = |value: Option<u64>| value.map_or_else(String::new, |value| value.to_string());
        // Writing to a string cannot fail.
        let mut text = format!(
            "{:<30}{:>10}{:>13}{:>16}\n",
            "", "must be", "relay says", "sandbox holds"
        );
        for row in &self.rows {
            let verdict = if row.agrees() { "" } else { "   DIFFERS" };
            let (relay, sandbox) = (number(row.relay), number(row.sandbox));
            let line = format!(
                "{:<30}{:>10}{relay:>13}{sandbox:>16}{verdict}",
                row.what, row.must
            );
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text.push('\n');
        for line in self.remarks() {
            let _ = writeln!(text, "{}", wrapped(&line, 0));
        }
        text + &self.verdict(verdict)
    }

    /// What is worth knowing beside the numbers.
    pub(super) fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if let Some(waited) = self.shortest_wait {
            remarks.push(format!(
                "No status was set earlier than {:.3} s after Braze was told of the profile or its phone.",
                waited.as_secs_f64()
            ));
        }
        if self.events_repeated > 0 {
            remarks.push(format!(
                "{} custom event(s) whose answer was under way at the kill were repeated, and count once more \
                 (on_unknown = \"resend\" is at least once; \"park\" would have made dead letters of them).",
                self.events_repeated
            ));
        }
        if self.credits_repeated > 0 {
            remarks.push(format!(
                "{} request(s) to Quikly had no answer and were repeated with the same Idempotency-Key: nothing more.",
                self.credits_repeated
            ));
        }
        remarks
    }

    /// The verdict, or the differences.
    pub(super) fn verdict(&self, verdict: &str) -> String {
        if self.agrees() {
            let verdict = format!("The sandbox holds exactly what must be there: {verdict}.");
            return wrapped(&verdict, 0);
        }
        let mut text = format!("{} difference(s):", self.differences.len());
        for difference in self.differences.iter().take(DIFFERENCES_SHOWN) {
            let _ = write!(text, "\n  {difference}");
        }
        let more = self.differences.len().saturating_sub(DIFFERENCES_SHOWN);
        if more > 0 {
            let _ = write!(text, "\n  and {more} more");
        }
        text
    }
}

fn difference(row: &Row) -> String {
    let part = |who: &str, is: Option<u64>| {
        is.filter(|is| *is != row.must)
            .map(|is| format!(", {who} {is}"))
    };
    format!(
        "{}: must be {}{}{}",
        row.what.trim(),
        row.must,
        part("the relay says", row.relay).unwrap_or_default(),
        part("the sandbox holds", row.sandbox).unwrap_or_default()
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::demo::ask::Set;
    use crate::cli::demo::scenario::{Name, Scenario};

    type Spoil<'a> = &'a dyn Fn(&mut World);

    struct World {
        scenario: Scenario,
        seen: Seen,
        standing: Standing,
        held: Held,
    }

    /// A world that is as it must be.
    fn world(name: Name) -> World {
        let scenario = Scenario::new(name, Some(600)).unwrap();
        let expected = &scenario.expected;
        let mut outcomes = BTreeMap::new();
        for (_, measure) in &scenario.table {
            let (count, how) = match measure {
                Measure::Ended(count, how) => (*count, *how),
                Measure::Created(how) => (expected.created, *how),
                Measure::ToldQuikly => (expected.credits.values().sum(), &["credit/credited"][..]),
                _ => continue,
            };
            if let [how, ..] = how {
                let end = if how.ends_with('/') { "updated" } else { "" };
                outcomes.insert(format!("{how}{end}"), count);
            }
        }
        let reasons = expected.dead.values();
        let ids = scenario
            .lines
            .iter()
            .map(|line| (line.id.clone(), line.id.clone()));
        let letter = |(id, reason): (&String, &&str)| (id.clone(), (*reason).to_owned());
        World {
            seen: Seen {
                sent: expected.sent,
                accepted: expected.accepted(),
                refused: expected.refused.clone(),
                ids: ids.collect(),
                ..Seen::default()
            },
            standing: Standing {
                accepted: expected.accepted(),
                done: expected.accepted() - expected.dead.len() as u64,
                dead: expected.dead.len() as u64,
                reasons: reasons
                    .map(|reason| ((*reason).to_owned(), expected.dead_of(reason)))
                    .collect(),
                outcomes,
                ..Standing::default()
            },
            held: Held {
                profiles: expected.profiles.values().flatten().cloned().collect(),
                created: expected.created,
                credits: expected
                    .credits
                    .iter()
                    .flat_map(|(credit, count)| {
                        std::iter::repeat_n(credit.clone(), *count as usize)
                    })
                    .collect(),
                sets: expected
                    .sets
                    .iter()
                    .map(|(seat, double_opt_in)| Set {
                        seat: seat.clone(),
                        double_opt_in: *double_opt_in,
                        outcome: "taken".into(),
                        waited: Some(Duration::from_secs(120)),
                    })
                    .collect(),
                prompts: expected.prompts.iter().cloned().collect(),
                letters: expected.dead.iter().map(letter).collect(),
                ..Held::default()
            },
            scenario,
        }
    }

    fn report(world: &World) -> Report {
        let World {
            scenario,
            seen,
            standing,
            held,
        } = world;
        Report::new(&scenario.table, &scenario.expected, seen, standing, held)
    }

    #[test]
    fn a_world_as_it_must_be_has_no_difference() {
        for name in Name::ALL {
            let world = world(name);
            let report = report(&world);
            assert!(report.agrees(), "{name:?} {:?}", report.differences);
            let text = report.text(world.scenario.verdict);
            assert!(text.contains("exactly what must be there"), "{text}");
            assert!(!text.contains("DIFFERS"), "{text}");
            assert!(
                text.lines().all(|line| line.chars().count() <= 100),
                "{text}"
            );
        }
    }

    /// The first profile that has this event.
    fn with_event<'a>(world: &'a mut World, name: &str) -> &'a mut Profile {
        let mut all = world.held.profiles.iter_mut();
        all.find(|one| one.events.contains_key(name)).unwrap()
    }

    fn named(name: Name, spoilt: &[(&str, Spoil)]) {
        for (told, spoil) in spoilt {
            let mut world = world(name);
            spoil(&mut world);
            let report = report(&world);
            let is_told = report.differences.iter().any(|one| one.contains(told));
            assert!(is_told, "{told}: {:?}", report.differences);
            assert!(report.text("").contains("difference(s):"));
        }
    }

    #[test]
    fn whatever_is_not_as_it_must_be_by_e_mail_is_named() {
        named(
            Name::Email,
            &[
                ("profiles created", &|world| world.held.created += 1),
                ("dead: must be", &|world| world.standing.dead += 1),
                ("accepted: must be", &|world| world.standing.accepted -= 1),
                ("too many", &|world| {
                    let twice = world.held.profiles[5].clone();
                    world.held.profiles.push(twice);
                }),
                ("there is no profile", &|world| {
                    drop(world.held.profiles.pop());
                }),
                ("quikly_joined_late must be nothing, is false", &|world| {
                    world.held.profiles[0].put("quikly_joined_late", false);
                }),
                ("phone must be", &|world| {
                    world.held.profiles[0].phone = Some("+1".into());
                }),
                ("the count of quikly_joined", &|world| {
                    with_event(world, "quikly_joined").happened("quikly_joined");
                }),
                ("not credited", &|world| drop(world.held.credits.pop())),
                ("credited a second time", &|world| {
                    let twice = world.held.credits[0].clone();
                    world.held.credits.push(twice);
                }),
                ("must be a dead letter", &|world| {
                    world.held.letters[0].1 = "gave_up".into();
                }),
                ("ended as email/updated", &|world| {
                    world.standing.outcomes.insert("email/updated".into(), 1);
                }),
                ("answered with 500", &|world| {
                    world
                        .seen
                        .mistakes
                        .push("q1: answered with 500, must be 202".into());
                }),
            ],
        );
    }

    #[test]
    fn whatever_is_not_as_it_must_be_with_phones_is_named() {
        named(
            Name::Sms,
            &[
                ("Subscribed in must be", &|world| {
                    let mut all = world.held.profiles.iter_mut();
                    all.find(|one| !one.groups.is_empty())
                        .unwrap()
                        .groups
                        .clear();
                }),
                ("Subscribed in must be nothing", &|world| {
                    let mut all = world.held.profiles.iter_mut();
                    let one = all.find(|one| one.groups.is_empty()).unwrap();
                    one.groups.insert("g".into());
                }),
                ("never set", &|world| drop(world.held.sets.pop())),
                ("set a second time", &|world| {
                    let twice = world.held.sets[0].clone();
                    world.held.sets.push(twice);
                }),
                ("came to nothing, orphaned", &|world| {
                    world.held.sets[0].outcome = "orphaned".into();
                }),
                ("set 119.900 s after", &|world| {
                    world.held.sets[0].waited = Some(Duration::from_millis(119_900));
                }),
                ("in the wrong way", &|world| {
                    world.held.sets[0].double_opt_in = true;
                }),
            ],
        );
        named(
            Name::DoubleOptIn,
            &[
                ("never asked to confirm", &|world| {
                    drop(world.held.prompts.pop());
                }),
                ("asked to confirm a second time", &|world| {
                    let twice = world.held.prompts[0].clone();
                    world.held.prompts.push(twice);
                }),
                ("not confirmed: must be", &|world| {
                    let end = "double_opt_in/not_confirmed".to_owned();
                    world.standing.outcomes.insert(end, 0);
                }),
            ],
        );
    }

    #[test]
    fn whatever_is_not_as_it_must_be_with_updates_webhooks_and_leads_is_named() {
        named(
            Name::Progress,
            &[
                ("quikly_level must be", &|world| {
                    world.held.profiles[0].put("quikly_level", 1);
                }),
                ("the order of quikly_level_up", &|world| {
                    let overtaken = &mut with_event(world, "quikly_level_up").overtaken;
                    overtaken.insert("quikly_level_up".into());
                }),
            ],
        );
        named(
            Name::Webhook,
            &[
                (
                    "credited for nothing (app-login, logged_in, {\"id\":",
                    &|world| {
                        let pairs = &mut world.held.credits[0].pairs;
                        *pairs = pairs.replace("{\"id\":\"d", "{\"id\":\"e");
                    },
                ),
                ("refused: no e-mail (400): must be", &|world| {
                    world.seen.refused.remove(&400);
                }),
            ],
        );
        named(
            Name::Outgrow,
            &[
                ("outgrow_quiz_score must be", &|world| {
                    let mut all = world.held.profiles.iter_mut();
                    let one = all.find(|one| one.attributes.contains_key("outgrow_quiz_score"));
                    one.unwrap().put("outgrow_quiz_score", json!("87"));
                }),
                ("is a dead letter bad_answer, must not be", &|world| {
                    world
                        .held
                        .letters
                        .push(("o00000".into(), "bad_answer".into()));
                }),
            ],
        );
    }

    #[test]
    fn only_a_kill_explains_repetitions_and_only_of_what_was_posted_before_it() {
        let mut world = world(Name::Email);
        let new = with_event(&mut world, "quikly_joined");
        new.happened("quikly_joined");
        let email = new.email.clone();
        world.held.credits_repeated = 3;
        assert!(!report(&world).agrees());
        world.seen.before_kill = Some(BTreeSet::new());
        assert!(!report(&world).agrees(), "not posted before the kill");
        world.seen.before_kill = Some([email].into());
        let report_of_kill = report(&world);
        assert!(report_of_kill.agrees(), "{:?}", report_of_kill.differences);
        let text = report_of_kill.text("");
        assert!(text.contains("1 custom event(s)"), "{text}");
        assert!(text.contains("3 request(s) to Quikly"), "{text}");
        world.held.credits_repeated = QUIKLY_IN_FLIGHT + 1;
        assert!(!report(&world).agrees());
        world.held.answers_dropped = 1;
        assert!(report(&world).agrees());
    }
}
