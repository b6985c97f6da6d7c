//! The comparison by name: profiles, credits, subscriptions, prompts and dead letters, one by one.
//!
//! Invariants: pure. What a kill may repeat is told apart; everything else must be exactly as on paper.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::ask::Set;
use super::expected::{Credit, Expected, Seat};
use super::profile::Profile;

/// How long Braze needs to know a profile and its phone before a subscription finds it.
const SUBSCRIPTION_DELAY: Duration = Duration::from_secs(120);

/// Compares all profiles; says how often events happened more often than they must, where that may be: on profiles of
/// `may_repeat`.
pub(super) fn profiles(
    must: &BTreeMap<String, Vec<Profile>>,
    is: &[Profile],
    may_repeat: &dyn Fn(&str) -> bool,
    differences: &mut Vec<String>,
) -> u64 {
    let mut by_person: BTreeMap<&str, Vec<&Profile>> = BTreeMap::new();
    for profile in is {
        by_person.entry(profile.whose()).or_default().push(profile);
    }
    let none = Vec::new();
    let people = by_person.keys().copied();
    let all: BTreeSet<&str> = people.chain(must.keys().map(String::as_str)).collect();
    let mut repeated = 0;
    for person in all {
        let wanted = must.get(person).unwrap_or(&none);
        let found = by_person.get(person).cloned().unwrap_or_default();
        repeated += of_person(person, wanted, found, may_repeat(person), differences);
    }
    repeated
}

/// Compares the profiles of one person, in any order.
fn of_person(
    person: &str,
    must: &[Profile],
    is: Vec<&Profile>,
    may_repeat: bool,
    differences: &mut Vec<String>,
) -> u64 {
    let mut left = is;
    let mut repeated = 0;
    for wanted in must {
        let same = |other: &&Profile| {
            other.external_id == wanted.external_id && other.aliases == wanted.aliases
        };
        match left.iter().position(same) {
            Some(place) => {
                let found = left.remove(place);
                repeated += differ(person, wanted, found, may_repeat, differences);
            }
            None => differences.push(format!("{person}: there is no profile {}", name(wanted))),
        }
    }
    for extra in left {
        differences.push(format!(
            "{person}: there is a profile too many, {}",
            name(extra)
        ));
    }
    repeated
}

fn name(profile: &Profile) -> String {
    let aliases = profile
        .aliases
        .iter()
        .map(|(label, name)| format!("{label}:{name}"));
    let names: Vec<_> = profile.external_id.iter().cloned().chain(aliases).collect();
    match names.as_slice() {
        [] => "by e-mail only".into(),
        names => names.join(", "),
    }
}

fn differ(
    person: &str,
    must: &Profile,
    is: &Profile,
    may_repeat: bool,
    differences: &mut Vec<String>,
) -> u64 {
    let mut tell = |what: &str, must: Option<String>, is: Option<String>| {
        let shown = |value: Option<String>| value.unwrap_or_else(|| "nothing".into());
        if must != is {
            differences.push(format!(
                "{person}: {what} must be {}, is {}",
                shown(must),
                shown(is)
            ));
        }
    };
    tell("phone", must.phone.clone(), is.phone.clone());
    let groups = |profile: &Profile| {
        let all: Vec<_> = profile.groups.iter().cloned().collect();
        (!all.is_empty()).then(|| all.join(", "))
    };
    tell("Subscribed in", groups(must), groups(is));
    let keys: BTreeSet<_> = must.attributes.keys().chain(is.attributes.keys()).collect();
    for key in keys {
        let (wanted, found) = (must.attributes.get(key), is.attributes.get(key));
        tell(
            key,
            wanted.map(ToString::to_string),
            found.map(ToString::to_string),
        );
    }
    let mut repeated = 0;
    let names: BTreeSet<_> = must.events.keys().chain(is.events.keys()).collect();
    for name in names {
        let count = |profile: &Profile| profile.events.get(name).copied().unwrap_or(0);
        let (wanted, found) = (count(must), count(is));
        // One request under way was cut by the one kill: each event in it happened at most once more.
        if may_repeat && wanted > 0 && found > wanted && found <= 2 * wanted {
            repeated += found - wanted;
            continue;
        }
        tell(
            &format!("the count of {name}"),
            Some(wanted.to_string()),
            Some(found.to_string()),
        );
        if is.overtaken.contains(name) {
            let order = |text: &str| Some(text.to_owned());
            tell(
                &format!("the order of {name}"),
                order("as it happened"),
                order("another"),
            );
        }
    }
    repeated
}

/// Compares what was told to Quikly, each as often as it must.
pub(super) fn credits(must: &BTreeMap<Credit, u64>, is: &[Credit], differences: &mut Vec<String>) {
    let mut left = must.clone();
    for credit in is {
        let Credit {
            scope,
            event,
            email,
            pairs,
        } = credit;
        match left.get_mut(credit) {
            Some(count @ 1..) => *count -= 1,
            Some(_) => differences.push(format!(
                "{email}: credited a second time ({scope}, {event})"
            )),
            None => differences.push(format!(
                "{email}: credited for nothing ({scope}, {event}{})",
                further(pairs)
            )),
        }
    }
    for (credit, count) in left {
        let Credit {
            scope,
            event,
            email,
            pairs,
        } = credit;
        for _ in 0..count {
            differences.push(format!(
                "{email}: not credited ({scope}, {event}{})",
                further(&pairs)
            ));
        }
    }
}

fn further(pairs: &str) -> String {
    if pairs == "{}" {
        String::new()
    } else {
        format!(", {pairs}")
    }
}

/// Compares the statuses that were set: each phone once, in time, and for somebody who was there.
pub(super) fn sets(must: &BTreeMap<Seat, bool>, is: &[Set], differences: &mut Vec<String>) {
    let mut left = must.clone();
    for set in is {
        let (phone, group) = &set.seat;
        match left.remove(&set.seat) {
            Some(double_opt_in) if double_opt_in == set.double_opt_in => {}
            Some(_) => differences.push(format!("{phone}: set in the wrong way in {group}")),
            None if must.contains_key(&set.seat) => {
                differences.push(format!("{phone}: set a second time in {group}"));
            }
            None => differences.push(format!("{phone}: set in {group}, must not be")),
        }
        if set.outcome != "taken" {
            differences.push(format!("{phone}: the set came to nothing, {}", set.outcome));
        }
        if let Some(waited) = set.waited.filter(|waited| *waited < SUBSCRIPTION_DELAY) {
            let seconds = waited.as_secs_f64();
            differences.push(format!(
                "{phone}: set {seconds:.3} s after Braze was told of the profile or its phone, must be 120 s or more"
            ));
        }
    }
    for (phone, group) in left.into_keys() {
        differences.push(format!("{phone}: never set in {group}"));
    }
}

/// Compares who was asked to confirm: each once.
pub(super) fn prompts(must: &BTreeSet<Seat>, is: &[Seat], differences: &mut Vec<String>) {
    let mut left = must.clone();
    for seat in is {
        if !left.remove(seat) {
            let (phone, group) = seat;
            let how = if must.contains(seat) {
                "a second time"
            } else {
                "for nothing"
            };
            differences.push(format!("{phone}: asked to confirm {how}, for {group}"));
        }
    }
    for (phone, group) in left {
        differences.push(format!("{phone}: never asked to confirm, for {group}"));
    }
}

/// Compares the dead letters. `ids`: the relay's id of each line.
pub(super) fn letters(
    expected: &Expected,
    is: &[(String, String)],
    ids: &HashMap<String, String>,
    differences: &mut Vec<String>,
) {
    let mut left: HashMap<&str, &str> = HashMap::new();
    for (event, reason) in is {
        if left.insert(event, reason).is_some() {
            differences.push(format!("event {event}: two dead letters"));
        }
    }
    for (line, reason) in &expected.dead {
        let found = ids.get(line).and_then(|id| left.remove(id.as_str()));
        if found != Some(*reason) {
            let found = found.unwrap_or("none");
            differences.push(format!(
                "{line}: must be a dead letter {reason}, is {found}"
            ));
        }
    }
    let mut rest: Vec<_> = left.into_iter().collect();
    rest.sort_unstable();
    for (event, reason) in rest {
        let lines = ids.iter().filter(|(_, id)| *id == event);
        let line = lines.map(|(line, _)| line.as_str()).min();
        let line = line.unwrap_or("an event that nobody posted");
        differences.push(format!("{line}: is a dead letter {reason}, must not be"));
    }
}
