//! Waiting for a condition instead of sleeping and hoping.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a condition is looked at.
const EVERY: Duration = Duration::from_millis(10);

/// Waits until `condition` gives a value, and returns it.
///
/// # Errors
/// If `deadline` passes first; the message names `what` was waited for.
pub async fn eventually<T>(
    what: &str,
    deadline: Duration,
    mut condition: impl AsyncFnMut() -> Option<T>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return Ok(value);
        }
        if started.elapsed() > deadline {
            bail!("waited {deadline:?} in vain until {what}");
        }
        tokio::time::sleep(EVERY).await;
    }
}
