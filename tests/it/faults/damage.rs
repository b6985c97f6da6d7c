//! Flipped bits and cut files: everything is there, or the relay refuses and says what is wrong and what to do.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Rig, rounds};
use crate::support::{Dice, Relay, full};

const TRIALS: usize = 500;

/// What was done to a store.
#[derive(Debug)]
enum Damage {
    /// These bits were flipped.
    Flipped(Vec<(u64, u8)>),
    /// It ends here.
    Cut(u64),
    /// So many bytes from here on are zeros.
    Zeroed(u64, usize),
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// The files that hold something, the small ones no less likely than the large.
fn files(store: &Path) -> Vec<PathBuf> {
    let mut files = vec![store.join("mark")];
    let database = fs::read_dir(store.join("sled")).unwrap();
    let mut inside: Vec<PathBuf> = database.map(|entry| entry.unwrap().path()).collect();
    inside.retain(|file| file.is_file() && fs::metadata(file).unwrap().len() > 0);
    inside.sort();
    // Most of what there is to damage is in one file.
    files.extend(std::iter::repeat_n(store.join("sled/db"), 4));
    files.extend(inside);
    files
}

/// Where it ends: behind that there are only zeros.
fn end(bytes: &[u8]) -> u64 {
    bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) as u64 + 1
}

fn damage(file: &Path, dice: &mut Dice) -> Damage {
    let mut bytes = fs::read(file).unwrap();
    let end = end(&bytes);
    let damage = match dice.below(4) {
        0 => Damage::Cut(dice.below(end)),
        1 => Damage::Zeroed(dice.below(end), 1 << dice.below(13)),
        _ => {
            let count = 1 + dice.below(4);
            Damage::Flipped(
                (0..count)
                    .map(|_| (dice.below(end), 1 << dice.below(8)))
                    .collect(),
            )
        }
    };
    match &damage {
        Damage::Cut(at) => bytes.truncate(*at as usize),
        Damage::Zeroed(from, count) => {
            let to = (*from as usize + count).min(bytes.len());
            bytes[*from as usize..to].fill(0);
        }
        Damage::Flipped(bits) => {
            for (at, bit) in bits {
                bytes[*at as usize] ^= bit;
            }
        }
    }
    fs::write(file, bytes).unwrap();
    damage
}

/// Whether all is there: remembered, to be worked or done, and counted as in the sound store (`counts`). `Err` says what is
/// not; `None` when the relay ended while it was asked.
async fn looked_through(rig: &Rig, relay: &Relay, counts: &Value) -> Option<Result<(), String>> {
    if !rig.campaign.kept(&rig.client, relay).await? {
        return Some(Err("something promised is not remembered".into()));
    }
    if let Err(what) = rig.campaign.held(&rig.client, relay).await? {
        return Some(Err(what));
    }
    let status = rig.client.get(&relay.ops("/api/v1/status")).await.ok()?;
    let status: Value = serde_json::from_slice(&status.body).ok()?;
    if status["events"] != *counts {
        let events = &status["events"];
        return Some(Err(format!("it counts {events}, and it was {counts}")));
    }
    Some(Ok(()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_store_is_whole_or_it_is_refused_with_what_to_do() {
    // Nobody is there: what the store holds does not change any more, but for what is tried.
    let more = "[retry]\nfirst = \"1h\"\nmax = \"1h\"\n";
    let mut rig = Rig::new(more).await;
    let relay = Relay::start(&rig.setup).await;
    let mut loaders = rig.campaign.under_load(&relay, &mut rig.dice, 3000).await;
    relay.stop(&rig.setup).await;
    while let Some(ended) = loaders.join_next().await {
        ended.unwrap();
    }
    drop(std::mem::replace(
        &mut rig.sandbox,
        crate::support::Sandbox::start(&[]).await,
    ));
    // What is open may or may not have been accepted.
    let relay = Relay::start(&rig.setup).await;
    rig.campaign.open_posted(&rig.client, &relay).await;
    let counts = rig.client.document(&relay.ops("/api/v1/status")).await;
    let counts = counts["events"].clone();
    relay.stop(&rig.setup).await;
    let store = rig.setup.store();
    let sound = rig.setup.file("sound");
    copy(&store, &sound);
    let trials = rounds(TRIALS);
    let mut ends: BTreeMap<&str, usize> = BTreeMap::new();
    for trial in 1..=trials {
        fs::remove_dir_all(&store).unwrap();
        copy(&sound, &store);
        let files = files(&store);
        let file = &files[rig.dice.below(files.len() as u64) as usize];
        let done = damage(file, &mut rig.dice);
        let name = file.strip_prefix(&store).unwrap().display().to_string();
        let said = |log: &str| format!("trial {trial}: {name}: {done:?}: {log}");
        let before = rig.setup.log().len();
        let end = match Relay::ready_or_gone(&rig.setup).await {
            Ok(relay) => {
                match looked_through(&rig, &relay, &counts).await {
                    Some(Ok(())) => {
                        relay.stop(&rig.setup).await;
                        "whole"
                    }
                    Some(Err(what)) => {
                        panic!("silently: {what}: {}", said(&rig.setup.log()[before..]))
                    }
                    None => {
                        // It met the damage while it read.
                        let code = relay.exit().await.code();
                        assert_eq!(code, Some(1), "{}", said(&rig.setup.log()[before..]));
                        "ended when it met the damage"
                    }
                }
            }
            Err(code) => {
                let log = &rig.setup.log()[before..];
                // 1: the damage was met after the store was opened.
                assert!(matches!(code, Some(1 | 3)), "{code:?}: {}", said(log));
                "refused"
            }
        };
        let log = rig.setup.log()[before..].to_owned();
        if end != "whole" {
            let names = ["relay-data/sled", "sled/db", "mark"];
            assert!(names.iter().any(|it| log.contains(it)), "{}", said(&log));
            assert!(log.contains("backup"), "what to do: {}", said(&log));
        }
        assert!(!log.contains("panicked at"), "{}", said(&log));
        *ends.entry(end).or_default() += 1;
        if full() {
            eprintln!("damage: trial {trial} of {trials}: {name} {done:?}: {end}");
        }
    }
    eprintln!(
        "damage: {trials} trials, {} promised in each: {ends:?}; lost 0",
        rig.promised()
    );
    assert!(
        ends["whole"] < trials,
        "no damage was ever met: this shows nothing"
    );
}
