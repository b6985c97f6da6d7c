//! Whole lives of `sms` and `double_opt_in` from a seed: the pure core against a Braze of phones, in virtual time.
//!
//! The core is asked and answered directly (no store, no engine): what is proved here is what the flows promise,
//! whatever fails, is lost or repeated. Everybody's end is a function of the seed.

use std::collections::BTreeMap;
use std::time::Duration;

use super::campaign::event;
use super::lab::Lab;
use braze_relay::flow::job::{Commit, Fate, Flow, Job, Outcome, Reason, Start};
use braze_relay::flow::settle::{Settled, found_begun, settle};
use braze_relay::flow::{ask, is_empty, revive, start};
use braze_relay::model::call::{Answer, Call, Failure, Profile, Reply, Subscription, Track};
use braze_relay::model::event::Event;
use braze_relay::model::rules::{
    ConfiguredEvent, ConfirmEvery, CreditRule, Identity, OnUnknown, OptIn, ParticipationFlow,
    PhoneMismatch, PhoneRules, RetryPolicy, RuleBook, Rules, SubscribeBy,
};
use braze_relay::model::time::Timestamp;

const START: Timestamp = Timestamp::from_millis(1_795_770_600_000);
const DELAY: Duration = Duration::from_secs(120);
/// The longest that Braze takes to know a profile that it accepted.
const APPEARS_WITHIN: Duration = Duration::from_secs(100);

/// What happens in a world.
#[derive(Clone, Copy, Debug)]
struct Weather {
    /// Of all calls, these fail, half of them after they happened.
    failing: f64,
    /// Of all answers, these are lost with the process.
    crashing: f64,
    /// Of those who are asked to confirm: they do.
    confirming: f64,
    /// Of those who were subscribed: they say STOP soon after.
    stopping: f64,
    /// Sets are accepted and forgotten.
    forgets_sets: bool,
}

const FAIR: Weather = Weather {
    failing: 0.2,
    crashing: 0.1,
    confirming: 0.5,
    stopping: 0.3,
    forgets_sets: false,
};

/// One phone in Braze.
#[derive(Clone, Debug, Default)]
struct Phone {
    /// When the profile that holds it can be seen.
    appears: Option<Timestamp>,
    subscribed: bool,
    /// Somebody set or asked something of it: no longer unknown.
    touched: bool,
    /// When it will be confirmed, after a prompt.
    confirms: Option<Timestamp>,
    stopped: bool,
    /// When it will say STOP.
    stops: Option<Timestamp>,
    prompts: u32,
}

impl Phone {
    fn at(&mut self, now: Timestamp) {
        if self.confirms.is_some_and(|moment| moment <= now) {
            (self.confirms, self.subscribed) = (None, true);
        }
        if self.stops.is_some_and(|moment| moment <= now) {
            (self.stops, self.subscribed, self.stopped) = (None, false, true);
        }
    }

    fn status(&self) -> Subscription {
        match (self.touched, self.subscribed) {
            (_, true) => Subscription::Subscribed,
            (true, false) => Subscription::Unsubscribed,
            (false, false) => Subscription::Unknown,
        }
    }
}

/// A profile as a look-up shows it.
#[derive(Clone, Debug)]
struct Person {
    braze_id: String,
    phone: Option<String>,
    appears: Timestamp,
}

struct World {
    dice: Lab,
    weather: Weather,
    phones: BTreeMap<String, Phone>,
    people: BTreeMap<String, Person>,
    calls: u64,
    wrong: Vec<String>,
    double_opt_in: bool,
}

impl World {
    fn phone(&mut self, number: &str, now: Timestamp) -> &mut Phone {
        let phone = self.phones.entry(number.to_owned()).or_default();
        phone.at(now);
        phone
    }

    fn prompt(&mut self, number: &str, now: Timestamp) {
        let confirms = self.dice.chance(self.weather.confirming);
        let after = Duration::from_secs(10 + self.dice.below(200_000));
        let phone = self.phone(number, now);
        phone.touched = true;
        phone.prompts += 1;
        if confirms && !phone.subscribed && phone.confirms.is_none() {
            phone.confirms = Some(now + after);
        }
    }

    fn set(&mut self, number: &str, now: Timestamp) {
        let stops = self.dice.chance(self.weather.stopping);
        let after = Duration::from_secs(1 + self.dice.below(4_000));
        if self.weather.forgets_sets {
            return;
        }
        let phone = self.phone(number, now);
        let wrong = phone.stopped;
        phone.touched = true;
        phone.subscribed = true;
        if stops {
            phone.stops = Some(now + after);
        }
        if wrong {
            self.wrong
                .push(format!("{number} was subscribed again after STOP"));
        }
    }

    /// Does what is asked.
    fn happen(&mut self, call: &Call, event: &Event, now: Timestamp) -> Reply {
        let consents = event.sms_consent && event.phone.is_some();
        match call {
            Call::LookUp { email, .. } => {
                let found = self.people.get(email).filter(|it| it.appears <= now);
                Reply::Profiles(found.map(|it| shown(it, email)).into_iter().collect())
            }
            Call::Track(track) => {
                self.track(track, event, now, consents);
                Reply::Tracked
            }
            Call::ReadStatus { phone, .. } => Reply::Status(self.phone(phone, now).status()),
            Call::SetStatus(set) => {
                if !consents {
                    self.wrong
                        .push(format!("{} was set without consent", set.phone));
                }
                let appears = self.phone(&set.phone, now).appears;
                if appears.is_none_or(|appears| appears > now) {
                    self.wrong
                        .push(format!("{} was set before its profile exists", set.phone));
                }
                if set.double_opt_in {
                    self.prompt(&set.phone, now);
                } else {
                    self.set(&set.phone, now);
                }
                Reply::StatusSet
            }
            Call::Recall => Reply::Remembered(None),
            Call::Credit(_) => Reply::Credited,
            Call::Delete(_) => Reply::Deleted,
        }
    }

    fn track(&mut self, track: &Track, event: &Event, now: Timestamp, consents: bool) {
        let appears = now + APPEARS_WITHIN.mul_f64(self.dice.below(1000) as f64 / 1000.0);
        let next = self.people.len();
        let person = self
            .people
            .entry(event.email.clone())
            .or_insert_with(|| Person {
                braze_id: format!("b{next}"),
                phone: None,
                appears,
            });
        let number = track.attributes.get("phone").and_then(|it| it.as_str());
        if let Some(number) = number {
            let known = person.appears;
            person.phone = Some(number.to_owned());
            let phone = self.phone(number, now);
            phone.appears.get_or_insert(known.max(appears));
        }
        let opts_in = track.events.iter().any(|event| event.name == "opt-in");
        if (opts_in || track.subscribe.is_some()) && !consents {
            self.wrong
                .push(format!("{} is asked without consent", event.email));
        }
        let Some(number) = event.phone.clone() else {
            return;
        };
        match &track.subscribe {
            Some(subscribe) if !subscribe.double_opt_in => self.set(&number, now),
            Some(_) => self.prompt(&number, now),
            None if opts_in => self.prompt(&number, now),
            None => {}
        }
    }
}

fn shown(person: &Person, email: &str) -> Profile {
    Profile {
        external_id: None,
        braze_id: Some(person.braze_id.clone()),
        email: Some(email.to_owned()),
        phone: person.phone.clone(),
    }
}

/// One participation on its way, and how it ended.
struct Life {
    event: Event,
    job: Job,
    end: Option<Result<Outcome, Reason>>,
    credits: u32,
    ended_at: Timestamp,
    /// How its status was last read.
    read: Option<Subscription>,
    sets: u32,
}

/// How an activation is set up, by number.
fn activation(number: u64, retry: RetryPolicy) -> Rules {
    let double = number % 2 == 1;
    let opt_in = double.then(|| {
        if number % 4 == 1 {
            OptIn::Event(ConfiguredEvent {
                name: "opt-in".into(),
                on_unknown: OnUnknown::Resend,
            })
        } else {
            OptIn::Logic(OnUnknown::Resend)
        }
    });
    let by_email = number % 8 >= 4;
    let seconds = Duration::from_secs;
    let (first, max, within) = if double {
        (30, 3_600, 30 * 86_400)
    } else {
        (5, 60, 3_600)
    };
    Rules {
        flow: Some(if double {
            ParticipationFlow::DoubleOptIn
        } else {
            ParticipationFlow::Sms
        }),
        identity: if by_email {
            Identity::Email
        } else {
            Identity::Export
        },
        phone: Some(PhoneRules {
            group: "g".into(),
            subscribe: if number % 16 >= 8 {
                SubscribeBy::Inline
            } else {
                SubscribeBy::Delayed
            },
            delay: DELAY,
            mismatch: if by_email {
                PhoneMismatch::Replace
            } else {
                PhoneMismatch::Dead
            },
            confirm: ConfirmEvery {
                first: seconds(first),
                max: seconds(max),
                within: seconds(within),
            },
            opt_in,
        }),
        credit: Some(CreditRule {
            event: "done".into(),
            on_unknown: OnUnknown::Resend,
        }),
        retry,
        ..Rules::plain("drop", "acme")
    }
}

const RETRY: RetryPolicy = RetryPolicy {
    first: Duration::from_secs(1),
    max: Duration::from_mins(10),
    max_attempts: 0,
    max_age: Duration::from_hours(3),
};

fn answer(text: &str) -> Answer {
    Answer {
        status: None,
        text: text.into(),
    }
}

/// What is counted over all seeds, so that nothing is promised that never happened.
type Seen = BTreeMap<String, u64>;

/// Lives a whole campaign; returns its people and its world.
fn live(seed: u64, weather: Weather, seen: &mut Seen) -> (Vec<Life>, World) {
    let rules = activation(seed, RETRY);
    let book = RuleBook::new([rules.clone()]);
    let mut world = World {
        dice: Lab::new(seed),
        weather,
        phones: BTreeMap::new(),
        people: BTreeMap::new(),
        calls: 0,
        wrong: Vec::new(),
        double_opt_in: rules
            .phone
            .as_ref()
            .is_some_and(|phone| phone.opt_in.is_some()),
    };
    let mut lives: Vec<Life> = (0..24)
        .map(|number| begin(number, &mut world, &book))
        .collect();
    let mut steps = 0;
    while let Some(next) = (0..lives.len())
        .filter(|index| lives[*index].end.is_none())
        .min_by_key(|index| lives[*index].job.due)
    {
        steps += 1;
        assert!(
            steps < 40_000,
            "seed {seed}: somebody waits for ever: {:?}",
            lives[next].job
        );
        step(&mut lives[next], &mut world, &rules, seen);
    }
    (lives, world)
}

fn begin(number: u64, world: &mut World, book: &RuleBook) -> Life {
    let email = format!("p{number}@b.example");
    let phone = format!("+1555000{number:04}");
    let mut event = event(number, "drop", &email);
    event.sms_consent = !number.is_multiple_of(5);
    event.phone = (!number.is_multiple_of(7)).then(|| phone.clone());
    let known = |own: Option<String>| Person {
        braze_id: format!("k{number}"),
        phone: own,
        appears: START,
    };
    match number % 4 {
        1 => drop(world.people.insert(email, known(None))),
        2 => {
            world.people.insert(email, known(Some(phone.clone())));
            let subscribed = number.is_multiple_of(3);
            let touched = number % 3 != 1;
            let appears = Some(START);
            world.phones.insert(
                phone,
                Phone {
                    appears,
                    subscribed,
                    touched,
                    ..Phone::default()
                },
            );
        }
        3 if number % 8 == 3 => drop(
            world
                .people
                .insert(email, known(Some("+15559999999".into()))),
        ),
        _ => {}
    }
    let Start::Run { job, .. } = start(&event, book, START).0 else {
        panic!("it must run");
    };
    let (end, credits, ended_at) = (None, 0, START);
    Life {
        event,
        job,
        end,
        credits,
        ended_at,
        read: None,
        sets: 0,
    }
}

fn step(life: &mut Life, world: &mut World, rules: &Rules, seen: &mut Seen) {
    let now = life.job.due;
    if let Some(commit) = found_begun(&life.job, &life.event, now, rules) {
        return apply(life, commit, now, seen);
    }
    let call = ask(&life.job, &life.event, rules).unwrap();
    world.calls += 1;
    let mut job = life.job.clone();
    job.begun = call.is_marked();
    if job.begun {
        life.job.begun = true;
    }
    let fails = world.dice.chance(world.weather.failing);
    let happens = !fails || world.dice.chance(0.5);
    let reply = if is_empty(&call) {
        Ok(Reply::Tracked)
    } else if happens {
        Ok(world.happen(&call, &life.event, now))
    } else {
        Err(Failure::Transient(answer("nothing happened")))
    };
    if happens && !is_empty(&call) && matches!(call, Call::SetStatus(_)) {
        life.sets += 1;
    }
    if world.dice.chance(world.weather.crashing) {
        *seen
            .entry(format!("crash at {}", life.job.state.step()))
            .or_default() += 1;
        // The answer is lost; a little later the job is due again, with its mark.
        life.job.due = now + Duration::from_secs(1 + world.dice.below(5_000));
        return;
    }
    let answered = match reply {
        Ok(_) if fails && happens => Err(Failure::Unknown(answer("no answer"))),
        Err(Failure::Transient(said)) if world.dice.chance(0.3) => Err(Failure::Throttled {
            until: None,
            answer: said,
        }),
        other => other,
    };
    if let Ok(Reply::Status(status)) = &answered {
        life.read = Some(*status);
    }
    match settle(
        job,
        &life.event,
        answered,
        now,
        rules,
        world.dice.below(1000) as f64 / 1000.0,
    ) {
        Settled::Commit(commit) => apply(life, commit, now, seen),
        Settled::GiveBack => life.job.due = now + Duration::from_mins(1),
    }
}

fn apply(life: &mut Life, commit: Commit, now: Timestamp, seen: &mut Seen) {
    let from = life.job.state.step();
    for child in &commit.spawn {
        assert_eq!(child.job.state.flow(), Flow::Credit);
        life.credits += 1;
        assert_eq!(
            life.read,
            Some(Subscription::Subscribed),
            "{} is credited and was not read as Subscribed",
            life.event.email
        );
    }
    let to = match commit.fate {
        Fate::Keep { job, .. } => {
            assert!(job.due >= now, "a job is due before now");
            life.job = job;
            life.job.state.step().to_owned()
        }
        Fate::Finish(outcome) => {
            life.end = Some(Ok(outcome));
            outcome.to_string()
        }
        Fate::Bury { job, burial } => {
            life.job = job;
            life.end = Some(Err(burial.reason));
            burial.reason.to_string()
        }
    };
    life.ended_at = now;
    let flow = life.job.state.flow();
    *seen.entry(format!("{flow}: {from} → {to}")).or_default() += 1;
}

/// What holds at the end of every campaign.
fn judge(seed: u64, lives: &[Life], world: &World) {
    assert_eq!(world.wrong, [""; 0], "seed {seed}");
    for life in lives {
        let who = (seed, &life.event.email, &life.end);
        let consents = life.event.sms_consent && life.event.phone.is_some();
        let earned = matches!(
            life.end,
            Some(Ok(Outcome::Subscribed | Outcome::AlreadySubscribed))
        );
        assert_eq!(life.credits, u32::from(earned), "{who:?}");
        if !consents {
            let missing = if life.event.phone.is_none() {
                Outcome::NoPhone
            } else {
                Outcome::NoConsent
            };
            assert!(
                matches!(life.end, Some(Ok(outcome)) if outcome == missing)
                    || matches!(life.end, Some(Err(Reason::GaveUp))),
                "{who:?}"
            );
        }
        if let Some(Err(Reason::PhoneMismatch)) = life.end {
            let phone = &world.people[&life.event.email].phone;
            assert_eq!(phone.as_deref(), Some("+15559999999"), "{who:?}");
        }
        assert!(
            world.double_opt_in || life.end != Some(Ok(Outcome::NotConfirmed)),
            "{who:?}"
        );
    }
}

fn seeds() -> u64 {
    std::env::var("RELAY_SIM_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(800)
}

#[test]
fn nobody_is_credited_unsubscribed_set_early_or_asked_without_consent_whatever_fails() {
    let mut seen = Seen::new();
    for seed in 0..seeds() {
        let (lives, world) = live(seed, FAIR, &mut seen);
        judge(seed, &lives, &world);
    }
    for row in [
        "sms: check → already_subscribed",
        "sms: check → look_up",
        "sms: look_up → create",
        "sms: look_up → update",
        "sms: look_up → set",
        "sms: look_up → phone_mismatch",
        "sms: create → set",
        "sms: update → set",
        "sms: set → confirm",
        "sms: set → recheck",
        "sms: recheck → set",
        "sms: recheck → opted_out",
        "sms: recheck → subscribed",
        "sms: confirm → subscribed",
        "sms: confirm → confirm",
        "sms: confirm → not_subscribed",
        "sms: create → no_consent",
        "sms: create → no_phone",
        "double_opt_in: check → already_subscribed",
        "double_opt_in: create → confirm",
        "double_opt_in: update → confirm",
        "double_opt_in: set → confirm",
        "double_opt_in: confirm → subscribed",
        "double_opt_in: confirm → not_confirmed",
        "crash at set",
        "crash at create",
        "crash at confirm",
    ] {
        assert!(seen.contains_key(row), "never happened: {row}\n{seen:#?}");
    }
    println!("phones: {seen:#?}");
}

#[test]
fn a_world_that_never_confirms_ends_by_the_window_and_credits_nobody() {
    let never = Weather {
        confirming: 0.0,
        stopping: 0.0,
        forgets_sets: true,
        failing: 0.0,
        crashing: 0.0,
    };
    for seed in 0..32 {
        let (lives, world) = live(seed, never, &mut Seen::new());
        judge(seed, &lives, &world);
        let waited = lives
            .iter()
            .filter(|it| it.credits == 0)
            .map(|it| it.ended_at.since(START))
            .max();
        let window = if world.double_opt_in {
            Duration::from_hours(720)
        } else {
            Duration::from_hours(1)
        };
        let waited = waited.unwrap();
        assert!(
            waited >= window && waited < window + DELAY * 2,
            "seed {seed}: {waited:?}"
        );
    }
}

#[test]
fn a_world_that_always_fails_ends_by_age() {
    let down = Weather {
        failing: 1.0,
        crashing: 0.0,
        ..FAIR
    };
    for seed in 0..64 {
        let (lives, world) = live(seed, down, &mut Seen::new());
        judge(seed, &lives, &world);
    }
}

#[test]
fn a_replayed_letter_of_somebody_who_said_stop_subscribes_nobody() {
    let mut opted_out = 0;
    for seed in (0..800).filter(|seed| seed % 2 == 0) {
        let mut seen = Seen::new();
        let (mut lives, mut world) = live(
            seed,
            Weather {
                stopping: 1.0,
                failing: 0.93,
                ..FAIR
            },
            &mut seen,
        );
        let rules = activation(seed, RETRY);
        let book = RuleBook::new([rules.clone()]);
        world.weather = Weather {
            failing: 0.0,
            crashing: 0.0,
            ..world.weather
        };
        for life in lives
            .iter_mut()
            .filter(|it| matches!(it.end, Some(Err(Reason::NotSubscribed | Reason::GaveUp))))
        {
            let later = life.ended_at + Duration::from_hours(24);
            let revived = revive(&life.event, None, None, Some(&life.job), &book, later).unwrap();
            let Start::Run { job, .. } = revived else {
                panic!()
            };
            (life.job, life.end, life.read) = (job, None, None);
            while life.end.is_none() {
                step(life, &mut world, &rules, &mut seen);
            }
            opted_out += u32::from(life.end == Some(Ok(Outcome::OptedOut)));
        }
        assert_eq!(world.wrong, [""; 0], "seed {seed}");
    }
    println!("phones: {opted_out} replayed letters ended as opted_out");
    assert!(opted_out > 0, "nobody said STOP before a replay");
}
