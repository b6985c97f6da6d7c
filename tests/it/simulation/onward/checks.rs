//! What is true at the end of every campaign of `webhook`, `outgrow` and `progress`, whatever happened in it.

use std::collections::{BTreeMap, BTreeSet};

use braze_relay::flow::job::{Flow, Outcome, Reason};
use braze_relay::model::call::{Address, Call, Credit, Track};
use braze_relay::model::event::{Event, EventKind, Source};
use braze_relay::model::id::EventId;
use braze_relay::model::json::ObjectText;
use braze_relay::model::rules::OnUnknown;
use braze_relay::store::DeadLetter;

use super::super::campaign::Life;
use super::super::invariants;
use super::super::world::{Taken, is_webhook};
use super::campaign::Promise;

pub type Leads = BTreeMap<String, Promise>;

/// Checks everything and says what is violated.
pub async fn check(life: &Life, leads: &Leads) -> Vec<String> {
    let mut wrong = life.lab.state().violations.clone();
    let letters = life.dead().await;
    let dead: BTreeMap<EventId, &DeadLetter> = letters.iter().map(|it| (it.id.event, it)).collect();
    let log = Log::of(life);
    let died: BTreeSet<EventId> = dead.keys().chain(&life.replayed).copied().collect();
    invariants::conservation(life, dead.len() as u64, &mut wrong);
    for (id, event) in &life.accepted {
        let letter = dead.get(id).copied();
        match event.kind {
            EventKind::Webhook => webhook(life, &log, event, letter, &mut wrong),
            EventKind::Lead => lead(life, &log, event, letter, (leads, &died), &mut wrong),
            EventKind::Progress | EventKind::Participation => {
                update(life, &log, event, letter, &died, &mut wrong);
            }
            EventKind::Erasure => wrong.push(format!("{id}: nobody asked for a removal here")),
        }
    }
    keys_are_apart(&log, &mut wrong);
    outcomes(life, &dead, leads, &mut wrong);
    nothing_else_is_started(life, &mut wrong);
    in_order(life, &log, &mut wrong);
    wrong
}

/// What was told and written, in order.
struct Log {
    told: Vec<Credit>,
    tracks: Vec<(Taken, Track)>,
}

impl Log {
    fn of(life: &Life) -> Log {
        let (mut told, mut tracks) = (Vec::new(), Vec::new());
        for taken in &life.world.model().taken {
            match &taken.call {
                Call::Credit(credit) if is_webhook(credit) => told.push(credit.clone()),
                Call::Track(track) => tracks.push((taken.clone(), track.clone())),
                _ => {}
            }
        }
        Log { told, tracks }
    }
}

/// Handed on with exactly its pairs, under one key.
fn webhook(
    life: &Life,
    log: &Log,
    event: &Event,
    dead: Option<&DeadLetter>,
    wrong: &mut Vec<String>,
) {
    let told_of = event.event.as_ref().unwrap();
    let pairs = told_of.properties.as_ref().map(|it| it.as_str().to_owned());
    let told = log.told.iter().filter(|it| it.event == told_of.name);
    let told: Vec<&Credit> = told.collect();
    let name = &told_of.name;
    if let Some(letter) = dead {
        let reason = letter.burial.reason;
        if !matches!(reason, Reason::Rejected | Reason::GaveUp) {
            wrong.push(format!("{name}: died as {reason}"));
        }
    } else if told.is_empty() {
        wrong.push(format!("{name}: done, and Quikly was not told"));
    }
    for one in &told {
        let whole = Some(ObjectText::new(&one.pairs).as_str().to_owned());
        if one.q_scope != event.scope || one.email != event.email_given() || whole != pairs {
            wrong.push(format!("{name}: told otherwise: {one:?}"));
        }
        if one.on_unknown != OnUnknown::Resend {
            wrong.push(format!("{name}: may be parked"));
        }
    }
    let keys: BTreeSet<_> = told.iter().map(|it| &it.idempotency_key).collect();
    if keys.len() > 1 {
        wrong.push(format!("{name}: told under {} keys", keys.len()));
    }
    let allowed = life.lab.allowed(&format!("{name}|{}", event.email)) as usize;
    if told.len() > 1 + allowed {
        wrong.push(format!("{name}: told {} times", told.len()));
    }
}

/// Two webhooks never share a key: Quikly would take the second for a repetition.
fn keys_are_apart(log: &Log, wrong: &mut Vec<String>) {
    let mut names: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for one in &log.told {
        let sharing = names.entry(&one.idempotency_key).or_default();
        sharing.insert(&one.event);
    }
    if let Some((_, shared)) = names.into_iter().find(|(_, names)| names.len() > 1) {
        wrong.push(format!("one key for {shared:?}"));
    }
}

fn lead(
    life: &Life,
    log: &Log,
    event: &Event,
    dead: Option<&DeadLetter>,
    (leads, died): (&Leads, &BTreeSet<EventId>),
    wrong: &mut Vec<String>,
) {
    let (key, promise) = (&event.key, &leads[&event.key]);
    let reason = dead.map(|letter| letter.burial.reason);
    match (promise, reason) {
        // Behind a participation that died before it had made a profile, whatever was in the lead.
        (_, Some(Reason::NoProfile)) if follows_a_dead_one(life, died, event) => {}
        (Promise::BadAnswer, Some(Reason::BadAnswer))
        | (Promise::Written { .. }, Some(Reason::Rejected | Reason::GaveUp))
        | (Promise::Nothing, None) => {}
        (Promise::Written { .. }, None) => {
            if !log.tracks.iter().any(|(_, track)| fits(track, promise)) {
                wrong.push(format!("{key}: done, and {promise:?} was not written"));
            }
        }
        (promise, reason) => wrong.push(format!("{key}: {promise:?} ended as {reason:?}")),
    }
    // Whatever is written for it is what was promised, every time.
    let name = serde_json::json!(format!("lead-{key}"));
    for (_, track) in &log.tracks {
        if track.attributes.get("lead") == Some(&name) && !fits(track, promise) {
            wrong.push(format!(
                "{key}: {promise:?}, and this was written: {track:?}"
            ));
        }
    }
}

/// Whether a participation of the same person in the same workspace came before and died, or had died.
fn follows_a_dead_one(life: &Life, died: &BTreeSet<EventId>, event: &Event) -> bool {
    let before = |it: &&Event| {
        it.kind == EventKind::Participation && it.participant() == event.participant()
    };
    let earlier = life
        .accepted
        .iter()
        .take_while(|(_, it)| it.key != event.key);
    let mut earlier = earlier.filter(|(_, it)| before(it));
    earlier.any(|(id, _)| died.contains(id))
}

fn fits(track: &Track, promise: &Promise) -> bool {
    match promise {
        Promise::Written {
            address,
            attributes,
            ..
        } => {
            track.address == *address
                && track.attributes == *attributes
                && track.create
                && track.events.is_empty()
                && track.subscribe.is_none()
        }
        Promise::Nothing | Promise::BadAnswer => false,
    }
}

/// Leads end as it was promised, counted by outcome.
fn outcomes(
    life: &Life,
    dead: &BTreeMap<EventId, &DeadLetter>,
    leads: &Leads,
    wrong: &mut Vec<String>,
) {
    let mut promised: BTreeMap<Outcome, u64> = BTreeMap::new();
    for (id, event) in &life.accepted {
        let Some(promise) = leads.get(&event.key).filter(|_| !dead.contains_key(id)) else {
            continue;
        };
        if event.kind == EventKind::Lead {
            *promised
                .entry(match promise {
                    Promise::Written { part: true, .. } => Outcome::UpdatedInPart,
                    Promise::Written { .. } => Outcome::Updated,
                    Promise::Nothing | Promise::BadAnswer => Outcome::NothingToWrite,
                })
                .or_default() += 1;
        }
    }
    let mut ended: BTreeMap<Outcome, u64> = BTreeMap::new();
    for ((group, outcome), count) in life.counts().done {
        if group.flow == Some(Flow::Outgrow) {
            *ended.entry(outcome).or_default() += count;
        }
    }
    if promised != ended {
        wrong.push(format!(
            "leads: {promised:?} were promised, {ended:?} ended"
        ));
    }
}

/// The update of a participation or progress: its attributes arrive as they are, its custom event too.
fn update(
    life: &Life,
    log: &Log,
    event: &Event,
    letter: Option<&DeadLetter>,
    died: &BTreeSet<EventId>,
    wrong: &mut Vec<String>,
) {
    let dead = letter.is_some();
    match letter.map(|it| it.burial.reason) {
        None | Some(Reason::Rejected | Reason::GaveUp | Reason::UnknownOutcome) => {}
        Some(Reason::NoProfile) if follows_a_dead_one(life, died, event) => {}
        Some(reason) => wrong.push(format!("{}: died as {reason}", event.key)),
    }
    let mine = |name: &str| name == format!("own-{}", event.key);
    let tracks = &log.tracks;
    let value = event.attributes.as_ref().map(|it| it.object());
    let arrived = |(_, track): &(Taken, Track)| {
        let wanted = value.iter().flatten();
        wanted
            .into_iter()
            .all(|(name, value)| track.attributes.get(name) == Some(value))
    };
    if value.is_some() && !dead && !tracks.iter().any(arrived) {
        wrong.push(format!(
            "{}: done, and its attributes did not arrive",
            event.key
        ));
    }
    if event.event.is_none() {
        return;
    }
    let rules = life.book.activation(&event.scope).unwrap();
    let parks = rules.progress_on_unknown == OnUnknown::Park;
    let events = tracks.iter().flat_map(|(_, track)| &track.events);
    let count = events.filter(|it| mine(&it.name)).count();
    invariants::bounded(
        life,
        &format!("own-{}", event.key),
        &event.email,
        count,
        parks,
        wrong,
    );
    if count == 0 && !dead {
        wrong.push(format!("{}: done, and its event did not arrive", event.key));
    }
}

/// Webhooks make no profile, and leads are looked up by nobody.
fn nothing_else_is_started(life: &Life, wrong: &mut Vec<String>) {
    let known: BTreeSet<&str> = life
        .accepted
        .values()
        .filter(|it| it.source == Source::Braze)
        .map(|it| it.email.as_str())
        .filter(|it| it.starts_with("only-told"))
        .collect();
    let model = life.world.model();
    let people = model.people.values().flatten();
    if people
        .into_iter()
        .any(|it| known.contains(it.email.as_str()))
    {
        wrong.push("a webhook made a profile".into());
    }
    if model
        .credits
        .keys()
        .any(|(_, email)| known.contains(email.as_str()))
    {
        wrong.push("a webhook counted as a credit".into());
    }
    let looked = model.looked_up.iter();
    if let Some(email) = looked.into_iter().find(|it| it.starts_with("lead-")) {
        wrong.push(format!("{email} was looked up for a lead"));
    }
}

/// What a write brings: of which accepted events.
fn brings<'a>(life: &'a Life, track: &Track) -> Vec<(EventId, &'a Event)> {
    let has = |event: &Event| {
        let own = format!("own-{}", event.key);
        let name = serde_json::json!(format!("lead-{}", event.key));
        let lead = event.kind == EventKind::Lead && track.attributes.get("lead") == Some(&name);
        lead || track.attributes.contains_key(&own) || track.events.iter().any(|it| it.name == own)
    };
    let all = life.accepted.iter().filter(|(_, event)| has(event));
    all.map(|(id, event)| (*id, event)).collect()
}

/// One participant's writes reach Braze in the order of acceptance, at least a gap apart. A repetition may stand behind
/// what is later only where that was not settled either; a dead letter that lives again comes when it comes.
fn in_order(life: &Life, log: &Log, wrong: &mut Vec<String>) {
    struct Write<'a> {
        id: EventId,
        taken: &'a Taken,
    }
    let mut by_person: BTreeMap<&str, Vec<Write<'_>>> = BTreeMap::new();
    for (taken, track) in &log.tracks {
        for (id, event) in brings(life, track) {
            by_person
                .entry(event.participant())
                .or_default()
                .push(Write { id, taken });
        }
    }
    let last = by_person
        .values()
        .flatten()
        .map(|it| it.taken.process)
        .max();
    let settled = |it: &Write<'_>| it.taken.answered && Some(it.taken.process) == last;
    for (who, writes) in by_person {
        for (place, write) in writes.iter().enumerate() {
            let mut before = writes[..place].iter();
            let repeated = writes[..place].iter().any(|it| it.id == write.id);
            let overtaken = before.any(|it| it.id > write.id && (!repeated || settled(it)));
            if overtaken && !life.replayed.contains(&write.id) {
                wrong.push(format!("{who}: {:?} was overtaken", write.id));
            }
            let Some(previous) = writes[..place]
                .iter()
                .rfind(|it| it.taken.request != write.taken.request)
            else {
                continue;
            };
            let same_request = |it: &&Write<'_>| it.taken.request == previous.taken.request;
            let new = !writes
                .iter()
                .filter(same_request)
                .any(|it| it.id == write.id);
            let gap = write.taken.at.since(previous.taken.at);
            let gap_min = life.book.activations().next().unwrap().order_gap;
            // After a start nobody waits who makes a profile: nothing that is there can be put out of order by it.
            let makes = matches!(
                &write.taken.call,
                Call::Track(Track {
                    address: Address::Alias(_),
                    create: true,
                    ..
                })
            );
            let excused = makes && previous.taken.process != write.taken.process;
            if new && gap < gap_min && !excused {
                wrong.push(format!(
                    "{who}: two requests only {gap:?} apart: {:?} then {:?}",
                    previous.taken, write.taken
                ));
            }
        }
    }
}
