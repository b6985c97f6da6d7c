//! What comes next for a job, in words for operators.
//!
//! Invariants: pure. What is told is the way on when all goes well; nothing is decided by it.

use super::state::{Erase, Join, Profile, State};
use crate::model::rules::{OptIn, Rules, SubscribeBy};

/// What is asked next of the outside, and what follows from it, in order. `rules`: today's; without them the job dies.
pub fn plan(state: &State, rules: Option<&Rules>) -> Vec<String> {
    let Some(rules) = rules else {
        return vec![
            "nothing is configured for it today: it dies as unknown_activation".to_owned(),
        ];
    };
    let (mut steps, earns) = match state {
        State::Email(profile) => (of_profile(profile), true),
        State::Progress(profile) => (of_profile(profile), false),
        State::Sms(Join::Only(_, profile)) | State::DoubleOptIn(Join::Only(_, profile)) => {
            (of_profile(profile), false)
        }
        State::Sms(join) | State::DoubleOptIn(join) => (of_join(join, rules), true),
        State::Credit { event } => (vec![format!("tell Quikly {event}")], false),
        State::Webhook => (vec!["pass what Braze said on to Quikly".to_owned()], false),
        State::Outgrow => (
            vec!["write the lead's answers to the profile".to_owned()],
            false,
        ),
        State::Erase(erase) => (of_erase(erase), false),
    };
    if let (true, Some(credit)) = (earns, &rules.credit) {
        steps.push(format!("credit it: tell Quikly {}", credit.event));
    }
    steps
}

fn told(steps: &[&str]) -> Vec<String> {
    steps.iter().map(|step| (*step).to_owned()).collect()
}

fn of_profile(profile: &Profile) -> Vec<String> {
    match profile {
        Profile::LookUp => told(&[LOOK_UP, WRITE_OR_CREATE]),
        Profile::Recall => told(&[
            "take the address that is remembered, or look the participant up",
            WRITE_OR_CREATE,
        ]),
        Profile::Create => told(&[CREATE]),
        Profile::Update(_) => told(&[WRITE]),
    }
}

const LOOK_UP: &str = "look the participant up in Braze";
const WRITE_OR_CREATE: &str = "write to the profile that is found, or create one";
const CREATE: &str = "create the profile";
const WRITE: &str = "write to the profile";
const RECHECK: &str = "read the phone's status: nobody knows whether it was subscribed";

fn of_join(join: &Join, rules: &Rules) -> Vec<String> {
    let (before, joins) = match join {
        Join::Only(_, profile) => return of_profile(profile),
        Join::Check => (
            &[
                "read the phone's status: is it subscribed already?",
                LOOK_UP,
                WRITE_OR_CREATE,
            ][..],
            true,
        ),
        Join::LookUp { .. } => (&[LOOK_UP, WRITE_OR_CREATE][..], true),
        Join::Create { .. } => (&[CREATE][..], true),
        Join::Update { .. } => (&[WRITE][..], true),
        Join::Set { .. } => (&[][..], true),
        Join::Recheck { .. } => (&[RECHECK][..], true),
        Join::RecheckProfile { .. } => (&[RECHECK, LOOK_UP, WRITE_OR_CREATE][..], true),
        Join::Confirm { .. } => (&[][..], false),
    };
    let mut steps = told(before);
    if joins {
        steps.push(joining(rules));
    }
    steps.push(match join {
        Join::Confirm { until, .. } => {
            format!("read the phone's status until it is Subscribed, no longer than until {until}")
        }
        _ => "read the phone's status until it is Subscribed".to_owned(),
    });
    steps
}

fn joining(rules: &Rules) -> String {
    let phone = rules.phone.as_ref();
    match phone.and_then(|phone| phone.opt_in.as_ref()) {
        Some(OptIn::Event(event)) => {
            format!(
                "send the event {}, which starts the brand's double opt-in",
                event.name
            )
        }
        Some(OptIn::Logic(_)) => "ask for Braze's double opt-in".to_owned(),
        None if phone.is_some_and(|phone| phone.subscribe == SubscribeBy::Inline) => {
            "subscribe the phone, along with the profile".to_owned()
        }
        None => "subscribe the phone".to_owned(),
    }
}

fn of_erase(erase: &Erase) -> Vec<String> {
    match erase {
        Erase::LookUp { .. } => told(&["look up which profiles there are", "delete them"]),
        Erase::Delete { .. } => told(&["delete the profiles that were found", "look once more"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::job::Before;
    use crate::model::call::Subscription;
    use crate::model::rules::{CreditRule, OnUnknown};
    use crate::model::time::Timestamp;

    #[test]
    fn the_way_on_is_told_from_where_a_job_stands_to_its_credit() {
        let rules = Rules {
            credit: Some(CreditRule {
                event: "joined".into(),
                on_unknown: OnUnknown::Resend,
            }),
            ..Rules::plain("spring", "acme")
        };
        let before = Before {
            status: Subscription::Unknown,
            maybe: false,
        };
        let confirm = Join::Confirm {
            since: Timestamp::ZERO,
            until: Timestamp::ZERO,
        };
        let rows: [(State, &[&str]); 5] = [
            (
                State::Email(Profile::LookUp),
                &[LOOK_UP, WRITE_OR_CREATE, "credit it: tell Quikly joined"],
            ),
            (State::Progress(Profile::Create), &[CREATE]),
            (
                State::Sms(Join::Set { before }),
                &[
                    "subscribe the phone",
                    "read the phone's status until it is Subscribed",
                    "credit it: tell Quikly joined",
                ],
            ),
            (
                State::Sms(confirm),
                &[
                    "read the phone's status until it is Subscribed, no longer than until 1970-01-01T00:00:00.000Z",
                    "credit it: tell Quikly joined",
                ],
            ),
            (
                State::Credit {
                    event: "joined".into(),
                },
                &["tell Quikly joined"],
            ),
        ];
        for (state, steps) in rows {
            assert_eq!(plan(&state, Some(&rules)), steps, "{state:?}");
        }
        let none = plan(&State::Webhook, None);
        assert!(none[0].contains("unknown_activation"), "{none:?}");
    }
}
