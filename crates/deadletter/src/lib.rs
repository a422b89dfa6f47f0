//! The dead-letter consumer: keeps what was given up, and carries replays of it out.
//!
//! **In → out.** `dead-letters` in, the store out. A running replay in the store in, `deliveries.bulk` out.
//!
//! **Invariants.** A dead letter is finished in the log only once it is committed in the store, and is there once however
//! often it is written: it is unique by (delivery, generation). A replay has one owner, by a lease; it publishes no faster
//! than its rate, Synced, before it records that it did; so a crash repeats at most one step, and with the same ids. What
//! it publishes has a generation of its own, so a dead letter that fails again is a new one. Of replays that overlap one
//! publishes each dead letter: it takes it in the store first. One bad row stops nobody.
//!
//! **Authority.** The log until a dead letter is kept, the store from then on, and for each replay's progress. Nothing is
//! kept here.
//!
//! **Failure.** With the store down the log holds dead letters and replays stand. A row that the store refuses, or a
//! record that cannot be read, goes to `events.rejected` with the reason and is counted. [`DeadLetterError`] is returned
//! only when the log stops; on shutdown what is being written is finished first, and a replay is let go, so that another
//! process goes on with it at once.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests"
    )
)]

mod consumer;
mod lookup;
mod metrics;
mod options;
mod replay;
mod retention;

use std::sync::Arc;

use postrider_log::{Log, LogError};
use postrider_model::Clock;
use postrider_store::{DeadLetters, Replays};
use postrider_trace::Tracer;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use lookup::{EndpointLookup, Takes};
pub use metrics::{DeadLetterMetrics, Reason};
pub use options::Options;

/// Why the dead-letter consumer stopped.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    /// The log cannot go on: start the process again once it can.
    #[error("the dead-letter consumer stopped: {0}")]
    Log(#[from] LogError),
    /// A fault of our own: start the process again.
    #[error("a part of the dead-letter consumer died: {0}")]
    Died(String),
}

/// Everything that this service works on.
pub struct Ports<S: ?Sized> {
    /// Dead letters come from it, replayed deliveries go to it.
    pub log: Arc<dyn Log>,
    /// Keeps dead letters and replays.
    pub store: Arc<S>,
    /// Says which endpoints take deliveries; the registry.
    pub endpoints: Arc<dyn EndpointLookup>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Makes the spans of what is sampled.
    pub tracer: Tracer,
}

impl<S: ?Sized> Clone for Ports<S> {
    fn clone(&self) -> Self {
        Self {
            log: Arc::clone(&self.log),
            store: Arc::clone(&self.store),
            endpoints: Arc::clone(&self.endpoints),
            clock: Arc::clone(&self.clock),
            tracer: self.tracer.clone(),
        }
    }
}

/// Keeps dead letters, carries replays out and deletes what is old, until `shutdown`.
///
/// # Errors
/// When the log stops.
pub async fn run<S>(
    ports: Ports<S>,
    options: Options,
    metrics: DeadLetterMetrics,
    shutdown: CancellationToken,
) -> Result<(), DeadLetterError>
where
    S: DeadLetters + Replays + ?Sized,
{
    let stop = shutdown.child_token();
    let mut parts = JoinSet::new();
    parts.spawn(consumer::run(
        ports.clone(),
        options.batch_records,
        options.batch_bytes,
        metrics.clone(),
        stop.clone(),
    ));
    parts.spawn(retention::run(
        ports.clone(),
        options.clone(),
        metrics.clone(),
        stop.clone(),
    ));
    parts.spawn(replay::run(ports, options, metrics, stop.clone()));
    let mut result = Ok(());
    while let Some(done) = parts.join_next().await {
        // If one ends the others are to end, and with them the service.
        stop.cancel();
        result =
            result.and(done.unwrap_or_else(|died| Err(DeadLetterError::Died(died.to_string()))));
    }
    result
}
