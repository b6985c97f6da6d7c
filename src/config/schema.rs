//! Every key there is, and where it belongs: what unknown keys, overrides and the example are held against.
//!
//! Invariants: names only. What a key means is said in the example; what it may hold, where it is read.

use super::mistake::{Mistake, Notes, nearest};
use super::tree::{Table, Value};

/// What may stand at a place.
pub(super) enum Shape {
    /// A string.
    Text,
    /// Any other single value, or an array of them.
    Value,
    /// Key `x` stands for `x`, `x_env` and `x_file`.
    Secret,
    /// An array of secrets, each a table with these keys.
    Secrets(&'static [Key]),
    /// These keys.
    Table(&'static [Key]),
    /// Any names, each with these keys.
    Named(&'static [Key]),
    /// Any names with any values.
    Free,
}

pub(super) type Key = (&'static str, Shape);

use Shape::{Free, Named, Secret, Secrets, Text};

pub(super) const ROOT: &[Key] = &[
    ("ingest", Shape::Table(INGEST)),
    ("ops", Shape::Table(OPS)),
    ("store", Shape::Table(STORE)),
    ("serve", Shape::Table(&[("stop_within", Text)])),
    ("retry", Shape::Table(RETRY)),
    (
        "telemetry",
        Shape::Table(&[("otlp_endpoint", Text), ("otlp_sample", Shape::Value)]),
    ),
    ("workspaces", Named(WORKSPACE)),
    ("activations", Named(ACTIVATION)),
    ("outgrow", Named(CONTENT)),
];

const INGEST: &[Key] = &[
    ("listen", Text),
    ("max_body_bytes", Shape::Value),
    ("max_event_bytes", Shape::Value),
    ("max_batch", Shape::Value),
    ("tls_cert_file", Text),
    ("tls_key_file", Text),
    (
        "sources",
        Shape::Table(&[
            ("quikly", Shape::Table(SOURCE)),
            ("outgrow", Shape::Table(SOURCE)),
            ("braze", Shape::Table(SOURCE)),
        ]),
    ),
];

const SOURCE: &[Key] = &[
    ("tokens", Secrets(SECRET)),
    ("signing_secrets", Secrets(SECRET)),
];

const SECRET: &[Key] = &[("env", Text), ("file", Text), ("value", Text)];

const OPS: &[Key] = &[
    ("listen", Text),
    (
        "tokens",
        Secrets(&[
            ("env", Text),
            ("file", Text),
            ("value", Text),
            ("role", Text),
        ]),
    ),
];

const STORE: &[Key] = &[
    ("engine", Text),
    ("path", Text),
    ("url", Secret),
    ("cache_bytes", Shape::Value),
    ("max_jobs", Shape::Value),
    ("reserve_bytes", Shape::Value),
    ("ballast_bytes", Shape::Value),
    ("event_dedupe", Text),
    ("credit_dedupe", Text),
    ("webhook_dedupe", Text),
    ("done_retention", Text),
    ("dead_retention", Text),
];

const RETRY: &[Key] = &[
    ("first", Text),
    ("max", Text),
    ("max_attempts", Shape::Value),
    ("max_age", Text),
    ("hold_after", Shape::Value),
];

const WORKSPACE: &[Key] = &[
    ("brand", Text),
    ("braze", Shape::Table(BRAZE)),
    ("quikly", Shape::Table(QUIKLY)),
];

const BRAZE: &[Key] = &[
    ("url", Text),
    ("api_key", Secret),
    ("share", Shape::Value),
    ("timeout", Text),
    ("max_in_flight", Shape::Value),
    ("track_objects_max", Shape::Value),
    ("linger", Text),
    ("order_gap", Text),
    ("partner", Text),
    ("known_for", Text),
    (
        "limits",
        Shape::Table(&[
            ("users_track", Shape::Value),
            ("users_export_ids", Shape::Value),
            ("subscription_status_set", Shape::Value),
            ("users_delete", Shape::Value),
            ("default", Shape::Value),
        ]),
    ),
];

const QUIKLY: &[Key] = &[
    ("url", Text),
    ("token", Secret),
    ("limit", Shape::Value),
    ("max_in_flight", Shape::Value),
    ("timeout", Text),
];

const ACTIVATION: &[Key] = &[
    ("workspace", Text),
    ("flow", Text),
    ("identity", Text),
    ("subscribe", Text),
    ("subscription_group_id", Text),
    ("subscription_delay", Text),
    ("phone_mismatch", Text),
    (
        "confirm_every",
        Shape::Table(&[("first", Text), ("max", Text), ("within", Text)]),
    ),
    (
        "opt_in",
        Shape::Table(&[
            ("event", Text),
            ("use_double_opt_in_logic", Shape::Value),
            ("on_unknown", Text),
        ]),
    ),
    (
        "credit",
        Shape::Table(&[("event", Text), ("on_unknown", Text)]),
    ),
    ("mark_attributes", Free),
    ("created_attributes", Free),
    (
        "created_event",
        Shape::Table(&[("name", Text), ("on_unknown", Text)]),
    ),
    ("progress", Shape::Table(&[("on_unknown", Text)])),
];

const CONTENT: &[Key] = &[
    ("workspace", Text),
    ("id", Text),
    ("email", Text),
    ("external_id", Text),
    ("on_bad_answer", Text),
    (
        "attributes",
        Named(&[
            ("from", Text),
            ("type", Text),
            ("coerce", Shape::Value),
            ("required", Shape::Value),
        ]),
    ),
];

/// The three ways to give the secret `key`.
pub(super) fn secret_forms(key: &str) -> [String; 3] {
    [key.to_owned(), format!("{key}_env"), format!("{key}_file")]
}

/// The keys as they are written, with the shape of each.
pub(super) fn written(keys: &'static [Key]) -> Vec<(String, &'static Shape)> {
    let mut all = Vec::new();
    for (name, shape) in keys {
        match shape {
            Shape::Secret => {
                all.extend(secret_forms(name).map(|form| (form, &Shape::Text)));
            }
            Shape::Text
            | Shape::Value
            | Shape::Secrets(_)
            | Shape::Table(_)
            | Shape::Named(_)
            | Shape::Free => all.push(((*name).to_owned(), shape)),
        }
    }
    all
}

/// Notes every key of `table` that is not among `keys`, at every depth. `path` ends in a dot, or is empty.
pub(super) fn note_unknown(table: &Table, keys: &'static [Key], path: &str, notes: &Notes) {
    let known = written(keys);
    for entry in &table.0 {
        let full = format!("{path}{}", entry.key);
        let Some((_, shape)) = known.iter().find(|(name, _)| *name == entry.key) else {
            let names: Vec<&str> = known.iter().map(|(name, _)| name.as_str()).collect();
            let near = nearest(&entry.key, names.iter().copied());
            let elsewhere = places_of(&entry.key);
            let mut mistake = Mistake::new(&entry.at, full, "unknown key")
                .found(format!("`{}`", entry.key))
                .allowed(names.join(", "))
                .nearest(near);
            mistake.remedy = Some(if elsewhere.is_empty() {
                "rename it or take it out".into()
            } else {
                format!("this key belongs in {}", elsewhere.join(", "))
            });
            notes.mistake(mistake);
            continue;
        };
        match (shape, &entry.node.value) {
            (Shape::Table(keys), Value::Table(inner)) => {
                note_unknown(inner, keys, &format!("{full}."), notes);
            }
            (Shape::Named(keys), Value::Table(names)) => {
                for named in &names.0 {
                    if let Value::Table(inner) = &named.node.value {
                        note_unknown(inner, keys, &format!("{full}.{}.", named.key), notes);
                    }
                }
            }
            (Shape::Secrets(keys), Value::Array(items)) => {
                for (at, item) in items.iter().enumerate() {
                    if let Value::Table(inner) = &item.value {
                        note_unknown(inner, keys, &format!("{full}[{at}]."), notes);
                    }
                }
            }
            // A value of the wrong type is named where it is read.
            _ => {}
        }
    }
}

/// The tables in which `key` is known, as headers.
fn places_of(key: &str) -> Vec<String> {
    fn search(key: &str, keys: &'static [Key], path: &str, found: &mut Vec<String>) {
        for (name, shape) in written(keys) {
            if name == key && !path.is_empty() {
                found.push(format!("[{path}]"));
            }
            let path = match path {
                "" => name,
                path => format!("{path}.{name}"),
            };
            match shape {
                Shape::Table(keys) => search(key, keys, &path, found),
                Shape::Named(keys) => search(key, keys, &format!("{path}.NAME"), found),
                Shape::Text | Shape::Value | Shape::Secret | Shape::Secrets(_) | Shape::Free => {}
            }
        }
    }
    let mut found = Vec::new();
    search(key, ROOT, "", &mut found);
    found
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests may")]
mod tests {
    use std::collections::BTreeSet;

    use super::super::env::Env;
    use super::super::tree::{Node, Place, parse};
    use super::super::{Config, EXAMPLE};
    use super::*;

    /// Every key there is: `*` for a name, `x` for the three forms of a secret, `x[].secret` for those in a list.
    fn all(keys: &'static [Key], path: &str, found: &mut BTreeSet<String>) {
        for (name, shape) in keys {
            let here = format!("{path}{name}");
            match shape {
                Shape::Text | Shape::Value | Shape::Secret | Shape::Free => {
                    found.insert(here);
                }
                Shape::Secrets(keys) => {
                    for (name, _) in *keys {
                        found.insert(format!("{here}[].{}", in_list(name)));
                    }
                }
                Shape::Table(keys) => all(keys, &format!("{here}."), found),
                Shape::Named(keys) => all(keys, &format!("{here}.*."), found),
            }
        }
    }

    fn in_list(name: &str) -> &str {
        match name {
            "env" | "file" | "value" => "secret",
            name => name,
        }
    }

    /// The keys in `table`, in the same words.
    fn shown(table: &Table, keys: &'static [Key], path: &str, found: &mut BTreeSet<String>) {
        for entry in &table.0 {
            let fits = |(name, shape): &&(&str, Shape)| {
                *name == entry.key
                    || matches!(shape, Shape::Secret) && secret_forms(name).contains(&entry.key)
            };
            let Some((name, shape)) = keys.iter().find(fits) else {
                panic!("the example shows {path}{}, which nobody reads", entry.key);
            };
            let here = format!("{path}{name}");
            match (shape, &entry.node.value) {
                (Shape::Secrets(_), Value::Array(items)) => {
                    for item in items {
                        let Value::Table(item) = &item.value else {
                            panic!("{here}")
                        };
                        found.extend(
                            item.0
                                .iter()
                                .map(|e| format!("{here}[].{}", in_list(&e.key))),
                        );
                    }
                }
                (Shape::Table(keys), Value::Table(inner)) => {
                    shown(inner, keys, &format!("{here}."), found);
                }
                (Shape::Named(keys), Value::Table(names)) => {
                    for named in &names.0 {
                        let Value::Table(inner) = &named.node.value else {
                            panic!("{here}")
                        };
                        shown(inner, keys, &format!("{here}.*."), found);
                    }
                }
                _ => {
                    found.insert(here);
                }
            }
        }
    }

    #[test]
    fn the_example_and_the_parser_know_the_same_keys() {
        let mut header = String::new();
        let mut in_example = BTreeSet::new();
        for line in EXAMPLE.lines() {
            let bare = line.trim_start_matches('#').trim();
            let word = bare.split(' ').next().unwrap_or_default();
            let is_key = bare
                .strip_prefix(word)
                .is_some_and(|rest| rest.starts_with(" = "))
                && word
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            if line.starts_with('[') {
                line.clone_into(&mut header);
            } else if is_key {
                let tree = parse(&format!("{header}\n{bare}")).unwrap();
                shown(&tree, ROOT, "", &mut in_example);
            }
        }
        let mut known = BTreeSet::new();
        all(ROOT, "", &mut known);
        assert_eq!(one_source(in_example), one_source(known));
    }

    /// The example says everything about sources at the first of them.
    fn one_source(keys: BTreeSet<String>) -> BTreeSet<String> {
        let to_first = |key: String| {
            key.replace("sources.outgrow", "sources.quikly")
                .replace("sources.braze", "sources.quikly")
        };
        keys.into_iter().map(to_first).collect()
    }

    fn truth() -> Node {
        Node {
            at: Place::Line(7777),
            value: Value::Boolean(true),
        }
    }

    /// Sets each key in turn to what it cannot be.
    fn each_is_read(keys: &'static [Key], path: &[&str]) {
        for (name, shape) in written(keys) {
            let here: Vec<&str> = path.iter().copied().chain([name.as_str()]).collect();
            let table = || Node {
                at: Place::Line(7777),
                value: Value::Table(Table::default()),
            };
            match shape {
                Shape::Text | Shape::Value | Shape::Secret => must_complain(&here, table()),
                Shape::Free => must_complain(&here, truth()),
                Shape::Secrets(keys) => {
                    must_complain(&here, table());
                    for (name, _) in *keys {
                        let mut item = Table::default();
                        item.set(&[(*name).to_owned()], table());
                        let list = Value::Array(vec![Node {
                            at: Place::Line(7777),
                            value: Value::Table(item),
                        }]);
                        let at = Place::Line(7777);
                        must_complain(&here, Node { at, value: list });
                    }
                }
                Shape::Table(keys) => {
                    must_complain(&here, truth());
                    each_is_read(keys, &here);
                }
                Shape::Named(keys) => {
                    must_complain(&here, truth());
                    let named = match name.as_str() {
                        "workspaces" => "acme",
                        "activations" => "vip-list",
                        "outgrow" => "shoe-quiz",
                        _ => "outgrow_quiz_score",
                    };
                    let inner: Vec<&str> = here.iter().copied().chain([named]).collect();
                    each_is_read(keys, &inner);
                }
            }
        }
    }

    fn must_complain(path: &[&str], node: Node) {
        let names = [
            "RELAY_QUIKLY_TOKEN",
            "RELAY_OUTGROW_TOKEN",
            "RELAY_BRAZE_WEBHOOK_TOKEN",
            "ACME_BRAZE_KEY",
            "ACME_QUIKLY_TOKEN",
        ];
        let env = Env::from_pairs(names.map(|name| (name, name)));
        let mut tree = parse(EXAMPLE).unwrap();
        let path: Vec<String> = path.iter().map(|&part| part.to_owned()).collect();
        tree.set(&path, node);
        let key = path.join(".");
        let Err(mistakes) = Config::from_tree(tree, &env) else {
            panic!("nobody reads {key}");
        };
        let at_key = |line: usize, found: &str| {
            line == 7777
                && found.starts_with(key.trim_end_matches("_env").trim_end_matches("_file"))
        };
        assert!(
            mistakes
                .0
                .iter()
                .any(|mistake| at_key(mistake.line, &mistake.key)),
            "nobody reads {key}: {mistakes}"
        );
    }

    #[test]
    fn every_key_is_read_and_not_only_known() {
        each_is_read(ROOT, &[]);
    }
}
