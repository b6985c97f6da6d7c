//! braze-relay carries events between campaign platforms and Braze and does not lose them.

pub mod app;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod engine;
pub mod flow;
pub mod ingest;
pub mod model;
pub mod ops;
pub mod sandbox;
pub mod store;
pub mod telemetry;
