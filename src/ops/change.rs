//! Changes that operators ask for, carried out to their end.
//!
//! Invariants: a change that has begun goes on when whoever asked for it has gone, and a stop waits for it no longer than
//! for an answer. What the end of the process still cuts off is in the [audit](super::audit) as far as it was done.

use std::sync::Arc;

use tokio::sync::{OwnedRwLockReadGuard, RwLock};

use super::Ops;
use super::problem::Problem;
use crate::store::StoreError;

/// Every change that is being carried out has a share of it.
#[derive(Debug, Default)]
pub(super) struct Changes(Arc<RwLock<()>>);

impl Changes {
    async fn share(&self) -> OwnedRwLockReadGuard<()> {
        self.0.clone().read_owned().await
    }

    /// Returns once none is being carried out.
    pub(super) async fn over(&self) {
        drop(self.0.write().await);
    }
}

impl<S> Ops<S> {
    /// Carries a change out, whether anybody waits for the answer or not.
    pub(super) async fn to_the_end<T: Send + 'static>(
        &self,
        change: impl Future<Output = Result<T, Problem>> + Send + 'static,
    ) -> Result<T, Problem> {
        let share = self.office.changes.share().await;
        let change = tokio::spawn(async move {
            let _share = share;
            change.await
        });
        change.await.map_err(|_| StoreError::Closed)?
    }
}
