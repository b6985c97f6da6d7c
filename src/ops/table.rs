//! The routes of the API together with their document: what is served is described, and what is described is served.
//!
//! Invariants: a route gets its path and method from its description, so that the two cannot differ; the role it needs
//! is the guard's to say. Everything below `/api/v1/` goes through here, but the document itself.

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodFilter, on};
use utoipa::__dev::SchemaReferences;
use utoipa::Path;
use utoipa::openapi::path::{HttpMethod, Operation};
use utoipa::openapi::response::Response;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Paths, Ref, RefOr,
};

use super::guard;
use super::problem::PROBLEM_JSON;
use super::session::COOKIE;
use super::wire::Problem;
use crate::config::Role;

/// Routes, and what is said of them.
pub(super) struct Table<S> {
    guarded: Router<S>,
    open: Router<S>,
    paths: Paths,
    components: ComponentsBuilder,
}

/// What a table comes to.
pub(super) struct Closed<S> {
    /// Routes for whoever has a role.
    pub(super) guarded: Router<S>,
    /// Routes for everybody.
    pub(super) open: Router<S>,
    /// The document of both.
    pub(super) document: OpenApi,
}

impl<S: Clone + Send + Sync + 'static> Table<S> {
    /// No routes yet.
    pub(super) fn new() -> Table<S> {
        Table {
            guarded: Router::new(),
            open: Router::new(),
            paths: Paths::new(),
            components: ComponentsBuilder::new().schema_from::<Problem>(),
        }
    }

    /// One more: `handler` answers what `described` describes, to whoever has the role for it.
    pub(super) fn route<D, H, T>(mut self, described: D, handler: H) -> Table<S>
    where
        D: Path + SchemaReferences,
        H: Handler<T, S>,
        T: 'static,
    {
        let path = D::path();
        let needs = match guard::needed(is_change::<D>(), &path) {
            Role::Viewer => "Needs the role viewer.",
            Role::Operator => "Needs the role operator.",
        };
        self.guarded = self.guarded.route(&path, on(filter::<D>(), handler));
        self.describe(described, needs)
    }

    /// One more, for everybody.
    pub(super) fn open<D, H, T>(mut self, described: D, handler: H) -> Table<S>
    where
        D: Path + SchemaReferences,
        H: Handler<T, S>,
        T: 'static,
    {
        self.open = self.open.route(&D::path(), on(filter::<D>(), handler));
        self.describe(described, "Open to everybody.")
    }

    fn describe<D: Path + SchemaReferences>(mut self, _described: D, needs: &str) -> Table<S> {
        let mut operation: Operation = D::operation();
        let refused = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem")));
        let refused = Response::builder()
            .description("Refused: why, and what to do about it.")
            .content(PROBLEM_JSON, refused.build());
        let responses = &mut operation.responses.responses;
        responses.insert("default".into(), RefOr::T(refused.build()));
        let about = operation.description.take().unwrap_or_default();
        operation.description = Some(format!("{about}\n\n{needs}").trim().to_owned());
        let mut schemas = Vec::new();
        D::schemas(&mut schemas);
        self.components = self.components.schemas_from_iter(schemas);
        self.paths
            .add_path_operation(D::path(), D::methods(), operation);
        self
    }

    /// The routes, and the document of this version of the relay.
    pub(super) fn close(self, version: &str) -> Closed<S> {
        let bearer = Http::new(HttpAuthScheme::Bearer);
        let cookie = ApiKey::Cookie(ApiKeyValue::new(COOKIE));
        let components = self
            .components
            .security_scheme("token", SecurityScheme::Http(bearer))
            .security_scheme("session", SecurityScheme::ApiKey(cookie));
        let none: [&str; 0] = [];
        let info = InfoBuilder::new()
            .title("braze-relay: operating")
            .version(version)
            .description(Some(
                "All that the commands and the dashboard do. Moments are RFC 3339, durations seconds, sizes bytes. Whatever \
                 changes something is JSON (`content-type: application/json`) and comes from no other origin. A list may hold \
                 fewer than asked for and still have a `next`: go on with `after` that.",
            ));
        let document = OpenApiBuilder::new()
            .info(info.build())
            .paths(self.paths)
            .components(Some(components.build()))
            .security(Some([
                SecurityRequirement::new("token", none),
                SecurityRequirement::new("session", none),
                SecurityRequirement::default(),
            ]));
        Closed {
            guarded: self.guarded,
            open: self.open,
            document: document.build(),
        }
    }
}

fn is_change<D: Path>() -> bool {
    D::methods().iter().any(|method| *method != HttpMethod::Get)
}

fn filter<D: Path>() -> MethodFilter {
    match is_change::<D>() {
        true => MethodFilter::POST,
        false => MethodFilter::GET,
    }
}
