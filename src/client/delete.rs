//! Deleting profiles: what is asked, and what the answer means.
//!
//! Invariants: pure; a request names ids of one kind, as Braze demands. Only an answer that plainly says success deleted
//! anything; what is unclear may be asked again, for nothing happens twice. Source: the reference page of `/users/delete`.

use serde::Serialize;

use super::answer::{self, Redactor};
use super::http::RawAnswer;
use super::verdict::{object, once_more, refusal, says};
use crate::model::call::{Address, Failure, Reply};
use crate::model::time::Timestamp;

/// The body of `POST /users/delete`.
#[derive(Serialize)]
pub struct DeleteBody<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    external_ids: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    braze_ids: Vec<&'a str>,
}

impl<'a> DeleteBody<'a> {
    /// Of these ids; `None` where they are not all of one kind that can be deleted by.
    pub fn new(ids: &'a [Address]) -> Option<DeleteBody<'a>> {
        let (mut external_ids, mut braze_ids) = (Vec::new(), Vec::new());
        for id in ids {
            match id {
                Address::ExternalId(id) => external_ids.push(id.as_str()),
                Address::BrazeId(id) => braze_ids.push(id.as_str()),
                Address::Alias(_) | Address::Email(_) => return None,
            }
        }
        (external_ids.is_empty() != braze_ids.is_empty()).then_some(DeleteBody {
            external_ids,
            braze_ids,
        })
    }
}

/// Reads the answer to a deletion.
pub fn deleted(answer: &RawAnswer, redactor: &Redactor, now: Timestamp) -> Result<Reply, Failure> {
    if !(200..300).contains(&answer.status) {
        return Err(once_more(refusal(answer, redactor, now)));
    }
    match object(answer) {
        Some(body) if says(&body, &["success"]) => Ok(Reply::Deleted),
        _ => {
            let said = redactor.answer(answer.status, &answer::message(answer));
            Err(Failure::Transient(said))
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_names_ids_of_one_kind() {
        let braze = |id: &str| Address::BrazeId(id.into());
        let external = |id: &str| Address::ExternalId(id.into());
        let body =
            |ids: &[Address]| DeleteBody::new(ids).map(|body| serde_json::to_value(body).unwrap());
        let two = body(&[braze("a"), braze("b")]);
        assert_eq!(two, Some(json!({"braze_ids": ["a", "b"]})));
        assert_eq!(body(&[external("a")]), Some(json!({"external_ids": ["a"]})));
        assert_eq!(body(&[braze("a"), external("b")]), None);
        assert_eq!(body(&[Address::Email("a@b.example".into())]), None);
        assert_eq!(body(&[]), None);
    }
}
