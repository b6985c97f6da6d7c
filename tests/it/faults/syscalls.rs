//! System calls that fail: no 202 after the first error, an end with a reason, and everything there at the next start.

use super::{Rig, rounds};
use crate::support::{Relay, require};

/// Of each kind.
const ROUNDS: usize = 20;

async fn fails(call: &str, error: &str) {
    if !require("strace") {
        return;
    }
    let mut rig = Rig::new("").await;
    let rounds = rounds(ROUNDS);
    let mut codes = Vec::new();
    let mut refused = 0;
    while codes.len() < rounds {
        // A first life, so that there is something to lose.
        let relay = Relay::start(&rig.setup).await;
        rig.all_there(&relay).await;
        relay.stop(&rig.setup).await;
        let before = rig.setup.log().len();
        let database = rig.setup.store().join("sled/db").display().to_string();
        let trace = rig.setup.file("trace").display().to_string();
        let nth = 20 + rig.dice.below(120);
        let inject = format!("inject={call}:error={error}:when={nth}+");
        let trace_calls = format!("trace={call}");
        let wrapper = [
            "strace",
            "-D",
            "-f",
            "-qq",
            "-o",
            &trace,
            "-P",
            &database,
            "-e",
            &trace_calls,
            "-e",
            &inject,
        ];
        let relay = match Relay::ready_or_gone_by(&rig.setup, &wrapper).await {
            Ok(relay) => relay,
            Err(code) => {
                // It failed while the store was opened, and nothing was promised.
                refused += 1;
                assert!(
                    refused < 10 * rounds,
                    "{call} {error}: no round comes as far as any load"
                );
                let log = rig.setup.log()[before..].to_owned();
                assert!(
                    matches!(code, Some(1 | 3)),
                    "{call} {error}: {code:?} {log}"
                );
                assert!(
                    log.contains("sled") && !log.contains("panicked at"),
                    "{log}"
                );
                continue;
            }
        };
        let enough = rig.promised() + 1;
        let mut loaders = rig.campaign.under_load(&relay, &mut rig.dice, enough).await;
        // They end when it does.
        while let Some(ended) = loaders.join_next().await {
            ended.unwrap();
        }
        let status = relay.exit().await;
        let log = rig.setup.log()[before..].to_owned();
        assert_eq!(status.code(), Some(1), "{call} {error}: {log}");
        assert!(
            log.contains("the store has failed"),
            "{call} {error}: {log}"
        );
        assert!(!log.contains("panicked at"), "{call} {error}: {log}");
        codes.push(nth);
        let relay = Relay::start(&rig.setup).await;
        rig.all_there(&relay).await;
        relay.stop(&rig.setup).await;
    }
    let relay = Relay::start(&rig.setup).await;
    let counts = rig.ended(&relay).await;
    relay.stop(&rig.setup).await;
    eprintln!(
        "syscalls: {call} fails with {error} from call {codes:?} on ({refused} more failed at the start): {} promised, lost 0; accepted, done, dead, queued: {counts:?}",
        rig.promised()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_fdatasync_that_fails_ends_it_and_nothing_promised_is_lost() {
    fails("fdatasync", "EIO").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_fails_ends_it_and_nothing_promised_is_lost() {
    fails("pwrite64", "EIO").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_finds_no_room_ends_it_and_nothing_promised_is_lost() {
    fails("pwrite64", "ENOSPC").await;
}
