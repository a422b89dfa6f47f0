//! Since when a record that goes on waiting waits in its tier, by the pump's own clock. Pure.
//!
//! The log's time is another machine's where the log is Kafka. Where that clock lags by more than a tier's delay,
//! everything would be due as soon as it was written, and hop from one tier to the next without a rest until its time
//! comes. What the pump writes itself has its own time in a header, so a wrong clock costs one hop.

use postrider_model::{NewRecord, Record, Timestamp, Topic};

/// Milliseconds since 1970, eight bytes, the largest first.
const HOPPED_AT: &str = "postrider-hopped-at";

/// The record as it is in a further tier, in which it waits from `now` on. Nothing is encoded again.
pub(crate) fn hop(record: &Record, tier: Topic, now: Timestamp) -> NewRecord {
    let mut hopped = leave(record, tier);
    let at = now.as_millis().to_be_bytes();
    hopped.headers.push(HOPPED_AT, at.to_vec());
    hopped
}

/// The record as it is in `topic`, where it waits no longer.
pub(crate) fn leave(record: &Record, topic: Topic) -> NewRecord {
    let mut left = NewRecord::new(topic, record.key.clone(), record.value.clone());
    let given = record.headers.iter();
    for (name, value) in given.filter(|(name, _)| *name != HOPPED_AT) {
        left.headers.push(name.to_owned(), value.clone());
    }
    left
}

/// Since when it waits in its tier. What the pump did not write has the log's time.
pub(crate) fn waits_since(record: &Record) -> Timestamp {
    let bytes = record.headers.get(HOPPED_AT);
    let millis = bytes.and_then(|bytes| Some(i64::from_be_bytes(bytes.as_ref().try_into().ok()?)));
    millis.map_or(record.appended_at, Timestamp::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use postrider_model::topics::{DELIVERIES_NORMAL, RETRY};
    use postrider_model::{Headers, TopicPartition};

    #[test]
    fn a_hop_tells_its_time_once_and_what_leaves_is_as_it_came() {
        let mut headers = Headers::new();
        headers.push("trace", Bytes::from_static(b"t"));
        let came = Record {
            at: TopicPartition {
                topic: RETRY[1].topic,
                partition: 0,
            },
            position: 7,
            appended_at: Timestamp::from_millis(5),
            key: Bytes::from_static(b"k"),
            headers: headers.clone(),
            value: Bytes::from_static(b"v"),
        };
        assert_eq!(waits_since(&came), Timestamp::from_millis(5));
        let mut waiting = came.clone();
        for now in [1_000, 2_000] {
            let hopped = hop(&waiting, RETRY[0].topic, Timestamp::from_millis(now));
            assert_eq!(hopped.headers.iter().count(), 2);
            waiting.headers = hopped.headers;
            assert_eq!(waits_since(&waiting), Timestamp::from_millis(now));
        }
        let left = leave(&waiting, DELIVERIES_NORMAL);
        assert_eq!((left.headers, left.value), (headers, came.value));
    }
}
