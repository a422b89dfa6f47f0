//! Deliveries that wait in memory for one endpoint.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use postrider_model::{Delivery, Position, TopicPartition};
use tokio::time::Instant;

/// A delivery that was read and not finished.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// Where its record lies.
    pub at: TopicPartition,
    /// Its place there.
    pub position: Position,
    /// The delivery; shared with its attempt while one is out.
    pub delivery: Arc<Delivery>,
    /// When it was read.
    pub read_at: Instant,
    /// It was new, and its endpoint could take it at once, when it was read: what becomes of it says how prompt we are.
    pub prompt: bool,
}

/// What is ready, first come first served, and a small part that is due within seconds. What is delayed never blocks
/// what is ready.
#[derive(Debug, Default)]
pub struct Queue {
    ready: VecDeque<Waiting>,
    delayed: BinaryHeap<Reverse<Delayed>>,
    bytes: usize,
}

#[derive(Debug)]
struct Delayed {
    due: Instant,
    waiting: Waiting,
}

impl Delayed {
    fn key(&self) -> (Instant, Position) {
        (self.due, self.waiting.position)
    }
}

impl PartialEq for Delayed {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Delayed {}

impl PartialOrd for Delayed {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Delayed {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl Queue {
    /// Deliveries in it.
    pub fn len(&self) -> usize {
        self.ready.len() + self.delayed.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Their bytes in memory.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Puts one in that is due at `due`.
    pub fn push(&mut self, waiting: Waiting, due: Instant, now: Instant) {
        self.bytes += waiting.delivery.weight();
        if due <= now {
            self.ready.push_back(waiting);
        } else {
            self.delayed.push(Reverse(Delayed { due, waiting }));
        }
    }

    /// Puts one back at the head.
    pub fn push_front(&mut self, waiting: Waiting) {
        self.bytes += waiting.delivery.weight();
        self.ready.push_front(waiting);
    }

    /// Makes what is due by `now` ready; true if anything is ready.
    pub fn has_ready(&mut self, now: Instant) -> bool {
        while self
            .delayed
            .peek()
            .is_some_and(|Reverse(next)| next.due <= now)
        {
            if let Some(Reverse(due)) = self.delayed.pop() {
                self.ready.push_back(due.waiting);
            }
        }
        !self.ready.is_empty()
    }

    /// The longest ready one.
    pub fn pop(&mut self) -> Option<Waiting> {
        let waiting = self.ready.pop_front()?;
        self.bytes -= waiting.delivery.weight();
        Some(waiting)
    }

    /// The longest ready one, left where it is.
    pub fn first(&self) -> Option<&Waiting> {
        self.ready.front()
    }

    /// All, the ready ones first and in order.
    pub fn iter(&self) -> impl Iterator<Item = &Waiting> {
        let delayed = self.delayed.iter().map(|Reverse(next)| &next.waiting);
        self.ready.iter().chain(delayed)
    }

    /// When the next delayed one is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.delayed.peek().map(|Reverse(next)| next.due)
    }

    /// Takes all, the ready ones first.
    pub fn take(&mut self) -> Vec<Waiting> {
        self.bytes = 0;
        let delayed = std::mem::take(&mut self.delayed).into_sorted_vec();
        let delayed = delayed.into_iter().rev().map(|Reverse(next)| next.waiting);
        std::mem::take(&mut self.ready)
            .into_iter()
            .chain(delayed)
            .collect()
    }

    /// Takes the ready ones behind the first so many.
    pub fn take_behind(&mut self, kept: usize) -> Vec<Waiting> {
        let behind: Vec<Waiting> = self.ready.drain(kept.min(self.ready.len())..).collect();
        let bytes: usize = behind.iter().map(|one| one.delivery.weight()).sum();
        self.bytes -= bytes;
        behind
    }

    /// Drops what does not lie where `keep` says.
    pub fn retain(&mut self, keep: impl Fn(TopicPartition) -> bool) {
        self.ready.retain(|waiting| keep(waiting.at));
        self.delayed.retain(|Reverse(next)| keep(next.waiting.at));
        let ready: usize = self
            .ready
            .iter()
            .map(|waiting| waiting.delivery.weight())
            .sum();
        let delayed: usize = self
            .delayed
            .iter()
            .map(|next| next.0.waiting.delivery.weight())
            .sum();
        self.bytes = ready + delayed;
    }
}
