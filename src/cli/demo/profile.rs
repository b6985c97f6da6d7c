//! A profile, as it must be and as the sandbox has it.
//!
//! Invariants: without what Braze alone decides (`braze_id`, dates).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::cli::PROFILE_FIELDS;

/// The longest alias, bytes; a longer address is a profile by its e-mail only.
const ALIAS_BYTES_MAX: usize = 236;

/// Whether posts set one of Braze's own fields by this name; everything else is a custom attribute.
fn is_field(name: &str) -> bool {
    PROFILE_FIELDS.contains(&name) || name == "email_subscribe"
}

/// One profile.
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
    /// The subscription groups it is Subscribed in.
    pub groups: BTreeSet<String>,
    /// Custom events that arrived in another order than they happened.
    pub overtaken: BTreeSet<String>,
}

impl Profile {
    /// As the relay creates one for this participant.
    pub(super) fn created(email: &str) -> Profile {
        let alias =
            (email.len() <= ALIAS_BYTES_MAX).then(|| ("email".to_owned(), email.to_owned()));
        Profile {
            aliases: alias.into_iter().collect(),
            email: email.to_owned(),
            ..Profile::default()
        }
    }

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
        let name = |event: &Value| event["name"].as_str().unwrap_or_default().to_owned();
        let groups = object.get("subscription_groups").and_then(Value::as_object);
        let groups = groups.into_iter().flatten();
        let mut profile = Profile {
            external_id: text("external_id"),
            aliases: list("user_aliases").map(alias).collect(),
            email: text("email").unwrap_or_default().to_lowercase(),
            phone: text("phone"),
            attributes: BTreeMap::new(),
            events: list("custom_events")
                .map(|event| (name(event), event["count"].as_u64().unwrap_or_default()))
                .collect(),
            groups: groups
                .filter(|(_, status)| *status == "Subscribed")
                .map(|(group, _)| group.clone())
                .collect(),
            overtaken: list("custom_events")
                .filter(|event| !in_order(&event["times"]))
                .map(name)
                .collect(),
        };
        for group in ["fields", "custom_attributes"] {
            let values = object.get(group).and_then(Value::as_object);
            profile.set(values.into_iter().flatten());
        }
        let fields = object.iter().filter(|(key, _)| is_field(key));
        profile.set(fields);
        profile
    }

    /// How profiles of one person are found: the e-mail, else the external id.
    pub(super) fn whose(&self) -> &str {
        match &self.external_id {
            Some(id) if self.email.is_empty() => id,
            _ => &self.email,
        }
    }

    /// Writes attributes.
    pub(super) fn set<'a>(&mut self, values: impl IntoIterator<Item = (&'a String, &'a Value)>) {
        let values = values.into_iter();
        self.attributes
            .extend(values.map(|(key, value)| (key.clone(), value.clone())));
    }

    /// Writes one attribute.
    pub(super) fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.attributes.insert(name.to_owned(), value.into());
    }

    /// A custom event, once.
    pub(super) fn happened(&mut self, name: &str) {
        *self.events.entry(name.to_owned()).or_default() += 1;
    }
}

/// Whether these moments (RFC 3339, UTC, of one length) never go back.
fn in_order(times: &Value) -> bool {
    let times: Vec<_> = times.as_array().into_iter().flatten().collect();
    times
        .windows(2)
        .all(|pair| pair[0].as_str() <= pair[1].as_str())
}

/// The lines of known profiles, by whose they are.
pub(super) fn read_known(known: &str) -> anyhow::Result<BTreeMap<String, Vec<Profile>>> {
    let mut profiles: BTreeMap<String, Vec<Profile>> = BTreeMap::new();
    for line in known.lines() {
        let profile = Profile::read(&serde_json::from_str(line)?);
        let whose = profile.whose().to_owned();
        profiles.entry(whose).or_default().push(profile);
    }
    Ok(profiles)
}

/// Of several profiles of one person the first that the brand knows, else the first.
pub(super) fn chosen(all: &mut [Profile]) -> Option<&mut Profile> {
    let identified = all.iter().position(|one| one.external_id.is_some());
    all.get_mut(identified.unwrap_or(0))
}
