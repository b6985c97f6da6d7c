//! The configuration as it is followed, fit to be shown: every key with its value and where that comes from.
//!
//! Invariants: no secret is in it, only how each was given. Names of variables and files are not secret: they were found
//! under these names.

use std::collections::BTreeMap;

use serde::Serialize;

use super::schema::{Key, Shape, secret_forms};
use super::tree::{Node, Place, Table, Value};

/// What stands for a secret.
pub const MASK: &str = "•••";

/// A table of the configuration, as it is followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Its header, such as `workspaces.acme.braze`.
    pub table: String,
    /// Its keys: those that are given first.
    pub settings: Vec<Setting>,
}

/// A key and what it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// The key.
    pub key: String,
    /// Its value, as it would be written; [`MASK`] for a secret.
    pub value: String,
    /// `line N`, the environment variable that set it, or `default`.
    pub from: String,
}

/// Gathers the tables in the order of the schema.
#[derive(Default)]
pub(super) struct Gathered(Vec<Part>);

impl Gathered {
    /// Everything that is written in `table`.
    pub(super) fn written(&mut self, table: &Table, keys: &'static [Key], path: &str) {
        for (key, shape) in keys {
            let secret = secret_forms(key);
            let forms = match shape {
                Shape::Secret => secret.as_slice(),
                _ => &secret[..1],
            };
            for entry in forms.iter().filter_map(|form| table.get(form)) {
                let inner = join(path, &entry.key);
                match (shape, &entry.node.value) {
                    (Shape::Table(keys), Value::Table(table)) => self.written(table, keys, &inner),
                    (Shape::Named(keys), Value::Table(names)) => {
                        for named in &names.0 {
                            if let Value::Table(table) = &named.node.value {
                                let inner = join(&inner, &named.key);
                                self.part(&inner);
                                self.written(table, keys, &inner);
                            }
                        }
                    }
                    (Shape::Secret, _) if entry.key == *key => {
                        self.note(path, &entry.key, MASK.into(), from(&entry.at));
                    }
                    (Shape::Secrets(_), node) => {
                        self.note(path, &entry.key, masked(node), from(&entry.at));
                    }
                    (_, _) => self.note(path, &entry.key, shown(&entry.node), from(&entry.at)),
                }
            }
        }
    }

    /// What is followed where nothing is written.
    pub(super) fn left_out(&mut self, path: &str, key: &str, value: String) {
        self.note(path, key, value, "default".into());
    }

    fn note(&mut self, path: &str, key: &str, value: String, from: String) {
        let key = key.to_owned();
        let settings = &mut self.part(path).settings;
        if settings.iter().all(|known| known.key != key) {
            settings.push(Setting { key, value, from });
        }
    }

    fn part(&mut self, table: &str) -> &mut Part {
        let known = self.0.iter().position(|part| part.table == table);
        let at = known.unwrap_or_else(|| {
            self.0.push(Part {
                table: table.to_owned(),
                settings: Vec::new(),
            });
            self.0.len() - 1
        });
        &mut self.0[at]
    }

    /// All of it; tables that lie in each other stand together.
    pub(super) fn close(self) -> Vec<Part> {
        let mut first = BTreeMap::new();
        for (at, part) in self.0.iter().enumerate() {
            first.entry(root(&part.table).to_owned()).or_insert(at);
        }
        let mut parts = self.0;
        parts.retain(|part| !part.settings.is_empty());
        parts
            .sort_by_cached_key(|part| (first.get(root(&part.table)).copied(), part.table.clone()));
        parts
    }
}

/// The first word of a path.
fn root(path: &str) -> &str {
    path.split('.').next().unwrap_or(path)
}

fn join(path: &str, key: &str) -> String {
    match path {
        "" => key.to_owned(),
        path => format!("{path}.{key}"),
    }
}

fn from(at: &Place) -> String {
    match at {
        Place::Line(line) => format!("line {line}"),
        Place::Variable(name) => name.clone(),
    }
}

/// A list of secrets, each by how it was given.
fn masked(list: &Value) -> String {
    let Value::Array(items) = list else {
        return MASK.into();
    };
    let item = |item: &Node| match &item.value {
        Value::Table(table) => {
            let pairs = table.0.iter().map(|entry| match entry.key.as_str() {
                "env" | "file" | "role" => format!("{} = {}", entry.key, shown(&entry.node)),
                key => format!("{key} = {MASK}"),
            });
            format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
        }
        _ => MASK.into(),
    };
    format!(
        "[{}]",
        items.iter().map(item).collect::<Vec<_>>().join(", ")
    )
}

/// A value as it would be written.
fn shown(node: &Node) -> String {
    match &node.value {
        Value::Table(table) => {
            let pairs = table.0.iter();
            let pairs = pairs.map(|entry| format!("{} = {}", entry.key, shown(&entry.node)));
            format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
        }
        Value::Array(items) => {
            format!(
                "[{}]",
                items.iter().map(shown).collect::<Vec<_>>().join(", ")
            )
        }
        Value::Text(text) => format!("{text:?}"),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(truth) => truth.to_string(),
        Value::Moment(moment) => moment.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests may")]

    use crate::config::{Config, Env};

    #[test]
    fn everything_is_shown_with_where_it_comes_from_and_no_secret_is() {
        let text = r#"
            [ops]
            tokens = [{ value = "ops-s3cret", role = "operator" }, { env = "OPS", role = "viewer" }]
            [workspaces.acme.braze]
            url = "http://127.0.0.1:1"
            api_key = "braze-s3cret"
            share = 0.5
            [workspaces.acme.quikly]
            url = "http://127.0.0.1:2"
            token_env = "QUIKLY"
            [activations.spring]
            workspace = "acme"
            flow = "email"
            mark_attributes = { spring = true }
        "#;
        let env = Env::from_pairs([
            ("OPS", "env-s3cret-1"),
            ("QUIKLY", "env-s3cret-2"),
            ("RELAY__STORE__MAX_JOBS", "1000"),
        ]);
        let config = Config::from_toml(text, &env).unwrap().config;
        let told: Vec<String> = config
            .effective
            .iter()
            .flat_map(|part| {
                let settings = part.settings.iter();
                settings.map(|it| format!("{}.{} = {} ({})", part.table, it.key, it.value, it.from))
            })
            .collect();
        let all = told.join("\n");
        assert!(!all.contains("s3cret"), "{all}");
        for line in [
            "ops.tokens = [{ value = •••, role = \"operator\" }, { env = \"OPS\", role = \"viewer\" }] (line 3)",
            "workspaces.acme.braze.api_key = ••• (line 6)",
            "workspaces.acme.braze.share = 0.5 (line 7)",
            "workspaces.acme.braze.order_gap = \"2s\" (default)",
            "workspaces.acme.braze.limits.users_track = [\"3000/3s\"] (default)",
            "workspaces.acme.quikly.token_env = \"QUIKLY\" (line 10)",
            "store.max_jobs = 1000 (RELAY__STORE__MAX_JOBS)",
            "store.credit_dedupe = \"400d\" (default)",
            "ingest.listen = \"127.0.0.1:8080\" (default)",
            "activations.spring.mark_attributes = { spring = true } (line 14)",
            "activations.spring.identity = \"export\" (default)",
        ] {
            assert!(
                told.iter().any(|it| it == line),
                "{line} is not among\n{all}"
            );
        }
        let once: std::collections::BTreeSet<_> =
            told.iter().map(|it| it.split(" = ").next()).collect();
        assert_eq!(once.len(), told.len(), "{all}");
    }
}
