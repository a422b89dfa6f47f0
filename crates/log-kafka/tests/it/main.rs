//! The log on Kafka, against a real broker.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests"
)]

mod brokers;
mod conformance;
mod finishing;
mod following;
mod newest;
mod oversize;
mod rebalance;
mod security;
mod support;
mod topics;
mod zombie;
