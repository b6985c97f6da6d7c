//! What is remembered of participants saves look-ups, and what is ready together travels together.

use std::sync::Arc;
use std::time::Duration;

use braze_relay::flow::job::Reason;
use braze_relay::model::event::{Event, EventKind};
use braze_relay::model::lane::{Lane, LaneKind};
use braze_relay::model::rules::{OnUnknown, RetryPolicy, RuleBook, Rules};
use braze_relay::model::time::Timestamp;

use super::again::{Way, activation, participation};
use super::campaign::{LONG, Life, event, rich, rules};
use super::invariants;
use super::on_paused_time;
use super::world::{Delays, Person, Weather};

const KNOWN_FOR: Duration = Duration::from_hours(1);

fn life() -> Life {
    let delays = Delays {
        latency_min: 20,
        latency: 80,
        appears: 100,
        whole: 0,
    };
    let all = ["drop", "other"].map(|scope| Rules {
        known_for: KNOWN_FOR,
        ..rules(scope, "acme", OnUnknown::Resend)
    });
    Life::new(11, delays, 3, all.into())
}

fn progress(key: u64, email: &str) -> Event {
    Event {
        kind: EventKind::Progress,
        ..rich(event(key, "drop", email))
    }
}

fn sent(life: &Life, kind: LaneKind) -> usize {
    let lane = Lane::new(&"acme".into(), kind);
    life.world.model().sent.get(&lane).map_or(0, Vec::len)
}

#[test]
fn whatever_comes_of_one_participant_costs_one_look_up_and_as_few_requests_as_can_be() {
    on_paused_time(async {
        let mut life = life();
        life.world.add_known(
            "acme",
            Person {
                email: "known@b.example".into(),
                ..Person::default()
            },
        );
        let mut events = Vec::new();
        for (number, email) in ["known@b.example", "new@b.example"].iter().enumerate() {
            let first = 100 * number as u64;
            events.push(rich(event(first, "drop", email)));
            events.extend((1..10).map(|key| progress(first + key, email)));
            events.push(rich(event(first + 10, "other", email)));
        }
        events.extend((500..510).map(|key| progress(key, "bare@b.example")));
        life.accept(events).await;
        life.run_empty(LONG).await;
        let wrong = invariants::check(&life).await;
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert_eq!(sent(&life, LaneKind::UsersExportIds), 3, "one for each");
        // For two of them: the first participation, all updates together, the second. For the third: the first update,
        // which makes the profile, and all others together.
        assert_eq!(life.world.model().writes.len(), 2 * 11 + 10);
        let model = life.world.model();
        let requests = |email: &str| {
            let of = model.writes.iter().filter(|it| it.email == email);
            let numbers: std::collections::BTreeSet<u64> = of.map(|it| it.request).collect();
            numbers.len()
        };
        assert_eq!(requests("known@b.example"), 3);
        assert_eq!(requests("new@b.example"), 3);
        assert_eq!(requests("bare@b.example"), 2);
    });
}

#[test]
fn what_was_learnt_long_ago_is_looked_up_again() {
    on_paused_time(async {
        let mut life = life();
        life.accept(vec![progress(1, "ann@b.example")]).await;
        life.run_empty(LONG).await;
        for (key, wait, look_ups) in [(2, KNOWN_FOR * 5 / 6, 1), (3, KNOWN_FOR, 2)] {
            life.clock.sleep(wait).await;
            life.accept(vec![progress(key, "ann@b.example")]).await;
            life.run_empty(LONG).await;
            assert_eq!(sent(&life, LaneKind::UsersExportIds), look_ups, "{key}");
        }
        let wrong = invariants::check(&life).await;
        assert!(wrong.is_empty(), "{wrong:#?}");
    });
}

/// Whoever is behind a participation that dies before it came to a profile dies with it, but not where there is one.
#[test]
fn updates_behind_a_dead_participation_die_with_it_only_where_no_profile_is_known() {
    on_paused_time(async {
        let mut life = life();
        life.accept(vec![progress(1, "known@b.example")]).await;
        life.run_empty(LONG).await;
        let emails = ["known@b.example", "new@b.example"];
        for (number, email) in emails.into_iter().enumerate() {
            let key = 10 * (number as u64 + 1);
            life.accept(vec![
                rich(event(key, "other", email)),
                progress(key + 1, email),
            ])
            .await;
        }
        // The activation has gone meanwhile.
        life.book = Arc::new(RuleBook::new([rules("drop", "acme", OnUnknown::Resend)]));
        life.run_empty(LONG).await;
        let dead = life.dead().await;
        let dead: Vec<_> = dead
            .iter()
            .map(|letter| (&*letter.event.email, letter.burial.reason))
            .collect();
        let expected = [
            (emails[0], Reason::UnknownActivation),
            (emails[1], Reason::UnknownActivation),
            (emails[1], Reason::NoProfile),
        ];
        assert_eq!(dead, expected);
    });
}

/// A participation waits for its creation to be tried again; an older letter lives again and makes the profile first.
#[test]
fn a_profile_that_an_older_letter_made_meanwhile_is_found_and_not_made_again() {
    on_paused_time(async {
        let mut life = life();
        life.book = Arc::new(RuleBook::new([Rules {
            known_for: KNOWN_FOR,
            ..rules("other", "acme", OnUnknown::Resend)
        }]));
        // Its activation is not configured yet: it dies at once.
        life.accept(vec![rich(event(1, "drop", "ann@b.example"))])
            .await;
        life.book = Arc::new(RuleBook::new(["drop", "other"].map(|scope| Rules {
            known_for: KNOWN_FOR,
            retry: RetryPolicy {
                first: Duration::from_mins(5),
                ..RetryPolicy::default()
            },
            ..rules(scope, "acme", OnUnknown::Resend)
        })));
        let down = Weather {
            until: Timestamp::from_millis(u64::MAX),
            transient: 1.0,
            ..Weather::default()
        };
        let tracks = Lane::new(&"acme".into(), LaneKind::UsersTrack);
        life.world.model().exceptions.insert(tracks.clone(), down);
        life.accept(vec![rich(event(2, "other", "ann@b.example"))])
            .await;
        life.start().await;
        life.wait(Duration::from_secs(20)).await;
        life.world.model().exceptions.remove(&tracks);
        life.replay().await;
        life.kill().await;
        life.run_empty(LONG).await;
        let wrong = invariants::check(&life).await;
        assert!(wrong.is_empty(), "{wrong:#?}");
        let model = life.world.model();
        let [ann] = &model.people["acme"][..] else {
            panic!("{:#?}", model.people)
        };
        assert_eq!(
            ann.events
                .iter()
                .filter(|it| it.starts_with("joined-"))
                .count(),
            1
        );
        assert_eq!(
            ann.attributes
                .keys()
                .filter(|it| it.starts_with("new-"))
                .count(),
            1
        );
        assert_eq!(
            ann.attributes
                .keys()
                .filter(|it| it.starts_with("mark-"))
                .count(),
            2
        );
    });
}

/// Braze has deleted a profile that is still remembered: whoever joins by phone is looked for for a while, and then made anew.
#[test]
fn a_remembered_profile_that_braze_has_deleted_is_made_anew() {
    on_paused_time(async {
        let mut life = life();
        life.book = Arc::new(RuleBook::new([
            activation(Way::Sms),
            rules("other", "acme", OnUnknown::Resend),
        ]));
        life.accept(vec![event(100, "other", "ada@b.example")])
            .await;
        life.run_empty(LONG).await;
        life.clock.sleep(Duration::from_hours(1)).await;
        life.world.model().people.clear();
        let later = life.clock.now() + Duration::from_mins(20);
        life.world.model().subscribed_from = Some(later);
        life.accept(vec![participation(1)]).await;
        life.run_empty(Duration::from_hours(2)).await;
        assert_eq!(life.lab.state().violations, [""; 0]);
        assert_eq!(life.counts().events.done, 2);
        let model = life.world.model();
        assert_eq!(model.people["acme"].len(), 1);
        assert_eq!(
            model.people["acme"][0].alias.as_deref(),
            Some("ada@b.example")
        );
    });
}
