//! The worker on the log in memory, with a scripted way out and paused time; and over real sockets (`http`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod connections;
mod endpoints;
mod handover;
mod http;
mod in_flight;
mod isolation;
mod lagging;
mod log_refuses;
mod members;
mod names;
mod ownership;
mod parking;
mod repaired;
mod repeats;
mod restart;
mod retries;
mod slow_log;
mod waiting;
mod world;
