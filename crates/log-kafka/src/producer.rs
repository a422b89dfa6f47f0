//! Writing: idempotent, acknowledged by all in-sync replicas, and never more on its way than there is room for.
//!
//! An append of several records is checked whole before the first is sent: what is too large or has no topic refuses
//! all of it. Beyond that Kafka knows no "all or none": of an append that is not acknowledged in time any part may have
//! been written. Its caller writes it again, and its readers drop what they know.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use postrider_log::{Keep, LogError, NewRecord, Position, TopicPartition};
use postrider_model::{Clock as _, SystemClock, Timestamp};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{
    BaseRecord, DeliveryResult, NoCustomPartitioner, Producer as _, ProducerContext,
    ThreadedProducer,
};
use rdkafka::{ClientConfig, Timestamp as KafkaTimestamp};
use tokio::sync::oneshot;

use crate::catalog::{Catalog, Entry};
use crate::error::closed;
use crate::room::{Room, Share};
use crate::skew::{Skew, off_by};
use crate::{LogMetrics, Options, config};

/// Where the records of an append went.
pub(crate) type Places = Vec<(TopicPartition, Position)>;

/// How soon a record is offered again for which librdkafka has no room.
const OFFER_AGAIN: Duration = Duration::from_millis(5);

/// How often a record is refused for its size alone, before it is believed.
const ALONE: u32 = 3;
/// Between two of these, times how many there were: longer than records are gathered for a batch.
const APART: Duration = Duration::from_millis(20);

/// What is known of the records of one append.
struct Outcome {
    places: Places,
    /// Not yet heard of.
    left: usize,
    error: Option<LogError>,
    reply: Option<oneshot::Sender<Result<Places, LogError>>>,
}

/// One append that is on its way. Its share of the room is given back when the last record was heard of.
struct Batch {
    outcome: Mutex<Outcome>,
    record_bytes: usize,
    /// When it was handed over.
    sent: Timestamp,
    metrics: Arc<LogMetrics>,
    skew: Arc<Skew>,
    _share: Share,
}

/// One record of a batch, as librdkafka carries it.
struct Ticket {
    batch: Arc<Batch>,
    index: usize,
    at: TopicPartition,
    size: usize,
}

impl Batch {
    fn settle(&self, index: usize, result: Result<Position, LogError>) {
        // Nothing in here panics halfway through a change.
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(position) => {
                self.metrics.records.inc();
                if let Some(place) = outcome.places.get_mut(index) {
                    place.1 = position;
                }
            }
            Err(error) => {
                self.metrics.refused.inc();
                // What is final says more than what may pass.
                if outcome.error.is_none() || matches!(error, LogError::TooLarge { .. }) {
                    outcome.error = Some(error);
                }
            }
        }
        outcome.left -= 1;
        if outcome.left == 0 {
            let places = std::mem::take(&mut outcome.places);
            let result = match outcome.error.take() {
                None => Ok(places),
                Some(error) => Err(error),
            };
            if let Some(reply) = outcome.reply.take() {
                // Whoever asked may have gone.
                let _ = reply.send(result);
            }
        }
    }
}

impl Ticket {
    fn settle(self, result: Result<Position, &KafkaError>) {
        let result = result.map_err(|error| self.refused(error));
        self.batch.settle(self.index, result);
    }

    /// What the broker's time of a record says of its clock. Of each append the first will do.
    fn compare_clocks(&self, stamped: KafkaTimestamp) {
        if let (0, KafkaTimestamp::LogAppendTime(millis)) = (self.index, stamped) {
            let stamped = Timestamp::from_millis(millis);
            let off = off_by(self.batch.sent, stamped, SystemClock.now());
            self.batch.skew.is(off, Instant::now());
        }
    }

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
            Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight) => closed(),
            _ => LogError::Unacknowledged(format!(
                "a record for {} was not acknowledged: {error}",
                self.at
            )),
        }
    }
}

/// Hears of every record's end.
struct Deliveries;

impl rdkafka::ClientContext for Deliveries {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "the producer's connection to Kafka");
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        match result {
            Ok(message) => {
                ticket.compare_clocks(message.timestamp());
                ticket.settle(Ok(Position::try_from(message.offset()).unwrap_or_default()))
            }
            Err((error, _)) => ticket.settle(Err(error)),
        }
    }
}

type Client = ThreadedProducer<Deliveries, NoCustomPartitioner>;

/// The one producer of a log.
pub(crate) struct Producer {
    /// None once it is closed.
    client: RwLock<Option<Arc<Client>>>,
    config: ClientConfig,
    catalog: Arc<Catalog>,
    room: Room,
    record_bytes: usize,
    delivery_timeout: Duration,
    metrics: Arc<LogMetrics>,
    skew: Arc<Skew>,
}

impl Producer {
    pub(crate) fn new(options: &Options, catalog: Arc<Catalog>) -> KafkaResult<Self> {
        let config = config::producer(options);
        let client = Client::from_config_and_context(&config, Deliveries)?;
        Ok(Self {
            client: RwLock::new(Some(Arc::new(client))),
            config,
            catalog,
            room: Room::new(
                options.queue_bytes,
                options.queue_wait,
                options.metrics.clone(),
            ),
            record_bytes: options.record_bytes,
            delivery_timeout: options.delivery_timeout,
            metrics: Arc::new(options.metrics.clone()),
            skew: Arc::new(Skew::new(options.metrics.clock_off.clone())),
        })
    }

    /// Fails if one of these cannot be written here. Returns what they take in all.
    pub(crate) fn check(&self, records: &[NewRecord]) -> Result<usize, LogError> {
        self.catalog.check(records, self.record_bytes)
    }

    /// Writes records, in this order, and returns where they went once all are acknowledged.
    pub(crate) async fn append(&self, records: Vec<NewRecord>) -> Result<Places, LogError> {
        let bytes = self.check(&records)?;
        self.client()?;
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let begun = Instant::now();
        let mut result = self.write(&records, bytes).await;
        if matches!(result, Err(LogError::TooLarge { .. })) {
            result = self.write_each(&records).await;
        }
        self.metrics
            .append_seconds
            .observe_duration(begun.elapsed());
        if result.is_err() {
            self.revive();
        }
        result
    }

    /// Writes each alone. A broker refuses all that came to it in one batch for the size of one of them, or of all
    /// together, and does not say which: only what it refuses alone, more than once because others' records may have
    /// been with it, is too large.
    async fn write_each(&self, records: &[NewRecord]) -> Result<Places, LogError> {
        // Of what was refused together a part may be there, whatever becomes of it now.
        let maybe = |error| match error {
            LogError::Busy(why) => LogError::Unacknowledged(why),
            error => error,
        };
        let mut places = Vec::with_capacity(records.len());
        for record in records {
            let one = std::slice::from_ref(record);
            let mut result = self.write(one, record.size()).await;
            for attempt in 1..ALONE {
                if !matches!(result, Err(LogError::TooLarge { .. })) {
                    break;
                }
                tokio::time::sleep(APART * attempt).await;
                result = self.write(one, record.size()).await;
            }
            places.extend(result.map_err(maybe)?);
        }
        Ok(places)
    }

    /// Hands records to librdkafka and waits until it has heard of all.
    async fn write(&self, records: &[NewRecord], bytes: usize) -> Result<Places, LogError> {
        let share = self.room.take(bytes).await?;
        let (reply, replied) = oneshot::channel();
        let mut places = Vec::with_capacity(records.len());
        for record in records {
            let entry = self.catalog.resolve(record.topic)?;
            places.push((Catalog::place(entry, &record.key), 0));
        }
        let batch = Arc::new(Batch {
            outcome: Mutex::new(Outcome {
                left: places.len(),
                places: places.clone(),
                error: None,
                reply: Some(reply),
            }),
            record_bytes: self.record_bytes,
            sent: SystemClock.now(),
            metrics: Arc::clone(&self.metrics),
            skew: Arc::clone(&self.skew),
            _share: share,
        });
        for (index, (record, (at, _))) in records.iter().zip(&places).enumerate() {
            let ticket = Ticket {
                batch: Arc::clone(&batch),
                index,
                at: *at,
                size: record.size(),
            };
            self.send(record, ticket).await;
        }
        drop(batch);
        replied.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Hands one record to librdkafka; how it ends is told to its batch.
    async fn send(&self, record: &NewRecord, ticket: Ticket) {
        let Ok(entry) = self.catalog.resolve(record.topic) else {
            return ticket
                .batch
                .settle(ticket.index, Err(LogError::NoSuchTopic(record.topic.0)));
        };
        let (begun, mut ticket) = (Instant::now(), Box::new(ticket));
        loop {
            let client = match self.client() {
                Ok(client) => client,
                Err(error) => return ticket.batch.settle(ticket.index, Err(error)),
            };
            let Err((error, back)) = client.send(offer(entry, record, ticket)) else {
                return;
            };
            // What is refused comes back with its ticket.
            ticket = back.delivery_opaque;
            let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
            if !full || begun.elapsed() > self.delivery_timeout {
                return ticket.settle(Err(&error));
            }
            tokio::time::sleep(OFFER_AGAIN).await;
        }
    }

    /// What was heard long ago of the brokers' clocks is told no more.
    pub(crate) fn forget_old_clocks(&self) {
        self.skew.forget_old(Instant::now());
    }

    fn client(&self) -> Result<Arc<Client>, LogError> {
        let client = self.client.read().unwrap_or_else(PoisonError::into_inner);
        client.as_ref().map(Arc::clone).ok_or_else(closed)
    }

    /// Builds the client anew if it says that it cannot go on.
    fn revive(&self) {
        let mut client = self.client.write().unwrap_or_else(PoisonError::into_inner);
        let Some(old) = client.as_ref() else { return };
        let Some((code, reason)) = old.client().fatal_error() else {
            return;
        };
        tracing::error!(%code, reason, "the producer cannot go on, and is built anew");
        match Client::from_config_and_context(&self.config, Deliveries) {
            Ok(new) => {
                self.metrics.rebuilt.inc();
                let old = client.replace(Arc::new(new));
                // Its end waits for its thread.
                std::thread::spawn(move || drop(old));
            }
            Err(error) => tracing::error!(%error, "building the producer"),
        }
    }

    /// Takes no more, and returns once everything taken was heard of.
    pub(crate) async fn close(&self) {
        self.room.close();
        let client = {
            let mut client = self.client.write().unwrap_or_else(PoisonError::into_inner);
            client.take()
        };
        let Some(client) = client else { return };
        // Everything is heard of by then: acknowledged, or too late.
        let within = self.delivery_timeout + Duration::from_secs(2);
        let flushed = tokio::task::spawn_blocking(move || client.flush(within)).await;
        if let Ok(Err(error)) = flushed {
            tracing::warn!(%error, "closing the producer");
        }
    }

    /// Takes no more.
    pub(crate) fn abandon(&self) {
        self.room.close();
        let mut client = self.client.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = client.take() {
            std::thread::spawn(move || drop(client));
        }
    }
}

fn offer<'a>(
    entry: &'a Entry,
    record: &'a NewRecord,
    ticket: Box<Ticket>,
) -> BaseRecord<'a, [u8], [u8], Box<Ticket>> {
    let partition = i32::try_from(ticket.at.partition).unwrap_or_default();
    let offer = BaseRecord::with_opaque_to(&entry.name, ticket)
        .partition(partition)
        .key(record.key.as_ref());
    let offer = match record.headers.is_empty() {
        true => offer,
        false => offer.headers(headers(record)),
    };
    // In a compacted topic Kafka removes a key for a record without a value, not for an empty one.
    match entry.spec.keep == Keep::Newest && record.value.is_empty() {
        true => offer,
        false => offer.payload(record.value.as_ref()),
    }
}

fn headers(record: &NewRecord) -> OwnedHeaders {
    let all = record.headers.iter();
    let none = OwnedHeaders::new_with_capacity(all.len());
    all.fold(none, |headers, (key, value)| {
        let value = Some(value.as_ref());
        headers.insert(Header { key, value })
    })
}
