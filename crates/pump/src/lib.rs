//! The pump: moves waiting deliveries on when they are due.
//!
//! **In → out.** `retry.*` and `park.*` in, in each of which all records wait equally long; out go `deliveries.*` what is
//! due, further tiers what is not, and `dead-letters` what is past its deadline. `endpoint-state` says whose breaker is
//! open.
//!
//! **Invariants.** Nothing is sent on before its `not_before`, but for less than the shortest tier, which a lane holds.
//! The pump waits for the time of a tier's head and for nothing else, least of all an endpoint. Retries and parked
//! deliveries have a reader each, and parked ones a capped share, so they never delay a retry. A delivery of an open
//! endpoint hops from park to park, but for one in each interval after the probe's time. A record is moved as the bytes
//! that it is; where it goes and that it is finished are one completion.
//!
//! **Authority.** The log. What is in hand here was not finished there. A crash repeats nothing where the log completes at
//! once; elsewhere it may move what was in hand twice, and the worker passes the second over, as the pump does with a
//! retry that a worker's crash wrote twice. How often an open endpoint was let through begins again.
//!
//! **Failure.** A busy or full log is asked again. A record that cannot be read goes to `events.rejected` and is counted;
//! one that the log does not take for its size becomes a dead letter.
//! [`PumpError`] is returned only when the log stops; on shutdown what is being moved is finished first.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests"
    )
)]

mod breakers;
mod hand;
mod hopped;
mod metrics;
mod moved;
mod options;
mod pace;
mod parts;
mod reader;
mod route;

use std::sync::Arc;

use postrider_log::{Log, LogError};
use postrider_model::Clock;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use metrics::{Kind, PumpMetrics, Route};
pub use options::Options;

/// Why the pump stopped.
#[derive(Debug, thiserror::Error)]
pub enum PumpError {
    /// The log cannot go on: start the process again once it can.
    #[error("the pump stopped: {0}")]
    Log(#[from] LogError),
    /// A fault of our own: start the process again.
    #[error("a reader of the pump died: {0}")]
    Died(String),
}

/// Moves waiting deliveries on until `shutdown`.
///
/// # Errors
/// When the log stops.
pub async fn run(
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    options: Options,
    metrics: PumpMetrics,
    shutdown: CancellationToken,
) -> Result<(), PumpError> {
    // A loop each: a batch of parked deliveries takes no time from the retries.
    let stop = shutdown.child_token();
    let mut readers = JoinSet::new();
    for kind in [Kind::Retry, Kind::Park] {
        let (log, clock) = (Arc::clone(&log), Arc::clone(&clock));
        let (options, metrics, stop) = (options.clone(), metrics.clone(), stop.clone());
        readers.spawn(async move { reader::run(kind, log, clock, options, metrics, stop).await });
    }
    let mut result = Ok(());
    while let Some(done) = readers.join_next().await {
        // If one ends the other is to end, and with it the service.
        stop.cancel();
        result = result.and(done.unwrap_or_else(|died| Err(PumpError::Died(died.to_string()))));
    }
    result
}
