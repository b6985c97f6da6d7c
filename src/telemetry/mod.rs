//! Metrics, logs and traces: what operators watch.
//!
//! Invariants: names and labels are those of the design and nothing else; no label has unbounded values; nothing
//! here scans the store; nothing personal, no token and no body is ever a label, a field or an attribute.

mod gauges;
mod labels;
pub mod logs;
pub mod otlp;
pub mod traces;

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder,
};

pub use self::gauges::{Family, Gauges};
pub use self::labels::{Intake, RequestOutcome};
use self::otlp::Exporter;
use self::traces::Tracer;

use crate::flow::job::{Flow, Outcome, Reason};
use crate::model::event::Source;
use crate::model::lane::Lane;

/// The label value of a workspace, activation or flow that is not known.
pub const NONE: &str = "none";

/// What becomes of a span.
const SPANS: [&str; 2] = ["exported", "dropped"];

/// The flows that this version runs.
const FLOWS: [Flow; 7] = [
    Flow::Email,
    Flow::Sms,
    Flow::DoubleOptIn,
    Flow::Progress,
    Flow::Credit,
    Flow::Webhook,
    Flow::Outgrow,
];

/// How a job of `flow` can end well.
const fn outcomes(flow: Flow) -> &'static [Outcome] {
    match flow {
        Flow::Email | Flow::Progress => &[Outcome::Created, Outcome::Found, Outcome::Updated],
        Flow::Sms => &[
            Outcome::AlreadySubscribed,
            Outcome::Subscribed,
            Outcome::OptedOut,
            Outcome::NoPhone,
            Outcome::NoConsent,
        ],
        Flow::DoubleOptIn => &[
            Outcome::AlreadySubscribed,
            Outcome::Subscribed,
            Outcome::NotConfirmed,
            Outcome::NoPhone,
            Outcome::NoConsent,
        ],
        Flow::Credit => &[Outcome::Credited],
        Flow::Webhook => &[Outcome::PassedOn],
        Flow::Outgrow => &[
            Outcome::Updated,
            Outcome::UpdatedInPart,
            Outcome::NothingToWrite,
        ],
        Flow::Erase => &[Outcome::Erased, Outcome::NothingToErase],
    }
}

/// What a job that has begun can die of, in every flow of this version.
const REASONS: [Reason; 4] = [
    Reason::Rejected,
    Reason::GaveUp,
    Reason::UnknownOutcome,
    Reason::UnknownActivation,
];

/// What a job of `flow` alone can die of.
const fn own_reasons(flow: Flow) -> &'static [Reason] {
    match flow {
        Flow::Sms => &[Reason::PhoneMismatch, Reason::NotSubscribed],
        Flow::DoubleOptIn => &[Reason::PhoneMismatch],
        Flow::Outgrow => &[Reason::BadAnswer, Reason::NoProfile],
        Flow::Progress => &[Reason::NoProfile],
        Flow::Email | Flow::Credit | Flow::Webhook | Flow::Erase => &[],
    }
}

/// Everything that is counted as it happens. Gauges are set from the store's counts when somebody asks.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    events: IntCounterVec,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    calls_per_request: HistogramVec,
    dead: IntCounterVec,
    done: IntCounterVec,
    credits: IntCounterVec,
    look_ups_saved: IntCounterVec,
    dead_expiring: IntGaugeVec,
    event_done_seconds: HistogramVec,
    due_lag_seconds: Histogram,
    commit_seconds: Histogram,
    spans: IntCounterVec,
    tracer: Tracer,
}

/// A metric that is made twice or with a wrong name: a mistake in this file.
#[derive(Debug, thiserror::Error)]
#[error("metrics: {0}")]
pub struct MetricsError(#[from] prometheus::Error);

impl Metrics {
    /// All metrics, at zero.
    pub fn new() -> Result<Metrics, MetricsError> {
        let registry = Registry::new();
        let counter =
            |name: &str, help: &str, labels: &[&str]| -> Result<IntCounterVec, MetricsError> {
                let made = IntCounterVec::new(Opts::new(name, help), labels)?;
                registry.register(Box::new(made.clone()))?;
                Ok(made)
            };
        let histogram = |name: &str, help: &str, labels: &[&str], buckets: &[f64]| {
            let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            let made = HistogramVec::new(opts, labels)?;
            registry.register(Box::new(made.clone()))?;
            Ok::<_, MetricsError>(made)
        };
        let short = [
            0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
        ];
        let long = [
            0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 180.0, 600.0, 3600.0, 21_600.0, 86_400.0, 604_800.0,
        ];
        let single = |name: &str, help: &str| {
            let made =
                Histogram::with_opts(HistogramOpts::new(name, help).buckets(short.to_vec()))?;
            registry.register(Box::new(made.clone()))?;
            Ok::<_, MetricsError>(made)
        };
        let dead_expiring = IntGaugeVec::new(
            Opts::new(
                "relay_dead_expiring",
                "Dead letters that store.dead_retention discards soon, as of the last look at all of them.",
            ),
            &["workspace"],
        )?;
        registry.register(Box::new(dead_expiring.clone()))?;
        Ok(Metrics {
            dead_expiring,
            events: counter(
                "relay_events_total",
                "Events posted to the relay.",
                &["source", "result"],
            )?,
            requests: counter(
                "relay_requests_total",
                "HTTP requests sent to Braze and Quikly.",
                &["workspace", "lane", "outcome"],
            )?,
            request_seconds: histogram(
                "relay_request_seconds",
                "How long requests to Braze and Quikly took.",
                &["workspace", "lane"],
                &short,
            )?,
            calls_per_request: histogram(
                "relay_calls_per_request",
                "How many jobs' calls one request carried.",
                &["workspace", "lane"],
                &[1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 50.0, 70.0, 75.0],
            )?,
            dead: counter(
                "relay_dead_total",
                "Jobs that became dead letters.",
                &["workspace", "flow", "reason"],
            )?,
            done: counter(
                "relay_done_total",
                "Jobs that ended well.",
                &["workspace", "flow", "outcome"],
            )?,
            credits: counter(
                "relay_credits_total",
                "Credits told to Quikly.",
                &["workspace", "outcome"],
            )?,
            look_ups_saved: counter(
                "relay_look_ups_saved_total",
                "Look-ups answered from what is remembered of participants.",
                &["workspace"],
            )?,
            event_done_seconds: histogram(
                "relay_event_done_seconds",
                "From acceptance of an event to the end of a job of it.",
                &["flow"],
                &long,
            )?,
            due_lag_seconds: single("relay_due_lag_seconds", "How late due jobs were taken up.")?,
            commit_seconds: single("relay_commit_seconds", "How long durable commits took.")?,
            spans: counter(
                "relay_spans_total",
                "Spans of traces, by what became of them.",
                &["result"],
            )?,
            tracer: Tracer::default(),
            registry,
        })
    }

    /// The same with an export of traces; of events that come without one, this part (0 to 1) begins a trace.
    #[must_use]
    pub fn traced(self, sample_ratio: f64) -> (Metrics, Exporter) {
        let [exported, dropped] = SPANS.map(|result| self.spans.with_label_values(&[result]));
        let (tracer, queue) = Tracer::to(dropped.clone(), sample_ratio);
        let exporter = Exporter {
            queue,
            exported,
            dropped,
        };
        (Metrics { tracer, ..self }, exporter)
    }

    /// Who notes what traces show.
    pub fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    /// Every series there can be with these lanes is there from now on, at 0 until something happens: every source and
    /// result; for every lane its requests; for every workspace of theirs the flows of this version with their outcomes
    /// and reasons. What has been counted stays.
    pub fn announce<'a>(&self, lanes: impl IntoIterator<Item = &'a Lane>) {
        for source in Source::ALL {
            for intake in Intake::ALL {
                self.intake(source, intake, 0);
            }
        }
        for result in SPANS {
            let _ = self.spans.with_label_values(&[result]);
        }
        for flow in FLOWS {
            let _ = self.event_done_seconds.with_label_values(&[flow.as_str()]);
        }
        self.announce_dead(NONE, NONE, Reason::UnknownActivation);
        let _ = self.dead_expiring.with_label_values(&[NONE]);
        for lane in lanes {
            let labels = [&*lane.workspace, lane.kind.as_str()];
            for outcome in RequestOutcome::ALL {
                self.requests
                    .with_label_values(&[labels[0], labels[1], outcome.as_str()])
                    .inc_by(0);
            }
            let _ = self.request_seconds.with_label_values(&labels);
            let _ = self.calls_per_request.with_label_values(&labels);
            self.announce_workspace(&lane.workspace);
        }
    }

    fn announce_workspace(&self, workspace: &str) {
        self.look_up_saved(workspace, 0);
        let _ = self.dead_expiring.with_label_values(&[workspace]);
        self.announce_dead(workspace, NONE, Reason::NoFlow);
        for flow in FLOWS {
            for outcome in outcomes(flow) {
                self.done
                    .with_label_values(&[workspace, flow.as_str(), outcome.as_str()])
                    .inc_by(0);
            }
            for reason in REASONS {
                self.announce_dead(workspace, flow.as_str(), reason);
            }
            for reason in own_reasons(flow) {
                self.announce_dead(workspace, flow.as_str(), *reason);
            }
        }
        let credited = outcomes(Flow::Credit)
            .iter()
            .map(|outcome| outcome.as_str());
        for outcome in credited.chain(REASONS.map(Reason::as_str)) {
            self.credits
                .with_label_values(&[workspace, outcome])
                .inc_by(0);
        }
    }

    fn announce_dead(&self, workspace: &str, flow: &str, reason: Reason) {
        self.dead
            .with_label_values(&[workspace, flow, reason.as_str()])
            .inc_by(0);
    }

    /// Everything counted so far and these gauges, as Prometheus text (exposition format 0.0.4), by name.
    pub fn text(&self, gauges: &Gauges) -> Result<String, MetricsError> {
        let mut families = self.registry.gather();
        families.extend(gauges.gather());
        families.sort_by(|one, other| one.name().cmp(other.name()));
        let text = TextEncoder::new().encode_to_string(&families)?;
        // The encoder writes what has no end as Rust does, the exposition format as Go.
        Ok(text.replace(" inf\n", " +Inf\n"))
    }

    /// So many dead letters of a workspace are discarded soon.
    pub fn dead_expiring(&self, workspace: &str, count: u64) {
        let expiring = self.dead_expiring.with_label_values(&[workspace]);
        expiring.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// So many look-ups were not needed.
    pub fn look_up_saved(&self, workspace: &str, count: u64) {
        let saved = self.look_ups_saved.with_label_values(&[workspace]);
        saved.inc_by(count);
    }

    /// `count` events of one source came to this.
    pub fn intake(&self, source: Source, intake: Intake, count: u64) {
        self.events
            .with_label_values(&[source.as_str(), intake.as_str()])
            .inc_by(count);
    }

    /// One request was answered.
    pub fn request(&self, lane: &Lane, outcome: RequestOutcome, seconds: f64, calls: usize) {
        let labels = [&*lane.workspace, lane.kind.as_str()];
        self.requests
            .with_label_values(&[labels[0], labels[1], outcome.as_str()])
            .inc();
        self.request_seconds
            .with_label_values(&labels)
            .observe(seconds);
        self.calls_per_request
            .with_label_values(&labels)
            .observe(calls as f64);
    }

    /// A job ended well. `seconds` since its event was accepted.
    pub fn done(&self, workspace: &str, flow: Flow, outcome: Outcome, seconds: f64) {
        self.done
            .with_label_values(&[workspace, flow.as_str(), outcome.as_str()])
            .inc();
        self.event_done_seconds
            .with_label_values(&[flow.as_str()])
            .observe(seconds);
        if flow == Flow::Credit {
            self.credits
                .with_label_values(&[workspace, outcome.as_str()])
                .inc();
        }
    }

    /// A job died.
    pub fn dead(&self, workspace: &str, flow: Option<Flow>, reason: Reason) {
        let label = flow.map_or(NONE, Flow::as_str);
        self.dead
            .with_label_values(&[workspace, label, reason.as_str()])
            .inc();
        if flow == Some(Flow::Credit) {
            self.credits
                .with_label_values(&[workspace, reason.as_str()])
                .inc();
        }
    }

    /// A job was taken up so many seconds after it was due.
    pub fn due_lag(&self, seconds: f64) {
        self.due_lag_seconds.observe(seconds);
    }

    /// A commit became durable.
    pub fn commit(&self, seconds: f64) {
        self.commit_seconds.observe(seconds);
    }
}
