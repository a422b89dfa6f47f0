//! Reading: records of all three topics, until a batch of them is due.

use std::sync::Arc;
use std::time::Duration;

use postrider_log::{BatchLimit, Committer, Log, LogError, Polled, Reader, Subscription, Weighted};
use postrider_model::topics;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::batch::Batch;
use crate::{Options, RecorderMetrics};

/// Gathers batches.
pub(crate) struct Gatherer {
    reader: Box<dyn Reader>,
    committer: Arc<dyn Committer>,
    options: Options,
    metrics: RecorderMetrics,
    stop: CancellationToken,
}

impl Gatherer {
    /// One subscription for all three topics, so that one transaction of the store serves them all.
    pub(crate) async fn new(
        log: &dyn Log,
        options: Options,
        metrics: RecorderMetrics,
        stop: CancellationToken,
    ) -> Result<Self, LogError> {
        let subscription = Subscription {
            group: topics::RECORDER,
            topics: [topics::EVENTS, topics::FANOUTS, topics::ATTEMPTS]
                .map(|topic| Weighted { topic, weight: 1 })
                .to_vec(),
        };
        let (reader, committer) = log.subscribe(subscription).await?;
        Ok(Self {
            reader,
            committer,
            options,
            metrics,
            stop,
        })
    }

    /// What finishes that which was gathered.
    pub(crate) fn committer(&self) -> Arc<dyn Committer> {
        Arc::clone(&self.committer)
    }

    /// Reads until a batch is due; `None` once we are to stop and nothing is in hand.
    pub(crate) async fn gather(&mut self) -> Result<Option<Batch>, LogError> {
        let mut batch = Batch::default();
        loop {
            let left = BatchLimit {
                records: self.options.batch_records - batch.records.len(),
                bytes: self.options.batch_bytes - batch.bytes(),
            };
            let due_at = batch.due_at(self.options.linger, self.options.idle);
            let due = async {
                match due_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let polled = tokio::select! {
                () = self.stop.cancelled() => return Ok((!batch.is_empty()).then_some(batch)),
                () = due => return Ok(Some(batch)),
                polled = self.reader.next(left) => polled,
            };
            self.polled(polled, &mut batch).await?;
            if batch.records.len() >= self.options.batch_records
                || batch.bytes() >= self.options.batch_bytes
            {
                return Ok(Some(batch));
            }
        }
    }

    async fn polled(
        &mut self,
        polled: Result<Polled, LogError>,
        batch: &mut Batch,
    ) -> Result<(), LogError> {
        match polled {
            Ok(Polled::Assigned(_)) => {}
            Ok(Polled::Records(records)) => batch.take(records, Instant::now()),
            Ok(Polled::Revoking(at)) => {
                batch.forget(&at);
                self.committer.release(&at).await?;
            }
            Ok(Polled::Lost(at)) => batch.forget(&at),
            Err(LogError::Trimmed { at, asked, first }) => {
                tracing::error!(%at, asked, first, "history was gone before it was recorded");
                self.metrics.trimmed.inc();
            }
            Err(LogError::Busy(_) | LogError::Full(_)) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
