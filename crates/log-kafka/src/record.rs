//! Records as they come from librdkafka.

use bytes::{Bytes, BytesMut};
use postrider_log::{Headers, Position, Record, TopicPartition};
use postrider_model::{NULL_VALUE, Timestamp};
use rdkafka::message::{BorrowedMessage, Headers as _, Message};

/// Copies a record out of librdkafka's memory, all its bytes into one allocation.
pub(crate) fn record(at: TopicPartition, message: &BorrowedMessage<'_>) -> Record {
    let (key, value) = (
        message.key().unwrap_or_default(),
        message.payload().unwrap_or_default(),
    );
    let given = message.headers();
    let pairs = || given.into_iter().flat_map(|headers| headers.iter());
    let of_headers: usize = pairs()
        .map(|header| header.value.map_or(0, <[u8]>::len))
        .sum();
    let mut all = BytesMut::with_capacity(key.len() + value.len() + of_headers);
    all.extend_from_slice(key);
    all.extend_from_slice(value);
    for header in pairs() {
        all.extend_from_slice(header.value.unwrap_or_default());
    }
    let mut all: Bytes = all.freeze();
    let (key, value) = (all.split_to(key.len()), all.split_to(value.len()));
    let mut headers = Headers::new();
    for header in pairs() {
        let value = all.split_to(header.value.map_or(0, <[u8]>::len));
        headers.push(header.key.to_owned(), value);
    }
    if message.payload().is_none() {
        headers.push(NULL_VALUE, Bytes::new());
    }
    Record {
        at,
        position: position(message),
        appended_at: Timestamp::from_millis(message.timestamp().to_millis().unwrap_or_default()),
        key,
        headers,
        value,
    }
}

/// Its place in its partition.
pub(crate) fn position(message: &BorrowedMessage<'_>) -> Position {
    Position::try_from(message.offset()).unwrap_or_default()
}
