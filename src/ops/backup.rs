//! `POST /api/v1/backup`: everything the store holds, as an export, while it is worked.
//!
//! Invariants: for operators, since everybody's addresses are in it. Written as it is fetched; what is broken off lacks its
//! last line, and is taken by no import.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use futures_core::Stream;

use super::Ops;
use super::problem::Problem;
use crate::store::archive::{Head, Writer};
use crate::store::entry::{Entries, Told};
use crate::store::{Operate, Store, StoreError};

/// Streams everything that is stored, as it stands now, while events come in.
#[utoipa::path(
    post,
    path = "/api/v1/backup",
    operation_id = "backup",
    tag = "store",
    responses((status = 200, description = "A line of JSON each: the head, the entries, the end; without the end it is cut off.", content_type = "application/x-ndjson")),
)]
pub(super) async fn backup<S: Store + Operate>(
    State(ops): State<Arc<Ops<S>>>,
) -> Result<impl IntoResponse, Problem> {
    let entries = ops.store.copy().await?;
    let head = Head::new(entries.secret(), ops.clock.now(), false);
    let writer = Writer::new(Vec::new(), &head).map_err(|error| failed(&error))?;
    tracing::info!("a backup is being taken");
    let body = Body::from_stream(Backup {
        entries,
        writer,
        ended: false,
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body))
}

fn failed(error: &std::io::Error) -> StoreError {
    StoreError::Copy(error.to_string())
}

/// The body, as far as it is not yet sent.
struct Backup {
    entries: Entries,
    writer: Writer<Vec<u8>>,
    ended: bool,
}

impl Backup {
    fn write(&mut self, told: Option<Told>) -> Result<Bytes, StoreError> {
        if let Some(told) = told {
            for entry in told? {
                self.writer.push(&entry).map_err(|error| failed(&error))?;
            }
        } else {
            self.ended = true;
            self.writer
                .end(Vec::new())
                .map_err(|error| failed(&error))?;
            tracing::info!("a backup was taken");
        }
        Ok(std::mem::take(self.writer.out()).into())
    }
}

impl Stream for Backup {
    type Item = Result<Bytes, StoreError>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, StoreError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let told = std::task::ready!(self.entries.poll_next(context));
        let written = self.write(told);
        if let Err(error) = &written {
            self.ended = true;
            tracing::warn!(%error, "a backup was broken off");
        }
        Poll::Ready(Some(written))
    }
}
