//! Who is who: which of the profiles that a look-up shows is the participant's, and how it is addressed from then on.
//!
//! Invariants: a profile that we found is never addressed by our alias and never by e-mail; those would make a second
//! profile of the same person.

use crate::model::call::{Address, Profile};

/// What a look-up tells about a participant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// There is no profile.
    Nobody,
    /// This is it.
    At(Person),
    /// There is one, but not all of it can be seen yet: a creation on its way through Braze.
    NotWhole,
}

/// A profile that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Person {
    /// How it is addressed.
    pub address: Address,
    /// Its phone, if it has one.
    pub phone: Option<String>,
}

/// Which of `profiles` is the one of `email` (normalised): the first with an `external_id`, else the first.
pub(super) fn recognise(profiles: &[Profile], email: &str) -> Found {
    let identified = profiles
        .iter()
        .find(|it| named(it.external_id.as_deref()).is_some());
    let Some(profile) = identified.or(profiles.first()) else {
        return Found::Nobody;
    };
    let shown = profile.email.as_deref().unwrap_or_default();
    if shown.trim().to_lowercase() != email {
        return Found::NotWhole;
    }
    let address = match (
        named(profile.external_id.as_deref()),
        named(profile.braze_id.as_deref()),
    ) {
        (Some(id), _) => Address::ExternalId(id.to_owned()),
        (None, Some(id)) => Address::BrazeId(id.to_owned()),
        (None, None) => return Found::NotWhole,
    };
    Found::At(Person {
        address,
        phone: named(profile.phone.as_deref()).map(str::to_owned),
    })
}

fn named(id: Option<&str>) -> Option<&str> {
    id.filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(external: &str, braze: &str, email: &str) -> Profile {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Profile {
            external_id: some(external),
            braze_id: some(braze),
            email: some(email),
            phone: None,
        }
    }

    #[test]
    fn the_first_identified_profile_is_taken_else_the_first_and_only_when_it_is_whole() {
        let at = |address| {
            Found::At(Person {
                address,
                phone: None,
            })
        };
        let external = |id: &str| at(Address::ExternalId(id.into()));
        let braze = |id: &str| at(Address::BrazeId(id.into()));
        let mail = "a@b.example";
        let rows = [
            (vec![], Found::Nobody),
            (vec![profile("", "1", mail)], braze("1")),
            (vec![profile("x", "1", mail)], external("x")),
            (
                vec![
                    profile("", "1", mail),
                    profile("x", "2", mail),
                    profile("y", "3", mail),
                ],
                external("x"),
            ),
            (
                vec![profile("", "1", mail), profile("", "2", mail)],
                braze("1"),
            ),
            (vec![profile("", "1", " A@B.Example")], braze("1")),
            (vec![profile("", "1", "")], Found::NotWhole),
            (vec![profile("", "1", "other@b.example")], Found::NotWhole),
            (vec![profile("", "", mail)], Found::NotWhole),
            (
                vec![Profile {
                    external_id: Some(String::new()),
                    ..profile("", "1", mail)
                }],
                braze("1"),
            ),
        ];
        for (profiles, expected) in rows {
            assert_eq!(recognise(&profiles, mail), expected, "{profiles:?}");
        }
    }
}
