//! The embedded log, on real files.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "tests: a child process prints to talk to its parent, and learns from its environment what to do"
)]

mod alike;
mod conformance;
mod crash;
mod full;
mod opening;
mod readers;
mod reading_on;
mod steady;
mod support;
mod syncing;
