//! Requests with writes that Braze refuses without a word about which: whoever is guilty dies alone, soon, and nobody else.

use std::collections::BTreeSet;
use std::time::Duration;

use braze_relay::engine::Desk;
use braze_relay::flow::job::{Class, Reason};
use braze_relay::model::call::Call;
use braze_relay::model::event::{Event, EventKind};
use braze_relay::model::lane::{Lane, LaneKind};
use braze_relay::model::rules::{Identity, OnUnknown, Rules};

use super::campaign::{LONG, Life, event, rich, rules};
use super::world::{Delays, Poison, Told};
use super::{invariants, on_paused_time};

const PEOPLE: u64 = 75;

const ON_UNKNOWN: [OnUnknown; 2] = [OnUnknown::Resend, OnUnknown::Park];

const QUICK: Delays = Delays {
    latency_min: 20,
    latency: 80,
    appears: 0,
    whole: 0,
};

fn lane() -> Lane {
    Lane::new(&"acme".into(), LaneKind::UsersTrack)
}

/// Nobody is credited and no profile told of as new: one participation is one attributes object, and one event where
/// `with_events`.
fn life(seed: u64, on_unknown: OnUnknown) -> Life {
    let rules = Rules {
        created_event: None,
        credit: None,
        ..rules("drop", "acme", on_unknown)
    };
    Life::new(seed, QUICK, 3, vec![rules])
}

fn keys(bad: u64) -> impl Iterator<Item = u64> {
    // Spread over the request: the worst that can be for halving.
    (0..bad).map(move |number| number * PEOPLE / bad)
}

/// A full request waits to be sent; of its jobs so many are poisoned.
async fn waiting(life: &mut Life, bad: u64, told: Told, with_events: bool) {
    let attributes = keys(bad).map(|key| format!("own-{key}")).collect();
    life.world.model().poison = Poison { attributes, told };
    let one = |key| {
        let mut event = rich(event(key, "drop", &format!("p{key}@b.example")));
        if !with_events {
            event.event = None;
        }
        event
    };
    life.accept((0..PEOPLE).map(one).collect()).await;
    let engine = life.start().await;
    engine.hold_lane(&lane(), None);
    life.wait(Duration::from_secs(10)).await;
    assert_eq!(sent(life), 0);
    engine.release_lane(&lane());
}

fn sent(life: &Life) -> usize {
    life.world.model().sent.get(&lane()).map_or(0, Vec::len)
}

/// Who is dead, and that nobody burnt an attempt or died of anything else.
async fn dead(life: &Life) -> BTreeSet<u64> {
    let letters = life.dead().await;
    for letter in &letters {
        let why = (letter.burial.reason, letter.burial.class);
        assert_eq!(why, (Reason::Rejected, Class::Rejected));
        let job = letter.job.as_ref().unwrap();
        assert_eq!((job.attempts, job.failures), (0, 1));
    }
    letters
        .iter()
        .map(|letter| letter.event.key.parse().unwrap())
        .collect()
}

async fn ends_well(life: &Life) {
    assert_eq!(invariants::check(life).await, Vec::<String>::new());
}

#[test]
fn exactly_the_guilty_die_in_few_requests_and_within_seconds() {
    for (bad, told, most) in [
        (1, Told::Whole, 15),
        (1, Told::InPart, 15),
        (2, Told::Whole, 28),
        (3, Told::Whole, 39),
        (3, Told::InPart, 39),
        // Nearly nobody is innocent: halving asks each half for nothing.
        (74, Told::Whole, 180),
        (75, Told::Whole, 180),
    ] {
        on_paused_time(async {
            let mut life = life(bad, OnUnknown::Resend);
            waiting(&mut life, bad, told, false).await;
            life.wait(Duration::from_secs(4)).await;
            assert_eq!(life.counts().events.queued, 0, "{bad} {told:?}");
            assert_eq!(dead(&life).await, keys(bad).collect(), "{bad} {told:?}");
            let requests = sent(&life);
            println!("{bad:>2} of 75 poisoned, {told:?}: {requests} requests");
            assert!(requests <= most, "{bad} {told:?}: {requests}");
            life.kill().await;
            ends_well(&life).await;
        });
    }
}

#[test]
fn whoever_was_innocent_and_healthy_newcomers_are_not_kept_waiting() {
    on_paused_time(async {
        let mut life = life(4, OnUnknown::Resend);
        waiting(&mut life, 3, Told::Whole, false).await;
        let newcomers =
            (100..140).map(|key| rich(event(key, "drop", &format!("p{key}@b.example"))));
        life.accept(newcomers.collect()).await;
        life.wait(Duration::from_secs(3)).await;
        assert_eq!(life.counts().events.done, 72 + 40);
        life.kill().await;
        // Nobody new has ever shared a request with somebody who was refused before.
        let model = life.world.model();
        let guilty = |email: &str| keys(3).any(|key| email == format!("p{key}@b.example"));
        let is_new = |email: &str| email.len() == "p100@b.example".len();
        for write in model.writes.iter().filter(|write| guilty(&write.email)) {
            let with = model.writes.iter().filter(|it| it.request == write.request);
            assert!(with.clone().all(|it| !is_new(&it.email)));
        }
    });
}

#[test]
fn nobody_waits_for_company_that_cannot_come() {
    on_paused_time(async {
        let nothing = Delays {
            latency_min: 0,
            latency: 0,
            appears: 0,
            whole: 0,
        };
        let rules = Rules {
            identity: Identity::Email,
            created_event: None,
            credit: None,
            ..rules("drop", "acme", OnUnknown::Resend)
        };
        let mut life = Life::new(8, nothing, 0, vec![rules]);
        for host in life.settings.workspaces.values_mut() {
            host.braze.limits.clear();
        }
        let linger = life.settings.workspaces["acme"].braze.linger;
        // A backlog: of two objects each 37 fill a request, and the last one alone may linger.
        let one = |key| rich(event(key, "drop", &format!("p{key}@b.example")));
        let engine = life.start().await;
        engine.hold_lane(&lane(), None);
        let backlog = 1000..1000 + 37 * 60 + 1;
        life.accept(backlog.map(one).collect()).await;
        engine.release_lane(&lane());
        let start = life.clock.now();
        while life.counts().events.queued > 1 {
            life.wait(Duration::from_millis(1)).await;
        }
        let took = life.clock.now().since(start);
        assert!(took < linger, "{took:?}");
        life.wait(linger * 2).await;
        assert_eq!((life.counts().events.queued, sent(&life)), (0, 61));
        // Halves wait for nobody either.
        engine.hold_lane(&lane(), None);
        let attributes = keys(3).map(|key| format!("own-{key}")).collect();
        life.world.model().poison = Poison {
            attributes,
            told: Told::Whole,
        };
        let full = (0..PEOPLE).map(one).map(|event| Event {
            event: None,
            ..event
        });
        life.accept(full.collect()).await;
        life.wait(Duration::from_secs(1)).await;
        engine.release_lane(&lane());
        let start = life.clock.now();
        while life.counts().events.queued > 0 {
            life.wait(Duration::from_millis(1)).await;
        }
        let took = life.clock.now().since(start);
        assert!(took < linger, "{took:?}");
        assert_eq!(dead(&life).await, keys(3).collect());
        life.kill().await;
    });
}

#[test]
fn custom_events_are_never_halved_where_they_may_have_been_taken() {
    for on_unknown in ON_UNKNOWN {
        for told in [Told::Whole, Told::Attributes, Told::InPart] {
            on_paused_time(async {
                let mut life = life(5, on_unknown);
                waiting(&mut life, 3, told, true).await;
                life.wait(Duration::from_mins(1)).await;
                life.kill().await;
                assert_eq!(life.counts().events.queued, 0);
                let times = |key: u64| {
                    let model = life.world.model();
                    let name = format!("own-{key}");
                    let tracks = model.taken.iter().filter_map(|it| match &it.call {
                        Call::Track(track) => Some(track),
                        _ => None,
                    });
                    let events = tracks.flat_map(|track| &track.events);
                    events.filter(|it| it.name == name).count()
                };
                let parked = told == Told::InPart && on_unknown == OnUnknown::Park;
                let innocent = |key: &u64| keys(3).all(|bad| bad != *key);
                let counts: BTreeSet<usize> = (0..PEOPLE).filter(innocent).map(times).collect();
                // Two objects each: 38 jobs share a request, and the last goes where nobody is poisoned.
                let expected: &[usize] = match (told, on_unknown) {
                    (Told::Whole | Told::Attributes, _) | (Told::InPart, OnUnknown::Park) => &[1],
                    (Told::InPart, OnUnknown::Resend) => &[1, 2],
                };
                assert!(
                    counts.iter().all(|it| expected.contains(it)),
                    "{told:?} {on_unknown:?}: {counts:?}"
                );
                if parked {
                    let letters = life.dead().await;
                    assert!(
                        letters
                            .iter()
                            .all(|it| it.burial.reason == Reason::UnknownOutcome)
                    );
                } else {
                    assert_eq!(
                        dead(&life).await,
                        keys(3).collect(),
                        "{told:?} {on_unknown:?}"
                    );
                }
                println!(
                    "3 of 75 with events poisoned, {told:?}, {on_unknown:?}: {} requests",
                    sent(&life)
                );
                ends_well(&life).await;
            });
        }
    }
}

#[test]
fn a_crash_at_any_moment_of_the_halving_changes_nobody_s_fate() {
    let mut crashes = 0;
    for after in 1..60 {
        for told in [Told::Whole, Told::Attributes] {
            on_paused_time(async {
                let mut life = life(after, OnUnknown::Resend);
                waiting(&mut life, 3, told, true).await;
                life.lab.plan_crash(Some(after), None);
                if life.wait(Duration::from_secs(20)).await {
                    crashes += 1;
                }
                life.kill().await;
                life.run_empty(LONG).await;
                assert_eq!(dead(&life).await, keys(3).collect(), "{after} {told:?}");
                ends_well(&life).await;
            });
        }
    }
    assert!(crashes > 80, "{crashes}");
}

#[test]
fn one_participant_s_updates_keep_their_order_while_their_request_is_halved() {
    on_paused_time(async {
        let mut life = life(6, OnUnknown::Resend);
        let people = 25;
        let email = |person: u64| format!("p{person}@b.example");
        life.accept(
            (0..people)
                .map(|key| event(key, "drop", &email(key)))
                .collect(),
        )
        .await;
        life.run_empty(LONG).await;
        // Three updates each; of some people the first, of others the second or the third is poisoned.
        let bad: BTreeSet<u64> = [100, 131, 148].into();
        let attributes = bad.iter().map(|key| format!("own-{key}")).collect();
        life.world.model().poison = Poison {
            attributes,
            told: Told::InPart,
        };
        let update = |key: u64| {
            let mut update = rich(event(key, "drop", &email((key - 100) / 3)));
            (update.kind, update.event) = (EventKind::Progress, None);
            update
        };
        life.accept((100..100 + 3 * people).map(update).collect())
            .await;
        life.run_empty(LONG).await;
        assert_eq!(dead(&life).await, bad);
        ends_well(&life).await;
    });
}
