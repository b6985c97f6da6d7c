//! `/_sandbox/people/…` and `/_sandbox/behaviour`: what people do, and doing it for them.
//!
//! Invariants: a keyword that would do nothing for want of a profile or a group is refused, so that a test notices.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::{Query, posted, respond};
use crate::model::time::Timestamp;
use crate::sandbox::Sandbox;
use crate::sandbox::keywords::Keyword;
use crate::sandbox::people::Behaviour;
use crate::sandbox::workspace::{Workspace, is_group};
use crate::sandbox::world::World;

/// Answers for one phone; `rest` is the path behind `/people/`.
pub fn answer(sandbox: &Sandbox, method: &Method, rest: &str, query: &Query) -> Response {
    let (phone, text) = rest.split_once('/').unwrap_or((rest, ""));
    let phone = percent_decode_str(phone).decode_utf8_lossy().into_owned();
    let now = sandbox.clock.now();
    let mut world = sandbox.world();
    world.settle(now);
    let keyword = match (method.as_str(), text) {
        ("GET", "") => return respond(StatusCode::OK, &person(&world, &phone, query)),
        ("POST", "confirm") => Keyword::Confirm,
        ("POST", "stop") => Keyword::Stop,
        ("POST", "start") if query.text("double_opt_in") == Some("true") => Keyword::StartOptIn,
        ("POST", "start") => Keyword::Start,
        _ => {
            let message = json!({"message": "no such question"});
            return respond(StatusCode::NOT_FOUND, &message);
        }
    };
    match text_back(&mut world, keyword, &phone, query, now) {
        Ok(changed) => respond(StatusCode::OK, &json!({"phone": phone, "changed": changed})),
        Err((code, why)) => respond(code, &json!({ "message": why })),
    }
}

fn person(world: &World, phone: &str, query: &Query) -> Value {
    let mine = mine(world, query);
    let here: Vec<_> = mine.map(|workspace| workspace.person(phone)).collect();
    // Everywhere the same, for whoever there is one workspace.
    let reaction = world
        .workspaces
        .first()
        .map(|one| one.opt_ins.behaviour.reaction(phone));
    let after = reaction.and_then(|reaction| reaction.after());
    json!({
        "phone": phone, "will": reaction.map(|reaction| reaction.as_str()),
        "after_ms": after.map(|after| after.as_millis() as u64), "workspaces": here,
    })
}

fn mine<'a>(world: &'a World, query: &'a Query) -> impl Iterator<Item = &'a Workspace> {
    let all = world.workspaces.iter();
    all.filter(|one| query.fits("workspace", Some(&one.name)))
}

/// What the keyword changed, in each workspace where a profile has the phone.
fn text_back(
    world: &mut World,
    keyword: Keyword,
    phone: &str,
    query: &Query,
    now: Timestamp,
) -> Result<Vec<Value>, (StatusCode, &'static str)> {
    let named = query.text("subscription_group_id");
    if mine(world, query).any(|one| named.is_some_and(|group| !one.is_group(group))) {
        return Err((StatusCode::BAD_REQUEST, "Invalid subscription group ID"));
    }
    let known = |one: &Workspace| !one.profiles.with_phone(phone).is_empty();
    if !mine(world, query).any(known) {
        return Err((StatusCode::NOT_FOUND, "no profile has this phone"));
    }
    let mut changed = Vec::new();
    let mut asked = 0;
    let all = world.workspaces.iter_mut();
    for workspace in all.filter(|one| query.fits("workspace", Some(&one.name)) && known(one)) {
        let groups: Vec<String> = match (named, keyword) {
            (Some(group), _) => vec![group.to_owned()],
            (None, Keyword::Stop) => workspace.groups_of(phone).into_iter().collect(),
            (None, Keyword::Confirm) => workspace.opt_ins.groups_waiting(phone),
            (None, Keyword::Start | Keyword::StartOptIn) => Vec::new(),
        };
        asked += groups.len();
        for group in groups {
            if let Some(status) = workspace.hear(keyword, phone, &group, now) {
                changed.push(json!({
                    "workspace": workspace.name, "subscription_group_id": group, "status": status,
                }));
            }
        }
    }
    if asked == 0 && keyword != Keyword::Confirm {
        let why = "say which subscription_group_id: this phone is in none";
        return Err((StatusCode::BAD_REQUEST, why));
    }
    Ok(changed)
}

/// `GET`, `POST`, `DELETE /behaviour`.
pub async fn behaviour(sandbox: &Sandbox, method: &Method, body: Body) -> Response {
    let body = posted(body).await;
    let mut world = sandbox.world();
    // Who answered before is not asked again by the new behaviour.
    world.settle(sandbox.clock.now());
    let Some(now) = world
        .workspaces
        .first()
        .map(|one| one.opt_ins.behaviour.clone())
    else {
        return respond(StatusCode::OK, &Value::Null);
    };
    let next = match *method {
        Method::POST => {
            let read = body.and_then(|body| changed(&now, &body));
            let groups = &sandbox.options.groups;
            let checked = read.and_then(|next| {
                let fits = next.check(&|id| is_group(groups, id));
                fits.map(|()| next).map_err(|error| error.to_string())
            });
            match checked {
                Ok(next) => next,
                Err(why) => return respond(StatusCode::BAD_REQUEST, &json!({ "message": why })),
            }
        }
        Method::DELETE => sandbox.options.behaviour.clone(),
        _ => now,
    };
    for workspace in &mut world.workspaces {
        workspace.opt_ins.behaviour = next.clone();
    }
    respond(StatusCode::OK, &json!(next))
}

/// The behaviour with the keys of `text`, a JSON object, replaced.
fn changed(now: &Behaviour, text: &str) -> Result<Behaviour, String> {
    let mut all = json!(now);
    let keys: serde_json::Map<String, Value> =
        serde_json::from_str(text).map_err(|error| error.to_string())?;
    if let Some(all) = all.as_object_mut() {
        all.extend(keys);
    }
    serde_json::from_value(all).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests may")]
    use super::*;

    #[test]
    fn posted_keys_replace_and_the_others_stay_and_unknown_ones_are_refused() {
        let before = Behaviour::default();
        let after = changed(&before, r#"{"confirm": 0.25, "refuse_after": "1m..2m"}"#).unwrap();
        assert!((after.confirm - 0.25).abs() < f64::EPSILON);
        assert_eq!(after.refuse_after.least.as_secs(), 60);
        assert_eq!(
            (after.seed, after.confirm_after),
            (before.seed, before.confirm_after)
        );
        assert!(changed(&before, r#"{"confrim": 1}"#).is_err());
        assert!(changed(&before, r#"{"confirm": "all"}"#).is_err());
        assert!(changed(&before, "[]").is_err());
    }
}
