//! The worker, put together.

use std::sync::Arc;

use futures::stream::FuturesUnordered;
use postrider_log::{Log, LogError, Subscription, Weighted};
use postrider_model::{Clock, topics};
use postrider_trace::Tracer;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::dispatcher::{Dispatcher, Ports};
use crate::reader::DeliveryReader;
use crate::skips::Skips;
use crate::{DeliveryMetrics, Endpoints, Options, Sender};

/// Batches that may wait between reader and dispatcher.
const INBOX: usize = 4;

/// Why the worker stopped before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The log cannot go on. Nothing is lost: what was not finished is read again by the next owner.
    #[error("the delivery worker stopped: {0}")]
    Log(#[from] LogError),
    /// One of its parts ended by a mistake of ours.
    #[error("the delivery worker stopped: a part of it ended unexpectedly: {0}")]
    Broken(String),
}

/// What the worker is given.
pub struct Worker<S> {
    /// Where deliveries come from and what follows from them goes.
    pub log: Arc<dyn Log>,
    /// The configuration.
    pub endpoints: Arc<dyn Endpoints>,
    /// The way out.
    pub sender: Arc<S>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Makes the spans of what is sampled.
    pub tracer: Tracer,
    /// How it works.
    pub options: Options,
    /// What it counts.
    pub metrics: DeliveryMetrics,
}

impl<S: Sender> Worker<S> {
    /// Delivers until `shutdown`; then starts nothing, lets what is in flight end, and writes it down.
    ///
    /// # Errors
    /// [`DeliveryError`] when the log cannot go on.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), DeliveryError> {
        let (reader, committer) = self.log.subscribe(subscription()).await?;
        let (to, inbox) = mpsc::channel(INBOX);
        let (pause, paused) = watch::channel(Vec::new());
        let stop = CancellationToken::new();
        // Whatever way this ends, the reader ends with it.
        let stop_reader = stop.clone().drop_guard();
        let reader = DeliveryReader {
            reader,
            batch: self.options.batch,
            to,
            paused,
            metrics: self.metrics.clone(),
            stop,
            log: Arc::clone(&self.log),
            restoring: FuturesUnordered::new(),
            skips: Skips::default(),
            unready: Vec::new(),
        };
        let reading = tokio::spawn(reader.run());
        let ports = Ports {
            committer,
            limits: self.log.limits(),
            completes_at_once: self.log.completes_at_once(),
            endpoints: self.endpoints,
            sender: self.sender,
            clock: self.clock,
            tracer: self.tracer,
            inbox,
            pause,
        };
        Dispatcher::new(ports, self.options, self.metrics)
            .run(shutdown)
            .await?;
        drop(stop_reader);
        match reading.await {
            Ok(read) => Ok(read?),
            Err(error) => Err(DeliveryError::Broken(error.to_string())),
        }
    }
}

fn subscription() -> Subscription {
    let weighted = |topic, weight| Weighted { topic, weight };
    let topics = vec![
        weighted(topics::DELIVERIES_HIGH, 8),
        weighted(topics::DELIVERIES_NORMAL, 4),
        weighted(topics::DELIVERIES_BULK, 1),
    ];
    Subscription::to_all(topics::WORKER, topics)
}
