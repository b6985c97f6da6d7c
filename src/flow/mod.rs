//! The state machines. `ask` says what a job wants of the outside; `hear` says where an answer leads.
//!
//! Invariants: pure. No async, no clock, no randomness, no I/O: `now`, jitter and ids are arguments. A crash
//! therefore costs nothing: the stored state alone says what to do next.

pub mod job;
