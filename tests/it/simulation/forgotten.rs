//! People who are forgotten in the middle of everything, and removed from Braze: nothing more is asked for them, nothing of
//! them is left, and everybody else is served as if nothing had happened.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use braze_relay::flow::job::{Flow, Outcome, Reason};
use braze_relay::model::Name;
use braze_relay::model::event::{Event, EventKind, Source};
use braze_relay::model::lane::{Lane, LaneKind};
use braze_relay::model::rules::{OnUnknown, RetryPolicy, RuleBook, Rules};
use braze_relay::model::time::Timestamp;
use braze_relay::store::{Held, Named, Operate, Person as Whom, Standing};

use super::campaign::{LONG, Life, START, event, rich, rules};
use super::lab::{CLASSES, Coverage, Lab, PLACES, saw_all};
use super::world::{Delays, Person, Weather};
use super::{invariants, number, on_paused_time, rows};

const ADA: &str = "ada@b.example";

fn book(retry: RetryPolicy) -> RuleBook {
    let all = [
        ("resend", "acme", OnUnknown::Resend),
        ("park", "acme", OnUnknown::Park),
        ("other", "beta", OnUnknown::Resend),
    ];
    let all = all.map(|(scope, workspace, on_unknown)| Rules {
        retry,
        ..rules(scope, workspace, on_unknown)
    });
    let workspaces = ["acme", "beta"].map(Name::from);
    RuleBook::new(all).erasing(&workspaces, retry)
}

fn erasure(key: &str, email: &str) -> Event {
    Event {
        source: Source::Operator,
        kind: EventKind::Erasure,
        key: key.into(),
        email_given: None,
        trace: None,
        ..event(0, "acme", email)
    }
}

fn whom(life: &Life, email: &str) -> Whom {
    Whom {
        participant: life.store.participant_hash(email),
        workspace: None,
        named: Named::Email,
    }
}

/// Who is gone: how many requests there had been by then, and when that was.
type Gone = BTreeMap<String, (usize, Timestamp)>;

/// Forgets somebody: what of theirs was queued or dead is promised no more.
async fn forget(life: &mut Life, email: &str, gone: &mut Gone) {
    let all = life.accepted.iter().chain(&life.erasures);
    let theirs: Vec<_> = all
        .filter(|(_, event)| event.email == email)
        .map(|(id, event)| (*id, event.kind == EventKind::Erasure))
        .collect();
    let mut open = Vec::new();
    for (id, erases) in theirs {
        match life.store.standing(id).await.unwrap() {
            Standing::Dead => open.push(id),
            // A removal that runs is left alone.
            Standing::Queued if !erases => open.push(id),
            Standing::Queued | Standing::Ended => {}
        }
    }
    let now = life.clock.now();
    let slice = life
        .store
        .forget(whom(life, email), None, now)
        .await
        .unwrap();
    if slice.held.events != open.len() as u64 {
        life.lab
            .violated(format!("{:?} for {} events", slice.held, open.len()));
    }
    for id in open {
        let event = life.accepted.remove(&id);
        let event = event.or_else(|| life.erasures.remove(&id));
        life.forgotten.extend(event.map(|event| (id, event)));
    }
    life.lab
        .cover(format!("forgotten with {} lent", slice.held.lent.min(2)));
    let asked = life.world.model().asked.len();
    gone.insert(email.to_owned(), (asked, now));
}

/// Nobody asks for who is gone, but for what was on its way. `slowness`: how long a mark takes before its request leaves.
fn asks_no_more(life: &Life, email: &str, (from, at): (usize, Timestamp), slowness: u64) {
    for asked in &life.world.model().asked[from..] {
        let way = if asked.marked { slowness } else { 0 };
        if asked.email == email && asked.at > at + Duration::from_millis(way) && !asked.erases {
            life.lab.violated(format!(
                "asked at {:?} for who was forgotten at {at:?}, in {}",
                asked.at, asked.lane
            ));
        }
    }
}

async fn nothing_is_left(life: &Life, email: &str) {
    let now = life.clock.now();
    let held = life
        .store
        .held(whom(life, email), None, now)
        .await
        .unwrap()
        .held;
    if held != Held::default() {
        life.lab.violated(format!("{held:?} is left"));
    }
}

fn storm(dice: &Lab) -> Weather {
    let some = |most| dice.some(most);
    Weather {
        until: START + Duration::from_millis(some(1_800_000) as u64 * 1000),
        transient: some(200),
        unknown_lost: some(100),
        unknown_applied: some(100),
        throttled: some(150),
        told: dice.chance(0.5),
        denied: some(60),
        apart: some(150),
        rejected: some(60),
        panics: false,
    }
}

async fn live(seed: u64) -> Life {
    let dice = Lab::new(seed ^ 0xf09e_7000);
    let delays = Delays {
        latency_min: 0,
        latency: [0, 20, 500][dice.below(3) as usize],
        appears: [0, 100, 5_000][dice.below(3) as usize],
        whole: [0, 0, 3_000][dice.below(3) as usize],
    };
    let slowness = [0, 3, 30][dice.below(3) as usize];
    let retry = RetryPolicy {
        first: Duration::from_millis(500),
        max: Duration::from_secs(5),
        max_attempts: [0, 3][dice.below(2) as usize],
        max_age: Duration::from_mins(10),
    };
    let mut life = Life::new(seed, delays, slowness, Vec::new());
    life.book = Arc::new(book(retry));
    life.world.model().weather = storm(&dice);
    let people: Vec<String> = (0..6)
        .map(|number| format!("p{number}@b.example"))
        .collect();
    for email in people.iter().filter(|_| dice.chance(0.3)) {
        let email = email.clone();
        let known = Person {
            email,
            ..Person::default()
        };
        life.world.add_known("acme", known);
    }
    let mut gone = Gone::new();
    let mut back: BTreeSet<String> = BTreeSet::new();
    let mut all: Vec<Event> = Vec::new();
    let mut key = 0;
    for _ in 0..3 {
        if dice.chance(0.6) {
            let place = PLACES.get(dice.below(10) as usize).copied();
            life.lab.plan_crash(Some(1 + dice.below(20)), place);
        }
        life.start().await;
        for _ in 0..2 + dice.below(5) {
            let mut chunk = Vec::new();
            for _ in 0..=dice.below(8) {
                key += 1;
                let email = &people[dice.below(6) as usize];
                if !all.is_empty() && dice.chance(0.2) {
                    // Once more, also of those who are gone.
                    chunk.push(all[dice.below(all.len() as u64) as usize].clone());
                    continue;
                }
                if gone.contains_key(email) {
                    continue;
                }
                let scope = ["resend", "park", "other"][dice.below(3) as usize];
                let mut new = event(key, scope, email);
                if dice.chance(0.5) {
                    new.kind = EventKind::Progress;
                }
                chunk.push(rich(new));
            }
            all.extend(chunk.iter().cloned());
            life.accept(chunk).await;
            let _died = life.wait(Duration::from_millis(dice.below(600))).await;
            if dice.chance(0.5) {
                let email = people[dice.below(6) as usize].clone();
                if let Some(then) = gone.remove(&email) {
                    asks_no_more(&life, &email, then, slowness);
                }
                forget(&mut life, &email, &mut gone).await;
                if dice.chance(0.5) && !back.contains(&email) {
                    remove(&mut life, &format!("{seed}/{key}"), &email).await;
                }
            }
            // Some come back, unless they are being removed; from then on there may be requests for them again.
            let may_return = |email: &&String| !life.removed.contains(*email) && dice.chance(0.1);
            if let Some(email) = gone.keys().find(may_return).cloned()
                && let Some(then) = gone.remove(&email)
            {
                asks_no_more(&life, &email, then, slowness);
                key += 1;
                let new = Event {
                    kind: EventKind::Progress,
                    ..rich(event(key, "resend", &email))
                };
                life.accept(vec![new]).await;
                back.insert(email);
            }
        }
        life.kill().await;
    }
    if dice.chance(0.7) {
        // Mostly removals are under way by now.
        let place = [
            "after_lease",
            "sent",
            "arrived",
            "before_commit",
            "after_commit",
        ];
        let place = place[dice.below(5) as usize];
        life.lab.plan_crash(Some(1 + dice.below(6)), Some(place));
    }
    life.run_empty(LONG).await;
    // Whatever died of the weather lives again in fair weather.
    life.world.model().weather = Weather::default();
    life.book = Arc::new(book(RetryPolicy::default()));
    let dead = life.dead().await;
    let dead: Vec<_> = dead
        .iter()
        .map(|letter| letter.event.email.clone())
        .collect();
    life.replay().await;
    life.run_empty(LONG).await;
    for (email, then) in gone {
        if !dead.contains(&email) {
            asks_no_more(&life, &email, then, slowness);
        }
        nothing_is_left(&life, &email).await;
        let erased = life.erasures.values().any(|it| it.email == email);
        let model = life.world.model();
        let mut there = model.people.get("acme").into_iter().flatten();
        if erased && !back.contains(&email) && there.any(|it| it.email == email) {
            life.lab
                .violated("somebody was removed and is there".into());
        }
    }
    life
}

/// Asks for a removal, as the operators' side does it.
async fn remove(life: &mut Life, key: &str, email: &str) {
    let asked = erasure(key, email);
    let before = life.accepted.len();
    life.accept(vec![asked.clone()]).await;
    assert_eq!(life.accepted.len(), before + 1);
    let id = *life.accepted.last_key_value().unwrap().0;
    life.accepted.remove(&id);
    life.erasures.insert(id, asked);
    life.removed.insert(email.to_owned());
}

fn required() -> Vec<String> {
    let mut all = Vec::new();
    for step in ["erase/look_up", "erase/delete"] {
        for class in CLASSES {
            all.push(format!("{step} × {class}"));
        }
        for place in [
            "after_lease",
            "sent",
            "arrived",
            "before_commit",
            "after_commit",
        ] {
            all.push(format!("crash {place} × {step}"));
        }
    }
    for end in [
        "outcome erased",
        "outcome nothing_to_erase",
        "forgotten with 0 lent",
        "forgotten with 1 lent",
        "forgotten with 2 lent",
    ] {
        all.push(end.to_owned());
    }
    all
}

#[test]
fn whoever_is_forgotten_at_any_moment_is_asked_for_no_more_and_leaves_nothing() {
    let seeds = match number("RELAY_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("RELAY_SIM_SEEDS").unwrap_or(4000) / 2,
    };
    let lives = seeds.end - seeds.start;
    let mut coverage = Coverage::new();
    for seed in seeds {
        let (seen, wrong) = on_paused_time(async {
            let life = live(seed).await;
            let wrong = invariants::check(&life).await;
            let seen = std::mem::take(&mut life.lab.state().coverage);
            (seen, wrong)
        });
        assert!(wrong.is_empty(), "seed {seed}: {wrong:#?}");
        for (what, count) in seen {
            *coverage.entry(what).or_default() += count;
        }
    }
    saw_all(&coverage, &required(), lives);
}

/// A removal in a world that is changed at certain minutes; until it has ended.
async fn removed(coverage: &mut Coverage, mut change: impl FnMut(&Life, u64)) -> Life {
    let quick = Delays {
        latency_min: 20,
        latency: 80,
        appears: 100,
        whole: 0,
    };
    let mut life = Life::new(5, quick, 3, Vec::new());
    let retry = RetryPolicy {
        max: Duration::from_mins(1),
        ..RetryPolicy::default()
    };
    life.book = Arc::new(book(retry));
    change(&life, 0);
    remove(&mut life, "1", ADA).await;
    life.start().await;
    for minute in 1..200 {
        life.wait(Duration::from_mins(1)).await;
        change(&life, minute);
    }
    life.kill().await;
    for (what, count) in std::mem::take(&mut life.lab.state().coverage) {
        *coverage.entry(what).or_default() += count;
    }
    assert_eq!(life.lab.state().violations, [""; 0]);
    life
}

fn there(life: &Life, shown: Option<&str>) {
    life.world.add_known(
        "acme",
        Person {
            email: ADA.into(),
            shown_email: shown.map(Into::into),
            ..Person::default()
        },
    );
}

fn nobody(life: &Life) {
    life.world.model().people.clear();
}

fn deletions(life: &Life) -> usize {
    let lane = Lane::new(&"acme".into(), LaneKind::UsersDelete);
    life.world.model().sent.get(&lane).map_or(0, Vec::len)
}

fn ended(life: &Life, outcome: Outcome) {
    let done = life.counts().done;
    let of = done
        .iter()
        .find(|((group, _), _)| group.flow == Some(Flow::Erase));
    assert_eq!(of.map(|((_, it), count)| (*it, *count)), Some((outcome, 1)));
    let people = life.world.model().people.get("acme").cloned();
    assert!(people.is_none_or(|people| people.is_empty()));
}

/// Every way that a removal may go, each in a world of its own.
#[test]
fn a_removal_ends_when_nobody_is_found_after_a_wait_and_dies_where_somebody_always_is() {
    const STRANGER: Option<&str> = Some("bo@b.example");
    on_paused_time(async {
        let mut seen = Coverage::new();
        let there_from = |from: u64, shown| {
            move |life: &Life, minute| {
                if minute == from {
                    there(life, shown);
                }
            }
        };
        let life = removed(&mut seen, there_from(0, None)).await;
        ended(&life, Outcome::Erased);
        assert_eq!(deletions(&life), 1);
        let life = removed(&mut seen, |_, _| ()).await;
        ended(&life, Outcome::NothingToErase);
        // It was written a moment before, and showed only now.
        let life = removed(&mut seen, there_from(3, None)).await;
        ended(&life, Outcome::Erased);
        // Several at once go at once.
        let life = removed(&mut seen, |life, minute| {
            if minute == 0 {
                (0..4).for_each(|_| there(life, None));
            }
        })
        .await;
        ended(&life, Outcome::Erased);
        assert_eq!(deletions(&life), 1);
        // Somebody makes the profile again each time, eleven times or for ever.
        let again = |times: usize| {
            move |life: &Life, _| {
                let people = life.world.model().people.get("acme").cloned();
                if people.is_none_or(|it| it.is_empty()) && deletions(life) < times {
                    there(life, None);
                }
            }
        };
        let life = removed(&mut seen, again(12)).await;
        ended(&life, Outcome::Erased);
        assert_eq!(deletions(&life), 12);
        let mut life = removed(&mut seen, again(usize::MAX)).await;
        let dead = life.dead().await;
        assert_eq!(dead[0].burial.reason, Reason::GaveUp);
        assert_eq!(deletions(&life), 12);
        life.replay().await;
        life.run_empty(LONG).await;
        ended(&life, Outcome::Erased);
        // Whoever is shown with another e-mail is left alone, at any moment.
        for (from, until) in [(0, 7), (1, 30)] {
            let life = removed(&mut seen, move |life, minute| {
                if minute == from {
                    there(life, STRANGER);
                }
                if minute == until {
                    nobody(life);
                }
            })
            .await;
            ended(&life, Outcome::NothingToErase);
            assert_eq!(deletions(&life), 0);
        }
        for times in [1, 12] {
            let life = removed(&mut seen, move |life, minute| {
                again(times)(life, minute);
                if deletions(life) == times
                    && minute < 150
                    && life.world.model().people["acme"].is_empty()
                {
                    there(life, STRANGER);
                }
                if minute == 150 && times == 1 {
                    nobody(life);
                }
            })
            .await;
            if times == 1 {
                ended(&life, Outcome::Erased);
            } else {
                assert_eq!(life.dead().await[0].burial.reason, Reason::GaveUp);
            }
        }
        let missing: Vec<_> = rows::of_flows(&["erase"])
            .into_iter()
            .filter(|row| !seen.contains_key(&format!("row {row}")))
            .collect();
        assert!(missing.is_empty(), "never happened: {missing:#?}");
    });
}

/// A host that is down, or that never allows it, for longer than any removal may take.
#[test]
fn a_removal_that_is_refused_waits_loudly_and_one_whose_host_is_down_dies() {
    on_paused_time(async {
        let mut seen = Coverage::new();
        let weather = |weather: Weather| {
            move |life: &Life, minute| {
                if minute == 0 {
                    there(life, None);
                    let lane = Lane::new(&"acme".into(), LaneKind::UsersDelete);
                    let until = Timestamp::from_millis(u64::MAX);
                    let weather = Weather { until, ..weather };
                    life.world.model().exceptions.insert(lane, weather);
                }
            }
        };
        let denied = Weather {
            denied: 1.0,
            ..Weather::default()
        };
        let mut life = removed(&mut seen, weather(denied)).await;
        assert_eq!(life.counts().events.queued, 1);
        life.world.model().exceptions.clear();
        life.run_empty(LONG).await;
        ended(&life, Outcome::Erased);
        let down = Weather {
            transient: 1.0,
            ..Weather::default()
        };
        let mut life = removed(&mut seen, weather(down)).await;
        life.start().await;
        life.wait(Duration::from_hours(80)).await;
        life.kill().await;
        assert_eq!(life.dead().await[0].burial.reason, Reason::GaveUp);
        // The letter is of the person, and goes with them.
        let held = life
            .store
            .forget(whom(&life, ADA), None, life.clock.now())
            .await;
        assert_eq!(held.unwrap().held.dead, 1);
        assert!(life.dead().await.is_empty());
    });
}
