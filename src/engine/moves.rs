//! What becomes of jobs, stored and counted.
//!
//! Invariants: nothing is counted that was not stored.

use std::collections::BTreeSet;

use super::holds::Activation;
use super::lanes::LaneState;
use super::spans::note_end;
use super::{EngineError, Shared};
use crate::client::Client;
use crate::flow::job::{Commit, Fate, Flow};
use crate::model::lane::LaneKind;
use crate::model::time::Timestamp;
use crate::model::trace::TraceContext;
use crate::store::{Committed, Store, Token};

/// One move, with what is counted when it is stored.
pub(super) struct Move {
    pub(super) token: Token,
    pub(super) commit: Commit,
    pub(super) activation: Activation,
    /// By rules that are not followed any more: what they lead to says nothing about those that are.
    pub(super) is_outdated: bool,
    pub(super) flow: Flow,
    pub(super) accepted_at: Timestamp,
    pub(super) trace: Option<TraceContext>,
    /// Look-ups that what is remembered has spared it since it was lent.
    pub(super) saved: u64,
}

impl<S: Store, C: Client> Shared<S, C> {
    /// Stores `moves` and counts what ended.
    pub(super) async fn store_moves(
        &self,
        lane: &LaneState,
        moves: Vec<Move>,
    ) -> Result<(), EngineError> {
        if moves.is_empty() {
            return Ok(());
        }
        let now = self.clock.now();
        let mut counted = Vec::with_capacity(moves.len());
        let mut commits = Vec::with_capacity(moves.len());
        let mut aside = BTreeSet::new();
        for it in moves {
            let is_anothers = it.is_outdated && !self.holds().is_held(&it.activation);
            let commit = if is_anothers {
                it.commit
            } else {
                self.pass(&it.activation, it.flow, it.commit, now)
            };
            let end = match &commit.fate {
                Fate::Keep { lane, .. } if lane.kind == LaneKind::Held => {
                    aside.insert(it.activation.clone());
                    None
                }
                Fate::Keep { .. } => None,
                Fate::Finish(outcome) => Some(Ok(*outcome)),
                Fate::Bury { burial, .. } => Some(Err(burial.reason)),
            };
            self.metrics.look_up_saved(&lane.lane.workspace, it.saved);
            commits.push((it.token, commit));
            let end = end.map(|end| (end, it.trace, it.activation));
            counted.push((it.token.id, it.flow, it.accepted_at, end));
        }
        let stored = self.store.commit(commits, now).await?;
        self.ended_meanwhile(&aside);
        let workspace = &lane.lane.workspace;
        for ((id, flow, accepted_at, end), stored) in counted.into_iter().zip(stored) {
            let (Committed::Stored { .. }, Some((end, trace, activation))) = (stored, end) else {
                continue;
            };
            match end {
                Ok(outcome) => {
                    let age = now.since(accepted_at).as_secs_f64();
                    self.metrics.done(workspace, flow, outcome, age);
                }
                Err(reason) => self.metrics.dead(workspace, Some(flow), reason),
            }
            note_end(
                self.metrics.tracer(),
                trace,
                id,
                &activation,
                flow,
                end,
                now,
            );
        }
        Ok(())
    }
}
