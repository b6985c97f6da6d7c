//! `[ingest]`, `[ops]`, `[store]`, `[retry]` and `[telemetry]`: the relay's own settings.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::field::is_loopback;
use super::mistake::Mistake;
use super::read::Section;
use super::tree::Value;
use super::{Ingest, Ops, Role, Store, Traces};
use crate::model::event::Source;
use crate::model::rules::RetryPolicy;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// Where there is no bound but that of the file format.
const ANY_MAX: u64 = i64::MAX as u64;

const fn days(days: u64) -> Duration {
    Duration::from_secs(days * 24 * 3600)
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

pub(super) fn ingest(section: &Section<'_>) -> Ingest {
    let listen = section.listen(loopback(8080));
    let max_body_bytes = section.size("max_body_bytes", 8 * MIB, 1..=GIB);
    let max_event_bytes = section.size("max_event_bytes", 64 << 10, 1..=GIB);
    if max_event_bytes > max_body_bytes {
        section.mistake(
            Mistake::new(
                &section.place("max_event_bytes"),
                section.key("max_event_bytes"),
                "one event cannot be larger than a whole body",
            )
            .found(format!("{max_event_bytes}"))
            .allowed(format!("up to max_body_bytes, which is {max_body_bytes}")),
        );
    }
    tls(section);
    let exposed = !listen.ip().is_loopback();
    let sources = section.table_or_empty("sources");
    let mut tokens = BTreeMap::new();
    for source in Source::ALL {
        let section = sources.table_or_empty(source.as_str());
        let accepted = section.secrets("tokens", exposed).into_iter();
        tokens.insert(source, accepted.filter_map(|(token, _)| token).collect());
        if !section.secrets("signing_secrets", exposed).is_empty() {
            section.context.notes.not_yet(
                &section.place("signing_secrets"),
                section.key("signing_secrets"),
                "signed requests (Standard Webhooks); use tokens",
            );
        }
    }
    Ingest {
        listen,
        max_body_bytes,
        max_event_bytes,
        max_batch: section.size("max_batch", 10_000, 1..=1_000_000),
        tokens,
    }
}

fn tls(section: &Section<'_>) {
    let keys = ["tls_cert_file", "tls_key_file"];
    for (key, other) in [(keys[0], keys[1]), (keys[1], keys[0])] {
        let Some(field) = section.field(key) else {
            continue;
        };
        if !section.has(other) {
            section.mistake(
                Mistake::new(
                    &section.place(key),
                    section.key(other),
                    "this key is required",
                )
                .remedy(format!("{key} and {other} go together")),
            );
        }
        if let Some(path) = field.text()
            && let Err(error) = std::fs::File::open(path)
        {
            field.wrong(
                &format!("the file cannot be read: {error}"),
                "a readable PEM file",
            );
        }
        section.context.notes.not_yet(
            &section.place(key),
            section.key(key),
            "HTTPS of its own; put the listener behind a proxy that speaks TLS",
        );
    }
}

pub(super) fn ops(section: &Section<'_>, ingest: &Ingest) -> Ops {
    let listen = section.listen(loopback(9090));
    let exposed = !listen.ip().is_loopback();
    let roles = [Role::Viewer, Role::Operator].map(|role| (role.as_str(), role));
    let tokens: Vec<(SecretString, Role)> = section
        .secrets("tokens", exposed)
        .into_iter()
        .filter_map(|(token, item)| {
            let role = item.choice("role", &roles).unwrap_or(Role::Viewer);
            Some((token?, role))
        })
        .collect();
    let none_given = section
        .field("tokens")
        .is_none_or(|field| matches!(&field.node.value, Value::Array(items) if items.is_empty()));
    if exposed && none_given {
        section.mistake(
            Mistake::new(
                &section.place("listen"),
                section.key("tokens"),
                "tokens are required when not listening on loopback",
            )
            .found(format!("listen = \"{listen}\" and no tokens"))
            .allowed("tokens = [{ env = \"NAME\", role = \"operator\" }]")
            .remedy("add tokens, or listen on 127.0.0.1"),
        );
    }
    if listen == ingest.listen && listen.port() != 0 {
        section.mistake(
            Mistake::new(
                &section.place("listen"),
                section.key("listen"),
                "this is the address of [ingest] too",
            )
            .found(format!("\"{listen}\""))
            .remedy("give each listener an address of its own"),
        );
    }
    Ops { listen, tokens }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Engine {
    Sled,
    Postgres,
}

pub(super) fn store(section: &Section<'_>) -> Store {
    let engine = section.choice_or(
        "engine",
        &[("sled", Engine::Sled), ("postgres", Engine::Postgres)],
        Engine::Sled,
    );
    let url = section.secret("url", engine == Engine::Postgres, false);
    if let Some(url) = &url {
        postgres_url(section, url.expose_secret(), engine);
    }
    if engine == Engine::Postgres {
        section.context.notes.not_yet(
            &section.place("engine"),
            section.key("engine"),
            "the PostgreSQL store; use \"sled\"",
        );
    }
    let path = section
        .field("path")
        .map_or(Some("relay-data"), |field| field.short_text());
    let moment = |key: &str, default: Duration| section.duration(key, default);
    let bytes = |key: &str, default: u64| section.integer(key, default, 0..=ANY_MAX);
    Store {
        path: PathBuf::from(path.unwrap_or_default()),
        cache_bytes: section.integer("cache_bytes", 64 * MIB, MIB..=1024 * GIB),
        max_jobs: section.integer("max_jobs", 20_000_000, 1..=ANY_MAX),
        reserve_bytes: bytes("reserve_bytes", 256 * MIB),
        ballast_bytes: bytes("ballast_bytes", 16 * MIB),
        event_dedupe: moment("event_dedupe", days(7)),
        credit_dedupe: moment("credit_dedupe", days(400)),
        webhook_dedupe: moment("webhook_dedupe", days(1)),
        done_retention: moment("done_retention", days(7)),
        dead_retention: moment("dead_retention", days(90)),
    }
}

/// The URL is a secret: it is judged and never shown.
fn postgres_url(section: &Section<'_>, text: &str, engine: Engine) {
    let forms = ["url", "url_env", "url_file"];
    let form = forms
        .into_iter()
        .find(|form| section.has(form))
        .unwrap_or("url");
    let at = section.place(form);
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "postgres" | "postgresql") => {
            if form == "url" && !is_loopback(&url) {
                section.context.notes.warn(
                    &at,
                    section.key(form),
                    "a secret in a configuration file is soon in backups and repositories; better url_env or url_file",
                );
            }
        }
        _ => section.mistake(
            Mistake::new(
                &at,
                section.key(form),
                "not the URL of a PostgreSQL database",
            )
            .allowed("postgres://USER:PASSWORD@HOST/DATABASE"),
        ),
    }
    if engine == Engine::Sled {
        section.context.notes.warn(
            &at,
            section.key(form),
            "has no effect with engine = \"sled\"",
        );
    }
}

/// `[retry]`, and its `hold_after`.
pub(super) fn retry(section: &Section<'_>) -> (RetryPolicy, u32) {
    let default = RetryPolicy::default();
    let count = |key: &str, default: u32, least: u64| {
        let count = section.integer(key, u64::from(default), least..=u64::from(u32::MAX));
        u32::try_from(count).unwrap_or(u32::MAX)
    };
    let policy = RetryPolicy {
        first: section.duration("first", default.first),
        max: section.duration("max", default.max),
        max_attempts: count("max_attempts", default.max_attempts, 0),
        max_age: section.duration("max_age", default.max_age),
    };
    section.in_order(&[("first", policy.first), ("max", policy.max)]);
    (policy, count("hold_after", HOLD_AFTER, 1))
}

/// `[telemetry]`.
pub(super) fn traces(section: &Section<'_>) -> Option<Traces> {
    let sample = section.field("otlp_sample").map(|field| field.part());
    let endpoint = section.field("otlp_endpoint");
    if endpoint.is_none() && sample.is_some() {
        section.context.notes.warn(
            &section.place("otlp_sample"),
            section.key("otlp_sample"),
            "has no effect without otlp_endpoint",
        );
    }
    Some(Traces {
        endpoint: endpoint?.open_url()?,
        sample: sample.flatten().unwrap_or(1.0),
    })
}

/// `retry.hold_after`, when nothing is said.
const HOLD_AFTER: u32 = 50;

impl Section<'_> {
    /// Each of these durations is at most the next; if not, the first one that was written is to blame.
    pub(super) fn in_order(&self, durations: &[(&str, Duration)]) {
        for pair in durations.windows(2) {
            let [(low_key, low), (high_key, high)] = pair else {
                continue;
            };
            if low > high {
                let key = if self.has(low_key) { low_key } else { high_key };
                self.mistake(
                    Mistake::new(
                        &self.place(key),
                        self.key(key),
                        format!("{low_key} cannot be longer than {high_key}"),
                    )
                    .found(format!(
                        "{low_key} = \"{}\", {high_key} = \"{}\"",
                        humantime::format_duration(*low),
                        humantime::format_duration(*high)
                    )),
                );
            }
        }
    }
}
