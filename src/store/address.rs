//! Which addresses are remembered, and how long.

use std::time::Duration;

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::model::call::Address;
use crate::model::time::Timestamp;

/// An address as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Learnt {
    /// Where the participant's profile is.
    pub address: Address,
    /// When that was learnt.
    pub at: Timestamp,
}

impl Learnt {
    /// Whether it is still believed.
    pub fn holds(&self, now: Timestamp, known_for: Duration) -> bool {
        now < self.at + known_for
    }

    /// Whether to write down that this was learnt again now: it is not news, unless it was about to be forgotten.
    pub(super) fn renews(&self, before: &Learnt, known_for: Duration) -> bool {
        self.address != before.address || self.at >= before.at + known_for / 2
    }
}

/// The longest address that is remembered, bytes; longer ones are passed over. Braze allows ids of 997.
pub const ADDRESS_BYTES_MAX: usize = 2000;

/// Whether an address may be remembered.
pub(super) fn is_memorable(address: &Address) -> bool {
    let text = match address {
        Address::ExternalId(text)
        | Address::BrazeId(text)
        | Address::Alias(text)
        | Address::Email(text) => text,
    };
    text.len() <= ADDRESS_BYTES_MAX
}
