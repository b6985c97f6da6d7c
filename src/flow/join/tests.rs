//! What whole lives do not show by themselves: dates, attempts, and where a letter goes on.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests may")]

use std::time::Duration;

use super::*;
use crate::flow::job::{Commit, Fate, Job, Start};
use crate::flow::settle::{Settled, settle};
use crate::flow::{ask, revive};
use crate::model::call::{Answer, Failure};
use crate::model::rules::{ParticipationFlow, RuleBook};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const UNSET: Before = Before {
    status: Subscription::Unknown,
    maybe: false,
};

fn every(first: u64, max: u64, within: u64) -> ConfirmEvery {
    let [first, max, within] = [first, max, within].map(Duration::from_secs);
    ConfirmEvery { first, max, within }
}

fn rules() -> Rules {
    Rules {
        flow: Some(ParticipationFlow::Sms),
        phone: Some(PhoneRules {
            group: "g".into(),
            subscribe: SubscribeBy::Delayed,
            delay: Duration::from_secs(120),
            mismatch: PhoneMismatch::Dead,
            confirm: every(5, 60, 3600),
            opt_in: None,
        }),
        ..Rules::plain("drop", "acme")
    }
}

fn event() -> Event {
    Event {
        phone: Some("+15550001111".into()),
        sms_consent: true,
        ..crate::flow::tests::event()
    }
}

fn at(join: Join) -> Job {
    Job::new(State::Sms(join), NOW)
}

fn kept(job: Job, answer: Result<Reply, Failure>, now: Timestamp) -> Job {
    match settle(job, &event(), answer, now, &rules(), 0.0) {
        Settled::Commit(Commit {
            fate: Fate::Keep { job, .. },
            ..
        }) => job,
        other => panic!("{other:?}"),
    }
}

fn said() -> Answer {
    Answer::default()
}

#[test]
fn a_subscription_that_failed_is_looked_at_before_it_is_tried_again() {
    let recheck = |maybe| {
        State::Sms(Join::Recheck {
            before: Before { maybe, ..UNSET },
        })
    };
    for (failure, maybe) in [
        (Failure::Transient(said()), false),
        (
            Failure::Throttled {
                until: None,
                answer: said(),
            },
            false,
        ),
        (Failure::Unknown(said()), true),
    ] {
        let job = kept(at(Join::Set { before: UNSET }), Err(failure), NOW);
        assert_eq!(job.state, recheck(maybe));
    }
    let begun = Job {
        begun: true,
        ..at(Join::Set { before: UNSET })
    };
    assert_eq!(
        kept(begun, Err(Failure::Denied(said())), NOW).state,
        recheck(false)
    );
}

#[test]
fn a_wait_is_longer_by_what_its_beginning_may_have_been_cut_off() {
    let created = kept(at(Join::Create { before: UNSET }), Ok(Reply::Tracked), NOW);
    assert_eq!(created.state, State::Sms(Join::Set { before: UNSET }));
    assert_eq!(created.due, NOW + Duration::from_millis(120_001));
}

#[test]
fn looking_again_does_not_reset_what_failed() {
    let failed = kept(
        at(Join::Set { before: UNSET }),
        Err(Failure::Transient(said())),
        NOW,
    );
    let again = kept(failed, Ok(Reply::Status(Subscription::Unknown)), NOW);
    assert_eq!(again.state, State::Sms(Join::Set { before: UNSET }));
    assert_eq!((again.attempts, again.failing_since), (1, Some(NOW)));
}

#[test]
fn a_letter_that_died_at_the_set_looks_first_and_one_that_waited_waits_anew_without_setting() {
    let book = RuleBook::new([rules()]);
    let later = NOW + Duration::from_hours(24);
    let revived = |join| match revive(&event(), None, None, Some(&at(join)), &book, later) {
        Ok(Start::Run { job, .. }) => job.state,
        other => panic!("{other:?}"),
    };
    let set = Join::Set { before: UNSET };
    assert_eq!(revived(set), State::Sms(Join::Recheck { before: UNSET }));
    let (since, until) = (NOW, NOW + Duration::from_hours(1));
    let anew = Join::Confirm {
        since: later,
        until: later + Duration::from_hours(1),
    };
    assert_eq!(revived(Join::Confirm { since, until }), State::Sms(anew));
}

#[test]
fn reads_become_seldom_share_dates_and_the_last_is_at_the_end() {
    let every = every(30, 3600, 30 * 86_400);
    let mut now = NOW;
    let mut reads = 0;
    while now < NOW + Duration::from_hours(1) {
        let next = next_read(NOW, now, &every);
        let (wait, waited) = (next.since(now), now.since(NOW));
        assert!(wait >= every.first, "{wait:?}");
        // A quarter of what was waited, and at most an eighth of that more, for the grid.
        let most = (waited / 4).clamp(every.first, every.max);
        assert!(wait <= most + most / 8, "{wait:?} after {waited:?}");
        now = next;
        reads += 1;
    }
    assert!(reads <= 20, "{reads} in the first hour");
    let early = next_read(NOW, NOW + Duration::from_millis(1), &every);
    let neighbour = next_read(NOW, NOW + Duration::from_millis(2), &every);
    assert_eq!(neighbour, early, "neighbours share a date");
    // Also those who have waited for a while, and not equally long: else every wait had a grid of its own.
    let dates = (0..100).map(|later| {
        let (since, waited) = (
            NOW + Duration::from_millis(97 * later),
            601_003 + 11 * later,
        );
        next_read(since, since + Duration::from_millis(waited), &every)
    });
    let dates: std::collections::BTreeSet<_> = dates.collect();
    assert!(dates.len() <= 2, "{} dates for 100 neighbours", dates.len());
    let phone = rules().phone.unwrap();
    let (since, until) = (NOW, NOW + Duration::from_millis(6_500));
    let join = Join::Confirm { since, until };
    let reply = Reply::Status(Subscription::Unsubscribed);
    let at = NOW + Duration::from_secs(5);
    match hear(Kind::Sms, &join, None, &event(), &reply, at, &rules()) {
        Step::Wait { until: next, .. } => assert_eq!(next, until),
        other => panic!("{other:?}"),
    }
    assert_eq!(phone.confirm.first, Duration::from_secs(5));
}

#[test]
fn what_subscribes_is_marked_before_it_is_sent_and_what_reads_is_not() {
    let marked = |join| ask(&at(join), &event(), &rules()).unwrap().is_marked();
    assert!(marked(Join::Set { before: UNSET }));
    assert!(!marked(Join::Check));
    assert!(!marked(Join::Create { before: UNSET }));
    let mut inline = rules();
    inline.phone.as_mut().unwrap().subscribe = SubscribeBy::Inline;
    assert!(
        ask(&at(Join::Create { before: UNSET }), &event(), &inline)
            .unwrap()
            .is_marked()
    );
}

#[test]
fn an_activation_without_a_group_asks_nothing() {
    let none = Rules {
        phone: None,
        ..rules()
    };
    assert_eq!(ask(&at(Join::Check), &event(), &none), None);
}

#[test]
fn a_letter_whose_profile_would_carry_the_subscription_looks_first() {
    let mut inline = rules();
    inline.phone.as_mut().unwrap().subscribe = SubscribeBy::Inline;
    let address = Address::BrazeId("b".into());
    let update = Join::Update {
        before: UNSET,
        address,
        phone: true,
    };
    for join in [Join::Create { before: UNSET }, update] {
        let looked = Join::RecheckProfile { before: UNSET };
        assert_eq!(replayed(Kind::Sms, &join, &event(), NOW, &inline), looked);
        // Nobody knows whether the profile is there: nobody else may make it meanwhile.
        assert!(State::Sms(looked).takes_turn());
        // By a request of its own: somebody may have made the profile since.
        let looked = match join {
            Join::Create { before } => Join::LookUp { before },
            ref other => other.clone(),
        };
        assert_eq!(replayed(Kind::Sms, &join, &event(), NOW, &rules()), looked);
    }
}

#[test]
fn by_e_mail_a_phone_is_written_only_where_it_is_to_be_subscribed() {
    let by_email = Rules {
        identity: Identity::Email,
        ..rules()
    };
    let address = || Address::Email("ann@b.example".into());
    let update = || Profile::Update(address());
    let written = |state: State| match ask(&Job::new(state, NOW), &event(), &by_email) {
        Some(Call::Track(track)) => (track.create, track.attributes.contains_key("phone")),
        other => panic!("{other:?}"),
    };
    for state in [
        State::Email(update()),
        State::Progress(update()),
        State::Sms(Join::Only(Missing::Consent, update())),
    ] {
        assert_eq!(written(state.clone()), (true, false), "{state:?}");
    }
    let joins = Join::Update {
        before: UNSET,
        address: address(),
        phone: true,
    };
    assert_eq!(written(State::Sms(joins)), (true, true));
}
