//! What must be there in the end, worked out from the two files alone.
//!
//! Invariants: asks nobody and shares no code with the relay's flows: a mistake there shows here. Every person once.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use anyhow::Context as _;
use serde_json::{Map, Value};

use super::data::Line;
use crate::cli::PROFILE_FIELDS;

/// The longest alias, bytes; a longer address is a profile by its e-mail only.
const ALIAS_BYTES_MAX: usize = 236;

/// Whether the files set one of Braze's own fields by this name; everything else is a custom attribute.
fn is_field(name: &str) -> bool {
    PROFILE_FIELDS.contains(&name) || name == "email_subscribe"
}

/// What an activation does to a profile; the demo's configuration says the same.
pub(super) struct Activation {
    /// Its `q_scope`.
    pub scope: &'static str,
    /// The custom attribute that marks everybody, set to true.
    pub mark: &'static str,
    /// The custom event of a new profile.
    pub created_event: Option<&'static str>,
    /// The event that Quikly credits.
    pub credit: &'static str,
}

/// What every new profile gets: Braze field and value.
pub(super) const CREATED: (&str, &str) = ("email_subscribe", "opted_in");

/// The activations that are configured.
pub(super) const ACTIVATIONS: [Activation; 2] = [
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

/// A profile, without what Braze alone decides (`braze_id`, dates).
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Profile {
    /// `external_id`
    pub external_id: Option<String>,
    /// (label, name)
    pub aliases: BTreeSet<(String, String)>,
    /// Lower-cased.
    pub email: String,
    /// `phone`
    pub phone: Option<String>,
    /// Braze's own fields and custom attributes.
    pub attributes: BTreeMap<String, Value>,
    /// How often each custom event happened.
    pub events: BTreeMap<String, u64>,
}

impl Profile {
    /// From a line of the known profiles or of the sandbox's `/_sandbox/profiles`.
    pub(super) fn read(object: &Map<String, Value>) -> Profile {
        let text = |key: &str| object.get(key).and_then(Value::as_str).map(str::to_owned);
        let list = |key: &str| {
            object
                .get(key)
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
        };
        let alias = |alias: &Value| {
            let part = |key: &str| alias[key].as_str().unwrap_or_default().to_owned();
            (part("alias_label"), part("alias_name"))
        };
        let tally = |event: &Value| {
            let name = event["name"].as_str().unwrap_or_default().to_owned();
            (name, event["count"].as_u64().unwrap_or_default())
        };
        let mut profile = Profile {
            external_id: text("external_id"),
            aliases: list("user_aliases").map(alias).collect(),
            email: text("email").unwrap_or_default().to_lowercase(),
            phone: text("phone"),
            attributes: BTreeMap::new(),
            events: list("custom_events").map(tally).collect(),
        };
        for group in ["fields", "custom_attributes"] {
            let values = object.get(group).and_then(Value::as_object);
            profile.set(values.into_iter().flatten());
        }
        let fields = object.iter().filter(|(key, _)| is_field(key));
        profile.set(fields);
        profile
    }

    fn set<'a>(&mut self, values: impl IntoIterator<Item = (&'a String, &'a Value)>) {
        let values = values.into_iter();
        self.attributes
            .extend(values.map(|(key, value)| (key.clone(), value.clone())));
    }

    fn happened(&mut self, name: &str) {
        *self.events.entry(name.to_owned()).or_default() += 1;
    }
}

/// A credit: `q_scope`, event, e-mail as the client wrote it.
pub(super) type Credit = (String, String, String);

/// What must be there, and how it came about.
#[derive(Clone, Debug, Default)]
pub(super) struct Expected {
    /// Lines of the file.
    pub sent: u64,
    /// Lines that repeat an id of the same person.
    pub duplicates: u64,
    /// People who join and have no profile.
    pub created: u64,
    /// Participations of people who have one.
    pub found: u64,
    /// Further participations of a person in the same activation.
    pub further: u64,
    /// Dead letters by reason.
    pub dead: BTreeMap<&'static str, u64>,
    /// Every credit.
    pub credits: BTreeSet<Credit>,
    /// Every profile, by e-mail; those that were known and took no part as well.
    pub profiles: BTreeMap<String, Vec<Profile>>,
}

impl Expected {
    /// Events that are accepted: everything but duplicates.
    pub(super) fn accepted(&self) -> u64 {
        self.sent - self.duplicates
    }

    /// Events that end dead.
    pub(super) fn dead(&self) -> u64 {
        self.dead.values().sum()
    }

    /// Look-ups that are needed: one for each event that is worked.
    pub(super) fn look_ups(&self) -> u64 {
        self.accepted() - self.dead.get("unknown_activation").copied().unwrap_or(0)
    }
}

/// Plays the file on paper.
pub(super) fn expected(lines: &[Line], known: &str) -> anyhow::Result<Expected> {
    let mut expected = Expected::default();
    for line in known.lines() {
        let object: Map<String, Value> =
            serde_json::from_str(line).context("the file of known profiles")?;
        let profile = Profile::read(&object);
        let same = expected.profiles.entry(profile.email.clone()).or_default();
        same.push(profile);
    }
    let mut ids = HashSet::new();
    let mut took_part: HashMap<&str, HashSet<String>> = HashMap::new();
    for line in lines {
        expected.sent += 1;
        let participant = line.participant();
        let scope = line.field("q_scope");
        if !ids.insert((scope, line.field("id"), participant.clone())) {
            expected.duplicates += 1;
            continue;
        }
        let activation = ACTIVATIONS.iter().find(|one| one.scope == scope);
        let Some(activation) = activation else {
            *expected.dead.entry("unknown_activation").or_default() += 1;
            continue;
        };
        if !braze_takes(&participant) {
            *expected.dead.entry("rejected").or_default() += 1;
            continue;
        }
        if took_part
            .entry(activation.scope)
            .or_default()
            .insert(participant)
        {
            join(&mut expected, line, activation);
        } else {
            expected.further += 1;
            let participant = line.participant();
            if let Some(profile) = expected
                .profiles
                .get_mut(&participant)
                .and_then(|all| chosen(all))
            {
                bring(profile, line);
            }
        }
    }
    Ok(expected)
}

/// The first participation of a person in this activation.
fn join(expected: &mut Expected, line: &Line, activation: &Activation) {
    let participant = line.participant();
    let all = expected.profiles.entry(participant.clone()).or_default();
    if all.is_empty() {
        expected.created += 1;
        all.push(created(line, activation));
    } else {
        expected.found += 1;
    }
    if let Some(profile) = chosen(all) {
        bring(profile, line);
        let mark = activation.mark.to_owned();
        profile.attributes.insert(mark, Value::Bool(true));
    }
    expected.credits.insert((
        activation.scope.to_owned(),
        activation.credit.to_owned(),
        line.field("email").to_owned(),
    ));
}

fn created(line: &Line, activation: &Activation) -> Profile {
    let email = line.participant();
    let alias = (email.len() <= ALIAS_BYTES_MAX).then(|| ("email".to_owned(), email.clone()));
    let mut profile = Profile {
        aliases: alias.into_iter().collect(),
        email,
        phone: line.event["phone"].as_str().map(str::to_owned),
        attributes: BTreeMap::from([(CREATED.0.to_owned(), Value::from(CREATED.1))]),
        ..Profile::default()
    };
    if let Some(name) = activation.created_event {
        profile.happened(name);
    }
    profile
}

/// Of several profiles of one person the first that the brand knows, else the first.
fn chosen(all: &mut [Profile]) -> Option<&mut Profile> {
    let identified = all.iter().position(|one| one.external_id.is_some());
    all.get_mut(identified.unwrap_or(0))
}

/// What the participation itself brings.
fn bring(profile: &mut Profile, line: &Line) {
    profile.set(line.event["attributes"].as_object().into_iter().flatten());
    if let Some(name) = line.event["event"]["name"].as_str() {
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
    use serde_json::json;

    use super::super::data::{KNOWN, participations};
    use super::*;

    fn line(event: Value) -> Line {
        Line { text: "", event }
    }

    fn joins(id: &str, scope: &str, email: &str, attributes: &Value) -> Line {
        line(json!({"id": id, "q_scope": scope, "email": email, "attributes": attributes}))
    }

    #[test]
    fn one_person_is_one_profile_whatever_the_case_and_the_id() {
        let lines = [
            joins("1", "spring-drop", "Ada@Example.com", &json!({"a": 1})),
            joins("1", "spring-drop", " ada@example.COM", &json!({"a": 2})),
            joins("2", "spring-drop", "ADA@example.com", &json!({"b": 3})),
            joins("3", "vip-night", "ada@example.com", &json!({})),
        ];
        let expected = expected(&lines, "").unwrap();
        assert_eq!(
            (expected.sent, expected.duplicates, expected.accepted()),
            (4, 1, 3)
        );
        assert_eq!(
            (expected.created, expected.found, expected.further),
            (1, 1, 1)
        );
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
        let credit =
            |scope: &str, event: &str, email: &str| (scope.into(), event.into(), email.into());
        assert_eq!(
            expected.credits,
            BTreeSet::from([
                credit("spring-drop", "joined", "Ada@Example.com"),
                credit("vip-night", "vip_joined", "ada@example.com")
            ])
        );
    }

    #[test]
    fn of_several_known_profiles_the_identified_one_is_written_to_and_nothing_is_created() {
        let known = "{\"user_aliases\":[{\"alias_name\":\"w\",\"alias_label\":\"web\"}],\"email\":\"A@example.com\"}\n\
                     {\"external_id\":\"7\",\"email\":\"a@example.com\",\"first_name\":\"Zoë\"}";
        let lines = [joins("1", "spring-drop", "a@example.com", &json!({"a": 1}))];
        let expected = expected(&lines, known).unwrap();
        assert_eq!((expected.created, expected.found), (0, 1));
        let [web, identified] = &expected.profiles["a@example.com"][..] else {
            unreachable!("two are known");
        };
        assert!(web.attributes.is_empty() && web.events.is_empty());
        assert_eq!(identified.attributes.len(), 3);
        assert!(identified.aliases.is_empty() && identified.events.is_empty());
    }

    #[test]
    fn what_dies_leaves_nothing_behind() {
        let lines = [
            joins("1", "summer-drop", "a@example.com", &json!({})),
            joins("2", "spring-drop", "what?@example.com", &json!({})),
            joins("3", "spring-drop", ".a@example.com", &json!({})),
            joins("4", "spring-drop", "a@bücher.example.com", &json!({})),
        ];
        let expected = expected(&lines, "").unwrap();
        assert_eq!(
            expected.dead,
            BTreeMap::from([("rejected", 3), ("unknown_activation", 1)])
        );
        assert_eq!((expected.dead(), expected.look_ups()), (4, 3));
        assert!(expected.profiles.is_empty() && expected.credits.is_empty());
    }

    #[test]
    fn a_long_address_is_a_profile_without_alias() {
        let email = format!("{}@example.com", "a".repeat(230));
        let lines = [joins("1", "spring-drop", &email, &json!({}))];
        let expected = expected(&lines, "").unwrap();
        assert!(expected.profiles[&email][0].aliases.is_empty());
    }

    #[test]
    fn the_shipped_files_have_some_of_everything() {
        let expected = expected(&participations(None).unwrap(), KNOWN).unwrap();
        let numbers = [
            expected.duplicates,
            expected.found,
            expected.further,
            expected.dead["rejected"],
        ];
        assert!(numbers.iter().all(|number| *number >= 10), "{expected:?}");
        assert!(expected.dead["unknown_activation"] >= 10 && expected.created > 2000);
        let several = expected
            .profiles
            .values()
            .filter(|all| all.len() > 1)
            .count();
        assert!(several >= 30);
    }
}
