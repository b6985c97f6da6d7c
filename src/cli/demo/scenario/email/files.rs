//! The demo's people: what is posted, and what Braze knows before anybody joins. All of them are made up.
//!
//! Invariants: the order of the file is the order of posting. Repeats of a person with another id stand far behind the
//! first and set nothing that it has set.

use anyhow::Context as _;
use serde_json::Value;

/// What is posted, one event a line.
const PARTICIPATIONS: &str = include_str!("../../../../../deploy/demo/participations.ndjson");

/// The profiles that exist from the start, as the sandbox reads them.
pub(super) const KNOWN: &str = include_str!("../../../../../deploy/demo/known.ndjson");

/// One participation.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// As it stands in the file.
    pub text: &'static str,
    /// The same, read.
    pub event: Value,
}

impl Entry {
    /// A field that is text; empty when there is none.
    pub(super) fn field(&self, name: &str) -> &str {
        self.event[name].as_str().unwrap_or_default()
    }

    /// The e-mail, trimmed and lower-cased.
    pub(super) fn participant(&self) -> String {
        self.field("email").trim().to_lowercase()
    }
}

/// The lines of the file, up to the one that would bring one person more than `people`.
pub(super) fn participations(people: Option<usize>) -> anyhow::Result<Vec<Entry>> {
    let mut seen = std::collections::HashSet::new();
    let mut lines = Vec::new();
    for text in PARTICIPATIONS.lines() {
        let event = serde_json::from_str(text).context("the file of participations")?;
        let line = Entry { text, event };
        seen.insert(line.participant());
        if people.is_some_and(|people| seen.len() > people) {
            break;
        }
        lines.push(line);
    }
    Ok(lines)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    #[test]
    fn there_are_as_many_people_as_asked_for() {
        for people in [1, 50, 1000] {
            let lines = participations(Some(people)).unwrap();
            let distinct: HashSet<_> = lines.iter().map(Entry::participant).collect();
            assert_eq!(distinct.len(), people);
        }
        assert!(participations(None).unwrap().len() > 3000);
    }

    /// The end does not depend on the order of one person's updates: that is what `progress` is for.
    #[test]
    fn repeats_of_a_person_stand_far_behind_and_never_set_what_the_first_has_set() {
        let mut first: HashMap<String, (usize, HashSet<String>)> = HashMap::new();
        let mut ids = HashSet::new();
        for (place, line) in participations(None).unwrap().iter().enumerate() {
            let new = ids.insert((line.field("id").to_owned(), line.participant()));
            let attributes = line.event["attributes"].as_object().into_iter().flatten();
            let keys: HashSet<_> = attributes.map(|(key, _)| key.clone()).collect();
            let Some((before, set)) = first.get_mut(&line.participant()) else {
                first.insert(line.participant(), (place, keys));
                continue;
            };
            if new {
                assert!(place - *before > 150, "line {place}");
                assert!(set.is_disjoint(&keys), "line {place}: {keys:?}");
                assert_eq!(line.event.get("phone"), None, "line {place}");
                set.extend(keys);
            }
        }
    }

    #[test]
    fn the_file_holds_what_the_demo_is_to_show() {
        let lines = participations(None).unwrap();
        let some = |what: &dyn Fn(&Entry) -> bool| lines.iter().filter(|line| what(line)).count();
        assert!(some(&|line| line.field("email").contains('+')) > 100);
        assert!(some(&|line| line.field("email") != line.participant()) > 100);
        assert!(some(&|line| !line.text.is_ascii()) > 1000);
        assert!(some(&|line| line.participant().len() > 236) > 10);
        assert!(some(&|line| line.event.get("event").is_some()) > 100);
        assert!(some(&|line| line.event.get("phone").is_some()) > 100);
        assert!(some(&|line| line.field("q_scope") == "summer-drop") > 5);
        assert!(KNOWN.len() + PARTICIPATIONS.len() < 1_000_000);
    }
}
