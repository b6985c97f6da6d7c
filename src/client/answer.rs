//! What the other side said, made fit to be kept and shown.
//!
//! Invariants: pure. Nothing that [`Redactor::hide`] was told survives in a text, nor anything that looks like an
//! e-mail, a phone number or a token, whoever it belongs to; a text has at most [`TEXT_CHARS_MAX`] characters.
//! Deliberately absent: any way for a raw body into an [`Answer`].

use std::cell::OnceCell;
use std::cmp::Reverse;

use serde_json::Value;

use super::http::{RawAnswer, Trouble};
use super::throttle;
use crate::model::call::{Address, Answer, Failure, Track};
use crate::model::json::Object;
use crate::model::lookalike::{HIDDEN, without_lookalikes};
use crate::model::time::Timestamp;

/// The longest text of an answer, in characters.
pub const TEXT_CHARS_MAX: usize = 200;

/// How much of what was said is looked at, and how much is kept until the last cut, in characters.
const RAW_CHARS_MAX: usize = 16_384;
const KEPT_CHARS_MAX: usize = 2_000;

/// Shorter ones are hidden only where they are whole words: else hardly a sentence would be left.
const ANYWHERE_CHARS_MIN: usize = 4;

/// Attribute values shorter than this are no secret worth a sentence.
const VALUE_CHARS_MIN: usize = 3;

/// How many different errors one text names.
const ERRORS_MAX: usize = 3;

/// Takes out of a text what must not be in it. Costs next to nothing before there is a text: most answers have none.
pub struct Redactor<'a> {
    hidden: Vec<&'a str>,
    /// In folded characters, longest first; made for the first text.
    words: OnceCell<Vec<Vec<char>>>,
}

impl<'a> Redactor<'a> {
    /// One that hides `secret`, wherever it appears.
    pub fn new(secret: &'a str) -> Redactor<'a> {
        Redactor {
            hidden: vec![secret],
            words: OnceCell::new(),
        }
    }

    /// Hides the address and every text in the attributes and properties of `track` too.
    pub fn hide_track(&mut self, track: &'a Track) {
        match &track.address {
            Address::ExternalId(id) | Address::BrazeId(id) => self.hide(id),
            Address::Alias(email) | Address::Email(email) => self.hide(email),
        }
        self.hide_values(&track.attributes);
        for event in &track.events {
            event
                .properties
                .iter()
                .for_each(|all| self.hide_values(all));
        }
    }

    /// Hides `word` too, in upper and lower case.
    pub fn hide(&mut self, word: &'a str) {
        self.hidden.push(word);
        self.words.take();
    }

    fn words(&self) -> &[Vec<char>] {
        self.words.get_or_init(|| {
            let folded = self.hidden.iter().map(|word| word.trim().chars().map(fold));
            let mut words: Vec<Vec<char>> = folded
                .map(Iterator::collect)
                .filter(|word: &Vec<char>| word.iter().any(|c| c.is_alphanumeric()))
                .collect();
            words.sort_by_key(|word| Reverse(word.len()));
            words
        })
    }

    fn hide_values(&mut self, object: &'a Object) {
        object.values().for_each(|value| self.hide_value(value));
    }

    fn hide_value(&mut self, value: &'a Value) {
        match value {
            Value::String(text) if text.chars().count() >= VALUE_CHARS_MIN => self.hide(text),
            Value::Array(items) => items.iter().for_each(|item| self.hide_value(item)),
            Value::Object(object) => self.hide_values(object),
            Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// `raw` without anything to hide, on one line, cut to [`TEXT_CHARS_MAX`].
    pub fn text(&self, raw: &str) -> String {
        let (known_hidden, cut) = self.without_words(raw);
        let mut pieces: Vec<&str> = known_hidden.split_whitespace().collect();
        if cut {
            // What the cut went through could no longer be recognised.
            pieces.pop();
        }
        shorten(&without_lookalikes(&pieces, |_| true).join(" "))
    }

    /// An answer with this status and the redacted `raw`.
    pub fn answer(&self, status: u16, raw: &str) -> Answer {
        Answer {
            status: Some(status),
            text: self.text(raw),
        }
    }

    fn without_words(&self, raw: &str) -> (String, bool) {
        let raw: Vec<char> = raw
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(RAW_CHARS_MAX)
            .collect();
        let folded: Vec<char> = raw.iter().copied().map(fold).collect();
        let words = self.words();
        let (mut kept, mut kept_chars, mut at) = (String::new(), 0, 0);
        while at < raw.len() && kept_chars < KEPT_CHARS_MAX {
            if let Some(word) = words.iter().find(|word| stands_at(word, &folded, at)) {
                kept.push_str(HIDDEN);
                kept_chars += HIDDEN.len();
                at += word.len();
            } else {
                kept.push(raw[at]);
                kept_chars += 1;
                at += 1;
            }
        }
        (kept, at < raw.len() || raw.len() == RAW_CHARS_MAX)
    }
}

/// One character of the lower case, a space for what is none: keeps positions the same on both sides of a comparison.
fn fold(c: char) -> char {
    if c.is_control() || c.is_whitespace() {
        return ' ';
    }
    c.to_lowercase().next().unwrap_or(c)
}

fn stands_at(word: &[char], text: &[char], at: usize) -> bool {
    if !text[at..].starts_with(word) {
        return false;
    }
    let inside_a_word = |place: Option<&char>| place.is_some_and(|c| c.is_alphanumeric());
    word.len() >= ANYWHERE_CHARS_MIN
        || !(inside_a_word(at.checked_sub(1).and_then(|before| text.get(before)))
            || inside_a_word(text.get(at + word.len())))
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= TEXT_CHARS_MAX {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(TEXT_CHARS_MAX - 1).collect();
    short.push('…');
    short
}

/// The message in a JSON body: `message`, `error`, the types in `errors`, and their likes elsewhere. Raw: only for a
/// [`Redactor`].
pub fn message(answer: &RawAnswer) -> String {
    let Ok(Value::Object(body)) = serde_json::from_slice(&answer.body) else {
        return "no message".into();
    };
    let mut said: Vec<&str> = ["message", "error", "title", "detail"]
        .into_iter()
        .filter_map(|field| body.get(field).and_then(words_of))
        .collect();
    let mut errors: Vec<&str> = entries(&body).iter().filter_map(words_of).collect();
    errors.dedup();
    said.extend(errors.into_iter().take(ERRORS_MAX));
    if said.is_empty() {
        return "no message".into();
    }
    said.join("; ")
}

/// The entries of `errors`, whatever form it has.
pub fn entries(body: &Object) -> &[Value] {
    match body.get("errors") {
        None | Some(Value::Null) => &[],
        Some(Value::Array(entries)) => entries,
        Some(Value::String(text)) if text.is_empty() => &[],
        Some(entry) => std::slice::from_ref(entry),
    }
}

/// What an error entry, or an error field, says.
pub fn words_of(entry: &Value) -> Option<&str> {
    match entry {
        Value::String(text) => Some(text),
        Value::Object(entry) => ["type", "message", "error"]
            .into_iter()
            .find_map(|field| entry.get(field)?.as_str()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
    }
}

/// A 429, with the time it gives.
pub fn throttled(answer: &RawAnswer, redactor: &Redactor, now: Timestamp) -> Failure {
    let wait = throttle::wait(answer, now);
    let mut said = redactor.answer(answer.status, &message(answer));
    if let Some(asked) = wait.capped {
        let note = format!(
            "asked to wait {} s, which is capped at {} s; ",
            asked.as_secs(),
            throttle::WAIT_MAX.as_secs()
        );
        said.text = shorten(&(note + &said.text));
    }
    Failure::Throttled {
        until: wait.until,
        answer: said,
    }
}

/// A 401. Its body is not looked at: Braze's repeats the key.
pub fn key_refused() -> Failure {
    Failure::Denied(Answer {
        status: Some(401),
        text: "the key was refused".into(),
    })
}

/// A 3xx: whoever follows it shows the key to somebody else.
pub fn redirected(status: u16) -> Failure {
    Failure::Denied(Answer {
        status: Some(status),
        text: "the URL answers with a redirect, which is never followed".into(),
    })
}

/// No answer.
pub fn unanswered(trouble: &Trouble) -> Failure {
    let answer = Answer {
        status: None,
        text: shorten(&trouble.to_string()),
    };
    match trouble {
        Trouble::NotSent(_) => Failure::Transient(answer),
        Trouble::Unknown(_) => Failure::Unknown(answer),
    }
}

/// Our own configuration has no place for the call.
pub fn not_configured(text: &str) -> Failure {
    Failure::Denied(Answer {
        status: None,
        text: shorten(text),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "b6ad1a3e-41a5-4a32-a0d2-aaaaaaaaaaaa";

    fn scrubbed(raw: &str) -> String {
        Redactor::new(KEY).text(raw)
    }

    #[test]
    fn the_echo_of_the_key_is_hidden_wherever_it_stands() {
        for raw in [
            format!("Invalid API key: {KEY}"),
            format!("key={KEY}."),
            format!("{}!", KEY.to_uppercase()),
        ] {
            let text = scrubbed(&raw);
            assert!(!text.to_lowercase().contains(KEY), "{text}");
        }
        assert_eq!(Redactor::new("short").text("x-SHORT-y"), "x-***-y");
        assert_eq!(
            Redactor::new("two\nlines").text("x two\nlines y"),
            "x *** y"
        );
    }

    #[test]
    fn what_looks_like_an_e_mail_a_phone_or_a_token_is_hidden_whoever_it_belongs_to() {
        for (raw, text) in [
            ("'eve@example.com' is bad", "*** is bad"),
            ("eve%40example.com is bad", "*** is bad"),
            ("call +15550109999 now", "call *** now"),
            ("call +1 (555) 010-9999 now", "call *** now"),
            ("use sk_live51H8aBcDeFgHiJk now", "use *** now"),
            ("use AbCdEfGhIjKlMnOp now", "use *** now"),
        ] {
            assert_eq!(scrubbed(raw), text);
        }
    }

    #[test]
    fn what_braze_really_says_stays_readable() {
        for raw in [
            "Valid data must be provided in the 'attributes', 'events', or 'purchases' fields.",
            "'external_id', 'braze_id', 'user_alias', 'email' or 'phone' is required",
            "INVALID_ATTRIBUTE_EMAIL_SUBSCRIPTION_INFO",
            "'external_id' must be fewer than 988 bytes",
            "The max number of external_ids and aliases per request was exceeded",
            "Invalid subscription group ID",
        ] {
            assert_eq!(scrubbed(raw), raw);
        }
    }

    #[test]
    fn a_text_is_one_short_line() {
        let text = scrubbed(&"many words\n\u{7}".repeat(5000));
        assert_eq!(text.chars().count(), TEXT_CHARS_MAX);
        assert!(text.ends_with('…') && !text.contains(char::is_control));
    }

    #[test]
    fn an_address_that_the_cut_goes_through_is_hidden_whole() {
        let mut redactor = Redactor::new(KEY);
        let long = "ada lovelace ".repeat(200);
        redactor.hide(&long);
        assert_eq!(redactor.text(&format!("no {long} yes")), "no *** yes");
        let through = format!("{} +15550109999 yes", "aB".repeat(KEPT_CHARS_MAX / 2 - 2));
        assert_eq!(scrubbed(&through), HIDDEN);
    }

    #[test]
    fn messages_are_found_in_every_form_they_come_in() {
        for (body, text) in [
            (r#"{"message":"no"}"#, "no"),
            (
                r#"{"error":"bad","errors":[{"type":"A"},{"type":"A"},"B"]}"#,
                "bad; A; B",
            ),
            (r#"{"errors":"plain"}"#, "plain"),
            (r#"{"error":{"message":"inner"}}"#, "inner"),
            ("<html>", "no message"),
            ("[1]", "no message"),
            (r#"{"message":7}"#, "no message"),
        ] {
            assert_eq!(message(&RawAnswer::made(400, &[], body)), text);
        }
    }

    proptest! {
        #[test]
        fn no_hidden_word_survives(
            words in prop::collection::vec("[a-zA-Z0-9ß@.+ _-]{1,20}", 1..6),
            around in prop::collection::vec(" [a-z '\":,.@]{0,12} ", 7),
        ) {
            let mut redactor = Redactor::new(KEY);
            let mut raw = around[0].clone();
            for (word, after) in words.iter().zip(&around[1..]) {
                redactor.hide(word);
                raw += word;
                raw += after;
            }
            let text: Vec<char> = redactor.text(&raw).chars().map(fold).collect();
            for word in words {
                let word: Vec<char> = word.trim().chars().map(fold).collect();
                if word.iter().any(|c| c.is_alphanumeric()) {
                    prop_assert!((0..text.len()).all(|at| !stands_at(&word, &text, at)), "{:?} in {:?}", word, text);
                }
            }
        }

        #[test]
        fn any_text_can_be_redacted(raw in any::<String>(), word in any::<String>()) {
            let mut redactor = Redactor::new(&word);
            redactor.hide(&raw);
            prop_assert!(redactor.text(&raw).chars().count() <= TEXT_CHARS_MAX);
        }
    }
}
