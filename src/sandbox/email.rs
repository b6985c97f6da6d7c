//! Which e-mail addresses Braze takes over its API (email_validation), and how it keeps phone numbers.
//!
//! Absent: IANA's list of top-level domains; any alphabetic one of two letters or more passes, but for the special-use
//! names of RFC 6761, which are in nobody's list.

const MICROSOFT: [&str; 4] = ["msn", "hotmail", "outlook", "live"];
const SPECIAL_USE: [&str; 5] = ["test", "example", "invalid", "localhost", "local"];

/// Whether Braze takes this address.
pub fn is_valid(email: &str) -> bool {
    let Some((local, domain)) = email.rsplit_once('@') else {
        return false;
    };
    let domain = domain.to_ascii_lowercase();
    let host = domain.split('.').next().unwrap_or_default();
    is_domain(&domain)
        && is_local(local)
        && (!MICROSOFT.contains(&host) || is_microsoft_local(local))
        && (domain != "gmail.com" || local.chars().count() >= 2)
}

fn is_local(local: &str) -> bool {
    let edge = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let inner = |c: char| edge(c) || ".+'&#/".contains(c);
    let (Some(first), Some(last)) = (local.chars().next(), local.chars().next_back()) else {
        return false;
    };
    edge(first) && edge(last) && local.chars().all(inner)
}

/// `\A\w[\-\w]*(?:\.[\-\w]+)*\z` of what stands before a `+`.
fn is_microsoft_local(local: &str) -> bool {
    let before = local.split('+').next().unwrap_or_default();
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    before.starts_with(word)
        && before
            .split('.')
            .all(|part| !part.is_empty() && part.chars().all(|c| word(c) || c == '-'))
}

fn is_domain(domain: &str) -> bool {
    let label = |part: &str| {
        (1..=63).contains(&part.len())
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    let Some((_, top)) = domain.rsplit_once('.') else {
        return false;
    };
    domain.split('.').all(label)
        && top.len() >= 2
        && (top.starts_with("xn--") || top.bytes().all(|b| b.is_ascii_alphabetic()))
        && !SPECIAL_USE.contains(&top)
}

/// Whether it is E.164: `+`, then up to 15 digits, the first not 0.
pub fn is_e164(phone: &str) -> bool {
    phone.strip_prefix('+').is_some_and(|digits| {
        (2..=15).contains(&digits.len())
            && digits.bytes().all(|b| b.is_ascii_digit())
            && !digits.starts_with('0')
    })
}

/// A phone number as a profile keeps it: digits behind a `+`; ten digits without country are taken for US numbers.
pub fn kept_phone(phone: &str) -> String {
    let digits: String = phone.chars().filter(char::is_ascii_digit).collect();
    if phone.trim_start().starts_with('+') {
        format!("+{digits}")
    } else if digits.len() == 10 {
        format!("+1{digits}")
    } else {
        digits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_or_refused_as_the_email_validation_page_says() {
        let long = format!("{}@example.com", "a".repeat(240));
        for good in [
            "ada@example.com",
            "o'brien+news@example.co.uk",
            "größe@example.de",
            "a_@x.io",
            "a&b#c/d@example.com",
            "ab@gmail.com",
            "a@xn--bcher-kva.com",
            &long,
        ] {
            assert!(is_valid(good), "{good}");
        }
        for bad in [
            "",
            "ada",
            "ada@",
            "@example.com",
            "a b@example.com",
            " a@example.com",
            ".a@example.com",
            "a.@example.com",
            "a!@example.com",
            "a@b@example.com",
            "a@example",
            "a@-x.com",
            "a@x..com",
            "a@bücher.de",
            "a@127.0.0.1",
            "a@x.test",
            "a@gmail.com",
            "a'b@hotmail.com",
            "a..b@outlook.com",
        ] {
            assert!(!is_valid(bad), "{bad}");
        }
    }

    #[test]
    fn a_phone_is_kept_as_digits_behind_a_plus() {
        assert_eq!(kept_phone("+1 (555) 010-0000"), "+15550100000");
        assert_eq!(kept_phone("5550100000"), "+15550100000");
        assert!(is_e164("+15550100000"));
        assert!(!is_e164("15550100000"));
        assert!(!is_e164("+05550100000"));
        assert!(!is_e164("+1234567890123456"));
    }
}
