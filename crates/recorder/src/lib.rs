//! The recorder: writes what happened into the store, a moment later.
//!
//! **In → out.** `events`, `fanouts` and `attempts` in; out go the archive and the history in the store. From attempts it
//! also learns which endpoints are gone or fail for too long, and disables them. Old history is deleted by age, and
//! so is word of removed configuration.
//!
//! **Invariants.** What the store is told was Synced in the log first; what is finished in the log was committed in the
//! store first. So a crash only writes rows again, which is harmless. An endpoint is disabled only at the version that
//! the attempt used: somebody may have repaired it since. Looking into history for that takes a small share of the time.
//! One bad row stops nobody.
//!
//! **Authority.** The log until a row is recorded, the store from then on. Nothing is kept here.
//!
//! **Failure.** With the store down the batch in hand waits and the log holds the rest; deliveries go on. A row that
//! the store refuses, or a record that cannot be read, goes to `events.rejected` with the reason and is counted. An
//! endpoint whose rows cannot be read is not judged. [`RecorderError`] is returned only when the log stops; on shutdown
//! the batch in hand is recorded first, unless the store is down.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests"
    )
)]

mod disabling;
mod failing;
mod metrics;
mod options;
mod recorder;
mod retention;
mod rows;

use std::sync::Arc;

use postrider_log::{Log, LogError};
use postrider_model::Clock;
use postrider_store::{Claims, ConfigFeed, Endpoints, History};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use metrics::{Deleted, DisabledFor, Reason, RecorderMetrics, RowKind};
pub use options::{Options, Retention};

/// Why the recorder stopped.
#[derive(Debug, thiserror::Error)]
pub enum RecorderError {
    /// The log cannot go on: start the process again once it can.
    #[error("the recorder stopped: {0}")]
    Log(#[from] LogError),
    /// A fault of our own: start the process again.
    #[error("a part of the recorder died: {0}")]
    Died(String),
}

/// Records until `shutdown`, and deletes what is old.
///
/// # Errors
/// When the log stops.
pub async fn run<S>(
    log: Arc<dyn Log>,
    store: Arc<S>,
    clock: Arc<dyn Clock>,
    options: Options,
    metrics: RecorderMetrics,
    shutdown: CancellationToken,
) -> Result<(), RecorderError>
where
    S: History + Endpoints + Claims + ConfigFeed + ?Sized,
{
    let stop = shutdown.child_token();
    let mut parts = JoinSet::new();
    parts.spawn(retention::run(
        Arc::clone(&store),
        Arc::clone(&clock),
        options.retention.clone(),
        metrics.clone(),
        stop.clone(),
    ));
    parts.spawn(recorder::run(
        log,
        store,
        clock,
        options,
        metrics,
        stop.clone(),
    ));
    let mut result = Ok(());
    while let Some(done) = parts.join_next().await {
        // If one ends the other is to end, and with it the service.
        stop.cancel();
        result = result.and(done.unwrap_or_else(|died| Err(RecorderError::Died(died.to_string()))));
    }
    result
}
