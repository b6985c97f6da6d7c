//! `outgrow map`: a first mapping from a sample lead.
//!
//! Invariants: what is proposed is a valid content: names that Braze takes, each once, and pointers that lead to what
//! the sample has there. It is a beginning: which answers matter, only the brand knows.

use std::collections::BTreeSet;
use std::io::Write;

use serde_json::{Value, json};

use super::Map;
use crate::cli::remote::{Failed, write};
use crate::flow::mapping;
use crate::model::email;
use crate::model::rules::{AnswerKind, MappedAttribute, Mapping};

/// What attributes' names begin with, as in Outgrow's own examples.
const PREFIX: &str = "outgrow";

/// The longest name that is proposed, in characters; Braze takes 255.
const NAME_CHARS_MAX: usize = 100;

/// Words that stand for where a lead is kept and say nothing about an answer.
const BARE: [&str; 8] = [
    "lead", "data", "answers", "answer", "result", "results", "fields", "value",
];

/// What a sample shows.
#[derive(Debug, PartialEq)]
struct Proposal {
    mapping: Mapping,
    /// Where there is something that no attribute can hold, and what it is.
    left_out: Vec<(String, &'static str)>,
}

pub(super) fn run(args: &Map, out: &mut impl Write) -> Result<u8, Failed> {
    let lead = super::read(&args.file)?;
    let proposal = propose(&lead);
    if args.json {
        write(out, &document(&args.content, &proposal))?;
    } else {
        out.write_all(toml(&args.content, &proposal).as_bytes())?;
    }
    Ok(u8::from(proposal.mapping.email.is_none()))
}

fn propose(lead: &Value) -> Proposal {
    let mut proposal = Proposal {
        mapping: Mapping {
            id: None,
            email: None,
            external_id: None,
            bad_answer_kills: false,
            attributes: Vec::new(),
        },
        left_out: Vec::new(),
    };
    let mut names = BTreeSet::new();
    walk(lead, &mut Vec::new(), &mut |path, value| {
        look(path, value, &mut proposal, &mut names);
    });
    proposal
}

/// Every value that is no object, with its path.
fn walk<'v>(value: &'v Value, path: &mut Vec<&'v str>, seen: &mut impl FnMut(&[&str], &'v Value)) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                path.push(name);
                walk(value, path, seen);
                path.pop();
            }
        }
        _ => seen(path, value),
    }
}

fn look(path: &[&str], value: &Value, proposal: &mut Proposal, names: &mut BTreeSet<String>) {
    let from = pointer(path);
    let last = path.last().copied().unwrap_or_default();
    let word: String = last.to_lowercase().replace(['_', '-', ' '], "");
    let mapping = &mut proposal.mapping;
    let is_email = value
        .as_str()
        .is_some_and(|text| email::normalised(text).is_ok());
    if mapping.email.is_none() && is_email && word.contains("mail") {
        mapping.email = Some(from);
        return;
    }
    let is_id = matches!(value, Value::String(_) | Value::Number(_));
    if mapping.id.is_none() && is_id && matches!(&*word, "id" | "leadid" | "responseid" | "uuid") {
        mapping.id = Some(from);
        return;
    }
    match guess(value) {
        Ok(kind) => mapping.attributes.push(MappedAttribute {
            name: name(path, names),
            from,
            kind,
            coerce: false,
            // One lead does not show which questions may be left open.
            required: false,
        }),
        Err(what) => proposal.left_out.push((from, what)),
    }
}

/// The type of an answer that looks like this; the error says what no attribute can hold.
fn guess(value: &Value) -> Result<AnswerKind, &'static str> {
    let kind = match value {
        Value::Null => return Err("null: its type cannot be told"),
        Value::Bool(_) => AnswerKind::Boolean,
        Value::Number(_) => AnswerKind::Number,
        Value::Array(_) => AnswerKind::Array,
        Value::String(_) | Value::Object(_) => {
            if written(value, AnswerKind::Time) {
                AnswerKind::Time
            } else {
                AnswerKind::String
            }
        }
    };
    if written(value, kind) {
        Ok(kind)
    } else if kind == AnswerKind::Array {
        Err("an array that Braze does not take: give each element a pointer of its own, such as /0")
    } else {
        Err("a text of more than 255 characters")
    }
}

/// Whether a mapping would write it as that.
fn written(value: &Value, kind: AnswerKind) -> bool {
    let mapping = Mapping {
        id: None,
        email: None,
        external_id: None,
        bad_answer_kills: false,
        attributes: vec![MappedAttribute {
            name: "it".into(),
            from: "/it".into(),
            kind,
            coerce: false,
            required: true,
        }],
    };
    !mapping::map(&json!({ "it": value }), &mapping)
        .attributes
        .is_empty()
}

/// RFC 6901.
fn pointer(path: &[&str]) -> String {
    let tokens = path
        .iter()
        .map(|token| token.replace('~', "~0").replace('/', "~1"));
    tokens.fold(String::new(), |pointer, token| pointer + "/" + &token)
}

/// A name made from a path: lower case, underscores, no two the same.
fn name(path: &[&str], taken: &mut BTreeSet<String>) -> String {
    let mut words = vec![PREFIX.to_owned()];
    let told = path
        .iter()
        .enumerate()
        .filter(|(at, token)| at + 1 == path.len() || !BARE.contains(&&*token.to_lowercase()));
    for (_, token) in told {
        let plain = token.to_lowercase();
        let plain = plain
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty());
        words.extend(plain.map(str::to_owned));
    }
    words.dedup();
    let name: String = words.join("_").chars().take(NAME_CHARS_MAX).collect();
    let mut unique = name.clone();
    let mut number = 2;
    while !taken.insert(unique.clone()) {
        unique = format!("{name}_{number}");
        number += 1;
    }
    unique
}

fn toml(content: &str, proposal: &Proposal) -> String {
    let mapping = &proposal.mapping;
    let content = key(content);
    let mut lines = vec![
        "# A proposal from one sample. Keep the answers that the brand needs: each costs a data point.".to_owned(),
        format!("[outgrow.{content}]"),
        "workspace = \"NAME\"                # of [workspaces.NAME]".to_owned(),
    ];
    if let Some(id) = &mapping.id {
        lines.push(format!("id = {}", quoted(id)));
    }
    lines.push(match &mapping.email {
        Some(email) => format!("email = {}", quoted(email)),
        None => "# email = \"/…\"                   # none was found, and without it nobody knows whose answers they are".to_owned(),
    });
    lines.push("on_bad_answer = \"drop\"            # or \"dead\"".to_owned());
    lines.push(format!("[outgrow.{content}.attributes]"));
    for attribute in &mapping.attributes {
        lines.push(format!(
            "{} = {{ from = {}, type = \"{}\", required = false }}",
            key(&attribute.name),
            quoted(&attribute.from),
            word(attribute.kind)
        ));
    }
    for (from, what) in &proposal.left_out {
        lines.push(format!("# {}: {what}", quoted(from)));
    }
    lines.join("\n") + "\n"
}

fn document(content: &str, proposal: &Proposal) -> Value {
    let mapping = &proposal.mapping;
    let attributes: serde_json::Map<String, Value> = mapping
        .attributes
        .iter()
        .map(|it| {
            let mapped = json!({ "from": it.from, "type": word(it.kind), "required": it.required });
            (it.name.clone(), mapped)
        })
        .collect();
    let left_out: Vec<Value> = proposal
        .left_out
        .iter()
        .map(|(from, what)| json!({ "from": from, "found": what }))
        .collect();
    json!({
        "content": content, "id": mapping.id, "email": mapping.email, "attributes": attributes,
        "left_out": left_out, "toml": toml(content, proposal),
    })
}

/// The type's word in the configuration.
pub(super) const fn word(kind: AnswerKind) -> &'static str {
    match kind {
        AnswerKind::Number => "number",
        AnswerKind::String => "string",
        AnswerKind::Boolean => "boolean",
        AnswerKind::Array => "array",
        AnswerKind::Time => "time",
    }
}

/// A TOML key, bare where it may be.
fn key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.chars().all(bare) {
        name.to_owned()
    } else {
        quoted(name)
    }
}

/// A TOML basic string. JSON's escapes are TOML's, but for DEL.
fn quoted(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests may")]
mod tests {
    use super::*;
    use crate::config::{Config, Env};

    fn sample() -> Value {
        json!({
            "lead": {"id": "L-1", "email": "ada@b.example", "Full Name": "Ada"},
            "result": {"score": 87, "segment": "runner", "passed": true},
            "answers": {"styles": ["trail", "road"], "born": "1990-05-01", "a/b~c": "x", "rows": [{"q": 1}], "none": null},
            "data": {"score": 1.5},
        })
    }

    #[test]
    fn a_proposal_is_a_valid_content_that_writes_the_whole_sample() {
        let proposal = propose(&sample());
        let text = toml("shoe quiz", &proposal);
        assert!(text.contains("[outgrow.\"shoe quiz\"]"), "{text}");
        let text = toml("shoe-quiz", &proposal).replace("\"NAME\"", "\"acme\"");
        let text = format!(
            "[workspaces.acme.braze]\nurl = \"https://b.example\"\napi_key = \"k\"\n{text}"
        );
        let loaded = Config::from_toml(&text, &Env::default());
        let config = loaded
            .unwrap_or_else(|mistakes| panic!("{mistakes}\n{text}"))
            .config;
        let mapping = config
            .rules
            .content("shoe-quiz")
            .unwrap()
            .mapping
            .clone()
            .unwrap();
        assert_eq!(mapping, proposal.mapping);
        assert_eq!(mapping.id.as_deref(), Some("/lead/id"));
        assert_eq!(mapping.email.as_deref(), Some("/lead/email"));
        let mapped = mapping::map(&sample(), &mapping);
        assert_eq!(mapped.bad, []);
        assert_eq!(
            Value::from(mapped.attributes),
            json!({
                "outgrow_full_name": "Ada", "outgrow_score": 87, "outgrow_segment": "runner", "outgrow_passed": true,
                "outgrow_styles": ["trail", "road"], "outgrow_born": "1990-05-01", "outgrow_a_b_c": "x", "outgrow_score_2": 1.5,
            })
        );
        let left: Vec<_> = proposal.left_out.iter().map(|(from, _)| &**from).collect();
        assert_eq!(left, ["/answers/rows", "/answers/none"]);
    }

    #[test]
    fn types_are_guessed_as_braze_would_take_them() {
        for (value, kind) in [
            (json!("12-1-2021"), Some(AnswerKind::String)),
            (json!("2021-12-01T10:00:00Z"), Some(AnswerKind::Time)),
            (json!(""), Some(AnswerKind::String)),
            (json!(0), Some(AnswerKind::Number)),
            (json!([]), Some(AnswerKind::Array)),
            (json!([[1]]), None),
            (json!("x".repeat(256)), None),
            (json!(null), None),
        ] {
            assert_eq!(guess(&value).ok(), kind, "{value}");
        }
    }

    #[test]
    fn a_sample_without_an_e_mail_says_so() {
        let proposal = propose(&json!({"mail": "none", "x": 1}));
        assert_eq!(proposal.mapping.email, None);
        assert!(toml("q", &proposal).contains("# email = "));
        assert_eq!(document("q", &proposal)["email"], Value::Null);
    }
}
