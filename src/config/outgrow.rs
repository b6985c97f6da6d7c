//! `[outgrow.CONTENT]`: how a lead's answers become attributes. Checked whole; carried out by a later version.

use super::attributes::{Consent, name_fits};
use super::mistake::Mistake;
use super::read::Section;
use super::workspaces::{Known, plain_name};
use crate::model::Name;

const TYPES: [(&str, ()); 5] = [
    ("number", ()),
    ("string", ()),
    ("boolean", ()),
    ("array", ()),
    ("time", ()),
];

pub(super) fn read<'a>(root: &Section<'a>, known: &Known<'a>) -> Vec<Name> {
    let sections = root.named("outgrow");
    for (name, section) in &sections {
        plain_name(section, name, "a content");
        content(section, known);
        root.context
            .notes
            .not_yet(&section.at, section.path.clone(), "contents of Outgrow");
    }
    sections.into_iter().map(|(name, _)| name.into()).collect()
}

fn content<'a>(section: &Section<'a>, known: &Known<'a>) {
    known.of_section(section);
    for key in ["id", "email", "external_id"] {
        if let Some(field) = section.field(key) {
            field.pointer();
        }
    }
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
    section.choice("on_bad_answer", &[("drop", ()), ("dead", ())]);
    let Some(attributes) = section.table("attributes") else {
        return;
    };
    for (name, place, field) in attributes.fields() {
        name_fits(&attributes, name, &place, Consent::Forbidden);
        let Some(mapping) = field.section() else {
            continue;
        };
        let from = mapping.required("from", "from = \"/path/to/answer\", a JSON pointer");
        if let Some(from) = from {
            from.pointer();
        }
        let kind = mapping.required("type", "type = \"string\", or what the answer is");
        if let Some(kind) = kind {
            kind.choice(&TYPES);
        }
        mapping.boolean("coerce", false);
        mapping.boolean("required", true);
    }
}
