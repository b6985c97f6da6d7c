//! A configuration as it was written: values, and where each of them stands.
//!
//! Invariants: every value knows its line or the variable that set it. There is no `Debug`: values may be secrets.

use toml_edit::{Datetime, Document, Item, TableLike};

use super::mistake::{Mistake, Mistakes};

/// Where a value was written.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// In the file, lines from 1.
    Line(usize),
    /// In the environment.
    Variable(String),
}

impl Place {
    pub(super) fn line(&self) -> usize {
        match self {
            Place::Line(line) => *line,
            Place::Variable(_) => 0,
        }
    }

    pub(super) fn variable(&self) -> Option<String> {
        match self {
            Place::Line(_) => None,
            Place::Variable(name) => Some(name.clone()),
        }
    }
}

/// A value and where it stands.
pub(super) struct Node {
    pub(super) at: Place,
    pub(super) value: Value,
}

pub(super) enum Value {
    Table(Table),
    Array(Vec<Node>),
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Moment(Datetime),
}

/// Keys in the order they were written, each with the place of the key itself.
#[derive(Default)]
pub(super) struct Table(pub(super) Vec<Entry>);

pub(super) struct Entry {
    pub(super) key: String,
    pub(super) at: Place,
    pub(super) node: Node,
}

impl Table {
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.key == key)
    }

    /// Puts `node` at `path`, making the tables on the way. Stops at a value that is no table: that is a mistake of
    /// its own, and must stay to be found.
    pub(super) fn set(&mut self, path: &[String], node: Node) {
        let Some((key, rest)) = path.split_first() else {
            return;
        };
        let at = node.at.clone();
        if rest.is_empty() {
            self.0.retain(|entry| entry.key != *key);
            self.0.push(Entry {
                key: key.clone(),
                at,
                node,
            });
            return;
        }
        let found = self.0.iter().position(|entry| entry.key == *key);
        let position = found.unwrap_or_else(|| {
            self.0.push(Entry {
                key: key.clone(),
                at: at.clone(),
                node: Node {
                    at,
                    value: Value::Table(Table::default()),
                },
            });
            self.0.len() - 1
        });
        if let Some(Value::Table(table)) =
            self.0.get_mut(position).map(|entry| &mut entry.node.value)
        {
            table.set(rest, node);
        }
    }
}

impl Node {
    /// What stands here, for a message: never longer than a line.
    pub(super) fn shown(&self) -> String {
        match &self.value {
            Value::Table(_) => "a table".into(),
            Value::Array(_) => "an array".into(),
            Value::Text(text) => quoted(text),
            Value::Integer(number) => format!("the integer {number}"),
            Value::Float(number) => format!("the number {number}"),
            Value::Boolean(truth) => format!("the boolean {truth}"),
            Value::Moment(moment) => format!("the date-time {moment}"),
        }
    }

    /// The kind of value, for a message about something that must not be shown.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Table(_) => "a table",
            Value::Array(_) => "an array",
            Value::Text(_) => "a string",
            Value::Integer(_) => "an integer",
            Value::Float(_) => "a number",
            Value::Boolean(_) => "a boolean",
            Value::Moment(_) => "a date-time",
        }
    }
}

/// `text` in quotes on one line, shortened.
pub(super) fn quoted(text: &str) -> String {
    const SHOWN_MAX: usize = 80;
    if text.chars().count() > SHOWN_MAX {
        let head: String = text.chars().take(SHOWN_MAX).collect();
        format!("{head:?}… ({} characters)", text.chars().count())
    } else {
        format!("{text:?}")
    }
}

/// Reads TOML. A syntax error is one mistake with its line; what stands in that line is not repeated, since it may
/// hold a secret.
pub(super) fn parse(text: &str) -> Result<Table, Mistakes> {
    let lines = Lines::new(text);
    let document = Document::parse(text).map_err(|error| {
        let at = Place::Line(error.span().map_or(1, |span| lines.of(span.start)));
        let mistake = if error.message().contains("duplicate key") {
            let key = error.span().and_then(|span| text.get(span)).unwrap_or("");
            Mistake::new(&at, key, "this key or table is written twice")
                .remedy("keep one of the two")
        } else {
            let problem = format!("this is not TOML: {}", one_line(error.message()));
            Mistake::new(&at, "", problem).remedy("nothing else was checked; see https://toml.io")
        };
        Mistakes(vec![mistake])
    })?;
    Ok(table(document.as_table(), &lines))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The value of a variable: TOML where it reads as TOML, else a string.
pub(super) fn from_variable(name: &str, text: &str) -> Node {
    let at = Place::Variable(name.to_owned());
    match text.trim().parse::<toml_edit::Value>() {
        Ok(value) => {
            let mut made = node(&Item::Value(value), &Lines::new(""), 0);
            place_all(&mut made, &at);
            made
        }
        Err(_) => Node {
            at,
            value: Value::Text(text.to_owned()),
        },
    }
}

fn place_all(node: &mut Node, at: &Place) {
    node.at = at.clone();
    match &mut node.value {
        Value::Table(table) => {
            for entry in &mut table.0 {
                entry.at = at.clone();
                place_all(&mut entry.node, at);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| place_all(item, at)),
        Value::Text(_)
        | Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Moment(_) => {}
    }
}

/// Byte offsets of line starts.
struct Lines(Vec<usize>);

impl Lines {
    fn new(text: &str) -> Lines {
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        Lines(std::iter::once(0).chain(ends).collect())
    }

    fn of(&self, offset: usize) -> usize {
        self.0.partition_point(|start| *start <= offset)
    }
}

fn table(from: &dyn TableLike, lines: &Lines) -> Table {
    let entries = from.iter().map(|(name, item)| {
        let key_line = from
            .key(name)
            .and_then(toml_edit::Key::span)
            .map(|span| lines.of(span.start));
        let node = node(item, lines, key_line.unwrap_or(0));
        let line = key_line.unwrap_or_else(|| node.at.line());
        Entry {
            key: name.to_owned(),
            at: Place::Line(line),
            node,
        }
    });
    Table(entries.collect())
}

/// `fallback`: the line of the key, for tables that are only implied and have no place of their own.
fn node(item: &Item, lines: &Lines, fallback: usize) -> Node {
    let line = item.span().map_or(fallback, |span| lines.of(span.start));
    let value = match item {
        Item::None => Value::Table(Table::default()),
        Item::Table(inner) => Value::Table(table(inner, lines)),
        Item::ArrayOfTables(tables) => Value::Array(
            tables
                .iter()
                .map(|inner| Node {
                    at: Place::Line(inner.span().map_or(fallback, |span| lines.of(span.start))),
                    value: Value::Table(table(inner, lines)),
                })
                .collect(),
        ),
        Item::Value(value) => match value {
            toml_edit::Value::String(text) => Value::Text(text.value().clone()),
            toml_edit::Value::Integer(number) => Value::Integer(*number.value()),
            toml_edit::Value::Float(number) => Value::Float(*number.value()),
            toml_edit::Value::Boolean(truth) => Value::Boolean(*truth.value()),
            toml_edit::Value::Datetime(moment) => Value::Moment(*moment.value()),
            toml_edit::Value::Array(items) => Value::Array(
                items
                    .iter()
                    .map(|item| node(&Item::Value(item.clone()), lines, line))
                    .collect(),
            ),
            toml_edit::Value::InlineTable(inner) => Value::Table(table(inner, lines)),
        },
    };
    Node {
        at: Place::Line(line),
        value,
    }
}
