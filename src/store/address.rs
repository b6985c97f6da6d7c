//! Which addresses are remembered.

use crate::model::call::Address;

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
