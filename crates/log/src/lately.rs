//! What a reader finished lately, for logs on which a crash can lie between the outputs of a completion and its positions:
//! whoever takes over writes the outputs again, and those who read them drop the second. Pure.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;

use postrider_model::TopicPartition;

/// The keys finished last, a bounded number for each partition. What a crash repeats comes soon after, so that the newest
/// are enough; an older repeat passes, and costs a delivery twice but never one.
#[derive(Debug)]
pub struct Lately<K> {
    most: usize,
    partitions: HashMap<TopicPartition, Newest<K>>,
}

/// Keys in the order in which they were finished, each once.
#[derive(Debug)]
struct Newest<K> {
    order: VecDeque<K>,
    known: HashSet<K>,
}

impl<K: Hash + Eq + Clone> Lately<K> {
    /// Remembers `most` keys of each partition.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            partitions: HashMap::new(),
        }
    }

    /// True if `key` was finished lately in this partition.
    pub fn knows(&self, at: TopicPartition, key: &K) -> bool {
        self.partitions
            .get(&at)
            .is_some_and(|newest| newest.known.contains(key))
    }

    /// `key` is finished: what follows from it is durable, or will be before its position is. False if it was already.
    pub fn finished(&mut self, at: TopicPartition, key: K) -> bool {
        let newest = self.partitions.entry(at).or_insert_with(|| Newest {
            order: VecDeque::new(),
            known: HashSet::new(),
        });
        if !newest.known.insert(key.clone()) {
            return false;
        }
        newest.order.push_back(key);
        if newest.order.len() > self.most
            && let Some(oldest) = newest.order.pop_front()
        {
            newest.known.remove(&oldest);
        }
        true
    }

    /// These partitions came or went. What was finished before may have been given back unfinished since.
    pub fn forget(&mut self, partitions: impl IntoIterator<Item = TopicPartition>) {
        for at in partitions {
            self.partitions.remove(&at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_model::topics::{EVENTS, FANOUTS};
    use postrider_model::{Partition, Topic};
    use proptest::prelude::*;

    fn at(topic: Topic, partition: Partition) -> TopicPartition {
        TopicPartition { topic, partition }
    }

    #[test]
    fn a_partition_knows_its_own_keys_until_it_is_forgotten() {
        let mut lately = Lately::new(10);
        let (here, there, other) = (at(EVENTS, 0), at(EVENTS, 1), at(FANOUTS, 0));
        assert!(lately.finished(here, 1) && lately.finished(there, 1));
        assert!(!lately.finished(here, 1));
        assert!(!lately.knows(other, &1));
        lately.forget([here]);
        assert!(!lately.knows(here, &1) && lately.knows(there, &1));
    }

    proptest! {
        /// Against a plain list: known are the newest `most` different keys, and never more are kept.
        #[test]
        fn the_newest_keys_are_known_and_no_others(
            most in 1..6usize,
            keys in proptest::collection::vec(0..10u8, 0..60),
        ) {
            let (mut lately, mut model) = (Lately::new(most), Vec::new());
            for key in keys {
                prop_assert_eq!(lately.finished(at(EVENTS, 0), key), !model.contains(&key));
                if !model.contains(&key) {
                    model.push(key);
                }
                if model.len() > most {
                    model.remove(0);
                }
                for key in 0..10 {
                    prop_assert_eq!(lately.knows(at(EVENTS, 0), &key), model.contains(&key));
                }
                let newest = &lately.partitions[&at(EVENTS, 0)];
                prop_assert_eq!((newest.order.len(), newest.known.len()), (model.len(), model.len()));
            }
        }
    }
}
