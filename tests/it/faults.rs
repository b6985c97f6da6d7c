//! The real binary under load, with everything the machine can do to it: power cuts, failing disks, full disks, damage,
//! signals, clocks that jump. What it promised is kept outside, and it is held to that.
//!
//! Under `cargo test` each runs a tenth of its full figures; `RELAY_FULL=1 cargo test --test it faults -- --nocapture` runs
//! them whole. What needs root, loop devices or a tool says so where it is missing.

mod clocks;
mod damage;
mod full_disk;
mod image;
mod power_cut;
mod signals;
mod syscalls;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::support::{Campaign, Client, Dice, Relay, Sandbox, Setup, email_of, full, until};

/// Longer than anything here takes to come to its end.
const WITHIN: Duration = Duration::from_mins(15);

/// Where a rig begins to count: a seed may be given.
fn dice() -> Dice {
    let seed = std::env::var("RELAY_SEED").ok();
    let seed = seed
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(20_261_122);
    eprintln!("faults: seed {seed}");
    Dice(seed)
}

/// So many rounds where everything is run, a tenth of them else.
fn rounds(of_all: usize) -> usize {
    if full() { of_all } else { of_all.div_ceil(10) }
}

/// A relay's folder, who posts to it, and what they were promised.
struct Rig {
    setup: Setup,
    sandbox: Sandbox,
    client: Client,
    campaign: Arc<Campaign>,
    dice: Dice,
}

impl Rig {
    async fn new(more: &str) -> Rig {
        let sandbox = Sandbox::start(&[]).await;
        let rig = Rig {
            setup: Setup::new(&sandbox, &format!("{}{more}", super::process::ACTIVATIONS)),
            sandbox,
            client: Client::new(),
            campaign: Arc::new(Campaign::new()),
            dice: dice(),
        };
        // Lives are short here: with the usual gap nobody would be written to after a restart.
        rig.configured("[workspaces.acme.braze]\n", "order_gap = \"20ms\"\n");
        rig
    }

    /// The relay runs again: it has all it promised, and its account adds up. `(accepted, done, dead, queued)`.
    async fn all_there(&self, relay: &Relay) -> [u64; 4] {
        let counts = self.campaign.conserved(&self.client, relay).await;
        self.campaign.all_kept(&self.client, relay).await;
        counts
    }

    /// Whatever was promised comes to its end, and Braze has everybody. `(accepted, done, dead, queued)`.
    async fn ended(&self, relay: &Relay) -> [u64; 4] {
        self.campaign.open_posted(&self.client, relay).await;
        until("nothing is queued", WITHIN, async || {
            let counts = self.campaign.conserved(&self.client, relay).await;
            (counts[3] == 0).then_some(())
        })
        .await;
        let profiles = self.client.lines(&self.sandbox.question("profiles")).await;
        let there = profiles
            .iter()
            .filter_map(|profile| profile["email"].as_str());
        let there: BTreeSet<String> = there.map(str::to_lowercase).collect();
        let promised = self.campaign.notes.lock().unwrap().promised.clone();
        let lost = promised.keys().map(|item| email_of(item.person));
        let lost: BTreeSet<String> = lost.filter(|email| !there.contains(email)).collect();
        assert_eq!(lost.len(), 0, "promised, and not in Braze");
        self.all_there(relay).await
    }

    /// Adds settings to this table of the configuration.
    fn configured(&self, table: &str, more: &str) {
        let text = std::fs::read_to_string(self.setup.config()).unwrap();
        assert!(text.contains(table));
        let with_more = text.replace(table, &format!("{table}{more}"));
        self.setup.write(&with_more);
    }

    /// Promised so far.
    fn promised(&self) -> u64 {
        self.campaign.counts().0
    }
}
