//! The transition tables of the documentation, drawn from the code: `transitions.md` is what this test draws, or it fails
//! and says what should stand there.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::json;

use crate::flow::state::{Before, Erase, Join, Missing, Profile};
use crate::flow::*;
use crate::model::call::{Address, Profile as Shown, Subscription};
use crate::model::event::CustomEvent;
use crate::model::json::ObjectText;
use crate::model::rules::{
    AnswerKind, ConfiguredEvent, ConfirmEvery, CreditRule, MappedAttribute, Mapping, OnUnknown,
    OptIn, PhoneMismatch, PhoneRules, SubscribeBy,
};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const MAIL: &str = "ann@b.example";
const PHONE: &str = "+15550001111";

/// How an activation may be set up, as far as it changes where a step leads.
fn settings(flow: ParticipationFlow) -> Vec<(&'static str, Rules)> {
    let seconds = Duration::from_secs;
    let with = |subscribe, opt_in, mismatch| Rules {
        flow: Some(flow),
        credit: Some(CreditRule {
            event: "done".into(),
            on_unknown: OnUnknown::Resend,
        }),
        phone: Some(PhoneRules {
            group: "g".into(),
            subscribe,
            delay: seconds(120),
            mismatch,
            confirm: ConfirmEvery {
                first: seconds(5),
                max: seconds(60),
                within: seconds(3600),
            },
            opt_in,
        }),
        ..Rules::plain("drop", "acme")
    };
    let event = OptIn::Event(ConfiguredEvent {
        name: "opt-in".into(),
        on_unknown: OnUnknown::Resend,
    });
    let logic = OptIn::Logic(OnUnknown::Resend);
    let (dead, replace) = (PhoneMismatch::Dead, PhoneMismatch::Replace);
    match flow {
        ParticipationFlow::Email => vec![
            ("nothing to write", with(SubscribeBy::Delayed, None, dead)),
            (
                "something to write",
                Rules {
                    mark_attributes: [("mark".to_owned(), json!(1))].into_iter().collect(),
                    ..with(SubscribeBy::Delayed, None, dead)
                },
            ),
        ],
        ParticipationFlow::Sms => vec![
            ("delayed", with(SubscribeBy::Delayed, None, dead)),
            ("inline", with(SubscribeBy::Inline, None, dead)),
            (
                "`phone_mismatch = \"replace\"`",
                with(SubscribeBy::Delayed, None, replace),
            ),
        ],
        ParticipationFlow::DoubleOptIn => vec![
            ("by event", with(SubscribeBy::Delayed, Some(event), dead)),
            (
                "by Braze's logic",
                with(SubscribeBy::Delayed, Some(logic.clone()), dead),
            ),
            (
                "by Braze's logic, inline",
                with(SubscribeBy::Inline, Some(logic), dead),
            ),
        ],
    }
}

/// How a content's leads may come out.
fn contents() -> Vec<(&'static str, Rules)> {
    let answer = |name: &str, from: &str| MappedAttribute {
        name: name.into(),
        from: from.into(),
        kind: AnswerKind::Number,
        coerce: false,
        required: true,
    };
    let mapped = |attributes| Rules {
        mapping: Some(Mapping {
            id: None,
            email: Some("/email".into()),
            external_id: None,
            bad_answer_kills: false,
            attributes,
        }),
        ..Rules::plain("drop", "acme")
    };
    let (good, bad) = (answer("good", "/good"), answer("bad", "/bad"));
    vec![
        ("all answers good", mapped(vec![good.clone()])),
        ("a bad answer dropped", mapped(vec![good, bad.clone()])),
        ("nothing left", mapped(vec![bad])),
    ]
}

fn event(own: bool) -> Event {
    let lead = [
        ("email", json!(MAIL)),
        ("good", json!(7)),
        ("bad", json!("seven")),
    ];
    let lead = lead.map(|(name, value)| (name.to_owned(), value));
    Event {
        phone: Some(PHONE.into()),
        sms_consent: true,
        attributes: own.then(|| ObjectText::new(&lead.into_iter().collect())),
        event: own.then(|| CustomEvent {
            name: "own".into(),
            properties: None,
        }),
        ..super::event()
    }
}

/// Every reply that a step of `flow` may hear, with its name, and since when it has failed.
fn replies(flow: Flow) -> Vec<(&'static str, Option<Timestamp>, Reply)> {
    let person = |email: Option<&str>, phone: Option<&str>| {
        Reply::Profiles(vec![Shown {
            external_id: Some("x".into()),
            email: email.map(Into::into),
            phone: phone.map(Into::into),
            ..Shown::default()
        }])
    };
    if flow == Flow::Erase {
        return vec![
            ("no profile", None, Reply::Profiles(Vec::new())),
            ("profiles with this e-mail", None, person(Some(MAIL), None)),
            (
                "only one that shows another e-mail",
                None,
                person(Some("b@b.example"), None),
            ),
            ("deleted", None, Reply::Deleted),
            ("written", None, Reply::Tracked),
        ];
    }
    let status = Reply::Status;
    let remembered = || Reply::Remembered(Some(Address::ExternalId("x".into())));
    let long_ago = Some(Timestamp::from_millis(
        NOW.as_millis() - join::LOOK_FOR.as_millis() as u64,
    ));
    let mut replies = vec![
        ("no profile", None, Reply::Profiles(Vec::new())),
        ("a profile that is not whole", None, person(None, None)),
        ("a profile without phone", None, person(Some(MAIL), None)),
        (
            "a profile with this phone",
            None,
            person(Some(MAIL), Some(PHONE)),
        ),
        (
            "a profile with another phone",
            None,
            person(Some(MAIL), Some("+15559999999")),
        ),
        ("written", None, Reply::Tracked),
        ("Subscribed", None, status(Subscription::Subscribed)),
        ("Unsubscribed", None, status(Subscription::Unsubscribed)),
        ("Unknown", None, status(Subscription::Unknown)),
        ("set", None, Reply::StatusSet),
        ("taken", None, Reply::Credited),
        ("deleted", None, Reply::Deleted),
    ];
    if let Flow::Sms | Flow::DoubleOptIn = flow {
        replies.push(("none, though one is remembered", None, remembered()));
        replies.push((
            "none, though one is remembered (looked for long enough)",
            long_ago,
            remembered(),
        ));
    } else {
        replies.push(("an address remembered", None, remembered()));
        replies.push(("no address remembered", None, Reply::Remembered(None)));
    }
    replies
}

fn asks(call: Option<&Call>) -> String {
    match call {
        None => "nothing".into(),
        Some(Call::LookUp { phone: false, .. }) => "look up the e-mail".into(),
        Some(Call::LookUp { phone: true, .. }) => "look up e-mail and phone".into(),
        Some(Call::Recall) => "recall the address".into(),
        Some(Call::ReadStatus { .. }) => "read the status".into(),
        Some(Call::SetStatus(set)) if set.double_opt_in => "begin a double opt-in".into(),
        Some(Call::SetStatus(_)) => "set the status".into(),
        Some(Call::Credit(_)) => "tell Quikly".into(),
        Some(Call::Delete(_)) => "delete the profiles".into(),
        Some(Call::Track(track)) => {
            let mut text = String::from(if track.create {
                "create or write the profile"
            } else {
                "write to the profile"
            });
            if track.events.iter().any(|event| event.name == "opt-in") {
                text += ", with the opt-in event";
            }
            if track.subscribe.is_some() {
                text += ", with the subscription";
            }
            text
        }
    }
}

fn leads(step: Step) -> Option<String> {
    Some(match step {
        Step::Next(state) | Step::Resume(state) => format!("`{}`", state.step()),
        Step::Wait { state, .. } => format!("`{}`, later", state.step()),
        Step::Again(_) => "the same, later; an attempt".into(),
        Step::Dead { reason, .. } => format!("dead `{reason}`"),
        Step::Done { outcome, spawn } if spawn.is_empty() => format!("done `{outcome}`"),
        Step::Done { outcome, .. } => format!("done `{outcome}`, credit"),
        Step::Unfitting => return None,
    })
}

/// The states of a flow in order, each with what distinguishes it from others of the same step.
fn states(flow: Flow) -> Vec<(&'static str, State)> {
    let address = || Address::ExternalId("x".into());
    let before = |status, maybe| Before { status, maybe };
    let unknown = before(Subscription::Unknown, false);
    let profile = |make: fn(Profile) -> State| {
        [Profile::LookUp, Profile::Create, Profile::Update(address())]
            .map(|it| ("", make(it)))
            .to_vec()
    };
    let joins = |make: fn(Join) -> State| {
        let until = NOW + Duration::from_secs(1000);
        [
            ("", Join::Check),
            ("", Join::LookUp { before: unknown }),
            ("", Join::Create { before: unknown }),
            (
                "phone new there",
                Join::Update {
                    before: unknown,
                    address: address(),
                    phone: true,
                },
            ),
            (
                "phone there",
                Join::Update {
                    before: unknown,
                    address: address(),
                    phone: false,
                },
            ),
            ("", Join::Set { before: unknown }),
            ("first Unknown", Join::Recheck { before: unknown }),
            (
                "first Unsubscribed",
                Join::Recheck {
                    before: before(Subscription::Unsubscribed, false),
                },
            ),
            (
                "first Unsubscribed, perhaps set",
                Join::Recheck {
                    before: before(Subscription::Unsubscribed, true),
                },
            ),
            ("first Unknown", Join::RecheckProfile { before: unknown }),
            (
                "first Unsubscribed",
                Join::RecheckProfile {
                    before: before(Subscription::Unsubscribed, false),
                },
            ),
            (
                "first Unsubscribed, perhaps set",
                Join::RecheckProfile {
                    before: before(Subscription::Unsubscribed, true),
                },
            ),
            ("in time", Join::Confirm { since: NOW, until }),
            (
                "at the end",
                Join::Confirm {
                    since: NOW,
                    until: NOW,
                },
            ),
            (
                "without consent",
                Join::Only(Missing::Consent, Profile::Create),
            ),
            ("without phone", Join::Only(Missing::Phone, Profile::Create)),
        ]
        .map(|(note, join)| (note, make(join)))
        .to_vec()
    };
    match flow {
        Flow::Email => profile(State::Email),
        Flow::Progress => [
            vec![("", State::Progress(Profile::Recall))],
            profile(State::Progress),
        ]
        .concat(),
        Flow::Sms => joins(State::Sms),
        Flow::DoubleOptIn => joins(State::DoubleOptIn),
        Flow::Credit => vec![(
            "",
            State::Credit {
                event: "done".into(),
            },
        )],
        Flow::Webhook => vec![("", State::Webhook)],
        Flow::Outgrow => vec![("", State::Outgrow)],
        Flow::Erase => {
            let look_up = |rounds, waited| State::Erase(Erase::LookUp { rounds, waited });
            let ids = vec![address()];
            vec![
                ("at first", look_up(0, false)),
                ("after a wait, nothing deleted", look_up(0, true)),
                ("after deletions", look_up(1, true)),
                ("after twelve deletions", look_up(12, true)),
                ("", State::Erase(Erase::Delete { rounds: 0, ids })),
            ]
        }
    }
}

/// Whether such an activation brings a job there.
fn occurs(state: &State, rules: &Rules) -> bool {
    let inline = rules
        .phone
        .as_ref()
        .is_some_and(|phone| phone.subscribe == SubscribeBy::Inline);
    match state {
        State::Sms(join) | State::DoubleOptIn(join) => match join {
            Join::RecheckProfile { .. } => inline,
            Join::Recheck { .. } => !inline,
            _ => true,
        },
        _ => true,
    }
}

fn draw() -> String {
    let mut text =
        String::from("| flow | step | asks | hears | leads to |\n|---|---|---|---|---|\n");
    for flow in [
        Flow::Email,
        Flow::Sms,
        Flow::DoubleOptIn,
        Flow::Progress,
        Flow::Credit,
        Flow::Webhook,
        Flow::Outgrow,
        Flow::Erase,
    ] {
        let settings = match flow {
            Flow::Sms => settings(ParticipationFlow::Sms),
            Flow::DoubleOptIn => settings(ParticipationFlow::DoubleOptIn),
            Flow::Outgrow => contents(),
            _ => settings(ParticipationFlow::Email),
        };
        for (note, state) in states(flow) {
            for (heard, failing_since, reply) in replies(flow) {
                // What is asked and where it leads, with the settings under which it is so.
                let mut rows: BTreeMap<(String, String), Vec<&str>> = BTreeMap::new();
                for (name, rules) in settings.iter().filter(|(_, rules)| occurs(&state, rules)) {
                    let own = match flow {
                        Flow::Progress => *name == "something to write",
                        other => matches!(other, Flow::Outgrow | Flow::Webhook),
                    };
                    let event = event(own);
                    let job = Job {
                        failing_since,
                        ..Job::new(state.clone(), NOW)
                    };
                    let asked = asks(ask(&job, &event, rules).as_ref());
                    if let Some(to) = leads(hear(&job, &event, &reply, NOW, rules)) {
                        rows.entry((asked, to)).or_default().push(name);
                    }
                }
                for ((asked, to), under) in rows {
                    let mut hears = heard.to_owned();
                    let conditions = [note.to_owned(), under.join("; ")];
                    let all = settings.iter().filter(|(_, rules)| occurs(&state, rules));
                    let under_all = under.len() == all.count();
                    for condition in conditions.iter().take(if under_all { 1 } else { 2 }) {
                        if !condition.is_empty() {
                            let _ = write!(hears, " ({condition})");
                        }
                    }
                    let _ = writeln!(
                        text,
                        "| `{flow}` | `{}` | {asked} | {hears} | {to} |",
                        state.step()
                    );
                }
            }
        }
    }
    text
}

#[test]
fn the_transitions_in_the_documentation_are_those_of_the_code() {
    let drawn = draw();
    let written = include_str!("../transitions.md");
    assert!(
        drawn == written,
        "src/flow/transitions.md should be:\n{drawn}"
    );
}
