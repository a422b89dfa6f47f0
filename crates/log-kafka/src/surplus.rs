//! Partitions that were added to topics while we run: members are given them and read them, but what is written is placed by
//! the number that is configured, and nothing comes to lie there.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::metadata::Metadata;

use crate::LogMetrics;
use crate::catalog::{Catalog, Entry};

/// How often it is looked for them.
const LOOK: Duration = Duration::from_secs(60);

/// What was seen last.
#[derive(Default)]
pub(crate) struct Surplus(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    looked: Option<Instant>,
    /// Topics and their numbers of partitions.
    told: Vec<(String, usize)>,
}

impl Surplus {
    /// True if it is time to look; until then nobody else is to.
    pub(crate) fn is_due(&self) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = seen.looked.is_none_or(|looked| looked.elapsed() >= LOOK);
        if due {
            seen.looked = Some(Instant::now());
        }
        due
    }

    /// Counts what is more than configured, and says so once for each number.
    pub(crate) fn see(&self, catalog: &Catalog, metadata: &Metadata, metrics: &LogMetrics) {
        let there = metadata.topics().iter();
        let there = there.filter_map(|topic| {
            let mut entries = catalog.entries().iter();
            let entry = entries.find(|entry| entry.name == topic.name())?;
            let partitions = topic.partitions().len();
            (partitions > entry.partitions as usize).then_some((entry, partitions))
        });
        let there: Vec<(&Entry, usize)> = there.collect();
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (entry, partitions) in &there {
            let one = (entry.name.clone(), *partitions);
            if !seen.told.contains(&one) {
                tracing::error!(
                    topic = entry.name,
                    partitions,
                    configured = entry.partitions,
                    "partitions were added to a topic while this process runs, and nothing is written there: stop all \
                     processes, set log.kafka.partitions, and start them again"
                );
                seen.told.push(one);
            }
        }
        let more = there
            .iter()
            .map(|(entry, count)| count - entry.partitions as usize);
        let more: usize = more.sum();
        metrics
            .unknown_partitions
            .set(i64::try_from(more).unwrap_or(i64::MAX));
    }
}
