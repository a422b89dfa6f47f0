//! Where a record goes that its reader can do nothing with.

use bytes::Bytes;
use postrider_model::{
    CUT, Headers, NewRecord, RECORD_ID, Record, VALUE_LEFT_OUT, record_id, topics,
};

use crate::Limits;

/// Why the record was rejected, in words; UTF-8.
pub(crate) const REASON: &str = "postrider-reason";
/// Where it lay: `topic/partition@position`.
const ORIGIN: &str = "postrider-origin";
/// The longest reason, in bytes: it must not make a record too large that was not.
const REASON_BYTES: usize = 500;

/// What is kept of a key, and of a header's name and its value, where they are too large, in bytes.
const PIECE_BYTES: usize = 1 << 10;
/// What a header takes beside its name and its value, at most: their lengths. There may be millions of headers.
const HEADER_BYTES: usize = 10;
/// What the headers take that say what is missing.
const MARK_BYTES: usize = 160;

/// The record for `events.rejected` that keeps `record` as it was received, with the reason in a header, so that it
/// stops nobody and is not lost. If it would be larger than the log takes, the value is left out, or the key and the headers
/// are cut: whatever of it is large, this can be written.
pub fn rejected(record: &Record, reason: &str, limits: Limits) -> NewRecord {
    let mut kept = with_reason(record, reason);
    fit(&mut kept, limits.record_bytes);
    kept
}

/// The same for a record of `events`. Judged again on an operator's word, it is the same event each time.
pub fn rejected_event(record: &Record, reason: &str, limits: Limits) -> NewRecord {
    let mut kept = with_reason(record, reason);
    kept.headers.push(RECORD_ID, record_id(record).to_string());
    fit(&mut kept, limits.record_bytes);
    kept
}

fn with_reason(record: &Record, reason: &str) -> NewRecord {
    let mut headers = record.headers.clone();
    let cut = reason.floor_char_boundary(REASON_BYTES);
    headers.push(REASON, reason[..cut].to_owned());
    headers.push(ORIGIN, format!("{}@{}", record.at, record.position));
    NewRecord {
        topic: topics::EVENTS_REJECTED,
        key: record.key.clone(),
        headers,
        value: record.value.clone(),
    }
}

/// True if the log takes `record`, however it counts headers.
pub fn fits(record: &NewRecord, limits: Limits) -> bool {
    taken(record) <= limits.record_bytes
}

fn taken(record: &NewRecord) -> usize {
    record.size() + record.headers.iter().len() * HEADER_BYTES
}

/// Makes a record that is set aside fit: without its value if that is enough, else with a cut key and cut headers, and with
/// its value only if that fits beside them. It says what it did.
pub(crate) fn fit(record: &mut NewRecord, most: usize) {
    if taken(record) <= most {
        return;
    }
    if taken(record) - record.value.len() + MARK_BYTES > most {
        cut(record, most / 2);
    }
    if taken(record) > most && !record.value.is_empty() {
        leave_value_out(record);
    }
}

fn leave_value_out(record: &mut NewRecord) {
    let bytes = std::mem::take(&mut record.value).len();
    record.headers.push(VALUE_LEFT_OUT, bytes.to_string());
}

/// Keeps the beginning of the key, and of as many headers as have `room`. From the last one on, since ours come last.
fn cut(record: &mut NewRecord, room: usize) {
    let (key, headers) = (record.key.len(), record.headers.iter().len());
    let bytes = record.size() - key - record.value.len();
    record.key = beginning(&record.key);
    let (mut kept, mut left) = (Vec::new(), room.saturating_sub(record.key.len()));
    for (name, value) in record.headers.iter().rev() {
        let name = &name[..name.floor_char_boundary(PIECE_BYTES)];
        let value = beginning(value);
        let Some(rest) = left.checked_sub(name.len() + value.len() + HEADER_BYTES) else {
            break;
        };
        left = rest;
        kept.push((name.to_owned(), value));
    }
    let mut all = Headers::new();
    for (name, value) in kept.into_iter().rev() {
        all.push(name, value);
    }
    let was = format!("from a key of {key} bytes and {headers} headers of {bytes} bytes");
    all.push(CUT, was);
    record.headers = all;
}

/// A copy, so that the whole is not held in memory by it.
fn beginning(bytes: &Bytes) -> Bytes {
    match bytes.len() > PIECE_BYTES {
        true => Bytes::copy_from_slice(&bytes[..PIECE_BYTES]),
        false => bytes.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_model::{Timestamp, TopicPartition, again};

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
        let large = Record {
            value: Bytes::from(vec![0; 1000]),
            ..record()
        };
        let kept = rejected(&large, &"é".repeat(400), limits(1000));
        assert_eq!(kept.headers.get("postrider-reason").unwrap().len(), 500);
        assert!(kept.value.is_empty());
        assert_eq!(kept.headers.get(VALUE_LEFT_OUT).unwrap(), "1000");
    }

    #[test]
    fn what_is_rejected_fits_whatever_of_it_is_large_and_keeps_what_fits_beside_that() {
        const LIMIT: usize = 100_000;
        let text = |bytes: usize| "x".repeat(bytes);
        let with = |headers: Vec<(String, String)>| {
            let mut record = record();
            for (name, value) in headers {
                record.headers.push(name, value);
            }
            record
        };
        let long_key = Record {
            key: Bytes::from(text(LIMIT)),
            ..record()
        };
        let many = (0..LIMIT).map(|_| ("n".to_owned(), String::new()));
        let posing = [REASON, ORIGIN, RECORD_ID].map(|name| (name.to_owned(), text(LIMIT)));
        for large in [
            long_key,
            with(vec![("n".to_owned(), text(LIMIT))]),
            with(vec![(text(LIMIT), "v".to_owned())]),
            with(many.collect()),
            with(posing.into()),
        ] {
            let kept = rejected_event(&large, &"é".repeat(400), limits(LIMIT));
            assert!(fits(&kept, limits(LIMIT)), "{} bytes", kept.size());
            let last = |name| {
                kept.headers
                    .iter()
                    .rfind(|(given, _)| *given == name)
                    .unwrap()
                    .1
            };
            assert_eq!((last(REASON).len(), last(ORIGIN).len()), (500, 10));
            assert_eq!(last(RECORD_ID), &record_id(&large).to_string());
            let (bytes, headers) = (large.key.len(), large.headers.iter().len() + 3);
            let cut = String::from_utf8(last(CUT).to_vec()).unwrap();
            let said = format!("from a key of {bytes} bytes and {headers} headers of ");
            assert!(cut.starts_with(&said), "{cut}");
            assert_eq!(
                (&kept.value, kept.key.len()),
                (&large.value, bytes.min(1024))
            );
            // What was cut would be another event.
            let kept = Record {
                at: large.at,
                position: 0,
                appended_at: Timestamp::default(),
                key: kept.key,
                headers: kept.headers,
                value: kept.value,
            };
            assert_eq!(again(&kept), None);
        }
    }

    #[test]
    fn of_a_record_that_is_large_in_every_way_neither_the_value_nor_the_whole_key_is_kept() {
        let mut large = Record {
            key: Bytes::from(vec![b'k'; 9_000]),
            value: Bytes::from(vec![b'v'; 9_000]),
            ..record()
        };
        large.headers.push("n", vec![b'h'; 9_000]);
        let kept = rejected(&large, "no type", limits(8_000));
        assert!(fits(&kept, limits(8_000)) && kept.value.is_empty());
        assert_eq!(kept.headers.get("ce_id").unwrap(), "1");
        assert_eq!(kept.headers.get(VALUE_LEFT_OUT).unwrap(), "9000");
        assert!(kept.headers.get(CUT).is_some());
    }
}
