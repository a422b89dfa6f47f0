//! What is measured of the process as a whole and of the log's readers.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use postrider_log::{Lag, Log};
use postrider_metrics::{FloatGauge, Gauge, Registry};
use postrider_model::{Group, Partition, Topic};
use postrider_store::{Order, Page, PageStart, Store};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::condition::{Condition, Name};

const SAMPLE_EVERY: Duration = Duration::from_secs(2);
/// What Linux counts a process's time in, whatever the kernel's own tick (`USER_HZ`, proc(5)).
const TICKS_PER_SECOND: f64 = 100.0;
const PAGE_BYTES: i64 = 4096;

postrider_metrics::metrics! {
    /// The process, as /proc tells when it is asked.
    pub(crate) struct ProcessMetrics {
        resident: Gauge("postrider_process_resident_bytes", "bytes", "Memory that the process holds."),
        open_files: Gauge("postrider_process_open_files", "descriptors", "Descriptors that are open: files and connections."),
        max_files: Gauge("postrider_process_max_files", "descriptors", "Descriptors that may be open."),
        threads: Gauge("postrider_process_threads", "threads", "Threads of the process."),
        cpu: FloatGauge("postrider_process_cpu_seconds", "seconds", "Processor time used since the start, user and system."),
        started: FloatGauge("postrider_process_start_time_seconds", "seconds", "When the process was started, since 1970."),
    }
}

impl ProcessMetrics {
    /// Declares them, and says when this process began.
    pub(crate) fn start(registry: &Registry) -> Result<Self, postrider_metrics::Error> {
        let metrics = Self::register(registry)?;
        let now_ms = jiff::Timestamp::now().as_millisecond();
        #[expect(clippy::cast_precision_loss, reason = "exact for 250,000 years")]
        metrics.started.set(now_ms as f64 / 1000.0);
        Ok(metrics)
    }

    /// Reads them anew. What /proc does not tell stays as it was.
    pub(crate) fn sample(&self) {
        if let Some(pages) = field("/proc/self/statm", 1) {
            self.resident.set(pages.saturating_mul(PAGE_BYTES));
        }
        if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
            self.open_files
                .set(i64::try_from(entries.count()).unwrap_or(i64::MAX));
        }
        if let Ok((soft, _)) = rlimit::Resource::NOFILE.get() {
            self.max_files.set(i64::try_from(soft).unwrap_or(i64::MAX));
        }
        if let Some(threads) = after_name(17) {
            self.threads.set(threads);
        }
        if let (Some(user), Some(system)) = (after_name(11), after_name(12)) {
            #[expect(clippy::cast_precision_loss, reason = "ticks stay far below 2^52")]
            self.cpu.set((user + system) as f64 / TICKS_PER_SECOND);
        }
    }
}

fn field(file: &str, index: usize) -> Option<i64> {
    let text = std::fs::read_to_string(file).ok()?;
    text.split_ascii_whitespace().nth(index)?.parse().ok()
}

/// A field of /proc/self/stat, counted from the one behind the program's name, which may hold anything.
fn after_name(index: usize) -> Option<i64> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, behind) = text.rsplit_once(')')?;
    behind.split_ascii_whitespace().nth(index)?.parse().ok()
}

postrider_metrics::metrics! {
    /// How far the log's readers are.
    pub(crate) struct LagMetrics {
        records: GaugeFamily<3>("postrider_log_lag_records", "records", "Records that the group has not finished (an upper bound). The processes that read a partition tell of it; of one that the process reads no more it tells 0.", ["topic", "group", "partition"]),
        oldest: FloatGaugeFamily<3>("postrider_log_oldest_unfinished_seconds", "seconds", "Age of the oldest record that the group has not finished, told likewise.", ["topic", "group", "partition"]),
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
                return Ok(());
            }
        };
        self.condition.set(Name::Log, None);
        self.tell(&lags)
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
        Ok(())
    }
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
    use super::*;

    #[test]
    fn the_process_is_measured_by_what_proc_tells() {
        let registry = Registry::new();
        let metrics = ProcessMetrics::start(&registry).unwrap();
        metrics.sample();
        assert!(metrics.resident.get() > 1 << 20, "a megabyte at least");
        assert!(metrics.open_files.get() >= 3);
        assert!(metrics.max_files.get() > 3);
        assert!(metrics.threads.get() >= 1);
        assert!(metrics.started.get() > 1.7e9);
    }
}
