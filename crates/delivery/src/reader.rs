//! Reads deliveries and hands them to the dispatcher. Never waits for a lane.

use std::collections::HashMap;
use std::sync::Arc;

use postrider_log::{Assignment, Backoff, BatchLimit, Log, LogError, Polled, Reader, rejected};
use postrider_model::{
    Delivery, EndpointId, EndpointState, NewRecord, Position, Record, TopicPartition,
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::{DeliveryMetrics, state};

/// What the dispatcher is told.
#[derive(Debug)]
pub(crate) enum Inbound {
    /// These are ours, and this is what earlier owners knew of their endpoints.
    Assigned(Vec<Assignment>, HashMap<EndpointId, EndpointState>),
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
    /// The delivery; or, where the record is none, what keeps it for operators.
    pub(crate) delivery: Result<Arc<Delivery>, NewRecord>,
}

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
                polled = self.reader.next(self.batch) => polled,
            };
            match polled {
                Ok(polled) => {
                    backoff = Backoff::default();
                    if !self.hand_over(polled).await? {
                        return Ok(());
                    }
                }
                Err(LogError::Busy(_)) => tokio::time::sleep(backoff.next_wait()).await,
                Err(error @ LogError::Trimmed { .. }) => {
                    self.metrics.lost.inc();
                    tracing::error!(%error, "deliveries were trimmed before they were read, and are lost");
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn pause(&mut self, applied: &mut Vec<TopicPartition>) {
        let wanted = self.paused.borrow_and_update().clone();
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
    async fn hand_over(&mut self, polled: Polled) -> Result<bool, LogError> {
        let inbound = match polled {
            Polled::Assigned(assignments) => {
                Inbound::Assigned(assignments, state::restore(&*self.log).await?)
            }
            Polled::Revoking(partitions) => Inbound::Revoking(partitions),
            Polled::Lost(partitions) => Inbound::Lost(partitions),
            Polled::Records(records) => return Ok(self.hand_records(&records).await),
        };
        Ok(self.to.send(inbound).await.is_ok())
    }

    async fn hand_records(&mut self, records: &[Record]) -> bool {
        self.metrics.read.inc_by(records.len() as u64);
        let arrived = records.iter().map(|record| self.arrived(record)).collect();
        self.to.send(Inbound::Read(arrived)).await.is_ok()
    }

    fn arrived(&self, record: &Record) -> Arrived {
        let delivery = Delivery::decode(&record.value)
            .map(Arc::new)
            .map_err(|error| {
                let (at, position) = (record.at, record.position);
                tracing::error!(%at, position, %error, "a record is no delivery and is set aside");
                self.metrics.malformed.inc();
                rejected(record, &error.to_string(), self.log.limits())
            });
        Arrived {
            at: record.at,
            position: record.position,
            delivery,
        }
    }
}
