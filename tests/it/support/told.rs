//! What an export tells of a queue: a later line of a key replaces an earlier one.

use std::collections::BTreeSet;

use serde_json::Value;

/// An export, as far as it says what there is and what it counts.
#[derive(Debug, Default)]
pub struct Told {
    /// Living jobs by id, each with the lane in which it is due without having moved.
    jobs: BTreeSet<(String, String)>,
    /// Dead letters by id.
    letters: BTreeSet<String>,
    /// Events that are done.
    done: BTreeSet<String>,
    living: u64,
    buried: u64,
}

impl Told {
    pub fn of(export: &str) -> Told {
        let mut told = Told::default();
        for line in export.lines() {
            told.take(&serde_json::from_str(line).unwrap());
        }
        told
    }

    fn take(&mut self, entry: &Value) {
        let text = |name: &str| entry[name].as_str().unwrap().to_owned();
        let number = |name: &str| entry[name].as_u64().unwrap();
        let is_gone = entry["kind"] == "gone";
        match text("kind").as_str() {
            "job" => drop(self.jobs.insert((text("id"), entry["lane"].to_string()))),
            "letter" => drop(self.letters.insert(text("id"))),
            "finished" => drop(self.done.insert(text("id"))),
            // A credit's own says nothing of the rest of its event.
            "expiry" if !text("owner").contains('.') => drop(self.done.insert(text("owner"))),
            "living" => self.living += number("due") + number("later"),
            "buried" => self.buried += number("count"),
            _ => {}
        }
        let key = &entry["key"];
        let id = key["id"].as_str().filter(|_| is_gone).unwrap_or_default();
        match key["kind"].as_str().filter(|_| is_gone) {
            Some("job") => drop(self.jobs.remove(&(id.to_owned(), key["lane"].to_string()))),
            Some("letter") => drop(self.letters.remove(id)),
            _ => {}
        }
    }

    /// The events of which there is a job or a letter, or that are done.
    pub fn events(&self) -> BTreeSet<&str> {
        let jobs = self.jobs.iter().map(|(id, _)| id);
        let ids = jobs.chain(&self.letters).chain(&self.done);
        ids.filter_map(|id| id.split('.').next()).collect()
    }

    /// Whether it tells as many jobs and letters as it counts.
    pub fn adds_up(&self) -> bool {
        (self.jobs.len() as u64, self.letters.len() as u64) == (self.living, self.buried)
    }
}
