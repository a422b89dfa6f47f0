//! When records came that groups are to finish next: each time that it is read costs a client of its own.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use postrider_log::{Group, Position, TopicPartition};
use postrider_model::Timestamp;

/// For so long the age of a record that was finished meanwhile stands for that of the next, which is younger.
const STANDS_FOR: Duration = Duration::from_secs(10);

/// What was read last, of each group and partition.
#[derive(Default)]
pub(crate) struct Ages(Mutex<HashMap<(Group, TopicPartition), Age>>);

struct Age {
    position: Position,
    came: Timestamp,
    read: Instant,
}

impl Ages {
    /// When the record at `next` came, or one a little before it, if that was read.
    pub(crate) fn known(
        &self,
        group: Group,
        at: TopicPartition,
        next: Position,
    ) -> Option<Timestamp> {
        let ages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let age = ages.get(&(group, at))?;
        (age.position == next || age.read.elapsed() < STANDS_FOR).then_some(age.came)
    }

    /// The record at `position` came then.
    pub(crate) fn learn(
        &self,
        group: Group,
        at: TopicPartition,
        position: Position,
        came: Timestamp,
    ) {
        let mut ages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let read = Instant::now();
        ages.insert(
            (group, at),
            Age {
                position,
                came,
                read,
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_log::Topic;

    #[test]
    fn a_record_is_read_once_and_stands_for_the_next_for_a_while() {
        let at = TopicPartition {
            topic: Topic("events"),
            partition: 3,
        };
        let (ages, one, other) = (Ages::default(), Group("one"), Group("other"));
        assert_eq!(ages.known(one, at, 7), None);
        ages.learn(one, at, 7, Timestamp::from_millis(5));
        for next in [7, 8] {
            assert_eq!(ages.known(one, at, next), Some(Timestamp::from_millis(5)));
        }
        assert_eq!(ages.known(other, at, 7), None);
    }
}
