//! The traces of what is posted: each event goes on in the one it came with, or begins one, where traces are exported.
//!
//! Invariants: a `traceparent` that is none, or stands there twice, is as good as missing; it is never a reason to refuse
//! an event, and never says which event it is.

use hyper::header::HeaderMap;

use crate::flow::job::{Seed, Start};
use crate::model::rules::RuleBook;
use crate::model::time::Timestamp;
use crate::model::trace::{HEADER, TraceContext};
use crate::store::Appended;
use crate::telemetry::traces::{Span, Tracer, Value};

/// The trace of a request.
fn inbound(headers: &HeaderMap) -> Option<TraceContext> {
    let mut values = headers.get_all(HEADER).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    value.to_str().ok()?.trim().parse().ok()
}

/// Puts each event into its trace. Returns the spans of their acceptance, in order; none when nobody looks.
pub(super) fn begin(
    tracer: &Tracer,
    headers: &HeaderMap,
    rules: &RuleBook,
    seeds: &mut [Seed],
    since: Timestamp,
) -> Vec<Option<Span>> {
    let inbound = inbound(headers);
    let accept = |seed: &mut Seed| {
        let (onward, span) = tracer.accept(inbound, since);
        seed.event.trace = onward;
        let mut span = span?;
        span.attributes = about(seed, rules);
        Some(span)
    };
    seeds.iter_mut().map(accept).collect()
}

/// Notes what was accepted.
pub(super) fn end(
    tracer: &Tracer,
    spans: Vec<Option<Span>>,
    accepted: &[Appended],
    now: Timestamp,
) {
    for (span, accepted) in spans.into_iter().zip(accepted) {
        let Some(mut span) = span else {
            continue;
        };
        span.end = now;
        span.attributes.extend([
            ("relay.job", Value::Job(accepted.id.job(0))),
            ("relay.duplicate", Value::Is(accepted.duplicate)),
        ]);
        tracer.note(span);
    }
}

/// What may be told of an event: nothing of its own.
fn about(seed: &Seed, rules: &RuleBook) -> Vec<(&'static str, Value)> {
    let source = seed.event.source.as_str();
    let mut about = vec![("relay.source", Value::Word(source))];
    if let Some(rules) = rules.of(&seed.event) {
        about.extend([
            ("relay.workspace", Value::Name(rules.workspace.clone())),
            ("relay.activation", Value::Name(rules.scope.clone())),
        ]);
    }
    match &seed.start {
        Start::Run { job, .. } => {
            about.push(("relay.flow", Value::Word(job.state.flow().as_str())));
        }
        Start::Bury { burial, .. } => {
            about.push(("relay.reason", Value::Word(burial.reason.as_str())));
        }
    }
    about
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn one_good_traceparent_is_a_trace_and_anything_else_is_none() {
        let headers = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(HEADER, HeaderValue::from_static(value));
            }
            headers
        };
        assert_eq!(inbound(&headers(&[GOOD])), Some(GOOD.parse().unwrap()));
        for bad in [&[][..], &[""], &["00-x-y-01"], &[GOOD, GOOD]] {
            assert_eq!(inbound(&headers(bad)), None, "{bad:?}");
        }
    }
}
