//! What event and purchase objects must be (event_object, purchase_object).
//!
//! Invariants: pure; `now` is an argument.

use serde_json::Value;

use super::attributes::TEXT_CHARS_MAX;
use super::identifier::{Problem, problem};
use super::profiles::Object;
use crate::model::time::Timestamp;

/// Most bytes of properties that hold arrays or objects.
const PROPERTIES_BYTES_MAX: usize = 102_400;

/// Name and time of an event object; a time in the future is now.
pub fn event(object: &Object, now: Timestamp) -> Result<(String, Timestamp), Problem> {
    let name = object
        .get("name")
        .and_then(Value::as_str)
        .filter(|name| !name.is_empty());
    let Some(name) = name.filter(|name| name.chars().count() <= TEXT_CHARS_MAX) else {
        return Err(problem("'name' is required", "BAD_EVENT_NAME"));
    };
    let Some(time) = object.get("time").and_then(Value::as_str).and_then(moment) else {
        return Err(problem("'time' is not valid", "BAD_TIME"));
    };
    match object.get("properties") {
        None | Some(Value::Null) => {}
        Some(Value::Object(properties)) => check_properties(properties)?,
        Some(_) => return Err(problem("'properties' must be an object", "BAD_PROPERTIES")),
    }
    Ok((name.to_owned(), time.min(now)))
}

fn check_properties(properties: &Object) -> Result<(), Problem> {
    let mut nested = false;
    for (key, value) in properties {
        if key == "time" || key == "event_name" {
            return Err(problem(
                "'time' and 'event_name' are reserved property names",
                "RESERVED_PROPERTY",
            ));
        }
        if key.is_empty() || key.starts_with('$') || key.chars().count() > TEXT_CHARS_MAX {
            return Err(problem(
                "property names must have 1 to 255 characters and no leading '$'",
                "BAD_PROPERTY_NAME",
            ));
        }
        if value
            .as_str()
            .is_some_and(|text| text.chars().count() > TEXT_CHARS_MAX)
        {
            return Err(problem(
                "property values must have at most 255 characters",
                "BAD_PROPERTY_VALUE",
            ));
        }
        nested |= value.is_array() || value.is_object();
    }
    let bytes = || serde_json::to_vec(properties).map_or(0, |text| text.len());
    if nested && bytes() > PROPERTIES_BYTES_MAX {
        return Err(problem(
            "'properties' must be at most 100 KB",
            "BAD_PROPERTIES",
        ));
    }
    Ok(())
}

/// Whether it is a purchase object.
pub fn purchase(object: &Object) -> Result<(), Problem> {
    let text = |key: &str| {
        object
            .get(key)
            .and_then(Value::as_str)
            .is_some_and(|text| !text.is_empty())
    };
    if !text("product_id") || !text("currency") {
        return Err(problem(
            "'product_id' and 'currency' are required",
            "BAD_PURCHASE",
        ));
    }
    if !object.get("price").is_some_and(Value::is_number) {
        return Err(problem("'price' is not valid", "BAD_PURCHASE"));
    }
    if object
        .get("time")
        .and_then(Value::as_str)
        .and_then(moment)
        .is_none()
    {
        return Err(problem("'time' is not valid", "BAD_TIME"));
    }
    Ok(())
}

/// ISO 8601, also without offset (then UTC) and as `yyyy-MM-dd'T'HH:mm:ss:SSSZ`.
fn moment(text: &str) -> Option<Timestamp> {
    let read = |text: &str| Timestamp::parse_rfc3339(text).ok();
    read(text)
        .or_else(|| read(&format!("{text}Z")))
        .or_else(|| {
            let (seconds, rest) = text.split_at_checked(19)?;
            read(&format!("{seconds}.{}", rest.strip_prefix(':')?))
        })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests may")]
    use serde_json::json;

    use super::*;

    #[test]
    fn events_need_name_and_time_and_their_properties_have_rules() {
        let verdict = |more: Value| {
            let mut object = json!({"name": "e", "time": "2020-01-01T00:00:00Z"});
            let object = object.as_object_mut().unwrap();
            object.extend(more.as_object().unwrap().clone());
            event(object, Timestamp::from_millis(u64::MAX)).is_ok()
        };
        assert!(verdict(json!({"properties": {"a": 1, "b": ["x"]}})));
        assert!(verdict(json!({"time": "2020-01-01T00:00:00:123+0100"})));
        assert!(verdict(json!({"time": "2020-01-01T00:00:00"})));
        for wrong in [
            json!({"name": ""}),
            json!({"name": null}),
            json!({"name": "x".repeat(256)}),
            json!({"time": 1_577_836_800}),
            json!({"time": "yesterday"}),
            json!({"properties": []}),
            json!({"properties": {"time": 1}}),
            json!({"properties": {"event_name": 1}}),
            json!({"properties": {"$a": 1}}),
            json!({"properties": {"": 1}}),
            json!({"properties": {"a": "x".repeat(256)}}),
            json!({"properties": {"a": vec!["x".repeat(200); 600]}}),
        ] {
            assert!(!verdict(wrong.clone()), "{wrong}");
        }
    }
}
