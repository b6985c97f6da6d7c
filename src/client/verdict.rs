//! What Braze's answers mean, call by call.
//!
//! Invariants: pure. Exactly one answer for each call, whatever came back. Only what Braze plainly accepted is
//! answered well; only what it plainly refused is rejected; a call that would count twice is never said to be
//! repeatable unless nothing of it happened. Source: the reference pages of `/users/track`, `/users/export/ids` and
//! "API errors", and recorded answers where the pages are silent.

use serde_json::Value;

use super::Answers;
use super::answer::{self, Redactor};
use super::body::{Places, has_attributes_object};
use super::http::RawAnswer;
use crate::model::call::{Answer, Failure, Profile, Reply, Track};
use crate::model::json::Object;
use crate::model::time::Timestamp;

/// Reads the answer to a look-up. Without a list of profiles that is plainly complete it is a failure: taking it for
/// "nobody" would make a second profile.
pub fn profiles(answer: &RawAnswer, redactor: &Redactor, now: Timestamp) -> Result<Reply, Failure> {
    if !(200..300).contains(&answer.status) {
        return Err(once_more(refusal(answer, redactor, now)));
    }
    let unreadable = |text: &str| Err(Failure::Transient(redactor.answer(answer.status, text)));
    let Some(body) = object(answer) else {
        return unreadable("the answer cannot be read");
    };
    if !says(&body, &["success"]) {
        return unreadable(&answer::message(answer));
    }
    let Some(Value::Array(users)) = body.get("users") else {
        return unreadable("the answer has no list of users");
    };
    match users.iter().map(profile).collect() {
        Some(profiles) => Ok(Reply::Profiles(profiles)),
        None => unreadable("a user in the answer cannot be read"),
    }
}

/// A read whose outcome is unknown did not happen.
pub fn once_more(failure: Failure) -> Failure {
    match failure {
        Failure::Unknown(answer) => Failure::Transient(answer),
        other @ (Failure::Transient(_)
        | Failure::Throttled { .. }
        | Failure::Rejected(_)
        | Failure::Denied(_)
        | Failure::WrongGroup(_)
        | Failure::Apart(_)) => other,
    }
}

/// Reads the answer to the tracks of one request, whose objects stood at `places`.
pub fn tracked(
    answer: &RawAnswer,
    tracks: &[&Track],
    places: &Places,
    redactor: &Redactor,
    now: Timestamp,
) -> Answers {
    if (200..300).contains(&answer.status) {
        return accepted(answer, tracks, places, redactor);
    }
    match refusal(answer, redactor, now) {
        Failure::Rejected(said) if tracks.len() > 1 => {
            let blame = object(answer).map_or_else(Blame::default, |body| {
                Blame::read(&body, places, tracks.len())
            });
            blame
                .named
                .iter()
                .map(|named| {
                    Err(match named {
                        Some(text) => rejected(redactor.answer(answer.status, text)),
                        None => Failure::Apart(said.clone()),
                    })
                })
                .chain(std::iter::repeat_with(|| Err(Failure::Apart(said.clone()))))
                .take(tracks.len())
                .collect()
        }
        failure => vec![Err(failure); tracks.len()],
    }
}

/// A 2xx: accepted, but for the objects that `errors` names.
fn accepted(
    answer: &RawAnswer,
    tracks: &[&Track],
    places: &Places,
    redactor: &Redactor,
) -> Answers {
    let Some(body) = object(answer) else {
        let said = redactor.answer(answer.status, "the answer cannot be read");
        return vec![Err(Failure::Unknown(said)); tracks.len()];
    };
    let blame = Blame::read(&body, places, tracks.len());
    let refused = !says(&body, &["success", "queued"]);
    let said = redactor.answer(answer.status, &answer::message(answer));
    let judge = |(track, named): (&&Track, Option<String>)| {
        if let Some(text) = named {
            return Err(rejected(redactor.answer(answer.status, &text)));
        }
        if !(refused || blame.suspects(track)) {
            return Ok(Reply::Tracked);
        }
        Err(if tracks.len() == 1 {
            Failure::Rejected(said.clone())
        } else if track.events.is_empty() {
            Failure::Apart(said.clone())
        } else {
            Failure::Unknown(said.clone())
        })
    };
    tracks
        .iter()
        .zip(blame.named.iter().cloned())
        .map(judge)
        .collect()
}

/// Whom `errors` names.
#[derive(Default)]
struct Blame {
    /// For each call what was said of it.
    named: Vec<Option<String>>,
    /// An entry says only that something in `attributes` is wrong.
    some_attributes: bool,
    /// An entry says only that something in `events` is wrong.
    some_events: bool,
}

impl Blame {
    fn read(body: &Object, places: &Places, calls: usize) -> Blame {
        let mut blame = Blame {
            named: vec![None; calls],
            ..Blame::default()
        };
        for entry in answer::entries(body) {
            let array = match entry.get("input_array").and_then(Value::as_str) {
                Some(array) => Some(array),
                // An index alone is enough where there was only one array.
                None if places.events.is_empty() => Some("attributes"),
                None if places.attributes.is_empty() => Some("events"),
                None => None,
            };
            let places = match array {
                Some("attributes") => places.attributes.as_slice(),
                Some("events") => places.events.as_slice(),
                Some(_) | None => &[],
            };
            let owner = index(entry).and_then(|index| places.get(index));
            let Some(named) = owner.and_then(|owner| blame.named.get_mut(*owner)) else {
                blame.some_attributes |= array != Some("events") || places.is_empty();
                blame.some_events |= array != Some("attributes") || places.is_empty();
                continue;
            };
            let text = answer::words_of(entry).unwrap_or("an error without a type");
            match named {
                None => *named = Some(text.to_owned()),
                Some(texts) if !texts.contains(text) => *texts = format!("{texts}; {text}"),
                Some(_) => {}
            }
        }
        blame
    }

    fn suspects(&self, track: &Track) -> bool {
        (self.some_attributes && has_attributes_object(track))
            || (self.some_events && !track.events.is_empty())
    }
}

/// What an answer other than a 2xx means for a call that travelled alone. Braze processes nothing of a request that it
/// answers with 4xx or 5xx; 520 and 524 are not Braze's but those of the network before it, and say that Braze was
/// reached and did not answer.
pub(super) fn refusal(answer: &RawAnswer, redactor: &Redactor, now: Timestamp) -> Failure {
    let said = || redactor.answer(answer.status, &answer::message(answer));
    match answer.status {
        400 | 413 | 422 => rejected(said()),
        401 => answer::key_refused(),
        429 => answer::throttled(answer, redactor, now),
        520 | 524 => Failure::Unknown(said()),
        408 | 409 | 423 | 425 | 500.. => Failure::Transient(said()),
        300..400 => answer::redirected(answer.status),
        _ => Failure::Denied(said()),
    }
}

/// What was plainly refused: for ever, unless it is the activation that asks for a group that Braze does not know.
fn rejected(said: Answer) -> Failure {
    let text = said.text.to_ascii_lowercase();
    if text.contains("invalid subscription group") {
        Failure::WrongGroup(said)
    } else {
        Failure::Rejected(said)
    }
}

pub(super) fn object(answer: &RawAnswer) -> Option<Object> {
    answer
        .whole
        .then(|| serde_json::from_slice(&answer.body).ok())
        .flatten()
}

/// Whether the body's message is one of these, or it has neither message nor error.
pub(super) fn says(body: &Object, fine: &[&str]) -> bool {
    match body.get("message") {
        Some(Value::String(message)) => fine
            .iter()
            .any(|fine| message.trim().eq_ignore_ascii_case(fine)),
        Some(_) => false,
        None => !body.contains_key("error"),
    }
}

fn index(entry: &Value) -> Option<usize> {
    let index = match entry.get("index")? {
        Value::String(text) => text.trim().parse().ok()?,
        other => other.as_u64()?,
    };
    usize::try_from(index).ok()
}

/// A user of an export; what is missing, `null` or empty is `None`.
fn profile(user: &Value) -> Option<Profile> {
    let user = user.as_object()?;
    let text = |field: &str| {
        user.get(field)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    Some(Profile {
        external_id: text("external_id"),
        braze_id: text("braze_id"),
        email: text("email"),
        phone: text("phone"),
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
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
            Err(Failure::WrongGroup(_)) => "wrong group",
            Err(Failure::Transient(_)) => "transient",
            Err(Failure::Unknown(_)) => "unknown",
            Err(Failure::Throttled { .. }) => "throttled",
            Err(Failure::Rejected(_)) => "rejected",
            Err(Failure::Denied(_)) => "denied",
            Err(Failure::Apart(_)) => "apart",
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
            ["apart", "unknown", "unknown"]
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
                ["apart", "unknown", "unknown"],
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
            ["apart", "tracked", "unknown"]
        );
        assert_eq!(
            classes(&three(), 201, &body("events")),
            ["tracked", "unknown", "unknown"]
        );
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
                ["apart", "unknown", "unknown"],
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
                    prop_assert!(!matches!(answer, Err(Failure::Apart(_) | Failure::Transient(_))));
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
}
