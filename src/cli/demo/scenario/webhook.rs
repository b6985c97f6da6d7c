//! Braze campaigns tell Quikly what people do: some deliveries come again, some are faulty, and Quikly is down for a while.

use serde_json::{Map, Value, json};

use super::{Kill, Scenario};
use crate::cli::demo::expected::{Credit, Expected};
use crate::cli::demo::lines::{Line, Route};
use crate::cli::demo::people::Person;
use crate::cli::demo::relay::WORKSPACE;
use crate::cli::demo::report::Measure;
use crate::sandbox::{Options, Script};

const PEOPLE: usize = 900;
const SCOPES: [(&str, &str); 2] = [("app-login", "logged_in"), ("store-visit", "visited")];
const UNKNOWN_SCOPE: &str = "last-years-app";

/// Failed attempts of so few people come soon again.
const RETRY: &str = "[retry]\nmax = \"15s\"\n\n";

/// What somebody's webhook is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// As it should be.
    Plain,
    /// With further pairs.
    Pairs,
    /// Two logins, each with an id of its own.
    TwoLogins,
    /// Delivered three times by Braze.
    Redelivered,
    /// Without an id, and delivered twice: the content tells.
    WithoutId,
    /// A profile without e-mail: Liquid left it blank.
    Blank,
    /// A tag that Liquid did not fill in.
    Unfilled,
    /// Somebody else's token.
    WrongToken,
    /// Of an activation that nobody has configured.
    UnknownScope,
}

const KINDS: [Kind; 15] = [
    Kind::Plain,
    Kind::Pairs,
    Kind::Redelivered,
    Kind::Plain,
    Kind::Blank,
    Kind::TwoLogins,
    Kind::Pairs,
    Kind::WithoutId,
    Kind::WrongToken,
    Kind::Plain,
    Kind::Redelivered,
    Kind::Pairs,
    Kind::Unfilled,
    Kind::Plain,
    Kind::UnknownScope,
];

/// Somebody of whom a campaign tells.
struct Visitor {
    person: Person,
    kind: Kind,
}

impl Visitor {
    fn new(number: usize) -> Visitor {
        let person = Person::new(number);
        Visitor {
            kind: person.dealt(&KINDS),
            person,
        }
    }

    fn scope(&self) -> (&'static str, &'static str) {
        let (scope, event) = SCOPES[self.person.number / KINDS.len() % 2];
        match self.kind {
            Kind::UnknownScope => (UNKNOWN_SCOPE, event),
            _ => (scope, event),
        }
    }

    /// How many different webhooks tell of this one.
    fn count(&self) -> usize {
        if self.kind == Kind::TwoLogins { 2 } else { 1 }
    }

    /// How often Braze delivers each.
    fn deliveries(&self) -> usize {
        match self.kind {
            Kind::Redelivered => 3,
            Kind::WithoutId => 2,
            _ => 1,
        }
    }

    fn id(&self, which: usize) -> String {
        format!("d{:05}-{}", self.person.number, which + 1)
    }

    /// What goes on to Quikly beside the three.
    fn pairs(&self, which: usize) -> Map<String, Value> {
        let mut pairs = Map::new();
        if self.kind != Kind::WithoutId {
            pairs.insert("id".into(), self.id(which).into());
        }
        if self.kind == Kind::Pairs {
            let mut dice = self.person.dice.clone();
            pairs.insert("tier".into(), (*dice.among(&["gold", "Größe 42"])).into());
            pairs.insert("points".into(), (dice.roll(1000) as f64 / 4.0).into());
            pairs.insert("last_items".into(), json!(["trail", {"size": 42}, null]));
        }
        pairs
    }

    fn line(&self, which: usize) -> Line {
        let (scope, event) = self.scope();
        let email = match self.kind {
            Kind::Blank => "",
            Kind::Unfilled => "{{${email_address}",
            _ => &self.person.typed,
        };
        let mut body = json!({"q_scope": scope, "event": event, "email": email});
        if let Some(body) = body.as_object_mut() {
            body.extend(self.pairs(which));
        }
        Line {
            id: self.id(which),
            same: self.id(which),
            participant: self.person.email.clone(),
            route: Route::Braze,
            text: body.to_string(),
            must: match self.kind {
                Kind::Blank | Kind::Unfilled => 400,
                Kind::WrongToken => 401,
                _ => 202,
            },
        }
    }

    fn lines(&self) -> impl Iterator<Item = Line> {
        (0..self.count()).map(|which| self.line(which))
    }

    fn tell(&self, expected: &mut Expected) {
        let (scope, event) = self.scope();
        match self.kind {
            Kind::Blank | Kind::Unfilled | Kind::WrongToken => {}
            Kind::UnknownScope => {
                expected.dead.insert(self.id(0), "unknown_activation");
            }
            Kind::Plain | Kind::Pairs | Kind::TwoLogins | Kind::Redelivered | Kind::WithoutId => {
                for which in 0..self.count() {
                    expected.credit(Credit {
                        pairs: Value::Object(self.pairs(which)).to_string(),
                        ..Credit::new(scope, event, &self.person.typed)
                    });
                }
            }
        }
    }
}

/// One half, what Braze delivers again of it, the other half, and again.
fn lines(visitors: &[Visitor]) -> Vec<Line> {
    let (first, second) = visitors.split_at(visitors.len() / 2);
    let mut lines = Vec::new();
    for half in [first, second] {
        lines.extend(half.iter().flat_map(Visitor::lines));
        for again in 2..=3 {
            let more = half.iter().filter(|one| one.deliveries() >= again);
            lines.extend(more.flat_map(Visitor::lines));
        }
    }
    lines
}

/// Quikly is down while they come, then does some of its work without an answer, then works.
const SCRIPT: &str = r#"
[[rules]]
lane = "quikly"
for = "40s"
action = { status = 503 }
[[rules]]
lane = "quikly"
from = "40s"
next = 5
action = "drop_answer"
"#;

/// The scenario.
pub(super) fn scenario(people: Option<usize>) -> anyhow::Result<Scenario> {
    let visitors: Vec<_> = (0..people.unwrap_or(PEOPLE)).map(Visitor::new).collect();
    let lines = lines(&visitors);
    let mut expected = Expected::new(&lines, std::collections::BTreeMap::new());
    for visitor in &visitors {
        visitor.tell(&mut expected);
    }
    let bare =
        |(scope, _): (&str, &str)| format!("[activations.{scope}]\nworkspace = \"{WORKSPACE}\"\n");
    Ok(Scenario {
        story: format!(
            "Braze campaigns tell of {} people, in {} deliveries: some come again, some lack the e-mail, \
             some show another's token. Quikly is down while they come, and later does some of its work without an answer; the \
             relay is killed half-way.",
            visitors.len(),
            lines.len()
        ),
        configuration: format!("{RETRY}{}", SCOPES.map(bare).join("\n")),
        sandbox: Options {
            script: Script::parse(SCRIPT)?,
            ..super::sandbox("")?
        },
        subscribed: Vec::new(),
        clock_speed: 20.0,
        events_per_second: 40.0,
        look_ups: 0,
        kill: Kill::HalfPosted,
        table: vec![
            ("answered with 202", Measure::Sent),
            ("refused: no e-mail (400)", Measure::Refused(400)),
            ("refused: wrong token (401)", Measure::Refused(401)),
            ("delivered again", Measure::Duplicates),
            ("accepted", Measure::Accepted),
            ("answered with an id", Measure::Ids),
            ("passed on to Quikly", Measure::ToldQuikly),
            ("dead", Measure::Dead),
            ("  of no activation", Measure::DeadOf("unknown_activation")),
            ("profiles", Measure::Profiles),
        ],
        verdict: "Quikly was told of each once, with all its pairs",
        lines,
        expected,
    })
}
