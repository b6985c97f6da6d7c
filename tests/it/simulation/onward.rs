//! Whole campaigns of `webhook`, `outgrow` and `progress` from a seed: the real engine over the map store, in worlds that
//! mean no good.
//!
//! `RELAY_SIM_SEEDS` sets how many (default 2500) of random weather; each hostile world has a fixed number more. Every row
//! of these flows' transition tables has to occur, every failure and every crash at every call, and every end.

mod campaign;
mod checks;
mod worlds;

use std::time::Duration;

use super::campaign::{LONG, Life, START};
use super::lab::{self, Coverage, Lab, PLACES};
use super::world::{Delays, Person, Weather};
use super::{number, on_paused_time, rows};
use braze_relay::model::rules::RetryPolicy;
use campaign::Plan;

/// What a world does to a campaign.
#[derive(Clone, Copy, Debug)]
struct World {
    weather: Weather,
    delays: Delays,
    retry: RetryPolicy,
    /// How often the process dies, and where.
    crashes: u64,
    place: Option<&'static str>,
    /// The machine's clock jumps over each restart, back or forth.
    jumps: bool,
    events: u64,
}

/// People who were there before: some with a phone, some not whole yet.
fn crowd(life: &Life, dice: &Lab) {
    for number in 0..4 {
        if dice.chance(0.5) {
            continue;
        }
        let phone = [None, Some("+15550100"), Some("+15559999")][dice.below(3) as usize];
        life.world.add_known(
            "acme",
            Person {
                external_id: dice.chance(0.5).then(|| format!("u{number}")),
                email: format!("p{number}@b.example"),
                phone: phone.map(Into::into),
                whole_at: START + Duration::from_millis(dice.below(2) * dice.below(4_000)),
                ..Person::default()
            },
        );
    }
}

async fn live(seed: u64, world: World) -> (Life, Plan) {
    let dice = Lab::new(seed ^ 0xfeed);
    let slowness = [0, 3, 30][dice.below(3) as usize];
    let mut life = Life::new(seed, world.delays, slowness, campaign::book(world.retry));
    life.world.model().weather = world.weather;
    crowd(&life, &dice);
    let plan = campaign::plan(&dice, world.events);
    let share = plan.events.len().div_ceil(world.crashes as usize + 1);
    for part in plan.events.chunks(share.max(1)) {
        let place = world.place.or(PLACES.get(dice.below(10) as usize).copied());
        if world.crashes > 0 {
            let within = [4, 40][dice.below(2) as usize];
            let after = 1 + dice.below(if place.is_some() { within } else { 40 });
            life.lab.plan_crash(Some(after), place);
        }
        life.start().await;
        let mut died = false;
        for chunk in part.chunks(1 + dice.below(6) as usize) {
            life.accept(chunk.to_vec()).await;
            died = died || life.wait(Duration::from_millis(dice.below(400))).await;
        }
        let rest = Duration::from_millis(dice.below(3_000));
        let _died = died || life.wait(rest).await;
        life.kill().await;
        if world.jumps {
            let now = life.clock.now();
            let jump = Duration::from_millis(dice.below(7_200_000));
            life.jump(if dice.chance(0.5) {
                now + jump
            } else {
                now - jump
            });
        }
    }
    life.run_empty(LONG).await;
    (life, plan)
}

/// One campaign to its end; every third is replayed in fair weather then.
fn one(seed: u64, world: World) -> (Coverage, Vec<String>) {
    on_paused_time(async {
        let (mut life, plan) = live(seed, world).await;
        let mut wrong = checks::check(&life, &plan.leads).await;
        if seed.is_multiple_of(3) && wrong.is_empty() {
            life.world.model().weather = Weather::default();
            life.replay().await;
            life.run_empty(LONG).await;
            wrong = checks::check(&life, &plan.leads).await;
        }
        let coverage = std::mem::take(&mut life.lab.state().coverage);
        (coverage, wrong)
    })
}

/// Lives them all; returns what they saw.
fn all(seeds: std::ops::Range<u64>, world: impl Fn(u64) -> World) -> Coverage {
    let mut sum = Coverage::new();
    for seed in seeds {
        let (coverage, wrong) = one(seed, world(seed));
        assert!(wrong.is_empty(), "seed {seed}: {wrong:#?}");
        for (what, count) in coverage {
            *sum.entry(what).or_default() += count;
        }
    }
    sum
}

fn storm(seed: u64) -> World {
    let dice = Lab::new(seed ^ 0xabcd);
    let some = |most: u64| match dice.below(2) {
        0 => dice.below(most) as f64 / 1e3,
        _ => 0.0,
    };
    World {
        weather: Weather {
            until: START + Duration::from_secs(some(180_000) as u64),
            transient: some(200),
            unknown_lost: some(100),
            unknown_applied: some(100),
            throttled: some(150),
            told: dice.chance(0.5),
            denied: some(30),
            apart: some(150),
            rejected: some(100),
            panics: false,
        },
        delays: Delays {
            latency_min: 0,
            latency: [0, 20, 500][dice.below(3) as usize],
            appears: [0, 100, 5_000][dice.below(3) as usize],
            whole: [0, 0, 3_000][dice.below(3) as usize],
        },
        retry: RetryPolicy {
            first: Duration::from_millis(100 + dice.below(900)),
            max: Duration::from_millis(2_000 + dice.below(10_000)),
            max_attempts: [0, 0, 2, 5][dice.below(4) as usize],
            max_age: Duration::from_millis(5_000 + dice.below(300_000)),
        },
        crashes: dice.below(4),
        place: None,
        jumps: dice.chance(0.2),
        events: 10 + dice.below(30),
    }
}

#[test]
fn webhooks_leads_and_updates_end_well_and_see_everything_there_is_to_see() {
    if let Some(seed) = number("RELAY_SIM_SEED") {
        let (coverage, wrong) = one(seed, storm(seed));
        assert!(wrong.is_empty(), "{coverage:#?}\n{wrong:#?}");
        return;
    }
    let seeds = number("RELAY_SIM_SEEDS").unwrap_or(2500);
    let coverage = all(0..seeds, storm);
    lab::saw_all(&coverage, &required(), seeds);
}

fn required() -> Vec<String> {
    let rows = rows::of_flows(&["progress", "webhook", "outgrow"]);
    assert!(rows.len() > 15, "the table cannot be read: {rows:?}");
    // That somebody else has made the profile meanwhile takes a replay at the right moment: `known.rs` has one.
    let met = |row: &String| !row.starts_with("progress/create: an address remembered");
    let rows = rows.into_iter().filter(met);
    let mut all: Vec<String> = rows.map(|row| format!("row {row}")).collect();
    for step in [
        "webhook/pass_on",
        "outgrow/write",
        "progress/recall",
        "progress/look_up",
        "progress/create",
        "progress/update",
    ] {
        all.extend(lab::CLASSES.map(|class| format!("{step} × {class}")));
        let places = [
            "after_lease",
            "sent",
            "arrived",
            "before_commit",
            "after_commit",
        ];
        all.extend(places.map(|place| format!("crash {place} × {step}")));
    }
    for step in ["progress/recall", "progress/create", "progress/update"] {
        let parked = ["before_begin", "after_begin"];
        all.extend(parked.map(|place| format!("crash {place} × {step}")));
        all.push(format!("{step} × unknown, parked"));
    }
    let outcomes = [
        "passed_on",
        "updated",
        "updated_in_part",
        "nothing_to_write",
        "found",
        "created",
    ];
    all.extend(outcomes.map(|outcome| format!("outcome {outcome}")));
    let reasons = [
        "rejected (rejected)",
        "gave_up (transient)",
        "unknown_outcome (unknown_outcome)",
        "bad_answer (configuration)",
    ];
    all.extend(reasons.map(|reason| format!("reason {reason}")));
    all
}
