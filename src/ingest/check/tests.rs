//! Every rule about an event's fields, and what the answer says when one is broken.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests may")]

use serde_json::{Value, json};

use super::*;
use crate::ingest::media::MediaType;
use crate::ingest::parse::{Bounds, Unfit, events};

const NOW: Timestamp = Timestamp::from_millis(1_795_770_600_123);

fn base() -> Value {
    json!({"id": "e1", "q_scope": "spring-drop", "type": "participation", "email": "ann@example.com"})
}

fn checked(event: &Value) -> Result<Event, Vec<Fault>> {
    let bounds = Bounds {
        event_bytes_max: 65_536,
        batch_max: 10,
    };
    let body = event.to_string();
    match events(body.as_bytes(), MediaType::Json, None, bounds, NOW) {
        Ok(mut events) => Ok(events.remove(0)),
        Err(Unfit::Faulty { faults, .. }) => {
            Err(faults.into_iter().map(|(_, fault)| fault).collect())
        }
        Err(other) => panic!("{other:?}"),
    }
}

/// The base with `field` set to `value`.
fn with(field: &str, value: Value) -> Value {
    let mut event = base();
    event[field] = value;
    event
}

fn faulty_fields(event: &Value) -> Vec<String> {
    let faults = checked(event).err().unwrap_or_default();
    faults
        .into_iter()
        .map(|fault| fault.field.into_owned())
        .collect()
}

#[test]
fn a_whole_event_arrives_whole() {
    let event = checked(&json!({
        "id": "e1", "q_scope": "spring-drop", "type": "progress", "email": " Ann@Example.COM ",
        "phone": "+15551234567", "sms_consent": true, "at": "2026-11-27T10:30:00+01:00",
        "attributes": {"level": 3, "first_name": "Ann", "address": {"city": "Bonn"}, "old": null},
        "event": {"name": "quikly_level", "properties": {"level": 3, "add": 1}},
        "something": {"new": [1, 2]},
    }))
    .unwrap();
    assert_eq!(event.source, Source::Quikly);
    assert_eq!(event.kind, EventKind::Progress);
    assert_eq!((&*event.key, &*event.scope), ("e1", "spring-drop"));
    assert_eq!(event.email, "ann@example.com");
    assert_eq!(event.email_given.as_deref(), Some(" Ann@Example.COM "));
    assert_eq!(event.phone.as_deref(), Some("+15551234567"));
    assert!(event.sms_consent);
    assert_eq!(event.at.to_rfc3339(), "2026-11-27T09:30:00.000Z");
    assert_eq!(event.accepted_at, NOW);
    assert_eq!(
        event.attributes.unwrap().as_str(),
        r#"{"level":3,"first_name":"Ann","address":{"city":"Bonn"},"old":null}"#
    );
    let custom = event.event.unwrap();
    assert_eq!(custom.name, "quikly_level");
    assert_eq!(
        custom.properties.unwrap().as_str(),
        r#"{"level":3,"add":1}"#
    );
}

#[test]
fn the_least_event_has_defaults_and_an_address_that_needs_no_second_copy() {
    let event = checked(&base()).unwrap();
    assert_eq!(event.email_given, None);
    assert_eq!(event.phone, None);
    assert!(!event.sms_consent);
    assert_eq!(event.at, NOW);
    assert_eq!(event.attributes, None);
    assert_eq!(event.event, None);
}

#[test]
fn null_and_empty_are_as_good_as_absent_where_a_field_is_optional() {
    for field in ["phone", "sms_consent", "at", "attributes", "event"] {
        assert_eq!(faulty_fields(&with(field, Value::Null)), [""; 0], "{field}");
    }
    let event = checked(&with("attributes", json!({}))).unwrap();
    assert_eq!(event.attributes, None);
}

#[test]
fn required_fields_are_required_and_named_all_at_once() {
    assert_eq!(
        faulty_fields(&json!({})),
        ["id", "q_scope", "type", "email"]
    );
    for field in ["id", "q_scope", "type", "email"] {
        for nothing in [Value::Null, json!(""), json!("  ")] {
            assert_eq!(faulty_fields(&with(field, nothing)), [field]);
        }
    }
}

#[test]
fn every_field_has_its_type() {
    let wrong = [json!(7), json!(-7), json!(1.5), json!([1]), json!([])];
    for field in [
        "id",
        "q_scope",
        "type",
        "email",
        "phone",
        "sms_consent",
        "at",
        "attributes",
        "event",
    ] {
        for value in &wrong {
            assert_eq!(
                faulty_fields(&with(field, value.clone())),
                [field],
                "{value}"
            );
        }
    }
    for (field, value) in [
        ("sms_consent", json!("true")),
        ("attributes", json!("{}")),
        ("event", json!("joined")),
        ("id", json!({})),
        ("email", json!(true)),
    ] {
        assert_eq!(faulty_fields(&with(field, value)), [field]);
    }
    assert_eq!(faulty_fields(&with("type", json!("joined"))), ["type"]);
    assert_eq!(
        faulty_fields(&with("type", json!("Participation"))),
        ["type"]
    );
}

#[test]
fn an_address_is_refused_only_for_its_shape() {
    let long = |bytes: usize| format!("{}@example.com", "a".repeat(bytes - 12));
    for good in [
        "a@b.c",
        "Ann+tag@Example.com",
        "  ann@example.com\t",
        "änn@exämple.de",
        "a'b@c-d.example.com",
        "a..b@example.com",
        "ann@192.168.0.1",
        &long(254),
    ] {
        assert_eq!(
            faulty_fields(&with("email", json!(good))),
            [""; 0],
            "{good}"
        );
    }
    for bad in [
        "ann",
        "ann@",
        "@example.com",
        "ann@example",
        "ann@.com",
        "ann@example.",
        "ann@a..b",
        "a@b@c.de",
        "a n@example.com",
        "ann@exam ple.com",
        "ann\u{a0}b@example.com",
        "ann\n@example.com",
        "ann\u{0}@example.com",
        "@",
        &long(255),
    ] {
        assert_eq!(
            faulty_fields(&with("email", json!(bad))),
            ["email"],
            "{bad}"
        );
    }
}

#[test]
fn a_phone_is_e164_by_its_shape() {
    for good in ["+1555123", "+155512345678901", "+49301234567"] {
        assert_eq!(
            faulty_fields(&with("phone", json!(good))),
            [""; 0],
            "{good}"
        );
    }
    for bad in [
        "",
        "15551234567",
        "+155512",
        "+1555123456789012",
        "+05551234567",
        "+1 555 1234567",
        "+1555123456a",
        "++15551234567",
        " +15551234567",
        "+١٢٣٤٥٦٧٨",
    ] {
        assert_eq!(
            faulty_fields(&with("phone", json!(bad))),
            ["phone"],
            "{bad}"
        );
    }
}

#[test]
fn a_moment_is_rfc_3339_with_an_offset() {
    for (good, millis) in [
        ("2026-11-27T09:30:00Z", 1_795_771_800_000),
        ("2026-11-27t09:30:00.123456z", 1_795_771_800_123),
        ("2026-11-27 09:30:00-00:00", 1_795_771_800_000),
        ("2026-11-27T10:30:00+01:00", 1_795_771_800_000),
    ] {
        let event = checked(&with("at", json!(good))).unwrap();
        assert_eq!(event.at, Timestamp::from_millis(millis), "{good}");
    }
    for bad in [
        "",
        "now",
        "2026-11-27",
        "2026-11-27T09:30:00",
        "2026-11-27T09:30Z",
        "2026-13-27T09:30:00Z",
        "2026-11-31T09:30:00Z",
        "2026-11-27T09:30:00+01",
        "2026-11-27T09:30:00+01:00[Europe/Berlin]",
        "20261127T093000Z",
        "2026-11-27T09:30:00.Z",
        "2026-11-27T25:30:00Z",
        "1795771800",
    ] {
        assert_eq!(faulty_fields(&with("at", json!(bad))), ["at"], "{bad}");
    }
}

#[test]
fn identity_consent_and_control_are_refused_wherever_they_would_count() {
    let names = [
        "external_id",
        "user_alias",
        "braze_id",
        "email_subscribe",
        "push_subscribe",
        "push_tokens",
        "subscription_groups",
        "_update_existing_only",
        "_merge_objects",
        "_anything",
        "$add",
    ];
    for name in names {
        for spelled in [name.to_owned(), format!(" {name} ")] {
            assert_eq!(
                faulty_fields(&with(&spelled, json!("x"))),
                [spelled.as_str()]
            );
            let attributes = json!({spelled.as_str(): "x"});
            assert_eq!(
                faulty_fields(&with("attributes", attributes)),
                [format!("attributes.{spelled}")]
            );
            let event = json!({"name": "joined", spelled.as_str(): "x"});
            assert_eq!(
                faulty_fields(&with("event", event)),
                [format!("event.{spelled}")]
            );
        }
    }
    for name in ["email", "phone", "facebook", "current_location"] {
        let attributes = json!({name: "x"});
        assert_eq!(
            faulty_fields(&with("attributes", attributes)),
            [format!("attributes.{name}")]
        );
    }
}

#[test]
fn what_only_resembles_a_forbidden_name_is_a_custom_attribute() {
    for name in [
        "Email",
        "my_external_id",
        "inc",
        "add",
        "remove",
        "first_name",
        "last_name",
        "dob",
        "gender",
        "country",
        "home_city",
        "language",
        "time_zone",
        "a_b",
        "price$",
    ] {
        assert_eq!(
            faulty_fields(&with("attributes", json!({name: "x"}))),
            [""; 0],
            "{name}"
        );
    }
    let nested = json!({"address": {"_id": 1, "email": "office"}, "list": [{"_x": 1}]});
    assert_eq!(faulty_fields(&with("attributes", nested)), [""; 0]);
}

#[test]
fn operators_are_found_at_any_depth_and_named_by_their_path() {
    for (attributes, field) in [
        (json!({"level": {"inc": 1}}), "attributes.level.inc"),
        (json!({"styles": {"add": ["x"]}}), "attributes.styles.add"),
        (
            json!({"styles": {"remove": ["x"]}}),
            "attributes.styles.remove",
        ),
        (json!({"cars": {"$update": []}}), "attributes.cars.$update"),
        (json!({"a": {"b": {" inc": 1}}}), "attributes.a.b. inc"),
        (json!({"a": [{"$x": 1}]}), "attributes.a.[].$x"),
    ] {
        assert_eq!(faulty_fields(&with("attributes", attributes)), [field]);
    }
    let event =
        json!({"name": "joined", "properties": {"$set": 1, "a": {"$b": 1}, "c": {"inc": 1}}});
    assert_eq!(
        faulty_fields(&with("event", event)),
        ["event.properties.$set", "event.properties.a.$b"]
    );
}

#[test]
fn a_custom_event_has_a_name_and_may_have_properties() {
    for (event, field) in [
        (json!({}), "event.name"),
        (json!({"name": ""}), "event.name"),
        (json!({"name": null}), "event.name"),
        (json!({"name": 7}), "event.name"),
        (
            json!({"name": "joined", "properties": [1]}),
            "event.properties",
        ),
        (
            json!({"name": "joined", "properties": "x"}),
            "event.properties",
        ),
    ] {
        assert_eq!(faulty_fields(&with("event", event)), [field]);
    }
    for properties in [Value::Null, json!({})] {
        let event = with("event", json!({"name": "joined", "properties": properties}));
        assert_eq!(checked(&event).unwrap().event.unwrap().properties, None);
    }
}

#[test]
fn nesting_beyond_use_is_refused_and_nesting_within_is_not() {
    let nested = |levels: usize| {
        let mut value = json!(1);
        for _ in 0..levels {
            value = json!({"a": value});
        }
        value
    };
    assert_eq!(faulty_fields(&with("attributes", nested(60))), [""; 0]);
    assert_eq!(
        faulty_fields(&with("attributes", nested(100))),
        ["attributes"]
    );
}

#[test]
fn an_answer_repeats_no_address_no_number_and_no_value() {
    let secret = "ann.secret@example.com";
    for event in [
        with("email", json!("ann.secret@example.com@")),
        with("phone", json!("15551234567")),
        with("type", json!(secret)),
        with("at", json!(secret)),
        with("attributes", json!({"_ann.secret@example.com": 1})),
        with("attributes", json!({"a": {"$15551234567": 1}})),
        with("event", json!({"name": "x", "_ann.secret@example.com": 1})),
        with("_ann.secret@example.com", json!(1)),
    ] {
        let faults = checked(&event).unwrap_err();
        let told = format!("{faults:?}");
        assert!(!told.contains("secret") && !told.contains("1555"), "{told}");
    }
}

#[test]
fn a_flood_of_faults_is_cut_short() {
    let attributes: serde_json::Map<String, Value> =
        (0..1000).map(|n| (format!("_{n}"), json!(1))).collect();
    let faults = checked(&with("attributes", Value::Object(attributes))).unwrap_err();
    assert_eq!(faults.len(), FAULTS_MAX);
}

#[test]
fn attributes_are_followed_to_their_depth_and_no_further() {
    let nested = |levels: usize| {
        let value = (0..levels).fold(json!(1), |inner, _| json!({ "a": inner }));
        faulty_fields(&with("attributes", value))
    };
    assert_eq!(nested(63), [""; 0]);
    assert_eq!(nested(64), ["attributes"]);
}

#[test]
fn what_could_not_be_read_again_is_refused_wherever_it_stands() {
    for bad in [r#""\ud800""#, "1e999", r#"{"deeper": ["\ud800"]}"#] {
        for field in [
            r#""attributes": {"a": BAD}"#,
            r#""event": {"name": "n", "properties": {"a": BAD}}"#,
        ] {
            let field = field.replace("BAD", bad);
            let body = base().to_string().replacen('{', &format!("{{{field},"), 1);
            let bounds = Bounds {
                event_bytes_max: 65_536,
                batch_max: 10,
            };
            let found = events(body.as_bytes(), MediaType::Json, None, bounds, NOW);
            assert!(matches!(found, Err(Unfit::Faulty { .. })), "{body}");
        }
    }
}
