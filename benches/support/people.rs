//! Made-up people: one participation of about 400 bytes each, told apart by a number.

use braze_relay::flow::{self, job::Seed};
use braze_relay::model::event::{CustomEvent, Event, EventKind, Source};
use braze_relay::model::json::{Object, ObjectText};
use braze_relay::model::rules::{ParticipationFlow, RuleBook, Rules};
use braze_relay::model::time::Timestamp;

/// The activation they join.
pub const SCOPE: &str = "spring-drop";
/// The workspace it belongs to.
pub const WORKSPACE: &str = "acme";
/// How many digits a number has in texts.
pub const DIGITS: usize = 12;

const ATTRIBUTES: &str = r#"{"level":3,"incentive":"10 % off the next order","favourite_style":"trail running","newsletter":true,"home_city":"Köln"}"#;
const PROPERTIES: &str = r#"{"channel":"instagram","placement":"story","step":2}"#;

/// The JSON of a participation, with zeros where the number goes.
pub fn template() -> String {
    let zeros = "0".repeat(DIGITS);
    format!(
        r#"{{"id":"p-{zeros}","q_scope":"{SCOPE}","type":"participation","email":"person.{zeros}@example.com","at":"2026-11-20T09:30:00Z","attributes":{ATTRIBUTES},"event":{{"name":"joined","properties":{PROPERTIES}}}}}"#
    )
}

/// The same participation, as it is accepted.
pub fn event(number: u64, now: Timestamp) -> Event {
    let object = |text: &str| serde_json::from_str::<Object>(text).unwrap_or_default();
    Event {
        source: Source::Quikly,
        kind: EventKind::Participation,
        key: format!("p-{number:0DIGITS$}"),
        scope: SCOPE.into(),
        email: format!("person.{number:0DIGITS$}@example.com"),
        email_given: None,
        trace: None,
        external_id: None,
        phone: None,
        sms_consent: false,
        at: now,
        accepted_at: now,
        attributes: Some(ObjectText::new(&object(ATTRIBUTES))),
        event: Some(CustomEvent {
            name: "joined".into(),
            properties: Some(ObjectText::new(&object(PROPERTIES))),
        }),
    }
}

/// What that event starts.
pub fn seed(number: u64, book: &RuleBook, now: Timestamp) -> Seed {
    let event = event(number, now);
    let (start, further) = flow::start(&event, book, now);
    Seed {
        event,
        start,
        further,
    }
}

/// A book with the one activation, flow `email`.
pub fn book() -> RuleBook {
    RuleBook::new([Rules {
        flow: Some(ParticipationFlow::Email),
        ..Rules::plain(SCOPE, WORKSPACE)
    }])
}
