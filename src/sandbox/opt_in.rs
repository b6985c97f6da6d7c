//! Double opt-in: who was prompted, who is waited for, and when they answer.
//!
//! Rules (double_opt_in): at most one prompt per rolling 24 hours for those who come in by API; 30 days to confirm, counted
//! from the latest prompt; by API the prompt is in English, whatever the profile's language.
//!
//! Invariants: knows phones and groups, never profiles; `now` is an argument. An answer counts only while its prompt is
//! waited for: a STOP in between ends the waiting, and what was going to be answered is void.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use super::people::{Behaviour, Reaction};
use crate::model::time::Timestamp;

/// How long nobody is prompted again by API.
const PROMPT_REST: Duration = Duration::from_hours(24);
/// How long a prompt can be confirmed.
const CONFIRM_WITHIN: Duration = Duration::from_hours(30 * 24);

/// How somebody came to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Door {
    /// `use_double_opt_in_logic` in a status set.
    StatusSet,
    /// `use_double_opt_in_logic` in `/users/track`.
    UsersTrack,
    /// A custom event of this name, to which the brand's own campaign listens.
    Event(String),
    /// START.
    Keyword,
}

impl Door {
    const fn as_str(&self) -> &'static str {
        match self {
            Door::StatusSet => "status_set",
            Door::UsersTrack => "users_track",
            Door::Event(_) => "event",
            Door::Keyword => "keyword",
        }
    }

    /// Whether Braze's own double opt-in was entered by API.
    pub const fn is_api(&self) -> bool {
        matches!(self, Door::StatusSet | Door::UsersTrack)
    }
}

/// One prompt that was sent.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// When.
    pub at: Timestamp,
    /// For which subscription group.
    pub group: String,
    /// To whom.
    pub phone: String,
    /// Why.
    pub door: Door,
    /// In which language.
    pub language: String,
    /// What they do about it.
    pub reaction: Reaction,
    /// When they had said STOP to this group, if they had.
    pub stopped_at: Option<Timestamp>,
}

impl Prompt {
    fn answers_at(&self) -> Option<Timestamp> {
        self.reaction.after().map(|after| self.at + after)
    }

    /// As the question routes show it.
    pub fn shown(&self, place: usize, workspace: &str) -> Value {
        let event = match &self.door {
            Door::Event(name) => Some(name),
            Door::StatusSet | Door::UsersTrack | Door::Keyword => None,
        };
        json!({
            "id": place, "at": self.at, "workspace": workspace, "subscription_group_id": self.group,
            "phone": self.phone, "by": self.door.as_str(), "event": event, "language": self.language,
            "will": self.reaction.as_str(), "answers_at": self.answers_at(), "stopped_at": self.stopped_at,
        })
    }

    /// How it was come by, as a filter asks.
    pub fn by(&self) -> &'static str {
        self.door.as_str()
    }
}

/// Somebody who has not answered yet.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    /// The first prompt that is waited for; answers to earlier ones are void.
    first_prompt: usize,
    /// The latest prompt.
    pub prompted_at: Timestamp,
    /// The last moment to confirm.
    pub expires_at: Timestamp,
}

/// How often what happened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Prompts not sent, because one had been sent within 24 hours.
    pub suppressed: u64,
    /// Confirmed in time, by themselves or by a question route.
    pub confirmed: u64,
    /// STOP in answer to a prompt.
    pub refused: u64,
    /// Would have confirmed, but too late.
    pub expired: u64,
    /// Prompts to people who had said STOP.
    pub after_stop: u64,
}

/// Phone and subscription group.
type Seat = (String, String);

/// All double opt-ins of a workspace.
pub struct OptIns {
    /// How people behave from now on; prompts that were sent keep their answers.
    pub behaviour: Behaviour,
    /// In order.
    pub prompts: Vec<Prompt>,
    /// Counters.
    pub tally: Tally,
    waiting: BTreeMap<Seat, Waiting>,
    prompted_by_api: BTreeMap<Seat, Timestamp>,
    stopped: BTreeMap<Seat, Timestamp>,
    /// Moment and prompt.
    answers: BTreeSet<(Timestamp, usize)>,
    /// So late is it; whoever waits for longer than they may is not shown as waiting.
    now: Timestamp,
}

fn seat(phone: &str, group: &str) -> Seat {
    (phone.to_owned(), group.to_owned())
}

impl OptIns {
    /// Nobody asked yet.
    pub fn new(behaviour: Behaviour) -> OptIns {
        OptIns {
            behaviour,
            prompts: Vec::new(),
            tally: Tally::default(),
            waiting: BTreeMap::new(),
            prompted_by_api: BTreeMap::new(),
            stopped: BTreeMap::new(),
            answers: BTreeSet::new(),
            now: Timestamp::ZERO,
        }
    }

    /// Sends a prompt, unless the rule of 24 hours forbids it. Only a campaign of the brand prompts at every event.
    pub fn ask(&mut self, phone: &str, group: &str, door: Door, language: &str, now: Timestamp) {
        let seat = seat(phone, group);
        if door.is_api() {
            let last = self.prompted_by_api.get(&seat);
            if last.is_some_and(|last| now.since(*last) < PROMPT_REST) {
                self.tally.suppressed += 1;
                return;
            }
            self.prompted_by_api.insert(seat.clone(), now);
        }
        let place = self.prompts.len();
        let stopped_at = self.stopped.get(&seat).copied();
        self.tally.after_stop += u64::from(stopped_at.is_some());
        let prompt = Prompt {
            at: now,
            group: group.to_owned(),
            phone: phone.to_owned(),
            language: if door.is_api() { "en" } else { language }.to_owned(),
            door,
            reaction: self.behaviour.reaction(phone),
            stopped_at,
        };
        self.answers
            .extend(prompt.answers_at().map(|moment| (moment, place)));
        self.prompts.push(prompt);
        let waiting = self.waiting.entry(seat).or_insert(Waiting {
            first_prompt: place,
            prompted_at: now,
            expires_at: now,
        });
        waiting.prompted_at = now;
        waiting.expires_at = now + CONFIRM_WITHIN;
    }

    /// It is so late now.
    pub fn tick(&mut self, now: Timestamp) {
        self.now = now;
    }

    /// When somebody answers next, whether it counts or not.
    pub fn next_answer(&self) -> Option<Timestamp> {
        self.answers.first().map(|(moment, _)| *moment)
    }

    /// The next answer's prompt, if the answer is still of interest.
    pub fn take_answer(&mut self) -> Option<Prompt> {
        let (_, place) = self.answers.pop_first()?;
        let prompt = self.prompts.get(place)?;
        let waiting = self.waiting.get(&seat(&prompt.phone, &prompt.group))?;
        (waiting.first_prompt <= place).then(|| prompt.clone())
    }

    /// Takes a confirmation; whether it was waited for and in time.
    pub fn confirm(&mut self, phone: &str, group: &str, now: Timestamp) -> bool {
        let seat = seat(phone, group);
        let Some(waiting) = self.waiting.remove(&seat) else {
            return false;
        };
        if waiting.expires_at < now {
            self.tally.expired += 1;
            return false;
        }
        self.tally.confirmed += 1;
        self.stopped.remove(&seat);
        true
    }

    /// STOP: nobody is waited for any more.
    pub fn stop(&mut self, phone: &str, group: &str, now: Timestamp) {
        self.end(phone, group);
        self.stopped.insert(seat(phone, group), now);
    }

    /// START takes a STOP back.
    pub fn start(&mut self, phone: &str, group: &str) {
        self.stopped.remove(&seat(phone, group));
    }

    /// The question is settled otherwise.
    pub fn end(&mut self, phone: &str, group: &str) {
        if !self.waiting.is_empty() {
            self.waiting.remove(&seat(phone, group));
        }
    }

    /// Who is waited for, if this phone is.
    pub fn waiting(&self, phone: &str, group: &str) -> Option<Waiting> {
        let waiting = self.waiting.get(&seat(phone, group)).copied();
        waiting.filter(|one| self.now <= one.expires_at)
    }

    /// Since when there is a STOP, if there is one.
    pub fn stopped_at(&self, phone: &str, group: &str) -> Option<Timestamp> {
        if self.stopped.is_empty() {
            return None;
        }
        self.stopped.get(&seat(phone, group)).copied()
    }

    /// The groups for which this phone is waited for.
    pub fn groups_waiting(&self, phone: &str) -> Vec<String> {
        let first = seat(phone, "");
        let mine = self.waiting.range(first..);
        let mine = mine.take_while(|((whose, _), _)| whose == phone);
        let mine = mine.filter(|(_, one)| self.now <= one.expires_at);
        mine.map(|((_, group), _)| group.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests may")]
    use super::*;
    use crate::sandbox::options::Spread;

    const GROUP: &str = "g";
    const ADA: &str = "+15550100000";
    const HOUR: Duration = Duration::from_hours(1);

    /// Everybody confirms after so long.
    fn confirming(after: Duration) -> OptIns {
        OptIns::new(Behaviour {
            confirm: 1.0,
            refuse: 0.0,
            confirm_after: Spread::exactly(after),
            ..Behaviour::default()
        })
    }

    fn at(hours: u32) -> Timestamp {
        Timestamp::ZERO + HOUR * hours
    }

    fn ask(opt_ins: &mut OptIns, door: Door, hours: u32) {
        opt_ins.ask(ADA, GROUP, door, "fr", at(hours));
    }

    #[test]
    fn by_api_one_prompt_in_rolling_24_hours_and_in_english() {
        let mut opt_ins = confirming(HOUR);
        for hours in [0, 1, 23, 24, 47] {
            ask(&mut opt_ins, Door::StatusSet, hours);
        }
        let prompts: Vec<_> = opt_ins.prompts.iter().map(|one| one.at).collect();
        assert_eq!(prompts, [at(0), at(24)]);
        assert_eq!(opt_ins.tally.suppressed, 3);
        assert!(opt_ins.prompts.iter().all(|one| one.language == "en"));
    }

    #[test]
    fn track_and_status_set_share_the_rule_of_24_hours_and_other_groups_and_phones_do_not() {
        let mut opt_ins = confirming(HOUR);
        ask(&mut opt_ins, Door::StatusSet, 0);
        ask(&mut opt_ins, Door::UsersTrack, 1);
        assert_eq!(opt_ins.prompts.len(), 1);
        opt_ins.ask(ADA, "other", Door::StatusSet, "en", at(1));
        opt_ins.ask("+15550100001", GROUP, Door::StatusSet, "en", at(1));
        assert_eq!(opt_ins.prompts.len(), 3);
    }

    #[test]
    fn the_brands_own_campaign_prompts_at_every_event_in_the_persons_language() {
        let mut opt_ins = confirming(HOUR);
        for _ in 0..2 {
            ask(&mut opt_ins, Door::Event("e".into()), 0);
        }
        ask(&mut opt_ins, Door::Keyword, 0);
        assert_eq!(opt_ins.prompts.len(), 3);
        assert!(opt_ins.prompts.iter().all(|one| one.language == "fr"));
    }

    #[test]
    fn a_confirmation_counts_for_thirty_days_and_not_longer() {
        for (after, counts) in [(30 * 24, true), (30 * 24 + 1, false)] {
            let mut opt_ins = confirming(HOUR * after);
            ask(&mut opt_ins, Door::StatusSet, 0);
            let moment = opt_ins.next_answer().unwrap();
            assert_eq!(moment, at(after));
            assert!(opt_ins.take_answer().is_some());
            assert_eq!(opt_ins.confirm(ADA, GROUP, moment), counts);
            assert_eq!(opt_ins.tally.expired, u64::from(!counts));
        }
    }

    #[test]
    fn a_later_prompt_gives_another_thirty_days() {
        let mut opt_ins = confirming(HOUR);
        ask(&mut opt_ins, Door::StatusSet, 0);
        ask(&mut opt_ins, Door::StatusSet, 48);
        assert!(opt_ins.confirm(ADA, GROUP, at(31 * 24)));
    }

    #[test]
    fn nobody_confirms_twice_or_without_having_been_asked() {
        let mut opt_ins = confirming(HOUR);
        assert!(!opt_ins.confirm(ADA, GROUP, at(0)));
        ask(&mut opt_ins, Door::StatusSet, 0);
        ask(&mut opt_ins, Door::StatusSet, 24);
        assert!(opt_ins.take_answer().is_some());
        assert!(opt_ins.confirm(ADA, GROUP, at(1)));
        assert!(
            opt_ins.take_answer().is_none(),
            "the second prompt's answer"
        );
        assert_eq!(opt_ins.tally.confirmed, 1);
    }

    #[test]
    fn an_answer_to_a_prompt_before_a_stop_is_void_although_another_prompt_came() {
        let mut opt_ins = confirming(HOUR * 100);
        ask(&mut opt_ins, Door::StatusSet, 0);
        opt_ins.stop(ADA, GROUP, at(1));
        ask(&mut opt_ins, Door::StatusSet, 30);
        assert_eq!(opt_ins.prompts[1].stopped_at, Some(at(1)));
        assert_eq!(opt_ins.tally.after_stop, 1);
        assert!(opt_ins.take_answer().is_none(), "of the first prompt");
        assert_eq!(opt_ins.take_answer().unwrap().at, at(30));
        assert!(opt_ins.confirm(ADA, GROUP, at(130)));
        assert_eq!(opt_ins.stopped_at(ADA, GROUP), None);
    }

    #[test]
    fn the_groups_waited_for_are_those_of_one_phone() {
        let mut opt_ins = confirming(HOUR);
        for (phone, group) in [(ADA, "a"), (ADA, "b"), ("+155501000000", "c")] {
            opt_ins.ask(phone, group, Door::StatusSet, "en", at(0));
        }
        assert_eq!(opt_ins.groups_waiting(ADA), ["a", "b"]);
        opt_ins.end(ADA, "a");
        assert_eq!(opt_ins.groups_waiting(ADA), ["b"]);
    }
}
