//! The file that a start without the store goes on with.

use postrider_model::{Clock, SystemClock};
use postrider_registry::SavedError;

use super::Finding;
use crate::config::Config;
use crate::options;

const PART: &str = "snapshot";

pub(super) fn examine(config: &Config) -> anyhow::Result<Option<Finding>> {
    let Some(file) = options::snapshot(config)? else {
        return Ok(None);
    };
    let path = file.path.display();
    let now = SystemClock.now();
    Ok(Some(match file.read(now) {
        Ok(saved) => Finding::ok(
            PART,
            format!(
                "{path} has the configuration of {} s ago: {} endpoints",
                now.since(saved.as_of()).as_secs(),
                saved.snapshot().endpoint_count()
            ),
        ),
        Err(SavedError::Missing) => Finding::ok(
            PART,
            format!("{path} is not there yet: the first process makes it"),
        ),
        Err(error) => Finding::warning(
            PART,
            format!("{path} is nothing to start with: {error}"),
            "until a process that has the store writes it anew, a start waits for the store",
        ),
    }))
}
