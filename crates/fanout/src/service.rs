//! The loop: read a batch, refresh, match, write and finish.

use std::sync::Arc;
use std::time::Duration;

use postrider_log::{
    BatchLimit, Committed, Committer, Completion, Durability, Limits, Log, LogError, NewRecord,
    Polled, Progress, Purpose, Reader, Record, Subscription, complete_patiently, rejected,
};
use postrider_model::topics::{EVENTS, FANOUT};
use postrider_registry::Registry;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::matching::{Matched, Matcher};
use crate::{FanoutMetrics, Options, Rejected};

/// Records written in one completion, at most, but for those of one event.
const COMPLETE_RECORDS: usize = 4_000;
/// Their bytes.
const COMPLETE_BYTES: usize = 8 << 20;
/// How long to wait before asking a store again that could not answer.
const PAUSE: Duration = Duration::from_millis(200);

/// Why fan-out stopped.
#[derive(Debug, thiserror::Error)]
pub enum FanoutError {
    /// The log cannot go on.
    #[error("fan-out stopped: {0}")]
    Log(#[from] LogError),
}

/// Fans out until `shutdown`, finishing the batch in hand.
pub async fn run(
    log: Arc<dyn Log>,
    registry: Arc<Registry>,
    options: Options,
    metrics: FanoutMetrics,
    shutdown: CancellationToken,
) -> Result<(), FanoutError> {
    let (mut reader, committer) = log.subscribe(Subscription::to(FANOUT, EVENTS)).await?;
    let service = Service {
        registry,
        committer,
        limits: log.limits(),
        options,
        metrics,
        shutdown,
    };
    while let Some(records) = service.read(reader.as_mut()).await? {
        service.fan_out(records).await?;
    }
    Ok(())
}

struct Service {
    registry: Arc<Registry>,
    committer: Arc<dyn Committer>,
    limits: Limits,
    options: Options,
    metrics: FanoutMetrics,
    shutdown: CancellationToken,
}

/// What a batch has come to so far and is not written yet.
#[derive(Default)]
struct Pending {
    outputs: Vec<NewRecord>,
    bytes: usize,
    finished: Option<Progress>,
}

impl Pending {
    fn is_large(&self) -> bool {
        self.outputs.len() >= COMPLETE_RECORDS || self.bytes >= COMPLETE_BYTES
    }

    fn add(&mut self, outputs: Vec<NewRecord>) {
        self.bytes += outputs.iter().map(NewRecord::size).sum::<usize>();
        self.outputs.extend(outputs);
    }
}

impl Service {
    /// The next batch; `None` at shutdown.
    async fn read(&self, reader: &mut dyn Reader) -> Result<Option<Vec<Record>>, LogError> {
        let limit = BatchLimit {
            records: self.options.batch_records,
            bytes: self.options.batch_bytes,
        };
        loop {
            match self.shutdown.run_until_cancelled(reader.next(limit)).await {
                None => return Ok(None),
                Some(Ok(Polled::Records(records))) => return Ok(Some(records)),
                Some(Ok(Polled::Assigned(_) | Polled::Lost(_))) => {}
                // Nothing is in hand between two batches.
                Some(Ok(Polled::Revoking(partitions))) => {
                    self.committer.release(&partitions).await?
                }
                Some(Err(error @ LogError::Trimmed { .. })) => {
                    self.metrics.lost.inc();
                    tracing::error!(%error, "events were trimmed before they were fanned out");
                }
                Some(Err(error)) => return Err(error),
            }
        }
    }

    async fn fan_out(&self, records: Vec<Record>) -> Result<(), LogError> {
        let began = Instant::now();
        let mut stale = self.refresh().await;
        let mut pending = Pending::default();
        for record in &records {
            loop {
                match self.follow(record, stale) {
                    Some(outputs) => break pending.add(outputs),
                    None => {
                        // Only a fresh snapshot can tell. What came before does not wait for it.
                        self.write(&mut pending).await?;
                        if self
                            .shutdown
                            .run_until_cancelled(tokio::time::sleep(PAUSE))
                            .await
                            .is_none()
                        {
                            return Ok(());
                        }
                        stale = self.refresh().await;
                    }
                }
            }
            let committed = Committed {
                next: record.position + 1,
                metadata: String::new(),
            };
            // A partition's earlier progress is covered by its later one only if both are of the same partition.
            if pending
                .finished
                .as_ref()
                .is_some_and(|progress| progress.at != record.at)
            {
                self.write(&mut pending).await?;
            }
            pending.finished = Some(Progress {
                at: record.at,
                committed,
            });
            if pending.is_large() {
                self.write(&mut pending).await?;
            }
        }
        self.write(&mut pending).await?;
        self.metrics.batch.observe_duration(began.elapsed());
        Ok(())
    }

    /// Brings the registry up to date. True if it could not be.
    async fn refresh(&self) -> bool {
        self.registry.refresh().await.is_err()
    }

    /// What follows from `record`; `None` if only a fresh snapshot can tell.
    fn follow(&self, record: &Record, stale: bool) -> Option<Vec<NewRecord>> {
        let snapshot = self.registry.snapshot();
        let matcher = Matcher {
            snapshot: &snapshot,
            stale,
            options: &self.options,
        };
        match matcher.outputs(record) {
            Matched::NeedsFresh => None,
            Matched::Outputs {
                records,
                deliveries,
            } => {
                self.metrics.events.inc();
                self.metrics.deliveries.inc_by(deliveries as u64);
                if stale {
                    self.metrics.stale.inc();
                }
                Some(records)
            }
            Matched::Reject(reason, why) => Some(vec![self.reject(record, reason, &why)]),
        }
    }

    fn reject(&self, record: &Record, reason: Rejected, why: &str) -> NewRecord {
        self.metrics.rejected.of(reason).inc();
        tracing::warn!(at = %record.at, position = record.position, why, "a record of events was set aside");
        rejected(record, why, self.limits)
    }

    /// Writes what is pending, waiting while the log is busy or full.
    async fn write(&self, pending: &mut Pending) -> Result<(), LogError> {
        let Pending {
            outputs, finished, ..
        } = std::mem::take(pending);
        let Some(finished) = finished else {
            return Ok(());
        };
        let completion = Completion {
            finished: vec![finished],
            outputs,
            durability: Durability::Ordered,
            purpose: Purpose::Intake,
        };
        let refused = |error: &LogError| tracing::warn!(%error, "fan-out waits for the log");
        match complete_patiently(&*self.committer, &completion, &self.shutdown, refused).await {
            // Refused to the end: nothing of it was written, so the next start does it.
            Ok(()) | Err(LogError::Busy(_) | LogError::Full(_)) => Ok(()),
            Err(LogError::Lost(at)) => {
                tracing::info!(%at, "a partition went to another owner with a batch in hand");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}
