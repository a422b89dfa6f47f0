//! What the groups in this process have finished, as far as Kafka has acknowledged it.

use std::collections::HashMap;

use postrider_log::{Group, Position, TopicPartition};
use tokio::sync::watch;

/// How far each group is, by partition.
type Finished = HashMap<(Group, TopicPartition), Position>;

/// Tells whoever waits for a group that is read in this process, without asking the brokers.
pub(crate) struct Progress(watch::Sender<Finished>);

impl Progress {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(Finished::new()))
    }

    /// These were committed.
    pub(crate) fn finished(&self, group: Group, written: &[(TopicPartition, Position)]) {
        self.0.send_if_modified(|finished| {
            let mut modified = false;
            for (at, next) in written {
                modified |= finished.insert((group, *at), *next) != Some(*next);
            }
            modified
        });
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Finished> {
        self.0.subscribe()
    }
}
