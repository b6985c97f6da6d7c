//! People join by SMS: two minutes after Braze took the profile the phone goes into the subscription group, is read back, and
//! only then credited. The relay is killed while everybody waits.

use super::phones::{Cast, Guest, Kind, activation};
use super::{Kill, Scenario};
use crate::cli::demo::ask::Standing;
use crate::cli::demo::expected::Credit;
use crate::cli::demo::people::Person;
use crate::cli::demo::report::Measure;

const PEOPLE: usize = 600;
const SCOPE: &str = "text-club";
const GROUP: &str = "6f4b0c3e-0000-4000-8000-000000000000";
const CREDIT: &str = "sms_joined";

const KINDS: [Kind; 20] = [
    Kind::New,
    Kind::LacksPhone,
    Kind::New,
    Kind::OtherPhone,
    Kind::Twice,
    Kind::New,
    Kind::SamePhone,
    Kind::NoConsent,
    Kind::New,
    Kind::AlreadyIn,
    Kind::New,
    Kind::NoPhone,
    Kind::New,
    Kind::LacksPhone,
    Kind::New,
    Kind::SamePhone,
    Kind::New,
    Kind::NoConsent,
    Kind::Twice,
    Kind::OtherPhone,
];

/// The scenario.
pub(super) fn scenario(people: Option<usize>) -> anyhow::Result<Scenario> {
    let guest = |number| {
        let person = Person::new(number);
        Guest {
            kind: person.dealt(&KINDS),
            person,
            scope: SCOPE,
            group: GROUP,
        }
    };
    let mut cast = Cast::new((0..people.unwrap_or(PEOPLE)).map(guest).collect())?;
    let mut expected = std::mem::take(&mut cast.expected);
    for guest in &cast.guests {
        if guest.kind.is_to_subscribe() {
            expected.sets.insert(guest.seat(), false);
            Cast::subscribe(&mut expected, guest);
        }
        if guest.kind.is_to_subscribe() || guest.kind == Kind::AlreadyIn {
            expected.credit(Credit::new(SCOPE, CREDIT, &guest.person.typed));
        }
    }
    let ended = |kinds: &[Kind], how| Measure::Ended(cast.many(kinds), how);
    Ok(Scenario {
        story: format!(
            "{} people join by SMS. Some bring no phone or no consent, some are known to Braze with \
             another phone, some are in the group already, some come twice. Whoever is new waits two minutes, so that \
             Braze knows the profile before it is subscribed; in the middle of that the relay is killed.",
            cast.guests.len()
        ),
        configuration: activation(SCOPE, "sms", GROUP, CREDIT, ""),
        sandbox: crate::sandbox::Options {
            groups: [GROUP.to_owned()].into(),
            ..super::sandbox(&cast.known)?
        },
        clock_speed: 40.0,
        events_per_second: 10.0,
        look_ups: cast.look_ups(),
        kill: Kill::When(in_the_two_minutes),
        table: vec![
            ("participations sent", Measure::Sent),
            ("accepted", Measure::Accepted),
            (
                "subscribed and read back",
                Measure::Ended(expected.sets.len() as u64, &["sms/subscribed"]),
            ),
            (
                "were subscribed already",
                ended(&[Kind::AlreadyIn], &["sms/already_subscribed"]),
            ),
            ("without phone", ended(&[Kind::NoPhone], &["sms/no_phone"])),
            (
                "without consent",
                ended(&[Kind::NoConsent], &["sms/no_consent"]),
            ),
            (
                "further participations",
                ended(&[Kind::Twice], &["progress/"]),
            ),
            ("dead", Measure::Dead),
            (
                "  another phone is known",
                Measure::DeadOf("phone_mismatch"),
            ),
            ("profiles created", Measure::Created(&[])),
            ("subscriptions set", Measure::Sets),
            ("Subscribed in the group", Measure::Subscribed),
            ("credited", Measure::ToldQuikly),
            ("profiles", Measure::Profiles),
            ("attributes", Measure::Attributes),
            ("custom events", Measure::Events),
        ],
        verdict: "whoever agreed is subscribed, once and not too early, and credited once; nobody else is",
        lines: cast.lines,
        subscribed: cast.subscribed,
        expected,
    })
}

/// Everybody is written, and somebody waits to be subscribed.
fn in_the_two_minutes(standing: &Standing) -> Option<String> {
    let (due, later) = standing.lane("subscription_status_set");
    let is_busy = ["users_export_ids", "users_track"]
        .into_iter()
        .any(|lane| standing.lane(lane).0 > 0);
    (due == 0 && later > 0 && !is_busy)
        .then(|| format!("in the middle of the two minutes of {later} people"))
}
