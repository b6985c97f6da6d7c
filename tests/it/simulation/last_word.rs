//! Who has the last word when Braze takes one of two updates in a request and leaves open what became of the other.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use braze_relay::client::{Answers, Client, Heard};
use braze_relay::clock::Clock;
use braze_relay::engine::Engine;
use braze_relay::flow;
use braze_relay::flow::job::Seed;
use braze_relay::model::call::{Answer, Call, Failure, Profile, Reply, Track};
use braze_relay::model::event::{CustomEvent, Event, EventKind};
use braze_relay::model::json::ObjectText;
use braze_relay::model::lane::{Lane, LaneKind};
use braze_relay::model::rules::{OnUnknown, RuleBook};
use braze_relay::store::map::MapStore;
use braze_relay::store::{Settings, Store};
use serde_json::json;

use super::campaign::{METRICS, START, event, rules, settings};
use super::on_paused_time;

/// A Braze that leaves open once what became of whatever came with events.
#[derive(Clone, Default)]
struct Vague {
    requests: Arc<Mutex<Vec<Vec<Track>>>>,
}

impl Client for Vague {
    async fn perform(&self, _lane: &Lane, calls: Vec<Call>) -> Heard {
        let answer = |call: &Call| match call {
            Call::LookUp { email, .. } => Ok(Reply::Profiles(vec![Profile {
                braze_id: Some("b1".into()),
                email: Some(email.clone()),
                ..Profile::default()
            }])),
            _ => Ok(Reply::Tracked),
        };
        let mut answers: Answers = calls.iter().map(answer).collect();
        let tracks = calls.into_iter().filter_map(|call| match call {
            Call::Track(track) => Some(track),
            _ => None,
        });
        let tracks: Vec<Track> = tracks.collect();
        if !tracks.is_empty() {
            let mut requests = self.requests.lock().unwrap();
            if tracks.len() > 1 && requests.iter().all(|it| it.len() < 2) {
                for (answer, track) in answers.iter_mut().zip(&tracks) {
                    if !track.events.is_empty() {
                        *answer = Err(Failure::Unknown(Answer::default()));
                    }
                }
            }
            requests.push(tracks);
        }
        Heard::silent(answers)
    }

    fn objects_max(&self, lane: &Lane) -> usize {
        if lane.kind == LaneKind::UsersTrack {
            75
        } else {
            1
        }
    }
}

fn update(key: u64, with_event: bool) -> Event {
    let level = [("level".to_owned(), json!(key))].into_iter().collect();
    Event {
        kind: EventKind::Progress,
        attributes: Some(ObjectText::new(&level)),
        event: with_event.then(|| CustomEvent {
            name: "step".into(),
            properties: None,
        }),
        ..event(key, "drop", "ann@b.example")
    }
}

#[test]
fn an_update_taken_behind_one_that_is_repeated_is_repeated_after_it() {
    on_paused_time(async {
        let clock = Clock::starting_at(START, 1.0);
        let store = MapStore::new(Settings::default());
        let book = Arc::new(RuleBook::new([rules("drop", "acme", OnUnknown::Resend)]));
        let braze = Vague::default();
        let (metrics, settings) = (METRICS.clone(), settings());
        let outside = braze.clone();
        let engine = Engine::new(
            store.clone(),
            outside,
            clock.clone(),
            metrics,
            &settings,
            book.clone(),
            1,
        );
        let engine = engine.await.unwrap();
        // The first is looked up; the others stand in one request.
        let updates = [update(0, false), update(1, true), update(2, false)];
        let seeds = updates.into_iter().map(|event| {
            let (start, further) = flow::start(&event, &book, clock.now());
            Seed {
                event,
                start,
                further,
            }
        });
        store.append(seeds.collect(), clock.now()).await.unwrap();
        engine
            .run(clock.sleep(Duration::from_mins(10)))
            .await
            .unwrap();
        assert_eq!(store.counts(clock.now()).await.unwrap().events.done, 3);
        let requests = braze.requests.lock().unwrap();
        let level = |track: &Track| track.attributes["level"].as_u64().unwrap();
        let levels: Vec<Vec<u64>> = requests
            .iter()
            .map(|tracks| tracks.iter().map(level).collect())
            .collect();
        let last = levels.iter().flatten().last();
        assert_eq!(last, Some(&2), "{levels:?}");
        assert!(levels.iter().any(|it| it.len() > 1), "{levels:?}");
        assert!(levels.len() > 1, "nothing was repeated: {levels:?}");
    });
}
