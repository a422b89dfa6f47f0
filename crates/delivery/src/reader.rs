//! Reads deliveries and hands them to the dispatcher. Never waits for a lane.

use std::collections::HashMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use postrider_log::{Assignment, Backoff, BatchLimit, Log, LogError, Polled, Reader, rejected};
use postrider_model::{
    Delivery, EndpointId, EndpointState, NewRecord, Position, Record, TopicPartition,
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::skips::Skips;
use crate::{DeliveryMetrics, state};

/// What the dispatcher is told.
#[derive(Debug)]
pub(crate) enum Inbound {
    /// These are ours. Their records follow once it is known what earlier owners knew.
    Assigned(Vec<Assignment>),
    /// What earlier owners of these knew of their endpoints.
    Restored(Vec<Assignment>, HashMap<EndpointId, EndpointState>),
    /// These are to be given up.
    Revoking(Vec<TopicPartition>),
    /// These are not ours any more.
    Lost(Vec<TopicPartition>),
    /// Records that were read.
    Read(Vec<Arrived>),
}

/// A record that was read.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) at: TopicPartition,
    pub(crate) position: Position,
    /// The delivery; or, where the record is none, what keeps it for operators. Nothing if an earlier owner finished it.
    pub(crate) delivery: Option<Result<Arc<Delivery>, NewRecord>>,
}

/// What is being read of earlier owners, for these that were assigned.
type Restoring = BoxFuture<
    'static,
    (
        Vec<Assignment>,
        Result<HashMap<EndpointId, EndpointState>, LogError>,
    ),
>;

/// Reads until `stop`, or until the log ends.
pub(crate) struct DeliveryReader {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) reader: Box<dyn Reader>,
    pub(crate) batch: BatchLimit,
    pub(crate) to: mpsc::Sender<Inbound>,
    /// What is not to be read at present.
    pub(crate) paused: watch::Receiver<Vec<TopicPartition>>,
    pub(crate) metrics: DeliveryMetrics,
    pub(crate) stop: CancellationToken,
    /// What earlier owners knew is read beside everything else.
    pub(crate) restoring: FuturesUnordered<Restoring>,
    pub(crate) skips: Skips,
    /// What was assigned and is not read before its endpoints' states are.
    pub(crate) unready: Vec<Assignment>,
}

impl DeliveryReader {
    pub(crate) async fn run(mut self) -> Result<(), LogError> {
        let stop = self.stop.clone();
        stop.run_until_cancelled(self.read())
            .await
            .unwrap_or(Ok(()))
    }

    async fn read(&mut self) -> Result<(), LogError> {
        let mut backoff = Backoff::default();
        let mut applied: Vec<TopicPartition> = Vec::new();
        loop {
            let polled = tokio::select! {
                biased;
                changed = self.paused.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    self.pause(&mut applied);
                    continue;
                }
                Some((assigned, states)) = self.restoring.next() => {
                    self.unready.retain(|one| !assigned.contains(one));
                    if self.to.send(Inbound::Restored(assigned, states?)).await.is_err() {
                        return Ok(());
                    }
                    self.pause(&mut applied);
                    continue;
                }
                polled = self.reader.next(self.batch) => polled,
            };
            match polled {
                Ok(polled) => {
                    backoff = Backoff::default();
                    if let Polled::Assigned(assigned) = &polled {
                        self.restore(assigned);
                        self.pause(&mut applied);
                    }
                    if !self.hand_over(polled).await {
                        return Ok(());
                    }
                }
                Err(error) if error.is_passing() => tokio::time::sleep(backoff.next_wait()).await,
                Err(error @ LogError::Trimmed { .. }) => {
                    self.metrics.lost.inc();
                    tracing::error!(%error, "deliveries were trimmed before they were read, and are lost");
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Begins to read what earlier owners knew.
    fn restore(&mut self, assigned: &[Assignment]) {
        self.unready.extend_from_slice(assigned);
        let (log, assigned) = (Arc::clone(&self.log), assigned.to_vec());
        self.restoring.push(Box::pin(async move {
            let states = state::restore(&*log, &assigned).await;
            (assigned, states)
        }));
    }

    fn pause(&mut self, applied: &mut Vec<TopicPartition>) {
        let mut wanted = self.paused.borrow_and_update().clone();
        wanted.extend(self.unready.iter().map(|one| one.at));
        let resume: Vec<_> = applied
            .iter()
            .filter(|at| !wanted.contains(at))
            .copied()
            .collect();
        self.reader.resume(&resume);
        self.reader.pause(&wanted);
        *applied = wanted;
    }

    /// False once nobody listens.
    async fn hand_over(&mut self, polled: Polled) -> bool {
        let inbound = match polled {
            Polled::Assigned(assignments) => {
                self.skips.assigned(&assignments);
                Inbound::Assigned(assignments)
            }
            Polled::Revoking(partitions) => Inbound::Revoking(partitions),
            Polled::Lost(partitions) => {
                self.skips.lost(&partitions);
                Inbound::Lost(partitions)
            }
            Polled::Records(records) => return self.hand_records(&records).await,
        };
        self.to.send(inbound).await.is_ok()
    }

    async fn hand_records(&mut self, records: &[Record]) -> bool {
        self.metrics.read.inc_by(records.len() as u64);
        let arrived = records.iter().map(|record| self.arrived(record)).collect();
        self.to.send(Inbound::Read(arrived)).await.is_ok()
    }

    fn arrived(&mut self, record: &Record) -> Arrived {
        let (at, position) = (record.at, record.position);
        let is_finished = self.skips.has(at, position);
        Arrived {
            at,
            position,
            delivery: (!is_finished).then(|| self.decoded(record)),
        }
    }

    fn decoded(&self, record: &Record) -> Result<Arc<Delivery>, NewRecord> {
        let delivery = Delivery::decode(&record.value).map(Arc::new);
        delivery.map_err(|error| {
            let (at, position) = (record.at, record.position);
            tracing::error!(%at, position, %error, "a record is no delivery and is set aside");
            self.metrics.malformed.inc();
            rejected(record, &error.to_string(), self.log.limits())
        })
    }
}
