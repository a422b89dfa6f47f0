//! The tools of the tests, tested.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod brokers;
mod databases;
mod protocol;
mod receiving;
