//! Protobuf written straight from what it is made of, for the records that every delivery pays for. The generated code
//! wants each field as a buffer of its own first, and shares every buffer before it copies it: for an attempt that was a
//! twentieth of all that a delivery costs. Reading is left to the generated code.

use bytes::Bytes;
use prost::encoding::{WireType, encode_varint, encoded_len_varint};

use crate::{Id, IdKind, NewRecord, Topic};

/// What is written, field by field in the order of their numbers.
pub(crate) trait Fields {
    /// Writes all fields. The same ones each time it is called.
    fn write(&self, to: &mut impl Sink);

    /// The encoding, in a buffer of exactly its length.
    fn encode(&self) -> Bytes {
        let mut encoded = Vec::with_capacity(length(self));
        self.write(&mut encoded);
        encoded.into()
    }

    /// The record of it in `topic` under the key `id`. Both lie in one buffer, which is shared by one count.
    fn record<K: IdKind>(&self, topic: Topic, id: Id<K>) -> NewRecord {
        let key = id.as_bytes();
        let mut encoded = Vec::with_capacity(key.len() + length(self));
        encoded.extend_from_slice(key);
        self.write(&mut encoded);
        let mut value = Bytes::from(encoded);
        let key = value.split_to(key.len());
        NewRecord::new(topic, key, value)
    }
}

/// Takes fields. What is zero, false or empty is left out, as proto3 has it.
pub(crate) trait Sink: Sized {
    fn varint(&mut self, value: u64);
    fn raw(&mut self, bytes: &[u8]);

    fn key(&mut self, tag: u32, wire: WireType) {
        self.varint(u64::from(tag << 3 | wire as u32));
    }

    fn bytes(&mut self, tag: u32, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.key(tag, WireType::LengthDelimited);
            self.varint(bytes.len() as u64);
            self.raw(bytes);
        }
    }

    fn text(&mut self, tag: u32, text: &str) {
        self.bytes(tag, text.as_bytes());
    }

    /// Ids, one after the other.
    fn ids<K: IdKind>(&mut self, tag: u32, ids: &[Id<K>]) {
        if !ids.is_empty() {
            self.key(tag, WireType::LengthDelimited);
            self.varint(16 * ids.len() as u64);
            for id in ids {
                self.raw(id.as_bytes());
            }
        }
    }

    fn id<K: IdKind>(&mut self, tag: u32, id: Id<K>) {
        self.bytes(tag, id.as_bytes());
    }

    fn number(&mut self, tag: u32, number: impl Into<u64>) {
        let number = number.into();
        if number != 0 {
            self.key(tag, WireType::Varint);
            self.varint(number);
        }
    }

    /// Milliseconds.
    fn millis(&mut self, tag: u32, millis: i64) {
        // Protobuf writes the two's complement of 64 bits.
        self.number(tag, millis.cast_unsigned());
    }

    /// A value of an `enum`.
    fn choice(&mut self, tag: u32, value: impl Into<i32>) {
        self.millis(tag, i64::from(value.into()));
    }

    /// A message within.
    fn message(&mut self, tag: u32, fields: &impl Fields) {
        self.key(tag, WireType::LengthDelimited);
        self.varint(length(fields) as u64);
        fields.write(self);
    }
}

/// Of the encoding, in bytes.
fn length(fields: &(impl Fields + ?Sized)) -> usize {
    let mut length = Length(0);
    fields.write(&mut length);
    length.0
}

/// Only measures.
struct Length(usize);

impl Sink for Length {
    fn varint(&mut self, value: u64) {
        self.0 += encoded_len_varint(value);
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}

impl Sink for Vec<u8> {
    fn varint(&mut self, value: u64) {
        encode_varint(value, self);
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}
