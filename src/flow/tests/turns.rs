//! What a settled job says of its participant: the address it learnt, how long the next one waits, and who dies with it.

use super::*;
use crate::flow::state::{Before, Join, Missing};
use crate::model::call::Subscription;

fn commit(settled: Settled) -> Commit {
    match settled {
        Settled::Commit(commit) => commit,
        Settled::GiveBack => panic!("given back"),
    }
}

fn after(job: &Job, reply: Reply) -> Commit {
    commit(settled(job, Ok(reply), &rules()))
}

fn rejected(state: State) -> Commit {
    let answer = Failure::Rejected(said("no"));
    commit(settled(&at(state), Err(answer), &rules()))
}

const BEFORE: Before = Before {
    status: Subscription::Unknown,
    maybe: false,
};

#[test]
fn an_address_is_learnt_where_it_was_seen_or_made_and_nowhere_else() {
    let learnt = |job: &Job, reply| after(job, reply).learnt;
    let alias = Some(Address::Alias(MAIL.into()));
    for make in [State::Email, State::Progress] as [Make; 2] {
        assert_eq!(
            learnt(&at(make(Profile::LookUp)), shown(Some(MAIL))),
            Some(address())
        );
        assert_eq!(learnt(&at(make(Profile::LookUp)), shown(None)), None);
        let nobody = Reply::Profiles(Vec::new());
        assert_eq!(learnt(&at(make(Profile::LookUp)), nobody), None);
        assert_eq!(
            learnt(&at(make(Profile::Create)), Reply::Tracked),
            alias.clone()
        );
        let update = at(make(Profile::Update(address())));
        assert_eq!(learnt(&update, Reply::Tracked), None);
    }
    let joining = at(State::Sms(Join::Only(Missing::Phone, Profile::Create)));
    assert_eq!(learnt(&joining, Reply::Tracked), alias);
    let lost = settled(
        &email_at(Profile::Create),
        Err(Failure::Unknown(said("?"))),
        &rules(),
    );
    assert_eq!(commit(lost).learnt, None);
}

#[test]
fn what_wrote_to_a_profile_keeps_the_next_one_waiting_and_what_only_looked_does_not() {
    let gap = rules().order_gap;
    assert_eq!(after(&email_at(Profile::Create), Reply::Tracked).gap, gap);
    let update = email_at(Profile::Update(address()));
    assert_eq!(after(&update, Reply::Tracked).gap, gap);
    assert_eq!(rejected(State::Progress(Profile::Create)).gap, gap);
    let looked = after(&email_at(Profile::LookUp), shown(Some(MAIL)));
    assert_eq!(looked.gap, Duration::ZERO);
}

#[test]
fn a_participation_that_dies_before_there_is_a_profile_takes_what_follows_with_it() {
    let before = BEFORE;
    let phone = [
        Join::Only(Missing::Consent, Profile::Create),
        Join::Check,
        Join::LookUp { before },
        Join::Create { before },
    ];
    let joins = phone.map(|join| [State::Sms(join.clone()), State::DoubleOptIn(join)]);
    let emails = [Profile::LookUp, Profile::Create].map(State::Email);
    for state in joins.into_iter().flatten().chain(emails) {
        let successors = rejected(state.clone()).bury_successors.unwrap();
        assert_eq!(successors.reason, Reason::NoProfile, "{state:?}");
        assert_eq!(successors.class, Class::Rejected);
        assert_eq!(successors.at, NOW);
    }
    let gone = vanished(email_at(Profile::LookUp), NOW);
    assert_eq!(gone.bury_successors.unwrap().class, Class::Configuration);
}

#[test]
fn whatever_else_dies_leaves_those_behind_it_alone() {
    let (before, address) = (BEFORE, address());
    for state in [
        State::Email(Profile::Update(address.clone())),
        State::Progress(Profile::LookUp),
        State::Progress(Profile::Create),
        State::Outgrow,
        State::Sms(Join::Update {
            before,
            address,
            phone: true,
        }),
        State::Sms(Join::Set { before }),
    ] {
        assert_eq!(rejected(state.clone()).bury_successors, None, "{state:?}");
    }
    // The profile is there: only its phone is another.
    let phone = crate::model::rules::PhoneRules {
        group: "g".into(),
        subscribe: crate::model::rules::SubscribeBy::Delayed,
        delay: Duration::from_secs(120),
        mismatch: crate::model::rules::PhoneMismatch::Dead,
        confirm: crate::model::rules::ConfirmEvery {
            first: Duration::from_secs(5),
            max: Duration::from_mins(1),
            within: Duration::from_hours(1),
        },
        opt_in: None,
    };
    let rules = Rules {
        phone: Some(phone),
        ..rules()
    };
    let found = Reply::Profiles(vec![Shown {
        external_id: Some("x".into()),
        email: Some(MAIL.into()),
        phone: Some("+15559999999".into()),
        ..Shown::default()
    }]);
    let job = at(State::Sms(Join::LookUp { before }));
    let dead = commit(settle(job, &rich(), Ok(found), NOW, &rules, 0.0));
    assert!(
        matches!(&dead.fate, Fate::Bury { burial, .. } if burial.reason == Reason::PhoneMismatch)
    );
    assert_eq!(dead.bury_successors, None);
}

#[test]
fn an_update_of_our_own_alias_makes_the_profile_should_it_not_be_there() {
    let alias = Address::Alias(MAIL.into());
    for make in [State::Email, State::Progress] as [Make; 2] {
        let update = track(&at(make(Profile::Update(alias.clone()))), &rich(), &rules());
        assert!(update.create);
        assert_eq!(update.attributes["email"], json!(MAIL));
        assert_eq!(update.attributes.get("phone"), None);
        let found = track(&at(make(Profile::Update(address()))), &rich(), &rules());
        assert!(!found.create);
        assert_eq!(found.attributes.get("email"), None);
    }
}

#[test]
fn to_remember_an_address_is_no_success_and_what_failed_still_counts() {
    let job = Job {
        fresh: false,
        attempts: 3,
        failing_since: Some(NOW),
        ..at(State::Progress(Profile::Recall))
    };
    let known = Reply::Remembered(Some(address()));
    let on = kept(settle(job.clone(), &rich(), Ok(known), NOW, &rules(), 0.0));
    assert_eq!(on.state, State::Progress(Profile::Update(address())));
    assert_eq!(
        (on.attempts, on.fresh, on.failing_since),
        (3, false, Some(NOW))
    );
}

#[test]
fn a_letter_that_was_to_make_a_profile_looks_first_and_one_from_another_workspace_begins_anew() {
    let book = RuleBook::new([rules()]);
    let revived = |state: State, workspace: &str| {
        let workspace = crate::model::Name::from(workspace);
        let job = at(state);
        let start = revive(&event(), Some(&workspace), None, Some(&job), &book, NOW);
        match start.unwrap() {
            Start::Run { job, .. } => job.state,
            Start::Bury { .. } => panic!("buried"),
        }
    };
    let email = |profile| State::Email(profile);
    assert_eq!(
        revived(email(Profile::Create), "acme"),
        email(Profile::LookUp)
    );
    let recall = State::Progress(Profile::Recall);
    assert_eq!(revived(State::Progress(Profile::Create), "acme"), recall);
    let update = State::Progress(Profile::Update(address()));
    assert_eq!(revived(update.clone(), "acme"), update);
    assert_eq!(revived(update, "staging"), recall);
    let found = email(Profile::Update(address()));
    assert_eq!(revived(found, "staging"), email(Profile::LookUp));
}

#[test]
fn a_parked_update_interrupted_before_its_address_was_written_down_is_not_sent_again() {
    let rules = Rules {
        progress_on_unknown: OnUnknown::Park,
        ..rules()
    };
    let begun = Job {
        begun: true,
        ..at(State::Progress(Profile::Recall))
    };
    let dead = found_begun(&begun, &rich(), NOW, &rules).unwrap();
    assert!(
        matches!(&dead.fate, Fate::Bury { burial, .. } if burial.reason == Reason::UnknownOutcome)
    );
    assert_eq!(found_begun(&begun, &rich(), NOW, &super::rules()), None);
    let fresh = at(State::Progress(Profile::Recall));
    assert_eq!(found_begun(&fresh, &rich(), NOW, &rules), None);
}

#[test]
fn a_profile_that_somebody_else_made_meanwhile_is_not_made_again() {
    let known = Reply::Remembered(Some(address()));
    let update = State::Email(Profile::Update(address()));
    assert_eq!(
        hearing(&email_at(Profile::Create), &rich(), &known, &rules()),
        Step::Next(update)
    );
    let progress = at(State::Progress(Profile::Create));
    let update = State::Progress(Profile::Update(address()));
    assert_eq!(
        hearing(&progress, &rich(), &known, &rules()),
        Step::Next(update)
    );
}
