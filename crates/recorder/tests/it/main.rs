//! The recorder on the log and the store in memory, under paused time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod bad_rows;
mod disabling;
mod handover;
mod recording;
mod retention;
mod support;
