//! What a batch comes to, and how it is divided. Pure.

use std::collections::HashSet;

use postrider_log::{
    Committed, Completion, Durability, NewRecord, Position, Progress, Purpose, Record, Tenure,
};
use postrider_model::EventId;
use postrider_trace::Span;

/// Records written in one completion, at most, but for those of one event.
const COMPLETE_RECORDS: usize = 4_000;
/// Their bytes.
const COMPLETE_BYTES: usize = 8 << 20;

/// What a batch has come to so far and is not written yet.
#[derive(Default)]
pub(crate) struct Pending {
    outputs: Vec<NewRecord>,
    bytes: usize,
    /// Of which partition, under which assignment.
    pub(crate) of: Option<Tenure>,
    /// Behind each event's outputs: how many there are, and what is finished with them.
    ends: Vec<(usize, Position)>,
    /// What is finished by it, if that is to be remembered.
    pub(crate) keys: HashSet<EventId>,
    /// They end when it is written.
    pub(crate) spans: Vec<Span>,
}

impl Pending {
    pub(crate) fn is_large(&self) -> bool {
        self.outputs.len() >= COMPLETE_RECORDS || self.bytes >= COMPLETE_BYTES
    }

    /// What follows from `record`, which was read under this assignment and is finished with it.
    pub(crate) fn add(&mut self, record: &Record, epoch: u64, outputs: Vec<NewRecord>) {
        self.bytes += outputs.iter().map(NewRecord::size).sum::<usize>();
        self.outputs.extend(outputs);
        let at = record.at;
        self.of = Some(Tenure { at, epoch });
        self.ends.push((self.outputs.len(), record.position + 1));
    }

    /// What finishes the next so many events; `None` if there are none.
    pub(crate) fn take(&mut self, events: usize) -> Option<Part> {
        let Tenure { at, epoch } = self.of?;
        let ends: Vec<_> = self.ends.drain(..events.min(self.ends.len())).collect();
        let (outputs, next) = *ends.last()?;
        for (behind, _) in &mut self.ends {
            *behind -= outputs;
        }
        let progress = Progress {
            at,
            epoch,
            committed: Committed {
                next,
                metadata: String::new(),
            },
        };
        Some(Part {
            ends,
            completion: Completion {
                finished: vec![progress],
                outputs: self.outputs.drain(..outputs).collect(),
                durability: Durability::Ordered,
                purpose: Purpose::Spreading,
            },
        })
    }

    /// Puts back what was taken last.
    pub(crate) fn put_back(&mut self, part: Part) {
        let outputs = part.completion.outputs;
        for (behind, _) in &mut self.ends {
            *behind += outputs.len();
        }
        self.ends.splice(0..0, part.ends);
        self.outputs.splice(0..0, outputs);
    }
}

/// What of a batch is written in one commit.
pub(crate) struct Part {
    ends: Vec<(usize, Position)>,
    pub(crate) completion: Completion,
}

impl Part {
    /// How many events it finishes.
    pub(crate) fn events(&self) -> usize {
        self.ends.len()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use postrider_log::{Headers, TopicPartition};
    use postrider_model::Timestamp;
    use postrider_model::topics::{DELIVERIES_NORMAL, EVENTS};

    use super::*;

    /// Events at positions 10, 20 and so on, from which so many deliveries follow.
    fn pending(deliveries: &[usize]) -> Pending {
        let mut pending = Pending::default();
        for (position, count) in (1..).map(|n| n * 10).zip(deliveries) {
            let record = Record {
                at: TopicPartition {
                    topic: EVENTS,
                    partition: 3,
                },
                position,
                appended_at: Timestamp::from_millis(0),
                key: Bytes::new(),
                headers: Headers::default(),
                value: Bytes::new(),
            };
            let output = |n| NewRecord::new(DELIVERIES_NORMAL, "key", format!("{position}-{n}"));
            pending.add(&record, 7, (0..*count).map(output).collect());
        }
        pending
    }

    /// What it writes, and the position behind what it finishes.
    fn shape(part: &Part) -> (Vec<&str>, Position) {
        let outputs = part.completion.outputs.iter();
        let values = outputs.map(|output| std::str::from_utf8(&output.value).unwrap());
        let [finished] = &part.completion.finished[..] else {
            panic!("one partition");
        };
        assert_eq!((finished.at.partition, finished.epoch), (3, 7));
        (values.collect(), finished.committed.next)
    }

    #[test]
    fn a_part_of_a_batch_finishes_no_more_events_than_it_writes_the_deliveries_of() {
        let mut pending = pending(&[2, 0, 1]);
        let first = pending.take(1).unwrap();
        assert_eq!(shape(&first), (vec!["10-0", "10-1"], 11));
        let rest = pending.take(9).unwrap();
        assert_eq!((shape(&rest), rest.events()), ((vec!["30-0"], 31), 2));
        assert!(pending.take(1).is_none());
    }

    #[test]
    fn what_is_put_back_is_taken_again_as_it_was() {
        for most in 1..5 {
            let mut pending = pending(&[2, 0, 1]);
            let taken = pending.take(most).unwrap();
            pending.put_back(taken);
            let all = pending.take(9).unwrap();
            let expected = vec!["10-0", "10-1", "30-0"];
            assert_eq!((shape(&all), all.events()), ((expected, 31), 3), "{most}");
        }
    }
}
