//! Reading and setting the status of phones in a subscription group.
//!
//! Invariants: pure. One answer for each phone asked about. Whatever Braze does not plainly say is unknown, never
//! Subscribed. Source: the reference pages of `/subscription/status/get` and `/v2/subscription/status/set`, which leave
//! open under which key a phone's status stands.

use serde::Serialize;
use serde_json::Value;
use url::Url;

use super::Answers;
use super::answer::{self, Redactor};
use super::http::RawAnswer;
use super::verdict::{object, refusal, says};
use crate::model::call::{Answer, Failure, Happened, Reply, SetStatus, Subscription};
use crate::model::time::Timestamp;

/// The most phones that one request may ask about or set.
pub const PHONES_MAX: usize = 50;

/// What Braze is said to answer about somebody it does not know.
const NOBODY: &str = "user not found";

/// `url` with the question about these phones.
pub fn question(url: &Url, group: &str, phones: &[&str]) -> Url {
    let mut url = url.clone();
    {
        let mut query = url.query_pairs_mut();
        query.append_pair("subscription_group_id", group);
        let name = if phones.len() == 1 {
            "phone"
        } else {
            "phone[]"
        };
        for phone in phones {
            query.append_pair(name, phone);
        }
    }
    url
}

/// The body of a v2 set: one group of phones, all in the same way.
#[derive(Serialize)]
pub struct SetBody<'a> {
    subscription_groups: [GroupOfPhones<'a>; 1],
}

#[derive(Serialize)]
struct GroupOfPhones<'a> {
    subscription_group_id: &'a str,
    subscription_state: &'static str,
    phones: Vec<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    use_double_opt_in_logic: bool,
}

impl<'a> SetBody<'a> {
    /// Of sets that share group and way.
    pub fn new(sets: &[&'a SetStatus]) -> SetBody<'a> {
        let mut phones: Vec<&str> = Vec::with_capacity(sets.len());
        for set in sets {
            if !phones.contains(&set.phone.as_str()) {
                phones.push(&set.phone);
            }
        }
        SetBody {
            subscription_groups: [GroupOfPhones {
                subscription_group_id: sets.first().map_or("", |set| &set.group),
                subscription_state: "subscribed",
                phones,
                use_double_opt_in_logic: sets.first().is_some_and(|set| set.double_opt_in),
            }],
        }
    }
}

/// Reads the answer to a question about `phones`: one for each.
pub fn read(answer: &RawAnswer, phones: &[&str], redactor: &Redactor, now: Timestamp) -> Answers {
    let all = |failure: Failure| vec![Err(failure); phones.len()];
    let unknown_person = answer::message(answer)
        .to_ascii_lowercase()
        .contains(NOBODY);
    if !(200..300).contains(&answer.status) {
        if unknown_person && answer.status != 401 {
            return match phones {
                [_] => vec![Ok(Reply::Status(Subscription::Unknown))],
                _ => all(apart(phones.len(), redactor.answer(answer.status, NOBODY))),
            };
        }
        return match super::verdict::once_more(refusal(answer, redactor, now)) {
            Failure::Rejected(said) if phones.len() > 1 => all(apart(phones.len(), said)),
            failure => all(failure),
        };
    }
    let unreadable = |text: &str| all(Failure::Transient(redactor.answer(answer.status, text)));
    let Some(body) = object(answer) else {
        return unreadable("the answer cannot be read");
    };
    let Some(Value::Object(statuses)) = body.get("status") else {
        if unknown_person && phones.len() == 1 {
            return vec![Ok(Reply::Status(Subscription::Unknown))];
        }
        return unreadable("the answer has no status");
    };
    let of = |phone: &str| {
        let same = |key: &String| digits(key) == digits(phone);
        let named = statuses
            .iter()
            .find(|(key, _)| same(key))
            .map(|(_, value)| value);
        // With one question there is one answer, whatever it is called.
        named.or_else(|| match phones {
            [_] if statuses.len() == 1 => statuses.values().next(),
            _ => None,
        })
    };
    phones
        .iter()
        .map(|phone| Ok(Reply::Status(status(of(phone)))))
        .collect()
}

/// Reads the answer to a set of so many phones.
pub fn set(answer: &RawAnswer, phones: usize, redactor: &Redactor, now: Timestamp) -> Answers {
    if (200..300).contains(&answer.status) {
        let said = redactor.answer(answer.status, &answer::message(answer));
        let one = match object(answer) {
            Some(body) if says(&body, &["success", "queued"]) => Ok(Reply::StatusSet),
            Some(_) if phones > 1 => Err(Failure::Apart {
                among: phones,
                happened: Happened::Unknown,
                answer: said,
            }),
            Some(_) => Err(Failure::Rejected(said)),
            None => Err(Failure::Unknown(said)),
        };
        return vec![one; phones];
    }
    let failure = match refusal(answer, redactor, now) {
        Failure::Rejected(said) if phones > 1 => apart(phones, said),
        failure => failure,
    };
    vec![Err(failure); phones]
}

fn apart(phones: usize, answer: Answer) -> Failure {
    Failure::Apart {
        among: phones,
        happened: Happened::Nothing,
        answer,
    }
}

fn status(value: Option<&Value>) -> Subscription {
    match value.and_then(Value::as_str) {
        Some(text) if text.trim().eq_ignore_ascii_case("subscribed") => Subscription::Subscribed,
        Some(text) if text.trim().eq_ignore_ascii_case("unsubscribed") => {
            Subscription::Unsubscribed
        }
        _ => Subscription::Unknown,
    }
}

fn digits(phone: &str) -> String {
    phone.chars().filter(char::is_ascii_digit).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;
    use crate::model::rules::OnUnknown;

    const ANN: &str = "+15550001111";
    const BOB: &str = "+15550002222";

    fn asked(status: u16, body: &str, phones: &[&str]) -> Answers {
        read(
            &RawAnswer::made(status, &[], body),
            phones,
            &Redactor::new("K3y"),
            Timestamp::ZERO,
        )
    }

    fn one(status: u16, body: &str) -> Result<Reply, Failure> {
        asked(status, body, &[ANN]).pop().unwrap()
    }

    #[test]
    fn a_phone_s_plus_is_encoded_and_one_phone_is_asked_about_without_brackets() {
        let url = Url::parse("http://127.0.0.1/subscription/status/get").unwrap();
        let query = |phones: &[&str]| question(&url, "g-1", phones).query().unwrap().to_owned();
        assert_eq!(
            query(&[ANN]),
            "subscription_group_id=g-1&phone=%2B15550001111"
        );
        assert_eq!(
            query(&[ANN, BOB]),
            "subscription_group_id=g-1&phone%5B%5D=%2B15550001111&phone%5B%5D=%2B15550002222"
        );
    }

    #[test]
    fn a_status_is_found_under_the_phone_however_it_is_written_and_nothing_else_is_subscribed() {
        use Subscription::{Subscribed, Unknown, Unsubscribed};
        for (body, expected) in [
            (
                r#"{"status":{"+15550001111":"Subscribed"},"message":"success"}"#,
                Subscribed,
            ),
            (r#"{"status":{"15550001111":"subscribed"}}"#, Subscribed),
            (r#"{"status":{"whatever":"Unsubscribed"}}"#, Unsubscribed),
            (r#"{"status":{"+15550001111":"unknown"}}"#, Unknown),
            (r#"{"status":{"+15550001111":"Pending"}}"#, Unknown),
            (r#"{"status":{"+15550001111":null}}"#, Unknown),
            (r#"{"status":{}}"#, Unknown),
        ] {
            assert_eq!(one(200, body), Ok(Reply::Status(expected)), "{body}");
        }
        let two = asked(
            200,
            r#"{"status":{"+15550002222":"Subscribed"}}"#,
            &[ANN, BOB],
        );
        assert_eq!(
            two,
            [Ok(Reply::Status(Unknown)), Ok(Reply::Status(Subscribed))]
        );
    }

    #[test]
    fn somebody_unknown_is_no_failure_and_what_cannot_be_read_is_asked_again() {
        let nobody = r#"{"message":"User not found"}"#;
        for status in [200, 400, 404] {
            assert_eq!(
                one(status, nobody),
                Ok(Reply::Status(Subscription::Unknown)),
                "{status}"
            );
        }
        assert_eq!(
            apart_of(&asked(404, nobody, &[ANN, BOB])),
            [(2, Happened::Nothing); 2]
        );
        for body in [
            "",
            "[]",
            r#"{"status":"Subscribed"}"#,
            r#"{"message":"success"}"#,
        ] {
            assert!(
                matches!(one(200, body), Err(Failure::Transient(_))),
                "{body}"
            );
        }
        assert!(matches!(one(503, ""), Err(Failure::Transient(_))));
        assert!(matches!(one(401, nobody), Err(Failure::Denied(_))));
        let bad = r#"{"message":"phone is invalid"}"#;
        assert!(matches!(one(400, bad), Err(Failure::Rejected(_))));
        assert_eq!(
            apart_of(&asked(400, bad, &[ANN, BOB])),
            [(2, Happened::Nothing); 2]
        );
        let group = r#"{"message":"Invalid subscription group ID"}"#;
        // The group is everybody's: nobody need be asked again to know who is to blame.
        for answer in asked(400, group, &[ANN, BOB]) {
            assert!(matches!(answer, Err(Failure::WrongGroup(_))));
        }
    }

    /// Of answers that take the request apart: among how many, and what has happened.
    fn apart_of(answers: &Answers) -> Vec<(usize, Happened)> {
        let apart = |answer: &Result<Reply, Failure>| match answer {
            Err(Failure::Apart {
                among, happened, ..
            }) => (*among, *happened),
            other => panic!("{other:?}"),
        };
        answers.iter().map(apart).collect()
    }

    #[test]
    fn a_set_names_each_phone_once_and_says_double_opt_in_only_when_it_is_one() {
        let set = |phone: &str, double_opt_in| SetStatus {
            group: "g".into(),
            phone: phone.into(),
            double_opt_in,
            on_unknown: OnUnknown::Resend,
        };
        let (ann, bob) = (set(ANN, false), set(BOB, false));
        assert_eq!(
            serde_json::to_value(SetBody::new(&[&ann, &bob, &ann])).unwrap(),
            serde_json::json!({"subscription_groups": [{"subscription_group_id": "g",
                "subscription_state": "subscribed", "phones": [ANN, BOB]}]})
        );
        let double = set(ANN, true);
        let text = serde_json::to_string(&SetBody::new(&[&double])).unwrap();
        assert!(text.contains(r#""use_double_opt_in_logic":true"#), "{text}");
    }

    #[test]
    fn a_set_is_done_only_when_braze_says_so() {
        let all = |status, body: &str, phones| {
            set(
                &RawAnswer::made(status, &[], body),
                phones,
                &Redactor::new("K"),
                Timestamp::ZERO,
            )
        };
        assert_eq!(
            all(201, r#"{"message":"success"}"#, 2),
            [Ok(Reply::StatusSet), Ok(Reply::StatusSet)]
        );
        assert!(matches!(
            all(201, "nonsense", 1)[0],
            Err(Failure::Unknown(_))
        ));
        assert!(matches!(
            all(400, r#"{"message":"no"}"#, 1)[0],
            Err(Failure::Rejected(_))
        ));
        let no = r#"{"message":"no"}"#;
        assert_eq!(apart_of(&all(400, no, 3)), [(3, Happened::Nothing); 3]);
        assert_eq!(apart_of(&all(201, no, 3)), [(3, Happened::Unknown); 3]);
        assert!(matches!(all(201, no, 1)[0], Err(Failure::Rejected(_))));
        let group = r#"{"message":"Invalid subscription group ID"}"#;
        assert!(matches!(all(400, group, 3)[2], Err(Failure::WrongGroup(_))));
        assert!(matches!(all(503, "", 3)[2], Err(Failure::Transient(_))));
    }
}
