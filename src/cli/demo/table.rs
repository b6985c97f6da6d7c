//! The end: what must be there beside what the relay says and what the sandbox holds, and every difference by name.
//!
//! Invariants: pure. What a kill may repeat is bounded and said; everything else must be exactly as on paper.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::ask::{Held, Standing};
use super::expect::{Credit, Expected, Profile};
use super::relay::{BRAZE_IN_FLIGHT, QUIKLY_IN_FLIGHT};

/// How many differences are printed.
const DIFFERENCES_SHOWN: usize = 20;
/// Objects of one request to Braze.
const OBJECTS_PER_REQUEST: u64 = 75;

/// What the client saw.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// Events answered with 202.
    pub sent: u64,
    /// Different ids among the answers.
    pub accepted: u64,
    /// Whether the relay was killed.
    pub killed: bool,
}

/// One line of a table: what it is about, what must be, what is. `None`: nobody can say.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    what: &'static str,
    must: u64,
    relay: Option<u64>,
    sandbox: Option<u64>,
}

impl Row {
    fn agrees(&self) -> bool {
        [self.relay, self.sandbox]
            .into_iter()
            .flatten()
            .all(|is| is == self.must)
    }
}

/// The comparison.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    rows: Vec<Row>,
    /// What is not as it must be, each by name.
    pub differences: Vec<String>,
    events_repeated: u64,
    credits_repeated: u64,
    killed: bool,
}

impl Report {
    /// Compares. `before_kill` are the participants whose events had been posted when the relay was killed.
    pub(super) fn new(
        expected: &Expected,
        seen: Seen,
        standing: &Standing,
        held: &Held,
        before_kill: &BTreeSet<String>,
    ) -> Report {
        let mut report = Report {
            credits_repeated: held.credits_repeated,
            killed: seen.killed,
            ..Report::default()
        };
        report.numbers(expected, seen, standing, held);
        report.profiles(expected, held, before_kill);
        report.credits(&expected.credits, &held.credits);
        let differing = report.rows.iter().filter(|row| !row.agrees());
        let differing: Vec<_> = differing.map(difference).collect();
        report.differences.splice(0..0, differing);
        report.bounds();
        report
    }

    /// Whether everything is as it must be.
    pub(super) fn agrees(&self) -> bool {
        self.differences.is_empty()
    }

    fn row(&mut self, what: &'static str, must: u64, relay: Option<u64>, sandbox: Option<u64>) {
        self.rows.push(Row {
            what,
            must,
            relay,
            sandbox,
        });
    }

    fn numbers(&mut self, expected: &Expected, seen: Seen, standing: &Standing, held: &Held) {
        let credits = expected.credits.len() as u64;
        self.row("sent", expected.sent, Some(seen.sent), None);
        let repeated = seen.sent.saturating_sub(standing.accepted);
        self.row("duplicates", expected.duplicates, Some(repeated), None);
        self.row(
            "accepted",
            expected.accepted(),
            Some(standing.accepted),
            None,
        );
        self.row(
            "answered with an id",
            expected.accepted(),
            Some(seen.accepted),
            None,
        );
        self.row(
            "profiles created",
            expected.created,
            Some(standing.created),
            Some(held.created),
        );
        self.row("found", expected.found, Some(standing.found), None);
        self.row(
            "further participations",
            expected.further,
            Some(standing.further),
            None,
        );
        self.row(
            "credited",
            credits,
            Some(standing.credited),
            Some(held.credits.len() as u64),
        );
        self.row("dead", expected.dead(), Some(standing.dead), None);
        for (what, reason, is) in [
            ("  refused by Braze", "rejected", standing.rejected),
            (
                "  of no activation",
                "unknown_activation",
                standing.unknown_activation,
            ),
        ] {
            let must = expected.dead.get(reason).copied().unwrap_or(0);
            self.row(what, must, Some(is), None);
        }
    }

    fn profiles(&mut self, expected: &Expected, held: &Held, before_kill: &BTreeSet<String>) {
        let mut by_email: BTreeMap<&str, Vec<&Profile>> = BTreeMap::new();
        for profile in &held.profiles {
            by_email.entry(&profile.email).or_default().push(profile);
        }
        let sum = |value: &dyn Fn(&Profile) -> u64| {
            let must: u64 = expected.profiles.values().flatten().map(value).sum();
            (must, held.profiles.iter().map(value).sum::<u64>())
        };
        let attributes = sum(&|profile| profile.attributes.len() as u64);
        let profiles = sum(&|_| 1);
        let emails = (expected.profiles.len() as u64, by_email.len() as u64);
        let mut events = sum(&|profile| profile.events.values().sum());
        let none = Vec::new();
        let all: BTreeSet<&str> = by_email
            .keys()
            .copied()
            .chain(expected.profiles.keys().map(String::as_str))
            .collect();
        for email in all {
            let must = expected.profiles.get(email).unwrap_or(&none);
            let is = by_email.get(email).cloned().unwrap_or_default();
            let may_repeat = self.killed && before_kill.contains(email);
            let repeated = compare(email, must, is, may_repeat, &mut self.differences);
            self.events_repeated += repeated;
        }
        // Repetitions that a kill explains are told apart.
        events.1 -= self.events_repeated;
        for (what, (must, is)) in [
            ("e-mail addresses", emails),
            ("profiles", profiles),
            ("attributes", attributes),
            ("custom events", events),
        ] {
            self.row(what, must, None, Some(is));
        }
    }

    fn credits(&mut self, expected: &BTreeSet<Credit>, held: &[Credit]) {
        let mut left = expected.clone();
        for credit in held {
            if !left.remove(credit) {
                let (scope, event, email) = credit;
                let again = if expected.contains(credit) {
                    "a second time"
                } else {
                    "for nothing"
                };
                self.differences
                    .push(format!("{email}: credited {again} ({scope}, {event})"));
            }
        }
        for (scope, event, email) in left {
            self.differences
                .push(format!("{email}: not credited ({scope}, {event})"));
        }
    }

    /// What the kill may have repeated, and no more.
    fn bounds(&mut self) {
        let (events, credits) = if self.killed {
            (BRAZE_IN_FLIGHT * OBJECTS_PER_REQUEST, QUIKLY_IN_FLIGHT)
        } else {
            (0, 0)
        };
        for (what, is, most) in [
            ("custom events", self.events_repeated, events),
            ("credit requests", self.credits_repeated, credits),
        ] {
            if is > most {
                self.differences.push(format!(
                    "{is} {what} were repeated; {most} can have been under way at the kill"
                ));
            }
        }
    }

    /// As a table, with the verdict.
    pub(super) fn text(&self) -> String {
        let number = |value: Option<u64>| value.map_or_else(String::new, |value| value.to_string());
        // Writing to a string cannot fail.
        let mut text = format!(
            "{:<24}{:>10}{:>13}{:>16}\n",
            "", "must be", "relay says", "sandbox holds"
        );
        for row in &self.rows {
            let verdict = if row.agrees() { "" } else { "   DIFFERS" };
            let (relay, sandbox) = (number(row.relay), number(row.sandbox));
            let _ = writeln!(
                text,
                "{:<24}{:>10}{relay:>13}{sandbox:>16}{verdict}",
                row.what, row.must
            );
        }
        text.push('\n');
        if self.killed {
            let _ = writeln!(
                text,
                "Asked twice, because the answer was under way at the kill: {} custom event(s), counted once more by Braze\n\
                 (on_unknown = \"resend\" is at least once; \"park\" would have made dead letters of them), and {} credit\n\
                 request(s), which gave nothing more (same Idempotency-Key).",
                self.events_repeated, self.credits_repeated
            );
        }
        if self.agrees() {
            text += "The sandbox holds exactly what must be there: every person once.";
            return text;
        }
        let _ = write!(text, "{} difference(s):", self.differences.len());
        for difference in self.differences.iter().take(DIFFERENCES_SHOWN) {
            let _ = write!(text, "\n  {difference}");
        }
        if let Some(more) = self
            .differences
            .len()
            .checked_sub(DIFFERENCES_SHOWN)
            .filter(|more| *more > 0)
        {
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

/// Compares the profiles of one e-mail, in any order; says how often events happened more often than they must, where
/// that may be.
fn compare(
    email: &str,
    must: &[Profile],
    is: Vec<&Profile>,
    may_repeat: bool,
    differences: &mut Vec<String>,
) -> u64 {
    let mut left = is;
    let mut repeated = 0;
    for wanted in must {
        let same = |other: &&Profile| {
            other.external_id == wanted.external_id && other.aliases == wanted.aliases
        };
        match left.iter().position(same) {
            Some(place) => {
                let found = left.remove(place);
                repeated += differ(email, wanted, found, may_repeat, differences);
            }
            None => differences.push(format!("{email}: there is no profile {}", name(wanted))),
        }
    }
    for extra in left {
        differences.push(format!(
            "{email}: there is a profile too many, {}",
            name(extra)
        ));
    }
    repeated
}

fn name(profile: &Profile) -> String {
    let aliases = profile
        .aliases
        .iter()
        .map(|(label, name)| format!("{label}:{name}"));
    let names: Vec<_> = profile.external_id.iter().cloned().chain(aliases).collect();
    match names.as_slice() {
        [] => "by e-mail only".into(),
        names => names.join(", "),
    }
}

fn differ(
    email: &str,
    must: &Profile,
    is: &Profile,
    may_repeat: bool,
    differences: &mut Vec<String>,
) -> u64 {
    let mut tell = |what: &str, must: Option<String>, is: Option<String>| {
        let shown = |value: Option<String>| value.unwrap_or_else(|| "nothing".into());
        if must != is {
            differences.push(format!(
                "{email}: {what} must be {}, is {}",
                shown(must),
                shown(is)
            ));
        }
    };
    tell("phone", must.phone.clone(), is.phone.clone());
    let keys: BTreeSet<_> = must.attributes.keys().chain(is.attributes.keys()).collect();
    for key in keys {
        let (wanted, found) = (must.attributes.get(key), is.attributes.get(key));
        if wanted != found {
            tell(
                key,
                wanted.map(ToString::to_string),
                found.map(ToString::to_string),
            );
        }
    }
    let mut repeated = 0;
    let names: BTreeSet<_> = must.events.keys().chain(is.events.keys()).collect();
    for name in names {
        let count = |profile: &Profile| profile.events.get(name).copied().unwrap_or(0);
        let (wanted, found) = (count(must), count(is));
        // One request under way was cut by the one kill: each event in it happened at most once more.
        if may_repeat && wanted > 0 && found > wanted && found <= 2 * wanted {
            repeated += found - wanted;
        } else {
            tell(
                &format!("the count of {name}"),
                Some(wanted.to_string()),
                Some(found.to_string()),
            );
        }
    }
    repeated
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::demo::data::{KNOWN, participations};
    use crate::cli::demo::expect::expected;

    type Spoil<'a> = &'a dyn Fn(&mut World);

    struct World {
        expected: Expected,
        seen: Seen,
        standing: Standing,
        held: Held,
        before_kill: BTreeSet<String>,
    }

    /// The shipped files, and a world that is as it must be.
    fn world() -> World {
        let lines = participations(Some(600)).unwrap();
        let expected = expected(&lines, KNOWN).unwrap();
        let credits = expected.credits.len() as u64;
        World {
            seen: Seen {
                sent: expected.sent,
                accepted: expected.accepted(),
                killed: false,
            },
            standing: Standing {
                accepted: expected.accepted(),
                done: expected.accepted() - expected.dead(),
                queued: 0,
                dead: expected.dead(),
                rejected: expected.dead["rejected"],
                unknown_activation: expected.dead["unknown_activation"],
                created: expected.created,
                found: expected.found,
                further: expected.further,
                credited: credits,
            },
            held: Held {
                profiles: expected.profiles.values().flatten().cloned().collect(),
                created: expected.created,
                credits: expected.credits.iter().cloned().collect(),
                credits_repeated: 0,
            },
            before_kill: BTreeSet::new(),
            expected,
        }
    }

    fn report(world: &World) -> Report {
        let World {
            expected,
            seen,
            standing,
            held,
            before_kill,
        } = world;
        Report::new(expected, *seen, standing, held, before_kill)
    }

    #[test]
    fn a_world_as_it_must_be_has_no_difference() {
        let report = report(&world());
        assert!(report.agrees(), "{:?}", report.differences);
        let text = report.text();
        assert!(text.contains("exactly what must be there"), "{text}");
        assert!(!text.contains("DIFFERS"), "{text}");
    }

    #[test]
    fn everything_that_is_not_as_it_must_be_is_named() {
        let spoilt: [(&str, Spoil); 10] = [
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
            ("quikly_spring_drop must be", &|world| {
                let marked = world
                    .held
                    .profiles
                    .iter_mut()
                    .find(|one| one.attributes.contains_key("quikly_spring_drop"));
                marked
                    .unwrap()
                    .attributes
                    .insert("quikly_spring_drop".into(), json!(false));
            }),
            ("phone must be", &|world| {
                world.held.profiles[0].phone = Some("+1".into());
            }),
            ("the count of quikly_joined", &|world| {
                let new = world
                    .held
                    .profiles
                    .iter_mut()
                    .find(|one| one.events.contains_key("quikly_joined"));
                new.unwrap().events.insert("quikly_joined".into(), 2);
            }),
            ("not credited", &|world| drop(world.held.credits.pop())),
            ("credited a second time", &|world| {
                let twice = world.held.credits[0].clone();
                world.held.credits.push(twice);
            }),
        ];
        for (told, spoil) in spoilt {
            let mut world = world();
            spoil(&mut world);
            let report = report(&world);
            assert!(
                report.differences.iter().any(|one| one.contains(told)),
                "{told}: {:?}",
                report.differences
            );
            assert!(report.text().contains("difference(s):"));
        }
    }

    #[test]
    fn only_a_kill_explains_repetitions_and_only_of_what_was_posted_before_it() {
        let mut world = world();
        let new = world
            .held
            .profiles
            .iter_mut()
            .find(|one| one.events.contains_key("quikly_joined"));
        let new = new.unwrap();
        new.events.insert("quikly_joined".into(), 2);
        let email = new.email.clone();
        world.held.credits_repeated = 3;
        assert!(!report(&world).agrees());
        world.seen.killed = true;
        assert!(!report(&world).agrees(), "not posted before the kill");
        world.before_kill.insert(email);
        let report_of_kill = report(&world);
        assert!(report_of_kill.agrees(), "{:?}", report_of_kill.differences);
        assert!(report_of_kill.text().contains("1 custom event(s)"));
        assert!(report_of_kill.text().contains("3 credit\n"));
        world.held.credits_repeated = QUIKLY_IN_FLIGHT + 1;
        assert!(!report(&world).agrees());
    }
}
