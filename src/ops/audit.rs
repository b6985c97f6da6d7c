//! The audit: who changed what through this listener, when, by which filter, and what came of it.
//!
//! Invariants: every change is written down, durably, before it is answered; where it is a paper itself ([`Ops::note`]) or
//! of dead letters ([`Ops::noting`]), in the same write. An entry holds nobody's data: an address in a filter is a hash
//! before it comes here, and what looks like an address or a number in free text is blotted out. No number is given
//! twice. The last [`ENTRIES_MAX`] entries are kept.
//!
//! Deliberately absent: what was refused, and what the relay does by itself beyond replays.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;
use utoipa::IntoParams;

use super::Ops;
use super::problem::Problem;
use super::sheet;
use super::wire::{AuditEntry, AuditPage, Which};
use crate::config::Role;
use crate::model::id::{EventId, JobId};
use crate::model::lookalike::without_lookalikes;
use crate::model::time::Timestamp;
use crate::store::{
    Note, Operate, PARTICIPANT_HASH_CHARS, Paper, Papers, Shelf, Store, StoreError,
};

/// So many entries are kept.
const ENTRIES_MAX: u64 = 10_000;

/// Entries of a page, and the most of one.
const PAGE: usize = 100;
const PAGE_MAX: usize = 1000;

/// How many characters of free text are kept.
const TEXT_CHARS_MAX: usize = 300;

/// How the names of its papers begin.
const PREFIX: &str = "audit/";

/// Who asks: `local` where there are no tokens, else the role with the number of its token in `ops.tokens`; `relay` for
/// what a replay does by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Who(pub(super) String);

impl Who {
    /// Whoever uses the token of this number and role.
    pub(super) fn of(role: Role, number: usize) -> Who {
        Who(format!("{}-{number}", role.as_str()))
    }
}

/// What was done, and what came of it.
#[derive(Debug, Default)]
pub(super) struct Deed {
    /// Such as `lane hold`.
    pub(super) what: &'static str,
    /// To what: names, ids or a filter. No address.
    pub(super) which: Value,
    /// Why, in the operator's words.
    pub(super) why: Option<String>,
    /// How many of each.
    pub(super) counts: Vec<(&'static str, u64)>,
    /// In a word or two.
    pub(super) outcome: String,
}

/// The number of the next entry, once it is known.
#[derive(Debug, Default)]
pub(super) struct Audit(Mutex<Option<u64>>);

impl<S: Store + Operate> Ops<S> {
    /// Writes a deed down, with the papers that are part of it in the same write.
    pub(super) async fn note(
        &self,
        who: &Who,
        deed: Deed,
        with: Vec<Paper>,
    ) -> Result<(), StoreError> {
        let mut papers = sheet(self.entry(who, deed).await?)?;
        papers.put.extend(with);
        self.store.put_papers(papers.put, papers.remove).await
    }

    /// What writes a deed to dead letters down in the very write that does it. `came`: how many of each, by what the store
    /// says of each letter.
    pub(super) async fn noting(
        &self,
        who: &Who,
        deed: Deed,
        came: impl FnOnce(&[bool]) -> Vec<(&'static str, u64)> + Send + 'static,
    ) -> Result<Note, StoreError> {
        let mut entry = self.entry(who, deed).await?;
        let without_counts = sheet(entry.clone())?;
        Ok(Box::new(move |are_letters| {
            entry.counts = named(came(are_letters));
            sheet(entry).unwrap_or(without_counts)
        }))
    }

    /// The entry of a deed. No other gets its number, whether it is ever written or not.
    async fn entry(&self, who: &Who, deed: Deed) -> Result<AuditEntry, StoreError> {
        let mut next = self.office.audit.0.lock().await;
        let number = match *next {
            Some(number) => number,
            None => sheet::last(&self.store, PREFIX)
                .await?
                .map_or(1, |last| last + 1),
        };
        *next = Some(number + 1);
        Ok(AuditEntry {
            number,
            at: self.clock.now(),
            who: who.0.clone(),
            what: deed.what.to_owned(),
            which: deed.which,
            why: deed.why.map(|text| blotted(&text)),
            counts: named(deed.counts),
            outcome: blotted(&deed.outcome),
        })
    }
}

fn named(counts: Vec<(&'static str, u64)>) -> BTreeMap<String, u64> {
    let counts = counts.into_iter();
    counts
        .map(|(name, count)| (name.to_owned(), count))
        .collect()
}

/// An entry, and the one that goes for it.
fn sheet(entry: AuditEntry) -> Result<Papers, StoreError> {
    let old = entry.number.checked_sub(ENTRIES_MAX).map(name);
    Ok(Papers {
        remove: old.into_iter().collect(),
        put: vec![written(entry)?],
    })
}

fn name(number: u64) -> String {
    format!("{PREFIX}{number:020}")
}

/// The entry as a paper; without what it was done to, where that is too long.
fn written(mut entry: AuditEntry) -> Result<Paper, StoreError> {
    let name = name(entry.number);
    blot(&mut entry.which);
    if let Ok(paper) = sheet::write(name.as_str(), &entry) {
        return Ok(paper);
    }
    entry.which = Value::from("too long to be kept");
    sheet::write(name, &entry)
}

fn blot(value: &mut Value) {
    match value {
        Value::String(text) => *text = shown(text, of_a_name),
        Value::Array(items) => items.iter_mut().for_each(blot),
        Value::Object(pairs) => pairs.values_mut().for_each(blot),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The text with what looks like an e-mail address, a phone number or a token blotted out, and not too long.
pub(super) fn blotted(text: &str) -> String {
    shown(text, of_a_sentence)
}

/// Whether a filter says who is meant, other than by `participant`: then it must not be kept.
pub(super) fn names_somebody(which: &Which) -> Option<&'static str> {
    type Word = fn(&str) -> bool;
    let said: [(_, _, Word); 3] = [
        ("workspace", &which.workspace, of_a_name),
        ("activation", &which.activation, of_a_name),
        ("text", &which.text, of_a_sentence),
    ];
    let named = said.into_iter().find(|(_, said, word)| {
        let words: Vec<&str> = said
            .iter()
            .flat_map(|said| said.split_whitespace())
            .collect();
        without_lookalikes(&words, word) != words
    });
    named.map(|(field, _, _)| field)
}

/// The text without those of its words that look like somebody's. `word`: whether one is looked at.
fn shown(text: &str, word: fn(&str) -> bool) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let seen = without_lookalikes(&words, word).join(" ");
    let mut short: String = seen.chars().take(TEXT_CHARS_MAX).collect();
    if short.len() < seen.len() {
        short.push('…');
    }
    short
}

/// Every word is looked at but ids, hashes of participants and moments: they have many digits and are nobody's.
fn of_a_sentence(word: &str) -> bool {
    let word = word.trim_matches(|letter: char| !letter.is_alphanumeric());
    let moment = |text: &str| Timestamp::parse_rfc3339(text).is_ok();
    let hash =
        word.len() == PARTICIPANT_HASH_CHARS && word.bytes().all(|it| it.is_ascii_hexdigit());
    let ours = hash
        || word.parse::<JobId>().is_ok()
        || word.parse::<EventId>().is_ok()
        || moment(word)
        || moment(&format!("{word}T00:00:00Z"));
    !ours
}

/// Names of ours may well have digits, such as `drop-20261127`: of a name, only addresses and bare numbers are looked at.
fn of_a_name(word: &str) -> bool {
    let international = word.find('+').is_some_and(|at| {
        let rest = word[at..].bytes();
        rest.filter(u8::is_ascii_digit).count() >= 7
    });
    let bare = word
        .chars()
        .all(|letter| letter.is_numeric() || "+-.()/".contains(letter));
    of_a_sentence(word) && (bare || international || word.contains('@') || word.contains("%40"))
}

/// What is asked of the audit.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// Go on behind this one, to older ones.
    #[serde(default)]
    after: Option<u64>,
    /// So many at most.
    #[serde(default)]
    limit: Option<usize>,
}

/// Who changed what, when and why.
#[utoipa::path(
    get,
    path = "/api/v1/audit",
    operation_id = "audit",
    tag = "audit",
    params(Asked),
    responses((status = 200, description = "A page, the newest entry first.", body = AuditPage)),
)]
pub(super) async fn list<S: Store + Operate>(
    State(ops): State<Arc<Ops<S>>>,
    query: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<AuditPage>, Problem> {
    let Query(asked) = query.map_err(|error| Problem::bad_request(error.body_text()))?;
    let limit @ 1..=PAGE_MAX = asked.limit.unwrap_or(PAGE) else {
        return Err(Problem::bad_request(format!(
            "`limit` is from 1 to {PAGE_MAX}"
        )));
    };
    let shelf = Shelf {
        behind: asked.after.map(name),
        last_first: true,
        ..Shelf::of(PREFIX)
    };
    let papers = ops.store.papers(shelf, limit).await?;
    let items: Vec<AuditEntry> = papers.iter().map(sheet::read).collect::<Result<_, _>>()?;
    let full = items.len() == limit;
    Ok(Json(AuditPage {
        next: items.last().filter(|_| full).map(|entry| entry.number),
        items,
    }))
}

#[cfg(test)]
mod tests;
