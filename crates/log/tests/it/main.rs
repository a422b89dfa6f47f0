//! The in-memory log passes the suite that it is handed out with.
#![cfg(feature = "testing")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod members;
mod memory;
