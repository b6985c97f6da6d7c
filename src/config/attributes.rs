//! Attributes that configuration writes to profiles: which keys and values may be set.
//!
//! Invariants: never an identity, never a control key, never an operator; consent only where the caller allows it
//! (profiles that are new). A value is never shown in a message.

use serde_json::{Map, Number, Value as Json};

use super::activations::group_id;
use super::field::{Field, TEXT_CHARS_MAX};
use super::mistake::Mistake;
use super::read::Section;
use super::tree::{Node, Place, Value};
use crate::model::json::Object;

/// What says who a profile is; written by flows alone.
const IDENTITY: [&str; 5] = ["external_id", "user_alias", "braze_id", "email", "phone"];
/// What says what a profile agreed to.
const CONSENT: [&str; 3] = ["email_subscribe", "push_subscribe", "subscription_groups"];
/// What a profile's devices are.
const CONTROL: [&str; 1] = ["push_tokens"];
/// What would change a value rather than set it.
const OPERATORS: [&str; 3] = ["inc", "add", "remove"];

const SUBSCRIPTION_STATES: [(&str, ()); 3] =
    [("opted_in", ()), ("subscribed", ()), ("unsubscribed", ())];
const GENDERS: [(&str, ()); 5] = [("M", ()), ("F", ()), ("O", ()), ("N", ()), ("P", ())];

/// Whether consent may be set here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Consent {
    Allowed,
    Forbidden,
}

/// The attributes in the table `key`, as Braze gets them.
pub(super) fn read(section: &Section<'_>, key: &str, consent: Consent) -> Object {
    let Some(table) = section.table(key) else {
        return Map::new();
    };
    let mut object = Map::new();
    for (name, place, field) in table.fields() {
        if !name_fits(&table, name, &place, consent) {
            continue;
        }
        profile_field(name, &field);
        if let Some(value) = json(&field, field.node, true) {
            object.insert(name.to_owned(), value);
        }
    }
    object
}

/// Notes a name that may not be written; `false` then.
pub(super) fn name_fits(table: &Section<'_>, name: &str, place: &Place, consent: Consent) -> bool {
    let chars = name.chars().count();
    let (problem, remedy) = if IDENTITY.contains(&name) {
        (
            "who a profile is cannot be configured",
            "flows set it; take it out",
        )
    } else if CONSENT.contains(&name) {
        if consent == Consent::Allowed {
            return true;
        }
        (
            "consent may only be set for new profiles",
            "put it into created_attributes of an activation",
        )
    } else if CONTROL.contains(&name) || name.starts_with('_') {
        (
            "this key controls Braze rather than describing a person",
            "take it out",
        )
    } else if OPERATORS.contains(&name) || name.starts_with('$') {
        (
            "this is an operator, and operators cannot be configured",
            "set a value instead",
        )
    } else if !(1..=TEXT_CHARS_MAX).contains(&chars)
        || name.trim() != name
        || name.chars().any(char::is_control)
    {
        (
            "not a name for an attribute",
            "1 to 255 characters, no control characters, no white space around",
        )
    } else {
        return true;
    };
    table.mistake(Mistake::new(place, table.key(name), problem).remedy(remedy));
    false
}

/// The values of the profile fields that Braze knows; wrong ones it would drop without a word.
fn profile_field(name: &str, field: &Field<'_>) {
    match name {
        "email_subscribe" | "push_subscribe" => {
            field.choice(&SUBSCRIPTION_STATES);
        }
        "gender" => {
            field.choice(&GENDERS);
        }
        "subscription_groups" => subscription_groups(field),
        "country" | "language" => {
            if let Some(text) = field.text()
                && !(text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphabetic()))
            {
                field.wrong(
                    "not a code",
                    "two letters (ISO 3166-1 alpha-2 or ISO 639-1)",
                );
            }
        }
        "dob" => {
            let date = match &field.node.value {
                Value::Text(text) => text.clone(),
                Value::Moment(moment) => moment.to_string(),
                _ => String::new(),
            };
            if date.parse::<jiff::civil::Date>().is_err() || date.len() != 10 {
                field.wrong("not a date", "YYYY-MM-DD");
            }
        }
        "first_name" | "last_name" | "home_city" | "time_zone" => {
            field.text();
        }
        _ => {}
    }
}

fn subscription_groups(field: &Field<'_>) {
    let allowed = "[{ subscription_group_id = \"UUID\", subscription_state = \"subscribed\" }]";
    let Value::Array(items) = &field.node.value else {
        field.wrong("wrong type", allowed);
        return;
    };
    for (at, node) in items.iter().enumerate() {
        let item = Field {
            context: field.context,
            node,
            path: format!("{}[{at}]", field.path),
        };
        let Some(item) = item.section() else { continue };
        if let Some(id) = item.required("subscription_group_id", allowed) {
            group_id(&id);
        }
        if let Some(state) = item.required("subscription_state", allowed) {
            state.choice(&[("subscribed", ()), ("unsubscribed", ())]);
        }
        item.boolean("use_double_opt_in_logic", false);
        let known = [
            "subscription_group_id",
            "subscription_state",
            "use_double_opt_in_logic",
        ];
        for (name, place, inner) in item.fields() {
            if !known.contains(&name) {
                item.mistake(
                    Mistake::new(&place, inner.path, "unknown key").allowed(known.join(", ")),
                );
            }
        }
    }
}

/// `field` is the attribute; `node` the value or something inside it.
fn json(field: &Field<'_>, node: &Node, at_top: bool) -> Option<Json> {
    let wrong = |problem: &str, allowed: &str| {
        let mistake = Mistake::new(&node.at, field.path.clone(), problem);
        field.context.notes.mistake(mistake.allowed(allowed));
        None
    };
    match &node.value {
        Value::Text(text) if text.chars().count() > TEXT_CHARS_MAX => wrong(
            &format!(
                "a string of {} characters is longer than Braze takes",
                text.chars().count()
            ),
            "up to 255 characters",
        ),
        Value::Text(text) => Some(Json::String(text.clone())),
        Value::Integer(number) => Some(Json::from(*number)),
        Value::Float(number) => match Number::from_f64(*number) {
            Some(number) => Some(Json::Number(number)),
            None => wrong("JSON knows no such number", "a finite number"),
        },
        Value::Boolean(truth) => Some(Json::Bool(*truth)),
        Value::Moment(moment) if moment.date.is_none() => wrong(
            "a time of day alone is nothing Braze knows",
            "a date, or a date-time",
        ),
        Value::Moment(moment) => Some(Json::String(moment.to_string())),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| json(field, item, false)).collect();
            items
                .into_iter()
                .collect::<Option<Vec<_>>>()
                .map(Json::Array)
        }
        Value::Table(table) => {
            let mut object = Map::new();
            let mut whole = true;
            for entry in &table.0 {
                let key = entry.key.as_str();
                if OPERATORS.contains(&key)
                    || key.starts_with('$')
                    || (at_top && key.starts_with('_'))
                {
                    let key = format!("{}.{key}", field.path);
                    field.context.notes.mistake(
                        Mistake::new(
                            &entry.at,
                            key,
                            "this is an operator, and operators cannot be configured",
                        )
                        .remedy("set a value instead"),
                    );
                    whole = false;
                    continue;
                }
                match json(field, &entry.node, false) {
                    Some(value) => {
                        object.insert(entry.key.clone(), value);
                    }
                    None => whole = false,
                }
            }
            whole.then_some(Json::Object(object))
        }
    }
}
