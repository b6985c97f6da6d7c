//! Reading tables: what is there, what is missing, and defaults for what may be left out.
//!
//! Invariants: every method notes its mistakes and goes on, so that one reading finds them all; what it returns then
//! only fills a place in a configuration that is thrown away.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::Limit;
use super::env::Env;
use super::field::Field;
use super::mistake::{Mistake, Notes};
use super::tree::{Place, Table};

static EMPTY: Table = Table(Vec::new());

/// What all readers share.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) env: &'a Env,
    pub(super) notes: &'a Notes,
}

/// One table being read.
#[derive(Clone)]
pub(super) struct Section<'a> {
    pub(super) context: Context<'a>,
    table: &'a Table,
    pub(super) at: Place,
    pub(super) path: String,
}

impl<'a> Section<'a> {
    /// `table`, found at `at` under `path`.
    pub(super) fn new(
        context: Context<'a>,
        table: &'a Table,
        at: Place,
        path: String,
    ) -> Section<'a> {
        Section {
            context,
            table,
            at,
            path,
        }
    }

    pub(super) fn root(context: Context<'a>, table: &'a Table) -> Section<'a> {
        Section {
            context,
            table,
            at: Place::Line(1),
            path: String::new(),
        }
    }

    /// The full path of `key` here.
    pub(super) fn key(&self, key: &str) -> String {
        match self.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.get(key).is_some()
    }

    /// Where `key` stands; where it is missing, where its table stands.
    pub(super) fn place(&self, key: &str) -> Place {
        self.table
            .get(key)
            .map_or_else(|| self.at.clone(), |entry| entry.at.clone())
    }

    pub(super) fn mistake(&self, mistake: Mistake) {
        self.context.notes.mistake(mistake);
    }

    pub(super) fn field(&self, key: &str) -> Option<Field<'a>> {
        self.table.get(key).map(|entry| Field {
            context: self.context,
            node: &entry.node,
            path: self.key(key),
        })
    }

    /// The value at `key`; where there is none, what is followed instead is noted for whoever wants to see it.
    pub(super) fn or_default<T: Display>(
        &self,
        key: &str,
        shown: impl FnOnce() -> T,
    ) -> Option<Field<'a>> {
        let field = self.field(key);
        if field.is_none() {
            self.context.notes.left_out(&self.path, key, shown());
        }
        field
    }

    /// As [`Section::field`]; a missing key is a mistake.
    pub(super) fn required(&self, key: &str, remedy: &str) -> Option<Field<'a>> {
        let field = self.field(key);
        if field.is_none() {
            self.mistake(
                Mistake::new(&self.at, self.key(key), "this key is required").remedy(remedy),
            );
        }
        field
    }

    /// The table `key`, if it is there.
    pub(super) fn table(&self, key: &str) -> Option<Section<'a>> {
        self.field(key)?.section()
    }

    /// The table `key`; an empty one, standing here, if it is not there.
    pub(super) fn table_or_empty(&self, key: &str) -> Section<'a> {
        self.table(key).unwrap_or_else(|| Section {
            context: self.context,
            table: &EMPTY,
            at: self.at.clone(),
            path: self.key(key),
        })
    }

    /// Everything in the table, with the place of each key.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&'a str, Place, Field<'a>)> + '_ {
        self.table.0.iter().map(|entry| {
            let field = Field {
                context: self.context,
                node: &entry.node,
                path: self.key(&entry.key),
            };
            (entry.key.as_str(), entry.at.clone(), field)
        })
    }

    /// The tables in the table `key`, by name.
    pub(super) fn named(&self, key: &str) -> Vec<(&'a str, Section<'a>)> {
        let Some(names) = self.table(key) else {
            return Vec::new();
        };
        names
            .fields()
            .filter_map(|(name, _, field)| Some((name, field.section()?)))
            .collect()
    }

    pub(super) fn duration(&self, key: &str, default: Duration) -> Duration {
        let shown = || written(default);
        let field = self.or_default(key, shown);
        field.and_then(|field| field.duration()).unwrap_or(default)
    }

    pub(super) fn integer(&self, key: &str, default: u64, range: RangeInclusive<u64>) -> u64 {
        let field = self.or_default(key, || default);
        field
            .and_then(|field| field.integer(range))
            .unwrap_or(default)
    }

    /// As [`Section::integer`], for what is counted in memory.
    pub(super) fn size(&self, key: &str, default: u64, range: RangeInclusive<u64>) -> usize {
        usize::try_from(self.integer(key, default, range)).unwrap_or(usize::MAX)
    }

    pub(super) fn boolean(&self, key: &str, default: bool) -> bool {
        let field = self.or_default(key, || default);
        field.and_then(|field| field.boolean()).unwrap_or(default)
    }

    /// One of these words; `None` when it is not there (or wrong).
    pub(super) fn choice<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Option<T> {
        self.field(key)?.choice(words)
    }

    /// One of `words`, the word for `default` when nothing is said.
    pub(super) fn choice_or<T: Copy + PartialEq>(
        &self,
        key: &str,
        words: &[(&str, T)],
        default: T,
    ) -> T {
        let word = words.iter().find(|(_, value)| *value == default);
        let shown = || format!("{:?}", word.map_or("", |(word, _)| word));
        let field = self.or_default(key, shown);
        field
            .and_then(|field| field.choice(words))
            .unwrap_or(default)
    }

    pub(super) fn listen(&self, default: SocketAddr) -> SocketAddr {
        let Some(field) = self.or_default("listen", || format!("{:?}", default.to_string())) else {
            return default;
        };
        let Some(text) = field.text() else {
            return default;
        };
        text.parse().unwrap_or_else(|_| {
            field.wrong(
                "not an address to listen on",
                "an IP address and a port, such as \"127.0.0.1:8080\" or \"[::]:8080\"",
            );
            default
        })
    }

    /// The windows in the list `key`.
    pub(super) fn limits(&self, key: &str, default: &[Limit]) -> Vec<Limit> {
        let shown = || {
            let all: Vec<String> = default.iter().map(|limit| format!("\"{limit}\"")).collect();
            format!("[{}]", all.join(", "))
        };
        self.or_default(key, shown)
            .and_then(|field| field.limits())
            .unwrap_or_else(|| default.to_vec())
    }
}

/// A duration as it would be written: in the largest unit that it is a whole number of.
fn written(duration: Duration) -> String {
    let units = [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1000, "s"),
    ];
    let millis = duration.as_millis();
    let fitting = units
        .into_iter()
        .find(|(unit, _)| millis.is_multiple_of(*unit));
    let (unit, name) = fitting.unwrap_or((1, "ms"));
    format!("\"{}{name}\"", millis / unit)
}
