//! What crosses layers or processes: one binary, so that the crate is linked once.

mod client;
mod config;
mod demo;
mod ingest;
mod ops;
mod sandbox;
mod simulation;
mod store;
