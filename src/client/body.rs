//! Bodies for Braze, written straight from the calls.
//!
//! Invariants: nothing in a call's attributes can change which profile is written to, or whether it may be created.
//! Source: the reference pages of `/users/track` and `/users/export/ids`.

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::model::call::{ALIAS_LABEL, Address, Subscribe, Track, TrackEvent};

/// What a look-up asks for. Without this list workspaces since August 2024 refuse the request; with it, and without
/// campaign histories in it, the limit is 40 a second instead of 250 a minute.
const FIELDS_TO_EXPORT: [&str; 5] = ["braze_id", "external_id", "user_aliases", "email", "phone"];

const UPDATE_EXISTING_ONLY: &str = "_update_existing_only";

/// The body of `POST /users/export/ids` for one e-mail: Braze takes no more in one request.
#[derive(serde::Serialize)]
pub struct ExportBody<'a> {
    email_address: &'a str,
    fields_to_export: [&'static str; 5],
}

impl<'a> ExportBody<'a> {
    /// Asks for the profiles with this e-mail.
    pub fn new(email: &'a str) -> Self {
        ExportBody {
            email_address: email,
            fields_to_export: FIELDS_TO_EXPORT,
        }
    }
}

/// The body of `POST /users/track`: `{"attributes": […], "events": […]}`, each only when it has an object.
#[derive(serde::Serialize)]
pub struct TrackBody<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<AttributesObject<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    events: Vec<EventObject<'a>>,
}

/// Whose object stands where: the position in `tracks` for each position of the two arrays.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Of the `attributes` array.
    pub attributes: Vec<usize>,
    /// Of the `events` array.
    pub events: Vec<usize>,
}

impl<'a> TrackBody<'a> {
    /// The objects of `tracks`, in order.
    pub fn new(tracks: &[&'a Track]) -> (TrackBody<'a>, Places) {
        let mut body = TrackBody {
            attributes: Vec::new(),
            events: Vec::new(),
        };
        let mut places = Places::default();
        for (owner, track) in tracks.iter().copied().enumerate() {
            if has_attributes_object(track) {
                body.attributes.push(AttributesObject(track));
                places.attributes.push(owner);
            }
            for event in &track.events {
                body.events.push(EventObject(track, event));
                places.events.push(owner);
            }
        }
        (body, places)
    }
}

/// Whether the track makes an attributes object: always when it creates, because only those create reliably.
pub fn has_attributes_object(track: &Track) -> bool {
    track.create || track.subscribe.is_some() || !track.attributes.is_empty()
}

struct AttributesObject<'a>(&'a Track);

impl Serialize for AttributesObject<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let track = self.0;
        let mut map = serializer.serialize_map(None)?;
        head(&mut map, track)?;
        for (key, value) in &track.attributes {
            let reserved = match key.as_str() {
                "external_id" | "braze_id" | "user_alias" | UPDATE_EXISTING_ONLY => true,
                SUBSCRIPTION_GROUPS => track.subscribe.is_some(),
                "email" => matches!(track.address, Address::Email(_)),
                _ => false,
            };
            if !reserved {
                map.serialize_entry(key, value)?;
            }
        }
        if let Some(subscribe) = &track.subscribe {
            map.serialize_entry(SUBSCRIPTION_GROUPS, &[Subscription::of(subscribe)])?;
        }
        map.end()
    }
}

const SUBSCRIPTION_GROUPS: &str = "subscription_groups";

/// A group in a profile's `subscription_groups`.
#[derive(serde::Serialize)]
struct Subscription<'a> {
    #[serde(rename = "subscription_group_id")]
    group: &'a str,
    #[serde(rename = "subscription_state")]
    state: &'static str,
    #[serde(
        rename = "use_double_opt_in_logic",
        skip_serializing_if = "std::ops::Not::not"
    )]
    double_opt_in: bool,
}

impl<'a> Subscription<'a> {
    fn of(subscribe: &'a Subscribe) -> Subscription<'a> {
        Subscription {
            group: &subscribe.group,
            state: "subscribed",
            double_opt_in: subscribe.double_opt_in,
        }
    }
}

struct EventObject<'a>(&'a Track, &'a TrackEvent);

impl Serialize for EventObject<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let EventObject(track, event) = self;
        let mut map = serializer.serialize_map(None)?;
        head(&mut map, track)?;
        map.serialize_entry("name", &event.name)?;
        map.serialize_entry("time", &event.time.to_rfc3339())?;
        if let Some(properties) = &event.properties {
            map.serialize_entry("properties", properties)?;
        }
        map.end()
    }
}

#[derive(serde::Serialize)]
struct Alias<'a> {
    alias_name: &'a str,
    alias_label: &'static str,
}

/// Whom it is for, by exactly one identifier: two make Braze refuse the object.
fn head<M: SerializeMap>(map: &mut M, track: &Track) -> Result<(), M::Error> {
    match &track.address {
        Address::ExternalId(id) => map.serialize_entry("external_id", id)?,
        Address::BrazeId(id) => map.serialize_entry("braze_id", id)?,
        Address::Alias(name) => map.serialize_entry(
            "user_alias",
            &Alias {
                alias_name: name,
                alias_label: ALIAS_LABEL,
            },
        )?,
        Address::Email(email) => map.serialize_entry("email", email)?,
    }
    map.serialize_entry(UPDATE_EXISTING_ONLY, &!track.create)
}

/// How many bytes `value` is as JSON.
pub fn json_bytes(value: &impl Serialize) -> usize {
    struct Counter(usize);
    impl std::io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    // Neither the counter nor maps with string keys can fail.
    let _ = serde_json::to_writer(&mut counter, value);
    counter.0
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::json::Object;
    use crate::model::rules::OnUnknown;
    use crate::model::time::Timestamp;

    fn object(value: Value) -> Object {
        serde_json::from_value(value).unwrap()
    }

    fn track(address: Address, create: bool, attributes: Value, events: &[&str]) -> Track {
        Track {
            address,
            create,
            attributes: object(attributes),
            events: events
                .iter()
                .map(|name| TrackEvent {
                    name: (*name).into(),
                    time: Timestamp::from_millis(1_795_771_800_123),
                    properties: None,
                })
                .collect(),
            subscribe: None,
            on_unknown: OnUnknown::Resend,
        }
    }

    #[test]
    fn each_address_is_one_identifier_and_creation_is_said_on_every_object() {
        let mut first = track(
            Address::Alias("ada@example.com".into()),
            true,
            json!({"email": "ada@example.com", "level": 3}),
            &["joined"],
        );
        first.events[0].properties = Some(object(json!({"rank": 1})));
        let second = track(
            Address::ExternalId("b-2".into()),
            false,
            json!({}),
            &["a", "b"],
        );
        let third = track(
            Address::BrazeId("c3".into()),
            false,
            json!({"x": null}),
            &[],
        );
        let fourth = track(Address::Email("d@example.com".into()), true, json!({}), &[]);
        let (body, places) = TrackBody::new(&[&first, &second, &third, &fourth]);
        assert_eq!(
            serde_json::to_value(&body).unwrap(),
            json!({
                "attributes": [
                    {"user_alias": {"alias_name": "ada@example.com", "alias_label": "email"},
                     "_update_existing_only": false, "email": "ada@example.com", "level": 3},
                    {"braze_id": "c3", "_update_existing_only": true, "x": null},
                    {"email": "d@example.com", "_update_existing_only": false},
                ],
                "events": [
                    {"user_alias": {"alias_name": "ada@example.com", "alias_label": "email"},
                     "_update_existing_only": false, "name": "joined",
                     "time": "2026-11-27T09:30:00.123Z", "properties": {"rank": 1}},
                    {"external_id": "b-2", "_update_existing_only": true, "name": "a", "time": "2026-11-27T09:30:00.123Z"},
                    {"external_id": "b-2", "_update_existing_only": true, "name": "b", "time": "2026-11-27T09:30:00.123Z"},
                ],
            })
        );
        assert_eq!(places.attributes, [0, 2, 3]);
        assert_eq!(places.events, [0, 1, 1]);
    }

    #[test]
    fn an_array_without_objects_is_left_out() {
        let only = track(Address::BrazeId("c".into()), false, json!({"x": 1}), &[]);
        let text = serde_json::to_string(&TrackBody::new(&[&only]).0).unwrap();
        assert!(!text.contains("events"), "{text}");
        assert_eq!(json_bytes(&TrackBody::new(&[&only]).0), text.len());
    }

    #[test]
    fn attributes_change_neither_whom_we_write_to_nor_whether_it_is_made() {
        let hostile = json!({"external_id": "x", "braze_id": "y", "user_alias": {}, "email": "eve@example.com",
            "_update_existing_only": false, "kept": 1});
        let only = track(Address::Email("a@example.com".into()), false, hostile, &[]);
        let text = serde_json::to_string(&TrackBody::new(&[&only]).0).unwrap();
        assert_eq!(
            text,
            r#"{"attributes":[{"email":"a@example.com","_update_existing_only":true,"kept":1}]}"#
        );
    }

    #[test]
    fn a_look_up_asks_for_one_e_mail_and_always_for_the_same_fields() {
        assert_eq!(
            serde_json::to_value(ExportBody::new("a@example.com")).unwrap(),
            json!({"email_address": "a@example.com",
                "fields_to_export": ["braze_id", "external_id", "user_aliases", "email", "phone"]})
        );
    }
}
