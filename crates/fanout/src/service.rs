//! The loop: read a batch, refresh, match, write and finish.

mod writing;

use std::sync::Arc;
use std::time::Duration;

use postrider_log::{
    Attentive, BatchLimit, Committer, Epochs, Lately, Limits, Log, LogError, NewRecord, Polled,
    Record, Subscription, TopicPartition, fits, rejected_event,
};
use postrider_model::EventId;
use postrider_model::topics::{EVENTS, EVENTS_WAITING, FANOUT, FANOUTS};
use postrider_registry::{AWAY_AFTER, Registry};
use postrider_trace::Tracer;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::matching::{Matched, Matcher};
use crate::pending::Pending;
use crate::{FanoutMetrics, Options, Rejected};
use writing::Refused;

/// Events of each partition that are remembered as finished.
const REMEMBERED: usize = 4_096;
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
///
/// Two readers: one of what comes in, which never waits for the store, and one of what only an up-to-date registry can
/// deal with, which does.
pub async fn run(
    log: Arc<dyn Log>,
    registry: Arc<Registry>,
    tracer: Tracer,
    options: Options,
    metrics: FanoutMetrics,
    shutdown: CancellationToken,
) -> Result<(), FanoutError> {
    let service = |topic| {
        let (log, registry, tracer) = (Arc::clone(&log), Arc::clone(&registry), tracer.clone());
        let (options, metrics, shutdown) = (options.clone(), metrics.clone(), shutdown.clone());
        async move {
            let (reader, committer) = log.subscribe(Subscription::to(FANOUT, topic)).await?;
            let service = Service {
                registry,
                committer,
                epochs: Epochs::default(),
                limits: log.limits(),
                lately: (!log.completes_at_once()).then(|| Lately::new(REMEMBERED)),
                tracer,
                options,
                metrics,
                waits_for_store: topic == EVENTS_WAITING,
                shutdown,
            };
            service.run(Attentive::new(reader)).await
        }
    };
    tokio::try_join!(service(EVENTS), service(EVENTS_WAITING))?;
    Ok(())
}

struct Service {
    registry: Arc<Registry>,
    committer: Arc<dyn Committer>,
    epochs: Epochs,
    limits: Limits,
    /// Where a crash can lie between deliveries and the position that they finish, the writers before us repeat
    /// themselves.
    lately: Option<Lately<EventId>>,
    tracer: Tracer,
    options: Options,
    metrics: FanoutMetrics,
    /// Goes on only with an up-to-date registry.
    waits_for_store: bool,
    shutdown: CancellationToken,
}

/// What was heard of the log.
enum Heard {
    Records(Vec<Record>),
    /// These are another's from now on.
    Gone(Vec<TopicPartition>),
    Nothing,
}

impl Service {
    async fn run(mut self, mut reader: Attentive) -> Result<(), FanoutError> {
        while let Some(mut records) = self.read(&mut reader).await? {
            while !records.is_empty() {
                let leave = self.shutdown.child_token();
                records = reader.beside(&leave, self.deal(records, &leave)).await?;
                if records.is_empty() || self.shutdown.is_cancelled() {
                    break;
                }
                // What is ours still is fanned out once more: the deliveries have the same ids.
                self.keep_ours(&mut reader, &mut records).await?;
            }
        }
        Ok(())
    }

    /// Fans a batch out. Returns all of it again if it would have waited for the store or the log, and is to leave.
    async fn deal(
        &mut self,
        records: Vec<Record>,
        leave: &CancellationToken,
    ) -> Result<Vec<Record>, LogError> {
        match self.refreshed(leave).await {
            Some(stale) => self.fan_out(records, stale, leave).await,
            None => Ok(records),
        }
    }

    /// Gives up what the group wanted while a batch was dealt with, and leaves it out.
    async fn keep_ours(
        &mut self,
        reader: &mut Attentive,
        records: &mut Vec<Record>,
    ) -> Result<(), LogError> {
        while let Some(missed) = reader.missed() {
            match self.hear(missed).await? {
                Heard::Records(more) => records.extend(more),
                Heard::Gone(gone) => records.retain(|record| !gone.contains(&record.at)),
                Heard::Nothing => {}
            }
        }
        Ok(())
    }

    /// The next batch; `None` at shutdown.
    async fn read(&mut self, reader: &mut Attentive) -> Result<Option<Vec<Record>>, LogError> {
        let limit = BatchLimit {
            records: self.options.batch_records,
            bytes: self.options.batch_bytes,
        };
        loop {
            let polled = self.shutdown.run_until_cancelled(reader.next(limit)).await;
            let Some(polled) = polled else {
                return Ok(None);
            };
            if let Heard::Records(records) = self.hear(polled).await? {
                return Ok(Some(records));
            }
        }
    }

    async fn hear(&mut self, polled: Result<Polled, LogError>) -> Result<Heard, LogError> {
        if let Ok(polled) = &polled {
            self.epochs.hear(polled);
        }
        match polled {
            Ok(Polled::Records(records)) => return Ok(Heard::Records(records)),
            Ok(Polled::Assigned(assigned)) => {
                self.forget(assigned.iter().map(|assignment| assignment.at));
            }
            Ok(Polled::Lost(partitions)) => {
                self.forget(partitions.iter().copied());
                return Ok(Heard::Gone(partitions));
            }
            // Nothing of it is being written, and what is in hand is read again.
            Ok(Polled::Revoking(partitions)) => {
                let released = self.epochs.tenures(&partitions);
                self.committer.release(&released).await?;
                self.forget(partitions.iter().copied());
                return Ok(Heard::Gone(partitions));
            }
            Err(error @ LogError::Trimmed { .. }) => {
                self.metrics.lost.inc();
                tracing::error!(%error, "events were trimmed before they were fanned out");
            }
            Err(error) if error.is_passing() => tokio::time::sleep(PAUSE).await,
            Err(error) => return Err(error),
        }
        Ok(Heard::Nothing)
    }

    /// Brings the registry up to date. True if it could not be; `None` once it would wait and is to
    /// leave.
    async fn refreshed(&self, leave: &CancellationToken) -> Option<bool> {
        loop {
            let refresh = tokio::time::timeout(AWAY_AFTER, self.registry.refresh());
            // Each batch would wait as long, however long the store is known to be away.
            let is_away = !self.waits_for_store && self.registry.is_away();
            let stale = is_away || !matches!(refresh.await, Ok(Ok(())));
            if !stale || !self.waits_for_store {
                return Some(stale);
            }
            let pause = tokio::time::sleep(PAUSE);
            leave.run_until_cancelled(pause).await?;
        }
    }

    async fn fan_out(
        &mut self,
        mut records: Vec<Record>,
        stale: bool,
        leave: &CancellationToken,
    ) -> Result<Vec<Record>, LogError> {
        let began = Instant::now();
        while !records.is_empty() {
            match self.try_fan_out(&records, stale, leave).await {
                Ok(()) => break,
                Err(Refused::Stopped) => return Ok(records),
                Err(Refused::Lost(at)) => {
                    tracing::info!(%at, "a partition went to another owner with a batch in hand");
                    // What was written of the others is written once more: the deliveries have the same ids.
                    records.retain(|record| record.at != at);
                }
                Err(Refused::Log(error)) => return Err(error),
            }
        }
        self.metrics.batch.observe_duration(began.elapsed());
        Ok(Vec::new())
    }

    async fn try_fan_out(
        &mut self,
        records: &[Record],
        stale: bool,
        leave: &CancellationToken,
    ) -> Result<(), Refused> {
        let mut pending = Pending::default();
        for record in records {
            // One completion finishes one partition.
            if pending.of.is_some_and(|of| of.at != record.at) {
                self.write(&mut pending, leave).await?;
            }
            let outputs = self.follow(record, stale, &mut pending);
            pending.add(record, self.epochs.of(record.at), outputs);
            if pending.is_large() {
                self.write(&mut pending, leave).await?;
            }
        }
        self.write(&mut pending, leave).await
    }

    /// What follows from `record`; nothing from a repeat of what was finished lately or is among `pending`.
    fn follow(&self, record: &Record, stale: bool, pending: &mut Pending) -> Vec<NewRecord> {
        let snapshot = self.registry.snapshot();
        let matcher = Matcher {
            snapshot: &snapshot,
            stale,
            options: &self.options,
            tracer: &self.tracer,
        };
        let (key, records, deliveries, span) = match matcher.outputs(record) {
            Matched::NeedsFresh(waiting) if fits(&waiting, self.limits) => return vec![waiting],
            Matched::NeedsFresh(waiting) => {
                let why = self.too_large(waiting.size());
                return vec![self.reject(record, Rejected::TooLarge, &why)];
            }
            Matched::Reject(reason, why) => return vec![self.reject(record, reason, &why)],
            Matched::Outputs {
                key,
                records,
                deliveries,
                span,
            } => (key, records, deliveries, span),
        };
        // Only a payload limit that leaves too little room for headers comes to this.
        let archived = records.iter().filter(|record| record.topic == FANOUTS);
        let limit = self.limits.record_bytes;
        if let Some(large) = archived.map(NewRecord::size).find(|size| *size > limit) {
            let why = self.too_large(large);
            return vec![self.reject(record, Rejected::TooLarge, &why)];
        }
        if let Some(lately) = &self.lately
            && (lately.knows(record.at, &key) || !pending.keys.insert(key))
        {
            self.metrics.repeats.inc();
            return Vec::new();
        }
        self.metrics.events.inc();
        self.metrics.deliveries.inc_by(deliveries as u64);
        if stale {
            self.metrics.stale.inc();
        }
        pending.spans.extend(span.is_recording().then_some(span));
        records
    }

    fn forget(&mut self, partitions: impl IntoIterator<Item = TopicPartition>) {
        if let Some(lately) = &mut self.lately {
            lately.forget(partitions);
        }
    }

    fn reject(&self, record: &Record, reason: Rejected, why: &str) -> NewRecord {
        self.metrics.rejected.of(reason).inc();
        tracing::warn!(at = %record.at, position = record.position, why, "a record of events was set aside");
        rejected_event(record, why, self.limits)
    }

    fn too_large(&self, bytes: usize) -> String {
        let limit = self.limits.record_bytes;
        format!("it makes a record of {bytes} bytes; the log takes {limit}")
    }
}
