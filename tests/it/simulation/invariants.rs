//! What is true at the end of every life, whatever happened in it.

use std::collections::{BTreeMap, BTreeSet};

use braze_relay::flow::job::{Flow, Outcome};
use braze_relay::model::call::Track;
use braze_relay::model::event::{Event, EventKind};
use braze_relay::model::id::EventId;
use braze_relay::model::rules::{OnUnknown, Rules};

use super::campaign::Life;
use super::world::{Person, Write};

/// Checks everything and says what is violated.
pub async fn check(life: &Life) -> Vec<String> {
    let mut wrong = life.lab.state().violations.clone();
    let letters = life.dead().await;
    let dead: BTreeSet<EventId> = letters.iter().map(|it| it.id.event).collect();
    conservation(life, dead.len() as u64, &mut wrong);
    profiles(life, &mut wrong);
    let mut first: BTreeMap<(&str, &str), EventId> = BTreeMap::new();
    for (id, event) in life.accepted.iter().chain(&life.forgotten) {
        if event.kind == EventKind::Participation {
            let first = first.entry((&event.scope, &event.email)).or_insert(*id);
            *first = (*first).min(*id);
        }
    }
    let removed = |event: &Event| life.removed.contains(&event.email);
    for (id, event) in life.accepted.iter().filter(|(_, event)| !removed(event)) {
        if !dead.contains(id) {
            let is_first = first.get(&(&*event.scope, &*event.email)) == Some(id);
            done(life, event, is_first, &mut wrong);
        }
        own_events(life, event, dead.contains(id), &mut wrong);
    }
    created_events(life, &mut wrong);
    credits(life, &mut wrong);
    turns(life, &dead, &mut wrong);
    wrong
}

/// Between two requests for one participant lies the gap, unless the second repeats the first; and what was delivered was
/// delivered in order of acceptance: the last time that it left comes before the last time of whatever was accepted later.
/// Dead letters that live again come late by their nature.
fn turns(life: &Life, dead: &BTreeSet<EventId>, wrong: &mut Vec<String>) {
    let gap = Rules::plain("", "").order_gap;
    let mut by_person: BTreeMap<(&str, &str), Vec<&Write>> = BTreeMap::new();
    let model = life.world.model();
    for write in &model.writes {
        let whom = (&*write.workspace, &*write.email);
        by_person.entry(whom).or_default().push(write);
    }
    let own: BTreeMap<String, EventId> = life
        .accepted
        .iter()
        .filter(|(id, _)| !dead.contains(id) && !life.replayed.contains(id))
        .map(|(id, event)| (format!("own-{}", event.key), *id))
        .collect();
    let gone = life.forgotten.iter();
    let gone: BTreeSet<String> = gone
        .map(|(_, event)| format!("own-{}", event.key))
        .collect();
    for ((workspace, _), writes) in by_person {
        let requests: Vec<&[&Write]> = writes
            .chunk_by(|one, next| one.request == next.request)
            .collect();
        for pair in requests.windows(2) {
            let (before, after) = (pair[0], pair[1]);
            // Events that were taken are not repeated with the rest.
            let same = |old: &Track, new: &Track| {
                let rest = Track {
                    events: new.events.clone(),
                    ..old.clone()
                };
                old == new || (new.events.is_empty() && rest == *new)
            };
            let repeats = after
                .iter()
                .all(|it| before.iter().any(|old| same(&old.track, &it.track)));
            // Whoever is forgotten while a request is under way begins anew: nothing is known of it any more.
            let is_gone = |write: &&Write| {
                let mut names = write.track.attributes.keys();
                names.any(|name| gone.contains(name.as_str()))
            };
            let apart = after[0].sent.since(before[0].sent);
            if apart < gap && !repeats && !before.iter().any(is_gone) {
                wrong.push(format!(
                    "{workspace}: two requests for one participant within {apart:?}: {before:?}, {after:?}"
                ));
            }
        }
        let mut last: BTreeMap<EventId, usize> = BTreeMap::new();
        for (place, write) in writes.iter().enumerate() {
            let events = write.track.events.iter().map(|it| &it.name);
            let mut names = write.track.attributes.keys().chain(events);
            if let Some(id) = names.find_map(|name| own.get(name)) {
                last.insert(*id, place);
            }
        }
        if !last.values().is_sorted() {
            wrong.push(format!("{workspace}: updates have overtaken: {last:?}"));
        }
    }
}

pub fn conservation(life: &Life, dead: u64, wrong: &mut Vec<String>) {
    let events = life.counts().events;
    let elsewhere = life.forgotten.len() + life.erasures.len();
    if events.accepted != (life.accepted.len() + elsewhere) as u64
        || events.accepted != events.done + events.dead + events.queued + events.forgotten
        || events.forgotten != life.forgotten.len() as u64
        || events.dead != dead
        || events.queued != 0
    {
        wrong.push(format!(
            "events are not conserved: {events:?}, accepted {}",
            life.accepted.len()
        ));
    }
}

/// Nobody is there twice because of us, and who was there before is never treated as new.
fn profiles(life: &Life, wrong: &mut Vec<String>) {
    for (workspace, people) in &life.world.model().people {
        let mut by_email: BTreeMap<&str, Vec<&Person>> = BTreeMap::new();
        for person in people {
            by_email.entry(&person.email).or_default().push(person);
            let created = |name: &String| name.starts_with("new-");
            if person.known && person.attributes.keys().any(created) {
                wrong.push(format!(
                    "{workspace}: a found profile got created_attributes"
                ));
            }
            if person.known && person.events.iter().any(|it| it.starts_with("joined-")) {
                wrong.push(format!("{workspace}: a found profile got a created_event"));
            }
            if !person.known && person.email.len() <= 236 && person.alias.is_none() {
                wrong.push(format!("{workspace}: a profile was made without our alias"));
            }
        }
        for all in by_email.values() {
            let made = all.iter().filter(|it| !it.known).count();
            let known = all.len() - made;
            if made > 1 || (made == 1 && known > 0) {
                wrong.push(format!(
                    "{workspace}: a profile exists twice ({known} known, {made} made)"
                ));
            }
        }
    }
}

/// Everybody of that e-mail in the workspace the event goes to.
fn people(life: &Life, event: &Event) -> Vec<Person> {
    let rules = life.book.activation(&event.scope);
    let workspace = rules.map_or("beta", |it| &*it.workspace);
    let model = life.world.model();
    let all = model.people.get(workspace).into_iter().flatten();
    all.filter(|it| it.email == event.email).cloned().collect()
}

/// What was promised for an event that is done.
fn done(life: &Life, event: &Event, is_first: bool, wrong: &mut Vec<String>) {
    let people = people(life, event);
    let has = |attribute: &str| {
        people
            .iter()
            .any(|it| it.attributes.contains_key(attribute))
    };
    if people.is_empty() {
        wrong.push(format!("{}: done, and there is no profile", event.key));
    }
    if event.attributes.is_some() && !has(&format!("own-{}", event.key)) {
        wrong.push(format!(
            "{}: done, and its attributes are not there",
            event.key
        ));
    }
    let Some(rules) = life.book.activation(&event.scope).filter(|_| is_first) else {
        return;
    };
    if rules.mark_attributes.keys().any(|mark| !has(mark)) {
        wrong.push(format!("{}: done, and the marks are not there", event.key));
    }
    let whom = (event.scope.clone(), event.email.clone());
    if rules.credit.is_some() && !life.world.model().credits.contains_key(&whom) {
        wrong.push(format!("{}: done, and not credited", event.key));
    }
}

fn own_events(life: &Life, event: &Event, dead: bool, wrong: &mut Vec<String>) {
    let Some(own) = &event.event else { return };
    let people = people(life, event);
    let count = people
        .iter()
        .flat_map(|it| &it.events)
        .filter(|it| **it == own.name)
        .count();
    let parks = |scope| {
        let rules = life.book.activation(scope);
        rules.is_some_and(|it| it.progress_on_unknown == OnUnknown::Park)
    };
    bounded(
        life,
        &own.name,
        &event.email,
        count,
        parks(&event.scope),
        wrong,
    );
    if count == 0 && !dead {
        wrong.push(format!("{}: done, and its event is not there", event.key));
    }
}

/// Not more often than once, but for outcomes that nobody knows and that may be repeated.
pub fn bounded(
    life: &Life,
    name: &str,
    email: &str,
    count: usize,
    parks: bool,
    wrong: &mut Vec<String>,
) {
    let replayed = life.lab.allowed(&format!("replayed-{name}|{email}"));
    let allowed = if parks {
        replayed
    } else {
        life.lab.allowed(&format!("{name}|{email}"))
    };
    if count > 1 + allowed as usize {
        wrong.push(format!(
            "{name} happened {count} times, {allowed} repetitions are explained"
        ));
    }
}

fn created_events(life: &Life, wrong: &mut Vec<String>) {
    for rules in life.book.activations() {
        let Some(created) = &rules.created_event else {
            continue;
        };
        let parks = created.on_unknown == OnUnknown::Park;
        let model = life.world.model();
        let people = model
            .people
            .get(&*rules.workspace)
            .cloned()
            .unwrap_or_default();
        drop(model);
        let mut total = 0;
        for person in &people {
            let count = person
                .events
                .iter()
                .filter(|it| **it == created.name)
                .count();
            total += count;
            bounded(life, &created.name, &person.email, count, parks, wrong);
        }
        let counts = life.counts();
        let made: u64 = counts
            .done
            .iter()
            .filter(|((group, outcome), _)| {
                let email = group.flow == Some(Flow::Email) && *outcome == Outcome::Created;
                email && group.activation == rules.scope
            })
            .map(|(_, count)| count)
            .sum();
        if (total as u64) < made && life.removed.is_empty() {
            wrong.push(format!(
                "{}: {made} created, and only {total} were told of",
                rules.scope
            ));
        }
    }
}

fn credits(life: &Life, wrong: &mut Vec<String>) {
    let model = life.world.model();
    for ((scope, email), count) in &model.credits {
        let parks = scope == "park";
        bounded(
            life,
            &format!("credit-{scope}"),
            email,
            *count as usize,
            parks,
            wrong,
        );
        if model.keys[&(scope.clone(), email.clone())].len() > 1 {
            wrong.push(format!("{scope}: somebody was credited under two keys"));
        }
    }
}
