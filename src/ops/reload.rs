//! `POST /api/v1/reload`, and a signal: the configuration is read anew, and applied whole or not at all.
//!
//! Invariants: whoever asks for it, it is told in the log, and written down in the audit when something was applied; where
//! that cannot be written, the log says so. No value of a key is told anywhere. What is read and applied is given from above.

use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde_json::json;

use super::Ops;
use super::asked::parsed;
use super::audit::{Deed, Who};
use super::problem::Problem;
use super::wire::{NewReload, Orphan, ReloadMistake, Reloaded};
use crate::store::{Operate, Store, StoreError};

/// Reads the configuration anew and goes by it; `true`: whatever jobs that leaves without settings.
pub type Reload = Arc<dyn Fn(bool) -> Reloading + Send + Sync>;

/// A reload under way.
pub type Reloading = Pin<Box<dyn Future<Output = Result<Reloaded, NotReloaded>> + Send>>;

/// Why everything is as it was.
#[derive(Debug, thiserror::Error)]
pub enum NotReloaded {
    /// There is no file.
    #[error("this relay was not started from a file that could be read anew")]
    NoFile,
    /// The file cannot be used.
    #[error("{}", told_mistakes(.0))]
    Mistakes(Vec<ReloadMistake>),
    /// Jobs would be left without settings.
    #[error("{}", told_orphans(.0))]
    Orphans(Vec<Orphan>),
    /// The store cannot say whose jobs are alive.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn told_mistakes(mistakes: &[ReloadMistake]) -> String {
    let mut text = String::from("the configuration cannot be used, and nothing was changed:");
    for mistake in mistakes {
        let _ = write!(text, "\n{}", told_mistake(mistake));
    }
    text
}

fn told_mistake(mistake: &ReloadMistake) -> String {
    let mut text = String::new();
    if mistake.line > 0 {
        let _ = write!(text, "line {}: ", mistake.line);
    }
    if !mistake.key.is_empty() {
        let _ = write!(text, "{}: ", mistake.key);
    }
    text += &mistake.problem;
    if let Some(remedy) = &mistake.remedy {
        let _ = write!(text, "; {remedy}");
    }
    text
}

fn told_orphans(orphans: &[Orphan]) -> String {
    let jobs: u64 = orphans.iter().map(|it| it.jobs).sum();
    let mut text = format!(
        "{jobs} jobs that are alive would be left without settings and die as unknown_activation, so nothing was changed; \
         put back what they name, or force it:"
    );
    for it in orphans {
        let _ = write!(
            text,
            "\n{}/{}: {} jobs",
            it.workspace, it.activation, it.jobs
        );
    }
    text
}

impl From<NotReloaded> for Problem {
    fn from(why: NotReloaded) -> Problem {
        let detail = why.to_string();
        match why {
            NotReloaded::NoFile => Problem::new(StatusCode::CONFLICT, detail),
            NotReloaded::Mistakes(mistakes) => {
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
                    .with("mistakes", json!(mistakes))
            }
            NotReloaded::Orphans(orphans) => {
                Problem::new(StatusCode::CONFLICT, detail).with("orphans", json!(orphans))
            }
            NotReloaded::Store(error) => error.into(),
        }
    }
}

/// Reads the configuration anew and goes by it, whole or not at all.
#[utoipa::path(
    post,
    path = "/api/v1/reload",
    operation_id = "reload",
    tag = "configuration",
    request_body = NewReload,
    responses((status = 200, description = "What changed.", body = Reloaded)),
)]
pub(super) async fn reload<S: Store + Operate>(
    State(ops): State<Arc<Ops<S>>>,
    Extension(who): Extension<Who>,
    body: Bytes,
) -> Result<Json<Reloaded>, Problem> {
    let asked: NewReload = parsed(&body)?;
    let office = ops.clone();
    let change = async move { Ok(Json(ops.reload(&who, asked.force).await?)) };
    office.to_the_end(change).await
}

impl<S: Store + Operate> Ops<S> {
    /// Reloads because the process was sent a signal. What comes of it is in the log.
    pub async fn reload_by_signal(self: Arc<Self>) {
        let ops = self.clone();
        let change = async move { Ok(ops.reload(&Who("signal".into()), false).await?) };
        // Told already.
        let _ = self.to_the_end(change).await;
    }

    async fn reload(&self, who: &Who, force: bool) -> Result<Reloaded, NotReloaded> {
        let reloaded = (self.reload)(force).await.inspect_err(tell_refused)?;
        let changed = reloaded.changed.join(" ");
        let needs_restart = reloaded.needs_restart.join(" ");
        let released = [&reloaded.released[..], &reloaded.released_activations].concat();
        let released = released.join(" ");
        let jobs_without_rules = reloaded.jobs_without_rules;
        tracing::info!(
            changed,
            needs_restart,
            released,
            jobs_without_rules,
            "the configuration was read anew"
        );
        let deed = Deed {
            what: "reload",
            which: json!({ "force": force, "changed": reloaded.changed }),
            counts: vec![
                ("changed", reloaded.changed.len() as u64),
                ("needs_restart", reloaded.needs_restart.len() as u64),
                ("released", reloaded.released.len() as u64),
                ("jobs_without_rules", jobs_without_rules),
            ],
            outcome: "applied".into(),
            ..Deed::default()
        };
        self.metrics
            .announce(self.desk.lanes().iter().map(|view| &view.lane));
        // It is applied: whoever asked must not be told that it was not.
        if let Err(error) = self.note(who, deed, Vec::new()).await {
            tracing::error!(%error, "the reload was applied and is not in the audit");
        }
        Ok(reloaded)
    }
}

fn tell_refused(why: &NotReloaded) {
    match why {
        NotReloaded::Mistakes(mistakes) => {
            for mistake in mistakes {
                let line = mistake.line;
                tracing::error!(
                    line,
                    "the configuration is not reloaded: {}",
                    told_mistake(mistake)
                );
            }
        }
        NotReloaded::Orphans(orphans) => {
            for it in orphans {
                let (workspace, activation, jobs) = (&it.workspace, &it.activation, it.jobs);
                tracing::error!(%workspace, %activation, jobs,
                    "the configuration is not reloaded: jobs that are alive would be left without settings");
            }
        }
        NotReloaded::NoFile | NotReloaded::Store(_) => {
            tracing::error!("the configuration is not reloaded: {why}");
        }
    }
}
