//! What a Braze webhook must look like, and the event that comes out.
//!
//! Invariants: pure; refuses only for what the body alone shows, since Braze repeats nothing after a 400; names every
//! pair that is wrong with what to do about it in Braze, for it is a marketer who reads it; never repeats a value.
//! Further pairs are kept as they came, in their order.

use serde_json::Value;

use super::check::Fault;
use super::parse::Unfit;
use super::single::{self, Single};
use crate::model::email;
use crate::model::event::{CustomEvent, Event, EventKind, Source};
use crate::model::json::ObjectText;
use crate::model::time::Timestamp;

/// The pairs that are not passed on as further ones.
const OURS: [&str; 3] = ["q_scope", "event", "email"];

/// What mostly makes a webhook's body no JSON.
pub(super) const ESCAPE: &str = "a quote in a value ends it too early: let Liquid escape it, such as {{${first_name} | json_escape}}";

const LIQUID: &str = "is Liquid that Braze did not fill in";
const CLOSE_LIQUID: &str =
    "write the tag with all its braces, such as {{${email_address}}}, in straight quotes";

/// The event of a webhook's body, accepted at `now`.
pub(super) fn event(
    single: &Single<'_>,
    header_id: Option<&str>,
    now: Timestamp,
) -> Result<Event, Unfit> {
    let members = single.members().map_err(single::faulty)?;
    let mut faults = Vec::new();
    let mut pair = |name: &'static str, blank: Fault| {
        pair(single, name, blank)
            .map_err(|fault| faults.push(fault))
            .ok()
    };
    let scope = pair(
        "q_scope",
        Fault::new("q_scope", "is required")
            .remedy("add the pair q_scope with the activation's scope id"),
    );
    let name = pair(
        "event",
        Fault::new("event", "is required")
            .remedy("add the pair event with Quikly's event identifier"),
    );
    let given = pair(
        "email",
        Fault::new("email", "is blank").remedy(
            "send the webhook only to profiles with an e-mail: add the filter `Email Available` to the audience, or begin the body with {% if ${email_address} == blank %}{% abort_message('no e-mail') %}{% endif %}",
        ),
    );
    let email = given.as_ref().and_then(|given| {
        email::normalised(given)
            .map_err(|reason| faults.push(Fault::new("email", reason)))
            .ok()
    });
    let id = id(single).map_err(|fault| faults.push(fault));
    match (scope, name, given, email, id) {
        (Some(scope), Some(name), Some(given), Some(email), Ok(id)) if faults.is_empty() => {
            let further = members
                .into_iter()
                .filter(|(name, _)| !OURS.contains(&&**name));
            Ok(Event {
                source: Source::Braze,
                kind: EventKind::Webhook,
                key: single.key(header_id, id),
                scope,
                email_given: (given != email).then_some(given),
                trace: None,
                email,
                external_id: None,
                phone: None,
                sms_consent: false,
                at: now,
                accepted_at: now,
                attributes: None,
                event: Some(CustomEvent {
                    name,
                    properties: kept(further),
                }),
            })
        }
        _ => Err(single::faulty(faults)),
    }
}

/// The text of a pair that must say something; `blank` when it does not.
fn pair(single: &Single<'_>, name: &'static str, blank: Fault) -> Result<String, Fault> {
    match single.value.get(name) {
        None | Some(Value::Null) => Err(blank),
        Some(Value::String(text)) if text.trim().is_empty() => Err(blank),
        Some(Value::String(text)) if text.contains("{{") => {
            Err(Fault::new(name, LIQUID).remedy(CLOSE_LIQUID))
        }
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(Fault::new(name, "must be a string")),
    }
}

/// The pair `id`, when it says something. One that is no id at all would make one event of many.
fn id(single: &Single<'_>) -> Result<Option<String>, Fault> {
    match single.value.get("id") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.contains("{{") => Err(Fault::new("id", LIQUID)
            .remedy("write {{campaign.${dispatch_id}}}, with three braces at the end")),
        Some(id @ (Value::String(_) | Value::Number(_))) => Ok(single::said(id)),
        Some(_) => Err(Fault::new("id", "must be a string")),
    }
}

/// These pairs as one object, values as they came.
fn kept<'a>(
    pairs: impl Iterator<Item = (std::borrow::Cow<'a, str>, &'a str)>,
) -> Option<ObjectText> {
    let pairs: Vec<String> = pairs
        .map(|(name, value)| format!("{}:{value}", Value::from(name)))
        .collect();
    (!pairs.is_empty()).then(|| ObjectText::read(&format!("{{{}}}", pairs.join(","))))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests may")]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn read(body: &str, header_id: Option<&str>) -> Result<Event, Unfit> {
        event(
            &single::read(body.as_bytes(), 1 << 16, Some(ESCAPE))?,
            header_id,
            NOW,
        )
    }

    fn faults(body: &str) -> Vec<Fault> {
        match read(body, None) {
            Err(Unfit::Faulty { faults, .. }) => {
                faults.into_iter().map(|(_, fault)| fault).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn further_pairs_are_kept_as_they_came() {
        let body = r#" {"b": {"x":[1.50, null]}, "q_scope":"app-login","event":"login", "a\"q": " ü ",
            "email":" Ada@Example.com ", "id":"d-1"}
"#;
        let event = read(body, None).unwrap();
        assert_eq!(
            (event.source, event.kind),
            (Source::Braze, EventKind::Webhook)
        );
        assert_eq!(
            (&*event.scope, &*event.email, &*event.key),
            ("app-login", "ada@example.com", "d-1")
        );
        assert_eq!(event.email_given(), " Ada@Example.com ");
        let told = event.event.unwrap();
        assert_eq!(told.name, "login");
        let pairs = told.properties.unwrap();
        assert_eq!(
            pairs.as_str(),
            r#"{"b":{"x":[1.50, null]},"a\"q":" ü ","id":"d-1"}"#
        );
        assert_eq!(pairs.object().len(), 3);
        let bare = read(r#"{"q_scope":"s","event":"e","email":"a@b.example"}"#, None).unwrap();
        assert_eq!(bare.event.unwrap().properties, None);
        assert_eq!(bare.email_given, None);
    }

    #[test]
    fn a_blank_or_wrong_pair_is_named_with_what_to_do_about_it() {
        let whole = json!({"q_scope": "s", "event": "e", "email": "a@b.example", "id": "i"});
        for (name, values) in [
            (
                "q_scope",
                vec![json!(""), json!(null), json!(7), json!("{{${x}}")],
            ),
            (
                "event",
                vec![json!("  "), json!(true), json!("{{event_properties.${x}}")],
            ),
            (
                "email",
                vec![
                    json!(""),
                    json!(" "),
                    json!(null),
                    json!(["a@b.example"]),
                    json!("a b@c.example"),
                    json!("{{${email_address}}"),
                ],
            ),
            (
                "id",
                vec![json!("{{campaign.${dispatch_id}}"), json!({}), json!(false)],
            ),
        ] {
            for value in values {
                let mut body = whole.clone();
                body[name] = value.clone();
                let found = faults(&body.to_string());
                assert_eq!(found.len(), 1, "{name} {value}");
                assert_eq!(found[0].field, name);
            }
            if name != "id" {
                let mut body = whole.clone();
                body.as_object_mut().unwrap().remove(name);
                assert_eq!(faults(&body.to_string())[0].field, name);
            }
        }
        let blank = faults(r#"{"q_scope":"s","event":"e","email":""}"#);
        assert_eq!(blank[0].reason, "is blank");
        assert!(blank[0].remedy.unwrap().contains("abort_message"));
        let all = faults("{}");
        let fields: Vec<_> = all.iter().map(|fault| &*fault.field).collect();
        assert_eq!(fields, ["q_scope", "event", "email"]);
    }

    #[test]
    fn the_header_names_a_webhook_else_its_id_else_its_content() {
        let body = |id: &str| format!(r#"{{"q_scope":"s","event":"e","email":"a@b.example"{id}}}"#);
        let key = |body: &str, header| read(body, header).unwrap();
        assert_eq!(key(&body(r#","id":"i""#), Some("h")).key, "h");
        assert_eq!(key(&body(r#","id":" i ""#), None).key, "i");
        assert_eq!(key(&body(r#","id":7"#), None).key, "7");
        for unsaid in ["", r#","id":"""#, r#","id":null"#] {
            assert!(key(&body(unsaid), None).has_derived_key(), "{unsaid}");
        }
        assert!(!key(&body(r##","id":"#1""##), None).has_derived_key());
        let (first, again) = (key(&body(""), None), key(&format!("{}\n", body("")), None));
        assert_eq!(first.key, again.key);
        assert_ne!(first.key, key(&body(r#","n":1"#), None).key);
        assert_eq!(first.key, "#585cec506ff3a782982febd2301c52e5");
    }

    #[test]
    fn what_is_no_single_object_is_refused() {
        for body in ["[]", "7", "{", r#"{"a":1}{"a":2}"#, "{\"a\":\"\\ud800\"}"] {
            assert_eq!(faults(body)[0].field, "", "{body}");
        }
        let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(200), "]".repeat(200));
        assert_eq!(faults(&deep)[0].field, "");
        let twice = r#"{"q_scope":"s","event":"e","email":"a@b.example","email":"c@d.example"}"#;
        assert_eq!(faults(twice), [Fault::new("email", "is given twice")]);
        assert!(matches!(read(" ", None), Err(Unfit::Empty)));
        let long = format!(r#"{{"x":"{}"}}"#, "x".repeat(1 << 16));
        assert!(matches!(read(&long, None), Err(Unfit::TooLarge)));
    }
}
