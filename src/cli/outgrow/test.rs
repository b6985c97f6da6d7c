//! `outgrow test`: what a content's mapping makes of a lead.

use std::fmt::Write as _;
use std::io::Write;

use serde_json::{Value, json};

use super::{Test, map, send};
use crate::cli::remote::{Failed, write};
use crate::cli::text::{Column, plain, table};
use crate::config::{Config, Env};
use crate::flow::mapping::{self, Mapped};
use crate::model::call::Address;
use crate::model::rules::{AnswerKind, Mapping};

/// Whose lead a made-up one is.
const EMAIL: &str = "outgrow-test@example.com";

/// What a test found.
struct Tested<'a> {
    content: &'a str,
    mapping: &'a Mapping,
    made_up: bool,
    lead: Value,
    mapped: Mapped,
    sent: Option<send::Sent>,
}

pub(super) fn run(args: &Test, env: &Env, out: &mut impl Write) -> Result<u8, Failed> {
    let Some(file) = &args.remote.config else {
        let usage = "say which configuration has the content: --config F";
        return Err(Failed::Usage(usage.into()));
    };
    let loaded = Config::load(file, env).map_err(|mistakes| {
        Failed::Usage(format!("{} cannot be used\n{mistakes}", file.display()))
    })?;
    let config = loaded.config;
    let unknown = || {
        let known: Vec<_> = config.rules.contents().map(|it| &*it.scope).collect();
        let known = known.join(", ");
        Failed::Usage(format!(
            "there is no [outgrow.{}]; there is: {known}",
            args.content
        ))
    };
    let rules = config.rules.content(&args.content).ok_or_else(unknown)?;
    let mapping = rules.mapping.as_ref().ok_or_else(unknown)?;
    let lead = match &args.lead {
        Some(file) => super::read(file)?,
        None => made_up(mapping),
    };
    let mut tested = Tested {
        content: &args.content,
        mapping,
        made_up: args.lead.is_none(),
        mapped: mapping::map(&lead, mapping),
        lead,
        sent: None,
    };
    if args.send {
        let sent = send::send(args, env, &config, rules, &tested.lead, &tested.mapped)?;
        tested.sent = Some(sent);
    }
    if args.remote.json {
        write(out, &document(&tested))?;
    } else {
        out.write_all(shown(&tested).as_bytes())?;
    }
    let arrived = tested.sent.as_ref().is_none_or(send::Sent::is_good);
    let good = !tested.mapped.is_dead && tested.mapped.bad.is_empty() && arrived;
    Ok(u8::from(!good))
}

/// A lead that has what the mapping looks for.
fn made_up(mapping: &Mapping) -> Value {
    let mut lead = json!({});
    for attribute in &mapping.attributes {
        let answer = match attribute.kind {
            AnswerKind::Number => json!(42),
            AnswerKind::String => json!("test"),
            AnswerKind::Boolean => json!(true),
            AnswerKind::Array => json!(["test"]),
            AnswerKind::Time => json!("2026-01-31"),
        };
        put(&mut lead, &attribute.from, answer);
    }
    let own = [
        (&mapping.id, "outgrow-test"),
        (&mapping.external_id, "outgrow-test"),
        (&mapping.email, EMAIL),
    ];
    for (pointer, text) in own {
        if let Some(pointer) = pointer {
            put(&mut lead, pointer, json!(text));
        }
    }
    lead
}

/// Puts `value` where `pointer` leads, objects on the way; what is in the way stays.
fn put(lead: &mut Value, pointer: &str, value: Value) {
    let mut at = lead;
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        let Value::Object(members) = at else {
            return;
        };
        at = members.entry(token).or_insert_with(|| json!({}));
    }
    *at = value;
}

/// Whose the lead is, as the configuration names it.
fn whose(mapped: &Mapped) -> (Option<&'static str>, Option<&str>) {
    match &mapped.address {
        Some(Address::ExternalId(id)) => (Some("external_id"), Some(id)),
        Some(Address::Email(email)) => (Some("email"), Some(email)),
        Some(Address::Alias(_) | Address::BrazeId(_)) | None => (None, None),
    }
}

fn shown(tested: &Tested<'_>) -> String {
    let Tested {
        content,
        mapping,
        mapped,
        ..
    } = tested;
    let mut text = String::new();
    let made_up = if tested.made_up {
        ", made up to fit the mapping"
    } else {
        ""
    };
    // Writing to a String does not fail.
    let _ = writeln!(
        text,
        "content {content}, a lead of {} bytes{made_up}",
        tested.lead.to_string().len()
    );
    let _ = match whose(mapped) {
        (Some(key), Some(value)) => {
            writeln!(text, "it goes to the profile with {key} {}", plain(value))
        }
        _ => writeln!(
            text,
            "it is nobody's: neither an e-mail nor an external id was found"
        ),
    };
    let rows: Vec<[String; 4]> = mapping
        .attributes
        .iter()
        .map(|attribute| {
            let becomes = match mapped.attributes.get(&attribute.name) {
                Some(value) => value.to_string(),
                None if mapped.bad.iter().any(|bad| bad.name == attribute.name) => "BAD".into(),
                None => "(no answer)".into(),
            };
            let kind = map::word(attribute.kind).to_owned();
            [
                attribute.name.clone(),
                attribute.from.clone(),
                kind,
                becomes,
            ]
        })
        .collect();
    if !rows.is_empty() {
        let columns = ["ATTRIBUTE", "FROM", "TYPE", "IS WRITTEN AS"].map(Column::Left);
        text.push_str(&table(columns, &rows));
    }
    for bad in &mapped.bad {
        let _ = writeln!(text, "bad: {}", plain(&bad.to_string()));
    }
    let _ = match (mapped.is_dead, mapped.bad.is_empty()) {
        (true, _) => writeln!(text, "the lead becomes a dead letter: bad_answer"),
        (false, false) => writeln!(text, "what is bad is dropped, the rest is written"),
        (false, true) => writeln!(text, "every answer can be used"),
    };
    match &tested.sent {
        None => text.push_str("nothing was sent; --send takes the real way\n"),
        Some(sent) => text.push_str(&sent.told()),
    }
    text
}

fn document(tested: &Tested<'_>) -> Value {
    let Mapped {
        attributes,
        bad,
        is_dead,
        ..
    } = &tested.mapped;
    let (key, value) = whose(&tested.mapped);
    let bad: Vec<Value> = bad
        .iter()
        .map(|bad| json!({ "attribute": bad.name, "from": bad.from, "found": bad.found, "wanted": bad.wanted }))
        .collect();
    json!({
        "content": tested.content, "made_up": tested.made_up, "lead": tested.lead,
        "profile": { "by": key, "value": value }, "attributes": attributes, "bad": bad, "dead": is_dead,
        "sent": tested.sent.as_ref().map(send::Sent::document),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::rules::MappedAttribute;

    fn mapping() -> Mapping {
        let kinds = [
            AnswerKind::Number,
            AnswerKind::String,
            AnswerKind::Boolean,
            AnswerKind::Array,
            AnswerKind::Time,
        ];
        Mapping {
            id: Some("/lead/id".into()),
            email: Some("/lead/email".into()),
            external_id: None,
            bad_answer_kills: false,
            attributes: kinds
                .into_iter()
                .enumerate()
                .map(|(number, kind)| MappedAttribute {
                    name: format!("a{number}"),
                    from: format!("/x~1y/{number}/~0z"),
                    kind,
                    coerce: false,
                    required: true,
                })
                .collect(),
        }
    }

    #[test]
    fn a_made_up_lead_fits_its_mapping() {
        let lead = made_up(&mapping());
        let mapped = mapping::map(&lead, &mapping());
        assert_eq!(mapped.bad, []);
        assert_eq!(mapped.attributes.len(), 5);
        assert_eq!(mapped.address, Some(Address::Email(EMAIL.into())));
    }

    #[test]
    fn what_is_dropped_is_shown_with_the_reason() {
        let mapping = mapping();
        let lead = json!({"lead": {"email": "ada@b.example"}, "x/y": {"0": {"~z": "seven"}, "1": {"~z": "\u{1b}[2J"}}});
        let tested = Tested {
            content: "quiz",
            mapping: &mapping,
            made_up: false,
            mapped: mapping::map(&lead, &mapping),
            lead,
            sent: None,
        };
        let text = shown(&tested);
        for part in [
            "with email ada@b.example",
            "bad: a0 (/x~1y/0/~0z): a text instead of a number",
            "bad: a4 (/x~1y/4/~0z): nothing instead of",
            "is dropped, the rest is written",
            "nothing was sent",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(!text.contains('\u{1b}'));
        let document = document(&tested);
        assert_eq!(document["bad"].as_array().map(Vec::len), Some(4));
        assert_eq!(document["profile"]["by"], "email");
    }
}
