//! Forgetting a person: who it is, what goes, and the receipt.
//!
//! Invariants: nothing that says who it is is logged, kept in a receipt or told by an answer. A receipt is begun before
//! anything is removed, and done, with the entry in the audit, after all is; whoever is cut off in between goes on until
//! it is done, or the process ends and it is asked for once more. One at a time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde_json::json;
use tokio::sync::Mutex;

use super::Ops;
use super::audit::{Deed, Who};
use super::problem::Problem;
use super::wire::{Erasing, ErasingState, Forget, Receipt, Receipts, Removed};
use crate::flow;
use crate::flow::job::Seed;
use crate::model::email::normalised;
use crate::model::event::{Event, EventKind, Source};
use crate::model::phone::is_e164;
use crate::store::{Held, Operate, Paper, Person, Shelf, Standing, Store, StoreError, Trace};

/// How the names of its papers begin.
const PREFIX: &str = "forget/";

/// So many receipts are kept.
const RECEIPTS_MAX: u64 = 10_000;

/// Receipts of a list.
const PAGE: usize = 100;

/// Participants and deletions that one receipt names: it is a paper, and bounded.
const NAMED_MAX: usize = 20;

/// How long an answer waits for the end; what takes longer goes on, and its receipt can be read.
const DONE_WITHIN: Duration = Duration::from_secs(45);

/// The number of the next receipt, once it is known. Locked while one is being made.
pub(super) type Desk = Arc<Mutex<Option<u64>>>;

/// Somebody, by what they are looked for.
struct Wanted {
    trace: Trace,
    workspace: Option<String>,
}

/// `POST /api/v1/forget`.
pub(super) async fn forget<S: Store + Operate>(
    State(ops): State<Arc<Ops<S>>>,
    Extension(who): Extension<Who>,
    body: Bytes,
) -> Result<Json<Receipt>, Problem> {
    // The reason why it cannot be read may repeat what is in it.
    let asked: Forget = serde_json::from_slice(&body).map_err(|_| {
        Problem::bad_request("the body is an object with `email` or `phone`; see the documentation")
    })?;
    let wanted = wanted(&ops, &asked)?;
    let mut receipt = Receipt {
        at: ops.clock.now(),
        who: who.0.clone(),
        by: match &wanted.trace {
            Trace::Email(_) => "email".into(),
            Trace::Phone(_) => "phone".into(),
        },
        workspace: asked.workspace,
        delete_in_braze: asked.delete_in_braze,
        ..Receipt::default()
    };
    if !asked.yes {
        let people = ops.people(&wanted).await?;
        let mut held = Held::default();
        for participant in &people {
            held = held.and(ops.held(&wanted, participant).await?);
        }
        receipt.tell(&ops.store, &people, held);
        return Ok(Json(receipt));
    }
    let mut number = ops.office.forgetting.clone().lock_owned().await;
    let id = match *number {
        Some(id) => id,
        None => last(&ops.store).await?.map_or(1, |last| last + 1),
    };
    receipt.id = Some(id);
    let old = id.checked_sub(RECEIPTS_MAX).map(name);
    let begun = vec![written(id, &receipt)?];
    ops.store
        .put_papers(begun, old.into_iter().collect())
        .await?;
    *number = Some(id + 1);
    let begun = receipt.clone();
    let work = tokio::spawn(async move {
        let _one_at_a_time = number;
        ops.carry_out(id, receipt, &wanted, &who).await
    });
    match tokio::time::timeout(DONE_WITHIN, work).await {
        Err(_) => Ok(Json(begun)),
        Ok(done) => Ok(Json(done.map_err(|_| StoreError::Closed)??)),
    }
}

/// `GET /api/v1/forget/{id}`.
pub(super) async fn show<S: Store + Operate>(
    State(ops): State<Arc<Ops<S>>>,
    Path(id): Path<u64>,
) -> Result<Json<Receipt>, Problem> {
    let shelf = Shelf::of(&name(id));
    let papers = ops.store.papers(shelf, 1).await?;
    let Some(paper) = papers.first() else {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "no receipt has this number",
        ));
    };
    let mut receipt = read(paper)?;
    for erasing in &mut receipt.erasures {
        let stands = ops.store.standing(erasing.event_id).await?;
        erasing.state = Some(match stands {
            Standing::Queued => ErasingState::Running,
            Standing::Dead => ErasingState::Dead,
            Standing::Ended => ErasingState::Ended,
        });
    }
    Ok(Json(receipt))
}

/// `GET /api/v1/forget`.
pub(super) async fn list<S: Store + Operate>(
    State(ops): State<Arc<Ops<S>>>,
) -> Result<Json<Receipts>, Problem> {
    let shelf = Shelf {
        last_first: true,
        ..Shelf::of(PREFIX)
    };
    let papers = ops.store.papers(shelf, PAGE).await?;
    let items = papers.iter().map(read).collect::<Result<_, _>>()?;
    Ok(Json(Receipts { items }))
}

fn wanted<S>(ops: &Ops<S>, asked: &Forget) -> Result<Wanted, Problem> {
    let trace = match (&asked.email, &asked.phone) {
        (Some(email), None) => Trace::Email(
            normalised(email).map_err(|why| Problem::bad_request(format!("`email` {why}")))?,
        ),
        (None, Some(phone)) if is_e164(phone.trim()) => Trace::Phone(phone.trim().to_owned()),
        (None, Some(_)) => {
            return Err(Problem::bad_request(
                "`phone` is not a phone number in E.164 form",
            ));
        }
        (Some(_), Some(_)) | (None, None) => {
            return Err(Problem::bad_request("give either `email` or `phone`"));
        }
    };
    let workspace = asked.workspace.clone();
    let book = ops.rules.borrow();
    let known = |name: &String| book.workspaces().any(|known| **known == **name);
    if workspace.as_ref().is_some_and(|name| !known(name)) {
        let status = StatusCode::NOT_FOUND;
        return Err(Problem::new(
            status,
            "no workspace of this name is configured",
        ));
    }
    Ok(Wanted { trace, workspace })
}

impl<S: Store + Operate> Ops<S> {
    async fn carry_out(
        &self,
        id: u64,
        mut receipt: Receipt,
        wanted: &Wanted,
        who: &Who,
    ) -> Result<Receipt, StoreError> {
        let people = self.people(wanted).await?;
        let mut held = Held::default();
        for participant in &people {
            held = held.and(self.forget_one(wanted, participant).await?);
        }
        receipt.tell(&self.store, &people, held);
        if receipt.delete_in_braze {
            let erasures = self.erase(id, wanted, &people).await?;
            receipt.erasures = erasures.into_iter().take(NAMED_MAX).collect();
        }
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
        let paper = written(id, &receipt)?;
        self.note(who, deed, vec![paper]).await?;
        Ok(receipt)
    }

    /// Everybody who is meant. By e-mail also whoever is named otherwise in a lead that carries it.
    async fn people(&self, wanted: &Wanted) -> Result<BTreeSet<String>, StoreError> {
        let mut people = BTreeSet::new();
        if let Trace::Email(email) = &wanted.trace {
            people.insert(email.clone());
        }
        let mut from = None;
        loop {
            let found = self.store.search(wanted.trace.clone(), from).await?;
            people.extend(found.participants);
            match found.next {
                Some(next) => from = Some(next),
                None => return Ok(people),
            }
        }
    }

    async fn held(&self, wanted: &Wanted, participant: &str) -> Result<Held, StoreError> {
        let (mut held, mut before) = (Held::default(), None);
        loop {
            let person = wanted.person(participant);
            let slice = self.store.held(person, before, self.clock.now()).await?;
            held = held.and(slice.held);
            match slice.next {
                Some(next) => before = Some(next),
                None => return Ok(held),
            }
        }
    }

    async fn forget_one(&self, wanted: &Wanted, participant: &str) -> Result<Held, StoreError> {
        let (mut held, mut before) = (Held::default(), None);
        loop {
            let person = wanted.person(participant);
            let slice = self.store.forget(person, before, self.clock.now()).await?;
            held = held.and(slice.held);
            match slice.next {
                Some(next) => before = Some(next),
                None => return Ok(held),
            }
        }
    }

    /// Has their profiles deleted, in every workspace that is meant.
    async fn erase(
        &self,
        id: u64,
        wanted: &Wanted,
        people: &BTreeSet<String>,
    ) -> Result<Vec<Erasing>, StoreError> {
        let (book, now) = (self.rules.borrow().clone(), self.clock.now());
        let meant = |name: &&crate::model::Name| {
            wanted
                .workspace
                .as_deref()
                .is_none_or(|only| only == &***name)
        };
        let mut erasures = Vec::new();
        for workspace in book.workspaces().filter(meant) {
            for email in people.iter().filter(|it| is_email(it)) {
                let event = Event {
                    source: Source::Operator,
                    kind: EventKind::Erasure,
                    key: format!("{PREFIX}{id}"),
                    scope: workspace.to_string(),
                    email: email.clone(),
                    email_given: None,
                    external_id: None,
                    phone: None,
                    sms_consent: false,
                    at: now,
                    accepted_at: now,
                    attributes: None,
                    event: None,
                };
                let (start, further) = flow::start(&event, &book, now);
                let seed = Seed {
                    event,
                    start,
                    further,
                };
                let appended = self.store.append(vec![seed], now).await?;
                erasures.extend(appended.into_iter().map(|appended| Erasing {
                    workspace: workspace.to_string(),
                    event_id: appended.id,
                    state: None,
                }));
            }
        }
        Ok(erasures)
    }
}

impl Wanted {
    fn person(&self, participant: &str) -> Person {
        Person {
            participant: participant.to_owned(),
            workspace: self.workspace.as_deref().map(Into::into),
        }
    }
}

impl Receipt {
    fn tell(&mut self, store: &impl Operate, people: &BTreeSet<String>, held: Held) {
        let named = people.iter().take(NAMED_MAX);
        self.people = people.len() as u64;
        self.participants = named.map(|it| store.participant_hash(it)).collect();
        self.without_email = people.iter().filter(|it| !is_email(it)).count() as u64;
        self.removed = Removed {
            events: held.events,
            jobs: held.living,
            in_flight: held.lent,
            dead_letters: held.dead,
            addresses: held.addresses,
        };
    }
}

fn is_email(participant: &str) -> bool {
    normalised(participant).is_ok_and(|email| email == participant)
}

fn name(id: u64) -> String {
    format!("{PREFIX}{id:020}")
}

fn written(id: u64, receipt: &Receipt) -> Result<Paper, StoreError> {
    let text = serde_json::to_string(receipt);
    let text = text.map_err(|error| StoreError::Failed(error.to_string()))?;
    Paper::new(name(id), text).map_err(|error| StoreError::Failed(error.to_string()))
}

fn read(paper: &Paper) -> Result<Receipt, StoreError> {
    serde_json::from_str(paper.text())
        .map_err(|error| StoreError::Failed(format!("a receipt cannot be read: {error}")))
}

/// The number of the last receipt there is.
async fn last<S: Operate>(store: &S) -> Result<Option<u64>, StoreError> {
    let shelf = Shelf {
        last_first: true,
        ..Shelf::of(PREFIX)
    };
    let found = store.papers(shelf, 1).await?;
    let number = |paper: &Paper| paper.name().strip_prefix(PREFIX)?.parse().ok();
    Ok(found.first().and_then(number))
}
