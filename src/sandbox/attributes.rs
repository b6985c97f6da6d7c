//! What an attributes object may say and what it does to a profile (user_attributes_object).
//!
//! Invariants: [`check`] refuses only what Braze refuses; everything else is answered with success, and [`apply`] drops in
//! silence what Braze drops in silence, counting it.

use serde_json::{Value, json};

use super::email;
use super::identifier::{BAD_EMAIL, Problem, problem};
use super::profiles::{Object, Profile, Profiles};

/// Longest key and string value, in characters.
pub const TEXT_CHARS_MAX: usize = 255;
/// Most elements of an array attribute; the oldest go.
const ARRAY_MAX: usize = 500;

/// Keys that name, steer or are handled elsewhere, and never become attributes.
const CONTROL: [&str; 9] = [
    "external_id",
    "user_alias",
    "braze_id",
    "email",
    "phone",
    "subscription_groups",
    "_update_existing_only",
    "_merge_objects",
    "push_tokens",
];

/// Braze's own profile fields.
const STANDARD: [&str; 20] = [
    "country",
    "current_location",
    "date_of_first_session",
    "date_of_last_session",
    "dob",
    "email_subscribe",
    "email_open_tracking_disabled",
    "email_click_tracking_disabled",
    "first_name",
    "last_name",
    "gender",
    "home_city",
    "language",
    "marked_email_as_spam_at",
    "push_subscribe",
    "time_zone",
    "facebook",
    "twitter",
    "image_url",
    "user_attributes",
];

/// One entry of `subscription_groups`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupWish {
    /// `subscription_group_id`
    pub group: String,
    /// `subscription_state`
    pub subscribed: bool,
    /// `use_double_opt_in_logic`
    pub double_opt_in: bool,
}

/// Reads one group wish: a v1 status set, an entry of v2, or of `subscription_groups`.
pub fn group_wish(entry: &Value, known: &dyn Fn(&str) -> bool) -> Result<GroupWish, Problem> {
    let Some(entry) = entry.as_object() else {
        return Err(problem(
            "'subscription_groups' entries must be objects",
            "BAD_SUBSCRIPTION_GROUP_HASH",
        ));
    };
    let group = entry.get("subscription_group_id").and_then(Value::as_str);
    let Some(group) = group.filter(|id| known(id)) else {
        return Err(problem(
            "Invalid subscription group ID",
            "BAD_SUBSCRIPTION_GROUP_ID",
        ));
    };
    let subscribed = match entry.get("subscription_state").and_then(Value::as_str) {
        Some("subscribed") => true,
        Some("unsubscribed") => false,
        _ => {
            return Err(problem(
                "'subscription_state' must be 'subscribed' or 'unsubscribed'",
                "BAD_SUBSCRIPTION_GROUP_STATE",
            ));
        }
    };
    Ok(GroupWish {
        group: group.to_owned(),
        subscribed,
        double_opt_in: subscribed
            && entry.get("use_double_opt_in_logic") == Some(&Value::Bool(true)),
    })
}

/// The `subscription_groups` of an attributes object that was checked.
pub fn group_wishes(object: &Object) -> Vec<GroupWish> {
    let entries = object.get("subscription_groups").and_then(Value::as_array);
    let read = entries
        .into_iter()
        .flatten()
        .map(|entry| group_wish(entry, &|_| true));
    read.filter_map(Result::ok).collect()
}

/// What makes Braze refuse the object.
pub fn check(object: &Object, known_group: &dyn Fn(&str) -> bool) -> Result<(), Problem> {
    match object.get("email") {
        None | Some(Value::Null) => {}
        Some(Value::String(address)) if email::is_valid(address) => {}
        Some(_) => return Err(BAD_EMAIL),
    }
    let state = |key: &str| match object.get(key) {
        None | Some(Value::Null) => true,
        Some(value) => matches!(
            value.as_str(),
            Some("opted_in" | "subscribed" | "unsubscribed")
        ),
    };
    if !state("email_subscribe") {
        return Err(problem(
            "'email_subscribe' must be 'opted_in', 'subscribed' or 'unsubscribed'",
            "BAD_EMAIL_SUBSCRIPTION_STATE",
        ));
    }
    if !state("push_subscribe") {
        return Err(problem(
            "'push_subscribe' must be 'opted_in', 'subscribed' or 'unsubscribed'",
            "BAD_PUSH_SUBSCRIPTION_STATE",
        ));
    }
    match object.get("subscription_groups") {
        None => Ok(()),
        Some(Value::Array(entries)) => entries
            .iter()
            .try_for_each(|one| group_wish(one, known_group).map(drop)),
        Some(_) => Err(problem(
            "'subscription_groups' must be an array",
            "BAD_SUBSCRIPTION_GROUP_ARRAY",
        )),
    }
}

/// Writes the object to the profile at `place`; answers how many values were dropped in silence.
pub fn apply(profiles: &mut Profiles, place: usize, object: &Object) -> u64 {
    let optional = |value: &Value| value.as_str().map(str::to_owned);
    if let Some(address) = object.get("email") {
        profiles.set_email(place, optional(address).as_deref());
    }
    if let Some(phone) = object.get("phone") {
        profiles.set_phone(place, optional(phone).as_deref());
    }
    let profile = profiles.update(place);
    let mut dropped = 0;
    for (key, value) in object {
        let key = key.trim();
        if CONTROL.contains(&key) {
            continue;
        }
        let taken = if STANDARD.contains(&key) {
            set_field(profile, key, value)
        } else {
            set_custom(profile, key, value)
        };
        dropped += u64::from(!taken);
    }
    dropped
}

/// Whether the value was written. A bad country or gender becomes null instead, as documented for `country`.
fn set_field(profile: &mut Profile, key: &str, value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    let letters = |many: usize| text.len() == many && text.bytes().all(|b| b.is_ascii_alphabetic());
    let valid = value.is_null()
        || match key {
            "country" | "language" => letters(2),
            "gender" => matches!(text, "M" | "F" | "O" | "N" | "P"),
            "dob" => is_date(text),
            "time_zone" => text == "UTC" || text.contains('/'),
            _ => !too_long(value),
        };
    if valid && !value.is_null() {
        profile.fields.insert(key.to_owned(), value.clone());
    } else if value.is_null() || key == "country" || key == "gender" {
        profile.fields.shift_remove(key);
    }
    valid
}

fn is_date(text: &str) -> bool {
    text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok()
}

fn too_long(value: &Value) -> bool {
    match value {
        Value::String(text) => text.len() > TEXT_CHARS_MAX && text.chars().count() > TEXT_CHARS_MAX,
        Value::Array(values) => values.iter().any(too_long),
        Value::Object(object) => object.values().any(too_long),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn set_custom(profile: &mut Profile, key: &str, value: &Value) -> bool {
    if key.is_empty() || key.chars().count() > TEXT_CHARS_MAX || too_long(value) {
        return false;
    }
    let before = profile.custom.get(key);
    let after = match value {
        Value::Null => {
            profile.custom.shift_remove(key);
            return true;
        }
        Value::Object(object) => match operation(object) {
            Some(("inc", by)) => increment(before, by),
            Some((operator, values)) => change_array(before, operator == "add", values),
            None => Some(value.clone()),
        },
        Value::Array(values) => Some(bounded(values.clone())),
        plain => Some(plain.clone()),
    };
    match after {
        Some(after) => {
            profile.custom.insert(key.to_owned(), after);
            true
        }
        None => false,
    }
}

/// The operator and its operand, if the object is one.
fn operation(object: &Object) -> Option<(&str, &Value)> {
    let (operator, operand) = object.iter().next()?;
    let only = object.len() == 1 && matches!(operator.as_str(), "inc" | "add" | "remove");
    only.then_some((operator, operand))
}

fn increment(before: Option<&Value>, by: &Value) -> Option<Value> {
    let by = by.as_i64()?;
    match before {
        None => Some(json!(by)),
        Some(Value::Number(number)) => match number.as_i64() {
            Some(whole) => Some(json!(whole.checked_add(by)?)),
            None => Some(json!(number.as_f64()? + by as f64)),
        },
        Some(_) => None,
    }
}

/// Values are unique, and one added again moves to the end.
fn change_array(before: Option<&Value>, add: bool, operand: &Value) -> Option<Value> {
    let mut values = match before {
        None => Vec::new(),
        Some(Value::Array(values)) => values.clone(),
        Some(_) => return None,
    };
    let operand = operand.as_array()?;
    values.retain(|value| !operand.contains(value));
    if add {
        for value in operand {
            values.retain(|one| one != value);
            values.push(value.clone());
        }
    }
    Some(bounded(values))
}

fn bounded(mut values: Vec<Value>) -> Value {
    if values.len() > ARRAY_MAX {
        values.drain(..values.len() - ARRAY_MAX);
    }
    Value::Array(values)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests may")]
    use super::*;
    use crate::model::time::Timestamp;

    fn world() -> Profiles {
        let mut profiles = Profiles::default();
        profiles.add_known(&Object::new(), Timestamp::ZERO);
        profiles
    }

    fn write(profiles: &mut Profiles, object: &Value) -> u64 {
        apply(profiles, 0, object.as_object().unwrap())
    }

    fn checked(object: &Value) -> Result<(), &'static str> {
        check(object.as_object().unwrap(), &|id| id == "known").map_err(|problem| problem.code)
    }

    #[test]
    fn null_removes_and_control_keys_never_become_attributes() {
        let mut profiles = world();
        write(
            &mut profiles,
            &json!({"level": 3, "first_name": "Ada", "email": "A@b.co", "_update_existing_only": true}),
        );
        assert_eq!(
            Value::Object(profiles.all()[0].custom.clone()),
            json!({"level": 3})
        );
        assert_eq!(profiles.all()[0].email.as_deref(), Some("a@b.co"));
        write(
            &mut profiles,
            &json!({"level": null, "first_name": null, "email": null}),
        );
        let profile = &profiles.all()[0];
        assert!(profile.custom.is_empty() && profile.fields.is_empty() && profile.email.is_none());
        assert!(profiles.with_email("a@b.co").is_empty());
    }

    #[test]
    fn operators_change_what_is_there() {
        let mut profiles = world();
        write(
            &mut profiles,
            &json!({"n": {"inc": 2}, "tags": {"add": ["a", "b"]}}),
        );
        write(
            &mut profiles,
            &json!({"n": {"inc": -5}, "tags": {"add": ["a", "c"]}}),
        );
        let custom = |profiles: &Profiles| Value::Object(profiles.all()[0].custom.clone());
        assert_eq!(custom(&profiles), json!({"n": -3, "tags": ["b", "a", "c"]}));
        write(&mut profiles, &json!({"tags": {"remove": ["b", "c"]}}));
        assert_eq!(custom(&profiles), json!({"n": -3, "tags": ["a"]}));
        assert_eq!(write(&mut profiles, &json!({"tags": {"inc": 1}})), 1);
    }

    #[test]
    fn what_is_too_long_is_dropped_and_still_a_success() {
        let mut profiles = world();
        let object = json!({"k": "x".repeat(256), "y": "ä".repeat(255), "z".repeat(256): 1});
        assert_eq!(checked(&object), Ok(()));
        assert_eq!(write(&mut profiles, &object), 2);
        assert_eq!(profiles.all()[0].custom.len(), 1);
    }

    #[test]
    fn bad_values_of_named_fields_have_their_codes() {
        assert_eq!(
            checked(&json!({"email": "a b@c.co"})),
            Err("EMAIL_BAD_FORMAT")
        );
        assert_eq!(
            checked(&json!({"email_subscribe": "yes"})),
            Err("BAD_EMAIL_SUBSCRIPTION_STATE")
        );
        assert_eq!(
            checked(&json!({"push_subscribe": 1})),
            Err("BAD_PUSH_SUBSCRIPTION_STATE")
        );
        assert_eq!(
            checked(&json!({"subscription_groups": {}})),
            Err("BAD_SUBSCRIPTION_GROUP_ARRAY")
        );
        assert_eq!(
            checked(&json!({"subscription_groups": [1]})),
            Err("BAD_SUBSCRIPTION_GROUP_HASH")
        );
        let with = |id: &str, key: &str| {
            checked(
                &json!({"subscription_groups": [{"subscription_group_id": id, key: "subscribed"}]}),
            )
        };
        assert_eq!(
            with("other", "subscription_state"),
            Err("BAD_SUBSCRIPTION_GROUP_ID")
        );
        assert_eq!(
            with("known", "subscription_status"),
            Err("BAD_SUBSCRIPTION_GROUP_STATE")
        );
        assert_eq!(with("known", "subscription_state"), Ok(()));
    }

    #[test]
    fn a_bad_country_becomes_null() {
        let mut profiles = world();
        write(
            &mut profiles,
            &json!({"country": "DE", "dob": "1990-02-30"}),
        );
        write(&mut profiles, &json!({"country": "Germany"}));
        assert!(profiles.all()[0].fields.is_empty());
    }
}
