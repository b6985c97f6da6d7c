//! E-mail addresses, as far as one can be told by its text.
//!
//! Invariants: pure; whoever normalises an address does it here, so that one person has one name. Deliberately absent:
//! Braze's finer rules, which a later replay may satisfy.

/// The longest e-mail address, bytes (RFC 5321 with errata 1690).
const BYTES_MAX: usize = 254;

/// The normalised form of an e-mail address: trimmed and lower-cased. The error says why it is none; it repeats nothing
/// of it.
pub fn normalised(given: &str) -> Result<String, &'static str> {
    let email = given.trim().to_lowercase();
    if email.len() > BYTES_MAX {
        return Err("is longer than 254 bytes");
    }
    if email
        .chars()
        .any(|letter| letter.is_whitespace() || letter.is_control())
    {
        return Err("has white space inside");
    }
    let Some((local, domain)) = email.split_once('@') else {
        return Err("has no @");
    };
    if domain.contains('@') {
        return Err("has more than one @");
    }
    if local.is_empty() {
        return Err("has nothing before the @");
    }
    if !domain.contains('.') || domain.split('.').any(str::is_empty) {
        return Err("has no dotted domain behind the @");
    }
    Ok(email)
}
