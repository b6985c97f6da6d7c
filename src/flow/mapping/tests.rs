//! What every kind of answer becomes under every declaration.

use serde_json::json;

use super::*;

fn attribute(kind: AnswerKind) -> MappedAttribute {
    MappedAttribute {
        name: "a".into(),
        from: "/x".into(),
        kind,
        coerce: false,
        required: true,
    }
}

fn mapping(attributes: Vec<MappedAttribute>) -> Mapping {
    Mapping {
        id: None,
        email: Some("/lead/email".into()),
        external_id: None,
        bad_answer_kills: false,
        attributes,
    }
}

/// What is written for the answer at `/x`, or what was found instead.
fn written(value: &Value, attribute: &MappedAttribute) -> Result<Option<Value>, &'static str> {
    answer(&json!({ "x": value }), attribute)
}

/// Answers, and what they become under one declaration: plain, and with `coerce`.
type Row = (Value, Option<Value>, Option<Value>);

#[test]
fn an_answer_is_written_as_its_declared_type_or_not_at_all() {
    use AnswerKind::{Array, Boolean, Number, String, Time};
    let same = |value: Value| (value.clone(), Some(value.clone()), Some(value));
    let only_coerced = |from: Value, to: Value| (from, None, Some(to));
    let never = |value: Value| (value, None, None);
    let tables: [(AnswerKind, Vec<Row>); 5] = [
        (
            Number,
            vec![
                same(json!(7)),
                same(json!(-1.5)),
                only_coerced(json!("7"), json!(7)),
                only_coerced(json!(" -1.5e2 "), json!(-150.0)),
                never(json!("007")),
                never(json!("7 points")),
                never(json!("NaN")),
                never(json!("1e999")),
                never(json!(true)),
                never(json!([7])),
                never(json!({})),
            ],
        ),
        (
            String,
            vec![
                same(json!("ü")),
                same(json!("")),
                same(json!("7")),
                same(json!("é".repeat(255))),
                only_coerced(json!(7), json!("7")),
                only_coerced(json!(1.5), json!("1.5")),
                never(json!("é".repeat(256))),
                never(json!(true)),
                never(json!(["a"])),
                never(json!({"a": 1})),
            ],
        ),
        (
            Boolean,
            vec![
                same(json!(true)),
                same(json!(false)),
                only_coerced(json!("true"), json!(true)),
                only_coerced(json!(" false"), json!(false)),
                never(json!("True")),
                never(json!("yes")),
                never(json!(1)),
                never(json!([true])),
            ],
        ),
        (
            Array,
            vec![
                same(json!([])),
                same(json!(["a", 1, "b, c"])),
                only_coerced(json!("a"), json!(["a"])),
                only_coerced(json!(7), json!([7])),
                never(json!("a, b")),
                never(json!(true)),
                never(json!([["a"]])),
                never(json!([null])),
                never(json!([true])),
                never(json!([{"a": 1}])),
                never(json!(["é".repeat(256)])),
                never(json!(vec!["x".repeat(200); 600])),
                never(json!({"0": "a"})),
            ],
        ),
        (
            Time,
            vec![
                same(json!("2026-11-27")),
                same(json!("2026-11-27T09:30:00Z")),
                same(json!("2026-11-27T09:30:00.123+01:00")),
                never(json!("2026-02-30")),
                never(json!("2026-02-30T00:00:00Z")),
                never(json!("2026-11-27T09:30:00")),
                never(json!("27.11.2026")),
                never(json!("12-1-2021")),
                never(json!(1_795_770_600)),
                never(json!(["2026-11-27"])),
            ],
        ),
    ];
    for (kind, rows) in tables {
        for (value, plain, coerced) in rows {
            let mut attribute = attribute(kind);
            assert_eq!(
                written(&value, &attribute).ok().flatten(),
                plain,
                "{kind:?} {value}"
            );
            attribute.coerce = true;
            assert_eq!(
                written(&value, &attribute).ok().flatten(),
                coerced,
                "{kind:?} coerce {value}"
            );
        }
    }
}

#[test]
fn an_open_question_is_bad_only_where_it_is_required() {
    use AnswerKind::{Array, Boolean, Number, String, Time};
    for kind in [Number, String, Boolean, Array, Time] {
        let needed = attribute(kind);
        let optional = MappedAttribute {
            required: false,
            ..attribute(kind)
        };
        let absent = json!({});
        assert_eq!(answer(&absent, &needed), Err("nothing"));
        assert_eq!(answer(&absent, &optional), Ok(None));
        assert_eq!(written(&json!(null), &needed), Err("null"));
        assert_eq!(written(&json!(null), &optional), Ok(None));
        if kind != String {
            for coerce in [false, true] {
                let needed = MappedAttribute {
                    coerce,
                    ..needed.clone()
                };
                let optional = MappedAttribute {
                    coerce,
                    ..optional.clone()
                };
                assert_eq!(written(&json!(" "), &needed), Err("an empty text"));
                assert_eq!(written(&json!(""), &optional), Ok(None));
            }
        }
        // Not required does not mean: whatever it is.
        assert!(written(&json!({}), &optional).is_err());
    }
}

#[test]
fn a_lead_is_the_external_ids_if_it_is_mapped_and_there_else_the_e_mails() {
    let both = Mapping {
        external_id: Some("/lead/user".into()),
        ..mapping(vec![])
    };
    let by_email = Some(Address::Email("ada@b.example".into()));
    let by_id = |id: &str| Some(Address::ExternalId(id.into()));
    let long = "x".repeat(988);
    for (lead, address) in [
        (
            json!({"email": " Ada@B.example ", "user": " u1 "}),
            by_id("u1"),
        ),
        (json!({"user": 7}), by_id("7")),
        (json!({"email": "Ada@B.example"}), by_email.clone()),
        (
            json!({"email": "Ada@B.example", "user": " "}),
            by_email.clone(),
        ),
        (
            json!({"email": "Ada@B.example", "user": 1.5}),
            by_email.clone(),
        ),
        (json!({"email": "Ada@B.example", "user": long}), by_email),
        (json!({"email": "ada"}), None),
        (json!({"email": 7, "user": null}), None),
        (json!({}), None),
    ] {
        let mapped = map(&json!({ "lead": lead }), &both);
        assert_eq!(mapped.address, address, "{lead}");
        assert_eq!(mapped.is_dead, address.is_none(), "{lead}");
        let names: Vec<_> = mapped.bad.iter().map(|bad| &*bad.name).collect();
        let expected: &[&str] = if address.is_none() {
            &["email", "external_id"]
        } else {
            &[]
        };
        assert_eq!(names, expected, "{lead}");
    }
}

#[test]
fn a_bad_answer_drops_its_attribute_or_kills_the_lead_and_is_told_without_its_value() {
    let mut mapping = mapping(vec![
        MappedAttribute {
            name: "score".into(),
            from: "/result/score".into(),
            ..attribute(AnswerKind::Number)
        },
        MappedAttribute {
            name: "a~/b".into(),
            from: "/a~0~1b/1".into(),
            ..attribute(AnswerKind::String)
        },
    ]);
    let lead = json!({"lead": {"email": "ada@b.example"}, "result": {"score": "secret"}, "a~/b": ["x", "y"]});
    let mapped = map(&lead, &mapping);
    assert!(!mapped.is_dead);
    assert_eq!(Value::from(mapped.attributes), json!({"a~/b": "y"}));
    assert_eq!(
        told(&mapped.bad),
        "score (/result/score): a text instead of a number"
    );
    mapping.bad_answer_kills = true;
    assert!(map(&lead, &mapping).is_dead);
    let many = vec![mapped.bad[0].clone(); 10];
    let text = told(&many);
    assert!(
        text.ends_with("; and 2 more") && text.matches("score").count() == 16,
        "{text}"
    );
    assert!(!text.contains("secret"));
}
