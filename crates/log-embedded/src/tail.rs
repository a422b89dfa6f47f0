//! The end of one topic: which of its records readers may see, and those of them that are still in memory.

use std::collections::VecDeque;
use std::sync::Arc;

use postrider_log::{Position, Record};
use tokio::sync::Notify;

use crate::schema::TopicEnds;

/// What a record takes in memory beside its content, about.
const RECORD_OVERHEAD: usize = 160;

/// Someone who reads this topic.
struct Listener {
    id: u64,
    /// The next position that it needs.
    at: Position,
    notify: Arc<Notify>,
}

/// The end of one topic.
///
/// Positions: `first ≤ cached_from ≤ end`, `visible ≤ end`. The records from `cached_from` up to `end` are in memory,
/// without a gap; a reader that needs an earlier one finds it on disk. Nothing is kept that every reader has had, so a
/// topic that nobody reads takes no memory.
pub(crate) struct Tail {
    records: VecDeque<Record>,
    cached_from: Position,
    /// The position of the next record to be committed.
    end: Position,
    /// Readers may see what lies below.
    visible: Position,
    /// Everything below was trimmed.
    first: Position,
    /// Commits that readers may see only once they are synced: up to which position, after which commit.
    pending: VecDeque<(u64, Position)>,
    listeners: Vec<Listener>,
    /// Bytes of `records`.
    bytes: usize,
}

/// What a reader finds at a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nothing yet.
    Nothing,
    /// Records in memory.
    Memory,
    /// Records on disk, below this position.
    Disk(Position),
}

fn weight(record: &Record) -> usize {
    let headers: usize = record.headers.iter().map(|(n, v)| n.len() + v.len()).sum();
    record.key.len() + record.value.len() + headers + RECORD_OVERHEAD
}

impl Tail {
    pub(crate) fn new(ends: &TopicEnds) -> Self {
        Self {
            records: VecDeque::new(),
            cached_from: ends.next,
            end: ends.next,
            visible: ends.next,
            first: ends.first,
            pending: VecDeque::new(),
            listeners: Vec::new(),
            bytes: 0,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn end(&self) -> Position {
        self.end
    }

    pub(crate) fn visible(&self) -> Position {
        self.visible
    }

    pub(crate) fn first(&self) -> Position {
        self.first
    }

    /// When the record at a position was appended, if it is in memory.
    pub(crate) fn appended_at(&self, at: Position) -> Option<postrider_model::Timestamp> {
        let index = at.checked_sub(self.cached_from)?;
        self.records.get(index as usize).map(|r| r.appended_at)
    }

    /// Takes a record that was committed at the end.
    pub(crate) fn push(&mut self, record: Record) {
        self.end = record.position + 1;
        if self.listeners.is_empty() {
            self.cached_from = self.end;
        } else {
            self.bytes += weight(&record);
            self.records.push_back(record);
        }
    }

    /// Shows what was pushed: at once, or with `barrier` once that commit is synced. What is pushed behind something
    /// that waits waits with it, so that readers see a topic in order. True if readers have something new to see.
    pub(crate) fn show(&mut self, barrier: Option<u64>) -> bool {
        match (barrier, self.pending.back_mut()) {
            (Some(commit), _) => self.pending.push_back((commit, self.end)),
            (None, Some((_, end))) => *end = self.end,
            (None, None) => {
                self.visible = self.end;
                return true;
            }
        }
        false
    }

    /// Everything up to this commit is synced. True if readers have something new to see.
    pub(crate) fn synced(&mut self, commit: u64) -> bool {
        let before = self.visible;
        while let Some((needs, end)) = self.pending.front().copied() {
            if needs > commit {
                break;
            }
            self.visible = end;
            self.pending.pop_front();
        }
        self.visible > before
    }

    pub(crate) fn trimmed(&mut self, first: Position) {
        self.first = self.first.max(first);
    }

    pub(crate) fn listen(&mut self, id: u64, at: Position, notify: Arc<Notify>) {
        self.listeners.push(Listener { id, at, notify });
    }

    pub(crate) fn leave(&mut self, id: u64) {
        self.listeners.retain(|listener| listener.id != id);
        self.forget_read();
    }

    /// Adds everybody who is to be woken.
    pub(crate) fn listeners(&self, wake: &mut Vec<Arc<Notify>>) {
        wake.extend(self.listeners.iter().map(|l| Arc::clone(&l.notify)));
    }

    pub(crate) fn place(&self, at: Position) -> Place {
        if at >= self.visible {
            Place::Nothing
        } else if at >= self.cached_from {
            Place::Memory
        } else {
            Place::Disk(self.visible)
        }
    }

    /// Moves up to `records` and `bytes` (of values; one record at least if `out` is empty) from memory to `out`.
    /// Returns how many there were. The listener is past them then.
    pub(crate) fn take(
        &mut self,
        id: u64,
        at: Position,
        records: usize,
        bytes: &mut usize,
        out: &mut Vec<Record>,
    ) -> usize {
        let alone = self.listeners.len() == 1;
        if alone {
            self.moved(id, at);
        }
        let mut next = at;
        let mut taken = 0;
        out.reserve(records.min(self.visible.saturating_sub(at) as usize));
        while taken < records && next < self.visible {
            let index = (next - self.cached_from) as usize;
            let Some(size) = self.records.get(index).map(|record| record.size()) else {
                break;
            };
            if size > *bytes && !out.is_empty() {
                *bytes = 0;
                break;
            }
            *bytes = bytes.saturating_sub(size);
            // The only reader has what it reads to itself.
            let record = if alone {
                self.pop()
            } else {
                self.records.get(index).cloned()
            };
            let Some(record) = record else { break };
            out.push(record);
            next += 1;
            taken += 1;
        }
        self.moved(id, next);
        taken
    }

    /// A listener needs only what comes from here on.
    pub(crate) fn moved(&mut self, id: u64, at: Position) {
        if let Some(listener) = self.listeners.iter_mut().find(|l| l.id == id) {
            listener.at = listener.at.max(at);
        }
        self.forget_read();
    }

    /// Drops what every listener has had.
    fn forget_read(&mut self) {
        let needed = self
            .listeners
            .iter()
            .map(|l| l.at)
            .min()
            .unwrap_or(self.end);
        while self.cached_from < needed && self.pop().is_some() {}
    }

    fn pop(&mut self) -> Option<Record> {
        let record = self.records.pop_front()?;
        self.cached_from = record.position + 1;
        self.bytes -= weight(&record);
        // A burst leaves its buffer behind otherwise.
        if self.records.is_empty() && self.records.capacity() > 1024 {
            self.records = VecDeque::new();
        }
        Some(record)
    }

    /// Drops the oldest records in memory until `bytes` are freed or none is left. Readers find them on disk.
    pub(crate) fn evict(&mut self, bytes: usize) {
        let target = self.bytes.saturating_sub(bytes);
        while self.bytes > target && self.pop().is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use postrider_log::{Headers, Topic, TopicPartition};
    use postrider_model::Timestamp;

    use super::*;

    const LIMIT: usize = 100;

    fn tail_with_readers(readers: u64) -> Tail {
        let mut tail = Tail::new(&TopicEnds::default());
        for id in 0..readers {
            tail.listen(id, 0, Arc::new(Notify::new()));
        }
        tail
    }

    fn push(tail: &mut Tail, positions: std::ops::Range<u64>) {
        for position in positions {
            tail.push(Record {
                at: TopicPartition {
                    topic: Topic("t"),
                    partition: 0,
                },
                position,
                appended_at: Timestamp::default(),
                key: "k".into(),
                headers: Headers::new(),
                value: vec![0; 10].into(),
            });
        }
    }

    fn take(tail: &mut Tail, id: u64, at: u64) -> Vec<u64> {
        let mut out = Vec::new();
        tail.take(id, at, LIMIT, &mut usize::MAX.clone(), &mut out);
        out.iter().map(|record| record.position).collect()
    }

    #[test]
    fn an_ordered_record_behind_one_that_is_not_yet_synced_waits_with_it() {
        let mut tail = tail_with_readers(1);
        push(&mut tail, 0..1);
        assert!(!tail.show(Some(7)));
        push(&mut tail, 1..2);
        assert!(!tail.show(None));
        assert_eq!(tail.place(0), Place::Nothing);
        assert!(!tail.synced(6));
        assert!(tail.synced(7));
        assert_eq!(take(&mut tail, 0, 0), [0, 1]);
    }

    #[test]
    fn what_every_reader_has_had_is_dropped_and_nothing_else() {
        let mut tail = tail_with_readers(2);
        push(&mut tail, 0..4);
        tail.show(None);
        assert_eq!(take(&mut tail, 0, 0), [0, 1, 2, 3]);
        assert_eq!(tail.place(0), Place::Memory);
        assert_eq!(take(&mut tail, 1, 0), [0, 1, 2, 3]);
        assert_eq!(tail.bytes(), 0);
    }

    #[test]
    fn a_topic_without_readers_takes_no_memory() {
        let mut tail = tail_with_readers(0);
        push(&mut tail, 0..4);
        tail.show(None);
        assert_eq!(tail.bytes(), 0);
        assert_eq!(tail.place(0), Place::Disk(4));
    }

    #[test]
    fn a_reader_whose_records_were_evicted_is_sent_to_the_disk() {
        let mut tail = tail_with_readers(1);
        push(&mut tail, 0..4);
        tail.show(None);
        tail.evict(1);
        assert_eq!(tail.place(0), Place::Disk(4));
        assert_eq!(take(&mut tail, 0, 1), [1, 2, 3]);
    }
}
