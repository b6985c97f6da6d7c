//! Media types, as far as bodies are told apart by them. Pure.

/// What a request says its body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MediaType {
    /// Nothing, or nothing definite (`application/octet-stream`).
    Unstated,
    /// JSON (`application/json`, `…+json`).
    Json,
    /// One JSON value a line.
    Ndjson,
    /// Something else. Many clients say so by default, hence the body decides first.
    Other,
}

impl MediaType {
    /// From the value of `content-type`; parameters do not matter.
    pub(super) fn of(header: Option<&str>) -> MediaType {
        let essence = header.and_then(|value| value.split(';').next());
        let essence = essence.unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "" | "application/octet-stream" => MediaType::Unstated,
            "application/json" | "text/json" => MediaType::Json,
            "application/x-ndjson"
            | "application/ndjson"
            | "application/jsonl"
            | "application/x-jsonlines" => MediaType::Ndjson,
            json if json.ends_with("+json") => MediaType::Json,
            nonsense if !nonsense.contains('/') => MediaType::Unstated,
            _ => MediaType::Other,
        }
    }
}
