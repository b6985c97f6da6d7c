//! The export of spans: OTLP over HTTP, protobuf, in batches.
//!
//! Invariants: the only file that names opentelemetry and prost. A batch that is not taken is dropped and counted, not kept:
//! what traces show matters less than what they show it of. Deliberately absent: HTTP itself, which the client layer knows,
//! and the environment variables by which SDKs are configured: what is exported, and where to, the configuration says.

use std::future::Future;
use std::pin::{Pin, pin};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span as Wire, Status};
use prometheus::IntCounter;
use prost::Message;
use tokio::sync::mpsc;

use super::traces::{Side, Span, Value};
use crate::model::time::Timestamp;

/// What the body of an export is.
pub const CONTENT_TYPE: &str = "application/x-protobuf";

/// How many spans one export carries at most.
const BATCH_MAX: usize = 512;

/// How long an export waits to be full; real time.
const LINGER: Duration = Duration::from_secs(1);

/// The flags of a span: it is sampled.
const SAMPLED: u32 = 1;

/// Sends one export; the error says why it was not taken, and nothing of what it is.
pub type Post =
    Box<dyn Fn(Vec<u8>) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

/// The other end of a tracer.
#[derive(Debug)]
pub struct Exporter {
    pub(crate) queue: mpsc::Receiver<Span>,
    pub(super) exported: IntCounter,
    pub(super) dropped: IntCounter,
}

impl Exporter {
    /// Exports what is noted, until `stop` is ready and nothing is left.
    pub async fn run(mut self, post: Post, stop: impl Future<Output = ()> + Send) {
        let mut stop = pin!(stop);
        let (mut stopping, mut failing) = (false, false);
        loop {
            let mut batch = Vec::new();
            tokio::select! {
                biased;
                () = &mut stop, if !stopping => {
                    stopping = true;
                    self.queue.close();
                    continue;
                }
                count = self.queue.recv_many(&mut batch, BATCH_MAX) => if count == 0 {
                    return;
                },
            }
            let mut patience = pin!(tokio::time::sleep(LINGER));
            while !stopping && batch.len() < BATCH_MAX {
                let room = BATCH_MAX - batch.len();
                tokio::select! {
                    biased;
                    () = &mut stop => {
                        stopping = true;
                        self.queue.close();
                    }
                    () = &mut patience => break,
                    count = self.queue.recv_many(&mut batch, room) => if count == 0 {
                        break;
                    },
                }
            }
            failing = self.export(batch, &post, failing).await;
        }
    }

    /// Whether it fails now.
    async fn export(&self, batch: Vec<Span>, post: &Post, failing: bool) -> bool {
        let count = batch.len() as u64;
        match post(body(batch)).await {
            Ok(()) => {
                self.exported.inc_by(count);
                if failing {
                    tracing::info!("traces are exported again");
                }
                false
            }
            Err(why) => {
                self.dropped.inc_by(count);
                if !failing {
                    tracing::warn!(
                        why,
                        "traces cannot be exported: they are dropped and counted until they can"
                    );
                }
                true
            }
        }
    }
}

/// The body of an export.
fn body(spans: Vec<Span>) -> Vec<u8> {
    let scope = InstrumentationScope {
        name: env!("CARGO_PKG_NAME").into(),
        version: env!("CARGO_PKG_VERSION").into(),
        ..InstrumentationScope::default()
    };
    let text = |text: &str| Any::StringValue(text.into());
    let resource = Resource {
        attributes: vec![
            pair("service.name", text(env!("CARGO_PKG_NAME"))),
            pair("service.version", text(env!("CARGO_PKG_VERSION"))),
        ],
        ..Resource::default()
    };
    let spans = ScopeSpans {
        scope: Some(scope),
        spans: spans.into_iter().map(wire).collect(),
        ..ScopeSpans::default()
    };
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource),
            scope_spans: vec![spans],
            ..ResourceSpans::default()
        }],
    };
    request.encode_to_vec()
}

fn wire(span: Span) -> Wire {
    let kind = match span.side {
        Side::Server => SpanKind::Server,
        Side::Client => SpanKind::Client,
        Side::Internal => SpanKind::Internal,
    };
    let link = |(trace, id): ([u8; 16], [u8; 8])| Link {
        trace_id: trace.into(),
        span_id: id.into(),
        flags: SAMPLED,
        ..Link::default()
    };
    Wire {
        trace_id: span.trace.into(),
        span_id: span.id.into(),
        parent_span_id: span.parent.map(Vec::from).unwrap_or_default(),
        flags: SAMPLED,
        name: span.name.into(),
        kind: kind.into(),
        start_time_unix_nano: nanos(span.start),
        end_time_unix_nano: nanos(span.end),
        attributes: span
            .attributes
            .into_iter()
            .map(|(key, value)| pair(key, any(value)))
            .collect(),
        links: span.link.map(link).into_iter().collect(),
        status: span.failed.then(|| Status {
            code: StatusCode::Error.into(),
            ..Status::default()
        }),
        ..Wire::default()
    }
}

fn nanos(at: Timestamp) -> u64 {
    at.as_millis().saturating_mul(1_000_000)
}

fn any(value: Value) -> Any {
    match value {
        Value::Number(number) => Any::IntValue(i64::try_from(number).unwrap_or(i64::MAX)),
        Value::Is(is) => Any::BoolValue(is),
        Value::Word(word) => Any::StringValue(word.into()),
        Value::Name(name) => Any::StringValue(name.to_string()),
        Value::Job(id) => Any::StringValue(id.to_string()),
    }
}

fn pair(key: &str, value: Any) -> KeyValue {
    KeyValue {
        key: key.into(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::telemetry::Metrics;

    /// Notes so many spans, exports them as `answer` says, and stops: what was posted, exported and dropped.
    async fn exported(spans: usize, answer: Result<(), String>) -> (Vec<usize>, u64, u64) {
        let (metrics, exporter) = Metrics::new().unwrap().traced(1.0);
        let counted = (exporter.exported.clone(), exporter.dropped.clone());
        for _ in 0..spans {
            let (_, span) = metrics.tracer().accept(None, Timestamp::ZERO);
            metrics.tracer().note(span.unwrap());
        }
        let posted = Arc::<Mutex<Vec<usize>>>::default();
        let books = posted.clone();
        let post: Post = Box::new(move |body| {
            let request = ExportTraceServiceRequest::decode(&body[..]).unwrap();
            let spans = &request.resource_spans[0].scope_spans[0].spans;
            books.lock().unwrap().push(spans.len());
            Box::pin(std::future::ready(answer.clone()))
        });
        exporter.run(post, std::future::ready(())).await;
        let posted = posted.lock().unwrap().clone();
        (posted, counted.0.get(), counted.1.get())
    }

    #[tokio::test]
    async fn what_waits_is_exported_in_batches_before_a_stop() {
        let whole = exported(BATCH_MAX * 2 + 5, Ok(())).await;
        let (posted, exported, dropped) = whole;
        assert_eq!(posted, [BATCH_MAX, BATCH_MAX, 5]);
        assert_eq!((exported, dropped), (BATCH_MAX as u64 * 2 + 5, 0));
    }

    #[tokio::test]
    async fn what_is_not_taken_is_dropped_and_counted() {
        let (posted, exported, dropped) = exported(7, Err("503".into())).await;
        assert_eq!((posted, exported, dropped), (vec![7], 0, 7));
    }

    #[tokio::test(start_paused = true)]
    async fn while_an_export_hangs_spans_are_noted_and_dropped_at_once() {
        let (metrics, exporter) = Metrics::new().unwrap().traced(1.0);
        let dropped = exporter.dropped.clone();
        let hang: Post = Box::new(|_| Box::pin(std::future::pending()));
        let exporting = tokio::spawn(exporter.run(hang, std::future::pending()));
        for _ in 0..20_000 {
            let (_, span) = metrics.tracer().accept(None, Timestamp::ZERO);
            metrics.tracer().note(span.unwrap());
            tokio::task::yield_now().await;
        }
        assert!(dropped.get() > 10_000, "{}", dropped.get());
        exporting.abort();
    }
}
