//! How the engine ends: told to, by a failing store, or by a mistake of ours.

use std::sync::Arc;
use std::time::Duration;

use braze_relay::engine::{Desk, Engine, EngineError};
use braze_relay::model::lane::LaneKind;
use braze_relay::model::rules::OnUnknown;
use braze_relay::store::map::MapStore;
use braze_relay::store::{Settings, Store, StoreError};

use super::campaign::{LONG, Life, METRICS, event, rules};
use super::invariants;
use super::on_paused_time;
use super::shaky::Shaky;
use super::world::{Delays, Weather, World};

async fn life(latency: u64, on_unknown: OnUnknown) -> Life {
    let delays = Delays {
        latency_min: latency,
        latency: 0,
        appears: 0,
        whole: 0,
    };
    let mut life = Life::new(3, delays, 0, vec![rules("drop", "acme", on_unknown)]);
    let events = (0..20).map(|key| event(key, "drop", &format!("p{key}@b.example")));
    life.accept(events.collect()).await;
    life
}

async fn engine(life: &Life) -> Engine<Shaky, World> {
    let (store, world, clock) = (life.store.clone(), life.world.clone(), life.clock.clone());
    Engine::new(
        store,
        world,
        clock,
        METRICS.clone(),
        &life.settings,
        life.book.clone(),
        1,
    )
    .await
    .unwrap()
}

fn in_flight(life: &Life) -> u64 {
    life.counts().jobs.values().map(|it| it.in_flight).sum()
}

#[test]
fn a_stop_waits_for_what_is_under_way_and_leases_nothing_more() {
    on_paused_time(async {
        let mut life = life(5_000, OnUnknown::Park).await;
        let clock = life.clock.clone();
        let start = clock.now();
        engine(&life)
            .await
            .run(clock.sleep(Duration::from_secs(1)))
            .await
            .unwrap();
        let took = life.clock.now().since(start);
        assert!(
            took >= Duration::from_secs(5) && took < Duration::from_secs(6),
            "{took:?}"
        );
        assert_eq!(
            life.world.model().calls,
            4,
            "max_in_flight look-ups and nothing behind them"
        );
        assert_eq!(in_flight(&life), 0);
        life.run_empty(LONG).await;
        assert_eq!(invariants::check(&life).await, Vec::<String>::new());
        assert_eq!(life.counts().events.done, 20);
    });
}

#[test]
fn a_stop_gives_back_what_is_not_answered_in_time_without_using_an_attempt() {
    on_paused_time(async {
        let life = life(60_000, OnUnknown::Resend).await;
        let clock = life.clock.clone();
        let start = clock.now();
        engine(&life)
            .await
            .run(clock.sleep(Duration::from_secs(1)))
            .await
            .unwrap();
        let took = life.clock.now().since(start);
        assert!(
            took >= Duration::from_secs(11) && took < Duration::from_secs(12),
            "{took:?}"
        );
        assert_eq!(in_flight(&life), 0);
        let lane = life.counts().lanes.into_keys().next().unwrap();
        let all = life
            .store
            .lease(&lane, life.clock.now(), 100)
            .await
            .unwrap();
        assert_eq!(all.len(), 20);
        assert!(all.iter().all(|it| it.job.attempts == 0 && it.job.fresh));
    });
}

#[test]
fn an_idle_engine_stops_at_once() {
    on_paused_time(async {
        let mut life = life(5, OnUnknown::Resend).await;
        life.run_empty(LONG).await;
        let start = life.clock.now();
        engine(&life).await.run(async {}).await.unwrap();
        assert!(life.clock.now().since(start) < Duration::from_millis(5));
    });
}

#[test]
fn a_store_that_fails_ends_the_engine_with_its_error() {
    on_paused_time(async {
        let life = life(1_000, OnUnknown::Resend).await;
        let engine = engine(&life).await;
        let failing = async {
            life.clock.sleep(Duration::from_millis(500)).await;
            let _after = life.store.crash();
            std::future::pending::<()>().await;
        };
        let ended = tokio::select! {
            ended = engine.run(std::future::pending()) => ended,
            () = failing => Ok(()),
        };
        assert!(
            matches!(ended, Err(EngineError::Store(StoreError::Closed))),
            "{ended:?}"
        );
    });
}

#[test]
fn a_panic_of_ours_ends_the_engine_and_names_the_lane() {
    on_paused_time(async {
        let life = life(0, OnUnknown::Resend).await;
        let until = life.clock.now() + LONG;
        life.world.model().weather = Weather {
            until,
            panics: true,
            ..Weather::default()
        };
        match engine(&life).await.run(std::future::pending()).await {
            Err(EngineError::Panicked { lane }) => assert_eq!(lane, "acme/users_export_ids"),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn an_engine_with_nothing_to_do_asks_the_store_nothing() {
    on_paused_time(async {
        let mut life = life(5, OnUnknown::Resend).await;
        life.run_empty(LONG).await;
        let engine = Arc::new(engine(&life).await);
        let before = life.store.leases();
        let _idle =
            tokio::time::timeout(Duration::from_hours(10), engine.run(std::future::pending()))
                .await;
        // Once for each lane, at the start.
        assert!(life.store.leases() - before <= 14);
    });
}

#[test]
fn what_a_process_may_have_sent_that_was_killed_in_its_first_requests_counts_in_the_next_one() {
    on_paused_time(async {
        let mut life = life(5_000, OnUnknown::Park).await;
        let used = async |life: &Life| {
            let lanes = engine(life).await.lanes();
            let look_up = lanes
                .iter()
                .find(|it| it.lane.kind == LaneKind::UsersExportIds);
            look_up.unwrap().budget_used_ratio
        };
        assert!(
            used(&life).await > 0.09,
            "nobody knows who has worked on this store"
        );
        life.start().await;
        life.wait(Duration::from_secs(1)).await;
        life.kill().await;
        assert!(used(&life).await > 0.09, "4 of 40 may be under way");
        let mut empty = life;
        empty.store = Shaky::new(
            MapStore::new(Settings::default()),
            &empty.lab,
            &empty.clock,
            0,
        );
        assert!(used(&empty).await < 0.01, "nobody has worked on it");
    });
}
