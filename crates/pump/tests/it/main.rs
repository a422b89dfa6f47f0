//! The pump on the log in memory, under paused time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod crashes;
mod handover;
mod open_endpoints;
mod repeats;
mod set_clocks;
mod support;
mod waiting;
