//! Questions to the relay and to the sandbox, over HTTP like everybody else's.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Map, Value};
use url::Url;

use super::expected::{Credit, Seat};
use super::profile::Profile;
use crate::client::http::{Http, Method};
use crate::model::time::Timestamp;

/// How long one answer may take, in real time. The sandbox waits up to five seconds for writes under way.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How the relay stands, of `GET /api/v1/status`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// Events ever accepted.
    pub accepted: u64,
    /// Events that are not done and not dead.
    pub queued: u64,
    /// Events that are dead.
    pub dead: u64,
    /// Events that are done.
    pub done: u64,
    /// Dead letters by reason.
    pub reasons: BTreeMap<String, u64>,
    /// Jobs done, by `flow/outcome`.
    pub outcomes: BTreeMap<String, u64>,
    /// By lane: calls that are due and not answered, and calls due later.
    pub lanes: BTreeMap<String, (u64, u64)>,
}

impl Standing {
    /// Jobs that ended so: `flow/outcome`, or `flow/` for any outcome.
    pub(super) fn ended(&self, how: &str) -> u64 {
        let fits = |name: &str| is_outcome(how, name);
        let some = self.outcomes.iter().filter(|(name, _)| fits(name));
        some.map(|(_, count)| count).sum()
    }

    /// What Quikly has taken.
    pub(super) fn told_quikly(&self) -> u64 {
        self.ended("credit/credited") + self.ended("webhook/passed_on")
    }

    /// Calls of a lane that are due and not answered, and calls due later.
    pub(super) fn lane(&self, name: &str) -> (u64, u64) {
        let full = format!("{}/{name}", super::relay::WORKSPACE);
        self.lanes.get(&full).copied().unwrap_or_default()
    }

    fn read(status: &Value) -> Option<Standing> {
        let event = |name: &str| status["events"][name].as_u64();
        let rows = |name: &str| status[name].as_array().into_iter().flatten();
        let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let number = |row: &Value, name: &str| row[name].as_u64().unwrap_or_default();
        let mut standing = Standing {
            accepted: event("accepted")?,
            done: event("done")?,
            queued: event("queued")?,
            dead: event("dead")?,
            ..Standing::default()
        };
        for row in rows("dead") {
            *standing.reasons.entry(text(row, "reason")).or_default() += number(row, "count");
        }
        for row in rows("done") {
            let how = format!("{}/{}", text(row, "flow"), text(row, "outcome"));
            *standing.outcomes.entry(how).or_default() += number(row, "count");
        }
        for row in rows("lanes") {
            let calls = (number(row, "depth"), number(row, "waiting"));
            standing.lanes.insert(text(row, "lane"), calls);
        }
        Some(standing)
    }
}

/// Whether `name` (`flow/outcome`) is what `how` means.
pub(super) fn is_outcome(how: &str, name: &str) -> bool {
    how == name || (how.ends_with('/') && name.starts_with(how))
}

/// A status that was set, or a double opt-in that was begun so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Set {
    /// Whom and where.
    pub seat: Seat,
    /// Braze's own double opt-in.
    pub double_opt_in: bool,
    /// What became of it, in the sandbox's words.
    pub outcome: String,
    /// How long after Braze was told of the profile, or of its phone; `None`: both were there from the start.
    pub waited: Option<Duration>,
}

/// What the sandbox holds, and the relay's dead letters.
#[derive(Clone, Debug, Default)]
pub(super) struct Held {
    /// Every profile.
    pub profiles: Vec<Profile>,
    /// Those of them that a request has created.
    pub created: u64,
    /// Every credit, and every webhook that was passed on.
    pub credits: Vec<Credit>,
    /// Requests to Quikly beyond the first for one credit.
    pub credits_repeated: u64,
    /// Every status that was set.
    pub sets: Vec<Set>,
    /// Every prompt to confirm.
    pub prompts: Vec<Seat>,
    /// Answers that the script has cut off.
    pub answers_dropped: u64,
    /// The relay's dead letters: its id of the event, and the reason.
    pub letters: Vec<(String, String)>,
}

/// Asks.
#[derive(Clone, Debug)]
pub(super) struct Asker(pub Http);

impl Asker {
    /// How the relay stands.
    pub(super) async fn standing(&self, ops: &Url) -> anyhow::Result<Standing> {
        let status = self.get(ops, "/api/v1/status").await?;
        Standing::read(&serde_json::from_str(&status)?).context("the relay's status cannot be read")
    }

    /// Everything the sandbox holds, once all that was accepted has taken effect, and the relay's dead letters.
    pub(super) async fn held(&self, sandbox: &Url, ops: &Url) -> anyhow::Result<Held> {
        let mut held = Held {
            letters: self.letters(ops).await?,
            ..Held::default()
        };
        for object in self.lines(sandbox, "/_sandbox/profiles").await? {
            held.created += u64::from(object.get("created_by_api") == Some(&Value::Bool(true)));
            held.profiles.push(Profile::read(&object));
        }
        for credit in self.lines(sandbox, "/_sandbox/credits").await? {
            let requests = credit["requests"].as_u64().unwrap_or(1);
            held.credits_repeated += requests.saturating_sub(1);
            held.credits.push(Credit {
                scope: text(&credit, "q_scope"),
                event: text(&credit, "event"),
                email: text(&credit, "email"),
                pairs: credit["more"].to_string(),
            });
        }
        for set in self.lines(sandbox, "/_sandbox/sets").await? {
            held.sets.push(Set {
                seat: seat(&set),
                double_opt_in: set["use_double_opt_in_logic"] == Value::Bool(true),
                outcome: text(&set, "outcome"),
                waited: waited(&set),
            });
        }
        for prompt in self.lines(sandbox, "/_sandbox/prompts").await? {
            held.prompts.push(seat(&prompt));
        }
        let summary: Value = serde_json::from_str(&self.get(sandbox, "/_sandbox/summary").await?)?;
        held.answers_dropped = summary["answers_dropped"].as_u64().unwrap_or_default();
        Ok(held)
    }

    /// Somebody texts START, and so is subscribed.
    pub(super) async fn start(&self, sandbox: &Url, (phone, group): &Seat) -> anyhow::Result<()> {
        let phone = phone.replace('+', "%2B");
        let path = format!("/_sandbox/people/{phone}/start?subscription_group_id={group}");
        self.ask(Method::POST, sandbox, &path).await.map(drop)
    }

    async fn letters(&self, ops: &Url) -> anyhow::Result<Vec<(String, String)>> {
        let mut letters = Vec::new();
        let mut after = String::new();
        loop {
            let path = format!("/api/v1/dead?limit=1000{after}");
            let page: Value = serde_json::from_str(&self.get(ops, &path).await?)?;
            for letter in page["items"].as_array().into_iter().flatten() {
                let text = |name: &str| letter[name].as_str().unwrap_or_default().to_owned();
                letters.push((text("event_id"), text("reason")));
            }
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return Ok(letters),
            }
        }
    }

    async fn lines(&self, base: &Url, path: &str) -> anyhow::Result<Vec<Map<String, Value>>> {
        let text = self.get(base, path).await?;
        let read = text.lines().map(serde_json::from_str);
        Ok(read.collect::<Result<_, _>>()?)
    }

    async fn get(&self, base: &Url, path: &str) -> anyhow::Result<String> {
        self.ask(Method::GET, base, path).await
    }

    async fn ask(&self, method: Method, base: &Url, path: &str) -> anyhow::Result<String> {
        let url = base.join(path)?;
        let answer = self
            .0
            .request(method, &url, &[], None, ANSWER_WITHIN, BODY_BYTES_MAX)
            .await?;
        if answer.status != 200 || !answer.whole {
            bail!("{path} was answered with {}", answer.status);
        }
        Ok(String::from_utf8(answer.body)?)
    }
}

fn text(object: &Map<String, Value>, name: &str) -> String {
    let value = object.get(name).and_then(Value::as_str);
    value.unwrap_or_default().to_owned()
}

fn seat(object: &Map<String, Value>) -> Seat {
    (text(object, "phone"), text(object, "subscription_group_id"))
}

/// How long after the latest of what Braze was told about the profiles a set meant.
fn waited(set: &Map<String, Value>) -> Option<Duration> {
    let moment = |value: &Value| Timestamp::parse_rfc3339(value.as_str()?).ok();
    let at = moment(set.get("at")?)?;
    let profiles = set.get("profiles")?.as_array()?;
    let told = profiles.iter().flat_map(|profile| {
        let created = profile["created_by_api"] == Value::Bool(true);
        let created = created.then(|| moment(&profile["created_asked_at"]));
        [created.flatten(), moment(&profile["phone_asked_at"])]
    });
    told.flatten().map(|told| at.since(told)).min()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_is_summed_up_over_activations() {
        let row = |flow: &str, outcome: &str, count: u64| json!({"workspace": "w", "activation": "a", "flow": flow, "outcome": outcome, "count": count});
        let status = json!({
            "events": {"accepted": 9, "done": 5, "dead": 1, "queued": 3},
            "dead": [{"reason": "rejected", "count": 1}, {"reason": "rejected", "count": 2}, {"reason": "no_flow", "count": 4}],
            "done": [row("email", "created", 2), row("email", "created", 1), row("email", "found", 4),
                     row("progress", "updated", 1), row("progress", "found", 1), row("credit", "credited", 5)],
            "lanes": [{"lane": "acme/users_track", "depth": 2, "waiting": 7}],
        });
        let standing = Standing::read(&status).unwrap_or_default();
        let ended =
            ["email/created", "email/", "progress/", "credit/no"].map(|how| standing.ended(how));
        assert_eq!(ended, [3, 7, 2, 0]);
        assert_eq!((standing.accepted, standing.queued), (9, 3));
        assert_eq!(
            (standing.reasons["rejected"], standing.told_quikly()),
            (3, 5)
        );
        assert_eq!(standing.lane("users_track"), (2, 7));
        assert_eq!(standing.lane("quikly"), (0, 0));
        assert_eq!(Standing::read(&json!({})), None);
    }

    #[test]
    fn a_wait_counts_from_the_last_thing_braze_was_told() {
        let profile = |by_api: bool, phone: Option<&str>| json!({"created_by_api": by_api, "created_asked_at": "2026-01-01T00:00:00Z", "phone_asked_at": phone});
        let waited = |profile: Value| {
            let set = json!({"at": "2026-01-01T00:03:00Z", "profiles": [profile]});
            set.as_object().and_then(waited)
        };
        let minutes = |count| Some(Duration::from_mins(count));
        assert_eq!(waited(profile(true, None)), minutes(3));
        assert_eq!(
            waited(profile(true, Some("2026-01-01T00:01:00Z"))),
            minutes(2)
        );
        assert_eq!(waited(profile(false, None)), None);
    }
}
