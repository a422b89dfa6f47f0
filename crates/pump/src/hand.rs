//! Records that were read and wait for the end of their tier's delay, by partition. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use postrider_log::{BatchLimit, Tenure};
use postrider_model::topics::Tier;
use postrider_model::{Record, Timestamp, TopicPartition};

use crate::hopped::waits_since;

/// Records of one partition that are due, in order.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) of: Tenure,
    pub(crate) records: Vec<Record>,
    /// How long the first was due already.
    pub(crate) late: Duration,
    /// The delay of the tier.
    pub(crate) delay: Duration,
}

impl Due {
    /// How late the first is, as a part of its tier's delay.
    pub(crate) fn lateness(&self) -> f64 {
        self.late.as_secs_f64() / self.delay.as_secs_f64()
    }
}

#[derive(Debug, Default)]
struct Held {
    /// Under which assignment it is read.
    epoch: u64,
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
    pub(crate) fn assign(&mut self, these: impl IntoIterator<Item = Tenure>) {
        for Tenure { at, epoch } in these {
            let held = Held {
                epoch,
                ..Held::default()
            };
            self.partitions.insert(at, held);
        }
    }

    /// These, each under its assignment; 0, which none has, for what is not ours.
    pub(crate) fn tenures(&self, partitions: &[TopicPartition]) -> Vec<Tenure> {
        let tenure = |at: &TopicPartition| Tenure {
            at: *at,
            epoch: self.partitions.get(at).map_or(0, |held| held.epoch),
        };
        partitions.iter().map(tenure).collect()
    }

    /// These are no longer ours. Nothing of them was finished, so whoever reads them next gets all of it.
    pub(crate) fn drop_partitions(&mut self, at: &[TopicPartition]) {
        self.partitions.retain(|held, _| !at.contains(held));
    }

    /// Takes what was read; what is of no partition of ours is dropped. The clock of a log may be ahead, and logs never let
    /// their time run backwards after it was set back: records of the future wait from now on, not from then.
    pub(crate) fn take(&mut self, records: Vec<Record>, now: Timestamp) {
        self.look(now);
        for mut record in records {
            record.appended_at = waits_since(&record).min(now);
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

    /// Gives out what is due, in order, no more than `limit` but of each partition at least the head. The partitions share
    /// it equally, so that a long queue in one tier does not hold up the others. Stops in each at the first that is not
    /// due.
    pub(crate) fn due(&mut self, now: Timestamp, limit: BatchLimit) -> Vec<Due> {
        self.look(now);
        let tiers = self.tiers;
        let is_due = |record: &Record, delay: Duration| now >= record.appended_at.plus(delay);
        let ready = self.partitions.iter().filter(|(at, held)| {
            let delay = delay_of(tiers, **at);
            held.records.front().is_some_and(|head| is_due(head, delay))
        });
        let share = ready.count().max(1);
        let mut due = Vec::new();
        for (at, held) in &mut self.partitions {
            let delay = delay_of(tiers, *at);
            let mut bytes = 0;
            let mut count = 0;
            for record in held.records.iter().take((limit.records / share).max(1)) {
                bytes += record.value.len();
                if !is_due(record, delay) || (count > 0 && bytes > limit.bytes / share) {
                    break;
                }
                count += 1;
            }
            let records: Vec<Record> = held.records.drain(..count).collect();
            if let Some(first) = records.first() {
                due.push(Due {
                    of: Tenure {
                        at: *at,
                        epoch: held.epoch,
                    },
                    late: now.since(first.appended_at.plus(delay)),
                    delay,
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
    use postrider_model::topics::RETRY;
    use postrider_model::{Headers, Position};

    const LIMIT: BatchLimit = BatchLimit {
        records: 100,
        bytes: usize::MAX,
    };

    fn tier(index: usize) -> TopicPartition {
        TopicPartition {
            topic: RETRY[index].topic,
            partition: 0,
        }
    }

    fn ours(index: usize) -> Tenure {
        Tenure {
            at: tier(index),
            epoch: 1,
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

    /// Behind the last of them.
    fn next_of(due: &Due) -> Position {
        due.records.last().unwrap().position + 1
    }

    #[test]
    fn only_what_is_due_is_given_out_and_the_wait_is_that_of_the_first_head() {
        let mut hand = Hand::new(&RETRY);
        hand.assign([ours(0), ours(1)]);
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
        let due = hand.due(now, LIMIT);
        assert_eq!(due.len(), 1);
        assert_eq!((due[0].records.len(), next_of(&due[0])), (2, 10));
        assert_eq!(hand.wait(now), Some(Duration::from_millis(500)));
        assert_eq!(hand.len(), 2);
    }

    #[test]
    fn a_partition_is_paused_while_a_record_of_it_is_held_and_told_so_once() {
        let mut hand = Hand::new(&RETRY);
        hand.assign([ours(0), ours(1)]);
        hand.take(vec![record(tier(0), 0, 0)], Timestamp::default());
        assert_eq!(hand.pauses().pause, [tier(0)]);
        assert_eq!(hand.pauses(), Pauses::default());
        hand.due(Timestamp::from_millis(1_000), LIMIT);
        assert_eq!(hand.pauses().resume, [tier(0)]);
    }

    #[test]
    fn no_more_than_the_limit_is_given_out_at_once() {
        let mut hand = Hand::new(&RETRY);
        hand.assign([ours(0)]);
        hand.take(
            (0..10)
                .map(|position| record(tier(0), position, 0))
                .collect(),
            Timestamp::default(),
        );
        let seven = BatchLimit {
            records: 7,
            ..LIMIT
        };
        let due = hand.due(Timestamp::from_millis(1_000), seven);
        assert_eq!(
            (due[0].records.len(), next_of(&due[0]), hand.len()),
            (7, 7, 3)
        );
    }

    #[test]
    fn partitions_share_a_batch_and_a_record_larger_than_it_goes_alone() {
        let mut hand = Hand::new(&RETRY);
        hand.assign([ours(0), ours(1)]);
        let large = |at, position| Record {
            value: Bytes::from(vec![0; 100]),
            ..record(at, position, 0)
        };
        let many = (0..10).map(|position| large(tier(0), position));
        hand.take(
            many.chain([large(tier(1), 0)]).collect(),
            Timestamp::default(),
        );
        let bytes = |bytes| BatchLimit {
            records: 100,
            bytes,
        };
        let now = Timestamp::from_millis(60_000);
        let counts = |due: Vec<Due>| due.iter().map(|due| due.records.len()).collect::<Vec<_>>();
        assert_eq!(counts(hand.due(now, bytes(400))), [2, 1]);
        assert_eq!(counts(hand.due(now, bytes(400))), [4]);
        assert_eq!(counts(hand.due(now, bytes(99))), [1]);
        let two = BatchLimit {
            records: 2,
            bytes: usize::MAX,
        };
        assert_eq!(counts(hand.due(now, two)), [2]);
    }

    const HOUR_MS: i64 = 3_600_000;

    #[test]
    fn records_of_the_future_wait_their_delay_from_when_they_were_read() {
        let mut hand = Hand::new(&RETRY);
        hand.assign([ours(0)]);
        let (now, due_at) = (Timestamp::from_millis(500), Timestamp::from_millis(1_500));
        let future = (0..10).map(|position| record(tier(0), position, HOUR_MS));
        hand.take(future.collect(), now);
        assert_eq!(hand.wait(now), Some(RETRY[0].delay));
        assert!(hand.due(Timestamp::from_millis(1_499), LIMIT).is_empty());
        assert_eq!(hand.due(due_at, LIMIT)[0].records.len(), 10);
    }

    #[test]
    fn what_is_held_while_the_clock_is_set_back_waits_no_longer_than_its_delay() {
        let mut hand = Hand::new(&RETRY);
        hand.assign([ours(0)]);
        let ahead = Timestamp::from_millis(HOUR_MS);
        let held = (0..10).map(|position| record(tier(0), position, HOUR_MS));
        hand.take(held.collect(), ahead);
        let now = Timestamp::from_millis(0);
        assert!(hand.due(now, LIMIT).is_empty());
        assert_eq!(hand.wait(now), Some(RETRY[0].delay));
        assert_eq!(
            hand.due(now.plus(RETRY[0].delay), LIMIT)[0].records.len(),
            10
        );
    }
}
