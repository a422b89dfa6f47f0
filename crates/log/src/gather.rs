//! Reading for a store: records gathered until a batch of them is due.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{Attentive, Batch, BatchLimit, Committer, Epochs, Log, LogError, Polled, Subscription};

/// When a batch is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gathering {
    /// Once it has so many records.
    pub records: usize,
    /// Records read at once: what lies there already is taken with the others, and is waited for by none of them.
    pub at_once: usize,
    /// Once it has so many bytes.
    pub bytes: usize,
    /// So long after its first record came.
    pub linger: Duration,
    /// So long after its last record came.
    pub idle: Duration,
}

/// What [`Gatherer`] is told of each place where records were gone before they were read.
type OnTrimmed = Box<dyn Fn(&LogError) + Send + Sync>;

/// Gathers batches.
pub struct Gatherer {
    reader: Attentive,
    committer: Arc<dyn Committer>,
    epochs: Epochs,
    gathering: Gathering,
    on_trimmed: OnTrimmed,
    stop: CancellationToken,
}

impl Gatherer {
    /// Joins the group. `on_trimmed` is told of each place where records were gone before they were read.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn new(
        log: &dyn Log,
        subscription: Subscription,
        gathering: Gathering,
        on_trimmed: impl Fn(&LogError) + Send + Sync + 'static,
        stop: CancellationToken,
    ) -> Result<Self, LogError> {
        let subscription = Subscription {
            patience: gathering.linger,
            ..subscription
        };
        let (reader, committer) = log.subscribe(subscription).await?;
        Ok(Self {
            reader: Attentive::new(reader),
            committer,
            epochs: Epochs::default(),
            gathering,
            on_trimmed: Box::new(on_trimmed),
            stop,
        })
    }

    /// What finishes that which was gathered.
    pub fn committer(&self) -> Arc<dyn Committer> {
        Arc::clone(&self.committer)
    }

    /// Reads until a batch is due; `None` once we are to stop and nothing is in hand.
    ///
    /// # Errors
    /// When the log stops.
    pub async fn gather(&mut self) -> Result<Option<Batch>, LogError> {
        let Gathering {
            records,
            at_once,
            bytes,
            linger,
            idle,
        } = self.gathering;
        let mut batch = Batch::default();
        loop {
            let left = BatchLimit {
                records: at_once,
                bytes: bytes - batch.bytes(),
            };
            let due_at = batch.due_at(linger, idle);
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
            if batch.records.len() >= records
                || batch.bytes() >= bytes
                || linger.is_zero() && !batch.is_empty()
            {
                return Ok(Some(batch));
            }
        }
    }

    /// Deals with what was gathered by `dealing`, which ends early where it would only wait once `leave` is cancelled: when
    /// the group wants some of what is ours, or we are to stop. What is ours of the batch then says [`Self::keep_ours`].
    pub async fn beside<D: Future>(&mut self, leave: &CancellationToken, dealing: D) -> D::Output {
        self.reader.beside(leave, dealing).await
    }

    /// A token for [`Self::beside`].
    pub fn leave(&self) -> CancellationToken {
        self.stop.child_token()
    }

    /// Gives up what the group wanted while the batch was dealt with, and leaves it out: its next owner deals with it. What
    /// is left is still to be finished.
    ///
    /// # Errors
    /// When the log stops.
    pub async fn keep_ours(&mut self, batch: &mut Batch) -> Result<(), LogError> {
        while let Some(missed) = self.reader.missed() {
            self.polled(missed, batch).await?;
        }
        Ok(())
    }

    async fn polled(
        &mut self,
        polled: Result<Polled, LogError>,
        batch: &mut Batch,
    ) -> Result<(), LogError> {
        if let Ok(polled) = &polled {
            self.epochs.hear(polled);
        }
        match polled {
            Ok(Polled::Assigned(_)) => {}
            Ok(Polled::Records(records)) => batch.take(records, &self.epochs, Instant::now()),
            Ok(Polled::Revoking(at)) => {
                batch.forget(&at);
                self.committer.release(&self.epochs.tenures(&at)).await?;
            }
            Ok(Polled::Lost(at)) => batch.forget(&at),
            Err(error @ LogError::Trimmed { .. }) => {
                tracing::error!(%error, "records were gone before they were read");
                (self.on_trimmed)(&error);
            }
            Err(error) if error.is_passing() => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
