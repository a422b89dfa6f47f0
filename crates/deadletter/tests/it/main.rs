//! The dead-letter consumer on the log and the store in memory, under paused time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod crashes;
mod handover;
mod keeping;
mod replaying;
mod store;
mod support;
