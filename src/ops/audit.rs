//! The audit: who changed what through this listener, when, by which filter, and what came of it.
//!
//! Invariants: every change is written down by [`Ops::note`], durably, before it is answered; where a change is a paper
//! itself, in the same write. An entry holds nobody's data: an address in a filter is a hash before it comes here, and
//! what looks like an address or a number in free text is blotted out. The last [`ENTRIES_MAX`] entries are kept.
//!
//! Deliberately absent: what was refused, and what the relay does by itself beyond replays.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;

use super::Ops;
use super::problem::Problem;
use super::wire::{AuditEntry, AuditPage};
use crate::store::{Operate, Paper, Shelf, Store, StoreError};

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
        let mut next = self.office.audit.0.lock().await;
        let number = match *next {
            Some(number) => number,
            None => last(&self.store).await?.map_or(1, |last| last + 1),
        };
        let entry = AuditEntry {
            number,
            at: self.clock.now(),
            who: who.0.clone(),
            what: deed.what.to_owned(),
            which: deed.which,
            why: deed.why.map(|text| blotted(&text)),
            counts: deed
                .counts
                .into_iter()
                .map(|(name, count)| (name.to_owned(), count))
                .collect(),
            outcome: blotted(&deed.outcome),
        };
        let mut put = with;
        put.push(written(entry)?);
        let old = number.checked_sub(ENTRIES_MAX).map(name);
        self.store
            .put_papers(put, old.into_iter().collect())
            .await?;
        *next = Some(number + 1);
        Ok(())
    }
}

fn name(number: u64) -> String {
    format!("{PREFIX}{number:020}")
}

/// The number of the last entry there is.
async fn last<S: Operate>(store: &S) -> Result<Option<u64>, StoreError> {
    let shelf = Shelf {
        last_first: true,
        ..Shelf::of(PREFIX)
    };
    let found = store.papers(shelf, 1).await?;
    let number = |paper: &Paper| paper.name().strip_prefix(PREFIX)?.parse().ok();
    Ok(found.first().and_then(number))
}

/// The entry as a paper; without what it was done to, where that is too long.
fn written(mut entry: AuditEntry) -> Result<Paper, StoreError> {
    let name = name(entry.number);
    let text = |entry: &AuditEntry| {
        serde_json::to_string(entry).map_err(|error| StoreError::Failed(error.to_string()))
    };
    blot(&mut entry.which);
    if let Ok(paper) = Paper::new(name.as_str(), text(&entry)?) {
        return Ok(paper);
    }
    entry.which = Value::from("too long to be kept");
    Paper::new(name, text(&entry)?).map_err(|error| StoreError::Failed(error.to_string()))
}

fn blot(value: &mut Value) {
    match value {
        Value::String(text) => *text = blotted(text),
        Value::Array(items) => items.iter_mut().for_each(blot),
        Value::Object(pairs) => pairs.values_mut().for_each(blot),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The text with what looks like an e-mail address or a phone number blotted out, and not too long.
pub(super) fn blotted(text: &str) -> String {
    let personal = |word: &str| {
        let digits = |rest: &str| rest.bytes().filter(u8::is_ascii_digit).count();
        word.contains('@')
            || word.contains("%40")
            || word.find('+').is_some_and(|at| digits(&word[at..]) >= 7)
    };
    let words =
        text.split_inclusive(|letter: char| letter.is_whitespace() || ",;<>()\"'".contains(letter));
    let seen: String = words
        .map(|word| if personal(word) { "*** " } else { word })
        .collect();
    let mut short: String = seen.chars().take(TEXT_CHARS_MAX).collect();
    if short.len() < seen.len() {
        short.push('…');
    }
    short.trim_end().to_owned()
}

/// What is asked of the audit.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// Go on behind this one, to older ones.
    #[serde(default)]
    after: Option<u64>,
    /// So many at most.
    #[serde(default)]
    limit: Option<usize>,
}

/// `GET /api/v1/audit`: the newest entry first.
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
    let items: Result<Vec<AuditEntry>, _> = papers
        .iter()
        .map(|paper| serde_json::from_str(paper.text()))
        .collect();
    let items = items.map_err(|error| StoreError::Failed(format!("the audit: {error}")))?;
    let full = items.len() == limit;
    Ok(Json(AuditPage {
        next: items.last().filter(|_| full).map(|entry| entry.number),
        items,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_numbers_are_blotted_out_of_what_operators_say() {
        for (said, kept) in [
            ("wrong key", "wrong key"),
            ("ada@example.com asked", "*** asked"),
            ("asked (Ada <ada@example.com>)", "asked (Ada <*** )"),
            ("call +1 555", "call +1 555"),
            ("call +15550100123", "call ***"),
            ("to=%2B1 a%40b.de", "to=%2B1 ***"),
            (
                "until 2026-11-27T09:10:00.000Z",
                "until 2026-11-27T09:10:00.000Z",
            ),
            (
                "0123456789abcdef0123456789ab",
                "0123456789abcdef0123456789ab",
            ),
        ] {
            assert_eq!(blotted(said), kept, "{said}");
        }
        assert_eq!(
            blotted(&"ä".repeat(1000)).chars().count(),
            TEXT_CHARS_MAX + 1
        );
    }
}
