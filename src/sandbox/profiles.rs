//! The profiles of one workspace and the rules by which an object finds or makes one.
//!
//! Invariants: one profile per alias, external id and braze id; any number per e-mail and phone. Whoever changes an e-mail
//! or a phone does it here, so that the indexes agree. Nothing here knows about delays: what is held has taken effect.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value, json};

use super::email;
use super::identifier::{Identifier, text, user_alias};
use crate::model::time::Timestamp;

/// A JSON object.
pub type Object = Map<String, Value>;

/// How many times of one custom event are remembered on a profile; the count goes on.
const EVENT_TIMES_MAX: usize = 100;

/// What a profile remembers of one custom event.
#[derive(Clone, Debug)]
pub struct Tally {
    /// How often it happened.
    pub count: u64,
    /// The earliest time.
    pub first: Timestamp,
    /// The latest time.
    pub last: Timestamp,
    /// The latest times, in order of arrival, bounded.
    pub times: Vec<Timestamp>,
}

/// A profile's place in a subscription group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Subscribed or Unsubscribed.
    pub subscribed: bool,
    /// Larger is later.
    pub revision: u64,
}

/// One profile.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Braze's own id.
    pub braze_id: String,
    /// The brand's id.
    pub external_id: Option<String>,
    /// (label, name).
    pub aliases: Vec<(String, String)>,
    /// Lower-cased.
    pub email: Option<String>,
    /// Digits behind a `+`.
    pub phone: Option<String>,
    /// Braze's own fields.
    pub fields: Object,
    /// Custom attributes.
    pub custom: Object,
    /// Custom events by name.
    pub events: BTreeMap<String, Tally>,
    /// Purchases.
    pub purchases: u64,
    /// By subscription group.
    pub groups: BTreeMap<String, Membership>,
    /// When it was created: when that took effect.
    pub created_at: Timestamp,
    /// When the request came that created it.
    pub created_asked_at: Timestamp,
    /// When the request came that wrote the phone it has; `None`: none, or from the start.
    pub phone_asked_at: Option<Timestamp>,
    /// Whether a request created it, or it was there from the start.
    pub created_by_api: bool,
    /// Larger is later updated.
    pub revision: u64,
    /// It is gone; only its place is kept.
    pub deleted: bool,
}

impl Profile {
    /// Counts one more custom event.
    pub fn happened(&mut self, name: &str, time: Timestamp) {
        let tally = self.events.entry(name.to_owned()).or_insert_with(|| Tally {
            count: 0,
            first: time,
            last: time,
            times: Vec::new(),
        });
        tally.count += 1;
        tally.first = tally.first.min(time);
        tally.last = tally.last.max(time);
        if tally.times.len() == EVENT_TIMES_MAX {
            tally.times.remove(0);
        }
        tally.times.push(time);
    }

    /// `user_aliases` as Braze shows them.
    pub fn user_aliases(&self) -> Value {
        let shown =
            |(label, name): &(String, String)| json!({"alias_name": name, "alias_label": label});
        Value::Array(self.aliases.iter().map(shown).collect())
    }
}

/// All profiles of a workspace.
#[derive(Default)]
pub struct Profiles {
    all: Vec<Profile>,
    by_external_id: HashMap<String, usize>,
    by_braze_id: HashMap<String, usize>,
    by_alias: HashMap<String, HashMap<String, usize>>,
    by_email: HashMap<String, Vec<usize>>,
    by_phone: HashMap<String, Vec<usize>>,
    revision: u64,
}

impl Profiles {
    /// Every profile, in order of creation; deleted ones keep their places.
    pub fn all(&self) -> &[Profile] {
        &self.all
    }

    /// The profiles that have this e-mail, in order of creation. Exact: the profile keeps it lower-cased.
    pub fn with_email(&self, email: &str) -> &[usize] {
        self.by_email.get(email).map_or(&[], Vec::as_slice)
    }

    /// The profiles that have this phone.
    pub fn with_phone(&self, phone: &str) -> &[usize] {
        self.by_phone.get(phone).map_or(&[], Vec::as_slice)
    }

    /// How many profiles share each e-mail, for e-mails with more than one.
    pub fn shared_emails(&self) -> impl Iterator<Item = usize> {
        self.by_email
            .values()
            .map(Vec::len)
            .filter(|many| *many > 1)
    }

    /// A later number than any before; a profile's latest one says when it was updated.
    pub fn next_revision(&mut self) -> u64 {
        self.revision += 1;
        self.revision
    }

    /// Which profile `identifier` means, if there is one.
    pub fn find(&self, identifier: &Identifier) -> Option<usize> {
        match identifier {
            Identifier::ExternalId(id) => self.by_external_id.get(id).copied(),
            Identifier::BrazeId(id) => self.by_braze_id.get(id).copied(),
            Identifier::Alias { name, label } => self.by_alias.get(label)?.get(name).copied(),
            Identifier::Email(email) => self.preferred(self.with_email(email)),
            Identifier::Phone(phone) => self.preferred(self.with_phone(phone)),
        }
    }

    /// Of several: the most recently updated one with an external id; without any, the most recently updated one.
    fn preferred(&self, several: &[usize]) -> Option<usize> {
        let rank = |place: &usize| {
            let profile = &self.all[*place];
            (profile.external_id.is_some(), profile.revision)
        };
        several.iter().copied().max_by_key(|place| rank(place))
    }

    /// The profile that `identifier` means, made if there is none. `None`: Braze gives braze ids, nobody else does.
    pub fn find_or_create(
        &mut self,
        identifier: &Identifier,
        now: Timestamp,
    ) -> Option<(usize, bool)> {
        if let Some(found) = self.find(identifier) {
            return Some((found, false));
        }
        let place = match identifier {
            Identifier::BrazeId(_) => return None,
            Identifier::ExternalId(id) => {
                let place = self.add(None, now, true);
                self.by_external_id.insert(id.clone(), place);
                self.all[place].external_id = Some(id.clone());
                place
            }
            Identifier::Alias { name, label } => {
                let place = self.add(None, now, true);
                self.put_alias(place, label, name);
                place
            }
            Identifier::Email(email) => {
                let place = self.add(None, now, true);
                self.set_email(place, Some(email));
                place
            }
            Identifier::Phone(phone) => {
                let place = self.add(None, now, true);
                self.set_phone(place, Some(phone));
                place
            }
        };
        Some((place, true))
    }

    /// A profile of [`read_known`](super::read_known). One whose id, alias or braze id exists already is left out.
    pub fn add_known(&mut self, known: &Object, now: Timestamp) {
        let given = |key: &str| known.get(key).and_then(text);
        let aliases: Vec<_> = match known.get("user_aliases") {
            Some(Value::Array(aliases)) => aliases
                .iter()
                .filter_map(|one| user_alias(one).ok())
                .collect(),
            _ => Vec::new(),
        };
        let external_id = given("external_id");
        let taken = external_id
            .as_ref()
            .is_some_and(|id| self.by_external_id.contains_key(id))
            || given("braze_id").is_some_and(|id| self.by_braze_id.contains_key(&id))
            || aliases.iter().any(|alias| self.find(alias).is_some());
        if taken {
            return;
        }
        let place = self.add(given("braze_id"), now, false);
        if let Some(id) = external_id {
            self.by_external_id.insert(id.clone(), place);
            self.all[place].external_id = Some(id);
        }
        for alias in aliases {
            if let Identifier::Alias { name, label } = alias {
                self.put_alias(place, &label, &name);
            }
        }
        self.set_email(place, given("email").as_deref());
        self.set_phone(place, given("phone").as_deref());
        for (key, value) in known {
            match (key.as_str(), value) {
                ("custom_attributes", Value::Object(custom)) => {
                    self.all[place].custom.clone_from(custom);
                }
                (
                    "workspace" | "external_id" | "braze_id" | "user_aliases" | "email" | "phone",
                    _,
                ) => {}
                _ => {
                    self.all[place].fields.insert(key.clone(), value.clone());
                }
            }
        }
    }

    fn add(&mut self, braze_id: Option<String>, now: Timestamp, created_by_api: bool) -> usize {
        let place = self.all.len();
        let braze_id =
            braze_id.unwrap_or_else(|| format!("{:08x}{place:016x}", now.as_millis() / 1000));
        self.by_braze_id.insert(braze_id.clone(), place);
        let revision = self.next_revision();
        self.all.push(Profile {
            braze_id,
            external_id: None,
            aliases: Vec::new(),
            email: None,
            phone: None,
            fields: Object::new(),
            custom: Object::new(),
            events: BTreeMap::new(),
            purchases: 0,
            groups: BTreeMap::new(),
            created_at: now,
            created_asked_at: now,
            phone_asked_at: None,
            created_by_api,
            revision,
            deleted: false,
        });
        place
    }

    fn put_alias(&mut self, place: usize, label: &str, name: &str) {
        let names = self.by_alias.entry(label.to_owned()).or_default();
        names.insert(name.to_owned(), place);
        self.all[place]
            .aliases
            .push((label.to_owned(), name.to_owned()));
    }

    /// The profile at `place`, to be changed; it counts as updated.
    pub fn update(&mut self, place: usize) -> &mut Profile {
        let revision = self.next_revision();
        let profile = &mut self.all[place];
        profile.revision = revision;
        profile
    }

    /// Takes a profile away, with all that leads to it.
    pub fn delete(&mut self, place: usize) {
        self.set_email(place, None);
        self.set_phone(place, None);
        let profile = &mut self.all[place];
        self.by_braze_id.remove(&profile.braze_id);
        if let Some(id) = profile.external_id.take() {
            self.by_external_id.remove(&id);
        }
        for (label, name) in profile.aliases.drain(..) {
            if let Some(names) = self.by_alias.get_mut(&label) {
                names.remove(&name);
            }
        }
        profile.fields.clear();
        profile.custom.clear();
        profile.events.clear();
        profile.groups.clear();
        profile.created_by_api = false;
        profile.deleted = true;
    }

    /// Writes the e-mail, lower-cased, or takes it away.
    pub fn set_email(&mut self, place: usize, email: Option<&str>) {
        let email = email.map(str::to_lowercase);
        if self.all[place].email != email {
            let before = std::mem::replace(&mut self.all[place].email, email.clone());
            move_entry(&mut self.by_email, before, email, place);
        }
    }

    /// Writes the phone, as Braze keeps it, or takes it away.
    pub fn set_phone(&mut self, place: usize, phone: Option<&str>) {
        let phone = phone.map(email::kept_phone);
        if self.all[place].phone != phone {
            let before = std::mem::replace(&mut self.all[place].phone, phone.clone());
            move_entry(&mut self.by_phone, before, phone, place);
        }
    }
}

fn move_entry(
    index: &mut HashMap<String, Vec<usize>>,
    before: Option<String>,
    after: Option<String>,
    place: usize,
) {
    if let Some(before) = before
        && let Some(places) = index.get_mut(&before)
    {
        places.retain(|one| *one != place);
        if places.is_empty() {
            index.remove(&before);
        }
    }
    if let Some(after) = after {
        index.entry(after).or_default().push(place);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests may")]
    use super::*;

    fn alias(name: &str) -> Identifier {
        let (name, label) = (name.to_owned(), "email".to_owned());
        Identifier::Alias { name, label }
    }

    #[test]
    fn an_unknown_alias_with_a_known_email_makes_a_second_profile() {
        let mut profiles = Profiles::default();
        profiles.add_known(
            json!({"external_id": "7", "email": "Ada@b.co"})
                .as_object()
                .unwrap(),
            Timestamp::ZERO,
        );
        let (place, created) = profiles
            .find_or_create(&alias("ada@b.co"), Timestamp::ZERO)
            .unwrap();
        assert!(created);
        profiles.set_email(place, Some("ada@b.co"));
        assert_eq!(profiles.with_email("ada@b.co").len(), 2);
        assert_eq!(profiles.shared_emails().sum::<usize>(), 2);
        assert_eq!(
            profiles.find_or_create(&alias("ada@b.co"), Timestamp::ZERO),
            Some((place, false))
        );
    }

    #[test]
    fn of_several_with_one_email_the_latest_identified_one_is_meant_else_the_latest() {
        let mut profiles = Profiles::default();
        let known = |profiles: &mut Profiles, value: Value| {
            profiles.add_known(value.as_object().unwrap(), Timestamp::ZERO);
        };
        known(&mut profiles, json!({"email": "a@b.co"}));
        known(&mut profiles, json!({"email": "a@b.co"}));
        let meant = Identifier::Email("a@b.co".into());
        assert_eq!(profiles.find(&meant), Some(1));
        profiles.update(0);
        assert_eq!(profiles.find(&meant), Some(0));
        known(
            &mut profiles,
            json!({"email": "a@b.co", "external_id": "x"}),
        );
        known(
            &mut profiles,
            json!({"email": "a@b.co", "external_id": "y"}),
        );
        profiles.update(0);
        assert_eq!(profiles.find(&meant), Some(3));
        profiles.update(2);
        assert_eq!(profiles.find(&meant), Some(2));
    }

    #[test]
    fn an_email_makes_a_profile_without_alias_and_a_braze_id_makes_none() {
        let mut profiles = Profiles::default();
        let (place, _) = profiles
            .find_or_create(&Identifier::Email("a@b.co".into()), Timestamp::ZERO)
            .unwrap();
        assert!(profiles.all()[place].aliases.is_empty());
        assert_eq!(
            profiles.find_or_create(&Identifier::BrazeId("x".into()), Timestamp::ZERO),
            None
        );
    }
}
