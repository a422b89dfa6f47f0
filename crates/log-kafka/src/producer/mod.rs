//! Writing: idempotent, acknowledged by all in-sync replicas, and never more on its way than there is room for.
//!
//! An append of several records is checked whole before the first is sent: what is too large or has no topic refuses
//! all of it. Beyond that Kafka knows no "all or none": of an append that is not acknowledged in time any part may have
//! been written. Its caller writes it again, and its readers drop what they know.

mod batch;
mod client;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use postrider_log::{LogError, NewRecord, shrink};
use postrider_model::{Clock as _, SystemClock};
use rdkafka::ClientConfig;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::Producer as _;

use crate::catalog::{Catalog, Entry};
use crate::error::closed;
use crate::room::Room;
use crate::skew::Skew;
use crate::{LogMetrics, Options, config};
use batch::{Batch, Heard, Of, Place, Places, Ticket};
use client::{Client, Deliveries, offer, retire};

/// How soon a record is offered again for which librdkafka has no room.
const OFFER_AGAIN: Duration = Duration::from_millis(5);

/// Beyond the time after which librdkafka gives a record up, for it to say so: it looks once a second.
const SLACK: Duration = Duration::from_secs(5);

/// How often a record is refused for its size alone, before it is believed.
const ALONE: u32 = 3;
/// Between two of these, times how many there were: longer than records are gathered for a batch.
const APART: Duration = Duration::from_millis(20);

/// What becomes of a record that brokers refuse alone for its size.
#[derive(Clone, Copy)]
enum TooLarge {
    /// All of the append is refused.
    Refused,
    /// It is written [smaller](shrink).
    Shrunk,
}

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
    pub(crate) async fn append(&self, mut records: Vec<NewRecord>) -> Result<Places, LogError> {
        self.put(&mut records, TooLarge::Refused).await
    }

    /// Likewise, of what follows from records that are finished with it: what brokers find too large, although we do not, is
    /// written smaller, and what was written with it is not written again.
    pub(crate) async fn append_outputs(&self, mut outputs: Vec<NewRecord>) -> Result<(), LogError> {
        let put = self.put(&mut outputs, TooLarge::Shrunk).await;
        put.map(drop)
    }

    async fn put(&self, records: &mut [NewRecord], what: TooLarge) -> Result<Places, LogError> {
        let bytes = self.check(records)?;
        self.client()?;
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let begun = Instant::now();
        let result = match self.write(records, bytes).await {
            Ok(heard) => self.write_refused(records, heard, what).await,
            Err(error) => Err(error),
        };
        self.metrics
            .append_seconds
            .observe_duration(begun.elapsed());
        if result.is_err() {
            self.revive();
        }
        result
    }

    /// Writes each that was refused for its size alone. A broker refuses all that came to it in one batch for the size of one
    /// of them, or of all together, and does not say which. What was acknowledged is not written again.
    async fn write_refused(
        &self,
        records: &mut [NewRecord],
        heard: Heard,
        what: TooLarge,
    ) -> Result<Places, LogError> {
        let Heard {
            mut places,
            refused,
        } = heard;
        let is_size = |error: &LogError| matches!(error, LogError::TooLarge { .. });
        if let Some((_, error)) = refused.iter().find(|(_, error)| !is_size(error)) {
            return Err(error.clone());
        }
        for (index, _) in refused {
            if let (Some(place), Some(record)) = (places.get_mut(index), records.get_mut(index)) {
                *place = match what {
                    TooLarge::Refused => self.write_alone(record).await?,
                    TooLarge::Shrunk => self.write_smaller(record).await?,
                };
            }
        }
        Ok(places)
    }

    /// Writes one record, made smaller until the brokers take it; refused if nothing is left to be cut.
    async fn write_smaller(&self, record: &mut NewRecord) -> Result<Place, LogError> {
        loop {
            match self.write_alone(record).await {
                Err(error @ LogError::TooLarge { limit, .. }) => {
                    let one = std::slice::from_mut(record);
                    if shrink(one, limit, SystemClock.now()) == 0 {
                        return Err(error);
                    }
                    self.metrics.too_large.inc();
                }
                done => return done,
            }
        }
    }

    /// Writes one record. Only what is refused alone more than once, because others' records may have been with it, is too
    /// large.
    async fn write_alone(&self, record: &NewRecord) -> Result<Place, LogError> {
        let mut result = self.write_one(record).await;
        for attempt in 1..ALONE {
            if !matches!(result, Err(LogError::TooLarge { .. })) {
                break;
            }
            tokio::time::sleep(APART * attempt).await;
            result = self.write_one(record).await;
        }
        // Of what was refused together a part may be there, whatever becomes of it now.
        result.map_err(|error| match error {
            LogError::Busy(why) => LogError::Unacknowledged(why),
            error => error,
        })
    }

    async fn write_one(&self, record: &NewRecord) -> Result<Place, LogError> {
        let mut heard = self
            .write(std::slice::from_ref(record), record.size())
            .await?;
        match heard.refused.pop() {
            Some((_, error)) => Err(error),
            None => heard.places.pop().ok_or_else(closed),
        }
    }

    /// Hands records to librdkafka and waits until it has heard of all.
    async fn write(&self, records: &[NewRecord], bytes: usize) -> Result<Heard, LogError> {
        let share = self.room.take(bytes).await?;
        let mut places = Vec::with_capacity(records.len());
        for record in records {
            let entry = self.catalog.resolve(record.topic)?;
            places.push((Catalog::place(entry, &record.key), 0));
        }
        let of = Of {
            record_bytes: self.record_bytes,
            metrics: &self.metrics,
            skew: &self.skew,
        };
        let (batch, replied) = Batch::new(places, share, &of);
        for (index, record) in records.iter().enumerate() {
            let entry = self.catalog.resolve(record.topic)?;
            let ticket = Ticket {
                batch: Arc::clone(&batch),
                index,
                at: Catalog::place(entry, &record.key),
                size: record.size(),
            };
            self.send(entry, record, ticket).await;
        }
        batch.heard(replied, self.delivery_timeout + SLACK).await
    }

    /// Hands one record to librdkafka; how it ends is told to its batch.
    async fn send(&self, entry: &Entry, record: &NewRecord, ticket: Ticket) {
        let (begun, mut ticket) = (Instant::now(), Box::new(ticket));
        loop {
            let offered = match self.client() {
                Ok(client) => client.send(offer(entry, record, ticket)),
                Err(error) => return ticket.batch.settle(ticket.index, Err(error)),
            };
            let Err((error, back)) = offered else {
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
        // Another may have been quicker, and then the client is a new one.
        let dead = client
            .as_ref()
            .and_then(|client| client.client().fatal_error());
        let Some((code, reason)) = dead else { return };
        tracing::error!(%code, reason, "the producer cannot go on, and is built anew");
        match Client::from_config_and_context(&self.config, Deliveries) {
            Ok(new) => {
                self.metrics.rebuilt.inc();
                client.replace(Arc::new(new)).into_iter().for_each(retire);
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

#[cfg(test)]
mod tests;
