//! Free JSON objects as they are kept: text, because a binary codec cannot carry values that describe themselves.

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A JSON object.
pub type Object = Map<String, Value>;

/// A JSON object kept as its text. Made only from an object, so that reading it back cannot fail.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct ObjectText(String);

impl ObjectText {
    /// The text of `object`.
    pub fn new(object: &Object) -> ObjectText {
        ObjectText(serde_json::to_string(object).unwrap_or_else(|_| "{}".into()))
    }

    /// This text, which whoever calls has read as an object.
    pub fn read(text: &str) -> ObjectText {
        ObjectText(text.to_owned())
    }

    /// The object again.
    pub fn object(&self) -> Object {
        serde_json::from_str(&self.0).unwrap_or_default()
    }

    /// The JSON text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
