//! How an object names its profile, and why it may be refused.
//!
//! Invariants: pure; whether there is such a profile is asked elsewhere.

use serde_json::Value;

use super::email;
use super::profiles::Object;

/// How an object names its profile.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Identifier {
    /// `external_id`
    ExternalId(String),
    /// `user_alias`
    Alias {
        /// `alias_name`
        name: String,
        /// `alias_label`
        label: String,
    },
    /// `braze_id`
    BrazeId(String),
    /// `email`, without a primary identifier
    Email(String),
    /// `phone`, without a primary identifier and without an e-mail
    Phone(String),
}

/// Why an object is not taken: the sentence seen in practice and the documented code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem {
    /// As integrators see it.
    pub sentence: &'static str,
    /// As the newest documentation lists it.
    pub code: &'static str,
}

/// Shorthand.
pub const fn problem(sentence: &'static str, code: &'static str) -> Problem {
    Problem { sentence, code }
}

/// Longest `alias_name` and `alias_label`, in bytes.
const ALIAS_BYTES_MAX: usize = 236;
/// Longest `external_id`, in bytes.
const EXTERNAL_ID_BYTES_MAX: usize = 987;

impl Identifier {
    /// Which profile `object` means: its only primary identifier; without one its e-mail, without that its phone.
    pub fn of(object: &Object) -> Result<Identifier, Problem> {
        let present = |key: &str| object.get(key).filter(|value| !value.is_null());
        let primaries = ["external_id", "user_alias", "braze_id"].map(present);
        if primaries.iter().flatten().count() > 1 {
            return Err(problem(
                "only one of 'external_id', 'braze_id' or 'user_alias' may be given",
                "BAD_IDENTIFIER",
            ));
        }
        match primaries {
            [Some(id), _, _] => external_id(id),
            [_, Some(alias), _] => user_alias(alias),
            [_, _, Some(id)] => text(id).map(Identifier::BrazeId).ok_or(MISSING),
            [None, None, None] => {
                if let Some(address) = present("email") {
                    let address = text(address).ok_or(BAD_EMAIL)?;
                    Ok(Identifier::Email(address))
                } else {
                    let phone = present("phone").and_then(text).ok_or(MISSING)?;
                    Ok(Identifier::Phone(email::kept_phone(&phone)))
                }
            }
        }
    }

    /// Whether an attributes object creates the profile when it does not say `_update_existing_only`.
    pub fn creates_by_default(&self) -> bool {
        match self {
            Identifier::ExternalId(_) | Identifier::Email(_) | Identifier::Phone(_) => true,
            Identifier::Alias { .. } | Identifier::BrazeId(_) => false,
        }
    }
}

const MISSING: Problem = problem(
    "'external_id', 'braze_id', 'user_alias', 'email' or 'phone' is required",
    "MISSING_IDENTIFIER",
);

/// An e-mail that the syntax check refuses.
pub const BAD_EMAIL: Problem = problem(
    "The value provided for the 'email' field is not a valid email.",
    "EMAIL_BAD_FORMAT",
);

/// A text that is not empty.
pub fn text(value: &Value) -> Option<String> {
    let text = value.as_str()?;
    (!text.is_empty()).then(|| text.to_owned())
}

fn external_id(value: &Value) -> Result<Identifier, Problem> {
    let id = text(value).ok_or(MISSING)?;
    if id.len() > EXTERNAL_ID_BYTES_MAX {
        return Err(problem(
            "'external_id' must be fewer than 988 bytes",
            "EXTERNAL_USER_ID_TOO_LARGE",
        ));
    }
    Ok(Identifier::ExternalId(id))
}

/// An alias with both its parts.
pub fn user_alias(value: &Value) -> Result<Identifier, Problem> {
    let part = |key: &str| value.get(key).and_then(text);
    let (Some(name), Some(label)) = (part("alias_name"), part("alias_label")) else {
        return Err(problem(
            "'user_alias' must be an object with non-empty 'alias_name' and 'alias_label'",
            "BAD_USER_ALIAS",
        ));
    };
    if name.len().max(label.len()) > ALIAS_BYTES_MAX {
        return Err(problem(
            "'alias_name' and 'alias_label' must be at most 236 bytes",
            "BAD_USER_ALIAS",
        ));
    }
    Ok(Identifier::Alias { name, label })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests may")]
    use serde_json::json;

    use super::*;

    fn of(object: &Value) -> Result<Identifier, Problem> {
        Identifier::of(object.as_object().unwrap())
    }

    fn alias(name: &str) -> Identifier {
        let (name, label) = (name.to_owned(), "email".to_owned());
        Identifier::Alias { name, label }
    }

    #[test]
    fn more_than_one_primary_identifier_is_refused() {
        assert!(of(&json!({"external_id": "1", "braze_id": "2"})).is_err());
        let both =
            json!({"external_id": "1", "user_alias": {"alias_name": "a", "alias_label": "b"}});
        assert!(of(&both).is_err());
    }

    #[test]
    fn an_email_names_a_profile_only_without_a_primary_and_wins_over_a_phone() {
        let object = json!({"user_alias": {"alias_name": "a@b.co", "alias_label": "email"}, "email": "x@y.co"});
        assert_eq!(of(&object).unwrap(), alias("a@b.co"));
        let object = json!({"phone": "+15550100000", "email": "x@y.co"});
        assert_eq!(of(&object).unwrap(), Identifier::Email("x@y.co".into()));
        assert!(of(&json!({"first_name": "Ada"})).is_err());
    }

    #[test]
    fn an_alias_needs_both_parts_and_has_at_most_236_bytes() {
        let of_alias = |name: &str, label: &str| {
            of(&json!({"user_alias": {"alias_name": name, "alias_label": label}}))
        };
        assert!(of_alias(&"a".repeat(236), "email").is_ok());
        assert!(of_alias(&"a".repeat(237), "email").is_err());
        assert!(of_alias(&"ä".repeat(119), "email").is_err());
        assert!(of_alias("", "email").is_err());
        assert!(of(&json!({"user_alias": {"alias_name": "a"}})).is_err());
    }
}
