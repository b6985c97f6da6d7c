//! Phone numbers, as far as one can be told by its text.
//!
//! Invariants: pure. Deliberately absent: which numbers exist.

/// Whether it is E.164 by its shape: `+`, then 7 to 15 digits, the first not 0.
pub fn is_e164(phone: &str) -> bool {
    phone.strip_prefix('+').is_some_and(|digits| {
        (7..=15).contains(&digits.len())
            && !digits.starts_with('0')
            && digits.bytes().all(|digit| digit.is_ascii_digit())
    })
}
