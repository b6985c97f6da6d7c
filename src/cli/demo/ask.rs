//! Questions to the relay and to the sandbox, over HTTP like everybody else's.

use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Map, Value};
use url::Url;

use super::expect::{Credit, Profile};
use crate::client::http::{Http, Method};

/// How long one answer may take, in real time. The sandbox waits up to five seconds for writes under way.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How the relay stands, of `GET /api/v1/status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// Events ever accepted.
    pub accepted: u64,
    /// Events that are done.
    pub done: u64,
    /// Events that are not done and not dead.
    pub queued: u64,
    /// Events that are dead.
    pub dead: u64,
    /// Dead letters that Braze refused.
    pub rejected: u64,
    /// Dead letters of activations that are not configured.
    pub unknown_activation: u64,
    /// Participations for which a profile was created.
    pub created: u64,
    /// Participations whose person was found.
    pub found: u64,
    /// Further participations that were delivered.
    pub further: u64,
    /// Credits that Quikly took.
    pub credited: u64,
}

impl Standing {
    /// Participations that have arrived in Braze.
    pub(super) fn delivered(&self) -> u64 {
        self.created + self.found + self.further
    }

    fn read(status: &Value) -> Option<Standing> {
        let event = |name: &str| status["events"][name].as_u64();
        let done = |flow: &str, outcome: Option<&str>| {
            let rows = status["done"].as_array().into_iter().flatten();
            let rows = rows.filter(|row| {
                row["flow"] == flow && outcome.is_none_or(|outcome| row["outcome"] == outcome)
            });
            rows.filter_map(|row| row["count"].as_u64()).sum()
        };
        let died = |reason: &str| {
            let rows = status["dead"].as_array().into_iter().flatten();
            let rows = rows.filter(|row| row["reason"] == reason);
            rows.filter_map(|row| row["count"].as_u64()).sum()
        };
        Some(Standing {
            accepted: event("accepted")?,
            done: event("done")?,
            queued: event("queued")?,
            dead: event("dead")?,
            rejected: died("rejected"),
            unknown_activation: died("unknown_activation"),
            created: done("email", Some("created")),
            found: done("email", Some("found")),
            further: done("progress", None),
            credited: done("credit", Some("credited")),
        })
    }
}

/// What the sandbox holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Held {
    /// Every profile.
    pub profiles: Vec<Profile>,
    /// Those of them that a request has created.
    pub created: u64,
    /// Every credit.
    pub credits: Vec<Credit>,
    /// Credit requests beyond the first for one credit.
    pub credits_repeated: u64,
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

    /// Everything the sandbox holds, once all that was accepted has taken effect.
    pub(super) async fn held(&self, sandbox: &Url) -> anyhow::Result<Held> {
        let mut held = Held::default();
        for line in self.get(sandbox, "/_sandbox/profiles").await?.lines() {
            let object: Map<String, Value> = serde_json::from_str(line)?;
            held.created += u64::from(object.get("created_by_api") == Some(&Value::Bool(true)));
            held.profiles.push(Profile::read(&object));
        }
        for line in self.get(sandbox, "/_sandbox/credits").await?.lines() {
            let credit: Value = serde_json::from_str(line)?;
            let text = |name: &str| credit[name].as_str().unwrap_or_default().to_owned();
            held.credits
                .push((text("q_scope"), text("event"), text("email")));
            let requests = credit["requests"].as_u64().unwrap_or(1);
            held.credits_repeated += requests.saturating_sub(1);
        }
        Ok(held)
    }

    async fn get(&self, base: &Url, path: &str) -> anyhow::Result<String> {
        let url = base.join(path)?;
        let answer = self
            .0
            .request(Method::GET, &url, &[], None, ANSWER_WITHIN, BODY_BYTES_MAX)
            .await?;
        if answer.status != 200 || !answer.whole {
            bail!("{path} was answered with {}", answer.status);
        }
        Ok(String::from_utf8(answer.body)?)
    }
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
        });
        let standing = Standing::read(&status).unwrap_or_default();
        assert_eq!(
            (
                standing.created,
                standing.found,
                standing.further,
                standing.credited
            ),
            (3, 4, 2, 5)
        );
        assert_eq!(
            (standing.accepted, standing.queued, standing.delivered()),
            (9, 3, 9)
        );
        assert_eq!((standing.rejected, standing.unknown_activation), (3, 0));
        assert_eq!(Standing::read(&json!({})), None);
    }
}
