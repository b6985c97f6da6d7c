//! People must confirm by SMS before they are credited: asked by the brand's own campaign, or by Braze's double opt-in. The
//! relay is killed while it asks again and again who has confirmed.

use std::time::Duration;

use super::phones::{Cast, Guest, Kind, activation};
use super::{Kill, Scenario};
use crate::cli::demo::ask::Standing;
use crate::cli::demo::expected::Credit;
use crate::cli::demo::people::Person;
use crate::cli::demo::report::Measure;
use crate::sandbox::{Behaviour, Options, Reaction, Spread};

const PEOPLE: usize = 800;
/// By the brand's own campaign, which a custom event starts; by Braze's own logic.
const SCOPES: [&str; 2] = ["vip-list", "inner-circle"];
const GROUPS: [&str; 2] = [
    "6f4b0c3e-0000-4000-8000-000000000001",
    "6f4b0c3e-0000-4000-8000-000000000002",
];
const EVENT: &str = "quikly_double_opt_in";
const CREDIT: &str = "sms_confirmed";
/// The window; people who confirm do so in its first half.
const WINDOW: &str = "confirm_every = { first = \"30s\", max = \"30m\", within = \"6h\" }";

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
    Kind::New,
    Kind::Twice,
    Kind::New,
];

fn behaviour() -> Behaviour {
    let after = |longest| Spread {
        least: Duration::from_mins(1),
        most: longest,
    };
    Behaviour {
        seed: 7,
        confirm: 0.6,
        refuse: 0.15,
        confirm_after: after(Duration::from_hours(3)),
        refuse_after: after(Duration::from_hours(1)),
        opt_in_events: [(EVENT.to_owned(), GROUPS[0].to_owned())].into(),
    }
}

/// The scenario.
pub(super) fn scenario(people: Option<usize>) -> anyhow::Result<Scenario> {
    let guest = |number: usize| {
        let person = Person::new(number);
        // Shifted from round to round, so that both have people of every kind.
        let which = (number + number / KINDS.len()) % 2;
        Guest {
            kind: person.dealt(&KINDS),
            person,
            scope: SCOPES[which],
            group: GROUPS[which],
        }
    };
    let mut cast = Cast::new((0..people.unwrap_or(PEOPLE)).map(guest).collect())?;
    let mut expected = std::mem::take(&mut cast.expected);
    let behaviour = behaviour();
    let mut confirmed = 0;
    for guest in &cast.guests {
        let credit = Credit::new(guest.scope, CREDIT, &guest.person.typed);
        if guest.kind == Kind::AlreadyIn {
            expected.credit(credit);
        } else if guest.kind.is_to_subscribe() {
            expected.prompts.insert(guest.seat());
            if guest.scope == SCOPES[1] {
                expected.sets.insert(guest.seat(), true);
            } else if let Some(all) = expected.profiles.get_mut(&guest.person.email) {
                for profile in all {
                    profile.happened(EVENT);
                }
            }
            if let Reaction::Confirm(_) = behaviour.reaction(&guest.person.phone) {
                confirmed += 1;
                Cast::subscribe(&mut expected, guest);
                expected.credit(credit);
            }
        }
    }
    let ended = |kinds: &[Kind], how| Measure::Ended(cast.many(kinds), how);
    let silent = expected.prompts.len() as u64 - confirmed;
    let own = format!("opt_in = {{ event = \"{EVENT}\" }}\n{WINDOW}");
    let logic = format!("opt_in = {{ use_double_opt_in_logic = true }}\n{WINDOW}");
    Ok(Scenario {
        story: format!(
            "{} people join two lists that must be confirmed by SMS, within six hours. Three in \
             five confirm, some refuse, the others never answer. The relay asks Braze again and again, ever more seldom, \
             and is killed in the middle of that.",
            cast.guests.len()
        ),
        configuration: [
            activation(SCOPES[0], "double_opt_in", GROUPS[0], CREDIT, &own),
            activation(SCOPES[1], "double_opt_in", GROUPS[1], CREDIT, &logic),
        ]
        .join("\n"),
        sandbox: Options {
            groups: GROUPS.map(str::to_owned).into(),
            behaviour,
            ..super::sandbox(&cast.known)?
        },
        clock_speed: 3600.0,
        events_per_second: 2.0,
        look_ups: 0,
        kill: Kill::When(in_the_polls),
        table: vec![
            ("participations sent", Measure::Sent),
            ("accepted", Measure::Accepted),
            (
                "confirmed in time",
                Measure::Ended(confirmed, &["double_opt_in/subscribed"]),
            ),
            (
                "not confirmed",
                Measure::Ended(silent, &["double_opt_in/not_confirmed"]),
            ),
            (
                "were subscribed already",
                ended(&[Kind::AlreadyIn], &["double_opt_in/already_subscribed"]),
            ),
            (
                "without phone",
                ended(&[Kind::NoPhone], &["double_opt_in/no_phone"]),
            ),
            (
                "without consent",
                ended(&[Kind::NoConsent], &["double_opt_in/no_consent"]),
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
            ("asked to confirm", Measure::Prompts),
            ("  of them by Braze's logic", Measure::Sets),
            ("Subscribed in a group", Measure::Subscribed),
            ("credited", Measure::ToldQuikly),
            ("profiles", Measure::Profiles),
            ("attributes", Measure::Attributes),
            ("custom events", Measure::Events),
        ],
        verdict: "everybody who agreed was asked once, and credited if they confirmed, and only then",
        lines: cast.lines,
        subscribed: cast.subscribed,
        expected,
    })
}

/// Everybody is asked, somebody has confirmed, and others are waited for.
fn in_the_polls(standing: &Standing) -> Option<String> {
    let is_asking = ["users_export_ids", "users_track", "subscription_status_set"]
        .into_iter()
        .any(|lane| standing.lane(lane) != (0, 0));
    let (_, later) = standing.lane("default");
    (!is_asking && later > 0 && standing.ended("double_opt_in/subscribed") > 0)
        .then(|| format!("while {later} people are waited for"))
}
