//! From a lead's answers to the attributes of a profile.
//!
//! Invariants: pure; an attribute is written as the type it is declared to be or not at all, for Braze fixes the type by
//! the first value it sees and afterwards drops others without a word. Nothing is converted unless the attribute says
//! so. What is told of a bad answer names the attribute, where it was looked for, and what kind of thing was found; never
//! the answer itself.
//!
//! Source: the pages "User attributes object", "Data types" and "Custom attributes" of Braze's documentation.

use serde_json::{Number, Value};

use crate::model::call::Address;
use crate::model::email;
use crate::model::json::Object;
use crate::model::rules::{AnswerKind, MappedAttribute, Mapping};
use crate::model::time;

/// The longest string Braze takes, in characters.
const TEXT_CHARS_MAX: usize = 255;

/// The largest array Braze takes, in bytes of JSON.
const ARRAY_BYTES_MAX: usize = 100 << 10;

/// The longest external id Braze takes, in bytes.
const EXTERNAL_ID_BYTES_MAX: usize = 987;

/// How many bad answers are told one by one.
const TOLD_MAX: usize = 8;

/// What a mapping makes of a lead.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapped {
    /// Whose lead it is; `None`: nobody's.
    pub address: Option<Address>,
    /// What is written.
    pub attributes: Object,
    /// What is not, and why.
    pub bad: Vec<Bad>,
    /// The lead is not written at all: nobody's, or bad where the content says `on_bad_answer = "dead"`.
    pub is_dead: bool,
}

/// An answer that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// The attribute's name; `email` or `external_id` for whose lead it is.
    pub name: String,
    /// Where it was looked for (a JSON pointer).
    pub from: String,
    /// What was found instead.
    pub found: &'static str,
    /// What it should have been.
    pub wanted: &'static str,
}

impl std::fmt::Display for Bad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Bad {
            name,
            from,
            found,
            wanted,
        } = self;
        write!(f, "{name} ({from}): {found} instead of {wanted}")
    }
}

/// Whose lead it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    /// The normalised e-mail.
    pub email: Option<String>,
    /// The brand's own id.
    pub external_id: Option<String>,
    bad: Vec<Bad>,
}

/// Whose lead this is. An external id may be a whole number, which is then written as text: Braze's are texts.
pub fn person(lead: &Value, mapping: &Mapping) -> Person {
    let mut person = Person::default();
    if let Some(from) = &mapping.email {
        let found = match lead.pointer(from) {
            Some(Value::String(text)) if !text.trim().is_empty() => {
                email::normalised(text).map_err(|_| "a text that is no e-mail address")
            }
            other => Err(kind(other)),
        };
        let wanted = "an e-mail address";
        person.email = person.found("email", from, wanted, found);
    }
    if let Some(from) = &mapping.external_id {
        let found = match lead.pointer(from) {
            Some(Value::String(text)) if text.trim().len() > EXTERNAL_ID_BYTES_MAX => {
                Err("a text of more than 987 bytes")
            }
            Some(Value::String(text)) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
            Some(Value::Number(number)) if !number.is_f64() => Ok(number.to_string()),
            other => Err(kind(other)),
        };
        person.external_id = person.found("external_id", from, "the brand's own id", found);
    }
    person
}

impl Person {
    fn found(
        &mut self,
        name: &str,
        from: &str,
        wanted: &'static str,
        found: Result<String, &'static str>,
    ) -> Option<String> {
        found
            .map_err(|found| self.bad.push(bad(name, from, found, wanted)))
            .ok()
    }
}

/// What `mapping` makes of `lead`.
pub fn map(lead: &Value, mapping: &Mapping) -> Mapped {
    let person = person(lead, mapping);
    let address = match (person.external_id, person.email) {
        (Some(id), _) => Some(Address::ExternalId(id)),
        (None, Some(email)) => Some(Address::Email(email)),
        (None, None) => None,
    };
    // One of the two is enough; the other may be missing.
    let mut bad = if address.is_none() {
        person.bad
    } else {
        Vec::new()
    };
    let mut attributes = Object::new();
    for attribute in &mapping.attributes {
        match answer(lead, attribute) {
            Ok(Some(value)) => {
                attributes.insert(attribute.name.clone(), value);
            }
            Ok(None) => {}
            Err(found) => bad.push(self::bad(
                &attribute.name,
                &attribute.from,
                found,
                wanted(attribute.kind),
            )),
        }
    }
    Mapped {
        is_dead: address.is_none() || (mapping.bad_answer_kills && !bad.is_empty()),
        address,
        attributes,
        bad,
    }
}

/// What is told of bad answers, bounded.
pub fn told(bad: &[Bad]) -> String {
    let mut told: Vec<String> = bad.iter().take(TOLD_MAX).map(Bad::to_string).collect();
    if bad.len() > TOLD_MAX {
        told.push(format!("and {} more", bad.len() - TOLD_MAX));
    }
    told.join("; ")
}

fn bad(name: &str, from: &str, found: &'static str, wanted: &'static str) -> Bad {
    Bad {
        name: name.to_owned(),
        from: from.to_owned(),
        found,
        wanted,
    }
}

/// The answer as Braze gets it; `None`: there is none and none is needed; the error says what there is instead.
fn answer(lead: &Value, attribute: &MappedAttribute) -> Result<Option<Value>, &'static str> {
    let value = match lead.pointer(&attribute.from) {
        Some(Value::Null) | None => None,
        // A question left open. Only a text can be empty and still be one.
        Some(Value::String(text)) if is_blank(text) && attribute.kind != AnswerKind::String => None,
        Some(value) => Some(value),
    };
    let Some(value) = value else {
        return if attribute.required {
            Err(kind(lead.pointer(&attribute.from)))
        } else {
            Ok(None)
        };
    };
    let typed = if attribute.coerce {
        coerced(value, attribute.kind)
    } else {
        None
    };
    as_declared(typed.unwrap_or_else(|| value.clone()), attribute.kind).map(Some)
}

/// The value, if it is what it should be and Braze would take it.
fn as_declared(value: Value, declared: AnswerKind) -> Result<Value, &'static str> {
    let fault = match (declared, &value) {
        (AnswerKind::Number, Value::Number(_)) | (AnswerKind::Boolean, Value::Bool(_)) => None,
        (AnswerKind::String, Value::String(text)) => too_long(text),
        (AnswerKind::Time, Value::String(text)) => {
            (!is_time(text)).then_some("a text that is neither a date nor RFC 3339")
        }
        (AnswerKind::Array, Value::Array(elements)) => {
            let large = || value.to_string().len() > ARRAY_BYTES_MAX;
            let fault = elements.iter().find_map(|element| match element {
                Value::Number(_) => None,
                Value::String(text) => too_long(text),
                Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                    Some("an array with more in it than texts and numbers")
                }
            });
            fault.or_else(|| large().then_some("an array of more than 100 KB"))
        }
        (_, other) => Some(kind(Some(other))),
    };
    match fault {
        None => Ok(value),
        Some(found) => Err(found),
    }
}

/// The value converted, where that is plain; commas in a text might separate what was meant to be several.
fn coerced(value: &Value, declared: AnswerKind) -> Option<Value> {
    match (declared, value) {
        (AnswerKind::Number, Value::String(text)) => {
            let number: Number = serde_json::from_str(text.trim()).ok()?;
            Some(Value::Number(number))
        }
        (AnswerKind::Boolean, Value::String(text)) => match text.trim() {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            _ => None,
        },
        (AnswerKind::String, Value::Number(number)) => Some(Value::String(number.to_string())),
        (AnswerKind::Array, Value::String(text)) if !text.contains(',') => {
            Some(Value::Array(vec![value.clone()]))
        }
        (AnswerKind::Array, Value::Number(_)) => Some(Value::Array(vec![value.clone()])),
        _ => None,
    }
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

fn too_long(text: &str) -> Option<&'static str> {
    (text.chars().count() > TEXT_CHARS_MAX).then_some("a text of more than 255 characters")
}

/// A date, or a date-time with offset.
fn is_time(text: &str) -> bool {
    let is_date = text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok();
    is_date || time::is_rfc3339(text)
}

/// What stands there, for people.
fn kind(value: Option<&Value>) -> &'static str {
    match value {
        None => "nothing",
        Some(Value::Null) => "null",
        Some(Value::Bool(_)) => "a boolean",
        Some(Value::Number(_)) => "a number",
        Some(Value::String(text)) if is_blank(text) => "an empty text",
        Some(Value::String(_)) => "a text",
        Some(Value::Array(_)) => "an array",
        Some(Value::Object(_)) => "an object",
    }
}

const fn wanted(kind: AnswerKind) -> &'static str {
    match kind {
        AnswerKind::Number => "a number",
        AnswerKind::String => "a text",
        AnswerKind::Boolean => "true or false",
        AnswerKind::Array => "an array of texts or numbers",
        AnswerKind::Time => "a date or a date-time (RFC 3339)",
    }
}

#[cfg(test)]
mod tests;
