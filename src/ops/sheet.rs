//! What the listener keeps on paper: JSON, under a name that ends with a number.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::store::{Operate, Paper, Shelf, StoreError};

/// A paper of this name that says this. An error where it is too long for one.
pub(super) fn write(name: impl Into<String>, says: &impl Serialize) -> Result<Paper, StoreError> {
    let text = serde_json::to_string(says);
    let text = text.map_err(|error| StoreError::Failed(error.to_string()))?;
    Paper::new(name.into(), text).map_err(|error| StoreError::Failed(error.to_string()))
}

/// What it says. The error does not repeat any of it: somebody may be named there.
pub(super) fn read<T: DeserializeOwned>(paper: &Paper) -> Result<T, StoreError> {
    serde_json::from_str(paper.text())
        .map_err(|_| StoreError::Failed(format!("the paper {} cannot be read", paper.name())))
}

/// The number of the last paper whose name is `prefix` and a number.
pub(super) async fn last<S: Operate>(store: &S, prefix: &str) -> Result<Option<u64>, StoreError> {
    let shelf = Shelf {
        last_first: true,
        ..Shelf::of(prefix)
    };
    let found = store.papers(shelf, 1).await?;
    let number = |paper: &Paper| paper.name().strip_prefix(prefix)?.parse().ok();
    Ok(found.first().and_then(number))
}
