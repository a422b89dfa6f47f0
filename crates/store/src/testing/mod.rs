//! For tests: a store in memory, and the suite that every store passes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

pub mod conformance;
mod memory;

pub use memory::{MemoryStore, Row};
