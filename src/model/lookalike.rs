//! What looks like somebody's in a text that is kept and shown: e-mails, phone numbers, tokens.
//!
//! Invariants: pure. It may hide too much, and cannot know a name.

/// What stands in the place of something hidden. No letter and no digit, so that it cannot be what it hides.
pub const HIDDEN: &str = "***";

/// So many digits, over neighbouring pieces, may be a phone number.
const PHONE_DIGITS_MIN: usize = 7;

/// The pieces of a text with [`HIDDEN`] for each that looks like an e-mail or a token, and for each run of pieces that
/// together look like a phone number. A piece that is not `looked_at` stays, and ends a run.
pub fn without_lookalikes<'a>(
    pieces: &[&'a str],
    looked_at: impl Fn(&str) -> bool,
) -> Vec<&'a str> {
    let digits = |piece: &&str| {
        if looked_at(piece) {
            piece.chars().filter(|c| c.is_numeric()).count()
        } else {
            0
        }
    };
    let mut kept = Vec::with_capacity(pieces.len());
    let mut rest = pieces;
    while let Some(&first) = rest.first() {
        let run = rest.iter().take_while(|piece| digits(piece) > 0).count();
        if rest[..run].iter().map(digits).sum::<usize>() >= PHONE_DIGITS_MIN {
            kept.push(HIDDEN);
            rest = &rest[run..];
            continue;
        }
        let hidden = looked_at(first) && looks_secret(first);
        kept.push(if hidden { HIDDEN } else { first });
        rest = &rest[1..];
    }
    kept
}

/// An e-mail, or something longer than words and error codes are: a code is of one case and has no digits.
fn looks_secret(piece: &str) -> bool {
    if piece.contains(['@', '＠']) || piece.to_ascii_lowercase().contains("%40") {
        return true;
    }
    let longest = piece
        .split(|c: char| !(c.is_ascii_alphanumeric() || "-_+/=.".contains(c)))
        .max_by_key(|part| part.len())
        .unwrap_or_default();
    let has = |kind: fn(&char) -> bool| longest.chars().any(|c| kind(&c));
    let mixed = has(char::is_ascii_digit)
        || (has(char::is_ascii_uppercase) && has(char::is_ascii_lowercase));
    longest.len() >= if mixed { 16 } else { 48 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_looked_at_stays_and_ends_a_run() {
        let pieces = ["a@b.de", "+1", "555", "010", "0123", "no"];
        assert_eq!(without_lookalikes(&pieces, |_| true), ["***", "***", "no"]);
        assert_eq!(without_lookalikes(&pieces, |_| false), pieces);
        assert_eq!(
            without_lookalikes(&pieces, |piece| piece != "555"),
            ["***", "+1", "555", "***", "no"]
        );
    }
}
