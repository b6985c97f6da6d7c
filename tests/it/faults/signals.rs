//! Signals in the middle of everything: it is stopped for a while and goes on; it is told to end and ends cleanly.

use std::process::Command;

use super::{Rig, rounds};
use crate::support::Relay;

const ROUNDS: usize = 60;

fn signal(relay: &Relay, name: &str) {
    let line = format!("kill -{name} {}", relay.pid());
    let status = Command::new("sh").args(["-c", &line]).status();
    assert!(status.unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_for_a_while_or_told_to_end_in_the_middle_of_a_batch_it_loses_nothing() {
    let mut rig = Rig::new("").await;
    let rounds = rounds(ROUNDS);
    for round in 1..=rounds {
        let relay = Relay::start(&rig.setup).await;
        rig.all_there(&relay).await;
        let enough = rig.promised() + 200 + rig.dice.below(300);
        let mut loaders = rig.campaign.under_load(&relay, &mut rig.dice, enough).await;
        signal(&relay, "STOP");
        // For as long as it takes to ask the sandbox for all it knows, a few times.
        for _ in 0..rig.dice.below(20) {
            rig.client.lines(&rig.sandbox.question("profiles")).await;
        }
        signal(&relay, "CONT");
        let enough = rig.promised() + 200;
        let mut promised = rig.campaign.promised.subscribe();
        drop(promised.wait_for(|count| *count >= enough).await.unwrap());
        relay.stop(&rig.setup).await;
        while let Some(ended) = loaders.join_next().await {
            ended.unwrap();
        }
        eprintln!(
            "signals: round {round} of {rounds}: {} promised",
            rig.promised()
        );
    }
    let relay = Relay::start(&rig.setup).await;
    let counts = rig.ended(&relay).await;
    eprintln!("signals: {rounds} rounds; accepted, done, dead, queued: {counts:?}; lost 0");
    relay.stop(&rig.setup).await;
}
