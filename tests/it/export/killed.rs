//! `compact`, killed in the middle of whatever it does to the disk: the store is what it was.

use std::collections::BTreeMap;

use super::*;
use crate::support::{Dice, full, require};

/// What it is killed before: the exchange, each removal behind it, and some of all the writes and syncs on the way there.
const CALLS: [&str; 4] = ["renameat2", "unlinkat", "fdatasync", "pwrite64"];

/// So many kills before one of each, where there are so many and everything is run.
const KILLS: usize = 100;

/// Runs `compact`, killed before the `nth` such call of any of its threads: whether it was, and how many such calls one of
/// its threads made at most.
fn compacted(setup: &Setup, call: &str, nth: Option<usize>) -> (bool, usize) {
    let trace = setup.file("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o"]).arg(&trace);
    command.args(["-e", &format!("trace={call}")]);
    if let Some(nth) = nth {
        command.args(["-e", &format!("inject={call}:signal=KILL:when={nth}")]);
    }
    command.arg(env!("CARGO_BIN_EXE_braze-relay"));
    command.args(["compact", "--config"]).arg(setup.config());
    let ran = command.stdin(Stdio::null()).output().unwrap();
    let code = ran.status.code();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(matches!(code, None | Some(0)), "{code:?}: {said}");
    let mut by_thread: BTreeMap<&str, usize> = BTreeMap::new();
    let trace = fs::read_to_string(trace).unwrap();
    for line in trace.lines().filter(|line| line.contains('(')) {
        let thread = line.split(' ').next().unwrap();
        *by_thread.entry(thread).or_default() += 1;
    }
    (code.is_none(), by_thread.into_values().max().unwrap_or(0))
}

/// What the store holds.
async fn held(setup: &Setup) -> (Counts, String) {
    let store = open(&setup.store());
    let held = asked(&store).await;
    store.close().await.unwrap();
    held
}

#[tokio::test]
async fn killed_anywhere_compact_leaves_the_store_as_it_was() {
    if !require("strace") {
        return;
    }
    let setup = nowhere();
    let store = open(&setup.store());
    fill(&store, if full() { 5000 } else { 400 }).await;
    store.close().await.unwrap();
    let before = held(&setup).await;
    let mut dice = Dice(20_261_122);
    let at_most = if full() { KILLS } else { KILLS / 10 };
    for call in CALLS {
        let (killed, calls) = compacted(&setup, call, None);
        assert!(!killed && calls > 0, "{call}: {calls}");
        let mut kills = 0;
        for kill in 1..=calls.min(at_most) {
            let nth = if calls <= at_most {
                kill
            } else {
                1 + dice.below(calls as u64) as usize
            };
            kills += usize::from(compacted(&setup, call, Some(nth)).0);
            assert_eq!(held(&setup).await, before, "killed before {call} {nth}");
            assert!(!setup.store().join("compact").exists());
        }
        assert!(kills > 0, "never killed before {call}: this shows nothing");
        eprintln!("compact: {kills} kills before one of {calls} {call}: all there");
    }
}
