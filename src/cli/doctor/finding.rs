//! What the doctor found: one line each.
//!
//! Invariants: pure.

use serde::Serialize;

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    /// As it should be.
    Ok,
    /// It works, and should be thought about.
    Warn,
    /// It does not work.
    Fail,
    /// It could not be told.
    Unknown,
}

impl Status {
    /// On a line.
    pub const fn word(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Warn => "warn",
            Status::Fail => "FAIL",
            Status::Unknown => "?",
        }
    }
}

/// How it stands, what was seen, and what to do.
pub(super) type Verdict = (Status, String, Option<String>);

/// One check and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// What was looked at; stable, for programs: `permission.users.track`.
    pub id: String,
    /// Whose: `machine`, `workspace acme`, `activation spring-drop`.
    pub subject: String,
    /// How it stands.
    pub status: Status,
    /// What was seen.
    pub detail: String,
    /// What to do; several ways a line each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// Gathers findings of one subject after another.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub all: Vec<Finding>,
    subject: String,
}

impl Findings {
    /// What follows is about this one.
    pub fn about(&mut self, subject: impl Into<String>) {
        self.subject = subject.into();
    }

    /// One more.
    pub fn add(&mut self, id: impl Into<String>, (status, detail, remedy): Verdict) {
        self.all.push(Finding {
            id: id.into(),
            subject: self.subject.clone(),
            status,
            detail,
            remedy,
        });
    }

    /// How many stand so.
    pub fn count(&self, status: Status) -> usize {
        self.all.iter().filter(|it| it.status == status).count()
    }
}

/// As it should be.
pub(super) fn ok(detail: impl Into<String>) -> Verdict {
    (Status::Ok, detail.into(), None)
}

/// It should be thought about.
pub(super) fn warn(detail: impl Into<String>, remedy: impl Into<String>) -> Verdict {
    (Status::Warn, detail.into(), Some(remedy.into()))
}

/// It does not work.
pub(super) fn fail(detail: impl Into<String>, remedy: impl Into<String>) -> Verdict {
    (Status::Fail, detail.into(), Some(remedy.into()))
}

/// It could not be told.
pub(super) fn unknown(detail: impl Into<String>) -> Verdict {
    (Status::Unknown, detail.into(), None)
}
