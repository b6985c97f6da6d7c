//! `POST /users/export/ids`.
//!
//! Invariants: "least data possible": what a profile does not have is not in the answer; only the fields asked for are.

use std::time::Duration;

use serde_json::{Value, json};

use super::identifier::Identifier;
use super::profiles::{Object, Profile, Tally};
use super::wire::Answer;
use super::workspace::Workspace;
use crate::model::time::Timestamp;

/// Most external ids and aliases of one request.
const IDS_MAX: usize = 50;
/// How long custom events are exported.
const EVENTS_LIVE: Duration = Duration::from_hours(90 * 24);
/// Fields that make the request count against the narrower limit.
const HEAVY: [&str; 2] = ["campaigns_received", "canvases_received"];
/// Other fields that may be asked for (users_by_identifier).
const FIELDS: [&str; 36] = [
    "apps",
    "attributed_ad",
    "attributed_adgroup",
    "attributed_campaign",
    "attributed_source",
    "braze_id",
    "cards_clicked",
    "country",
    "created_at",
    "custom_attributes",
    "custom_events",
    "devices",
    "dob",
    "email",
    "email_opted_in_at",
    "email_subscribe",
    "email_unsubscribed_at",
    "external_id",
    "first_name",
    "gender",
    "home_city",
    "language",
    "last_coordinates",
    "last_name",
    "phone",
    "purchases",
    "push_opted_in_at",
    "push_subscribe",
    "push_tokens",
    "push_unsubscribed_at",
    "random_bucket",
    "time_zone",
    "total_revenue",
    "uninstalled_at",
    "user_aliases",
    "subscription_groups",
];

/// Whether it asks for campaigns or Canvases.
pub fn is_heavy(body: &Value) -> bool {
    let fields = body.get("fields_to_export").and_then(Value::as_array);
    let names = fields.into_iter().flatten().filter_map(Value::as_str);
    names.into_iter().any(|field| HEAVY.contains(&field))
}

/// Finds profiles and shows them.
pub fn export(workspace: &Workspace, body: &Object, now: Timestamp) -> Answer {
    match wanted(workspace, body) {
        Err(message) => Answer::message(400, message),
        Ok(Wanted {
            places,
            invalid,
            asked,
            fields,
        }) => {
            let all = workspace.profiles.all();
            let users: Vec<Value> = places
                .iter()
                .map(|place| shown(&all[*place], *place, &fields, now))
                .collect();
            let mut answer = json!({"message": "success", "users": users});
            if !invalid.is_empty() {
                answer["invalid_user_ids"] = json!(invalid);
            }
            Answer::new(201, answer).about(asked)
        }
    }
}

struct Wanted<'a> {
    places: Vec<usize>,
    invalid: Vec<String>,
    asked: usize,
    fields: Vec<&'a str>,
}

fn wanted<'a>(workspace: &Workspace, body: &'a Object) -> Result<Wanted<'a>, &'static str> {
    let fields = fields(body)?;
    let list = |key: &str| match body.get(key) {
        None | Some(Value::Null) => Ok(&[][..]),
        Some(Value::Array(values)) => Ok(values.as_slice()),
        Some(_) => Err("external_ids and user_aliases must be arrays"),
    };
    let single = |key: &str| match body.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err("device_id, braze_id, email_address and phone must be strings"),
    };
    let (external_ids, aliases) = (list("external_ids")?, list("user_aliases")?);
    if external_ids.len() + aliases.len() > IDS_MAX {
        return Err("The max number of external_ids and aliases per request was exceeded");
    }
    let (device, braze_id) = (single("device_id")?, single("braze_id")?);
    let (email, phone) = (single("email_address")?, single("phone")?);
    if [device, email, phone].into_iter().flatten().count() > 1 {
        return Err("Only one of device_id, email_address or phone may be provided");
    }
    let mut primary = Vec::new();
    for id in external_ids {
        let id = id.as_str().ok_or("external_ids must be strings")?;
        primary.push((Identifier::ExternalId(id.to_owned()), id));
    }
    for alias in aliases {
        let part = |key: &str| {
            alias
                .get(key)
                .and_then(Value::as_str)
                .ok_or("user_aliases must be objects with alias_name and alias_label")
        };
        let (name, label) = (part("alias_name")?, part("alias_label")?);
        let (alias_name, label) = (name.to_owned(), label.to_owned());
        primary.push((
            Identifier::Alias {
                name: alias_name,
                label,
            },
            name,
        ));
    }
    primary.extend(braze_id.map(|id| (Identifier::BrazeId(id.to_owned()), id)));
    let others = [device, email, phone].into_iter().flatten().count();
    let asked = primary.len() + others;
    if asked == 0 {
        return Err(
            "At least one of external_ids, user_aliases, braze_id, device_id, email_address or phone is required",
        );
    }
    let mut places = Vec::new();
    let mut invalid = Vec::new();
    for (identifier, text) in primary {
        match workspace.profiles.find(&identifier) {
            Some(place) => places.push(place),
            None => invalid.push(text.to_owned()),
        }
    }
    places.extend(email.map_or(&[][..], |email| workspace.profiles.with_email(email)));
    places.extend(phone.map_or(&[][..], |phone| workspace.profiles.with_phone(phone)));
    places.sort_unstable();
    places.dedup();
    Ok(Wanted {
        places,
        invalid,
        asked,
        fields,
    })
}

fn fields(body: &Object) -> Result<Vec<&str>, &'static str> {
    let fields = body.get("fields_to_export").and_then(Value::as_array);
    let fields = fields
        .filter(|fields| !fields.is_empty())
        .ok_or("fields_to_export is required")?;
    let known = |field: &&str| FIELDS.contains(field) || HEAVY.contains(field);
    let read = fields.iter().map(|field| field.as_str().filter(known));
    read.collect::<Option<_>>()
        .ok_or("fields_to_export contains an unknown field")
}

fn shown(profile: &Profile, place: usize, fields: &[&str], now: Timestamp) -> Value {
    let mut user = Object::new();
    for field in fields {
        let value = match *field {
            "external_id" => profile.external_id.clone().map(Value::from),
            "braze_id" => Some(json!(profile.braze_id)),
            "email" => profile.email.clone().map(Value::from),
            "phone" => profile.phone.clone().map(Value::from),
            "created_at" => Some(json!(created_at(profile, place))),
            "random_bucket" => Some(json!(place * 7919 % 10_000)),
            "user_aliases" => (!profile.aliases.is_empty()).then(|| profile.user_aliases()),
            "custom_attributes" => {
                (!profile.custom.is_empty()).then(|| Value::Object(profile.custom.clone()))
            }
            "custom_events" => custom_events(profile, now),
            other => profile.fields.get(other).cloned(),
        };
        if let Some(value) = value {
            user.insert((*field).to_owned(), value);
        }
    }
    Value::Object(user)
}

/// Both formats that Braze has been seen to send, by turns.
fn created_at(profile: &Profile, place: usize) -> String {
    let text = profile.created_at.to_rfc3339();
    if place.is_multiple_of(2) {
        text
    } else {
        text.replace('T', " ").replace('Z', " UTC")
    }
}

fn custom_events(profile: &Profile, now: Timestamp) -> Option<Value> {
    let live = |tally: &&Tally| now.since(tally.last) <= EVENTS_LIVE;
    let events = profile.events.iter().filter(|(_, tally)| live(tally));
    let shown: Vec<_> = events
        .map(|(name, tally)| json!({"name": name, "first": tally.first, "last": tally.last, "count": tally.count}))
        .collect();
    (!shown.is_empty()).then_some(Value::Array(shown))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests may")]
    use super::*;
    use crate::sandbox::options::Options;

    fn ask(body: &Value) -> Answer {
        let known = json!([
            {"external_id": "7", "email": "ada@b.co", "phone": "+15550100000", "custom_attributes": {"x": 1}},
            {"user_aliases": [{"alias_name": "ada@b.co", "alias_label": "email"}], "email": "ada@b.co"}]);
        let mut options = Options::default();
        let known = known.as_array().unwrap().iter();
        options.known = known.map(|one| one.as_object().unwrap().clone()).collect();
        let workspace = Workspace::new(&options.workspaces[0], &options, Timestamp::ZERO);
        export(&workspace, body.as_object().unwrap(), Timestamp::ZERO)
    }

    #[test]
    fn all_profiles_of_an_email_are_shown_with_only_what_they_have() {
        let answer = ask(
            &json!({"email_address": "ada@b.co", "fields_to_export": ["external_id", "user_aliases", "first_name"]}),
        );
        assert_eq!(answer.status, 201);
        assert_eq!(
            answer.body,
            json!({"message": "success", "users": [
            {"external_id": "7"},
            {"user_aliases": [{"alias_name": "ada@b.co", "alias_label": "email"}]}]})
        );
    }

    #[test]
    fn nobody_is_an_empty_list_and_unknown_ids_are_named() {
        let answer = ask(&json!({"email_address": "Ada@b.co", "fields_to_export": ["email"]}));
        assert_eq!(answer.body, json!({"message": "success", "users": []}));
        let answer = ask(&json!({"external_ids": ["7", "8"], "fields_to_export": ["email"]}));
        assert_eq!(answer.body["invalid_user_ids"], json!(["8"]));
        assert_eq!(answer.body["users"], json!([{"email": "ada@b.co"}]));
    }

    #[test]
    fn the_rules_of_the_request_are_kept() {
        let ids: Vec<_> = (0..51).map(|id| id.to_string()).collect();
        for wrong in [
            json!({"email_address": "ada@b.co"}),
            json!({"email_address": "ada@b.co", "fields_to_export": []}),
            json!({"email_address": "ada@b.co", "fields_to_export": ["e-mail"]}),
            json!({"email_address": ["ada@b.co"], "fields_to_export": ["email"]}),
            json!({"email_address": "ada@b.co", "phone": "+1555", "fields_to_export": ["email"]}),
            json!({"external_ids": ids, "fields_to_export": ["email"]}),
            json!({"user_aliases": [{"alias_name": "a"}], "fields_to_export": ["email"]}),
            json!({"fields_to_export": ["email"]}),
        ] {
            assert_eq!(ask(&wrong).status, 400, "{wrong}");
        }
    }

    #[test]
    fn only_campaigns_and_canvases_are_heavy() {
        assert!(is_heavy(
            &json!({"fields_to_export": ["email", "campaigns_received"]})
        ));
        assert!(!is_heavy(&json!({"fields_to_export": ["email"]})));
    }
}
