//! A request refused without a word about whom: how its jobs are asked again.

use super::*;
use crate::model::call::{Company, Happened};

fn apart(among: usize, happened: Happened) -> Result<Reply, Failure> {
    Err(Failure::Apart {
        among,
        happened,
        answer: said("something is wrong"),
    })
}

/// As one that was under way, and whose attempts are not to be touched.
fn under_way(company: Company) -> Job {
    Job {
        company,
        begun: true,
        attempts: 2,
        failing_since: Some(NOW),
        fresh: false,
        ..email_at(Profile::Create)
    }
}

#[test]
fn refused_among_others_a_job_is_asked_again_among_half_as_many_and_nothing_else_changes() {
    use Company::{Alone, Any, AtMost, WithoutEvents};
    use Happened::{Events, Nothing, Unknown};
    for (company, among, happened, after) in [
        (Any, 75, Nothing, AtMost(38)),
        (AtMost(38), 37, Nothing, AtMost(19)),
        (AtMost(3), 3, Nothing, AtMost(2)),
        (AtMost(2), 2, Nothing, Alone),
        (Any, 1, Nothing, Alone),
        // Whatever is said, it ends.
        (AtMost(2), 75, Nothing, Alone),
        (Any, 5000, Nothing, AtMost(255)),
        (Any, 75, Events, WithoutEvents(38)),
        (WithoutEvents(38), 38, Nothing, WithoutEvents(19)),
        (AtMost(2), 2, Events, WithoutEvents(1)),
        // What counts is risked once more and no oftener: alone, where every word is about it.
        (Any, 75, Unknown, Alone),
        (AtMost(38), 38, Unknown, Alone),
    ] {
        let job = under_way(company);
        let expected = Job {
            company: after,
            begun: false,
            ..job.clone()
        };
        let heard = kept(settled(&job, apart(among, happened), &rules()));
        assert_eq!(heard, expected, "{company:?} {among} {happened:?}");
    }
}

#[test]
fn halving_ends_after_seven_rounds_with_whoever_is_alone_rejected() {
    for first in [Happened::Nothing, Happened::Events] {
        let mut job = kept(settled(
            &email_at(Profile::Create),
            apart(75, first),
            &rules(),
        ));
        let mut rounds = 1;
        while job.company.calls_max() > 1 {
            let among = job.company.calls_max();
            job = kept(settled(&job, apart(among, Happened::Nothing), &rules()));
            rounds += 1;
        }
        assert_eq!(rounds, 7);
        assert_eq!(
            buried(settled(&job, apart(1, Happened::Nothing), &rules())),
            (Reason::Rejected, Class::Rejected)
        );
    }
}

#[test]
fn what_parks_is_put_aside_where_nobody_knows_and_asked_again_where_nothing_or_all_of_it_happened()
{
    let job = email_at(Profile::Create);
    let heard = |happened| settled(&job, apart(75, happened), &parking());
    assert_eq!(
        buried(heard(Happened::Unknown)),
        (Reason::UnknownOutcome, Class::UnknownOutcome)
    );
    assert_eq!(kept(heard(Happened::Nothing)).company, Company::AtMost(38));
    let without = kept(heard(Happened::Events));
    assert_eq!(without.company, Company::WithoutEvents(38));
    // What parked are its events: without them it may be repeated.
    let call = asked(&without, &event(), &parking());
    assert!(!call.parks() && !call.is_marked());
}

#[test]
fn events_that_were_taken_are_not_sent_again_on_the_way_to_the_profile_replay_included() {
    let book = RuleBook::new([rules()]);
    let job = kept(settled(
        &email_at(Profile::Create),
        apart(75, Happened::Events),
        &rules(),
    ));
    let whole = track(&email_at(Profile::Create), &rich(), &rules());
    let rest = track(&job, &rich(), &rules());
    assert_eq!((whole.events.len(), rest.events.len()), (2, 0));
    assert_eq!(rest.attributes, whole.attributes);
    assert!(rest.create);
    // Somebody else made the profile meanwhile.
    let found = Reply::Remembered(Some(address()));
    let update = kept(settle(job.clone(), &rich(), Ok(found), NOW, &rules(), 0.0));
    assert_eq!(update.state, State::Email(Profile::Update(address())));
    assert!(track(&update, &rich(), &rules()).events.is_empty());

    let company = |workspace: &str| {
        let workspace = workspace.into();
        match revive(&event(), Some(&workspace), None, Some(&job), &book, NOW) {
            Ok(Start::Run { job, .. }) => job.company,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(company("acme"), job.company);
    assert_eq!(
        company("elsewhere"),
        Company::Any,
        "there nothing was taken"
    );
    let there = settle::moved(job, &event(), NOW, &rules());
    assert_eq!(kept(Settled::Commit(there)).company, Company::Any);
}
