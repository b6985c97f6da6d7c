//! Every row of the transition table and of the failure table.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests may")]

mod apart;
mod table;
mod turns;

use std::time::Duration;

use serde_json::json;

use super::job::Profile;
use super::job::{Commit, Fate, HISTORY_MAX};
use super::settle::{Settled, found_begun, settle, vanished};
use super::*;
use crate::model::call::{Address, Failure, Profile as Shown, Track};
use crate::model::event::{CustomEvent, Source};
use crate::model::json::{Object, ObjectText};
use crate::model::rules::{ConfiguredEvent, CreditRule, OnUnknown, RetryPolicy};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const MAIL: &str = "ann@b.example";

fn object(value: &serde_json::Value) -> Object {
    value.as_object().unwrap().clone()
}

/// A participation that brings nothing but its e-mail.
pub(super) fn event() -> Event {
    Event {
        source: Source::Quikly,
        kind: EventKind::Participation,
        key: "1".into(),
        scope: "drop".into(),
        email: MAIL.into(),
        email_given: Some("Ann@B.example".into()),
        trace: None,
        external_id: None,
        phone: None,
        sms_consent: false,
        at: NOW - Duration::from_mins(1),
        accepted_at: NOW - Duration::from_secs(30),
        attributes: None,
        event: None,
    }
}

/// An event that brings attributes, a phone and an event of its own.
fn rich() -> Event {
    Event {
        phone: Some("+15550100".into()),
        attributes: Some(ObjectText::new(&object(
            &json!({"level": 3, "mark": false, "tier": "own"}),
        ))),
        event: Some(CustomEvent {
            name: "own".into(),
            properties: Some(ObjectText::new(&object(&json!({"n": 1})))),
        }),
        ..event()
    }
}

fn rules() -> Rules {
    Rules {
        flow: Some(ParticipationFlow::Email),
        created_attributes: object(&json!({"email_subscribe": "opted_in", "tier": "new"})),
        created_event: Some(ConfiguredEvent {
            name: "joined".into(),
            on_unknown: OnUnknown::Resend,
        }),
        credit: Some(CreditRule {
            event: "done".into(),
            on_unknown: OnUnknown::Resend,
        }),
        ..Rules::plain("drop", "acme")
    }
}

fn marking() -> Rules {
    Rules {
        mark_attributes: object(&json!({"mark": true})),
        ..rules()
    }
}

fn shown(email: Option<&str>) -> Reply {
    Reply::Profiles(vec![Shown {
        external_id: Some("x".into()),
        email: email.map(Into::into),
        ..Shown::default()
    }])
}

fn at(state: State) -> Job {
    Job::new(state, NOW)
}

fn email_at(profile: Profile) -> Job {
    at(State::Email(profile))
}

fn credit_job() -> Job {
    at(State::Credit {
        event: "done".into(),
    })
}

fn address() -> Address {
    Address::ExternalId("x".into())
}

fn hearing(job: &Job, event: &Event, reply: &Reply, rules: &Rules) -> Step {
    hear(job, event, reply, NOW, rules)
}

fn asked(job: &Job, event: &Event, rules: &Rules) -> Call {
    ask(job, event, rules).unwrap()
}

fn track(job: &Job, event: &Event, rules: &Rules) -> Track {
    match asked(job, event, rules) {
        Call::Track(track) => track,
        other => panic!("{other:?}"),
    }
}

type Make = fn(Profile) -> State;

#[test]
fn email_and_progress_follow_the_transition_table() {
    let found = shown(Some(MAIL));
    for (make, ends) in [
        (State::Email as Make, [Outcome::Created, Outcome::Found]),
        (
            State::Progress as Make,
            [Outcome::Created, Outcome::Updated],
        ),
    ] {
        let look_up = at(make(Profile::LookUp));
        let next = |profile| Step::Next(make(profile));
        assert_eq!(
            hearing(&look_up, &event(), &Reply::Profiles(vec![]), &rules()),
            next(Profile::Create)
        );
        assert_eq!(
            hearing(&look_up, &rich(), &found, &rules()),
            next(Profile::Update(address()))
        );
        assert!(matches!(
            hearing(&look_up, &rich(), &shown(None), &rules()),
            Step::Again(_)
        ));
        for (profile, end) in [
            (Profile::Create, ends[0]),
            (Profile::Update(address()), ends[1]),
        ] {
            let Step::Done { outcome, spawn } =
                hearing(&at(make(profile)), &event(), &Reply::Tracked, &rules())
            else {
                panic!()
            };
            assert_eq!(outcome, end);
            assert_eq!(
                spawn.len(),
                usize::from(make(Profile::LookUp).flow() == Flow::Email)
            );
        }
        let Step::Done { outcome, .. } = hearing(&look_up, &event(), &found, &rules()) else {
            panic!()
        };
        assert_eq!(outcome, Outcome::Found);
    }
}

#[test]
fn a_mark_is_written_to_a_found_profile_by_email_and_not_by_progress() {
    let found = shown(Some(MAIL));
    let email = hearing(&email_at(Profile::LookUp), &event(), &found, &marking());
    assert_eq!(email, Step::Next(State::Email(Profile::Update(address()))));
    let progress = hearing(
        &at(State::Progress(Profile::LookUp)),
        &event(),
        &found,
        &marking(),
    );
    assert!(matches!(
        progress,
        Step::Done {
            outcome: Outcome::Found,
            ..
        }
    ));
}

#[test]
fn a_reply_of_another_kind_is_unfitting_at_every_step() {
    let replies = [Reply::Profiles(vec![]), Reply::Tracked, Reply::Credited];
    for (job, fits) in [
        (email_at(Profile::LookUp), 0),
        (email_at(Profile::Create), 1),
        (email_at(Profile::Update(address())), 1),
        (at(State::Progress(Profile::LookUp)), 0),
        (at(State::Progress(Profile::Create)), 1),
        (at(State::Progress(Profile::Update(address()))), 1),
        (credit_job(), 2),
    ] {
        for (index, reply) in replies.iter().enumerate() {
            let step = hearing(&job, &event(), reply, &rules());
            assert_eq!(
                step == Step::Unfitting,
                index != fits,
                "{:?} {reply:?}",
                job.state
            );
        }
        assert_eq!(asked(&job, &event(), &rules()).lane(), job.state.lane());
    }
}

#[test]
fn a_creation_lays_what_is_written_over_one_another_in_order_and_carries_both_events() {
    let made = track(&email_at(Profile::Create), &rich(), &marking());
    assert!(made.create);
    assert_eq!(made.address, Address::Alias(MAIL.into()));
    let expected = json!({"email_subscribe": "opted_in", "tier": "own", "level": 3, "mark": true,
        "email": MAIL, "phone": "+15550100"});
    assert_eq!(serde_json::Value::Object(made.attributes), expected);
    let names: Vec<_> = made.events.iter().map(|it| (&*it.name, it.time)).collect();
    assert_eq!(names, [("joined", event().at), ("own", event().at)]);
    assert!(made.events[1].properties.is_some());
}

#[test]
fn configuration_cannot_be_made_to_write_another_identity_at_creation() {
    let rules = Rules {
        mark_attributes: object(&json!({"email": "other@b.example"})),
        ..rules()
    };
    assert_eq!(
        track(&email_at(Profile::Create), &event(), &rules).attributes["email"],
        MAIL
    );
}

#[test]
fn a_found_profile_gets_marks_and_own_things_and_nothing_of_a_creation() {
    let made = track(&email_at(Profile::Update(address())), &rich(), &marking());
    assert!(!made.create);
    assert_eq!(made.address, address());
    assert_eq!(
        serde_json::Value::Object(made.attributes),
        json!({"tier": "own", "level": 3, "mark": true})
    );
    assert_eq!(made.events.len(), 1);
}

#[test]
fn progress_creates_without_marks_and_without_the_created_event() {
    let made = track(&at(State::Progress(Profile::Create)), &rich(), &marking());
    assert!(made.create);
    assert_eq!(made.attributes["mark"], false);
    assert_eq!(made.attributes["email_subscribe"], "opted_in");
    assert_eq!(made.events.len(), 1);
}

#[test]
fn an_address_too_long_for_an_alias_is_created_by_e_mail() {
    let long = Event {
        email: format!("{}@b.example", "a".repeat(230)),
        ..event()
    };
    assert_eq!(
        track(&email_at(Profile::Create), &long, &rules()).address,
        Address::Email(long.email.clone())
    );
}

#[test]
fn events_that_travel_together_follow_the_stricter_rule_of_those_there_are() {
    use OnUnknown::{Park, Resend};
    for (created, own, event, expected) in [
        (Resend, Resend, rich(), Resend),
        (Park, Resend, rich(), Park),
        (Resend, Park, rich(), Park),
        (Resend, Park, event(), Resend),
        (Park, Resend, event(), Park),
    ] {
        let rules = Rules {
            created_event: Some(ConfiguredEvent {
                name: "joined".into(),
                on_unknown: created,
            }),
            progress_on_unknown: own,
            ..rules()
        };
        assert_eq!(
            track(&email_at(Profile::Create), &event, &rules).on_unknown,
            expected
        );
    }
}

#[test]
fn a_credit_is_keyed_by_what_it_was_earned_for_and_tells_the_address_as_it_came() {
    let Step::Done { spawn, .. } = hearing(
        &email_at(Profile::Create),
        &rich(),
        &Reply::Tracked,
        &rules(),
    ) else {
        panic!()
    };
    let child = &spawn[0];
    assert_eq!(
        (child.number, child.once.as_deref()),
        (1, Some("credit/acme/drop/done"))
    );
    assert_eq!(child.event, rich().slim());
    let renamed = Rules {
        credit: Some(CreditRule {
            event: "later".into(),
            on_unknown: OnUnknown::Park,
        }),
        ..rules()
    };
    let credit = |rules: &Rules| match asked(&child.job, &child.event, rules) {
        Call::Credit(credit) => credit,
        other => panic!("{other:?}"),
    };
    let (then, later) = (credit(&rules()), credit(&renamed));
    assert_eq!(
        (&*then.email, &*then.event, then.accepted_at),
        ("Ann@B.example", "done", event().accepted_at)
    );
    assert_eq!(then.idempotency_key, later.idempotency_key);
    assert_eq!(later.on_unknown, OnUnknown::Park);
    let another = Event {
        key: "2".into(),
        at: NOW,
        email_given: None,
        external_id: None,
        ..child.event.clone()
    };
    let Call::Credit(again) = asked(&child.job, &another, &rules()) else {
        panic!()
    };
    assert_eq!(then.idempotency_key, again.idempotency_key);
    let without = Rules {
        credit: None,
        ..rules()
    };
    assert!(matches!(
        hearing(&email_at(Profile::Create), &event(), &Reply::Tracked, &without),
        Step::Done { spawn, .. } if spawn.is_empty()
    ));
}

#[test]
fn what_an_event_starts_follows_kind_and_configuration() {
    let started = |event: &Event, rules: Option<Rules>| start(event, &RuleBook::new(rules), NOW);
    let progress = Event {
        kind: EventKind::Progress,
        ..event()
    };
    let with = |flow| Some(Rules { flow, ..rules() });
    let run = |start: &Start| match start {
        Start::Run { lane, job } => Some((lane.to_string(), job.state.flow())),
        Start::Bury { .. } => None,
    };
    let (first, further) = started(&event(), Some(rules()));
    assert_eq!(
        run(&first),
        Some(("acme/users_export_ids".into(), Flow::Email))
    );
    assert_eq!(run(&further.unwrap()).unwrap().1, Flow::Progress);
    for flow in [
        None,
        Some(ParticipationFlow::Sms),
        Some(ParticipationFlow::Email),
    ] {
        let (first, further) = started(&progress, with(flow));
        assert_eq!((run(&first).unwrap().1, further), (Flow::Progress, None));
    }
    for (by_phone, is) in [
        (ParticipationFlow::Sms, Flow::Sms),
        (ParticipationFlow::DoubleOptIn, Flow::DoubleOptIn),
    ] {
        let (first, further) = started(&event(), with(Some(by_phone)));
        assert_eq!(run(&first).unwrap().1, is);
        assert_eq!(run(&further.unwrap()).unwrap().1, Flow::Progress);
    }
    let buried = |start: Start| match start {
        Start::Bury {
            workspace,
            flow,
            burial,
        } => {
            assert_eq!(burial.class, Class::Configuration);
            (workspace.map(|it| it.to_string()), flow, burial.reason)
        }
        Start::Run { .. } => panic!("{start:?}"),
    };
    let acme = || Some("acme".to_owned());
    for (rules, workspace, flow, reason) in [
        (None, None, None, Reason::UnknownActivation),
        (with(None), acme(), None, Reason::NoFlow),
    ] {
        let (first, further) = started(&event(), rules);
        assert_eq!(buried(first), (workspace.clone(), flow, reason));
        assert_eq!(
            buried(further.unwrap()),
            (workspace, Some(Flow::Progress), reason)
        );
    }
    let (first, further) = started(&progress, None);
    assert_eq!(
        buried(first),
        (None, Some(Flow::Progress), Reason::UnknownActivation)
    );
    assert_eq!(further, None);
}

#[test]
fn a_further_participation_that_never_began_is_one_when_it_lives_again() {
    let book = RuleBook::new([rules()]);
    for (flow, expected) in [
        (None, Flow::Email),
        (Some(Flow::Sms), Flow::Email),
        (Some(Flow::Progress), Flow::Progress),
    ] {
        let Ok(Start::Run { job, .. }) = revive(&event(), None, flow, None, &book, NOW) else {
            panic!()
        };
        assert_eq!(job.state.flow(), expected);
    }
}

#[test]
fn a_revived_job_resumes_at_its_step_with_a_clean_slate_and_its_history() {
    let mut dead = Job {
        attempts: 7,
        failing_since: Some(NOW),
        begun: true,
        ..email_at(Profile::Update(address()))
    };
    dead.note(NOW, said("no"));
    let later = NOW + Duration::from_secs(9);
    let book = RuleBook::new([rules()]);
    let Start::Run { lane, job } =
        revive(&event(), None, Some(Flow::Email), Some(&dead), &book, later).unwrap()
    else {
        panic!()
    };
    assert_eq!(lane.to_string(), "acme/users_track");
    let clean = Job {
        fresh: false,
        failures: 1,
        history: dead.history.clone(),
        ..Job::new(dead.state.clone(), later)
    };
    assert_eq!(job, clean);
    assert_eq!(
        revive(
            &event(),
            None,
            Some(Flow::Email),
            Some(&dead),
            &RuleBook::default(),
            later
        ),
        Err(Reason::UnknownActivation)
    );
    assert_eq!(
        revive(&event(), None, None, None, &RuleBook::default(), later),
        Err(Reason::UnknownActivation)
    );
    let none = RuleBook::new([Rules {
        flow: None,
        ..rules()
    }]);
    assert_eq!(
        revive(&event(), None, None, None, &none, later),
        Err(Reason::NoFlow)
    );
    assert!(
        matches!(revive(&event(), None, None, None, &book, later), Ok(Start::Run { job, .. }) if !job.fresh)
    );
}

fn settled(job: &Job, answer: Result<Reply, Failure>, rules: &Rules) -> Settled {
    settle(job.clone(), &event(), answer, NOW, rules, 0.0)
}

fn kept(settled: Settled) -> Job {
    match settled {
        Settled::Commit(Commit {
            fate: Fate::Keep { job, lane },
            ..
        }) => {
            assert_eq!(lane.kind, job.state.lane());
            job
        }
        other => panic!("{other:?}"),
    }
}

fn buried(settled: Settled) -> (Reason, Class) {
    match settled {
        Settled::Commit(Commit {
            fate: Fate::Bury { burial, .. },
            ..
        }) => (burial.reason, burial.class),
        other => panic!("{other:?}"),
    }
}

fn parking() -> Rules {
    Rules {
        created_event: Some(ConfiguredEvent {
            name: "joined".into(),
            on_unknown: OnUnknown::Park,
        }),
        ..rules()
    }
}

#[test]
fn a_failure_that_may_pass_uses_an_attempt_and_waits() {
    let begun = Job {
        begun: true,
        ..email_at(Profile::Create)
    };
    for failure in [
        Failure::Transient(said("reset")),
        Failure::Unknown(said("timed out")),
    ] {
        let once = kept(settled(&begun, Err(failure.clone()), &rules()));
        assert_eq!(
            (once.attempts, once.fresh, once.begun, once.failures),
            (1, false, false, 1)
        );
        assert_eq!(
            (once.failing_since, once.due),
            (Some(NOW), NOW + Duration::from_secs(1))
        );
        let twice = kept(settled(&once, Err(failure), &rules()));
        assert_eq!(
            (twice.attempts, twice.due),
            (2, NOW + Duration::from_secs(2))
        );
    }
}

#[test]
fn an_answer_that_is_not_enough_yet_uses_an_attempt_and_one_that_does_not_fit_is_unknown() {
    assert_eq!(
        kept(settled(
            &email_at(Profile::LookUp),
            Ok(shown(None)),
            &rules()
        ))
        .attempts,
        1
    );
    assert_eq!(
        kept(settled(
            &email_at(Profile::LookUp),
            Ok(Reply::Tracked),
            &rules()
        ))
        .attempts,
        1
    );
    let parked = settled(&email_at(Profile::Create), Ok(Reply::Credited), &parking());
    assert_eq!(
        buried(parked),
        (Reason::UnknownOutcome, Class::UnknownOutcome)
    );
}

#[test]
fn a_step_that_failed_for_too_long_or_too_often_is_given_up() {
    let old = Job {
        failing_since: Some(NOW - Duration::from_hours(72)),
        ..email_at(Profile::LookUp)
    };
    let failure = || Err(Failure::Transient(said("503")));
    assert_eq!(
        buried(settled(&old, failure(), &rules())),
        (Reason::GaveUp, Class::Transient)
    );
    let often = Rules {
        retry: RetryPolicy {
            max_attempts: 3,
            ..RetryPolicy::default()
        },
        ..rules()
    };
    let job = Job {
        attempts: 2,
        ..email_at(Profile::LookUp)
    };
    assert_eq!(
        buried(settled(&job, failure(), &often)),
        (Reason::GaveUp, Class::Transient)
    );
}

#[test]
fn an_unknown_outcome_under_park_is_buried_unless_the_call_may_be_repeated_anyway() {
    let failure = || Err(Failure::Unknown(said("timed out")));
    let unknown = (Reason::UnknownOutcome, Class::UnknownOutcome);
    assert_eq!(
        buried(settled(&email_at(Profile::Create), failure(), &parking())),
        unknown
    );
    assert_eq!(
        kept(settled(&email_at(Profile::LookUp), failure(), &parking())).attempts,
        1
    );
    assert_eq!(
        kept(settled(
            &email_at(Profile::Update(address())),
            failure(),
            &parking()
        ))
        .attempts,
        1
    );
}

#[test]
fn a_throttle_never_uses_an_attempt() {
    let job = Job {
        attempts: 1,
        begun: true,
        ..email_at(Profile::Create)
    };
    let until = NOW + Duration::from_secs(7);
    for (said_until, due) in [
        (Some(until), until),
        (None, NOW + Duration::from_secs(1)),
        (Some(Timestamp::ZERO), NOW),
    ] {
        let failure = Failure::Throttled {
            until: said_until,
            answer: said("429"),
        };
        let expected = Job {
            due,
            begun: false,
            ..job.clone()
        };
        assert_eq!(kept(settled(&job, Err(failure), &rules())), expected);
    }
}

#[test]
fn a_rejection_kills_and_a_denial_changes_nothing() {
    let job = email_at(Profile::Create);
    let rejected = settled(&job, Err(Failure::Rejected(said("400"))), &rules());
    assert_eq!(buried(rejected), (Reason::Rejected, Class::Rejected));
    let denied = || Err(Failure::Denied(said("401")));
    assert_eq!(settled(&job, denied(), &rules()), Settled::GiveBack);
    let begun = Job {
        begun: true,
        ..job.clone()
    };
    assert_eq!(kept(settled(&begun, denied(), &rules())), job);
}

#[test]
fn a_step_forward_starts_clean_and_keeps_the_history() {
    let mut job = Job {
        attempts: 3,
        failing_since: Some(NOW),
        fresh: false,
        company: Company::AtMost(9),
        ..email_at(Profile::LookUp)
    };
    job.note(NOW, said("503"));
    let next = kept(settled(&job, Ok(Reply::Profiles(vec![])), &rules()));
    assert_eq!(
        next,
        Job {
            failures: 1,
            history: job.history,
            company: Company::AtMost(9),
            ..email_at(Profile::Create)
        },
        "its company is that of its way to the profile"
    );
}

#[test]
fn an_interrupted_call_is_buried_only_when_it_parks() {
    let begun = Job {
        begun: true,
        ..email_at(Profile::Create)
    };
    let commit = found_begun(&begun, &event(), NOW, &parking()).unwrap();
    assert_eq!(buried(Settled::Commit(commit)).0, Reason::UnknownOutcome);
    assert_eq!(found_begun(&begun, &event(), NOW, &rules()), None);
    assert_eq!(
        found_begun(&email_at(Profile::Create), &event(), NOW, &parking()),
        None
    );
}

#[test]
fn a_job_without_its_activation_dies_as_unknown() {
    let settled = Settled::Commit(vanished(email_at(Profile::LookUp), NOW));
    assert_eq!(
        buried(settled),
        (Reason::UnknownActivation, Class::Configuration)
    );
}

#[test]
fn the_history_is_bounded_and_the_number_of_failures_is_not() {
    let mut job = email_at(Profile::LookUp);
    for second in 0..40 {
        job.note(NOW + Duration::from_secs(second), said("503"));
    }
    assert_eq!((job.history.len(), job.failures), (HISTORY_MAX, 40));
    assert_eq!(
        job.history.last().unwrap().at,
        NOW + Duration::from_secs(39)
    );
}

#[test]
fn an_update_whose_marks_went_away_is_empty() {
    let update = email_at(Profile::Update(address()));
    assert!(is_empty(&asked(&update, &event(), &rules())));
    assert!(!is_empty(&asked(&update, &event(), &marking())));
    assert!(!is_empty(&asked(
        &email_at(Profile::Create),
        &event(),
        &rules()
    )));
}
