//! What operators ask of the store, handed to the writer.

use std::collections::BTreeMap;

use super::SledStore;
use super::request::Request;
use crate::flow::job::Start;
use crate::model::id::{EventId, JobId};
use crate::model::time::Timestamp;
use crate::store::entry::Entries;
use crate::store::{
    DeadFilter, DeadLetter, Found, JobFilter, Note, Operate, Page, Paper, Papers, Person, Portion,
    Position, ReplayCounts, Shelf, Standing, StoreError, StoredJob, Timeline, Trace,
};

impl Operate for SledStore {
    async fn dead_list(
        &self,
        filter: DeadFilter,
        after: Option<JobId>,
        limit: usize,
    ) -> Result<Page<DeadLetter>, StoreError> {
        self.ask(|reply| Request::DeadList {
            filter,
            after,
            limit,
            reply,
        })
        .await
    }

    async fn dead_get(&self, id: JobId) -> Result<Option<DeadLetter>, StoreError> {
        self.ask(|reply| Request::DeadGet { id, reply }).await
    }

    async fn job_list(
        &self,
        filter: JobFilter,
        after: Option<JobId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page<StoredJob>, StoreError> {
        self.ask(|reply| Request::JobList {
            filter,
            after,
            limit,
            now,
            reply,
        })
        .await
    }

    async fn job_get(&self, id: JobId, now: Timestamp) -> Result<Option<StoredJob>, StoreError> {
        self.ask(|reply| Request::JobGet { id, now, reply }).await
    }

    async fn copy(&self) -> Result<Entries, StoreError> {
        self.entries().await
    }

    async fn revive_noting(
        &self,
        replay: Option<u32>,
        letters: Vec<(JobId, Start)>,
        note: Note,
        now: Timestamp,
    ) -> Result<Vec<bool>, StoreError> {
        self.ask(|reply| Request::Revive {
            replay,
            letters,
            note,
            now,
            reply,
        })
        .await
    }

    async fn discard_noting(
        &self,
        ids: Vec<JobId>,
        note: Note,
        now: Timestamp,
    ) -> Result<Vec<bool>, StoreError> {
        self.ask(|reply| Request::Discard {
            ids,
            note,
            now,
            reply,
        })
        .await
    }

    async fn replay_counts(&self) -> Result<BTreeMap<u32, ReplayCounts>, StoreError> {
        self.ask(|reply| Request::ReplayCounts { reply }).await
    }

    async fn held(
        &self,
        person: Person,
        before: Option<EventId>,
        now: Timestamp,
    ) -> Result<Portion, StoreError> {
        self.ask(|reply| Request::Held {
            person,
            before,
            now,
            reply,
        })
        .await
    }

    async fn forget(
        &self,
        person: Person,
        before: Option<EventId>,
        now: Timestamp,
    ) -> Result<Portion, StoreError> {
        self.ask(|reply| Request::Forget {
            person,
            before,
            now,
            reply,
        })
        .await
    }

    async fn timeline(
        &self,
        participant: String,
        limit: usize,
        now: Timestamp,
    ) -> Result<Timeline, StoreError> {
        self.ask(|reply| Request::Timeline {
            participant,
            limit,
            now,
            reply,
        })
        .await
    }

    async fn standing(&self, event: EventId) -> Result<Standing, StoreError> {
        self.ask(|reply| Request::Standing { event, reply }).await
    }

    async fn search(&self, trace: Trace, from: Option<Position>) -> Result<Found, StoreError> {
        self.ask(|reply| Request::Search { trace, from, reply })
            .await
    }

    async fn put_papers(&self, put: Vec<Paper>, remove: Vec<String>) -> Result<(), StoreError> {
        let papers = Papers { remove, put };
        self.ask(|reply| Request::PutPapers { papers, reply }).await
    }

    async fn papers(&self, shelf: Shelf, limit: usize) -> Result<Vec<Paper>, StoreError> {
        self.ask(|reply| Request::Papers {
            shelf,
            limit,
            reply,
        })
        .await
    }

    fn participant_hash(&self, email: &str) -> String {
        self.hasher.shown(email)
    }
}
