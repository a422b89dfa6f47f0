//! Ingest over the in-memory log and store, through its routes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod abandoned;
mod accepting;
mod cloudevents;
mod house;
mod idempotency;
mod refusing;
mod slow_log;
mod tracing_context;
