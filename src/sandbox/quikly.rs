//! Quikly's webhook: `POST /webhook/braze`, and the credits it gives.
//!
//! Invariants: credits stand in order of arrival; a request with a token and a whole body is always a credit request; whether a repeated `Idempotency-Key` is
//! another credit is a setting. Nothing public says how Quikly answers: the shapes here are ours.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use super::options::Options;
use super::wire::{Answer, Asked, Body};
use crate::model::time::Timestamp;

/// One credit that was given.
#[derive(Clone, Debug)]
pub struct Credit {
    /// When.
    pub at: Timestamp,
    /// `Idempotency-Key`
    pub key: Option<String>,
    /// `email`
    pub email: String,
    /// `q_scope`
    pub scope: String,
    /// `event`
    pub event: String,
    /// `X-Relay-Accepted-At`
    pub accepted_at: Option<String>,
    /// Pairs beyond the three.
    pub more: serde_json::Map<String, Value>,
    /// How many credit requests had arrived before it, repeated ones included.
    pub arrival: u64,
    /// How many requests asked for it: itself and those with its key that gave nothing more.
    pub requests: u64,
}

impl Credit {
    /// As the question routes show it.
    pub fn shown(&self, place: usize) -> Value {
        json!({
            "id": place, "at": self.at, "key": self.key, "email": self.email, "q_scope": self.scope,
            "event": self.event, "accepted_at": self.accepted_at, "more": self.more, "requests": self.requests,
            "arrival": self.arrival,
        })
    }
}

/// Quikly.
pub struct Quikly {
    token: String,
    idempotent: bool,
    /// In order.
    pub credits: Vec<Credit>,
    /// Requests that gave or repeated a credit.
    pub requests: u64,
    /// Those among them whose key had been seen.
    pub repeated: u64,
    by_key: HashMap<String, usize>,
}

impl Quikly {
    /// Nothing given yet.
    pub fn new(options: &Options) -> Quikly {
        Quikly {
            token: options.quikly_token.clone(),
            idempotent: options.quikly_idempotency,
            credits: Vec::new(),
            requests: 0,
            repeated: 0,
            by_key: HashMap::new(),
        }
    }

    /// How many different (`q_scope`, event, e-mail) have a credit.
    pub fn distinct(&self) -> usize {
        let whole = |credit: &Credit| {
            (
                credit.scope.clone(),
                credit.event.clone(),
                credit.email.to_lowercase(),
            )
        };
        self.credits.iter().map(whole).collect::<HashSet<_>>().len()
    }

    /// Gives a credit, or says why not.
    pub fn answer(&mut self, asked: &Asked<'_>, body: Body, now: Timestamp) -> Answer {
        if asked.key != Some(&self.token) {
            return Answer::message(401, "Unauthorized");
        }
        if !asked.type_is_json {
            return Answer::message(415, "Unsupported Media Type");
        }
        let mut pairs = match body {
            Body::Json(Value::Object(pairs)) => pairs,
            Body::TooLong => return Answer::message(413, "Request Entity Too Large"),
            Body::Json(_) | Body::Malformed => return Answer::message(400, "Malformed JSON"),
        };
        let mut text = |key: &str| match pairs.shift_remove(key) {
            Some(Value::String(text)) if !text.is_empty() => Some(text),
            _ => None,
        };
        let (Some(scope), Some(event), Some(email)) =
            (text("q_scope"), text("event"), text("email"))
        else {
            return Answer::message(422, "q_scope, event and email are required");
        };
        self.requests += 1;
        let key = asked.idempotency_key.map(str::to_owned);
        if let Some(first) = key.as_ref().and_then(|key| self.by_key.get(key)) {
            self.repeated += 1;
            if self.idempotent {
                self.credits[*first].requests += 1;
                return Answer::message(200, "success").about(1);
            }
        }
        if let Some(key) = &key {
            self.by_key.entry(key.clone()).or_insert(self.credits.len());
        }
        self.credits.push(Credit {
            at: now,
            key,
            email,
            scope,
            event,
            accepted_at: asked.accepted_at.map(str::to_owned),
            more: pairs,
            arrival: self.requests - 1,
            requests: 1,
        });
        Answer::message(200, "success").about(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::wire::Endpoint;

    fn quikly(idempotent: bool) -> Quikly {
        Quikly::new(&Options {
            quikly_token: "t".to_owned(),
            quikly_idempotency: idempotent,
            ..Options::default()
        })
    }

    fn ask(quikly: &mut Quikly, token: &str, key: Option<&str>, body: Value) -> u16 {
        let asked = Asked {
            endpoint: Endpoint::Quikly,
            key: Some(token),
            query: "",
            type_is_json: true,
            agent_is_partner: true,
            idempotency_key: key,
            accepted_at: None,
        };
        quikly
            .answer(&asked, Body::Json(body), Timestamp::ZERO)
            .status
    }

    fn credit() -> Value {
        json!({"q_scope": "s", "event": "e", "email": "Ada@b.co", "extra": 1})
    }

    #[test]
    fn one_key_is_one_credit_where_keys_are_honoured() {
        for (idempotent, credits) in [(true, 1), (false, 3)] {
            let mut quikly = quikly(idempotent);
            for _ in 0..3 {
                assert_eq!(ask(&mut quikly, "t", Some("k"), credit()), 200);
            }
            assert_eq!(quikly.credits.len(), credits);
            assert_eq!(
                (quikly.requests, quikly.repeated, quikly.distinct()),
                (3, 2, 1)
            );
        }
    }

    #[test]
    fn without_a_key_every_request_is_a_credit() {
        let mut quikly = quikly(true);
        ask(&mut quikly, "t", None, credit());
        ask(&mut quikly, "t", None, credit());
        assert_eq!((quikly.credits.len(), quikly.repeated), (2, 0));
        assert_eq!(quikly.credits[0].email, "Ada@b.co");
    }

    #[test]
    fn a_wrong_token_or_a_missing_pair_gives_nothing() {
        let mut quikly = quikly(true);
        assert_eq!(ask(&mut quikly, "x", None, credit()), 401);
        assert_eq!(
            ask(
                &mut quikly,
                "t",
                None,
                json!({"q_scope": "s", "event": "e", "email": ""})
            ),
            422
        );
        assert_eq!(ask(&mut quikly, "t", None, json!([])), 400);
        assert!(quikly.credits.is_empty());
    }

    #[test]
    fn further_pairs_are_kept_as_they_came_and_arrivals_are_numbered() {
        let mut quikly = quikly(true);
        for (key, level) in [("a", 1), ("b", 2), ("a", 1), ("c", 3)] {
            let body = json!({"z": level, "q_scope": "s", "event": "e", "a": {"deep": [1]}, "email": "a@b.co"});
            assert_eq!(ask(&mut quikly, "t", Some(key), body), 200);
        }
        let arrivals: Vec<_> = quikly.credits.iter().map(|one| one.arrival).collect();
        assert_eq!(arrivals, [0, 1, 3]);
        let shown = quikly.credits[2].shown(2);
        assert_eq!(shown["more"].to_string(), r#"{"z":3,"a":{"deep":[1]}}"#);
        assert_eq!(shown["arrival"], json!(3));
    }
}
