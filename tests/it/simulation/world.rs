//! A small Braze and a small Quikly with a memory: profiles that take time to appear, an index by alias, and weather.
//!
//! What it does follows the facts: an alias that is unknown is a new profile even if the e-mail is on another one;
//! an update of what does not exist is dropped without a word; events are never de-duplicated.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use braze_relay::client::pack::objects;
use braze_relay::client::{Answers, Client, Heard};
use braze_relay::clock::Clock;
use braze_relay::model::call::{
    Address, Answer, Call, Credit, Failure, Happened, Profile, Reply, SetStatus, Subscription,
    Track,
};
use braze_relay::model::json::Object;
use braze_relay::model::lane::{Lane, LaneKind};
use braze_relay::model::rules::OnUnknown;
use braze_relay::model::time::Timestamp;

use super::lab::Lab;
use super::shaky::Shaky;

/// How often what goes wrong; each is a probability of a request, `rejected` of a call.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// Fair from then on.
    pub until: Timestamp,
    pub transient: f64,
    pub unknown_lost: f64,
    pub unknown_applied: f64,
    pub throttled: f64,
    /// A throttle names a moment.
    pub told: bool,
    pub denied: f64,
    pub apart: f64,
    pub rejected: f64,
    /// A panic of ours while sending.
    pub panics: bool,
}

/// How long things take, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Delays {
    pub latency_min: u64,
    pub latency: u64,
    /// Until a new profile is found.
    pub appears: u64,
    /// Until a found profile shows its e-mail.
    pub whole: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Person {
    pub external_id: Option<String>,
    pub braze_id: String,
    pub alias: Option<String>,
    pub email: String,
    pub phone: Option<String>,
    pub shown_email: Option<String>,
    pub attributes: Object,
    pub events: Vec<String>,
    pub appears_at: Timestamp,
    pub whole_at: Timestamp,
    /// It was there before us.
    pub known: bool,
}

/// A write to a profile on its way.
#[derive(Clone, Debug)]
pub struct Write {
    pub workspace: String,
    pub email: String,
    /// The number of its request.
    pub request: u64,
    pub sent: Timestamp,
    pub track: Track,
}

/// A call that left.
#[derive(Clone, Debug)]
pub struct Asking {
    pub email: String,
    pub at: Timestamp,
    pub lane: Lane,
    /// Something in its request was marked as begun first.
    pub marked: bool,
    /// It is part of a removal, or may be: a look-up by somebody whose profile is being removed.
    pub erases: bool,
}

/// A call that was carried out, whatever became of its answer.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The number of the request it stood in.
    pub request: u64,
    /// The number of the process that sent it.
    pub process: u64,
    /// By a clock that does not jump.
    pub at: Timestamp,
    pub call: Call,
    /// Its sender lived to hear the answer.
    pub answered: bool,
}

/// Writes that Braze refuses, by an attribute that they bring.
#[derive(Clone, Debug, Default)]
pub struct Poison {
    pub attributes: BTreeSet<String>,
    pub told: Told,
}

/// How a refused write is told of that shares its request with others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Told {
    /// Nothing of the request is taken, and nobody is named.
    #[default]
    Whole,
    /// The others are taken, and nobody is named.
    InPart,
    /// The others are taken, and only that it is an attributes object is said.
    Attributes,
}

impl Poison {
    fn is_in(&self, call: &Call) -> bool {
        matches!(call, Call::Track(track) if track.attributes.keys().any(|it| self.attributes.contains(it)))
    }
}

#[derive(Default)]
pub struct Model {
    pub people: BTreeMap<String, Vec<Person>>,
    /// Profiles that were deleted: what was on its way to them may come late.
    pub deleted: Vec<Person>,
    /// Everything that was written, and everything that Quikly was told, in order.
    pub taken: Vec<Taken>,
    /// Every phone is Subscribed from then on.
    pub subscribed_from: Option<Timestamp>,
    /// For whom something was asked, in order.
    pub asked: Vec<Asking>,
    /// Who was looked up, in order.
    pub looked_up: Vec<String>,
    requests: u64,
    processes: u64,
    /// Every time Quikly took a credit, by (`q_scope`, e-mail), whatever the key; and the keys.
    pub credits: BTreeMap<(String, String), u32>,
    pub keys: BTreeMap<(String, String), BTreeSet<String>>,
    /// Subscription groups that nobody has made.
    pub unknown_groups: BTreeSet<String>,
    pub weather: Weather,
    pub exceptions: BTreeMap<Lane, Weather>,
    pub poison: Poison,
    /// When each request of a lane left.
    pub sent: BTreeMap<Lane, Vec<Timestamp>>,
    pub calls: u64,
    /// Every write to a profile that left, in order.
    pub writes: Vec<Write>,
    in_flight: BTreeMap<String, usize>,
    pub in_flight_max: usize,
    not_before: BTreeMap<Lane, Timestamp>,
    /// When operators corrected whatever was refused: what was sent before says nothing about it.
    released_at: Timestamp,
    next_id: u64,
}

#[derive(Clone)]
pub struct World {
    model: Arc<Mutex<Model>>,
    pub lab: Lab,
    clock: Clock,
    /// Does not jump, whatever the machine's clock does.
    steady: Clock,
    delays: Arc<Mutex<BTreeMap<&'static str, Delays>>>,
    /// The store of the process that is alive, to tell whom a crash hits.
    store: Arc<Mutex<Option<Shaky>>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Verdict {
    Serve,
    Transient,
    UnknownLost,
    UnknownApplied,
    Throttled,
    Denied,
    Apart,
}

impl World {
    pub fn new(lab: &Lab, clock: &Clock, delays: Delays) -> World {
        World {
            model: Arc::default(),
            lab: lab.clone(),
            clock: clock.clone(),
            steady: clock.clone(),
            delays: Arc::new(Mutex::new(BTreeMap::from([("", delays)]))),
            store: Arc::default(),
        }
    }

    /// The same world by another clock.
    pub fn with_clock(&self, clock: &Clock) -> World {
        let clock = clock.clone();
        World {
            clock,
            ..self.clone()
        }
    }

    /// From now on things take so long in this workspace, or in this lane.
    pub fn delays_of(&self, whose: &'static str, delays: Delays) {
        self.delays.lock().unwrap().insert(whose, delays);
    }

    fn delays(&self, lane: &Lane) -> Delays {
        let delays = self.delays.lock().unwrap();
        let own = delays.get(&*lane.to_string());
        let own = own.or_else(|| delays.get(&*lane.workspace));
        own.copied().unwrap_or(delays[""])
    }

    pub fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap()
    }

    /// A process with this store lives now; it knows nothing of what the last one was told.
    pub fn serves(&self, store: &Shaky) {
        *self.store.lock().unwrap() = Some(store.clone());
        self.model().processes += 1;
        self.released();
    }

    /// Nobody has to wait any more for what was said before.
    pub fn released(&self) {
        let mut model = self.model();
        model.not_before.clear();
        model.released_at = self.clock.now();
    }

    pub fn add_known(&self, workspace: &str, mut person: Person) {
        let mut model = self.model();
        model.next_id += 1;
        person.braze_id = format!("b{}", model.next_id);
        person.known = true;
        model
            .people
            .entry(workspace.to_owned())
            .or_default()
            .push(person);
    }

    fn verdict(&self, lane: &Lane, now: Timestamp) -> (Verdict, Weather) {
        let weather = {
            let model = self.model();
            *model.exceptions.get(lane).unwrap_or(&model.weather)
        };
        if now >= weather.until {
            return (Verdict::Serve, Weather::default());
        }
        let mut rest = self.lab.below(1_000_000) as f64 / 1e6;
        for (probability, verdict) in [
            (weather.transient, Verdict::Transient),
            (weather.unknown_lost, Verdict::UnknownLost),
            (weather.unknown_applied, Verdict::UnknownApplied),
            (weather.throttled, Verdict::Throttled),
            (weather.denied, Verdict::Denied),
            (weather.apart, Verdict::Apart),
        ] {
            if rest < probability {
                return (verdict, weather);
            }
            rest -= probability;
        }
        (Verdict::Serve, weather)
    }

    /// Remembers what a request writes to whom.
    fn remember(&self, lane: &Lane, calls: &[Call], now: Timestamp) {
        let emails: Vec<_> = calls
            .iter()
            .map(|call| self.emails(lane, std::slice::from_ref(call)).pop())
            .collect();
        let erasing = self.erasing(lane);
        let marked = calls.iter().any(Call::is_marked);
        let model = &mut *self.model();
        let request = model.calls;
        let known = emails.iter().flatten();
        model.asked.extend(known.map(|email| Asking {
            email: email.clone(),
            at: now,
            lane: lane.clone(),
            marked,
            erases: erasing.contains(email),
        }));
        for (call, email) in calls.iter().zip(emails) {
            if let (Call::Track(track), Some(email)) = (call, email) {
                model.writes.push(Write {
                    workspace: lane.workspace.to_string(),
                    email,
                    request,
                    sent: now,
                    track: track.clone(),
                });
            }
        }
    }

    /// Whose look-ups in this lane are those of a removal.
    fn erasing(&self, lane: &Lane) -> BTreeSet<String> {
        let store = self.store.lock().unwrap();
        let store = store.as_ref();
        store.map_or_else(BTreeSet::new, |store| store.erasing(lane))
    }

    /// What every request must keep to. Returns its number.
    fn check(&self, lane: &Lane, calls: &[Call], now: Timestamp) -> u64 {
        self.remember(lane, calls, now);
        let mut model = self.model();
        let model = &mut *model;
        model.requests += 1;
        model.sent.entry(lane.clone()).or_default().push(now);
        model.calls += calls.len() as u64;
        if calls.is_empty()
            || calls
                .iter()
                .any(|call| call.lane() != lane.kind || objects(call) == 0)
        {
            self.lab.violated(format!(
                "{lane}: an empty request, or a call of another lane"
            ));
        }
        let most = if lane.kind == LaneKind::UsersTrack {
            75
        } else {
            1
        };
        if calls.iter().map(objects).sum::<usize>() > most {
            self.lab
                .violated(format!("{lane}: more objects than a request may carry"));
        }
        if model
            .not_before
            .get(lane)
            .is_some_and(|moment| now < *moment)
        {
            self.lab.violated(format!(
                "{lane}: a request left before the moment it was told"
            ));
        }
        let in_flight = model.in_flight.entry(host(lane)).or_default();
        *in_flight += 1;
        if *in_flight > model.in_flight_max {
            self.lab
                .violated(format!("{lane}: more requests under way than allowed"));
        }
        model.requests
    }

    fn serve(
        &self,
        lane: &Lane,
        call: &Call,
        rejected: f64,
        request: u64,
    ) -> Result<Reply, Failure> {
        if self.lab.chance(rejected) {
            return Err(Failure::Rejected(answer(400, "sim rejected")));
        }
        let now = self.clock.now();
        if matches!(call, Call::Track(_) | Call::Credit(_) | Call::SetStatus(_)) {
            let mut model = self.model();
            let process = model.processes;
            model.taken.push(Taken {
                request,
                process,
                at: self.steady.now(),
                call: call.clone(),
                answered: false,
            });
        }
        match call {
            Call::LookUp { email, .. } => Ok(Reply::Profiles(self.look_up(lane, email, now))),
            Call::Track(track) => {
                self.track(lane, track, now);
                Ok(Reply::Tracked)
            }
            Call::Credit(credit) => {
                self.credit(lane, credit);
                Ok(Reply::Credited)
            }
            Call::Recall => Err(Failure::Rejected(answer(400, "asked outside"))),
            Call::ReadStatus { group, .. } | Call::SetStatus(SetStatus { group, .. })
                if self.model().unknown_groups.contains(group) =>
            {
                Err(Failure::WrongGroup(answer(400, "sim unknown group")))
            }
            Call::ReadStatus { .. } => Ok(Reply::Status(self.status(now))),
            Call::SetStatus(_) => Ok(Reply::StatusSet),
            Call::Delete(ids) => {
                let mut model = self.model();
                let people = model.people.entry(lane.workspace.to_string()).or_default();
                let named = |it: &mut Person| ids.iter().any(|id| names(it, id));
                let deleted: Vec<Person> = people.extract_if(.., named).collect();
                model.deleted.extend(deleted);
                Ok(Reply::Deleted)
            }
        }
    }

    /// The status of every phone. How phones really behave is lived through in `phones.rs`.
    pub fn status(&self, now: Timestamp) -> Subscription {
        let from = self.model().subscribed_from;
        if from.is_some_and(|from| from <= now) {
            Subscription::Subscribed
        } else {
            Subscription::Unknown
        }
    }

    fn look_up(&self, lane: &Lane, email: &str, now: Timestamp) -> Vec<Profile> {
        let mut model = self.model();
        model.looked_up.push(email.to_owned());
        let people = model.people.entry(lane.workspace.to_string()).or_default();
        people
            .iter()
            .filter(|it| it.email == email && it.appears_at <= now)
            .map(|it| Profile {
                external_id: it.external_id.clone(),
                braze_id: Some(it.braze_id.clone()),
                email: (it.whole_at <= now)
                    .then(|| it.shown_email.clone().unwrap_or(it.email.clone())),
                phone: it.phone.clone(),
            })
            .collect()
    }

    fn track(&self, lane: &Lane, track: &Track, now: Timestamp) {
        let delays = self.delays(lane);
        let mut model = self.model();
        model.next_id += 1;
        let braze_id = format!("b{}", model.next_id);
        let gone = model.deleted.iter().any(|it| names(it, &track.address));
        let people = model.people.entry(lane.workspace.to_string()).or_default();
        let found = people.iter().position(|it| names(it, &track.address));
        let index = match found {
            Some(index) => index,
            None if gone && !track.create => return,
            None if !track.create => {
                self.lab
                    .violated("an update of a profile that does not exist".into());
                return;
            }
            None => {
                let appears_at = now + Duration::from_millis(self.lab.below(delays.appears + 1));
                let named = track.attributes.get("email").and_then(|it| it.as_str());
                let (external_id, alias, email) = match &track.address {
                    Address::ExternalId(id) => (Some(id.clone()), None, named),
                    Address::Alias(name) => (None, Some(name.clone()), named),
                    Address::Email(email) => (None, None, Some(email.as_str())),
                    Address::BrazeId(_) => (None, None, named),
                };
                people.push(Person {
                    external_id,
                    braze_id,
                    alias,
                    email: email.unwrap_or_default().to_owned(),
                    appears_at,
                    whole_at: appears_at + Duration::from_millis(self.lab.below(delays.whole + 1)),
                    ..Person::default()
                });
                people.len() - 1
            }
        };
        let person = &mut people[index];
        person.attributes.extend(track.attributes.clone());
        person
            .events
            .extend(track.events.iter().map(|it| it.name.clone()));
    }

    fn credit(&self, lane: &Lane, credit: &Credit) {
        if is_webhook(credit) {
            return;
        }
        let email = credit.email.trim().to_lowercase();
        let mut model = self.model();
        let people = model.people.get(&*lane.workspace);
        let there = people.into_iter().flatten().chain(&model.deleted);
        if !there.into_iter().any(|it| it.email == email) {
            self.lab
                .violated("somebody was credited who has no profile".into());
        }
        let whom = (credit.q_scope.clone(), email);
        *model.credits.entry(whom.clone()).or_default() += 1;
        model
            .keys
            .entry(whom)
            .or_default()
            .insert(credit.idempotency_key.clone());
    }

    /// What may have happened though nobody was told.
    fn allow(&self, lane: &Lane, calls: &[Call]) {
        for call in calls {
            match call {
                Call::LookUp { .. }
                | Call::Recall
                | Call::ReadStatus { .. }
                | Call::SetStatus(_)
                | Call::Delete(_) => {}
                Call::Credit(credit) => {
                    let email = credit.email.trim().to_lowercase();
                    if is_webhook(credit) {
                        self.lab.allow(format!("{}|{email}", credit.event));
                    } else {
                        self.lab.allow(format!("credit-{}|{email}", credit.q_scope));
                    }
                }
                Call::Track(track) => {
                    for email in self.emails(lane, std::slice::from_ref(call)) {
                        for event in &track.events {
                            self.lab.allow(format!("{}|{email}", event.name));
                        }
                    }
                }
            }
        }
    }

    fn emails(&self, lane: &Lane, calls: &[Call]) -> Vec<String> {
        let model = self.model();
        let none = Vec::new();
        let people = model.people.get(&*lane.workspace).unwrap_or(&none);
        let email = |call: &Call| match call {
            Call::LookUp { email, .. } => Some(email.clone()),
            Call::Recall | Call::ReadStatus { .. } | Call::SetStatus(_) | Call::Delete(_) => None,
            Call::Credit(credit) => Some(credit.email.trim().to_lowercase()),
            Call::Track(track) => match &track.address {
                Address::Alias(email) | Address::Email(email) => Some(email.clone()),
                address => people
                    .iter()
                    .find(|it| names(it, address))
                    .map(|it| it.email.clone()),
            },
        };
        calls.iter().filter_map(email).collect()
    }

    /// Whose profiles these calls delete.
    fn deleted(&self, lane: &Lane, calls: &[Call]) -> Vec<String> {
        let deletes = calls.iter().any(|call| matches!(call, Call::Delete(_)));
        let erasing = self.erasing(lane).into_iter();
        erasing.filter(|_| deletes).collect()
    }

    fn steps(&self, lane: &Lane, calls: &[Call]) -> Vec<String> {
        let mut emails = self.emails(lane, calls);
        // Whoever is deleted is not asked for; a crash hits the job all the same.
        emails.extend(self.deleted(lane, calls));
        let store = self.store.lock().unwrap();
        store
            .as_ref()
            .map(|it| it.steps(lane, &emails))
            .unwrap_or_default()
    }

    fn answers(
        &self,
        lane: &Lane,
        calls: &[Call],
        verdict: Verdict,
        weather: Weather,
        request: u64,
    ) -> Answers {
        let now = self.clock.now();
        let each = |failure: Failure| vec![Err(failure); calls.len()];
        match verdict {
            Verdict::Serve => self.served(lane, calls, weather.rejected, request),
            Verdict::Transient => each(Failure::Transient(answer(503, "sim transient"))),
            Verdict::UnknownLost => {
                self.allow(lane, calls);
                each(Failure::Unknown(answer(504, "sim unknown")))
            }
            Verdict::UnknownApplied => {
                self.allow(lane, calls);
                for call in calls {
                    let _applied = self.serve(lane, call, 0.0, request);
                }
                each(Failure::Unknown(answer(504, "sim unknown")))
            }
            Verdict::Throttled => each(Failure::Throttled {
                until: weather
                    .told
                    .then(|| now + Duration::from_millis(500 + self.lab.below(9500))),
                answer: answer(429, "sim throttled"),
            }),
            Verdict::Denied => each(Failure::Denied(answer(401, "sim denied"))),
            Verdict::Apart => each(Failure::Apart {
                among: calls.len(),
                happened: Happened::Nothing,
                answer: answer(400, "sim apart"),
            }),
        }
    }

    fn served(&self, lane: &Lane, calls: &[Call], rejected: f64, request: u64) -> Answers {
        let poison = self.model().poison.clone();
        let is_poisoned = calls.iter().any(|call| poison.is_in(call));
        let refused = |happened| match calls.len() {
            1 => Err(Failure::Rejected(answer(400, "sim poison"))),
            among => Err(Failure::Apart {
                among,
                happened,
                answer: answer(400, "sim poison"),
            }),
        };
        let one = |call: &Call| {
            if is_poisoned && poison.told == Told::Whole {
                return refused(Happened::Nothing);
            }
            if !poison.is_in(call) {
                let reply = self.serve(lane, call, rejected, request);
                if !is_poisoned {
                    return reply;
                }
            }
            let events = matches!(call, Call::Track(track) if !track.events.is_empty());
            refused(match poison.told {
                Told::Attributes if events => Happened::Events,
                Told::InPart if events => {
                    self.allow(lane, std::slice::from_ref(call));
                    Happened::Unknown
                }
                Told::Whole | Told::InPart | Told::Attributes => Happened::Nothing,
            })
        };
        calls.iter().map(one).collect()
    }

    /// What the other side expects after this answer.
    fn expect(&self, lane: &Lane, answers: &Answers, sent_at: Timestamp) {
        let now = self.clock.now();
        let mut model = self.model();
        let moment = match answers.first() {
            Some(Err(Failure::Throttled { until, .. })) => {
                until.unwrap_or(now + Duration::from_secs(1))
            }
            Some(Err(Failure::Denied(_))) if sent_at > model.released_at => {
                now + Duration::from_mins(1)
            }
            _ => return,
        };
        let not_before = model.not_before.entry(lane.clone()).or_default();
        *not_before = moment.max(*not_before);
    }
}

/// A request under way, until it is answered or its sender dies.
struct UnderWay<'a>(&'a World, String);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        *self.0.model().in_flight.get_mut(&self.1).unwrap() -= 1;
    }
}

impl Client for World {
    async fn perform(&self, lane: &Lane, calls: Vec<Call>) -> Heard {
        let now = self.clock.now();
        let request = self.check(lane, &calls, now);
        let under_way = UnderWay(self, host(lane));
        let (verdict, weather) = self.verdict(lane, now);
        assert!(!weather.panics, "a panic of ours, as planned");
        let delays = self.delays(lane);
        let spread = self.lab.below(delays.latency + 1);
        let latency = Duration::from_millis(delays.latency_min + spread);
        let early = self.lab.chance(0.5);
        self.lab.place("sent", || self.steps(lane, &calls)).await;
        if !early {
            self.clock.sleep(latency).await;
        }
        let answers = self.answers(lane, &calls, verdict, weather, request);
        self.lab.place("arrived", || self.steps(lane, &calls)).await;
        if early {
            self.clock.sleep(latency).await;
        }
        self.expect(lane, &answers, now);
        let named = calls.iter().zip(&answers).map(|(call, it)| class(call, it));
        self.lab.state().answered = named.collect();
        self.lab.state().heard.clone_from(&answers);
        if verdict == Verdict::Serve {
            let taken = &mut self.model().taken;
            let of_this = taken.iter_mut().filter(|it| it.request == request);
            of_this.for_each(|it| it.answered = true);
        }
        drop(under_way);
        Heard::silent(answers)
    }

    fn objects_max(&self, lane: &Lane) -> usize {
        match lane.kind {
            LaneKind::UsersTrack => 75,
            _ => 1,
        }
    }
}

fn names(person: &Person, address: &Address) -> bool {
    match address {
        Address::ExternalId(id) => person.external_id.as_ref() == Some(id),
        Address::BrazeId(id) => person.braze_id == *id,
        Address::Alias(name) => person.alias.as_ref() == Some(name),
        Address::Email(email) => person.email == *email,
    }
}

/// What a Braze campaign tells, as these tests name it; not a credit of the activation's own.
pub fn is_webhook(credit: &Credit) -> bool {
    credit.event.starts_with("hook-")
}

fn host(lane: &Lane) -> String {
    format!("{}/{}", lane.workspace, lane.kind == LaneKind::Quikly)
}

fn parks(call: &Call) -> bool {
    match call {
        Call::LookUp { .. }
        | Call::Recall
        | Call::ReadStatus { .. }
        | Call::SetStatus(_)
        | Call::Delete(_) => false,
        Call::Track(track) => !track.events.is_empty() && track.on_unknown == OnUnknown::Park,
        Call::Credit(credit) => credit.on_unknown == OnUnknown::Park,
    }
}

fn class(call: &Call, answer: &Result<Reply, Failure>) -> &'static str {
    match answer {
        Ok(Reply::Profiles(found)) if found.iter().any(|it| it.email.is_none()) => "not whole",
        Ok(_) => "ok",
        Err(Failure::Transient(_)) => "transient",
        Err(Failure::Unknown(_)) if parks(call) => "unknown, parked",
        Err(Failure::Unknown(_)) => "unknown, resent",
        Err(Failure::Throttled { .. }) => "throttled",
        Err(Failure::Rejected(_)) => "rejected",
        Err(Failure::WrongGroup(_)) => "wrong group",
        Err(Failure::Denied(_)) => "denied",
        Err(Failure::Apart { .. }) => "apart",
    }
}

fn answer(status: u16, text: &str) -> Answer {
    Answer {
        status: Some(status),
        text: text.to_owned(),
    }
}
