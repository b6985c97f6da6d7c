//! 75 jobs together, of which 1, 3, 74 and 75 are bad, in every shape that an answer can have: exactly the bad ones die, and
//! all others are delivered, once where it can be known, else as `on_unknown` says.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use braze_relay::clock::Clock;
use braze_relay::flow::job::Reason;
use braze_relay::model::event::Event;
use braze_relay::model::json::{Object, ObjectText};
use braze_relay::model::lane::LaneKind;
use braze_relay::model::rules::{
    ConfirmEvery, Identity, OnUnknown, ParticipationFlow, PhoneMismatch, PhoneRules, Rules,
    SubscribeBy,
};
use serde_json::{Value, json};

use super::{Delivered, GROUP, Outcome, Stage, email, participation, phone};

const JOBS: u64 = 75;

const BAD: [u64; 4] = [1, 3, 74, 75];

/// The bad ones: within the requests, not at their ends.
fn bad_ones(how_many: u64) -> BTreeSet<u64> {
    match how_many {
        1 => [40].into(),
        3 => [3, 40, 70].into(),
        74 => (0..JOBS).filter(|number| *number != 5).collect(),
        all => (0..all).collect(),
    }
}

/// What shares a request.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Subject {
    /// One attributes object each; the profile is named by e-mail.
    Email,
    /// One attributes object each that creates the profile, after a look-up.
    Export,
    /// An attributes object and an event each.
    Events(OnUnknown, Flaw),
    /// Sets of the status.
    Sets,
    /// Reads of the status.
    Reads,
}

/// What is wrong with a bad one that brings an attributes object and an event.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flaw {
    Attributes,
    Event,
    Both,
}

/// How it is told.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Told {
    /// The others are taken, and how many is said.
    InPart,
    /// The others are taken.
    Uncounted,
    /// Nothing is taken: 400 for the whole.
    Whole,
}

/// The shapes of the errors, as the sandbox calls them.
const SHAPES: [&str; 6] = [
    "sentences",
    "codes",
    "no_index",
    "no_place",
    "strings",
    "no_errors",
];

#[derive(Clone, Copy, Debug)]
struct Case {
    subject: Subject,
    shape: &'static str,
    told: Told,
    bad: u64,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Case {
            subject,
            shape,
            told,
            bad,
        } = self;
        let (subject, told) = (format!("{subject:?}"), format!("{told:?}"));
        write!(f, "{subject:<28} {told:<10} {shape:<10} {bad:>2} bad")
    }
}

impl Case {
    fn lane(self) -> LaneKind {
        match self.subject {
            Subject::Sets => LaneKind::SubscriptionStatusSet,
            Subject::Reads => LaneKind::Default,
            Subject::Email | Subject::Export | Subject::Events(..) => LaneKind::UsersTrack,
        }
    }

    fn rules(self) -> Rules {
        let phones = matches!(self.subject, Subject::Sets | Subject::Reads);
        let every = Duration::from_millis(50);
        Rules {
            flow: Some(if phones {
                ParticipationFlow::Sms
            } else {
                ParticipationFlow::Email
            }),
            identity: if self.subject == Subject::Email {
                Identity::Email
            } else {
                Identity::Export
            },
            progress_on_unknown: match self.subject {
                Subject::Events(on_unknown, _) => on_unknown,
                _ => OnUnknown::Resend,
            },
            phone: phones.then(|| PhoneRules {
                group: GROUP.into(),
                subscribe: SubscribeBy::Delayed,
                delay: Duration::ZERO,
                mismatch: PhoneMismatch::Dead,
                confirm: ConfirmEvery {
                    first: every,
                    max: every,
                    within: Duration::from_mins(1),
                },
                opt_in: None,
            }),
            ..Rules::plain("drop", "acme")
        }
    }

    fn script(self) -> Value {
        let mut rules = vec![json!({"action": {"error_shape": self.shape}})];
        match self.told {
            Told::InPart => {}
            Told::Uncounted => rules.push(json!({"action": "not_counted"})),
            Told::Whole => rules.push(json!({"action": "refuse_whole"})),
        }
        let both = matches!(
            self.subject,
            Subject::Events(_, Flaw::Both) | Subject::Email | Subject::Export
        );
        for number in bad_ones(self.bad) {
            if both {
                rules.push(json!({"action": {"reject_email": email(number)}}));
            }
            if matches!(self.subject, Subject::Sets | Subject::Reads) {
                rules.push(json!({"lane": self.lane().as_str(), "action": {"reject_phone": phone(number)}}));
            }
        }
        Value::from(rules)
    }

    /// Profiles with a phone are there before.
    fn known(self) -> Vec<Value> {
        let phones = matches!(self.subject, Subject::Sets | Subject::Reads);
        let known = (0..JOBS).map(|number| json!({"external_id": format!("x{number}"), "email": email(number), "phone": phone(number)}));
        if phones { known.collect() } else { Vec::new() }
    }

    fn event(self, number: u64, clock: &Clock) -> Event {
        let is_bad = bad_ones(self.bad).contains(&number);
        let flaw = match self.subject {
            Subject::Events(_, flaw) if is_bad => Some(flaw),
            _ => None,
        };
        let mut event = participation(number, matches!(self.subject, Subject::Events(..)), clock);
        let object =
            |value: Value| ObjectText::new(&Object::from_iter(value.as_object().cloned().unwrap()));
        match self.subject {
            Subject::Sets | Subject::Reads => {
                event.phone = Some(phone(number));
                event.sms_consent = true;
                event.attributes = None;
            }
            Subject::Email | Subject::Export | Subject::Events(..) => {}
        }
        if flaw == Some(Flaw::Attributes) {
            event.attributes = Some(object(
                json!({"written": {"inc": 1}, "email_subscribe": "perhaps"}),
            ));
        }
        if flaw == Some(Flaw::Event) {
            let properties = Some(object(json!({"time": 1})));
            event.event = event
                .event
                .map(|it| braze_relay::model::event::CustomEvent { properties, ..it });
        }
        event
    }

    /// Whether Braze says of a job that is refused neither its index nor that nothing at all was taken.
    fn is_vague(self) -> bool {
        self.told != Told::Whole && !matches!(self.shape, "sentences" | "codes")
    }

    /// Whether nobody can know which events were taken.
    fn leaves_events_in_doubt(self) -> bool {
        let Subject::Events(_, flaw) = self.subject else {
            return false;
        };
        let array_known = match self.shape {
            "no_index" => true,
            "no_errors" => false,
            _ => self.told == Told::InPart,
        };
        self.is_vague() && (!array_known || flaw != Flaw::Attributes)
    }

    async fn play(self) -> Outcome {
        let stage = Stage::new(self.rules(), self.known(), &self.script()).await;
        let events = (0..JOBS).map(|number| self.event(number, &stage.clock));
        let events = events.collect();
        stage.plays(events, self.lane()).await
    }

    /// What is wrong with what came of it.
    fn judge(self, outcome: &Outcome) -> Vec<String> {
        let bad = bad_ones(self.bad);
        let mut wrong = Vec::new();
        let mut must = |holds: bool, what: String| {
            if !holds {
                wrong.push(what);
            }
        };
        let doubt = self.leaves_events_in_doubt();
        let parks = doubt && matches!(self.subject, Subject::Events(OnUnknown::Park, _));
        for number in &bad {
            let reason = outcome.dead.get(number);
            let fine = reason == Some(&Reason::Rejected)
                || (parks && reason == Some(&Reason::UnknownOutcome));
            must(fine, format!("bad {number}: {reason:?}"));
        }
        for number in (0..JOBS).filter(|number| !bad.contains(number)) {
            let dead = outcome.dead.get(&number);
            must(
                dead.is_none() || (parks && dead == Some(&Reason::UnknownOutcome)),
                format!("good {number}: {dead:?}"),
            );
            let times = outcome.delivered.get(&number).copied().unwrap_or_default();
            match self.subject {
                Subject::Sets | Subject::Reads => {
                    must(
                        outcome.subscribed.contains(&number),
                        format!("good {number} is not subscribed"),
                    );
                }
                Subject::Email | Subject::Export | Subject::Events(..) => {
                    let most = if self.is_vague() { 8 } else { 1 };
                    must(
                        (1..=most).contains(&times.attributes),
                        format!("good {number}: {times:?}"),
                    );
                }
            }
            if let Subject::Events(on_unknown, _) = self.subject {
                let most = if doubt && on_unknown == OnUnknown::Resend {
                    2
                } else {
                    1
                };
                must(
                    (1..=most).contains(&times.events),
                    format!("good {number}: {times:?}"),
                );
            }
        }
        let requests = outcome.requests;
        let most = self.requests_max();
        must(
            requests <= most,
            format!("{requests} requests, and at most {most} are needed"),
        );
        wrong
    }

    /// What halving takes, for so many objects.
    fn requests_max(self) -> u64 {
        let indexed = matches!(self.shape, "sentences" | "codes");
        let full = match self.subject {
            Subject::Email | Subject::Export => 1,
            Subject::Events(..) => 3,
            Subject::Sets => 2,
            // Whoever is not refused is read until subscribed.
            Subject::Reads => 20,
        };
        match self.bad {
            _ if indexed && self.told != Told::Whole && self.lane() == LaneKind::UsersTrack => full,
            1 | 3 if self.leaves_events_in_doubt() => full + JOBS,
            1 => full + 14,
            3 => full + 38,
            _ => full + 180,
        }
    }
}

fn cases() -> Vec<Case> {
    let mut subjects = vec![Subject::Email, Subject::Export];
    for flaw in [Flaw::Attributes, Flaw::Event, Flaw::Both] {
        for on_unknown in [OnUnknown::Resend, OnUnknown::Park] {
            subjects.push(Subject::Events(on_unknown, flaw));
        }
    }
    let mut cases = Vec::new();
    for bad in BAD {
        for subject in &subjects {
            for told in [Told::InPart, Told::Uncounted, Told::Whole] {
                // Without errors nothing is counted either.
                let shapes = SHAPES
                    .iter()
                    .filter(|shape| told != Told::Uncounted || **shape != "no_errors");
                cases.extend(shapes.map(|shape| Case {
                    subject: *subject,
                    shape,
                    told,
                    bad,
                }));
            }
        }
        for (subject, shape, told) in [
            (Subject::Sets, "sentences", Told::Whole),
            (Subject::Sets, "no_errors", Told::InPart),
            (Subject::Reads, "sentences", Told::Whole),
        ] {
            cases.push(Case {
                subject,
                shape,
                told,
                bad,
            });
        }
    }
    cases
}

fn line(case: Case, outcome: &Outcome) -> String {
    let bad = bad_ones(case.bad);
    let count = |reason| outcome.dead.values().filter(|it| **it == reason).count();
    let good = outcome
        .delivered
        .iter()
        .filter(|(number, _)| !bad.contains(number));
    let times: Vec<Delivered> = good.map(|(_, times)| *times).collect();
    let range = |of: fn(&Delivered) -> u64| {
        let (least, most) = (times.iter().map(of).min(), times.iter().map(of).max());
        format!("{}..{}", least.unwrap_or(0), most.unwrap_or(0))
    };
    format!(
        "{case}: {:>2} rejected, {:>2} put aside; the good ones' attributes {} times, events {} times; {:>3} requests",
        count(Reason::Rejected),
        count(Reason::UnknownOutcome),
        range(|it| it.attributes),
        range(|it| it.events),
        outcome.requests,
    )
}

#[test]
fn exactly_the_bad_ones_die_and_all_others_are_delivered_in_every_shape_of_answer() {
    let cases = cases();
    let next = AtomicUsize::new(0);
    let played = Mutex::new(Vec::new());
    let play = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let outcome = runtime.block_on(case.play());
            let told = (line(*case, &outcome), case.judge(&outcome));
            played.lock().unwrap().push(told);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(play);
        }
    });
    let mut played = played.into_inner().unwrap();
    played.sort();
    let mut wrong = Vec::new();
    for (line, complaints) in &played {
        println!("{line}");
        if let Some(first) = complaints.first() {
            wrong.push(format!("{line}\n    {first} ({} in all)", complaints.len()));
        }
    }
    assert_eq!(played.len(), cases.len());
    assert!(
        wrong.is_empty(),
        "{} cases:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
