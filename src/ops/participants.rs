//! `POST /api/v1/participants`: one person's timeline.
//!
//! Invariants: whoever is looked for is named in the body, since addresses stay in logs and histories, and is told masked.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;

use super::Ops;
use super::asked::participant;
use super::jobs;
use super::problem::Problem;
use super::wire::{
    JobRow, KnownAddress, Participant, TimelineEvent, WhichJobs, WhichParticipant, mask,
};
use crate::flow::job::JobState;
use crate::model::call::Address;
use crate::model::id::EventId;
use crate::store::{Operate, Store};

/// How many of their events are told.
const EVENTS: usize = 50;

/// One person's events and where each of them is.
#[utoipa::path(
    post,
    path = "/api/v1/participants",
    operation_id = "participant",
    tag = "participants",
    request_body = WhichParticipant,
    responses((status = 200, description = "What is remembered of them; nothing for who was never there.", body = Participant)),
)]
pub(super) async fn show<S: Store + Operate>(
    State(ops): State<Arc<Ops<S>>>,
    body: Bytes,
) -> Result<Json<Participant>, Problem> {
    // The reason why it cannot be read may repeat what is in it.
    let asked: WhichParticipant = serde_json::from_slice(&body).map_err(|_| {
        Problem::bad_request("send {\"email\":\"…\"}, an e-mail or a participant's hash")
    })?;
    let hash = participant(&ops.store, asked.email.trim())?;
    let now = ops.clock.now();
    let timeline = ops.store.timeline(hash.clone(), EVENTS, now).await?;
    let mut jobs = BTreeMap::<EventId, Vec<JobRow>>::new();
    let mut which = WhichJobs {
        participant: Some(hash.clone()),
        since: timeline.events.last().map(|oldest| oldest.accepted_at()),
        ..WhichJobs::default()
    };
    loop {
        let page = jobs::page(&ops, which.clone()).await?;
        for row in page.items {
            jobs.entry(row.event_id).or_default().push(row);
        }
        match page.next {
            Some(next) => which.after = Some(next),
            None => break,
        }
    }
    let mut event = |id: &EventId| {
        let jobs = jobs.remove(id).unwrap_or_default();
        let state = match jobs.as_slice() {
            [] => "ended",
            jobs if jobs.iter().all(|job| job.state == JobState::Dead) => "dead",
            _ => "queued",
        };
        TimelineEvent {
            id: *id,
            accepted_at: id.accepted_at(),
            state: state.to_owned(),
            jobs,
        }
    };
    Ok(Json(Participant {
        participant: mask(&asked.email),
        events: timeline.events.iter().map(&mut event).collect(),
        addresses: timeline
            .addresses
            .iter()
            .map(|(workspace, address)| KnownAddress {
                workspace: workspace.to_string(),
                address_kind: kind(address).to_owned(),
            })
            .collect(),
        more: timeline.more,
        participant_hash: hash,
    }))
}

const fn kind(address: &Address) -> &'static str {
    match address {
        Address::ExternalId(_) => "external_id",
        Address::BrazeId(_) => "braze_id",
        Address::Alias(_) => "alias",
        Address::Email(_) => "email",
    }
}
