//! Records that were read and wait for the end of their tier's delay, by partition. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use postrider_model::topics::Tier;
use postrider_model::{Position, Record, Timestamp, TopicPartition};

/// Records of one partition that are due, in order.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) at: TopicPartition,
    pub(crate) records: Vec<Record>,
    /// Behind the last of them.
    pub(crate) next: Position,
    /// How long the first was due already.
    pub(crate) late: Duration,
}

#[derive(Debug, Default)]
struct Held {
    records: VecDeque<Record>,
    paused: bool,
}

/// Everything in hand. A partition of which a record is held that is not due is not read on.
#[derive(Debug)]
pub(crate) struct Hand {
    tiers: &'static [Tier],
    partitions: BTreeMap<TopicPartition, Held>,
    /// The wall clock when it was last looked at.
    seen: Timestamp,
}

/// What the reader is to be told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Pauses {
    pub(crate) pause: Vec<TopicPartition>,
    pub(crate) resume: Vec<TopicPartition>,
}

impl Hand {
    pub(crate) fn new(tiers: &'static [Tier]) -> Self {
        Self {
            tiers,
            partitions: BTreeMap::new(),
            seen: Timestamp::default(),
        }
    }

    /// These are ours from now on.
    pub(crate) fn assign(&mut self, at: impl IntoIterator<Item = TopicPartition>) {
        for at in at {
            self.partitions.insert(at, Held::default());
        }
    }

    /// These are no longer ours. Nothing of them was finished, so whoever reads them next gets all of it.
    pub(crate) fn drop_partitions(&mut self, at: &[TopicPartition]) {
        self.partitions.retain(|held, _| !at.contains(held));
    }

    /// Takes what was read; what is of no partition of ours is dropped. Logs never let their time run backwards, so after
    /// the wall clock was set back they stamp records with the future: these wait from now on, not from then.
    pub(crate) fn take(&mut self, records: Vec<Record>, now: Timestamp) {
        self.look(now);
        for mut record in records {
            record.appended_at = record.appended_at.min(now);
            if let Some(held) = self.partitions.get_mut(&record.at) {
                held.records.push_back(record);
            }
        }
    }

    /// What is held when the wall clock is set back waits from the new time on.
    fn look(&mut self, now: Timestamp) {
        if now < self.seen {
            let held = self.partitions.values_mut();
            for record in held.flat_map(|held| &mut held.records) {
                record.appended_at = record.appended_at.min(now);
            }
        }
        self.seen = now;
    }

    pub(crate) fn len(&self) -> usize {
        self.partitions
            .values()
            .map(|held| held.records.len())
            .sum()
    }

    /// Partitions of ours.
    pub(crate) fn partitions(&self) -> usize {
        self.partitions.len()
    }

    /// Gives out what is due, at most `limit` records. Stops in each partition at the first that is not.
    pub(crate) fn due(&mut self, now: Timestamp, limit: usize) -> Vec<Due> {
        self.look(now);
        let (tiers, mut left) = (self.tiers, limit);
        let mut due = Vec::new();
        for (at, held) in &mut self.partitions {
            let delay = delay_of(tiers, *at);
            let is_due = |record: &Record| now >= record.appended_at.plus(delay);
            let count = held
                .records
                .iter()
                .take(left)
                .take_while(|record| is_due(record))
                .count();
            let records: Vec<Record> = held.records.drain(..count).collect();
            if let (Some(first), Some(last)) = (records.first(), records.last()) {
                left -= count;
                due.push(Due {
                    at: *at,
                    next: last.position + 1,
                    late: now.since(first.appended_at.plus(delay)),
                    records,
                });
            }
        }
        due
    }

    /// How long until the first head is due; `None` if nothing is held.
    pub(crate) fn wait(&self, now: Timestamp) -> Option<Duration> {
        self.partitions
            .iter()
            .filter_map(|(at, held)| {
                let head = held.records.front()?;
                Some(head.appended_at.plus(delay_of(self.tiers, *at)).since(now))
            })
            .min()
    }

    /// Which partitions are to be read on from now on and which not.
    pub(crate) fn pauses(&mut self) -> Pauses {
        let mut pauses = Pauses::default();
        for (at, held) in &mut self.partitions {
            let pause = !held.records.is_empty();
            if pause != held.paused {
                held.paused = pause;
                let changed = if pause {
                    &mut pauses.pause
                } else {
                    &mut pauses.resume
                };
                changed.push(*at);
            }
        }
        pauses
    }
}

fn delay_of(tiers: &[Tier], at: TopicPartition) -> Duration {
    tiers
        .iter()
        .find(|tier| tier.topic == at.topic)
        .map_or(Duration::ZERO, |tier| tier.delay)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use postrider_model::Headers;
    use postrider_model::topics::RETRY;

    fn tier(index: usize) -> TopicPartition {
        TopicPartition {
            topic: RETRY[index].topic,
            partition: 0,
        }
    }

    fn record(at: TopicPartition, position: Position, appended_ms: i64) -> Record {
        Record {
            at,
            position,
            appended_at: Timestamp::from_millis(appended_ms),
            key: Bytes::new(),
            headers: Headers::new(),
            value: Bytes::new(),
        }
    }

    #[test]
    fn only_what_is_due_is_given_out_and_the_wait_is_that_of_the_first_head() {
        let mut hand = Hand::new(&RETRY);
        hand.assign([tier(0), tier(1)]);
        hand.take(
            vec![
                record(tier(0), 4, 0),
                record(tier(0), 9, 0),
                record(tier(0), 10, 500),
                record(tier(1), 1, 0),
            ],
            Timestamp::from_millis(500),
        );
        let now = Timestamp::from_millis(1_000);
        let due = hand.due(now, 100);
        assert_eq!(due.len(), 1);
        assert_eq!((due[0].records.len(), due[0].next), (2, 10));
        assert_eq!(hand.wait(now), Some(Duration::from_millis(500)));
        assert_eq!(hand.len(), 2);
    }

    #[test]
    fn a_partition_is_paused_while_a_record_of_it_is_held_and_told_so_once() {
        let mut hand = Hand::new(&RETRY);
        hand.assign([tier(0), tier(1)]);
        hand.take(vec![record(tier(0), 0, 0)], Timestamp::default());
        assert_eq!(hand.pauses().pause, [tier(0)]);
        assert_eq!(hand.pauses(), Pauses::default());
        hand.due(Timestamp::from_millis(1_000), 100);
        assert_eq!(hand.pauses().resume, [tier(0)]);
    }

    #[test]
    fn no_more_than_the_limit_is_given_out_at_once() {
        let mut hand = Hand::new(&RETRY);
        hand.assign([tier(0)]);
        hand.take(
            (0..10)
                .map(|position| record(tier(0), position, 0))
                .collect(),
            Timestamp::default(),
        );
        let due = hand.due(Timestamp::from_millis(1_000), 7);
        assert_eq!((due[0].records.len(), due[0].next, hand.len()), (7, 7, 3));
    }

    const HOUR_MS: i64 = 3_600_000;

    #[test]
    fn records_of_the_future_wait_their_delay_from_when_they_were_read() {
        let mut hand = Hand::new(&RETRY);
        hand.assign([tier(0)]);
        let (now, due_at) = (Timestamp::from_millis(500), Timestamp::from_millis(1_500));
        let future = (0..10).map(|position| record(tier(0), position, HOUR_MS));
        hand.take(future.collect(), now);
        assert_eq!(hand.wait(now), Some(RETRY[0].delay));
        assert!(hand.due(Timestamp::from_millis(1_499), 100).is_empty());
        assert_eq!(hand.due(due_at, 100)[0].records.len(), 10);
    }

    #[test]
    fn what_is_held_while_the_clock_is_set_back_waits_no_longer_than_its_delay() {
        let mut hand = Hand::new(&RETRY);
        hand.assign([tier(0)]);
        let ahead = Timestamp::from_millis(HOUR_MS);
        let held = (0..10).map(|position| record(tier(0), position, HOUR_MS));
        hand.take(held.collect(), ahead);
        let now = Timestamp::from_millis(0);
        assert!(hand.due(now, 100).is_empty());
        assert_eq!(hand.wait(now), Some(RETRY[0].delay));
        assert_eq!(hand.due(now.plus(RETRY[0].delay), 100)[0].records.len(), 10);
    }
}
