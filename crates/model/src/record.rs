//! A raw item of the log, and where it lies.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

use crate::Timestamp;

/// A topic's name, without any prefix that an adapter adds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(pub &'static str);

/// A consumer group's name: those who read a topic together, each record once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group(pub &'static str);

/// A partition's number, from 0.
pub type Partition = u32;

/// Where a record lies in its partition. Positions grow, may have gaps, and never go back.
pub type Position = u64;

/// One partition of one topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic.
    pub topic: Topic,
    /// The partition's number.
    pub partition: Partition,
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// The header by which an adapter tells that a record had no value at all (Kafka's null), which is not an empty one.
pub const NULL_VALUE: &str = "postrider-null-value";

/// The header of a record in `events.rejected` whose value was more than the log takes, and was left out.
pub const VALUE_LEFT_OUT: &str = "postrider-value-left-out";

/// The header of a record in `events.rejected` whose key or headers were more than the log takes, and were cut: how large
/// they were, in words.
pub const CUT: &str = "postrider-cut";

/// A record's headers, in the order in which they were written. Names may repeat.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers(Vec<(Cow<'static, str>, Bytes)>);

impl Headers {
    /// No headers.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a header at the end.
    pub fn push(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Bytes>) {
        self.0.push((name.into(), value.into()));
    }

    /// The first value under `name`.
    pub fn get(&self, name: &str) -> Option<&Bytes> {
        self.0
            .iter()
            .find(|(given, _)| given == name)
            .map(|(_, value)| value)
    }

    /// All headers.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Bytes)> + DoubleEndedIterator {
        self.0.iter().map(|(name, value)| (name.as_ref(), value))
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A record to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// Where to.
    pub topic: Topic,
    /// Records of one key keep their order.
    pub key: Bytes,
    /// Attributes.
    pub headers: Headers,
    /// The content; may be empty. In a compacted topic an empty value removes the key.
    pub value: Bytes,
}

impl NewRecord {
    /// A record without headers.
    pub fn new(topic: Topic, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self {
            topic,
            key: key.into(),
            headers: Headers::new(),
            value: value.into(),
        }
    }

    /// Key, value and headers in bytes, as limits count them.
    pub fn size(&self) -> usize {
        size(&self.key, &self.headers, &self.value)
    }
}

fn size(key: &Bytes, headers: &Headers, value: &Bytes) -> usize {
    let of_headers = headers.iter().map(|(name, value)| name.len() + value.len());
    key.len() + value.len() + of_headers.sum::<usize>()
}

/// A record that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it lies.
    pub at: TopicPartition,
    /// Its place there.
    pub position: Position,
    /// When the log took it, by the log's clock.
    pub appended_at: Timestamp,
    /// Its key.
    pub key: Bytes,
    /// Its attributes.
    pub headers: Headers,
    /// Its content.
    pub value: Bytes,
}

impl Record {
    /// Key, value and headers in bytes, as limits count them.
    pub fn size(&self) -> usize {
        size(&self.key, &self.headers, &self.value)
    }

    /// True if it has no value at all, which is not an empty one.
    pub fn has_no_value(&self) -> bool {
        self.value.is_empty() && self.headers.get(NULL_VALUE).is_some()
    }
}
