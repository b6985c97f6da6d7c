//! People join two campaigns by e-mail: some thousands from a file, most of them new to Braze, some of them twice.
//!
//! Invariants: what must be there is worked out from the two files alone. Every person once.

mod files;

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use super::{Kill, Scenario};
use crate::cli::demo::expected::{Credit, Expected};
use crate::cli::demo::lines::{Line, Route};
use crate::cli::demo::profile::{Profile, chosen, read_known};
use crate::cli::demo::relay::WORKSPACE;
use crate::cli::demo::report::Measure;
use files::{Entry, KNOWN, participations};

/// What an activation does to a profile.
struct Activation {
    /// Its `q_scope`.
    scope: &'static str,
    /// The custom attribute that marks everybody, set to true.
    mark: &'static str,
    /// The custom event of a new profile.
    created_event: Option<&'static str>,
    /// The event that Quikly credits.
    credit: &'static str,
}

/// What every new profile gets: Braze field and value.
const CREATED: (&str, &str) = ("email_subscribe", "opted_in");

/// The activations that are configured.
const ACTIVATIONS: [Activation; 2] = [
    Activation {
        scope: "spring-drop",
        mark: "quikly_spring_drop",
        created_event: Some("quikly_joined"),
        credit: "joined",
    },
    Activation {
        scope: "vip-night",
        mark: "quikly_vip_night",
        created_event: None,
        credit: "vip_joined",
    },
];

/// The scenario.
pub(super) fn scenario(people: Option<usize>) -> anyhow::Result<Scenario> {
    let entries = participations(people)?;
    let all = entries.iter().map(Entry::line).collect::<Vec<Line>>();
    let (expected, ends) = expected(&entries, &all, KNOWN)?;
    Ok(Scenario {
        story: format!(
            "{} participations of made-up people in two campaigns. Braze knows {} profiles already; \
             some people come twice, some to both, some with an address that Braze refuses, some to a campaign that \
             nobody has configured.",
            expected.sent,
            KNOWN.lines().count()
        ),
        configuration: configuration(),
        sandbox: super::sandbox(KNOWN)?,
        subscribed: Vec::new(),
        clock_speed: 10.0,
        events_per_second: 60.0,
        look_ups: ends.people,
        lines: all,
        kill: Kill::HalfPosted,
        table: vec![
            ("sent", Measure::Sent),
            ("duplicates", Measure::Duplicates),
            ("accepted", Measure::Accepted),
            ("answered with an id", Measure::Ids),
            ("profiles created", Measure::Created(&["email/created"])),
            ("found", Measure::Ended(ends.found, &["email/found"])),
            (
                "further participations",
                Measure::Ended(ends.further, &["progress/"]),
            ),
            ("credited", Measure::ToldQuikly),
            ("dead", Measure::Dead),
            ("  refused by Braze", Measure::DeadOf("rejected")),
            ("  of no activation", Measure::DeadOf("unknown_activation")),
            ("e-mail addresses", Measure::People),
            ("profiles", Measure::Profiles),
            ("attributes", Measure::Attributes),
            ("custom events", Measure::Events),
        ],
        verdict: "every person once",
        expected,
    })
}

fn configuration() -> String {
    let mut text = String::new();
    for one in &ACTIVATIONS {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            r#"
[activations.{}]
workspace = "{WORKSPACE}"
flow = "email"
credit = {{ event = "{}" }}
mark_attributes = {{ {} = true }}
created_attributes = {{ {} = "{}" }}
"#,
            one.scope, one.credit, one.mark, CREATED.0, CREATED.1
        );
        if let Some(name) = one.created_event {
            let _ = writeln!(
                text,
                "created_event = {{ name = \"{name}\", on_unknown = \"resend\" }}"
            );
        }
    }
    text
}

impl Entry {
    fn line(&self) -> Line {
        let participant = self.participant();
        Line {
            id: self.field("id").to_owned(),
            same: format!(
                "{} {} {participant}",
                self.field("q_scope"),
                self.field("id")
            ),
            participant,
            route: Route::Quikly,
            text: self.text.to_owned(),
            must: 202,
        }
    }
}

/// How participations end that are neither dead nor the first of somebody unknown.
#[derive(Clone, Copy, Debug, Default)]
struct Ends {
    found: u64,
    further: u64,
    /// People who take part in an activation that is configured; each is looked up once.
    people: u64,
}

/// Works out what must be there. `known` are the lines of the known profiles.
fn expected(entries: &[Entry], lines: &[Line], known: &str) -> anyhow::Result<(Expected, Ends)> {
    let mut expected = Expected::new(lines, read_known(known)?);
    let mut ends = Ends::default();
    let mut same = HashSet::new();
    let mut people = HashSet::new();
    let mut took_part: HashMap<&str, HashSet<&str>> = HashMap::new();
    for (entry, line) in entries.iter().zip(lines) {
        if !same.insert(&line.same) {
            continue;
        }
        let scope = entry.field("q_scope");
        let activation = ACTIVATIONS.iter().find(|one| one.scope == scope);
        let Some(activation) = activation else {
            expected.dead.insert(line.id.clone(), "unknown_activation");
            continue;
        };
        people.insert(&line.participant);
        if !braze_takes(&line.participant) {
            expected.dead.insert(line.id.clone(), "rejected");
            continue;
        }
        let before = took_part.entry(activation.scope).or_default();
        if before.insert(&line.participant) {
            join(&mut expected, &mut ends, entry, activation);
        } else {
            ends.further += 1;
            let mine = expected.profiles.get_mut(&line.participant);
            if let Some(profile) = mine.and_then(|all| chosen(all)) {
                bring(profile, entry);
            }
        }
    }
    ends.people = people.len() as u64;
    Ok((expected, ends))
}

/// The first participation of a person in this activation.
fn join(expected: &mut Expected, ends: &mut Ends, entry: &Entry, activation: &Activation) {
    let participant = entry.participant();
    if expected.profiles.contains_key(&participant) {
        ends.found += 1;
    } else {
        expected.create(created(entry, activation));
    }
    let mine = expected.profiles.get_mut(&participant);
    if let Some(profile) = mine.and_then(|all| chosen(all)) {
        bring(profile, entry);
        profile.put(activation.mark, true);
    }
    expected.credit(Credit::new(
        activation.scope,
        activation.credit,
        entry.field("email"),
    ));
}

fn created(entry: &Entry, activation: &Activation) -> Profile {
    let mut profile = Profile::created(&entry.participant());
    profile.phone = entry.event["phone"].as_str().map(str::to_owned);
    profile.put(CREATED.0, CREATED.1);
    if let Some(name) = activation.created_event {
        profile.happened(name);
    }
    profile
}

/// What the participation itself brings.
fn bring(profile: &mut Profile, entry: &Entry) {
    profile.set(entry.event["attributes"].as_object().into_iter().flatten());
    if let Some(name) = entry.event["event"]["name"].as_str() {
        profile.happened(name);
    }
}

/// Whether Braze takes this address, as far as the file tries it (`email_validation`): no special character at an edge,
/// none of those it refuses inside, a domain in ASCII whose last part exists.
fn braze_takes(email: &str) -> bool {
    let Some((local, domain)) = email.split_once('@') else {
        return false;
    };
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '-');
    edge(local.chars().next())
        && edge(local.chars().next_back())
        && !local.contains([
            '*', '?', '!', '$', '%', '^', '(', ')', '{', '}', '[', ']', '~', ',',
        ])
        && domain.is_ascii()
        && !domain.ends_with(".invalid")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::{Value, json};

    use super::*;

    fn joins(id: &str, scope: &str, email: &str, attributes: &Value) -> Entry {
        let event = json!({"id": id, "q_scope": scope, "email": email, "attributes": attributes});
        Entry { text: "", event }
    }

    fn worked_out(entries: &[Entry], known: &str) -> (Expected, Ends) {
        let lines: Vec<_> = entries.iter().map(Entry::line).collect();
        expected(entries, &lines, known).unwrap()
    }

    #[test]
    fn one_person_is_one_profile_whatever_the_case_and_the_id() {
        let entries = [
            joins("1", "spring-drop", "Ada@Example.com", &json!({"a": 1})),
            joins("1", "spring-drop", " ada@example.COM", &json!({"a": 2})),
            joins("2", "spring-drop", "ADA@example.com", &json!({"b": 3})),
            joins("3", "vip-night", "ada@example.com", &json!({})),
        ];
        let (expected, ends) = worked_out(&entries, "");
        assert_eq!(
            (expected.sent, expected.duplicates, expected.accepted()),
            (4, 1, 3)
        );
        assert_eq!((expected.created, ends.found, ends.further), (1, 1, 1));
        let profile = &expected.profiles["ada@example.com"][0];
        assert_eq!(expected.profiles.len(), 1);
        let alias = ("email".to_owned(), "ada@example.com".to_owned());
        assert_eq!(profile.aliases, BTreeSet::from([alias]));
        let keys: Vec<_> = profile
            .attributes
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        assert_eq!(
            keys,
            [
                "a=1",
                "b=3",
                "email_subscribe=\"opted_in\"",
                "quikly_spring_drop=true",
                "quikly_vip_night=true"
            ]
        );
        assert_eq!(
            profile.events,
            BTreeMap::from([("quikly_joined".to_owned(), 1)])
        );
        assert_eq!(
            expected.credits,
            BTreeMap::from([
                (Credit::new("spring-drop", "joined", "Ada@Example.com"), 1),
                (Credit::new("vip-night", "vip_joined", "ada@example.com"), 1)
            ])
        );
    }

    #[test]
    fn of_several_known_profiles_the_identified_one_is_written_to_and_nothing_is_created() {
        let known = "{\"user_aliases\":[{\"alias_name\":\"w\",\"alias_label\":\"web\"}],\"email\":\"A@example.com\"}\n\
                     {\"external_id\":\"7\",\"email\":\"a@example.com\",\"first_name\":\"Zoë\"}";
        let entries = [joins("1", "spring-drop", "a@example.com", &json!({"a": 1}))];
        let (expected, ends) = worked_out(&entries, known);
        assert_eq!((expected.created, ends.found), (0, 1));
        let [web, identified] = &expected.profiles["a@example.com"][..] else {
            unreachable!("two are known");
        };
        assert!(web.attributes.is_empty() && web.events.is_empty());
        assert_eq!(identified.attributes.len(), 3);
        assert!(identified.aliases.is_empty() && identified.events.is_empty());
    }

    #[test]
    fn what_dies_leaves_nothing_behind() {
        let entries = [
            joins("1", "summer-drop", "a@example.com", &json!({})),
            joins("2", "spring-drop", "what?@example.com", &json!({})),
            joins("3", "spring-drop", ".a@example.com", &json!({})),
            joins("4", "spring-drop", "a@bücher.example.com", &json!({})),
        ];
        let (expected, _) = worked_out(&entries, "");
        assert_eq!((expected.dead_of("rejected"), expected.dead.len()), (3, 4));
        assert_eq!(expected.dead["1"], "unknown_activation");
        assert!(expected.profiles.is_empty() && expected.credits.is_empty());
    }

    #[test]
    fn a_long_address_is_a_profile_without_alias() {
        let email = format!("{}@example.com", "a".repeat(230));
        let entries = [joins("1", "spring-drop", &email, &json!({}))];
        let (expected, _) = worked_out(&entries, "");
        assert!(expected.profiles[&email][0].aliases.is_empty());
    }

    #[test]
    fn the_shipped_files_have_some_of_everything() {
        let entries = participations(None).unwrap();
        let (expected, ends) = worked_out(&entries, KNOWN);
        let numbers = [
            expected.duplicates,
            ends.found,
            ends.further,
            expected.dead_of("rejected"),
            expected.dead_of("unknown_activation"),
        ];
        assert!(numbers.iter().all(|number| *number >= 10), "{numbers:?}");
        assert!(expected.created > 2000);
        let several = expected.profiles.values().filter(|all| all.len() > 1);
        assert!(several.count() >= 30);
    }
}
