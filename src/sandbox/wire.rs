//! What a request to Braze or Quikly is, and what an answer is, before HTTP takes over.

use serde_json::{Value, json};

use super::limits::Bucket;
use super::options::Permission;

/// Where Quikly takes credits.
pub const QUIKLY_PATH: &str = "/webhook/braze";

/// The endpoints that exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `POST /users/track`
    Track,
    /// `POST /users/export/ids`
    ExportIds,
    /// `POST /users/delete`
    Delete,
    /// `GET /subscription/status/get`
    StatusGet,
    /// `POST /subscription/status/set`
    StatusSet,
    /// `POST /v2/subscription/status/set`
    StatusSetV2,
    /// `POST /webhook/braze`, Quikly's
    Quikly,
}

impl Endpoint {
    const ALL: [Endpoint; 7] = [
        Endpoint::Track,
        Endpoint::ExportIds,
        Endpoint::Delete,
        Endpoint::StatusGet,
        Endpoint::StatusSet,
        Endpoint::StatusSetV2,
        Endpoint::Quikly,
    ];

    /// Which one a request means, or the answer it gets: 404, and 403 for a path with a slash too many.
    pub fn of(method: &str, path: &str) -> Result<Endpoint, Answer> {
        let known = |path: &str| Endpoint::ALL.into_iter().find(|one| one.path() == path);
        match known(path) {
            Some(endpoint) if endpoint.method() == method => Ok(endpoint),
            Some(_) => Err(Answer::message(404, "Not Found")),
            None => match path.strip_suffix('/').and_then(known) {
                Some(_) => Err(Answer::message(403, "Access Denied")),
                None => Err(Answer::message(404, "Not Found")),
            },
        }
    }

    /// Its path.
    pub const fn path(self) -> &'static str {
        match self {
            Endpoint::Track => "/users/track",
            Endpoint::ExportIds => "/users/export/ids",
            Endpoint::Delete => "/users/delete",
            Endpoint::StatusGet => "/subscription/status/get",
            Endpoint::StatusSet => "/subscription/status/set",
            Endpoint::StatusSetV2 => "/v2/subscription/status/set",
            Endpoint::Quikly => QUIKLY_PATH,
        }
    }

    const fn method(self) -> &'static str {
        match self {
            Endpoint::StatusGet => "GET",
            Endpoint::Track
            | Endpoint::ExportIds
            | Endpoint::Delete
            | Endpoint::StatusSet
            | Endpoint::StatusSetV2
            | Endpoint::Quikly => "POST",
        }
    }

    /// What the key must be allowed. Quikly knows no permissions; its own answer never asks.
    pub const fn permission(self) -> Permission {
        match self {
            Endpoint::Track | Endpoint::Quikly => Permission::UsersTrack,
            Endpoint::ExportIds => Permission::UsersExportIds,
            Endpoint::Delete => Permission::UsersDelete,
            Endpoint::StatusGet => Permission::SubscriptionStatusGet,
            Endpoint::StatusSet | Endpoint::StatusSetV2 => Permission::SubscriptionStatusSet,
        }
    }

    /// What it counts against. Quikly has no limit of its own; its own answer never asks.
    pub const fn bucket(self) -> Bucket {
        match self {
            Endpoint::Track => Bucket::UsersTrack,
            Endpoint::ExportIds => Bucket::UsersExportIds,
            Endpoint::Delete => Bucket::UsersDelete,
            Endpoint::StatusGet | Endpoint::Quikly => Bucket::Default,
            Endpoint::StatusSet | Endpoint::StatusSetV2 => Bucket::SubscriptionStatusSet,
        }
    }

    /// What scripts call it.
    pub const fn lane(self) -> &'static str {
        match self {
            Endpoint::Quikly => "quikly",
            other => other.bucket().as_str(),
        }
    }
}

/// A request, but for its body.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// What.
    pub endpoint: Endpoint,
    /// The bearer token.
    pub key: Option<&'a str>,
    /// The query, undecoded.
    pub query: &'a str,
    /// Whether `Content-Type` is JSON.
    pub type_is_json: bool,
    /// Whether `User-Agent` is that of a partner.
    pub agent_is_partner: bool,
    /// `Idempotency-Key`
    pub idempotency_key: Option<&'a str>,
    /// `X-Relay-Accepted-At`
    pub accepted_at: Option<&'a str>,
}

/// A body that was read.
#[derive(Clone, Debug)]
pub enum Body {
    /// JSON.
    Json(Value),
    /// Something else.
    Malformed,
    /// More than Braze takes.
    TooLong,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Besides those that every answer has.
    pub headers: Vec<(&'static str, String)>,
    /// JSON.
    pub body: Value,
    /// How many objects (track), ids (export, status get) or recipients (status set) were asked about.
    pub objects: usize,
}

impl Answer {
    /// Status and JSON.
    pub const fn new(status: u16, body: Value) -> Answer {
        Answer {
            status,
            headers: Vec::new(),
            body,
            objects: 0,
        }
    }

    /// `{"message": …}`
    pub fn message(status: u16, message: &str) -> Answer {
        Answer::new(status, json!({ "message": message }))
    }

    /// The same, about so many objects.
    pub fn about(self, objects: usize) -> Answer {
        Answer { objects, ..self }
    }
}

/// The token of `Bearer <token>`; the scheme in any case, the token exact.
pub fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

/// Whether it is JSON, with parameters or without.
pub fn is_json(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("application/json")
}

/// Whether it is `partner-<Organization>-<Product>/<version>` with names in Pascal case (api_partner).
pub fn is_partner(user_agent: &str) -> bool {
    let name = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_uppercase())
            && text.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    let parts = user_agent
        .strip_prefix("partner-")
        .and_then(|rest| rest.split_once('/'))
        .and_then(|(names, version)| names.split_once('-').map(|pair| (pair, version)));
    parts.is_some_and(|((organization, product), version)| {
        name(organization) && name(product) && version.starts_with(|c: char| c.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_too_many_is_403_and_a_wrong_method_or_path_404() {
        let status = |method, path| Endpoint::of(method, path).map_err(|answer| answer.status);
        assert_eq!(status("POST", "/users/track"), Ok(Endpoint::Track));
        assert_eq!(status("POST", "/users/track/"), Err(403));
        assert_eq!(status("GET", "/users/track"), Err(404));
        assert_eq!(status("POST", "/users/trak"), Err(404));
        assert_eq!(status("POST", "/subscription/status/get"), Err(404));
    }

    #[test]
    fn a_partner_names_organization_product_and_version() {
        assert!(is_partner("partner-Quikly-BrazeRelay/0.1.0"));
        for wrong in [
            "partner-Quikly/1.0",
            "Quikly-BrazeRelay/1.0",
            "partner-quikly-relay/1.0",
            "partner-Quikly-BrazeRelay",
            "reqwest/0.12",
        ] {
            assert!(!is_partner(wrong), "{wrong}");
        }
    }

    #[test]
    fn the_bearer_scheme_has_any_case_and_the_type_may_have_parameters() {
        assert_eq!(bearer("bEarer abc"), Some("abc"));
        assert_eq!(bearer("Basic abc"), None);
        assert!(is_json("Application/JSON; charset=utf-8"));
        assert!(!is_json("text/plain"));
    }
}
