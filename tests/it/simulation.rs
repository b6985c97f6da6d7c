//! Whole lives from a seed: the real engine over the map store, with a small model of the outside, on paused time.
//!
//! `RELAY_SIM_SEEDS` sets how many (default 4000). A seed that fails is named; run it alone with `RELAY_SIM_SEED=N`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests may")]

mod again;
mod campaign;
mod denied;
mod eta;
mod forgotten;
mod held;
mod hostile;
mod invariants;
mod known;
mod lab;
mod last_word;
mod onward;
mod outage;
mod pauses;
mod phones;
mod poison;
mod polling;
mod reloaded;
mod rows;
mod shaky;
mod stage;
mod stops;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use lab::Coverage;

fn on_paused_time<T>(life: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(life)
}

/// One life, from its seed to its last invariant.
fn one(seed: u64) -> (Coverage, u64, Vec<String>) {
    on_paused_time(async {
        let mut life = campaign::live(seed).await;
        let mut wrong = invariants::check(&life).await;
        if seed.is_multiple_of(3) && wrong.is_empty() {
            campaign::live_again(&mut life).await;
            wrong = invariants::check(&life).await;
        }
        let coverage = std::mem::take(&mut life.lab.state().coverage);
        (coverage, life.crashes, wrong)
    })
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn whole_lives_end_well_and_see_everything_there_is_to_see() {
    if let Some(seed) = number("RELAY_SIM_SEED") {
        let (coverage, crashes, wrong) = one(seed);
        assert!(
            wrong.is_empty(),
            "{coverage:#?}\n{crashes} crashes\n{wrong:#?}"
        );
        return;
    }
    let seeds = number("RELAY_SIM_SEEDS").unwrap_or(4000);
    let next = AtomicU64::new(0);
    let sum = Mutex::new((Coverage::new(), 0));
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(seed) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).filter(|it| *it < seeds)
                {
                    let (coverage, crashes, wrong) = one(seed);
                    let mut sum = sum.lock().unwrap();
                    sum.1 += crashes;
                    for (what, count) in coverage {
                        *sum.0.entry(what).or_default() += count;
                    }
                    if !wrong.is_empty() {
                        failed.lock().unwrap().push((seed, wrong));
                    }
                }
            });
        }
    });
    let (coverage, crashes) = sum.into_inner().unwrap();
    println!("{seeds} lives, {crashes} crashes");
    let mut failed = failed.into_inner().unwrap();
    failed.sort();
    assert!(
        failed.is_empty(),
        "{} of {seeds} seeds failed, first {:#?}",
        failed.len(),
        &failed[..failed.len().min(3)]
    );
    lab::saw_all(&coverage, &required(), seeds);
}

const STEPS: [&str; 7] = [
    "email/look_up",
    "email/create",
    "email/update",
    "progress/look_up",
    "progress/create",
    "progress/update",
    "credit/credit",
];

/// Every row of the transition and failure tables, a crash at every place of every step, every end.
fn required() -> Vec<String> {
    let mut all = Vec::new();
    for step in STEPS {
        for class in lab::CLASSES {
            all.push(format!("{step} × {class}"));
        }
        let look_up = step.ends_with("look_up");
        all.push(format!(
            "{step} × {}",
            if look_up {
                "not whole"
            } else {
                "unknown, parked"
            }
        ));
        for place in [
            "after_lease",
            "sent",
            "arrived",
            "before_commit",
            "after_commit",
        ] {
            all.push(format!("crash {place} × {step}"));
        }
        if !look_up {
            all.push(format!("crash before_begin × {step}"));
            all.push(format!("crash after_begin × {step}"));
        }
    }
    for outcome in ["created", "found", "updated", "credited"] {
        all.push(format!("outcome {outcome}"));
    }
    for reason in [
        "unknown_activation (configuration)",
        "no_flow (configuration)",
        "rejected (rejected)",
        "gave_up (transient)",
        "unknown_outcome (unknown_outcome)",
    ] {
        all.push(format!("reason {reason}"));
    }
    for reason in [
        "unknown_activation",
        "no_flow",
        "rejected",
        "gave_up",
        "unknown_outcome",
    ] {
        all.push(format!("replayed {reason}"));
    }
    all
}
