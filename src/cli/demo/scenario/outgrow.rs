//! Leads of two quizzes become typed custom attributes; answers of other types are dropped, or kill the lead, as the quiz says.

use serde_json::{Value, json};

use super::{Kill, Scenario};
use crate::cli::demo::expected::Expected;
use crate::cli::demo::lines::{Line, Route};
use crate::cli::demo::people::Person;
use crate::cli::demo::profile::{Profile, read_known};
use crate::cli::demo::relay::{BRAZE_KEY, WORKSPACE};
use crate::cli::demo::report::Measure;
use crate::sandbox::{Options, Permission, WorkspaceOptions};

const PEOPLE: usize = 900;
/// Drops bad answers; by e-mail.
const QUIZ: &str = "shoe-quiz";
/// Kills leads with bad answers; by the brand's own id, else by e-mail.
const FINDER: &str = "size-finder";
const UNKNOWN: &str = "last-years-quiz";

/// What somebody's lead is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Quiz: every answer of its type.
    Good,
    /// Quiz: the same of somebody Braze knows.
    Known,
    /// Quiz: the score is a text.
    TextScore,
    /// Quiz: texts where numbers are meant and the other way round, which the mapping may convert.
    Converted,
    /// Quiz: first partial, then complete: two leads.
    InParts,
    /// Quiz: no usable answer at all.
    AllBad,
    /// Quiz: without e-mail.
    Nobody,
    /// Quiz: delivered twice.
    Redelivered,
    /// Finder: every answer of its type, by the brand's own id.
    ById,
    /// Finder: the same without an id.
    ByEmail,
    /// Finder: one bad answer.
    OneBad,
    /// Of a content that nobody has configured.
    Unknown,
}

const KINDS: [Kind; 18] = [
    Kind::Good,
    Kind::Known,
    Kind::TextScore,
    Kind::ById,
    Kind::Good,
    Kind::Converted,
    Kind::InParts,
    Kind::ByEmail,
    Kind::AllBad,
    Kind::Good,
    Kind::Nobody,
    Kind::OneBad,
    Kind::Redelivered,
    Kind::ById,
    Kind::Known,
    Kind::ByEmail,
    Kind::Unknown,
    Kind::OneBad,
];

const CONFIGURATION: &str = r#"
id = "/lead/id"
email = "/lead/email"
on_bad_answer = "drop"
[outgrow.shoe-quiz.attributes]
outgrow_quiz_score = { from = "/result/score", type = "number" }
outgrow_custom_segment = { from = "/result/segment", type = "string" }
outgrow_marathons = { from = "/answers/marathons", type = "boolean", required = false }
outgrow_styles = { from = "/answers/styles", type = "array", required = false }
outgrow_next_race = { from = "/answers/next_race", type = "time", required = false }
outgrow_zip = { from = "/answers/zip", type = "string", coerce = true, required = false }
outgrow_pairs = { from = "/answers/pairs", type = "number", coerce = true, required = false }

[outgrow.size-finder]
workspace = "acme"
id = "/lead/id"
email = "/lead/email"
external_id = "/lead/userId"
on_bad_answer = "dead"
[outgrow.size-finder.attributes]
outgrow_size = { from = "/size", type = "number" }
outgrow_width = { from = "/width", type = "string" }
"#;

/// Somebody who answers.
struct Lead {
    person: Person,
    kind: Kind,
}

impl Lead {
    fn new(number: usize) -> Lead {
        let person = Person::new(number);
        Lead {
            kind: person.dealt(&KINDS),
            person,
        }
    }

    fn id(&self) -> String {
        format!("o{:05}", self.person.number)
    }

    fn external_id(&self) -> String {
        format!("cust-{:05}", self.person.number)
    }

    fn content(&self) -> &'static str {
        match self.kind {
            Kind::ById | Kind::ByEmail | Kind::OneBad => FINDER,
            Kind::Unknown => UNKNOWN,
            _ => QUIZ,
        }
    }

    fn is_known(&self) -> bool {
        matches!(self.kind, Kind::Known | Kind::ById)
    }

    fn score(&self) -> f64 {
        self.person.dice.clone().roll(400) as f64 / 4.0
    }

    fn segment(&self) -> &'static str {
        const SEGMENTS: [&str; 3] = ["trail", "road", "für die Straße"];
        SEGMENTS[self.person.dice.clone().roll(3) as usize]
    }

    /// All good answers of the quiz, as attributes.
    fn good(&self) -> Value {
        json!({"outgrow_quiz_score": self.score(), "outgrow_custom_segment": self.segment(),
            "outgrow_marathons": self.person.number.is_multiple_of(2), "outgrow_styles": ["trail", 5, "größe 42"],
            "outgrow_next_race": "2027-04-18", "outgrow_zip": "01067", "outgrow_pairs": 3})
    }

    /// The leads, in order.
    fn leads(&self) -> Vec<Value> {
        let who = json!({"id": self.id(), "email": self.person.typed});
        let whole = json!({"lead": who, "utm": {"campaign": "spring"},
            "result": {"score": self.score(), "segment": self.segment()},
            "answers": {"marathons": self.person.number.is_multiple_of(2), "styles": ["trail", 5, "größe 42"],
                "next_race": "2027-04-18", "zip": "01067", "pairs": 3}});
        let changed = |changes: &[(&str, Value)]| {
            let mut lead = whole.clone();
            for (place, value) in changes {
                if let Some(there) = lead.pointer_mut(place) {
                    *there = value.clone();
                }
            }
            lead
        };
        let finder = |size: Value, id: Option<String>| {
            let mut lead = json!({"lead": who, "size": size, "width": "wide"});
            if let Some(id) = id {
                lead["lead"]["userId"] = id.into();
            }
            lead
        };
        match self.kind {
            Kind::Good | Kind::Known | Kind::Redelivered | Kind::Unknown => vec![whole],
            Kind::TextScore => vec![changed(&[("/result/score", json!("eighty-seven"))])],
            Kind::Converted => vec![changed(&[
                ("/answers/zip", json!(10115)),
                ("/answers/pairs", json!(" 3 ")),
            ])],
            Kind::InParts => vec![changed(&[("/result", json!({}))]), whole],
            Kind::AllBad => vec![changed(&[
                ("/result", json!([1, 2])),
                (
                    "/answers",
                    json!({"marathons": "yes", "styles": {}, "next_race": "soon", "zip": true, "pairs": "?"}),
                ),
            ])],
            Kind::Nobody => vec![changed(&[("/lead/email", json!(""))])],
            Kind::ById => vec![finder(json!(42.5), Some(self.external_id()))],
            Kind::ByEmail => vec![finder(json!(43), None)],
            Kind::OneBad => vec![finder(json!("large"), None)],
        }
    }

    fn lines(&self) -> impl Iterator<Item = Line> {
        self.leads().into_iter().enumerate().map(|(part, lead)| {
            let text = lead.to_string();
            Line {
                id: if part == 0 {
                    self.id()
                } else {
                    format!("{}-whole", self.id())
                },
                same: format!("{} {text}", self.content()),
                participant: self.person.email.clone(),
                route: Route::Outgrow(self.content()),
                text,
                must: 202,
            }
        })
    }

    fn known(&self) -> Option<String> {
        let known = json!({"external_id": self.external_id(), "email": self.person.email,
            "first_name": self.person.name, "custom_attributes": {"outgrow_quiz_score": 1, "loyalty": "gold"}});
        self.is_known().then(|| known.to_string() + "\n")
    }

    /// The attributes that are written; nothing: no profile is made.
    fn written(&self) -> Option<Value> {
        let mut good = self.good();
        match self.kind {
            Kind::Good | Kind::Known | Kind::InParts | Kind::Redelivered => Some(good),
            Kind::TextScore => {
                good.as_object_mut()?.remove("outgrow_quiz_score");
                Some(good)
            }
            Kind::Converted => {
                good["outgrow_zip"] = "10115".into();
                Some(good)
            }
            Kind::ById => Some(json!({"outgrow_size": 42.5, "outgrow_width": "wide"})),
            Kind::ByEmail => Some(json!({"outgrow_size": 43, "outgrow_width": "wide"})),
            Kind::AllBad | Kind::Nobody | Kind::OneBad | Kind::Unknown => None,
        }
    }

    fn write(&self, expected: &mut Expected) {
        match self.kind {
            Kind::Nobody | Kind::OneBad => {
                expected.dead.insert(self.id(), "bad_answer");
            }
            Kind::Unknown => {
                expected.dead.insert(self.id(), "unknown_activation");
            }
            _ => {}
        }
        let Some(attributes) = self.written() else {
            return;
        };
        if !self.is_known() {
            // By e-mail alone: an Outgrow key cannot look anybody up, and gives no alias.
            expected.create(Profile {
                email: self.person.email.clone(),
                ..Profile::default()
            });
        }
        let mine = expected.profiles.get_mut(&self.person.email);
        for profile in mine.into_iter().flatten() {
            profile.set(attributes.as_object().into_iter().flatten());
        }
    }
}

/// The scenario.
pub(super) fn scenario(people: Option<usize>) -> anyhow::Result<Scenario> {
    let leads: Vec<_> = (0..people.unwrap_or(PEOPLE)).map(Lead::new).collect();
    let known: String = leads.iter().filter_map(Lead::known).collect();
    let mut lines: Vec<Line> = leads.iter().flat_map(Lead::lines).collect();
    let again = leads.iter().filter(|one| one.kind == Kind::Redelivered);
    lines.extend(again.flat_map(Lead::lines));
    let mut expected = Expected::new(&lines, read_known(&known)?);
    for lead in &leads {
        lead.write(&mut expected);
    }
    let many = |kinds: &[Kind]| {
        let some = leads.iter().filter(|one| kinds.contains(&one.kind));
        some.count() as u64
    };
    let (in_parts, all_bad) = (many(&[Kind::InParts]), many(&[Kind::AllBad]));
    let in_part = many(&[Kind::TextScore]) + in_parts;
    let whole = expected.accepted() - expected.dead.len() as u64 - in_part - all_bad;
    let mut workspace = WorkspaceOptions::new(WORKSPACE, BRAZE_KEY);
    workspace.permissions = [Permission::UsersTrack].into();
    Ok(Scenario {
        story: format!(
            "{} people answer two quizzes. Answers become custom attributes of the types that are declared; \
             one quiz drops answers of other types, the other makes dead letters of such leads. The Braze key may only \
             users.track; the relay is killed half-way.",
            leads.len()
        ),
        configuration: format!("[outgrow.{QUIZ}]\nworkspace = \"{WORKSPACE}\"{CONFIGURATION}"),
        sandbox: Options {
            workspaces: vec![workspace],
            ..super::sandbox(&known)?
        },
        subscribed: Vec::new(),
        clock_speed: 20.0,
        events_per_second: 40.0,
        look_ups: 0,
        kill: Kill::HalfPosted,
        table: vec![
            ("leads sent", Measure::Sent),
            ("delivered again", Measure::Duplicates),
            ("accepted", Measure::Accepted),
            ("written whole", Measure::Ended(whole, &["outgrow/updated"])),
            (
                "written without bad answers",
                Measure::Ended(in_part, &["outgrow/updated_in_part"]),
            ),
            (
                "nothing left to write",
                Measure::Ended(all_bad, &["outgrow/nothing_to_write"]),
            ),
            ("dead", Measure::Dead),
            ("  bad answers", Measure::DeadOf("bad_answer")),
            ("  of no content", Measure::DeadOf("unknown_activation")),
            ("profiles created", Measure::Created(&[])),
            ("profiles", Measure::Profiles),
            ("attributes", Measure::Attributes),
        ],
        verdict: "every good answer, as what it was declared to be",
        lines,
        expected,
    })
}
