//! `GET /subscription/status/get`, `POST /subscription/status/set` and its v2.
//!
//! Invariants: a set answers success whether it found anybody or not; a state belongs to profiles, so that the status of an
//! e-mail or phone on no profile is unknown.

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use super::attributes::{GroupWish, group_wish};
use super::email;
use super::identifier::Identifier;
use super::profiles::Object;
use super::script::ErrorShape;
use super::sets::{Outcome, Via, status};
use super::wire::Answer;
use super::workspace::Workspace;
use super::world::Means;
use super::write::Write;

/// Most people of one request.
const PEOPLE_MAX: usize = 50;
const TOO_MANY: &str = "The max number of ids per request was exceeded";
const BAD_GROUP: &str = "Invalid subscription group ID";
const NOT_BOTH: &str =
    "Either an email address or a phone number should be provided, but not both.";
const BAD_PHONE: &str = "phone numbers must be in E.164 format";
const NOBODY: &str = "One of external_id, email or phone is required";

/// Name and value of each pair, decoded as forms are: a `+` is a space.
fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    let decode = |text: &str| {
        percent_decode_str(&text.replace('+', " "))
            .decode_utf8_lossy()
            .into_owned()
    };
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(move |pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
}

/// `GET /subscription/status/get`.
pub fn get(workspace: &Workspace, query: &str, means: &mut Means<'_>) -> Answer {
    let mut group = None;
    let (mut external_ids, mut emails, mut phones) = (Vec::new(), Vec::new(), Vec::new());
    for (name, value) in pairs(query) {
        match name.trim_end_matches("[]") {
            "subscription_group_id" => group = Some(value),
            "external_id" => external_ids.push(value),
            "email" => emails.push(value),
            "phone" => phones.push(value),
            _ => {}
        }
    }
    let Some(group) = group.filter(|id| workspace.is_group(id)) else {
        return Answer::message(400, BAD_GROUP);
    };
    // With an external id only that is asked about.
    let people = match (
        external_ids.is_empty(),
        emails.is_empty(),
        phones.is_empty(),
    ) {
        (false, _, _) => external_ids,
        (true, false, false) => return Answer::message(400, NOT_BOTH),
        (true, false, true) => emails.clone(),
        (true, true, false) => phones.clone(),
        (true, true, true) => return Answer::message(400, NOBODY),
    };
    if people.len() > PEOPLE_MAX {
        return Answer::message(400, TOO_MANY);
    }
    if people.iter().any(|person| is_refused(person, means)) {
        return Answer::message(400, BAD_PHONE);
    }
    let by_email = !emails.is_empty();
    let by_phone = !phones.is_empty();
    let asked = people.len();
    let status: Map<String, Value> = people
        .into_iter()
        .map(|person| {
            let places = match (by_email, by_phone) {
                (true, false) => workspace.profiles.with_email(&person).to_vec(),
                (false, true) => workspace.profiles.with_phone(&person).to_vec(),
                _ => workspace
                    .profiles
                    .find(&Identifier::ExternalId(person.clone()))
                    .into_iter()
                    .collect(),
            };
            let said = said(workspace, &places, &group, means);
            (person, json!(said))
        })
        .collect();
    Answer::new(200, json!({"status": status, "message": "success"})).about(asked)
}

/// The latest word of all profiles meant. Both spellings of "unknown" have been seen.
fn said(
    workspace: &Workspace,
    places: &[usize],
    group: &str,
    means: &mut Means<'_>,
) -> &'static str {
    match workspace.status(places, group) {
        None if !means.random.next().is_multiple_of(2) => "unknown",
        known => status(known),
    }
}

/// `POST /subscription/status/set`: one group.
pub fn set(workspace: &mut Workspace, body: &Object, means: &mut Means<'_>) -> Answer {
    let entry = Value::Object(body.clone());
    let wish = match group_wish(&entry, &|id| workspace.is_group(id)) {
        Ok(wish) => wish,
        Err(problem) => return Answer::message(400, problem.sentence),
    };
    let people = match people(body, ["external_id", "email", "phone"]) {
        Ok(people) => people,
        Err(message) => return Answer::message(400, message),
    };
    if people.is_empty() {
        return Answer::message(400, NOBODY);
    }
    if both(&people) {
        return Answer::message(400, NOT_BOTH);
    }
    // Here a phone that is not E.164 "won't apply"; v2 refuses it.
    let (applied, not): (Vec<&Identifier>, Vec<&Identifier>) = people
        .iter()
        .partition(|one| !matches!(one, Identifier::Phone(phone) if !email::is_e164(phone)));
    for who in not {
        let when = (means.now, Via::V1);
        workspace.note_set(when, (who, None), &wish, Outcome::NotE164, &[]);
    }
    let writes = applied
        .into_iter()
        .map(|identifier| write(identifier, &wish, Via::V1))
        .collect();
    taken(workspace, writes, people.len(), means)
}

/// `POST /v2/subscription/status/set`: several groups.
pub fn set_v2(workspace: &mut Workspace, body: &Object, means: &mut Means<'_>) -> Answer {
    let Some(entries) = body.get("subscription_groups").and_then(Value::as_array) else {
        return Answer::message(400, "'subscription_groups' must be an array");
    };
    let mut everybody = Vec::new();
    let mut writes = Vec::new();
    for entry in entries {
        let wish = match group_wish(entry, &|id| workspace.is_group(id)) {
            Ok(wish) => wish,
            Err(problem) => return Answer::message(400, problem.sentence),
        };
        let empty = Object::new();
        let object = entry.as_object().unwrap_or(&empty);
        let people = match people(object, ["external_ids", "emails", "phones"]) {
            Ok(people) => people,
            Err(message) => return Answer::message(400, message),
        };
        if people
            .iter()
            .any(|one| matches!(one, Identifier::Phone(phone) if !email::is_e164(phone)))
        {
            return Answer::message(400, BAD_PHONE);
        }
        let mine = people
            .iter()
            .map(|identifier| write(identifier, &wish, Via::V2));
        writes.extend(mine);
        everybody.extend(people);
    }
    if everybody.is_empty() {
        return Answer::message(400, NOBODY);
    }
    if everybody.len() > PEOPLE_MAX {
        return Answer::message(400, TOO_MANY);
    }
    if both(&everybody) {
        return Answer::message(400, NOT_BOTH);
    }
    taken(workspace, writes, everybody.len(), means)
}

/// Takes the sets of a request that is as it should be, unless the script has something against a phone.
fn taken(
    workspace: &mut Workspace,
    mut writes: Vec<Write>,
    people: usize,
    means: &mut Means<'_>,
) -> Answer {
    let is_fine = |write: &Write| match write.identifier() {
        Identifier::Phone(phone) => !is_refused(phone, means),
        _ => true,
    };
    let asked = writes.len();
    writes.retain(is_fine);
    let refused = writes.len() < asked;
    if refused && (writes.is_empty() || means.effects.shape != ErrorShape::NoErrors) {
        return Answer::message(400, BAD_PHONE).about(people);
    }
    accept(workspace, writes, means);
    let message = if refused { BAD_PHONE } else { "success" };
    Answer::message(201, message).about(people)
}

fn is_refused(phone: &str, means: &Means<'_>) -> bool {
    let refused = &means.effects.rejected_phones;
    refused.iter().any(|one| one == phone)
}

fn accept(workspace: &mut Workspace, writes: Vec<Write>, means: &mut Means<'_>) {
    let delay = means
        .effects
        .appear
        .unwrap_or(means.appear)
        .pick(means.random.next());
    workspace.accept(writes, means.now, delay, None, means.random);
}

fn write(identifier: &Identifier, wish: &GroupWish, via: Via) -> Write {
    Write::Status {
        via,
        identifier: identifier.clone(),
        wish: wish.clone(),
    }
}

fn both(people: &[Identifier]) -> bool {
    people.iter().any(|one| matches!(one, Identifier::Email(_)))
        && people.iter().any(|one| matches!(one, Identifier::Phone(_)))
}

/// Whoever stands under the three keys (external ids, e-mails, phones), as text or arrays of texts, up to 50 each.
fn people(object: &Object, keys: [&str; 3]) -> Result<Vec<Identifier>, &'static str> {
    let kinds: [fn(String) -> Identifier; 3] =
        [Identifier::ExternalId, Identifier::Email, Identifier::Phone];
    let mut people = Vec::new();
    for (key, kind) in keys.into_iter().zip(kinds) {
        let values = match object.get(key) {
            None | Some(Value::Null) => &[][..],
            Some(Value::Array(values)) => values.as_slice(),
            Some(single) => std::slice::from_ref(single),
        };
        if values.len() > PEOPLE_MAX {
            return Err(TOO_MANY);
        }
        for value in values {
            let text = value.as_str().filter(|text| !text.is_empty());
            people.push(kind(text.ok_or("ids must be strings")?.to_owned()));
        }
    }
    Ok(people)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests may")]
    use std::time::Duration;

    use super::*;
    use crate::sandbox::tests::{DAY, GROUP, PHONE, Scene, subscribe};

    #[test]
    fn a_set_reaches_everybody_with_the_phone_after_its_delay() {
        let mut scene = Scene::new(&[
            json!({"external_id": "1", "phone": PHONE}),
            json!({"external_id": "2", "phone": PHONE}),
        ]);
        assert_eq!(scene.set(&subscribe(&json!({}))).status, 201);
        assert_eq!(scene.status(Duration::from_millis(49)), "unknown");
        assert_eq!(scene.status(Duration::from_millis(1)), "subscribed");
        let all = scene.workspace.profiles.all();
        assert!(all.iter().all(|profile| profile.groups[GROUP].subscribed));
    }

    #[test]
    fn a_set_for_nobody_is_inherited_by_a_new_profile_within_thirty_days() {
        for (wait, status) in [(DAY * 29, "subscribed"), (DAY * 31, "unknown")] {
            let mut scene = Scene::new(&[]);
            assert_eq!(scene.set(&subscribe(&json!({}))).status, 201);
            assert_eq!(scene.status(wait), "unknown");
            scene.track(&json!({"external_id": "1", "phone": PHONE}));
            assert_eq!(scene.status(DAY / 2), status);
        }
    }

    #[test]
    fn a_phone_written_to_an_older_profile_inherits_nothing() {
        let mut scene = Scene::new(&[json!({"external_id": "1"})]);
        scene.set(&subscribe(&json!({})));
        scene.track(&json!({"external_id": "1", "phone": PHONE}));
        assert_eq!(scene.status(DAY), "unknown");
    }

    #[test]
    fn a_double_opt_in_for_nobody_is_forgotten_and_one_for_somebody_waits() {
        let mut scene = Scene::new(&[]);
        let wish = subscribe(&json!({"use_double_opt_in_logic": true}));
        assert_eq!(scene.set(&wish).status, 201);
        scene.track(&json!({"external_id": "1", "phone": PHONE}));
        assert_eq!(scene.status(DAY), "unknown");
        scene.set(&wish);
        assert_eq!(scene.status(DAY), "unsubscribed");
        scene.set(&subscribe(&json!({})));
        scene.status(DAY);
        scene.set(&wish);
        assert_eq!(
            scene.status(DAY),
            "subscribed",
            "who is subscribed stays so"
        );
        assert_eq!(scene.workspace.silent.opt_ins_dropped, 1);
    }

    #[test]
    fn a_group_can_be_set_while_the_profile_is_created() {
        let mut scene = Scene::new(&[]);
        let groups = json!([{"subscription_group_id": GROUP, "subscription_state": "subscribed"}]);
        scene.track(&json!({"external_id": "1", "phone": PHONE, "subscription_groups": groups}));
        assert_eq!(scene.status(DAY), "subscribed");
    }

    #[test]
    fn a_raw_plus_in_the_query_is_a_space_and_finds_nobody() {
        let mut scene = Scene::new(&[json!({"external_id": "1", "phone": PHONE})]);
        let query = format!("subscription_group_id={GROUP}&phone={PHONE}");
        let answer = scene.run(|workspace, means| get(workspace, &query, means));
        assert!(answer.body["status"].get(" 15550100000").is_some());
    }

    #[test]
    fn sets_are_refused_as_documented() {
        let verdict = |more: Value| {
            let answer = Scene::new(&[]).set(&subscribe(&more));
            (
                answer.status,
                answer.body["message"].as_str().unwrap().to_owned(),
            )
        };
        assert_eq!(
            verdict(json!({"subscription_group_id": "nope"})),
            (400, BAD_GROUP.into())
        );
        assert_eq!(verdict(json!({"email": "a@b.co"})), (400, NOT_BOTH.into()));
        assert_eq!(
            verdict(json!({"phone": vec![PHONE; 51]})),
            (400, TOO_MANY.into())
        );
        assert_eq!(verdict(json!({"phone": null})), (400, NOBODY.into()));
        assert_eq!(
            verdict(json!({"subscription_state": null, "subscription_status": "subscribed"})).0,
            400
        );
        assert_eq!(
            verdict(json!({"phone": "5550100000"})),
            (201, "success".into())
        );
    }

    #[test]
    fn v2_refuses_a_phone_that_is_not_e164_and_takes_fifty_people_in_all() {
        let verdict = |groups: Value| {
            let body = json!({ "subscription_groups": groups });
            Scene::new(&[])
                .run(|workspace, means| set_v2(workspace, body.as_object().unwrap(), means))
                .status
        };
        let entry = |more: Value| {
            let mut entry =
                json!({"subscription_group_id": GROUP, "subscription_state": "subscribed"});
            entry
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            entry
        };
        assert_eq!(verdict(json!([entry(json!({"phones": [PHONE]}))])), 201);
        assert_eq!(
            verdict(json!([entry(json!({"phones": ["5550100000"]}))])),
            400
        );
        assert_eq!(
            verdict(json!([
                entry(json!({"phones": [PHONE]})),
                entry(json!({"emails": ["a@b.co"]}))
            ])),
            400
        );
        let many = entry(json!({"phones": vec![PHONE; 30]}));
        assert_eq!(verdict(json!([many, many])), 400);
        assert_eq!(verdict(json!([])), 400);
    }

    #[test]
    fn a_status_can_be_asked_for_fifty_people_of_one_kind() {
        let verdict = |query: &str| {
            Scene::new(&[])
                .run(|workspace, means| get(workspace, query, means))
                .status
        };
        let group = format!("subscription_group_id={GROUP}");
        assert_eq!(
            verdict(&format!("{group}&external_id[]=1&external_id%5B%5D=2")),
            200
        );
        assert_eq!(
            verdict(&format!("{group}{}", "&phone[]=%2B1555".repeat(51))),
            400
        );
        assert_eq!(verdict(&format!("{group}&email=a&phone=b")), 400);
        assert_eq!(verdict(&group), 400);
        assert_eq!(verdict("external_id=1"), 400);
    }
}
