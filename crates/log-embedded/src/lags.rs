//! How far groups are behind, and since when.

use std::time::Duration;

use postrider_log::{Group, Keep, Lag, LogError};
use postrider_model::Timestamp;

use crate::disk;
use crate::shared::Shared;

/// A lag whose age is still to be found.
pub(crate) struct Behind {
    lag: Lag,
    topic: usize,
    /// The first position that is not finished.
    from: u64,
    /// When that record was appended, if it is known.
    since: Option<Timestamp>,
}

impl Shared {
    /// How far every group is behind.
    pub(crate) fn behind(&self) -> Result<Vec<Behind>, LogError> {
        let state = self.state();
        state.check_open()?;
        let mut behind = Vec::new();
        for (topic, found) in state.topics.iter().enumerate() {
            let declared: &[Group] = match self.catalog.specs()[topic].keep {
                Keep::UntilFinished(groups) => groups,
                Keep::Newest | Keep::For(_) => &[],
            };
            for group in &found.groups {
                // One that never committed is behind only if the topic waits for it.
                let Some(name) = group.known(declared) else {
                    continue;
                };
                let from = group.watermark().max(found.tail.first());
                let lag = Lag {
                    at: self.catalog.at(topic),
                    group: name,
                    records: found.tail.end().saturating_sub(from),
                    oldest_age: Duration::ZERO,
                };
                let since = found.tail.appended_at(from);
                behind.push(Behind {
                    lag,
                    topic,
                    from,
                    since,
                });
            }
        }
        Ok(behind)
    }

    /// Finds the ages, in the file where need be. Blocks.
    pub(crate) fn aged(&self, behind: Vec<Behind>) -> Result<Vec<Lag>, LogError> {
        let now = self.clock.now();
        let age = |mut behind: Behind| {
            if behind.lag.records > 0 && behind.since.is_none() {
                let sql = &self.catalog.sql()[behind.topic];
                behind.since = self.disk.read(|c| disk::appended_at(c, sql, behind.from))?;
            }
            if behind.lag.records > 0 {
                behind.lag.oldest_age = behind.since.map_or(Duration::ZERO, |at| now.since(at));
            }
            Ok(behind.lag)
        };
        behind.into_iter().map(age).collect()
    }
}
