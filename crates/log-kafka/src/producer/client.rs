//! The client that writes, what it is handed, and how it ends.

use std::sync::Arc;
use std::time::Duration;

use postrider_log::{Keep, NewRecord, Position};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{
    BaseRecord, DeliveryResult, NoCustomPartitioner, Producer as _, ProducerContext,
    ThreadedProducer,
};

use super::batch::Ticket;
use crate::catalog::Entry;

/// How often it is looked whether a client that nobody uses any more is still in somebody's hand.
const LOOK: Duration = Duration::from_millis(20);

pub(super) type Client = ThreadedProducer<Deliveries, NoCustomPartitioner>;

/// Hears of every record's end.
pub(super) struct Deliveries;

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

/// Ends a client that another has taken the place of: beside everything else, and only once every record that it was handed
/// was heard of. rdkafka takes back what is on its way when a client is dropped, and of what is not heard within half a
/// second then, nothing is ever heard.
pub(super) fn retire(old: Arc<Client>) {
    std::thread::spawn(move || {
        while old.flush(Duration::from_secs(1)).is_err() || Arc::strong_count(&old) > 1 {
            std::thread::sleep(LOOK);
        }
    });
}

/// A record as librdkafka takes it.
pub(super) fn offer<'a>(
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
