//! What traces show of requests and of jobs' ends: of each call a span in its own job's trace, whatever else its request
//! carried.
//!
//! Invariants: a request tells the other side a trace only where all of its calls are of that one. The calls of one request
//! are linked: each says which was the first.

use super::holds::Activation;
use super::outcome::outcome_of;
use super::request::Asked;
use crate::client::Answers;
use crate::flow::job::{Flow, Outcome, Reason};
use crate::model::Name;
use crate::model::call::Call;
use crate::model::id::JobId;
use crate::model::lane::Lane;
use crate::model::time::Timestamp;
use crate::model::trace::TraceContext;
use crate::telemetry::traces::{Side, Span, Tracer, Value};

/// A request that belongs to traces.
pub(super) struct Outgoing<'t> {
    tracer: &'t Tracer,
    /// One for each call whose trace is recorded.
    spans: Vec<Option<Span>>,
    header: Option<TraceContext>,
}

impl<'t> Outgoing<'t> {
    /// `None` when nobody looks, or none of the calls belongs to a trace.
    pub(super) fn of(tracer: &'t Tracer, batch: &[Asked]) -> Option<Outgoing<'t>> {
        if !tracer.is_on() {
            return None;
        }
        let traces = || batch.iter().map(|asked| asked.event.trace);
        let any = traces().flatten().next()?;
        let spans: Vec<_> = batch
            .iter()
            .map(|asked| {
                let trace = asked.event.trace.filter(|trace| trace.sampled)?;
                let name = name(&asked.call);
                Some(Span::below(trace, name, Side::Client, Timestamp::ZERO))
            })
            .collect();
        let shared = traces().all(|trace| trace.is_some_and(|it| it.trace == any.trace));
        let first = spans.iter().flatten().next();
        let header = shared.then(|| TraceContext {
            parent: first.map_or(any.parent, |span| span.id),
            sampled: first.is_some(),
            ..any
        });
        Some(Outgoing {
            tracer,
            spans,
            header,
        })
    }

    /// What the request tells of its trace.
    pub(super) fn header(&self) -> Option<TraceContext> {
        self.header
    }

    /// Notes what became of each call. `status`: of the request; `took`: when it was sent and answered.
    pub(super) fn note(
        self,
        lane: &Lane,
        batch: &[Asked],
        answers: &Answers,
        status: Option<u16>,
        took: (Timestamp, Timestamp),
    ) {
        let first = self.spans.iter().flatten().next();
        let first = first.map(|span| (span.trace, span.id));
        let calls = self.spans.into_iter().zip(batch).zip(answers);
        for ((span, asked), answer) in calls {
            let Some(mut span) = span else {
                continue;
            };
            (span.start, span.end) = took;
            span.failed = answer.is_err();
            span.link = first.filter(|first| first.1 != span.id);
            let flow = asked.job.state.flow();
            let outcome = outcome_of(std::slice::from_ref(answer));
            span.attributes = about(asked.token.id, &lane.workspace, &asked.rules.scope, flow);
            span.attributes.extend([
                ("relay.lane", Value::Word(lane.kind.as_str())),
                ("relay.step", Value::Word(asked.job.state.step())),
                (
                    "relay.attempt",
                    Value::Number(u64::from(asked.job.attempts) + 1),
                ),
                ("relay.outcome", Value::Word(outcome.as_str())),
                ("relay.batch_size", Value::Number(batch.len() as u64)),
            ]);
            let status = status.map(|it| ("http.response.status_code", Value::Number(it.into())));
            span.attributes.extend(status);
            self.tracer.note(span);
        }
    }
}

/// Notes that a job has ended: done or dead.
pub(super) fn note_end(
    tracer: &Tracer,
    trace: Option<TraceContext>,
    id: JobId,
    (workspace, scope): &Activation,
    flow: Flow,
    end: Result<Outcome, Reason>,
    now: Timestamp,
) {
    let Some(trace) = trace.filter(|trace| trace.sampled && tracer.is_on()) else {
        return;
    };
    let (name, (key, word)) = match end {
        Ok(outcome) => ("done", ("relay.outcome", outcome.as_str())),
        Err(reason) => ("dead", ("relay.reason", reason.as_str())),
    };
    let mut attributes = about(id, workspace, scope, flow);
    attributes.push((key, Value::Word(word)));
    tracer.note(Span {
        failed: end.is_err(),
        attributes,
        ..Span::below(trace, name, Side::Internal, now)
    });
}

fn about(id: JobId, workspace: &Name, scope: &Name, flow: Flow) -> Vec<(&'static str, Value)> {
    vec![
        ("relay.job", Value::Job(id)),
        ("relay.workspace", Value::Name(workspace.clone())),
        ("relay.activation", Value::Name(scope.clone())),
        ("relay.flow", Value::Word(flow.as_str())),
    ]
}

/// What was asked: the lane's name, but for the lane that several kinds of call share.
const fn name(call: &Call) -> &'static str {
    match call {
        Call::ReadStatus { .. } => "subscription_status_get",
        Call::LookUp { .. }
        | Call::Recall
        | Call::Track(_)
        | Call::SetStatus(_)
        | Call::Credit(_)
        | Call::Delete(_) => call.lane().as_str(),
    }
}

#[cfg(test)]
mod tests;
