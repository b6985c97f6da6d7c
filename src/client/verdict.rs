//! What Braze's answers mean, call by call.
//!
//! Invariants: pure. Exactly one answer for each call, whatever came back. Only what Braze plainly accepted is
//! answered well; only what it plainly refused is rejected; a call that would count twice is never said to be
//! repeatable unless nothing of it happened. Source: the reference pages of `/users/track`, `/users/export/ids` and
//! "API errors", and recorded answers where the pages are silent.

use serde_json::Value;

use super::Answers;
use super::answer::{self, Redactor};
use super::body::{Places, has_attributes_object};
use super::http::RawAnswer;
use crate::model::call::{Answer, Failure, Happened, Profile, Reply, Track};
use crate::model::json::Object;
use crate::model::time::Timestamp;

/// What is told of a body that is too large.
pub(super) const TOO_LARGE: &str = "larger than Braze takes in one request";

/// Reads the answer to a look-up. Without a list of profiles that is plainly complete it is a failure: taking it for
/// "nobody" would make a second profile.
pub fn profiles(answer: &RawAnswer, redactor: &Redactor, now: Timestamp) -> Result<Reply, Failure> {
    if !(200..300).contains(&answer.status) {
        return Err(once_more(refusal(answer, redactor, now)));
    }
    let unreadable = |text: &str| Err(Failure::Transient(redactor.answer(answer.status, text)));
    let Some(body) = object(answer) else {
        return unreadable("the answer cannot be read");
    };
    if !says(&body, &["success"]) {
        return unreadable(&answer::message(answer));
    }
    let Some(Value::Array(users)) = body.get("users") else {
        return unreadable("the answer has no list of users");
    };
    match users.iter().map(profile).collect() {
        Some(profiles) => Ok(Reply::Profiles(profiles)),
        None => unreadable("a user in the answer cannot be read"),
    }
}

/// A read whose outcome is unknown did not happen.
pub fn once_more(failure: Failure) -> Failure {
    match failure {
        Failure::Unknown(answer) => Failure::Transient(answer),
        other @ (Failure::Transient(_)
        | Failure::Throttled { .. }
        | Failure::Rejected(_)
        | Failure::Denied(_)
        | Failure::WrongGroup(_)
        | Failure::Apart { .. }) => other,
    }
}

/// Reads the answer to the tracks of one request, whose objects stood at `places`.
pub fn tracked(
    answer: &RawAnswer,
    tracks: &[&Track],
    places: &Places,
    redactor: &Redactor,
    now: Timestamp,
) -> Answers {
    if (200..300).contains(&answer.status) {
        return accepted(answer, tracks, places, redactor);
    }
    match refusal(answer, redactor, now) {
        // Whose group is wrong is to be found out, too: the others have another, or none.
        Failure::Rejected(said) | Failure::WrongGroup(said) if tracks.len() > 1 => {
            let body = object(answer).unwrap_or_default();
            let blame = Blame::read(&body, places, tracks.len());
            let among = blame.named.iter().filter(|named| named.is_none()).count();
            let unnamed = Failure::Apart {
                among,
                happened: Happened::Nothing,
                answer: said,
            };
            let named = blame.named.into_iter();
            let named = named.map(|named| named.map(|text| redactor.answer(answer.status, &text)));
            named
                .map(|named| Err(named.map_or_else(|| unnamed.clone(), rejected)))
                .collect()
        }
        failure => vec![Err(failure); tracks.len()],
    }
}

/// A 2xx: accepted, but for the objects that `errors` names.
fn accepted(
    answer: &RawAnswer,
    tracks: &[&Track],
    places: &Places,
    redactor: &Redactor,
) -> Answers {
    let Some(body) = object(answer) else {
        let said = redactor.answer(answer.status, "the answer cannot be read");
        return vec![Err(Failure::Unknown(said)); tracks.len()];
    };
    let mut blame = Blame::read(&body, places, tracks.len());
    if says(&body, &["success", "queued"]) {
        blame.clear_by_counters(&body, places);
    } else {
        (blame.some_attributes, blame.some_events) = (true, true);
    }
    let doubts: Vec<_> = tracks.iter().map(|track| blame.doubt(track)).collect();
    let both = doubts.iter().zip(&blame.named);
    let among = both
        .filter(|(doubt, named)| doubt.is_some() && named.is_none())
        .count();
    if among == 0 && blame.named.iter().all(Option::is_none) {
        return vec![Ok(Reply::Tracked); tracks.len()];
    }
    let said = redactor.answer(answer.status, &answer::message(answer));
    let judge = |(doubt, named): (Option<Happened>, &Option<String>)| match (named, doubt) {
        (Some(text), _) => Err(rejected(redactor.answer(answer.status, text))),
        (None, None) => Ok(Reply::Tracked),
        (None, Some(_)) if tracks.len() == 1 => Err(rejected(said.clone())),
        (None, Some(happened)) => Err(Failure::Apart {
            among,
            happened,
            answer: said.clone(),
        }),
    };
    doubts.into_iter().zip(&blame.named).map(judge).collect()
}

/// Whom `errors` names.
struct Blame {
    /// For each call what was said of it.
    named: Vec<Option<String>>,
    /// An entry says only that something in `attributes` is wrong.
    some_attributes: bool,
    /// An entry says only that something in `events` is wrong.
    some_events: bool,
}

impl Blame {
    fn read(body: &Object, places: &Places, calls: usize) -> Blame {
        let mut blame = Blame {
            named: vec![None; calls],
            some_attributes: false,
            some_events: false,
        };
        for entry in answer::entries(body) {
            let array = match entry.get("input_array").and_then(Value::as_str) {
                Some(array) => Some(array),
                // An index alone is enough where there was only one array.
                None if places.events.is_empty() => Some("attributes"),
                None if places.attributes.is_empty() => Some("events"),
                None => None,
            };
            let places = match array {
                Some("attributes") => places.attributes.as_slice(),
                Some("events") => places.events.as_slice(),
                Some(_) | None => &[],
            };
            let owner = index(entry).and_then(|index| places.get(index));
            let Some(named) = owner.and_then(|owner| blame.named.get_mut(*owner)) else {
                blame.some_attributes |= array != Some("events") || places.is_empty();
                blame.some_events |= array != Some("attributes") || places.is_empty();
                continue;
            };
            let text = answer::words_of(entry).unwrap_or("an error without a type");
            match named {
                None => *named = Some(text.to_owned()),
                Some(texts) if !texts.contains(text) => *texts = format!("{texts}; {text}"),
                Some(_) => {}
            }
        }
        blame
    }

    /// Clears an array that was taken whole, by the numbers of objects that Braze says it took. They are believed only
    /// where they and the errors make up all that was sent: then they leave out what was refused.
    fn clear_by_counters(&mut self, body: &Object, places: &Places) {
        let taken = |counter: &str, sent: usize| match body.get(counter) {
            Some(taken) => taken.as_u64().and_then(|taken| usize::try_from(taken).ok()),
            None => (sent == 0).then_some(0),
        };
        let sent = (places.attributes.len(), places.events.len());
        let attributes = taken("attributes_processed", sent.0);
        let events = taken("events_processed", sent.1);
        let (Some(attributes), Some(events)) = (attributes, events) else {
            return;
        };
        let missing = (
            sent.0.saturating_sub(attributes),
            sent.1.saturating_sub(events),
        );
        let some_attributes = self.some_attributes && missing.0 > 0;
        let some_events = self.some_events && missing.1 > 0;
        // What contradicts itself clears nobody.
        if missing.0 + missing.1 == answer::entries(body).len() && (some_attributes || some_events)
        {
            (self.some_attributes, self.some_events) = (some_attributes, some_events);
        }
    }

    /// What of a track has happened, if something of it may be what was refused. What of it should not happen twice is its
    /// events and a subscription.
    fn doubt(&self, track: &Track) -> Option<Happened> {
        let attributes = self.some_attributes && has_attributes_object(track);
        let events = self.some_events && !track.events.is_empty();
        if events || (attributes && track.subscribe.is_some()) {
            return Some(Happened::Unknown);
        }
        attributes.then_some(if track.events.is_empty() {
            Happened::Nothing
        } else {
            Happened::Events
        })
    }
}

/// What an answer other than a 2xx means for a call that travelled alone. Braze processes nothing of a request that it
/// answers with 4xx or 5xx; 520 and 524 are not Braze's but those of the network before it, and say that Braze was
/// reached and did not answer.
pub(super) fn refusal(answer: &RawAnswer, redactor: &Redactor, now: Timestamp) -> Failure {
    let said = || redactor.answer(answer.status, &answer::message(answer));
    match answer.status {
        400 | 422 => rejected(said()),
        413 => Failure::Rejected(redactor.answer(
            answer.status,
            &format!("{TOO_LARGE}: {}", answer::message(answer)),
        )),
        401 => answer::key_refused(),
        429 => answer::throttled(answer, redactor, now),
        520 | 524 => Failure::Unknown(said()),
        408 | 409 | 423 | 425 | 500.. => Failure::Transient(said()),
        300..400 => answer::redirected(answer.status),
        _ => Failure::Denied(said()),
    }
}

/// What was plainly refused: for ever, unless it is the activation that asks for a group that Braze does not know.
fn rejected(said: Answer) -> Failure {
    let text = said.text.to_ascii_lowercase();
    if text.contains("invalid subscription group") || text.contains("bad_subscription_group_id") {
        Failure::WrongGroup(said)
    } else {
        Failure::Rejected(said)
    }
}

pub(super) fn object(answer: &RawAnswer) -> Option<Object> {
    answer
        .whole
        .then(|| serde_json::from_slice(&answer.body).ok())
        .flatten()
}

/// Whether the body's message is one of these, or it has neither message nor error.
pub(super) fn says(body: &Object, fine: &[&str]) -> bool {
    match body.get("message") {
        Some(Value::String(message)) => fine
            .iter()
            .any(|fine| message.trim().eq_ignore_ascii_case(fine)),
        Some(_) => false,
        None => !body.contains_key("error"),
    }
}

fn index(entry: &Value) -> Option<usize> {
    let index = match entry.get("index")? {
        Value::String(text) => text.trim().parse().ok()?,
        other => other.as_u64()?,
    };
    usize::try_from(index).ok()
}

/// A user of an export; what is missing, `null` or empty is `None`.
fn profile(user: &Value) -> Option<Profile> {
    let user = user.as_object()?;
    let text = |field: &str| {
        user.get(field)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    Some(Profile {
        external_id: text("external_id"),
        braze_id: text("braze_id"),
        email: text("email"),
        phone: text("phone"),
    })
}

#[cfg(test)]
mod tests;
