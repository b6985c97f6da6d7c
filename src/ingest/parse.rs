//! From the bytes of a body to events: the three forms, and the shape of one event.
//!
//! Invariants: pure; a body is either taken whole or refused with everything that is wrong with it; one event's faults
//! never hide another's. Nothing is copied that need not be: names and texts are borrowed from the body until an event
//! is made of them. Nesting, repeated keys, broken escapes and half characters end in a refusal, never in a panic.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::check::{self, Fault, Faults};
use super::free;
use super::media::MediaType;
use crate::model::event::Event;
use crate::model::time::Timestamp;

/// How much is taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bytes of one event's JSON.
    pub event_bytes_max: usize,
    /// Events in one body.
    pub batch_max: usize,
}

/// Why a body is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It is no JSON. Says where and why, and repeats nothing of it.
    NotJson(String),
    /// There is no event in it.
    Empty,
    /// There are more than `batch_max`.
    TooMany,
    /// The single event is larger than `event_bytes_max`.
    TooLarge,
    /// Some of `events` are wrong: by index, from 0.
    Faulty {
        /// How many events there were.
        events: usize,
        /// What is wrong with which.
        faults: Vec<(usize, Fault)>,
    },
}

/// The events of `body`, accepted at `now`. `header_id` names the event when it is a single object without an `id`.
pub(super) fn events(
    body: &[u8],
    media_type: MediaType,
    header_id: Option<&str>,
    bounds: Bounds,
    now: Timestamp,
) -> Result<Vec<Event>, Unfit> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let text = std::str::from_utf8(body)
        .map_err(|error| Unfit::NotJson(format!("not UTF-8 at byte {}", error.valid_up_to())))?;
    // Most bodies are one good event: that is read in one go. All else is told apart below.
    let whole = text.trim_matches([' ', '\t', '\n', '\r']);
    if whole.starts_with('{')
        && whole.len() <= bounds.event_bytes_max
        && let Ok(item) = serde_json::from_str(whole)
    {
        return match check::event(item, header_id, now) {
            Ok(event) => Ok(vec![event]),
            Err(faults) => Err(Unfit::Faulty {
                events: 1,
                faults: faults.into_iter().map(|fault| (0, fault)).collect(),
            }),
        };
    }
    let items = items(text, media_type, bounds.batch_max)?;
    if items.texts.is_empty() {
        return Err(Unfit::Empty);
    }
    let header_id = header_id.filter(|_| items.alone);
    let mut events = Vec::with_capacity(items.texts.len());
    let mut faults = Vec::new();
    for (index, text) in items.texts.iter().enumerate() {
        if text.len() > bounds.event_bytes_max {
            if items.alone {
                return Err(Unfit::TooLarge);
            }
            let reason = format!("is larger than {} bytes", bounds.event_bytes_max);
            faults.push((index, Fault::new("", reason)));
            continue;
        }
        match item(text).and_then(|item| check::event(item, header_id, now)) {
            Ok(event) => events.push(event),
            Err(found) => faults.extend(found.into_iter().map(|fault| (index, fault))),
        }
    }
    if faults.is_empty() {
        Ok(events)
    } else {
        Err(Unfit::Faulty {
            events: items.texts.len(),
            faults,
        })
    }
}

/// The JSON text of every event, and whether it came as a single object.
struct Items<'a> {
    texts: Vec<&'a str>,
    alone: bool,
}

fn items(text: &str, media_type: MediaType, batch_max: usize) -> Result<Items<'_>, Unfit> {
    if text.trim().is_empty() {
        return Err(Unfit::Empty);
    }
    let whole = match serde_json::from_str::<&RawValue>(text) {
        Ok(whole) => whole.get(),
        Err(error) => {
            let lines = match media_type {
                MediaType::Ndjson => Some(lines(text, batch_max)?),
                MediaType::Unstated | MediaType::Other if is_json(first_line(text)) => {
                    Some(lines(text, batch_max)?)
                        .filter(|lines| lines.iter().all(|line| is_json(line)))
                }
                MediaType::Unstated | MediaType::Other | MediaType::Json => None,
            };
            return lines
                .map(|texts| Items {
                    texts,
                    alone: false,
                })
                .ok_or_else(|| Unfit::NotJson(syntax(&error)));
        }
    };
    if !whole.starts_with('[') {
        return Ok(Items {
            texts: vec![whole],
            alone: true,
        });
    }
    let mut full = false;
    let texts = Batch {
        at_most: batch_max,
        full: &mut full,
    }
    .deserialize(&mut serde_json::Deserializer::from_str(whole));
    match texts {
        Ok(texts) => Ok(Items {
            texts,
            alone: false,
        }),
        Err(_) if full => Err(Unfit::TooMany),
        Err(error) => Err(Unfit::NotJson(syntax(&error))),
    }
}

fn lines(text: &str, at_most: usize) -> Result<Vec<&str>, Unfit> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let found: Vec<_> = lines.by_ref().take(at_most).collect();
    match lines.next() {
        Some(_) => Err(Unfit::TooMany),
        None => Ok(found),
    }
}

fn first_line(text: &str) -> &str {
    text.trim_start().lines().next().unwrap_or_default()
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

/// One event's fields, as they stand.
fn item(text: &str) -> Result<Item<'_>, Vec<Fault>> {
    if !text.starts_with('{') {
        let reason = if is_json(text) {
            "is not a JSON object".to_owned()
        } else {
            "is not JSON".to_owned()
        };
        return Err(vec![Fault::new("", reason)]);
    }
    serde_json::from_str(text)
        .map_err(|error| vec![Fault::new("", format!("is not JSON: {}", syntax(&error)))])
}

/// What the parser says. Its syntax messages repeat nothing of the text; its others might.
pub(super) fn syntax(error: &serde_json::Error) -> String {
    if error.is_syntax() || error.is_eof() {
        error.to_string()
    } else {
        format!(
            "not as expected at line {} column {}",
            error.line(),
            error.column()
        )
    }
}

/// An array's elements as JSON text, at most so many.
struct Batch<'f> {
    at_most: usize,
    full: &'f mut bool,
}

impl<'de> DeserializeSeed<'de> for Batch<'_> {
    type Value = Vec<&'de str>;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Batch<'_> {
    type Value = Vec<&'de str>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut texts = Vec::new();
        while let Some(element) = elements.next_element::<&'de RawValue>()? {
            if texts.len() == self.at_most {
                *self.full = true;
                return Err(serde::de::Error::custom("too many"));
            }
            texts.push(element.get());
        }
        Ok(texts)
    }
}

/// Any JSON value, as far as the rules need to tell them apart. A `null` is as good as nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Field<'a> {
    /// Not there, or null.
    #[default]
    Absent,
    /// A truth value.
    Bool(bool),
    /// A number.
    Number,
    /// A string.
    Text(Cow<'a, str>),
    /// An array.
    Array,
    /// An object, its text. Only where an object may stand; else the text of any.
    Object(&'a str),
}

impl Field<'_> {
    /// The type's name, for people.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Field::Absent => "null",
            Field::Bool(_) => "a boolean",
            Field::Number => "a number",
            Field::Text(_) => "a string",
            Field::Array => "an array",
            Field::Object(_) => "an object",
        }
    }
}

impl<'de> Deserialize<'de> for Field<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(FieldVisitor)
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field<'de>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Field::Absent)
    }
    fn visit_bool<E>(self, truth: bool) -> Result<Self::Value, E> {
        Ok(Field::Bool(truth))
    }
    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Field::Number)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Field::Number)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Field::Number)
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Field::Text(Cow::Borrowed(text)))
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Field::Text(Cow::Owned(text.to_owned())))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Field::Array)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Field::Object("{}"))
    }
}

/// A member's name, borrowed where it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct MemberName<'a>(#[serde(borrow)] pub Cow<'a, str>);

/// A Quikly event's fields before they are checked.
#[derive(Debug, Default)]
pub(super) struct Item<'a> {
    pub id: Field<'a>,
    pub q_scope: Field<'a>,
    pub kind: Field<'a>,
    pub email: Field<'a>,
    pub phone: Field<'a>,
    pub sms_consent: Field<'a>,
    pub at: Field<'a>,
    pub attributes: Field<'a>,
    pub event: Field<'a>,
    /// What is wrong with the fields' names.
    pub faults: Faults,
}

impl<'a> Item<'a> {
    fn slot(&mut self, name: &str) -> Option<(&'static str, &mut Field<'a>)> {
        Some(match name {
            "id" => ("id", &mut self.id),
            "q_scope" => ("q_scope", &mut self.q_scope),
            "type" => ("type", &mut self.kind),
            "email" => ("email", &mut self.email),
            "phone" => ("phone", &mut self.phone),
            "sms_consent" => ("sms_consent", &mut self.sms_consent),
            "at" => ("at", &mut self.at),
            "attributes" => ("attributes", &mut self.attributes),
            "event" => ("event", &mut self.event),
            _ => return None,
        })
    }
}

impl<'de> Deserialize<'de> for Item<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(ItemVisitor)
    }
}

struct ItemVisitor;

impl<'de> Visitor<'de> for ItemVisitor {
    type Value = Item<'de>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut item = Item::default();
        while let Some(MemberName(name)) = entries.next_key()? {
            let Some((name, slot)) = item.slot(&name) else {
                if let Some((reason, remedy)) = check::forbidden(&name) {
                    item.faults.add(Fault {
                        field: check::shown(&name).into_owned().into(),
                        reason: reason.into(),
                        remedy,
                    });
                }
                entries.next_value::<IgnoredAny>()?;
                continue;
            };
            // Parsers disagree about which of two is meant (RFC 8259 section 4), so neither is.
            let twice = *slot != Field::Absent;
            *slot = match name {
                "attributes" | "event" => free::raw(&mut entries)?,
                _ => entries.next_value()?,
            };
            if twice {
                item.faults.add(Fault::new(name, "is given twice"));
            }
        }
        Ok(item)
    }
}

#[cfg(test)]
mod tests;
