//! The environment: where secrets may be, and overrides of single keys as `RELAY__INGEST__LISTEN=…`.
//!
//! Invariants: read once, at the start; `Debug` shows names only. A variable that begins with `RELAY__` and names no
//! key is a mistake: an override that silently does nothing is worse than none.

use std::collections::BTreeMap;
use std::fmt;

use super::mistake::{Mistake, Notes, nearest};
use super::schema::{self, Key, ROOT, Shape, secret_forms, written};
use super::tree::{Node, Place, Table, Value, from_variable};

/// What overrides begin with.
pub const PREFIX: &str = "RELAY__";

/// Environment variables as they were at one moment.
#[derive(Clone, Default)]
pub struct Env(BTreeMap<String, String>);

impl Env {
    /// Those of this process. What is not UTF-8 is taken over with replacement characters.
    pub fn from_process() -> Env {
        let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        Env(std::env::vars_os()
            .map(|(name, value)| (lossy(name), lossy(value)))
            .collect())
    }

    /// These and no others.
    pub fn from_pairs<N: Into<String>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Env {
        Env(pairs
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect())
    }

    /// The value of `name`, if it is set.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn overrides(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.0.iter().filter_map(|(name, value)| {
            let (head, rest) = name.split_at_checked(PREFIX.len())?;
            head.eq_ignore_ascii_case(PREFIX)
                .then_some((name.as_str(), rest, value.as_str()))
        })
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Something a variable can name: a key, with the names that the file has.
struct Target {
    path: Vec<String>,
    /// A string is expected: `1234` is then the text, not the number.
    text: bool,
    /// The other ways of giving the same secret; an override displaces them.
    displaces: Vec<Vec<String>>,
}

impl Target {
    fn variable(&self) -> String {
        format!("{PREFIX}{}", self.path.join("__"))
    }
}

/// Puts the overrides of `env` into `tree`.
pub(super) fn apply(tree: &mut Table, env: &Env, notes: &Notes) {
    let mut targets = Vec::new();
    gather(&mut targets, ROOT, Some(tree), &[]);
    let mut applied: BTreeMap<Vec<String>, String> = BTreeMap::new();
    for (variable, rest, value) in env.overrides() {
        let at = Place::Variable(variable.to_owned());
        match find(&targets, rest) {
            Found::One(target) => {
                if let Some(first) = applied.insert(target.path.clone(), variable.to_owned()) {
                    let text = format!("{first} sets the same key");
                    notes.mistake(
                        Mistake::new(&at, target.path.join("."), text).remedy("unset one of them"),
                    );
                    continue;
                }
                for other in &target.displaces {
                    remove_from_file(tree, other);
                }
                let mut node = from_variable(variable, value);
                if target.text && !matches!(node.value, Value::Text(_)) {
                    node = Node {
                        at,
                        value: Value::Text(value.to_owned()),
                    };
                }
                tree.set(&target.path, node);
            }
            Found::Several(names) => notes.mistake(
                Mistake::new(&at, "", "this variable names more than one key")
                    .found(names.join(", "))
                    .remedy("write the name with the case and the dashes it has in the file"),
            ),
            Found::None => {
                let all: Vec<String> = targets.iter().map(Target::variable).collect();
                let near = nearest(variable, all.iter().map(String::as_str));
                notes.mistake(
                    Mistake::new(&at, "", "this variable names no key")
                        .allowed("RELAY__ and the key's path, with a double underscore between levels; names of workspaces, activations and contents must be in the file")
                        .nearest(near.map(|name| name.to_uppercase().replace('-', "_")))
                        .remedy("rename or unset it"),
                );
            }
        }
    }
}

enum Found<'t> {
    One(&'t Target),
    Several(Vec<String>),
    None,
}

/// The target that `rest` names: exactly, else whatever the case, else with any other mark read as `_`.
fn find<'t>(targets: &'t [Target], rest: &str) -> Found<'t> {
    let folded = |text: &str| text.to_lowercase();
    let loose = |text: &str| -> String {
        let plain = |c: char| if c.is_alphanumeric() { c } else { '_' };
        text.to_lowercase().chars().map(plain).collect()
    };
    let exact = |text: &str| text.to_owned();
    let tiers: [&dyn Fn(&str) -> String; 3] = [&exact, &folded, &loose];
    for tier in tiers {
        let wanted = tier(rest);
        let fits: Vec<&Target> = targets
            .iter()
            .filter(|target| tier(&target.path.join("__")) == wanted)
            .collect();
        match fits.as_slice() {
            [] => {}
            [one] => return Found::One(one),
            several => {
                return Found::Several(several.iter().map(|t| t.path.join(".")).collect());
            }
        }
    }
    Found::None
}

fn gather(targets: &mut Vec<Target>, keys: &'static [Key], tree: Option<&Table>, path: &[String]) {
    let below =
        |name: &str| -> Vec<String> { path.iter().cloned().chain([name.to_owned()]).collect() };
    let inner = |name: &str| {
        tree.and_then(|table| table.get(name))
            .and_then(|entry| match &entry.node.value {
                Value::Table(table) => Some(table),
                _ => None,
            })
    };
    for (name, shape) in keys {
        if let Shape::Secret = shape {
            let forms = secret_forms(name);
            for form in &forms {
                targets.push(Target {
                    path: below(form),
                    text: true,
                    displaces: forms
                        .iter()
                        .filter(|other| *other != form)
                        .map(|other| below(other))
                        .collect(),
                });
            }
        }
    }
    for (name, shape) in written(keys) {
        let here = below(&name);
        match shape {
            Shape::Table(keys) => gather(targets, keys, inner(&name), &here),
            Shape::Named(keys) => {
                for entry in inner(&name).map_or(&[][..], |table| &table.0) {
                    let named: Vec<String> =
                        here.iter().cloned().chain([entry.key.clone()]).collect();
                    let table = match &entry.node.value {
                        Value::Table(table) => Some(table),
                        _ => None,
                    };
                    gather(targets, keys, table, &named);
                }
            }
            Shape::Free => {
                for entry in inner(&name).map_or(&[][..], |table| &table.0) {
                    targets.push(Target {
                        path: here.iter().cloned().chain([entry.key.clone()]).collect(),
                        text: false,
                        displaces: Vec::new(),
                    });
                }
            }
            schema::Shape::Text | Shape::Value | Shape::Secret | Shape::Secrets(_) => {}
        }
        let known_as_secret = targets.iter().any(|target| target.path == here);
        if !known_as_secret {
            targets.push(Target {
                path: here,
                text: matches!(shape, Shape::Text),
                displaces: Vec::new(),
            });
        }
    }
}

fn remove_from_file(tree: &mut Table, path: &[String]) {
    match path {
        [] => {}
        [key] => tree
            .0
            .retain(|entry| entry.key != *key || entry.node.at.variable().is_some()),
        [key, rest @ ..] => {
            if let Some(entry) = tree.0.iter_mut().find(|entry| entry.key == *key)
                && let Value::Table(table) = &mut entry.node.value
            {
                remove_from_file(table, rest);
            }
        }
    }
}
