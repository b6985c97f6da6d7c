//! Clocks that jump by an hour, in the middle of waits and over a restart.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::scene::{GROUP, Scene, WITHIN, moment};
use crate::support::{Relay, until};

/// What Braze is given before the subscription group is asked for.
const DELAY: Duration = Duration::from_secs(5);
const PEOPLE: u64 = 40;

/// Where Debian's package `libfaketime` puts it; `None`, said loudly, where it is not.
fn library() -> Option<PathBuf> {
    let folders = ["x86_64-linux-gnu", "aarch64-linux-gnu"];
    let mut files = folders
        .iter()
        .map(|it| PathBuf::from(format!("/usr/lib/{it}/faketime/libfaketimeMT.so.1")));
    let found = files.find(|file| file.exists());
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let must = std::env::var_os("RELAY_REQUIRE_ALL").is_some_and(|value| value == "1");
    assert!(
        found.is_some() || !must,
        "{test} needs libfaketime, and RELAY_REQUIRE_ALL=1"
    );
    if found.is_none() {
        eprintln!("IGNORED: {test} needs libfaketime, which is not installed");
    }
    found
}

/// A relay whose wall clock says what a file says.
struct Jumping {
    scene: Scene,
    library: PathBuf,
    offset: PathBuf,
}

impl Jumping {
    async fn new() -> Option<Jumping> {
        let library = library()?;
        let seconds = DELAY.as_secs();
        let config = format!(
            "[activations.sms]\nworkspace = \"acme\"\nflow = \"sms\"\nsubscription_group_id = \"{GROUP}\"\n\
             subscription_delay = \"{seconds}s\"\nconfirm_every = {{ first = \"1s\", max = \"1s\", within = \"1h\" }}\n"
        );
        let scene = Scene::new(1, &config, &[]).await;
        let offset = scene.setup.file("offset");
        let jumping = Jumping {
            scene,
            library,
            offset,
        };
        jumping.jump("+0");
        Some(jumping)
    }

    /// From now on the wall clock is so many seconds from the truth.
    fn jump(&self, seconds: &str) {
        let fresh = self.offset.with_extension("new");
        std::fs::write(&fresh, format!("{seconds}\n")).unwrap();
        std::fs::rename(fresh, &self.offset).unwrap();
    }

    async fn relay(&self) -> Relay {
        let variable = |name: &str, value: &Path| format!("{name}={}", value.display());
        let preload = variable("LD_PRELOAD", &self.library);
        let offset = variable("FAKETIME_TIMESTAMP_FILE", &self.offset);
        let wrapper = [
            "env",
            &preload,
            &offset,
            "FAKETIME_NO_CACHE=1",
            // The machine's monotonic clock never jumps.
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
        ];
        Relay::start_by(&self.scene.setup, &wrapper).await
    }

    async fn join(&self, relay: &Relay, people: std::ops::Range<u64>) {
        let one = |number: u64| {
            json!({"id": format!("join-{number}"), "q_scope": "sms", "type": "participation", "sms_consent": true,
                "email": format!("person.{number}@example.com"), "phone": format!("+1555000{number:04}")})
        };
        let events: Vec<Value> = people.map(one).collect();
        self.scene.events(relay, &events).await;
    }

    /// Waits until Braze has so many of them, and each waits its time.
    async fn all_wait(&self, people: usize) {
        until("all are made", WITHIN, async || {
            let profiles = self.scene.lines("profiles").await;
            (profiles.len() == people).then_some(())
        })
        .await;
    }

    /// How long after its profile was made each was subscribed, once all are.
    async fn waits(&self, people: u64) -> Vec<Duration> {
        let sets = until("all are subscribed", WITHIN, async || {
            let sets = self.scene.lines("sets?wait=false").await;
            (sets.len() as u64 == people).then_some(sets)
        })
        .await;
        let wait = |set: &Value| {
            let created = moment(&set["profiles"][0]["created_asked_at"]);
            moment(&set["at"]).since(created)
        };
        sets.iter().map(wait).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_while_it_runs_makes_nothing_early_and_nothing_late() {
    for jump in ["+3600", "-3600"] {
        let Some(stage) = Jumping::new().await else {
            return;
        };
        let relay = stage.relay().await;
        stage.join(&relay, 0..PEOPLE).await;
        stage.all_wait(PEOPLE as usize).await;
        stage.jump(jump);
        // Who comes now waits as long as who came before.
        stage.join(&relay, PEOPLE..2 * PEOPLE).await;
        let waits = stage.waits(2 * PEOPLE).await;
        let (least, most) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
        eprintln!("clocks: {jump} s while it runs: waits of {DELAY:?} took {least:?} to {most:?}");
        assert!(
            *least >= DELAY && *most < DELAY + WITHIN / 2,
            "{least:?} {most:?}"
        );
        stage.scene.ended(&relay).await;
        relay.stop(&stage.scene.setup).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_set_back_over_a_restart_makes_nobody_wait_for_it() {
    let Some(stage) = Jumping::new().await else {
        return;
    };
    let relay = stage.relay().await;
    stage.join(&relay, 0..PEOPLE).await;
    stage.all_wait(PEOPLE as usize).await;
    relay.kill().await;
    stage.jump("-3600");
    let relay = stage.relay().await;
    stage.join(&relay, PEOPLE..2 * PEOPLE).await;
    let waits = stage.waits(2 * PEOPLE).await;
    let (least, most) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
    eprintln!(
        "clocks: set back by an hour over a restart: waits of {DELAY:?} took {least:?} to {most:?}"
    );
    assert!(
        *least >= DELAY && *most < 2 * DELAY + WITHIN / 2,
        "{least:?} {most:?}"
    );
    stage.scene.ended(&relay).await;
    assert!(stage.scene.setup.log().contains("the clock is behind"));
    relay.stop(&stage.scene.setup).await;
}
