//! What is known of the records of one append while they are on their way.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use postrider_log::{LogError, Position, TopicPartition};
use postrider_model::{Clock as _, SystemClock, Timestamp};
use rdkafka::Timestamp as KafkaTimestamp;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::oneshot;

use crate::LogMetrics;
use crate::room::Share;
use crate::skew::{Skew, off_by};

/// Where a record went.
pub(super) type Place = (TopicPartition, Position);

/// Where the records of an append went.
pub(crate) type Places = Vec<Place>;

/// What became of the records of one append.
#[derive(Debug)]
pub(super) struct Heard {
    /// Where they are; those that were refused have no position.
    pub(super) places: Places,
    /// By their index those that are not written, or may not be.
    pub(super) refused: Vec<(usize, LogError)>,
}

struct Outcome {
    heard: Heard,
    /// Not yet heard of.
    left: usize,
    reply: Option<oneshot::Sender<Heard>>,
    /// Given back when the last record was heard of, or nobody waits for that any more.
    share: Option<Share>,
}

/// One append that is on its way.
pub(super) struct Batch {
    outcome: Mutex<Outcome>,
    record_bytes: usize,
    /// When it was handed over.
    sent: Timestamp,
    metrics: Arc<LogMetrics>,
    skew: Arc<Skew>,
}

/// One record of a batch, as librdkafka carries it.
pub(super) struct Ticket {
    pub(super) batch: Arc<Batch>,
    pub(super) index: usize,
    pub(super) at: TopicPartition,
    pub(super) size: usize,
}

/// What a batch counts, and what refuses its records.
pub(super) struct Of<'a> {
    pub(super) record_bytes: usize,
    pub(super) metrics: &'a Arc<LogMetrics>,
    pub(super) skew: &'a Arc<Skew>,
}

impl Batch {
    /// Of records that go there. The receiver is told when all were heard of.
    pub(super) fn new(
        places: Places,
        share: Share,
        of: &Of<'_>,
    ) -> (Arc<Self>, oneshot::Receiver<Heard>) {
        let (reply, replied) = oneshot::channel();
        let outcome = Outcome {
            left: places.len(),
            heard: Heard {
                places,
                refused: Vec::new(),
            },
            reply: Some(reply),
            share: Some(share),
        };
        let batch = Self {
            outcome: Mutex::new(outcome),
            record_bytes: of.record_bytes,
            sent: SystemClock.now(),
            metrics: Arc::clone(of.metrics),
            skew: Arc::clone(of.skew),
        };
        (Arc::new(batch), replied)
    }

    fn outcome(&self) -> MutexGuard<'_, Outcome> {
        // Nothing under this lock panics halfway through a change.
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn settle(&self, index: usize, result: Result<Position, LogError>) {
        let mut outcome = self.outcome();
        match result {
            Ok(position) => {
                self.metrics.records.inc();
                if let Some(place) = outcome.heard.places.get_mut(index) {
                    place.1 = position;
                }
            }
            Err(error) => {
                self.metrics.refused.inc();
                outcome.heard.refused.push((index, error));
            }
        }
        outcome.left -= 1;
        if outcome.left == 0 {
            outcome.share = None;
            let heard = Heard {
                places: std::mem::take(&mut outcome.heard.places),
                refused: std::mem::take(&mut outcome.heard.refused),
            };
            if let Some(reply) = outcome.reply.take() {
                // Whoever asked may have gone.
                let _ = reply.send(heard);
            }
        }
    }

    /// Waits until all were heard of. librdkafka tells the end of each record; should it ever not, or so late that the
    /// machine must have stood still, nobody waits for it for ever, and the room is others'.
    pub(super) async fn heard(
        &self,
        replied: oneshot::Receiver<Heard>,
        within: Duration,
    ) -> Result<Heard, LogError> {
        if let Ok(Ok(heard)) = tokio::time::timeout(within, replied).await {
            return Ok(heard);
        }
        let mut outcome = self.outcome();
        outcome.share = None;
        let left = outcome.left;
        Err(LogError::Unacknowledged(format!(
            "of {left} records nothing was heard for {within:?}"
        )))
    }
}

impl Ticket {
    pub(super) fn settle(self, result: Result<Position, &KafkaError>) {
        let result = result.map_err(|error| self.refused(error));
        self.batch.settle(self.index, result);
    }

    /// What the broker's time of a record says of its clock. Of each append the first will do.
    pub(super) fn compare_clocks(&self, stamped: KafkaTimestamp) {
        if let (0, KafkaTimestamp::LogAppendTime(millis)) = (self.index, stamped) {
            let stamped = Timestamp::from_millis(millis);
            let off = off_by(self.batch.sent, stamped, SystemClock.now());
            self.batch.skew.is(off, Instant::now());
        }
    }

    /// What was purged counts as not acknowledged, too: a client that cannot go on takes back what it has not sent, and the
    /// next one writes it. Where the log was closed, the next try says so.
    fn refused(&self, error: &KafkaError) -> LogError {
        match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::MessageSizeTooLarge
                | RDKafkaErrorCode::InvalidMessageSize
                | RDKafkaErrorCode::MessageBatchTooLarge,
            ) => LogError::TooLarge {
                topic: self.at.topic.0,
                size: self.size,
                limit: self.batch.record_bytes.min(self.size.saturating_sub(1)),
            },
            _ => LogError::Unacknowledged(format!(
                "a record for {} was not acknowledged: {error}",
                self.at
            )),
        }
    }
}
