//! Talking to a relay that runs, through its ops listener: what every such command shares.
//!
//! Invariants: a token is taken from the environment or the configuration, never from the command line, and never shown.
//! A redirect is not followed, so that a token goes where it was meant to go and nowhere else.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use url::Url;

use crate::client::http::{Http, Method, NotFetched, RawAnswer, Trouble};
use crate::config::{self, Config, Env};
use crate::ops::wire::Participant;

/// Where an ops listener is when nobody says otherwise.
const USUAL: &str = "http://127.0.0.1:9090";

/// How long one answer may take.
const ANSWER_WITHIN: Duration = Duration::from_mins(1);

/// How long a connection may take to stand.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// The largest answer that is read: a page of 1000 letters fits.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Which relay, and how it is asked.
#[derive(Debug, Default, clap::Args)]
pub struct Remote {
    /// The relay's configuration file: says where its ops listener is, and its token
    #[arg(long, value_name = "F")]
    pub(super) config: Option<PathBuf>,
    /// The address of the relay's ops listener [default: ops.listen of --config, else http://127.0.0.1:9090]
    #[arg(long, value_name = "URL")]
    pub(super) ops: Option<Url>,
    /// The environment variable that holds a token of the ops listener
    #[arg(long, value_name = "NAME")]
    pub(super) token_env: Option<String>,
    /// Answer with one JSON document
    #[arg(long)]
    pub(super) json: bool,
}

/// Why a command did not get its answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    /// It was asked wrongly.
    #[error("{0}")]
    Usage(String),
    /// Nobody answers there.
    #[error("the relay cannot be reached at {url}: {why}")]
    Unreachable {
        /// Where.
        url: Url,
        /// What happened.
        why: String,
    },
    /// The relay said no.
    #[error("the relay answers {status}: {detail}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// What it said.
        detail: String,
        /// What else stood there.
        more: Map<String, Value>,
    },
    /// The answer cannot be read: something else answers there, or another version.
    #[error("what answers at {0} is no relay of this version")]
    Strange(Url),
    /// It began to tell, and did not come to the end.
    #[error("what the relay tells broke off ({0}): see its log")]
    BrokenOff(String),
    /// Nobody listens to us any more, or the disk is full.
    #[error("cannot write: {0}")]
    Output(#[from] std::io::Error),
}

impl Failed {
    /// 1 no, 2 usage, 3 unreachable.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Failed::Usage(_) | Failed::Refused { status: 400, .. } => 2,
            Failed::Unreachable { .. }
            | Failed::Refused { status: 503, .. }
            | Failed::Strange(_) => 3,
            Failed::Refused { .. } | Failed::BrokenOff(_) | Failed::Output(_) => 1,
        }
    }

    /// Says it: on standard error, and with `--json` as the one document.
    pub(super) fn tell(&self, remote: &Remote) -> u8 {
        if remote.json {
            let document = json!({ "error": self.to_string() });
            // Whoever closed our output does not want to hear it.
            let _ = write(&mut std::io::stdout(), &document);
        }
        eprintln!("braze-relay: {}", super::text::plain(&self.to_string()));
        self.exit_code()
    }
}

/// Says what came of a command that asks no relay: on standard error, and with `json` as the one document.
pub(super) fn offline_told<E: std::error::Error>(
    came: Result<(String, serde_json::Value), E>,
    json: bool,
) {
    let (text, document) = came.unwrap_or_else(|error| {
        let document = json!({ "error": error.to_string() });
        (format!("braze-relay: {error}"), document)
    });
    if json {
        // Whoever closed our output does not want to hear it.
        let _ = write(&mut std::io::stdout(), &document);
    }
    eprintln!("{}", super::text::plain(&text));
}

/// Writes one JSON document.
pub(super) fn write(
    out: &mut impl std::io::Write,
    document: &impl Serialize,
) -> Result<(), Failed> {
    let text = serde_json::to_string_pretty(document).map_err(std::io::Error::from)?;
    Ok(writeln!(out, "{text}")?)
}

/// One relay to ask. Blocks; not for use inside of a runtime.
pub(super) struct Caller {
    http: Http,
    runtime: tokio::runtime::Runtime,
    base: Url,
    authorization: Option<SecretString>,
}

impl Remote {
    /// The relay that is meant. Asks nothing of it yet.
    pub(super) fn caller(&self, env: &Env) -> Result<Caller, Failed> {
        let config = match &self.config {
            Some(file) => {
                let loaded = Config::load(file, env).map_err(|mistakes| {
                    Failed::Usage(format!(
                        "{} cannot be used; --ops URL needs no configuration\n{mistakes}",
                        file.display()
                    ))
                })?;
                Some(loaded.config.ops)
            }
            None => None,
        };
        let base = self.base(config.as_ref())?;
        let token = self.token(env, config.as_ref())?;
        let broken = |error: &dyn std::fmt::Display| Failed::Usage(error.to_string());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(Caller {
            http: Http::new(1, CONNECT_WITHIN).map_err(|error| broken(&error))?,
            runtime,
            base,
            authorization: token.map(|token| format!("Bearer {}", token.expose_secret()).into()),
        })
    }

    fn base(&self, config: Option<&config::Ops>) -> Result<Url, Failed> {
        let url = match (&self.ops, config) {
            (Some(url), _) => Ok(url.clone()),
            (None, Some(ops)) if ops.listen.port() == 0 => Err(Failed::Usage(
                "ops.listen takes any free port: say which with --ops URL".into(),
            )),
            (None, Some(ops)) => Url::parse(&format!("http://{}", reachable(ops.listen)))
                .map_err(|error| Failed::Usage(error.to_string())),
            (None, None) => Url::parse(USUAL).map_err(|error| Failed::Usage(error.to_string())),
        }?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(Failed::Usage(format!(
                "--ops is an http:// or https:// URL such as {USUAL}"
            )));
        }
        Ok(url)
    }

    /// The token of `--token-env`, else the configuration's with the most rights.
    fn token(
        &self,
        env: &Env,
        config: Option<&config::Ops>,
    ) -> Result<Option<SecretString>, Failed> {
        if let Some(name) = &self.token_env {
            return match env.get(name).map(str::trim) {
                None | Some("") => Err(Failed::Usage(format!(
                    "the environment variable {name} (--token-env) is not set"
                ))),
                Some(token) => Ok(Some(token.into())),
            };
        }
        let tokens = config.map(|ops| ops.tokens.as_slice()).unwrap_or_default();
        let best = tokens.iter().max_by_key(|(_, role)| *role);
        Ok(best.map(|(token, _)| token.clone()))
    }
}

/// An address that reaches what listens on every interface.
pub(super) fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    SocketAddr::new(ip, listen.port())
}

/// What is read of a refusal.
#[derive(serde::Deserialize)]
struct Problem {
    detail: String,
    #[serde(flatten)]
    more: Map<String, Value>,
}

impl Caller {
    /// Asks for the document at `path` (such as `api/v1/status`).
    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failed> {
        self.ask(Method::GET, &self.url(path)?, None)
    }

    /// Asks for what matches `filter`, an object of texts and numbers.
    pub(super) fn find<T: DeserializeOwned>(
        &self,
        path: &str,
        filter: &impl Serialize,
    ) -> Result<T, Failed> {
        let filter = serde_json::to_value(filter).map_err(std::io::Error::from)?;
        let mut url = self.url(path)?;
        for (name, value) in filter.as_object().into_iter().flatten() {
            let value = match value {
                // An address stays out of addresses: they are in the logs of whoever stands between.
                Value::String(email) if name == "participant" && email.contains('@') => {
                    let asked = json!({ "email": email });
                    let found: Participant = self.post("api/v1/participants", &asked)?;
                    found.participant_hash
                }
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            url.query_pairs_mut().append_pair(name, &value);
        }
        self.ask(Method::GET, &url, None)
    }

    /// Posts `body` to `path`.
    pub(super) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failed> {
        let body = serde_json::to_vec(body).map_err(std::io::Error::from)?;
        self.ask(Method::POST, &self.url(path)?, Some(body))
    }

    /// Hands what `path` tells to `piece`, as it comes, for as long as it is told.
    pub(super) fn follow(
        &self,
        path: &str,
        piece: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<(), Failed> {
        self.stream(Method::GET, path, piece)
    }

    /// Posts to `path`, and hands what is answered to `piece`, as it comes.
    pub(super) fn fetch(
        &self,
        path: &str,
        piece: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<(), Failed> {
        self.stream(Method::POST, path, piece)
    }

    fn stream(
        &self,
        method: Method,
        path: &str,
        piece: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<(), Failed> {
        let url = self.url(path)?;
        let mut headers = vec![("content-type", "application/json")];
        if let Some(authorization) = &self.authorization {
            headers.push(("authorization", authorization.expose_secret()));
        }
        let asked = self.http.fetch(
            method,
            &url,
            &headers,
            ANSWER_WITHIN,
            ANSWER_BYTES_MAX,
            piece,
        );
        let answer = self.runtime.block_on(asked);
        let answer = answer.map_err(|error| match error {
            NotFetched::Unanswered(trouble) => Failed::Unreachable {
                url: self.base.clone(),
                why: trouble.to_string(),
            },
            NotFetched::BrokenOff(trouble) => Failed::BrokenOff(trouble.to_string()),
            NotFetched::NotTaken(error) => Failed::Output(error),
        })?;
        match (answer.status, serde_json::from_slice(&answer.body)) {
            (200, _) => Ok(()),
            (status, Ok(Problem { detail, more })) => Err(Failed::Refused {
                status,
                detail,
                more,
            }),
            (_, Err(_)) => Err(Failed::Strange(self.base.clone())),
        }
    }

    /// `path` under whatever path the relay is served at.
    fn url(&self, path: &str) -> Result<Url, Failed> {
        let mut url = self.base.clone();
        url.set_query(None);
        url.set_fragment(None);
        url.path_segments_mut()
            .map_err(|()| Failed::Usage("--ops is no URL of a server".into()))?
            .pop_if_empty()
            .extend(path.split('/'));
        Ok(url)
    }

    /// Asks for the document at `path`, with whatever status it comes.
    pub(super) fn look<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failed> {
        let answer = self.answer(Method::GET, &self.url(path)?, None)?;
        self.read(&answer)
    }

    fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        url: &Url,
        body: Option<Vec<u8>>,
    ) -> Result<T, Failed> {
        let answer = self.answer(method, url, body)?;
        if answer.status == 200 {
            return self.read(&answer);
        }
        let Problem { detail, more } = self.read(&answer)?;
        Err(Failed::Refused {
            status: answer.status,
            detail,
            more,
        })
    }

    fn answer(
        &self,
        method: Method,
        url: &Url,
        body: Option<Vec<u8>>,
    ) -> Result<RawAnswer, Failed> {
        let mut headers = vec![("accept", "application/json")];
        if body.is_some() {
            headers.push(("content-type", "application/json"));
        }
        if let Some(authorization) = &self.authorization {
            headers.push(("authorization", authorization.expose_secret()));
        }
        let asked = self
            .http
            .request(method, url, &headers, body, ANSWER_WITHIN, ANSWER_BYTES_MAX);
        self.runtime.block_on(asked).map_err(|trouble| {
            let why = match trouble {
                Trouble::NotSent(why) => why,
                Trouble::Unknown(why) => format!("no answer ({why}); it may have been done"),
            };
            Failed::Unreachable {
                url: self.base.clone(),
                why,
            }
        })
    }

    fn read<T: DeserializeOwned>(&self, answer: &RawAnswer) -> Result<T, Failed> {
        serde_json::from_slice(&answer.body).map_err(|_| Failed::Strange(self.base.clone()))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests may")]
mod tests {
    use super::*;
    use crate::config::Role;

    fn listening(listen: &str) -> config::Ops {
        config::Ops {
            listen: listen.parse().unwrap(),
            tokens: vec![
                ("look".into(), Role::Viewer),
                ("act".into(), Role::Operator),
            ],
        }
    }

    #[test]
    fn the_relay_is_found_by_ops_else_by_configuration_else_where_it_usually_is() {
        let at = |ops: Option<&str>, listen: Option<&str>| {
            let remote = Remote {
                ops: ops.map(|url| url.parse().unwrap()),
                ..Remote::default()
            };
            match remote.base(listen.map(listening).as_ref()) {
                Ok(url) => url.to_string(),
                Err(failed) => format!("exit {}", failed.exit_code()),
            }
        };
        for (ops, listen, found) in [
            (None, None, "http://127.0.0.1:9090/"),
            (None, Some("127.0.0.1:7"), "http://127.0.0.1:7/"),
            (None, Some("0.0.0.0:7"), "http://127.0.0.1:7/"),
            (None, Some("[::]:7"), "http://[::1]:7/"),
            (None, Some("127.0.0.1:0"), "exit 2"),
            (
                Some("https://relay.example/ops"),
                Some("0.0.0.0:7"),
                "https://relay.example/ops",
            ),
            (Some("ftp://relay.example"), None, "exit 2"),
            (Some("localhost:9090"), None, "exit 2"),
        ] {
            assert_eq!(at(ops, listen), found, "{ops:?} {listen:?}");
        }
    }

    #[test]
    fn the_token_is_the_one_named_else_the_one_with_the_most_rights() {
        let env = Env::from_pairs([("MINE", " mine\n"), ("EMPTY", "")]);
        let token = |name: Option<&str>, config: Option<&config::Ops>| {
            let remote = Remote {
                token_env: name.map(str::to_owned),
                ..Remote::default()
            };
            match remote.token(&env, config) {
                Ok(token) => token.map(|token| token.expose_secret().to_owned()),
                Err(failed) => Some(format!("exit {}", failed.exit_code())),
            }
        };
        let config = listening("127.0.0.1:7");
        assert_eq!(token(None, None), None);
        assert_eq!(token(None, Some(&config)).as_deref(), Some("act"));
        assert_eq!(token(Some("MINE"), Some(&config)).as_deref(), Some("mine"));
        assert_eq!(token(Some("EMPTY"), None).as_deref(), Some("exit 2"));
        assert_eq!(token(Some("OTHER"), None).as_deref(), Some("exit 2"));
    }

    #[test]
    fn a_relay_may_be_served_under_a_path() {
        for (base, found) in [
            ("http://localhost:9090", "http://localhost:9090/api/v1/dead"),
            (
                "http://localhost:9090/",
                "http://localhost:9090/api/v1/dead",
            ),
            (
                "https://relay.example/ops/?x=1#y",
                "https://relay.example/ops/api/v1/dead",
            ),
        ] {
            let remote = Remote {
                ops: Some(base.parse().unwrap()),
                ..Remote::default()
            };
            let caller = remote
                .caller(&Env::default())
                .unwrap_or_else(|failed| panic!("{failed}"));
            assert_eq!(caller.url("api/v1/dead").unwrap().as_str(), found);
        }
    }

    #[test]
    fn nobody_there_is_exit_code_3() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", free.local_addr().unwrap());
        drop(free);
        let remote = Remote {
            ops: Some(url.parse().unwrap()),
            ..Remote::default()
        };
        let caller = remote
            .caller(&Env::default())
            .unwrap_or_else(|failed| panic!("{failed}"));
        let failed = caller
            .get::<serde_json::Value>("api/v1/status")
            .unwrap_err();
        assert_eq!(failed.exit_code(), 3, "{failed}");
    }
}
