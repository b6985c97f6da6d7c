//! `GET /api/v1/config`: the configuration as it is followed, without secrets.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::Ops;
use super::wire::{Configuration, ConfigurationSetting, ConfigurationTable};
use crate::config::{Part, Setting};
use crate::store::{Operate, Store};

/// The configuration as it is followed: every key, its value and where that comes from; secrets masked.
#[utoipa::path(
    get,
    path = "/api/v1/config",
    operation_id = "config",
    tag = "configuration",
    responses((status = 200, description = "All of it.", body = Configuration)),
)]
pub(super) async fn show<S: Store + Operate>(
    State(ops): State<Arc<Ops<S>>>,
) -> Json<Configuration> {
    let parts = ops.effective.borrow().clone();
    let setting = |it: &Setting| ConfigurationSetting {
        key: it.key.clone(),
        value: it.value.clone(),
        from: it.from.clone(),
    };
    let table = |part: &Part| ConfigurationTable {
        table: part.table.clone(),
        settings: part.settings.iter().map(setting).collect(),
    };
    Json(Configuration {
        tables: parts.iter().map(table).collect(),
    })
}
