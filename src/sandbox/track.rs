//! `POST /users/track`.
//!
//! Invariants: every object is judged alone; the valid ones are accepted although others are not. Events are never
//! recognised as repeated.

use serde_json::{Value, json};

use super::attributes;
use super::email;
use super::events;
use super::identifier::{BAD_EMAIL, Identifier, Problem, problem};
use super::profiles::Object;
use super::script::ErrorShape;
use super::wire::Answer;
use super::workspace::Workspace;
use super::world::Means;
use super::write::Write;

/// Most objects of one request, all arrays together.
const OBJECTS_MAX: usize = 75;
const NO_DATA: &str =
    "Valid data must be provided in the 'attributes', 'events', or 'purchases' fields.";
/// A made-up sentence: "other fatal errors" have a message and nothing that is documented besides.
const SOME_WRONG: &str = "Some of the data is not valid";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Array {
    Attributes,
    Events,
    Purchases,
}

impl Array {
    const ALL: [Array; 3] = [Array::Attributes, Array::Events, Array::Purchases];

    const fn as_str(self) -> &'static str {
        match self {
            Array::Attributes => "attributes",
            Array::Events => "events",
            Array::Purchases => "purchases",
        }
    }

    const fn processed(self) -> &'static str {
        match self {
            Array::Attributes => "attributes_processed",
            Array::Events => "events_processed",
            Array::Purchases => "purchases_processed",
        }
    }
}

/// Takes what is valid and answers for the rest.
pub fn track(workspace: &mut Workspace, mut body: Object, means: &mut Means<'_>) -> Answer {
    let mut arrays = Vec::new();
    for array in Array::ALL {
        match body.get_mut(array.as_str()).map(Value::take) {
            None | Some(Value::Null) => {}
            Some(Value::Array(objects)) => arrays.push((array, objects)),
            Some(_) => return Answer::message(400, NO_DATA),
        }
    }
    let total = arrays.iter().map(|(_, objects)| objects.len()).sum();
    if total == 0 {
        return Answer::message(400, NO_DATA);
    }
    if total > means.effects.objects_max.unwrap_or(OBJECTS_MAX) {
        return Answer::message(400, "Max Input Length Exceeded").about(total);
    }
    let mut writes = Vec::with_capacity(total);
    let mut errors = Vec::new();
    let mut answer = Object::from_iter([("message".to_owned(), json!("success"))]);
    for (array, objects) in arrays {
        let before = writes.len();
        for (index, object) in objects.into_iter().enumerate() {
            match judge(workspace, array, object, means) {
                Ok(write) => writes.push(write),
                Err(problem) => errors.push((problem, array, index)),
            }
        }
        answer.insert(array.processed().to_owned(), json!(writes.len() - before));
    }
    if writes.is_empty() || (means.effects.whole && !errors.is_empty()) {
        answer.clear();
        let message = if writes.is_empty() {
            NO_DATA
        } else {
            SOME_WRONG
        };
        answer.insert("message".to_owned(), json!(message));
        tell(&mut answer, errors, means.effects.shape);
        return Answer::new(400, Value::Object(answer)).about(total);
    }
    if !errors.is_empty() {
        if means.effects.not_counted || means.effects.shape == ErrorShape::NoErrors {
            answer.retain(|key, _| key == "message");
        }
        if means.effects.shape == ErrorShape::NoErrors {
            answer.insert("message".to_owned(), json!(SOME_WRONG));
        }
        tell(&mut answer, errors, means.effects.shape);
    }
    let delay = means
        .effects
        .appear
        .unwrap_or(means.appear)
        .pick(means.random.next());
    workspace.accept(
        writes,
        means.now,
        delay,
        means.effects.email_later,
        means.random,
    );
    Answer::new(201, Value::Object(answer)).about(total)
}

/// Adds what is wrong to an answer.
fn tell(answer: &mut Object, errors: Vec<(Problem, Array, usize)>, shape: ErrorShape) {
    if shape == ErrorShape::NoErrors {
        return;
    }
    let errors = errors.into_iter();
    let told = errors.map(|(problem, array, index)| shaped(shape, problem, array, index));
    answer.insert("errors".to_owned(), told.collect());
}

fn shaped(shape: ErrorShape, problem: Problem, array: Array, index: usize) -> Value {
    let array = array.as_str();
    match shape {
        ErrorShape::Sentences => {
            json!({"type": problem.sentence, "input_array": array, "index": index})
        }
        ErrorShape::Codes => json!({"type": problem.code, "input_array": array, "index": index}),
        ErrorShape::Strings => json!(problem.sentence),
        ErrorShape::NoIndex => json!({"type": problem.sentence, "input_array": array}),
        ErrorShape::NoPlace | ErrorShape::NoErrors => json!({"type": problem.sentence}),
    }
}

fn judge(
    workspace: &Workspace,
    array: Array,
    value: Value,
    means: &Means<'_>,
) -> Result<Write, Problem> {
    let Value::Object(object) = value else {
        return Err(problem("each entry must be an object", "BAD_OBJECT"));
    };
    let identifier = Identifier::of(&object)?;
    if means
        .effects
        .rejected
        .iter()
        .any(|email| names(&identifier, &object, email))
    {
        return Err(problem(
            "provided external_id is blacklisted and disallowed",
            "BLACKLISTED_EXTERNAL_USER_ID",
        ));
    }
    if matches!(&identifier, Identifier::Email(address) if !email::is_valid(address)) {
        return Err(BAD_EMAIL);
    }
    let update_only = object.get("_update_existing_only").and_then(Value::as_bool);
    let by_default = identifier.creates_by_default();
    match array {
        Array::Attributes => {
            attributes::check(&object, &|id| workspace.is_group(id))?;
            let create = update_only.map_or(by_default, |only| !only);
            Ok(Write::Attributes {
                create: create && !matches!(identifier, Identifier::BrazeId(_)),
                identifier,
                object,
            })
        }
        // An event or a purchase never creates a profile by alias, whatever it says.
        Array::Events => {
            let (name, time) = events::event(&object, means.now)?;
            Ok(Write::Event {
                create: by_default && update_only != Some(true),
                identifier,
                name,
                time,
            })
        }
        Array::Purchases => {
            events::purchase(&object)?;
            Ok(Write::Purchase {
                create: by_default && update_only != Some(true),
                identifier,
            })
        }
    }
}

fn names(identifier: &Identifier, object: &Object, email: &str) -> bool {
    let same = |text: &str| text.eq_ignore_ascii_case(email);
    object
        .get("email")
        .and_then(Value::as_str)
        .is_some_and(same)
        || matches!(identifier, Identifier::Alias { name, .. } if same(name))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests may")]
    use std::time::Duration;

    use super::*;
    use crate::model::time::Timestamp;
    use crate::sandbox::options::{Options, Spread};
    use crate::sandbox::profiles::Profile;
    use crate::sandbox::script::Effects;
    use crate::sandbox::world::Random;

    const NOW: Timestamp = Timestamp::from_millis(1_795_770_600_000);
    const SOON: Duration = Duration::from_millis(50);

    fn workspace(known: &[Value]) -> Workspace {
        let known = known.iter().map(|one| one.as_object().unwrap().clone());
        let options = Options {
            known: known.collect(),
            ..Options::default()
        };
        Workspace::new(&options.workspaces[0], &options, NOW)
    }

    fn post_with(
        workspace: &mut Workspace,
        effects: &Effects,
        body: Value,
        now: Timestamp,
    ) -> Answer {
        let mut means = Means {
            now,
            effects,
            appear: Spread::exactly(SOON),
            random: &mut Random::new(1),
        };
        workspace.settle(now);
        track(workspace, serde_json::from_value(body).unwrap(), &mut means)
    }

    fn post(workspace: &mut Workspace, body: Value) -> Answer {
        post_with(workspace, &Effects::default(), body, NOW)
    }

    fn settled(workspace: &mut Workspace) -> &[Profile] {
        workspace.settle(NOW + SOON);
        workspace.profiles.all()
    }

    fn by_alias(name: &str, more: &Value) -> Value {
        let mut object = json!({"user_alias": {"alias_name": name, "alias_label": "email"}});
        object
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        object
    }

    #[test]
    fn an_alias_is_update_only_unless_it_says_otherwise() {
        for (more, created) in [
            (json!({}), 0),
            (json!({"_update_existing_only": true}), 0),
            (json!({"_update_existing_only": false}), 1),
        ] {
            let mut workspace = workspace(&[]);
            let answer = post(
                &mut workspace,
                json!({"attributes": [by_alias("a@b.co", &more)]}),
            );
            assert_eq!(
                (answer.status, &answer.body["attributes_processed"]),
                (201, &json!(1))
            );
            assert_eq!(settled(&mut workspace).len(), created, "{more}");
        }
    }

    #[test]
    fn other_identifiers_create_unless_told_not_to_and_a_braze_id_never_does() {
        let object = json!([
            {"external_id": "1"}, {"email": "a@b.co"}, {"phone": "+15550100000"}, {"braze_id": "x"},
            {"external_id": "2", "_update_existing_only": true}, {"braze_id": "y", "_update_existing_only": false}]);
        let mut workspace = workspace(&[]);
        post(&mut workspace, json!({ "attributes": object }));
        assert_eq!(settled(&mut workspace).len(), 3);
        assert_eq!(workspace.silent.updates_dropped, 3);
    }

    #[test]
    fn an_event_never_creates_by_alias_but_finds_what_its_own_request_creates() {
        let event = by_alias(
            "a@b.co",
            &json!({"name": "e", "time": "2020-01-01T00:00:00Z", "_update_existing_only": false}),
        );
        let create = by_alias("a@b.co", &json!({"_update_existing_only": false}));
        let mut alone = workspace(&[]);
        post(&mut alone, json!({"events": [event]}));
        assert_eq!(settled(&mut alone).len(), 0);
        let mut together = workspace(&[]);
        post(
            &mut together,
            json!({"events": [event, event], "attributes": [create]}),
        );
        assert_eq!(settled(&mut together)[0].events["e"].count, 2);
    }

    #[test]
    fn an_update_by_alias_before_the_creation_took_effect_is_lost() {
        let mut workspace = workspace(&[]);
        let effects = Effects::default();
        let create = by_alias(
            "a@b.co",
            &json!({"_update_existing_only": false, "first": 1}),
        );
        let update =
            |value: i32| json!({"attributes": [by_alias("a@b.co", &json!({"level": value}))]});
        post(&mut workspace, json!({"attributes": [create]}));
        let early = NOW + Duration::from_millis(49);
        post_with(&mut workspace, &effects, update(1), early);
        post_with(&mut workspace, &effects, update(2), NOW + SOON);
        workspace.settle(NOW + SOON * 2);
        assert_eq!(workspace.silent.updates_dropped, 1);
        assert_eq!(
            Value::Object(workspace.profiles.all()[0].custom.clone()),
            json!({"first": 1, "level": 2})
        );
    }

    #[test]
    fn the_same_alias_twice_is_one_profile_even_before_the_first_took_effect() {
        let mut workspace = workspace(&[json!({"email": "a@b.co", "external_id": "7"})]);
        let create = by_alias(
            "a@b.co",
            &json!({"_update_existing_only": false, "email": "a@b.co"}),
        );
        for _ in 0..2 {
            post(&mut workspace, json!({"attributes": [create, create]}));
        }
        assert_eq!(
            settled(&mut workspace).len(),
            2,
            "the known one is not found by its e-mail"
        );
    }

    #[test]
    fn valid_objects_are_taken_although_others_are_not() {
        let body = json!({
            "attributes": [{"email": "bad @b.co"}, {"external_id": "1"}, {"external_id": "1", "braze_id": "2"}, 5],
            "events": [{"external_id": "1", "name": "e"}]});
        let mut workspace = workspace(&[]);
        let answer = post(&mut workspace, body);
        assert_eq!(answer.status, 201);
        let errors = answer.body["errors"].as_array().unwrap();
        let places: Vec<_> = errors
            .iter()
            .map(|one| {
                (
                    one["input_array"].as_str().unwrap(),
                    one["index"].as_u64().unwrap(),
                )
            })
            .collect();
        assert_eq!(
            places,
            [
                ("attributes", 0),
                ("attributes", 2),
                ("attributes", 3),
                ("events", 0)
            ]
        );
        assert_eq!(answer.body["attributes_processed"], json!(1));
        assert_eq!(answer.body["events_processed"], json!(0));
        assert!(answer.body.get("purchases_processed").is_none());
        assert_eq!(settled(&mut workspace).len(), 1);
    }

    #[test]
    fn nothing_valid_is_400_with_the_same_indexed_errors() {
        let answer = post(
            &mut workspace(&[]),
            json!({"attributes": [{"email": "nope"}]}),
        );
        assert_eq!(answer.status, 400);
        assert_eq!(answer.body["message"], json!(NO_DATA));
        assert_eq!(answer.body["errors"][0]["index"], json!(0));
        for body in [
            json!({}),
            json!({"attributes": []}),
            json!({"attributes": {}}),
        ] {
            let answer = post(&mut workspace(&[]), body);
            assert_eq!(
                (answer.status, answer.body),
                (400, json!({"message": NO_DATA}))
            );
        }
    }

    #[test]
    fn seventy_five_objects_in_all_arrays_together_and_no_more() {
        let many = |count| {
            vec![json!({"external_id": "1", "name": "e", "time": "2020-01-01T00:00:00Z"}); count]
        };
        let full = json!({"attributes": many(40), "events": many(35)});
        assert_eq!(post(&mut workspace(&[]), full).status, 201);
        let over = post(
            &mut workspace(&[]),
            json!({"attributes": many(40), "events": many(36)}),
        );
        assert_eq!((over.status, over.objects), (400, 76));
    }

    #[test]
    fn errors_come_in_every_shape_the_script_asks_for() {
        let told = |shape| {
            let effects = Effects {
                shape,
                ..Effects::default()
            };
            post_with(
                &mut workspace(&[]),
                &effects,
                json!({"attributes": [{"email": "x"}]}),
                NOW,
            )
            .body["errors"][0]
                .clone()
        };
        assert_eq!(
            told(ErrorShape::Codes),
            json!({"type": "EMAIL_BAD_FORMAT", "input_array": "attributes", "index": 0})
        );
        assert_eq!(told(ErrorShape::Strings), json!(BAD_EMAIL.sentence));
        assert_eq!(
            told(ErrorShape::NoIndex),
            json!({"type": BAD_EMAIL.sentence, "input_array": "attributes"})
        );
    }

    #[test]
    fn a_request_with_something_wrong_can_be_refused_whole_or_told_of_without_numbers_or_errors() {
        let body = json!({"attributes": [{"email": "x"}, {"email": "c@d.co"}]});
        let told = |effects: Effects| {
            let mut workspace = workspace(&[]);
            let answer = post_with(&mut workspace, &effects, body.clone(), NOW);
            (answer.status, answer.body, settled(&mut workspace).len())
        };
        let error = json!([{"type": BAD_EMAIL.sentence}]);
        for (shape, whole, not_counted, expected) in [
            (
                ErrorShape::NoPlace,
                true,
                false,
                (400, json!({"message": SOME_WRONG, "errors": error}), 0),
            ),
            (
                ErrorShape::NoErrors,
                true,
                false,
                (400, json!({"message": SOME_WRONG}), 0),
            ),
            (
                ErrorShape::NoPlace,
                false,
                false,
                (
                    201,
                    json!({"message": "success", "attributes_processed": 1, "errors": error}),
                    1,
                ),
            ),
            (
                ErrorShape::NoPlace,
                false,
                true,
                (201, json!({"message": "success", "errors": error}), 1),
            ),
            (
                ErrorShape::NoErrors,
                false,
                false,
                (201, json!({"message": SOME_WRONG}), 1),
            ),
        ] {
            let effects = Effects {
                shape,
                whole,
                not_counted,
                ..Effects::default()
            };
            assert_eq!(told(effects), expected, "{shape:?} {whole} {not_counted}");
        }
    }

    #[test]
    fn a_time_in_the_future_is_replaced_and_events_are_never_deduplicated() {
        let mut workspace = workspace(&[]);
        let event = json!({"external_id": "1", "name": "e", "time": "2099-01-01T00:00:00Z"});
        for _ in 0..3 {
            post(&mut workspace, json!({"events": [event]}));
        }
        let tally = &settled(&mut workspace)[0].events["e"];
        assert_eq!((tally.count, tally.last), (3, NOW));
    }

    #[test]
    fn a_profile_may_appear_before_its_email_does() {
        let effects = Effects {
            email_later: Some(Spread::exactly(Duration::from_secs(5))),
            ..Effects::default()
        };
        let mut workspace = workspace(&[]);
        let create = by_alias(
            "a@b.co",
            &json!({"_update_existing_only": false, "email": "a@b.co", "x": 1}),
        );
        post_with(
            &mut workspace,
            &effects,
            json!({"attributes": [create]}),
            NOW,
        );
        let appeared = settled(&mut workspace);
        assert_eq!((appeared.len(), appeared[0].email.is_none()), (1, true));
        workspace.settle(NOW + SOON + Duration::from_secs(5));
        assert_eq!(workspace.profiles.with_email("a@b.co"), [0]);
    }

    #[test]
    fn a_named_email_can_be_refused() {
        let effects = Effects {
            rejected: vec!["a@b.co".into()],
            ..Effects::default()
        };
        let body = json!({"attributes": [by_alias("a@b.co", &json!({"_update_existing_only": false})), {"email": "c@d.co"}]});
        let answer = post_with(&mut workspace(&[]), &effects, body, NOW);
        assert_eq!(
            (answer.status, &answer.body["errors"][0]["index"]),
            (201, &json!(0))
        );
    }
}
