//! Made-up people, the same for the same number.
//!
//! Invariants: domains and phone numbers are those set aside for examples (RFC 2606; 555-0100 to 555-0199). Kinds of people
//! are dealt in turn, so that few people are of every kind as many are.

use std::fmt::Write as _;

/// First names, in the scripts of the world.
const NAMES: [(&str, &str); 12] = [
    ("ada", "Ada"),
    ("zoe", "Zoë"),
    ("nuria", "Núria"),
    ("bjork", "Björk"),
    ("lina", "李娜"),
    ("ananya", "अनन्या"),
    ("olena", "Олена"),
    ("kwame", "Kwame"),
    ("siobhan", "Siobhán"),
    ("jose", "José"),
    ("yusuf", "Yusuf"),
    ("mai", "Mai"),
];

const DOMAINS: [&str; 4] = [
    "example.com",
    "example.org",
    "example.net",
    "post.example.com",
];

/// Chances, fixed by a number (splitmix64).
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    /// The same for the same seed.
    pub(super) const fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// A number below `sides`.
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    /// One of these.
    pub(super) fn among<'a, T>(&mut self, some: &'a [T]) -> &'a T {
        &some[self.roll(some.len() as u64) as usize]
    }
}

/// One person.
#[derive(Clone, Debug)]
pub(super) struct Person {
    /// From 0 on.
    pub number: usize,
    /// As they type it: sometimes in capitals.
    pub typed: String,
    /// The same, lower-cased.
    pub email: String,
    /// E.164.
    pub phone: String,
    /// First name.
    pub name: &'static str,
    /// Further chances.
    pub dice: Dice,
}

impl Person {
    /// The person with this number.
    pub(super) fn new(number: usize) -> Person {
        let mut dice = Dice::new(number as u64);
        let (latin, name) = *dice.among(&NAMES);
        let mut email = format!("{latin}.{}{number:05}", dice.roll(90) + 10);
        if dice.roll(8) == 0 {
            email += "+news";
        }
        // Writing to a string cannot fail.
        let _ = write!(email, "@{}", dice.among(&DOMAINS));
        let typed = match dice.roll(6) {
            0 => email.to_uppercase(),
            1 => format!("{}{}", email[..1].to_uppercase(), &email[1..]),
            _ => email.clone(),
        };
        Person {
            number,
            typed,
            email,
            phone: phone(number),
            name,
            dice,
        }
    }

    /// What they are, dealt in turn.
    pub(super) fn dealt<T: Copy>(&self, kinds: &[T]) -> T {
        kinds[self.number % kinds.len()]
    }
}

/// A phone of nobody, another for each of 80,000 numbers.
pub(super) fn phone(number: usize) -> String {
    format!("+1{:03}55501{:02}", 200 + number / 100, number % 100)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn everybody_is_somebody_else_and_the_same_again() {
        let people: Vec<_> = (0..5000).map(Person::new).collect();
        let emails: HashSet<_> = people.iter().map(|one| &one.email).collect();
        let phones: HashSet<_> = people.iter().map(|one| &one.phone).collect();
        assert_eq!((emails.len(), phones.len()), (5000, 5000));
        assert!(
            people
                .iter()
                .all(|one| one.typed.to_lowercase() == one.email)
        );
        assert!(people.iter().any(|one| one.typed != one.email));
        assert_eq!(Person::new(7).typed, people[7].typed);
        assert_eq!(people[4999].phone, "+12495550199");
    }
}
