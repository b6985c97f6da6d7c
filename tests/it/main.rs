//! What crosses layers or processes: one binary, so that the crate is linked once.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may"
)]

mod browser;
mod client;
mod config;
mod demo;
mod doctor;
mod export;
mod faults;
mod golden;
mod ingest;
mod ops;
mod outgrow;
mod packing;
mod process;
mod sandbox;
mod simulation;
mod store;
mod support;
mod traces;
mod webhook;
