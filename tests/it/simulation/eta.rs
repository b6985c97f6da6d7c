//! How long the rest takes, as it is told in the middle of a campaign, against how long it took.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use braze_relay::client::{Answers, Client, Heard};
use braze_relay::clock::Clock;
use braze_relay::config::Limit;
use braze_relay::engine::eta::{Eta, Etas, etas};
use braze_relay::engine::{Desk, Engine, EngineSettings, HostSettings, WorkspaceSettings};
use braze_relay::flow;
use braze_relay::flow::job::Seed;
use braze_relay::model::budget::{Reset, Told, Word};
use braze_relay::model::call::{Answer, Call, Failure, Reply};
use braze_relay::model::event::{Event, EventKind, Source};
use braze_relay::model::json::Object;
use braze_relay::model::lane::{Lane, LaneKind};
use braze_relay::model::rules::{
    CreditRule, Identity, OnUnknown, ParticipationFlow, RuleBook, Rules,
};
use braze_relay::model::time::Timestamp;
use braze_relay::store::map::MapStore;
use braze_relay::store::{Counts, Settings, Store};

use super::campaign::{METRICS, START, event, rich};
use super::on_paused_time;

/// Requests a second of the lanes that may be the narrowest.
const LOOK_UPS: u32 = 40;
const TRACKS: u32 = 4;
const CREDITS: u32 = 50;

const TENTH: f64 = 0.1;

/// What the outside does to one lane.
#[derive(Clone, Copy, Debug)]
enum Crowd {
    /// Nobody else is there, and nothing is said.
    Nobody,
    /// Others take this part of each second, evenly, and the rate headers say so.
    Told(f64),
    /// The same, and nothing is said but 429.
    Untold(f64),
}

/// Takes everything, within a limit that somebody else may use as well.
#[derive(Clone)]
struct Outside {
    clock: Clock,
    crowded: LaneKind,
    limit: u32,
    crowd: Crowd,
    /// Ours in this second, and which it is.
    taken: Arc<Mutex<(u64, u32)>>,
    /// So many of two requests fail, and how many there were.
    failing: Arc<AtomicU32>,
    requests: Arc<AtomicU32>,
}

impl Outside {
    /// Takes one request. Answers whether it did, and what it says.
    fn take(&self, now: Timestamp) -> (bool, Told) {
        let (part, speaks) = match self.crowd {
            Crowd::Nobody => return (true, Told::Nothing),
            Crowd::Told(part) => (part, true),
            Crowd::Untold(part) => (part, false),
        };
        let second = now.as_millis() / 1000;
        let into = (now.as_millis() % 1000) as f64 / 1000.0;
        let theirs = (f64::from(self.limit) * part * into) as u32;
        let mut taken = self.taken.lock().unwrap();
        if taken.0 != second {
            *taken = (second, 0);
        }
        let takes = taken.1 + theirs < self.limit;
        taken.1 += u32::from(takes);
        let word = Word {
            limit: self.limit,
            remaining: self.limit.saturating_sub(taken.1 + theirs),
            reset: Reset::At(Timestamp::from_millis((second + 1) * 1000)),
        };
        (
            takes,
            if speaks {
                Told::Word(word)
            } else {
                Told::Nothing
            },
        )
    }
}

fn reply(call: &Call) -> Reply {
    match call {
        Call::LookUp { .. } => Reply::Profiles(Vec::new()),
        Call::Track(_) => Reply::Tracked,
        Call::Credit(_) => Reply::Credited,
        Call::Recall | Call::ReadStatus { .. } | Call::SetStatus(_) | Call::Delete(_) => {
            panic!("nobody asks this")
        }
    }
}

impl Client for Outside {
    async fn perform(&self, lane: &Lane, calls: Vec<Call>) -> Heard {
        self.clock.sleep(Duration::from_millis(20)).await;
        let now = self.clock.now();
        let (takes, told) = if lane.kind == self.crowded {
            self.take(now)
        } else {
            (true, Told::Nothing)
        };
        self.clock.sleep(Duration::from_millis(20)).await;
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let fails = number % 2 < self.failing.load(Ordering::Relaxed);
        if lane.kind == self.crowded && fails {
            let failed = |_: &Call| Err(Failure::Transient(Answer::default()));
            return Heard::silent(calls.iter().map(failed).collect());
        }
        let refused = || Failure::Throttled {
            until: None,
            answer: Answer::default(),
        };
        let answers: Answers = calls
            .iter()
            .map(|call| takes.then(|| reply(call)).ok_or_else(refused))
            .collect();
        Heard {
            told,
            ..Heard::silent(answers)
        }
    }

    fn objects_max(&self, lane: &Lane) -> usize {
        match lane.kind {
            LaneKind::UsersTrack => 75,
            _ => 1,
        }
    }
}

fn host(limits: &[(LaneKind, u32)]) -> HostSettings {
    let window = Duration::from_secs(1);
    let limit = |requests| vec![Limit { requests, window }];
    HostSettings {
        limits: limits
            .iter()
            .map(|(kind, requests)| (*kind, limit(*requests)))
            .collect(),
        share: 1.0,
        max_in_flight: 16,
        linger: Duration::from_millis(20),
    }
}

fn settings() -> EngineSettings {
    let workspace = WorkspaceSettings {
        braze: host(&[
            (LaneKind::UsersExportIds, LOOK_UPS),
            (LaneKind::UsersTrack, TRACKS),
        ]),
        quikly: Some(host(&[(LaneKind::Quikly, CREDITS)])),
    };
    EngineSettings {
        workspaces: BTreeMap::from([("acme".into(), workspace)]),
        stop_within: Duration::from_secs(1),
        hold_after: 50,
    }
}

fn rules(identity: Identity, credited: bool) -> Rules {
    let mut marks = Object::new();
    marks.insert("joined".into(), true.into());
    Rules {
        flow: Some(ParticipationFlow::Email),
        identity,
        mark_attributes: marks,
        credit: credited.then(|| CreditRule {
            event: "joined".into(),
            on_unknown: OnUnknown::Resend,
        }),
        ..Rules::plain("drop", "acme")
    }
}

/// A campaign that has just been accepted, and an engine at work on it.
struct Campaign {
    clock: Clock,
    store: MapStore,
    engine: Engine<MapStore, Outside>,
    book: Arc<RuleBook>,
    failing: Arc<AtomicU32>,
}

impl Campaign {
    /// Another activation, `other`, goes by the same rules.
    async fn begin(rules: Rules, crowded: LaneKind, crowd: Crowd, events: Vec<Event>) -> Campaign {
        let clock = Clock::starting_at(START, 1.0);
        let store = MapStore::new(Settings::default());
        let other = Rules {
            scope: "other".into(),
            ..rules.clone()
        };
        let book = Arc::new(RuleBook::new([rules, other]));
        let settings = settings();
        let limit = match crowded {
            LaneKind::UsersTrack => TRACKS,
            LaneKind::Quikly => CREDITS,
            _ => LOOK_UPS,
        };
        let outside = Outside {
            clock: clock.clone(),
            crowded,
            limit,
            crowd,
            taken: Arc::default(),
            failing: Arc::default(),
            requests: Arc::default(),
        };
        let failing = outside.failing.clone();
        let (metrics, rules) = (METRICS.clone(), book.clone());
        let engine = Engine::new(
            store.clone(),
            outside,
            clock.clone(),
            metrics,
            &settings,
            rules,
            7,
        );
        let engine = engine.await.unwrap();
        let running = engine.clone();
        tokio::spawn(async move { running.run(std::future::pending()).await });
        let campaign = Campaign {
            clock,
            store,
            engine,
            book,
            failing,
        };
        campaign.accept(events).await;
        campaign
    }

    async fn accept(&self, events: Vec<Event>) {
        let now = self.clock.now();
        let seeds = events.into_iter().map(|event| {
            let (start, further) = flow::start(&event, &self.book, now);
            Seed {
                event,
                start,
                further,
            }
        });
        self.store.append(seeds.collect(), now).await.unwrap();
    }

    async fn counts(&self) -> Counts {
        self.store.counts(self.clock.now()).await.unwrap()
    }

    async fn told(&self) -> Etas {
        let (due, now) = (self.counts().await.due, self.clock.now());
        let (lanes, held) = (self.engine.lanes(), self.engine.held_activations());
        etas(&due, &lanes, &held, &self.book, now)
    }

    /// Of the lane, and of the activation.
    async fn pair(&self, kind: LaneKind) -> (Eta, Eta) {
        let told = self.told().await;
        let lane = told.lanes[&Lane::new(&"acme".into(), kind)];
        (lane, told.activations[&("acme".into(), "drop".into())].eta)
    }

    /// Works to the end, and asks every few seconds on the way. What was told when, and when lane and activation ended.
    async fn to_its_end(&self, kind: LaneKind) -> Vec<(f64, &'static str, f64, f64)> {
        let seconds = || self.clock.now().since(START).as_secs_f64();
        let lane = Lane::new(&"acme".into(), kind);
        let (mut told, mut lane_ended) = (Vec::new(), None);
        for half in 0.. {
            self.clock.sleep(Duration::from_millis(500)).await;
            let counts = self.counts().await;
            if counts.lanes[&lane].depth == 0 && lane_ended.is_none() {
                lane_ended = Some(seconds());
            }
            if counts.events.queued == 0 {
                break;
            }
            if half % 10 == 0 {
                let (lane, all) = self.pair(kind).await;
                told.push((seconds(), "lane", lane.seconds().unwrap()));
                told.push((seconds(), "activation", all.seconds().unwrap()));
            }
        }
        let (lane_ended, all_ended) = (lane_ended.unwrap(), seconds());
        let took = |(at, whose, said)| {
            let ended = if whose == "lane" {
                lane_ended
            } else {
                all_ended
            };
            (at, whose, said, f64::max(ended - at, 0.0))
        };
        told.into_iter().map(took).collect()
    }
}

/// What was told is right to a quarter at first, and to this part once the pace is known; or to a second and a half.
#[track_caller]
fn is_right(told: &[(f64, &str, f64, f64)], part: f64) {
    assert!(told.len() >= 8, "too soon over: {told:?}");
    for (at, whose, said, took) in told {
        let part = if *at < 15.0 { 0.25 } else { part };
        let off = (said - took).abs();
        assert!(
            off <= f64::max(part * took, 1.5),
            "after {at:.1} s the {whose} was told to take {said:.1} s and took {took:.1} s: {told:.1?}"
        );
    }
}

fn participations(count: u64, own: bool) -> Vec<Event> {
    let events = (0..count).map(|key| event(key, "drop", &format!("p{key}@b.example")));
    if own {
        events.map(rich).collect()
    } else {
        events.collect()
    }
}

#[test]
fn a_campaign_by_email_ends_when_it_was_said_to() {
    // 75 to a request, or 37 that bring an event of their own.
    for (count, own) in [(9_000, false), (6_000, true)] {
        on_paused_time(async {
            let rules = rules(Identity::Email, false);
            let events = participations(count, own);
            let track = LaneKind::UsersTrack;
            let campaign = Campaign::begin(rules, track, Crowd::Nobody, events).await;
            is_right(&campaign.to_its_end(track).await, TENTH);
        });
    }
}

#[test]
fn a_campaign_whose_credits_take_longest_ends_when_it_was_said_to() {
    on_paused_time(async {
        let rules = rules(Identity::Email, true);
        let events = participations(3_000, false);
        let crowd = Crowd::Nobody;
        let campaign = Campaign::begin(rules, LaneKind::Quikly, crowd, events).await;
        // Once all credits stand there, the lane ends with the activation.
        campaign.clock.sleep(Duration::from_secs(12)).await;
        is_right(&campaign.to_its_end(LaneKind::Quikly).await, TENTH);
    });
}

#[test]
fn a_campaign_with_look_ups_ends_when_it_was_said_to() {
    on_paused_time(async {
        let rules = rules(Identity::Export, true);
        let export = LaneKind::UsersExportIds;
        let events = participations(3_000, true);
        let campaign = Campaign::begin(rules, export, Crowd::Nobody, events).await;
        is_right(&campaign.to_its_end(export).await, TENTH);
    });
}

#[test]
fn who_else_uses_the_limit_is_reckoned_with_whether_it_is_said_or_only_felt() {
    // What is only felt is felt by stops of many lengths: the pace of half a minute depends on chance.
    for (crowd, part) in [(Crowd::Told(0.5), TENTH), (Crowd::Untold(0.5), 0.2)] {
        on_paused_time(async {
            let rules = rules(Identity::Export, true);
            let export = LaneKind::UsersExportIds;
            let events = participations(2_000, false);
            let campaign = Campaign::begin(rules, export, crowd, events).await;
            // Until then it is found out: the pace is still that of the first seconds, refused and stopped.
            campaign.clock.sleep(Duration::from_secs(30)).await;
            is_right(&campaign.to_its_end(export).await, part);
        });
    }
}

#[test]
fn a_lane_that_waited_for_work_is_not_said_to_be_as_slow_as_that() {
    on_paused_time(async {
        let rules = rules(Identity::Export, true);
        let events = participations(3_000, false);
        let quikly = LaneKind::Quikly;
        let campaign = Campaign::begin(rules, quikly, Crowd::Nobody, events).await;
        // The credits come as slowly as the look-ups let them.
        campaign.clock.sleep(Duration::from_secs(40)).await;
        let hook = |key: u64| Event {
            source: Source::Braze,
            kind: EventKind::Webhook,
            ..rich(event(10_000 + key, "drop", &format!("h{key}@b.example")))
        };
        campaign.accept((0..2_000).map(hook).collect()).await;
        campaign.clock.sleep(Duration::from_secs(1)).await;
        let (lane, _) = campaign.pair(quikly).await;
        let rest = lane.seconds().unwrap();
        assert!((38.0..42.0).contains(&rest), "{rest}");
    });
}

/// What the lane is said to take, as a part of what its due calls take at the full pace.
async fn of_full_pace(campaign: &Campaign) -> f64 {
    let lane = Lane::new(&"acme".into(), LaneKind::UsersExportIds);
    let due = campaign.counts().await.lanes[&lane].depth as f64;
    let (told, _) = campaign.pair(lane.kind).await;
    told.seconds().unwrap() / (due / f64::from(LOOK_UPS))
}

#[test]
fn what_fails_is_not_through_and_where_nothing_works_there_is_no_end_until_it_works_again() {
    on_paused_time(async {
        let rules = rules(Identity::Export, true);
        let export = LaneKind::UsersExportIds;
        let events = participations(6_000, false);
        let campaign = Campaign::begin(rules, export, Crowd::Nobody, events).await;
        campaign.clock.sleep(Duration::from_secs(20)).await;
        campaign.failing.store(1, Ordering::Relaxed);
        campaign.clock.sleep(Duration::from_secs(40)).await;
        let told = of_full_pace(&campaign).await;
        assert!((1.7..2.3).contains(&told), "{told}");

        campaign.failing.store(2, Ordering::Relaxed);
        campaign.clock.sleep(Duration::from_secs(40)).await;
        assert_eq!(campaign.pair(export).await, (Eta::Never, Eta::Never));
        campaign.failing.store(0, Ordering::Relaxed);
        campaign.clock.sleep(Duration::from_secs(12)).await;
        let told = of_full_pace(&campaign).await;
        assert!((0.9..1.1).contains(&told), "{told}");
    });
}

#[test]
fn who_is_remembered_needs_no_request_and_is_reckoned_with() {
    on_paused_time(async {
        let rules = rules(Identity::Export, false);
        let export = LaneKind::UsersExportIds;
        let of_other = |event: Event| Event {
            scope: "other".into(),
            ..event
        };
        let every_second = participations(3_000, false).into_iter().step_by(2);
        let before = every_second.map(of_other).collect();
        let campaign = Campaign::begin(rules, export, Crowd::Nobody, before).await;
        campaign.clock.sleep(Duration::from_mins(2)).await;
        assert_eq!(campaign.counts().await.events.queued, 0);
        campaign.accept(participations(3_000, false)).await;
        campaign.clock.sleep(Duration::from_secs(15)).await;
        is_right(&campaign.to_its_end(export).await, TENTH);
    });
}

#[test]
fn while_a_lane_is_held_there_is_no_end_and_behind_the_hold_it_is_told_again() {
    on_paused_time(async {
        let rules = rules(Identity::Export, true);
        let export = LaneKind::UsersExportIds;
        let events = participations(3_000, false);
        let campaign = Campaign::begin(rules, export, Crowd::Nobody, events).await;
        let wait = |seconds| campaign.clock.sleep(Duration::from_secs(seconds));
        wait(20).await;
        let credits = Lane::new(&"acme".into(), LaneKind::Quikly);
        assert!(campaign.engine.hold_lane(&credits, None));
        wait(5).await;
        let (quikly, all) = campaign.pair(LaneKind::Quikly).await;
        assert_eq!((quikly, all), (Eta::Never, Eta::Never));
        let (look_ups, _) = campaign.pair(export).await;
        assert!(look_ups.seconds().is_some_and(|rest| rest > 40.0));
        // A hold with an end is only a delay.
        let until = campaign.clock.now() + Duration::from_secs(100);
        assert!(campaign.engine.hold_lane(&credits, Some(until)));
        let (_, all) = campaign.pair(LaneKind::Quikly).await;
        let rest = all.seconds().unwrap();
        assert!((140.0..160.0).contains(&rest), "{rest}");

        assert!(campaign.engine.release_lane(&credits));
        is_right(&campaign.to_its_end(export).await, TENTH);
    });
}

#[test]
fn an_activation_that_is_held_has_no_end_and_then_has_one_again() {
    on_paused_time(async {
        let rules = rules(Identity::Export, true);
        let export = LaneKind::UsersExportIds;
        let events = participations(3_000, false);
        let campaign = Campaign::begin(rules, export, Crowd::Nobody, events).await;
        assert!(campaign.engine.hold_activation("drop", None));
        let (_, all) = campaign.pair(export).await;
        assert_eq!(all, Eta::Never, "set aside or not");
        campaign.clock.sleep(Duration::from_mins(1)).await;
        let (aside, all) = campaign.pair(LaneKind::Held).await;
        assert_eq!((aside, all), (Eta::Never, Eta::Never));
        assert!(campaign.engine.release_activation("drop"));
        campaign.clock.sleep(Duration::from_secs(1)).await;
        let (look_ups, all) = campaign.pair(export).await;
        for eta in [look_ups, all] {
            let rest = eta.seconds().unwrap();
            assert!((70.0..80.0).contains(&rest), "{rest}");
        }
    });
}
