//! Every shape of answer, and what of it is whose.

#![expect(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::client::body::TrackBody;
use crate::model::call::{Address, TrackEvent};
use crate::model::rules::OnUnknown;

const KEY: &str = "b6ad1a3e-41a5-4a32-a0d2-aaaaaaaaaaaa";

fn track(address: Address, attributes: bool, events: usize) -> Track {
    let mut track = Track {
        address,
        create: false,
        attributes: Object::new(),
        events: Vec::new(),
        subscribe: None,
        on_unknown: OnUnknown::Resend,
    };
    if attributes {
        track.attributes.insert("nick".into(), json!("Countess"));
    }
    track.events.extend((0..events).map(|_| TrackEvent {
        name: "e".into(),
        time: Timestamp::ZERO,
        properties: None,
    }));
    track
}

/// Attributes only; events only; both. Objects: attributes 0 → call 0, 1 → call 2; events 0, 1 → call 1, 2 → call 2.
fn three() -> Vec<Track> {
    vec![
        track(Address::Alias("ada@example.com".into()), true, 0),
        track(Address::ExternalId("brand-7".into()), false, 2),
        track(Address::BrazeId("c0ffee".into()), true, 1),
    ]
}

fn answers(tracks: &[Track], answer: &RawAnswer) -> Answers {
    let tracks: Vec<_> = tracks.iter().collect();
    let places = TrackBody::new(&tracks).1;
    let mut redactor = Redactor::new(KEY);
    for track in &tracks {
        redactor.hide_track(track);
    }
    tracked(answer, &tracks, &places, &redactor, Timestamp::ZERO)
}

fn class(answer: &Result<Reply, Failure>) -> &'static str {
    match answer {
        Ok(Reply::Tracked) => "tracked",
        Ok(Reply::Profiles(_)) => "profiles",
        Ok(Reply::Remembered(_)) => "remembered",
        Ok(Reply::Status(_) | Reply::StatusSet) => "status",
        Ok(Reply::Credited) => "credited",
        Ok(Reply::Deleted) => "deleted",
        Err(Failure::Transient(_)) => "transient",
        Err(Failure::Unknown(_)) => "unknown",
        Err(Failure::Throttled { .. }) => "throttled",
        Err(Failure::Rejected(_)) => "rejected",
        Err(Failure::WrongGroup(_)) => "wrong group",
        Err(Failure::Denied(_)) => "denied",
        Err(Failure::Apart { happened, .. }) => match happened {
            Happened::Nothing => "apart",
            Happened::Events => "apart, events taken",
            Happened::Unknown => "apart, in doubt",
        },
    }
}

fn classes(tracks: &[Track], status: u16, body: &str) -> Vec<&'static str> {
    answers(tracks, &RawAnswer::made(status, &[], body))
        .iter()
        .map(class)
        .collect()
}

const ALL_TRACKED: [&str; 3] = ["tracked"; 3];

#[test]
fn any_2xx_of_success_is_accepted() {
    for (status, body) in [
        (
            201,
            r#"{"message":"success","attributes_processed":2,"events_processed":3}"#,
        ),
        (200, r#"{"message":"success"}"#),
        (202, r#"{"message":"queued"}"#),
        (201, r#"{"message":"success","errors":[]}"#),
        (201, r#"{"message":"success","errors":null}"#),
        (201, r#"{"attributes_processed":2}"#),
    ] {
        assert_eq!(classes(&three(), status, body), ALL_TRACKED, "{body}");
    }
}

#[test]
fn an_indexed_error_is_its_calls_alone_and_the_neighbours_are_delivered() {
    for (array, index, guilty) in [
        ("attributes", "0", 0),
        ("attributes", "1", 2),
        ("events", "0", 1),
        ("events", "1", 1),
        ("events", "\"2\"", 2),
    ] {
        let body = format!(
            r#"{{"message":"success","errors":[{{"type":"BAD","input_array":"{array}","index":{index}}}]}}"#
        );
        let mut expected = ALL_TRACKED;
        expected[guilty] = "rejected";
        assert_eq!(classes(&three(), 201, &body), expected, "{array} {index}");
    }
}

#[test]
fn an_index_without_an_array_is_enough_where_only_one_array_was_sent() {
    let both = [
        track(Address::BrazeId("a".into()), true, 0),
        track(Address::BrazeId("b".into()), true, 0),
    ];
    let body = r#"{"message":"success","errors":[{"type":"BAD","index":1}]}"#;
    assert_eq!(classes(&both, 201, body), ["tracked", "rejected"]);
    assert_eq!(
        classes(&three(), 201, body),
        ["apart", "apart, in doubt", "apart, in doubt"]
    );
}

#[test]
fn an_error_that_names_nobody_is_never_anybodys_success() {
    for errors in [
        r#"["something is wrong"]"#,
        r#"[{"type":"BAD"}]"#,
        r#"[{"type":"BAD","input_array":"purchases","index":0}]"#,
        r#"[{"type":"BAD","index":0}]"#,
        "[7]",
        r#""plain""#,
        r#"{"type":"BAD"}"#,
    ] {
        let body = format!(r#"{{"message":"success","errors":{errors}}}"#);
        assert_eq!(
            classes(&three(), 201, &body),
            ["apart", "apart, in doubt", "apart, in doubt"],
            "{errors}"
        );
    }
    let body = r#"{"message":"success","errors":["something is wrong"]}"#;
    for alone in three().chunks(1) {
        assert_eq!(classes(alone, 201, body), ["rejected"]);
    }
}

#[test]
fn an_error_that_names_only_the_array_clears_the_calls_without_objects_in_it() {
    let body = |array| {
        format!(
            r#"{{"message":"success","errors":[{{"type":"BAD","input_array":"{array}","index":99}}]}}"#
        )
    };
    assert_eq!(
        classes(&three(), 201, &body("attributes")),
        ["apart", "tracked", "apart, events taken"]
    );
    assert_eq!(
        classes(&three(), 201, &body("events")),
        ["tracked", "apart, in doubt", "apart, in doubt"]
    );
}

#[test]
fn numbers_that_account_for_every_object_and_error_clear_the_array_that_was_taken_whole() {
    // Sent are two attributes objects and three events: of calls 0 and 2, of calls 1 (twice) and 2.
    let error = || json!("something is wrong");
    for (attributes, events, errors, expected) in [
        (
            1,
            3,
            vec![error()],
            ["apart", "tracked", "apart, events taken"],
        ),
        (
            2,
            2,
            vec![error()],
            ["tracked", "apart, in doubt", "apart, in doubt"],
        ),
        (
            0,
            3,
            vec![error(), error()],
            ["apart", "tracked", "apart, events taken"],
        ),
        (
            1,
            2,
            vec![error(), error()],
            ["apart", "apart, in doubt", "apart, in doubt"],
        ),
        // All are counted, refused or not: that clears nobody.
        (
            2,
            3,
            vec![error()],
            ["apart", "apart, in doubt", "apart, in doubt"],
        ),
        // Two errors of one object, one error for two objects, numbers that cannot be.
        (
            1,
            3,
            vec![error(), error()],
            ["apart", "apart, in doubt", "apart, in doubt"],
        ),
        (
            0,
            3,
            vec![error()],
            ["apart", "apart, in doubt", "apart, in doubt"],
        ),
        (
            9,
            2,
            vec![error(), error()],
            ["apart", "apart, in doubt", "apart, in doubt"],
        ),
        // One is named; the other is in the same array, or not.
        (
            1,
            2,
            vec![
                error(),
                json!({"type": "BAD", "input_array": "events", "index": 0}),
            ],
            ["apart", "rejected", "apart, in doubt"],
        ),
        (
            0,
            3,
            vec![
                error(),
                json!({"type": "BAD", "input_array": "attributes", "index": 0}),
            ],
            ["rejected", "tracked", "apart, events taken"],
        ),
        // What contradicts itself clears nobody.
        (
            2,
            2,
            vec![json!({"type": "BAD", "input_array": "attributes"})],
            ["apart", "tracked", "apart, events taken"],
        ),
    ] {
        let body = json!({"message": "success", "attributes_processed": attributes,
            "events_processed": events, "errors": errors});
        assert_eq!(
            classes(&three(), 201, &body.to_string()),
            expected,
            "{body}"
        );
    }
    let half = r#"{"message":"success","attributes_processed":1,"errors":["x"]}"#;
    assert_eq!(
        classes(&three(), 201, half),
        ["apart", "apart, in doubt", "apart, in doubt"]
    );
    let refused =
        r#"{"message":"no","attributes_processed":1,"events_processed":3,"errors":["x"]}"#;
    assert_eq!(
        classes(&three(), 201, refused),
        ["apart", "apart, in doubt", "apart, in doubt"]
    );
}

#[test]
fn a_subscription_that_travelled_with_attributes_in_doubt_may_have_happened() {
    let subscribe = |double_opt_in| {
        let mut track = track(Address::BrazeId("d".into()), true, 1);
        track.subscribe = Some(crate::model::call::Subscribe {
            group: "g".into(),
            double_opt_in,
        });
        track
    };
    for double_opt_in in [false, true] {
        let tracks = [three().remove(0), subscribe(double_opt_in)];
        let body = |array| {
            format!(
                r#"{{"message":"success","errors":[{{"type":"BAD","input_array":"{array}"}}]}}"#
            )
        };
        assert_eq!(
            classes(&tracks, 201, &body("attributes")),
            ["apart", "apart, in doubt"]
        );
        assert_eq!(
            classes(&tracks, 400, &body("attributes")),
            ["apart", "apart"]
        );
    }
}

#[test]
fn a_group_that_braze_does_not_know_is_that_of_whoever_is_named_or_alone() {
    let whole = r#"{"message":"Invalid subscription group ID"}"#;
    assert_eq!(classes(&three(), 400, whole), ["apart"; 3]);
    for alone in three().chunks(1) {
        assert_eq!(classes(alone, 400, whole), ["wrong group"]);
    }
    let named = r#"{"message":"success","errors":[{"type":"Invalid subscription group ID","input_array":"attributes","index":1}]}"#;
    for status in [201, 400] {
        assert_eq!(classes(&three(), status, named)[2], "wrong group");
    }
}

#[test]
fn whoever_is_cleared_or_named_is_not_among_those_to_be_halved() {
    let among = |status, body: &str| -> Vec<usize> {
        let answers = answers(&three(), &RawAnswer::made(status, &[], body));
        let among = |answer: &Result<Reply, Failure>| match answer {
            Err(Failure::Apart { among, .. }) => Some(*among),
            _ => None,
        };
        answers.iter().filter_map(among).collect()
    };
    let named =
        r#"{"message":"success","errors":[{"type":"BAD","input_array":"events","index":0},"?"]}"#;
    assert_eq!(among(201, named), [2, 2]);
    assert_eq!(among(400, named), [2, 2]);
    assert_eq!(
        among(201, r#"{"message":"success","errors":["?"]}"#),
        [3, 3, 3]
    );
    let array = r#"{"message":"success","errors":[{"type":"BAD","input_array":"attributes"}]}"#;
    assert_eq!(among(201, array), [2, 2]);
    assert_eq!(among(413, ""), [3, 3, 3]);
}

#[test]
fn a_2xx_that_does_not_say_success_is_nobodys_success() {
    for body in [
        r#"{"message":"fatal error message"}"#,
        r#"{"message":7}"#,
        r#"{"error":"no"}"#,
    ] {
        assert_eq!(
            classes(&three(), 201, body),
            ["apart", "apart, in doubt", "apart, in doubt"],
            "{body}"
        );
        assert_eq!(classes(&three()[..1], 201, body), ["rejected"]);
    }
}

#[test]
fn a_2xx_that_cannot_be_read_leaves_the_outcome_unknown() {
    for body in ["", "<html>", "[]", r#"{"message":"succ"#] {
        assert_eq!(classes(&three(), 201, body), ["unknown"; 3], "{body}");
    }
    let mut cut = RawAnswer::made(201, &[], r#"{"message":"success"}"#);
    cut.whole = false;
    assert!(
        answers(&three(), &cut)
            .iter()
            .all(|a| class(a) == "unknown")
    );
}

#[test]
fn a_400_rejects_whom_it_names_and_asks_the_others_again_alone() {
    let entry = |array, index| json!({"type": "BAD", "input_array": array, "index": index});
    let body = |errors: Value| {
        json!({"message": "Valid data must be provided in the 'attributes', 'events', or 'purchases' fields.",
            "errors": errors})
        .to_string()
    };
    let all = body(json!([
        entry("attributes", 0),
        entry("events", 1),
        entry("attributes", 1)
    ]));
    assert_eq!(classes(&three(), 400, &all), ["rejected"; 3]);
    let some = body(json!([entry("events", 2), "and more"]));
    assert_eq!(
        classes(&three(), 400, &some),
        ["apart", "apart", "rejected"]
    );
    assert_eq!(classes(&three(), 400, &body(json!(null))), ["apart"; 3]);
    for alone in three().chunks(1) {
        assert_eq!(classes(alone, 400, &body(json!([]))), ["rejected"]);
    }
}

#[test]
fn every_other_status_has_one_meaning_for_all_calls() {
    for (statuses, meaning) in [
        (&[413, 422][..], "apart"),
        (&[301, 302, 307, 308], "denied"),
        (
            &[401, 402, 403, 404, 405, 406, 407, 410, 411, 415, 431, 451],
            "denied",
        ),
        (
            &[408, 409, 425, 500, 502, 503, 504, 521, 530, 598],
            "transient",
        ),
        (&[520, 524], "unknown"),
        (&[429], "throttled"),
    ] {
        for status in statuses {
            for body in ["", "<html>", r#"{"message":"no"}"#] {
                assert_eq!(classes(&three(), *status, body), [meaning; 3], "{status}");
            }
        }
    }
    assert_eq!(classes(&three()[..1], 413, ""), ["rejected"]);
}

#[test]
fn a_401_never_shows_its_body() {
    let body = format!(r#"{{"message":"Invalid API key: {KEY}"}}"#);
    for failure in answers(&three(), &RawAnswer::made(401, &[], &body)) {
        assert_eq!(failure.unwrap_err().answer().text, "the key was refused");
    }
}

#[test]
fn a_guilty_call_is_told_what_was_said_of_it() {
    let body = json!({"message": "success", "errors": [
        {"type": "The value provided for the 'email' field is not a valid email.", "input_array": "attributes", "index": 0},
        {"type": "Countess is no level", "input_array": "attributes", "index": 0},
    ]});
    let answers = answers(&three(), &RawAnswer::made(201, &[], &body.to_string()));
    assert_eq!(
        answers[0].as_ref().unwrap_err().answer().text,
        "The value provided for the 'email' field is not a valid email.; *** is no level"
    );
}

fn look_up(status: u16, body: &str) -> Result<Reply, Failure> {
    profiles(
        &RawAnswer::made(status, &[], body),
        &Redactor::new(KEY),
        Timestamp::ZERO,
    )
}

#[test]
fn a_look_up_shows_every_profile_with_what_braze_left_out_as_none() {
    let body = r#"{"message":"success","users":[
        {"braze_id":"b1","user_aliases":[{"alias_name":"a@example.com","alias_label":"email"}],"email":"a@example.com"},
        {"external_id":"x","braze_id":"b2","email":null,"phone":""}],"invalid_user_ids":[]}"#;
    let profile = |external: Option<&str>, braze: &str, email: Option<&str>| Profile {
        external_id: external.map(Into::into),
        braze_id: Some(braze.into()),
        email: email.map(Into::into),
        phone: None,
    };
    assert_eq!(
        look_up(201, body),
        Ok(Reply::Profiles(vec![
            profile(None, "b1", Some("a@example.com")),
            profile(Some("x"), "b2", None)
        ]))
    );
    assert_eq!(
        look_up(200, r#"{"message":"success","users":[]}"#),
        Ok(Reply::Profiles(Vec::new()))
    );
}

#[test]
fn a_look_up_that_is_not_plainly_complete_is_never_nobody() {
    for body in [
        "",
        "{}",
        r#"{"message":"success"}"#,
        r#"{"message":"queued"}"#,
        r#"{"message":"fatal error message","users":[]}"#,
        r#"{"message":"success","users":null}"#,
        r#"{"message":"success","users":[7]}"#,
        r#"{"message":"success","users":["#,
    ] {
        assert_eq!(class(&look_up(201, body)), "transient", "{body}");
    }
    for (status, meaning) in [
        (400, "rejected"),
        (401, "denied"),
        (404, "denied"),
        (429, "throttled"),
        (500, "transient"),
        (524, "transient"),
    ] {
        assert_eq!(class(&look_up(status, "")), meaning, "{status}");
    }
}

fn any_body() -> impl Strategy<Value = String> {
    let entry = prop_oneof![
        Just(json!("text")),
        (any::<bool>(), 0..6u8).prop_map(|(events, index)| {
            let array = if events { "events" } else { "attributes" };
            json!({"type": "BAD", "input_array": array, "index": index})
        }),
        (0..4u8).prop_map(|index| json!({"type": "BAD", "index": index})),
    ];
    let message = prop_oneof![Just(json!("success")), Just(json!("no")), Just(json!(null))];
    prop_oneof![
        9 => (message, prop::collection::vec(entry, 0..4))
            .prop_map(|(message, errors)| json!({"message": message, "errors": errors}).to_string()),
        1 => any::<String>(),
    ]
}

fn any_tracks() -> impl Strategy<Value = Vec<Track>> {
    let address = prop_oneof![
        "[a-z]{1,12}@[a-z]{1,9}\\.(com|de)".prop_map(Address::Alias),
        "[a-z]{1,12}\\+[0-9]{1,3}@[a-z]{1,9}\\.com".prop_map(Address::Email),
        "[A-Za-z0-9][A-Za-z0-9_-]{0,29}".prop_map(Address::ExternalId),
        "[0-9a-f]{24}".prop_map(Address::BrazeId),
    ];
    let one = (address, any::<bool>(), 0..3usize)
        .prop_map(|(address, attributes, events)| track(address, attributes, events));
    prop::collection::vec(one, 1..6)
}

proptest! {
    #[test]
    fn there_is_one_answer_for_each_call_and_events_are_repeatable_only_when_nothing_happened(
        tracks in any_tracks(), status in 200..600u16, body in any_body(),
    ) {
        let answers = answers(&tracks, &RawAnswer::made(status, &[], &body));
        prop_assert_eq!(answers.len(), tracks.len());
        for (track, answer) in tracks.iter().zip(&answers) {
            if status < 300 && !track.events.is_empty() {
                let again = matches!(answer, Err(Failure::Transient(_) | Failure::Apart { happened: Happened::Nothing, .. }));
                prop_assert!(!again, "{:?}", answer);
            }
            if status >= 300 {
                prop_assert!(answer.is_err());
            }
        }
    }

    #[test]
    fn no_address_of_the_request_survives_in_an_answer(
        tracks in any_tracks(), status in 200..600u16, in_type in any::<bool>(),
    ) {
        // Those are answered in words of ours, in which an id such as `a` stands by chance.
        prop_assume!(!(300..402).contains(&status) || status == 400);
        let echo: Vec<_> = tracks.iter().map(|track| match &track.address {
            Address::ExternalId(a) | Address::BrazeId(a) | Address::Alias(a) | Address::Email(a) => a.as_str(),
        }).collect();
        let said = format!("Bad: {} ({KEY}) '{}'!", echo.join(", "), echo.join("' '").to_uppercase());
        let body = if in_type {
            json!({"message": "success", "errors": [{"type": said, "input_array": "attributes", "index": 0}, said]})
        } else {
            json!({"message": said})
        };
        for answer in answers(&tracks, &RawAnswer::made(status, &[], &body.to_string())) {
            let Err(failure) = answer else { continue };
            let text = failure.answer().text.to_lowercase();
            prop_assert!(!text.contains(KEY));
            for address in &echo {
                let address = address.to_lowercase();
                // Ids shorter than four characters are hidden as whole words; ours here stand apart.
                let whole_word = text.split(|c: char| !c.is_alphanumeric()).any(|word| word == address);
                prop_assert!(!whole_word && (address.len() < 4 || !text.contains(&address)), "{} in {}", address, text);
            }
        }
    }
}
