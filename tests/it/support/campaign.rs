//! A client that remembers what it was promised, and holds the relay to it.
//!
//! Invariants: an event that was promised keeps its id for ever: posted again it is a duplicate with the same id. A request
//! without an answer, or that was turned away, stays open and is posted again.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use braze_relay::client::http::{RawAnswer, Trouble};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use url::Url;

use super::{Client, Dice, Item, Post, Receipt, Relay, Told};

/// What the client remembers: the whole truth about what it was promised.
pub struct Campaign {
    pub notes: Mutex<Notes>,
    /// How many events were promised.
    pub promised: watch::Sender<u64>,
}

#[derive(Default)]
pub struct Notes {
    events: u64,
    /// By event: what the relay calls it.
    pub promised: HashMap<Item, String>,
    /// Answered.
    told: Vec<Post>,
    /// Nobody knows whether they were accepted.
    unanswered: Vec<Post>,
}

impl Campaign {
    pub fn new() -> Campaign {
        Campaign {
            notes: Mutex::default(),
            promised: watch::Sender::new(0),
        }
    }

    /// What to post next: what is still open first, now and then something that was answered already, else new events.
    pub fn next(&self, dice: &mut Dice, at_most: u64) -> Post {
        let mut notes = self.notes.lock().unwrap();
        if let Some(post) = notes.unanswered.pop() {
            return post;
        }
        if !notes.told.is_empty() && dice.below(20) == 0 {
            let place = dice.below(notes.told.len() as u64) as usize;
            return notes.told[place].clone();
        }
        let count = 1 + dice.below(at_most);
        let mut items: Vec<Item> = (0..count)
            .map(|_| {
                notes.events += 1;
                event(notes.events)
            })
            .collect();
        if count > 10 {
            // Twice in one batch.
            items.push(items[3].clone());
        }
        Post(items)
    }

    /// Takes note of an answer; `false` when there was none, or it was turned away.
    pub fn heard(&self, post: Post, answer: Result<RawAnswer, Trouble>) -> bool {
        let mut notes = self.notes.lock().unwrap();
        let answer = match answer {
            Ok(answer) if answer.whole && answer.status != 503 => answer,
            Ok(_) | Err(_) => {
                notes.unanswered.push(post);
                return false;
            }
        };
        let receipt = Receipt::of(&post, &answer);
        let distinct: BTreeSet<&Item> = post.0.iter().collect();
        let unheard_of = distinct
            .iter()
            .filter(|item| !notes.promised.contains_key(**item));
        let unheard_of = unheard_of.count() as u64;
        assert!(
            receipt.accepted <= unheard_of,
            "of {} events {unheard_of} were not promised yet, and {} were accepted as new",
            post.0.len(),
            receipt.accepted
        );
        for (item, id) in post.0.iter().zip(&receipt.ids) {
            let first = notes.promised.entry(item.clone()).or_insert(id.clone());
            assert_eq!(first, id, "{} has two ids", item.id);
        }
        notes.told.push(post);
        self.promised.send_replace(notes.promised.len() as u64);
        true
    }

    /// How many events were promised, and how many are open.
    pub fn counts(&self) -> (u64, u64) {
        let notes = self.notes.lock().unwrap();
        let open = notes.unanswered.iter().map(|post| post.0.len() as u64);
        (notes.promised.len() as u64, open.sum())
    }
}

/// The event with this number: most are people of their own, some take part in both activations, some twice in one.
pub fn event(number: u64) -> Item {
    let scope = ["resend", "park"][(number % 2) as usize];
    let person = match number % 16 {
        7 => number - 1,
        5 => number - 2,
        _ => number,
    };
    Item::new(number, scope, person)
}

pub async fn load(campaign: Arc<Campaign>, events: Url, seed: u64, at_most: u64) {
    let client = Client::new();
    let mut dice = Dice(seed);
    loop {
        let post = campaign.next(&mut dice, at_most);
        let answer = client.post(&events, post.body()).await;
        if !campaign.heard(post, answer) {
            return;
        }
    }
}

/// So many connections post one event at a time, and so many post batches of up to 150.
const SINGLES: usize = 5;
const BATCHES: usize = 2;

impl Campaign {
    /// Posts until the connections break. Returns when `enough` events are promised; the rest goes on in what it returns.
    pub async fn under_load(
        self: &Arc<Self>,
        relay: &Relay,
        dice: &mut Dice,
        enough: u64,
    ) -> JoinSet<()> {
        let mut promised = self.promised.subscribe();
        let mut loaders = JoinSet::new();
        for number in 0..SINGLES + BATCHES {
            let at_most = if number < SINGLES { 1 } else { 150 };
            loaders.spawn(load(
                self.clone(),
                relay.events().clone(),
                dice.next(),
                at_most,
            ));
        }
        tokio::select! {
            reached = promised.wait_for(|count| *count >= enough) => drop(reached.unwrap()),
            ended = loaders.join_next() => panic!("a client gave up: {ended:?}"),
        }
        for _ in 0..dice.below(2000) {
            tokio::task::yield_now().await;
        }
        loaders
    }

    /// Posts everything promised once more: each must be a duplicate with the id it was promised under. Returns how many.
    pub async fn all_kept(&self, client: &Client, relay: &Relay) -> usize {
        let items: Vec<Item> = self
            .notes
            .lock()
            .unwrap()
            .promised
            .keys()
            .cloned()
            .collect();
        for some in items.chunks(2000) {
            let post = Post(some.to_vec());
            let answer = client.post(relay.events(), post.body()).await;
            let receipt = Receipt::of(&post, answer.as_ref().unwrap());
            assert_eq!(receipt.accepted, 0, "so many were promised and are lost");
            assert!(self.heard(post, answer));
        }
        items.len()
    }

    /// Whether everything promised is still known to a relay; `None` when it ended while it was asked.
    pub async fn kept(&self, client: &Client, relay: &Relay) -> Option<bool> {
        let promised = self.notes.lock().unwrap().promised.clone();
        let items: Vec<Item> = promised.keys().cloned().collect();
        for some in items.chunks(2000) {
            let post = Post(some.to_vec());
            let answer = client.post(relay.events(), post.body()).await.ok()?;
            if answer.status != 202 {
                return None;
            }
            let receipt = Receipt::of(&post, &answer);
            let same = post
                .0
                .iter()
                .zip(&receipt.ids)
                .all(|(item, id)| promised[item] == *id);
            if receipt.accepted > 0 || !same {
                return Some(false);
            }
        }
        Some(true)
    }

    /// Whether everything promised is in a relay's backup, as a job, a letter or as done, with as many jobs and letters as it
    /// counts; `Err` says what is not. `None` when it ended while it was asked.
    pub async fn held(&self, client: &Client, relay: &Relay) -> Option<Result<(), String>> {
        let route = relay.ops("/api/v1/backup");
        let answer = client.post(&route, b"{}".to_vec()).await.ok()?;
        if answer.status != 200 || !answer.whole {
            return None;
        }
        let told = Told::of(&String::from_utf8(answer.body).unwrap());
        let events = told.events();
        let promised = self.notes.lock().unwrap().promised.clone();
        let lost = promised.values().filter(|id| !events.contains(id.as_str()));
        let lost = lost.count();
        if lost > 0 {
            return Some(Err(format!("of {lost} promised events nothing is there")));
        }
        if !told.adds_up() {
            return Some(Err("it counts other jobs than it tells".into()));
        }
        Some(Ok(()))
    }

    /// Posts what is open until it is answered.
    pub async fn open_posted(&self, client: &Client, relay: &Relay) {
        let mut dice = Dice(0);
        while self.counts().1 > 0 {
            let post = self.next(&mut dice, 1);
            let answer = client.post(relay.events(), post.body()).await;
            assert!(self.heard(post, answer));
        }
    }

    /// The relay's own account, right after a start: `(accepted, done, dead, queued)`.
    pub async fn conserved(&self, client: &Client, relay: &Relay) -> [u64; 4] {
        let status = client.document(&relay.ops("/api/v1/status")).await;
        let (promised, open) = self.counts();
        let events = &status["events"];
        assert_eq!(events["adds_up"], json!(true), "{events}");
        let counts = ["accepted", "done", "dead", "queued"].map(|it| events[it].as_u64().unwrap());
        assert!(
            (promised..=promised + open).contains(&counts[0]),
            "{promised} events were promised, {open} are open, and the relay has {events}"
        );
        counts
    }
}
