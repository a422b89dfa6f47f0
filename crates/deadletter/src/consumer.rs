//! Keeping: dead letters from the log into the store.

use std::sync::Arc;
use std::time::Duration;

use postrider_failpoint::fail_point;
use postrider_log::{
    Batch, Committer, Gatherer, Gathering, LogError, Subscription, rejected, sync_patiently,
};
use postrider_model::{DeadLetter, NewRecord, Record, topics};
use postrider_store::{DeadLetters, Patience, Stopped, StoreError, Writing};
use tokio_util::sync::CancellationToken;

use crate::{DeadLetterError, DeadLetterMetrics, Ports, Reason};

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
    let gathering = Gathering {
        records,
        at_once: records,
        bytes,
        linger: Duration::ZERO,
        idle: Duration::ZERO,
    };
    let trimmed = metrics.trimmed.clone();
    let on_trimmed = move |_: &LogError| trimmed.inc();
    let log = ports.log.as_ref();
    let mut gatherer =
        Gatherer::new(log, subscription, gathering, on_trimmed, stop.clone()).await?;
    let keeper = Keeper {
        ports,
        committer: gatherer.committer(),
        metrics,
        stop,
    };
    while let Some(mut batch) = gatherer.gather().await? {
        while !batch.is_empty() {
            let leave = gatherer.leave();
            let keeping = keeper.keep(&mut batch, &leave);
            match gatherer.beside(&leave, keeping).await? {
                Ok(()) => break,
                Err(Stopped) if keeper.stop.is_cancelled() => return Ok(()),
                Err(Stopped) => gatherer.keep_ours(&mut batch).await?,
            }
        }
    }
    Ok(())
}

impl<S: DeadLetters + ?Sized> Keeper<S> {
    /// Keeps one batch: the log's sync first, then the store, then the positions. Where it would wait and is to leave, the
    /// batch stays in the log.
    async fn keep(
        &self,
        batch: &mut Batch,
        leave: &CancellationToken,
    ) -> Result<Result<(), Stopped>, LogError> {
        let (mut letters, mut sources, mut aside) = (Vec::new(), Vec::new(), Vec::new());
        for record in &batch.records {
            match DeadLetter::decode(&record.value) {
                Ok(letter) => {
                    letters.push(letter);
                    sources.push(record);
                }
                Err(why) => aside.push(self.set_aside(Reason::Malformed, record, &why.to_string())),
            }
        }
        if !letters.is_empty() {
            match sync_patiently(self.ports.log.as_ref(), leave).await {
                Err(error) if error.is_passing() => return Ok(Err(Stopped)),
                synced => synced?,
            }
            let refused = match self.write(&letters, leave).await {
                Ok(refused) => refused,
                Err(stopped) => return Ok(Err(stopped)),
            };
            aside.extend(refused.into_iter().filter_map(|(index, why)| {
                Some(self.set_aside(Reason::Refused, sources.get(index)?, &why))
            }));
        }
        self.finish(batch, aside, leave).await
    }

    /// Writes all but those that the store will never take, and returns these.
    async fn write(
        &self,
        letters: &[DeadLetter],
        leave: &CancellationToken,
    ) -> Result<Vec<(usize, String)>, Stopped> {
        let mut writing = Writing::of(letters.len(), self.patience(leave));
        while let Some(part) = writing.part() {
            let written = self.write_part(letters.get(part).unwrap_or_default());
            writing.after(written.await).await?;
        }
        Ok(writing.into_refused())
    }

    async fn write_part(&self, letters: &[DeadLetter]) -> Result<(), StoreError> {
        fail_point!("deadletter.store.before");
        self.ports.store.keep_dead_letters(letters).await?;
        fail_point!("deadletter.store.after");
        self.metrics.kept.inc_by(letters.len() as u64);
        Ok(())
    }

    fn patience(
        &self,
        leave: &CancellationToken,
    ) -> Patience<impl Fn(&str, Duration) + Send + Sync + use<S>> {
        let failures = self.metrics.store_failures.clone();
        Patience::new(leave.clone(), move |why, wait| {
            failures.inc();
            tracing::warn!(
                why,
                ?wait,
                "the store cannot take dead letters; trying again"
            );
        })
    }

    fn set_aside(&self, reason: Reason, record: &Record, why: &str) -> NewRecord {
        let (at, position) = (record.at, record.position);
        tracing::error!(%at, position, ?reason, why, "set aside: a dead letter that cannot be kept");
        self.metrics.set_aside.of(reason).inc();
        rejected(record, why, self.ports.log.limits())
    }

    async fn finish(
        &self,
        batch: &mut Batch,
        aside: Vec<NewRecord>,
        leave: &CancellationToken,
    ) -> Result<Result<(), Stopped>, LogError> {
        let refused = |error: &LogError| {
            tracing::warn!(%error, "the log does not take progress of dead letters at present");
            self.metrics.log_refusals.inc();
        };
        let committer = self.committer.as_ref();
        fail_point!("deadletter.complete.before");
        let finished = batch.finish(committer, aside, leave, refused).await?;
        fail_point!("deadletter.complete.after");
        Ok(if finished { Ok(()) } else { Err(Stopped) })
    }
}
