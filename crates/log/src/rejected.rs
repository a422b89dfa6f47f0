//! Where a record goes that its reader can do nothing with.

use postrider_model::{NewRecord, Record, VALUE_LEFT_OUT, topics};

use crate::Limits;

/// Why the record was rejected, in words; UTF-8.
pub(crate) const REASON: &str = "postrider-reason";
/// Where it lay: `topic/partition@position`.
const ORIGIN: &str = "postrider-origin";
/// The longest reason, in bytes: it must not make a record too large that was not.
const REASON_BYTES: usize = 500;

/// The record for `events.rejected` that keeps `record` as it was received, with the reason in a header, so that it
/// stops nobody and is not lost. If it would be larger than the log takes, the value is left out.
pub fn rejected(record: &Record, reason: &str, limits: Limits) -> NewRecord {
    let mut headers = record.headers.clone();
    let cut = reason.floor_char_boundary(REASON_BYTES);
    headers.push(REASON, reason[..cut].to_owned());
    headers.push(ORIGIN, format!("{}@{}", record.at, record.position));
    let mut kept = NewRecord {
        topic: topics::EVENTS_REJECTED,
        key: record.key.clone(),
        headers,
        value: record.value.clone(),
    };
    if kept.size() > limits.record_bytes {
        leave_value_out(&mut kept);
    }
    kept
}

/// Says that it did.
pub(crate) fn leave_value_out(record: &mut NewRecord) {
    let bytes = std::mem::take(&mut record.value).len();
    record.headers.push(VALUE_LEFT_OUT, bytes.to_string());
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use postrider_model::{Headers, Timestamp, TopicPartition};

    fn record() -> Record {
        let mut headers = Headers::new();
        headers.push("ce_id", "1");
        Record {
            at: TopicPartition {
                topic: topics::EVENTS,
                partition: 3,
            },
            position: 7,
            appended_at: Timestamp::default(),
            key: Bytes::from_static(b"key"),
            headers,
            value: Bytes::from(vec![0; 100]),
        }
    }

    fn limits(record_bytes: usize) -> Limits {
        Limits {
            record_bytes,
            metadata_bytes: None,
        }
    }

    #[test]
    fn a_rejected_record_is_kept_as_it_was_received_with_the_reason_and_where_it_lay() {
        let kept = rejected(&record(), "no type", limits(10_000));
        assert_eq!(kept.value, record().value);
        assert_eq!(kept.headers.get("ce_id").unwrap(), "1");
        assert_eq!(kept.headers.get("postrider-reason").unwrap(), "no type");
        assert_eq!(kept.headers.get("postrider-origin").unwrap(), "events/3@7");
    }

    #[test]
    fn a_long_reason_is_cut_between_characters_and_a_record_that_no_longer_fits_loses_its_value() {
        let kept = rejected(&record(), &"é".repeat(400), limits(600));
        assert_eq!(kept.headers.get("postrider-reason").unwrap().len(), 500);
        assert!(kept.value.is_empty());
        assert_eq!(kept.headers.get(VALUE_LEFT_OUT).unwrap(), "100");
    }
}
