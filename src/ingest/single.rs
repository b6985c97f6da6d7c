//! Bodies that are one JSON object: its members as they came, and the id of the event it makes.
//!
//! Invariants: pure; a body is either taken or refused with everything that is wrong with it; what is kept of a body can
//! be read again. Nothing of a body's values is repeated in a refusal.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::check::{self, Fault};
use super::parse::{MemberName, Unfit, syntax};
use crate::model::event::{derived_key, given_key};

/// One object.
pub(super) struct Single<'a> {
    /// Its text.
    pub text: &'a str,
    /// The same as a value.
    pub value: Value,
}

/// The object that `body` is. More than `event_bytes_max` bytes are too many. `remedy`: what to do where it is no JSON.
pub(super) fn read<'a>(
    body: &'a [u8],
    event_bytes_max: usize,
    remedy: Option<&'static str>,
) -> Result<Single<'a>, Unfit> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let not_json = |why: String| {
        faulty(vec![Fault {
            remedy,
            ..Fault::new("", format!("is not JSON: {why}"))
        }])
    };
    let text = std::str::from_utf8(body)
        .map_err(|error| not_json(format!("not UTF-8 at byte {}", error.valid_up_to())))?;
    let text = text.trim_matches([' ', '\t', '\n', '\r']);
    if text.is_empty() {
        return Err(Unfit::Empty);
    }
    if text.len() > event_bytes_max {
        return Err(Unfit::TooLarge);
    }
    let not_json = |error: serde_json::Error| not_json(syntax(&error));
    if !text.starts_with('{') {
        serde_json::from_str::<&RawValue>(text).map_err(not_json)?;
        let fault = Fault::new("", "is not a JSON object").remedy("send one object for each event");
        return Err(faulty(vec![fault]));
    }
    // As a value first: what is nested too deeply to be read again is refused here.
    let value = serde_json::from_str(text).map_err(not_json)?;
    Ok(Single { text, value })
}

/// A refusal of the one event there is.
pub(super) fn faulty(faults: Vec<Fault>) -> Unfit {
    Unfit::Faulty {
        events: 1,
        faults: faults.into_iter().map(|fault| (0, fault)).collect(),
    }
}

impl<'a> Single<'a> {
    /// Its members in order, each value as its text. Parsers disagree about which of two of one name is meant (RFC 8259
    /// section 4), so neither is.
    pub(super) fn members(&self) -> Result<Vec<(Cow<'a, str>, &'a str)>, Vec<Fault>> {
        let members = serde_json::Deserializer::from_str(self.text)
            .deserialize_map(Members)
            .map_err(|error| vec![Fault::new("", format!("is not JSON: {}", syntax(&error)))])?;
        let mut names: Vec<&str> = members.iter().map(|(name, _)| &**name).collect();
        names.sort_unstable();
        let twice = names.windows(2).filter(|pair| pair[0] == pair[1]);
        let mut faults: Vec<_> = twice
            .map(|pair| Fault::new(check::shown(pair[0]).into_owned(), "is given twice"))
            .collect();
        faults.dedup();
        if faults.is_empty() {
            Ok(members)
        } else {
            Err(faults)
        }
    }

    /// The event's key: the header's id, else what `own` says of the content's own id, else a hash of the content.
    pub(super) fn key(&self, header_id: Option<&str>, own: Option<String>) -> String {
        match (header_id, own) {
            (Some(id), _) => given_key(id),
            (None, Some(id)) => given_key(&id),
            (None, None) => derived_key(&self.hash()),
        }
    }

    /// 32 hexadecimal digits of the content's hash. Never to be changed: repetitions are known by it.
    pub(super) fn hash(&self) -> String {
        let mut hash = blake3::hash(self.text.as_bytes()).to_hex().to_string();
        hash.truncate(32);
        hash
    }
}

/// The text of a string or a number that says something.
pub(super) fn said(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()).filter(|it| !it.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(Cow<'de, str>, &'de str)>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found = Vec::new();
        while let Some(MemberName(name)) = members.next_key()? {
            found.push((name, members.next_value::<&'de RawValue>()?.get()));
        }
        Ok(found)
    }
}
