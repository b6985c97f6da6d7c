//! What a Quikly event must look like: the rules of every field, and the event that comes out.
//!
//! Invariants: pure; refuses only for what the event alone shows (never for our configuration or for Braze's finer
//! rules, which a later replay may satisfy); names every field that is wrong, not just the first; never repeats an
//! e-mail address, a phone number or any other value. Unknown fields are ignored, so that clients may send more than
//! we know; but a field that looks like identity, consent or control is refused rather than silently not applied.

use std::borrow::Cow;

use super::free::{self, Custom, Names};
use super::parse::{Field, Item, syntax};
use crate::model::email;
use crate::model::event::{CustomEvent, Event, EventKind, Source};
use crate::model::json::ObjectText;
use crate::model::phone::is_e164;
use crate::model::time::{self, Timestamp};

/// How many faults of one event are named.
const FAULTS_MAX: usize = 16;

/// The longest field name that is repeated in an answer, bytes.
const NAME_BYTES_MAX: usize = 64;

/// One thing that is wrong with an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The field's path, such as `attributes.level`; empty: the event as a whole.
    pub field: Cow<'static, str>,
    /// What is wrong.
    pub reason: Cow<'static, str>,
    /// What to do instead, where that is not obvious.
    pub remedy: Option<&'static str>,
}

impl Fault {
    /// A fault of `field`.
    pub(super) fn new(
        field: impl Into<Cow<'static, str>>,
        reason: impl Into<Cow<'static, str>>,
    ) -> Fault {
        Fault {
            field: field.into(),
            reason: reason.into(),
            remedy: None,
        }
    }

    /// With what to do instead.
    pub(super) fn remedy(self, remedy: &'static str) -> Fault {
        Fault {
            remedy: Some(remedy),
            ..self
        }
    }
}

/// The faults of one event while it is looked at.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    /// One more; those beyond the first few are not kept, they would help nobody.
    pub(super) fn add(&mut self, fault: Fault) {
        if self.0.len() < FAULTS_MAX {
            self.0.push(fault);
        }
    }
}

/// The event of `item`, accepted at `now`; `header_id` names it when it has no `id` of its own. Else everything that
/// is wrong with it.
pub(super) fn event(
    item: Item<'_>,
    header_id: Option<&str>,
    now: Timestamp,
) -> Result<Event, Vec<Fault>> {
    let mut faults = item.faults;
    let key = match text("id", item.id, &mut faults) {
        Ok(Some(id)) if !id.trim().is_empty() => Some(id.into_owned()),
        Ok(_) => header_id.map(str::to_owned).or_else(|| {
            faults.add(Fault::new("id", "is required").remedy(
                "give every event an id of its own; a single object may carry it in the header webhook-id or idempotency-key",
            ));
            None
        }),
        Err(()) => None,
    };
    let scope = required("q_scope", item.q_scope, &mut faults);
    let kind = required("type", item.kind, &mut faults).and_then(|kind| match &*kind {
        "participation" => Some(EventKind::Participation),
        "progress" => Some(EventKind::Progress),
        _ => {
            faults.add(Fault::new("type", "must be `participation` or `progress`"));
            None
        }
    });
    let email = required("email", item.email, &mut faults).and_then(|given| {
        let normal =
            email::normalised(&given).map_err(|reason| faults.add(Fault::new("email", reason)));
        normal.ok().map(|normal| (given, normal))
    });
    let phone = text("phone", item.phone, &mut faults)
        .ok()
        .flatten()
        .and_then(|given| {
            if is_e164(&given) {
                return Some(given.into_owned());
            }
            faults.add(
                Fault::new("phone", "is not a phone number in E.164 form")
                    .remedy("write + and 7 to 15 digits, the first not 0, nothing between them; leave it out when there is none"),
            );
            None
        });
    let sms_consent = match item.sms_consent {
        Field::Absent => false,
        Field::Bool(consent) => consent,
        other => wrong_type("sms_consent", "true or false", &other, &mut faults).unwrap_or(false),
    };
    let at = moment(item.at, now, &mut faults);
    let attributes = attributes(item.attributes, &mut faults);
    let custom = custom_event(item.event, &mut faults);

    match (key, scope, kind, email) {
        (Some(key), Some(scope), Some(kind), Some((given, email))) if faults.0.is_empty() => {
            Ok(Event {
                source: Source::Quikly,
                kind,
                key,
                scope: scope.into_owned(),
                email_given: (*given != *email).then(|| given.into_owned()),
                trace: None,
                email,
                external_id: None,
                phone,
                sms_consent,
                at,
                accepted_at: now,
                attributes,
                event: custom,
            })
        }
        _ => Err(faults.0),
    }
}

fn moment(field: Field<'_>, now: Timestamp, faults: &mut Faults) -> Timestamp {
    let Ok(Some(given)) = text("at", field, faults) else {
        return now;
    };
    let parsed = Some(&*given).filter(|given| time::is_rfc3339(given));
    let parsed = parsed.and_then(|given| Timestamp::parse_rfc3339(given).ok());
    parsed.unwrap_or_else(|| {
        faults.add(
            Fault::new("at", "is not an RFC 3339 date-time with an offset")
                .remedy("for example 2026-11-27T09:30:00Z"),
        );
        now
    })
}

fn attributes(field: Field<'_>, faults: &mut Faults) -> Option<ObjectText> {
    let names = Names {
        refused: |name| not_settable(name).or_else(|| forbidden(name)),
        words: true,
    };
    free::object("attributes", field, names, faults)
}

fn custom_event(field: Field<'_>, faults: &mut Faults) -> Option<CustomEvent> {
    let text = match field {
        Field::Absent => return None,
        Field::Object(text) => text,
        other => {
            let expected = "an object with `name` and `properties`";
            return wrong_type("event", expected, &other, faults);
        }
    };
    let custom = match Custom::read(text) {
        Ok(custom) => custom,
        Err(error) => {
            faults.add(Fault::new(
                "event",
                format!("is not JSON: {}", syntax(&error)),
            ));
            return None;
        }
    };
    custom
        .faults
        .0
        .into_iter()
        .for_each(|fault| faults.add(fault));
    let names = Names {
        refused: |_| None,
        words: false,
    };
    let properties = free::object("event.properties", custom.properties, names, faults);
    let name = required("event.name", custom.name, faults)?.into_owned();
    Some(CustomEvent { name, properties })
}

/// Why something may not be set, and what to do instead.
pub(super) type Forbidden = (&'static str, Option<&'static str>);

/// Whether an event may not set what is called `name`, and why. Braze trims names, so a space does not hide one; it
/// minds the case, so `Email` is a custom attribute.
pub(super) fn forbidden(name: &str) -> Option<Forbidden> {
    match name.trim() {
        "external_id" | "user_alias" | "braze_id" => Some((
            "is identity, which an event cannot set",
            Some("leave it out; the profile is found by the event's `email`"),
        )),
        "email" | "phone" => Some((
            "is identity, which cannot be set here",
            Some("send it as a field of the event itself"),
        )),
        "email_subscribe"
        | "push_subscribe"
        | "push_tokens"
        | "subscription_groups"
        | "email_open_tracking_disabled"
        | "email_click_tracking_disabled"
        | "marked_email_as_spam_at" => Some((
            "is consent, which an event cannot set",
            Some("consent for new profiles is set by the activation's `created_attributes`"),
        )),
        name if name.starts_with('_') => Some(("is a control key", Some("leave it out"))),
        name if name.starts_with('$') => {
            Some(("is an operator", Some("send the new value itself")))
        }
        _ => None,
    }
}

/// Whether `name` is a field of Braze's profiles that is neither a custom attribute nor one of those events may set.
fn not_settable(name: &str) -> Option<Forbidden> {
    let not_settable = matches!(
        name.trim(),
        "current_location"
            | "date_of_first_session"
            | "date_of_last_session"
            | "facebook"
            | "twitter"
    );
    not_settable.then_some((
        "is a profile field that an event cannot set",
        Some(
            "profile fields are first_name, last_name, dob, gender, country, home_city, language and time_zone; give a custom attribute another name",
        ),
    ))
}

/// `name` as it may be repeated: names are the client's own, and what looks as if somebody's address or number had
/// become a name is not shown.
pub(super) fn shown(name: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_$.-[] ".contains(&byte);
    let digits = name.bytes().filter(u8::is_ascii_digit).count();
    if name.len() <= NAME_BYTES_MAX && digits < 7 && name.bytes().all(plain) {
        return Cow::Borrowed(name);
    }
    let sign = name
        .trim()
        .chars()
        .next()
        .filter(|c| matches!(c, '_' | '$'));
    Cow::Owned(format!("{}…", sign.map_or(String::new(), String::from)))
}

/// The text of an optional field; `Err` when it is no text, which is then a fault.
fn text<'a>(
    name: &'static str,
    field: Field<'a>,
    faults: &mut Faults,
) -> Result<Option<Cow<'a, str>>, ()> {
    match field {
        Field::Absent => Ok(None),
        Field::Text(text) => Ok(Some(text)),
        other => wrong_type(name, "a string", &other, faults).ok_or(()),
    }
}

fn required<'a>(name: &'static str, field: Field<'a>, faults: &mut Faults) -> Option<Cow<'a, str>> {
    let given = text(name, field, faults).ok()?;
    let given = given.filter(|given| !given.trim().is_empty());
    if given.is_none() {
        faults.add(Fault::new(name, "is required"));
    }
    given
}

/// A fault of a field that should be something else.
pub(super) fn wrong_type<T>(
    name: &'static str,
    expected: &str,
    found: &Field<'_>,
    faults: &mut Faults,
) -> Option<T> {
    faults.add(Fault::new(
        name,
        format!("must be {expected}, not {}", found.kind()),
    ));
    None
}

#[cfg(test)]
mod tests;
