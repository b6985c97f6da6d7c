//! Tests that need several layers or the real binary.

mod store;
