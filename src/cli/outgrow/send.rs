//! A test lead on its real way: posted to the relay, followed until it is done or dead, and read back from Braze.
//!
//! Invariants: tokens and keys come from the configuration, go where it says, and are never shown. Every wait is bounded.

use std::time::Duration;

use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::Test;
use crate::cli::PROFILE_FIELDS;
use crate::cli::remote::{Caller, Failed, reachable};
use crate::cli::text::plain;
use crate::client::http::{Http, Method, RawAnswer};
use crate::clock::{Clock, Stopwatch};
use crate::config::{Braze, Config, Env};
use crate::flow::mapping::Mapped;
use crate::model::call::Address;
use crate::model::event::Source;
use crate::model::id::EventId;
use crate::model::json::Object;
use crate::model::rules::Rules;
use crate::ops::wire::{Letter, Status};

/// How long the lead is followed, and how long Braze may take to show what it took.
const DONE_WITHIN: Duration = Duration::from_secs(30);
const SHOWN_WITHIN: Duration = Duration::from_secs(30);
const ASK_EVERY: Duration = Duration::from_millis(500);

const ANSWER_WITHIN: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// What became of it.
pub(super) struct Sent {
    id: EventId,
    end: End,
    back: Back,
}

enum End {
    /// No lead of this content is under way any more, and this one is not dead.
    Done,
    /// Dead, for this reason.
    Dead(String),
    /// Neither within the time.
    UnderWay,
}

/// What Braze shows of it.
enum Back {
    /// Everything that was written.
    Same,
    /// These attributes are missing or have another value.
    Differs(Vec<String>),
    /// Not read, for this reason.
    NotRead(String),
}

#[derive(Deserialize)]
struct Receipt {
    ids: Vec<EventId>,
}

#[derive(Deserialize)]
struct Exported {
    users: Vec<Object>,
}

/// Sends `lead` and follows it.
pub(super) fn send(
    args: &Test,
    env: &Env,
    config: &Config,
    rules: &Rules,
    lead: &Value,
    mapped: &Mapped,
) -> Result<Sent, Failed> {
    let outside = Outside::new()?;
    let id = outside.post(args, config, lead)?;
    let relay = args.remote.caller(env)?;
    let end = follow(&outside, &relay, rules, id)?;
    let workspace = config.workspaces.get(&rules.workspace);
    let back = match (&end, workspace) {
        (End::Done, Some(workspace)) => outside.read_back(&workspace.braze, mapped),
        (End::Done, None) => Back::NotRead("its workspace is not configured".into()),
        (End::Dead(_) | End::UnderWay, _) => Back::NotRead("it has not arrived".into()),
    };
    Ok(Sent { id, end, back })
}

/// Until it is done or dead.
fn follow(outside: &Outside, relay: &Caller, rules: &Rules, id: EventId) -> Result<End, Failed> {
    let watch = Stopwatch::start();
    loop {
        // What is under way is asked first: what it says no more of is done, or dead by the time of the second question.
        let status: Status = relay.get("api/v1/status")?;
        let ours = status.jobs.iter().filter(|jobs| {
            jobs.group.workspace == *rules.workspace
                && jobs.group.activation == *rules.scope
                && jobs.group.flow == "outgrow"
        });
        let alive: u64 = ours
            .map(|jobs| jobs.waiting + jobs.ready + jobs.in_flight)
            .sum();
        match relay.get::<Letter>(&format!("api/v1/dead/{}", id.job(0))) {
            Ok(letter) => {
                let answer = letter.row.answer.text;
                return Ok(End::Dead(format!("{}: {answer}", letter.row.reason)));
            }
            Err(Failed::Refused { status: 404, .. }) if alive == 0 => return Ok(End::Done),
            Err(Failed::Refused { status: 404, .. }) => {}
            Err(failed) => return Err(failed),
        }
        if watch.elapsed() > DONE_WITHIN {
            return Ok(End::UnderWay);
        }
        outside.wait();
    }
}

/// What is asked without the ops listener.
struct Outside {
    http: Http,
    runtime: tokio::runtime::Runtime,
    clock: Clock,
}

impl Outside {
    fn new() -> Result<Outside, Failed> {
        Ok(Outside {
            http: Http::new(1, Duration::from_secs(5))
                .map_err(|error| Failed::Usage(error.to_string()))?,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
            clock: Clock::system(1.0),
        })
    }

    fn wait(&self) {
        self.runtime.block_on(self.clock.sleep(ASK_EVERY));
    }

    fn ask(&self, url: &Url, headers: &[(&str, &str)], body: &Value) -> Result<RawAnswer, Failed> {
        let body = body.to_string().into_bytes();
        let asked = self.http.request(
            Method::POST,
            url,
            headers,
            Some(body),
            ANSWER_WITHIN,
            ANSWER_BYTES_MAX,
        );
        self.runtime
            .block_on(asked)
            .map_err(|trouble| Failed::Unreachable {
                url: url.clone(),
                why: trouble.to_string(),
            })
    }

    /// Posts the lead as Outgrow does; the event's id. Every test is an event of its own.
    fn post(&self, args: &Test, config: &Config, lead: &Value) -> Result<EventId, Failed> {
        let usage = |text: String| Failed::Usage(text);
        let base = match &args.ingest {
            Some(url) => url.clone(),
            None if config.ingest.listen.port() == 0 => {
                return Err(usage(
                    "ingest.listen takes any free port: say which with --ingest URL".into(),
                ));
            }
            None => Url::parse(&format!("http://{}", reachable(config.ingest.listen)))
                .map_err(|error| usage(error.to_string()))?,
        };
        let url = base
            .join(&format!("/v1/outgrow/{}", args.content))
            .map_err(|error| usage(error.to_string()))?;
        let tokens = config.ingest.tokens.get(&Source::Outgrow);
        let token = tokens.and_then(|tokens| tokens.first()).ok_or_else(|| {
            usage("there is no token in [ingest.sources.outgrow]: the relay takes no leads".into())
        })?;
        let bearer = format!("Bearer {}", token.expose_secret());
        let key = format!("outgrow-test-{}", self.clock.now().as_millis());
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
            ("idempotency-key", &key),
        ];
        let answer = self.ask(&url, &headers, lead)?;
        if answer.status != 202 {
            return Err(Failed::Refused {
                status: answer.status,
                detail: detail(&answer.body),
                more: serde_json::Map::new(),
            });
        }
        let receipt: Option<Receipt> = serde_json::from_slice(&answer.body).ok();
        receipt
            .and_then(|receipt| receipt.ids.first().copied())
            .ok_or(Failed::Strange(base))
    }

    /// Reads the profile until it shows what was written.
    fn read_back(&self, braze: &Braze, mapped: &Mapped) -> Back {
        let mut question = match &mapped.address {
            Some(Address::ExternalId(id)) => json!({ "external_ids": [id] }),
            Some(Address::Email(email)) => json!({ "email_address": email }),
            Some(Address::Alias(_) | Address::BrazeId(_)) | None => {
                return Back::NotRead("it has no profile".into());
            }
        };
        let mut fields = vec!["custom_attributes"];
        fields.extend(
            mapped
                .attributes
                .keys()
                .map(String::as_str)
                .filter(|it| PROFILE_FIELDS.contains(it)),
        );
        question["fields_to_export"] = json!(fields);
        let url = braze.url.as_str().trim_end_matches('/');
        let Ok(url) = Url::parse(&format!("{url}/users/export/ids")) else {
            return Back::NotRead("the workspace's URL cannot be used".into());
        };
        let bearer = format!("Bearer {}", braze.api_key.expose_secret());
        let agent = format!("partner-{}/{}", braze.partner, env!("CARGO_PKG_VERSION"));
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
            ("user-agent", &agent),
        ];
        let watch = Stopwatch::start();
        loop {
            let back = match self.ask(&url, &headers, &question) {
                Err(failed) => return Back::NotRead(failed.to_string()),
                Ok(answer) if matches!(answer.status, 401 | 403) => {
                    return Back::NotRead("the key may not export (users.export.ids)".into());
                }
                Ok(answer) if !(200..300).contains(&answer.status) => {
                    return Back::NotRead(format!("Braze answers {}", answer.status));
                }
                Ok(answer) => match serde_json::from_slice::<Exported>(&answer.body) {
                    Ok(exported) => compare(&exported.users, &mapped.attributes),
                    Err(_) => return Back::NotRead("Braze's answer cannot be read".into()),
                },
            };
            if matches!(back, Back::Same) || watch.elapsed() > SHOWN_WITHIN {
                return back;
            }
            self.wait();
        }
    }
}

/// What of `written` the best of these profiles does not show.
fn compare(users: &[Object], written: &Object) -> Back {
    let missing = |user: &Object| {
        let custom = user.get("custom_attributes");
        let shows = |name: &str| {
            let own = custom.and_then(|custom| custom.get(name));
            own.or_else(|| user.get(name).filter(|_| PROFILE_FIELDS.contains(&name)))
        };
        let differs =
            |(name, value): &(&String, &Value)| !shows(name).is_some_and(|it| same(it, value));
        let missing = written.iter().filter(differs);
        missing.map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    let all = || written.keys().cloned().collect();
    let missing = users
        .iter()
        .map(missing)
        .min_by_key(Vec::len)
        .unwrap_or_else(all);
    if missing.is_empty() {
        Back::Same
    } else {
        Back::Differs(missing)
    }
}

/// Braze shows a date in its own way, and numbers as it likes.
fn same(shown: &Value, written: &Value) -> bool {
    match (shown, written) {
        (Value::Number(shown), Value::Number(written)) => shown.as_f64() == written.as_f64(),
        (Value::String(shown), Value::String(written)) => {
            let date = written
                .get(..10)
                .filter(|date| date.parse::<jiff::civil::Date>().is_ok());
            shown == written || date.is_some_and(|date| shown.starts_with(date))
        }
        _ => shown == written,
    }
}

/// What a refusal says, as far as it can be read.
fn detail(body: &[u8]) -> String {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    problem["detail"].as_str().unwrap_or("no reason").to_owned()
}

impl Sent {
    /// Whether it arrived, as far as can be seen.
    pub(super) fn is_good(&self) -> bool {
        matches!(self.end, End::Done) && !matches!(self.back, Back::Differs(_))
    }

    /// For people.
    pub(super) fn told(&self) -> String {
        let end = match &self.end {
            End::Done => "done".to_owned(),
            End::Dead(why) => format!("DEAD: {}", plain(why)),
            End::UnderWay => {
                format!("still under way after {DONE_WITHIN:?}; see `braze-relay status`")
            }
        };
        let back = match &self.back {
            Back::Same => "the profile shows everything that was written".to_owned(),
            Back::Differs(names) => format!(
                "the profile does NOT show: {} (Braze drops values of another type than it has fixed, and blocklisted names, without a word)",
                plain(&names.join(", "))
            ),
            Back::NotRead(why) => format!("not read back: {}", plain(why)),
        };
        format!("sent as event {}: {end}\n{back}\n", self.id)
    }

    /// For programs.
    pub(super) fn document(&self) -> Value {
        let (end, why) = match &self.end {
            End::Done => ("done", None),
            End::Dead(why) => ("dead", Some(why)),
            End::UnderWay => ("under_way", None),
        };
        let (back, differs) = match &self.back {
            Back::Same => ("same", json!([])),
            Back::Differs(names) => ("differs", json!(names)),
            Back::NotRead(_) => ("not_read", json!([])),
        };
        let not_read = match &self.back {
            Back::NotRead(why) => Some(why),
            Back::Same | Back::Differs(_) => None,
        };
        json!({
            "id": self.id, "end": end, "why": why, "read_back": back, "differs": differs, "not_read": not_read,
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;

    fn object(value: &Value) -> Object {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn what_braze_does_not_show_as_it_was_written_is_named() {
        let written = object(
            &json!({"n": 7, "s": "x", "t": "2026-01-31", "first_name": "Ada", "l": ["a", 1]}),
        );
        let whole = object(&json!({
            "first_name": "Ada",
            "custom_attributes": {"n": 7.0, "s": "x", "t": "2026-01-31T00:00:00.000Z", "l": ["a", 1], "other": 1},
        }));
        let part = object(
            &json!({"custom_attributes": {"n": "7", "s": "y", "first_name": "Ada", "t": "2026-01-30"}}),
        );
        let differs = |users: &[Object]| match compare(users, &written) {
            Back::Differs(names) => names,
            Back::Same | Back::NotRead(_) => Vec::new(),
        };
        assert_eq!(differs(&[part.clone(), whole]), Vec::<String>::new());
        assert_eq!(differs(&[part]), ["n", "s", "t", "l"]);
        assert_eq!(differs(&[]).len(), 5);
    }
}
