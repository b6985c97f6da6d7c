//! The words of the project as types: what comes in, what is asked of the outside, how it may be answered.
//!
//! Invariants: pure. Nothing here reads a clock, draws a random number, waits or does I/O, and nothing here
//! knows how anything is stored or sent.

pub mod budget;
pub mod call;
pub mod email;
pub mod event;
pub mod id;
pub mod json;
pub mod lane;
pub mod lookalike;
pub mod phone;
pub mod rules;
pub mod time;
pub mod trace;

/// A name that is shared by many values: a workspace, a `q_scope`, a content.
pub type Name = std::sync::Arc<str>;
