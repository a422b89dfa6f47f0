//! The partitions that a member owns, and what was fetched of them.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use postrider_log::{
    BatchLimit, Committed, LogError, Polled, Position, Record, Tenure, Topic, TopicPartition, Turns,
};
use postrider_model::{Clock as _, SystemClock};
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::onlooker::Looking;
use crate::record::{position, record};

/// One partition that is ours.
pub(super) struct Seat {
    pub(super) at: TopicPartition,
    /// Under which assignment.
    pub(super) epoch: u64,
    /// What librdkafka has fetched of it. Not asking is what holds it back: librdkafka's own pause throws away what was
    /// fetched.
    pub(super) queue: Option<PartitionQueue<Looking>>,
    /// Something may lie in the queue.
    pub(super) filled: Arc<AtomicBool>,
    /// Taken out of the queue and not yet returned.
    pub(super) ahead: VecDeque<Record>,
    /// Everything below was returned, or was finished before.
    pub(super) next: Position,
    /// What the group had committed.
    pub(super) committed: Committed,
    /// Its assignment was returned.
    pub(super) told: bool,
    pub(super) revoking: bool,
    paused: bool,
}

/// What a partition's queue gave.
enum Pulled {
    Record(Record),
    Nothing,
    /// What is to be read next is not there.
    Gone,
}

impl Seat {
    pub(super) fn new(Tenure { at, epoch }: Tenure, next: Position, committed: Committed) -> Self {
        Self {
            at,
            epoch,
            queue: None,
            filled: Arc::new(AtomicBool::new(true)),
            ahead: VecDeque::new(),
            next,
            committed,
            told: false,
            revoking: false,
            paused: false,
        }
    }

    pub(super) fn tenure(&self) -> Tenure {
        Tenure {
            at: self.at,
            epoch: self.epoch,
        }
    }

    fn readable(&self) -> bool {
        self.told && !self.revoking && !self.paused
    }

    fn pull(&mut self) -> Pulled {
        if let Some(record) = self.ahead.pop_front() {
            return Pulled::Record(record);
        }
        let Some(queue) = &self.queue else {
            return Pulled::Nothing;
        };
        // Set again by whatever comes from here on.
        if !self.filled.swap(false, Ordering::AcqRel) {
            return Pulled::Nothing;
        }
        loop {
            match queue.poll(std::time::Duration::ZERO) {
                None => return Pulled::Nothing,
                Some(Ok(message)) if position(&message) < self.next => {}
                Some(Ok(message)) => {
                    self.filled.store(true, Ordering::Release);
                    return Pulled::Record(record(self.at, &message));
                }
                Some(Err(error)) if is_gone(&error) => return Pulled::Gone,
                Some(Err(error)) => {
                    tracing::warn!(at = %self.at, %error, "fetching from Kafka; it is tried again");
                }
            }
        }
    }
}

fn is_gone(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange)
    )
}

/// The seats of one topic.
struct Row {
    topic: Topic,
    seats: Vec<Seat>,
    /// Whose turn it is.
    turn: usize,
}

/// Everything that a reader takes from.
pub(crate) struct Seats {
    rows: Vec<Row>,
    turns: Turns,
    /// To be returned before any record.
    pub(super) events: VecDeque<Result<Polled, LogError>>,
    /// Partitions whose next position is not there; the member's thread looks for another.
    pub(super) gone: Vec<TopicPartition>,
    /// Partitions that were cut at their end while they were ours: no position of them is believed when they come again.
    pub(super) cut: BTreeSet<TopicPartition>,
    /// Given up by the reader's side, not yet by the member's thread. All of them have seats.
    released: Vec<TopicPartition>,
    /// That of the newest seat.
    epoch: u64,
}

/// Records that a topic of weight one gives before it is the next one's turn.
const TURN: u32 = 16;

impl Seats {
    pub(crate) fn new(topics: impl Iterator<Item = (Topic, u32)> + Clone) -> Self {
        let row = |(topic, _)| Row {
            topic,
            seats: Vec::new(),
            turn: 0,
        };
        Self {
            rows: topics.clone().map(row).collect(),
            turns: Turns::new(topics.map(|(_, weight)| weight), TURN),
            events: VecDeque::new(),
            gone: Vec::new(),
            cut: BTreeSet::new(),
            released: Vec::new(),
            epoch: 0,
        }
    }

    pub(super) fn all(&mut self) -> impl Iterator<Item = &mut Seat> {
        self.rows.iter_mut().flat_map(|row| &mut row.seats)
    }

    pub(super) fn get(&mut self, at: TopicPartition) -> Option<&mut Seat> {
        self.all().find(|seat| seat.at == at)
    }

    /// One for a new assignment: greater than all before, of this member and of any other that owned the partition.
    pub(super) fn next_epoch(&mut self) -> u64 {
        // A clock serves: the group's own epoch is not told to us, and each owner comes later than the one before.
        let now = u64::try_from(SystemClock.now().as_millis()).unwrap_or_default();
        self.epoch = now.max(self.epoch + 1);
        self.epoch
    }

    /// What is ours of these, under its assignment.
    pub(super) fn tenures(&mut self, partitions: &[TopicPartition]) -> Vec<Tenure> {
        let ours = self.all().filter(|seat| partitions.contains(&seat.at));
        ours.map(|seat| seat.tenure()).collect()
    }

    /// The reader's side gives these up, as far as they are still its own under that assignment.
    pub(super) fn release(&mut self, tenures: &[Tenure]) {
        let ours = self.all().filter(|seat| tenures.contains(&seat.tenure()));
        let mut ours: Vec<_> = ours.map(|seat| seat.at).collect();
        self.released.append(&mut ours);
    }

    /// What the reader's side has given up since this was asked last.
    pub(super) fn take_released(&mut self) -> Vec<TopicPartition> {
        std::mem::take(&mut self.released)
    }

    /// In the place of one that it may have had under an earlier assignment.
    pub(super) fn add(&mut self, seat: Seat) {
        let before = self.tenures(&[seat.at]);
        self.remove(&before);
        let row = self.rows.iter_mut().find(|row| row.topic == seat.at.topic);
        if let Some(row) = row {
            row.seats.push(seat);
        }
    }

    /// Takes these away, with what was fetched of them. Returns those whose assignment had been returned.
    pub(super) fn remove(&mut self, tenures: &[Tenure]) -> Vec<TopicPartition> {
        let (mut removed, mut told) = (Vec::new(), Vec::new());
        for row in &mut self.rows {
            row.seats.retain(|seat| {
                let goes = tenures.contains(&seat.tenure());
                if goes {
                    removed.push(seat.at);
                }
                if goes && seat.told {
                    told.push(seat.at);
                }
                !goes
            });
            row.turn = 0;
        }
        self.gone.retain(|at| !removed.contains(at));
        self.released.retain(|at| !removed.contains(at));
        told
    }

    pub(super) fn set_paused(&mut self, partitions: &[TopicPartition], paused: bool) {
        for seat in self.all().filter(|seat| partitions.contains(&seat.at)) {
            seat.paused = paused;
        }
    }

    /// Looks into every queue again, whether or not librdkafka said that something came.
    pub(super) fn doubt(&mut self) {
        for seat in self.all() {
            seat.filled.store(true, Ordering::Release);
        }
    }

    /// The next records, by the topics' weights and each topic's partitions in turn.
    pub(super) fn take(&mut self, limit: BatchLimit) -> Vec<Record> {
        let mut gone = Vec::new();
        let mut ready: Vec<bool> = self
            .rows
            .iter_mut()
            .map(|row| row.look(&mut gone))
            .collect();
        let mut batch = Batch {
            records: Vec::new(),
            bytes: limit.bytes,
            full: false,
        };
        while batch.records.len() < limit.records && !batch.full {
            let Some((index, most)) = self.turns.deal(|index| ready[index]) else {
                break;
            };
            let most = most.min(limit.records - batch.records.len());
            let before = batch.records.len();
            self.rows[index].take(most, &mut batch, &mut gone);
            let taken = batch.records.len() - before;
            self.turns.took(taken);
            ready[index] = taken > 0;
        }
        for at in gone {
            // Both looking and taking may have met it.
            if !self.gone.contains(&at) {
                self.gone.push(at);
            }
        }
        batch.records
    }
}

/// What is gathered by one call.
struct Batch {
    records: Vec<Record>,
    /// Left for more.
    bytes: usize,
    full: bool,
}

impl Batch {
    /// Takes a record in, or gives it back if it does not fit.
    fn push(&mut self, record: Record) -> Option<Record> {
        let size = record.size();
        if size > self.bytes && !self.records.is_empty() {
            self.full = true;
            return Some(record);
        }
        self.bytes = self.bytes.saturating_sub(size);
        self.full = self.bytes == 0;
        self.records.push(record);
        None
    }
}

impl Row {
    /// Is there anything to be had?
    fn look(&mut self, gone: &mut Vec<TopicPartition>) -> bool {
        let mut found = false;
        for seat in self.seats.iter_mut().filter(|seat| seat.readable()) {
            match seat.pull() {
                Pulled::Record(record) => {
                    seat.ahead.push_front(record);
                    found = true;
                }
                Pulled::Nothing => {}
                Pulled::Gone => gone.push(seat.at),
            }
        }
        found
    }

    fn take(&mut self, most: usize, batch: &mut Batch, gone: &mut Vec<TopicPartition>) {
        let (mut left, mut empty) = (most, 0);
        while left > 0 && empty < self.seats.len() {
            self.turn %= self.seats.len();
            let seat = &mut self.seats[self.turn];
            let pulled = match seat.readable() {
                true => seat.pull(),
                false => Pulled::Nothing,
            };
            match pulled {
                Pulled::Record(record) => {
                    let next = record.position + 1;
                    if let Some(back) = batch.push(record) {
                        seat.ahead.push_front(back);
                        return;
                    }
                    seat.next = next;
                    (left, empty) = (left - 1, 0);
                    if batch.full {
                        return;
                    }
                    continue;
                }
                Pulled::Nothing => {}
                Pulled::Gone => gone.push(seat.at),
            }
            self.turn += 1;
            empty += 1;
        }
        // The next turn begins with another partition.
        self.turn += 1;
    }
}
