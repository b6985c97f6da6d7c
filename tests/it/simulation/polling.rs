//! What waiting for confirmations costs: a crowd in `double_opt_in`, the real engine with its real packing, paused time.
//!
//! A tenth of the crowd for three days runs with every `cargo test`. All of it, a hundred thousand people for thirty
//! days, takes minutes: `RELAY_FULL=1 cargo test --release --test it -- simulation::polling --nocapture`. Both print what
//! was measured; the figures in README come from there.

mod measured;
mod shelf;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use braze_relay::client::{Client, Heard};
use braze_relay::clock::Clock;
use braze_relay::config::Limit;
use braze_relay::engine::{Engine, EngineSettings, HostSettings, WorkspaceSettings};
use braze_relay::flow;
use braze_relay::flow::job::{Outcome, Seed};
use braze_relay::model::call::{Call, Failure, Reply, Subscription};
use braze_relay::model::event::Event;
use braze_relay::model::lane::{Lane, LaneKind};
use braze_relay::model::rules::{
    ConfiguredEvent, ConfirmEvery, CreditRule, Identity, OnUnknown, OptIn, ParticipationFlow,
    PhoneMismatch, PhoneRules, RuleBook, Rules, SubscribeBy,
};
use braze_relay::model::time::Timestamp;
use braze_relay::store::Store;

use super::campaign::{METRICS, START, event};
use super::lab::Lab;
use super::on_paused_time;
use crate::support::full;
use measured::{Cost, Measured};
use shelf::Shelf;

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
/// What Braze gives a workspace for this and the like, an hour.
const BUDGET: u64 = 250_000;
/// The first wait, and the longest.
const FIRST: Duration = Duration::from_secs(30);
const MAX: Duration = HOUR;
/// Phones in one status request.
const PHONES_MAX: usize = 50;

/// Who comes, when, and how they are looked for.
#[derive(Clone, Copy, Debug)]
struct Crowd {
    people: u64,
    /// They come spread evenly over this.
    arriving: Duration,
    identity: Identity,
    /// How many of ten confirm, sooner or later.
    confirming: f64,
    watched: Duration,
}

#[derive(Default)]
struct Model {
    /// When each phone's owner was asked to confirm, and when she does, if ever.
    prompted: BTreeMap<String, (Timestamp, Option<Timestamp>)>,
    /// Requests for those who were asked, by the minute.
    polls: BTreeMap<u64, Cost>,
    /// Requests before anybody was asked, by the minute.
    checks: BTreeMap<u64, Cost>,
    /// How late each confirmation was noticed, and how long after she was asked she had confirmed.
    late: Vec<(Duration, Duration)>,
}

/// A Braze where everybody who was asked confirms after a while, or never.
#[derive(Clone)]
struct Braze {
    clock: Clock,
    dice: Lab,
    confirming: f64,
    model: Arc<Mutex<Model>>,
}

impl Braze {
    /// How long somebody takes to confirm, if she does: half within some minutes, and the last take days.
    fn confirms_after(&self) -> Option<Duration> {
        const LEAST_SECONDS: f64 = 15.0;
        const MOST_SECONDS: f64 = 10.0 * 86_400.0;
        if !self.dice.chance(self.confirming / 10.0) {
            return None;
        }
        let part = (self.dice.below(1_000_000) as f64 / 1e6).powi(2);
        let seconds = LEAST_SECONDS * (MOST_SECONDS / LEAST_SECONDS).powf(part);
        Some(Duration::from_secs_f64(seconds))
    }

    fn read(&self, phone: &str, now: Timestamp) -> Subscription {
        let mut model = self.model.lock().unwrap();
        match model.prompted.get(phone).copied() {
            None => Subscription::Unknown,
            Some((asked, Some(confirmed))) if confirmed <= now => {
                model
                    .late
                    .push((now.since(confirmed), confirmed.since(asked)));
                model.prompted.remove(phone);
                Subscription::Subscribed
            }
            Some(_) => Subscription::Unsubscribed,
        }
    }

    /// A request that asks for `calls` phones.
    fn count(&self, calls: &[Call], now: Timestamp) {
        let mut model = self.model.lock().unwrap();
        let minute = now.since(START).as_secs() / 60;
        let asked = calls.iter().filter(|call| match call {
            Call::ReadStatus { phone, .. } => model.prompted.contains_key(phone),
            _ => false,
        });
        // The lane's requests mix both kinds; each costs its part.
        let asked = asked.count() as u64;
        let kind = if asked > 0 {
            &mut model.polls
        } else {
            &mut model.checks
        };
        let cost = kind.entry(minute).or_default();
        cost.requests += 1;
        cost.calls += calls.len() as u64;
    }
}

impl Client for Braze {
    async fn perform(&self, lane: &Lane, calls: Vec<Call>) -> Heard {
        self.clock.sleep(Duration::from_millis(60)).await;
        let now = self.clock.now();
        if lane.kind == LaneKind::Default {
            assert!(calls.len() <= PHONES_MAX);
            self.count(&calls, now);
        }
        let answer = |call: Call| -> Result<Reply, Failure> {
            Ok(match call {
                Call::LookUp { .. } => Reply::Profiles(Vec::new()),
                Call::Track(track) => {
                    let phone = track.attributes["phone"].as_str().unwrap().to_owned();
                    let confirms = self.confirms_after().map(|after| now + after);
                    let mut model = self.model.lock().unwrap();
                    model.prompted.insert(phone, (now, confirms));
                    Reply::Tracked
                }
                Call::ReadStatus { phone, .. } => Reply::Status(self.read(&phone, now)),
                Call::SetStatus(_) => Reply::StatusSet,
                Call::Credit(_) => Reply::Credited,
                Call::Recall => Reply::Remembered(None),
                Call::Delete(_) => Reply::Deleted,
            })
        };
        Heard::silent(calls.into_iter().map(answer).collect())
    }

    fn objects_max(&self, lane: &Lane) -> usize {
        match lane.kind {
            LaneKind::UsersTrack => 75,
            LaneKind::Default | LaneKind::SubscriptionStatusSet => PHONES_MAX,
            LaneKind::UsersExportIds
            | LaneKind::UsersDelete
            | LaneKind::Quikly
            | LaneKind::Held => 1,
        }
    }
}

/// An activation as README shows it, with a group of its own.
fn activation(scope: &str, identity: Identity) -> Rules {
    Rules {
        flow: Some(ParticipationFlow::DoubleOptIn),
        identity,
        phone: Some(PhoneRules {
            group: format!("group-{scope}"),
            subscribe: SubscribeBy::Delayed,
            delay: Duration::from_secs(120),
            mismatch: PhoneMismatch::Replace,
            confirm: ConfirmEvery {
                first: FIRST,
                max: MAX,
                within: DAY * 30,
            },
            opt_in: Some(OptIn::Event(ConfiguredEvent {
                name: "opt-in".into(),
                on_unknown: OnUnknown::Resend,
            })),
        }),
        credit: Some(CreditRule {
            event: "confirmed".into(),
            on_unknown: OnUnknown::Resend,
        }),
        ..Rules::plain(scope, "acme")
    }
}

/// Braze's limits as they are documented.
fn settings() -> EngineSettings {
    let host = |limits: &[(LaneKind, u32, u64)], max_in_flight, linger| HostSettings {
        limits: limits
            .iter()
            .map(|(kind, requests, seconds)| {
                let window = Duration::from_secs(*seconds);
                let requests = *requests;
                (*kind, vec![Limit { requests, window }])
            })
            .collect(),
        share: 1.0,
        max_in_flight,
        linger: Duration::from_millis(linger),
    };
    let braze = [
        (LaneKind::UsersTrack, 3000, 3),
        (LaneKind::UsersExportIds, 40, 1),
        (LaneKind::Default, 250_000, 3600),
    ];
    let acme = WorkspaceSettings {
        braze: host(&braze, 64, 20),
        quikly: Some(host(&[(LaneKind::Quikly, 100, 1)], 16, 0)),
    };
    EngineSettings {
        workspaces: [("acme".into(), acme)].into(),
        stop_within: Duration::from_secs(10),
        hold_after: u32::MAX,
    }
}

fn participation(number: u64, scope: &str, now: Timestamp) -> Event {
    Event {
        phone: Some(format!("+1555{number:07}")),
        sms_consent: true,
        at: now,
        accepted_at: now,
        ..event(number, scope, &format!("p{number}@b.example"))
    }
}

async fn measure(crowd: Crowd) -> Measured {
    let clock = Clock::starting_at(START, 1.0);
    let model = Arc::<Mutex<Model>>::default();
    let braze = Braze {
        clock: clock.clone(),
        dice: Lab::new(crowd.people),
        confirming: crowd.confirming,
        model: model.clone(),
    };
    let book = RuleBook::new([
        activation("vip", crowd.identity),
        activation("club", crowd.identity),
    ]);
    let store = Shelf::default();
    let settings = settings();
    let engine = Engine::new(
        store.clone(),
        braze,
        clock.clone(),
        METRICS.clone(),
        &settings,
        Arc::new(book.clone()),
        1,
    );
    let engine = engine.await.unwrap();
    let arriving = async {
        let dice = Lab::new(!crowd.people);
        for number in 0..crowd.people {
            let at = crowd.arriving.mul_f64(number as f64 / crowd.people as f64);
            clock.sleep_until(START + at).await;
            let now = clock.now();
            let scope = if dice.chance(0.7) { "vip" } else { "club" };
            let event = participation(number, scope, now);
            let (start, further) = flow::start(&event, &book, now);
            let seed = Seed {
                event,
                start,
                further,
            };
            store.append(vec![seed], now).await.unwrap();
        }
        clock.sleep_until(START + crowd.watched).await;
    };
    engine.run(arriving).await.unwrap();
    let model = std::mem::take(&mut *model.lock().unwrap());
    Measured {
        polls: model.polls,
        checks: model.checks,
        late: model.late,
        ends: store.ends().0,
        living: store.living(),
    }
}

/// A crowd, or a tenth of it for three days, against a tenth of the budget.
fn costs_little(arriving: Duration, identity: Identity, confirming: f64) {
    let (people, watched) = if full() {
        (100_000, DAY * 31)
    } else {
        (10_000, DAY * 3)
    };
    let crowd = Crowd {
        people,
        arriving,
        identity,
        confirming,
        watched,
    };
    let measured = on_paused_time(measure(crowd));
    measured.print(crowd);
    let fifth = BUDGET / 5 * people / 100_000;
    let worst = measured.worst();
    assert!(worst < fifth, "{worst} of {fifth} requests in an hour");

    // Nobody is forgotten, and nobody is noticed later than the schedule promises: a quarter of what it took, and an
    // eighth of that for the grid.
    let subscribed = measured.ends.get(&Outcome::Subscribed).copied();
    assert_eq!(subscribed.unwrap_or(0), measured.late.len() as u64);
    let ended = subscribed.unwrap_or(0) + measured.ends.get(&Outcome::NotConfirmed).unwrap_or(&0);
    assert_eq!(ended + measured.living as u64, people);
    assert!(!full() || measured.living == 0, "somebody still waits");
    let answered = Duration::from_secs(2);
    for (late, took) in measured.late {
        let wait = (took / 4).clamp(FIRST, MAX);
        assert!(
            late <= wait + wait / 8 + answered,
            "{late:?} late after {took:?}"
        );
    }
}

#[test]
fn a_crowd_that_comes_at_once_is_polled_for_a_fifth_of_the_budget() {
    costs_little(Duration::from_mins(5), Identity::Email, 6.0);
}

#[test]
fn a_crowd_that_comes_at_once_and_never_confirms_is_polled_for_a_fifth_of_the_budget() {
    costs_little(Duration::from_mins(5), Identity::Email, 0.0);
}

#[test]
fn a_crowd_that_comes_over_a_day_is_polled_for_a_fifth_of_the_budget() {
    costs_little(DAY, Identity::Export, 6.0);
}
