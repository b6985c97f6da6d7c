//! Every body form, and where a mistake in it is said to be.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests may")]

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_000);
const BOUNDS: Bounds = Bounds {
    event_bytes_max: 400,
    batch_max: 3,
};

fn one(id: &str) -> String {
    format!(r#"{{"id":"{id}","q_scope":"s","type":"progress","email":"a@b.c"}}"#)
}

fn keys(body: &str, media_type: MediaType) -> Result<Vec<String>, Unfit> {
    let events = events(body.as_bytes(), media_type, None, BOUNDS, NOW)?;
    Ok(events.into_iter().map(|event| event.key).collect())
}

fn faults(body: &str) -> Vec<(usize, String)> {
    match keys(body, MediaType::Unstated) {
        Err(Unfit::Faulty { faults, .. }) => faults
            .into_iter()
            .map(|(index, fault)| (index, fault.field.into_owned()))
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_media_type_is_known_with_parameters_and_in_any_case() {
    for (header, media_type) in [
        (None, MediaType::Unstated),
        (Some(""), MediaType::Unstated),
        (Some("nonsense"), MediaType::Unstated),
        (Some("application/octet-stream"), MediaType::Unstated),
        (Some("application/json"), MediaType::Json),
        (Some("Application/JSON; charset=utf-8"), MediaType::Json),
        (Some("application/cloudevents+json"), MediaType::Json),
        (
            Some("application/x-ndjson ;charset=utf-8"),
            MediaType::Ndjson,
        ),
        (Some("text/plain"), MediaType::Other),
        (Some("application/x-www-form-urlencoded"), MediaType::Other),
    ] {
        assert_eq!(MediaType::of(header), media_type, "{header:?}");
    }
}

#[test]
fn the_three_forms_are_told_apart_by_the_body() {
    use MediaType::{Json, Ndjson, Other, Unstated};
    let (a, b) = (one("a"), one("b"));
    let object = format!(" \n{a}\r\n ");
    let array = format!("[{a} ,\n {b}]");
    let lines = format!("{a}\r\n\n  {b}  \n");
    for media_type in [Json, Ndjson, Other, Unstated] {
        assert_eq!(keys(&object, media_type).unwrap(), ["a"]);
        assert_eq!(keys(&array, media_type).unwrap(), ["a", "b"]);
        assert_eq!(keys(&format!("\u{feff}{a}"), media_type).unwrap(), ["a"]);
    }
    for media_type in [Ndjson, Other, Unstated] {
        assert_eq!(keys(&lines, media_type).unwrap(), ["a", "b"]);
    }
    assert!(matches!(keys(&lines, Json), Err(Unfit::NotJson(_))));
}

#[test]
fn a_body_without_an_event_is_empty_and_not_accepted() {
    for body in ["", " \n", "[]", " [ ] ", "\u{feff}"] {
        for media_type in [MediaType::Json, MediaType::Ndjson, MediaType::Unstated] {
            assert_eq!(keys(body, media_type), Err(Unfit::Empty), "{body:?}");
        }
    }
}

#[test]
fn what_is_not_json_is_refused_without_being_repeated() {
    for body in [
        "secret",
        "{\"secret",
        "[1,",
        "{\"a\":1}}",
        "a,b\n1,2",
        "[\n1\n",
        "{'secret':1}",
        "\u{0}",
        "}",
    ] {
        match keys(body, MediaType::Unstated) {
            Err(Unfit::NotJson(why)) => assert!(!why.contains("secret"), "{why}"),
            other => panic!("{body}: {other:?}"),
        }
    }
    let broken = events(b"{\"id\":\"\xff\"}", MediaType::Json, None, BOUNDS, NOW);
    assert!(matches!(broken, Err(Unfit::NotJson(_))));
}

#[test]
fn every_bad_event_of_a_batch_is_named_by_its_index() {
    let good = one("a");
    assert_eq!(
        faults(&format!(r#"[{good},{{"id":"x"}},"text"]"#)),
        [
            (1, "q_scope".to_owned()),
            (1, "type".to_owned()),
            (1, "email".to_owned()),
            (2, String::new())
        ]
    );
    let long = one(&"x".repeat(400));
    assert_eq!(faults(&format!("[{good},{long}]")), [(1, String::new())]);
    // A half surrogate pair and too deep nesting spoil their own event alone.
    let half = one(r"secret \ud800");
    let told = keys(&half, MediaType::Json).unwrap_err();
    assert!(!format!("{told:?}").contains("secret"));
    assert_eq!(faults(&format!("[{half},{good}]")), [(0, String::new())]);
    let deep = format!(
        r#"{{"id":"d","attributes":{}1{}}}"#,
        r#"{"a":"#.repeat(130),
        "}".repeat(130)
    );
    let bounds = Bounds {
        event_bytes_max: 4000,
        ..BOUNDS
    };
    match events(deep.as_bytes(), MediaType::Json, None, bounds, NOW) {
        Err(Unfit::Faulty { events: 1, faults }) => {
            let fields: Vec<_> = faults.iter().map(|(_, fault)| &*fault.field).collect();
            assert_eq!(fields, ["q_scope", "type", "email", "attributes"]);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_bad_line_is_named_by_its_index_when_lines_were_promised() {
    let body = format!("{}\n\nsecret\n", one("a"));
    match keys(&body, MediaType::Ndjson) {
        Err(Unfit::Faulty { events: 2, faults }) => {
            assert_eq!(faults.len(), 1);
            assert_eq!(faults[0].0, 1);
            assert!(!format!("{faults:?}").contains("secret"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn nesting_without_end_is_refused_and_not_followed() {
    for open in ["[", "{\"a\":"] {
        let body = open.repeat(500_000);
        assert!(matches!(
            keys(&body, MediaType::Unstated),
            Err(Unfit::NotJson(_))
        ));
    }
    let closed = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    assert!(keys(&closed, MediaType::Unstated).is_err());
}

#[test]
fn more_events_than_allowed_and_a_single_large_one_are_too_much() {
    let four = [one("a"), one("b"), one("c"), one("d")];
    assert_eq!(
        keys(&format!("[{}]", four.join(",")), MediaType::Json),
        Err(Unfit::TooMany)
    );
    assert_eq!(
        keys(&four.join("\n"), MediaType::Ndjson),
        Err(Unfit::TooMany)
    );
    assert_eq!(
        keys(&four[..3].join("\n"), MediaType::Ndjson)
            .unwrap()
            .len(),
        3
    );
    assert_eq!(
        keys(&one(&"x".repeat(400)), MediaType::Json),
        Err(Unfit::TooLarge)
    );
}

#[test]
fn a_field_that_is_given_twice_is_ambiguous() {
    let body = r#"{"id":"a","q_scope":"s","type":"progress","email":"a@b.c","email":"b@b.c"}"#;
    assert_eq!(faults(body), [(0, "email".to_owned())]);
    let escaped =
        r#"{"id":"a","q_scope":"s","type":"progress","email":"a@b.c","em\u0061il":"b@b.c"}"#;
    assert_eq!(faults(escaped), [(0, "email".to_owned())]);
}

#[test]
fn a_header_names_a_single_object_without_an_id_and_nothing_else() {
    let named = |body: &str| {
        events(body.as_bytes(), MediaType::Unstated, Some("h"), BOUNDS, NOW)
            .map(|events| events[0].key.clone())
    };
    let nameless = one("");
    assert_eq!(named(&nameless).unwrap(), "h");
    assert_eq!(named(&one("a")).unwrap(), "a");
    assert!(named(&format!("[{nameless}]")).is_err());
    assert!(named(&format!("{nameless}\n{}", one("a"))).is_err());
}
