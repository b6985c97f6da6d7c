//! One request, many traces: what it tells, and what each of them shows.

#![expect(clippy::unwrap_used, reason = "tests may")]

use std::sync::Arc;

use super::*;
use crate::flow::job::{Job, State};
use crate::model::event::{Event, EventKind, Source};
use crate::model::id::EventId;
use crate::model::rules::Rules;
use crate::store::Token;
use crate::telemetry::Metrics;
use crate::telemetry::otlp::Exporter;

const NOW: Timestamp = Timestamp::from_millis(1_795_770_600_000);

fn on() -> (Metrics, Exporter) {
    Metrics::new().unwrap().traced(1.0)
}

fn trace(number: u8, sampled: bool) -> Option<TraceContext> {
    Some(TraceContext {
        trace: [number; 16],
        parent: [number; 8],
        sampled,
    })
}

/// The calls of jobs that belong to these traces.
fn batch(traces: &[Option<TraceContext>]) -> Vec<Asked> {
    let asked = |(number, trace): (usize, &Option<TraceContext>)| Asked {
        token: Token {
            id: EventId([number as u8; 16]).job(0),
            lease: 1,
        },
        event: Event {
            source: Source::Quikly,
            kind: EventKind::Progress,
            key: "1".into(),
            scope: "drop".into(),
            email: "ada@b.example".into(),
            email_given: None,
            trace: *trace,
            external_id: None,
            phone: None,
            sms_consent: false,
            at: NOW,
            accepted_at: NOW,
            attributes: None,
            event: None,
        },
        job: Job::new(State::Webhook, NOW),
        rules: Arc::new(Rules::plain("drop", "acme")),
        call: Call::Recall,
        known: None,
        who: None,
        saved: 0,
    };
    traces.iter().enumerate().map(asked).collect()
}

/// What a request of these tells of its trace.
fn told(traces: &[Option<TraceContext>]) -> Option<TraceContext> {
    let (metrics, _exporter) = on();
    Outgoing::of(metrics.tracer(), &batch(traces)).and_then(|it| it.header())
}

#[test]
fn a_request_tells_a_trace_only_where_all_of_its_calls_are_of_it() {
    let told_trace = |traces: &[_]| told(traces).map(|it| (it.trace, it.sampled));
    let (one, other) = (trace(1, true), trace(2, true));
    assert_eq!(told_trace(&[one]), Some(([1; 16], true)));
    assert_eq!(told_trace(&[one, one]), Some(([1; 16], true)));
    assert_eq!(told_trace(&[one, other]), None);
    assert_eq!(told_trace(&[one, None]), None);
    assert_eq!(told_trace(&[None, one]), None);
    assert_eq!(told_trace(&[None]), None);
    assert_eq!(told(&[trace(3, false)]), trace(3, false));
}

#[test]
fn every_call_is_shown_in_its_own_trace_and_linked_to_the_first() {
    let (metrics, mut exporter) = on();
    let batch = batch(&[None, trace(1, true), trace(2, false), trace(3, true)]);
    let lane = "acme/quikly".parse().unwrap();
    let denied = Err(crate::model::call::Failure::Denied(Default::default()));
    let answers = vec![
        Ok(crate::model::call::Reply::Tracked),
        Ok(crate::model::call::Reply::Tracked),
        denied.clone(),
        denied,
    ];
    let outgoing = Outgoing::of(metrics.tracer(), &batch).unwrap();
    let later = Timestamp::from_millis(NOW.as_millis() + 20);
    outgoing.note(&lane, &batch, &answers, Some(201), (NOW, later));
    let first = exporter.queue.try_recv().unwrap();
    let second = exporter.queue.try_recv().unwrap();
    assert!(exporter.queue.try_recv().is_err());
    assert_eq!(
        (first.trace, first.parent, first.link),
        ([1; 16], Some([1; 8]), None)
    );
    assert_eq!((second.trace, second.parent), ([3; 16], Some([3; 8])));
    assert_eq!(second.link, Some((first.trace, first.id)));
    assert_eq!((first.start, first.end), (NOW, later));
    assert_eq!((first.failed, second.failed), (false, true));
    let attribute = |span: &Span, key| {
        let mut attributes = span.attributes.iter();
        attributes.find(|it| it.0 == key).map(|it| it.1.clone())
    };
    assert_eq!(
        attribute(&second, "relay.outcome"),
        Some(Value::Word("denied"))
    );
    assert_eq!(
        attribute(&second, "relay.batch_size"),
        Some(Value::Number(4))
    );
    assert_eq!(
        attribute(&second, "http.response.status_code"),
        Some(Value::Number(201))
    );
}

#[test]
fn nobody_is_told_anything_where_nobody_looks() {
    let metrics = Metrics::new().unwrap();
    assert!(Outgoing::of(metrics.tracer(), &batch(&[trace(1, true)])).is_none());
}
