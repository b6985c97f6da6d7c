//! Traces as the relay sees them: what a span may say, who begins a trace, and the queue to whoever exports.
//!
//! Invariants: nothing waits for the export: a span that finds the queue full is dropped and counted. An attribute holds
//! what [`Value`] allows and so nothing that came in from outside: no address, no phone number, no token, no body. Without
//! an export nothing is made: everything here is one branch then.

use std::sync::Arc;

use prometheus::IntCounter;
use tokio::sync::mpsc;

use crate::model::Name;
use crate::model::id::JobId;
use crate::model::time::Timestamp;
use crate::model::trace::{SpanId, TraceContext};

/// How many spans wait for the export at most: some MB.
const QUEUE_MAX: usize = 8192;

/// On which side of a conversation it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// We were asked.
    Server,
    /// We asked.
    Client,
    /// Nobody else took part.
    Internal,
}

/// What an attribute may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number.
    Number(u64),
    /// Yes or no.
    Is(bool),
    /// One of a closed list.
    Word(&'static str),
    /// A name from the configuration.
    Name(Name),
    /// An id that we gave.
    Job(JobId),
}

/// Something that took place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// What.
    pub name: &'static str,
    /// On which side.
    pub side: Side,
    /// In which trace.
    pub trace: [u8; 16],
    /// As what.
    pub id: SpanId,
    /// Below what; `None`: it is the first.
    pub parent: Option<SpanId>,
    /// From.
    pub start: Timestamp,
    /// To.
    pub end: Timestamp,
    /// Whether it failed.
    pub failed: bool,
    /// A span of another trace that shows the same request.
    pub link: Option<([u8; 16], SpanId)>,
    /// What else is to be known of it.
    pub attributes: Vec<(&'static str, Value)>,
}

impl Span {
    /// Something in this trace, below its parent, with a new id; nothing else is known of it yet.
    pub fn below(at: TraceContext, name: &'static str, side: Side, start: Timestamp) -> Span {
        Span {
            name,
            side,
            trace: at.trace,
            id: span_id(),
            parent: Some(at.parent),
            start,
            end: start,
            failed: false,
            link: None,
            attributes: Vec::new(),
        }
    }
}

/// 122 random bits, never all zero.
fn random() -> [u8; 16] {
    uuid::Uuid::new_v4().into_bytes()
}

/// A new id; its half of [`random`] is never zero either.
fn span_id() -> SpanId {
    let [.., a, b, c, d, e, f, g, h] = random();
    [a, b, c, d, e, f, g, h]
}

#[derive(Debug)]
struct On {
    queue: mpsc::Sender<Span>,
    dropped: IntCounter,
    sample_ratio: f64,
}

/// Who begins and notes spans. Clones share one queue.
#[derive(Clone, Debug, Default)]
pub struct Tracer(Option<Arc<On>>);

impl Tracer {
    /// A tracer that notes spans for whoever has the other end; of what comes without a trace a new one begins for this
    /// part (0 to 1).
    pub(super) fn to(dropped: IntCounter, sample_ratio: f64) -> (Tracer, mpsc::Receiver<Span>) {
        let (queue, other_end) = mpsc::channel(QUEUE_MAX);
        let on = On {
            queue,
            dropped,
            sample_ratio,
        };
        (Tracer(Some(Arc::new(on))), other_end)
    }

    /// Whether anybody looks at traces.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// What begins with an event that came with this trace, or without any: where its jobs go on, and the span of its
    /// acceptance. An event of a trace that is not recorded goes on with it, without a span; one that came without a trace
    /// and is not among those looked at has neither.
    pub fn accept(
        &self,
        inbound: Option<TraceContext>,
        now: Timestamp,
    ) -> (Option<TraceContext>, Option<Span>) {
        let Some(on) = &self.0 else {
            return (None, None);
        };
        let (trace, parent) = match inbound {
            Some(quiet) if !quiet.sampled => return (Some(quiet), None),
            Some(inbound) => (inbound.trace, Some(inbound.parent)),
            None => {
                let trace = random();
                if !is_sampled(trace, on.sample_ratio) {
                    return (None, None);
                }
                (trace, None)
            }
        };
        let onward = TraceContext {
            trace,
            parent: span_id(),
            sampled: true,
        };
        let span = Span {
            id: onward.parent,
            parent,
            ..Span::below(onward, "accept", Side::Server, now)
        };
        (Some(onward), Some(span))
    }

    /// Notes a span; drops it where too many wait.
    pub fn note(&self, span: Span) {
        if let Some(on) = &self.0
            && on.queue.try_send(span).is_err()
        {
            on.dropped.inc();
        }
    }
}

/// Whether a new trace is looked at: decided by its id, so that everybody who asks decides alike.
fn is_sampled(trace: [u8; 16], ratio: f64) -> bool {
    let [.., a, b, c, d, e, f, g] = trace;
    let drawn = u64::from_be_bytes([0, a, b, c, d, e, f, g]);
    (drawn as f64) < ratio * (1_u64 << 56) as f64
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_770_600_000);

    fn tracer(ratio: f64) -> (Tracer, mpsc::Receiver<Span>, IntCounter) {
        let dropped = IntCounter::new("dropped", "dropped").unwrap();
        let (tracer, spans) = Tracer::to(dropped.clone(), ratio);
        (tracer, spans, dropped)
    }

    fn inbound(sampled: bool) -> TraceContext {
        TraceContext {
            trace: [7; 16],
            parent: [8; 8],
            sampled,
        }
    }

    #[test]
    fn an_event_goes_on_below_its_acceptance_in_the_trace_it_came_with() {
        let (tracer, _spans, _) = tracer(0.0);
        let (onward, span) = tracer.accept(Some(inbound(true)), NOW);
        let (onward, span) = (onward.unwrap(), span.unwrap());
        assert_eq!((onward.trace, onward.parent), ([7; 16], span.id));
        assert_eq!((span.trace, span.parent), ([7; 16], Some([8; 8])));
    }

    #[test]
    fn a_trace_that_is_not_recorded_goes_on_unchanged_and_unseen() {
        let (tracer, _spans, _) = tracer(1.0);
        let (onward, span) = tracer.accept(Some(inbound(false)), NOW);
        assert_eq!((onward, span), (Some(inbound(false)), None));
    }

    #[test]
    fn of_events_without_a_trace_the_given_part_begins_one() {
        let begun = |ratio| {
            let (tracer, _spans, _) = tracer(ratio);
            let begun = |_: &usize| tracer.accept(None, NOW).1.is_some();
            (0..2000).filter(begun).count()
        };
        assert_eq!(begun(0.0), 0);
        assert_eq!(begun(1.0), 2000);
        let half = begun(0.5);
        assert!((800..1200).contains(&half), "{half}");
    }

    #[test]
    fn what_finds_the_queue_full_is_dropped_and_counted() {
        let (tracer, mut spans, dropped) = tracer(1.0);
        for _ in 0..QUEUE_MAX + 3 {
            tracer.note(tracer.accept(None, NOW).1.unwrap());
        }
        assert_eq!(dropped.get(), 3);
        let mut kept = 0;
        while spans.try_recv().is_ok() {
            kept += 1;
        }
        assert_eq!(kept, QUEUE_MAX);
    }

    #[test]
    fn without_an_export_nothing_begins_and_nothing_goes_on() {
        let off = Tracer::default();
        assert_eq!(off.accept(Some(inbound(true)), NOW), (None, None));
    }
}
