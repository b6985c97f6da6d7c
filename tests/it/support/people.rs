//! What a campaign posts: made-up people by number, and what the relay said about them.

use braze_relay::client::http::RawAnswer;
use serde_json::{Value, json};

/// One event. Its id says which.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Item {
    pub id: String,
    pub scope: String,
    pub person: u64,
}

impl Item {
    pub fn new(id: u64, scope: &str, person: u64) -> Item {
        Item {
            id: format!("event-{id:08}-x"),
            scope: scope.to_owned(),
            person,
        }
    }

    /// The address as it is posted: sometimes in capitals.
    pub fn email_given(&self) -> String {
        let email = email_of(self.person);
        match self.id.bytes().map(u32::from).sum::<u32>() % 5 {
            0 => email.to_uppercase(),
            _ => email,
        }
    }

    /// As it is posted.
    pub fn shown(&self) -> Value {
        json!({
            "id": self.id, "q_scope": self.scope, "type": "participation", "email": self.email_given(),
            "attributes": {"favourite": format!("colour {}", self.person % 7)},
        })
    }
}

/// The participant with this number.
pub fn email_of(person: u64) -> String {
    format!("person.{person}+spring@example.com")
}

/// One request.
#[derive(Clone, Debug)]
pub struct Post(pub Vec<Item>);

impl Post {
    /// One object for one event, an array for more.
    pub fn body(&self) -> Vec<u8> {
        match self.0.as_slice() {
            [one] => one.shown().to_string().into_bytes(),
            many => {
                let items: Vec<_> = many.iter().map(Item::shown).collect();
                Value::from(items).to_string().into_bytes()
            }
        }
    }
}

/// A 202.
#[derive(Clone, Debug)]
pub struct Receipt {
    pub accepted: u64,
    pub duplicates: u64,
    pub ids: Vec<String>,
}

impl Receipt {
    /// Of an answer that must be a whole 202 about as many events as were posted.
    pub fn of(post: &Post, answer: &RawAnswer) -> Receipt {
        let text = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, 202, "{text}");
        assert!(answer.whole, "a 202 was cut: {text}");
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        let ids: Vec<String> = serde_json::from_value(body["ids"].clone()).unwrap();
        let receipt = Receipt {
            accepted: body["accepted"].as_u64().unwrap(),
            duplicates: body["duplicates"].as_u64().unwrap(),
            ids,
        };
        assert_eq!(receipt.ids.len(), post.0.len(), "{text}");
        assert_eq!(
            receipt.accepted + receipt.duplicates,
            post.0.len() as u64,
            "{text}"
        );
        receipt
    }
}
