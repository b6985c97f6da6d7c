//! The writer thread: gathers what waits, makes it durable in one go, answers; lends and counts in between.
//!
//! Invariants: no durable request is answered before the fdatasync that covers it; nothing is lent before its event is
//! durable; after the first error nothing is answered but that error.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use super::base::{BATCH_BYTES_MAX, Base, Draft};
use super::open::damaged;
use super::request::{Reply, Request};
use super::room::look_at_disk;
use super::{Place, Shared, watch};
use crate::clock::Stopwatch;
use crate::store::hash::Hasher;
use crate::store::{Settings, StoreError};
use crate::telemetry::Metrics;

/// How many requests one gathering has at most.
const GATHER_MAX: usize = 4096;

/// With so many requests in one gathering there is something more urgent than looking for what may be forgotten.
const BUSY: usize = 8;

/// How often the disk is looked at and the mark synced.
const HOUSEKEEPING_EVERY: Duration = Duration::from_millis(500);

/// An answer that waits for the sync.
type Answer = Box<dyn FnOnce()>;

/// The thread's whole life. A panic (sled's, on damaged data) becomes the store's failure.
pub fn run(
    place: &Place,
    settings: Settings,
    metrics: Option<Arc<Metrics>>,
    inbox: &Receiver<Request>,
    opened: &Sender<Result<Hasher, StoreError>>,
    shared: &Arc<Shared>,
) {
    let base = catch_unwind(AssertUnwindSafe(|| Base::open(place, settings, metrics)));
    let base = base.unwrap_or_else(|_| {
        let what = damaged(&place.path, "sled panicked while it was opened");
        Err(StoreError::Refused(what))
    });
    let mut base = match base {
        Ok(base) => base,
        Err(error) => {
            let _ = opened.send(Err(error));
            return;
        }
    };
    look_at_disk(&base, place, shared);
    shared.crowded.store(
        base.head.jobs() >= base.settings.max_jobs,
        Ordering::Relaxed,
    );
    let last_time = base.head.promoted_to.max(base.head.last_id.accepted_at());
    let _ = shared.last_time.set(last_time);
    if let Err(error) = watch::begin(shared) {
        let why = format!("the thread that watches the store cannot be started: {error}");
        let _ = opened.send(Err(StoreError::Refused(why)));
        return;
    }
    let _ = opened.send(Ok(base.hasher));
    let life = AssertUnwindSafe(|| work(&mut base, place, inbox, shared));
    let failed = match catch_unwind(life) {
        Ok(Ok(asked)) => {
            // The lock must be free before whoever asked goes on.
            drop(base);
            if let Some(reply) = asked {
                let _ = reply.send(Ok(()));
            }
            shared.ended.send_replace(true);
            return;
        }
        Ok(Err(StoreError::Failed(what))) => what,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the database panicked, as it does on damaged files".to_owned(),
    };
    // A disk that fails for a moment and damaged files look alike from here; only the latter come again.
    let what = format!(
        "{failed}. Should that come again after a restart, on a disk that is neither full nor failing, the files are damaged"
    );
    shared.fail(&damaged(&place.path, &what));
    shared.ended.send_replace(true);
    // sled flushes once more when it is dropped, and may panic when its files are broken: leave it alone.
    std::mem::forget(base);
    // Whoever still waits, or asks from now on, learns it from the closed channel.
}

fn work(
    base: &mut Base,
    place: &Place,
    inbox: &Receiver<Request>,
    shared: &Shared,
) -> Result<Option<Reply<()>>, StoreError> {
    let mut watch = Stopwatch::start();
    // Kept from batch to batch: growing it anew each time is a tenth of the writer's work.
    let mut requests = Vec::with_capacity(GATHER_MAX);
    loop {
        // Putting the index in order does not wait for anybody to ask for something.
        let patience = if base.index.is_settled() {
            HOUSEKEEPING_EVERY
        } else {
            Duration::ZERO
        };
        match inbox.recv_timeout(patience) {
            Ok(request) => requests.push(request),
            Err(RecvTimeoutError::Timeout) => base.settle()?,
            Err(RecvTimeoutError::Disconnected) => return stop(base, shared).map(|()| None),
        }
        while requests.len() < GATHER_MAX
            && let Ok(request) = inbox.try_recv()
        {
            requests.push(request);
        }
        shared.beats.fetch_add(1, Ordering::Relaxed);
        if let ControlFlow::Break(reply) = serve(base, shared, &mut requests)? {
            return stop(base, shared).map(|()| Some(reply));
        }
        if watch.elapsed() >= HOUSEKEEPING_EVERY {
            watch = Stopwatch::start();
            base.mark
                .sync()
                .map_err(|error| StoreError::Failed(format!("syncing the mark: {error}")))?;
            base.apply_sweep()?;
            base.weigh()?;
            look_at_disk(base, place, shared);
        }
    }
}

/// Serves one gathering: everything durable first, behind one sync, then the rest.
fn serve(
    base: &mut Base,
    shared: &Shared,
    requests: &mut Vec<Request>,
) -> Result<ControlFlow<Reply<()>>, StoreError> {
    let mut draft = Draft::default();
    let mut answers: Vec<Answer> = Vec::with_capacity(requests.len());
    let mut rest = Vec::new();
    for request in requests.drain(..) {
        match draft_one(base, &mut draft, request) {
            Ok(Drafted::Answer(answer)) => answers.push(answer),
            Ok(Drafted::NotDurable(request)) => rest.push(*request),
            Err(error) => return Err(error),
        }
        // Each request is whole.
        if draft.bytes() >= BATCH_BYTES_MAX {
            base.apply_early(&mut draft)?;
        }
    }
    if draft.used {
        base.write_budgets(&mut draft, shared.take_noted())?;
        if base.sweeping || answers.len() < BUSY {
            base.sweep(&mut draft)?;
        }
        base.apply(draft, true)?;
    }
    shared.crowded.store(
        base.head.jobs() >= base.settings.max_jobs,
        Ordering::Relaxed,
    );
    if std::mem::take(&mut base.revokes) {
        shared.revoked.fetch_add(1, Ordering::Release);
    }
    for answer in answers {
        answer();
    }
    base.free_replaced();
    let mut end = None;
    for request in rest {
        if let Some(reply) = serve_one(base, request)? {
            end = Some(reply);
        }
    }
    for lane in std::mem::take(&mut base.touched) {
        if let Some(lane) = base.names.lane_of(lane) {
            shared.wake(&lane).notify_one();
        }
    }
    Ok(end.map_or(ControlFlow::Continue(()), ControlFlow::Break))
}

enum Drafted {
    Answer(Answer),
    NotDurable(Box<Request>),
}

fn later<T: 'static>(reply: Reply<T>, result: Result<T, StoreError>) -> Drafted {
    Drafted::Answer(Box::new(move || {
        let _ = reply.send(result);
    }))
}

fn draft_one(base: &mut Base, draft: &mut Draft, request: Request) -> Result<Drafted, StoreError> {
    Ok(match request {
        Request::Append { items, now, reply } => match base.append(draft, items, now) {
            Err(error @ StoreError::Full(_)) => later(reply, Err(error)),
            result => later(reply, Ok(result?)),
        },
        Request::Commit { moves, now, reply } => {
            let mut done = Vec::with_capacity(moves.len());
            for (token, commit) in moves {
                done.push(base.commit(draft, token, commit, now)?);
            }
            later(reply, Ok(done))
        }
        Request::Begin { tokens, reply } => {
            base.mark_begun(draft, &tokens)?;
            later(reply, Ok(()))
        }
        Request::Revive {
            replay,
            letters,
            note,
            now,
            reply,
        } => {
            base.note(draft, letters.iter().map(|(id, _)| *id), note)?;
            let mut done = Vec::with_capacity(letters.len());
            for (id, start) in letters {
                done.push(base.revive(draft, id, start, replay, now)?);
            }
            later(reply, Ok(done))
        }
        Request::Discard {
            ids,
            note,
            now,
            reply,
        } => {
            base.note(draft, ids.iter().copied(), note)?;
            let mut done = Vec::with_capacity(ids.len());
            for id in ids {
                done.push(base.discard(draft, id, now)?);
            }
            later(reply, Ok(done))
        }
        Request::Forget {
            person,
            before,
            now,
            reply,
        } => later(reply, Ok(base.forget(draft, &person, before, now)?)),
        Request::PutPapers { papers, reply } => {
            Base::put_papers(draft, &papers);
            // Also when there is nothing to write: what is answered is answered behind a sync.
            draft.used = true;
            later(reply, Ok(()))
        }
        other => Drafted::NotDurable(Box::new(other)),
    })
}

fn serve_one(base: &mut Base, request: Request) -> Result<Option<Reply<()>>, StoreError> {
    match request {
        Request::Lease {
            lane,
            now,
            at_most,
            reply,
        } => {
            let leased = base.lease(&lane, now, at_most)?;
            if let Err(Ok(leased)) = reply.send(Ok(leased)) {
                // Whoever asked has gone: nobody would ever commit these.
                base.give_back(&leased.iter().map(|leased| leased.token).collect::<Vec<_>>());
            }
        }
        Request::GiveBack { tokens, reply } => {
            base.give_back(&tokens);
            let _ = reply.send(Ok(()));
        }
        Request::NextDue { lane, now, reply } => {
            let _ = reply.send(Ok(base.next_due(&lane, now)?));
        }
        Request::Counts { now, reply } => {
            let _ = reply.send(Ok(base.counts(now)?));
        }
        Request::Budgets { reply } => {
            let _ = reply.send(Ok(base.budgets.clone()));
        }
        Request::DeadList {
            filter,
            after,
            limit,
            reply,
        } => {
            let _ = reply.send(Ok(base.dead_list(&filter, after, limit)?));
        }
        Request::DeadGet { id, reply } => {
            let _ = reply.send(Ok(base.dead_get(id)?));
        }
        Request::JobList {
            filter,
            after,
            limit,
            now,
            reply,
        } => {
            let _ = reply.send(Ok(base.job_list(&filter, after, limit, now)?));
        }
        Request::JobGet { id, now, reply } => {
            let _ = reply.send(Ok(base.job_get(id, now)?));
        }
        Request::Held {
            person,
            before,
            now,
            reply,
        } => {
            let _ = reply.send(Ok(base.held(&person, before, now)?));
        }
        Request::Timeline {
            participant,
            limit,
            now,
            reply,
        } => {
            let _ = reply.send(Ok(base.timeline(&participant, limit, now)?));
        }
        Request::Standing { event, reply } => {
            let _ = reply.send(Ok(base.standing(event)?));
        }
        Request::Search { trace, from, reply } => {
            let _ = reply.send(Ok(base.search(&trace, from.as_ref())?));
        }
        Request::BeginCopy { reply } => {
            let _ = reply.send(Ok(base.begin_copy()));
        }
        Request::GoOnCopying { number, reply } => match base.go_on_copying(number) {
            Err(error) if !matches!(error, StoreError::Copy(_)) => return Err(error),
            slice => {
                let _ = reply.send(slice);
            }
        },
        Request::EndCopy { number } => base.end_copy(number),
        Request::ReplayCounts { reply } => {
            let _ = reply.send(Ok(base.replays.clone()));
        }
        Request::Papers {
            shelf,
            limit,
            reply,
        } => {
            let _ = reply.send(Ok(base.papers(&shelf, limit)?));
        }
        Request::Close { reply } => return Ok(Some(reply)),
        Request::Append { .. }
        | Request::Commit { .. }
        | Request::Begin { .. }
        | Request::Revive { .. }
        | Request::Forget { .. }
        | Request::Discard { .. }
        | Request::PutPapers { .. } => {}
    }
    Ok(None)
}

fn stop(base: &mut Base, shared: &Shared) -> Result<(), StoreError> {
    let mut draft = Draft::default();
    base.write_budgets(&mut draft, shared.take_noted())?;
    base.apply(draft, false)?;
    base.make_durable()?;
    base.mark
        .sync()
        .map_err(|error| StoreError::Failed(format!("syncing the mark: {error}")))
}

#[cfg(test)]
mod tests;
