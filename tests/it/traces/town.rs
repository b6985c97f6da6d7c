//! Everybody a relay speaks to, in one small server: a Braze that knows nobody and subscribes whoever is set, a Quikly, and a
//! collector. It keeps what it was told of traces.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::json;
use tokio::net::TcpListener;

use super::{PHONE, hex};

/// A span as the collector got it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub name: String,
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub attributes: BTreeMap<String, String>,
}

#[derive(Default)]
struct Books {
    requests: Vec<(String, Option<String>)>,
    exported: Vec<Vec<u8>>,
    is_subscribed: bool,
}

/// The server.
pub struct Town {
    pub url: String,
    books: Arc<Mutex<Books>>,
}

impl Town {
    pub async fn build() -> Town {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let books = Arc::<Mutex<Books>>::default();
        let router = Router::new().fallback(answer).with_state(books.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Town { url, books }
    }

    /// Requests to Braze and Quikly: path, and what they told of a trace.
    pub fn requests(&self) -> Vec<(String, Option<String>)> {
        self.books.lock().unwrap().requests.clone()
    }

    /// Bodies that the collector got.
    pub fn exported(&self) -> Vec<Vec<u8>> {
        self.books.lock().unwrap().exported.clone()
    }

    /// What is in them.
    pub fn spans(&self) -> Vec<Seen> {
        let read = |body: Vec<u8>| ExportTraceServiceRequest::decode(&body[..]).unwrap();
        let requests = self.exported().into_iter().map(read);
        let resources = requests.flat_map(|it| it.resource_spans);
        let scopes = resources.flat_map(|it| it.scope_spans);
        scopes.flat_map(|it| it.spans).map(seen).collect()
    }
}

fn seen(span: Span) -> Seen {
    let text = |value: Any| match value {
        Any::StringValue(text) => text,
        Any::BoolValue(is) => is.to_string(),
        Any::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    };
    let attributes = span.attributes.into_iter();
    Seen {
        name: span.name,
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        attributes: attributes
            .map(|it| (it.key, text(it.value.unwrap().value.unwrap())))
            .collect(),
    }
}

async fn answer(
    State(books): State<Arc<Mutex<Books>>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let mut books = books.lock().unwrap();
    let path = uri.path().to_owned();
    if path == "/v1/traces" {
        assert_eq!(headers["content-type"], "application/x-protobuf");
        books.exported.push(body.to_vec());
        return (StatusCode::OK, String::new());
    }
    let header = headers.get("traceparent");
    let header = header.map(|value| value.to_str().unwrap().to_owned());
    books.requests.push((path.clone(), header));
    let answer = match path.as_str() {
        "/users/export/ids" => json!({"message": "success", "users": []}),
        "/users/track" => json!({"message": "success", "attributes_processed": 1}),
        "/subscription/status/get" => {
            let status = if books.is_subscribed {
                "Subscribed"
            } else {
                "Unknown"
            };
            json!({"message": "success", "status": {PHONE: status}})
        }
        "/v2/subscription/status/set" => {
            books.is_subscribed = true;
            json!({"message": "success"})
        }
        "/quikly" => json!({}),
        _ => return (StatusCode::NOT_FOUND, String::new()),
    };
    (StatusCode::OK, answer.to_string())
}
