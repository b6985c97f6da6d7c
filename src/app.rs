//! The whole relay put together: store, engine and the two listeners, from start to stop.
//!
//! The only place that names adapters: which store, which client. Everything else speaks to their ports.

pub mod offline;

use std::fmt::Write as _;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use url::Url;

use crate::client::Outside;
use crate::client::http::{Http, Method};
use crate::clock::Clock;
use crate::config::{self, Config, Part};
use crate::engine::{Engine, EngineSettings};
use crate::flow;
use crate::ingest::{self, Ingest};
use crate::model::rules::RuleBook;
use crate::ops::{self, Office, Ops};
use crate::store::sled::{Place, SledStore};
use crate::store::{Settings, StoreError};
use crate::telemetry::Metrics;
use crate::telemetry::otlp::{self, Exporter, Post};

/// Why the relay did not start, or stopped by itself. The exit code is [`AppError::exit_code`].
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// A setting that cannot be followed.
    #[error("{0}")]
    Configuration(String),
    /// The store cannot be opened, or must not be.
    #[error("{0}")]
    Refused(StoreError),
    /// A listener could not be bound.
    #[error("{key} = {address} cannot be listened on: {error}")]
    Listen {
        /// The configuration key.
        key: &'static str,
        /// What it says.
        address: SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
    /// Something failed while it ran; nothing was acknowledged after that.
    #[error("{0}")]
    Failed(String),
}

impl AppError {
    /// 1 failed, 2 usage or configuration, 3 store refused.
    pub const fn exit_code(&self) -> u8 {
        match self {
            AppError::Configuration(_) => 2,
            AppError::Refused(_) => 3,
            AppError::Listen { .. } | AppError::Failed(_) => 1,
        }
    }
}

/// By so much a clock is corrected without a word.
const CLOCK_SLACK: Duration = Duration::from_secs(1);

/// A relay that is ready to run: the store is open and both listeners are bound.
pub struct App {
    config: Config,
    clock: Clock,
    store: SledStore,
    engine: Engine<SledStore, Outside>,
    metrics: Arc<Metrics>,
    export: Option<(Exporter, Post)>,
    rules: watch::Sender<Arc<RuleBook>>,
    effective: watch::Sender<Arc<[Part]>>,
    ingest: TcpListener,
    ops: TcpListener,
}

impl App {
    /// Opens the store and binds the listeners.
    pub async fn open(config: Config, clock: Clock) -> Result<App, AppError> {
        refuse_what_is_not_there(&config)?;
        refuse_speed_off_loopback(&config, &clock)?;
        let metrics = Metrics::new().map_err(|error| AppError::Failed(error.to_string()))?;
        let (metrics, export) = match &config.traces {
            None => (metrics, None),
            Some(traces) => {
                let (metrics, exporter) = metrics.traced(traces.sample);
                (metrics, Some((exporter, post_to(traces.endpoint.clone())?)))
            }
        };
        let metrics = Arc::new(metrics);
        let ingest = bind("ingest.listen", config.ingest.listen).await?;
        let ops = bind("ops.listen", config.ops.listen).await?;
        let (place, settings) = store_settings(&config);
        let opened = metrics.clone();
        let store =
            tokio::task::spawn_blocking(move || SledStore::open(place, settings, Some(opened)))
                .await
                .map_err(|error| AppError::Failed(error.to_string()))?
                .map_err(AppError::Refused)?;
        let (clock, behind) = clock.not_before(store.last_time());
        if behind >= CLOCK_SLACK {
            tracing::error!(
                seconds = behind.as_secs(),
                "the clock is behind the last time this store was used: whatever waits would wait for that as well, so \
                 the relay goes on from then; set the clock"
            );
        }
        let client = Outside::new(&config, clock.clone())
            .map_err(|error| AppError::Configuration(error.to_string()))?;
        let book = Arc::new(config.rules.clone());
        let engine = Engine::new(
            store.clone(),
            client,
            clock.clone(),
            metrics.clone(),
            &EngineSettings::of(&config),
            book.clone(),
            clock.now().as_millis(),
        )
        .await
        .map_err(AppError::Refused)?;
        let effective = config.effective.clone();
        Ok(App {
            config,
            clock,
            store,
            engine,
            metrics,
            export,
            rules: watch::Sender::new(book),
            effective: watch::Sender::new(effective),
            ingest,
            ops,
        })
    }

    /// Where the two listeners are bound: ingest, ops.
    pub fn addresses(&self) -> std::io::Result<(SocketAddr, SocketAddr)> {
        Ok((self.ingest.local_addr()?, self.ops.local_addr()?))
    }

    /// Runs until `stop` is done or something fails. Then: no new events, what has begun is finished, what is in flight
    /// is waited for or given back, and the store is closed.
    pub async fn run(
        self,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), AppError> {
        let App {
            config,
            clock,
            store,
            engine,
            metrics,
            export,
            rules,
            effective,
            ingest: ingest_listener,
            ops: ops_listener,
        } = self;
        let within = config.stop_within;
        let stopping = watch::Sender::new(false);
        let stopped = || {
            let mut told = stopping.subscribe();
            async move {
                let _ = told.wait_for(|stopping| *stopping).await;
            }
        };
        let ingest = Arc::new(Ingest::new(
            store.clone(),
            config.ingest.clone(),
            rules.subscribe(),
            metrics.clone(),
            clock.clone(),
            flow::start,
        ));
        let taking = tokio::spawn(ingest::serve(ingest_listener, ingest, stopped(), within));
        let failing = store.clone();
        let ops = Ops {
            store: store.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
            rules: rules.subscribe(),
            effective: effective.subscribe(),
            desk: Arc::new(engine.clone()),
            trouble: Arc::new(move || failing.trouble()),
            tokens: config.ops.tokens.clone(),
            version: env!("CARGO_PKG_VERSION"),
            office: Office::default(),
        };
        // Heard once everything else has stopped, so that the last spans leave, too.
        let (all_noted, noted) = oneshot::channel::<()>();
        let exporting = export.map(|(exporter, post)| {
            tokio::spawn(exporter.run(post, async move {
                let _ = noted.await;
            }))
        });
        let mut operating = tokio::spawn(ops::serve(ops_listener, Arc::new(ops), stopped()));
        let working = engine.clone();
        let engine_stop = stopped();
        let mut engine = tokio::spawn(async move { working.run(engine_stop).await });
        let ended = tokio::select! {
            () = stop => Ok(()),
            why = store.failed() => Err(AppError::Failed(why)),
            ended = &mut engine => Err(AppError::Failed(match ended {
                Ok(Ok(())) => "the engine ended by itself".into(),
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            })),
            ended = &mut operating => Err(AppError::Failed(match ended {
                Ok(Ok(())) => "the ops listener ended by itself".into(),
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            })),
        };
        if ended.is_ok() {
            tracing::info!("stopping: what has begun is finished first");
        }
        stopping.send_replace(true);
        let deadline = within + Duration::from_secs(1);
        let cut = tokio::time::sleep(within);
        let _ = tokio::time::timeout(deadline, taking).await;
        if !operating.is_finished() {
            let _ = tokio::time::timeout(Duration::from_secs(2), operating).await;
        }
        if ended.is_ok() {
            let _ = tokio::time::timeout(deadline, engine).await;
            tokio::select! {
                closed = store.close() => closed.map_err(|error| AppError::Failed(error.to_string()))?,
                why = store.failed() => return Err(AppError::Failed(why)),
            }
        }
        drop(all_noted);
        if let (Some(exporting), true) = (exporting, ended.is_ok()) {
            tokio::select! {
                _ = exporting => {}
                () = cut => tracing::warn!("the time to stop is over: traces that were not exported yet are lost"),
            }
        }
        ended
    }
}

/// How long an export may take.
const EXPORT_WITHIN: Duration = Duration::from_secs(10);

/// How much of a collector's answer is read: nothing of it is of use. Bytes.
const EXPORT_ANSWER_MAX: usize = 4096;

/// Exports to this collector.
fn post_to(endpoint: Url) -> Result<Post, AppError> {
    let http = Http::new(1, EXPORT_WITHIN / 2)
        .map_err(|error| AppError::Configuration(error.to_string()))?;
    Ok(Box::new(move |body| {
        let (http, endpoint) = (http.clone(), endpoint.clone());
        Box::pin(async move {
            let headers = [("content-type", otlp::CONTENT_TYPE)];
            let (within, cap) = (EXPORT_WITHIN, EXPORT_ANSWER_MAX);
            let posted = http.request(Method::POST, &endpoint, &headers, Some(body), within, cap);
            match posted.await {
                Ok(answer) if (200..300).contains(&answer.status) => Ok(()),
                Ok(answer) => Err(format!("the collector answers {}", answer.status)),
                Err(trouble) => Err(trouble.to_string()),
            }
        })
    }))
}

fn refuse_what_is_not_there(config: &Config) -> Result<(), AppError> {
    if config.not_yet.is_empty() {
        return Ok(());
    }
    let mut text = String::from("this version cannot do what the configuration asks for:");
    for item in &config.not_yet {
        let _ = write!(
            text,
            "\n  line {}: {}: {}",
            item.line, item.key, item.feature
        );
    }
    Err(AppError::Configuration(text))
}

/// Sped-up time is for sandboxes: at Braze itself it would break every limit.
fn refuse_speed_off_loopback(config: &Config, clock: &Clock) -> Result<(), AppError> {
    if (clock.speed() - 1.0).abs() < f64::EPSILON {
        return Ok(());
    }
    let urls = config.workspaces.values().flat_map(|workspace| {
        std::iter::once(&workspace.braze.url)
            .chain(workspace.quikly.as_ref().map(|quikly| &quikly.url))
    });
    match urls
        .into_iter()
        .find(|url| !config::field::is_loopback(url))
    {
        None => Ok(()),
        Some(url) => Err(AppError::Configuration(format!(
            "--clock-speed is for sandboxes, and {} is not on loopback",
            url.host_str().unwrap_or("a URL")
        ))),
    }
}

async fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, AppError> {
    TcpListener::bind(address)
        .await
        .map_err(|error| AppError::Listen {
            key,
            address,
            error,
        })
}

fn store_settings(config: &Config) -> (Place, Settings) {
    let store = &config.store;
    let place = Place {
        path: store.path.clone(),
        cache_bytes: store.cache_bytes,
        reserve_bytes: store.reserve_bytes,
        ballast_bytes: store.ballast_bytes,
        young_max: Place::YOUNG_MAX,
    };
    // Each workspace's own is the engine's to keep; the store forgets what none of them would believe.
    let known_for = config.workspaces.values().map(|it| it.braze.known_for);
    let settings = Settings {
        event_dedupe: store.event_dedupe,
        credit_dedupe: store.credit_dedupe,
        webhook_dedupe: store.webhook_dedupe,
        done_retention: store.done_retention,
        dead_retention: store.dead_retention,
        known_for: known_for.max().unwrap_or_default(),
        max_jobs: store.max_jobs,
    };
    (place, settings)
}
