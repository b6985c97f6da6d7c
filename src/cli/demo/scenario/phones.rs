//! People who join with a phone, as `sms` and `double-opt-in` have them: new, known, with another phone, without consent.
//!
//! Invariants: what becomes of somebody's profile follows from what kind of person they are; whether they are subscribed,
//! asked and credited is for the two scenarios to say.

use serde_json::{Value, json};

use crate::cli::demo::expected::{Expected, Seat};
use crate::cli::demo::lines::{Line, Route};
use crate::cli::demo::people::{Person, phone};
use crate::cli::demo::profile::{Profile, read_known};
use crate::cli::demo::relay::WORKSPACE;

/// The custom attribute that marks everybody who takes part.
const MARK: &str = "quikly_text_club";
/// The custom event of a new profile.
const CREATED_EVENT: &str = "quikly_joined";
/// What a further participation brings.
const FURTHER: (&str, i64) = ("shoe_size", 43);
/// Numbers of phones that the brand knows and nobody types, from here on.
const OTHER_PHONES_FROM: usize = 40_000;

/// What somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Unknown to Braze; phone and consent.
    New,
    /// The same, and takes part a second time.
    Twice,
    /// Unknown to Braze; no phone.
    NoPhone,
    /// Unknown to Braze; a phone, no consent.
    NoConsent,
    /// Braze knows the person, without a phone.
    LacksPhone,
    /// Braze knows the person with this phone, written in another way.
    SamePhone,
    /// Braze knows the person with another phone.
    OtherPhone,
    /// Braze knows the person, and the phone is in the group already.
    AlreadyIn,
}

impl Kind {
    /// Whether the phone is to be brought into the group.
    pub(super) fn is_to_subscribe(self) -> bool {
        match self {
            Kind::New | Kind::Twice | Kind::LacksPhone | Kind::SamePhone => true,
            Kind::NoPhone | Kind::NoConsent | Kind::OtherPhone | Kind::AlreadyIn => false,
        }
    }

    fn is_known(self) -> bool {
        match self {
            Kind::LacksPhone | Kind::SamePhone | Kind::OtherPhone | Kind::AlreadyIn => true,
            Kind::New | Kind::Twice | Kind::NoPhone | Kind::NoConsent => false,
        }
    }
}

/// Somebody who takes part.
pub(super) struct Guest {
    /// Who.
    pub person: Person,
    /// What they are.
    pub kind: Kind,
    /// In which activation.
    pub scope: &'static str,
    /// Into which subscription group.
    pub group: &'static str,
}

impl Guest {
    /// The phone in the group.
    pub(super) fn seat(&self) -> Seat {
        (self.person.phone.clone(), self.group.to_owned())
    }

    fn line(&self, id: &str, event: &Value) -> Line {
        let email = &self.person.email;
        Line {
            id: id.to_owned(),
            same: format!("{} {id} {email}", self.scope),
            participant: email.clone(),
            route: Route::Quikly,
            text: event.to_string(),
            must: 202,
        }
    }

    fn id(&self) -> String {
        format!("p{:05}", self.person.number)
    }

    fn first(&self) -> Line {
        let id = self.id();
        let mut event = json!({"id": id, "q_scope": self.scope, "type": "participation",
            "email": self.person.typed, "attributes": {"first_name": self.person.name}});
        if self.kind != Kind::NoPhone {
            event["phone"] = self.person.phone.as_str().into();
        }
        if self.kind != Kind::NoConsent {
            event["sms_consent"] = true.into();
        }
        self.line(&id, &event)
    }

    /// The second participation, if there is one.
    fn again(&self) -> Option<Line> {
        let id = format!("{}-again", self.id());
        let event = json!({"id": id, "q_scope": self.scope, "type": "participation",
            "email": self.person.typed, "attributes": {FURTHER.0: FURTHER.1}});
        (self.kind == Kind::Twice).then(|| self.line(&id, &event))
    }

    /// What Braze knows from the start, as a line.
    fn known(&self) -> Option<String> {
        let mut known = json!({"external_id": format!("cust-{:05}", self.person.number),
            "email": self.person.email, "home_city": "Łódź", "custom_attributes": {"loyalty": "gold"}});
        let (area, rest) = (&self.person.phone[2..5], &self.person.phone[5..]);
        let known_phone = match self.kind {
            Kind::SamePhone => Some(format!("+1 ({area}) {}-{}", &rest[..3], &rest[3..])),
            Kind::OtherPhone => Some(phone(OTHER_PHONES_FROM + self.person.number)),
            Kind::AlreadyIn => Some(self.person.phone.clone()),
            _ => None,
        };
        if let Some(phone) = known_phone {
            known["phone"] = phone.into();
        }
        self.kind.is_known().then(|| known.to_string())
    }

    /// What becomes of the profile, the subscription apart.
    fn write(&self, expected: &mut Expected) {
        let email = &self.person.email;
        if !self.kind.is_known() {
            let mut profile = Profile::created(email);
            profile.happened(CREATED_EVENT);
            expected.create(profile);
        }
        let Some(profile) = expected
            .profiles
            .get_mut(email)
            .and_then(|all| all.first_mut())
        else {
            return;
        };
        match self.kind {
            // Nothing is written to whoever is not the one, or is in the group already.
            Kind::OtherPhone => {
                expected.dead.insert(self.id(), "phone_mismatch");
                return;
            }
            Kind::AlreadyIn => {
                profile.groups.insert(self.group.to_owned());
                return;
            }
            Kind::NoPhone => {}
            Kind::New | Kind::Twice | Kind::NoConsent | Kind::LacksPhone | Kind::SamePhone => {
                profile.phone = Some(self.person.phone.clone());
            }
        }
        profile.put("first_name", self.person.name);
        profile.put(MARK, true);
        if self.kind == Kind::Twice {
            profile.put(FURTHER.0, FURTHER.1);
        }
    }
}

/// Everybody, and what follows from what they are.
pub(super) struct Cast {
    /// In order.
    pub guests: Vec<Guest>,
    /// What is posted: everybody's participation, then the second ones.
    pub lines: Vec<Line>,
    /// What Braze knows from the start, a line each.
    pub known: String,
    /// Who is subscribed from the start.
    pub subscribed: Vec<Seat>,
    /// Profiles and dead letters.
    pub expected: Expected,
}

impl Cast {
    /// Of these guests.
    pub(super) fn new(guests: Vec<Guest>) -> anyhow::Result<Cast> {
        let known: String = guests
            .iter()
            .filter_map(|guest| guest.known().map(|line| line + "\n"))
            .collect();
        let first = guests.iter().map(Guest::first);
        let lines: Vec<Line> = first
            .chain(guests.iter().filter_map(Guest::again))
            .collect();
        let mut expected = Expected::new(&lines, read_known(&known)?);
        for guest in &guests {
            guest.write(&mut expected);
        }
        let already = guests.iter().filter(|guest| guest.kind == Kind::AlreadyIn);
        let subscribed = already.map(Guest::seat).collect();
        Ok(Cast {
            guests,
            lines,
            known,
            subscribed,
            expected,
        })
    }

    /// How many are of these kinds.
    pub(super) fn many(&self, kinds: &[Kind]) -> u64 {
        let all = self.guests.iter();
        all.filter(|guest| kinds.contains(&guest.kind)).count() as u64
    }

    /// Look-ups that this takes: of everybody who is not in the group already.
    pub(super) fn look_ups(&self) -> u64 {
        self.guests.len() as u64 - self.many(&[Kind::AlreadyIn])
    }

    /// The guest is brought into the group, and that is seen in the profile.
    pub(super) fn subscribe(expected: &mut Expected, guest: &Guest) {
        let mine = expected.profiles.get_mut(&guest.person.email);
        for profile in mine.into_iter().flatten() {
            profile.groups.insert(guest.group.to_owned());
        }
    }
}

/// An activation of this flow; `own`: what only it has.
pub(super) fn activation(scope: &str, flow: &str, group: &str, credit: &str, own: &str) -> String {
    format!(
        r#"[activations.{scope}]
workspace = "{WORKSPACE}"
flow = "{flow}"
subscription_group_id = "{group}"
mark_attributes = {{ {MARK} = true }}
created_event = {{ name = "{CREATED_EVENT}" }}
credit = {{ event = "{credit}" }}
{own}
"#
    )
}
