//! Keeping: dead letters from the log into the store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use postrider_log::{
    Backoff, BatchLimit, Committed, Committer, Completion, Durability, LogError, Polled, Progress,
    Purpose, Reader, Subscription, complete_patiently, rejected, sync_patiently,
};
use postrider_model::{DeadLetter, NewRecord, Position, Record, TopicPartition, topics};
use postrider_store::{DeadLetters, Halving, StoreError};
use tokio_util::sync::CancellationToken;

use crate::{DeadLetterError, DeadLetterMetrics, Ports, Reason};

/// We are to stop before the batch could be kept: it stays in the log.
struct Stopped;

/// The half that writes.
struct Keeper<S: ?Sized> {
    ports: Ports<S>,
    committer: Arc<dyn Committer>,
    metrics: DeadLetterMetrics,
    stop: CancellationToken,
}

/// Keeps dead letters until `stop`. While one batch is written the next gathers by itself in the log.
pub(crate) async fn run<S: DeadLetters + ?Sized>(
    ports: Ports<S>,
    records: usize,
    bytes: usize,
    metrics: DeadLetterMetrics,
    stop: CancellationToken,
) -> Result<(), DeadLetterError> {
    let subscription = Subscription::to(topics::DEADLETTER, topics::DEAD_LETTERS);
    let (mut reader, committer) = ports.log.subscribe(subscription).await?;
    let keeper = Keeper {
        ports,
        committer,
        metrics,
        stop,
    };
    let limit = BatchLimit { records, bytes };
    while let Some(batch) = keeper.read(reader.as_mut(), limit).await? {
        if keeper.keep(batch).await?.is_err() {
            break;
        }
    }
    Ok(())
}

impl<S: DeadLetters + ?Sized> Keeper<S> {
    /// The next records; `None` once we are to stop.
    async fn read(
        &self,
        reader: &mut dyn Reader,
        limit: BatchLimit,
    ) -> Result<Option<Vec<Record>>, LogError> {
        loop {
            let polled = tokio::select! {
                () = self.stop.cancelled() => return Ok(None),
                polled = reader.next(limit) => polled,
            };
            match polled {
                Ok(Polled::Records(records)) => return Ok(Some(records)),
                // Nothing is in hand while we read.
                Ok(Polled::Revoking(at)) => self.committer.release(&at).await?,
                Ok(Polled::Assigned(_) | Polled::Lost(_)) => {}
                Err(LogError::Trimmed { at, asked, first }) => {
                    tracing::error!(%at, asked, first, "dead letters were gone before they were read");
                    self.metrics.trimmed.inc();
                }
                Err(LogError::Busy(_) | LogError::Full(_)) => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Keeps one batch: the log's sync first, then the store, then the positions.
    async fn keep(&self, records: Vec<Record>) -> Result<Result<(), Stopped>, LogError> {
        let (mut letters, mut sources, mut aside) = (Vec::new(), Vec::new(), Vec::new());
        for record in &records {
            match DeadLetter::decode(&record.value) {
                Ok(letter) => {
                    letters.push(letter);
                    sources.push(record);
                }
                Err(why) => aside.push(self.set_aside(Reason::Malformed, record, &why.to_string())),
            }
        }
        if !letters.is_empty() {
            match sync_patiently(self.ports.log.as_ref(), &self.stop).await {
                Err(LogError::Busy(_) | LogError::Full(_)) => return Ok(Err(Stopped)),
                synced => synced?,
            }
            let refused = match self.write(&letters).await {
                Ok(refused) => refused,
                Err(stopped) => return Ok(Err(stopped)),
            };
            aside.extend(refused.into_iter().filter_map(|(index, why)| {
                Some(self.set_aside(Reason::Refused, sources.get(index)?, &why))
            }));
        }
        self.finish(&records, aside).await
    }

    /// Writes all but those that the store will never take, and returns these.
    async fn write(&self, letters: &[DeadLetter]) -> Result<Vec<(usize, String)>, Stopped> {
        let store_backoff = || Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
        let (mut halving, mut backoff) = (Halving::over(letters.len()), store_backoff());
        let mut refused = Vec::new();
        while let Some(part) = halving.part() {
            let letters = letters.get(part).unwrap_or_default();
            match self.ports.store.keep_dead_letters(letters).await {
                Ok(()) => {
                    self.metrics.kept.inc_by(letters.len() as u64);
                    halving.written();
                    backoff = store_backoff();
                }
                Err(StoreError::Unavailable(why)) => self.wait(&why, &mut backoff).await?,
                Err(error) => {
                    if let Some(index) = halving.refused() {
                        refused.push((index, error.to_string()));
                    }
                }
            }
        }
        Ok(refused)
    }

    async fn wait(&self, why: &str, backoff: &mut Backoff) -> Result<(), Stopped> {
        self.metrics.store_failures.inc();
        let wait = backoff.next_wait();
        tracing::warn!(
            why,
            ?wait,
            "the store cannot take dead letters; trying again"
        );
        tokio::select! {
            () = self.stop.cancelled() => Err(Stopped),
            () = tokio::time::sleep(wait) => Ok(()),
        }
    }

    fn set_aside(&self, reason: Reason, record: &Record, why: &str) -> NewRecord {
        let (at, position) = (record.at, record.position);
        tracing::error!(%at, position, ?reason, why, "set aside: a dead letter that cannot be kept");
        self.metrics.set_aside.of(reason).inc();
        rejected(record, why, self.ports.log.limits())
    }

    async fn finish(
        &self,
        records: &[Record],
        aside: Vec<NewRecord>,
    ) -> Result<Result<(), Stopped>, LogError> {
        let mut next: BTreeMap<TopicPartition, Position> = BTreeMap::new();
        for record in records {
            next.insert(record.at, record.position + 1);
        }
        let refused = |error: &LogError| {
            tracing::warn!(%error, "the log does not take progress of dead letters at present");
            self.metrics.log_refusals.inc();
        };
        loop {
            let completion = Completion {
                finished: next.iter().map(progress).collect(),
                outputs: aside.clone(),
                durability: Durability::Ordered,
                purpose: Purpose::Pipeline,
            };
            let committer = self.committer.as_ref();
            match complete_patiently(committer, &completion, &self.stop, refused).await {
                Ok(()) => return Ok(Ok(())),
                // Another keeps it again, which is harmless.
                Err(LogError::Lost(at)) => drop(next.remove(&at)),
                Err(LogError::Busy(_) | LogError::Full(_)) => return Ok(Err(Stopped)),
                Err(error) => return Err(error),
            }
        }
    }
}

fn progress((at, next): (&TopicPartition, &Position)) -> Progress {
    Progress {
        at: *at,
        committed: Committed {
            next: *next,
            metadata: String::new(),
        },
    }
}
