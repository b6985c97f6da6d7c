//! Carrying out what was begun: one receipt after another, each step by what the papers say is left of it.
//!
//! Invariants: the paper of a step goes in the write that puts those of the next, and each step may be repeated to the same
//! effect; so a stop anywhere, a crash too, leaves nothing half done for good. Until everybody who is meant is known, and
//! every deletion in Braze durable, the order with the address is kept and nothing is removed; in the write in which the
//! first of them may go it is taken away, and what is kept instead are hashes.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::super::Ops;
use super::super::audit::{Deed, Who};
use super::super::sheet;
use super::super::wire::{Erasing, Forget, Receipt};
use super::{NAMED_MAX, People, Wanted, written};
use crate::flow;
use crate::flow::job::Seed;
use crate::model::event::{Event, EventKind, Source};
use crate::model::time::Timestamp;
use crate::store::{Operate, Paper, Person, Shelf, Store, StoreError};

/// How the names of these papers begin.
const PREFIX: &str = "forgetting/";

/// The last part of the name of an order; lists have numbers, and stand before it.
const ORDER: &str = "order";

/// So many people are named on one paper, and so many papers are put in one write.
const PEOPLE_MAX: usize = 12;
const PAPERS_MAX: usize = 16;

/// So many deletions are stored in one write.
const ERASURES_MAX: usize = 64;

/// How long nothing is tried when the store does not take it.
const BREATH: Duration = Duration::from_secs(5);

/// Carries out whatever has begun, for as long as it is polled. Dropped in the middle it is a crash, after which it goes on.
pub(in crate::ops) async fn run<S: Store + Operate>(ops: Arc<Ops<S>>) {
    let desk = &ops.office.forgetting;
    loop {
        let stepped = ops.step().await;
        desk.told.send_replace(());
        match stepped {
            Ok(true) => {}
            Ok(false) => desk.begun.notified().await,
            Err(error) => {
                tracing::warn!(%error, "forgetting waits for the store");
                ops.clock.sleep_until(ops.clock.now() + BREATH).await;
            }
        }
    }
}

/// What is to be done, as long as it is not known to whom.
pub(super) fn order(id: u64, asked: &Forget) -> Result<Paper, StoreError> {
    paper(id, ORDER, asked)
}

impl<S: Store + Operate> Ops<S> {
    /// One step of the first that is open; whether there was one.
    async fn step(&self) -> Result<bool, StoreError> {
        let open = self.store.papers(Shelf::of(PREFIX), 1).await?;
        let Some(first) = open.first() else {
            return Ok(false);
        };
        let rest = first.name().strip_prefix(PREFIX).unwrap_or_default();
        let number = rest.split('/').next().and_then(|it| it.parse().ok());
        let receipt = match number {
            Some(id) => self.receipt(id).await?.map(|receipt| (id, receipt)),
            None => None,
        };
        let Some((id, receipt)) = receipt.filter(|(_, it)| it.done_at.is_none()) else {
            // It was done, and the stop came before its last paper was taken away.
            self.take_away(first).await?;
            return Ok(true);
        };
        let order = self.store.papers(Shelf::of(&name(id, ORDER)), 1).await?;
        match order.first() {
            Some(order) => self.look(id, receipt, order).await?,
            None => self.remove(id, receipt, first).await?,
        }
        Ok(true)
    }

    /// Finds everybody who is meant, asks for their deletion in Braze, and writes down who is to go.
    async fn look(&self, id: u64, mut receipt: Receipt, order: &Paper) -> Result<(), StoreError> {
        let asked: Forget = sheet::read(order)?;
        let wanted = Wanted::by(&asked).map_err(StoreError::Failed)?;
        let people = self.people(&wanted).await?;
        receipt.name(&people);
        if receipt.delete_in_braze {
            receipt.erasures = self.erase(id, &wanted, &people).await?;
        }
        let all: Vec<&Person> = people.keys().collect();
        let mut lists = Vec::new();
        for (number, some) in all.chunks(PEOPLE_MAX).enumerate() {
            lists.push(paper(id, &format!("{number:06}"), &some)?);
        }
        if lists.is_empty() {
            lists.push(paper(id, "000000", &all)?);
        }
        while lists.len() > PAPERS_MAX {
            let rest = lists.split_off(PAPERS_MAX);
            self.store.put_papers(lists, Vec::new()).await?;
            lists = rest;
        }
        lists.push(written(id, &receipt)?);
        let order = vec![order.name().to_owned()];
        self.store.put_papers(lists, order).await
    }

    /// Removes those who are named on the first paper; with the last one it is done.
    async fn remove(&self, id: u64, mut receipt: Receipt, list: &Paper) -> Result<(), StoreError> {
        let people: Vec<Person> = sheet::read(list)?;
        for person in &people {
            self.forget_one(person, &mut receipt).await?;
        }
        let others = Shelf {
            behind: Some(list.name().to_owned()),
            ..Shelf::of(&name(id, ""))
        };
        if !self.store.papers(others, 1).await?.is_empty() {
            let receipt = vec![written(id, &receipt)?];
            let list = vec![list.name().to_owned()];
            return self.store.put_papers(receipt, list).await;
        }
        self.finish(id, receipt).await?;
        self.take_away(list).await
    }

    async fn forget_one(&self, person: &Person, receipt: &mut Receipt) -> Result<(), StoreError> {
        let mut before = None;
        loop {
            let now = self.clock.now();
            let slice = self.store.forget(person.clone(), before, now).await?;
            receipt.removed.add(slice.held);
            match slice.next {
                Some(next) => before = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Says so, in the receipt and in the audit.
    async fn finish(&self, id: u64, mut receipt: Receipt) -> Result<(), StoreError> {
        receipt.done_at = Some(self.clock.now());
        let removed = receipt.removed;
        tracing::info!(
            receipt = id,
            people = receipt.people,
            events = removed.events,
            "somebody was forgotten"
        );
        let deed = Deed {
            what: "forget",
            which: json!({
                "receipt": id,
                "by": receipt.by,
                "workspace": receipt.workspace,
                "delete_in_braze": receipt.delete_in_braze,
            }),
            counts: vec![
                ("people", receipt.people),
                ("events", removed.events),
                ("jobs", removed.jobs),
                ("dead_letters", removed.dead_letters),
                ("addresses", removed.addresses),
            ],
            outcome: "done".into(),
            ..Deed::default()
        };
        let who = Who(receipt.who.clone());
        self.note(&who, deed, vec![written(id, &receipt)?]).await
    }

    async fn take_away(&self, paper: &Paper) -> Result<(), StoreError> {
        let gone = vec![paper.name().to_owned()];
        self.store.put_papers(Vec::new(), gone).await
    }

    /// Has their profiles deleted, in every workspace that is meant; the first of those deletions.
    async fn erase(
        &self,
        id: u64,
        wanted: &Wanted,
        people: &People,
    ) -> Result<Vec<Erasing>, StoreError> {
        let (book, now) = (self.rules.borrow().clone(), self.clock.now());
        let only = wanted.workspace.as_deref();
        let mut seeds = Vec::new();
        for workspace in book.workspaces() {
            if only.is_some_and(|only| only != &**workspace) {
                continue;
            }
            for email in people.values().flatten() {
                let event = erasure(id, workspace, email, now);
                let (start, further) = flow::start(&event, &book, now);
                seeds.push(Seed {
                    event,
                    start,
                    further,
                });
            }
        }
        let mut erasures = Vec::new();
        while !seeds.is_empty() {
            let rest = seeds.split_off(seeds.len().min(ERASURES_MAX));
            let workspaces: Vec<_> = seeds.iter().map(|seed| seed.event.scope.clone()).collect();
            let appended = self.store.append(seeds, now).await?;
            for (workspace, appended) in workspaces.into_iter().zip(appended) {
                erasures.push(Erasing {
                    workspace,
                    event_id: appended.id,
                    state: None,
                });
            }
            erasures.truncate(NAMED_MAX);
            seeds = rest;
        }
        Ok(erasures)
    }
}

/// Asked for once more by the same order it is a duplicate.
fn erasure(id: u64, workspace: &str, email: &str, now: Timestamp) -> Event {
    Event {
        source: Source::Operator,
        kind: EventKind::Erasure,
        key: format!("{}{id}", super::PREFIX),
        scope: workspace.to_owned(),
        email: email.to_owned(),
        email_given: None,
        trace: None,
        external_id: None,
        phone: None,
        sms_consent: false,
        at: now,
        accepted_at: now,
        attributes: None,
        event: None,
    }
}

fn name(id: u64, what: &str) -> String {
    format!("{PREFIX}{id:020}/{what}")
}

fn paper(id: u64, what: &str, says: &impl serde::Serialize) -> Result<Paper, StoreError> {
    sheet::write(name(id, what), says)
}
