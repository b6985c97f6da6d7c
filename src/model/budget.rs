//! What the other side says about a budget, and what we remember of our own use of one over a restart.

use std::time::Duration;

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::time::Timestamp;

/// What the rate headers of one answer say of one window. Nothing in it is believed blindly: it may be about a window
/// that we do not know, or absurd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    /// Requests that the window allows, everybody's together; at least 1.
    pub limit: u32,
    /// What is left of them behind this answer; at most `limit`.
    pub remaining: u32,
    /// When the window begins anew.
    pub reset: Reset,
}

/// When a window begins anew, in either of the forms that are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// At this moment, by the other side's clock.
    At(Timestamp),
    /// So long after the answer, in whole seconds: the moment itself is not known.
    In(Duration),
}

/// What an answer says about the budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Told {
    /// Nothing, as many answers.
    #[default]
    Nothing,
    /// This.
    Word(Word),
    /// Something that cannot be; why.
    Absurd(&'static str),
}

/// What was used of one lane's budget when it was written down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct BudgetUse {
    /// Written when nothing was under way any more: nothing was used since.
    pub complete: bool,
    /// Each of the lane's windows.
    pub windows: Vec<WindowUse>,
    /// Nothing may leave before this: the other side has said so.
    pub stopped_until: Option<Timestamp>,
}

/// What was used of one window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct WindowUse {
    /// The window's length, milliseconds.
    pub length_ms: u64,
    /// Requests, and until which moment they count as made, oldest first.
    pub requests: Vec<(Timestamp, u32)>,
}
