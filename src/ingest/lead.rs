//! An Outgrow lead, and the event that comes out.
//!
//! Invariants: pure; any JSON object is a lead and is kept whole, since what is made of it is decided when it is written
//! to Braze: a lead that today's mapping cannot read becomes a dead letter and can be replayed. What the mapping of the
//! moment says about whose lead it is serves to tell leads apart, no more.

use super::single::{self, Single};
use crate::flow::mapping;
use crate::model::event::{Event, EventKind, Source};
use crate::model::json::ObjectText;
use crate::model::rules::Mapping;
use crate::model::time::Timestamp;

/// The event of a lead of `content`, accepted at `now`. `mapping`: the content's, when it is known.
pub(super) fn event(
    single: &Single<'_>,
    content: &str,
    mapping: Option<&Mapping>,
    header_id: Option<&str>,
    now: Timestamp,
) -> Event {
    // First partial, then complete: the same id, and two events.
    let own = |mapping: &Mapping| {
        let id = single::said(single.value.pointer(mapping.id.as_deref()?)?)?;
        Some(format!("{id} {}", single.hash()))
    };
    let key = single.key(header_id, mapping.and_then(own));
    let person = mapping
        .map(|mapping| mapping::person(&single.value, mapping))
        .unwrap_or_default();
    Event {
        source: Source::Outgrow,
        kind: EventKind::Lead,
        key,
        scope: content.to_owned(),
        email: person.email.unwrap_or_default(),
        email_given: None,
        trace: None,
        external_id: person.external_id,
        phone: None,
        sms_consent: false,
        at: now,
        accepted_at: now,
        attributes: Some(ObjectText::read(single.text)),
        event: None,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;

    fn mapping() -> Mapping {
        Mapping {
            id: Some("/lead/id".into()),
            email: Some("/lead/email".into()),
            external_id: Some("/lead/user".into()),
            bad_answer_kills: true,
            attributes: Vec::new(),
        }
    }

    fn read(body: &str, mapping: Option<&Mapping>, header_id: Option<&str>) -> Event {
        let single = single::read(body.as_bytes(), 1 << 16, None).unwrap();
        event(&single, "quiz", mapping, header_id, Timestamp::ZERO)
    }

    #[test]
    fn a_lead_is_kept_whole_and_is_the_one_of_whom_the_mapping_says() {
        let body = r#"{"lead":{"id":7,"email":" Ada@B.example","user":"u1"},"x":[1.0]}"#;
        let event = read(body, Some(&mapping()), None);
        assert_eq!(event.attributes.as_ref().unwrap().as_str(), body);
        assert_eq!(event.email, "ada@b.example");
        assert_eq!(event.external_id.as_deref(), Some("u1"));
        assert_eq!(event.participant(), "ada@b.example");
        let unknown = read(body, None, None);
        assert_eq!(
            (&*unknown.email, unknown.external_id.as_deref()),
            ("", None)
        );
        assert_eq!(unknown.participant(), unknown.key);
        let nobody = read(r#"{"lead":{"email":"no"}}"#, Some(&mapping()), None);
        assert_eq!(nobody.email, "");
    }

    #[test]
    fn a_lead_first_partial_then_complete_is_two_events_and_a_repeated_one_is_one() {
        let (partial, complete) = (r#"{"lead":{"id":"a"}}"#, r#"{"lead":{"id":"a"},"x":1}"#);
        let mapping = mapping();
        let key = |body| read(body, Some(&mapping), None).key;
        assert_eq!(key(partial), key(partial));
        assert_ne!(key(partial), key(complete));
        assert!(key(partial).starts_with("a "), "{}", key(partial));
        assert!(!read(partial, Some(&mapping), None).has_derived_key());
        assert!(read(partial, None, None).has_derived_key());
        assert!(read(r#"{"lead":{"id":""}}"#, Some(&mapping), None).has_derived_key());
        assert_eq!(read(partial, Some(&mapping), Some("h")).key, "h");
    }
}
