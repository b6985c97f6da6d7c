//! The durable run of one flow for one event: its state, and the one commit that moves it.
//!
//! Invariants: a job is plain data; what it does next follows from its state alone. A [`Commit`] is stored in one
//! atomic write, and its [`Fate`] is exactly one: a job cannot be both kept and lost. Names that are stored or shown
//! ([`Flow`], [`Reason`], [`Outcome`]) are closed lists with fixed texts.

use std::time::Duration;

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::model::Name;
use crate::model::call::{Address, Answer, Company};
use crate::model::event::Event;
use crate::model::lane::Lane;
use crate::model::time::Timestamp;

pub use super::state::{Before, Erase, Join, Missing, Profile, State};

/// How many attempts a job remembers one by one; older ones are only counted.
pub const HISTORY_MAX: usize = 12;

macro_rules! closed_list {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize)]
        pub enum $name { $($(#[$vmeta])* #[serde(rename = $text)] $variant,)* }
        impl $name {
            /// Every one, in the order they are shown.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];
            /// The fixed text.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl std::str::FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                $name::ALL.iter().copied().find(|known| known.as_str() == text).ok_or_else(|| {
                    let known: Vec<_> = $name::ALL.iter().map(|known| known.as_str()).collect();
                    format!("`{text}` is none of {}", known.join(", "))
                })
            }
        }
    };
}

closed_list! {
    /// The state machines.
    Flow {
        /// E-mail acquisition.
        Email = "email",
        /// SMS acquisition.
        Sms = "sms",
        /// SMS double opt-in.
        DoubleOptIn = "double_opt_in",
        /// What happens inside an activation, cascaded to the profile.
        Progress = "progress",
        /// A Braze webhook on its way to Quikly.
        Webhook = "webhook",
        /// An Outgrow lead.
        Outgrow = "outgrow",
        /// A credit at Quikly.
        Credit = "credit",
        /// The removal of a person.
        Erase = "erase",
    }
}

closed_list! {
    /// Why a job is a dead letter.
    Reason {
        /// No activation or content of that name is configured.
        UnknownActivation = "unknown_activation",
        /// The activation has no flow for this kind of event.
        NoFlow = "no_flow",
        /// The creation it waited for died.
        NoProfile = "no_profile",
        /// The found profile has another phone.
        PhoneMismatch = "phone_mismatch",
        /// The other side will not take it.
        Rejected = "rejected",
        /// It failed for too long or too often.
        GaveUp = "gave_up",
        /// The status was never read back as Subscribed.
        NotSubscribed = "not_subscribed",
        /// Nobody knows whether it happened, and `on_unknown = "park"`.
        UnknownOutcome = "unknown_outcome",
        /// A mapped answer is missing or of the wrong type.
        BadAnswer = "bad_answer",
    }
}

closed_list! {
    /// Which of the four failures a dead letter died of; `configuration` when nothing was asked yet.
    Class {
        /// It kept failing.
        Transient = "transient",
        /// Braze kept answering 429.
        Throttled = "throttled",
        /// The other side refused it.
        Rejected = "rejected",
        /// Key, permission or endpoint.
        Denied = "denied",
        /// Sent, and nobody knows.
        UnknownOutcome = "unknown_outcome",
        /// Our own configuration has no place for it.
        Configuration = "configuration",
    }
}

closed_list! {
    /// How a job ended well.
    Outcome {
        /// A profile was created.
        Created = "created",
        /// A profile was found (and written to, where there was something to write).
        Found = "found",
        /// The update was delivered.
        Updated = "updated",
        /// Quikly was told.
        Credited = "credited",
        /// The phone was subscribed already.
        AlreadySubscribed = "already_subscribed",
        /// The phone was subscribed.
        Subscribed = "subscribed",
        /// There was no phone: nothing was subscribed.
        NoPhone = "no_phone",
        /// There was no consent: nothing was subscribed.
        NoConsent = "no_consent",
        /// The participant said STOP meanwhile.
        OptedOut = "opted_out",
        /// The double opt-in was not confirmed in time.
        NotConfirmed = "not_confirmed",
        /// Quikly was told what Braze said.
        PassedOn = "passed_on",
        /// What could be used of a lead was delivered; it has bad answers.
        UpdatedInPart = "updated_in_part",
        /// There was nothing to write.
        NothingToWrite = "nothing_to_write",
        /// All profiles of the person were deleted.
        Erased = "erased",
        /// There was no profile of the person.
        NothingToErase = "nothing_to_erase",
    }
}

closed_list! {
    /// Where a job that is not done is: in exactly one of these.
    JobState {
        /// Due in the future, or behind its participant's turn.
        Waiting = "waiting",
        /// Due, also while its lane is held.
        Ready = "ready",
        /// Being carried out.
        InFlight = "in_flight",
        /// A dead letter.
        Dead = "dead",
    }
}

/// One attempt, as a dead letter tells it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Attempt {
    /// When it was answered.
    pub at: Timestamp,
    /// The step it was made at.
    pub step: String,
    /// What came of it.
    pub answer: Answer,
}

/// One job.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Job {
    /// Where it stands.
    pub state: State,
    /// When its next call is due.
    pub due: Timestamp,
    /// `true` until something failed at this step, and never in a replay: fresh work goes first, in order of acceptance.
    pub fresh: bool,
    /// Failed attempts of this step that count.
    pub attempts: u32,
    /// The first failure of this step that counts, later by whatever time since then does not count.
    pub failing_since: Option<Timestamp>,
    /// A call that must not happen twice was about to be sent.
    pub begun: bool,
    /// With whom its call travels.
    pub company: Company,
    /// All failed attempts so far, whatever the step.
    pub failures: u32,
    /// The last [`HISTORY_MAX`] of them.
    pub history: Vec<Attempt>,
}

impl Job {
    /// A job at the beginning of `state`, due at `due`.
    pub fn new(state: State, due: Timestamp) -> Job {
        Job {
            state,
            due,
            fresh: true,
            attempts: 0,
            failing_since: None,
            begun: false,
            company: Company::Any,
            failures: 0,
            history: Vec::new(),
        }
    }

    /// The same job at a new step: what failed before counts no longer, what is remembered of it stays. On the way to its
    /// profile it keeps its company: the write that was refused may still be before it.
    #[must_use]
    pub fn at(self, state: State, due: Timestamp) -> Job {
        let company = if state.takes_turn() {
            self.company
        } else {
            Company::Any
        };
        Job {
            company,
            failures: self.failures,
            history: self.history,
            ..Job::new(state, due)
        }
    }

    /// Its lane was held or stopped for `paused` since its last failure: that time makes it no older.
    pub fn excuse(&mut self, paused: Duration, now: Timestamp) {
        let since = self.failing_since.map(|since| (since + paused).min(now));
        self.failing_since = since;
    }

    /// When it failed at this step first, whatever time was excused; after very many failures a later one.
    pub fn first_failure(&self) -> Option<Timestamp> {
        let first = self.history.len().saturating_sub(self.attempts as usize);
        let first = self.history.get(first).map(|it| it.at);
        self.failing_since
            .map(|since| first.unwrap_or(since).min(since))
    }

    /// Notes one failed attempt; the oldest is forgotten when there are more than [`HISTORY_MAX`].
    pub fn note(&mut self, at: Timestamp, answer: Answer) {
        self.failures = self.failures.saturating_add(1);
        if self.history.len() >= HISTORY_MAX {
            self.history.drain(..=self.history.len() - HISTORY_MAX);
        }
        self.history.push(Attempt {
            at,
            step: self.state.step().to_owned(),
            answer,
        });
    }
}

/// Why and how a job died.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Burial {
    /// From the closed list.
    pub reason: Reason,
    /// Which failure it was.
    pub class: Class,
    /// The last answer, redacted.
    pub answer: Answer,
    /// When.
    pub at: Timestamp,
}

/// How the job of an event begins.
#[derive(Clone, Debug, PartialEq)]
pub enum Start {
    /// It runs.
    Run {
        /// Where its first call goes.
        lane: Lane,
        /// The job.
        job: Job,
    },
    /// It cannot run as configured today: accepted, kept, and dead until it is replayed.
    Bury {
        /// The workspace, if any is known.
        workspace: Option<Name>,
        /// The flow it would have been, if known.
        flow: Option<Flow>,
        /// Why.
        burial: Burial,
    },
}

/// An event to be appended, with what it starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Seed {
    /// The event.
    pub event: Event,
    /// What it starts.
    pub start: Start,
    /// What it starts instead, when this participant has taken part in this activation before.
    pub further: Option<Start>,
}

/// A job spawned by another. Its event goes on under it.
#[derive(Clone, Debug, PartialEq)]
pub struct Child {
    /// Its number within the event: derived from the parent's step, so that a step run twice names the same child.
    pub number: u8,
    /// Where its first call goes.
    pub lane: Lane,
    /// The job.
    pub job: Job,
    /// What of the event it needs.
    pub event: Event,
    /// At most one child per participant and `once`, whatever event it comes from, for as long as credits are remembered.
    pub once: Option<String>,
}

/// What becomes of a job.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// It goes on.
    Keep {
        /// Where its next call goes.
        lane: Lane,
        /// The job as it is now.
        job: Job,
    },
    /// It ended well.
    Finish(Outcome),
    /// It died.
    Bury {
        /// The job as it was.
        job: Job,
        /// Why.
        burial: Burial,
    },
}

/// One move of one job, stored in one atomic write.
#[derive(Clone, Debug, PartialEq)]
pub struct Commit {
    /// What becomes of it.
    pub fate: Fate,
    /// What it spawned.
    pub spawn: Vec<Child>,
    /// The participant's address in the workspace of the job's lane, where it became known.
    pub learnt: Option<Address>,
    /// If this ends the job's turn: how long the next one of the participant must wait at least.
    pub gap: Duration,
    /// If this ends the job's turn: those next behind it that follow ([`State::follows`]) are
    /// buried so, instead of getting the turn.
    pub bury_successors: Option<Burial>,
}

impl Commit {
    /// Whether nothing more is asked for the job in `lane`.
    pub fn leaves(&self, lane: &Lane) -> bool {
        !matches!(&self.fate, Fate::Keep { lane: next, .. } if next == lane)
    }

    /// A move that teaches nothing and lets the next one of the participant go on at once.
    pub fn new(fate: Fate, spawn: Vec<Child>) -> Commit {
        Commit {
            fate,
            spawn,
            learnt: None,
            gap: Duration::ZERO,
            bury_successors: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_excused_makes_a_job_younger_and_its_first_failure_stays_known() {
        let at = |seconds: u64| Timestamp::from_millis(seconds * 1000);
        let mut job = Job::new(State::Webhook, at(0));
        job.note(at(1), Answer::default());
        assert_eq!(job.first_failure(), None, "that was at another step");
        for second in 10..=12 {
            job.failing_since.get_or_insert(at(second));
            job.attempts += 1;
            job.note(at(second), Answer::default());
            job.excuse(Duration::from_secs(5), at(second + 5));
        }
        assert_eq!(job.failing_since, Some(at(17)));
        assert_eq!(job.first_failure(), Some(at(10)));
    }
}
