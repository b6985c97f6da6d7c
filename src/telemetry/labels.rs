//! Labels with fixed values.

/// What became of an event that was posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intake {
    /// Stored.
    Accepted,
    /// Known already.
    Duplicate,
    /// Refused for what it is (400, 413, 415).
    Rejected,
    /// Refused for who sent it (401).
    Unauthorized,
    /// Refused for now (503).
    Unavailable,
}

impl Intake {
    /// Every one.
    pub const ALL: [Intake; 5] = [
        Intake::Accepted,
        Intake::Duplicate,
        Intake::Rejected,
        Intake::Unauthorized,
        Intake::Unavailable,
    ];

    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Intake::Accepted => "accepted",
            Intake::Duplicate => "duplicate",
            Intake::Rejected => "rejected",
            Intake::Unauthorized => "unauthorized",
            Intake::Unavailable => "unavailable",
        }
    }
}

/// What became of a request to the outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestOutcome {
    /// All of its calls were answered as they should be.
    Ok,
    /// Some were not.
    Partial,
    /// 429.
    Throttled,
    /// It did not happen.
    Transient,
    /// All of its calls were refused.
    Rejected,
    /// Key, permission or endpoint.
    Denied,
    /// Nobody knows.
    Unknown,
}

impl RequestOutcome {
    /// Every one.
    pub const ALL: [RequestOutcome; 7] = [
        RequestOutcome::Ok,
        RequestOutcome::Partial,
        RequestOutcome::Throttled,
        RequestOutcome::Transient,
        RequestOutcome::Rejected,
        RequestOutcome::Denied,
        RequestOutcome::Unknown,
    ];

    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            RequestOutcome::Ok => "ok",
            RequestOutcome::Partial => "partial",
            RequestOutcome::Throttled => "throttled",
            RequestOutcome::Transient => "transient",
            RequestOutcome::Rejected => "rejected",
            RequestOutcome::Denied => "denied",
            RequestOutcome::Unknown => "unknown",
        }
    }
}
