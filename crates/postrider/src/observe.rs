//! How far the log's readers are, and whether log and store answer: asked again and again.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use postrider_log::{Lag, Log};
use postrider_metrics::{FloatGauge, Gauge, Registry};
use postrider_model::topics::{PARK, PUMP, RETRY};
use postrider_model::{Group, Partition, Topic};
use postrider_store::{Order, Page, PageStart, Store};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::condition::{Condition, Name};

const SAMPLE_EVERY: Duration = Duration::from_secs(2);
/// What the log said last is told for so long. Longer than an answer that is late, so that what is judged over minutes is
/// judged on; and then no more: others tell of the same partitions, and the greatest counts, so that what one process that is
/// cut off knew once would hide, or stand for, what is.
const TOLD_FOR: Duration = Duration::from_secs(30);

postrider_metrics::metrics! {
    /// How far the log's readers are.
    pub(crate) struct LagMetrics {
        records: GaugeFamily<3>("postrider_log_lag_records", "records", "Records that the group has not finished (an upper bound). On Kafka several processes tell of one partition: take the max by topic, group and partition before the sum. Of a group that a process reads no more it tells 0; one that could not ask the log for half a minute tells nothing.", ["topic", "group", "partition"]),
        oldest: FloatGaugeFamily<3>("postrider_log_oldest_unfinished_seconds", "seconds", "Age of the oldest record that the group has not finished, told likewise.", ["topic", "group", "partition"]),
        overdue: FloatGaugeFamily<1>("postrider_log_overdue_seconds", "seconds", "For how long the pump should have moved the oldest record of the topic on: its age beyond the delay of the topic; 0 if it is not due. Told by every process that tells the lag of the pump.", ["topic"]),
    }
}

/// What is told of one group in one partition.
struct Told {
    records: Gauge,
    oldest: FloatGauge,
}

/// Asks the log how it is, again and again.
pub(crate) struct LogWatch {
    log: Arc<dyn Log>,
    condition: Arc<Condition>,
    metrics: LagMetrics,
    told: HashMap<(Topic, Group, Partition), Told>,
    /// When the log said last how far its readers are.
    known_at: Instant,
    /// Of each topic in which records wait for their time.
    overdue: HashMap<Topic, FloatGauge>,
}

impl LogWatch {
    /// Declares the gauges. There is a pair for each group and topic that the log tells of.
    pub(crate) fn new(
        log: Arc<dyn Log>,
        condition: Arc<Condition>,
        registry: &Registry,
    ) -> Result<Self, postrider_metrics::Error> {
        let metrics = LagMetrics::register(registry)?;
        Ok(Self {
            log,
            condition,
            metrics,
            told: HashMap::new(),
            known_at: Instant::now(),
            overdue: HashMap::new(),
        })
    }

    /// Until `shutdown`.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let mut ticks = tokio::time::interval(SAMPLE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            let sampled = shutdown.run_until_cancelled(self.sample()).await;
            sampled.transpose()?;
        }
        Ok(())
    }

    async fn sample(&mut self) -> Result<(), postrider_metrics::Error> {
        let short = self.log.shortage();
        let refused = short.map(|why| {
            format!("new events are refused with 507, what was accepted is being delivered: {why}")
        });
        self.condition.set(Name::Space, refused);
        let lags = match self.log.lags().await {
            Ok(lags) => lags,
            Err(error) => {
                self.condition.set(Name::Log, Some(error.to_string()));
                self.forget_what_is_old();
                return Ok(());
            }
        };
        self.condition.set(Name::Log, None);
        self.known_at = Instant::now();
        self.tell(&lags)
    }

    fn forget_what_is_old(&mut self) {
        if self.known_at.elapsed() < TOLD_FOR || self.told.is_empty() {
            return;
        }
        self.told.clear();
        self.overdue.clear();
        self.metrics.records.forget();
        self.metrics.oldest.forget();
        self.metrics.overdue.forget();
    }

    fn tell(&mut self, lags: &[Lag]) -> Result<(), postrider_metrics::Error> {
        let still: HashSet<_> = lags
            .iter()
            .map(|lag| (lag.at.topic, lag.group, lag.at.partition))
            .collect();
        for (_, told) in self.told.iter().filter(|(of, _)| !still.contains(of)) {
            told.records.set(0);
            told.oldest.set(0.0);
        }
        for lag in lags {
            let told = match self.told.entry((lag.at.topic, lag.group, lag.at.partition)) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let partition = lag.at.partition.to_string();
                    let labels = [lag.at.topic.0, lag.group.0, &partition];
                    new.insert(Told {
                        records: self.metrics.records.resolve(labels)?,
                        oldest: self.metrics.oldest.resolve(labels)?,
                    })
                }
            };
            told.records
                .set(i64::try_from(lag.records).unwrap_or(i64::MAX));
            told.oldest.set(lag.oldest_age.as_secs_f64());
        }
        self.tell_overdue(lags)
    }

    fn tell_overdue(&mut self, lags: &[Lag]) -> Result<(), postrider_metrics::Error> {
        let worst = overdue(lags);
        for (topic, gauge) in &self.overdue {
            if !worst.contains_key(topic) {
                gauge.set(0.0);
            }
        }
        for (topic, overdue) in worst {
            let gauge = match self.overdue.entry(topic) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(self.metrics.overdue.resolve([topic.0])?),
            };
            gauge.set_duration(overdue);
        }
        Ok(())
    }
}

/// For how long the oldest record of each topic that the pump reads has been due, in the partition where it is longest.
fn overdue(lags: &[Lag]) -> HashMap<Topic, Duration> {
    let mut worst: HashMap<Topic, Duration> = HashMap::new();
    for lag in lags.iter().filter(|lag| lag.group == PUMP) {
        let topic = lag.at.topic;
        let mut tiers = RETRY.iter().chain(&PARK);
        if let Some(tier) = tiers.find(|tier| tier.topic == topic) {
            let known = worst.entry(topic).or_default();
            *known = (*known).max(lag.oldest_age.saturating_sub(tier.delay));
        }
    }
    worst
}

/// Asks the store how it is, again and again, where no registry does.
pub(crate) async fn watch_store(
    store: Arc<dyn Store>,
    condition: Arc<Condition>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let page = Page {
        limit: 1,
        start: PageStart::Beginning,
        order: Order::Ascending,
    };
    let mut ticks = tokio::time::interval(SAMPLE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        let Some(answered) = shutdown.run_until_cancelled(store.tokens(&page)).await else {
            break;
        };
        let fault = answered.err();
        let why = fault.map(|error| format!("{error}; the log keeps what is to be recorded"));
        condition.set(Name::Store, why);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use postrider_log::testing::MemoryLog;
    use postrider_log::{Durability, Purpose, TopicPartition};
    use postrider_model::NewRecord;
    use postrider_model::topics::{EVENTS, WORKER, all};

    use super::*;

    fn lag(topic: Topic, group: Group, partition: Partition, age_s: u64) -> Lag {
        Lag {
            at: TopicPartition { topic, partition },
            group,
            records: 1,
            oldest_age: Duration::from_secs(age_s),
        }
    }

    #[tokio::test]
    async fn what_the_log_said_is_told_for_half_a_minute_after_it_answered_last_and_then_no_more() {
        let registry = Registry::new();
        let log = Arc::new(MemoryLog::new(all()));
        let record = NewRecord::new(EVENTS, "app", "{}");
        let written = log.append(vec![record], Durability::Synced, Purpose::Intake);
        written.await.unwrap();
        let mut watch = LogWatch::new(log.clone(), Condition::new(false), &registry).unwrap();
        let tells = || {
            let metrics = registry.render();
            [
                "postrider_log_lag_records{",
                "postrider_log_oldest_unfinished_seconds{",
                "postrider_log_overdue_seconds{",
            ]
            .map(|name| metrics.contains(name))
        };
        watch.sample().await.unwrap();
        assert_eq!(tells(), [true; 3]);

        log.close().await.unwrap();
        watch.sample().await.unwrap();
        assert_eq!(tells(), [true; 3]);
        watch.known_at -= TOLD_FOR;
        watch.sample().await.unwrap();
        assert_eq!(tells(), [false; 3]);
    }

    #[test]
    fn what_waits_is_overdue_once_it_is_older_than_its_delay_and_the_worst_partition_counts() {
        let (minute, hour) = (RETRY[3].topic, PARK[6].topic);
        let told = overdue(&[
            lag(minute, PUMP, 0, 59),
            lag(minute, PUMP, 1, 190),
            lag(minute, PUMP, 2, 0),
            lag(hour, PUMP, 0, 3_599),
            lag(minute, WORKER, 0, 9_000),
        ]);
        let expected = [(minute, Duration::from_secs(130)), (hour, Duration::ZERO)];
        assert_eq!(told, HashMap::from(expected));
    }
}
