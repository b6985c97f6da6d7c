//! Reading what is asked: bodies, filters, and who is meant.
//!
//! Invariants: an address goes no further than here: whoever is named by one is a hash from then on.

use serde::de::DeserializeOwned;

use super::audit::names_somebody;
use super::problem::Problem;
use super::wire::Which;
use crate::model::email;
use crate::store::{Operate, PARTICIPANT_HASH_CHARS};

/// The longest filter that is kept, as JSON: it fits into an entry, beside a slice of ids.
const FILTER_BYTES_MAX: usize = 500;

/// What was posted. An object: serde would take `[]` for one that says nothing, and that is every letter there is.
pub(super) fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(Problem::bad_request("the body is a JSON object"));
    }
    serde_json::from_slice(body)
        .map_err(|error| Problem::bad_request(format!("the body cannot be read: {error}")))
}

/// The same filter with its participant as a hash, whichever way it was given: an address goes no further than here.
pub(super) fn resolved<S: Operate>(store: &S, mut which: Which) -> Result<Which, Problem> {
    which.participant = hashed(store, which.participant)?;
    Ok(which)
}

/// A filter's participant as a hash.
pub(super) fn hashed<S: Operate>(
    store: &S,
    given: Option<String>,
) -> Result<Option<String>, Problem> {
    given.map(|given| participant(store, &given)).transpose()
}

/// The hash of a participant who was named by an e-mail or by that hash.
pub(super) fn participant<S: Operate>(store: &S, given: &str) -> Result<String, Problem> {
    if given.contains('@') {
        let email = email::normalised(given)
            .map_err(|why| Problem::bad_request(format!("the e-mail {why}")))?;
        return Ok(store.participant_hash(&email));
    }
    let is_hash =
        given.len() == PARTICIPANT_HASH_CHARS && given.bytes().all(|it| it.is_ascii_hexdigit());
    if !is_hash {
        return Err(Problem::bad_request(
            "`participant` is an e-mail, or the hash that lists show",
        ));
    }
    Ok(given.to_lowercase())
}

/// The same of a filter that is kept, and shown to whoever may look: it must not say who is meant in other words.
pub(super) fn kept<S: Operate>(store: &S, which: Which) -> Result<Which, Problem> {
    if let Some(field) = names_somebody(&which) {
        return Err(Problem::bad_request(format!(
            "`{field}` looks like an e-mail address or a phone number, and what is asked for is kept and shown: name a \
             person by `participant` (--participant), which is kept as a hash"
        )));
    }
    let text = serde_json::to_string(&which).unwrap_or_default();
    if text.len() > FILTER_BYTES_MAX {
        return Err(Problem::bad_request(
            "the filter is too long to be kept: say less",
        ));
    }
    resolved(store, which)
}
