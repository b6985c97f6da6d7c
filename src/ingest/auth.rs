//! Who may post: bearer tokens by source.
//!
//! Invariants: tokens are compared in constant time, by digest, so that neither their content nor their length shows in
//! how long it takes; every accepted token is tried, whichever matches; a source without tokens is closed. No token is
//! kept in clear, printed or logged.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};
use subtle::{Choice, ConstantTimeEq};

use crate::model::event::Source;

/// The digests of the tokens that open each source.
pub(super) struct Doors(BTreeMap<Source, Vec<[u8; 32]>>);

impl Doors {
    /// Doors that open to these tokens.
    pub(super) fn new(tokens: &BTreeMap<Source, Vec<SecretString>>) -> Doors {
        let digests = |tokens: &Vec<SecretString>| {
            tokens
                .iter()
                .map(|token| token.expose_secret().as_bytes())
                .map(digest)
                .collect()
        };
        Doors(
            tokens
                .iter()
                .map(|(source, tokens)| (*source, digests(tokens)))
                .collect(),
        )
    }

    /// Whether `authorization` (the header's value as it came) opens `source`.
    pub(super) fn open(&self, source: Source, authorization: Option<&[u8]>) -> bool {
        let (Some(token), Some(known)) = (authorization.and_then(bearer), self.0.get(&source))
        else {
            return false;
        };
        let token = digest(token);
        known
            .iter()
            .fold(Choice::from(0), |found, one| found | one.ct_eq(&token))
            .into()
    }
}

fn digest(token: &[u8]) -> [u8; 32] {
    *blake3::hash(token).as_bytes()
}

/// The token, never an empty one, of a `Bearer` header (RFC 6750 section 2.1); the scheme in any case (RFC 9110 section 11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let value = value.trim_ascii();
    let space = value.iter().position(|byte| *byte == b' ')?;
    let (scheme, token) = value.split_at(space);
    scheme
        .eq_ignore_ascii_case(b"bearer")
        .then_some(token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doors() -> Doors {
        Doors::new(&BTreeMap::from([
            (Source::Quikly, vec!["old".into(), "new".into()]),
            (Source::Braze, vec![]),
            (Source::Outgrow, vec!["".into()]),
        ]))
    }

    #[test]
    fn every_token_of_a_source_opens_it_and_nothing_else_does() {
        for (value, opens) in [
            ("Bearer old", true),
            ("bearer new", true),
            ("BEARER   new ", true),
            ("Bearer ne", false),
            ("Bearer newer", false),
            ("Bearer NEW", false),
            ("Bearer old new", false),
            ("Basic new", false),
            ("new", false),
            ("Bearer", false),
            ("Bearer ", false),
            ("", false),
        ] {
            assert_eq!(
                doors().open(Source::Quikly, Some(value.as_bytes())),
                opens,
                "{value:?}"
            );
        }
        assert!(!doors().open(Source::Quikly, None));
    }

    #[test]
    fn a_source_without_a_token_is_closed_even_to_an_empty_one() {
        for source in [Source::Braze, Source::Outgrow] {
            for value in ["Bearer new", "Bearer ", "Bearer  "] {
                assert!(!doors().open(source, Some(value.as_bytes())));
            }
        }
    }
}
