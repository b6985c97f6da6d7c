//! The script of outages and oddities: a list of rules, each with when, for whom, and what.
//!
//! Invariants: pure; `now` is an argument. Rules are asked in order; all that match act together, the first of those that
//! end a request ends it. A rule with `next` is used up by the requests it matched.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::options::Spread;
use crate::model::time::Timestamp;

/// A text that is no script.
#[derive(Debug, thiserror::Error)]
#[error("not a script: {0}")]
pub struct NotAScript(String);

/// A whole script. TOML (`[[rules]]`) or JSON (`{"rules": [...]}`).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// In order.
    #[serde(default)]
    pub rules: Vec<Rule>,
}

/// One rule. Without `lane`, `path` and `workspace` it is for every request to Braze and Quikly.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// `users_track`, `users_export_ids`, `subscription_status_set`, `default` or `quikly`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<String>,
    /// The exact path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The workspace's name; never matches Quikly, which has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// From so long after the script was given.
    #[serde(default, with = "humantime_text")]
    pub from: Duration,
    /// For so long; without it, for ever.
    #[serde(
        default,
        with = "humantime_option",
        rename = "for",
        skip_serializing_if = "Option::is_none"
    )]
    pub lasting: Option<Duration>,
    /// Let so many matching requests pass first.
    #[serde(default)]
    pub skip: u64,
    /// Only for so many matching requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
    /// Let every so-manyth matching request pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spare: Option<u64>,
    /// With `action.status`: a `Retry-After` of so long.
    #[serde(
        default,
        with = "humantime_option",
        skip_serializing_if = "Option::is_none"
    )]
    pub retry_after: Option<Duration>,
    /// What happens.
    pub action: Action,
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Answer this status; nothing is done.
    Status(u16),
    /// Never answer; nothing is done.
    Hang,
    /// Close the connection without an answer; nothing is done.
    Reset,
    /// Do it, then close the connection without an answer: nobody knows the outcome.
    DropAnswer,
    /// Wait, then go on as ever.
    Delay(Spread),
    /// The workspace's key is not known any more.
    RevokeKey,
    /// How `/users/track` tells of refused objects.
    ErrorShape(ErrorShape),
    /// Accepted writes take so long to take effect.
    Appear(Spread),
    /// A profile created by alias or external id has its e-mail only so long after it appeared.
    EmailLater(Spread),
    /// `/users/track` refuses objects that name this e-mail or alias.
    RejectEmail(String),
    /// `/subscription/status/get` and `/subscription/status/set` in both versions refuse requests that name this phone.
    RejectPhone(String),
    /// `/users/track` takes nothing of a request with an object to refuse, and answers 400.
    RefuseWhole,
    /// `/users/track` does not say how many objects it took when it refuses some.
    NotCounted,
    /// `/users/track` takes at most so many objects in a request.
    ObjectsMax(usize),
}

/// The shapes of `errors` seen in the world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorShape {
    /// `{type, input_array, index}`, the type a sentence.
    #[default]
    Sentences,
    /// The same, the type a documented code.
    Codes,
    /// Plain strings.
    Strings,
    /// Objects without `index`.
    NoIndex,
    /// Objects with neither `index` nor `input_array`.
    NoPlace,
    /// None: a message other than "success", no numbers. `/subscription/status/set` tells a refused phone so, too, with
    /// 201, and takes the others.
    NoErrors,
}

impl Script {
    /// Reads JSON (when it starts with `{`) or TOML.
    pub fn parse(text: &str) -> Result<Script, NotAScript> {
        let read = if text.trim_start().starts_with('{') {
            serde_json::from_str(text).map_err(|error| error.to_string())
        } else {
            let document: Result<toml_edit::DocumentMut, _> = text.parse();
            let value = document
                .map_err(|error| error.to_string())
                .map(|document| table(document.as_table()));
            value.and_then(|value| serde_json::from_value(value).map_err(|error| error.to_string()))
        };
        read.map_err(NotAScript)
    }
}

fn table(table: &dyn toml_edit::TableLike) -> Value {
    Value::Object(
        table
            .iter()
            .map(|(key, item)| (key.to_owned(), item_json(item)))
            .collect(),
    )
}

fn item_json(item: &toml_edit::Item) -> Value {
    match item {
        toml_edit::Item::None => Value::Null,
        toml_edit::Item::Value(value) => value_json(value),
        toml_edit::Item::Table(one) => table(one),
        toml_edit::Item::ArrayOfTables(tables) => {
            Value::Array(tables.iter().map(|one| table(one)).collect())
        }
    }
}

fn value_json(value: &toml_edit::Value) -> Value {
    match value {
        toml_edit::Value::String(text) => Value::from(text.value().as_str()),
        toml_edit::Value::Integer(number) => Value::from(*number.value()),
        toml_edit::Value::Float(number) => Value::from(*number.value()),
        toml_edit::Value::Boolean(flag) => Value::from(*flag.value()),
        toml_edit::Value::Datetime(moment) => Value::from(moment.value().to_string()),
        toml_edit::Value::Array(values) => Value::Array(values.iter().map(value_json).collect()),
        toml_edit::Value::InlineTable(one) => table(one),
    }
}

/// What a request is, as far as rules ask.
#[derive(Clone, Copy, Debug)]
pub struct Matter<'a> {
    /// The lane, if the path has one.
    pub lane: Option<&'a str>,
    /// The path.
    pub path: &'a str,
    /// The workspace, if the key names one.
    pub workspace: Option<&'a str>,
}

/// How a request ends before anything is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instead {
    /// With this status.
    Status(u16, Option<Duration>),
    /// Never.
    Hang,
    /// With a closed connection.
    Reset,
}

/// All that the script has in store for one request.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    /// Before anything else.
    pub delays: Vec<Spread>,
    /// Instead of everything else.
    pub instead: Option<Instead>,
    /// After it was done.
    pub drop_answer: bool,
    /// 401.
    pub revoked: bool,
    /// How refused objects are told.
    pub shape: ErrorShape,
    /// Instead of the usual delay.
    pub appear: Option<Spread>,
    /// The e-mail's own delay.
    pub email_later: Option<Spread>,
    /// Refused e-mails.
    pub rejected: Vec<String>,
    /// Refused phones.
    pub rejected_phones: Vec<String>,
    /// A request with an object to refuse is refused whole.
    pub whole: bool,
    /// The numbers of objects taken are left out of an answer with errors.
    pub not_counted: bool,
    /// Most objects of a request, if fewer than ever.
    pub objects_max: Option<usize>,
}

/// A script being played.
#[derive(Debug)]
pub struct Play {
    script: Script,
    since: Timestamp,
    matched: Vec<u64>,
}

impl Play {
    /// From the start, now.
    pub fn new(script: Script, now: Timestamp) -> Play {
        Play {
            matched: vec![0; script.rules.len()],
            script,
            since: now,
        }
    }

    /// The rules.
    pub fn script(&self) -> &Script {
        &self.script
    }

    /// What happens to this request; it counts for the rules that match.
    pub fn effects(&mut self, matter: Matter<'_>, now: Timestamp) -> Effects {
        let mut effects = Effects::default();
        let age = now.since(self.since);
        for (rule, matched) in self.script.rules.iter().zip(&mut self.matched) {
            if !rule.matches(matter, age) {
                continue;
            }
            *matched += 1;
            let end = rule.next.map(|next| next.saturating_add(rule.skip));
            let spared = rule
                .spare
                .is_some_and(|spare| matched.is_multiple_of(spare));
            if *matched > rule.skip && end.is_none_or(|end| *matched <= end) && !spared {
                rule.act(&mut effects);
            }
        }
        effects
    }
}

impl Rule {
    fn matches(&self, matter: Matter<'_>, age: Duration) -> bool {
        let same = |wanted: &Option<String>, is: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| is == Some(wanted))
        };
        same(&self.lane, matter.lane)
            && same(&self.path, Some(matter.path))
            && same(&self.workspace, matter.workspace)
            && age >= self.from
            && self.lasting.is_none_or(|lasting| age < self.from + lasting)
    }

    fn act(&self, effects: &mut Effects) {
        let mut end = |instead| {
            effects.instead.get_or_insert(instead);
        };
        match &self.action {
            Action::Status(status) => end(Instead::Status(*status, self.retry_after)),
            Action::Hang => end(Instead::Hang),
            Action::Reset => end(Instead::Reset),
            Action::DropAnswer => effects.drop_answer = true,
            Action::Delay(spread) => effects.delays.push(*spread),
            Action::RevokeKey => effects.revoked = true,
            Action::ErrorShape(shape) => effects.shape = *shape,
            Action::Appear(spread) => effects.appear = Some(*spread),
            Action::EmailLater(spread) => effects.email_later = Some(*spread),
            Action::RejectEmail(email) => effects.rejected.push(email.clone()),
            Action::RejectPhone(phone) => effects.rejected_phones.push(phone.clone()),
            Action::RefuseWhole => effects.whole = true,
            Action::NotCounted => effects.not_counted = true,
            Action::ObjectsMax(objects) => effects.objects_max = Some(*objects),
        }
    }
}

mod humantime_text {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_duration(*duration))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        humantime::parse_duration(&text)
            .map_err(|_| D::Error::custom(format!("{text:?} is no duration such as 500ms or 2m")))
    }
}

mod humantime_option {
    use std::time::Duration;

    use serde::{Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "the signature serde asks for")]
    pub fn serialize<S: Serializer>(duration: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => super::humantime_text::serialize(duration, to),
            None => to.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        super::humantime_text::deserialize(from).map(Some)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests may")]
    use super::*;

    const TRACK: Matter<'static> = Matter {
        lane: Some("users_track"),
        path: "/users/track",
        workspace: Some("acme"),
    };

    #[test]
    fn toml_and_json_say_the_same() {
        let toml = "[[rules]]\nlane = \"users_track\"\nfrom = \"10s\"\nfor = \"5s\"\nretry_after = \"7s\"\naction = { status = 503 }\n\n[[rules]]\nnext = 3\naction = \"hang\"\n";
        let script = Script::parse(toml).unwrap();
        let json = serde_json::to_string(&script).unwrap();
        let again = Script::parse(&json).unwrap();
        assert_eq!(serde_json::to_string(&again).unwrap(), json);
        assert_eq!(script.rules[0].action, Action::Status(503));
        assert_eq!(script.rules[1].action, Action::Hang);
        assert!(Script::parse("[[rules]]\nactoin = \"hang\"").is_err());
        assert!(Script::parse("{\"rules\": [{\"action\": \"explode\"}]}").is_err());
    }

    #[test]
    fn a_rule_acts_in_its_time_for_its_lane_and_so_many_requests_only() {
        let script = Script::parse(
            r#"{"rules": [{"lane": "users_track", "from": "10s", "for": "5s", "skip": 1, "next": 2, "action": {"status": 500}}]}"#,
        );
        let at = |seconds: u64| Timestamp::from_millis(seconds * 1000);
        let mut play = Play::new(script.unwrap(), at(100));
        let other = Matter {
            lane: Some("quikly"),
            path: "/webhook/braze",
            workspace: None,
        };
        let mut hit = |matter, second| play.effects(matter, at(second)).instead.is_some();
        assert!(!hit(TRACK, 109));
        assert!(!hit(other, 110));
        assert!(!hit(TRACK, 110), "skipped");
        assert!(hit(TRACK, 111));
        assert!(hit(TRACK, 112));
        assert!(!hit(TRACK, 113), "used up");
        let mut play = Play::new(play.script().clone(), at(0));
        play.effects(TRACK, at(14));
        assert!(play.effects(TRACK, at(14)).instead.is_some());
        assert!(play.effects(TRACK, at(15)).instead.is_none(), "over");
    }

    #[test]
    fn a_rule_may_let_every_so_manyth_request_pass() {
        let script =
            Script::parse(r#"{"rules": [{"spare": 3, "action": {"status": 500}}]}"#).unwrap();
        let mut play = Play::new(script, Timestamp::ZERO);
        let mut hit = |_| play.effects(TRACK, Timestamp::ZERO).instead.is_some();
        let hits: Vec<bool> = (0..6).map(&mut hit).collect();
        assert_eq!(hits, [true, true, false, true, true, false]);
    }

    #[test]
    fn the_first_ending_wins_and_the_rest_adds_up() {
        let script = r#"{"rules": [
            {"action": {"delay": "10ms..20ms"}}, {"action": "reset"}, {"action": {"status": 500}},
            {"action": {"reject_email": "a@b.co"}}, {"workspace": "other", "action": "revoke_key"}]}"#;
        let mut play = Play::new(Script::parse(script).unwrap(), Timestamp::ZERO);
        let effects = play.effects(TRACK, Timestamp::ZERO);
        assert_eq!(effects.instead, Some(Instead::Reset));
        assert_eq!(effects.delays.len(), 1);
        assert_eq!(effects.rejected, ["a@b.co"]);
        assert!(!effects.revoked);
    }
}
