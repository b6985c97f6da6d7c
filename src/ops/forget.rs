//! Forgetting a person: who it is, what goes, and the receipt.
//!
//! Invariants: nothing that says who it is is logged, kept in a receipt or told by an answer. What is begun (its receipt
//! is written, with what was asked) is carried out to its end by the relay itself, over restarts: see [`work`]. What cannot
//! be done whole now is refused before anything has begun.

mod work;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use tokio::sync::{Mutex, Notify, watch};

use super::Ops;
use super::audit::Who;
use super::problem::Problem;
use super::sheet;
use super::wire::{ErasingState, Forget, Receipt, Receipts, Removed};
use crate::model::email::normalised;
use crate::model::phone::is_e164;
use crate::store::{
    Held, Named, Operate, Paper, Person, Shelf, Standing, Store, StoreError, Trace,
};

pub(super) use work::run;

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

/// What those who ask and the one who carries it out tell each other.
#[derive(Debug, Default)]
pub(super) struct Desk {
    /// The number of the next receipt, once it is known.
    next: Mutex<Option<u64>>,
    /// Something was begun.
    begun: Notify,
    /// A receipt may have changed.
    told: watch::Sender<()>,
}

/// Somebody, by what they are looked for.
struct Wanted {
    trace: Trace,
    workspace: Option<String>,
}

/// Everybody who is meant, with the e-mail of those who are named by one.
type People = BTreeMap<Person, Option<String>>;

/// Forgets a person: previews unless `yes`.
#[utoipa::path(
    post,
    path = "/api/v1/forget",
    operation_id = "forget",
    tag = "forget",
    request_body = Forget,
    responses((status = 200, description = "The preview, or the receipt.", body = Receipt)),
)]
pub(super) async fn forget<S: Store + Operate>(
    State(ops): State<Arc<Ops<S>>>,
    Extension(who): Extension<Who>,
    body: Bytes,
) -> Result<Json<Receipt>, Problem> {
    // The reason why it cannot be read may repeat what is in it.
    let asked: Forget = serde_json::from_slice(&body).map_err(|_| {
        Problem::bad_request("the body is an object with `email` or `phone`; see the documentation")
    })?;
    let wanted = Wanted::by(&asked).map_err(Problem::bad_request)?;
    let book = ops.rules.borrow().clone();
    let known = |name: &String| book.workspaces().any(|known| **known == **name);
    if !asked.workspace.as_ref().is_none_or(known) {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "no workspace of this name is configured",
        ));
    }
    let mut receipt = Receipt {
        at: ops.clock.now(),
        who: who.0,
        by: match &wanted.trace {
            Trace::Email(_) => "email".into(),
            Trace::Phone(_) => "phone".into(),
        },
        workspace: asked.workspace.clone(),
        delete_in_braze: asked.delete_in_braze,
        ..Receipt::default()
    };
    if !asked.yes {
        let people = ops.people(&wanted).await?;
        receipt.name(&people);
        for person in people.keys() {
            receipt.removed.add(ops.held(person).await?);
        }
        return Ok(Json(receipt));
    }
    if asked.delete_in_braze {
        ops.store.admits()?;
    }
    let id = ops.begin(receipt, &asked).await?;
    let receipt = match tokio::time::timeout(DONE_WITHIN, ops.done(id)).await {
        Ok(receipt) => receipt?,
        Err(_) => ops.receipt(id).await?,
    };
    receipt.map(Json).ok_or_else(unknown)
}

/// One receipt of a forgetting.
#[utoipa::path(
    get,
    path = "/api/v1/forget/{id}",
    operation_id = "forget_show",
    tag = "forget",
    params(("id" = u64, Path, description = "Its number.")),
    responses((status = 200, description = "It.", body = Receipt)),
)]
pub(super) async fn show<S: Store + Operate>(
    State(ops): State<Arc<Ops<S>>>,
    Path(id): Path<String>,
) -> Result<Json<Receipt>, Problem> {
    let named = |_| Problem::bad_request("a receipt is named by its number");
    let id = id.parse().map_err(named)?;
    let mut receipt = ops.receipt(id).await?.ok_or_else(unknown)?;
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

/// The last receipts.
#[utoipa::path(
    get,
    path = "/api/v1/forget",
    operation_id = "forget_list",
    tag = "forget",
    responses((status = 200, description = "The newest first.", body = Receipts)),
)]
pub(super) async fn list<S: Store + Operate>(
    State(ops): State<Arc<Ops<S>>>,
) -> Result<Json<Receipts>, Problem> {
    let shelf = Shelf {
        last_first: true,
        ..Shelf::of(PREFIX)
    };
    let papers = ops.store.papers(shelf, PAGE).await?;
    let items = papers.iter().map(sheet::read).collect::<Result<_, _>>()?;
    Ok(Json(Receipts { items }))
}

fn unknown() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no receipt has this number")
}

impl Wanted {
    /// The error says what is wrong, and nothing of what was given.
    fn by(asked: &Forget) -> Result<Wanted, String> {
        let trace = match (&asked.email, &asked.phone) {
            (Some(email), None) => {
                Trace::Email(normalised(email).map_err(|why| format!("`email` {why}"))?)
            }
            (None, Some(phone)) if is_e164(phone.trim()) => Trace::Phone(phone.trim().to_owned()),
            (None, Some(_)) => return Err("`phone` is not a phone number in E.164 form".into()),
            (Some(_), Some(_)) | (None, None) => {
                return Err("give either `email` or `phone`".into());
            }
        };
        Ok(Wanted {
            trace,
            workspace: asked.workspace.clone(),
        })
    }
}

impl<S: Store + Operate> Ops<S> {
    /// Writes down what is to be done. From now on it will be.
    async fn begin(&self, mut receipt: Receipt, asked: &Forget) -> Result<u64, StoreError> {
        let desk = &self.office.forgetting;
        let mut next = desk.next.lock().await;
        let id = match *next {
            Some(id) => id,
            None => sheet::last(&self.store, PREFIX)
                .await?
                .map_or(1, |last| last + 1),
        };
        receipt.id = Some(id);
        let old = id.checked_sub(RECEIPTS_MAX).map(name);
        let begun = vec![written(id, &receipt)?, work::order(id, asked)?];
        self.store
            .put_papers(begun, old.into_iter().collect())
            .await?;
        *next = Some(id + 1);
        desk.begun.notify_one();
        Ok(id)
    }

    /// The receipt once it is done.
    async fn done(&self, id: u64) -> Result<Option<Receipt>, StoreError> {
        let mut told = self.office.forgetting.told.subscribe();
        loop {
            match self.receipt(id).await? {
                Some(receipt) if receipt.done_at.is_none() => {}
                over => return Ok(over),
            }
            told.changed().await.map_err(|_| StoreError::Closed)?;
        }
    }

    async fn receipt(&self, id: u64) -> Result<Option<Receipt>, StoreError> {
        let papers = self.store.papers(Shelf::of(&name(id)), 1).await?;
        papers.first().map(sheet::read).transpose()
    }

    /// Everybody who is meant: whoever has an event with the trace. By e-mail also whoever has nothing but a memory.
    async fn people(&self, wanted: &Wanted) -> Result<People, StoreError> {
        let mut people = People::new();
        if let Trace::Email(email) = &wanted.trace {
            let person = Person {
                participant: self.store.participant_hash(email),
                workspace: None,
                named: Named::Email,
            };
            people.insert(person, Some(email.clone()));
        }
        let mut from = None;
        loop {
            let found = self.store.search(wanted.trace.clone(), from).await?;
            people.extend(found.people);
            from = found.next;
            if from.is_none() {
                break;
            }
        }
        let Some(workspace) = &wanted.workspace else {
            return Ok(people);
        };
        let there = people
            .into_iter()
            .filter_map(|(person, email)| Some((person.only_in(workspace)?, email)));
        Ok(there.collect())
    }

    async fn held(&self, person: &Person) -> Result<Held, StoreError> {
        let (mut held, mut before) = (Held::default(), None);
        loop {
            let now = self.clock.now();
            let slice = self.store.held(person.clone(), before, now).await?;
            held = held.and(slice.held);
            match slice.next {
                Some(next) => before = Some(next),
                None => return Ok(held),
            }
        }
    }
}

impl Receipt {
    /// Says how many they are, and their hashes.
    fn name(&mut self, people: &People) {
        let named = people.keys().take(NAMED_MAX);
        self.people = people.len() as u64;
        self.participants = named.map(|it| it.participant.clone()).collect();
        self.without_email = people.values().filter(|it| it.is_none()).count() as u64;
    }
}

impl Removed {
    fn add(&mut self, held: Held) {
        self.events += held.events;
        self.jobs += held.living;
        self.in_flight += held.lent;
        self.dead_letters += held.dead;
        self.addresses += held.addresses;
    }
}

fn name(id: u64) -> String {
    format!("{PREFIX}{id:020}")
}

fn written(id: u64, receipt: &Receipt) -> Result<Paper, StoreError> {
    sheet::write(name(id), receipt)
}
