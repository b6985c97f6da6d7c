//! `[outgrow.CONTENT]`: how a lead's answers become attributes.

use super::attributes::{Consent, name_fits};
use super::mistake::Mistake;
use super::read::Section;
use super::workspaces::{Known, plain_name};
use crate::model::Name;
use crate::model::rules::{AnswerKind, MappedAttribute, Mapping, RetryPolicy, Rules};

const TYPES: [(&str, AnswerKind); 5] = [
    ("number", AnswerKind::Number),
    ("string", AnswerKind::String),
    ("boolean", AnswerKind::Boolean),
    ("array", AnswerKind::Array),
    ("time", AnswerKind::Time),
];

pub(super) fn read<'a>(root: &Section<'a>, known: &Known<'a>, retry: RetryPolicy) -> Vec<Rules> {
    let sections = root.named("outgrow");
    let read = sections.iter().map(|(name, section)| {
        plain_name(section, name, "a content");
        let workspace = known.of_section(section);
        let mapping = mapping(section);
        Some(Rules {
            mapping: Some(mapping),
            retry,
            ..Rules::plain(*name, Name::from(workspace?))
        })
    });
    read.flatten().collect()
}

fn mapping(section: &Section<'_>) -> Mapping {
    let [id, email, external_id] = ["id", "email", "external_id"].map(|key| {
        let pointer = section.field(key)?.pointer()?;
        Some(pointer.to_owned())
    });
    if !section.has("email") && !section.has("external_id") {
        section.mistake(
            Mistake::new(&section.at, section.key("email"), "this key is required")
                .allowed("email, external_id, or both, each a JSON pointer such as \"/lead/email\"")
                .remedy("without one of them nobody knows whose answers they are"),
        );
    }
    if section.has("external_id") {
        section.context.notes.warn(
            &section.place("external_id"),
            section.key("external_id"),
            "must be the brand's own id of a person: an id that Braze does not know creates a profile",
        );
    }
    let on_bad_answer =
        section.choice_or("on_bad_answer", &[("drop", false), ("dead", true)], false);
    let attributes = attributes(section);
    if attributes.is_empty() {
        section.context.notes.warn(
            &section.at,
            section.key("attributes"),
            "no answer is mapped: leads are accepted, and nothing is written",
        );
    }
    Mapping {
        id,
        email,
        external_id,
        bad_answer_kills: on_bad_answer,
        attributes,
    }
}

fn attributes(section: &Section<'_>) -> Vec<MappedAttribute> {
    let Some(attributes) = section.table("attributes") else {
        return Vec::new();
    };
    let read = attributes.fields().map(|(name, place, field)| {
        let name_fits = name_fits(&attributes, name, &place, Consent::Forbidden);
        let mapping = field.section()?;
        let from = mapping
            .required("from", "from = \"/path/to/answer\", a JSON pointer")
            .and_then(|from| from.pointer());
        let kind = mapping
            .required("type", "type = \"string\", or what the answer is")
            .and_then(|kind| kind.choice(&TYPES));
        let coerce = mapping.boolean("coerce", false);
        let required = mapping.boolean("required", true);
        if !name_fits {
            return None;
        }
        Some(MappedAttribute {
            name: name.to_owned(),
            from: from?.to_owned(),
            kind: kind?,
            coerce,
            required,
        })
    });
    read.flatten().collect()
}
