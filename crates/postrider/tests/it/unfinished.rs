//! What a killed server's log holds that its worker had not finished: that may come again, and nothing else.

use std::collections::BTreeMap;
use std::path::Path;

use postrider_log::{BatchLimit, Lag, Log as _, Polled, Subscription, Weighted};
use postrider_log_embedded::{EmbeddedLog, LogMetrics, Options};
use postrider_metrics::Registry;
use postrider_model::{Delivery, topics};

use crate::world::DEADLINE;

/// How many deliveries the worker may not have finished, by event: what lies above its watermarks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unfinished(BTreeMap<String, usize>);

impl Unfinished {
    /// Those of a data directory whose server does not run.
    pub(crate) async fn of(data: &Path) -> Self {
        let metrics = LogMetrics::register(&Registry::new()).unwrap();
        let options = Options::new(data, topics::all(), metrics);
        let log = EmbeddedLog::open(options).unwrap();
        let unfinished = tokio::time::timeout(DEADLINE, read(&log)).await;
        log.close().await.unwrap();
        Self(unfinished.unwrap())
    }

    pub(crate) fn count(&self) -> usize {
        self.0.values().sum()
    }

    /// How many of these repeats, each of an event at a path, are of deliveries that were finished.
    pub(crate) fn finished_among(mut self, repeats: &[(String, String)]) -> usize {
        let is_finished = |event: &&String| match self.0.get_mut(*event) {
            Some(left) if *left > 0 => {
                *left -= 1;
                false
            }
            Some(_) | None => true,
        };
        let events = repeats.iter().map(|(event, _)| event);
        events.filter(is_finished).count()
    }
}

async fn read(log: &EmbeddedLog) -> BTreeMap<String, usize> {
    let mut lags = log.lags().await.unwrap();
    lags.retain(|lag| lag.group == topics::WORKER);
    let mut left: u64 = lags.iter().map(|lag| lag.records).sum();
    let topic = |lag: &Lag| Weighted {
        topic: lag.at.topic,
        weight: 1,
    };
    let topics = lags.iter().map(topic).collect();
    let subscription = Subscription::to_all(topics::WORKER, topics);
    let (mut reader, _committer) = log.subscribe(subscription).await.unwrap();
    let limit = BatchLimit {
        records: 1_000,
        bytes: usize::MAX,
    };
    let mut unfinished = BTreeMap::new();
    while left > 0 {
        let Polled::Records(records) = reader.next(limit).await.unwrap() else {
            continue;
        };
        left -= records.len() as u64;
        for record in records {
            let delivery = Delivery::decode(&record.value).unwrap();
            let event = delivery.event_id.to_string();
            *unfinished.entry(event).or_default() += 1;
        }
    }
    unfinished
}
