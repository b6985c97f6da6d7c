//! `kill -9` again and again on one store: what got a 202 is never lost, and nothing happens twice that must not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{ACTIVATIONS, CREDITS_IN_FLIGHT_MAX};
use crate::support::{Campaign, Client, Dice, Relay, Sandbox, Setup, email_of, full, until};

const ROUNDS: usize = 300;
/// So many events at least are accepted in each round before its kill.
const ACCEPTED_MIN: u64 = 300;
/// Braze knows one in ten of the first so many people from the start.
const KNOWN_BELOW: u64 = 5000;
const DRAINED_WITHIN: Duration = Duration::from_mins(15);

struct Trial {
    setup: Setup,
    sandbox: Sandbox,
    client: Client,
    campaign: Arc<Campaign>,
    dice: Dice,
    kills: u64,
}

impl Trial {
    /// One life of the relay, from start to kill. Returns how many events were promised in it.
    async fn round(&mut self) -> u64 {
        let (before, _) = self.campaign.counts();
        self.unknown_tracks().await;
        let relay = Relay::start(&self.setup).await;
        self.campaign.conserved(&self.client, &relay).await;
        let enough = before + ACCEPTED_MIN + self.dice.below(700);
        let dice = &mut self.dice;
        let mut loaders = self.campaign.under_load(&relay, dice, enough).await;
        relay.kill().await;
        self.kills += 1;
        while let Some(ended) = loaders.join_next().await {
            ended.unwrap();
        }
        self.campaign.counts().0 - before
    }

    /// A few track requests of this life are done, and nobody is told: whether the kill or the relay's own retry comes
    /// first, those profiles are created again.
    async fn unknown_tracks(&mut self) {
        let skip = self.dice.below(4);
        let rule = json!({"lane": "users_track", "skip": skip, "next": 2, "action": "drop_answer"});
        let script = json!({ "rules": [rule] }).to_string();
        let script_url = self.sandbox.question("script");
        let told = self.client.post(&script_url, script.into()).await;
        assert_eq!(told.unwrap().status, 200);
    }

    /// Killed in the middle of what it found, without anything new: at once, or after so many further credits.
    async fn killed_while_it_drains(&mut self) {
        let before = self.credit_requests().await;
        let relay = Relay::start(&self.setup).await;
        let enough = before + self.dice.below(600);
        until("some credits are given", DRAINED_WITHIN, async || {
            (self.credit_requests().await >= enough).then_some(())
        })
        .await;
        relay.kill().await;
        self.kills += 1;
    }

    /// How often Quikly was asked so far.
    async fn credit_requests(&self) -> u64 {
        let summary = self.sandbox.question("summary?wait=false");
        let summary = self.client.document(&summary).await;
        summary["credit_requests"].as_u64().unwrap()
    }

    /// Posts what is open, and waits until nothing is queued.
    async fn drained(&self, relay: &Relay) {
        self.campaign.open_posted(&self.client, relay).await;
        let status = relay.ops("/api/v1/status");
        until("nothing is queued", DRAINED_WITHIN, async || {
            let status = self.client.document(&status).await;
            (status["events"]["queued"] == json!(0)).then_some(())
        })
        .await;
        self.campaign.conserved(&self.client, relay).await;
    }

    /// `(activation, participant)` of every dead letter, each a parked credit whose outcome nobody knows.
    async fn dead(&self, relay: &Relay) -> BTreeSet<(String, String)> {
        let mut dead = BTreeSet::new();
        let mut after = String::new();
        loop {
            let route = format!("/api/v1/dead?limit=1000{after}");
            let page = self.client.document(&relay.ops(&route)).await;
            for row in page["items"].as_array().unwrap() {
                let id = row["id"].as_str().unwrap();
                let route = format!("/api/v1/dead/{id}");
                let letter = self.client.document(&relay.ops(&route)).await;
                assert_eq!(letter["reason"], json!("unknown_outcome"), "{letter}");
                assert_eq!(letter["flow"], json!("credit"), "{letter}");
                assert_eq!(letter["activation"], json!("park"), "{letter}");
                dead.insert((text(&letter["activation"]), text(&letter["participant"])));
            }
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return dead,
            }
        }
    }

    /// Compares what was promised with what Braze and Quikly hold. Returns the repeated and the dead credits.
    async fn compare(&self, relay: &Relay) -> (u64, u64) {
        let notes = self.campaign.notes.lock().unwrap().promised.clone();
        let ids: BTreeSet<&String> = notes.values().collect();
        assert_eq!(ids.len(), notes.len(), "two events share an id");
        let dead = self.dead(relay).await;
        let people: BTreeSet<(String, String)> = notes
            .keys()
            .map(|item| (item.scope.clone(), email_of(item.person)))
            .collect();
        self.profiles(&people).await;
        let (credited, repeated) = self.credits().await;
        for person in &people {
            assert!(
                credited.contains(person) || dead.contains(person),
                "{person:?} got a 202 and no credit, and is no dead letter"
            );
        }
        for person in credited.union(&dead) {
            assert!(people.contains(person), "{person:?} never took part");
        }
        (repeated, dead.len() as u64)
    }

    async fn profiles(&self, people: &BTreeSet<(String, String)>) {
        let mut by_email: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for profile in self.client.lines(&self.sandbox.question("profiles")).await {
            let email = text(&profile["email"]).to_lowercase();
            by_email.entry(email).or_default().push(profile);
        }
        for (email, profiles) in &by_email {
            assert_eq!(profiles.len(), 1, "{email} has several profiles");
        }
        for (scope, email) in people {
            let found = by_email.get(email);
            let profile = &found.unwrap_or_else(|| panic!("{email} has no profile"))[0];
            let mark = &profile["custom_attributes"][format!("joined_{scope}")];
            assert_eq!(*mark, json!(true), "{email} is not marked: {profile}");
        }
        let known = known_people().map(email_of).collect::<BTreeSet<_>>();
        let strangers = by_email
            .keys()
            .find(|email| !known.contains(*email) && !people.iter().any(|(_, one)| one == *email));
        assert_eq!(strangers, None, "a profile of nobody");
    }

    /// Who was credited in which activation, and how many requests for credits were repeated.
    async fn credits(&self) -> (BTreeSet<(String, String)>, u64) {
        let mut credited = BTreeSet::new();
        let mut repeated = 0;
        for credit in self.client.lines(&self.sandbox.question("credits")).await {
            let scope = text(&credit["q_scope"]);
            let requests = credit["requests"].as_u64().unwrap();
            assert!(
                scope != "park" || requests == 1,
                "repeated under park: {credit}"
            );
            repeated += requests - 1;
            let person = (scope, text(&credit["email"]).to_lowercase());
            assert!(credited.insert(person), "credited twice: {credit}");
        }
        (credited, repeated)
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn known_people() -> impl Iterator<Item = u64> {
    (0..KNOWN_BELOW).filter(|person| person % 10 == 3)
}

fn known_file() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let lines: Vec<String> = known_people()
        .map(|person| {
            let brand_id = format!("brand-{person}");
            json!({"email": email_of(person), "external_id": brand_id}).to_string()
        })
        .collect();
    std::fs::write(file.path(), lines.join("\n")).unwrap();
    file
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_got_a_202_outlives_every_kill_and_nothing_happens_twice() {
    let seed = std::env::var("RELAY_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or(20_261_121);
    let rounds = if full() { ROUNDS } else { ROUNDS / 10 };
    let known = known_file();
    let options = [
        "--quikly-latency",
        "2ms..20ms",
        "--known",
        known.path().to_str().unwrap(),
    ];
    let sandbox = Sandbox::start(&options).await;
    let mut trial = Trial {
        setup: Setup::new(&sandbox, ACTIVATIONS),
        sandbox,
        client: Client::new(),
        campaign: Arc::new(Campaign::new()),
        dice: Dice(seed),
        kills: 0,
    };
    eprintln!("kills: seed {seed}, {rounds} rounds");
    for round in 1..=rounds {
        let promised = trial.round().await;
        assert!(promised >= ACCEPTED_MIN, "round {round}: {promised}");
        if trial.dice.below(3) == 0 {
            trial.killed_while_it_drains().await;
        }
        let summary = trial
            .client
            .document(&trial.sandbox.question("summary?wait=false"))
            .await;
        eprintln!(
            "kills: round {round}: {promised} events got a 202, {} are open; so far {} profiles, {} credits, {} \
             repeated credit requests, {} kills",
            trial.campaign.counts().1,
            summary["profiles"],
            summary["credits"],
            summary["credit_requests_repeated"],
            trial.kills,
        );
    }
    let relay = Relay::start(&trial.setup).await;
    trial.drained(&relay).await;
    let (repeated, dead) = trial.compare(&relay).await;
    let bound = CREDITS_IN_FLIGHT_MAX * trial.kills;
    eprintln!(
        "kills: {} events got a 202 over {} kills; {repeated} credit requests were repeated, {dead} parked credits \
         died, at most {bound} were in flight",
        trial.campaign.counts().0,
        trial.kills,
    );
    assert!(repeated + dead <= bound, "{repeated} + {dead} > {bound}");
    assert!(
        !full() || repeated > 0 && dead > 0,
        "no kill met a credit in flight: this shows nothing"
    );
    relay.stop(&trial.setup).await;
}
