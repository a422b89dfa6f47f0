//! The loop: gather, sync the log, write the store, disable, finish.

use std::sync::Arc;
use std::time::Duration;

use postrider_failpoint::fail_point;
use postrider_log::{
    Batch, Committer, Gatherer, Gathering, Log, LogError, Subscription, Weighted, rejected,
    sync_patiently,
};
use postrider_model::{Clock, NewRecord, Record, topics};
use postrider_store::{Endpoints, History, HistoryBatch, Patience, Stopped, StoreError, Writing};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::disabling::Disabling;
use crate::rows::Rows;
use crate::{Options, Reason, RecorderError, RecorderMetrics, RowKind};

/// A batch is so many times as large where that much lies there already: the more attempts of one endpoint are written
/// together, the fewer pages of the index by endpoint does each cost.
const BEHIND: usize = 5;

struct Recorder<S: ?Sized> {
    log: Arc<dyn Log>,
    committer: Arc<dyn Committer>,
    store: Arc<S>,
    clock: Arc<dyn Clock>,
    disabling: Disabling,
    metrics: RecorderMetrics,
    stop: CancellationToken,
}

/// Records until `stop`.
pub(crate) async fn run<S: History + Endpoints + ?Sized>(
    log: Arc<dyn Log>,
    store: Arc<S>,
    clock: Arc<dyn Clock>,
    options: Options,
    metrics: RecorderMetrics,
    stop: CancellationToken,
) -> Result<(), RecorderError> {
    let disabling = Disabling::new(options.disable_failing_after);
    let mut gatherer = gatherer(log.as_ref(), &options, &metrics, &stop).await?;
    let mut recorder = Recorder {
        log,
        committer: gatherer.committer(),
        store,
        clock,
        disabling,
        metrics,
        stop,
    };
    while let Some(mut batch) = gatherer.gather().await? {
        let began = Instant::now();
        let records = batch.records.len();
        while !batch.is_empty() {
            let leave = gatherer.leave();
            let recording = recorder.record(&mut batch, &leave);
            match gatherer.beside(&leave, recording).await? {
                Ok(()) => break,
                Err(Stopped) if recorder.stop.is_cancelled() => return Ok(()),
                Err(Stopped) => gatherer.keep_ours(&mut batch).await?,
            }
        }
        recorder.metrics.batch_records.observe(records as f64);
        recorder
            .metrics
            .batch_seconds
            .observe_duration(began.elapsed());
    }
    Ok(())
}

/// One subscription for all three topics, so that one transaction of the store serves them all.
async fn gatherer(
    log: &dyn Log,
    options: &Options,
    metrics: &RecorderMetrics,
    stop: &CancellationToken,
) -> Result<Gatherer, LogError> {
    let all = [topics::EVENTS, topics::FANOUTS, topics::ATTEMPTS];
    let weighted = all.map(|topic| Weighted { topic, weight: 1 });
    let subscription = Subscription::to_all(topics::RECORDER, weighted.to_vec());
    let gathering = Gathering {
        records: options.batch_records,
        at_once: options.batch_records * BEHIND,
        bytes: options.batch_bytes,
        linger: options.linger,
        idle: options.idle,
    };
    let trimmed = metrics.trimmed.clone();
    let on_trimmed = move |_: &LogError| trimmed.inc();
    Gatherer::new(log, subscription, gathering, on_trimmed, stop.clone()).await
}

impl<S: History + Endpoints + ?Sized> Recorder<S> {
    /// Records one batch: the log's sync first, then the store, then the positions. Where it would wait and is to leave, the
    /// batch stays in the log.
    async fn record(
        &mut self,
        batch: &mut Batch,
        leave: &CancellationToken,
    ) -> Result<Result<(), Stopped>, LogError> {
        let rows = Rows::of(&batch.records);
        let mut aside = self.malformed(&rows, &batch.records);
        if !rows.history.is_empty() {
            match sync_patiently(self.log.as_ref(), leave).await {
                Err(error) if error.is_passing() => return Ok(Err(Stopped)),
                synced => synced?,
            }
            match self.write(&rows, leave).await {
                Ok(refused) => aside.extend(self.refused(&rows, &batch.records, refused)),
                Err(stopped) => return Ok(Err(stopped)),
            }
            if let Err(stopped) = self.disable(&rows.history, leave).await {
                return Ok(Err(stopped));
            }
        }
        self.finish(batch, aside, leave).await
    }

    /// Writes all rows but those that the store will never take, and returns these.
    async fn write(
        &self,
        rows: &Rows,
        leave: &CancellationToken,
    ) -> Result<Vec<(usize, String)>, Stopped> {
        let len = rows.history.len();
        let mut writing = Writing::of(len, self.patience(leave));
        while let Some(part) = writing.part() {
            let written = if part.len() == len {
                self.write_part(&rows.history).await
            } else {
                self.write_part(&rows.part(&part)).await
            };
            writing.after(written).await?;
        }
        Ok(writing.into_refused())
    }

    async fn write_part(&self, part: &HistoryBatch) -> Result<(), StoreError> {
        fail_point!("recorder.store.before");
        self.store.record(part).await?;
        fail_point!("recorder.store.after");
        let recorded = |kind, rows: usize| self.metrics.recorded.of(kind).inc_by(rows as u64);
        recorded(RowKind::Event, part.events.len());
        recorded(RowKind::Fanout, part.fanouts.len());
        recorded(RowKind::Attempt, part.attempts.len());
        Ok(())
    }

    async fn disable(
        &mut self,
        history: &HistoryBatch,
        leave: &CancellationToken,
    ) -> Result<(), Stopped> {
        let mut patience = self.patience(leave);
        while let Err(why) = self
            .disabling
            .judge(
                self.store.as_ref(),
                &history.attempts,
                self.clock.now(),
                &self.metrics,
            )
            .await
        {
            patience.wait(&why.to_string()).await?;
        }
        Ok(())
    }

    /// While the store is down: nothing waits for it but history.
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
                "the store cannot be told what happened; trying again"
            );
        })
    }

    fn malformed(&self, rows: &Rows, records: &[Record]) -> Vec<NewRecord> {
        let aside = rows.malformed.iter().filter_map(|(index, why)| {
            self.set_aside(Reason::Malformed, records.get(*index)?, &why.to_string())
        });
        aside.collect()
    }

    fn refused(
        &self,
        rows: &Rows,
        records: &[Record],
        refused: Vec<(usize, String)>,
    ) -> Vec<NewRecord> {
        let aside = refused.into_iter().filter_map(|(row, why)| {
            self.set_aside(Reason::Refused, records.get(rows.source(row))?, &why)
        });
        aside.collect()
    }

    fn set_aside(&self, reason: Reason, record: &Record, why: &str) -> Option<NewRecord> {
        let (at, position) = (record.at, record.position);
        tracing::error!(%at, position, ?reason, why, "set aside: a record that cannot be recorded");
        self.metrics.set_aside.of(reason).inc();
        // What came as an event and cannot be read is rejected by fan-out, which reads it too.
        let by_fanout = reason == Reason::Malformed && at.topic == topics::EVENTS;
        (!by_fanout).then(|| rejected(record, why, self.log.limits()))
    }

    async fn finish(
        &self,
        batch: &mut Batch,
        aside: Vec<NewRecord>,
        leave: &CancellationToken,
    ) -> Result<Result<(), Stopped>, LogError> {
        let refused = |error: &LogError| {
            tracing::warn!(%error, "the log does not take the recorder's progress at present");
            self.metrics.log_refusals.inc();
        };
        let committer = self.committer.as_ref();
        fail_point!("recorder.complete.before");
        let finished = batch.finish(committer, aside, leave, refused).await?;
        fail_point!("recorder.complete.after");
        Ok(if finished { Ok(()) } else { Err(Stopped) })
    }
}
