//! `POST /users/delete`.
//!
//! Invariants: one kind of identifier in a request, at most fifty; irreversible, and visible only a moment later. Several
//! profiles behind one e-mail or phone are left alone unless a prioritization leaves one.

use serde_json::{Value, json};

use super::identifier::Identifier;
use super::profiles::{Object, Profile};
use super::wire::Answer;
use super::workspace::Workspace;
use super::world::Means;
use super::write::Write;

/// Most entries of one request.
const ENTRIES_MAX: usize = 50;

/// The kinds, of which a request has exactly one.
const KINDS: [&str; 5] = [
    "external_ids",
    "user_aliases",
    "braze_ids",
    "email_addresses",
    "phone_numbers",
];

/// Deletes what is named, as soon as writes take effect.
pub fn delete(workspace: &mut Workspace, body: &Object, means: &mut Means<'_>) -> Answer {
    let entries = match entries(body) {
        Ok(entries) => entries,
        Err(message) => return Answer::message(400, message),
    };
    let mut places = Vec::new();
    for (kind, entry) in &entries {
        let Some(found) = meant(workspace, kind, entry) else {
            return Answer::message(400, "an entry of the wrong form");
        };
        places.extend(found);
    }
    places.sort_unstable();
    places.dedup();
    let profile = |place: &usize| &workspace.profiles.all()[*place];
    let ids = places.iter().map(|place| profile(place).braze_id.clone());
    let writes: Vec<Write> = ids
        .map(|id| Write::Deletion {
            identifier: Identifier::BrazeId(id),
        })
        .collect();
    let answer = json!({"deleted": writes.len(), "message": "success"});
    let delay = means.effects.appear.unwrap_or(means.appear);
    let delay = delay.pick(means.random.next());
    workspace.accept(writes, means.now, delay, None, means.random);
    Answer::new(201, answer).about(entries.len())
}

fn entries(body: &Object) -> Result<Vec<(&'static str, &Value)>, &'static str> {
    if body.keys().any(|key| !KINDS.contains(&key.as_str())) {
        return Err("an unknown parameter");
    }
    let given = KINDS
        .into_iter()
        .filter_map(|kind| Some((kind, body.get(kind)?)));
    let [(kind, Value::Array(entries))] = given.collect::<Vec<_>>()[..] else {
        return Err(
            "exactly one of external_ids, user_aliases, braze_ids, email_addresses and phone_numbers must be given, as an array",
        );
    };
    match entries.len() {
        0 => Err("nothing is to be deleted"),
        1..=ENTRIES_MAX => Ok(entries.iter().map(|entry| (kind, entry)).collect()),
        _ => Err("at most 50 identifiers may be given"),
    }
}

/// Which profiles an entry means; `None`: it has the wrong form.
fn meant(workspace: &Workspace, kind: &str, entry: &Value) -> Option<Vec<usize>> {
    let text = |key: &str| Some(entry.get(key)?.as_str()?.to_owned());
    let id = || Some(entry.as_str()?.to_owned());
    let one = |identifier: &Identifier| workspace.profiles.find(identifier).into_iter().collect();
    Some(match kind {
        "external_ids" => one(&Identifier::ExternalId(id()?)),
        "braze_ids" => one(&Identifier::BrazeId(id()?)),
        "user_aliases" => one(&Identifier::Alias {
            name: text("alias_name")?,
            label: text("alias_label")?,
        }),
        "email_addresses" => {
            let email = text("email")?.to_lowercase();
            chosen(workspace, workspace.profiles.with_email(&email), entry)
        }
        _ => {
            let phone = text("phone")?;
            chosen(workspace, workspace.profiles.with_phone(&phone), entry)
        }
    })
}

/// The one that the prioritization leaves; nobody, where it leaves more.
fn chosen(workspace: &Workspace, places: &[usize], entry: &Value) -> Vec<usize> {
    let profile = |place: &usize| -> &Profile { &workspace.profiles.all()[*place] };
    let mut left = places.to_vec();
    let wishes = entry.get("prioritization").and_then(Value::as_array);
    for wish in wishes.into_iter().flatten().filter_map(Value::as_str) {
        let revision = |place: &usize| profile(place).revision;
        match wish {
            "identified" => left.retain(|it| profile(it).external_id.is_some()),
            "unidentified" => left.retain(|it| profile(it).external_id.is_none()),
            "most_recently_updated" => {
                left = left.into_iter().max_by_key(revision).into_iter().collect();
            }
            "least_recently_updated" => {
                left = left.into_iter().min_by_key(revision).into_iter().collect();
            }
            _ => {}
        }
    }
    match left.len() {
        1 => left,
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests may")]
    use super::super::tests::{APPEAR, Scene};
    use super::*;

    fn asked(scene: &mut Scene, body: &Value) -> (u16, Value) {
        let answer =
            scene.run(|workspace, means| delete(workspace, body.as_object().unwrap(), means));
        (answer.status, answer.body)
    }

    fn two() -> Scene {
        Scene::new(&[
            json!({"braze_id": "b1", "email": "a@b.co"}),
            json!({"braze_id": "b2", "external_id": "x", "email": "a@b.co"}),
        ])
    }

    fn left(scene: &mut Scene) -> usize {
        scene.now = scene.now + APPEAR;
        let now = scene.now;
        scene.workspace.settle(now);
        scene.workspace.profiles.with_email("a@b.co").len()
    }

    #[test]
    fn what_is_named_is_gone_a_moment_later_by_every_name() {
        let mut scene = two();
        let (status, answer) = asked(&mut scene, &json!({"braze_ids": ["b1", "b9"]}));
        assert_eq!((status, answer["deleted"].as_u64()), (201, Some(1)));
        assert_eq!(scene.workspace.profiles.with_email("a@b.co").len(), 2);
        assert_eq!(left(&mut scene), 1);
        let again = asked(&mut scene, &json!({"braze_ids": ["b1"]}));
        assert_eq!(again.1["deleted"].as_u64(), Some(0));
        assert_eq!(asked(&mut scene, &json!({"external_ids": ["x"]})).0, 201);
        assert_eq!(left(&mut scene), 0);
    }

    #[test]
    fn several_behind_one_e_mail_are_left_alone_unless_one_is_chosen() {
        let mut scene = two();
        let by = |wishes: Value| json!({"email_addresses": [{"email": "A@b.co", "prioritization": wishes}]});
        assert_eq!(asked(&mut scene, &by(json!([]))).1["deleted"], 0);
        let one = asked(
            &mut scene,
            &by(json!(["unidentified", "most_recently_updated"])),
        );
        assert_eq!(one.1["deleted"], 1);
        assert_eq!(left(&mut scene), 1);
        assert!(
            scene
                .workspace
                .profiles
                .find(&Identifier::ExternalId("x".into()))
                .is_some()
        );
    }

    #[test]
    fn a_request_with_two_kinds_none_or_too_many_is_refused() {
        let mut scene = two();
        let many: Vec<String> = (0..51).map(|number| format!("b{number}")).collect();
        for body in [
            json!({"braze_ids": ["b1"], "external_ids": ["x"]}),
            json!({"braze_ids": "b1"}),
            json!({"braze_ids": []}),
            json!({"braze_ids": many}),
            json!({"braze_ids": [1]}),
            json!({"email": "a@b.co"}),
            json!({}),
        ] {
            assert_eq!(asked(&mut scene, &body).0, 400, "{body}");
        }
        assert_eq!(left(&mut scene), 2);
    }
}
