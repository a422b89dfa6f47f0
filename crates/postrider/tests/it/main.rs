//! Everything that is promised of the whole, tried from outside: the `postrider` command as a process, over HTTP.
//!
//! Each test has its own server, data directory and receiver. Deadlines are five times the figure that the
//! benchmark holds, or more: they end a test that has failed, they judge nothing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests"
)]

mod alone;
mod asking;
mod backup;
mod bad_input;
mod breakers;
mod changes;
mod clients;
mod clocks;
mod cluster;
mod compose;
mod counted;
mod creation;
mod damaged_store;
mod doctor;
mod engines;
mod fail_points;
mod full_disk;
mod given_up;
mod isolation;
mod killing;
mod limited;
mod logging;
mod memory;
mod observing;
mod parking;
mod partitions;
mod poison;
mod producers;
mod releases;
mod reloading;
mod replay;
mod retries;
mod rolling;
mod secured;
mod showing;
mod signatures;
mod stopping;
mod tokens;
mod traces;
mod unfinished;
mod upgrades;
mod world;
