//! People get on inside a campaign: levels, incentives and custom events, update by update, in the order they were accepted;
//! while Braze fails for a while, and across a kill.

use serde_json::{Value, json};

use super::{Kill, Scenario};
use crate::cli::demo::expected::{Credit, Expected};
use crate::cli::demo::lines::{Line, Route};
use crate::cli::demo::people::Person;
use crate::cli::demo::profile::{Profile, read_known};
use crate::cli::demo::relay::WORKSPACE;
use crate::cli::demo::report::Measure;
use crate::sandbox::{Options, Script};

const PEOPLE: usize = 400;
const SCOPE: &str = "trail-league";
const CREDIT: &str = "joined";
const MARK: &str = "quikly_trail_league";
const CREATED_EVENT: &str = "quikly_joined";
const LEVEL_EVENT: &str = "quikly_level_up";
const INCENTIVES: [&str; 4] = [
    "10 % off",
    "early access",
    "free socks",
    "ein Paar Schuhe für 1 €",
];

/// Braze fails, then closes connections without an answer, then works again.
const SCRIPT: &str = r#"
[[rules]]
lane = "users_track"
skip = 3
next = 4
action = { status = 503 }
[[rules]]
lane = "users_track"
skip = 12
next = 4
action = "reset"
"#;

/// What somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Unknown to Braze; joins, then gets on.
    Joins,
    /// Known to Braze; joins, then gets on.
    KnownJoins,
    /// Unknown to Braze, and only ever gets on.
    GetsOn,
    /// Known to Braze, and only ever gets on.
    KnownGetsOn,
}

const KINDS: [Kind; 6] = [
    Kind::Joins,
    Kind::KnownJoins,
    Kind::Joins,
    Kind::GetsOn,
    Kind::Joins,
    Kind::KnownGetsOn,
];

/// Somebody and all that happens to them.
struct Runner {
    person: Person,
    kind: Kind,
    /// One after another, each attributes and whether it is an event.
    updates: Vec<(Value, bool)>,
}

impl Runner {
    fn new(number: usize) -> Runner {
        let mut person = Person::new(number);
        let steps = 3 + person.dice.roll(6);
        let mut update = |step: u64| {
            let mut attributes =
                json!({"quikly_level": step, format!("quikly_badge_{step}"): true});
            if person.dice.roll(2) == 0 {
                attributes["quikly_incentive"] = (*person.dice.among(&INCENTIVES)).into();
            }
            // A streak that ends: the last word on it takes it away.
            attributes["quikly_streak"] = if step == steps && number.is_multiple_of(5) {
                Value::Null
            } else {
                step.into()
            };
            (attributes, person.dice.roll(3) > 0)
        };
        let updates = (1..=steps).map(&mut update).collect();
        Runner {
            kind: person.dealt(&KINDS),
            person,
            updates,
        }
    }

    fn is_known(&self) -> bool {
        matches!(self.kind, Kind::KnownJoins | Kind::KnownGetsOn)
    }

    fn joins(&self) -> bool {
        matches!(self.kind, Kind::Joins | Kind::KnownJoins)
    }

    /// Whether all updates come at once: they stand side by side.
    fn is_quick(&self) -> bool {
        self.person.number.is_multiple_of(3)
    }

    fn line(&self, id: &str, mut event: Value) -> Line {
        let email = &self.person.email;
        event["id"] = id.into();
        event["q_scope"] = SCOPE.into();
        event["email"] = self.person.typed.as_str().into();
        Line {
            id: id.to_owned(),
            same: format!("{id} {email}"),
            participant: email.clone(),
            route: Route::Quikly,
            text: event.to_string(),
            must: 202,
        }
    }

    fn participation(&self) -> Line {
        let id = format!("r{:05}", self.person.number);
        let event =
            json!({"type": "participation", "attributes": {"first_name": self.person.name}});
        self.line(&id, event)
    }

    fn update(&self, step: usize) -> Option<Line> {
        let (attributes, is_event) = self.updates.get(step)?;
        let id = format!("r{:05}-{}", self.person.number, step + 1);
        let mut event = json!({"type": "progress", "at": format!("2025-06-01T10:{step:02}:00Z"),
            "attributes": attributes});
        if *is_event {
            event["event"] = json!({"name": LEVEL_EVENT, "properties": {"level": step + 1}});
        }
        Some(self.line(&id, event))
    }

    fn known(&self) -> Option<String> {
        let known = json!({"external_id": format!("cust-{:05}", self.person.number),
            "email": self.person.email, "custom_attributes": {"quikly_level": 0, "loyalty": "gold"}});
        self.is_known().then(|| known.to_string() + "\n")
    }

    fn write(&self, expected: &mut Expected) {
        let email = &self.person.email;
        if !self.is_known() {
            let mut profile = Profile::created(email);
            if self.joins() {
                profile.happened(CREATED_EVENT);
            }
            expected.create(profile);
        }
        let mine = expected.profiles.get_mut(email);
        for profile in mine.into_iter().flatten() {
            if self.joins() {
                profile.put("first_name", self.person.name);
                profile.put(MARK, true);
            }
            for (attributes, is_event) in &self.updates {
                profile.set(attributes.as_object().into_iter().flatten());
                if *is_event {
                    profile.happened(LEVEL_EVENT);
                }
            }
            profile.attributes.retain(|_, value| !value.is_null());
        }
        if self.joins() {
            expected.credit(Credit::new(SCOPE, CREDIT, &self.person.typed));
        }
    }
}

/// Everybody joins, then round after round of updates; whoever is quick has all of theirs in the first. In the end some first
/// updates are delivered again, and must not undo the later ones.
fn lines(runners: &[Runner]) -> Vec<Line> {
    let joining = runners.iter().filter(|one| one.joins());
    let mut lines: Vec<Line> = joining.map(Runner::participation).collect();
    let rounds = runners.iter().map(|one| one.updates.len()).max();
    for round in 0..rounds.unwrap_or(0) {
        for runner in runners {
            if !runner.is_quick() {
                lines.extend(runner.update(round));
            } else if round == 0 {
                lines.extend((0..runner.updates.len()).filter_map(|step| runner.update(step)));
            }
        }
    }
    let again = runners.iter().step_by(10);
    lines.extend(again.filter_map(|one| one.update(0)));
    lines
}

/// The scenario.
pub(super) fn scenario(people: Option<usize>) -> anyhow::Result<Scenario> {
    let runners: Vec<_> = (0..people.unwrap_or(PEOPLE)).map(Runner::new).collect();
    let known: String = runners.iter().filter_map(Runner::known).collect();
    let lines = lines(&runners);
    let mut expected = Expected::new(&lines, read_known(&known)?);
    for runner in &runners {
        runner.write(&mut expected);
    }
    let many = |kind| runners.iter().filter(|one| one.kind == kind).count() as u64;
    let updates = runners.iter().map(|one| one.updates.len() as u64).sum();
    Ok(Scenario {
        story: format!(
            "{} people get on inside a campaign, {updates} steps in all: levels, incentives, badges and custom \
             events. Braze fails for a while, some steps are delivered again, and the relay is killed half-way; still \
             everybody's last word must be the last one accepted.",
            runners.len()
        ),
        configuration: format!(
            r#"[activations.{SCOPE}]
workspace = "{WORKSPACE}"
flow = "email"
credit = {{ event = "{CREDIT}" }}
mark_attributes = {{ {MARK} = true }}
created_event = {{ name = "{CREATED_EVENT}" }}
"#
        ),
        sandbox: Options {
            script: Script::parse(SCRIPT)?,
            ..super::sandbox(&known)?
        },
        subscribed: Vec::new(),
        clock_speed: 20.0,
        events_per_second: 50.0,
        look_ups: runners.len() as u64,
        kill: Kill::HalfPosted,
        table: vec![
            ("sent", Measure::Sent),
            ("duplicates", Measure::Duplicates),
            ("accepted", Measure::Accepted),
            (
                "joined, new to Braze",
                Measure::Ended(many(Kind::Joins), &["email/created"]),
            ),
            (
                "joined, found in Braze",
                Measure::Ended(many(Kind::KnownJoins), &["email/found"]),
            ),
            ("steps", Measure::Ended(updates, &["progress/"])),
            ("credited", Measure::ToldQuikly),
            ("dead", Measure::Dead),
            ("profiles created", Measure::Created(&[])),
            ("profiles", Measure::Profiles),
            ("attributes", Measure::Attributes),
            ("custom events", Measure::Events),
        ],
        verdict: "everybody's steps, in their order",
        lines,
        expected,
    })
}
