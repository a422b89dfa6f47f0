//! The name of a record in `events.rejected`.

use sha2::{Digest, Sha256};

use crate::id::RejectedKind;
use crate::{Id, Partition, Position, Record};

/// A record in `events.rejected`: where it lies, by which it is found, and a hash of what it holds, without which a
/// position names nothing for good.
pub type RejectedId = Id<RejectedKind>;

impl RejectedId {
    /// The id of `record`.
    pub fn of_record(record: &Record) -> Self {
        let mut hash = Sha256::new();
        hash.update(record.appended_at.as_millis().to_be_bytes());
        hash.update(&record.key);
        hash.update(&record.value);
        let digest = hash.finalize();
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&record.position.to_be_bytes()[2..]);
        bytes[6..14].copy_from_slice(&digest[..8]);
        bytes[14..].copy_from_slice(&record.at.partition.to_be_bytes()[2..]);
        // The form of a derived id (UUID, version 8).
        bytes[6] = 0x80 | (bytes[6] & 0x0f);
        bytes[8] = 0x80 | (bytes[8] & 0x3f);
        Self::from_bytes(bytes)
    }

    /// Where the record lies, if it is still there.
    pub fn place(&self) -> (Partition, Position) {
        let [a, b, c, d, e, f, .., p, q] = *self.as_bytes();
        let position = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        (u32::from_be_bytes([0, 0, p, q]), position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Headers, Timestamp, TopicPartition, topics};
    use bytes::Bytes;

    #[test]
    fn an_id_reads_back_from_its_text_and_tells_where_the_record_lies() {
        let record = Record {
            at: TopicPartition {
                topic: topics::EVENTS_REJECTED,
                partition: 513,
            },
            position: 0x1234_5678_9abc,
            appended_at: Timestamp::from_millis(1),
            key: Bytes::new(),
            headers: Headers::new(),
            value: Bytes::from_static(b"x"),
        };
        let id = RejectedId::of_record(&record);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.place(), (513, 0x1234_5678_9abc));
        let other = Record {
            value: Bytes::from_static(b"y"),
            ..record
        };
        assert_ne!(RejectedId::of_record(&other), id);
    }
}
