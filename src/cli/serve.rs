//! `braze-relay serve`: the relay itself, until it is told to stop.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use crate::app::{Again, App, AppError};
use crate::config::{Config, Env};
use crate::telemetry;

/// Run the relay
///
/// Listens for events on ingest.listen and for operators on ops.listen, and works the queue until SIGTERM or SIGINT;
/// then finishes what has begun (serve.stop_within) and exits. Check the configuration first: braze-relay check.
/// SIGHUP, or braze-relay reload, reads it anew and applies it whole, or changes nothing and says why.
///
/// Exit codes: 0 stopped, 1 failed, 2 usage or configuration, 3 the store cannot be opened as it is.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file (TOML)
    #[arg(long, value_name = "F")]
    config: PathBuf,
    #[command(flatten)]
    time: super::TimeArgs,
}

/// Runs the command; returns the exit code.
pub fn run(args: &Args) -> u8 {
    telemetry::logs::init();
    let (file, env) = (args.config.clone(), Env::from_process());
    let source = move || Config::load(&file, &env);
    let loaded = match source() {
        Ok(loaded) => loaded,
        Err(mistakes) => {
            for mistake in &mistakes.0 {
                tracing::error!(file = %args.config.display(), line = mistake.line, "{mistake}");
            }
            return 2;
        }
    };
    telemetry::logs::begin(loaded.config.log_level.as_str());
    for warning in &loaded.warnings {
        tracing::warn!(file = %args.config.display(), line = warning.line, "{warning}");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "the runtime cannot be started");
            return 1;
        }
    };
    let clock = args.time.clock();
    let ended = runtime.block_on(async move {
        let failed = |error: std::io::Error| AppError::Failed(error.to_string());
        let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
        let asked = Arc::new(Notify::new());
        let again = Again {
            source: Arc::new(source),
            asked: asked.clone(),
        };
        tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                asked.notify_one();
            }
        });
        let app = App::open(loaded.config, clock).await?.reloading(again);
        let (ingest, ops) = app.addresses().map_err(failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        tracing::info!(%ingest, %ops, version = env!("CARGO_PKG_VERSION"), "ready");
        // The one line of standard output, for programs that start us on port 0.
        let _ = writeln!(
            std::io::stdout(),
            "ready ingest=http://{ingest} ops=http://{ops}"
        );
        app.run(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
        .await
    });
    // What is still running then has been given up already.
    runtime.shutdown_background();
    match ended {
        Ok(()) => {
            tracing::info!("stopped");
            0
        }
        Err(error) => {
            tracing::error!("{error}");
            error.exit_code()
        }
    }
}
