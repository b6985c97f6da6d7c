//! The dashboard: files that are part of the binary, and nothing that a browser would have to fetch elsewhere.
//!
//! Invariants: they hold no data; everything on the page comes from the API, under its guard.

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::problem::Problem;

const JS: &str = "text/javascript; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";

/// Name, media type and content of every file below `/page/`.
const FILES: [(&str, &str, &str); 13] = [
    ("app.js", JS, include_str!("page/app.js")),
    ("kit.js", JS, include_str!("page/kit.js")),
    ("live.js", JS, include_str!("page/live.js")),
    ("now.js", JS, include_str!("page/now.js")),
    ("activations.js", JS, include_str!("page/activations.js")),
    ("dead.js", JS, include_str!("page/dead.js")),
    ("replays.js", JS, include_str!("page/replays.js")),
    ("lanes.js", JS, include_str!("page/lanes.js")),
    ("settings.js", JS, include_str!("page/settings.js")),
    ("people.js", JS, include_str!("page/people.js")),
    ("style.css", CSS, include_str!("page/style.css")),
    ("uplot.js", JS, include_str!("page/vendor/uplot.js")),
    ("uplot.css", CSS, include_str!("page/vendor/uplot.css")),
];

/// `GET /`.
pub(super) async fn front() -> Response {
    let kind = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
    (kind, include_str!("page/index.html")).into_response()
}

/// `GET /page/{name}`.
pub(super) async fn file(Path(name): Path<String>) -> Result<Response, Problem> {
    let found = FILES.iter().find(|(file, ..)| *file == name);
    let (_, kind, text) = found
        .ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "the page has no such file; see /"))?;
    Ok(([(header::CONTENT_TYPE, *kind)], *text).into_response())
}
